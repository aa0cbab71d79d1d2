//! Tasks: a rider's report about a vehicle, and what the operators of its city do about it. The
//! third person who reports a vehicle puts it into maintenance in the same statement; if somebody has
//! reserved or rides it then, it goes when they are done. What lists and feeds show is its status alone.
//! Who returns it to service has done its open tasks with that: only new reports take it away again.
//! Events of reports do not name the reporter: the task does, until they are erased.

use chrono::{DateTime, Duration, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    Conn, EVENT, GATED, Param, Reach, Result, Row, SIGNED_THERE, Statement, Verdict, Write, verdict::present_in_sql,
};
use crate::domain::{
    RegionCode, RideRef, VehicleRef,
    event::{TASK_FINISHED, TASK_OPENED, TASK_RELEASED, TASK_REOPENED, TASK_TAKEN, VEHICLE_MAINTENANCE},
    task::{CHARGE, REPORTERS, REPORTS_A_DAY, TaskRef, TaskStep},
};

pub const ALL: &[&Statement] = &[&REPORT, &WITHDRAW, &CHANGE, &LIST, &LIST_OF_VEHICLE];

/// How many people report the vehicle `id` of `$of` just now.
macro_rules! reports_sql {
    ($of:literal) => {
        const_format::formatcp!(
            "SELECT count(DISTINCT tasks.reporter_id) AS n FROM {of} JOIN tasks
             ON tasks.region = $8::TEXT::crdb_internal_region AND tasks.vehicle_id = {of}.id AND tasks.state = 'open'
               AND tasks.problem <> '{charge}'",
            of = $of,
            charge = crate::domain::task::CHARGE
        )
    };
}
pub(super) use reports_sql;

/// Does the open tasks of the vehicles `$of` that come back to the street, if `$status` is that.
macro_rules! finished_sql {
    ($of:literal, $status:literal) => {
        const_format::formatcp!(
            "UPDATE tasks SET state = 'done', done_at = $5::TIMESTAMPTZ, version = tasks.version + 1
                 FROM {of} WHERE tasks.region = $8::TEXT::crdb_internal_region AND tasks.vehicle_id = {of}.id
                   AND tasks.state = 'open' AND tasks.problem <> '{charge}' AND {status}::TEXT = 'available'
                 RETURNING tasks.id, tasks.version",
            of = $of,
            charge = crate::domain::task::CHARGE,
            status = $status
        )
    };
}
pub(super) use finished_sql;

/// What the event of a vehicle says that is withdrawn from the street by its riders' reports.
pub(super) const REPORTED: &str = formatcp!("jsonb_build_object('note', '{REPORTERS} riders reported a problem')");

/// The event of vehicle `v2`, if its reports have just put it into maintenance; `$command` is what did it.
macro_rules! reported_sql {
    ($command:literal) => {
        const_format::formatcp!(
            "SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, '{maintenance}', NULL::TEXT, NULL::UUID,
               {command}::UUID, {command}::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, {reported}
             FROM v2 WHERE v2.n >= {reporters} RETURNING 1 AS ok",
            maintenance = crate::domain::event::VEHICLE_MAINTENANCE,
            reporters = crate::domain::task::REPORTERS,
            command = $command,
            reported = $crate::db::tasks::REPORTED
        )
    };
}
pub(super) use reported_sql;

