//! Rides: start, lists, receipts. Starting is one statement that touches the ride's
//! region and the rider's home, does everything or nothing, and reads no GLOBAL row.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::{DbError, DbErrorKind},
    row::Row,
    statement::{Conn, Reach, Statement},
    verdict::{SessionAuth, Verdict, event_sql, signed_there_sql, verdict},
};
use crate::domain::{
    fare::Rate, geo::Point, people::UserRef, region::RegionCode, ride::RideRef, vehicle::PublicVehicle,
};

pub const ALL: &[&Statement] = &[&START, &LIST, &FIND];

/// The price terms that a ride copies when it starts.
#[derive(Debug, Clone)]
pub struct Terms {
    /// ISO code.
    pub currency: String,
    /// To unlock, in minor units.
    pub unlock_minor: i64,
    /// For each started minute, in minor units.
    pub per_minute_minor: i64,
    /// For leaving the vehicle outside the service area, in minor units.
    pub out_of_area_minor: i64,
    /// The most that unlocking and minutes cost, in minor units.
    pub max_charge_minor: Option<i64>,
    pub promo: Option<Promo>,
}

/// A promo code as a ride copies it.
#[derive(Debug, Clone)]
pub struct Promo {
    pub code: String,
    /// Percent off the charge, or
    pub percent: Option<i64>,
    /// an amount off the charge, in minor units.
    pub amount_minor: Option<i64>,
    pub per_rider_limit: i64,
}

/// What starting a ride needs besides the person.
#[derive(Debug, Clone)]
pub struct NewRide {
    /// The id that the form carried, in the vehicle's region.
    pub ride: RideRef,
    pub vehicle: PublicVehicle,
    pub city: String,
    pub kind: String,
    pub terms: Terms,
}

const START: Statement = Statement::write(
    "rides.start",
    Reach::Named,
    signed_there_sql!(
        "u AS (SELECT open_ride_id, reserved_public_id, reserved_until FROM users
             WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         v AS (SELECT status, city, type, reserved_by, reserved_until FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND public_id = $9::UUID),
         old AS (SELECT 1 AS ok, rider_region, rider_id FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $13::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN old.rider_region = $1::TEXT::crdb_internal_region AND old.rider_id = $3::UUID THEN 'already'
             WHEN old.ok IS NOT NULL THEN 'form_used'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN u.open_ride_id IS NOT NULL THEN 'already_riding'
             WHEN v.status IS NULL THEN 'vehicle_gone'
             WHEN v.status = 'in_use' THEN 'vehicle_taken'
             WHEN v.city <> $11::TEXT OR v.type <> $12::TEXT THEN 'vehicle_moved'
             WHEN v.status <> 'available' THEN 'vehicle_out'
             WHEN v.reserved_until > $5::TIMESTAMPTZ AND v.reserved_by <> $3::UUID THEN 'vehicle_reserved'
             WHEN u.reserved_until > $5::TIMESTAMPTZ AND u.reserved_public_id <> $9::UUID THEN 'already_reserved'
             WHEN $18::TEXT IS NOT NULL AND (SELECT count(*) FROM promo_redemptions
                 WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID AND code = $18::TEXT) >= $21::INT8
               THEN 'promo_used'
             WHEN $18::TEXT IS NOT NULL AND NOT EXISTS (SELECT 1 FROM promo_quotas
                 WHERE region = $8::TEXT::crdb_internal_region AND code = $18::TEXT AND remaining > 0)
               THEN 'promo_exhausted'
             ELSE 'ok' END AS code
             FROM (SELECT 1 AS one) AS here LEFT JOIN u ON TRUE LEFT JOIN v ON TRUE LEFT JOIN old ON TRUE),
         u2 AS (UPDATE users SET open_ride_region = $8::TEXT::crdb_internal_region, open_ride_id = $13::UUID,
               reserved_region = NULL, reserved_public_id = NULL, reserved_until = NULL, reservations = 0,
               present_in = CASE WHEN present_in @> jsonb_build_array($8::TEXT) THEN present_in
                                 ELSE present_in || jsonb_build_array($8::TEXT) END
             FROM verdict
             WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID
               AND users.open_ride_id IS NULL AND code = 'ok'
             RETURNING users.id),
         v2 AS (UPDATE vehicles SET status = 'in_use', open_ride_id = $13::UUID, version = version + 1,
               reserved_region = NULL, reserved_by = NULL, reserved_until = NULL, changed_at = $5::TIMESTAMPTZ
             FROM u2
             WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.public_id = $9::UUID
               AND vehicles.status = 'available'
             RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon, vehicles.place),
         q2 AS (UPDATE promo_quotas SET remaining = remaining - 1 FROM v2
             WHERE promo_quotas.region = $8::TEXT::crdb_internal_region AND promo_quotas.code = $18::TEXT
               AND promo_quotas.remaining > 0
             RETURNING promo_quotas.code),
         p2 AS (INSERT INTO promo_redemptions (region, user_id, code, ride_region, ride_id, redeemed_at)
             SELECT $1::TEXT::crdb_internal_region, $3::UUID, q2.code, $8::TEXT::crdb_internal_region, $13::UUID,
               $5::TIMESTAMPTZ FROM q2 RETURNING code),
         r2 AS (INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at,
               start_lat, start_lon, start_place, unlock_minor, per_minute_minor, out_of_area_minor, currency,
               promo_code, promo_percent, promo_amount_minor, max_charge_minor, version)
             SELECT $8::TEXT::crdb_internal_region, $13::UUID, $11::TEXT, v2.id, $12::TEXT,
               $1::TEXT::crdb_internal_region, $3::UUID, $5::TIMESTAMPTZ, v2.lat, v2.lon, v2.place, $14::INT8, $15::INT8,
               $16::INT8, $17::TEXT, $18::TEXT, $19::INT8, $20::INT8, $22::INT8, 1
             FROM v2 RETURNING id),
         e AS (",
        event_sql!(
            "SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, 'ride.started', NULL::TEXT, NULL::UUID,
               $13::UUID, $13::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, '{}'::JSONB FROM v2"
        ),
        ") SELECT code AS verdict FROM verdict"
    ),
);

