//! What operators ask for: changing a vehicle, ending a ride for its rider; and the
//! numbers of a city's fleet, counted at most every ten seconds.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{Done, OpError, gated, signed_write};
use crate::{
    app::App,
    db::{
        bulk,
        error::DbError,
        fleet,
        fleet_changes::{self, Details, Wanted},
        ride_ends::{self, RideEnd},
        statement::Conn,
        vehicles,
        verdict::{Signed, Verdict},
    },
    domain::{
        catalogue::City,
        geo::{Point, cell},
        job::Kind,
        refusal::Refusal,
        region::RegionCode,
        ride::RideRef,
    },
};

/// How many vehicles of a city have each status, and as of when.
pub type Counts = (DateTime<Utc>, Vec<(String, i64)>);

/// What was counted in each city. A count serves for ten seconds, or for one where this
/// instance has changed something in the region since: people see what they did.
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
    /// The count as of then, by `count` where none serves any more.
    async fn get(
        &self,
        city: &City,
        now: DateTime<Utc>,
        count: impl Future<Output = Result<T, DbError>>,
    ) -> Result<(DateTime<Utc>, T), DbError> {
        let known = self.counted.read().unwrap_or_else(PoisonError::into_inner).get(&city.slug).cloned();
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner).get(&city.region).copied();
        let serves = |at: DateTime<Utc>| {
            let age = if changed.is_some_and(|changed| changed >= at) { 1 } else { 10 };
            now - at < Duration::seconds(age)
        };
        if let Some(known) = known.filter(|(at, _)| serves(*at)) {
            return Ok(known);
        }
        let counts = (now, count.await?);
        let mut counted = self.counted.write().unwrap_or_else(PoisonError::into_inner);
        counted.insert(city.slug.clone(), counts.clone());
        Ok(counts)
    }

    /// Something was changed in `region` now.
    pub fn changed(&self, region: &RegionCode, now: DateTime<Utc>) {
        self.changed.write().unwrap_or_else(PoisonError::into_inner).insert(region.clone(), now);
    }
}

/// How many vehicles of `city` have each status, at most ten seconds ago.
pub async fn counts(app: &App, conn: &Conn, city: &City, now: DateTime<Utc>) -> Result<Counts, DbError> {
    app.last_counts.get(city, now, fleet::count(conn, &city.region, &city.slug)).await
}

/// How many vehicles of `city` could be taken, at most ten seconds ago.
pub async fn count_available(app: &App, conn: &Conn, city: &City, now: DateTime<Utc>) -> Result<i64, DbError> {
    let count = vehicles::count_available(conn, &city.region, &city.slug, now);
    Ok(app.last_available.get(city, now, count).await?.1)
}

/// Does `kind` of change with a vehicle.
pub async fn act(app: &App, signed: &Signed, wanted: &Wanted, kind: Kind, note: Option<&str>) -> Result<Done, OpError> {
    let region = &wanted.vehicle.region;
    signed_write(app, signed, region, async |signed, epoch| {
        let act = async |conn: &Conn| fleet_changes::set_status(conn, signed, wanted, epoch, kind, note).await;
        app.db.write(region, act).await
    })
    .await
}

/// Says something else of a vehicle.
pub async fn edit(app: &App, signed: &Signed, wanted: &Wanted, new: &Details) -> Result<Done, OpError> {
    let region = &wanted.vehicle.region;
    // The version holds the city: one that it leaves meanwhile refuses the edit.
    let found = fleet::find(&app.db.at(region).await?, &wanted.vehicle).await?;
    allowed(app, found.as_ref().map(|found| found.city.as_str()), new.at)?;
    signed_write(app, signed, region, async |signed, epoch| {
        app.db.write(region, async |conn| fleet_changes::edit(conn, signed, wanted, epoch, new).await).await
    })
    .await
}

/// Refuses a place that is none of the city; what is in no city is refused by its statement.
fn allowed(app: &App, city: Option<&str>, at: Point) -> Result<(), Refusal> {
    let catalogue = app.catalogue();
    let checked = city.and_then(|slug| catalogue.city(slug)).map_or(Ok(at), |city| city.check(at));
    checked.map(drop).map_err(Refusal::TooFar)
}

/// Puts a vehicle into another city of its region.
pub async fn move_to(app: &App, signed: &Signed, wanted: &Wanted, city: &str) -> Result<Done, OpError> {
    let region = &wanted.vehicle.region;
    let catalogue = app.catalogue();
    let city = catalogue.city(city).filter(|city| city.region == *region).ok_or(Refusal::Changed)?;
    let place = (city.centre, cell(city.centre), bulk::DEPOT);
    signed_write(app, signed, region, async |signed, epoch| {
        let go = async |conn: &Conn| fleet_changes::move_to(conn, signed, wanted, epoch, &city.slug, place).await;
        app.db.write(region, go).await
    })
    .await
}

/// Ends the open ride `ride` for its rider, who is told on their next page. No fee is due
/// for where the vehicle stands.
pub async fn end_ride(app: &App, signed: &Signed, ride: &RideRef, at: Point, place: &str) -> Result<Done, OpError> {
    let found = ride_ends::find_rider(&app.db.at(&ride.region).await?, ride).await?;
    let (rider, city) = found.ok_or(Refusal::NoSuchRide)?;
    allowed(app, Some(&city), at)?;
    let end = RideEnd {
        ride: ride.clone(),
        city,
        at,
        cell: cell(at),
        place: place.to_owned(),
        outside_area: false,
        public_id: Uuid::new_v4(),
    };
    gated(&app.db, &app.gates, &[&signed.user.region, &ride.region, &rider.region], async |epochs| {
        let [home, there, riders] = epochs else {
            return Ok(Verdict::Gate);
        };
        let signed = Signed { epoch: *home, ..signed.clone() };
        let force = async |conn: &Conn| ride_ends::force(conn, &signed, &end, &rider, (*there, *riders)).await;
        app.db.write(&ride.region, force).await
    })
    .await
}
