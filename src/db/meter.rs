//! What a request costs the database: statements, waits, rows, time, and the regions really bound.
//! Counted where statements are sent (`Conn`). Statements in flight together are one wait, and so
//! are those sent in one poll of the request's future.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::domain::RegionCode;

#[derive(Debug, Default)]
pub struct Meter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    figures: Figures,
    wrote: bool,
    in_flight: u32,
    busy_since: Option<Instant>,
    /// Polls of the request's future, and the one in which it last began to wait.
    polls: u32,
    waited_in: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub statements: u32,
    /// Round trips waited for.
    pub waits: u32,
    /// Repetitions after contention or an unclear outcome.
    pub retries: u32,
    pub rows: u64,
    /// Time with at least one statement in flight.
    pub busy: Duration,
    pub regions: Vec<RegionCode>,
    pub everywhere: bool,
    /// The rule that refused what was asked for, if one did.
    pub refusal: Option<&'static str>,
    pub names: Vec<&'static str>,
}

tokio::task_local! {
    static METER: Arc<Meter>;
}

impl State {
    /// One more wait, unless another statement is in flight, or was sent in this same poll and
    /// answered before this one.
    fn waits(&mut self) {
        if self.in_flight == 0 {
            self.figures.waits += u32::from(self.waited_in != self.polls);
            self.waited_in = self.polls;
            self.busy_since = Some(Instant::now());
        }
        self.in_flight += 1;
    }
}

impl Meter {
    pub fn figures(&self) -> Figures {
        self.0.lock().figures.clone()
    }

    /// The current request's (or command's) figures, if it is measured.
    pub fn here() -> Option<Figures> {
        METER.try_with(|meter| meter.figures()).ok()
    }

    /// Whether the current request has sent a write, answered or not.
    pub fn has_written() -> bool {
        METER.try_with(|meter| meter.0.lock().wrote).unwrap_or(false)
    }

    pub async fn measure<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let polls = std::future::poll_fn(|context| {
            self.0.lock().polls += 1;
            work.as_mut().poll(context)
        });
        METER.scope(Arc::clone(self), polls).await
    }

    fn count(change: impl FnOnce(&mut State)) {
        let _ = METER.try_with(|meter| change(&mut meter.0.lock()));
    }

    /// The request's answer is that a rule refuses what it asks for.
    pub fn refused(reason: &'static str) {
        Self::count(|state| state.figures.refusal = Some(reason));
    }

    pub(super) fn retried() {
        Self::count(|state| state.figures.retries += 1);
    }

    /// COMMIT is in flight: not a statement of ours, but waited for.
    pub(super) fn waits() {
        Self::count(State::waits);
    }

    /// The statement had to be prepared first: one more round trip.
    pub(super) fn prepares() {
        Self::count(|state| state.figures.waits += 1);
    }

    pub(super) fn sent(name: &'static str, writes: bool, everywhere: bool, bound: &[RegionCode]) {
        Self::count(|state| {
            state.waits();
            state.wrote |= writes;
            let figures = &mut state.figures;
            figures.statements += 1;
            figures.everywhere |= everywhere;
            figures.names.push(name);
            for region in bound {
                if let Err(at) = figures.regions.binary_search(region) {
                    figures.regions.insert(at, region.clone());
                }
            }
        });
    }

    pub(super) fn answered(rows: usize) {
        Self::count(|state| {
            state.figures.rows += rows as u64;
            state.in_flight -= 1;
            if state.in_flight == 0
                && let Some(since) = state.busy_since.take()
            {
                state.figures.busy += since.elapsed();
            }
        });
    }
}
