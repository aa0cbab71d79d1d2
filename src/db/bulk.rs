//! Which vehicles a job takes, and the batches that change them. Each item is done or refused in
//! the same statement as its vehicle, so a crash loses or doubles nothing.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    CITY_CHECKED, Conn, DbError, DbErrorKind, EVENT, Param, Reach, Result, Statement, Verdict,
    job_write::{BY_JOB, GATES, JOB_DONE_EVENT, JobWrite, ON_JOB, OVER, RUNNING, WHO},
    tasks::finished_sql,
    vehicles::{HOLD, hold_sql},
    verdict::LAST_EVENT_IN_WORDS,
};
use crate::domain::{
    JobKind, Point,
    event::{RESIDENCY_MOVE_REFUSED, TASK_FINISHED},
    fleet::Filter,
    geo::{self},
    job::StatusChange,
};

pub const ALL: &[&Statement] = &[&SELECT_LIST, &SELECT_FILTER, &BATCH_HERE, &MOVE];

pub const ITEMS_MAX: i64 = 50_000;
/// Items that one `bulk.select_filter` adds.
const SELECTED_AT_ONCE: i64 = 5_000;
pub const BATCH: i64 = 200;

/// The columns of vehicle row `$v` that a transfer must not change.
macro_rules! checksum_sql {
    ($v:literal) => {
        formatcp!(
            "md5({v}.id::TEXT || '|' || {v}.type || '|' || {v}.brand || '|' || {v}.colour || '|' ||
               coalesce({v}.code, '') || '|' || ({v}.created_at AT TIME ZONE 'UTC')::TEXT)",
            v = $v
        )
    };
}
pub(super) use checksum_sql;

/// A selection: `found` gives the vehicles with the version that was `seen` and whether they
/// `changed` since. $15 is the cursor, $16 that owners' vehicles must not leave, $17 the limit.
macro_rules! select_sql {
    ($vehicles:expr) => {
        formatcp!(
            "{ON_JOB},
             job AS (SELECT parameters FROM jobs
                 WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND city = $13::TEXT
                   AND state = 'running' AND confirmed_at IS NULL AND parameters->>'selecting' = $15::TEXT),
             verdict AS (SELECT CASE {WHO}
                 WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'already'
                 {GATES}
                 ELSE 'ok' END AS code),
             so_far AS (SELECT coalesce(max(position), 0) AS last FROM job_items
                 WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID),
             {vehicles},
             last_event AS (SELECT DISTINCT ON (events.aggregate_id) events.aggregate_id, {LAST_EVENT_IN_WORDS} AS what
                 FROM found JOIN events ON events.region = $8::TEXT::crdb_internal_region AND events.aggregate_type = 'vehicle'
                 AND events.aggregate_id = found.id AND events.version > found.seen
                 WHERE found.changed ORDER BY events.aggregate_id, events.version DESC),
             chosen AS (SELECT found.id, found.expected, found.input,
                   so_far.last + row_number() OVER (ORDER BY found.id) AS position, CASE
                   WHEN found.version IS NULL OR found.city <> $13::TEXT THEN 'gone'
                   WHEN found.changed THEN 'changed: ' || coalesce(last_event.what, 'at an unknown time')
                   WHEN found.owner_region IS NOT NULL AND $16::BOOL THEN 'residency: move_to'
                   WHEN $11::TEXT <> $8::TEXT AND found.owner_region NOT IN ($8::TEXT, $11::TEXT) THEN 'owner_elsewhere'
                   END AS reason
                 FROM so_far CROSS JOIN found LEFT JOIN last_event ON last_event.aggregate_id = found.id),
             items AS (INSERT INTO job_items (region, job_id, position, vehicle_id, vehicle_version, input, state, reason)
                 SELECT $8::TEXT::crdb_internal_region, $9::UUID, position, id, expected, coalesce(input, '{{}}'::JSONB),
                   CASE WHEN reason IS NULL THEN 'waiting' ELSE 'refused' END, reason FROM chosen RETURNING 1 AS ok),
             far AS (SELECT count(*) AS number, max(id::TEXT) AS id FROM found),
             changed_job AS (UPDATE jobs SET parameters = CASE
                   WHEN far.number < $17::INT8 THEN jobs.parameters - 'selecting'
                   WHEN so_far.last + far.number >= {ITEMS_MAX} THEN (jobs.parameters - 'selecting') || '{{\"cut\": true}}'::JSONB
                   ELSE jobs.parameters || jsonb_build_object('selecting', far.id) END
                 FROM verdict, so_far, far WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID
                   AND code = 'ok' RETURNING jobs.id),
             kept AS (SELECT count(*) AS number, min(position) AS first FROM chosen WHERE reason LIKE 'residency: %'),
             e AS ({EVENT}
                 SELECT $8::TEXT::crdb_internal_region, 'residency_refusal', $9::UUID, kept.first, '{RESIDENCY_MOVE_REFUSED}',
                   {BY_JOB}, $10::INT8, NULL::FLOAT8, NULL::FLOAT8,
                   jsonb_build_object('rule', 'move_to', 'to', $11::TEXT, 'vehicles', kept.number) FROM kept WHERE kept.number > 0
                 RETURNING 1 AS ok)
             SELECT code AS verdict, (SELECT number FROM kept) AS kept FROM verdict",
            vehicles = $vehicles
        )
    };
}

