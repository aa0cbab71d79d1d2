//! The figures of each region for operators and administrators: from the nearest replica where
//! there are some, else from the region; when it does not answer, as last seen here. With replicas
//! all regions are read as of one time, so that the same page can be shown again.

use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::Service;
use crate::{
    db::{
        Conn, DbError,
        overview::{self, Figures},
        stale::REPLICA_LAG,
    },
    domain::{Catalogue, City, RegionCode},
};

pub type Dated = (DateTime<Utc>, Arc<Figures>);

/// The last good figures of each region, and so bounded.
#[derive(Debug, Default)]
pub struct FiguresCache(RwLock<HashMap<RegionCode, Dated>>);

#[derive(Debug, Clone)]
pub struct Answer {
    /// None when they are unknown, or not visible here.
    pub figures: Option<Dated>,
    /// `strong`, `replica`, `memory` or `none`.
    pub source: &'static str,
    /// The region's policy keeps its figures in its own jurisdiction (rule `analytics`).
    pub hidden: bool,
    /// The region has not answered at least since then.
    pub unreachable_since: Option<DateTime<Utc>>,
}

/// The time at which figures asked for `now` are read: one time for all regions.
pub fn time_of(service: &Service, now: DateTime<Utc>) -> DateTime<Utc> {
    if service.db.engine().regions { now - REPLICA_LAG } else { now }
}

/// Whether the policy of `region` lets an instance here count its rows.
pub fn may_count(catalogue: &Catalogue, region: &RegionCode, here: &RegionCode) -> bool {
    catalogue.same_law(region, here) || catalogue.policy(region).is_some_and(|policy| policy.analytics)
}

/// The figures of `region` at `at`; `again` when a time of the past was asked for.
pub async fn ask(
    service: &Service,
    catalogue: &Catalogue,
    region: &RegionCode,
    at: DateTime<Utc>,
    again: bool,
) -> Answer {
    let nothing = Answer { figures: None, source: "none", hidden: false, unreachable_since: None };
    if !may_count(catalogue, region, &service.here) {
        return Answer { hidden: true, ..nothing };
    }
    let cities: Vec<&City> = catalogue.cities_of(region).collect();
    match read(service, region, &cities, at).await {
        Ok((at, figures)) => {
            let figures = Arc::new(figures);
            if !again {
                service.figures.0.write().insert(region.clone(), (at, Arc::clone(&figures)));
            }
            let source = if service.db.engine().regions { "replica" } else { "strong" };
            Answer { figures: Some((at, figures)), source, ..nothing }
        }
        Err(error) => {
            tracing::warn!(%error, %region, "figures were not read");
            let unreachable_since = service.db.health().of(region).unreachable_since.or(Some(at));
            let figures = service.figures.0.read().get(region).filter(|_| !again).cloned();
            if figures.is_some() {
                service.stale_read(region);
            }
            let source = if figures.is_some() { "memory" } else { "none" };
            Answer { figures, source, unreachable_since, ..nothing }
        }
    }
}

async fn read(
    service: &Service,
    region: &RegionCode,
    cities: &[&City],
    at: DateTime<Utc>,
) -> Result<(DateTime<Utc>, Figures), DbError> {
    if !service.db.engine().regions {
        return Ok((at, overview::figures(&service.db.at(region).await?, region, cities, at).await?));
    }
    // The replicas of an unreachable region know nothing later than its last good time.
    let known = service.db.health().of(region);
    let latest = known.unreachable_since.and(known.good_at).map_or(at, |good_at| at.min(good_at - REPLICA_LAG));
    let figures = async |conn: &Conn| overview::figures(conn, region, cities, latest).await;
    Ok((latest, service.db.read_as_of(latest, service.config.database.statement_timeout, figures).await?))
}
