//! What operators and owners change about a vehicle. A change is one statement that checks session, both gates, permission
//! for the vehicle where it is now, and the version on the page. A form's command id lets a second try find the first.

use const_format::formatcp;
use uuid::Uuid;

use crate::{
    db::{
        CITY_CHECKED, Conn, EVENT, Param, Reach, Result, SIGNED_THERE, Statement, Verdict, Write,
        bulk::DEPOT,
        tasks::finished_sql,
        vehicles::HOLD,
        verdict::{BY_OPERATOR, operates_sql},
    },
    domain::{
        City, Point, VehicleRef,
        event::{TASK_FINISHED, VEHICLE_ADDED, VEHICLE_APPROVED, VEHICLE_DECLINED, VEHICLE_EDITED, VEHICLE_MOVED},
        geo::cell,
        job::StatusChange,
        vehicle::{AWAITS_APPROVAL, AWAITS_APPROVAL_NOTE, DECLINED},
    },
};

pub const ALL: &[&Statement] = &[&ADD, &SET_STATUS, &EDIT, &MOVE, &APPROVE];

#[derive(Debug, Clone)]
pub struct SeenVehicle {
    pub vehicle: VehicleRef,
    pub version: i64,
    /// The id that the form carried.
    pub command: Uuid,
}

/// Begins a change of vehicle ($8, $9), which is `v`, at version $11 by command $12.
pub(in crate::db) const CHANGE: &str = formatcp!(
    "{SIGNED_THERE},
         v AS (SELECT city, status, version, reserved_until, owner_region, owner_id, {HOLD} AS hold FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID),
         before AS (SELECT 1 AS ok FROM events WHERE region = $8::TEXT::crdb_internal_region
             AND aggregate_type = 'vehicle' AND aggregate_id = $9::UUID AND version = $11::INT8 + 1
             AND command_id = $12::UUID)"
);

/// Like `CHANGE`, for an operator of the city where the vehicle is.
const BY_ITS_OPERATOR: &str = formatcp!(
    "{CHANGE},
         operates AS (SELECT 1 AS ok FROM role_grants JOIN v ON v.city = role_grants.city
             WHERE role_grants.region = $1::TEXT::crdb_internal_region AND role_grants.user_id = $3::UUID
               AND role_grants.role = 'operator')"
);

const NOT_OPERATOR: &str = "WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM operates) THEN 'not_operator'";

/// What is refused after permission.
pub(in crate::db) const UNCHANGEABLE: &str = "WHEN EXISTS (SELECT 1 FROM before) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM v WHERE status = 'in_use' OR reserved_until > $5::TIMESTAMPTZ) THEN 'vehicle_in_use'
             WHEN EXISTS (SELECT 1 FROM v WHERE version <> $11::INT8 OR status = 'retired') THEN 'changed'";

/// Ends the UPDATE that is `changed`.
pub(in crate::db) const NEXT_VERSION: &str = "version = vehicles.version + 1, changed_at = $5::TIMESTAMPTZ,
               reserved_region = NULL, reserved_by = NULL, reserved_until = NULL
             FROM verdict WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = $9::UUID
               AND verdict.code = 'ok'
             RETURNING vehicles.id, vehicles.version, vehicles.status, vehicles.lat, vehicles.lon, vehicles.city";

/// The columns of its event before the action, and those between it and the metadata.
pub(in crate::db) const CHANGED: &str = "$8::TEXT::crdb_internal_region, 'vehicle', changed.id, changed.version";
pub(in crate::db) const BY_COMMAND: &str = "$1::TEXT, $3::UUID, $12::UUID, $12::UUID, $5::TIMESTAMPTZ, $10::INT8";

// $11 city, $12 type, $13 status, $14 public id, $15 code, $16 brand, $17 colour, $18 battery, $19
// latitude, $20 longitude, $21 cell, $22 place, $23 note.
const ADD: Statement = Statement::write(
    "fleet.add",
    Reach::Named,
    formatcp!(
        "{BY_OPERATOR},
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM operates) THEN 'not_operator'
             WHEN EXISTS (SELECT 1 FROM vehicles WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             ELSE 'ok' END AS code),
         added AS (INSERT INTO vehicles (region, id, public_id, city, type, status, code, brand, colour, note, battery, lat, lon,
               cell, place, version, created_at, changed_at, seen_at)
             SELECT $8::TEXT::crdb_internal_region, $9::UUID, $14::UUID, $11::TEXT, $12::TEXT, $13::TEXT, $15::TEXT, $16::TEXT,
               $17::TEXT, $23::TEXT, $18::INT8, $19::FLOAT8, $20::FLOAT8, $21::INT8, $22::TEXT, 1, $5::TIMESTAMPTZ,
               $5::TIMESTAMPTZ, $5::TIMESTAMPTZ FROM verdict WHERE verdict.code = 'ok'
             RETURNING id, version, lat, lon),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', added.id, added.version, '{VEHICLE_ADDED}', $1::TEXT, $3::UUID,
               $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $10::INT8, added.lat, added.lon, '{{}}'::JSONB FROM added RETURNING 1 AS ok)
         SELECT verdict.code AS verdict FROM verdict"
    ),
)
.reading_global(CITY_CHECKED);

