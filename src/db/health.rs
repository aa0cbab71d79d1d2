//! A circuit breaker for each region's rows. Statements for a region whose circuit is open are
//! refused before they are sent, so nobody queues for it. Probes (`ops::watch`) open and half-open
//! it; answers to ordinary statements keep it closed. Tests inject faults here, since one
//! PostgreSQL cannot lose one region.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{clock::Clock, domain::RegionCode};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Circuit {
    #[default]
    Closed,
    Suspected(u32),
    Open,
    /// A probe was answered: statements are sent, and the first one decides.
    HalfOpen,
}

#[derive(Debug, Clone, Default)]
pub struct Known {
    pub good_at: Option<DateTime<Utc>>,
    pub round_trip: Option<Duration>,
    /// Since when its circuit is open or connecting fails.
    pub unreachable_since: Option<DateTime<Utc>>,
    pub circuit: Circuit,
    answered: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Late,
    /// Connecting was refused, or the connection was cut: callers learn that at once anyway, and
    /// the next try may succeed, so this does not open the circuit.
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Unreachable,
    /// Only probes are delayed, by this much.
    SlowProbe(Duration),
}

/// Set by tests while the instance runs.
pub type Faults = RwLock<HashMap<RegionCode, Fault>>;

#[derive(Debug)]
pub struct Health {
    known: RwLock<HashMap<RegionCode, Known>>,
    clock: Clock,
    suspicions: watch::Sender<u64>,
    threshold: u32,
    /// Connections of this instance's nodes that may wait for one other region.
    share: usize,
    shares: Mutex<HashMap<RegionCode, Arc<Semaphore>>>,
    faults: Option<Arc<Faults>>,
}

impl Health {
    pub(super) fn new(threshold: u32, share: usize, faults: Option<Arc<Faults>>) -> Self {
        Self {
            known: RwLock::default(),
            clock: Clock::default(),
            suspicions: watch::Sender::default(),
            threshold,
            share,
            shares: Mutex::default(),
            faults,
        }
    }

    pub fn of(&self, region: &RegionCode) -> Known {
        self.known.read().get(region).cloned().unwrap_or_default()
    }

    pub fn refused(&self, region: &RegionCode) -> Option<DateTime<Utc>> {
        open(self.known.read().get(region)?)
    }

    /// A region whose circuit is open: one of `regions`, or any.
    pub(super) fn refused_among(&self, regions: &[RegionCode], any: bool) -> Option<(RegionCode, DateTime<Utc>)> {
        let known = self.known.read();
        let mut found = known.iter().filter(|(region, _)| any || regions.contains(region));
        found.find_map(|(region, known)| Some((region.clone(), open(known)?)))
    }

    /// A probe of `region` was answered: an open circuit lets ordinary statements through, and one
    /// more answer closes it.
    pub fn probed(&self, region: &RegionCode, round_trip: Duration) {
        let mut all = self.known.write();
        let known = all.entry(region.clone()).or_default();
        if known.unreachable_since.take().is_some() {
            tracing::warn!(%region, "the region answers again");
        }
        known.circuit = if known.circuit == Circuit::Open { Circuit::HalfOpen } else { Circuit::Closed };
        (known.good_at, known.round_trip) = (Some(self.clock.now()), Some(round_trip));
        known.answered = Some(Instant::now());
    }

    /// An ordinary statement that named these regions was answered: all of them are reachable.
    pub(super) fn answered(&self, regions: &[RegionCode]) {
        let on_trial = |known: &Known| matches!(known.circuit, Circuit::Suspected(_) | Circuit::HalfOpen);
        let now = Instant::now();
        // Every statement comes by here: where all is well nothing is written each time.
        let noted = |known: &Known| !on_trial(known) && known.answered.is_some_and(|at| now - at <= FRESH);
        let all = self.known.read();
        if regions.iter().all(|region| all.get(region).is_some_and(noted)) {
            return;
        }
        drop(all);
        let mut all = self.known.write();
        for region in regions {
            let known = all.entry(region.clone()).or_default();
            known.answered = Some(now);
            if on_trial(known) {
                known.circuit = Circuit::Closed;
            }
        }
    }

    /// An ordinary statement that named these regions was not answered in time. There may be many
    /// reasons, so only a half-open circuit opens.
    pub(super) fn unanswered(&self, regions: &[RegionCode]) {
        let mut all = self.known.write();
        for region in regions {
            if let Some(known) = all.get_mut(region).filter(|known| known.circuit == Circuit::HalfOpen) {
                known.circuit = Circuit::Open;
                known.unreachable_since = Some(self.clock.now());
            }
        }
    }