// `already` stands before the vehicle: the report that is sent again may itself have taken the
// vehicle off the street. The limit stands before `already_reported`: that says under which public
// id a vehicle is now, and nobody may ask for ever. A reservation of the reporter's own does not keep
// it there. Each charge can be disputed, of whatever vehicle. $9 is the public id of a vehicle on the
// street, or a ride of theirs that has ended. $11 task, $12 problem, $13 note, $14 a day ago.
const REPORT: Statement = Statement::write(
    "tasks.report",
    Reach::Named,
    formatcp!(
        "{SIGNED_THERE},
         ride AS (SELECT vehicle_id FROM rides WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
             AND rider_region = $1::TEXT::crdb_internal_region AND rider_id = $3::UUID AND ended_at > $14::TIMESTAMPTZ),
         v AS (SELECT id, city, status, reserved_by, reserved_until FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND public_id = $9::UUID AND status = 'available'
             UNION ALL
             SELECT vehicles.id, vehicles.city, vehicles.status, vehicles.reserved_by, vehicles.reserved_until
             FROM ride JOIN vehicles ON vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = ride.vehicle_id
             WHERE vehicles.status <> 'retired'),
         reports AS (SELECT tasks.reporter_id FROM v JOIN tasks ON tasks.region = $8::TEXT::crdb_internal_region
             AND tasks.vehicle_id = v.id AND tasks.state = 'open'
             AND (tasks.problem = '{CHARGE}') = ($12::TEXT = '{CHARGE}')
             AND ($12::TEXT <> '{CHARGE}' OR left(tasks.note, 36) = $9::UUID::TEXT)),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM tasks WHERE region = $8::TEXT::crdb_internal_region AND id = $11::UUID) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM v) THEN 'nothing_to_report'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN (SELECT count(*) FROM tasks WHERE region = $8::TEXT::crdb_internal_region AND reporter_id = $3::UUID
                     AND created_at > $14::TIMESTAMPTZ) >= {REPORTS_A_DAY} THEN 'too_many_reports'
             WHEN EXISTS (SELECT 1 FROM reports WHERE reporter_id = $3::UUID) THEN 'already_reported'
             ELSE 'ok' END AS code),
         goes AS (SELECT v.id, coalesce(v.reserved_until > $5::TIMESTAMPTZ, FALSE) AS held FROM v, verdict
             WHERE verdict.code = 'ok' AND v.status = 'available' AND $12::TEXT <> '{CHARGE}'
               AND (v.reserved_until IS NULL OR v.reserved_until <= $5::TIMESTAMPTZ OR v.reserved_by = $3::UUID)
               AND (SELECT count(DISTINCT reporter_id) FROM reports) >= {REPORTERS} - 1),
         u AS (UPDATE users SET {present},
               reserved_region = CASE WHEN freed THEN NULL ELSE users.reserved_region END,
               reserved_public_id = CASE WHEN freed THEN NULL ELSE users.reserved_public_id END,
               reserved_until = CASE WHEN freed THEN NULL ELSE users.reserved_until END
             FROM (SELECT EXISTS (SELECT 1 FROM goes WHERE held) AS freed FROM verdict WHERE code = 'ok') AS f
             WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID
             RETURNING users.id),
         m AS (UPDATE vehicles SET status = 'maintenance', version = vehicles.version + 1, changed_at = $5::TIMESTAMPTZ,
               reserved_region = NULL, reserved_by = NULL, reserved_until = NULL
             FROM goes WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = goes.id
             RETURNING vehicles.id, vehicles.version),
         t AS (INSERT INTO tasks (region, id, city, vehicle_id, problem, note, reporter_id, state, created_at, version)
             SELECT $8::TEXT::crdb_internal_region, $11::UUID, v.city, v.id, $12::TEXT, $13::TEXT, u.id, 'open',
               $5::TIMESTAMPTZ, 1 FROM v, u RETURNING id),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'task', t.id, 1, '{TASK_OPENED}', NULL::TEXT, NULL::UUID,
               t.id, t.id, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('problem', $12::TEXT) FROM t
             UNION ALL
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', m.id, m.version, '{VEHICLE_MAINTENANCE}', NULL::TEXT,
               NULL::UUID, $11::UUID, $11::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8,
               {REPORTED} FROM m RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        present = present_in_sql!("$8")
    ),
);

/// About the vehicle that the written id names: its public id, or the id of the person's own ride
/// that ended within a day. The note about a charge begins with its ride, which goes with it in an erasure.
pub async fn report(conn: &Conn, write: &Write<'_>, task: Uuid, problem: &str, note: Option<&str>) -> Result<Verdict> {
    write.verdict(conn, &REPORT, &[&task, &problem, &note, &(write.now - Duration::days(1))]).await
}

