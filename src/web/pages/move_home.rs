//! `/profile/home`: moving home to another city, maybe in another region. One
//! transaction; rides and vehicles stay where they are.

use actix_web::HttpResponse;
use serde::Deserialize;

use super::profile::throttled;
use crate::{
    domain::refusal::Refusal,
    ops::{self, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::Form,
        layout::{city_options, layout},
        session::SessionCookie,
        views::{MoveHomePage, Section},
    },
};

fn page(context: &RequestContext, chosen: &str, errors: [Option<String>; 3]) -> Result<MoveHomePage, PageError> {
    let cookie = context.cookie.as_ref().ok_or_else(|| context.sign_in_first())?;
    let home = context.catalogue.city(&cookie.city).unwrap_or_else(|| context.city());
    let region =
        context.catalogue.region(&home.region).map_or_else(|| home.region.to_string(), |region| region.name.clone());
    let [city_error, password_error, error] = errors;
    Ok(MoveHomePage {
        layout: layout(context, None, "Move home", Section::Profile, context.city()),
        city: home.name.clone(),
        region,
        cities: city_options(&context.catalogue, if chosen.is_empty() { &home.slug } else { chosen }),
        city_error,
        password_error,
        error,
    })
}

/// `GET /profile/home`.
pub async fn form(mut context: RequestContext) -> Result<HttpResponse, PageError> {
    context.current_user().await?;
    context.ok(&page(&context, "", Default::default())?)
}

/// Where to, and the password to confirm.
#[derive(Debug, Deserialize)]
pub struct Move {
    city: String,
    password: String,
}

/// `POST /profile/home`: all of it or nothing; other sessions end.
pub async fn submit(mut context: RequestContext, Form(form): Form<Move>) -> Result<HttpResponse, PageError> {
    throttled(&context)?;
    let Some(region) = context.catalogue.city(&form.city).map(|city| city.region.clone()) else {
        let errors = [Some("Please choose a city.".to_owned()), None, None];
        return context.wrong(&page(&context, "", errors)?);
    };
    context.names(&region);
    let (auth, device) = (context.auth()?, context.device());
    let moved = async {
        let hash = ops::accounts::confirm_password(&context.service, &auth, &form.password).await?;
        ops::home::move_home(&context.service, &auth, &hash, &form.city, &device).await
    };
    match moved.await {
        Ok(started) => {
            let name = context.catalogue.city(&form.city).map(|city| city.name.clone()).unwrap_or_default();
            let present_in = context.cookie.as_ref().map(|cookie| cookie.present_in.clone()).unwrap_or_default();
            context.set_city(&form.city);
            let cookie = SessionCookie { present_in, ..SessionCookie::new(started, context.now) };
            context.set_session(cookie);
            Ok(context.done("/profile", &format!("You are at home in {name} now.")))
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            context.turned_away("wrong password");
            context.wrong(&page(&context, &form.city, [None, Some(refusal.message()), None])?)
        }
        Err(OpError::Refused(refusal @ (Refusal::StillRiding | Refusal::Residency(_) | Refusal::Changed))) => {
            context.wrong(&page(&context, &form.city, [None, None, Some(refusal.message())])?)
        }
        Err(error) => Err(error.into()),
    }
}
