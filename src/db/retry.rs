//! When a write, a transaction or a read is retried: how often, for how long, with growing,
//! jittered pauses.

use std::time::{Duration, Instant};

use super::{DbError, DbErrorKind, Result, meter::Meter};

/// Contention ends sooner or later; after this many attempts it is reported.
pub(super) const ATTEMPTS: u32 = 10;

pub(super) struct Attempts {
    number: u32,
    last_begins_by: Instant,
    /// The outcome of an attempt is not known.
    unclear: bool,
}

impl Attempts {
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn within(limit: Duration) -> Self {
        Self { number: 1, last_begins_by: Instant::now() + limit, unclear: false }
    }

    /// Pauses before the next attempt, or returns why there is none.
    pub(super) async fn after(&mut self, error: DbError) -> Result<()> {
        self.unclear |= error.kind == DbErrorKind::Ambiguous;
        if Instant::now() > self.last_begins_by || self.number >= most(&error.kind) {
            return Err(if self.unclear { still_unclear(error) } else { error });
        }
        pause(self.number, &error).await;
        self.number += 1;
        Ok(())
    }
}

pub(super) fn most(kind: &DbErrorKind) -> u32 {
    match kind {
        DbErrorKind::Contention => ATTEMPTS,
        // Whoever won the race for the key is visible to the next attempt.
        DbErrorKind::Unique(name) if name.ends_with("_pkey") || name.starts_with("rides_open_") => 2,
        DbErrorKind::Ambiguous | DbErrorKind::StalePlan => 3,
        _ => 1,
    }
}

/// An earlier attempt may have happened and this one could not check: nobody may be told that
/// nothing was changed.
pub(super) fn still_unclear(mut error: DbError) -> DbError {
    if matches!(error.kind, DbErrorKind::Unavailable | DbErrorKind::Timeout | DbErrorKind::Contention) {
        error.kind = DbErrorKind::Ambiguous;
    }
    error
}

/// About 10 ms, growing to about 250 ms, each half fixed and half random.
pub(super) async fn pause(attempt: u32, error: &DbError) {
    Meter::retried();
    tracing::debug!(attempt, %error, "trying again");
    let ceiling = (10_u64 << attempt.min(5)).min(250);
    let jitter = rand::random_range(0..=ceiling / 2);
    tokio::time::sleep(Duration::from_millis(ceiling / 2 + jitter)).await;
}
