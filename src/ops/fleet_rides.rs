//! What operators ask about rides: credits, and who rode.

use uuid::Uuid;

use super::{Done, Result, Service, residency, signed_write};
use crate::{
    db::{
        SessionAuth,
        fleet_rides::{self, Credit},
    },
    domain::{City, RegionCode, RideRef, event::RESIDENCY_RIDER_REFUSED},
};

/// Takes amounts off the receipts of rides of `city`, all of them or none.
pub async fn credit(
    service: &Service,
    auth: &SessionAuth,
    city: &City,
    (command, reason): (Uuid, &str),
    credits: &[Credit],
) -> Result<Done> {
    signed_write(service, auth, (&city.region, command), async |conn, write| {
        fleet_rides::credit(conn, write, &city.slug, reason, credits).await
    })
    .await
}

/// Records that an operator of `city` asks who rode; for some minutes [`fleet_rides::find_asked`] then
/// permits the answer. An instance under another law than the rider's home records only its refusal.
pub async fn ask_rider(
    service: &Service,
    auth: &SessionAuth,
    (ride, city): (&RideRef, &City),
    rider_home: &RegionCode,
    (command, reason): (Uuid, &str),
) -> Result<Done> {
    if !service.catalogue().same_law(&service.here, rider_home) {
        let what = (RESIDENCY_RIDER_REFUSED, "jurisdiction");
        return Err(residency::refuse(service, auth, what, rider_home).await);
    }
    signed_write(service, auth, (&ride.region, ride.id), async |conn, write| {
        fleet_rides::ask_rider(conn, write, &city.slug, reason, command).await
    })
    .await
}
