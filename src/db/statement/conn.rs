//! A connection of a pool: the one place where statements are sent, measured, with a deadline, and
//! with the regions read from the bound parameters, not from what was declared.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use deadpool_postgres::{ClientWrapper, Object};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use super::{Param, Statement};
use crate::{
    config::Database,
    db::{DbError, DbErrorKind, Result, Row, health::Health, meter::Meter, retry},
    domain::RegionCode,
    telemetry::{metrics::Metrics, traces::SPANS},
};

/// A statement that takes longer has its regions probed.
const PATIENCE: Duration = Duration::from_millis(500);

/// A pooled connection. If it is dropped inside a transaction, after a deadline, or with an
/// unanswered statement, it is closed instead of returned, so that nothing stays half done.
pub struct Conn {
    object: Option<Object>,
    read_deadline: Duration,
    write_deadline: Duration,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    _place: Option<OwnedSemaphorePermit>,
    ignores_circuits: bool,
    discarded: AtomicBool,
    unanswered: AtomicU32,
}

impl Conn {
    pub(in crate::db) fn new(
        object: Object,
        place: Option<OwnedSemaphorePermit>,
        config: &Database,
        (health, metrics): (Arc<Health>, Arc<Metrics>),
    ) -> Self {
        Self {
            object: Some(object),
            read_deadline: config.statement_timeout,
            write_deadline: config.write_timeout,
            health,
            metrics,
            _place: place,
            ignores_circuits: false,
            discarded: false.into(),
            unanswered: 0.into(),
        }
    }

    /// For callers that probe an unreachable region, or expect replicas here to answer for it;
    /// `deadline` is how long they wait.
    pub(in crate::db) fn ignoring_circuits(mut self, deadline: Duration) -> Self {
        (self.ignores_circuits, self.read_deadline) = (true, deadline);
        self
    }

    /// Marks the connection to be closed when dropped, or unmarks it.
    pub(in crate::db) fn discard(&self, discarded: bool) {
        self.discarded.store(discarded, Ordering::Relaxed);
    }

    pub(in crate::db) fn client(&self) -> &ClientWrapper {
        self.object.as_deref().expect("it is taken only when dropped")
    }

    /// Sends a statement and waits for all rows. Outside a transaction, a read that PostgreSQL
    /// cancelled in a race between writers is sent again, and once any statement whose plan no
    /// longer fits the schema.
    pub async fn rows(&self, statement: &'static Statement, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let (mut attempt, mut prepared_again) = (1, false);
        loop {
            let error = match self.send(statement, params).await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            let in_transaction = self.discarded.load(Ordering::Relaxed);
            match error.kind {
                DbErrorKind::StalePlan if !prepared_again => {
                    // A change of the schema meets the other connections of the pool, too.
                    if let Some(pool) = self.object.as_ref().and_then(Object::pool) {
                        pool.manager().statement_caches.clear();
                    }
                    if in_transaction {
                        return Err(error);
                    }
                    prepared_again = true;
                }
                DbErrorKind::Contention if !statement.writes && !in_transaction && attempt < retry::ATTEMPTS => {
                    retry::pause(attempt, &error).await;
                    attempt += 1;
                }
                _ => return Err(error),
            }
        }
    }

