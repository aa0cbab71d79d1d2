//! Imported files of vehicles, as jobs: lines are staged as items that say all that their vehicle
//! will be, counted, and done 200 at a time. A vehicle is found by the id, or else by the
//! operator's own code. What a line leaves out is filled in from the vehicle when it is staged; the
//! version tells later whether that still holds.

use const_format::formatcp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    CITY_CHECKED, Conn, EVENT, Reach, Result, Statement, Verdict,
    job_write::{BY_JOB, GATES, JOB_DONE_EVENT, JobWrite, ON_JOB, OVER, RUNNING, WHO},
    vehicles::HOLD,
    verdict::LAST_EVENT_IN_WORDS,
};
use crate::domain::{
    JobRef,
    event::{VEHICLE_ADDED, VEHICLE_EDITED},
};

pub const ALL: &[&Statement] = &[&STAGE, &READY, &NEXT, &CHANGE, &ADD];

#[derive(Debug, Clone)]
pub struct StagedLine {
    pub line: i64,
    pub input: Value,
    /// For a new vehicle, if none has that code.
    pub new_id: Uuid,
    pub known_id: Option<Uuid>,
    /// In words, as all reasons of imported lines are stored: most say everything that is wrong with
    /// what somebody typed (`domain::csv`), for which there is no code.
    pub reason: Option<String>,
}