// Reservations lapse by time alone, so nothing else takes these vehicles off the street. Those of
// the last day are all: reading more would cost a look-up for each that was ever reserved. $3 now.
const WITHDRAW: Statement = Statement::write(
    "tasks.withdraw",
    Reach::Named,
    formatcp!(
        "{GATED},
         lapsed AS (SELECT id FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND reserved_by IS NOT NULL
             AND reserved_until <= $3::TIMESTAMPTZ AND reserved_until > $3::TIMESTAMPTZ - '24:00:00'::INTERVAL),
         reported AS (SELECT lapsed.id FROM lapsed JOIN tasks ON tasks.region = $1::TEXT::crdb_internal_region
             AND tasks.vehicle_id = lapsed.id AND tasks.state = 'open' AND tasks.problem <> '{CHARGE}'
             GROUP BY lapsed.id HAVING count(DISTINCT tasks.reporter_id) >= {REPORTERS} LIMIT 200),
         m AS (UPDATE vehicles SET status = 'maintenance', version = vehicles.version + 1, changed_at = $3::TIMESTAMPTZ,
               reserved_region = NULL, reserved_by = NULL, reserved_until = NULL
             FROM reported, g WHERE vehicles.region = $1::TEXT::crdb_internal_region AND vehicles.id = reported.id
               AND vehicles.status = 'available'
             RETURNING vehicles.id, vehicles.version),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', m.id, m.version, '{VEHICLE_MAINTENANCE}', NULL::TEXT,
               NULL::UUID, m.id, m.id, $3::TIMESTAMPTZ, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, {REPORTED} FROM m
             RETURNING 1 AS ok)
         SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate' WHEN NOT EXISTS (SELECT 1 FROM m) THEN 'already'
           ELSE 'ok' END AS verdict"
    ),
);

/// Puts the vehicles of the region into maintenance that enough people reported while somebody else
/// had a reservation, and that nobody has ridden.
pub async fn withdraw(conn: &Conn, region: &RegionCode, epoch: i64, now: DateTime<Utc>) -> Result<Verdict> {
    conn.verdict(&WITHDRAW, &[region, &epoch, &now]).await
}

// $9 task at version $11, $12 command, $13 the new state, $14 whether it is the person's own, $15
// the event.
const CHANGE: Statement = Statement::write(
    "tasks.change",
    Reach::Named,
    formatcp!(
        "{SIGNED_THERE},
         t AS (SELECT city, version FROM tasks WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID),
         operates AS (SELECT 1 AS ok FROM role_grants JOIN t ON t.city = role_grants.city
             WHERE role_grants.region = $1::TEXT::crdb_internal_region AND role_grants.user_id = $3::UUID
               AND role_grants.role = 'operator'),
         before AS (SELECT 1 AS ok FROM events WHERE region = $8::TEXT::crdb_internal_region AND aggregate_type = 'task'
             AND aggregate_id = $9::UUID AND version = $11::INT8 + 1 AND command_id = $12::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM operates) THEN 'not_operator'
             WHEN EXISTS (SELECT 1 FROM before) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM t WHERE version <> $11::INT8) THEN 'changed'
             ELSE 'ok' END AS code),
         u AS (UPDATE users SET {present} FROM verdict
             WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID AND code = 'ok'
             RETURNING users.id),
         changed AS (UPDATE tasks SET state = $13::TEXT, assignee_id = CASE WHEN $14::BOOL THEN u.id END,
               done_at = CASE WHEN $13::TEXT = 'done' THEN $5::TIMESTAMPTZ END, version = tasks.version + 1
             FROM u WHERE tasks.region = $8::TEXT::crdb_internal_region AND tasks.id = $9::UUID
             RETURNING tasks.id, tasks.version),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'task', changed.id, changed.version, $15::TEXT, $1::TEXT, $3::UUID,
               $12::UUID, $12::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM changed
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        present = present_in_sql!("$8")
    ),
);

/// By an operator of the task's city, who saw this version. Whoever finishes it is its assignee.
pub async fn change(conn: &Conn, write: &Write<'_>, version: i64, command: Uuid, step: TaskStep) -> Result<Verdict> {
    let (state, own, event) = match step {
        TaskStep::Take => ("open", true, TASK_TAKEN),
        TaskStep::Release => ("open", false, TASK_RELEASED),
        TaskStep::Finish => ("done", true, TASK_FINISHED),
        TaskStep::Reopen => ("open", false, TASK_REOPENED),
    };
    write.verdict(conn, &CHANGE, &[&version, &command, &state, &own, &event]).await
}

#[derive(Debug, Clone)]
pub struct Task {
    pub task: TaskRef,
    pub city: String,
    pub vehicle: VehicleRef,
    /// Code, brand, colour, type and status; none when it has left the region.
    pub described: Option<Described>,
    pub problem: String,
    pub note: Option<String>,
    /// Whose price is disputed.
    pub ride: Option<RideRef>,
    pub assignee: Option<Uuid>,
    /// Of an assignee at home in this region, if names of its people may be shown.
    pub username: Option<String>,
    pub created_at: DateTime<Utc>,
    pub done_at: Option<DateTime<Utc>>,
    pub version: i64,
}

