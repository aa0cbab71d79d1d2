//! Stale reads, from the nearest replicas. Only CockroachDB with regions has such replicas;
//! elsewhere these are ordinary reads. The time is set on a read-only transaction, since AS OF
//! SYSTEM TIME takes no placeholder (crdb#30955); so the caller knows exactly how old rows are.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Conn, Db, DbError, DbErrorKind, Result,
    gates::{self, CLOCKS},
};
use crate::domain::RegionCode;

/// Replicas elsewhere know the past up to about 4.2 s ago (`follower_read_timestamp()`), or before
/// their region became unreachable; for anything later they would have to ask it.
pub const REPLICA_LAG: TimeDelta = TimeDelta::seconds(5);

/// How long to wait for replicas in place of an unreachable region.
pub const REPLICA_DEADLINE: Duration = Duration::from_secs(1);

impl Db {
    /// Reads rows of `region` that may be a few seconds old, from the nearest replicas where there
    /// are some, else from the region. `op` is given the time at which the rows are true, which is
    /// returned, too.
    pub async fn read_stale<T>(
        &self,
        region: &RegionCode,
        now: DateTime<Utc>,
        op: impl AsyncFn(&Conn, DateTime<Utc>) -> Result<T>,
    ) -> Result<(DateTime<Utc>, T)> {
        if !self.engine.regions {
            return Ok((now, op(&self.at(region).await?, now).await?));
        }
        let (newest, deadline) = match self.health.refused(region) {
            Some(_) => (self.health.of(region).good_at.unwrap_or(now), REPLICA_DEADLINE),
            None => (now, self.config.statement_timeout),
        };
        let at = newest - REPLICA_LAG;
        Ok((at, self.read_as_of(at, deadline, async |conn| op(conn, at).await).await?))
    }

    /// Reads rows of any regions as of `at`, from the nearest replicas, within `deadline`. Only
    /// where the engine has such replicas.
    pub async fn read_as_of<T>(
        &self,
        at: DateTime<Utc>,
        deadline: Duration,
        op: impl AsyncFn(&Conn) -> Result<T>,
    ) -> Result<T> {
        if !self.engine.regions {
            return Err(DbError::new(DbErrorKind::Unavailable, "as of", "this engine has no replicas of the past"));
        }
        let read = async || as_of(self.here().await?.ignoring_circuits(deadline), at, &op).await;
        match read().await {
            Err(DbError { kind: DbErrorKind::StalePlan, .. }) => read().await,
            read => read,
        }
    }

    /// The server's time at a gateway of `region`, for [`Self::read_at`].
    pub async fn time_at(&self, region: &RegionCode) -> Result<DateTime<Utc>> {
        let at = gates::find(&self.at(region).await?, region).await?.read_at;
        if self.engine.cockroach {
            // Another node's clock may be behind, and a node refuses to read its future.
            tokio::time::sleep(CLOCKS).await;
        }
        Ok(at)
    }

    /// Reads rows of `region` as of `at`, so that several reads see one state. On PostgreSQL, where
    /// that would hold a transaction open, each read sees the newest rows.
    pub async fn read_at<T>(
        &self,
        region: &RegionCode,
        at: DateTime<Utc>,
        op: impl AsyncFn(&Conn) -> Result<T>,
    ) -> Result<T> {
        let conn = self.at(region).await?;
        if self.engine.cockroach { as_of(conn, at, &op).await } else { op(&conn).await }
    }
}

async fn as_of<T>(conn: Conn, at: DateTime<Utc>, op: &impl AsyncFn(&Conn) -> Result<T>) -> Result<T> {
    conn.discard(true); // closed, and so rolled back, if this future is dropped
    // The text is a time of our own making.
    let begin = format!("BEGIN AS OF SYSTEM TIME '{}'", at.format("%Y-%m-%d %H:%M:%S%.6f"));
    conn.control("begin", &begin).await?;
    let value = op(&conn).await?;
    conn.control("rollback", "ROLLBACK").await?;
    conn.discard(false);
    Ok(value)
}
