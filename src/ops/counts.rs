//! How many vehicles a city has, counted at most every ten seconds.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use parking_lot::RwLock;

use super::Service;
use crate::{
    db::{Conn, Result, fleet, vehicles},
    domain::{City, RegionCode},
};

/// Counts by city. A count is valid for ten seconds, or one after this instance has changed
/// something in the region: people see what they did.
#[derive(Debug, Default)]
pub struct CountCache<T> {
    counted: RwLock<HashMap<String, (DateTime<Utc>, T)>>,
    changed: RwLock<HashMap<RegionCode, DateTime<Utc>>>,
}

impl<T: Clone> CountCache<T> {
    /// The valid count, else a new one from `count`.
    async fn get(
        &self,
        city: &City,
        now: DateTime<Utc>,
        count: impl Future<Output = Result<T>>,
    ) -> Result<(DateTime<Utc>, T)> {
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

/// Vehicles by status, and as of when.
pub async fn by_status(
    service: &Service,
    conn: &Conn,
    city: &City,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, Vec<(String, i64)>)> {
    service.counts.get(city, now, fleet::count(conn, &city.region, &city.slug)).await
}

/// Vehicles that could be taken.
pub async fn available(service: &Service, conn: &Conn, city: &City, now: DateTime<Utc>) -> Result<i64> {
    let count = vehicles::count_available(conn, &city.region, &city.slug, now);
    Ok(service.available.get(city, now, count).await?.1)
}
