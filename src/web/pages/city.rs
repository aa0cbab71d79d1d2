//! `POST /city`: remembers the chosen city and shows its vehicles.

use actix_web::HttpResponse;
use serde::Deserialize;

use crate::web::{context::RequestContext, error::PageError, form::Form, paths};

#[derive(Debug, Deserialize)]
pub struct Choose {
    city: String,
}

pub async fn choose(context: RequestContext, Form(form): Form<Choose>) -> Result<HttpResponse, PageError> {
    let city = context.catalogue.city(&form.city).ok_or(PageError::BadRequest("There is no such city."))?;
    context.set_city(&city.slug);
    Ok(context.done(&paths::vehicles(&city.slug), ""))
}
