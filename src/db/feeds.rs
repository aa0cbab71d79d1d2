//! What the public feeds show of a city's vehicles: the rotating id, nothing of owners or
//! reservations. Rows may be a few seconds old.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    Conn, DbError, DbErrorKind, Reach, Result, Row, Statement,
    vehicles::{HOLD, settled_sql},
};
use crate::domain::{Point, RegionCode};

pub const ALL: &[&Statement] = &[&LIST];

#[derive(Debug)]
pub struct FeedVehicle {
    pub public_id: Uuid,
    pub vehicle_type: String,
    pub battery: i64,
    pub at: Point,
    pub seen_at: DateTime<Utc>,
    pub in_maintenance: bool,
    pub reserved: bool,
}

/// More than any city has; beyond it a feed is refused rather than incomplete.
const MOST: usize = 200_000;

const LIST: Statement = Statement::read(
    "feeds.list_standing",
    Reach::Stale,
    formatcp!(
        "SELECT public_id, type, battery, lat, lon, seen_at, FALSE AS in_maintenance,
        coalesce(reserved_until > $3::TIMESTAMPTZ, FALSE) AS reserved
     FROM vehicles
     WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND status = 'available' AND {settled}
     UNION ALL SELECT public_id, type, battery, lat, lon, seen_at, TRUE, FALSE
     FROM vehicles
     WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND status = 'maintenance'
       AND {HOLD} IS NULL AND {settled}
     LIMIT {MOST} + 1",
        settled = settled_sql!("$3")
    ),
);

/// All vehicles on a city's streets that are not being ridden, lost, retired or kept back by
/// their owners or for approval; reservations that ended before `at` have lapsed.
pub async fn list_standing(
    conn: &Conn,
    region: &RegionCode,
    city: &str,
    at: DateTime<Utc>,
) -> Result<Vec<FeedVehicle>> {
    let read = |row: &Row| {
        Ok(FeedVehicle {
            public_id: row.get("public_id")?,
            vehicle_type: row.get("type")?,
            battery: row.get("battery")?,
            at: row.point("lat", "lon")?,
            seen_at: row.get("seen_at")?,
            in_maintenance: row.get("in_maintenance")?,
            reserved: row.get("reserved")?,
        })
    };
    let rows = conn.rows(&LIST, &[region, &city, &at]).await?;
    if rows.len() > MOST {
        return Err(DbError::new(DbErrorKind::Bug, LIST.name, format!("more than {MOST} vehicles in {city}")));
    }
    rows.iter().map(read).collect()
}
