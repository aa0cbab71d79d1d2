//! Sample rows, written by an operator's tool: many rows a statement, no session, but
//! the gate's condition like every write. A thing arrives with its whole history in one
//! statement, so versions and events agree whenever it stops. Running it twice is
//! harmless: what has an event of version 1 is never made again, wherever it is now.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    error::DbError,
    statement::{CITY_CHECKED, Conn, Reach, Statement},
    verdict::event_sql,
};
use crate::domain::{
    fare::{Fare, Rate},
    geo::{self, Point},
    region::RegionCode,
};

pub const ALL: &[&Statement] = &[&INSERT_USERS, &INSERT_VEHICLES];

/// What a batch did.
#[derive(Debug, Clone)]
pub struct Inserted {
    /// The gate was writable at the epoch given; otherwise nothing was done.
    pub open: bool,
    pub new: i64,
}

/// A sample person, registered with one event, and one more with a role.
#[derive(Debug, Clone)]
pub struct User {
    pub id: Uuid,
    pub city: String,
    /// Username, already folded; the e-mail address is made of it.
    pub username: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub created_at: DateTime<Utc>,
    /// A role and the city it is for (none for administrators).
    pub role: Option<(&'static str, String)>,
}

const INSERT_USERS: Statement = Statement::write(
    "sample.insert_users",
    Reach::AllRegions { why: "a username is unique over all regions" },
    concat!(
        "WITH g AS (SELECT 1 AS ok FROM region_gates
           WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $2::INT8),
         n AS (SELECT id, city, username, first_name, last_name, created_at, role, role_city
             FROM unnest($4::UUID[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TIMESTAMPTZ[], $10::TEXT[], $11::TEXT[])
               AS n (id, city, username, first_name, last_name, created_at, role, role_city)),
         u AS (INSERT INTO users (region, id, city, username, username_key, first_name, last_name, email,
               password_hash, recovery_hashes, present_in, version, created_at)
             SELECT $1::TEXT::crdb_internal_region, n.id, n.city, n.username, n.username, n.first_name, n.last_name,
               n.username || '@example.com', $3::TEXT, '[]'::JSONB, jsonb_build_array($1::TEXT),
               CASE WHEN n.role IS NULL THEN 1 ELSE 2 END, n.created_at
             FROM n, g WHERE NOT EXISTS (SELECT 1 FROM events WHERE region = $1::TEXT::crdb_internal_region
               AND aggregate_type = 'user' AND aggregate_id = n.id AND version = 1)
             ON CONFLICT DO NOTHING RETURNING id, created_at),
         r AS (INSERT INTO role_grants (region, user_id, role, city, granted_at)
             SELECT $1::TEXT::crdb_internal_region, u.id, n.role, n.role_city, u.created_at
             FROM u JOIN n ON n.id = u.id WHERE n.role IS NOT NULL RETURNING user_id, role, city, granted_at),
         e AS (",
        event_sql!(
            "SELECT $1::TEXT::crdb_internal_region, 'user', u.id, 1, 'user.registered', $1::TEXT, u.id,
               u.id, u.id, u.created_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{}'::JSONB FROM u
             UNION ALL
             SELECT $1::TEXT::crdb_internal_region, 'user', r.user_id, 2, 'user.role_granted', NULL::TEXT, NULL::UUID,
               r.user_id, r.user_id, r.granted_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('role', r.role, 'city', r.city) FROM r"
        ),
        ") SELECT (SELECT count(*) FROM g) > 0 AS open, (SELECT count(*) FROM u) AS inserted,
             (SELECT array_agg(id) FROM (SELECT id FROM u UNION SELECT users.id FROM users
               WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = ANY($4::UUID[])) AS both_kinds) AS at_home"
    ),
);

/// Registers those of `users` that were never there, all with one password hash, and
/// tells which of them are at home in `region` now.
pub async fn insert_users(
    conn: &Conn,
    region: &RegionCode,
    epoch: i64,
    password_hash: &str,
    users: &[User],
) -> Result<(Inserted, Vec<Uuid>), DbError> {
    let row = conn
        .one(
            &INSERT_USERS,
            &[
                region,
                &epoch,
                &password_hash,
                &column(users, |u| u.id),
                &column(users, |u| &u.city),
                &column(users, |u| &u.username),
                &column(users, |u| u.first_name),
                &column(users, |u| u.last_name),
                &column(users, |u| u.created_at),
                &column(users, |u| u.role.as_ref().map(|(role, _)| *role)),
                &column(users, |u| u.role.as_ref().map(|(_, city)| city)),
            ],
        )
        .await?;
    let at_home: Option<Vec<Uuid>> = row.get("at_home")?;
    Ok((Inserted { open: row.get("open")?, new: row.get("inserted")? }, at_home.unwrap_or_default()))
}

/// A sample vehicle as it stands after its rides.
#[derive(Debug, Clone)]
pub struct Vehicle {
    pub id: Uuid,
    pub public_id: Uuid,
    pub kind: String,
    pub status: &'static str,
    pub code: Option<String>,
    pub brand: &'static str,
    pub colour: &'static str,
    /// Charge, in percent.
    pub battery: i64,
    pub first: Point,
    pub at: Point,
    /// The same in words.
    pub place: String,
    pub owner: Option<Uuid>,
    /// When it was put on the street.
    pub created_at: DateTime<Utc>,
    /// Its rides, one after the other.
    pub rides: Vec<Ride>,
}

/// A sample ride, ended.
#[derive(Debug, Clone)]
pub struct Ride {
    pub id: Uuid,
    /// Its rider, at home in the vehicle's region; none if they have left.
    pub rider: Option<Uuid>,
    pub start: (DateTime<Utc>, Point, String),
    pub end: (DateTime<Utc>, Point, String),
    pub outside_area: bool,
    /// Way in metres.
    pub distance_m: i64,
    pub rate: Rate,
    /// The copied fee for leaving it outside the area, in minor units.
    pub out_of_area_minor: i64,
    pub fare: Fare,
    pub way: Vec<(DateTime<Utc>, Point)>,
}

const INSERT_VEHICLES: Statement = Statement::write(
    "sample.insert_vehicles",
    Reach::Named,
    concat!(
        "WITH g AS (SELECT 1 AS ok FROM region_gates
           WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $2::INT8),
         n AS (SELECT id, public_id, type, status, code, brand, colour, battery, lat0, lon0, lat, lon, cell, place, owner,
               created_at, rides, changed_at
             FROM unnest($5::UUID[], $6::UUID[], $7::TEXT[], $8::TEXT[], $9::TEXT[], $10::TEXT[], $11::TEXT[], $12::INT8[],
               $13::FLOAT8[], $14::FLOAT8[], $15::FLOAT8[], $16::FLOAT8[], $17::INT8[], $18::TEXT[], $19::UUID[],
               $20::TIMESTAMPTZ[], $21::INT8[], $22::TIMESTAMPTZ[])
               AS n (id, public_id, type, status, code, brand, colour, battery, lat0, lon0, lat, lon, cell, place, owner,
                 created_at, rides, changed_at)),
         v AS (INSERT INTO vehicles (region, id, public_id, city, type, status, code, brand, colour, battery, lat, lon,
               cell, place, owner_region, owner_id, version, created_at, changed_at, seen_at)
             SELECT $1::TEXT::crdb_internal_region, n.id, n.public_id, $3::TEXT, n.type, n.status, n.code, n.brand,
               n.colour, n.battery, n.lat, n.lon, n.cell, n.place,
               CASE WHEN n.owner IS NOT NULL THEN $1::TEXT::crdb_internal_region END, n.owner, 1 + 2 * n.rides,
               n.created_at, n.changed_at, n.changed_at
             FROM n, g WHERE NOT EXISTS (SELECT 1 FROM events WHERE region = $1::TEXT::crdb_internal_region
               AND aggregate_type = 'vehicle' AND aggregate_id = n.id AND version = 1)
               AND NOT EXISTS (SELECT 1 FROM vehicles AS other WHERE other.region = $1::TEXT::crdb_internal_region
                 AND other.city = $3::TEXT AND other.code = n.code)
             ON CONFLICT (region, id) DO NOTHING RETURNING id, type),
         m AS (SELECT m.id, m.vehicle_id, v.type, m.nth, m.rider, m.started_at, m.lat0, m.lon0, m.place0, m.ended_at,
               m.lat, m.lon, m.place, m.outside, m.metres, m.unlock, m.per_minute, m.out_of_area, m.minutes, m.charge,
               m.fee
             FROM unnest($23::UUID[], $24::UUID[], $25::INT8[], $26::UUID[], $27::TIMESTAMPTZ[], $28::FLOAT8[],
               $29::FLOAT8[], $30::TEXT[], $31::TIMESTAMPTZ[], $32::FLOAT8[], $33::FLOAT8[], $34::TEXT[], $35::BOOL[],
               $36::INT8[], $37::INT8[], $38::INT8[], $39::INT8[], $40::INT8[], $41::INT8[], $42::INT8[])
               AS m (id, vehicle_id, nth, rider, started_at, lat0, lon0, place0, ended_at, lat, lon, place, outside,
                 metres, unlock, per_minute, out_of_area, minutes, charge, fee)
             JOIN v ON v.id = m.vehicle_id),
         r AS (INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at,
               start_lat, start_lon, start_place, ended_at, end_lat, end_lon, end_place, outside_area, distance_m,
               currency, unlock_minor, per_minute_minor, out_of_area_minor, minutes, charge_minor, discount_minor,
               fee_minor, total_minor, version)
             SELECT $1::TEXT::crdb_internal_region, m.id, $3::TEXT, m.vehicle_id, m.type,
               CASE WHEN m.rider IS NOT NULL THEN $1::TEXT::crdb_internal_region END, m.rider, m.started_at, m.lat0,
               m.lon0, m.place0, m.ended_at, m.lat, m.lon, m.place, m.outside, m.metres, $4::TEXT, m.unlock,
               m.per_minute, m.out_of_area, m.minutes, m.charge, 0, m.fee, m.charge + m.fee, 2
             FROM m RETURNING id),
         p AS (INSERT INTO ride_positions (region, ride_id, at, lat, lon)
             SELECT $1::TEXT::crdb_internal_region, w.ride_id, w.at, w.lat, w.lon
             FROM unnest($43::UUID[], $44::TIMESTAMPTZ[], $45::FLOAT8[], $46::FLOAT8[]) AS w (ride_id, at, lat, lon)
             JOIN r ON r.id = w.ride_id RETURNING ride_id),
         e AS (",
        event_sql!(
            "SELECT $1::TEXT::crdb_internal_region, 'vehicle', n.id, 1, 'vehicle.added',
               CASE WHEN n.owner IS NOT NULL THEN $1::TEXT END, n.owner, n.id, n.id, n.created_at, $2::INT8,
               n.lat0, n.lon0, '{}'::JSONB FROM n JOIN v ON v.id = n.id
             UNION ALL
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', m.vehicle_id, 2 * m.nth, 'ride.started',
               NULL::TEXT, NULL::UUID, m.id, m.id, m.started_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{}'::JSONB FROM m
             UNION ALL
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', m.vehicle_id, 2 * m.nth + 1, 'ride.ended',
               NULL::TEXT, NULL::UUID, m.id, m.id, m.ended_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{}'::JSONB FROM m"
        ),
        ") SELECT (SELECT count(*) FROM g) > 0 AS open, (SELECT count(*) FROM v) AS inserted"
    ),
)
.reading_global(CITY_CHECKED);

/// Puts those of `vehicles` that were never there into a city, each with its rides, their
/// positions and all events. `currency` is the city's.
pub async fn insert_vehicles(
    conn: &Conn,
    region: &RegionCode,
    epoch: i64,
    city: &str,
    currency: &str,
    vehicles: &[Vehicle],
) -> Result<Inserted, DbError> {
    let rides: Vec<(Uuid, i64, &Ride)> =
        vehicles.iter().flat_map(|v| (1..).zip(&v.rides).map(|(nth, ride)| (v.id, nth, ride))).collect();
    let way: Vec<(Uuid, DateTime<Utc>, Point)> =
        rides.iter().flat_map(|(_, _, ride)| ride.way.iter().map(|(at, point)| (ride.id, *at, *point))).collect();
    let row = conn
        .one(
            &INSERT_VEHICLES,
            &[
                region,
                &epoch,
                &city,
                &currency,
                &column(vehicles, |v| v.id),
                &column(vehicles, |v| v.public_id),
                &column(vehicles, |v| &v.kind),
                &column(vehicles, |v| v.status),
                &column(vehicles, |v| v.code.as_ref()),
                &column(vehicles, |v| v.brand),
                &column(vehicles, |v| v.colour),
                &column(vehicles, |v| v.battery),
                &column(vehicles, |v| v.first.lat()),
                &column(vehicles, |v| v.first.lon()),
                &column(vehicles, |v| v.at.lat()),
                &column(vehicles, |v| v.at.lon()),
                &column(vehicles, |v| geo::cell(v.at)),
                &column(vehicles, |v| &v.place),
                &column(vehicles, |v| v.owner),
                &column(vehicles, |v| v.created_at),
                &column(vehicles, |v| i64::try_from(v.rides.len()).unwrap_or_default()),
                &column(vehicles, |v| v.rides.last().map_or(v.created_at, |ride| ride.end.0)),
                &column(&rides, |(_, _, r)| r.id),
                &column(&rides, |(vehicle, _, _)| *vehicle),
                &column(&rides, |(_, nth, _)| *nth),
                &column(&rides, |(_, _, r)| r.rider),
                &column(&rides, |(_, _, r)| r.start.0),
                &column(&rides, |(_, _, r)| r.start.1.lat()),
                &column(&rides, |(_, _, r)| r.start.1.lon()),
                &column(&rides, |(_, _, r)| &r.start.2),
                &column(&rides, |(_, _, r)| r.end.0),
                &column(&rides, |(_, _, r)| r.end.1.lat()),
                &column(&rides, |(_, _, r)| r.end.1.lon()),
                &column(&rides, |(_, _, r)| &r.end.2),
                &column(&rides, |(_, _, r)| r.outside_area),
                &column(&rides, |(_, _, r)| r.distance_m),
                &column(&rides, |(_, _, r)| r.rate.unlock_minor),
                &column(&rides, |(_, _, r)| r.rate.per_minute_minor),
                &column(&rides, |(_, _, r)| r.out_of_area_minor),
                &column(&rides, |(_, _, r)| r.fare.minutes),
                &column(&rides, |(_, _, r)| r.fare.charge_minor),
                &column(&rides, |(_, _, r)| r.fare.fee_minor),
                &column(&way, |(ride, _, _)| *ride),
                &column(&way, |(_, at, _)| *at),
                &column(&way, |(_, _, point)| point.lat()),
                &column(&way, |(_, _, point)| point.lon()),
            ],
        )
        .await?;
    Ok(Inserted { open: row.get("open")?, new: row.get("inserted")? })
}

/// One column of `rows`, as the array that a statement unnests.
fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