const INPUT: &str = formatcp!(
    "jsonb_build_object('code', v.code, 'type', v.type, 'brand', v.brand, 'owner', v.owner_region::TEXT,
               'mark', {checksum}) AS input, v.owner_region::TEXT AS owner_region, v.city, v.version",
    checksum = checksum_sql!("v")
);

// $18 and $19: the vehicles and their versions.
const SELECT_LIST: Statement = Statement::write(
    "bulk.select_list",
    Reach::Named,
    select_sql!(formatcp!(
        "listed AS (SELECT given.id, given.version FROM unnest($18::UUID[], $19::INT8[]) AS given (id, version), verdict
             WHERE verdict.code = 'ok'),
         found AS (SELECT listed.id, listed.version AS expected, listed.version AS seen,
               v.version <> listed.version AS changed, {INPUT}
             FROM listed LEFT JOIN vehicles v ON v.region = $8::TEXT::crdb_internal_region AND v.id = listed.id)"
    )),
);

// $18 when the page was drawn; the filter's $19 status, $20 type, $21 battery, $22 idle since, $23
// part of the code; $24 the last vehicle of the batch before.
const SELECT_FILTER: Statement = Statement::write(
    "bulk.select_filter",
    Reach::Named,
    select_sql!(formatcp!(
        "found AS (SELECT v.id, v.version AS expected, v.version - 1 AS seen, v.changed_at > $18::TIMESTAMPTZ AS changed,
               {INPUT}
             FROM vehicles v, verdict
         WHERE v.region = $8::TEXT::crdb_internal_region AND v.city = $13::TEXT AND v.id > $24::UUID
           AND ($19::TEXT IS NULL OR v.status = $19::TEXT) AND v.status <> 'retired'
           AND ($20::TEXT IS NULL OR v.type = $20::TEXT)
           AND ($21::INT8 IS NULL OR v.battery < $21::INT8)
           AND ($22::TIMESTAMPTZ IS NULL OR v.seen_at < $22::TIMESTAMPTZ)
           AND ($23::TEXT IS NULL OR strpos(lower(v.code), lower($23::TEXT)) > 0)
           AND verdict.code = 'ok'
         ORDER BY v.id LIMIT $17::INT8)"
    )),
);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Selection {
    /// With the versions that were seen; at most 200.
    List { list: Vec<(Uuid, i64)> },
    /// Those matching the filter on a page rendered at `drawn`; vehicles changed since are refused.
    Filter { filter: Filter, drawn: DateTime<Utc> },
}

