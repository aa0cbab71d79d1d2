//! What operators do with one vehicle. Each is one statement that checks session, both
//! gates, the operator's role for the city where the vehicle really stands, and the
//! version that the page showed; changes it and writes its event; or does nothing and
//! says why. A form's command id makes a second try find the first.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::DbError,
    statement::{CITY_CHECKED, Conn, Reach, Statement},
    verdict::{SessionAuth, Verdict, event_sql, signed_there_sql, verdict},
};
use crate::domain::{geo::Point, job::JobKind, vehicle::VehicleRef};

pub const ALL: &[&Statement] = &[&SET_STATUS, &EDIT, &MOVE];

/// Which vehicle, as the page showed it, and the form that asks.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub vehicle: VehicleRef,
    pub version: i64,
    /// The id that the form carried.
    pub command: Uuid,
}

/// The text of a change of vehicle ($8, $9) at version $11 by command $12: `v` is the
/// vehicle, `o` has a row when the person operates its city. `$refusals` come after the
/// common ones, `$set` is what the UPDATE sets beside the version, `$event` names the event
/// and `$metadata` what it notes.
macro_rules! change_sql {
    ($tables:literal, $refusals:literal, $set:literal, $event:literal, $metadata:literal) => {
        signed_there_sql!(
            "v AS (SELECT city, status, version, reserved_until FROM vehicles
               WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID),
             o AS (SELECT 1 AS ok FROM role_grants JOIN v ON v.city = role_grants.city
               WHERE role_grants.region = $1::TEXT::crdb_internal_region AND role_grants.user_id = $3::UUID
                 AND role_grants.role = 'operator'),
             ",
            $tables,
            "before AS (SELECT 1 AS ok FROM events WHERE region = $8::TEXT::crdb_internal_region
               AND aggregate_type = 'vehicle' AND aggregate_id = $9::UUID AND version = $11::INT8 + 1 AND command_id = $12::UUID),
             verdict AS (SELECT CASE
                 WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN NOT EXISTS (SELECT 1 FROM o) THEN 'not_operator'
                 WHEN EXISTS (SELECT 1 FROM before) THEN 'already'
                 WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
                 WHEN EXISTS (SELECT 1 FROM v WHERE status = 'in_use' OR reserved_until > $5::TIMESTAMPTZ) THEN 'vehicle_in_use'
                 WHEN EXISTS (SELECT 1 FROM v WHERE version <> $11::INT8 OR status = 'retired') THEN 'changed'
                 ",
            $refusals,
            "
                 ELSE 'ok' END AS code),
             n AS (UPDATE vehicles SET ",
            $set,
            ", version = vehicles.version + 1, changed_at = $5::TIMESTAMPTZ, reserved_region = NULL, reserved_by = NULL,
                   reserved_until = NULL
                 FROM verdict WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = $9::UUID
                   AND verdict.code = 'ok'
                 RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon, vehicles.city),
             e AS (",
            event_sql!(
                "SELECT $8::TEXT::crdb_internal_region, 'vehicle', n.id, n.version, ",
                $event,
                ", $1::TEXT, $3::UUID, $12::UUID, $12::UUID, $5::TIMESTAMPTZ, $10::INT8, n.lat, n.lon, ",
                $metadata,
                " FROM n"
            ),
            ") SELECT verdict.code AS verdict FROM verdict"
        )
    };
}

const SET_STATUS: Statement = Statement::write(
    "fleet.set_status",
    Reach::Named,
    change_sql!(
        "",
        "WHEN NOT EXISTS (SELECT 1 FROM v WHERE status = ANY ($13::TEXT[])) THEN 'changed'",
        "status = $14::TEXT, note = coalesce($16::TEXT, nullif(vehicles.note, 'Waits for approval')),
             code = CASE WHEN $14::TEXT = 'retired' THEN NULL ELSE vehicles.code END,
             seen_at = CASE WHEN vehicles.status = 'lost' THEN $5::TIMESTAMPTZ ELSE vehicles.seen_at END",
        "$15::TEXT",
        "CASE WHEN $16::TEXT IS NULL THEN '{}'::JSONB ELSE jsonb_build_object('note', $16::TEXT) END"
    ),
);

