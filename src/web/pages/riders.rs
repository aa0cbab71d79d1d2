//! `/riders`: riders of the person's home city, by first name and initial only, read at
//! the person's home.

use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    db::users::{self, Neighbour},
    domain::{City, people},
    web::{Id, Layout, PageError, PageResult, Pagination, Query, RequestContext, Section},
};

#[derive(Template)]
#[template(path = "pages/riders.html")]
struct RidersPage<'a> {
    layout: Layout,
    city: &'a City,
    riders: Vec<Neighbour>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    after: Option<Id>,
}

pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let cookie = context.cookie.clone().ok_or_else(|| context.sign_in_first())?;
    let after = query.after.map_or(Uuid::nil(), |id| id.0);
    let (_, mut riders) = context
        .read_signed_in(&cookie.region, async |conn| users::list_city(conn, &cookie.region, &cookie.city, after).await)
        .await?;
    let city = context.catalogue.city(&cookie.city).ok_or(PageError::NotFound)?;
    let newest = query.after.map(|_| "/riders".to_owned());
    context.ok(&RidersPage {
        layout: context.layout(&format!("Riders in {}", city.name), Section::Riders, city),
        city,
        pagination: Pagination::cut(&mut riders, users::PAGE, newest, |last| format!("/riders?after={}", last.id)),
        riders,
    })
}
