//! `movr verify-data`: the invariants of a whole database. Findings name rows by ids only.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    db::{
        Db, DbError,
        verify::{self, Found, PAGE, Ride, SHOWN, Vehicle},
    },
    domain::{
        RegionCode,
        fare::{Fare, minutes_started, uncharged_seconds},
        geo,
    },
};

/// Every check: its name, and what holds when it finds nothing.
pub const CHECKS: [(&str, &str); 17] = [
    ("homes", "a person and a vehicle are at home in one region only"),
    ("regions", "people, vehicles and rides are in the region of their city"),
    ("cells", "the cell of a vehicle is that of its coordinates"),
    ("ended-rides", "an ended ride has every field of its end, an open one none"),
    ("fares", "the fare of an ended ride is the one computed from its own tariff and times"),
    ("uncharged", "what a ride did not cost is the time in which its region, or another one, was closed"),
    ("one-open-ride", "a vehicle and a rider have at most one open ride, over all regions"),
    ("open-rides-of-users", "the open ride on a person's row is their open ride, and the other way round"),
    ("open-rides-of-vehicles", "the open ride on a vehicle's row is its open ride, and the other way round"),
    ("reservations", "person and vehicle agree on every reservation that has not lapsed"),
    ("references", "nothing refers to a person, vehicle or ride that is not there"),
    ("presence", "present_in names every region with a ride, vehicle or task of the person"),
    ("events", "each version of a person, vehicle or task has one event, the last one where they are"),
    ("promo-quotas", "what was taken from a region's quota of a promo code was given to rides there"),
    ("blocked", "nobody who is blocked is signed in"),
    ("promo-limits", "nobody has used a promo code more often than it allows"),
    ("credits", "what was credited to a ride is what its events say"),
];

#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static str,
    pub region: RegionCode,
    pub what: String,
}

/// At most [`SHOWN`] findings of each check.
pub async fn run(db: &Db, regions: &[RegionCode], now: DateTime<Utc>) -> Result<Vec<Finding>, DbError> {
    let mut findings = Vec::new();
    for (check, _) in CHECKS {
        let found = match check {
            "cells" => cells(db, regions).await?,
            "fares" => fares(db, regions).await?,
            "uncharged" => uncharged(db, regions).await?,
            _ => verify::find(&db.here().await?, check, now).await?,
        };
        findings.extend(found.into_iter().map(|(region, what)| Finding { check, region, what }));
    }
    Ok(findings)
}

async fn cells(db: &Db, regions: &[RegionCode]) -> Result<Vec<Found>, DbError> {
    let wrong = |v: &Vehicle| (v.cell != geo::cell(v.at)).then(|| format!("vehicle {}: {}", v.id, v.cell));
    let list = async |region: &RegionCode, after| verify::list_vehicles(&db.at(region).await?, region, after).await;
    compare(regions, list, |vehicle| vehicle.id, wrong).await
}

async fn fares(db: &Db, regions: &[RegionCode]) -> Result<Vec<Found>, DbError> {
    let wrong = |ride: &Ride| {
        let minutes = minutes_started(ride.ended_at - ride.started_at - TimeDelta::seconds(ride.uncharged_s));
        let fare = Fare::new(ride.rate, minutes, ride.discount, ride.fee_minor);
        (ride.stored != fare).then(|| format!("ride {}: stored {:?}, computed {fare:?}", ride.id, ride.stored))
    };
    let list = async |region: &RegionCode, after| verify::list_rides(&db.at(region).await?, region, after).await;
    compare(regions, list, |ride| ride.id, wrong).await
}

/// The rider's home is not that of then any more: it is one of all regions.
async fn uncharged(db: &Db, regions: &[RegionCode]) -> Result<Vec<Found>, DbError> {
    let mut all = Vec::new();
    for region in regions {
        let closures = verify::list_closures(&db.at(region).await?, region).await?;
        all.extend(closures.into_iter().map(|span| (region.clone(), span)));
    }
    let mut found = Vec::new();
    for region in regions {
        let wrong = |ride: &Ride| {
            let ridden = (ride.started_at, ride.ended_at);
            let here = all.iter().filter(|(closed, _)| closed == region).map(|(_, span)| *span);
            let least = uncharged_seconds(ridden, here);
            let most = uncharged_seconds(ridden, all.iter().map(|(_, span)| *span));
            let stored = ride.uncharged_s;
            (!(least..=most).contains(&stored)).then(|| format!("ride {}: {stored} s, not {least} to {most}", ride.id))
        };
        let list = async |region: &RegionCode, after| verify::list_rides(&db.at(region).await?, region, after).await;
        found.extend(compare(std::slice::from_ref(region), list, |ride| ride.id, wrong).await?);
    }
    found.truncate(SHOWN);
    Ok(found)
}

/// What is `wrong` with the rows that `list` returns page by page, until enough is found.
async fn compare<T>(
    regions: &[RegionCode],
    list: impl AsyncFn(&RegionCode, Uuid) -> Result<Vec<T>, DbError>,
    id: impl Fn(&T) -> Uuid,
    wrong: impl Fn(&T) -> Option<String>,
) -> Result<Vec<Found>, DbError> {
    let mut found = Vec::new();
    for region in regions {
        let mut after = Some(Uuid::nil());
        while let Some(id_before) = after.filter(|_| found.len() < SHOWN) {
            let page = list(region, id_before).await?;
            found.extend(page.iter().filter_map(|row| Some((region.clone(), wrong(row)?))));
            after = page.last().filter(|_| page.len() == PAGE).map(&id);
        }
    }
    found.truncate(SHOWN);
    Ok(found)
}
