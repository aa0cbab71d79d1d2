//! A whole person at once: moving home, erasing, and everything about them as JSON. Moving changes
//! the region of the rows in place, so personal data does not pass through the application. An
//! erasure closes the account at once (`erase`); a worker then takes the person out of each region,
//! without a session (`erase_region`).

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    CITY_CHECKED, Conn, EVENT, GATED, Param, Reach, Result, Row, SIGNED, Statement, Verdict, Write,
    users::{END_SESSIONS, NEW_VERSION},
};
use crate::domain::{
    JobRef, RegionCode, UserRef,
    event::{JOB_DONE, USER_ERASED, USER_HOME_MOVED, VEHICLE_RETIRED},
};

pub const ALL: &[&Statement] = &[
    &SET_HOME, &SET_OWNER_REGION, &NOTE_REFUSAL, &ERASE, &LIST_ERASABLE, &FIND_BOUND, &ERASE_REGION, &NOTE_ERASED,
    &FIND_ERASURE, &FIND_COMMAND, &FIND_PERSON, &LIST_RIDES, &LIST_POSITIONS, &LIST_VEHICLES, &LIST_TASKS,
    &LIST_EVENTS_ABOUT, &LIST_EVENTS_BY,
];

#[derive(Debug, Clone)]
pub struct LeaveCommand<'a> {
    pub password_hash: &'a str,
    pub present_in: &'a Value,
}

// $8 password hash, $9 `present_in`, $10 command, $11 the new region, $12 its epoch, $13 the city.
const SET_HOME: Statement = Statement::write(
    "home.set_home",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         target_gate AS (SELECT draining FROM region_gates
             WHERE region = $11::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $12::INT8),
         me AS (SELECT password_hash, present_in, open_ride_id, reserved_until FROM users
             WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM target_gate) THEN 'gate'
             WHEN $11::TEXT <> $1::TEXT AND EXISTS (SELECT 1 FROM target_gate WHERE draining) THEN 'draining'
             WHEN EXISTS (SELECT 1 FROM me WHERE open_ride_id IS NOT NULL OR reserved_until > $5::TIMESTAMPTZ)
               THEN 'still_riding'
             WHEN NOT EXISTS (SELECT 1 FROM me WHERE password_hash = $8::TEXT AND present_in = $9::JSONB) THEN 'changed'
             ELSE 'ok' END AS code),
         {END_SESSIONS},
         u AS (UPDATE users SET region = $11::TEXT::crdb_internal_region, city = $13::TEXT, reserved_region = NULL,
               reserved_public_id = NULL, reserved_until = NULL, reserved_city = NULL, reserved_type = NULL, {NEW_VERSION}),
         r AS (UPDATE role_grants SET region = $11::TEXT::crdb_internal_region FROM u
             WHERE role_grants.region = $1::TEXT::crdb_internal_region AND role_grants.user_id = u.id
             RETURNING 1 AS ok),
         p AS (UPDATE promo_redemptions SET region = $11::TEXT::crdb_internal_region FROM u
             WHERE promo_redemptions.region = $1::TEXT::crdb_internal_region AND promo_redemptions.user_id = u.id
             RETURNING 1 AS ok),
         e AS ({EVENT}
             SELECT $11::TEXT::crdb_internal_region, 'user', u.id, u.version, '{USER_HOME_MOVED}', $11::TEXT, u.id,
               $10::UUID, $10::UUID, $5::TIMESTAMPTZ, $12::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('from', $1::TEXT) FROM u RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
)
.reading_global(CITY_CHECKED);

