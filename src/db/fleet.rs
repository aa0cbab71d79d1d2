//! A city's fleet as its operators see it, by inner ids; `changes` has what they do with it. A list reads each status by
//! itself, because the index of an order begins with the status, and reads a bounded number of rows whatever is filtered.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde_json::Value;
use uuid::Uuid;

use super::{Conn, Param, Reach, Result, Row, Statement, row::searched, vehicles::HOLD};
use crate::domain::{
    Point, RegionCode, RideRef, VehicleRef,
    event::{RIDE_STARTED, VEHICLE_MAINTENANCE},
    fleet::{Filter, Key, Sort},
    vehicle::{AWAITS_APPROVAL, AWAITS_APPROVAL_NOTE, DECLINED, PAUSED},
};

pub(super) mod changes;

pub use changes::{SeenVehicle, VehicleEdit, add, approve, edit, move_to, set_status};

pub const ALL: &[&Statement] = &[&BY_CODE, &BY_BATTERY, &BY_SEEN, &BY_PART, &COUNT, &FIND, &HISTORY, &LIST_WAITING];

#[derive(Debug, Clone)]
pub struct FleetVehicle {
    pub vehicle: VehicleRef,
    pub vehicle_type: String,
    /// available, `in_use`, maintenance, lost, retired.
    pub status: String,
    /// May have lapsed.
    pub reserved_until: Option<DateTime<Utc>>,
    /// Of a retired vehicle the one that it had.
    pub code: Option<String>,
    pub brand: String,
    pub colour: String,
    pub battery: i64,
    pub at: Point,
    pub place: String,
    pub seen_at: DateTime<Utc>,
    pub note: Option<String>,
    /// What keeps it in maintenance, if it is a person's.
    pub hold: Option<String>,
    pub version: i64,
}

impl FleetVehicle {
    /// `reserved` while somebody holds a reservation; `waiting`, `declined` or `paused` while an
    /// owner's vehicle is held.
    pub fn shown_status(&self, now: DateTime<Utc>) -> &str {
        let reserved = self.status == "available" && self.reserved_until.is_some_and(|until| until > now);
        match (self.status.as_str(), self.hold.as_deref()) {
            _ if reserved => "reserved",
            ("maintenance", Some(AWAITS_APPROVAL)) => "waiting",
            ("maintenance", Some(DECLINED)) => "declined",
            ("maintenance", Some(PAUSED)) => "paused",
            (status, _) => status,
        }
    }

    /// Where a list in this order continues after it.
    pub fn cursor(&self, sort: Sort) -> (Key, Uuid) {
        let key = match sort {
            // The order knows no code of a retired vehicle.
            Sort::Code => Key::Code(self.code.clone().filter(|_| self.status != "retired").unwrap_or_default()),
            Sort::Battery => Key::Battery(self.battery),
            Sort::Seen => Key::Seen(self.seen_at),
        };
        (key, self.vehicle.id)
    }
}

#[derive(Debug, Clone)]
pub struct Page {
    pub vehicles: Vec<FleetVehicle>,
    /// None at the end of the list.
    pub next: Option<(Key, Uuid)>,
}

pub const PAGE: usize = 100;
/// Rows of each status that are read for a page when the order does not find what matches: a page
/// costs the same in a city of a thousand and of a hundred thousand.
const SCAN_LIMIT: i64 = 500;

pub(super) const FLEET_VEHICLE: &str = formatcp!(
    "id, type, status, reserved_until, code, retired_code, brand, colour, battery, lat, lon, place, seen_at, note,
       {HOLD} AS hold, version"
);

/// The vehicles of one status after ($5, $6) in an order.
macro_rules! status_sql {
    ($status:literal, $key:literal, $type:literal) => {
        formatcp!(
            "(SELECT {FLEET_VEHICLE}, {key} AS key FROM vehicles
               WHERE region = $1::TEXT::crdb_internal_region AND city = $2::TEXT AND status = '{status}'
                 AND '{status}' = ANY ($3::TEXT[]) AND {key} >= $5::{ty} AND ({key} > $5::{ty} OR id > $6::UUID)
               ORDER BY {key}, id LIMIT $4::INT8)",
            key = $key,
            status = $status,
            ty = $type
        )
    };
}

