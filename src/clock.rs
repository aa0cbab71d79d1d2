//! The clock: the only caller of `Utc::now`, so that tests can move the time. Times are cut to
//! whole microseconds, which is what the database keeps.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Duration, SubsecRound, Utc};

/// Clones share the shift.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    shift_ms: Arc<AtomicI64>,
}

impl Clock {
    pub fn now(&self) -> DateTime<Utc> {
        #[allow(clippy::disallowed_methods, reason = "this is the one caller")]
        let now = Utc::now();
        (now + Duration::milliseconds(self.shift_ms.load(Ordering::Relaxed))).trunc_subsecs(6)
    }

    /// Moves this clock and its clones forward (tests only).
    pub fn advance(&self, by: Duration) {
        self.shift_ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}
