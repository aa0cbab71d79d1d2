//! `/riders`: riders of the person's home city, by first name and initial only, read at
//! the person's home.

use actix_web::HttpResponse;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    db::users,
    domain::people::public_name,
    web::{
        chrome::chrome,
        error::PageError,
        form::{Id, Query},
        views::{PaginationView, RiderView, RidersPage, Section},
        visit::Visit,
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
pub async fn list(mut visit: Visit, Query(query): Query<After>) -> Result<HttpResponse, PageError> {
    let cookie = visit.cookie.clone().ok_or_else(|| visit.sign_in_first())?;
    let (visitor, mut found) = visit
        .read_signed(&cookie.region, async |conn| {
            users::list_city(conn, &cookie.region, &cookie.city, query.after.map_or(Uuid::nil(), |id| id.0)).await
        })
        .await?;
    let city = visit.catalogue.city(&cookie.city).ok_or(PageError::NotFound)?.clone();
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let rider = |rider: &users::Neighbour| RiderView {
        initial: rider.first_name.chars().next().map(String::from).unwrap_or_default(),
        name: public_name(&rider.first_name, &rider.initial),
        since: format!("Riding since {}", rider.created_at.with_timezone(&city.time_zone).format("%B %Y")),
    };
    let page = RidersPage {
        chrome: chrome(&visit, Some(&visitor), &format!("Riders in {}", city.name), Section::Riders, &city),
        city: city.name.clone(),
        riders: found.iter().map(rider).collect(),
        pagination: PaginationView {
            newest: query.after.map(|_| "/riders".to_owned()),
            older: found.last().filter(|_| more).map(|last| format!("/riders?after={}", last.id)),
        },
    };
    visit.ok(&page)
}