    async fn send(&self, statement: &'static Statement, params: &[Param<'_>]) -> Result<Vec<Row>> {
        let (client, bound, everywhere) = (self.client(), statement.bound(params), statement.everywhere());
        if !self.ignores_circuits
            && let Some(open) = self.health.refused_among(&bound, everywhere)
        {
            return Err(DbError::region_unreachable(statement.name, open));
        }
        Meter::sent(statement.name, statement.writes, everywhere, &bound);
        let (began, reach, data_region) =
            (Instant::now(), statement.reach.label(), self.data_region(&bound, everywhere));
        let span = tracing::info_span!(
            target: SPANS,
            "statement",
            otel.name = statement.name,
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            reach,
            data_region
        );
        // Boxed: pages join several, and each layer above would hold its size again.
        let work = Box::pin(async {
            self.health.inject_fault(&bound, everywhere, self.ignores_circuits).await;
            let mut prepare = std::pin::pin!(client.prepare_cached(statement.text));
            let prepared = match futures_util::poll!(prepare.as_mut()) {
                Poll::Ready(prepared) => prepared,
                Poll::Pending => {
                    Meter::prepares();
                    prepare.await
                }
            };
            let prepared = prepared.map_err(|error| (error, false))?;
            client.query(&prepared, params).await.map_err(|error| (error, statement.writes))
        });
        let answer = self.bounded(statement.name, statement.writes, work).instrument(span.clone()).await;
        Meter::answered(answer.as_ref().map_or(0, Vec::len));
        let outcome = if answer.is_ok() { "ok" } else { "error" };
        self.metrics.statement_seconds.took([statement.name, reach, data_region, outcome], began.elapsed());
        if answer.is_err() {
            span.record("otel.status_code", "error");
        }
        match answer {
            Ok(rows) => {
                // A replica near here says nothing of the region that it stands in for.
                if !self.ignores_circuits {
                    self.health.answered(&bound);
                }
                Ok(rows.into_iter().map(|inner| Row { statement: statement.name, inner }).collect())
            }
            Err(mut error) if error.no_answer() => {
                self.health.unanswered(&bound);
                // Probes have gone out meanwhile, so it may be known that a region is the reason.
                error.open_circuit = self.health.refused_among(&bound, everywhere);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn data_region(&self, bound: &[RegionCode], everywhere: bool) -> &'static str {
        match bound {
            _ if everywhere => "several",
            [] => "none",
            [region] => self.metrics.region(region),
            [_, _, ..] => "several",
        }
    }

    /// At most one row.
    pub async fn opt(&self, statement: &'static Statement, params: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(statement, params).await?.into_iter().next())
    }

    /// Exactly one row.
    pub async fn one(&self, statement: &'static Statement, params: &[Param<'_>]) -> Result<Row> {
        let missing = || DbError::new(DbErrorKind::Bug, statement.name, "no row");
        self.opt(statement, params).await?.ok_or_else(missing)
    }

    /// Prepares a statement on this connection, so that its first use costs one round trip.
    pub(in crate::db) async fn prepare(&self, statement: &'static Statement) -> Result<()> {
        let work = async { self.client().prepare_cached(statement.text).await.map_err(|error| (error, false)) };
        self.bounded(statement.name, false, work).await.map(drop)
    }

    pub(in crate::db) async fn control(&self, step: &'static str, sql: &str) -> Result<()> {
        let commits = step == "commit";
        if commits {
            Meter::waits();
        }
        let work = async { self.client().batch_execute(sql).await.map_err(|error| (error, commits)) };
        let answer = self.bounded(step, commits, work).await;
        if commits {
            Meter::answered(0);
        }
        answer
    }

    async fn bounded<T>(
        &self,
        name: &'static str,
        writes: bool,
        work: impl Future<Output = Result<T, (tokio_postgres::Error, bool)>>,
    ) -> Result<T> {
        let deadline = if writes { self.write_deadline } else { self.read_deadline };
        let mut work = std::pin::pin!(work);
        // Not taken back when this future is dropped.
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let mut answer = tokio::time::timeout(PATIENCE.min(deadline), work.as_mut()).await;
        if answer.is_err() && PATIENCE < deadline {
            // Probes find out whether the regions answer at all: a statement may be slow for
            // many reasons.
            if !self.ignores_circuits {
                self.health.suspect();
            }
            answer = tokio::time::timeout(deadline.saturating_sub(PATIENCE), work).await;
        }
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err((error, wrote))) => {
                use DbErrorKind as K;
                let error = DbError::from_driver(error, name, wrote);
                if !matches!(error.kind, K::Unique(_) | K::Contention | K::StalePlan) {
                    self.discard(true);
                }
                Err(error)
            }
            Err(elapsed) => {
                self.discard(true);
                let kind = if writes { DbErrorKind::Ambiguous } else { DbErrorKind::Timeout };
                Err(DbError::new(kind, name, format!("no answer within {deadline:?}: {elapsed}")))
            }
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if (self.discarded.load(Ordering::Relaxed) || self.unanswered.load(Ordering::Relaxed) > 0)
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}
