//! `POST /city`: remembers the city that the visitor chose and goes back.

use actix_web::HttpResponse;
use serde::Deserialize;

use crate::web::{error::PageError, form::Form, paths, visit::Visit};

/// The city switch.
#[derive(Debug, Deserialize)]
pub struct Choose {
    city: String,
    #[serde(default)]
    next: String,
}

/// Remembers the city; a list of vehicles becomes that of the new city.
pub async fn choose(visit: Visit, Form(form): Form<Choose>) -> Result<HttpResponse, PageError> {
    let city = visit.catalogue.city(&form.city).ok_or(PageError::BadRequest("There is no such city."))?;
    visit.set_city(&city.slug);
    let next = paths::own_path(&form.next, "/");
    let shows_a_city = next == "/" || next.starts_with("/?") || next.starts_with("/vehicles");
    let location = if shows_a_city { paths::vehicles(&city.slug) } else { next.to_owned() };
    Ok(visit.done(&location, ""))
}