/// Starts a ride: exactly once, for whoever is first.
pub async fn start(conn: &Conn, auth: &SessionAuth, new: &NewRide, epoch: i64) -> Result<Verdict, DbError> {
    let terms = &new.terms;
    let code = terms.promo.as_ref().map(|p| p.code.as_str());
    let percent = terms.promo.as_ref().and_then(|p| p.percent);
    let amount = terms.promo.as_ref().and_then(|p| p.amount_minor);
    let limit = terms.promo.as_ref().map(|p| p.per_rider_limit);
    let params = auth.params(&[
        &new.vehicle.region,
        &new.vehicle.public_id,
        &epoch,
        &new.city,
        &new.kind,
        &new.ride.id,
        &terms.unlock_minor,
        &terms.per_minute_minor,
        &terms.out_of_area_minor,
        &terms.currency,
        &code,
        &percent,
        &amount,
        &limit,
        &terms.max_charge_minor,
    ]);
    verdict(&conn.one(&START, &params).await?)
}

/// How a ride ended, and what is owed.
#[derive(Debug, Clone)]
pub struct Ended {
    pub at: DateTime<Utc>,
    pub point: Point,
    pub place: String,
    pub outside_area: bool,
    /// Way, in metres.
    pub distance_m: i64,
    pub minutes: i64,
    /// Unlocking and minutes, in minor units.
    pub charge_minor: i64,
    /// Off by promo code, in minor units.
    pub discount_minor: i64,
    /// For leaving it outside the area, in minor units.
    pub fee_minor: i64,
    /// Owed, in minor units.
    pub total_minor: i64,
    pub forced: bool,
    /// The system ended it: it had been open too long.
    pub automatic: bool,
}

/// A ride as its rider sees it.
#[derive(Debug, Clone)]
pub struct Ride {
    pub ride: RideRef,
    /// Slug of its city.
    pub city: String,
    pub kind: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    pub start: Point,
    /// The same in words.
    pub start_place: String,
    /// ISO code.
    pub currency: String,
    /// To unlock, for each started minute, and at most.
    pub rate: Rate,
    /// The fee for leaving it outside the area, in minor units.
    pub out_of_area_minor: i64,
    pub promo_code: Option<String>,
    /// Percent off.
    pub promo_percent: Option<i64>,
    /// Amount off, in minor units.
    pub promo_amount_minor: Option<i64>,
    /// Absent while it is open.
    pub ended: Option<Ended>,
}

