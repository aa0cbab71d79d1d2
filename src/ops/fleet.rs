//! What operators ask for: changing a vehicle, ending a ride for its rider; and the numbers of a
//! city's fleet.

use parking_lot::RwLock;
use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};

use super::{Done, Result, gated, vehicle_write};
use crate::{
    db::{
        error::DbError,
        fleet::{self, SeenVehicle, VehicleEdit},
        rides::{self, RideEnd},
        statement::Conn,
        vehicles,
        verdict::{Actor, SessionAuth, Write},
    },
    domain::{
        catalogue::City, geo::Point, job::StatusChange, refusal::Refusal, region::RegionCode, ride::RideRef,
        vehicle::VehicleRef,
    },
    ops::service::Service,
};

/// Vehicles by status, and as of when.
pub type Counts = (DateTime<Utc>, Vec<(String, i64)>);

/// Counts by city. A count is valid for ten seconds, or one after this instance has changed
/// something in the region: people see what they did.
#[derive(Debug)]
pub struct CountCache<T> {
    counted: RwLock<HashMap<String, (DateTime<Utc>, T)>>,
    changed: RwLock<HashMap<RegionCode, DateTime<Utc>>>,
}

impl<T> Default for CountCache<T> {
    fn default() -> Self {
        Self { counted: RwLock::default(), changed: RwLock::default() }
    }
}

impl<T: Clone> CountCache<T> {
    /// The valid count, else a new one from `count`.
    async fn get(
        &self,
        city: &City,
        now: DateTime<Utc>,
        count: impl Future<Output = Result<T, DbError>>,
    ) -> Result<(DateTime<Utc>, T), DbError> {
        let known = self.counted.read().get(&city.slug).cloned();
        let changed = self.changed.read().get(&city.region).copied();
        let serves = |at: DateTime<Utc>| {
            let age = if changed.is_some_and(|changed| changed >= at) { 1 } else { 10 };
            now - at < Duration::seconds(age)
        };
        if let Some(known) = known.filter(|(at, _)| serves(*at)) {
            return Ok(known);
        }
        let counts = (now, count.await?);
        let mut counted = self.counted.write();
        counted.insert(city.slug.clone(), counts.clone());
        Ok(counts)
    }

    /// Invalidates counts from before the change.
    pub fn changed(&self, region: &RegionCode, now: DateTime<Utc>) {
        self.changed.write().insert(region.clone(), now);
    }
}

/// Vehicles by status, at most ten seconds ago.
pub async fn counts(service: &Service, conn: &Conn, city: &City, now: DateTime<Utc>) -> Result<Counts, DbError> {
    service.counts.get(city, now, fleet::count(conn, &city.region, &city.slug)).await
}

/// Vehicles that could be taken, at most ten seconds ago.
pub async fn count_available(service: &Service, conn: &Conn, city: &City, now: DateTime<Utc>) -> Result<i64, DbError> {
    let count = vehicles::count_available(conn, &city.region, &city.slug, now);
    Ok(service.available.get(city, now, count).await?.1)
}

pub async fn set_status(
    service: &Service,
    auth: &SessionAuth,
    seen: &SeenVehicle,
    change: StatusChange,
    note: Option<&str>,
) -> Result<Done> {
    let set = async |conn: &Conn, write: &Write<'_>| fleet::set_status(conn, write, seen, change, note).await;
    vehicle_write(service, auth, (&seen.vehicle.region, seen.vehicle.id), set).await
}

pub async fn edit(service: &Service, auth: &SessionAuth, seen: &SeenVehicle, new: &VehicleEdit) -> Result<Done> {
    let VehicleRef { region, id } = &seen.vehicle;
    // The version holds the city: one that it leaves meanwhile refuses the edit.
    let found = fleet::find(&service.db.at(region).await?, &seen.vehicle).await?;
    allowed(service, found.as_ref().map(|found| found.city.as_str()), new.at)?;
    vehicle_write(service, auth, (region, *id), async |conn, write| fleet::edit(conn, write, seen, new).await).await
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
pub async fn end_ride(service: &Service, auth: &SessionAuth, ride: &RideRef, at: Point, place: &str) -> Result<Done> {
    let found = rides::find_rider(&service.db.at(&ride.region).await?, ride).await?;
    let (rider, city) = found.ok_or(Refusal::NoSuchRide)?;
    allowed(service, Some(&city), at)?;
    let end = RideEnd { city: &city, at, place, outside_area: false };
    let regions = [&auth.user.region, &ride.region, &rider.region];
    let done = gated(&service.db, &service.gates, regions, async |[home, there, riders]| {
        let write = Write::new(Actor::Session(auth), auth.now, (&ride.region, ride.id), [home, there]);
        let force = async |conn: &Conn| rides::force(conn, &write, &end, &rider, riders).await;
        service.db.write(&ride.region, force).await
    })
    .await?;
    if done == Done::Now {
        service.vehicles_changed(&ride.region);
    }
    Ok(done)
}
