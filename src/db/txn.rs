//! `Db::write_with_retry` and `Db::txn`: the only ways to change rows, and the only BEGIN/COMMIT.
//! The closure may run ten times: no HTTP, hashing or sleeping in it. A write whose reply was lost
//! runs again on a fresh connection: it looks for the row with the client's id first, so running it
//! again *is* reading back.

use std::time::Duration;

use tracing::{Instrument, Span};

use super::{
    Conn, Db, DbError, DbErrorKind, Result,
    retry::{self, Attempts, still_unclear},
};
use crate::{domain::RegionCode, telemetry::traces::SPANS};

/// How a transaction ends, and its result either way.
#[derive(Debug)]
pub enum Outcome<T> {
    Commit(T),
    Rollback(T),
}

impl Db {
    /// Runs one auto-committed write statement at a gateway of `region`, again after contention, a
    /// duplicate key in a race, or a lost reply.
    pub async fn write_with_retry<T>(&self, region: &RegionCode, op: impl AsyncFn(&Conn) -> Result<T>) -> Result<T> {
        let mut attempts = Attempts::within(self.config.write_timeout);
        loop {
            let attempt = async { op(&self.writer(region).await?).await };
            let outcome = attempt.instrument(self.span("write", region, &attempts)).await;
            self.count(outcome.as_ref().map(|_| "committed"));
            match outcome {
                Ok(value) => return Ok(value),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// Runs `op` in one SERIALIZABLE transaction at a gateway of `region`. When the reply to COMMIT
    /// is lost, `committed` reads back, on a fresh connection, whether it happened and its result.
    /// Each attempt sends COMMIT within one write timeout, or changes nothing.
    pub async fn txn<T>(
        &self,
        region: &RegionCode,
        op: impl AsyncFn(&Conn) -> Result<Outcome<T>>,
        committed: impl AsyncFn(&Conn) -> Result<Option<T>>,
    ) -> Result<T> {
        self.txn_within(self.config.write_timeout, region, op, committed).await
    }

    /// Like [`Self::txn`], for writes under no gate, which may take `limit` until COMMIT.
    pub async fn txn_within<T>(
        &self,
        limit: Duration,
        region: &RegionCode,
        op: impl AsyncFn(&Conn) -> Result<Outcome<T>>,
        committed: impl AsyncFn(&Conn) -> Result<Option<T>>,
    ) -> Result<T> {
        let mut attempts = Attempts::within(self.config.write_timeout);
        loop {
            let attempt = self.attempt(limit, region, &op).instrument(self.span("transaction", region, &attempts));
            let outcome = attempt.await;
            self.count(outcome.as_ref().map(|outcome| match outcome {
                Outcome::Commit(_) => "committed",
                Outcome::Rollback(_) => "rolled_back",
            }));
            let error = match outcome {
                Ok(Outcome::Commit(value) | Outcome::Rollback(value)) => return Ok(value),
                Err(error) => error,
            };
            if error.kind == DbErrorKind::Ambiguous {
                let found = async { committed(&self.at(region).await?).await }.await;
                if let Some(value) = found.map_err(still_unclear)? {
                    return Ok(value);
                }
            }
            attempts.after(error).await?;
        }
    }

    fn span(&self, name: &'static str, region: &RegionCode, attempts: &Attempts) -> Span {
        let (attempt, data_region) = (attempts.number(), self.metrics.region(region));
        tracing::info_span!(target: SPANS, "attempt", otel.name = name, attempt, data_region)
    }

    fn count(&self, outcome: std::result::Result<&'static str, &DbError>) {
        let outcome = outcome.unwrap_or_else(|error| match error.kind {
            DbErrorKind::Contention => "contended",
            DbErrorKind::Unique(_) if retry::most(&error.kind) > 1 => "contended",
            DbErrorKind::Unique(_) => "rolled_back",
            DbErrorKind::Ambiguous => "ambiguous",
            _ => "failed",
        });
        self.metrics.attempts.of([outcome]).inc();
    }

    async fn attempt<T>(
        &self,
        limit: Duration,
        region: &RegionCode,
        op: &impl AsyncFn(&Conn) -> Result<Outcome<T>>,
    ) -> Result<Outcome<T>> {
        let conn = self.writer(region).await?;
        conn.discard(true); // closed, and so rolled back, if this future is dropped
        let work = async {
            // Alone: a server that refuses BEGIN would run what was sent after it by itself.
            conn.control("begin", "BEGIN ISOLATION LEVEL SERIALIZABLE").await?;
            Ok(op(&conn).await)
        };
        let done = tokio::time::timeout(limit, work).await.map_err(|elapsed| {
            DbError::new(DbErrorKind::Timeout, "transaction", format!("no COMMIT within {limit:?}: {elapsed}"))
        })??;
        let outcome = match done {
            Ok(Outcome::Commit(value)) => conn.control("commit", "COMMIT").await.map(|()| Outcome::Commit(value)),
            // Nothing was committed, so a lost reply inside leaves nothing open.
            Err(mut error) if error.kind == DbErrorKind::Ambiguous => {
                error.kind = DbErrorKind::Unavailable;
                Err(error)
            }
            other => other,
        };
        match outcome {
            Ok(Outcome::Commit(_)) => {
                conn.discard(false);
                outcome
            }
            Ok(Outcome::Rollback(_)) => {
                roll_back(&conn).await;
                outcome
            }
            Err(error) => {
                let lost = [DbErrorKind::Ambiguous, DbErrorKind::Unavailable, DbErrorKind::StalePlan];
                if !lost.contains(&error.kind) {
                    roll_back(&conn).await;
                }
                Err(error)
            }
        }
    }
}

/// The connection can be reused if the server has rolled back.
async fn roll_back(conn: &Conn) {
    if conn.control("rollback", "ROLLBACK").await.is_ok() {
        conn.discard(false);
    }
}
