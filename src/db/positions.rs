//! Positions on the way of a ride, as the rider's browser sends them. They are their own
//! record, so noting them is no event; the end of the ride measures the way by them.

use chrono::{DateTime, Utc};

use super::{
    error::DbError,
    statement::{Conn, Reach, Statement},
    verdict::{Signed, Verdict, signed_there_sql, verdict},
};
use crate::domain::{geo::Point, ride::RideRef};

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&ADD_POSITIONS];

const ADD_POSITIONS: Statement = Statement::write(
    "rides.add_positions",
    Reach::Named,
    signed_there_sql!(
        "r AS (SELECT started_at, ended_at FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND rider_id = $3::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM r) THEN 'no_such_ride'
             WHEN EXISTS (SELECT 1 FROM r WHERE ended_at IS NOT NULL) THEN 'ride_ended'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             ELSE 'ok' END AS code),
         p AS (INSERT INTO ride_positions (region, ride_id, at, lat, lon)
             SELECT $8::TEXT::crdb_internal_region, $9::UUID, n.at, n.lat, n.lon
             FROM unnest($11::TIMESTAMPTZ[], $12::FLOAT8[], $13::FLOAT8[]) AS n (at, lat, lon), verdict, r
             WHERE code = 'ok' AND n.at > r.started_at AND n.at <= $5::TIMESTAMPTZ
             ON CONFLICT (region, ride_id, at) DO NOTHING RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Notes where the person's open ride has been. Positions before the start or in the
/// future are dropped; sending a batch twice notes it once. The positions are their own
/// record, so there is no event.
pub async fn add(
    conn: &Conn,
    signed: &Signed,
    ride: &RideRef,
    epoch: i64,
    positions: &[(DateTime<Utc>, Point)],
) -> Result<Verdict, DbError> {
    let times: Vec<_> = positions.iter().map(|(at, _)| *at).collect();
    let lats: Vec<_> = positions.iter().map(|(_, p)| p.lat()).collect();
    let lons: Vec<_> = positions.iter().map(|(_, p)| p.lon()).collect();
    let params = signed.params(&[&ride.region, &ride.id, &epoch, &times, &lats, &lons]);
    verdict(&conn.one(&ADD_POSITIONS, &params).await?)
}
