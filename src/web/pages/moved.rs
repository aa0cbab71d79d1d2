//! A link to a row that is not where it says: the row's address now, or not found. It
//! asks all regions, once; the client's address is throttled, since anybody can write
//! such links. 303, not 308: what has moved once may come back.

use actix_web::HttpResponse;

use crate::{
    db::moved,
    domain::vehicle::PublicVehicle,
    web::{error::PageError, paths, visit::Visit},
};

/// Leads to the vehicle.
pub async fn vehicle(visit: &Visit, named: PublicVehicle) -> Result<HttpResponse, PageError> {
    visit.app.limits.look_everywhere(&visit.address()).map_err(|wait| PageError::TooMany(wait.0))?;
    let found = moved::find_vehicle(&visit.app.db.here().await?, named.public_id).await?;
    // It was not there a moment ago; a page never leads to itself.
    let region = found.filter(|region| *region != named.region).ok_or(PageError::NoVehicle)?;
    Ok(visit.done(&paths::vehicle(&PublicVehicle { region, ..named }), ""))
}