/// Makes `city`, in the region that is written, the person's home.
pub async fn set_home(conn: &Conn, write: &Write<'_>, leaving: &LeaveCommand<'_>, city: &str) -> Result<Verdict> {
    let LeaveCommand { password_hash, present_in } = leaving;
    let rest: [Param<'_>; 6] = [password_hash, present_in, &write.id, write.region, &write.epoch, &city];
    write.verdict_at_home(conn, &SET_HOME, &rest).await
}

// The version stays: who the owner is does not change, only where to look for them.
const SET_OWNER_REGION: Statement = Statement::write(
    "home.set_owner_region",
    Reach::Named,
    formatcp!(
        "{GATED},
         v AS (UPDATE vehicles SET owner_region = $4::TEXT::crdb_internal_region FROM g
             WHERE vehicles.region = $1::TEXT::crdb_internal_region AND vehicles.owner_id = $3::UUID
               AND vehicles.owner_region::TEXT = $5::TEXT
             RETURNING 1 AS ok),
         r AS (UPDATE rides SET rider_region = $4::TEXT::crdb_internal_region FROM g
             WHERE rides.region = $1::TEXT::crdb_internal_region AND rides.rider_id = $3::UUID
               AND rides.rider_region::TEXT = $5::TEXT
             RETURNING 1 AS ok)
         SELECT CASE WHEN EXISTS (SELECT 1 FROM g) THEN 'ok' ELSE 'gate' END AS verdict"
    ),
);

/// Makes the person's vehicles and rides in `region` point at their new home.
pub async fn set_owner_region(
    conn: &Conn,
    region: &RegionCode,
    epoch: i64,
    person: &UserRef,
    home: &RegionCode,
) -> Result<Verdict> {
    conn.verdict(&SET_OWNER_REGION, &[region, &epoch, &person.id, home, &person.region.as_str()]).await
}

const NOTE_REFUSAL: Statement = Statement::write(
    "home.note_refusal",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM events WHERE region = $1::TEXT::crdb_internal_region
                 AND aggregate_type = 'residency_refusal' AND aggregate_id = $8::UUID AND version = 1) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             ELSE 'ok' END AS code),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'residency_refusal', $8::UUID, 1, $10::TEXT,
               $1::TEXT, $3::UUID, $8::UUID, $8::UUID, $5::TIMESTAMPTZ, $7::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('rule', $11::TEXT, 'to', $9::TEXT) FROM verdict WHERE code = 'ok' RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Records that residency rule `rule` kept the person from using the data of `target`.
pub async fn note_refusal(
    conn: &Conn,
    write: &Write<'_>,
    (action, rule): (&str, &str),
    target: &RegionCode,
) -> Result<Verdict> {
    write.verdict_at_home(conn, &NOTE_REFUSAL, &[&write.id, target, &action, &rule]).await
}

