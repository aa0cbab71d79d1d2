//! Vehicles: the nearest ones for riders, their own for owners. Public statements know a vehicle by
//! its rotating public id only.

use chrono::{DateTime, Duration, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    CITY_CHECKED, Conn, EVENT, Param, Reach, Result, Row, SIGNED, SIGNED_THERE, Statement, Verdict, Write,
    distance::distance_sql,
    fleet::{FLEET_VEHICLE, FleetVehicle, fleet_vehicle},
    verdict::present_in_sql,
};
use crate::domain::{
    Point, PublicVehicle, Refusal, RegionCode, UserRef,
    event::{VEHICLE_ADDED, VEHICLE_RETIRED},
    geo::{Ranges, cell},
    vehicle::{AWAITS_APPROVAL, AWAITS_APPROVAL_NOTE, UNLOCK_WITHIN_M},
};

pub const ALL: &[&Statement] = &[&NEAREST, &COUNT, &FIND, &FIND_MOVED, &FIND_CODE, &LIST_OWN, &INSERT, &RETIRE];

#[derive(Debug, Clone)]
pub struct Nearby {
    pub public_id: Uuid,
    pub vehicle_type: String,
    pub brand: String,
    pub colour: String,
    pub battery: i64,
    pub at: Point,
    pub place: String,
    pub reserved_until: Option<DateTime<Utc>>,
    /// What is written on it, only for whoever has reserved or rides it: a code stays, and whoever saw
    /// somebody leave with it could look up where they went.
    pub code: Option<String>,
    /// Great-circle distance from the search point, in metres.
    pub distance_m: f64,
}

#[derive(Debug, Clone)]
pub struct Search<'a> {
    pub region: &'a RegionCode,
    pub city: &'a str,
    pub point: Point,
    pub vehicle_type: Option<&'a str>,
    /// Minimum charge, in percent.
    pub battery: i64,
    pub rider: Option<Uuid>,
    /// Distance and public id of the last one of the page before.
    pub after: Option<(f64, Uuid)>,
    /// Reservations that ended before have lapsed.
    pub now: DateTime<Utc>,
}

/// What a ride leaves is shown to the public with a delay of up to two minutes, so that nobody can
/// match a new public id to a rider by the second. The delay depends on the inner id, which is not
/// public; `$now` is a parameter.
macro_rules! settled_sql {
    ($now:literal) => {
        formatcp!(
            "(seen_at = created_at OR seen_at <= {now}::TIMESTAMPTZ
               - strpos('0123456789abcdef', substr(id::TEXT, 36, 1)) * '00:00:07.5'::INTERVAL)",
            now = $now
        )
    };
}
pub(super) use settled_sql;

/// Why a person's vehicle is held, of the columns after `$of`. The release before adds vehicles that
/// have the note only, and approves them without a word on `hold`.
macro_rules! hold_sql {
    ($of:literal) => {
        const_format::formatcp!(
            "CASE WHEN {of}status IN ('available', 'in_use') THEN NULL ELSE coalesce({of}hold,
               CASE WHEN {of}status = 'maintenance' AND {of}note = '{note}' THEN '{approval}' END) END",
            of = $of,
            note = crate::domain::vehicle::AWAITS_APPROVAL_NOTE,
            approval = crate::domain::vehicle::AWAITS_APPROVAL
        )
    };
}

pub(super) use hold_sql;
pub(super) const HOLD: &str = hold_sql!("");

pub const NEAREST_PAGE: usize = 25;
/// One more says that there is a next page.
pub const NEAREST_LIMIT: usize = NEAREST_PAGE + 1;

