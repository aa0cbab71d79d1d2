//! Rows for the files that operators take away: a city's vehicles, a city's riders. One
//! statement a chunk, each beginning after the last row of the one before, so that memory
//! is bounded whatever the size of the fleet.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    error::DbError,
    row::Row,
    statement::{Conn, Reach, Statement},
};
use crate::domain::{fleet::Filter, geo::Point, region::RegionCode};

pub const ALL: &[&Statement] = &[&VEHICLES, &RIDERS];

/// Rows of one chunk.
pub const CHUNK: usize = 500;

/// The code and id of the vehicle after which a chunk begins.
pub type Cursor = (String, Uuid);

#[derive(Debug, Clone)]
pub struct Vehicle {
    pub id: Uuid,
    /// The operator's code; empty if it has none.
    pub code: String,
    pub vehicle_type: String,
    pub brand: String,
    pub colour: String,
    pub battery: i64,
    pub at: Point,
    pub place: String,
    pub note: Option<String>,
}

// The index has the status before the code; this walks it once for each status and merges
// them, so that a vehicle whose status changes between two chunks is neither lost nor doubled.
const VEHICLES: Statement = Statement::read(
    "exports.list_vehicles",
    Reach::Named,
    "SELECT v.id, v.code, v.type, v.brand, v.colour, v.battery, v.lat, v.lon, v.place, v.note
     FROM unnest($3::TEXT[]) AS s (status) CROSS JOIN LATERAL (
       SELECT id, coalesce(code, '') AS code, type, brand, colour, battery, lat, lon, place, note FROM vehicles
       WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND status = s.status
         AND coalesce(code, '') >= $4::TEXT AND (coalesce(code, '') > $4::TEXT OR id > $5::UUID)
         AND ($6::TEXT IS NULL OR type = $6::TEXT) AND ($7::INT8 IS NULL OR battery < $7::INT8)
         AND ($8::TIMESTAMPTZ IS NULL OR seen_at < $8::TIMESTAMPTZ)
         AND ($9::TEXT IS NULL OR left(code, length($9::TEXT)) = $9::TEXT)
       ORDER BY coalesce(code, ''), id LIMIT 500) AS v
     ORDER BY v.code, v.id LIMIT 500",
);

/// The next vehicles of a city in the order of their codes, those without one first; at
/// most [`CHUNK`].
pub async fn list_vehicles(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    filter: &Filter,
    (code, id): &Cursor,
) -> Result<Vec<Vehicle>, DbError> {
    let (statuses, Filter { vehicle_type, battery_below, idle_since, prefix, .. }) = (filter.statuses(), filter);
    let read = |row: &Row| {
        Ok(Vehicle {
            id: row.get("id")?,
            code: row.get("code")?,
            vehicle_type: row.get("type")?,
            brand: row.get("brand")?,
            colour: row.get("colour")?,
            battery: row.get("battery")?,
            at: row.point("lat", "lon")?,
            place: row.get("place")?,
            note: row.get("note")?,
        })
    };
    let rows = conn
        .rows(&VEHICLES, &[region, &city, &statuses, code, id, vehicle_type, battery_below, idle_since, prefix])
        .await?;
    rows.iter().map(read).collect()
}

#[derive(Debug, Clone)]
pub struct Rider {
    pub id: Uuid,
    pub username: String,
    pub first_name: String,
    pub last_name: String,
    pub created_at: DateTime<Utc>,
}

const RIDERS: Statement = Statement::read(
    "exports.list_riders",
    Reach::Named,
    "SELECT id, username, first_name, last_name, created_at FROM users
     WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND id > $3 ORDER BY id LIMIT 500",
);

/// The next people at home in a city after `after`, by id; at most [`CHUNK`].
pub async fn list_riders(conn: &Conn, region: &RegionCode, city: &str, after: Uuid) -> Result<Vec<Rider>, DbError> {
    let read = |row: &Row| {
        Ok(Rider {
            id: row.get("id")?,
            username: row.get("username")?,
            first_name: row.get("first_name")?,
            last_name: row.get("last_name")?,
            created_at: row.get("created_at")?,
        })
    };
    conn.rows(&RIDERS, &[region, &city, &after]).await?.iter().map(read).collect()
}
