//! What a request costs the database: statements, waits, rows, time, and the regions
//! that were really bound. Counted where statements are sent; the frame of a request
//! sets it up. The surprise: statements under way together are one wait, and what was
//! sent in one turn of the request's future went out together.

use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::statement::Statement;
use crate::domain::region::RegionCode;

/// What one request (or command) asked of the database.
#[derive(Debug, Default)]
pub struct Meter {
    statements: AtomicU32,
    waits: AtomicU32,
    in_flight: AtomicU32,
    turn: AtomicU32,
    waited_in: AtomicU32,
    attempts: AtomicU32,
    rows: AtomicU64,
    busy_us: AtomicU64,
    since: Mutex<Option<Instant>>,
    regions: Mutex<BTreeSet<RegionCode>>,
    everywhere: AtomicBool,
    wrote: AtomicBool,
    names: Mutex<Vec<&'static str>>,
}

/// The figures of a meter at one moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub statements: u32,
    /// Round trips waited for: statements under way together are one wait.
    pub waits: u32,
    /// Repetitions after contention or an unclear outcome.
    pub retries: u32,
    pub rows: u64,
    /// Time with at least one statement under way.
    pub busy: Duration,
    pub regions: Vec<RegionCode>,
    pub everywhere: bool,
    /// Names of the statements, in the order sent.
    pub names: Vec<&'static str>,
}

tokio::task_local! {
    pub(super) static METER: Arc<Meter>;
}

impl Meter {
    /// What was counted so far.
    pub fn figures(&self) -> Figures {
        Figures {
            statements: self.statements.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            retries: self.attempts.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            busy: Duration::from_micros(self.busy_us.load(Ordering::Relaxed)),
            regions: lock(&self.regions).iter().cloned().collect(),
            everywhere: self.everywhere.load(Ordering::Relaxed),
            names: lock(&self.names).clone(),
        }
    }

    /// What the request (or command) under way has cost so far, if it is counted.
    pub fn here() -> Option<Figures> {
        METER.try_with(|meter| meter.figures()).ok()
    }

    /// Whether what runs here has sent a write, answered or not.
    pub fn has_written() -> bool {
        METER.try_with(|meter| meter.wrote.load(Ordering::Relaxed)).unwrap_or(false)
    }

    /// Counts one repetition of a write or transaction.
    pub(super) fn retried() {
        let _ = METER.try_with(|meter| meter.attempts.fetch_add(1, Ordering::Relaxed));
    }

    /// Runs `work` under this meter.
    pub async fn measure<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let turns = std::future::poll_fn(|context| {
            self.turn.fetch_add(1, Ordering::Relaxed);
            work.as_mut().poll(context)
        });
        METER.scope(Arc::clone(self), turns).await
    }

    /// Something is under way: one more wait, unless something else was already, or was
    /// sent in this same turn and answered before we looked.
    pub(super) fn waiting(&self) {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            let turn = self.turn.load(Ordering::Relaxed);
            if self.waited_in.swap(turn, Ordering::Relaxed) != turn {
                self.waits.fetch_add(1, Ordering::Relaxed);
            }
            *lock(&self.since) = Some(Instant::now());
        }
    }

    /// The statement had to be prepared first: a round trip more.
    pub(super) fn prepares(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, statement: &Statement, bound: &[RegionCode]) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.waiting();
        lock(&self.names).push(statement.name);
        lock(&self.regions).extend(bound.iter().cloned());
        self.wrote.fetch_or(statement.writes, Ordering::Relaxed);
        self.everywhere.fetch_or(statement.everywhere(), Ordering::Relaxed);
    }

    pub(super) fn answered(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(since) = lock(&self.since).take()
        {
            let busy = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.busy_us.fetch_add(busy, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> parking_lot::MutexGuard<'_, T> {
    mutex.lock()
}