/// To the fleet of the city. Fails with the unique kind if another vehicle of it has the code.
pub async fn add(
    conn: &Conn,
    write: &Write<'_>,
    (city, vehicle_type, status): (&str, &str, &str),
    public_id: Uuid,
    new: &VehicleEdit,
) -> Result<Verdict> {
    let VehicleEdit { code, brand, colour, battery, at, place, note } = new;
    let (lat, lon, cell) = (at.lat(), at.lon(), cell(*at));
    let what: [Param<'_>; 8] = [&city, &vehicle_type, &status, &public_id, code, brand, colour, battery];
    write.verdict(conn, &ADD, &[&what[..], &[&lat, &lon, &cell, place, note]].concat()).await
}

// $13 statuses before, $14 the new one, $15 the event, $16 the note.
const SET_STATUS: Statement = Statement::write(
    "fleet.set_status",
    Reach::Named,
    formatcp!(
        "{BY_ITS_OPERATOR},
         verdict AS (SELECT CASE {NOT_OPERATOR}
             {UNCHANGEABLE}
             WHEN NOT EXISTS (SELECT 1 FROM v WHERE status = ANY ($13::TEXT[])) THEN 'changed'
             WHEN $14::TEXT = 'available' AND EXISTS (SELECT 1 FROM v WHERE hold IS NOT NULL) THEN 'vehicle_held'
             ELSE 'ok' END AS code),
         changed AS (UPDATE vehicles SET status = $14::TEXT, note = coalesce($16::TEXT, vehicles.note), hold = {HOLD},
               code = CASE WHEN $14::TEXT = 'retired' THEN NULL ELSE vehicles.code END,
               retired_code = CASE WHEN $14::TEXT = 'retired' THEN vehicles.code END,
               seen_at = CASE WHEN vehicles.status = 'lost' THEN $5::TIMESTAMPTZ ELSE vehicles.seen_at END, {NEXT_VERSION}),
         t AS ({finished}),
         e AS ({EVENT}
             SELECT {CHANGED}, $15::TEXT, {BY_COMMAND}, changed.lat, changed.lon,
               CASE WHEN $16::TEXT IS NULL THEN '{{}}'::JSONB ELSE jsonb_build_object('note', $16::TEXT) END FROM changed
             UNION ALL SELECT $8::TEXT::crdb_internal_region, 'task', t.id, t.version, '{TASK_FINISHED}', {BY_COMMAND},
               NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM t RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        finished = finished_sql!("changed", "$14")
    ),
);

/// Sets the status, and a note if there is one.
pub async fn set_status(
    conn: &Conn,
    write: &Write<'_>,
    seen: &SeenVehicle,
    StatusChange { event, to, from }: StatusChange,
    note: Option<&str>,
) -> Result<Verdict> {
    change(conn, &SET_STATUS, write, seen, &[&from, &to, &event, &note]).await
}

#[derive(Debug, Clone)]
pub struct VehicleEdit {
    pub code: Option<String>,
    pub brand: String,
    pub colour: String,
    pub battery: i64,
    pub at: Point,
    pub place: String,
    pub note: Option<String>,
}

/// What an edit sets: $13 code, $14 brand, $15 colour, $16 battery, $17 latitude, $18 longitude, $19 cell, $20 place.
pub(in crate::db) const EDITED: &str = "code = $13::TEXT, brand = $14::TEXT, colour = $15::TEXT, battery = $16::INT8,
               seen_at = CASE WHEN vehicles.cell = $19::INT8 THEN vehicles.seen_at ELSE $5::TIMESTAMPTZ END,
               lat = $17::FLOAT8, lon = $18::FLOAT8, cell = $19::INT8, place = $20::TEXT";

// $13 to $20 as in `EDITED`, $21 note.
const EDIT: Statement = Statement::write(
    "fleet.edit",
    Reach::Named,
    formatcp!(
        "{BY_ITS_OPERATOR},
         verdict AS (SELECT CASE {NOT_OPERATOR}
             {UNCHANGEABLE}
             ELSE 'ok' END AS code),
         changed AS (UPDATE vehicles SET {EDITED}, hold = {HOLD},
               note = coalesce($21::TEXT, CASE WHEN ({HOLD}) = '{AWAITS_APPROVAL}' THEN '{AWAITS_APPROVAL_NOTE}' END),
               {NEXT_VERSION}),
         e AS ({EVENT}
             SELECT {CHANGED}, '{VEHICLE_EDITED}', {BY_COMMAND}, changed.lat, changed.lon,
               CASE WHEN $21::TEXT IS NULL THEN '{{}}'::JSONB ELSE jsonb_build_object('note', $21::TEXT) END FROM changed
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Fails with the unique kind if another vehicle of the city has the code.
pub async fn edit(conn: &Conn, write: &Write<'_>, seen: &SeenVehicle, new: &VehicleEdit) -> Result<Verdict> {
    let VehicleEdit { code, brand, colour, battery, at, place, note } = new;
    let (lat, lon, cell) = (at.lat(), at.lon(), cell(*at));
    change(conn, &EDIT, write, seen, &[code, brand, colour, battery, &lat, &lon, &cell, place, note]).await
}

// $13 city, $14 to $17 latitude, longitude, cell and name of its centre.
const MOVE: Statement = Statement::write(
    "fleet.move",
    Reach::Named,
    formatcp!(
        "{BY_ITS_OPERATOR},
         operates_target AS ({target}),
         verdict AS (SELECT CASE {NOT_OPERATOR}
             WHEN NOT EXISTS (SELECT 1 FROM operates_target) THEN 'not_operator'
             {UNCHANGEABLE}
             ELSE 'ok' END AS code),
         changed AS (UPDATE vehicles SET city = $13::TEXT, lat = $14::FLOAT8, lon = $15::FLOAT8, cell = $16::INT8,
               place = $17::TEXT, seen_at = $5::TIMESTAMPTZ, status = 'maintenance', {NEXT_VERSION}),
         e AS ({EVENT}
             SELECT {CHANGED}, '{VEHICLE_MOVED}', {BY_COMMAND}, changed.lat, changed.lon,
               jsonb_build_object('city', changed.city) FROM changed RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        target = operates_sql!("$13")
    ),
)
.reading_global(CITY_CHECKED);

/// Moves the vehicle to another city of its region, into maintenance: it has to be set up there.
/// The person must operate both cities.
pub async fn move_to(conn: &Conn, write: &Write<'_>, seen: &SeenVehicle, city: &City) -> Result<Verdict> {
    let (lat, lon, cell) = (city.centre.lat(), city.centre.lon(), cell(city.centre));
    change(conn, &MOVE, write, seen, &[&city.slug, &lat, &lon, &cell, &DEPOT]).await
}

// $13 whether it is approved, $14 why not, $15 the event.
const APPROVE: Statement = Statement::write(
    "fleet.approve",
    Reach::Named,
    formatcp!(
        "{BY_ITS_OPERATOR},
         verdict AS (SELECT CASE {NOT_OPERATOR}
             {UNCHANGEABLE}
             WHEN NOT EXISTS (SELECT 1 FROM v WHERE status = 'maintenance' AND hold = '{AWAITS_APPROVAL}') THEN 'changed'
             WHEN $13::BOOL AND EXISTS (SELECT 1 FROM v WHERE owner_region = $1::TEXT::crdb_internal_region
                 AND owner_id = $3::UUID) THEN 'own_interest'
             ELSE 'ok' END AS code),
         changed AS (UPDATE vehicles SET status = CASE WHEN $13::BOOL THEN 'available' ELSE vehicles.status END,
               hold = CASE WHEN $13::BOOL THEN NULL ELSE '{DECLINED}' END,
               note = coalesce($14::TEXT, nullif(vehicles.note, '{AWAITS_APPROVAL_NOTE}')), {NEXT_VERSION}),
         e AS ({EVENT}
             SELECT {CHANGED}, $15::TEXT, {BY_COMMAND}, changed.lat, changed.lon,
               CASE WHEN $14::TEXT IS NULL THEN '{{}}'::JSONB ELSE jsonb_build_object('note', $14::TEXT) END FROM changed
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Puts a person's new vehicle on the street, or says in a note why not.
pub async fn approve(conn: &Conn, write: &Write<'_>, seen: &SeenVehicle, declined: Option<&str>) -> Result<Verdict> {
    let event = if declined.is_none() { VEHICLE_APPROVED } else { VEHICLE_DECLINED };
    change(conn, &APPROVE, write, seen, &[&declined.is_none(), &declined, &event]).await
}

pub(in crate::db) async fn change(
    conn: &Conn,
    statement: &'static Statement,
    write: &Write<'_>,
    seen: &SeenVehicle,
    rest: &[Param<'_>],
) -> Result<Verdict> {
    let first: [Param<'_>; 2] = [&seen.version, &seen.command];
    write.verdict(conn, statement, &[&first, rest].concat()).await
}