// `already` stands before `signed_out`: the command has ended the session itself.
const ERASE: Statement = Statement::write(
    "home.erase",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         me AS (SELECT password_hash, present_in, open_ride_id, reserved_until FROM users
             WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         old AS (SELECT 1 AS ok FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND id = $10::UUID),
         own AS (SELECT 1 AS ok FROM vehicles WHERE region = $1::TEXT::crdb_internal_region
             AND owner_id = $3::UUID AND owner_region::TEXT = $1::TEXT AND status <> 'retired' LIMIT 1),
         verdict AS (SELECT CASE
             WHEN EXISTS (SELECT 1 FROM old) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM me WHERE open_ride_id IS NOT NULL OR reserved_until > $5::TIMESTAMPTZ)
               THEN 'still_riding'
             WHEN EXISTS (SELECT 1 FROM own) THEN 'still_owner'
             WHEN NOT EXISTS (SELECT 1 FROM me WHERE password_hash = $8::TEXT AND present_in = $9::JSONB) THEN 'changed'
             ELSE 'ok' END AS code),
         {END_SESSIONS},
         r AS (DELETE FROM role_grants
             WHERE role_grants.region = $1::TEXT::crdb_internal_region AND role_grants.user_id = $3::UUID
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') RETURNING 1 AS ok),
         p AS (DELETE FROM promo_redemptions
             WHERE promo_redemptions.region = $1::TEXT::crdb_internal_region AND promo_redemptions.user_id = $3::UUID
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') RETURNING 1 AS ok),
         u AS (DELETE FROM users
             WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') RETURNING users.id, users.version),
         j AS (INSERT INTO jobs (region, id, kind, city, state, requested_region, requested_by, parameters, created_at,
               confirmed_at)
             SELECT $1::TEXT::crdb_internal_region, $10::UUID, 'erasure', '', 'running', $1::TEXT::crdb_internal_region,
               u.id, $11::JSONB, $5::TIMESTAMPTZ, $5::TIMESTAMPTZ FROM u RETURNING 1 AS ok),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'user', u.id, u.version + 1, '{USER_ERASED}', $1::TEXT, u.id,
               $10::UUID, $10::UUID, $5::TIMESTAMPTZ, $7::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM u
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Closes the account: deletes its data at home, and leaves a job with the command's id, which
/// erases the rest in the regions of `parameters`. Redeemed quota stays used: rides keep their
/// promo code.
pub async fn erase(conn: &Conn, write: &Write<'_>, leaving: &LeaveCommand<'_>, parameters: &Value) -> Result<Verdict> {
    let LeaveCommand { password_hash, present_in } = leaving;
    write.verdict_at_home(conn, &ERASE, &[password_hash, present_in, &write.id, parameters]).await
}

const LIST_ERASABLE: Statement = Statement::read(
    "home.list_erasable",
    Reach::Named,
    "(SELECT 'ride' AS kind, id FROM rides WHERE region = $1::TEXT::crdb_internal_region AND rider_id = $2::UUID
        AND rider_region::TEXT = $3::TEXT ORDER BY started_at DESC, id LIMIT 100)
     UNION ALL (SELECT 'vehicle', id FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND owner_id = $2::UUID
        AND owner_region::TEXT = $3::TEXT ORDER BY id LIMIT 100)
     UNION ALL (SELECT 'task', id FROM tasks WHERE region = $1::TEXT::crdb_internal_region AND reporter_id = $2 LIMIT 100)
     UNION ALL (SELECT 'task', id FROM tasks WHERE region = $1::TEXT::crdb_internal_region AND assignee_id = $2 LIMIT 100)
     UNION ALL (SELECT 'vehicle', id FROM vehicles WHERE region = $1::TEXT::crdb_internal_region
        AND reserved_by = $2::UUID AND (reserved_region::TEXT = $3::TEXT OR reserved_until < $4::TIMESTAMPTZ) LIMIT 100)",
);

// Beyond this many positions a statement would not keep its deadline.
const FIND_BOUND: Statement = Statement::read(
    "home.find_erasure_bound",
    Reach::Named,
    "SELECT ride_id, at FROM ride_positions WHERE region = $1::TEXT::crdb_internal_region
       AND ride_id = ANY($2::UUID[]) ORDER BY ride_id, at LIMIT 1 OFFSET 5000",
);

// A vehicle that came back to the street meanwhile is retired; one that is being ridden stays
// with the fleet.
const ERASE_REGION: Statement = Statement::write(
    "home.erase_region",
    Reach::Named,
    formatcp!(
        "{GATED},
         verdict AS (SELECT CASE WHEN EXISTS (SELECT 1 FROM g) THEN 'ok' ELSE 'gate' END AS code),
         p AS (DELETE FROM ride_positions WHERE ride_positions.region = $1::TEXT::crdb_internal_region
             AND ride_positions.ride_id = ANY($5::UUID[]) AND (ride_positions.ride_id <> $7::UUID OR ride_positions.at < $8::TIMESTAMPTZ)
             AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') RETURNING 1 AS ok),
         r AS (UPDATE rides SET rider_region = NULL, rider_id = NULL, start_place = '',
               last_at = NULL, last_lat = NULL, last_lon = NULL,
               end_place = CASE WHEN rides.end_place IS NOT NULL THEN '' END
             FROM verdict WHERE rides.region = $1::TEXT::crdb_internal_region AND rides.id = ANY($5::UUID[])
               AND rides.id <> $7::UUID AND rides.rider_id = $3::UUID AND rides.rider_region::TEXT = $10::TEXT
               AND verdict.code = 'ok' RETURNING 1 AS ok),
         found AS (SELECT id, status, coalesce(owner_id = $3::UUID AND owner_region::TEXT = $10::TEXT, FALSE) AS own,
               coalesce(reserved_by = $3::UUID AND (reserved_region::TEXT = $10::TEXT OR reserved_until < $9::TIMESTAMPTZ), FALSE)
                 AS reserved
             FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND id = ANY($6::UUID[])),
         judged AS (SELECT id, own, reserved, own AND status NOT IN ('in_use', 'retired') AS retires FROM found),
         v AS (UPDATE vehicles SET owner_region = CASE WHEN judged.own THEN NULL ELSE vehicles.owner_region END,
               owner_id = CASE WHEN judged.own THEN NULL ELSE vehicles.owner_id END,
               reserved_region = CASE WHEN judged.reserved THEN NULL ELSE vehicles.reserved_region END,
               reserved_by = CASE WHEN judged.reserved THEN NULL ELSE vehicles.reserved_by END,
               reserved_until = CASE WHEN judged.reserved THEN NULL ELSE vehicles.reserved_until END,
               status = CASE WHEN judged.retires THEN 'retired' ELSE vehicles.status END,
               code = CASE WHEN judged.retires THEN NULL ELSE vehicles.code END,
               retired_code = CASE WHEN judged.own THEN NULL ELSE vehicles.retired_code END,
               version = vehicles.version + CASE WHEN judged.retires THEN 1 ELSE 0 END,
               changed_at = CASE WHEN judged.retires THEN $9::TIMESTAMPTZ ELSE vehicles.changed_at END
             FROM judged, verdict WHERE vehicles.region = $1::TEXT::crdb_internal_region AND vehicles.id = judged.id
               AND (judged.own OR judged.reserved) AND verdict.code = 'ok'
             RETURNING vehicles.id, vehicles.version, judged.retires),
         t AS (UPDATE tasks SET reporter_id = nullif(tasks.reporter_id, $3::UUID), assignee_id = nullif(tasks.assignee_id, $3::UUID),
               note = CASE WHEN tasks.reporter_id = $3::UUID THEN NULL ELSE tasks.note END
             FROM verdict WHERE tasks.region = $1::TEXT::crdb_internal_region AND tasks.id = ANY($11::UUID[])
               AND verdict.code = 'ok' RETURNING 1 AS ok),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', v.id, v.version, '{VEHICLE_RETIRED}', NULL::TEXT, NULL::UUID,
               $4::UUID, $4::UUID, $9::TIMESTAMPTZ, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM v WHERE v.retires
               RETURNING 1 AS ok)
         SELECT verdict.code AS verdict, (SELECT count(*) FROM r) AS rides FROM verdict"
    ),
);

#[derive(Debug, Clone, Default)]
pub struct Erasable {
    rides: Vec<Uuid>,
    vehicles: Vec<Uuid>,
    /// That they reported or are at.
    tasks: Vec<Uuid>,
    /// A ride with more positions than one statement deletes: only those before this time.
    bound: Option<(Uuid, DateTime<Utc>)>,
}

impl Erasable {
    pub fn is_empty(&self) -> bool {
        self.rides.is_empty() && self.vehicles.is_empty() && self.tasks.is_empty()
    }
}

pub async fn list_erasable(conn: &Conn, region: &RegionCode, person: &UserRef, now: DateTime<Utc>) -> Result<Erasable> {
    let mut found = Erasable::default();
    for row in conn.rows(&LIST_ERASABLE, &[region, &person.id, &person.region.as_str(), &now]).await? {
        let list = match row.get("kind")? {
            "ride" => &mut found.rides,
            "vehicle" => &mut found.vehicles,
            _ => &mut found.tasks,
        };
        list.push(row.get("id")?);
    }
    if let Some(row) = conn.opt(&FIND_BOUND, &[region, &found.rides]).await? {
        let bound: (Uuid, DateTime<Utc>) = (row.get("ride_id")?, row.get("at")?);
        found.rides.retain(|ride| *ride <= bound.0);
        found.bound = Some(bound);
    }
    Ok(found)
}

pub async fn erase_region(
    conn: &Conn,
    (region, epoch): (&RegionCode, i64),
    (person, job): (&UserRef, Uuid),
    Erasable { rides, vehicles, tasks, bound }: &Erasable,
    now: DateTime<Utc>,
) -> Result<(Verdict, i64)> {
    let (ride, before) = bound.unwrap_or((Uuid::nil(), now));
    let of = person.region.as_str();
    let params: [Param<'_>; 11] = [region, &epoch, &person.id, &job, rides, vehicles, &ride, &before, &now, &of, tasks];
    let row = conn.one(&ERASE_REGION, &params).await?;
    Ok((row.verdict()?, row.get("rides")?))
}

// With the last region nothing in the job's row names the person any more.
const NOTE_ERASED: Statement = Statement::write(
    "home.note_erased",
    Reach::Named,
    formatcp!(
        "{GATED},
         verdict AS (SELECT CASE WHEN EXISTS (SELECT 1 FROM g) THEN 'ok' ELSE 'gate' END AS code),
         noted AS (UPDATE jobs SET parameters = $5::JSONB, state = CASE WHEN $6::BOOL THEN 'done' ELSE 'running' END,
               finished_at = CASE WHEN $6::BOOL THEN $7::TIMESTAMPTZ END,
               requested_by = CASE WHEN $6::BOOL THEN '00000000-0000-0000-0000-000000000000'::UUID ELSE jobs.requested_by END
             FROM verdict WHERE jobs.region = $1::TEXT::crdb_internal_region AND jobs.id = $3::UUID
               AND jobs.kind = 'erasure' AND jobs.state = 'running' AND jobs.parameters = $4::JSONB AND verdict.code = 'ok'
             RETURNING jobs.id, jobs.state),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'job', noted.id, 3, '{JOB_DONE}', NULL::TEXT, NULL::UUID, noted.id, noted.id,
               $7::TIMESTAMPTZ, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM noted WHERE noted.state = 'done'
               RETURNING 1 AS ok)
         SELECT verdict.code AS verdict FROM verdict"
    ),
);

/// Records how far an erasure is, unless somebody else has; with `over` it has ended.
pub async fn note_erased(
    conn: &Conn,
    job: &JobRef,
    epoch: i64,
    (was, is): (&Value, &Value),
    over: bool,
    now: DateTime<Utc>,
) -> Result<Verdict> {
    conn.verdict(&NOTE_ERASED, &[&job.region, &epoch, &job.id, was, is, &over, &now]).await
}

const FIND_ERASURE: Statement = Statement::read(
    "home.find_erasure",
    Reach::Named,
    "SELECT parameters, finished_at FROM jobs
     WHERE region = $1::TEXT::crdb_internal_region AND id = $2 AND kind = 'erasure'",
);

pub async fn find_erasure(conn: &Conn, job: &JobRef) -> Result<Option<(Value, Option<DateTime<Utc>>)>> {
    let row = conn.opt(&FIND_ERASURE, &[&job.region, &job.id]).await?;
    row.map(|row| Ok((row.get("parameters")?, row.get("finished_at")?))).transpose()
}

const FIND_COMMAND: Statement = Statement::read(
    "home.find_command",
    Reach::Named,
    "SELECT version FROM events WHERE region = $1::TEXT::crdb_internal_region
       AND aggregate_type = 'user' AND aggregate_id = $2 AND command_id = $3 LIMIT 1",
);

/// Whether a command about the person has been carried out, by its event in their region.
pub async fn find_command(conn: &Conn, user: &UserRef, command: Uuid) -> Result<bool> {
    Ok(conn.opt(&FIND_COMMAND, &[&user.region, &user.id, &command]).await?.is_some())
}

// Sessions, roles and redemptions are few by their own rules, so they come in one row.
const FIND_PERSON: Statement = Statement::read(
    "home.find_person",
    Reach::Named,
    "SELECT present_in, jsonb_build_object('id', id, 'home_region', region::TEXT, 'home_city', city,
        'username', username, 'first_name', first_name, 'last_name', last_name, 'email', email,
        'unused_recovery_codes', jsonb_array_length(recovery_hashes), 'present_in', present_in,
        'version', version, 'created_at', created_at, 'blocked_at', blocked_at,
        'reservations', reservations, 'reservations_since', reservations_since,
        'reservation', CASE WHEN reserved_until IS NOT NULL THEN jsonb_build_object(
            'region', reserved_region::TEXT, 'public_id', reserved_public_id, 'until', reserved_until,
            'city', reserved_city, 'type', reserved_type) END,
        'open_ride', CASE WHEN open_ride_id IS NOT NULL THEN jsonb_build_object(
            'region', open_ride_region::TEXT, 'id', open_ride_id) END,
        'sessions', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', id, 'device', device, 'created_at', created_at,
            'seen_at', seen_at, 'expires_at', expires_at) ORDER BY created_at, id), '[]'::JSONB) FROM sessions
          WHERE region = $1::TEXT::crdb_internal_region AND user_id = $2),
        'roles', (SELECT coalesce(jsonb_agg(jsonb_build_object('role', role, 'city', nullif(city, ''),
            'granted_at', granted_at) ORDER BY role, city), '[]'::JSONB) FROM role_grants
          WHERE region = $1::TEXT::crdb_internal_region AND user_id = $2),
        'promo_redemptions', (SELECT coalesce(jsonb_agg(jsonb_build_object('code', code,
            'ride_region', ride_region::TEXT, 'ride_id', ride_id, 'redeemed_at', redeemed_at)
            ORDER BY redeemed_at, ride_id), '[]'::JSONB) FROM promo_redemptions
          WHERE region = $1::TEXT::crdb_internal_region AND user_id = $2)) AS item
     FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $2",
);

