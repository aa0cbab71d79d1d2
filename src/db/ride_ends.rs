//! The end of a ride: by its rider, or by an operator of its city for them. One statement
//! that frees rider and vehicle, computes distance and fare from what is stored, and gives
//! the vehicle a new public id; or does nothing and says why.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::DbError,
    statement::{Conn, Reach, Statement},
    verdict::{Signed, Verdict, event_sql, signed_there_sql, verdict},
};
use crate::domain::{geo::Point, people::UserRef, ride::RideRef};

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&END, &FORCE, &RIDER];

/// Where and how a ride ends.
#[derive(Debug, Clone)]
pub struct RideEnd {
    /// The ride.
    pub ride: RideRef,
    /// City that the page said: its service area decided about the fee.
    pub city: String,
    /// Where the vehicle is left.
    pub at: Point,
    /// The same as a cell.
    pub cell: i64,
    /// The same in words.
    pub place: String,
    /// Outside the city's service area, so the stated fee is due.
    pub outside_area: bool,
    /// The vehicle's new public id.
    pub public_id: Uuid,
}

impl RideEnd {
    /// What both ends bind, `$1` to `$17`; `at` are latitude and longitude.
    fn params<'a>(&'a self, signed: &'a Signed, at: &'a (f64, f64), epoch: &'a i64) -> Vec<&'a (dyn ToSql + Sync)> {
        signed.params(&[
            &self.ride.region,
            &self.ride.id,
            epoch,
            &self.place,
            &at.0,
            &at.1,
            &self.outside_area,
            &self.cell,
            &self.public_id,
            &self.city,
        ])
    }
}

/// The text of an end: further tables, who is refused, further gates, the rider's home and
/// id, whether an operator forces it, and what the event says.
macro_rules! end_sql {
    ($tables:expr, $refusals:literal, $gates:literal, $region:literal, $user:literal, $forced:literal, $action:literal) => {
        signed_there_sql!(
            $tables,
            "r AS (SELECT city, started_at, start_lat, start_lon, ended_at, unlock_minor, per_minute_minor, out_of_area_minor,
               promo_percent, promo_amount_minor FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND rider_id = ",
            $user,
            "),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out' ",
            $refusals,
            "
             WHEN NOT EXISTS (SELECT 1 FROM r) THEN 'no_such_ride'
             WHEN EXISTS (SELECT 1 FROM r WHERE ended_at IS NOT NULL) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) ", $gates, " THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM r WHERE city <> $17::TEXT) THEN 'form_used'
             ELSE 'ok' END AS code),
         way AS (SELECT lat, lon, at FROM ride_positions WHERE region = $8::TEXT::crdb_internal_region AND ride_id = $9::UUID
             UNION ALL SELECT start_lat, start_lon, started_at FROM r
             UNION ALL SELECT $12::FLOAT8, $13::FLOAT8, $5::TIMESTAMPTZ),
         leg AS (SELECT lat, lon, lag(lat) OVER (ORDER BY at) AS lat0, lag(lon) OVER (ORDER BY at) AS lon0 FROM way),
         d AS (SELECT coalesce(round(sum(12742017.6 * asin(sqrt(least(1.0::FLOAT8,
                 power(sin(radians(lat - lat0) / 2.0), 2.0)
                 + cos(radians(lat0)) * cos(radians(lat)) * power(sin(radians(lon - lon0) / 2.0), 2.0)))))), 0.0)::INT8 AS m
             FROM leg WHERE lat0 IS NOT NULL),
         t AS (SELECT greatest(1, ceil(extract(epoch FROM ($5::TIMESTAMPTZ - started_at)) / 60.0)::INT8) AS minutes,
               unlock_minor, per_minute_minor, promo_percent, promo_amount_minor,
               CASE WHEN $14::BOOL THEN out_of_area_minor ELSE 0 END AS fee FROM r),
         c AS (SELECT minutes, fee, promo_percent, promo_amount_minor, unlock_minor + minutes * per_minute_minor AS charge FROM t),
         f AS (SELECT minutes, fee, charge, CASE
               WHEN promo_percent IS NOT NULL THEN floor((charge * promo_percent)::NUMERIC / 100)::INT8
               WHEN promo_amount_minor IS NOT NULL THEN least(promo_amount_minor, charge)
               ELSE 0 END AS discount FROM c),
         r2 AS (UPDATE rides SET ended_at = $5::TIMESTAMPTZ, end_lat = $12::FLOAT8, end_lon = $13::FLOAT8,
               end_place = $11::TEXT, outside_area = $14::BOOL, distance_m = d.m, minutes = f.minutes,
               charge_minor = f.charge, discount_minor = f.discount, fee_minor = f.fee,
               total_minor = f.charge - f.discount + f.fee, forced = ",
            $forced,
            ", version = version + 1
             FROM d, f, verdict
             WHERE rides.region = $8::TEXT::crdb_internal_region AND rides.id = $9::UUID AND code = 'ok'
             RETURNING rides.vehicle_id),
         v2 AS (UPDATE vehicles SET status = 'available', open_ride_id = NULL, lat = $12::FLOAT8, lon = $13::FLOAT8,
               cell = $15::INT8, place = $11::TEXT, public_id = $16::UUID, version = version + 1, changed_at = $5::TIMESTAMPTZ,
               seen_at = $5::TIMESTAMPTZ
             FROM r2 WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = r2.vehicle_id
               AND vehicles.open_ride_id = $9::UUID
             RETURNING vehicles.id, vehicles.version),
         u2 AS (UPDATE users SET open_ride_region = NULL, open_ride_id = NULL FROM r2
             WHERE users.region = ",
            $region,
            " AND users.id = ",
            $user,
            " AND users.open_ride_id = $9::UUID
             RETURNING users.id),
         e AS (",
        event_sql!(
            "SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, '",
                $action,
                "', $1::TEXT, $3::UUID,
               $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $10::INT8, $12::FLOAT8, $13::FLOAT8, '{}'::JSONB FROM v2"
        ),
        ") SELECT code AS verdict FROM verdict"
        )
    };
}