// $3 type, $4 battery, $5 rider, $6 now, $7 and $8 the point, $9 to $26 the ranges, $27 and $28
// the last of the page before.
// Nine ranges of one fine cell column: any precision is a range of it, so one index
// serves every density.
pub const NEAREST: Statement = Statement::read(
    "vehicles.list_nearest",
    Reach::Named,
    formatcp!(
        "WITH fresh AS (SELECT id FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND city = $2
         AND status = 'available' AND seen_at > $6::TIMESTAMPTZ - '00:02:00'::INTERVAL AND NOT {settled})
     SELECT public_id, type, brand, colour, battery, lat, lon, place, reserved_until, code, distance_m
     FROM (SELECT id, public_id, type, brand, colour, battery, lat, lon, place,
        CASE WHEN reserved_until > $6::TIMESTAMPTZ THEN reserved_until END AS reserved_until,
        {distance} AS distance_m, own_code AS code
     FROM vehicles LEFT JOIN (SELECT id AS own_id, code AS own_code FROM vehicles
       WHERE region = $1::TEXT::crdb_internal_region AND reserved_by = $5::UUID) AS own ON own_id = id
     WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND status = 'available'
       AND (cell BETWEEN $9 AND $10 OR cell BETWEEN $11 AND $12 OR cell BETWEEN $13 AND $14
         OR cell BETWEEN $15 AND $16 OR cell BETWEEN $17 AND $18 OR cell BETWEEN $19 AND $20
         OR cell BETWEEN $21 AND $22 OR cell BETWEEN $23 AND $24 OR cell BETWEEN $25 AND $26)
       AND ($3::TEXT IS NULL OR type = $3::TEXT) AND battery >= $4::INT8
       AND (reserved_until IS NULL OR reserved_until <= $6::TIMESTAMPTZ OR reserved_by = $5::UUID)
       AND id NOT IN (SELECT id FROM fresh)) AS near
     WHERE (distance_m, public_id) > ($27::FLOAT8, $28::UUID)
     ORDER BY distance_m, public_id LIMIT {NEAREST_LIMIT}",
        settled = settled_sql!("$6"),
        distance = distance_sql!("$7::FLOAT8", "$8::FLOAT8", "lat", "lon")
    ),
);