/// What home stores about a person, without credentials; and the other regions with their data.
pub async fn find_person(conn: &Conn, user: &UserRef) -> Result<Option<(Value, Vec<RegionCode>)>> {
    let row = conn.opt(&FIND_PERSON, &[&user.region, &user.id]).await?;
    row.map(|row| Ok((row.get("item")?, row.json("present_in")?))).transpose()
}

pub const PAGE: usize = 1_000;
pub const RIDES: usize = 100;

/// Rows as JSON, each with the cursor of the page that follows it.
pub type Page<K> = Result<Vec<(K, Value)>>;

fn page<K>(rows: &[Row], key: impl Fn(&Row) -> Result<K>) -> Page<K> {
    rows.iter().map(|row| Ok((key(row)?, row.get("item")?))).collect()
}

const LIST_RIDES: Statement = Statement::read(
    "home.list_rides",
    Reach::Named,
    formatcp!(
        "WITH r AS (SELECT started_at, id, jsonb_build_object('id', id, 'city', city, 'vehicle_id', vehicle_id,
            'vehicle_type', vehicle_type, 'started_at', started_at, 'start_lat', start_lat, 'start_lon', start_lon,
            'start_place', start_place, 'ended_at', ended_at, 'end_lat', end_lat, 'end_lon', end_lon,
            'end_place', end_place, 'outside_area', outside_area, 'distance_m', distance_m, 'currency', currency,
            'unlock_minor', unlock_minor, 'per_minute_minor', per_minute_minor, 'out_of_area_minor', out_of_area_minor,
            'promo_code', promo_code, 'promo_percent', promo_percent, 'promo_amount_minor', promo_amount_minor,
            'minutes', minutes, 'charge_minor', charge_minor, 'discount_minor', discount_minor, 'fee_minor', fee_minor,
            'total_minor', total_minor, 'max_charge_minor', max_charge_minor, 'forced', forced, 'automatic', automatic,
            'forced_reason', forced_reason, 'credited_minor', credited_minor, 'credit_reason', credit_reason,
            'uncharged_s', uncharged_s, 'way_m', way_m, 'last_at', last_at, 'last_lat', last_lat, 'last_lon', last_lon, 'vehicle_code', vehicle_code,
            'vehicle_brand', vehicle_brand, 'tax_name', tax_name, 'tax_rate', tax_rate, 'version', version) AS item
         FROM rides WHERE region = $1::TEXT::crdb_internal_region AND rider_id = $2
           AND rider_region::TEXT = $5::TEXT AND started_at <= $3 AND (started_at < $3 OR id > $4)
         ORDER BY started_at DESC, id LIMIT {RIDES}),
         asked AS (SELECT events.aggregate_id AS id, jsonb_agg(jsonb_build_object('at', events.occurred_at,
               'reason', events.metadata->>'reason') ORDER BY events.version) AS requests
             FROM r JOIN events ON events.region = $1::TEXT::crdb_internal_region
               AND events.aggregate_type = 'rider_request' AND events.aggregate_id = r.id
             GROUP BY events.aggregate_id)
         SELECT r.started_at, r.id,
           r.item || jsonb_build_object('operator_requests', coalesce(asked.requests, '[]'::JSONB)) AS item
         FROM r LEFT JOIN asked ON asked.id = r.id ORDER BY r.started_at DESC, r.id"
    ),
);

