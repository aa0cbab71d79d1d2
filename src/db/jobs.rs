//! Operators' jobs: requested, confirmed, cancelled, read. A job does nothing until it is
//! confirmed. Its own events have fixed versions: 1 requested, 2 confirmed, 3 over.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Conn, DbError, DbErrorKind, EVENT, GATED, Param, Reach, Result, Row, Statement, Verdict,
    job_write::{BEGINS, BY_JOB, COUNTED, GATES, ITEMS, JobWrite, ON_JOB, WHO},
    row::{SEARCHED, searched},
};
use crate::domain::{
    JobKind, JobRef, RegionCode, UserRef,
    event::{JOB_CANCELLED, JOB_CONFIRMED, JOB_REQUESTED},
};

pub const ALL: &[&Statement] =
    &[&INSERT, &CONFIRM, &CANCEL, &FIND, &COUNT, &NEXT, &MEASURE, &LEASE, &PAUSE, &LIST, &COUNT_LISTED, &LIST_ITEMS];

// $15 kind, $16 parameters.
const INSERT: Statement = Statement::write(
    "jobs.insert",
    Reach::Named,
    formatcp!(
        "{ON_JOB},
         old AS (SELECT requested_by FROM jobs WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID),
         me AS (SELECT coalesce($3::UUID, '00000000-0000-0000-0000-000000000000'::UUID) AS id),
         verdict AS (SELECT CASE {WHO}
             WHEN EXISTS (SELECT 1 FROM old, me WHERE requested_by = me.id) THEN 'already'
             WHEN EXISTS (SELECT 1 FROM old) THEN 'form_used'
             {BEGINS}
             ELSE 'ok' END AS code),
         inserted AS (INSERT INTO jobs (region, id, kind, city, state, requested_region, requested_by, parameters, created_at)
             SELECT $8::TEXT::crdb_internal_region, $9::UUID, $15::TEXT, $13::TEXT, 'running',
               $1::TEXT::crdb_internal_region, me.id, $16::JSONB, $5::TIMESTAMPTZ FROM verdict, me WHERE code = 'ok'
             RETURNING id),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'job', $9::UUID, 1, '{JOB_REQUESTED}', {BY_JOB}, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, jsonb_build_object('kind', $15::TEXT, 'city', $13::TEXT, 'to', $14::TEXT) FROM inserted
             RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Makes the job, without items. While `parameters` has `selecting`, it cannot be confirmed. Jobs
/// of the shell are requested by the nil id.
pub async fn insert(conn: &Conn, write: &JobWrite<'_>, job_kind: JobKind, parameters: &Value) -> Result<Verdict> {
    write.row(conn, &INSERT, &[&job_kind.code(), parameters]).await?.verdict()
}

// $15 parameters that are decided now.
const CONFIRM: Statement = Statement::write(
    "jobs.confirm",
    Reach::Named,
    formatcp!(
        "{ON_JOB},
         job AS (SELECT state, confirmed_at, parameters FROM jobs
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND city = $13::TEXT),
         verdict AS (SELECT CASE {WHO}
             WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'no_such_job'
             WHEN EXISTS (SELECT 1 FROM job WHERE confirmed_at IS NOT NULL) THEN 'already'
             {BEGINS}
             WHEN EXISTS (SELECT 1 FROM job WHERE state <> 'running' OR parameters->>'selecting' IS NOT NULL) THEN 'changed'
             ELSE 'ok' END AS code),
         confirmed AS (UPDATE jobs SET parameters = jobs.parameters || $15::JSONB,
               confirmed_at = $5::TIMESTAMPTZ, requested_region = $1::TEXT::crdb_internal_region,
               progress = NULL, requested_by = coalesce($3::UUID, '00000000-0000-0000-0000-000000000000'::UUID)
             FROM verdict
             WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID AND code = 'ok'
             RETURNING jobs.id),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'job', $9::UUID, 2, '{JOB_CONFIRMED}', {BY_JOB}, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM confirmed RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// By the person who confirms it. An import's new vehicles get the status that is `decided`.
pub async fn confirm(conn: &Conn, write: &JobWrite<'_>, decided: Option<&str>) -> Result<Verdict> {
    let parameters = decided.map_or_else(|| json!({}), |status| json!({ "new_status": status }));
    write.row(conn, &CONFIRM, &[&parameters]).await?.verdict()
}

const CANCELLED_AT_ONCE: i64 = 5_000;

// $15 how many items at once.
const CANCEL: Statement = Statement::write(
    "jobs.cancel",
    Reach::Named,
    formatcp!(
        "{ON_JOB},
         job AS (SELECT state FROM jobs
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND city = $13::TEXT),
         verdict AS (SELECT CASE {WHO}
             WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'no_such_job'
             {GATES}
             WHEN EXISTS (SELECT 1 FROM job WHERE state = 'done') THEN 'changed'
             ELSE 'ok' END AS code),
         waiting AS (SELECT position FROM job_items
             WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID AND state = 'waiting'
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') ORDER BY position LIMIT $15::INT8),
         items AS (UPDATE job_items SET state = 'cancelled'
             WHERE job_items.region = $8::TEXT::crdb_internal_region AND job_items.job_id = $9::UUID
               AND job_items.state = 'waiting' AND job_items.position <= (SELECT max(position) FROM waiting) RETURNING 1 AS ok),
         cancelled AS (UPDATE jobs SET state = 'cancelled', finished_at = coalesce(jobs.finished_at, $5::TIMESTAMPTZ),
               progress = CASE WHEN (SELECT count(*) FROM waiting) < $15::INT8 THEN ({COUNTED} {ITEMS}) END
             FROM verdict WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID AND code = 'ok'
             RETURNING jobs.id),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'job', $9::UUID, 3, '{JOB_CANCELLED}', {BY_JOB}, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM cancelled, job WHERE job.state = 'running'
             RETURNING 1 AS ok)
         SELECT code AS verdict, (SELECT count(*) FROM waiting) AS items FROM verdict"
    ),
);

/// Ends the job: waiting items are not done any more, done ones stay.
pub async fn cancel(conn: &Conn, write: &JobWrite<'_>) -> Result<Verdict> {
    loop {
        let row = write.row(conn, &CANCEL, &[&CANCELLED_AT_ONCE]).await?;
        let verdict = row.verdict()?;
        // It is cancelled with the first of them: no batch takes another one.
        if verdict != Verdict::Done || row.get::<i64>("items")? < CANCELLED_AT_ONCE {
            return Ok(verdict);
        }
    }
}

#[derive(Debug, Clone)]
pub struct Job {
    pub job: JobRef,
    pub job_kind: JobKind,
    pub city: String,
    pub running: bool,
    pub cancelled: bool,
    pub parameters: Value,
    pub created_at: DateTime<Utc>,
    pub confirmed_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Whoever requested it or, later, confirmed it; the nil id for the shell.
    pub requested_by: UserRef,
    /// Of a file before it is confirmed, as of the last batch, and in the end.
    pub progress: Option<Counts>,
    /// Why the worker has paused: a refusal's code.
    pub paused: Option<String>,
}

impl Job {
    pub fn text(&self, key: &str) -> Option<&str> {
        self.parameters.get(key)?.as_str()
    }

    pub fn number(&self, key: &str) -> i64 {
        self.parameters.get(key).and_then(Value::as_i64).unwrap_or_default()
    }

    pub fn selecting(&self) -> bool {
        self.text("selecting").is_some()
    }

    /// Its vehicles' target; its own region and city if they stay.
    pub fn target(&self) -> (RegionCode, String) {
        let region = self.text("to_region").and_then(|region| region.parse().ok());
        let city = self.text("to_city").unwrap_or(&self.city);
        (region.unwrap_or_else(|| self.job.region.clone()), city.to_owned())
    }
}

const COLUMNS: &str =
    "region::TEXT AS region, id, kind, city, state, parameters, created_at, confirmed_at, finished_at,
         requested_region::TEXT AS requested_region, requested_by, progress";

fn job(row: &Row) -> Result<Job> {
    let bug = |words: String| DbError::new(DbErrorKind::Bug, "jobs", words);
    let (job_kind, state): (&str, &str) = (row.get("kind")?, row.get("state")?);
    let parameters: Value = row.get("parameters")?;
    let target = parameters.get("to_region").and_then(Value::as_str).map(str::parse::<RegionCode>).transpose();
    target.map_err(|error| bug(format!("to_region: {error}")))?;
    let progress: Option<Value> = row.get("progress")?;
    let number = |key: &str| progress.as_ref()?.get(key)?.as_i64();
    let running = state == "running";
    let confirmed_at: Option<DateTime<Utc>> = row.get("confirmed_at")?;
    let counted = running && confirmed_at.is_some();
    // While its items are selected the lease counts those of the batch before. Only the last counts have
    // `cancelled`: a job that an older release ended has those of its last lease.
    let by_row = number("waiting").filter(|_| counted || number("cancelled").is_some()).map(|waiting| Counts {
        waiting,
        done: number("done").unwrap_or(0),
        refused: number("refused").unwrap_or(0),
        cancelled: number("cancelled").unwrap_or(0),
    });
    // What a file holds was counted when it had been read.
    let of_file = || {
        let number = |key: &str| parameters.get(key)?.as_i64();
        let waiting = number("new")? + number("changed")?;
        Some(Counts { waiting, done: number("same")?, refused: number("refused")?, cancelled: 0 })
    };
    let progress_counts = if running && confirmed_at.is_none() { of_file() } else { by_row };
    Ok(Job {
        job: JobRef { region: row.region("region")?, id: row.get("id")? },
        job_kind: JobKind::from_code(job_kind).ok_or_else(|| bug(format!("unknown kind {job_kind}")))?,
        city: row.get("city")?,
        running,
        cancelled: state == "cancelled",
        parameters,
        created_at: row.get("created_at")?,
        confirmed_at,
        finished_at: row.get("finished_at")?,
        requested_by: UserRef { region: row.region("requested_region")?, id: row.get("requested_by")? },
        progress: progress_counts,
        paused: progress.as_ref().and_then(|progress| Some(progress.get("paused")?.as_str()?.to_owned())),
    })
}

/// Items waiting, done, refused, and cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: i64,
    pub done: i64,
    pub refused: i64,
    pub cancelled: i64,
}

impl Counts {
    pub fn all(&self) -> i64 {
        self.waiting + self.done + self.refused + self.cancelled
    }
}

const FIND: Statement = Statement::read(
    "jobs.find",
    Reach::Named,
    formatcp!("SELECT {COLUMNS} FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND id = $2::UUID"),
);

pub async fn find(conn: &Conn, which: &JobRef) -> Result<Option<Job>> {
    conn.opt(&FIND, &[&which.region, &which.id]).await?.as_ref().map(job).transpose()
}

const COUNTS: &str =
    "count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'done') AS done,
       count(*) FILTER (WHERE state = 'refused') AS refused, count(*) FILTER (WHERE state = 'cancelled') AS cancelled";

const COUNT: Statement = Statement::read(
    "jobs.count_items",
    Reach::Named,
    formatcp!("SELECT {COUNTS} FROM job_items WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2::UUID"),
);

/// Exact, and so a read of all items.
pub async fn count_items(conn: &Conn, which: &JobRef) -> Result<Counts> {
    counts(&conn.one(&COUNT, &[&which.region, &which.id]).await?)
}

fn counts(row: &Row) -> Result<Counts> {
    Ok(Counts {
        waiting: row.get("waiting")?,
        done: row.get("done")?,
        refused: row.get("refused")?,
        cancelled: row.get("cancelled")?,
    })
}

// A selection that was interrupted a day ago is of no use to anybody any more; jobs that nobody
// confirms would add up.
const NEXT: Statement = Statement::read(
    "jobs.list_next",
    Reach::Named,
    formatcp!(
        "SELECT {COLUMNS} FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND state = 'running'
           AND confirmed_at IS NOT NULL
           AND (lease_owner IS NULL OR lease_owner = $2::UUID OR lease_until < now()) AND NOT id = ANY($3::UUID[])
         UNION ALL
         SELECT {COLUMNS} FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND state = 'running'
           AND confirmed_at IS NULL
           AND created_at > $4::TIMESTAMPTZ AND kind <> 'import' AND parameters->>'selecting' IS NOT NULL
           AND (lease_owner IS NULL OR lease_owner = $2::UUID OR lease_until < now()) AND NOT id = ANY($3::UUID[])
         ORDER BY created_at, id LIMIT 8"
    ),
);

pub async fn list_next(
    conn: &Conn,
    region: &RegionCode,
    worker: Uuid,
    but: &[Uuid],
    selected_since: DateTime<Utc>,
) -> Result<Vec<Job>> {
    let rows = conn.rows(&NEXT, &[region, &worker, &but, &selected_since]).await?;
    // A newer release may have made a job that this one cannot read; the others go on.
    let unreadable = |error: &DbError| tracing::warn!(%error, "a job is left to another release");
    Ok(rows.iter().filter_map(|row| job(row).inspect_err(unreadable).ok()).collect())
}

const MEASURE: Statement = Statement::read(
    "jobs.measure",
    Reach::Named,
    "SELECT count(*) FILTER (WHERE leased) AS running, count(*) FILTER (WHERE NOT leased) AS waiting,
       extract(EPOCH FROM now() - min(confirmed_at) FILTER (WHERE leased))::FLOAT8 AS running_age,
       extract(EPOCH FROM now() - min(confirmed_at) FILTER (WHERE NOT leased))::FLOAT8 AS waiting_age
     FROM (SELECT confirmed_at, coalesce(lease_until > now(), false) AS leased FROM jobs
       WHERE region = $1::TEXT::crdb_internal_region AND state = 'running' AND confirmed_at IS NOT NULL
       ORDER BY confirmed_at, created_at, id LIMIT 1000) AS oldest",
);

/// How many of the jobs that should run do (`running`) and do not (`waiting`), and the seconds since
/// the oldest of each was confirmed.
pub async fn measure(conn: &Conn, region: &RegionCode) -> Result<[(&'static str, i64, Option<f64>); 2]> {
    let row = conn.one(&MEASURE, &[region]).await?;
    Ok([
        ("running", row.get("running")?, row.get("running_age")?),
        ("waiting", row.get("waiting")?, row.get("waiting_age")?),
    ])
}

// By the server's clock: those of two instances may differ. A batch takes about a second, so a
// worker that lives renews its lease in time, and what one has left goes on within ten.
const LEASE: Statement = Statement::write(
    "jobs.lease",
    Reach::Named,
    formatcp!(
        "{GATED},
         job AS (SELECT 1 AS ok FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
           AND state = 'running' AND (lease_owner IS NULL OR lease_owner = $4::UUID OR lease_until < now())),
         verdict AS (SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate' ELSE 'ok' END AS code),
         counted AS (SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'done') AS done,
               count(*) FILTER (WHERE state = 'refused') AS refused
             FROM job_items WHERE region = $1::TEXT::crdb_internal_region AND job_id = $3::UUID),
         leased AS (UPDATE jobs SET lease_owner = $4::UUID, lease_until = now() + '6 s'::INTERVAL,
               progress = jsonb_build_object('waiting', counted.waiting, 'done', counted.done, 'refused', counted.refused)
             FROM verdict, counted WHERE jobs.region = $1::TEXT::crdb_internal_region AND jobs.id = $3::UUID AND code = 'ok'
             RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Takes or renews the lease of a running job, and records its progress. `Already` when another
/// worker has it, or there is nothing to do.
pub async fn lease(conn: &Conn, which: &JobRef, epoch: i64, worker: Uuid) -> Result<Verdict> {
    conn.verdict(&LEASE, &[&which.region, &epoch, &which.id, &worker]).await
}

const PAUSE: Statement = Statement::write(
    "jobs.pause",
    Reach::Named,
    formatcp!(
        "{GATED},
         verdict AS (SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate' ELSE 'ok' END AS code),
         paused AS (UPDATE jobs SET progress = progress || jsonb_build_object('paused', $5::TEXT)
             FROM verdict WHERE jobs.region = $1::TEXT::crdb_internal_region AND jobs.id = $3::UUID
               AND jobs.lease_owner = $4::UUID AND code = 'ok' RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

pub async fn pause(conn: &Conn, which: &JobRef, epoch: i64, worker: Uuid, why: &str) -> Result<Verdict> {
    conn.verdict(&PAUSE, &[&which.region, &epoch, &which.id, &worker, &why]).await
}

/// Which jobs of a list are wanted; none for any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub state: Option<&'a str>,
    pub confirmed: Option<bool>,
    pub by: Option<Uuid>,
    /// Whether usernames may be read.
    pub names: bool,
}

/// A page of a city's jobs, among the next $6: $3 and $4 the cursor, $5 how many, $7 to $9 the filter.
const LISTED: &str = formatcp!(
    "FROM (SELECT {COLUMNS}, row_number() OVER (ORDER BY created_at DESC, id DESC) = $6::INT8 AS ends,
           ($7::TEXT IS NULL OR state = $7::TEXT) AND ($8::BOOL IS NULL OR (confirmed_at IS NOT NULL) = $8::BOOL)
             AND ($9::UUID IS NULL OR requested_by = $9::UUID) AS fits
         FROM (SELECT {COLUMNS} FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND city = $2::TEXT
             AND created_at <= $3::TIMESTAMPTZ AND (created_at < $3::TIMESTAMPTZ OR id < $4::UUID)
           ORDER BY created_at DESC, id DESC LIMIT $6::INT8) AS newest) AS listed
       WHERE fits OR ends ORDER BY created_at DESC, id DESC LIMIT $5::INT8"
);

// Whoever lives in another region, or under another law than who asks, is not named here.
const LIST: Statement = Statement::read(
    "jobs.list",
    Reach::Named,
    formatcp!(
        "SELECT {COLUMNS}, ends, fits, (SELECT username FROM users
           WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = listed.requested_by AND $10::BOOL) AS username
         {LISTED}"
    ),
);

/// Items of a job that the list counts at most.
pub const COUNTED_MAX: i64 = 10_000;

// Of jobs whose row does not say it: see `Job::progress`. State by state, because CockroachDB v22.1 finds each item
// four times when it adds the states that there are to a range of positions.
const COUNT_LISTED: Statement = Statement::read(
    "jobs.count_listed",
    Reach::Named,
    formatcp!(
        "WITH uncounted AS (SELECT id FROM (SELECT id, state, confirmed_at, parameters, progress {LISTED}) AS jobs
             WHERE CASE WHEN state <> 'running' THEN progress->'cancelled' IS NULL
               WHEN confirmed_at IS NULL THEN parameters->>'new' IS NULL ELSE progress IS NULL END)
         SELECT uncounted.id, {COUNTS}, max(position) > {COUNTED_MAX} AS more FROM uncounted
           CROSS JOIN unnest('{{waiting,done,refused,cancelled}}'::TEXT[]) AS states (each_state) JOIN job_items
           ON job_items.region = $1::TEXT::crdb_internal_region AND job_items.job_id = uncounted.id
           AND job_items.state = each_state AND job_items.position <= {COUNTED_MAX} + 1 GROUP BY uncounted.id"
    ),
);

/// A job of a list: its items, and who is responsible, as far as that is known in its region.
#[derive(Debug, Clone)]
pub struct ListedJob {
    pub job: Job,
    /// None if they are unknown, or more than [`COUNTED_MAX`].
    pub counts: Option<Counts>,
    pub more: bool,
    pub username: Option<String>,
}

/// Newest first, and the last that was looked at, if the search goes on behind it. Both statements are sent at once;
/// without the second's answer the list is good enough.
pub async fn list(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    Filter { state, confirmed, by, names }: Filter<'_>,
    (at, id): (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<(Vec<ListedJob>, Option<ListedJob>)> {
    let all = state.is_none() && confirmed.is_none() && by.is_none();
    let among = if all { limit } else { SEARCHED.max(limit) };
    let params: [Param<'_>; 10] = [region, &city, &at, &id, &limit, &among, &state, &confirmed, &by, &names];
    let [listed @ .., _] = &params;
    let (rows, counted) = tokio::join!(conn.rows(&LIST, &params), conn.rows(&COUNT_LISTED, listed));
    let counted = counted.unwrap_or_else(|error| {
        tracing::warn!(%error, "the items of jobs were not counted");
        Vec::new()
    });
    let known = counted.iter().map(|row| Ok((row.get("id")?, (row.get("more")?, counts(row)?))));
    let known: HashMap<Uuid, (bool, Counts)> = known.collect::<Result<_>>()?;
    let read = |row: &Row| {
        let job = job(row)?;
        let (more, counted) = known.get(&job.job.id).map_or((false, None), |(more, counts)| (*more, Some(*counts)));
        let counts = job.progress.or(counted.filter(|_| !more));
        Ok(ListedJob { counts, more, username: row.get("username")?, job })
    };
    searched(&rows?, read)
}

#[derive(Debug, Clone)]
pub struct Item {
    pub position: i64,
    pub vehicle: Option<Uuid>,
    /// What was recorded when the job was requested.
    pub input: Value,
    pub state: String,
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

pub async fn list_items(conn: &Conn, which: &JobRef, after: i64, state: Option<&str>, limit: i64) -> Result<Vec<Item>> {
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