/// The nearest available vehicles within `ranges`, nearest first: a page, and one more.
pub async fn list_nearest(conn: &Conn, search: &Search<'_>, ranges: &Ranges) -> Result<Vec<Nearby>> {
    let (lat, lon) = (search.point.lat(), search.point.lon());
    let (metres, id) = search.after.unwrap_or((-1.0, Uuid::nil()));
    let mut params: Vec<Param<'_>> = vec![
        search.region, &search.city, &search.vehicle_type, &search.battery, &search.rider, &search.now, &lat, &lon,
    ];
    for (low, high) in ranges {
        params.extend([low as Param<'_>, high]);
    }
    params.extend([&metres as Param<'_>, &id]);
    conn.rows(&NEAREST, &params).await?.iter().map(|row| nearby(row, row.get("distance_m")?)).collect()
}

fn nearby(row: &Row, distance_m: f64) -> Result<Nearby> {
    Ok(Nearby {
        public_id: row.get("public_id")?,
        vehicle_type: row.get("type")?,
        brand: row.get("brand")?,
        colour: row.get("colour")?,
        battery: row.get("battery")?,
        at: row.point("lat", "lon")?,
        place: row.get("place")?,
        reserved_until: row.get("reserved_until")?,
        code: row.get("code")?,
        distance_m,
    })
}

const COUNT: Statement = Statement::read(
    "vehicles.count_available",
    Reach::Named,
    formatcp!(
        "SELECT count(*) AS n FROM vehicles
     WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND status = 'available'
       AND (reserved_until IS NULL OR reserved_until <= $3::TIMESTAMPTZ) AND {settled}",
        settled = settled_sql!("$3")
    ),
);

pub async fn count_available(conn: &Conn, region: &RegionCode, city: &str, now: DateTime<Utc>) -> Result<i64> {
    conn.one(&COUNT, &[region, &city, &now]).await?.get("n")
}

#[derive(Debug, Clone)]
pub struct Found {
    pub city: String,
    /// Its distance is 0.
    pub vehicle: Nearby,
    pub refusal: Option<Refusal>,
}

const FIND: Statement = Statement::read(
    "vehicles.find",
    Reach::Named,
    formatcp!(
        "SELECT city, public_id, type, brand, colour, battery, lat, lon, place,
        CASE WHEN reserved_until > $4::TIMESTAMPTZ AND reserved_by = $3::UUID THEN reserved_until END AS reserved_until,
        CASE WHEN own_ride_id IS NOT NULL OR (reserved_until > $4::TIMESTAMPTZ AND reserved_by = $3::UUID)
          THEN code END AS code,
        coalesce(reserved_until > $4::TIMESTAMPTZ, FALSE) AS reserved
     FROM vehicles LEFT JOIN (SELECT id AS own_ride_id FROM rides WHERE region = $1::TEXT::crdb_internal_region
         AND rider_id = $3::UUID AND ended_at IS NULL) AS own ON own_ride_id = open_ride_id
     WHERE region = $1::TEXT::crdb_internal_region AND public_id = $2
       AND ((status = 'available' AND {settled}) OR own_ride_id IS NOT NULL)",
        settled = settled_sql!("$4")
    ),
);

/// While it is on the street, or ridden by the current user.
pub async fn find(
    conn: &Conn,
    vehicle: &PublicVehicle,
    rider: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Option<Found>> {
    let read = |row: &Row| {
        let reserved: bool = row.get("reserved")?;
        let vehicle = nearby(row, 0.0)?;
        let others = reserved && vehicle.reserved_until.is_none();
        Ok(Found { city: row.get("city")?, vehicle, refusal: others.then_some(Refusal::VehicleReserved) })
    };
    conn.opt(&FIND, &[&vehicle.region, &vehicle.public_id, &rider, &now]).await?.as_ref().map(read).transpose()
}

// A deliberate crossing; whoever asks throttles it, since anybody can write a link. Rides stay
// where they happened; only vehicles move. What is not shown is not found either.
const FIND_MOVED: Statement = Statement::read(
    "vehicles.find_moved",
    Reach::AllRegions { why: "a link to a row that has moved" },
    "SELECT region::TEXT AS region FROM vehicles
     WHERE public_id = $1 AND status = 'available' ORDER BY region LIMIT 1",
);

/// The current region of a vehicle that is not where its link says.
pub async fn find_moved(conn: &Conn, public_id: Uuid) -> Result<Option<RegionCode>> {
    conn.opt(&FIND_MOVED, &[&public_id]).await?.map(|row| row.region("region")).transpose()
}

/// A vehicle that can be unlocked, for whoever stands in front of it: neither its public id nor where
/// it is, or a code would find the vehicle wherever somebody has left it.
#[derive(Debug, Clone)]
pub struct Coded {
    pub code: String,
    pub vehicle_type: String,
    pub brand: String,
    pub colour: String,
    pub battery: i64,
    pub refusal: Option<Refusal>,
}

// Nobody else learns that it is there, not even its city.
const FIND_CODE: Statement = Statement::read(
    "vehicles.find_by_code",
    Reach::Named,
    formatcp!(
        "SELECT code, type, brand, colour, battery,
        coalesce(reserved_until > $5::TIMESTAMPTZ AND reserved_by <> $4::UUID, FALSE) AS reserved
     FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND code IN ($3::TEXT, upper($3::TEXT))
       AND status = 'available' AND {settled} AND {distance} <= {UNLOCK_WITHIN_M}.0
     ORDER BY code = $3::TEXT DESC LIMIT 1",
        settled = settled_sql!("$5"),
        distance = distance_sql!("$6::FLOAT8", "$7::FLOAT8", "lat", "lon")
    ),
);

/// By what is written on it, in whatever case it was typed, for somebody who stands next to it.
pub async fn find_by_code(
    conn: &Conn,
    (region, city, at): (&RegionCode, &str, Point),
    code: &str,
    rider: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Coded>> {
    let read = |row: &Row| {
        let reserved: bool = row.get("reserved")?;
        Ok(Coded {
            code: row.get("code")?,
            vehicle_type: row.get("type")?,
            brand: row.get("brand")?,
            colour: row.get("colour")?,
            battery: row.get("battery")?,
            refusal: reserved.then_some(Refusal::VehicleReserved),
        })
    };
    let params: [Param<'_>; 7] = [region, &city, &code, &rider, &now, &at.lat(), &at.lon()];
    conn.opt(&FIND_CODE, &params).await?.as_ref().map(read).transpose()
}

const LIST_OWN: Statement = Statement::read(
    "vehicles.list_own",
    Reach::Named,
    formatcp!(
        "SELECT city, {FLEET_VEHICLE} FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND owner_id = $2
           AND owner_region::TEXT = $3::TEXT AND status <> 'retired' AND ($4::UUID IS NULL OR id = $4::UUID)
         ORDER BY id LIMIT {OWN_MAX}"
    ),
);

pub const OWN_MAX: usize = 200;

/// With their cities, at most [`OWN_MAX`]; or one of them.
pub async fn list_own(
    conn: &Conn,
    region: &RegionCode,
    owner: &UserRef,
    vehicle: Option<Uuid>,
) -> Result<Vec<(String, FleetVehicle)>> {
    let rows = conn.rows(&LIST_OWN, &[region, &owner.id, &owner.region.as_str(), &vehicle]).await?;
    rows.iter().map(|row| Ok((row.get("city")?, fleet_vehicle(region, row)?))).collect()
}

#[derive(Debug, Clone)]
pub struct NewVehicle {
    /// From the form.
    pub id: Uuid,
    pub city: String,
    pub vehicle_type: String,
    pub code: Option<String>,
    pub brand: String,
    pub colour: String,
    pub at: Point,
    pub place: String,
}

// $8 id, $9 public id, $10 city, $11 type, $12 code, $13 brand, $14 colour, $15 latitude, $16
// longitude, $17 cell, $18 place, $19 why it is held, $20 a day ago.
const INSERT: Statement = Statement::write(
    "vehicles.insert",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         old AS (SELECT owner_region, owner_id FROM vehicles
             WHERE region = $1::TEXT::crdb_internal_region AND id = $8::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM old
                 WHERE owner_region = $1::TEXT::crdb_internal_region AND owner_id = $3::UUID) THEN 'already'
             WHEN EXISTS (SELECT 1 FROM old) THEN 'form_used'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             WHEN (SELECT count(*) FROM vehicles WHERE region = $1::TEXT::crdb_internal_region
                     AND owner_region = $1::TEXT::crdb_internal_region AND owner_id = $3::UUID
                     AND status <> 'retired') >= 50 THEN 'too_many_vehicles'
             WHEN (SELECT count(*) FROM vehicles WHERE region = $1::TEXT::crdb_internal_region
                     AND owner_region = $1::TEXT::crdb_internal_region AND owner_id = $3::UUID
                     AND created_at > $20::TIMESTAMPTZ) >= 10 THEN 'too_many_today'
             ELSE 'ok' END AS code),
         u AS (UPDATE users SET {present} FROM verdict
             WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID AND code = 'ok'
             RETURNING users.id),
         v AS (INSERT INTO vehicles (region, id, public_id, city, type, status, hold, note, code, brand, colour, battery, lat, lon,
               cell, place, owner_region, owner_id, version, created_at, changed_at, seen_at)
             SELECT $1::TEXT::crdb_internal_region, $8::UUID, $9::UUID, $10::TEXT, $11::TEXT, 'maintenance', $19::TEXT, '{AWAITS_APPROVAL_NOTE}',
               $12::TEXT, $13::TEXT, $14::TEXT, 100, $15::FLOAT8, $16::FLOAT8, $17::INT8, $18::TEXT,
               $1::TEXT::crdb_internal_region, u.id, 1, $5::TIMESTAMPTZ, $5::TIMESTAMPTZ, $5::TIMESTAMPTZ FROM u
             RETURNING id),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', v.id, 1, '{VEHICLE_ADDED}', $1::TEXT, $3::UUID,
               v.id, v.id, $5::TIMESTAMPTZ, $7::INT8, $15::FLOAT8, $16::FLOAT8, '{{}}'::JSONB FROM v RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict",
        present = present_in_sql!("$1")
    ),
)
.reading_global(CITY_CHECKED);

/// In the owner's home city, where it waits for approval.
pub async fn insert(conn: &Conn, write: &Write<'_>, new: &NewVehicle, public_id: Uuid) -> Result<Verdict> {
    let NewVehicle { city, vehicle_type, code, brand, colour, at, place, .. } = new;
    let (lat, lon, cell, day_ago) = (at.lat(), at.lon(), cell(*at), write.now - Duration::days(1));
    let what: [Param<'_>; 7] = [&write.id, &public_id, city, vehicle_type, code, brand, colour];
    let place: [Param<'_>; 6] = [&lat, &lon, &cell, place, &AWAITS_APPROVAL, &day_ago];
    write.verdict_at_home(conn, &INSERT, &[&what[..], &place].concat()).await
}

const RETIRE: Statement = Statement::write(
    "vehicles.retire",
    Reach::Named,
    formatcp!(
        "{SIGNED_THERE},
         v AS (SELECT status, version, reserved_until FROM vehicles
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
               AND owner_region = $1::TEXT::crdb_internal_region AND owner_id = $3::UUID),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM v) THEN 'not_your_vehicle'
             WHEN EXISTS (SELECT 1 FROM v WHERE status = 'retired') THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM v WHERE status = 'in_use' OR reserved_until > $5::TIMESTAMPTZ) THEN 'vehicle_in_use'
             WHEN EXISTS (SELECT 1 FROM v WHERE version <> $11::INT8) THEN 'changed'
             ELSE 'ok' END AS code),
         retired AS (UPDATE vehicles SET status = 'retired', code = NULL, retired_code = vehicles.code, version = version + 1, changed_at = $5::TIMESTAMPTZ,
               reserved_region = NULL, reserved_by = NULL, reserved_until = NULL
             FROM verdict WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = $9::UUID
               AND verdict.code = 'ok'
             RETURNING vehicles.id, vehicles.version, vehicles.lat, vehicles.lon),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', retired.id, retired.version, '{VEHICLE_RETIRED}', $1::TEXT, $3::UUID,
               $12::UUID, $12::UUID, $5::TIMESTAMPTZ, $10::INT8, retired.lat, retired.lon, '{{}}'::JSONB FROM retired RETURNING 1 AS ok)
         SELECT verdict.code AS verdict FROM verdict"
    ),
);

pub async fn retire(conn: &Conn, write: &Write<'_>, version: i64) -> Result<Verdict> {
    write.verdict(conn, &RETIRE, &[&version, &Uuid::new_v4()]).await
}
