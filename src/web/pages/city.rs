//! `POST /city`: remembers the city that the visitor chose and shows its vehicles.

use actix_web::HttpResponse;
use serde::Deserialize;

use crate::web::{error::PageError, form::Form, paths, visit::Visit};

/// The city switch.
#[derive(Debug, Deserialize)]
pub struct Choose {
    city: String,
}

/// Remembers the city.
pub async fn choose(visit: Visit, Form(form): Form<Choose>) -> Result<HttpResponse, PageError> {
    let city = visit.catalogue.city(&form.city).ok_or(PageError::BadRequest("There is no such city."))?;
    visit.set_city(&city.slug);
    Ok(visit.done(&paths::vehicles(&city.slug), ""))
}