/// A list in an order: the matches among the first $4 rows, and the last of those rows.
macro_rules! fleet_list_sql {
    ($key:literal, $type:literal) => {
        formatcp!(
            "WITH seen AS (SELECT {FLEET_VEHICLE}, key, row_number() OVER (ORDER BY key, id) AS nth FROM (
               {available} UNION ALL {in_use} UNION ALL {maintenance} UNION ALL {lost} UNION ALL {retired}
               ) AS statuses ORDER BY key, id LIMIT $4::INT8),
             judged AS (SELECT {FLEET_VEHICLE}, nth, ($7::TEXT IS NULL OR type = $7::TEXT)
               AND ($8::INT8 IS NULL OR battery < $8::INT8) AND ($9::TIMESTAMPTZ IS NULL OR seen_at < $9::TIMESTAMPTZ)
               AND ($10::TEXT IS NULL OR strpos(lower(coalesce(code, retired_code)), lower($10::TEXT)) > 0) AS fits
               FROM seen)
             SELECT {FLEET_VEHICLE}, coalesce(fits, FALSE) AS fits, nth = $4::INT8 AS ends
             FROM judged WHERE fits OR nth = $4::INT8 ORDER BY nth LIMIT {PAGE} + 2",
            available = status_sql!("available", $key, $type),
            in_use = status_sql!("in_use", $key, $type),
            maintenance = status_sql!("maintenance", $key, $type),
            lost = status_sql!("lost", $key, $type),
            retired = status_sql!("retired", $key, $type)
        )
    };
}

const BY_CODE: Statement = Statement::read("fleet.list_by_code", Reach::Named, fleet_list_sql!("sort_code", "TEXT"));
const BY_BATTERY: Statement =
    Statement::read("fleet.list_by_battery", Reach::Named, fleet_list_sql!("battery", "INT8"));
const BY_SEEN: Statement =
    Statement::read("fleet.list_by_seen", Reach::Named, fleet_list_sql!("seen_at", "TIMESTAMPTZ"));

/// Codes that are searched at once, in an index that holds nothing else.
const CODES: i64 = 10_000;

// $3 the last code, $4 the part, $5 statuses, $6 type, $7 battery, $8 idle since. A code that is
// just the part comes first, wherever in the order it stands.
const BY_PART: Statement = Statement::read(
    "fleet.list_by_part",
    Reach::Named,
    formatcp!(
        "WITH codes AS (SELECT code AS found FROM vehicles
           WHERE region = $1::TEXT::crdb_internal_region AND city = $2::TEXT AND code > $3::TEXT ORDER BY code LIMIT {CODES}),
         numbered AS (SELECT found, row_number() OVER (ORDER BY found) AS nth,
           strpos(lower(found), lower($4::TEXT)) > 0 AND found NOT IN ($4::TEXT, upper($4::TEXT)) AS has FROM codes),
         kept AS (SELECT found, nth, has, row_number() OVER (ORDER BY nth) AS kept_nth
           FROM numbered WHERE has OR nth = {CODES} ORDER BY nth LIMIT {PAGE}),
         listed AS (SELECT found, nth, has, nth = {CODES} OR kept_nth = {PAGE} AS ends FROM kept
           UNION ALL SELECT code, 0::INT8, TRUE, FALSE FROM vehicles
           WHERE region = $1::TEXT::crdb_internal_region AND city = $2::TEXT AND $3::TEXT = ''
             AND code IN ($4::TEXT, upper($4::TEXT)))
         SELECT {FLEET_VEHICLE}, has AND status = ANY ($5::TEXT[]) AND ($6::TEXT IS NULL OR type = $6::TEXT)
           AND ($7::INT8 IS NULL OR battery < $7::INT8) AND ($8::TIMESTAMPTZ IS NULL OR seen_at < $8::TIMESTAMPTZ) AS fits,
           ends
         FROM listed JOIN vehicles ON region = $1::TEXT::crdb_internal_region AND city = $2::TEXT AND code = found
         ORDER BY nth, found"
    ),
);

