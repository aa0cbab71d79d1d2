//! Rides: start, positions, lists and receipts, and in `ends` their ends. Each write is one statement
//! over the ride's region and the rider's home, all or nothing (SERIALIZABLE, so no other write comes
//! between its parts), and reads no GLOBAL row.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    BEGINS_THERE, Conn, DbError, DbErrorKind, EVENT, Param, Reach, Result, Row, SIGNED_THERE, Statement, Verdict,
    Write, distance::distance_sql, tasks::reports_sql, vehicles::settled_sql, verdict::present_in_sql,
};
use crate::domain::{
    City, Currency, Point, RegionCode, RideRef, Tariff, UserRef,
    catalogue::PromoCode,
    event::RIDE_STARTED,
    fare::{Discount, Fare, Rate, Tax},
    geo::GeoError,
    ride::{POSITION_EVERY_S, POSITIONS_MAX, SPEED_MAX_KMH, Step},
    task::REPORTERS,
    vehicle::UNLOCK_WITHIN_M,
};

pub(super) mod ends;

pub use ends::{ForcedEnd, OVERDUE_PAGE, Overdue, RideEnd, end, expire, force, list_overdue};

pub const ALL: &[&Statement] = &[&START, &LIST, &FIND, &ADD_POSITIONS, &RIDER];