// $1 to $14 and the first tables as `JobWrite` has them: job $9 in $8, its city $13. WHO: the session, if there is one,
// and an operator of the city; GATES: of the person's home, the job's region and its target; RUNNING: confirmed and
// not over. Of each line: $15 position, $16 input, $17 id for a new vehicle, $18 reason, $21 known id; $19
// the defaults, $20 all codes.
const STAGE: Statement = Statement::write(
    "imports.stage",
    Reach::Named,
    formatcp!(
        "{ON_JOB},
         job AS (SELECT 1 AS ok FROM jobs WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
             AND city = $13::TEXT AND kind = 'import' AND state = 'running' AND parameters->>'selecting' IS NOT NULL),
         verdict AS (SELECT CASE {WHO}
             {GATES}
             WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'changed'
             ELSE 'ok' END AS code),
         lines AS (SELECT position, input::JSONB AS input, id, reason, known
             FROM unnest($15::INT8[], $16::TEXT[], $17::UUID[], $18::TEXT[], $21::UUID[])
               AS lines (position, input, id, reason, known)),
         v AS MATERIALIZED (
             SELECT id, version, code, type, brand, colour, battery, lat, lon, cell, place, note
             FROM vehicles WHERE region = $8::TEXT::crdb_internal_region AND city = $13::TEXT
               AND code = ANY($20::TEXT[])
             UNION
             SELECT id, version, code, type, brand, colour, battery, lat, lon, cell, place, note
             FROM vehicles WHERE region = $8::TEXT::crdb_internal_region AND id = ANY($21::UUID[])
               AND city = $13::TEXT),
         known_lines AS (SELECT lines.position, lines.input, lines.id, lines.reason, lines.known,
               coalesce(lines.known, v.id) AS vehicle
             FROM lines LEFT JOIN v ON lines.known IS NULL AND v.code = lines.input->>'code'),
         found AS (SELECT known_lines.position, known_lines.input, coalesce(v.id, known_lines.id) AS id, v.version,
               known_lines.reason, known_lines.known,
               CASE WHEN v.id IS NOT NULL THEN jsonb_build_object('code', v.code, 'type', v.type, 'brand', v.brand,
                 'colour', v.colour, 'battery', v.battery, 'lat', round(v.lat::DECIMAL, 7)::FLOAT8,
                 'lon', round(v.lon::DECIMAL, 7)::FLOAT8, 'cell', v.cell, 'place', v.place,
                 'note', coalesce(v.note, '')) END AS was
             FROM known_lines LEFT JOIN v ON v.id = known_lines.vehicle AND known_lines.reason IS NULL),
         judged AS (SELECT found.position, found.input, found.id, found.version, found.was, CASE
                 WHEN found.reason IS NOT NULL THEN found.reason
                 WHEN found.known IS NOT NULL AND found.was IS NULL THEN 'gone'
                 WHEN found.known IS NOT NULL AND found.input ? 'code'
                   AND (found.was->>'code') IS DISTINCT FROM (found.input->>'code')
                   THEN 'code: it is not that of the vehicle with this id'
                 WHEN found.was IS NULL AND NOT (found.input ? 'type' AND found.input ? 'brand' AND found.input ? 'colour')
                   THEN 'a new vehicle needs type, brand and colour'
                 END AS why
             FROM found),
         items AS (INSERT INTO job_items (region, job_id, position, vehicle_id, vehicle_version, input, state, reason)
             SELECT $8::TEXT::crdb_internal_region, $9::UUID, position, CASE WHEN why IS NULL THEN id END,
               CASE WHEN why IS NULL THEN version END,
               CASE WHEN why IS NULL THEN coalesce(was, $19::JSONB) || input || jsonb_build_object('was', was) ELSE input END,
               CASE WHEN why IS NOT NULL THEN 'refused' WHEN was @> (input - 'cell'::TEXT) THEN 'done'
                 ELSE 'waiting' END, why
             FROM judged, verdict WHERE verdict.code = 'ok'
             ON CONFLICT (region, job_id, position) DO NOTHING RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Makes items of `lines`: refused, waiting, or already done if the vehicle is like that.
/// `defaults` fills in what a new vehicle's line leaves out. `was` of an item is its vehicle before,
/// null for a new one.
pub async fn stage(conn: &Conn, write: &JobWrite<'_>, lines: &[StagedLine], defaults: &Value) -> Result<Verdict> {
    let positions: Vec<i64> = lines.iter().map(|line| line.line).collect();
    let inputs: Vec<String> = lines.iter().map(|line| line.input.to_string()).collect();
    let ids: Vec<Uuid> = lines.iter().map(|line| line.new_id).collect();
    let reasons: Vec<Option<&str>> = lines.iter().map(|line| line.reason.as_deref()).collect();
    let codes: Vec<&str> = lines.iter().filter_map(|line| line.input.get("code")?.as_str()).collect();
    let known: Vec<Option<Uuid>> = lines.iter().map(|line| line.known_id).collect();
    write.row(conn, &STAGE, &[&positions, &inputs, &ids, &reasons, defaults, &codes, &known]).await?.verdict()
}

// $15 how many lines, $16 how the file was read.
const READY: Statement = Statement::write(
    "imports.ready",
    Reach::Named,
    formatcp!(
        "{ON_JOB},
         job AS (SELECT parameters->>'selecting' IS NOT NULL AS selecting FROM jobs
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND city = $13::TEXT
               AND kind = 'import' AND state = 'running'),
         counted AS (SELECT count(*) AS items, count(*) FILTER (WHERE state = 'waiting' AND vehicle_version IS NULL) AS new,
               count(*) FILTER (WHERE state = 'waiting' AND vehicle_version IS NOT NULL) AS changed,
               count(*) FILTER (WHERE state = 'done') AS same, count(*) FILTER (WHERE state = 'refused') AS refused
             FROM job_items WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID),
         verdict AS (SELECT CASE {WHO}
             WHEN EXISTS (SELECT 1 FROM job WHERE NOT selecting) THEN 'already'
             {GATES}
             WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'changed'
             WHEN EXISTS (SELECT 1 FROM counted WHERE items <> $15::INT8) THEN 'incomplete'
             ELSE 'ok' END AS code),
         changed_job AS (UPDATE jobs SET parameters = (jobs.parameters - 'selecting'::TEXT) || jsonb_build_object(
                 'new', counted.new, 'changed', counted.changed, 'same', counted.same, 'refused', counted.refused, 'read_as', $16::TEXT)
             FROM counted, verdict
             WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID AND verdict.code = 'ok'
             RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// The file has been read to its end: the job can be confirmed, and its parameters have the counts.
/// Fails unless each of the `lines` has become an item.
pub async fn ready(conn: &Conn, write: &JobWrite<'_>, lines: i64, read_as: &str) -> Result<Verdict> {
    write.row(conn, &READY, &[&lines, &read_as]).await?.verdict()
}

// The lines are read first, so that rows are reached by the values themselves: joined to
// what it has no statistics of, PostgreSQL reads a whole job or city for every line. Changes come
// first: they go on while the catalogue cannot be read, against which new vehicles are checked.
const NEXT: Statement = Statement::read(
    "imports.next",
    Reach::Named,
    formatcp!(
        "SELECT position, code, vehicle_id, new FROM (
           SELECT position, input->>'code' AS code, vehicle_id, vehicle_version IS NULL AS new
           FROM job_items WHERE region = $1::TEXT::crdb_internal_region AND job_id = $2 AND state = 'waiting') AS w
         ORDER BY new, position LIMIT {BATCH} + 1"
    ),
);

const BATCH: usize = 200;

/// Lines that wait: all changes, or all new vehicles.
#[derive(Debug, Clone)]
pub struct WaitingLines {
    positions: Vec<i64>,
    codes: Vec<Option<String>>,
    vehicles: Vec<Uuid>,
    new: bool,
    last: bool,
}

pub async fn list_waiting(conn: &Conn, job: &JobRef) -> Result<WaitingLines> {
    let rows = conn.rows(&NEXT, &[&job.region, &job.id]).await?;
    let new = rows.first().map_or(Ok(true), |row| row.get("new"))?;
    let mut waiting = WaitingLines { positions: Vec::new(), codes: Vec::new(), vehicles: Vec::new(), new, last: false };
    for row in rows.iter().take(BATCH) {
        if row.get::<bool>("new")? != new {
            break;
        }
        waiting.positions.push(row.get("position")?);
        waiting.codes.push(row.get("code")?);
        waiting.vehicles.push(row.get("vehicle_id")?);
    }
    waiting.last = waiting.positions.len() == rows.len();
    Ok(waiting)
}

// $15 positions, $16 codes, $17 whether they are the last, $18 vehicles.
macro_rules! import_batch_sql {
    ($write:expr, $action:expr) => {
        formatcp!(
            "{ON_JOB},
             job AS ({RUNNING} AND kind = 'import'),
             verdict AS (SELECT CASE {WHO}
                 WHEN NOT EXISTS (SELECT 1 FROM job) THEN 'already'
                 {GATES}
                 ELSE 'ok' END AS code),
             items AS (SELECT position, vehicle_id, vehicle_version, input FROM job_items
                 WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID AND position = ANY($15::INT8[])
                   AND state = 'waiting' AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok')),
             v AS MATERIALIZED (SELECT id, city, version, code, status, reserved_until
                 FROM vehicles WHERE region = $8::TEXT::crdb_internal_region AND id = ANY($18::UUID[])),
             taken AS MATERIALIZED (SELECT code FROM vehicles
                 WHERE region = $8::TEXT::crdb_internal_region AND city = $13::TEXT AND code = ANY($16::TEXT[])),
             decided AS (SELECT items.position, items.vehicle_id, items.vehicle_version, items.input, CASE
                     WHEN items.vehicle_version IS NULL AND taken.code IS NOT NULL
                       THEN 'code: a vehicle with it was added since the file was read'
                     WHEN items.vehicle_version IS NULL THEN NULL
                     WHEN v.id IS NULL OR v.city <> $13::TEXT OR v.code IS DISTINCT FROM (items.input->>'code') THEN 'gone'
                     WHEN v.status = 'retired' THEN 'state: retired'
                     WHEN v.status = 'in_use' OR v.reserved_until > $5::TIMESTAMPTZ THEN 'vehicle_in_use'
                     WHEN v.version <> items.vehicle_version THEN 'changed: ' ||
                       coalesce({LAST_EVENT_IN_WORDS}, 'version ' || v.version::TEXT)
                     END AS reason
                 FROM items
                 LEFT JOIN v ON v.id = items.vehicle_id
                 LEFT JOIN taken ON taken.code = items.input->>'code'
                 LEFT JOIN events ON events.region = $8::TEXT::crdb_internal_region AND events.aggregate_type = 'vehicle'
                   AND events.aggregate_id = v.id AND events.version = v.version),
             written AS ({write}),
             done_items AS (UPDATE job_items SET state = CASE WHEN decided.reason IS NULL THEN 'done' ELSE 'refused' END,
                   reason = decided.reason
                 FROM decided WHERE job_items.region = $8::TEXT::crdb_internal_region AND job_items.job_id = $9::UUID
                   AND job_items.position = ANY($15::INT8[]) AND job_items.position = decided.position
                   AND job_items.state = 'waiting' RETURNING 1 AS ok),
             last AS (SELECT id FROM job WHERE $17::BOOL),
             over AS ({OVER}),
             e AS ({EVENT}
                 SELECT $8::TEXT::crdb_internal_region, 'vehicle', written.id, written.version, '{action}', {BY_JOB},
                   $10::INT8, written.lat, written.lon, jsonb_build_object('line', decided.position)
                 FROM written JOIN decided ON decided.vehicle_id = written.id
                 UNION ALL {JOB_DONE_EVENT} RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            write = $write,
            action = $action
        )
    };
}

// Only what a file can say is set: the city stays, so nothing is checked against the catalogue.
const CHANGE: Statement = Statement::write(
    "imports.change",
    Reach::Named,
    import_batch_sql!(
        formatcp!("UPDATE vehicles SET type = decided.input->>'type', brand = decided.input->>'brand', colour = decided.input->>'colour',
               note = nullif(decided.input->>'note', ''), hold = {HOLD}, battery = (decided.input->>'battery')::INT8,
               lat = (decided.input->>'lat')::FLOAT8, lon = (decided.input->>'lon')::FLOAT8, cell = (decided.input->>'cell')::INT8,
               place = decided.input->>'place', version = vehicles.version + 1, changed_at = $5::TIMESTAMPTZ,
               seen_at = CASE WHEN vehicles.lat = (decided.input->>'lat')::FLOAT8 AND vehicles.lon = (decided.input->>'lon')::FLOAT8
                 THEN vehicles.seen_at ELSE $5::TIMESTAMPTZ END
             FROM decided WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = decided.vehicle_id
               AND vehicles.version = decided.vehicle_version AND decided.reason IS NULL
             RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon"),
        VEHICLE_EDITED
    ),
);

const ADD: Statement = Statement::write(
    "imports.add",
    Reach::Named,
    import_batch_sql!(
        "INSERT INTO vehicles (region, id, public_id, city, type, status, code, brand, colour, note, battery,
               lat, lon, cell, place, version, created_at, changed_at, seen_at)
             SELECT $8::TEXT::crdb_internal_region, vehicle_id, gen_random_uuid(), $13::TEXT, input->>'type',
               coalesce((SELECT parameters->>'new_status' FROM jobs
                 WHERE region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID), 'available'),
               input->>'code', input->>'brand', input->>'colour', nullif(input->>'note', ''),
               (input->>'battery')::INT8, (input->>'lat')::FLOAT8, (input->>'lon')::FLOAT8, (input->>'cell')::INT8,
               input->>'place', 1, $5::TIMESTAMPTZ, $5::TIMESTAMPTZ, $5::TIMESTAMPTZ
             FROM decided WHERE reason IS NULL AND vehicle_version IS NULL RETURNING id, version, lat, lon",
        VEHICLE_ADDED
    ),
)
.reading_global(CITY_CHECKED);

/// Does the waiting lines of a confirmed job, each with its event, or refuses them with the reason;
/// the last batch ends the job.
pub async fn batch(conn: &Conn, write: &JobWrite<'_>, lines: &WaitingLines) -> Result<Verdict> {
    let statement = if lines.new { &ADD } else { &CHANGE };
    // Lines only ever cease to wait, so after the last there will be none.
    write.row(conn, statement, &[&lines.positions, &lines.codes, &lines.last, &lines.vehicles]).await?.verdict()
}
