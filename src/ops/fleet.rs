//! What operators ask for: changing and moving a vehicle, ending a ride for its rider, who rode.

use uuid::Uuid;

use super::{Done, Result, Service, gated, residency, signed_write, vehicle_write};
use crate::{
    db::{
        Actor, Conn, SessionAuth, Write,
        fleet::{self, SeenVehicle, VehicleEdit},
        fleet_rides, owner_vehicles,
        rides::{self, ForcedEnd, RideEnd},
    },
    domain::{Point, Refusal, RegionCode, RideRef, VehicleRef, event::RESIDENCY_RIDER_REFUSED},
};

/// By the vehicle's owner, or by an operator of its city.
pub async fn edit(
    service: &Service,
    auth: &SessionAuth,
    seen: &SeenVehicle,
    new: &VehicleEdit,
    by_owner: bool,
) -> Result<Done> {
    let VehicleRef { region, id } = &seen.vehicle;
    // The version holds the city: one that it leaves meanwhile refuses the edit.
    let found = fleet::find(&service.db.at(region).await?, &seen.vehicle).await?;
    allowed(service, found.as_ref().map(|found| found.city.as_str()), new.at)?;
    vehicle_write(service, auth, (region, *id), async |conn, write| {
        if by_owner {
            owner_vehicles::edit(conn, write, seen, new).await
        } else {
            fleet::edit(conn, write, seen, new).await
        }
    })
    .await
}

/// Refuses a place outside the city; the statement refuses an unknown city.
fn allowed(service: &Service, city: Option<&str>, at: Point) -> Result<(), Refusal> {
    let catalogue = service.catalogue();
    let checked = city.and_then(|slug| catalogue.city(slug)).map_or(Ok(at), |city| city.check(at));
    checked.map(drop).map_err(Refusal::TooFar)
}

pub async fn move_to(service: &Service, auth: &SessionAuth, seen: &SeenVehicle, city: &str) -> Result<Done> {
    let (catalogue, VehicleRef { region, id }) = (service.catalogue(), &seen.vehicle);
    let city = catalogue.city(city).filter(|city| city.region == *region).ok_or(Refusal::Changed)?;
    vehicle_write(service, auth, (region, *id), async |conn, write| fleet::move_to(conn, write, seen, city).await).await
}

/// Ends an open ride for its rider, who is told on their next page. There is no out-of-area fee.
pub async fn end_ride(
    service: &Service,
    auth: &SessionAuth,
    ride: &RideRef,
    (at, place): (Point, &str),
    how: &ForcedEnd,
) -> Result<Done> {
    let found = rides::find_rider(&service.db.at(&ride.region).await?, ride).await?;
    let (rider, city) = found.ok_or(Refusal::NoSuchRide)?;
    allowed(service, Some(&city), at)?;
    let end = RideEnd { city: &city, at, place, outside_area: false };
    let regions = [&auth.user.region, &ride.region, &rider.region];
    let done = gated(&service.db, &service.gates, regions, async |[home, there, riders]| {
        let write = Write::new(Actor::Session(auth), auth.now, (&ride.region, ride.id), [home, there]);
        let force = async |conn: &Conn| rides::force(conn, &write, &end, (&rider, riders), how).await;
        service.db.write_with_retry(&ride.region, force).await
    })
    .await?;
    if done == Done::Now {
        service.vehicles_changed(&ride.region);
    }
    Ok(done)
}

/// Records that an operator of `city` asks who rode; for some minutes [`fleet_rides::find_asked`] then
/// permits the answer. An instance under another law than the rider's home records only its refusal.
pub async fn ask_rider(
    service: &Service,
    auth: &SessionAuth,
    (ride, city): (&RideRef, &str),
    rider_home: &RegionCode,
    (command, reason): (Uuid, &str),
) -> Result<Done> {
    residency::require_same_law(service, auth, RESIDENCY_RIDER_REFUSED, rider_home).await?;
    signed_write(service, auth, (&ride.region, ride.id), async |conn, write| {
        fleet_rides::ask_rider(conn, write, city, reason, command).await
    })
    .await
}
