//! Checks that count: uses of promo codes against quotas and limits, events against
//! versions. Both are collected over all regions, because people and vehicles move and
//! leave events and rides behind.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::{EVENTS, LIMITS, QUOTAS, REFERENCES, Report, named, pages, rows::Seen};
use crate::{
    db::{Db, error::DbError, verify},
    domain::{catalogue::Catalogue, region::RegionCode, ride::RideRef},
};

/// Promo codes are counted by rides, which stay when a person's redemptions are erased.
pub(super) async fn promos(
    db: &Db,
    regions: &[RegionCode],
    catalogue: &Catalogue,
    seen: &Seen,
    report: &mut Report,
) -> Result<(), DbError> {
    let mut redeemed = HashSet::new();
    let mut uses: HashMap<(Uuid, String), i64> = HashMap::new();
    let mut taken: BTreeMap<(RegionCode, String), i64> = BTreeMap::new();
    for region in regions {
        let conn = db.at(region).await?;
        let list = async |after| verify::list_redemptions(&conn, region, after).await;
        let each = |it: verify::Redemption| {
            let ride = RideRef { region: it.ride.0, id: it.ride.1 };
            let there = seen.promo.get(&ride).is_some_and(|(code, rider)| *code == it.code && *rider == Some(it.user));
            report.check(REFERENCES, region, there, || {
                named("redemption by user", it.user, format!("no ride {} with it", ride.id))
            });
            redeemed.insert(ride);
            let count = uses.entry((it.user, it.code.clone())).or_default();
            *count += 1;
            let most = catalogue.promo_code(&it.code).map_or(i64::MAX, |promo| promo.per_rider_limit);
            report.check(LIMITS, region, *count <= most, || {
                named("user", it.user, format!("{} used more than {most} times", it.code))
            });
        };
        pages((Uuid::nil(), String::new(), Uuid::nil()), list, |it| (it.user, it.code.clone(), it.ride.1), each)
            .await?;
        let list = async |after| verify::list_quotas(&conn, region, after).await;
        let each = |(code, used)| {
            taken.insert((region.clone(), code), used);
        };
        pages(String::new(), list, |(code, _)| code.clone(), each).await?;
    }
    for (ride, (code, rider)) in &seen.promo {
        let noted = rider.is_none() || redeemed.contains(ride);
        report
            .check(QUOTAS, &ride.region, noted, || named("ride", ride.id, format!("{code} was never redeemed for it")));
        *taken.entry((ride.region.clone(), code.clone())).or_default() -= 1;
    }
    for ((region, code), left) in &taken {
        report.check(QUOTAS, region, *left == 0, || named("quota", code, format!("{left} more taken than rides have")));
    }
    Ok(())
}

/// Things move between regions and leave their events behind, so these are collected
/// over all regions; the newest lies where the thing is. An erased person's events stay
/// without the person.
pub(super) async fn events(
    db: &Db,
    regions: &[RegionCode],
    kind: &str,
    mut rows: HashMap<Uuid, (RegionCode, i64)>,
    report: &mut Report,
) -> Result<(), DbError> {
    let mut events: HashMap<Uuid, Vec<(i64, &RegionCode)>> = HashMap::new();
    for region in regions {
        let conn = db.at(region).await?;
        let list = async |after| verify::list_events(&conn, region, kind, after).await;
        let each = |(id, version)| events.entry(id).or_default().push((version, region));
        pages((Uuid::nil(), 0), list, |key| *key, each).await?;
    }
    for (id, mut found) in events {
        found.sort_unstable();
        let Some(&(newest, region)) = found.last() else { continue };
        let row = rows.remove(&id);
        report.check(REFERENCES, region, row.is_some() || kind == "user", || {
            named(kind, id, "has events but is not there")
        });
        let versions: Vec<i64> = found.iter().map(|(version, _)| *version).collect();
        let (home, last) = row.unwrap_or_else(|| (region.clone(), newest));
        let complete = (1..=last).eq(versions.iter().copied());
        report.check(EVENTS, region, complete, || {
            named(kind, id, format!("version {last}, events {}", ranges(&versions)))
        });
        report.check(EVENTS, region, home == *region, || named(kind, id, format!("is in {home}, its last event here")));
    }
    for (id, (region, version)) in rows {
        report.check(EVENTS, &region, false, || named(kind, id, format!("version {version}, no events")));
    }
    Ok(())
}

/// Sorted versions as a person reads them: `1-4 6-7`; a repeated one stands twice.
fn ranges(versions: &[i64]) -> String {
    let runs = versions.chunk_by(|a, b| a + 1 == *b).filter_map(|run| Some((run.first()?, run.last()?)));
    runs.map(|(a, b)| format!("{a}-{b}")).collect::<Vec<_>>().join(" ")
}
