//! `movr verify-data`: the invariants of a whole database, looked at region by region
//! and compared in memory. Findings name rows by id only. The database may be in use
//! meanwhile: rows read at different times can disagree for a moment, so whatever is
//! found is looked at a second time and only what both looks saw is reported.

mod history;
mod rows;

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    db::{
        Db,
        error::DbError,
        verify::{self, PAGE, Ride},
    },
    domain::{catalogue::Catalogue, region::RegionCode},
};
use rows::Seen;

const HOMES: &str = "homes";
const REGIONS: &str = "regions";
const CELLS: &str = "cells";
const ENDED: &str = "ended-rides";
const FARES: &str = "fares";
const ONE_OPEN: &str = "one-open-ride";
const OPEN_USERS: &str = "open-rides-of-users";
const OPEN_VEHICLES: &str = "open-rides-of-vehicles";
const RESERVED: &str = "reservations";
const REFERENCES: &str = "references";
const PRESENCE: &str = "presence";
const EVENTS: &str = "events";
const QUOTAS: &str = "promo-quotas";
const LIMITS: &str = "promo-limits";

/// Every check: its name, and what holds when it finds nothing.
pub const CHECKS: [(&str, &str); 14] = [
    (HOMES, "a person and a vehicle are at home in one region only"),
    (REGIONS, "people, vehicles and rides are in the region of their city"),
    (CELLS, "the cell of a vehicle is that of its coordinates"),
    (ENDED, "an ended ride has every field of its end, an open one none"),
    (FARES, "the fare of an ended ride is the one computed from its own tariff and times"),
    (ONE_OPEN, "a vehicle and a rider have at most one open ride, over all regions"),
    (OPEN_USERS, "the open ride on a person's row is their open ride, and the other way round"),
    (OPEN_VEHICLES, "the open ride on a vehicle's row is its open ride, and the other way round"),
    (RESERVED, "person and vehicle agree on every reservation that has not lapsed"),
    (REFERENCES, "nothing refers to a person, vehicle or ride that is not there"),
    (PRESENCE, "present_in names every region with a ride or vehicle of the person"),
    (EVENTS, "each version of a person and of a vehicle has one event, the last one where they are"),
    (QUOTAS, "what was taken from a region's quota of a promo code was given to rides there"),
    (LIMITS, "nobody has used a promo code more often than it allows"),
];

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub check: &'static str,
    pub region: Option<RegionCode>,
    /// Which row and what about it, by ids only.
    pub what: String,
}

/// What `run` looked at and found.
#[derive(Debug, Default)]
pub struct Report {
    pub looked_at: BTreeMap<&'static str, u64>,
    /// What does not hold, by check and region.
    pub findings: Vec<Finding>,
}

impl Report {
    fn check(&mut self, check: &'static str, region: &RegionCode, holds: bool, what: impl FnOnce() -> String) {
        *self.looked_at.entry(check).or_default() += 1;
        if !holds {
            self.findings.push(Finding { check, region: Some(region.clone()), what: what() });
        }
    }
}

/// Checks every row of `regions` against the others and against the catalogue.
pub async fn run(
    db: &Db,
    regions: &[RegionCode],
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<Report, DbError> {
    let first = look(db, regions, catalogue, now).await?;
    if first.findings.is_empty() {
        return Ok(first);
    }
    let mut again = look(db, regions, catalogue, now).await?;
    again.findings.retain(|finding| first.findings.contains(finding));
    again.findings.sort();
    Ok(again)
}

async fn look(db: &Db, regions: &[RegionCode], catalogue: &Catalogue, now: DateTime<Utc>) -> Result<Report, DbError> {
    let (mut seen, mut report) = (Seen::default(), Report::default());
    for region in regions {
        seen.erased.extend(verify::list_erased(&db.at(region).await?, region).await?);
    }
    for region in regions {
        let conn = db.at(region).await?;
        let list = async |after| verify::list_users(&conn, region, after).await;
        pages(Uuid::nil(), list, |u| u.id, |u| seen.user(&mut report, catalogue, region, u)).await?;
        let list = async |after| verify::list_vehicles(&conn, region, after).await;
        pages(Uuid::nil(), list, |v| v.id, |v| seen.vehicle(&mut report, catalogue, region, v)).await?;
    }
    for region in regions {
        let conn = db.at(region).await?;
        let mut rides = HashSet::new();
        let list = async |after| verify::list_rides(&conn, region, after).await;
        let each = |ride: Ride| {
            rides.insert(ride.id);
            seen.ride(&mut report, catalogue, region, ride);
        };
        pages(Uuid::nil(), list, |r| r.id, each).await?;
        let list = async |after| verify::list_positions(&conn, region, after).await;
        let each = |(ride, at)| {
            report.check(REFERENCES, region, rides.contains(&ride), || {
                format!("position of ride {ride} at {at}: no ride")
            });
        };
        pages((Uuid::nil(), DateTime::UNIX_EPOCH), list, |key| *key, each).await?;
    }
    seen.open_rides(&mut report);
    seen.reservations(&mut report, now);
    seen.presence(&mut report);
    history::promos(db, regions, catalogue, &seen, &mut report).await?;
    let people = seen.users.iter().map(|(id, (region, user))| (*id, (region.clone(), user.version))).collect();
    history::events(db, regions, "user", people, &mut report).await?;
    let vehicles = seen.vehicles.iter().map(|(id, (region, it))| (*id, (region.clone(), it.version))).collect();
    history::events(db, regions, "vehicle", vehicles, &mut report).await?;
    Ok(report)
}

/// Calls `each` for every row that `list` gives behind `start`, page after page.
async fn pages<K: Clone, T>(
    start: K,
    list: impl AsyncFn(K) -> Result<Vec<T>, DbError>,
    key: impl Fn(&T) -> K,
    mut each: impl FnMut(T),
) -> Result<(), DbError> {
    let mut after = start;
    loop {
        let page = list(after.clone()).await?;
        let full = page.len() == PAGE;
        if let Some(last) = page.last() {
            after = key(last);
        }
        page.into_iter().for_each(&mut each);
        if !full {
            return Ok(());
        }
    }
}

fn named(what: &str, id: impl Display, wrong: impl Display) -> String {
    format!("{what} {id}: {wrong}")
}
