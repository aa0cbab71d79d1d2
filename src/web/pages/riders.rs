//! `/riders`: riders of the person's home city, by first name and initial only, read at
//! the person's home.

use actix_web::HttpResponse;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    db::users,
    domain::people::public_name,
    web::{
        context::RequestContext,
        error::PageError,
        form::{Id, Query},
        layout::layout,
        views::{PaginationView, RiderView, RidersPage, Section},
    },
};

/// Riders on one page.
const PAGE: usize = 50;

/// Where the list goes on.
#[derive(Debug, Deserialize)]
pub struct After {
    after: Option<Id>,
}

/// `GET /riders`.
pub async fn list(mut context: RequestContext, Query(query): Query<After>) -> Result<HttpResponse, PageError> {
    let cookie = context.cookie.clone().ok_or_else(|| context.sign_in_first())?;
    let (current_user, mut found) = context
        .read_signed_in(&cookie.region, async |conn| {
            users::list_city(conn, &cookie.region, &cookie.city, query.after.map_or(Uuid::nil(), |id| id.0)).await
        })
        .await?;
    let city = context.catalogue.city(&cookie.city).ok_or(PageError::NotFound)?.clone();
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let rider = |rider: &users::Neighbour| RiderView {
        initial: rider.first_name.chars().next().map(String::from).unwrap_or_default(),
        name: public_name(&rider.first_name, &rider.initial),
        since: format!("Riding since {}", rider.created_at.with_timezone(&city.time_zone).format("%B %Y")),
    };
    let page = RidersPage {
        layout: layout(&context, Some(&current_user), &format!("Riders in {}", city.name), Section::Riders, &city),
        city: city.name.clone(),
        riders: found.iter().map(rider).collect(),
        pagination: PaginationView {
            newest: query.after.map(|_| "/riders".to_owned()),
            older: found.last().filter(|_| more).map(|last| format!("/riders?after={}", last.id)),
        },
    };
    context.ok(&page)
}