const END: Statement = Statement::write(
    "rides.end",
    Reach::Named,
    end_sql!("", "", "", "$1::TEXT::crdb_internal_region", "$3::UUID", "FALSE", "ride.ended"),
);

/// Ends the person's own ride: distance and fare are computed from what is stored.
pub async fn end(conn: &Conn, signed: &Signed, end: &RideEnd, epoch: i64) -> Result<Verdict, DbError> {
    let at = (end.at.lat(), end.at.lon());
    verdict(&conn.one(&END, &end.params(signed, &at, &epoch)).await?)
}

const FORCE: Statement = Statement::write(
    "rides.force_end",
    Reach::Named,
    end_sql!(
        "h AS (SELECT 1 AS ok FROM region_gates
           WHERE region = $18::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $20::INT8),
         o AS (SELECT 1 AS ok FROM role_grants WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID
           AND role = 'operator' AND city = $17::TEXT),
         ",
        "WHEN NOT EXISTS (SELECT 1 FROM o) THEN 'not_operator'",
        " OR NOT EXISTS (SELECT 1 FROM h)",
        "$18::TEXT::crdb_internal_region",
        "$19::UUID",
        "TRUE",
        "ride.ended_by_operator"
    ),
);

/// Ends the ride of `rider` for them: by an operator of its city. `epochs` are those of the
/// ride's region and of the rider's home.
pub async fn force(
    conn: &Conn,
    signed: &Signed,
    end: &RideEnd,
    rider: &UserRef,
    epochs: (i64, i64),
) -> Result<Verdict, DbError> {
    let at = (end.at.lat(), end.at.lon());
    let mut params = end.params(signed, &at, &epochs.0);
    params.extend([&rider.region as &(dyn ToSql + Sync), &rider.id, &epochs.1]);
    verdict(&conn.one(&FORCE, &params).await?)
}

const RIDER: Statement = Statement::read(
    "rides.find_rider",
    Reach::Named,
    "SELECT rider_region::TEXT AS rider_region, rider_id, city FROM rides
     WHERE region = $1::TEXT::crdb_internal_region AND id = $2",
);

/// Whose ride it is, and in which city; for writing only, never shown.
pub async fn find_rider(conn: &Conn, ride: &RideRef) -> Result<Option<(UserRef, String)>, DbError> {
    let Some(row) = conn.opt(&RIDER, &[&ride.region, &ride.id]).await? else {
        return Ok(None);
    };
    let rider = row.opt_ref("rider_region", "rider_id")?.map(|(region, id)| UserRef { region, id });
    rider.map(|rider| Ok((rider, row.get("city")?))).transpose()
}
