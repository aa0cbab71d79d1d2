//! A statement is data: name, text, reach, so that a check can list, prepare, explain
//! and count every one. This is also the one place where statements are sent: timed,
//! counted, with a deadline, and with the regions read from the parameters that were
//! bound, not from what was declared. The region parameter is always written
//! `$n::TEXT::crdb_internal_region`; that is how its place is known.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use deadpool_postgres::Object;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::types::{ToSql, Type, private::BytesMut};

use super::{
    error::{DbError, DbErrorKind},
    health::Health,
    meter::Meter,
    retry,
    row::Row,
};
use crate::domain::region::RegionCode;

/// Which regions a statement may touch: the consistency contract, in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only regions bound to its parameters.
    Named,
    /// GLOBAL tables.
    Global,
    /// The nearest replica, of whatever region.
    Stale,
    /// Deliberately every region, and why.
    AllRegions { why: &'static str },
}

/// One SQL statement of the program.
#[derive(Debug)]
pub struct Statement {
    /// Stem that pages, spans and logs use, such as `rides.start`.
    pub name: &'static str,
    /// The SQL, the same on both engines.
    pub text: &'static str,
    pub reach: Reach,
    /// It changes rows, so a lost reply leaves its outcome open.
    pub writes: bool,
    /// Why it reads a GLOBAL row although its reach is `Named`. Those that do not, work while
    /// the primary region is away; `locality` checks it.
    pub reads_global: Option<&'static str>,
    regions: u64,
}

/// Why a statement reads GLOBAL rows that adds to a city or moves there.
pub const CITY_CHECKED: &str = "a row that comes to a city is checked against the catalogue";

impl Statement {
    /// A statement that only reads.
    pub const fn read(name: &'static str, reach: Reach, text: &'static str) -> Self {
        Self { name, text, reach, writes: false, reads_global: None, regions: region_parameters(text) }
    }

    /// A statement that changes rows. It must be safe to run twice with the same
    /// parameters: it looks for its own row first.
    pub const fn write(name: &'static str, reach: Reach, text: &'static str) -> Self {
        Self { name, text, reach, writes: true, reads_global: None, regions: region_parameters(text) }
    }

    /// The same, although it reads GLOBAL rows, and why.
    pub const fn reading_global(self, why: &'static str) -> Self {
        Self { reads_global: Some(why), ..self }
    }

    /// The regions bound to its parameters, each once.
    fn bound(&self, params: &[&(dyn ToSql + Sync)]) -> Vec<RegionCode> {
        let mut bound = Vec::new();
        for (index, param) in params.iter().enumerate() {
            if self.binds_region(index) {
                let mut bytes = BytesMut::new();
                if param.to_sql_checked(&Type::TEXT, &mut bytes).is_ok()
                    && let Some(region) = std::str::from_utf8(&bytes).ok().and_then(|code| code.parse().ok())
                    && !bound.contains(&region)
                {
                    bound.push(region);
                }
            }
        }
        bound
    }

    /// Whether it touches regions that no parameter names.
    pub(super) fn everywhere(&self) -> bool {
        matches!(self.reach, Reach::AllRegions { .. })
    }

    /// Whether the parameter at `index`, counted from 0, is a region.
    pub const fn binds_region(&self, index: usize) -> bool {
        index < 64 && self.regions & (1 << index) != 0
    }
}

