//! `Db::write` and `Db::txn`: the only ways to change rows, and the only
//! BEGIN/COMMIT. Both are bounded in attempts and time, with growing, jittered
//! pauses. The closure may run ten times: no HTTP, hashing or sleeping inside it.
//! A write whose reply was lost is run again on a fresh connection: every write
//! statement looks for the row whose id the client brought before it changes
//! anything, so running it again *is* reading back. How long one try can take is what
//! the fence of a closed region waits for (`fence`).

use std::time::{Duration, Instant};

use super::{
    Db,
    error::{DbError, DbErrorKind},
    meter::Meter,
    statement::Conn,
};
use crate::domain::region::RegionCode;

pub(super) const ATTEMPTS: u32 = 10;
/// CockroachDB's nodes stop when their clocks differ by more; PostgreSQL has one clock.
pub(super) const CLOCKS: Duration = Duration::from_millis(500);

impl Db {
    /// The longest time from the moment in which a write looks at a gate until it is visible
    /// or will never be. A lone statement: one write timeout, held by the server. A
    /// transaction, which is the longest: one until COMMIT is sent, held here (`attempt`); one
    /// for COMMIT to arrive, after which the server ends a transaction that it hears nothing
    /// of (`idle_in_transaction_session_timeout`); one for COMMIT itself.
    pub fn longest_write(&self) -> Duration {
        self.write_deadline * 3
    }

    /// A region closed at the server's time T is fenced at T plus this. T is taken when the
    /// closing statement begins, and that one may last as long as any other; from its end
    /// the longest write is waited for.
    pub fn fence(&self) -> Duration {
        self.write_deadline + self.longest_write() + CLOCKS
    }

    /// Runs one auto-committed write statement at a gateway of `region`, again after
    /// contention, a duplicate key in a race, or a lost reply.
    pub async fn write<T>(
        &self,
        region: &RegionCode,
        op: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let started = Instant::now();
        let (mut attempt, mut unclear) = (1, false);
        loop {
            let outcome = match self.writer(region).await {
                Ok(conn) => op(&conn).await,
                Err(error) => Err(error),
            };
            let error = match outcome {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            unclear |= error.kind == DbErrorKind::Ambiguous;
            if started.elapsed() > self.write_deadline || !again(&error.kind, attempt) {
                return Err(if unclear { still_unclear(error) } else { error });
            }
            pause(attempt, &error).await;
            attempt += 1;
        }
    }

    /// Runs `op` in one SERIALIZABLE transaction at a gateway of `region`. When the reply to
    /// COMMIT is lost, `committed` reads back, on a fresh connection, whether it happened and
    /// what it gave. Each attempt sends COMMIT within one write timeout, or nothing is changed.
    pub async fn txn<T>(
        &self,
        region: &RegionCode,
        op: impl AsyncFn(&Conn) -> Result<T, DbError>,
        committed: impl AsyncFn(&Conn) -> Result<Option<T>, DbError>,
    ) -> Result<T, DbError> {
        self.txn_within(self.write_deadline, region, op, committed).await
    }

    /// The same for what writes under no gate, and so may take `limit` until COMMIT.
    pub async fn txn_within<T>(
        &self,
        limit: Duration,
        region: &RegionCode,
        op: impl AsyncFn(&Conn) -> Result<T, DbError>,
        committed: impl AsyncFn(&Conn) -> Result<Option<T>, DbError>,
    ) -> Result<T, DbError> {
        let started = Instant::now();
        let (mut attempt, mut unclear) = (1, false);
        loop {
            let error = match self.attempt(limit, region, &op).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if error.kind == DbErrorKind::Ambiguous {
                unclear = true;
                let found = async { committed(&self.at(region).await?).await }.await;
                if let Some(value) = found.map_err(still_unclear)? {
                    return Ok(value);
                }
            }
            if started.elapsed() > self.write_deadline || !again(&error.kind, attempt) {
                return Err(if unclear { still_unclear(error) } else { error });
            }
            pause(attempt, &error).await;
            attempt += 1;
        }
    }

    async fn attempt<T>(
        &self,
        limit: Duration,
        region: &RegionCode,
        op: &impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let conn = self.writer(region).await?;
        conn.discard(true); // closed, and so rolled back, if this future is dropped
        let work = async {
            // Alone: a server that refuses BEGIN would run what was sent behind it by itself.
            conn.control("begin", "BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
            Ok(op(&conn).await)
        };
        let done = tokio::time::timeout(limit, work).await.map_err(|elapsed| {
            DbError::new(DbErrorKind::Timeout, "transaction", format!("no COMMIT within {limit:?}: {elapsed}"))
        })??;
        let outcome = match done {
            Ok(value) => conn.control("commit", "COMMIT").await.map(|()| value),
            Err(mut error) => {
                // Nothing was committed, so a lost reply inside leaves nothing open.
                if error.kind == DbErrorKind::Ambiguous {
                    error.kind = DbErrorKind::Unavailable;
                }
                Err(error)
            }
        };
        match &outcome {
            Ok(_) => conn.discard(false),
            Err(error)
                if matches!(error.kind, DbErrorKind::Ambiguous | DbErrorKind::Unavailable | DbErrorKind::StalePlan) => {
            }
            Err(_) => {
                if conn.control("rollback", "ROLLBACK").await.is_ok() {
                    conn.discard(false);
                }
            }
        }
        outcome
    }
}

fn again(kind: &DbErrorKind, attempt: u32) -> bool {
    let limit = match kind {
        DbErrorKind::Contention => ATTEMPTS,
        // Whoever won the race for the key is visible to the next attempt.
        DbErrorKind::Unique(name) if name.ends_with("_pkey") || name.starts_with("rides_open_") => 2,
        DbErrorKind::Ambiguous | DbErrorKind::StalePlan => 3,
        _ => return false,
    };
    attempt < limit
}

/// An earlier attempt may have happened and this one could not look: nobody may be told
/// that nothing was changed.
fn still_unclear(mut error: DbError) -> DbError {
    if matches!(error.kind, DbErrorKind::Unavailable | DbErrorKind::Timeout | DbErrorKind::Contention) {
        error.kind = DbErrorKind::Ambiguous;
    }
    error
}

pub(super) async fn pause(attempt: u32, error: &DbError) {
    Meter::retried();
    tracing::debug!(attempt, %error, "again");
    // About 10 ms, growing to about 250 ms, each half fixed and half random.
    let ceiling = (10_u64 << attempt.min(5)).min(250);
    let jitter = rand::random_range(0..=ceiling / 2);
    tokio::time::sleep(Duration::from_millis(ceiling / 2 + jitter)).await;
}
