//! Vehicles that move to another region: one statement a vehicle, at a gateway of the region that
//! it leaves, which moves the row and writes the events of the next two versions, one in each
//! region. The arrival's event carries a checksum, which is compared before a transfer is complete:
//! the row may have been changed since.

use const_format::formatcp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    CITY_CHECKED, Conn, EVENT, Param, Reach, Result, Row, Statement, Verdict,
    bulk::{DEPOT, checksum_sql},
    job_write::{BY_JOB, COUNTED, GATES, ITEMS, JobWrite, ON_JOB, RUNNING, WHO},
    verdict::{LAST_EVENT_IN_WORDS, present_in_sql},
};
use crate::domain::{
    JobRef, Point, RegionCode,
    event::{JOB_DONE, VEHICLE_RECEIVED, VEHICLE_SENT},
    geo::{self},
};

pub const ALL: &[&Statement] = &[&LIST, &MOVE, &LIST_ARRIVED, &FINISH];

#[derive(Debug, Clone)]
pub struct Item {
    pub position: i64,
    pub vehicle: Uuid,
    pub owner: Option<RegionCode>,
    pub checksum: String,
}

const LIST: Statement = Statement::read(
    "transfers.list",
    Reach::Named,
    "SELECT position, vehicle_id, input->>'owner' AS owner, coalesce(input->>'mark', '') AS mark FROM job_items
     WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2 AND state = $3 AND position > $4
     ORDER BY position LIMIT $5",
);

/// The vehicles of a job whose items are in this state, after position `after`.
pub async fn list(conn: &Conn, job: &JobRef, state: &str, after: i64, limit: i64) -> Result<Vec<Item>> {
    let read = |row: &Row| {
        Ok(Item {
            position: row.get("position")?,
            vehicle: row.get("vehicle_id")?,
            owner: row.opt_region("owner")?,
            checksum: row.get("mark")?,
        })
    };
    conn.rows(&LIST, &[&job.region, &job.id, &state, &after, &limit]).await?.iter().map(read).collect()
}

// $15 position and $16 vehicle of the item, $17 to $20 the depot, $21 the owner's home.
const MOVE: Statement = Statement::write(
    "transfers.move",
    Reach::Named,
    formatcp!(
        "{ON_JOB},
         job AS ({RUNNING}),
         item AS (SELECT vehicle_version FROM job_items
             WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID AND position = $15::INT8
               AND vehicle_id = $16::UUID AND state = 'waiting'),
         verdict AS (SELECT CASE {WHO}
             WHEN NOT EXISTS (SELECT 1 FROM job) OR NOT EXISTS (SELECT 1 FROM item) THEN 'already'
             {GATES}
             ELSE 'ok' END AS code),
         v AS (SELECT id, version, status, city, code, reserved_until, owner_region::TEXT AS owner_region FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND id = $16::UUID),
         last_event AS (SELECT {LAST_EVENT_IN_WORDS} AS what FROM events
             WHERE region = $8::TEXT::crdb_internal_region AND aggregate_type = 'vehicle'
               AND aggregate_id = $16::UUID ORDER BY version DESC LIMIT 1),
         decided AS (SELECT item.vehicle_version, CASE
               WHEN v.id IS NULL OR v.city <> $13::TEXT THEN 'gone'
               WHEN v.version <> item.vehicle_version THEN 'changed: ' || coalesce(last_event.what, 'at an unknown time')
               WHEN v.status = 'in_use' OR v.reserved_until > $5::TIMESTAMPTZ THEN 'vehicle_in_use'
               WHEN v.status NOT IN ('available', 'maintenance') THEN 'state: ' || v.status
               WHEN v.owner_region <> $21::TEXT THEN 'owner_elsewhere'
               WHEN same_code.id IS NOT NULL THEN 'code_taken'
               WHEN same_id.id IS NOT NULL THEN 'id_taken'
               END AS reason
             FROM verdict CROSS JOIN item LEFT JOIN v ON TRUE LEFT JOIN last_event ON TRUE
             LEFT JOIN vehicles same_code ON same_code.region = $11::TEXT::crdb_internal_region
               AND same_code.city = $14::TEXT AND same_code.code = v.code
             LEFT JOIN vehicles same_id ON same_id.region = $11::TEXT::crdb_internal_region AND same_id.id = $16::UUID
             WHERE verdict.code = 'ok'),
         v2 AS (UPDATE vehicles SET region = $11::TEXT::crdb_internal_region, city = $14::TEXT, status = 'maintenance',
               lat = $17::FLOAT8, lon = $18::FLOAT8, cell = $19::INT8, place = $20::TEXT,
               reserved_region = NULL, reserved_by = NULL, reserved_until = NULL,
               version = vehicles.version + 2, changed_at = $5::TIMESTAMPTZ, seen_at = $5::TIMESTAMPTZ
             FROM decided WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = $16::UUID
               AND vehicles.version = decided.vehicle_version AND decided.reason IS NULL
             RETURNING vehicles.id, vehicles.version, vehicles.owner_id, vehicles.lat, vehicles.lon, {checksum} AS mark),
         u2 AS (UPDATE users SET {present}
             FROM v2 WHERE users.region = $21::TEXT::crdb_internal_region AND users.id = v2.owner_id
             RETURNING 1 AS ok),
         i2 AS (UPDATE job_items SET state = CASE WHEN decided.reason IS NULL THEN 'done' ELSE 'refused' END,
               reason = decided.reason
             FROM decided WHERE job_items.region = $8::TEXT::crdb_internal_region AND job_items.job_id = $9::UUID
               AND job_items.position = $15::INT8 RETURNING 1 AS ok),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version - 1, '{VEHICLE_SENT}', {BY_JOB}, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, jsonb_build_object('to', $11::TEXT, 'city', $14::TEXT) FROM v2
             UNION ALL
             SELECT $11::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, '{VEHICLE_RECEIVED}', {BY_JOB}, $12::INT8,
               v2.lat, v2.lon, jsonb_build_object('from', $8::TEXT, 'city', $13::TEXT, 'mark', v2.mark) FROM v2
             RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        checksum = checksum_sql!("vehicles"),
        present = present_in_sql!("$11")
    ),
)
.reading_global(CITY_CHECKED);

