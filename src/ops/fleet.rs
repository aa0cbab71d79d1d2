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
        verdict::{Signed, Verdict},
    },
    domain::{
        catalogue::City,
        geo::{Point, cell},
        job::Kind,
        refusal::Refusal,
        ride::RideRef,
    },
};

/// How many vehicles of a city have each status, and as of when.
pub type Counts = (DateTime<Utc>, Vec<(String, i64)>);

/// The last counts of each city.
#[derive(Debug, Default)]
pub struct LastCounts {
    known: RwLock<HashMap<String, Counts>>,
}

/// Counts are shown until they are this old.
const COUNTS_LAST: Duration = Duration::seconds(10);

/// How many vehicles of `city` have each status, at most ten seconds ago.
pub async fn counts(app: &App, conn: &Conn, city: &City, now: DateTime<Utc>) -> Result<Counts, DbError> {
    let known = app.last_counts.known.read().unwrap_or_else(PoisonError::into_inner).get(&city.slug).cloned();
    if let Some(counts) = known.filter(|(at, _)| now - *at < COUNTS_LAST) {
        return Ok(counts);
    }
    let counts = (now, fleet::count(conn, &city.region, &city.slug).await?);
    let mut known = app.last_counts.known.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(city.slug.clone(), counts.clone());
    Ok(counts)
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
