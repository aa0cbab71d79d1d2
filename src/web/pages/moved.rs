//! A link to a row that is not where it says: the row's address now, or not found. It
//! asks all regions, once; the client's address is throttled, since anybody can write
//! such links. 303, not 308: what has moved once may come back.

use actix_web::HttpResponse;

use super::row_of_path;
use crate::{
    db::{error::DbError, moved, statement::Conn},
    domain::{region::RegionCode, ride::RideRef, vehicle::PublicVehicle},
    web::{error::PageError, paths, visit::Visit},
};

/// Leads to the vehicle.
pub async fn vehicle(visit: &Visit, named: PublicVehicle) -> Result<HttpResponse, PageError> {
    let find = async |conn: &Conn| moved::find_vehicle(conn, named.public_id).await;
    let region = elsewhere(visit, &named.region, find).await?.ok_or(PageError::NoVehicle)?;
    Ok(visit.done(&paths::vehicle(&PublicVehicle { region, ..named }), ""))
}

/// Leads to the person's own ride; the session must have been checked.
pub async fn ride(visit: &Visit, path: &(String, String)) -> Result<HttpResponse, PageError> {
    let (named, id) = row_of_path(visit, path)?;
    let rider = visit.signed()?.user.id;
    let find = async |conn: &Conn| moved::find_ride(conn, id, rider).await;
    let region = elsewhere(visit, &named, find).await?.ok_or(PageError::NotFound)?;
    Ok(visit.done(&paths::ride(&RideRef { region, id }), ""))
}

async fn elsewhere(
    visit: &Visit,
    named: &RegionCode,
    find: impl AsyncFn(&Conn) -> Result<Option<RegionCode>, DbError>,
) -> Result<Option<RegionCode>, PageError> {
    visit.app.limits.look_everywhere(&visit.address()).map_err(|wait| PageError::TooMany(wait.0))?;
    let found = find(&visit.app.db.here().await?).await?;
    // It was not there a moment ago; a page never leads to itself.
    Ok(found.filter(|region| region != named))
}
