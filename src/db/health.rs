//! What this instance knows of each region's rows: when they last answered, how long
//! the way there is, since when they are silent. A statement that would touch a silent
//! region is refused before it is sent (`statement.rs`), so nobody queues behind a
//! region that is away; the watch (`ops::watch`) asks it once a second meanwhile. Also
//! the faults that tests inject by region: one PostgreSQL cannot lose one region.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::{clock::Clock, domain::region::RegionCode};

/// A region that did not answer counts as silent for this long, unless it answers.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// What is known of one region's rows.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// When they last answered.
    pub good_at: Option<DateTime<Utc>>,
    /// How long that answer took: the round trip from here.
    pub round_trip: Option<Duration>,
    /// Since when they have not answered.
    pub silent_since: Option<DateTime<Utc>>,
    failed: Option<Instant>,
}

/// What a test does to statements that name a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They are sent this much later.
    Delay(Duration),
    /// They are never answered.
    Silent,
}

/// Faults by region, set by tests while the instance runs.
pub type Faults = RwLock<HashMap<RegionCode, Fault>>;

/// What is known of the regions.
#[derive(Debug, Default)]
pub struct Health {
    known: RwLock<HashMap<RegionCode, Known>>,
    clock: Clock,
    doubts: watch::Sender<u64>,
    faults: Option<std::sync::Arc<Faults>>,
}

impl Health {
    pub(super) fn new(faults: Option<std::sync::Arc<Faults>>) -> Self {
        Self { faults, ..Self::default() }
    }

    /// What is known of `region`.
    pub fn of(&self, region: &RegionCode) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(region).cloned().unwrap_or_default()
    }

    /// Since when `region` is silent, if it is.
    pub fn silent(&self, region: &RegionCode) -> Option<DateTime<Utc>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        silence(known.get(region)?)
    }

    /// A silent region: one of `regions`, or any when they are none.
    pub(super) fn silent_among(&self, regions: &[RegionCode], any: bool) -> Option<(RegionCode, DateTime<Utc>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = known.iter().filter(|(region, _)| any || regions.contains(region));
        found.find_map(|(region, known)| Some((region.clone(), silence(known)?)))
    }

    /// `region` answered, after so long.
    pub fn answered(&self, region: &RegionCode, round_trip: Duration) {
        let good =
            Known { good_at: Some(self.clock.now()), round_trip: Some(round_trip), silent_since: None, failed: None };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.insert(region.clone(), good).is_some_and(|before| before.silent_since.is_some()) {
            tracing::warn!(%region, "the region answers again");
        }
    }

    /// `region` did not answer. Who asks it is refused from now on if they would wait in
    /// vain (`in_vain`); where connections are refused or cut they are told at once anyway,
    /// and the next try may succeed.
    pub fn failed(&self, region: &RegionCode, in_vain: bool) {
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(region.clone()).or_default();
        known.failed = in_vain.then(Instant::now);
        if known.silent_since.is_none() {
            tracing::warn!(%region, "the region does not answer");
            known.silent_since = Some(self.clock.now());
        }
    }

    /// Asks the watch to look at regions and nodes now.
    pub(super) fn doubt(&self) {
        self.doubts.send_modify(|doubts| *doubts += 1);
    }

    /// Changes when somebody doubts that all regions and nodes answer.
    pub fn doubts(&self) -> watch::Receiver<u64> {
        self.doubts.subscribe()
    }

    /// The fault that a test has set for one of the regions, or for any.
    pub(super) async fn suffer(&self, regions: &[RegionCode], any: bool) {
        let Some(faults) = &self.faults else {
            return;
        };
        let worst = |faults: &HashMap<RegionCode, Fault>| {
            let hit: Vec<Fault> =
                faults.iter().filter(|(region, _)| any || regions.contains(region)).map(|(_, fault)| *fault).collect();
            let delay = |fault: &Fault| match fault {
                Fault::Delay(delay) => *delay,
                Fault::Silent => Duration::MAX,
            };
            hit.iter().map(delay).max()
        };
        let worst = worst(&faults.read().unwrap_or_else(PoisonError::into_inner));
        match worst {
            None => {}
            Some(Duration::MAX) => std::future::pending().await,
            Some(delay) => tokio::time::sleep(delay).await,
        }
    }
}

fn silence(known: &Known) -> Option<DateTime<Utc>> {
    known.silent_since.filter(|_| known.failed.is_some_and(|at| at.elapsed() < SILENT_FOR))
}
