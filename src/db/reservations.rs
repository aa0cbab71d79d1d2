//! Reservations: ten minutes on a vehicle, one at a time per person. They are stored on both the
//! vehicle and the person, and lapse by time alone.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    BEGINS_THERE, Conn, EVENT, Reach, Result, SIGNED_THERE, Statement, Verdict, Write,
    tasks::{reported_sql, reports_sql},
    verdict::present_in_sql,
};
use crate::domain::{
    event::{VEHICLE_RESERVATION_CANCELLED, VEHICLE_RESERVED},
    task::REPORTERS,
    vehicle::{RESERVATIONS_IN, RESERVATIONS_MAX},
};

pub const ALL: &[&Statement] = &[&RESERVE, &CANCEL];

// Before everything else a ridden vehicle is refused like one that is not there: by the words of a
// refusal nobody may learn when somebody's ride ends.
// `reports` are the open ones: with enough of them it is withdrawn, be it a minute later.
// $11 city, $12 type, $13 until when, $14 command, $15 since when they are counted, $16 how many.
const RESERVE: Statement = Statement::write(
    "reservations.make",
    Reach::Named,
    formatcp!(
        "{SIGNED_THERE},
         u AS (SELECT open_ride_id, reserved_until, CASE WHEN reservations_since > $15::TIMESTAMPTZ THEN reservations
               ELSE 0 END AS reservations FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         v AS (SELECT id, status, city, type, reserved_by, reserved_until FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND public_id = $9::UUID),
         reports AS ({reports}),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN v.status IS NULL OR v.status = 'in_use' THEN 'vehicle_taken'
             WHEN v.reserved_by = $3::UUID AND v.reserved_until > $5::TIMESTAMPTZ THEN 'already'
             {BEGINS_THERE}
             WHEN u.open_ride_id IS NOT NULL THEN 'already_riding'
             WHEN u.reserved_until > $5::TIMESTAMPTZ THEN 'already_reserved'
             WHEN v.city <> $11::TEXT OR v.type <> $12::TEXT THEN 'vehicle_moved'
             WHEN v.status <> 'available' THEN 'vehicle_out_of_service'
             WHEN v.reserved_until > $5::TIMESTAMPTZ THEN 'vehicle_reserved'
             WHEN (SELECT n FROM reports) >= {REPORTERS} THEN 'vehicle_out_of_service'
             WHEN u.reservations >= $16::INT8 THEN 'too_many_reservations'
             ELSE 'ok' END AS code, coalesce(u.reservations, 0) AS reservations
             FROM (SELECT 1 AS one) AS here LEFT JOIN u ON TRUE LEFT JOIN v ON TRUE),
         u2 AS (UPDATE users SET reserved_region = $8::TEXT::crdb_internal_region, reserved_public_id = $9::UUID,
               reserved_until = $13::TIMESTAMPTZ, reserved_city = $11::TEXT, reserved_type = $12::TEXT,
               reservations = verdict.reservations + 1,
               {present},
               reservations_since = CASE WHEN verdict.reservations = 0 THEN $5::TIMESTAMPTZ ELSE users.reservations_since END
             FROM verdict WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID AND code = 'ok'
             RETURNING users.id),
         v2 AS (UPDATE vehicles SET reserved_region = $1::TEXT::crdb_internal_region, reserved_by = $3::UUID,
               reserved_until = $13::TIMESTAMPTZ, version = version + 1, changed_at = $5::TIMESTAMPTZ
             FROM verdict
             WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.public_id = $9::UUID AND verdict.code = 'ok'
             RETURNING vehicles.id, vehicles.version),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, '{VEHICLE_RESERVED}', NULL::TEXT, NULL::UUID,
               $14::UUID, $14::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM v2
               RETURNING 1 AS ok)
         SELECT verdict.code AS verdict FROM verdict",
        reports = reports_sql!("v"),
        present = present_in_sql!("$8")
    ),
);

pub async fn make(
    conn: &Conn,
    write: &Write<'_>,
    (city, vehicle_type): (&str, &str),
    until: DateTime<Utc>,
    command: Uuid,
) -> Result<Verdict> {
    let since = write.now - RESERVATIONS_IN;
    write.verdict(conn, &RESERVE, &[&city, &vehicle_type, &until, &command, &since, &RESERVATIONS_MAX]).await
}

const CANCEL: Statement = Statement::write(
    "reservations.cancel",
    Reach::Named,
    formatcp!(
        "{SIGNED_THERE},
         v AS (SELECT id, version, reserved_by, reserved_until FROM vehicles
               WHERE region = $8::TEXT::crdb_internal_region AND public_id = $9::UUID),
         done AS (SELECT 1 AS ok FROM v JOIN events ON events.region = $8::TEXT::crdb_internal_region
               AND events.aggregate_type = 'vehicle' AND events.aggregate_id = v.id AND events.version = v.version
               AND events.command_id = $11::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM done) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN v.reserved_by = $3::UUID AND v.reserved_until > $5::TIMESTAMPTZ THEN 'ok'
             ELSE 'no_reservation' END AS code
             FROM (SELECT 1 AS one) AS here LEFT JOIN v ON TRUE),
         u2 AS (UPDATE users SET reserved_region = NULL, reserved_public_id = NULL, reserved_until = NULL,
               reserved_city = NULL, reserved_type = NULL
             FROM verdict WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID
               AND users.reserved_public_id = $9::UUID AND code = 'ok'
             RETURNING users.id),
         reports AS ({reports}),
         v2 AS (UPDATE vehicles SET reserved_region = NULL, reserved_by = NULL, reserved_until = NULL,
               status = CASE WHEN reports.n < {REPORTERS} THEN vehicles.status ELSE 'maintenance' END,
               version = vehicles.version + CASE WHEN reports.n < {REPORTERS} THEN 1 ELSE 2 END, changed_at = $5::TIMESTAMPTZ
             FROM verdict, reports
             WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.public_id = $9::UUID AND verdict.code = 'ok'
             RETURNING vehicles.id, vehicles.version, reports.n),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id,
               v2.version - CASE WHEN v2.n < {REPORTERS} THEN 0 ELSE 1 END, '{VEHICLE_RESERVATION_CANCELLED}', NULL::TEXT,
               NULL::UUID, $11::UUID, $11::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM v2
             UNION ALL {reported})
         SELECT verdict.code AS verdict FROM verdict",
        reports = reports_sql!("v"),
        reported = reported_sql!("$11")
    ),
);

/// A vehicle that enough people have reported meanwhile goes into maintenance.
pub async fn cancel(conn: &Conn, write: &Write<'_>, command: Uuid) -> Result<Verdict> {
    write.verdict(conn, &CANCEL, &[&command]).await
}