#[derive(Debug, Clone)]
pub struct NewRide<'a> {
    pub id: Uuid,
    /// On the vehicle of the city with this code, next to which the rider stands, instead of the one
    /// that is written.
    pub code: Option<(&'a str, Point)>,
    pub city: &'a City,
    pub vehicle_type: &'a str,
    pub tariff: &'a Tariff,
    pub promo: Option<(&'a PromoCode, Discount)>,
}

const VEHICLE: &str = "id, public_id, status, city, type, reserved_by, reserved_until";

// $1 to $10 as in `Write`: $9 is the vehicle's public id. $11 city, $12 type, $13 the ride; $14 to
// $17 price and currency, $22 the most that it costs; $18 promo code, $19 percent, $20 amount, $21
// limit per rider; $23 the vehicle's code, when it is known by that and $9 is no vehicle's; $24 the
// tax that the price includes, $25 its rate; $26 and $27 where the rider is, if by the code: from
// farther away the vehicle reads as if it were not there. `reports` are those of a vehicle that
// nobody has reserved: whoever has, rides it whatever others report meanwhile.
const START: Statement = Statement::write(
    "rides.start",
    Reach::Named,
    formatcp!(
        "{SIGNED_THERE},
         u AS (SELECT open_ride_id, reserved_public_id, reserved_until FROM users
             WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         v AS (SELECT {VEHICLE} FROM vehicles WHERE region = $8::TEXT::crdb_internal_region AND public_id = $9::UUID
             UNION ALL SELECT {VEHICLE} FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND city = $11::TEXT AND code = $23::TEXT
               AND {settled} AND {distance} <= {UNLOCK_WITHIN_M}.0),
         reports AS ({reports} WHERE v.reserved_until IS NULL OR v.reserved_until <= $5::TIMESTAMPTZ),
         old AS (SELECT 1 AS ok, rider_region, rider_id FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $13::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN old.rider_region = $1::TEXT::crdb_internal_region AND old.rider_id = $3::UUID THEN 'already'
             WHEN old.ok IS NOT NULL THEN 'form_used'
             {BEGINS_THERE}
             WHEN u.open_ride_id IS NOT NULL THEN 'already_riding'
             WHEN v.status IS NULL OR v.status = 'in_use' THEN 'vehicle_taken'
             WHEN v.city <> $11::TEXT OR v.type <> $12::TEXT THEN 'vehicle_moved'
             WHEN v.status <> 'available' THEN 'vehicle_out_of_service'
             WHEN v.reserved_until > $5::TIMESTAMPTZ AND v.reserved_by <> $3::UUID THEN 'vehicle_reserved'
             WHEN (SELECT n FROM reports) >= {REPORTERS} THEN 'vehicle_out_of_service'
             WHEN u.reserved_until > $5::TIMESTAMPTZ AND u.reserved_public_id <> v.public_id THEN 'already_reserved'
             WHEN $18::TEXT IS NOT NULL AND (SELECT count(*) FROM promo_redemptions
                 WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID AND code = $18::TEXT) >= $21::INT8
               THEN 'promo_used'
             WHEN $18::TEXT IS NOT NULL AND NOT EXISTS (SELECT 1 FROM promo_quotas
                 WHERE region = $8::TEXT::crdb_internal_region AND code = $18::TEXT AND remaining > 0)
               THEN 'promo_exhausted'
             ELSE 'ok' END AS code
             FROM (SELECT 1 AS one) AS here LEFT JOIN u ON TRUE LEFT JOIN v ON TRUE LEFT JOIN old ON TRUE),
         u2 AS (UPDATE users SET open_ride_region = $8::TEXT::crdb_internal_region, open_ride_id = $13::UUID,
               reserved_region = NULL, reserved_public_id = NULL, reserved_until = NULL, reserved_city = NULL,
               reserved_type = NULL, reservations = 0,
               {present}
             FROM verdict
             WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID
               AND users.open_ride_id IS NULL AND code = 'ok'
             RETURNING users.id),
         v2 AS (UPDATE vehicles SET status = 'in_use', open_ride_id = $13::UUID, version = version + 1,
               reserved_region = NULL, reserved_by = NULL, reserved_until = NULL, changed_at = $5::TIMESTAMPTZ
             FROM u2, v
             WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = v.id
               AND vehicles.status = 'available'
             RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon, vehicles.place, vehicles.code,
               vehicles.brand),
         q2 AS (UPDATE promo_quotas SET remaining = remaining - 1 FROM v2
             WHERE promo_quotas.region = $8::TEXT::crdb_internal_region AND promo_quotas.code = $18::TEXT
               AND promo_quotas.remaining > 0
             RETURNING promo_quotas.code),
         p2 AS (INSERT INTO promo_redemptions (region, user_id, code, ride_region, ride_id, redeemed_at)
             SELECT $1::TEXT::crdb_internal_region, $3::UUID, q2.code, $8::TEXT::crdb_internal_region, $13::UUID,
               $5::TIMESTAMPTZ FROM q2 RETURNING code),
         r2 AS (INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at,
               start_lat, start_lon, start_place, unlock_minor, per_minute_minor, out_of_area_minor, currency,
               promo_code, promo_percent, promo_amount_minor, max_charge_minor, vehicle_code, vehicle_brand, tax_name,
               tax_rate, version)
             SELECT $8::TEXT::crdb_internal_region, $13::UUID, $11::TEXT, v2.id, $12::TEXT,
               $1::TEXT::crdb_internal_region, $3::UUID, $5::TIMESTAMPTZ, v2.lat, v2.lon, v2.place, $14::INT8, $15::INT8,
               $16::INT8, $17::TEXT, $18::TEXT, $19::INT8, $20::INT8, $22::INT8, v2.code, v2.brand, $24::TEXT,
               $25::INT8, 1
             FROM v2 RETURNING id),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id, v2.version, '{RIDE_STARTED}', NULL::TEXT, NULL::UUID,
               $13::UUID, $13::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM v2
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        reports = reports_sql!("v"),
        settled = settled_sql!("$5"),
        distance = distance_sql!("$26::FLOAT8", "$27::FLOAT8", "lat", "lon"),
        present = present_in_sql!("$8")
    ),
);

/// On the vehicle that is written; exactly once, for whoever is first.
pub async fn start(conn: &Conn, write: &Write<'_>, new: &NewRide<'_>) -> Result<Verdict> {
    let NewRide { id, code: by_code, city, vehicle_type, tariff, promo } = new;
    let (tax, tax_rate) = city.tax.as_ref().map(|tax| (&tax.name, tax.rate)).unzip();
    let (percent, amount) = match promo {
        None => (None, None),
        Some((_, Discount::Percent(percent))) => (Some(percent), None),
        Some((_, Discount::Amount(minor))) => (None, Some(minor)),
    };
    let (code, limit) = promo.map(|(promo, _)| (&promo.code, promo.per_rider_limit)).unzip();
    let currency = city.currency.as_str();
    let Tariff { unlock_minor: unlock, per_minute_minor: per_minute, max_charge_minor: most, .. } = tariff;
    let (ride, price): ([Param<'_>; 3], [Param<'_>; 4]) =
        ([&city.slug, vehicle_type, id], [unlock, per_minute, &tariff.out_of_area_fee_minor, &currency]);
    let promo: [Param<'_>; 5] = [&code, &percent, &amount, &limit, most];
    let vehicle_code = by_code.map(|(code, _)| code);
    let (lat, lon) = by_code.map(|(_, at)| (at.lat(), at.lon())).unzip();
    let rest: [Param<'_>; 5] = [&vehicle_code, &tax, &tax_rate, &lat, &lon];
    write.verdict(conn, &START, &[&ride[..], &price, &promo, &rest].concat()).await
}

#[derive(Debug, Clone)]
pub struct RideCompletion {
    pub at: DateTime<Utc>,
    pub point: Point,
    pub place: String,
    pub outside_area: bool,
    pub distance_m: i64,
    pub fare: Fare,
    /// Of its time, because a region was closed.
    pub uncharged_s: i64,
    pub forced: bool,
    /// Why an operator ended it, and what they took off and why, as codes of `domain::ride`.
    pub forced_reason: Option<String>,
    pub credited_minor: i64,
    pub credit_reason: Option<String>,
    /// Ended by the system, after being open too long.
    pub automatic: bool,
}

impl RideCompletion {
    pub fn owed_minor(&self) -> i64 {
        self.fare.total_minor - self.credited_minor
    }
}

#[derive(Debug, Clone)]
pub struct Ride {
    pub ride: RideRef,
    pub city: String,
    pub vehicle_type: String,
    /// As it was when the ride began, like the tax.
    pub vehicle_code: Option<String>,
    pub vehicle_brand: Option<String>,
    pub tax: Option<Tax>,
    pub started_at: DateTime<Utc>,
    pub start: Point,
    pub start_place: String,
    pub currency: Currency,
    pub rate: Rate,
    pub out_of_area_minor: i64,
    pub promo_code: Option<String>,
    pub discount: Option<Discount>,
    pub ended: Option<RideCompletion>,
}

pub(super) const COLUMNS: &str =
    "region::TEXT AS region, id, city, vehicle_type, started_at, start_lat, start_lon, start_place, currency,
        unlock_minor, per_minute_minor, out_of_area_minor, promo_code, promo_percent, promo_amount_minor,
        ended_at, end_lat, end_lon, end_place, outside_area, distance_m, minutes, charge_minor, discount_minor,
        fee_minor, total_minor, forced, automatic, max_charge_minor, vehicle_code, vehicle_brand, tax_name, tax_rate,
        forced_reason, credited_minor, credit_reason, uncharged_s";

impl Ride {
    pub fn number(&self) -> String {
        self.ride.number(self.started_at)
    }
}

pub(super) fn ride(row: &Row) -> Result<Ride> {
    let ended = match row.get("ended_at")? {
        None => None,
        Some(at) => Some(RideCompletion {
            at,
            point: row.point("end_lat", "end_lon")?,
            place: row.get("end_place")?,
            outside_area: row.get("outside_area")?,
            distance_m: row.get("distance_m")?,
            fare: row.fare()?,
            uncharged_s: row.get("uncharged_s")?,
            forced: row.get("forced")?,
            forced_reason: row.get("forced_reason")?,
            credited_minor: row.get("credited_minor")?,
            credit_reason: row.get("credit_reason")?,
            automatic: row.get("automatic")?,
        }),
    };
    let tax = row.get::<Option<String>>("tax_name")?.zip(row.get("tax_rate")?);
    Ok(Ride {
        ride: RideRef { region: row.region("region")?, id: row.get("id")? },
        city: row.get("city")?,
        vehicle_type: row.get("vehicle_type")?,
        vehicle_code: row.get("vehicle_code")?,
        vehicle_brand: row.get("vehicle_brand")?,
        tax: tax.map(|(name, rate)| Tax { name, rate }),
        started_at: row.get("started_at")?,
        start: row.point("start_lat", "start_lon")?,
        start_place: row.get("start_place")?,
        currency: row.parse("currency")?,
        rate: row.rate()?,
        out_of_area_minor: row.get("out_of_area_minor")?,
        promo_code: row.get("promo_code")?,
        discount: row.discount()?,
        ended,
    })
}

const LIST: Statement = Statement::read(
    "rides.list_own",
    Reach::Named,
    formatcp!(
        "SELECT {COLUMNS} FROM rides
         WHERE region = $1::TEXT::crdb_internal_region AND rider_id = $2 AND rider_region::TEXT = $6::TEXT
           AND started_at <= $3 AND (started_at < $3 OR id > $4)
         ORDER BY started_at DESC, id LIMIT $5"
    ),
);

/// Newest first.
pub async fn list_own(
    conn: &Conn,
    region: &RegionCode,
    rider: &UserRef,
    cursor: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<Vec<Ride>> {
    let params: [Param<'_>; 6] = [region, &rider.id, &cursor.0, &cursor.1, &limit, &rider.region.as_str()];
    conn.rows(&LIST, &params).await?.iter().map(ride).collect()
}

const FIND: Statement = Statement::read(
    "rides.find_own",
    Reach::Named,
    formatcp!(
        "SELECT {COLUMNS},
            (SELECT coalesce(jsonb_agg(jsonb_build_array(lat, lon) ORDER BY at), '[]'::JSONB) FROM ride_positions
              WHERE region = $1::TEXT::crdb_internal_region AND ride_id = $2) AS track
         FROM rides WHERE region = $1::TEXT::crdb_internal_region AND id = $2 AND rider_id = $3
           AND rider_region::TEXT = $4::TEXT"
    ),
);

pub async fn find_own(conn: &Conn, key: &RideRef, rider: &UserRef) -> Result<Option<(Ride, Vec<Point>)>> {
    let Some(row) = conn.opt(&FIND, &[&key.region, &key.id, &rider.id, &rider.region.as_str()]).await? else {
        return Ok(None);
    };
    let bug = |error: GeoError| DbError::new(DbErrorKind::Bug, FIND.name, error.to_string());
    let track = row.json::<Vec<[f64; 2]>>("track")?.into_iter().map(|[lat, lon]| Point::new(lat, lon).map_err(bug));
    Ok(Some((ride(&row)?, track.collect::<Result<_, _>>()?)))
}

// The first position may lie anywhere in the city, because where a vehicle stood is what people
// said of it; but no distance counts for more than its time allows.
// $11 city; of each step $12 chain, $13 number in it, $14 time, $15 latitude, $16 longitude, $17
// metres.
const ADD_POSITIONS: Statement = Statement::write(
    "rides.add_positions",
    Reach::Named,
    formatcp!(
        "{SIGNED_THERE},
         r AS (SELECT 1 AS ok, city, ended_at, positions, coalesce(last_at, started_at) AS at,
               coalesce(last_lat, start_lat) AS lat, coalesce(last_lon, start_lon) AS lon FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
               AND rider_region = $1::TEXT::crdb_internal_region AND rider_id = $3::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN r.ok IS NULL THEN 'no_such_ride'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN r.ended_at IS NOT NULL THEN 'ride_ended'
             WHEN r.city <> $11::TEXT THEN 'other_city'
             ELSE 'ok' END AS code
             FROM (SELECT 1 AS one) AS here LEFT JOIN r ON TRUE),
         steps AS (SELECT steps.chain, steps.nth, steps.at, steps.lat, steps.lon, steps.metres
             FROM unnest($12::INT8[], $13::INT8[], $14::TIMESTAMPTZ[], $15::FLOAT8[], $16::FLOAT8[], $17::FLOAT8[])
               AS steps (chain, nth, at, lat, lon, metres)),
         firsts AS (SELECT steps.chain, steps.at, r.positions, extract(epoch FROM (steps.at - r.at))::FLOAT8 AS seconds,
               {distance} AS metres
             FROM steps, r, verdict WHERE verdict.code = 'ok' AND steps.nth = 0 AND steps.at > r.at),
         head AS (SELECT chain, positions, least(metres, seconds * {SPEED_MAX_KMH}.0 / 3.6) AS metres FROM firsts
             WHERE positions = 0 OR (seconds >= {POSITION_EVERY_S}.0 AND metres <= seconds * {SPEED_MAX_KMH}.0 / 3.6)
             ORDER BY at LIMIT 1),
         kept AS (SELECT steps.at, steps.lat, steps.lon,
               steps.metres + CASE WHEN steps.nth = 0 THEN head.metres ELSE 0.0 END AS metres
             FROM steps JOIN head ON steps.chain = head.chain WHERE steps.nth < {POSITIONS_MAX} - head.positions),
         inserted AS (INSERT INTO ride_positions (region, ride_id, at, lat, lon)
             SELECT $8::TEXT::crdb_internal_region, $9::UUID, kept.at, kept.lat, kept.lon FROM kept
             ON CONFLICT (region, ride_id, at) DO NOTHING RETURNING 1 AS ok),
         sums AS (SELECT count(*) AS number, sum(metres) AS metres, max(at) AS at FROM kept),
         r2 AS (UPDATE rides SET positions = rides.positions + sums.number, way_m = rides.way_m + sums.metres,
               last_at = kept.at, last_lat = kept.lat, last_lon = kept.lon
             FROM sums JOIN kept ON kept.at = sums.at
             WHERE rides.region = $8::TEXT::crdb_internal_region AND rides.id = $9::UUID
             RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        distance = distance_sql!("r.lat", "r.lon", "steps.lat", "steps.lon")
    ),
);

/// Adds what can follow the last position of the person's open ride in `city`, up to the number
/// kept per ride. A batch sent twice is noted once; a ride in another city is refused as
/// `OtherCity`.
pub async fn add_positions(conn: &Conn, write: &Write<'_>, city: &str, steps: &[Step]) -> Result<Verdict> {
    let chains: Vec<i64> = steps.iter().map(|step| step.chain).collect();
    let nth: Vec<i64> = steps.iter().map(|step| step.nth).collect();
    let times: Vec<DateTime<Utc>> = steps.iter().map(|step| step.at).collect();
    let lats: Vec<f64> = steps.iter().map(|step| step.point.lat()).collect();
    let lons: Vec<f64> = steps.iter().map(|step| step.point.lon()).collect();
    let metres: Vec<f64> = steps.iter().map(|step| step.metres).collect();
    write.verdict(conn, &ADD_POSITIONS, &[&city, &chains, &nth, &times, &lats, &lons, &metres]).await
}

const RIDER: Statement = Statement::read(
    "rides.find_rider",
    Reach::Named,
    "SELECT rider_region::TEXT AS rider_region, rider_id, city FROM rides
     WHERE region = $1::TEXT::crdb_internal_region AND id = $2",
);

pub async fn find_rider(conn: &Conn, ride: &RideRef) -> Result<Option<(UserRef, String)>> {
    let Some(row) = conn.opt(&RIDER, &[&ride.region, &ride.id]).await? else {
        return Ok(None);
    };
    let rider = row.opt_ref("rider_region", "rider_id")?.map(|(region, id)| UserRef { region, id });
    rider.map(|rider| Ok((rider, row.get("city")?))).transpose()
}