fn ride(row: &Row) -> Result<Ride, DbError> {
    let ended_at: Option<DateTime<Utc>> = row.get("ended_at")?;
    let ended = match ended_at {
        None => None,
        Some(at) => Some(Ended {
            at,
            point: row.point("end_lat", "end_lon")?,
            place: row.get("end_place")?,
            outside_area: row.get("outside_area")?,
            distance_m: row.get("distance_m")?,
            minutes: row.get("minutes")?,
            charge_minor: row.get("charge_minor")?,
            discount_minor: row.get("discount_minor")?,
            fee_minor: row.get("fee_minor")?,
            total_minor: row.get("total_minor")?,
            forced: row.get("forced")?,
            automatic: row.get("automatic")?,
        }),
    };
    Ok(Ride {
        ride: RideRef { region: row.region("region")?, id: row.get("id")? },
        city: row.get("city")?,
        kind: row.get("vehicle_type")?,
        started_at: row.get("started_at")?,
        start: row.point("start_lat", "start_lon")?,
        start_place: row.get("start_place")?,
        currency: row.get("currency")?,
        rate: Rate {
            unlock_minor: row.get("unlock_minor")?,
            per_minute_minor: row.get("per_minute_minor")?,
            max_charge_minor: row.get("max_charge_minor")?,
        },
        out_of_area_minor: row.get("out_of_area_minor")?,
        promo_code: row.get("promo_code")?,
        promo_percent: row.get("promo_percent")?,
        promo_amount_minor: row.get("promo_amount_minor")?,
        ended,
    })
}

const LIST: Statement = Statement::read(
    "rides.list_own",
    Reach::Named,
    "SELECT region::TEXT AS region, id, city, vehicle_type, started_at, start_lat, start_lon, start_place, currency,
        unlock_minor, per_minute_minor, out_of_area_minor, promo_code, promo_percent, promo_amount_minor,
        ended_at, end_lat, end_lon, end_place, outside_area, distance_m, minutes, charge_minor, discount_minor,
        fee_minor, total_minor, forced, automatic, max_charge_minor
     FROM rides
     WHERE region = $1::TEXT::crdb_internal_region AND rider_id = $2 AND rider_region::TEXT = $6::TEXT
       AND started_at <= $3 AND (started_at < $3 OR id > $4)
     ORDER BY started_at DESC, id LIMIT $5",
);

/// A person's rides in `region` behind `(started_at, id)`, newest first.
pub async fn list_own(
    conn: &Conn,
    region: &RegionCode,
    rider: &UserRef,
    behind: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<Vec<Ride>, DbError> {
    let params: [&(dyn ToSql + Sync); 6] = [region, &rider.id, &behind.0, &behind.1, &limit, &rider.region.as_str()];
    conn.rows(&LIST, &params).await?.iter().map(ride).collect()
}

const FIND: Statement = Statement::read(
    "rides.find_own",
    Reach::Named,
    "SELECT region::TEXT AS region, id, city, vehicle_type, started_at, start_lat, start_lon, start_place, currency,
        unlock_minor, per_minute_minor, out_of_area_minor, promo_code, promo_percent, promo_amount_minor,
        ended_at, end_lat, end_lon, end_place, outside_area, distance_m, minutes, charge_minor, discount_minor,
        fee_minor, total_minor, forced, automatic, max_charge_minor,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(lat, lon) ORDER BY at), '[]'::JSONB) FROM ride_positions
          WHERE region = $1::TEXT::crdb_internal_region AND ride_id = $2) AS way
     FROM rides WHERE region = $1::TEXT::crdb_internal_region AND id = $2 AND rider_id = $3
       AND rider_region::TEXT = $4::TEXT",
);

/// One ride of a person, with the positions noted on the way.
pub async fn find_own(conn: &Conn, wanted: &RideRef, rider: &UserRef) -> Result<Option<(Ride, Vec<Point>)>, DbError> {
    let Some(row) = conn.opt(&FIND, &[&wanted.region, &wanted.id, &rider.id, &rider.region.as_str()]).await? else {
        return Ok(None);
    };
    let way = row.json::<Vec<[f64; 2]>>("way")?.into_iter().map(|[lat, lon]| Point::new(lat, lon));
    let way =
        way.collect::<Result<_, _>>().map_err(|error| DbError::new(DbErrorKind::Bug, FIND.name, error.to_string()));
    Ok(Some((ride(&row)?, way?)))
}
