//! Database errors, and the one mapping from SQLSTATE to what the program does. The driver's error
//! is kept but never printed: PostgreSQL puts rows into DETAIL and values into messages, and those
//! are personal data.

use std::fmt;

use chrono::{DateTime, Utc};
use tokio_postgres::error::SqlState;

use super::explain::{MISSING, diagnose, explain};
use crate::domain::region::RegionCode;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbErrorKind {
    /// No node answers, the pool is exhausted, or the connection was lost before anything was sent.
    Unavailable,
    /// The deadline passed, or the rows cannot be reached, and nothing was written.
    Timeout,
    Contention,
    /// The connection or deadline was lost during a write: it may have happened.
    Ambiguous,
    /// A unique constraint or primary key, by name.
    Unique(String),
    /// The text of a parameter is not a value of its type (such as an unknown region).
    BadValue,
    /// A cached plan no longer fits the schema: nothing was done, and it must be prepared again.
    StalePlan,
    /// CockroachDB refuses for lack of a licence.
    Licence,
    /// No retry can help, such as with a wrong password: a predicate without host names, to follow
    /// "the database".
    Setup(&'static str),
    /// Anything else is our bug.
    Bug,
}

pub type Result<T, E = DbError> = std::result::Result<T, E>;

pub struct DbError {
    pub kind: DbErrorKind,
    /// Name of the statement, or of the step (`connect`, `begin`, `commit`).
    pub statement: &'static str,
    /// The region whose open circuit caused this, and since when it is open.
    pub open_circuit: Option<(RegionCode, DateTime<Utc>)>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    pub(super) detail: String,
}

/// CockroachDB lets clients connect to a database that does not exist.
pub(super) const NO_DATABASE: DbErrorKind = DbErrorKind::Setup(MISSING);

impl DbError {
    /// `detail` is for the log.
    pub fn new(kind: DbErrorKind, statement: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, statement, open_circuit: None, cause: None, detail: detail.into() }
    }

    /// Translates the driver's error. With `wrote`, a lost connection leaves the outcome open.
    pub fn from_driver(error: tokio_postgres::Error, statement: &'static str, wrote: bool) -> Self {
        let (kind, detail) = match error.as_db_error() {
            Some(db) => {
                let name = db.constraint().unwrap_or_default();
                let changed = db.message().contains("cached plan") || db.routine() == Some("RevalidateCachedQuery");
                let kind = match kind_of(db.code(), name, db.message()) {
                    _ if changed && *db.code() == SqlState::FEATURE_NOT_SUPPORTED => DbErrorKind::StalePlan,
                    // The server may have done it before it was told to stop.
                    DbErrorKind::Timeout | DbErrorKind::Unavailable if wrote && !out_of_resources(db.code()) => {
                        DbErrorKind::Ambiguous
                    }
                    kind => kind,
                };
                let code = db.code().code();
                let detail = match kind {
                    DbErrorKind::Setup(words) => format!("the database {words} (SQLSTATE {code})"),
                    _ => format!("SQLSTATE {code} {name}"),
                };
                (kind, detail)
            }
            None if wrote && lost(&error) => (DbErrorKind::Ambiguous, "connection lost during a write".to_owned()),
            None if lost(&error) => (DbErrorKind::Unavailable, "connection lost".to_owned()),
            None => (DbErrorKind::Bug, explain(&error)),
        };
        Self { kind, statement, open_circuit: None, cause: Some(Box::new(error)), detail }
    }

    pub(super) fn connecting(error: &tokio_postgres::Error, whom: &str) -> Self {
        let (words, incurable) = diagnose(error);
        let kind = incurable.map_or(DbErrorKind::Unavailable, DbErrorKind::Setup);
        Self::new(kind, "connect", format!("{whom}: {words}"))
    }

    pub(super) fn region_unreachable(statement: &'static str, (region, since): (RegionCode, DateTime<Utc>)) -> Self {
        let detail = format!("{region} is unreachable");
        let error = Self::new(DbErrorKind::Unavailable, statement, detail);
        Self { open_circuit: Some((region, since)), ..error }
    }

    /// Whether the rows are unavailable just now, for reasons outside the request.
    pub fn unreachable(&self) -> bool {
        matches!(self.kind, DbErrorKind::Unavailable | DbErrorKind::Timeout)
    }

    /// Whether the rows did not answer in time, as opposed to a lost node or connection, or locked
    /// rows.
    pub(super) fn no_answer(&self) -> bool {
        let slow = matches!(self.kind, DbErrorKind::Timeout | DbErrorKind::Ambiguous);
        slow && (self.cause.is_none() || matches!(self.sqlstate(), Some("57014" | "XXUUU")))
    }

    pub fn sqlstate(&self) -> Option<&str> {
        let driver = self.cause.as_deref()?.downcast_ref::<tokio_postgres::Error>()?;
        driver.code().map(SqlState::code)
    }
}

/// The connection is gone, as opposed to a parameter that could not be encoded.
fn lost(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_closed() || source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// A full disk or no memory: the server says so before it has changed anything.
fn out_of_resources(code: &SqlState) -> bool {
    code.code().starts_with("53")
}

fn kind_of(code: &SqlState, constraint: &str, message: &str) -> DbErrorKind {
    match code.code() {
        // 25P02: a statement sent together with one that failed; the cause came with that one.
        "40001" | "40P01" | "25P02" => DbErrorKind::Contention,
        "40003" => DbErrorKind::Ambiguous,
        "23505" => DbErrorKind::Unique(constraint.to_owned()),
        "57014" | "55P03" => DbErrorKind::Timeout,
        "22P02" | "22003" | "22021" => DbErrorKind::BadValue,
        "XXC02" => DbErrorKind::Licence,
        "3D000" => NO_DATABASE,
        "25P03" => DbErrorKind::Unavailable,
        // Without a code of their own CockroachDB reports a node that went away while it was asked, and a range that
        // lost its quorum.
        "XXUUU" if message.contains("rpc error: code = Unavailable") => DbErrorKind::Unavailable,
        "XXUUU" if message.contains("replica unavailable") || message.contains("lost quorum") => DbErrorKind::Timeout,
        // Connections; a disk, memory or connections used up; a server that shuts down; its files and its network.
        other if ["08", "53", "57P", "58"].iter().any(|class| other.starts_with(class)) => DbErrorKind::Unavailable,
        _ => DbErrorKind::Bug,
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DbErrorKind::Setup(_) => write!(f, "{}: {}", self.statement, self.detail.trim_end()),
            _ => write!(f, "{}: {:?} ({})", self.statement, self.kind, self.detail.trim_end()),
        }
    }
}

impl fmt::Debug for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for DbError {}