/// Gives the vehicle the status that `kind` of change gives, and a note if there is one.
pub async fn set_status(
    conn: &Conn,
    auth: &SessionAuth,
    wanted: &Wanted,
    epoch: i64,
    kind: JobKind,
    note: Option<&str>,
) -> Result<Verdict, DbError> {
    let (event, to, from) = kind.change();
    change(conn, &SET_STATUS, auth, wanted, epoch, &[&from, &to, &event, &note]).await
}

/// What can be said of a vehicle.
#[derive(Debug, Clone)]
pub struct Details {
    pub code: Option<String>,
    pub brand: String,
    pub colour: String,
    /// Charge, in percent.
    pub battery: i64,
    pub at: Point,
    /// The same as a cell.
    pub cell: i64,
    /// The same in words.
    pub place: String,
    pub note: Option<String>,
}

const EDIT: Statement = Statement::write(
    "fleet.edit",
    Reach::Named,
    change_sql!(
        "",
        "",
        "code = $13::TEXT, brand = $14::TEXT, colour = $15::TEXT, battery = $16::INT8,
             seen_at = CASE WHEN vehicles.cell = $19::INT8 THEN vehicles.seen_at ELSE $5::TIMESTAMPTZ END,
             lat = $17::FLOAT8, lon = $18::FLOAT8, cell = $19::INT8, place = $20::TEXT, note = $21::TEXT",
        "'vehicle.edited'",
        "CASE WHEN $21::TEXT IS NULL THEN '{}'::JSONB ELSE jsonb_build_object('note', $21::TEXT) END"
    ),
);

/// Says something else of the vehicle. A code that another one of the city has is an error
/// of the unique kind.
pub async fn edit(
    conn: &Conn,
    auth: &SessionAuth,
    wanted: &Wanted,
    epoch: i64,
    new: &Details,
) -> Result<Verdict, DbError> {
    let (lat, lon) = (new.at.lat(), new.at.lon());
    let rest: [&(dyn ToSql + Sync); 9] =
        [&new.code, &new.brand, &new.colour, &new.battery, &lat, &lon, &new.cell, &new.place, &new.note];
    change(conn, &EDIT, auth, wanted, epoch, &rest).await
}

const MOVE: Statement = Statement::write(
    "fleet.move",
    Reach::Named,
    change_sql!(
        "o2 AS (SELECT 1 AS ok FROM role_grants WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID
           AND role = 'operator' AND city = $13::TEXT),
         ",
        "WHEN NOT EXISTS (SELECT 1 FROM o2) THEN 'not_operator'",
        "city = $13::TEXT, lat = $14::FLOAT8, lon = $15::FLOAT8, cell = $16::INT8, place = $17::TEXT,
             seen_at = $5::TIMESTAMPTZ, status = 'maintenance'",
        "'vehicle.moved'",
        "jsonb_build_object('city', n.city)"
    ),
)
.reading_global(CITY_CHECKED);

/// Puts the vehicle into another city of its region, into maintenance: it has to be set up
/// there. The person operates both cities.
pub async fn move_to(
    conn: &Conn,
    auth: &SessionAuth,
    wanted: &Wanted,
    epoch: i64,
    city: &str,
    place: (Point, i64, &str),
) -> Result<Verdict, DbError> {
    let (at, cell, words) = place;
    let (lat, lon) = (at.lat(), at.lon());
    change(conn, &MOVE, auth, wanted, epoch, &[&city, &lat, &lon, &cell, &words]).await
}

async fn change(
    conn: &Conn,
    statement: &'static Statement,
    auth: &SessionAuth,
    wanted: &Wanted,
    epoch: i64,
    rest: &[&(dyn ToSql + Sync)],
) -> Result<Verdict, DbError> {
    let Wanted { vehicle, version, command } = wanted;
    let first: [&(dyn ToSql + Sync); 5] = [&vehicle.region, &vehicle.id, &epoch, version, command];
    verdict(&conn.one(statement, &auth.params(&[&first, rest].concat())).await?)
}
