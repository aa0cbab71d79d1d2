//! `Db::write` and `Db::txn`: the only ways to change rows, and the only
//! BEGIN/COMMIT. Both are bounded in attempts and time, with growing, jittered
//! pauses. The closure may run ten times: no HTTP, hashing or sleeping inside it.
//! A write whose reply was lost is run again on a fresh connection: every write
//! statement looks for the row whose id the client brought before it changes
//! anything, so running it again *is* reading back.

use std::time::{Duration, Instant};

use super::{
    Db,
    error::{DbError, DbErrorKind},
    statement::{Conn, Meter},
};
use crate::domain::region::RegionCode;

const ATTEMPTS: u32 = 10;
/// A person waits; after this much contention an honest "try again" is better.
const TOTAL: Duration = Duration::from_secs(8);

impl Db {
    /// Runs one auto-committed write statement at a gateway of `region`, again after
    /// contention, a duplicate key in a race, or a lost reply.
    pub async fn write<T>(
        &self,
        region: &RegionCode,
        op: impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let conn = self.at(region).await?;
            let outcome = op(&conn).await;
            drop(conn);
            match outcome {
                Err(error) if again(&error.kind, attempt, started) => {
                    pause(attempt, &error).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Runs `op` in one SERIALIZABLE transaction at a gateway of `region`; BEGIN travels
    /// with its first statement. When the reply to COMMIT is lost, `committed` reads
    /// back, on a fresh connection, whether it happened and what it gave.
    pub async fn txn<T>(
        &self,
        region: &RegionCode,
        op: impl AsyncFn(&Conn) -> Result<T, DbError>,
        committed: impl AsyncFn(&Conn) -> Result<Option<T>, DbError>,
    ) -> Result<T, DbError> {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let error = match self.attempt(region, &op).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if error.kind == DbErrorKind::Ambiguous
                && let Some(value) = committed(&self.at(region).await?).await?
            {
                return Ok(value);
            }
            if !again(&error.kind, attempt, started) {
                return Err(error);
            }
            pause(attempt, &error).await;
            attempt += 1;
        }
    }

    async fn attempt<T>(
        &self,
        region: &RegionCode,
        op: &impl AsyncFn(&Conn) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let conn = self.at(region).await?;
        conn.spoil(true); // closed, and so rolled back, if this future is dropped
        let begin = conn.control("begin", "BEGIN ISOLATION LEVEL SERIALIZABLE");
        let (opened, outcome) = tokio::join!(begin, op(&conn));
        opened?;
        let outcome = match outcome {
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
            Ok(_) => conn.spoil(false),
            Err(error) if matches!(error.kind, DbErrorKind::Ambiguous | DbErrorKind::Unavailable) => {}
            Err(_) => {
                if conn.control("rollback", "ROLLBACK").await.is_ok() {
                    conn.spoil(false);
                }
            }
        }
        outcome
    }
}

fn again(kind: &DbErrorKind, attempt: u32, started: Instant) -> bool {
    let limit = match kind {
        DbErrorKind::Contention => ATTEMPTS,
        // Whoever won the race for the key is visible to the next attempt.
        DbErrorKind::Unique(name) if name.ends_with("_pkey") || name == "rides_open_vehicle_key" => 2,
        DbErrorKind::Ambiguous | DbErrorKind::StalePlan => 3,
        _ => return false,
    };
    attempt < limit && started.elapsed() < TOTAL
}

async fn pause(attempt: u32, error: &DbError) {
    Meter::retried();
    tracing::debug!(attempt, %error, "again");
    // About 10 ms, growing to about 250 ms, each half fixed and half random.
    let ceiling = (10_u64 << attempt.min(5)).min(250);
    let jitter = rand::random_range(0..=ceiling / 2);
    tokio::time::sleep(Duration::from_millis(ceiling / 2 + jitter)).await;
}
