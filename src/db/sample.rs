//! Sample rows, written by an operator's tool: many rows a statement, no session, but the gate's
//! condition like every write. A thing arrives with its whole history in one statement, so versions
//! and events always agree. Repeating it is harmless: what has an event of version 1 is never made
//! again. Rows are arrays of JSON, whose fields the statements name.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde::Serialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{CITY_CHECKED, Conn, EVENT, GATED, Param, Reach, Result, Statement};
use crate::domain::{
    City, Point, RegionCode,
    event::{RIDE_ENDED, RIDE_STARTED, USER_REGISTERED, USER_ROLE_GRANTED, VEHICLE_ADDED},
    fare::{Fare, Rate},
};

pub const ALL: &[&Statement] = &[&INSERT_USERS, &INSERT_VEHICLES];

/// With one registration event, and one more if they have a role.
#[derive(Debug, Serialize)]
pub struct User {
    pub id: Uuid,
    pub city: String,
    /// Already folded; the e-mail address is derived from it.
    pub username: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub created_at: DateTime<Utc>,
    pub role: Option<&'static str>,
    /// Empty for administrators.
    pub role_city: String,
}

const INSERT_USERS: Statement = Statement::write(
    "sample.insert_users",
    Reach::AllRegions { why: "a username is unique over all regions" },
    formatcp!(
        "{GATED},
         n AS (SELECT j, (j->>'id')::UUID AS id FROM jsonb_array_elements($4::JSONB) AS t (j)),
         u AS (INSERT INTO users (region, id, city, username, username_key, first_name, last_name, email,
               password_hash, recovery_hashes, present_in, version, created_at)
             SELECT $1::TEXT::crdb_internal_region, n.id, n.j->>'city', n.j->>'username', n.j->>'username',
               n.j->>'first_name', n.j->>'last_name', (n.j->>'username') || '@example.com', $3::TEXT, '[]'::JSONB,
               jsonb_build_array($1::TEXT), CASE WHEN (n.j->>'role') IS NULL THEN 1 ELSE 2 END,
               (n.j->>'created_at')::TIMESTAMPTZ
             FROM n, g WHERE NOT EXISTS (SELECT 1 FROM events WHERE region = $1::TEXT::crdb_internal_region
               AND aggregate_type = 'user' AND aggregate_id = n.id AND version = 1)
             ON CONFLICT DO NOTHING RETURNING id, created_at),
         r AS (INSERT INTO role_grants (region, user_id, role, city, granted_at)
             SELECT $1::TEXT::crdb_internal_region, u.id, n.j->>'role', n.j->>'role_city', u.created_at
             FROM u JOIN n ON n.id = u.id WHERE (n.j->>'role') IS NOT NULL RETURNING user_id, role, city, granted_at),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'user', u.id, 1, '{USER_REGISTERED}', $1::TEXT, u.id,
               u.id, u.id, u.created_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM u
             UNION ALL
             SELECT $1::TEXT::crdb_internal_region, 'user', r.user_id, 2, '{USER_ROLE_GRANTED}', NULL::TEXT, NULL::UUID,
               r.user_id, r.user_id, r.granted_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('role', r.role, 'city', r.city) FROM r RETURNING 1 AS ok)
         SELECT (SELECT count(*) FROM g) > 0 AS open, (SELECT array_agg(id) FROM u) AS inserted,
             (SELECT array_agg(id) FROM (SELECT id FROM u UNION SELECT users.id FROM users JOIN n ON n.id = users.id
               WHERE users.region = $1::TEXT::crdb_internal_region) AS both_kinds) AS at_home"
    ),
);

/// Registers those of `users` that never existed, all with one password hash. Returns who they are,
/// and who of all is at home in `region` now; none when its gate is closed.
pub async fn insert_users(
    conn: &Conn,
    (region, epoch): (&RegionCode, i64),
    password_hash: &str,
    users: &[User],
) -> Result<Option<(Vec<Uuid>, Vec<Uuid>)>> {
    let row = conn.one(&INSERT_USERS, &[region, &epoch, &password_hash, &Json(users)]).await?;
    let people = |name: &str| row.get::<Option<Vec<Uuid>>>(name).map(Option::unwrap_or_default);
    let (inserted, at_home) = (people("inserted")?, people("at_home")?);
    Ok(row.get::<bool>("open")?.then_some((inserted, at_home)))
}

#[derive(Debug, Default)]
pub struct Street {
    pub vehicles: Vec<Vehicle>,
    pub rides: Vec<Ride>,
    pub positions: Vec<Position>,
}

