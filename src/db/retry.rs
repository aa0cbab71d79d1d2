//! When a write, a transaction or a read is retried: how often, for how long, with growing,
//! jittered pauses.

use std::{
    mem::discriminant,
    time::{Duration, Instant},
};

use super::{DbError, DbErrorKind, Result, meter::Meter};

/// Contention ends sooner or later; after this many attempts it is reported.
pub(super) const ATTEMPTS: usize = 10;

pub(super) struct Attempts {
    /// How the earlier ones ended.
    failed: Vec<DbErrorKind>,
    last_begins_by: Instant,
}

impl Attempts {
    pub(super) fn number(&self) -> usize {
        self.failed.len() + 1
    }

    pub(super) fn within(limit: Duration) -> Self {
        Self { failed: Vec::new(), last_begins_by: Instant::now() + limit }
    }

    /// Pauses before the next attempt, or returns why there is none.
    pub(super) async fn after(&mut self, error: DbError) -> Result<()> {
        self.failed.push(error.kind.clone());
        // Each kind by itself: a lost reply after much contention still has to be resolved.
        let alike = self.failed.iter().filter(|kind| discriminant(*kind) == discriminant(&error.kind)).count();
        if Instant::now() > self.last_begins_by || self.failed.len() >= ATTEMPTS || alike >= most(&error.kind) {
            let unclear = self.failed.contains(&DbErrorKind::Ambiguous);
            return Err(if unclear { still_unclear(error) } else { error });
        }
        pause(self.failed.len(), &error).await;
        Ok(())
    }
}

pub(super) fn most(kind: &DbErrorKind) -> usize {
    match kind {
        DbErrorKind::Contention => ATTEMPTS,
        // Whoever won the race for the key is visible to the next attempt, which may meet others for
        // the next keys of a batch.
        DbErrorKind::Unique(name) if name.ends_with("_pkey") || name.starts_with("rides_open_") => 4,
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
pub(super) async fn pause(attempt: usize, error: &DbError) {
    Meter::retried();
    tracing::debug!(attempt, %error, "trying again");
    let ceiling = (10_u64 << attempt.min(5)).min(250);
    let jitter = rand::random_range(0..=ceiling / 2);
    tokio::time::sleep(Duration::from_millis(ceiling / 2 + jitter)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use DbErrorKind::{Ambiguous, Contention, Unique};

    /// The number of the attempt after these failures, or why there is none.
    async fn after(failures: Vec<DbErrorKind>) -> std::result::Result<usize, DbErrorKind> {
        let mut attempts = Attempts::within(Duration::from_mins(1));
        for kind in failures {
            attempts.after(DbError::new(kind, "a.statement", String::new())).await.map_err(|error| error.kind)?;
        }
        Ok(attempts.number())
    }

    #[tokio::test]
    async fn each_kind_of_failure_has_its_own_number_of_attempts() {
        let duplicate = Unique("vehicles_pkey".to_owned());
        let taken = Unique("users_username_key".to_owned());
        let contended = |times: usize, then: &DbErrorKind| [vec![Contention; times], vec![then.clone()]].concat();
        let (race, lost, tenth, fourth, first, unknown) = futures_util::join!(
            after(contended(3, &duplicate)),
            after(contended(5, &Ambiguous)),
            after(contended(9, &Contention)),
            after(vec![duplicate.clone(); 4]),
            after(vec![taken.clone()]),
            after([vec![Ambiguous], vec![Contention; 9]].concat()),
        );
        assert_eq!((race, lost), (Ok(5), Ok(7)), "after contention there is still an attempt for another reason");
        assert_eq!((tenth, fourth, first), (Err(Contention), Err(duplicate), Err(taken)));
        assert_eq!(unknown, Err(Ambiguous), "the first one may have happened");
    }
}
