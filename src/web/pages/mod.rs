//! The pages, one file each: handlers and forms. A page that shows rows calls `db`; a
//! form that decides something calls `ops`.

pub mod account;
pub mod audit;
pub mod cities;
pub mod city;
pub mod erasure;
pub mod exports;
pub mod fleet;
pub mod fleet_vehicle;
pub mod health;
pub mod home;
pub mod imports;
pub mod job;
pub mod jobs;
pub mod map;
pub mod move_home;
pub mod overview;
pub mod owner_vehicles;
pub mod profile;
pub mod promo_codes;
pub mod region_states;
pub mod riders;
pub mod rides;
pub mod roles;
pub mod status;
pub mod tariffs;
pub mod vehicle;
pub mod vehicles;

use std::sync::Arc;

use futures_util::future::join_all;
use uuid::Uuid;

use super::{context::RequestContext, error::PageError, form};
use crate::{
    db::{error::DbError, sessions::CurrentUser, statement::Conn},
    domain::{catalogue::Region, people::UserRef, refusal::Refusal, region::RegionCode},
};

pub const EVERYWHERE: &str = "It takes effect everywhere, and may take up to a minute.";

/// The current user, asked of home in one wait; fails unless an administrator.
pub async fn administrator(context: &mut RequestContext) -> Result<CurrentUser, PageError> {
    let current_user = context.current_user().await?;
    if current_user.administers() { Ok(current_user) } else { Err(PageError::Refused(Refusal::NotAdministrator)) }
}

/// Asks all regions concurrently, each at its own gateway; none for those that do not answer.
pub async fn each_region<T>(
    context: &RequestContext,
    ask: impl AsyncFn(&RegionCode) -> Result<T, DbError>,
) -> Vec<(&Region, Option<T>)> {
    let answers = context.catalogue.regions.iter().map(async |region| {
        context.names(&region.code);
        let answer = ask(&region.code).await;
        if let Err(error) = &answer {
            tracing::warn!(request = context.ids.request, %error, region = %region.code, "a region was not read");
        }
        (region, answer.ok())
    });
    join_all(answers).await
}

/// A region of the catalogue and a UUID, or not found.
pub fn row_of_path(context: &RequestContext, path: &(String, String)) -> Result<(RegionCode, Uuid), PageError> {
    let (region, id) = path;
    let region: RegionCode = region.parse().map_err(|_bad| PageError::NotFound)?;
    let id = form::id(id).ok_or(PageError::NotFound)?;
    context.catalogue.region(&region).ok_or(PageError::NotFound)?;
    Ok((region, id))
}

/// A person's own rows by region.
pub struct Own<T> {
    pub current_user: CurrentUser,
    /// Home first.
    pub found: Vec<(RegionCode, Vec<T>)>,
    pub unreachable: Vec<RegionCode>,
}

/// The person's rows from every region that has some, in one wait; a region that the cookie does
/// not know yet costs a second one, once.
pub async fn own_rows<T>(
    context: &mut RequestContext,
    list: impl AsyncFn(&Conn, &RegionCode, &UserRef) -> Result<Vec<T>, DbError>,
) -> Result<Own<T>, PageError> {
    let cookie = context.cookie.clone().ok_or_else(|| context.sign_in_first())?;
    let (service, me) = (Arc::clone(&context.service), context.auth()?.user);
    let ask = async |region: RegionCode| {
        let rows = async { list(&service.db.at(&region).await?, &region, &me).await };
        (rows.await, region)
    };
    let others = |regions: &[RegionCode], known: &[RegionCode]| -> Vec<RegionCode> {
        regions.iter().filter(|region| **region != cookie.region && !known.contains(region)).cloned().collect()
    };
    let known = others(&cookie.present_in, &[]);
    let home = context.read_signed_in(&cookie.region, async |conn| list(conn, &cookie.region, &me).await);
    // Beside it, not inside: no connection is held while others are waited for.
    let (home, mut answers) = tokio::join!(home, join_all(known.iter().cloned().map(&ask)));
    let (current_user, at_home) = home?;
    answers.extend(join_all(others(&current_user.present_in, &known).into_iter().map(&ask)).await);
    let mut own = Own { current_user, found: vec![(cookie.region, at_home)], unreachable: Vec::new() };
    for (rows, region) in answers {
        match rows {
            Ok(rows) => own.found.push((region, rows)),
            Err(_) => own.unreachable.push(region),
        }
    }
    Ok(own)
}

pub fn region_of_form(context: &RequestContext, region: &RegionCode) -> Result<(), PageError> {
    context.names(region);
    context.catalogue.region(region).map(drop).ok_or(PageError::BadRequest("There is no such region."))
}