#[derive(Debug, Serialize)]
pub struct Vehicle {
    pub id: Uuid,
    pub public_id: Uuid,
    pub vehicle_type: String,
    pub status: &'static str,
    pub code: Option<String>,
    pub brand: &'static str,
    pub colour: &'static str,
    pub battery: i64,
    /// Where it was first put on the street.
    pub first: Point,
    pub at: Point,
    pub cell: i64,
    pub place: String,
    pub owner: Option<Uuid>,
    /// While it is in use.
    pub open_ride: Option<Uuid>,
    pub reserved_by: Option<Uuid>,
    pub reserved_until: Option<DateTime<Utc>>,
    /// The number of its events: the first, those of its rides, and perhaps `last_event`.
    pub version: i64,
    pub last_event: Option<&'static str>,
    pub created_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
    /// Where it stands now.
    pub seen_at: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
pub struct Ride {
    pub id: Uuid,
    pub vehicle: Uuid,
    /// The vehicle's at the ride's start; one more at its end.
    pub version: i64,
    pub rider: Option<Uuid>,
    pub started_at: DateTime<Utc>,
    pub start: Point,
    pub start_place: String,
    pub rate: Rate,
    pub out_of_area_minor: i64,
    /// None while it is under way.
    pub ended: Option<Ended>,
}

#[derive(Debug, Serialize)]
pub struct Ended {
    pub at: DateTime<Utc>,
    pub point: Point,
    pub place: String,
    pub outside_area: bool,
    pub distance_m: i64,
    pub fare: Fare,
}

#[derive(Debug, Serialize)]
pub struct Position {
    pub ride: Uuid,
    pub noted_at: DateTime<Utc>,
    pub at: Point,
}

const INSERT_VEHICLES: Statement = Statement::write(
    "sample.insert_vehicles",
    Reach::Named,
    formatcp!(
        "{GATED},
         n AS (SELECT j, (j->>'id')::UUID AS id, (j->>'owner')::UUID AS owner,
               (j->>'reserved_by')::UUID AS reserved_by, (j->>'reserved_until')::TIMESTAMPTZ AS reserved_until
             FROM jsonb_array_elements($5::JSONB) AS t (j)),
         v AS (INSERT INTO vehicles (region, id, public_id, city, type, status, code, brand, colour, battery, lat, lon,
               cell, place, owner_region, owner_id, open_ride_id, reserved_region, reserved_by, reserved_until, version,
               created_at, changed_at, seen_at)
             SELECT $1::TEXT::crdb_internal_region, n.id, (n.j->>'public_id')::UUID, $3::TEXT, n.j->>'vehicle_type',
               n.j->>'status', n.j->>'code', n.j->>'brand', n.j->>'colour', (n.j->>'battery')::INT8,
               (n.j->'at'->>'lat')::FLOAT8, (n.j->'at'->>'lon')::FLOAT8, (n.j->>'cell')::INT8, n.j->>'place',
               CASE WHEN n.owner IS NOT NULL THEN $1::TEXT::crdb_internal_region END, n.owner,
               (n.j->>'open_ride')::UUID, CASE WHEN n.reserved_by IS NOT NULL THEN $1::TEXT::crdb_internal_region END,
               n.reserved_by, n.reserved_until, (n.j->>'version')::INT8, (n.j->>'created_at')::TIMESTAMPTZ,
               (n.j->>'changed_at')::TIMESTAMPTZ, (n.j->>'seen_at')::TIMESTAMPTZ
             FROM n, g WHERE NOT EXISTS (SELECT 1 FROM events WHERE region = $1::TEXT::crdb_internal_region
               AND aggregate_type = 'vehicle' AND aggregate_id = n.id AND version = 1)
               AND NOT EXISTS (SELECT 1 FROM vehicles AS other WHERE other.region = $1::TEXT::crdb_internal_region
                 AND other.city = $3::TEXT AND other.code = n.j->>'code')
             ON CONFLICT (region, id) DO NOTHING RETURNING id, type, code, brand, created_at, changed_at),
         m AS (SELECT t.j, (t.j->>'id')::UUID AS id, v.id AS vehicle, v.type, v.code, v.brand, (t.j->>'rider')::UUID AS rider,
               (t.j->>'version')::INT8 AS version, (t.j->>'started_at')::TIMESTAMPTZ AS started_at,
               (t.j->'ended'->>'at')::TIMESTAMPTZ AS ended_at
             FROM jsonb_array_elements($6::JSONB) AS t (j) JOIN v ON v.id = (t.j->>'vehicle')::UUID),
         r AS (INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at,
               start_lat, start_lon, start_place, ended_at, end_lat, end_lon, end_place, outside_area, distance_m,
               currency, unlock_minor, per_minute_minor, max_charge_minor, out_of_area_minor, minutes, charge_minor,
               discount_minor, fee_minor, total_minor, vehicle_code, vehicle_brand, tax_name, tax_rate, version)
             SELECT $1::TEXT::crdb_internal_region, m.id, $3::TEXT, m.vehicle, m.type,
               CASE WHEN m.rider IS NOT NULL THEN $1::TEXT::crdb_internal_region END, m.rider, m.started_at,
               (m.j->'start'->>'lat')::FLOAT8, (m.j->'start'->>'lon')::FLOAT8, m.j->>'start_place', m.ended_at,
               (m.j->'ended'->'point'->>'lat')::FLOAT8, (m.j->'ended'->'point'->>'lon')::FLOAT8, m.j->'ended'->>'place',
               (m.j->'ended'->>'outside_area')::BOOL, (m.j->'ended'->>'distance_m')::INT8, $4::TEXT,
               (m.j->'rate'->>'unlock_minor')::INT8, (m.j->'rate'->>'per_minute_minor')::INT8,
               (m.j->'rate'->>'max_charge_minor')::INT8, (m.j->>'out_of_area_minor')::INT8,
               (m.j->'ended'->'fare'->>'minutes')::INT8, (m.j->'ended'->'fare'->>'charge_minor')::INT8,
               (m.j->'ended'->'fare'->>'discount_minor')::INT8, (m.j->'ended'->'fare'->>'fee_minor')::INT8,
               (m.j->'ended'->'fare'->>'total_minor')::INT8, m.code, m.brand, $8::TEXT, $9::INT8,
               CASE WHEN m.ended_at IS NULL THEN 1 ELSE 2 END
             FROM m RETURNING id),
         busy AS (SELECT m.rider AS id, m.id AS ride, NULL::UUID AS vehicle, NULL::TIMESTAMPTZ AS until
             FROM m WHERE m.ended_at IS NULL
             UNION ALL SELECT n.reserved_by, NULL::UUID, (n.j->>'public_id')::UUID, n.reserved_until
             FROM n JOIN v ON v.id = n.id WHERE n.reserved_by IS NOT NULL),
         u AS (UPDATE users SET open_ride_id = busy.ride,
               open_ride_region = CASE WHEN busy.ride IS NOT NULL THEN $1::TEXT::crdb_internal_region END,
               reserved_region = CASE WHEN busy.vehicle IS NOT NULL THEN $1::TEXT::crdb_internal_region END,
               reserved_public_id = busy.vehicle, reserved_until = busy.until
             FROM busy WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = busy.id RETURNING users.id),
         p AS (INSERT INTO ride_positions (region, ride_id, at, lat, lon)
             SELECT $1::TEXT::crdb_internal_region, r.id, (t.j->>'noted_at')::TIMESTAMPTZ,
               (t.j->'at'->>'lat')::FLOAT8, (t.j->'at'->>'lon')::FLOAT8
             FROM jsonb_array_elements($7::JSONB) AS t (j) JOIN r ON r.id = (t.j->>'ride')::UUID RETURNING ride_id),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', n.id, 1, '{VEHICLE_ADDED}',
               CASE WHEN n.owner IS NOT NULL THEN $1::TEXT END, n.owner, n.id, n.id, v.created_at, $2::INT8,
               (n.j->'first'->>'lat')::FLOAT8, (n.j->'first'->>'lon')::FLOAT8, '{{}}'::JSONB FROM n JOIN v ON v.id = n.id
             UNION ALL
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', m.vehicle, m.version, '{RIDE_STARTED}',
               NULL::TEXT, NULL::UUID, m.id, m.id, m.started_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM m
             UNION ALL
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', m.vehicle, m.version + 1, '{RIDE_ENDED}',
               NULL::TEXT, NULL::UUID, m.id, m.id, m.ended_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM m
               WHERE m.ended_at IS NOT NULL
             UNION ALL
             SELECT $1::TEXT::crdb_internal_region, 'vehicle', n.id, (n.j->>'version')::INT8, n.j->>'last_event',
               NULL::TEXT, NULL::UUID, n.id, n.id, v.changed_at, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB
               FROM n JOIN v ON v.id = n.id WHERE (n.j->>'last_event') IS NOT NULL
               RETURNING 1 AS ok)
         SELECT (SELECT count(*) FROM g) > 0 AS open, (SELECT count(*) FROM v) AS inserted"
    ),
)
.reading_global(CITY_CHECKED);

/// Adds the vehicles that never existed to a city, each with rides, positions and events. Returns
/// how many; none when the region's gate is closed.
pub async fn insert_vehicles(conn: &Conn, city: &City, epoch: i64, street: &Street) -> Result<Option<i64>> {
    let Street { vehicles, rides, positions } = street;
    let (vehicles, rides, positions) = (Json(vehicles), Json(rides), Json(positions));
    let (tax, rate) = city.tax.as_ref().map(|tax| (&tax.name, tax.rate)).unzip();
    let of_city: [Param<'_>; 4] = [&city.region, &epoch, &city.slug, &city.currency.as_str()];
    let street: [Param<'_>; 5] = [&vehicles, &rides, &positions, &tax, &rate];
    let row = conn.one(&INSERT_VEHICLES, &[&of_city[..], &street].concat()).await?;
    let inserted = row.get("inserted")?;
    Ok(row.get::<bool>("open")?.then_some(inserted))
}
