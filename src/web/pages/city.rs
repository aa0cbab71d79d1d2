//! `POST /city`: remembers the chosen city and shows its vehicles.

use serde::Deserialize;

use super::city_of_form;
use crate::web::{Form, PageResult, RequestContext, paths};

#[derive(Debug, Deserialize)]
pub struct Choose {
    city: String,
}

pub async fn choose(mut context: RequestContext, Form(form): Form<Choose>) -> PageResult {
    let city = city_of_form(&context, &form.city)?.slug.clone();
    context.set_city(&city);
    Ok(context.done(&paths::vehicles(&city), ""))
}