/// Newest first.
pub async fn list_rides(
    conn: &Conn,
    region: &RegionCode,
    person: &UserRef,
    cursor: (DateTime<Utc>, Uuid),
) -> Page<(DateTime<Utc>, Uuid)> {
    let rows = conn.rows(&LIST_RIDES, &[region, &person.id, &cursor.0, &cursor.1, &person.region.as_str()]).await?;
    page(&rows, |row| Ok((row.get("started_at")?, row.get("id")?)))
}

const LIST_POSITIONS: Statement = Statement::read(
    "home.list_positions",
    Reach::Named,
    formatcp!(
        "SELECT ride_id, at, jsonb_build_object('at', at, 'lat', lat, 'lon', lon) AS item FROM ride_positions
         WHERE region = $1::TEXT::crdb_internal_region AND ride_id = ANY($2::UUID[])
           AND (ride_id, at) > ($3::UUID, $4::TIMESTAMPTZ)
         ORDER BY ride_id, at LIMIT {PAGE}"
    ),
);

/// Ride by ride, in the order of time.
pub async fn list_positions(
    conn: &Conn,
    region: &RegionCode,
    rides: &[Uuid],
    cursor: (Uuid, DateTime<Utc>),
) -> Page<(Uuid, DateTime<Utc>)> {
    let rows = conn.rows(&LIST_POSITIONS, &[region, &rides, &cursor.0, &cursor.1]).await?;
    page(&rows, |row| Ok((row.get("ride_id")?, row.get("at")?)))
}