/// Moves one vehicle, or refuses its item. `Already` when somebody else has done the item, or the
/// job is over.
pub async fn move_one(conn: &Conn, write: &JobWrite<'_>, item: &Item, depot: Point) -> Result<Verdict> {
    let (lat, lon, cell) = (depot.lat(), depot.lon(), geo::cell(depot));
    let owner = item.owner.as_ref().unwrap_or(write.on_job.region);
    let rest: [Param<'_>; 7] = [&item.position, &item.vehicle, &lat, &lon, &cell, &DEPOT, owner];
    write.row(conn, &MOVE, &rest).await?.verdict()
}

const LIST_ARRIVED: Statement = Statement::read(
    "transfers.list_arrived",
    Reach::Named,
    formatcp!(
        "SELECT events.aggregate_id AS id, coalesce(events.metadata->>'mark', '') AS mark, CASE
           WHEN v.version = events.version THEN {checksum} = events.metadata->>'mark'
           ELSE coalesce(v.version, sent.version, 0) > events.version END AS there
         FROM events LEFT JOIN vehicles v ON v.region = $1::TEXT::crdb_internal_region AND v.id = events.aggregate_id
         LEFT JOIN (SELECT aggregate_id, max(version) AS version FROM events
             WHERE region = $1::TEXT::crdb_internal_region AND aggregate_type = 'vehicle'
               AND aggregate_id = ANY($2::UUID[]) AND action = '{VEHICLE_SENT}' GROUP BY aggregate_id) AS sent
           ON sent.aggregate_id = events.aggregate_id
         WHERE events.region = $1::TEXT::crdb_internal_region AND events.aggregate_type = 'vehicle'
           AND events.aggregate_id = ANY($2::UUID[]) AND events.action = '{VEHICLE_RECEIVED}' AND events.correlation_id = $3
         ORDER BY events.aggregate_id LIMIT 2000",
        checksum = checksum_sql!("v")
    ),
);

/// The vehicles among `ids` that the job has brought to `region`, with the checksum on arrival, and
/// whether the row is still the same, or was changed or moved on by others.
pub async fn list_arrived(
    conn: &Conn,
    region: &RegionCode,
    job: Uuid,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, String, bool)>> {
    let read = |row: &Row| Ok((row.get("id")?, row.get("mark")?, row.get("there")?));
    conn.rows(&LIST_ARRIVED, &[region, &ids, &job]).await?.iter().map(read).collect()
}

// $15 what was compared, $16 whether it is the same.
const FINISH: Statement = Statement::write(
    "transfers.finish",
    Reach::Named,
    formatcp!(
        "{ON_JOB},
         j AS ({RUNNING} AND NOT EXISTS (SELECT 1 FROM job_items WHERE region = $8::TEXT::crdb_internal_region
                 AND job_id = $9::UUID AND state = 'waiting')),
         verdict AS (SELECT CASE {WHO}
             WHEN NOT EXISTS (SELECT 1 FROM j) THEN 'already'
             {GATES}
             ELSE 'ok' END AS code),
         over AS (UPDATE jobs SET state = CASE WHEN $16::BOOL THEN 'done' ELSE 'running' END,
               finished_at = CASE WHEN $16::BOOL THEN $5::TIMESTAMPTZ END,
               progress = CASE WHEN $16::BOOL THEN ({COUNTED} {ITEMS}) ELSE jobs.progress END,
               parameters = jobs.parameters || jsonb_build_object('compared', $15::JSONB)
             FROM verdict WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID AND code = 'ok'
             RETURNING jobs.id, jobs.state),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'job', $9::UUID, 3, '{JOB_DONE}', {BY_JOB}, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, $15::JSONB FROM over WHERE over.state = 'done' RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

pub async fn finish(conn: &Conn, write: &JobWrite<'_>, compared: &Value, good: bool) -> Result<Verdict> {
    write.row(conn, &FINISH, &[compared, &good]).await?.verdict()
}