/// Adds the next selected vehicles to the job, from its cursor `selecting` on. Returns how many
/// were refused because residency does not let their owners' vehicles leave.
pub async fn select(
    conn: &Conn,
    write: &JobWrite<'_>,
    selecting: &str,
    owners_stay: bool,
    selection: &Selection,
) -> Result<(Verdict, i64)> {
    let row = match selection {
        Selection::List { list } => {
            let (ids, versions): (Vec<Uuid>, Vec<i64>) = list.iter().copied().unzip();
            // All at once: fewer than this many rows.
            write.row(conn, &SELECT_LIST, &[&selecting, &owners_stay, &ITEMS_MAX, &ids, &versions]).await?
        }
        Selection::Filter { filter, drawn } => {
            let cursor = selecting.parse::<Uuid>();
            let after =
                cursor.map_err(|error| DbError::new(DbErrorKind::Bug, SELECT_FILTER.name, error.to_string()))?;
            let rest: [Param<'_>; 10] = [
                &selecting, &owners_stay, &SELECTED_AT_ONCE, drawn, &filter.status, &filter.vehicle_type,
                &filter.battery_below, &filter.idle_since, &filter.code, &after,
            ];
            write.row(conn, &SELECT_FILTER, &rest).await?
        }
    };
    Ok((row.verdict()?, row.get("kept")?))
}

