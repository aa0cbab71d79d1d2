//! `/profile/home`: moving home to another city, maybe in another region. One
//! transaction; rides and vehicles stay where they are.

use actix_web::HttpResponse;
use serde::Deserialize;

use super::profile::throttled;
use crate::{
    domain::refusal::Refusal,
    ops::{self, OpError},
    web::{
        chrome::{chrome, city_options},
        error::PageError,
        form::Form,
        session::SessionCookie,
        views::{MoveHomePage, Section},
        visit::Visit,
    },
};

fn page(visit: &Visit, chosen: &str, errors: [Option<String>; 3]) -> Result<MoveHomePage, PageError> {
    let cookie = visit.cookie.as_ref().ok_or_else(|| visit.sign_in_first())?;
    let home = visit.catalogue.city(&cookie.city).unwrap_or_else(|| visit.city());
    let region =
        visit.catalogue.region(&home.region).map_or_else(|| home.region.to_string(), |region| region.name.clone());
    let [city_error, password_error, error] = errors;
    Ok(MoveHomePage {
        chrome: chrome(visit, None, "Move home", Section::Profile, visit.city()),
        city: home.name.clone(),
        region,
        cities: city_options(&visit.catalogue, if chosen.is_empty() { &home.slug } else { chosen }),
        city_error,
        password_error,
        error,
    })
}

/// `GET /profile/home`.
pub async fn form(mut visit: Visit) -> Result<HttpResponse, PageError> {
    visit.visitor().await?;
    visit.ok(&page(&visit, "", Default::default())?)
}

/// Where to, and the password to confirm.
#[derive(Debug, Deserialize)]
pub struct Move {
    city: String,
    password: String,
}

/// `POST /profile/home`: all of it or nothing; other sessions end.
pub async fn submit(mut visit: Visit, Form(form): Form<Move>) -> Result<HttpResponse, PageError> {
    throttled(&visit)?;
    let Some(region) = visit.catalogue.city(&form.city).map(|city| city.region.clone()) else {
        let errors = [Some("Please choose a city.".to_owned()), None, None];
        return visit.wrong(&page(&visit, "", errors)?);
    };
    visit.names(&region);
    let (signed, device) = (visit.signed()?, visit.device());
    let moved = async {
        let hash = ops::accounts::confirm_password(&visit.app, &signed, &form.password).await?;
        ops::home::move_home(&visit.app, &signed, &hash, &form.city, &device).await
    };
    match moved.await {
        Ok(started) => {
            let name = visit.catalogue.city(&form.city).map(|city| city.name.clone()).unwrap_or_default();
            let present_in = visit.cookie.as_ref().map(|cookie| cookie.present_in.clone()).unwrap_or_default();
            visit.set_city(&form.city);
            let cookie = SessionCookie { present_in, ..SessionCookie::new(started, visit.now) };
            visit.set_session(cookie);
            Ok(visit.done("/profile", &format!("You are at home in {name} now.")))
        }
        Err(OpError::Refused(refusal @ Refusal::WrongPassword)) => {
            visit.turned_away("wrong password");
            visit.wrong(&page(&visit, &form.city, [None, Some(refusal.message()), None])?)
        }
        Err(OpError::Refused(refusal @ (Refusal::StillRiding | Refusal::Residency(_) | Refusal::Changed))) => {
            visit.wrong(&page(&visit, &form.city, [None, None, Some(refusal.message())])?)
        }
        Err(error) => Err(error.into()),
    }
}
