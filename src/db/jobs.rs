//! Jobs of operators: asked for, confirmed, cancelled, read. A job does nothing until it is
//! confirmed. The surprise: its own events have fixed versions, since each happens once: 1
//! requested, 2 confirmed, 3 over.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    acting::{Acting, acting_sql, gates_sql, job_event_sql, who_sql},
    error::{DbError, DbErrorKind},
    row::Row,
    statement::{Conn, Reach, Statement},
    verdict::{Verdict, event_sql, verdict},
};
use crate::domain::{
    job::{JobRef, Kind},
    region::RegionCode,
};

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&INSERT, &CONFIRM, &CANCEL, &FIND, &LIST, &LIST_ITEMS];

const INSERT: Statement = Statement::write(
    "jobs.insert",
    Reach::Named,
    acting_sql!(
        "old AS (SELECT requested_by FROM jobs WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID),
         me AS (SELECT coalesce($3::UUID, '00000000-0000-0000-0000-000000000000'::UUID) AS id),
         verdict AS (SELECT CASE ",
        who_sql!(),
        "    WHEN EXISTS (SELECT 1 FROM old, me WHERE requested_by = me.id) THEN 'already'
             WHEN EXISTS (SELECT 1 FROM old) THEN 'form_used' ",
        gates_sql!(),
        "    ELSE 'ok' END AS code),
         n AS (INSERT INTO jobs (region, id, kind, city, state, requested_region, requested_by, parameters, created_at)
             SELECT $8::TEXT::crdb_internal_region, $9::UUID, $15::TEXT, $13::TEXT, 'running',
               $1::TEXT::crdb_internal_region, me.id, $16::JSONB, $5::TIMESTAMPTZ FROM verdict, me WHERE code = 'ok'
             RETURNING id),
         e AS (",
        event_sql!(job_event_sql!(
            "1",
            "job.requested",
            "jsonb_build_object('kind', $15::TEXT, 'city', $13::TEXT, 'to', $14::TEXT)",
            "n"
        )),
        ") SELECT code AS verdict FROM verdict"
    ),
);

/// Makes the job, without items. While `parameters` has `selecting`, it cannot be confirmed.
/// The shell's jobs are asked for by the nil id.
pub async fn insert(conn: &Conn, acting: &Acting, kind: Kind, parameters: &Value) -> Result<Verdict, DbError> {
    verdict(&acting.one(conn, &INSERT, &[&kind.code(), parameters]).await?)
}

const CONFIRM: Statement = Statement::write(
    "jobs.confirm",
    Reach::Named,
    acting_sql!(
        "j AS (SELECT state, confirmed_at, parameters FROM jobs
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND city = $13::TEXT),
         verdict AS (SELECT CASE ",
        who_sql!(),
        "    WHEN NOT EXISTS (SELECT 1 FROM j) THEN 'no_such_job'
             WHEN EXISTS (SELECT 1 FROM j WHERE confirmed_at IS NOT NULL) THEN 'already' ",
        gates_sql!(),
        "    WHEN EXISTS (SELECT 1 FROM j WHERE state <> 'running' OR parameters->>'selecting' IS NOT NULL) THEN 'changed'
             ELSE 'ok' END AS code),
         n AS (UPDATE jobs SET confirmed_at = $5::TIMESTAMPTZ FROM verdict
             WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID AND code = 'ok'
             RETURNING jobs.id),
         e AS (",
        event_sql!(job_event_sql!("2", "job.confirmed", "'{}'::JSONB", "n")),
        ") SELECT code AS verdict FROM verdict"
    ),
);

/// Lets the job begin.
pub async fn confirm(conn: &Conn, acting: &Acting) -> Result<Verdict, DbError> {
    verdict(&acting.one(conn, &CONFIRM, &[]).await?)
}

/// Items that one `jobs.cancel` takes: their rows stay within the write deadline.
const CANCELLED_AT_ONCE: i64 = 5_000;

const CANCEL: Statement = Statement::write(
    "jobs.cancel",
    Reach::Named,
    acting_sql!(
        "j AS (SELECT state FROM jobs
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND city = $13::TEXT),
         verdict AS (SELECT CASE ",
        who_sql!(),
        "    WHEN NOT EXISTS (SELECT 1 FROM j) THEN 'no_such_job'
             WHEN EXISTS (SELECT 1 FROM j WHERE state = 'done') THEN 'changed' ",
        gates_sql!(),
        "    ELSE 'ok' END AS code),
         n AS (UPDATE jobs SET state = 'cancelled', finished_at = $5::TIMESTAMPTZ FROM verdict
             WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID AND jobs.state = 'running'
               AND code = 'ok' RETURNING jobs.id),
         w AS (SELECT position FROM job_items
             WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID AND state = 'waiting'
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') ORDER BY position LIMIT $15::INT8),
         i AS (UPDATE job_items SET state = 'cancelled'
             WHERE job_items.region = $8::TEXT::crdb_internal_region AND job_items.job_id = $9::UUID
               AND job_items.state = 'waiting' AND job_items.position <= (SELECT max(position) FROM w) RETURNING 1 AS ok),
         e AS (",
        event_sql!(job_event_sql!("3", "job.cancelled", "'{}'::JSONB", "n")),
        ") SELECT code AS verdict, (SELECT count(*) FROM w) AS items FROM verdict"
    ),
);

/// Ends the job: what waits is not done any more. What was done stays.
pub async fn cancel(conn: &Conn, acting: &Acting) -> Result<Verdict, DbError> {
    loop {
        let row = acting.one(conn, &CANCEL, &[&CANCELLED_AT_ONCE]).await?;
        let verdict = verdict(&row)?;
        // It is cancelled with the first of them: no turn takes another one.
        if verdict != Verdict::Done || row.get::<i64>("items")? < CANCELLED_AT_ONCE {
            return Ok(verdict);
        }
    }
}

/// A job with how far it is.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which.
    pub job: JobRef,
    /// What it does.
    pub kind: Kind,
    /// Slug of its city.
    pub city: String,
    /// It is neither done nor cancelled.
    pub running: bool,
    /// It was cancelled.
    pub cancelled: bool,
    /// What it was asked with; see `ops::jobs`.
    pub parameters: Value,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Since when it may do something.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Job {
    /// A text among the parameters.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.parameters.get(key)?.as_str()
    }

    /// Its items are still being looked for.
    #[must_use]
    pub fn selecting(&self) -> bool {
        self.text("selecting").is_some()
    }

    /// Region and city to which its vehicles go; its own where they stay.
    #[must_use]
    pub fn target(&self) -> (RegionCode, String) {
        let region = self.text("to_region").and_then(|region| region.parse().ok());
        let city = self.text("to_city").unwrap_or(&self.city);
        (region.unwrap_or_else(|| self.job.region.clone()), city.to_owned())
    }
}

fn job(row: &Row) -> Result<Job, DbError> {
    let (kind, state): (&str, &str) = (row.get("kind")?, row.get("state")?);
    let unknown = || DbError::new(DbErrorKind::Bug, "jobs", format!("unknown kind {kind}"));
    let parameters: Value = row.get("parameters")?;
    let target = parameters.get("to_region").and_then(Value::as_str).map(str::parse::<RegionCode>).transpose();
    target.map_err(|error| DbError::new(DbErrorKind::Bug, "jobs", format!("to_region: {error}")))?;
    Ok(Job {
        job: JobRef { region: row.region("region")?, id: row.get("id")? },
        kind: Kind::from_code(kind).ok_or_else(unknown)?,
        city: row.get("city")?,
        running: state == "running",
        cancelled: state == "cancelled",
        parameters,
        created_at: row.get("created_at")?,
        confirmed_at: row.get("confirmed_at")?,
        finished_at: row.get("finished_at")?,
    })
}

/// How many items wait, are done, refused, cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// To be done.
    pub waiting: i64,
    /// Done.
    pub done: i64,
    /// Refused, each with its reason.
    pub refused: i64,
    /// Not done because the job was cancelled.
    pub cancelled: i64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> i64 {
        self.waiting + self.done + self.refused + self.cancelled
    }
}

const FIND: Statement = Statement::read(
    "jobs.find",
    Reach::Named,
    "SELECT region::TEXT AS region, id, kind, city, state, parameters, created_at, confirmed_at, finished_at,
        (SELECT count(*) FROM job_items WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2::UUID
          AND state = 'waiting') AS waiting,
        (SELECT count(*) FROM job_items WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2::UUID
          AND state = 'done') AS done,
        (SELECT count(*) FROM job_items WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2::UUID
          AND state = 'refused') AS refused,
        (SELECT count(*) FROM job_items WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2::UUID
          AND state = 'cancelled') AS cancelled
     FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND id = $2::UUID",
);

/// The job, and how far it is.
pub async fn find(conn: &Conn, which: &JobRef) -> Result<Option<(Job, Counts)>, DbError> {
    let read = |row: Row| {
        let counts = Counts {
            waiting: row.get("waiting")?,
            done: row.get("done")?,
            refused: row.get("refused")?,
            cancelled: row.get("cancelled")?,
        };
        Ok((job(&row)?, counts))
    };
    conn.opt(&FIND, &[&which.region, &which.id]).await?.map(read).transpose()
}

const LIST: Statement = Statement::read(
    "jobs.list",
    Reach::Named,
    "SELECT region::TEXT AS region, id, kind, city, state, parameters, created_at, confirmed_at, finished_at
     FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND city = $2
       AND created_at <= $3 AND (created_at < $3 OR id > $4)
     ORDER BY created_at DESC, id LIMIT $5",
);

/// The jobs of a city behind a place in the list, newest first.
pub async fn list(
    conn: &Conn,
    region: &RegionCode,
    city: &str,
    behind: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<Vec<Job>, DbError> {
    conn.rows(&LIST, &[region, &city, &behind.0, &behind.1, &limit]).await?.iter().map(job).collect()
}

/// An item as pages and reports show it.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its number in the job, or the line of a file.
    pub position: i64,
    /// The vehicle, if it is about one that is known.
    pub vehicle: Option<Uuid>,
    /// What is known of it since the job was asked for.
    pub input: Value,
    /// waiting, done, refused, cancelled.
    pub state: String,
    /// Why it was refused, as stored.
    pub reason: Option<String>,
}

const LIST_ITEMS: Statement = Statement::read(
    "jobs.list_items",
    Reach::Named,
    "SELECT position, vehicle_id, input, state, reason FROM job_items
     WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2 AND position > $3
       AND ($4::TEXT IS NULL OR state = $4::TEXT)
     ORDER BY position LIMIT $5",
);

/// The items behind `after`, of one state or of all.
pub async fn list_items(
    conn: &Conn,
    which: &JobRef,
    after: i64,
    state: Option<&str>,
    limit: i64,
) -> Result<Vec<Item>, DbError> {
    let read = |row: &Row| {
        Ok(Item {
            position: row.get("position")?,
            vehicle: row.get("vehicle_id")?,
            input: row.get("input")?,
            state: row.get("state")?,
            reason: row.get("reason")?,
        })
    };
    conn.rows(&LIST_ITEMS, &[&which.region, &which.id, &after, &state, &limit]).await?.iter().map(read).collect()
}