#[allow(clippy::indexing_slicing, reason = "evaluated while compiling: a slip is a compile error")]
/// Bit n-1 is set when `$n::TEXT::crdb_internal_region` occurs in the text.
const fn region_parameters(text: &str) -> u64 {
    let (bytes, mark) = (text.as_bytes(), b"::TEXT::crdb_internal_region");
    let (mut at, mut found) = (0, 0_u64);
    while at < bytes.len() {
        if bytes[at] == b'$' {
            let (mut end, mut number) = (at + 1, 0_u32);
            while end < bytes.len() && bytes[end].is_ascii_digit() {
                number = number * 10 + (bytes[end] - b'0') as u32;
                end += 1;
            }
            let mut same = 0;
            while same < mark.len() && end + same < bytes.len() && bytes[end + same] == mark[same] {
                same += 1;
            }
            if same == mark.len() && number >= 1 && number <= 64 {
                found |= 1 << (number - 1);
            }
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// A statement that takes longer has its regions probed.
const PATIENCE: Duration = Duration::from_millis(500);

/// A connection of a pool. When it is dropped inside a transaction, after a deadline, or
/// with a statement that is not answered yet, it is closed instead of returned, so that
/// nothing half done stays open and nobody waits behind it.
pub struct Conn {
    object: Option<Object>,
    read_deadline: Duration,
    write_deadline: Duration,
    health: Arc<Health>,
    _place: Option<OwnedSemaphorePermit>,
    asks_silent: bool,
    discarded: AtomicBool,
    unanswered: AtomicU32,
}

impl Conn {
    pub(super) fn new(
        object: Object,
        place: Option<OwnedSemaphorePermit>,
        (read_deadline, write_deadline): (Duration, Duration),
        health: Arc<Health>,
    ) -> Self {
        Self {
            object: Some(object),
            read_deadline,
            write_deadline,
            health,
            _place: place,
            asks_silent: false,
            discarded: false.into(),
            unanswered: 0.into(),
        }
    }

    /// The same connection for those who want to know whether an unreachable region answers,
    /// or have reason to think that its replicas here do; `deadline` is how long they wait.
    pub(super) fn asking_silent(mut self, deadline: Duration) -> Self {
        (self.asks_silent, self.read_deadline) = (true, deadline);
        self
    }

    /// Marks the connection so that it is closed when dropped, or takes the mark back.
    pub(super) fn discard(&self, discarded: bool) {
        self.discarded.store(discarded, Ordering::Relaxed);
    }

    pub(super) fn client(&self) -> Result<&deadpool_postgres::ClientWrapper, DbError> {
        let closed = || DbError::new(DbErrorKind::Unavailable, "connection", "already closed");
        self.object.as_deref().ok_or_else(closed)
    }

    /// Sends a statement and waits for all of its rows. A read that lost a race between
    /// writers (PostgreSQL cancels such ones) is sent again, and once anything whose plan does
    /// not fit a changed schema, which was not begun; inside a transaction, all of that is.
    pub async fn rows(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        let (mut attempt, mut prepared_again) = (1, false);
        loop {
            let answer = self.send(statement, params).await;
            match &answer {
                Err(error) if error.kind == DbErrorKind::StalePlan && !prepared_again => {
                    self.prepare_all_again();
                    if self.discarded.load(Ordering::Relaxed) {
                        return answer;
                    }
                    prepared_again = true;
                }
                Err(error)
                    if error.kind == DbErrorKind::Contention
                        && !statement.writes
                        && !self.discarded.load(Ordering::Relaxed)
                        && attempt < retry::ATTEMPTS =>
                {
                    retry::pause(attempt, error).await;
                    attempt += 1;
                }
                _ => return answer,
            }
        }
    }

    /// A change of the schema meets the other connections of the pool, too.
    fn prepare_all_again(&self) {
        if let Some(pool) = self.object.as_ref().and_then(Object::pool) {
            pool.manager().statement_caches.clear();
        }
    }

    async fn send(&self, statement: &'static Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DbError> {
        let (client, bound, everywhere) = (self.client()?, statement.bound(params), statement.everywhere());
        if !self.asks_silent
            && let Some(silent) = self.health.refused_among(&bound, everywhere)
        {
            let refused =
                DbError::new(DbErrorKind::Unavailable, statement.name, format!("{} is unreachable", silent.0));
            return Err(refused.with_silent(silent));
        }
        Meter::sent(statement.name, statement.writes, everywhere, &bound);
        // Boxed: pages join several, and each layer above would hold its size again.
        let work = Box::pin(async {
            self.health.inject_fault(&bound, everywhere, self.asks_silent).await;
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
        let answer = self.bounded(statement.name, statement.writes, work).await;
        Meter::answered(answer.as_ref().map_or(0, Vec::len));
        match answer {
            Ok(rows) => {
                // A replica near here says nothing of the region that it stands in for.
                if !self.asks_silent {
                    self.health.answered(&bound);
                }
                Ok(rows.into_iter().map(|row| Row::new(statement.name, row)).collect())
            }
            Err(error) if error.no_answer() => {
                self.health.unanswered(&bound);
                // Probes have gone out meanwhile, so it may be known that a region is the reason.
                Err(match self.health.refused_among(&bound, everywhere) {
                    Some(unreachable) => error.with_silent(unreachable),
                    None => error,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a statement that returns at most one row.
    pub async fn opt(
        &self,
        statement: &'static Statement,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, DbError> {
        Ok(self.rows(statement, params).await?.into_iter().next())
    }

    /// Sends a statement that returns exactly one row.
    pub async fn one(&self, statement: &'static Statement, params: &[&(dyn ToSql + Sync)]) -> Result<Row, DbError> {
        let missing = || DbError::new(DbErrorKind::Bug, statement.name, "no row");
        self.opt(statement, params).await?.ok_or_else(missing)
    }

    /// Prepares a statement on this connection, so that its first use costs one round trip.
    pub(super) async fn prepare(&self, statement: &'static Statement) -> Result<(), DbError> {
        let client = self.client()?;
        // Not taken back when this future is dropped.
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let prepared = client.prepare_cached(statement.text).await;
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        prepared.map(drop).map_err(|error| DbError::from_driver(error, statement.name, false))
    }

    /// Sends BEGIN, COMMIT or ROLLBACK; only `Db::txn` does.
    pub(super) async fn control(&self, step: &'static str, sql: &str) -> Result<(), DbError> {
        let client = self.client()?;
        let commits = step == "commit";
        if commits {
            Meter::waits();
        }
        let answer =
            self.bounded(step, commits, async { client.batch_execute(sql).await.map_err(|error| (error, commits)) });
        let answer = answer.await;
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
    ) -> Result<T, DbError> {
        let deadline = if writes { self.write_deadline } else { self.read_deadline };
        let mut work = std::pin::pin!(work);
        // Not taken back when this future is dropped.
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        let mut answer = tokio::time::timeout(PATIENCE.min(deadline), work.as_mut()).await;
        if answer.is_err() && PATIENCE < deadline {
            // Probes find out whether the regions answer at all: a statement may be slow for
            // many reasons.
            if !self.asks_silent {
                self.health.suspect();
            }
            answer = tokio::time::timeout(deadline.saturating_sub(PATIENCE), work).await;
        }
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err((error, wrote))) => {
                let error = DbError::from_driver(error, name, wrote);
                if !matches!(
                    error.kind,
                    DbErrorKind::Unique(_)
                        | DbErrorKind::ForeignKey(_)
                        | DbErrorKind::Contention
                        | DbErrorKind::StalePlan
                ) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_parameters_are_found_by_their_cast() {
        let text =
            "SELECT 1 WHERE a = $1::TEXT::crdb_internal_region AND b = $2 AND c = $12::TEXT::crdb_internal_region";
        assert_eq!(region_parameters(text), (1 << 0) | (1 << 11));
    }
}
