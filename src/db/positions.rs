//! Positions on the way of a ride, as the rider's browser sends them. They are their own
//! record, so noting them is no event. The ride's row carries how far they come, so that
//! the end of the ride reads none of them.

use chrono::{DateTime, Utc};

use super::{
    distance::distance_sql,
    error::DbError,
    statement::{Conn, Reach, Statement},
    verdict::{SessionAuth, Verdict, signed_there_sql, verdict},
};
use crate::domain::ride::{RideRef, Step};

pub const ALL: &[&Statement] = &[&ADD_POSITIONS];

// The first position may lie anywhere in the city, because where a vehicle stood is what people
// said of it; but no way counts for more than its time allows.
const ADD_POSITIONS: Statement = Statement::write(
    "rides.add_positions",
    Reach::Named,
    signed_there_sql!(
        "r AS (SELECT 1 AS ok, city, ended_at, positions, coalesce(last_at, started_at) AS at,
               coalesce(last_lat, start_lat) AS lat, coalesce(last_lon, start_lon) AS lon FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
               AND rider_region = $1::TEXT::crdb_internal_region AND rider_id = $3::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN r.ok IS NULL THEN 'no_such_ride'
             WHEN r.ended_at IS NOT NULL THEN 'ride_ended'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN r.city <> $11::TEXT THEN 'form_used'
             ELSE 'ok' END AS code
             FROM (SELECT 1 AS one) AS here LEFT JOIN r ON TRUE),
         n AS (SELECT n.chain, n.nth, n.at, n.lat, n.lon, n.metres
             FROM unnest($12::INT8[], $13::INT8[], $14::TIMESTAMPTZ[], $15::FLOAT8[], $16::FLOAT8[], $17::FLOAT8[])
               AS n (chain, nth, at, lat, lon, metres)),
         f AS (SELECT n.chain, n.at, r.positions, extract(epoch FROM (n.at - r.at))::FLOAT8 AS seconds, ",
        distance_sql!("r.lat", "r.lon", "n.lat", "n.lon"),
        " AS metres
             FROM n, r, verdict WHERE verdict.code = 'ok' AND n.nth = 0 AND n.at > r.at),
         head AS (SELECT chain, positions, least(metres, seconds * 120.0 / 3.6) AS metres FROM f
             WHERE positions = 0 OR (seconds >= 5.0 AND metres <= seconds * 120.0 / 3.6) ORDER BY at LIMIT 1),
         kept AS (SELECT n.at, n.lat, n.lon, n.metres + CASE WHEN n.nth = 0 THEN head.metres ELSE 0.0 END AS metres
             FROM n JOIN head ON n.chain = head.chain WHERE n.nth < 5000 - head.positions),
         p AS (INSERT INTO ride_positions (region, ride_id, at, lat, lon)
             SELECT $8::TEXT::crdb_internal_region, $9::UUID, kept.at, kept.lat, kept.lon FROM kept
             ON CONFLICT (region, ride_id, at) DO NOTHING RETURNING 1 AS ok),
         sums AS (SELECT count(*) AS n, sum(metres) AS metres, max(at) AS at FROM kept),
         r2 AS (UPDATE rides SET positions = rides.positions + sums.n, way_m = rides.way_m + sums.metres,
               last_at = kept.at, last_lat = kept.lat, last_lon = kept.lon
             FROM sums JOIN kept ON kept.at = sums.at
             WHERE rides.region = $8::TEXT::crdb_internal_region AND rides.id = $9::UUID
             RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Adds to the person's open ride in `city` what can follow its last position, at most to the
/// number that is kept of a ride. Sending a batch twice notes it once; a ride of another city
/// is refused as `FormUsed`.
pub async fn add(
    conn: &Conn,
    auth: &SessionAuth,
    ride: &RideRef,
    epoch: i64,
    city: &str,
    steps: &[Step],
) -> Result<Verdict, DbError> {
    let chains: Vec<i64> = steps.iter().map(|step| step.chain).collect();
    let nth: Vec<i64> = steps.iter().map(|step| step.nth).collect();
    let times: Vec<DateTime<Utc>> = steps.iter().map(|step| step.at).collect();
    let lats: Vec<f64> = steps.iter().map(|step| step.point.lat()).collect();
    let lons: Vec<f64> = steps.iter().map(|step| step.point.lon()).collect();
    let metres: Vec<f64> = steps.iter().map(|step| step.metres).collect();
    let params = auth.params(&[&ride.region, &ride.id, &epoch, &city, &chains, &nth, &times, &lats, &lons, &metres]);
    verdict(&conn.one(&ADD_POSITIONS, &params).await?)
}