/// A page of the fleet of `city` after `cursor`, at most [`PAGE`]; with rare matches it may hold
/// fewer and still have a next page.
pub async fn list(
    conn: &Conn,
    city: (&RegionCode, &str),
    filter: &Filter,
    sort: Sort,
    cursor: Option<(Key, Uuid)>,
) -> Result<Page> {
    let (region, slug) = city;
    let statuses = filter.statuses();
    let scan_limit = if filter.follows(sort) { i64::try_from(PAGE).unwrap_or(SCAN_LIMIT) + 1 } else { SCAN_LIMIT };
    let (key, id) = cursor.unwrap_or_else(|| (start(sort), Uuid::nil()));
    let Filter { vehicle_type, battery_below, idle_since, code: part, .. } = filter;
    // The codes of retired vehicles are in no index.
    if let (Key::Code(last), Some(_)) = (&key, part)
        && !statuses.contains(&"retired")
    {
        let params: [Param<'_>; 8] = [region, &slug, last, part, &statuses, vehicle_type, battery_below, idle_since];
        return page(region, &conn.rows(&BY_PART, &params).await?, filter, sort);
    }
    let (statement, key): (_, Param<'_>) = match &key {
        Key::Code(code) => (&BY_CODE, code),
        Key::Battery(battery) => (&BY_BATTERY, battery),
        Key::Seen(seen) => (&BY_SEEN, seen),
    };
    let params: [Param<'_>; 10] =
        [region, &slug, &statuses, &scan_limit, key, &id, vehicle_type, battery_below, idle_since, part];
    let rows = conn.rows(statement, &params).await?;
    page(region, &rows, filter, sort)
}

/// Before the first row.
fn start(sort: Sort) -> Key {
    match sort {
        Sort::Code => Key::Code(String::new()),
        Sort::Battery => Key::Battery(-1),
        Sort::Seen => Key::Seen(DateTime::UNIX_EPOCH),
    }
}

fn page(region: &RegionCode, rows: &[Row], filter: &Filter, sort: Sort) -> Result<Page> {
    let (mut vehicles, mut last) = searched(rows, |row| fleet_vehicle(region, row))?;
    if vehicles.len() > PAGE {
        vehicles.truncate(PAGE);
        last = vehicles.last().cloned();
    }
    let next = last.map(|last| last.cursor(sort));
    Ok(Page { vehicles, next: next.filter(|(key, _)| !filter.ends_at(key)) })
}

pub(super) fn fleet_vehicle(region: &RegionCode, row: &Row) -> Result<FleetVehicle> {
    Ok(FleetVehicle {
        vehicle: VehicleRef { region: region.clone(), id: row.get("id")? },
        vehicle_type: row.get("type")?,
        status: row.get("status")?,
        reserved_until: row.get("reserved_until")?,
        code: row.get::<Option<_>>("code")?.or(row.get("retired_code")?),
        brand: row.get("brand")?,
        colour: row.get("colour")?,
        battery: row.get("battery")?,
        at: row.point("lat", "lon")?,
        place: row.get("place")?,
        seen_at: row.get("seen_at")?,
        note: row.get::<Option<String>>("note")?.filter(|note| note != AWAITS_APPROVAL_NOTE),
        hold: row.get("hold")?,
        version: row.get("version")?,
    })
}

const COUNT: Statement = Statement::read(
    "fleet.count",
    Reach::Named,
    "SELECT status, count(*) AS n FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND city = $2
     GROUP BY status",
);

pub async fn count(conn: &Conn, region: &RegionCode, city: &str) -> Result<Vec<(String, i64)>> {
    let rows = conn.rows(&COUNT, &[region, &city]).await?;
    rows.iter().map(|row| Ok((row.get("status")?, row.get("n")?))).collect()
}

#[derive(Debug, Clone)]
pub struct VehicleDetails {
    pub vehicle: FleetVehicle,
    pub city: String,
    pub public_id: Uuid,
    pub owned: bool,
    pub ride: Option<(RideRef, DateTime<Utc>)>,
    pub created_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

const FIND: Statement = Statement::read(
    "fleet.find",
    Reach::Named,
    formatcp!(
        "SELECT {FLEET_VEHICLE}, city, public_id, owner_id IS NOT NULL AS owned, created_at, changed_at, ride_id, started_at
         FROM vehicles LEFT JOIN (SELECT id AS ride_id, started_at FROM rides
             WHERE region = $1::TEXT::crdb_internal_region) AS r ON ride_id = open_ride_id
         WHERE region = $1::TEXT::crdb_internal_region AND id = $2"
    ),
);

pub async fn find(conn: &Conn, vehicle: &VehicleRef) -> Result<Option<VehicleDetails>> {
    let Some(row) = conn.opt(&FIND, &[&vehicle.region, &vehicle.id]).await? else {
        return Ok(None);
    };
    let ride = row.get::<Option<Uuid>>("ride_id")?.zip(row.get("started_at")?);
    Ok(Some(VehicleDetails {
        vehicle: fleet_vehicle(&vehicle.region, &row)?,
        city: row.get("city")?,
        public_id: row.get("public_id")?,
        owned: row.get("owned")?,
        ride: ride.map(|(id, since)| (RideRef { region: vehicle.region.clone(), id }, since)),
        created_at: row.get("created_at")?,
        changed_at: row.get("changed_at")?,
    }))
}

#[derive(Debug, Clone)]
pub struct HistoryEntry {
    pub version: i64,
    pub action: String,
    pub at: DateTime<Utc>,
    pub point: Option<Point>,
    /// No personal data.
    pub metadata: Value,
    /// For the end of a ride: minutes, metres and amount owed.
    pub ride: Option<(i64, i64, i64)>,
}

pub const HISTORY_PAGE: usize = 30;

const HISTORY: Statement = Statement::read(
    "fleet.history",
    Reach::Named,
    formatcp!(
        "SELECT e.version, e.action, e.occurred_at, e.lat, e.lon, e.metadata,
            r.minutes, r.distance_m, r.total_minor - r.credited_minor AS owed_minor
         FROM events e LEFT JOIN rides r ON r.region = $1::TEXT::crdb_internal_region AND r.id = e.command_id
           AND r.ended_at IS NOT NULL AND e.action NOT IN ('{RIDE_STARTED}', '{VEHICLE_MAINTENANCE}')
         WHERE e.region = $1::TEXT::crdb_internal_region AND e.aggregate_type = 'vehicle' AND e.aggregate_id = $2
           AND e.version < $3
         ORDER BY e.version DESC LIMIT {HISTORY_PAGE} + 1"
    ),
);

pub async fn history(conn: &Conn, vehicle: &VehicleRef, before: i64) -> Result<Vec<HistoryEntry>> {
    let read = |row: &Row| {
        let at: (Option<f64>, Option<f64>) = (row.get("lat")?, row.get("lon")?);
        Ok(HistoryEntry {
            version: row.get("version")?,
            action: row.get("action")?,
            at: row.get("occurred_at")?,
            point: at.0.zip(at.1).and_then(|(lat, lon)| Point::new(lat, lon).ok()),
            metadata: row.get("metadata")?,
            ride: match row.get("minutes")? {
                None => None,
                Some(minutes) => Some((minutes, row.get("distance_m")?, row.get("owed_minor")?)),
            },
        })
    };
    conn.rows(&HISTORY, &[&vehicle.region, &vehicle.id, &before]).await?.iter().map(read).collect()
}

const LIST_WAITING: Statement = Statement::read(
    "fleet.list_waiting",
    Reach::Named,
    formatcp!(
        "SELECT {FLEET_VEHICLE} FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND city = $2
           AND hold = '{AWAITS_APPROVAL}' AND status = 'maintenance'
         UNION ALL SELECT {FLEET_VEHICLE} FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND city = $2
           AND note = '{AWAITS_APPROVAL_NOTE}' AND hold IS NULL AND status = 'maintenance' ORDER BY id LIMIT 25"
    ),
);

/// Vehicles of persons that wait for approval, 25 at most.
pub async fn list_waiting(conn: &Conn, region: &RegionCode, city: &str) -> Result<Vec<FleetVehicle>> {
    conn.rows(&LIST_WAITING, &[region, &city]).await?.iter().map(|row| fleet_vehicle(region, row)).collect()
}
