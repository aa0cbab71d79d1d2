//! `POST /city`: remembers the city that the visitor chose and shows its vehicles.

use actix_web::HttpResponse;
use serde::Deserialize;

use crate::web::{context::RequestContext, error::PageError, form::Form, paths};

/// The city switch.
#[derive(Debug, Deserialize)]
pub struct Choose {
    city: String,
}

/// Remembers the city.
pub async fn choose(context: RequestContext, Form(form): Form<Choose>) -> Result<HttpResponse, PageError> {
    let city = context.catalogue.city(&form.city).ok_or(PageError::BadRequest("There is no such city."))?;
    context.set_city(&city.slug);
    Ok(context.done(&paths::vehicles(&city.slug), ""))
}
