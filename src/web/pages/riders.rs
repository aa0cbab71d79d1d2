//! `/riders`: riders of the person's home city, by first name and initial only, read at
//! the person's home.

use actix_web::HttpResponse;
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    db::users::{self, Neighbour},
    domain::{catalogue::City, people},
    web::{
        context::RequestContext,
        error::PageError,
        form::{Id, Query},
        layout::{Layout, Pagination, Section, layout},
    },
};

const PAGE: usize = 50;

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

pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> Result<HttpResponse, PageError> {
    let cookie = context.cookie.clone().ok_or_else(|| context.sign_in_first())?;
    let (current_user, mut riders) = context
        .read_signed_in(&cookie.region, async |conn| {
            users::list_city(conn, &cookie.region, &cookie.city, query.after.map_or(Uuid::nil(), |id| id.0)).await
        })
        .await?;
    let city = context.catalogue.city(&cookie.city).ok_or(PageError::NotFound)?;
    let more = riders.len() > PAGE;
    riders.truncate(PAGE);
    let page = RidersPage {
        layout: layout(&context, Some(&current_user), &format!("Riders in {}", city.name), Section::Riders, city),
        city,
        pagination: Pagination {
            newest: query.after.map(|_| "/riders".to_owned()),
            older: riders.last().filter(|_| more).map(|last| format!("/riders?after={}", last.id)),
        },
        riders,
    };
    context.ok(&page)
}
