//! Vehicles: the nearest ones, reserving one, and what their riders report about them.

use parking_lot::RwLock;
use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{Done, Result, Service, gated_write, vehicle_write};
use crate::{
    db::{
        Conn, DbError, SessionAuth, reservations,
        stale::{REPLICA_DEADLINE, REPLICA_LAG},
        tasks,
        vehicles::{self, NEAREST_LIMIT, Nearby, Search},
    },
    domain::{
        City, Point, PublicVehicle, RegionCode,
        geo::{Level, block_ranges, cell, level_for_radius, retry_level},
        vehicle::RESERVATION_MINUTES,
    },
};

/// How far the 25th vehicle was around each point, which decides how much of the index the next
/// search reads. In memory only; wrong ones cost time, never an answer.
pub type Levels = RwLock<HashMap<Around, Level>>;

/// City, type, quarter of the battery, and the block of about a kilometre around the point.
pub type Around = (String, Option<String>, i64, i64);

/// Bits of a cell that are dropped to get that block: 2^12 steps of about 30 cm a side.
const BLOCK_BITS: u32 = 24;
/// More blocks than a deployment's cities have; beyond it the memory is cleared.
const PLACES: usize = 20_000;

/// The nearest available vehicles, exactly: the first search reads as much as was enough the last
/// time around here; if that is too little, a wider one follows.
pub async fn nearest(service: &Service, conn: &Conn, search: &Search<'_>) -> Result<Vec<Nearby>, DbError> {
    let around = (
        search.city.to_owned(),
        search.vehicle_type.map(str::to_owned),
        search.battery / 25,
        cell(search.point) >> BLOCK_BITS,
    );
    let known = match search.after {
        Some((metres, _)) => level_for_radius(search.point, metres * 1.5),
        None => service.levels.read().get(&around).copied().unwrap_or(Level::WHOLE),
    };
    let mut level = known;
    let mut found = vehicles::list_nearest(conn, search, &block_ranges(search.point, level)).await?;
    let farthest = |found: &[Nearby]| found.get(NEAREST_LIMIT - 1).map(|last| last.distance_m);
    while let Some(wider) = retry_level(search.point, level, farthest(&found)) {
        level = wider;
        found = vehicles::list_nearest(conn, search, &block_ranges(search.point, level)).await?;
    }
    // Half as far again, so that a vehicle that leaves does not make the next answer too small:
    // one in fifty questions is asked twice, and half as many candidates are read as with twice as far.
    let next = farthest(&found).map_or(Level::WHOLE, |metres| level_for_radius(search.point, metres * 1.5));
    if next != known && search.after.is_none() {
        let mut levels = service.levels.write();
        if levels.len() >= PLACES {
            levels.clear();
        }
        levels.insert(around, next);
    }
    Ok(found)
}

/// The last good list of each city, for the time when its region is unreachable. Bounded by the
/// cities of the catalogue.
#[derive(Debug, Default)]
pub struct ListCache {
    known: RwLock<HashMap<String, CachedList>>,
    /// When replicas last failed us; they are not asked again at every page.
    no_replica: RwLock<Option<DateTime<Utc>>>,
}

/// A list, and when it was true.
type CachedList = (DateTime<Utc>, Vec<Nearby>);

#[derive(Debug)]
pub struct StaleList {
    pub as_of: DateTime<Utc>,
    /// `replica` or `memory`.
    pub source: &'static str,
    pub near: Vec<Nearby>,
}

/// A list in memory is renewed when it is older than this.
const RENEW: Duration = Duration::seconds(1);

impl ListCache {
    /// Keeps the list of `search` if it would serve everybody.
    pub fn keep(&self, search: &Search<'_>, centre: Point, near: &[Nearby]) {
        let narrower = search.vehicle_type.is_some() || search.battery > 0 || search.after.is_some();
        if narrower || search.point != centre {
            return;
        }
        let known = self.known.read();
        if known.get(search.city).is_some_and(|(at, _)| search.now - *at < RENEW) {
            return;
        }
        drop(known);
        // What one person has reserved is nobody else's business.
        let free = near.iter().filter(|vehicle| vehicle.reserved_until.is_none()).cloned().collect();
        let mut known = self.known.write();
        known.insert(search.city.to_owned(), (search.now, free));
    }

    /// How old a list of an unreachable region would be, and its source.
    pub fn would_show(&self, service: &Service, region: &RegionCode) -> (Option<DateTime<Utc>>, &'static str) {
        if service.db.engine().regions
            && let Some(good_at) = service.db.health().of(region).good_at
        {
            return (Some(good_at - REPLICA_LAG), "replica");
        }
        let (catalogue, known) = (service.catalogue(), self.known.read());
        let newest =
            catalogue.cities_of(region).filter_map(|city| known.get(&city.slug)).map(|(as_of, _)| *as_of).max();
        (newest, if newest.is_some() { "memory" } else { "none" })
    }

    fn find(&self, search: &Search<'_>) -> Option<StaleList> {
        let known = self.known.read();
        let (as_of, near) = known.get(search.city)?;
        let fits =
            |v: &&Nearby| v.battery >= search.battery && search.vehicle_type.is_none_or(|ty| v.vehicle_type == ty);
        let from_here = |v: &Nearby| Nearby { distance_m: v.at.distance_m(search.point), ..v.clone() };
        let mut near: Vec<Nearby> = near.iter().filter(fits).map(from_here).collect();
        near.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m));
        Some(StaleList { as_of: *as_of, source: "memory", near })
    }
}

/// The list while the city's region does not answer: from a replica, as of the time when the region
/// was last known good; else the last good one in memory.
pub async fn nearest_stale(service: &Service, search: &Search<'_>) -> Option<StaleList> {
    let failed = *service.lists.no_replica.read();
    if service.db.engine().regions
        && let Some(good_at) = service.db.health().of(search.region).good_at
        && failed.is_none_or(|failed| search.now - failed > REPLICA_LAG)
    {
        let as_of = good_at - REPLICA_LAG;
        let then = Search { now: as_of, rider: None, ..search.clone() };
        match service.db.read_as_of(as_of, REPLICA_DEADLINE, async |conn| nearest(service, conn, &then).await).await {
            Ok(near) => {
                service.stale_read(search.region);
                return Some(StaleList { as_of, source: "replica", near });
            }
            Err(error) => {
                tracing::warn!(%error, region = %search.region, "no replica near here answers for the unreachable region");
                *service.lists.no_replica.write() = Some(search.now);
            }
        }
    }
    service.lists.find(search).inspect(|_| service.stale_read(search.region))
}

/// For ten minutes. City and type are what the page said.
pub async fn reserve(
    service: &Service,
    auth: &SessionAuth,
    vehicle: &PublicVehicle,
    city_and_type: (&str, &str),
) -> Result<Done> {
    if let Some(paused) = service.catalogue().city(city_and_type.0).and_then(City::refusal) {
        return Err(paused.into());
    }
    let until = auth.now + Duration::minutes(RESERVATION_MINUTES);
    let command = Uuid::new_v4();
    vehicle_write(service, auth, (&vehicle.region, vehicle.public_id), async |conn, write| {
        reservations::make(conn, write, city_and_type, until, command).await
    })
    .await
}

/// Does for this region what the end of a reservation by its rider does at once.
pub async fn withdraw_reported(service: &Service) -> Result<()> {
    let Service { db, gates, here, clock, .. } = service;
    let withdraw = async |conn: &Conn, epoch| tasks::withdraw(conn, here, epoch, clock.now()).await;
    if gated_write(db, gates, here, withdraw).await? == Done::Now {
        service.vehicles_changed(here);
    }
    Ok(())
}
