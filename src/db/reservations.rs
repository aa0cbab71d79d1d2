//! Reservations: ten minutes on a vehicle, one at a time for a person. They stand on the
//! vehicle and on the person at once, and lapse by time alone.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    error::DbError,
    statement::{Conn, Reach, Statement},
    verdict::{Signed, Verdict, event_sql, signed_there_sql, verdict},
};
use crate::domain::vehicle::PublicVehicle;

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&RESERVE, &CANCEL];

const RESERVE: Statement = Statement::write(
    "reservations.make",
    Reach::Named,
    signed_there_sql!(
        "u AS (SELECT open_ride_id, reserved_public_id, reserved_until FROM users
             WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         v AS (SELECT status, city, type, reserved_by, reserved_until FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND public_id = $9::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM v) THEN 'vehicle_gone'
             WHEN EXISTS (SELECT 1 FROM v WHERE reserved_by = $3::UUID AND reserved_until > $5::TIMESTAMPTZ) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM u WHERE open_ride_id IS NOT NULL) THEN 'already_riding'
             WHEN EXISTS (SELECT 1 FROM u WHERE reserved_until > $5::TIMESTAMPTZ) THEN 'already_reserved'
             WHEN EXISTS (SELECT 1 FROM v WHERE city <> $11::TEXT OR type <> $12::TEXT) THEN 'vehicle_moved'
             WHEN EXISTS (SELECT 1 FROM v WHERE status = 'in_use') THEN 'vehicle_taken'
             WHEN EXISTS (SELECT 1 FROM v WHERE status <> 'available') THEN 'vehicle_out'
             WHEN EXISTS (SELECT 1 FROM v WHERE reserved_until > $5::TIMESTAMPTZ) THEN 'vehicle_reserved'
             ELSE 'ok' END AS code),
         u2 AS (UPDATE users SET reserved_region = $8::TEXT::crdb_internal_region, reserved_public_id = $9::UUID,
               reserved_until = $13::TIMESTAMPTZ
             FROM verdict WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID AND code = 'ok'
             RETURNING users.id),
         v2 AS (UPDATE vehicles SET reserved_region = $1::TEXT::crdb_internal_region, reserved_by = $3::UUID,
               reserved_until = $13::TIMESTAMPTZ, version = version + 1, changed_at = $5::TIMESTAMPTZ
             FROM verdict
             WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.public_id = $9::UUID AND verdict.code = 'ok'
             RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon),
         e AS (",
        event_sql!(
            "SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, 'vehicle.reserved', $1::TEXT, $3::UUID,
               $14::UUID, $14::UUID, $5::TIMESTAMPTZ, $10::INT8, v2.lat, v2.lon, '{}'::JSONB FROM v2"
        ),
        ") SELECT verdict.code AS verdict FROM verdict"
    ),
);

/// Reserves a vehicle for the person until `until`. City and type are what the page said.
pub async fn make(
    conn: &Conn,
    signed: &Signed,
    vehicle: &PublicVehicle,
    epoch: i64,
    said: (&str, &str),
    until: DateTime<Utc>,
    command: Uuid,
) -> Result<Verdict, DbError> {
    let (city, kind) = said;
    let params = signed.params(&[&vehicle.region, &vehicle.public_id, &epoch, &city, &kind, &until, &command]);
    verdict(&conn.one(&RESERVE, &params).await?)
}

const CANCEL: Statement = Statement::write(
    "reservations.cancel",
    Reach::Named,
    signed_there_sql!(
        "v AS (SELECT id FROM vehicles WHERE region = $8::TEXT::crdb_internal_region AND public_id = $9::UUID
               AND reserved_by = $3::UUID AND reserved_until > $5::TIMESTAMPTZ),
         done AS (SELECT 1 AS ok FROM vehicles v0 JOIN events e0 ON e0.aggregate_id = v0.id
               WHERE v0.region = $8::TEXT::crdb_internal_region AND v0.public_id = $9::UUID
                 AND e0.region = $8::TEXT::crdb_internal_region AND e0.aggregate_type = 'vehicle'
                 AND e0.command_id = $11::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM done) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN NOT EXISTS (SELECT 1 FROM v) THEN 'no_reservation'
             ELSE 'ok' END AS code),
         u2 AS (UPDATE users SET reserved_region = NULL, reserved_public_id = NULL, reserved_until = NULL
             FROM verdict WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID
               AND users.reserved_public_id = $9::UUID AND code = 'ok'
             RETURNING users.id),
         v2 AS (UPDATE vehicles SET reserved_region = NULL, reserved_by = NULL, reserved_until = NULL,
               version = version + 1, changed_at = $5::TIMESTAMPTZ
             FROM verdict
             WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.public_id = $9::UUID AND verdict.code = 'ok'
             RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon),
         e AS (",
        event_sql!(
            "SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, 'vehicle.reservation_cancelled', $1::TEXT,
               $3::UUID, $11::UUID, $11::UUID, $5::TIMESTAMPTZ, $10::INT8, v2.lat, v2.lon, '{}'::JSONB FROM v2"
        ),
        ") SELECT verdict.code AS verdict FROM verdict"
    ),
);

/// Gives up the person's reservation of a vehicle.
pub async fn cancel(
    conn: &Conn,
    signed: &Signed,
    vehicle: &PublicVehicle,
    epoch: i64,
    command: Uuid,
) -> Result<Verdict, DbError> {
    let params = signed.params(&[&vehicle.region, &vehicle.public_id, &epoch, &command]);
    verdict(&conn.one(&CANCEL, &params).await?)
}