const LIST_VEHICLES: Statement = Statement::read(
    "home.list_vehicles",
    Reach::Named,
    formatcp!(
        "SELECT id, jsonb_build_object('id', id, 'public_id', public_id, 'city', city, 'type', type, 'status', status,
            'code', code, 'retired_code', retired_code, 'brand', brand, 'colour', colour, 'note', note, 'battery', battery, 'lat', lat, 'lon', lon,
            'place', place, 'version', version, 'created_at', created_at, 'changed_at', changed_at,
            'seen_at', seen_at, 'hold', hold) AS item
         FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND owner_id = $2
           AND owner_region::TEXT = $4::TEXT AND id > $3
         ORDER BY id LIMIT {PAGE}"
    ),
);

/// Including retired ones.
pub async fn list_vehicles(conn: &Conn, region: &RegionCode, person: &UserRef, cursor: Uuid) -> Page<Uuid> {
    let rows = conn.rows(&LIST_VEHICLES, &[region, &person.id, &cursor, &person.region.as_str()]).await?;
    page(&rows, |row| row.get("id"))
}

// Who else is at a task is nothing of theirs.
const LIST_TASKS: Statement = Statement::read(
    "home.list_tasks",
    Reach::Named,
    formatcp!(
        "SELECT id, jsonb_build_object('id', id, 'city', city, 'vehicle_id', vehicle_id, 'problem', problem,
            'note', CASE WHEN reporter_id = $2 THEN note END, 'reported_by_you', coalesce(reporter_id = $2, FALSE),
            'assigned_to_you', coalesce(assignee_id = $2, FALSE), 'state', state, 'created_at', created_at,
            'done_at', done_at, 'version', version) AS item
         FROM tasks WHERE region = $1::TEXT::crdb_internal_region AND id IN (
             SELECT id FROM tasks WHERE region = $1::TEXT::crdb_internal_region AND reporter_id = $2 AND id > $3
             UNION SELECT id FROM tasks WHERE region = $1::TEXT::crdb_internal_region AND assignee_id = $2 AND id > $3)
         ORDER BY id LIMIT {PAGE}"
    ),
);

