//! The end of a ride: by its rider, by an operator of its city for them, or by the system
//! when it has been open too long. One statement
//! that frees rider and vehicle, computes distance and fare from the ride's row, and gives
//! the vehicle a new public id; or does nothing and says why.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    distance::distance_sql,
    error::DbError,
    statement::{Conn, Reach, Statement},
    verdict::{SessionAuth, Verdict, event_sql, signed_there_sql, verdict},
};
use crate::domain::{geo::Point, people::UserRef, region::RegionCode, ride::RideRef};

pub const ALL: &[&Statement] = &[&END, &FORCE, &RIDER, &OVERDUE, &EXPIRE];

/// Where and how a ride ends.
#[derive(Debug, Clone)]
pub struct RideEnd {
    pub ride: RideRef,
    /// City that the page said: its service area decided about the fee.
    pub city: String,
    pub at: Point,
    /// The same as a cell.
    pub cell: i64,
    /// The same in words.
    pub place: String,
    /// Outside the city's service area, so the stated fee is due.
    pub outside_area: bool,
    pub public_id: Uuid,
}

impl RideEnd {
    /// What both ends bind, `$1` to `$17`; `at` are latitude and longitude.
    fn params<'a>(&'a self, auth: &'a SessionAuth, at: &'a (f64, f64), epoch: &'a i64) -> Vec<&'a (dyn ToSql + Sync)> {
        auth.params(&[
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
/// id, when it ended, who ended it, and what the event says: the action and who did it, if
/// that was an operator (a rider is named by the ride's row only), and the metadata.
macro_rules! end_sql {
    (
        $tables:expr,
        $refusals:literal,
        $gates:literal,
        $region:literal,
        $user:literal,
        $ended:literal,
        $how:literal,
        $event:literal,
        $metadata:literal
    ) => {
        signed_there_sql!(
            $tables,
            "r AS (SELECT 1 AS ok, city, started_at, ended_at, unlock_minor, per_minute_minor, out_of_area_minor, promo_percent,
               promo_amount_minor, max_charge_minor, way_m, coalesce(last_at, started_at) AS at, coalesce(last_lat, start_lat) AS lat,
               coalesce(last_lon, start_lon) AS lon FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND rider_region = ",
            $region,
            " AND rider_id = ",
            $user,
            "),
         verdict AS (SELECT CASE ",
            $refusals,
            "
             WHEN r.ok IS NULL THEN 'no_such_ride'
             WHEN r.ended_at IS NOT NULL THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) ", $gates, " THEN 'gate'
             WHEN r.city <> $17::TEXT THEN 'form_used'
             ELSE 'ok' END AS code
             FROM (SELECT 1 AS one) AS here LEFT JOIN r ON TRUE),
         d AS (SELECT round(way_m + least(",
            distance_sql!("lat", "lon", "$12::FLOAT8", "$13::FLOAT8"),
            ", greatest(0.0::FLOAT8, extract(epoch FROM (",
            $ended,
            " - at))::FLOAT8) * 120.0 / 3.6))::INT8 AS m FROM r),
         t AS (SELECT greatest(1, ceil(extract(epoch FROM (",
            $ended,
            " - started_at)) / 60.0)::INT8) AS minutes,
               unlock_minor, per_minute_minor, max_charge_minor, promo_percent, promo_amount_minor,
               CASE WHEN $14::BOOL THEN out_of_area_minor ELSE 0 END AS fee FROM r),
         c AS (SELECT minutes, fee, promo_percent, promo_amount_minor,
               CASE WHEN max_charge_minor < unlock_minor + minutes * per_minute_minor THEN max_charge_minor
                 ELSE unlock_minor + minutes * per_minute_minor END AS charge FROM t),
         f AS (SELECT minutes, fee, charge, CASE
               WHEN promo_percent IS NOT NULL THEN floor((charge * promo_percent)::NUMERIC / 100)::INT8
               WHEN promo_amount_minor IS NOT NULL THEN least(promo_amount_minor, charge)
               ELSE 0 END AS discount FROM c),
         r2 AS (UPDATE rides SET ended_at = ",
            $ended,
            ", end_lat = $12::FLOAT8, end_lon = $13::FLOAT8,
               end_place = $11::TEXT, outside_area = $14::BOOL, distance_m = d.m, minutes = f.minutes,
               charge_minor = f.charge, discount_minor = f.discount, fee_minor = f.fee,
               total_minor = f.charge - f.discount + f.fee, ",
            $how,
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
            "SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, ",
            $event,
            ",
               $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, '",
            $metadata,
            "'::JSONB FROM v2"
        ),
        ") SELECT code AS verdict FROM verdict"
        )
    };
}

const END: Statement = Statement::write(
    "rides.end",
    Reach::Named,
    end_sql!(
        "",
        "WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'",
        "",
        "$1::TEXT::crdb_internal_region",
        "$3::UUID",
        "least($5::TIMESTAMPTZ, started_at + '24:00:00'::INTERVAL)",
        "forced = FALSE",
        "'ride.ended', NULL::TEXT, NULL::UUID",
        "{}"
    ),
);

/// Ends the person's own ride: distance and fare are computed from what is stored.
pub async fn end(conn: &Conn, auth: &SessionAuth, end: &RideEnd, epoch: i64) -> Result<Verdict, DbError> {
    let at = (end.at.lat(), end.at.lon());
    verdict(&conn.one(&END, &end.params(auth, &at, &epoch)).await?)
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
        "WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out' WHEN NOT EXISTS (SELECT 1 FROM o) THEN 'not_operator'",
        " OR NOT EXISTS (SELECT 1 FROM h)",
        "$18::TEXT::crdb_internal_region",
        "$19::UUID",
        "least($5::TIMESTAMPTZ, started_at + '24:00:00'::INTERVAL)",
        "forced = TRUE",
        "'ride.ended_by_operator', $1::TEXT, $3::UUID",
        "{}"
    ),
);

/// Ends the ride of `rider` for them: by an operator of its city. `epochs` are those of the
/// ride's region and of the rider's home.
pub async fn force(
    conn: &Conn,
    auth: &SessionAuth,
    end: &RideEnd,
    rider: &UserRef,
    epochs: (i64, i64),
) -> Result<Verdict, DbError> {
    let at = (end.at.lat(), end.at.lon());
    let mut params = end.params(auth, &at, &epochs.0);
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

/// A ride that has been open for longer than a ride may be, and its last known place.
#[derive(Debug)]
pub struct Overdue {
    pub ride: RideRef,
    pub rider: UserRef,
    /// Slug of its city.
    pub city: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    pub last: Point,
}

/// Overdue rides that are read at once.
pub const OVERDUE_PAGE: usize = 50;

// The index of open rides holds as many as there are vehicles on the way, and no more.
const OVERDUE: Statement = Statement::read(
    "rides.list_overdue",
    Reach::Named,
    "SELECT id, rider_region::TEXT AS rider_region, rider_id, city, started_at, coalesce(last_lat, start_lat) AS lat,
        coalesce(last_lon, start_lon) AS lon
     FROM rides WHERE region = $1::TEXT::crdb_internal_region AND ended_at IS NULL AND started_at <= $2
       AND rider_id IS NOT NULL AND id > $3 ORDER BY id LIMIT 50",
);

/// Open rides of `region` that began before `before`, by id behind `after`.
pub async fn list_overdue(
    conn: &Conn,
    region: &RegionCode,
    before: DateTime<Utc>,
    after: Uuid,
) -> Result<Vec<Overdue>, DbError> {
    let mut overdue = Vec::new();
    for row in conn.rows(&OVERDUE, &[region, &before, &after]).await? {
        let Some((home, rider)) = row.opt_ref("rider_region", "rider_id")? else {
            continue;
        };
        overdue.push(Overdue {
            ride: RideRef { region: region.clone(), id: row.get("id")? },
            rider: UserRef { region: home, id: rider },
            city: row.get("city")?,
            started_at: row.get("started_at")?,
            last: row.point("lat", "lon")?,
        });
    }
    Ok(overdue)
}

const EXPIRE: Statement = Statement::write(
    "rides.expire",
    Reach::Named,
    end_sql!(
        "",
        "WHEN $18::TIMESTAMPTZ > $5::TIMESTAMPTZ OR EXISTS (SELECT 1 FROM s) THEN 'changed'",
        "",
        "$1::TEXT::crdb_internal_region",
        "$3::UUID",
        "$18::TIMESTAMPTZ",
        "automatic = TRUE",
        "'ride.ended', NULL::TEXT, NULL::UUID",
        "{\"automatic\": true}"
    ),
);

/// Ends an overdue ride as of `ended_at`, by nobody's session: `rider` has the rider's home
/// and its epoch, and the time now.
pub async fn expire(
    conn: &Conn,
    rider: &SessionAuth,
    end: &RideEnd,
    ended_at: DateTime<Utc>,
    epoch: i64,
) -> Result<Verdict, DbError> {
    let at = (end.at.lat(), end.at.lon());
    let mut params = end.params(rider, &at, &epoch);
    params.push(&ended_at);
    verdict(&conn.one(&EXPIRE, &params).await?)
}
