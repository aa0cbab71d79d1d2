//! A link to a row that is not where it says: the row's address now, or not found. It
//! asks all regions, once; the client's address is throttled, since anybody can write
//! such links. 303, not 308: what has moved once may come back.

use actix_web::HttpResponse;

use crate::{
    db::vehicles,
    domain::vehicle::PublicVehicle,
    web::{context::RequestContext, error::PageError, paths},
};

/// Leads to the vehicle.
pub async fn vehicle(context: &RequestContext, named: PublicVehicle) -> Result<HttpResponse, PageError> {
    context.state.limits.look_everywhere(&context.address()).map_err(|wait| PageError::TooMany(wait.0))?;
    let found = vehicles::find_moved(&context.service.db.here().await?, named.public_id).await?;
    // It was not there a moment ago; a page never leads to itself.
    let region = found.filter(|region| *region != named.region).ok_or(PageError::NoVehicle)?;
    Ok(context.done(&paths::vehicle(&PublicVehicle { region, ..named }), ""))
}
