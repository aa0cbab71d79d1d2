//! `/profile/home`: moving home to another city, maybe in another region. One transaction; rides
//! and vehicles stay where they are.

use askama::Template;
use serde::Deserialize;

use super::profile::{throttled, unless_refused};
use crate::{
    domain::{Catalogue, City, Refusal},
    ops,
    web::{FormState, FormWithState, Layout, PageResult, RequestContext, Section, session::SessionCookie},
};

#[derive(Template)]
#[template(path = "pages/move_home.html")]
struct MoveHomePage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    home: &'a City,
    form: FormState,
}

fn page(context: &RequestContext, mut form: FormState) -> PageResult {
    let cookie = context.cookie.as_ref().ok_or_else(|| context.sign_in_first())?;
    let home = context.catalogue.city(&cookie.city).unwrap_or_else(|| context.city());
    if context.catalogue.city(form.value("city")).is_none() {
        form = form.with("city", &home.slug);
    }
    let layout = context.layout("Change home city", Section::Profile, context.city());
    let page = MoveHomePage { layout, catalogue: &context.catalogue, home, form };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

pub async fn form(mut context: RequestContext) -> PageResult {
    context.current_user().await?;
    page(&context, FormState::default())
}

#[derive(Deserialize)]
pub struct Move {
    city: String,
    password: String,
}

/// `POST /profile/home`: all of it or nothing; other sessions end.
pub async fn submit(mut context: RequestContext, FormWithState(form, mut state): FormWithState<Move>) -> PageResult {
    throttled(&context)?;
    let Some(city) = context.catalogue.city(&form.city).cloned() else {
        state.reject("city", "Please choose a city.".to_owned());
        return page(&context, state);
    };
    context.may_touch(&city.region);
    let (auth, device) = (context.auth()?, context.device());
    let moved = async {
        let hash = ops::accounts::confirm_password(&context.service, &auth, &form.password).await?;
        ops::home::move_home(&context.service, &auth, &hash, &form.city, &device).await
    };
    let moved = unless_refused(&context, &mut state, moved.await, "password", |refusal| {
        matches!(refusal, Refusal::StillRiding | Refusal::Residency(_) | Refusal::Changed)
    });
    let Some(started) = moved else { return page(&context, state) };
    let present_in = context.cookie.as_ref().map(|cookie| cookie.present_in.clone()).unwrap_or_default();
    let cookie = SessionCookie { present_in, ..SessionCookie::new(started?, context.now) };
    context.set_city(&city.slug);
    context.set_session(cookie);
    Ok(context.done("/profile", &format!("You are at home in {} now.", city.name)))
}