#[derive(Debug, Clone)]
pub struct Described {
    pub code: Option<String>,
    pub brand: String,
    pub colour: String,
    pub vehicle_type: String,
    pub status: String,
    pub place: String,
}

/// The tasks that fit, each with its vehicle, and its assignee's name where the parameter `$names` allows it.
macro_rules! list_sql {
    ($names:literal, $fits:literal) => {
        formatcp!(
            "SELECT t.id, t.city, t.vehicle_id, t.problem, t.note, t.assignee_id, u.username, t.created_at, t.done_at, t.version,
               v.code, v.brand, v.colour, v.type, v.status, v.place
             FROM tasks AS t
               LEFT JOIN vehicles AS v ON v.region = $1::TEXT::crdb_internal_region AND v.id = t.vehicle_id
               LEFT JOIN users AS u ON u.region = $1::TEXT::crdb_internal_region AND u.id = t.assignee_id
                 AND {names}::BOOL
             WHERE t.region = $1::TEXT::crdb_internal_region AND {fits}
             ORDER BY t.created_at DESC, t.id DESC",
            names = $names,
            fits = $fits
        )
    };
}

const LIST: Statement = Statement::read(
    "tasks.list",
    Reach::Named,
    formatcp!(
        "{} LIMIT $7",
        list_sql!(
            "$8",
            "t.city = $2::TEXT AND t.state = $3::TEXT AND ($4::UUID IS NULL OR t.assignee_id = $4::UUID)
               AND (t.created_at, t.id) < ($5::TIMESTAMPTZ, $6::UUID)"
        )
    ),
);

/// Of a city, in this state, newest first; with `assignee` only theirs; `names` as usernames may be read.
pub async fn list(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    (state, assignee): (&str, Option<Uuid>),
    cursor: (DateTime<Utc>, Uuid),
    limit: i64,
    names: bool,
) -> Result<Vec<Task>> {
    let params: [Param<'_>; 8] = [region, &city, &state, &assignee, &cursor.0, &cursor.1, &limit, &names];
    conn.rows(&LIST, &params).await?.iter().map(|row| task(region, row)).collect()
}

const OF_VEHICLE: usize = 25;

const LIST_OF_VEHICLE: Statement = Statement::read(
    "tasks.list_of_vehicle",
    Reach::Named,
    formatcp!("{} LIMIT {OF_VEHICLE}", list_sql!("$3", "t.vehicle_id = $2::UUID AND t.state = 'open'")),
);

/// The newest open ones.
pub async fn list_of_vehicle(conn: &Conn, VehicleRef { region, id }: &VehicleRef, names: bool) -> Result<Vec<Task>> {
    conn.rows(&LIST_OF_VEHICLE, &[region, id, &names]).await?.iter().map(|row| task(region, row)).collect()
}

fn task(region: &RegionCode, row: &Row) -> Result<Task> {
    let described = match row.get("status")? {
        None => None,
        Some(status) => Some(Described {
            code: row.get("code")?,
            brand: row.get("brand")?,
            colour: row.get("colour")?,
            vehicle_type: row.get("type")?,
            status,
            place: row.get("place")?,
        }),
    };
    let (problem, mut note): (String, Option<String>) = (row.get("problem")?, row.get("note")?);
    let mut ride = None;
    if let Some((id, text)) = note.as_deref().filter(|_| problem == CHARGE).and_then(|note| note.split_once(' ')) {
        ride = id.parse().ok().map(|id| RideRef { region: region.clone(), id });
        note = Some(text.to_owned()).filter(|text| !text.is_empty());
    }
    Ok(Task {
        task: TaskRef { region: region.clone(), id: row.get("id")? },
        city: row.get("city")?,
        vehicle: VehicleRef { region: region.clone(), id: row.get("vehicle_id")? },
        described,
        problem,
        note,
        ride,
        assignee: row.get("assignee_id")?,
        username: row.get("username")?,
        created_at: row.get("created_at")?,
        done_at: row.get("done_at")?,
        version: row.get("version")?,
    })
}