/// Those that the person reported or is at.
pub async fn list_tasks(conn: &Conn, region: &RegionCode, person: Uuid, cursor: Uuid) -> Page<Uuid> {
    page(&conn.rows(&LIST_TASKS, &[region, &person, &cursor]).await?, |row| row.get("id"))
}

const EVENT_ITEM: &str = "jsonb_build_object('aggregate_type', aggregate_type, 'aggregate_id', aggregate_id,
        'version', version, 'action', action, 'actor_region', actor_region, 'actor_id', actor_id,
        'command_id', command_id, 'occurred_at', occurred_at, 'recorded_at', recorded_at, 'lat', lat, 'lon', lon,
        'metadata', metadata) AS item";

const LIST_EVENTS_ABOUT: Statement = Statement::read(
    "home.list_events_about",
    Reach::Named,
    formatcp!(
        "SELECT version, {EVENT_ITEM} FROM events WHERE region = $1::TEXT::crdb_internal_region
           AND aggregate_type = 'user' AND aggregate_id = $2 AND version > $3
         ORDER BY version LIMIT {PAGE}"
    ),
);

/// Events of the person's own row that lie in `region`.
pub async fn list_events_about(conn: &Conn, region: &RegionCode, person: Uuid, cursor: i64) -> Page<i64> {
    let rows = conn.rows(&LIST_EVENTS_ABOUT, &[region, &person, &cursor]).await?;
    page(&rows, |row| row.get("version"))
}

const LIST_EVENTS_BY: Statement = Statement::read(
    "home.list_events_by",
    Reach::Named,
    formatcp!(
        "SELECT aggregate_type, aggregate_id, version, {EVENT_ITEM} FROM events
         WHERE region = $1::TEXT::crdb_internal_region AND actor_id = $2
           AND (aggregate_type, aggregate_id, version) > ($3::TEXT, $4::UUID, $5::INT8)
           AND NOT (aggregate_type = 'user' AND aggregate_id = $2)
         ORDER BY aggregate_type, aggregate_id, version LIMIT {PAGE}"
    ),
);

pub type EventKey = (String, Uuid, i64);

/// The other events in `region` that the person caused.
pub async fn list_events_by(conn: &Conn, region: &RegionCode, person: Uuid, cursor: EventKey) -> Page<EventKey> {
    let rows = conn.rows(&LIST_EVENTS_BY, &[region, &person, &cursor.0, &cursor.1, &cursor.2]).await?;
    page(&rows, |row| Ok((row.get("aggregate_type")?, row.get("aggregate_id")?, row.get("version")?)))
}