    pub fn failed(&self, region: &RegionCode, began: Instant, failure: Failure) {
        let mut all = self.known.write();
        let known = all.entry(region.clone()).or_default();
        // What was answered since proves more than one probe that came to nothing.
        if known.answered.is_some_and(|at| at + FRESH > began) && failure == Failure::Late {
            return;
        }
        known.circuit = match (known.circuit, failure) {
            (circuit, Failure::Cut) => circuit,
            (Circuit::Closed, Failure::Late) if self.threshold > 1 => Circuit::Suspected(1),
            (Circuit::Suspected(n), Failure::Late) if n + 1 < self.threshold => Circuit::Suspected(n + 1),
            (_, Failure::Late) => Circuit::Open,
        };
        let unreachable = known.circuit == Circuit::Open || failure == Failure::Cut;
        if unreachable && known.unreachable_since.is_none() {
            tracing::warn!(%region, ?failure, "the region cannot be reached");
            known.unreachable_since = Some(self.clock.now());
        }
    }

    /// A region or node may be down: asks for probes now.
    pub(super) fn suspect(&self) {
        self.suspicions.send_modify(|suspicions| *suspicions += 1);
    }

    pub fn suspicions(&self) -> watch::Receiver<u64> {
        self.suspicions.subscribe()
    }

    /// A permit to wait for `region`, which is another one, on this instance's connections: while
    /// it does not answer and its circuit is still closed, the rest stay free.
    pub(super) async fn permit(&self, region: &RegionCode) -> Option<OwnedSemaphorePermit> {
        let new = || Arc::new(Semaphore::new(self.share));
        let share = Arc::clone(self.shares.lock().entry(region.clone()).or_insert_with(new));
        share.acquire_owned().await.ok()
    }

    /// Applies the fault that a test has set for one of the regions, or for any.
    pub(super) async fn inject_fault(&self, regions: &[RegionCode], any: bool, probe: bool) {
        let Some(faults) = &self.faults else {
            return;
        };
        let delay = |(region, fault): (&RegionCode, &Fault)| match fault {
            _ if !any && !regions.contains(region) => None,
            Fault::SlowProbe(delay) => probe.then_some(*delay),
            Fault::Unreachable => Some(Duration::MAX),
        };
        let longest = faults.read().iter().filter_map(delay).max();
        if let Some(longest) = longest {
            // The longest sleep never ends.
            tokio::time::sleep(longest).await;
        }
    }
}

/// How often an answer is noted, and so how long it is taken to hold.
const FRESH: Duration = Duration::from_millis(100);

fn open(known: &Known) -> Option<DateTime<Utc>> {
    known.unreachable_since.filter(|_| known.circuit == Circuit::Open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(threshold: u32) -> (Health, RegionCode) {
        (Health::new(threshold, 1, None), "us-east1".parse().unwrap())
    }

    #[test]
    fn only_several_probes_in_a_row_open_a_circuit() {
        let (health, region) = health(3);
        let late = || health.failed(&region, Instant::now() + FRESH * 2, Failure::Late);
        for expected in [Circuit::Suspected(1), Circuit::Suspected(2), Circuit::Open, Circuit::Open] {
            late();
            assert_eq!(health.of(&region).circuit, expected);
            assert_eq!(health.refused(&region).is_some(), expected == Circuit::Open);
        }
        health.probed(&region, Duration::ZERO);
        assert_eq!((health.of(&region).circuit, health.refused(&region)), (Circuit::HalfOpen, None));
        health.unanswered(std::slice::from_ref(&region));
        assert!(health.refused(&region).is_some(), "the first statement decides");
        health.probed(&region, Duration::ZERO);
        health.answered(std::slice::from_ref(&region));
        assert_eq!(health.of(&region).circuit, Circuit::Closed);
        late();
        health.answered(std::slice::from_ref(&region));
        late();
        assert_eq!(health.of(&region).circuit, Circuit::Suspected(1), "not in a row");
        health.unanswered(std::slice::from_ref(&region));
        assert_eq!(health.of(&region).circuit, Circuit::Suspected(1), "a slow statement opens nothing");
    }

    #[test]
    fn a_probe_is_outdone_by_an_answer_that_came_after_it_began() {
        let (health, region) = health(1);
        let began = Instant::now();
        health.answered(std::slice::from_ref(&region));
        health.failed(&region, began, Failure::Late);
        assert_eq!(health.of(&region).circuit, Circuit::Closed);
    }

    #[test]
    fn a_cut_connection_is_told_and_refuses_nothing() {
        let (health, region) = health(3);
        health.failed(&region, Instant::now(), Failure::Cut);
        assert!(health.of(&region).unreachable_since.is_some() && health.refused(&region).is_none());
        health.probed(&region, Duration::ZERO);
        assert_eq!(health.of(&region).unreachable_since, None);
    }
}