/// A batch: `$taken` is the refusal code for what `$join` finds; `$set` is the new place; $15 the
/// event, $16 the new status, $17 those before, $18 the note, $19 whether it was seen just now. The
/// bounds on the position are for PostgreSQL: without statistics it expects one item per job, and
/// would compare each of them with all of `decided`.
macro_rules! status_batch_sql {
    ($taken:literal, $join:literal, $set:literal, $metadata:literal) => {
        formatcp!(
            "{ON_JOB},
             job AS ({RUNNING}),
             verdict AS (SELECT CASE {WHO}
                 WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'already'
                 {GATES}
                 ELSE 'ok' END AS code),
             waiting AS (SELECT position, vehicle_id, vehicle_version FROM job_items
                 WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID AND state = 'waiting'
                   AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') ORDER BY position LIMIT {BATCH} + 1),
             batch AS (SELECT position, vehicle_id, vehicle_version FROM waiting ORDER BY position LIMIT {BATCH}),
             last_event AS (SELECT DISTINCT ON (events.aggregate_id) events.aggregate_id, {LAST_EVENT_IN_WORDS} AS what
                 FROM batch JOIN events ON events.region = $8::TEXT::crdb_internal_region AND events.aggregate_type = 'vehicle'
                 AND events.aggregate_id = batch.vehicle_id AND events.version > batch.vehicle_version
                 ORDER BY events.aggregate_id, events.version DESC),
             decided AS (SELECT batch.position, batch.vehicle_id, batch.vehicle_version, CASE
                   WHEN v.id IS NULL OR v.city <> $13::TEXT THEN 'gone'
                   WHEN v.version <> batch.vehicle_version THEN 'changed: ' || coalesce(last_event.what, 'at an unknown time')
                   WHEN v.status = 'in_use' OR v.reserved_until > $5::TIMESTAMPTZ THEN 'vehicle_in_use'
                   WHEN NOT v.status = ANY($17::TEXT[]) THEN 'state: ' || v.status
                   WHEN ({hold}) IS NOT NULL AND $16::TEXT = 'available' THEN 'held'
                   {taken}
                   END AS reason
                 FROM batch LEFT JOIN vehicles v ON v.region = $8::TEXT::crdb_internal_region AND v.id = batch.vehicle_id
                 LEFT JOIN last_event ON last_event.aggregate_id = batch.vehicle_id {join}),
             v2 AS (UPDATE vehicles SET status = $16::TEXT, hold = {HOLD},
                   code = CASE WHEN $16::TEXT = 'retired' THEN NULL ELSE vehicles.code END,
                   retired_code = CASE WHEN $16::TEXT = 'retired' THEN vehicles.code END,
                   note = nullif(coalesce($18::TEXT, vehicles.note), ''),{set}
                   seen_at = CASE WHEN $19::BOOL THEN $5::TIMESTAMPTZ ELSE vehicles.seen_at END,
                   reserved_region = NULL, reserved_by = NULL, reserved_until = NULL,
                   version = vehicles.version + 1, changed_at = $5::TIMESTAMPTZ
                 FROM decided WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = decided.vehicle_id
                   AND vehicles.version = decided.vehicle_version AND decided.reason IS NULL
                 RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon),
             items AS (UPDATE job_items SET state = CASE WHEN decided.reason IS NULL THEN 'done' ELSE 'refused' END,
                   reason = decided.reason
                 FROM decided WHERE job_items.region = $8::TEXT::crdb_internal_region AND job_items.job_id = $9::UUID
                   AND job_items.position = decided.position AND job_items.position >= (SELECT min(position) FROM batch)
                   AND job_items.position <= (SELECT max(position) FROM batch) RETURNING 1 AS ok),
             t AS ({finished}),
             last AS (SELECT id FROM job WHERE (SELECT count(*) FROM waiting) <= {BATCH}),
             over AS ({OVER}),
             e AS ({EVENT}
                 SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, $15::TEXT,
                   {BY_JOB}, $10::INT8, v2.lat, v2.lon, {metadata} FROM v2
                 UNION ALL SELECT $8::TEXT::crdb_internal_region, 'task', t.id, t.version, '{TASK_FINISHED}',
                   {BY_JOB}, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM t
                 UNION ALL {JOB_DONE_EVENT} RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            taken = $taken,
            hold = hold_sql!("v."),
            join = $join,
            finished = finished_sql!("v2", "$16"),
            set = $set,
            metadata = $metadata
        )
    };
}

const BATCH_HERE: Statement = Statement::write("bulk.turn", Reach::Named, status_batch_sql!("", "", "", "'{}'::JSONB"));

// $20 to $23: latitude, longitude, cell and name of the depot.
const MOVE: Statement = Statement::write(
    "bulk.move",
    Reach::Named,
    status_batch_sql!(
        "WHEN same_code.id IS NOT NULL THEN 'code_taken'",
        "LEFT JOIN vehicles same_code ON same_code.region = $8::TEXT::crdb_internal_region
                   AND same_code.city = $14::TEXT AND same_code.code = v.code",
        " city = $14::TEXT, lat = $20::FLOAT8, lon = $21::FLOAT8, cell = $22::INT8, place = $23::TEXT,",
        "jsonb_build_object('city', $14::TEXT)"
    ),
)
.reading_global(CITY_CHECKED);

/// Does or refuses the next items, and ends the job when none is left. With a depot the vehicles go
/// there, to the job's other city.
pub async fn batch(
    conn: &Conn,
    write: &JobWrite<'_>,
    job_kind: JobKind,
    note: Option<&str>,
    depot: Option<Point>,
) -> Result<Verdict> {
    let bug = || DbError::new(DbErrorKind::Bug, BATCH_HERE.name, "of a job that changes no status");
    let StatusChange { event, to, from } = job_kind.status_change().ok_or_else(bug)?;
    // It has come to where it stands now.
    let seen = matches!(job_kind, JobKind::BackToStreet | JobKind::Found | JobKind::Move);
    let rest: [Param<'_>; 5] = [&event, &to, &from, &note, &seen];
    match depot {
        None => write.row(conn, &BATCH_HERE, &rest).await?.verdict(),
        Some(depot) => {
            let (lat, lon, cell) = (depot.lat(), depot.lon(), geo::cell(depot));
            let place: [Param<'_>; 4] = [&lat, &lon, &cell, &DEPOT];
            write.row(conn, &MOVE, &[&rest[..], &place].concat()).await?.verdict()
        }
    }
}

/// The place of a vehicle that has arrived in another city and is not on the street yet.
pub const DEPOT: &str = "Depot";
