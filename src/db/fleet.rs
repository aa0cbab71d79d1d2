//! A city's fleet as its operators see it: the list in three orders, how many there are
//! of each status, one vehicle with its history. By inner ids; for operators only.
//! The surprise: a list reads each status of its own, because the index of an order
//! begins with the status, and looks at a bounded number of rows whatever is filtered.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::DbError,
    row::Row,
    statement::{Conn, Reach, Statement},
};
use crate::domain::{
    fleet::{Filter, Key, Sort},
    geo::Point,
    region::RegionCode,
    ride::RideRef,
    vehicle::{AWAITS_APPROVAL, VehicleRef},
};

pub const ALL: &[&Statement] = &[&BY_CODE, &BY_BATTERY, &BY_SEEN, &COUNT, &FIND, &HISTORY];

/// A vehicle as whoever has it sees it: its operators, its owner.
#[derive(Debug, Clone)]
pub struct Listed {
    pub vehicle: VehicleRef,
    pub kind: String,
    /// available, `in_use`, maintenance, lost, retired.
    pub status: String,
    /// Until when somebody has reserved it; may have lapsed.
    pub reserved_until: Option<DateTime<Utc>>,
    pub code: Option<String>,
    pub brand: String,
    pub colour: String,
    /// Charge, in percent.
    pub battery: i64,
    pub at: Point,
    /// The same in words.
    pub place: String,
    /// Since when it stands there.
    pub seen_at: DateTime<Utc>,
    pub note: Option<String>,
    pub version: i64,
}

impl Listed {
    /// The status as people see it: `reserved` while somebody holds a reservation, `waiting`
    /// while a person's new vehicle has not been approved.
    pub fn shown_status(&self, now: DateTime<Utc>) -> &str {
        let reserved = self.status == "available" && self.reserved_until.is_some_and(|until| until > now);
        let waits = self.status == "maintenance" && self.note.as_deref() == Some(AWAITS_APPROVAL);
        if reserved {
            "reserved"
        } else if waits {
            "waiting"
        } else {
            &self.status
        }
    }
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Part {
    /// What matches, in order.
    pub vehicles: Vec<Listed>,
    /// Where the list goes on; none at its end.
    pub next: Option<(Key, Uuid)>,
}

/// Vehicles on a page of the list.
pub const PAGE: usize = 100;
/// Rows of each status that are looked at for a page when the order does not find what
/// matches: a page costs the same in a city of a thousand and of a hundred thousand.
const LOOK_AT: i64 = 500;

/// The vehicles of one status behind ($5, $6) in an order.
macro_rules! status_sql {
    ($status:literal, $key:literal, $type:literal) => {
        concat!(
            "(SELECT id, type, status, reserved_until, code, brand, colour, battery, lat, lon, place, seen_at, note, version, ",
            $key,
            " AS key FROM vehicles
              WHERE region = $1::TEXT::crdb_internal_region AND city = $2::TEXT AND status = '",
            $status,
            "' AND '",
            $status,
            "' = ANY ($3::TEXT[]) AND ",
            $key,
            " >= $5::",
            $type,
            " AND (",
            $key,
            " > $5::",
            $type,
            " OR id > $6::UUID)
              ORDER BY ",
            $key,
            ", id LIMIT $4::INT8)"
        )
    };
}

/// A list in an order: what matches among the first $4 rows, and the last of them.
macro_rules! list_sql {
    ($key:literal, $type:literal) => {
        concat!(
            "WITH seen AS (SELECT id, type, status, reserved_until, code, brand, colour, battery, lat, lon, place, seen_at,
               note, version, key, row_number() OVER (ORDER BY key, id) AS nth FROM (",
            status_sql!("available", $key, $type),
            " UNION ALL ",
            status_sql!("in_use", $key, $type),
            " UNION ALL ",
            status_sql!("maintenance", $key, $type),
            " UNION ALL ",
            status_sql!("lost", $key, $type),
            " UNION ALL ",
            status_sql!("retired", $key, $type),
            ") AS statuses ORDER BY key, id LIMIT $4::INT8),
             judged AS (SELECT id, type, status, reserved_until, code, brand, colour, battery, lat, lon, place, seen_at, note, version,
               nth, ($7::TEXT IS NULL OR type = $7::TEXT) AND ($8::INT8 IS NULL OR battery < $8::INT8)
               AND ($9::TIMESTAMPTZ IS NULL OR seen_at < $9::TIMESTAMPTZ)
               AND ($10::TEXT IS NULL OR left(code, length($10::TEXT)) = $10::TEXT) AS matches FROM seen)
             SELECT id, type, status, reserved_until, code, brand, colour, battery, lat, lon, place, seen_at, note, version,
               coalesce(matches, FALSE) AS matches, nth = $4::INT8 AS last
             FROM judged WHERE matches OR nth = $4::INT8 ORDER BY nth LIMIT 102"
        )
    };
}

const BY_CODE: Statement = Statement::read("fleet.list_by_code", Reach::Named, list_sql!("coalesce(code, '')", "TEXT"));
const BY_BATTERY: Statement = Statement::read("fleet.list_by_battery", Reach::Named, list_sql!("battery", "INT8"));
const BY_SEEN: Statement = Statement::read("fleet.list_by_seen", Reach::Named, list_sql!("seen_at", "TIMESTAMPTZ"));

/// A page of the fleet of `city` behind `behind`, at most [`PAGE`]; it may hold fewer and
/// go on, where what matches is rare.
pub async fn list(
    conn: &Conn,
    city: (&RegionCode, &str),
    filter: &Filter,
    sort: Sort,
    behind: Option<(Key, Uuid)>,
) -> Result<Part, DbError> {
    let (region, slug) = city;
    let statuses = filter.statuses();
    let look_at = if filter.follows(sort) { i64::try_from(PAGE).unwrap_or(LOOK_AT) + 1 } else { LOOK_AT };
    let (key, id) = behind.unwrap_or_else(|| (start(filter, sort), Uuid::nil()));
    let (statement, key): (_, &(dyn ToSql + Sync)) = match &key {
        Key::Code(code) => (&BY_CODE, code),
        Key::Battery(battery) => (&BY_BATTERY, battery),
        Key::Seen(seen) => (&BY_SEEN, seen),
    };
    let Filter { kind, battery_below, idle_since, prefix, .. } = filter;
    let params: [&(dyn ToSql + Sync); 10] =
        [region, &slug, &statuses, &look_at, key, &id, kind, battery_below, idle_since, prefix];
    let rows = conn.rows(statement, &params).await?;
    part(region, &rows, filter, sort)
}

/// Where a list begins: before the first row, or where its prefix does.
fn start(filter: &Filter, sort: Sort) -> Key {
    match sort {
        Sort::Code => Key::Code(filter.prefix.clone().unwrap_or_default()),
        Sort::Battery => Key::Battery(-1),
        Sort::Seen => Key::Seen(DateTime::UNIX_EPOCH),
    }
}

fn part(region: &RegionCode, rows: &[Row], filter: &Filter, sort: Sort) -> Result<Part, DbError> {
    let key = |vehicle: &Listed| match sort {
        Sort::Code => Key::Code(vehicle.code.clone().unwrap_or_default()),
        Sort::Battery => Key::Battery(vehicle.battery),
        Sort::Seen => Key::Seen(vehicle.seen_at),
    };
    let (mut vehicles, mut last) = (Vec::with_capacity(PAGE), None);
    for row in rows {
        let vehicle = listed(region, row)?;
        if row.get("last")? {
            last = Some((key(&vehicle), vehicle.vehicle.id));
        }
        if row.get("matches")? {
            vehicles.push(vehicle);
        }
    }
    if vehicles.len() > PAGE {
        vehicles.truncate(PAGE);
        last = vehicles.last().map(|vehicle| (key(vehicle), vehicle.vehicle.id));
    }
    Ok(Part { vehicles, next: last.filter(|(key, _)| !filter.ends_at(key)) })
}

/// Reads a vehicle as lists show it.
pub(super) fn listed(region: &RegionCode, row: &Row) -> Result<Listed, DbError> {
    Ok(Listed {
        vehicle: VehicleRef { region: region.clone(), id: row.get("id")? },
        kind: row.get("type")?,
        status: row.get("status")?,
        reserved_until: row.get("reserved_until")?,
        code: row.get("code")?,
        brand: row.get("brand")?,
        colour: row.get("colour")?,
        battery: row.get("battery")?,
        at: row.point("lat", "lon")?,
        place: row.get("place")?,
        seen_at: row.get("seen_at")?,
        note: row.get("note")?,
        version: row.get("version")?,
    })
}

const COUNT: Statement = Statement::read(
    "fleet.count",
    Reach::Named,
    "SELECT status, count(*) AS n FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND city = $2
     GROUP BY status",
);

/// How many vehicles of a city have each status.
pub async fn count(conn: &Conn, region: &RegionCode, city: &str) -> Result<Vec<(String, i64)>, DbError> {
    let rows = conn.rows(&COUNT, &[region, &city]).await?;
    rows.iter().map(|row| Ok((row.get("status")?, row.get("n")?))).collect()
}

/// A vehicle as its operators see it.
#[derive(Debug, Clone)]
pub struct Detailed {
    pub listed: Listed,
    /// Slug of the city where it stands.
    pub city: String,
    pub public_id: Uuid,
    /// Somebody's own, and not the operator's.
    pub owned: bool,
    /// The ride on which it is, and since when.
    pub ride: Option<(RideRef, DateTime<Utc>)>,
    /// Since when it is in the fleet.
    pub created_at: DateTime<Utc>,
    pub changed_at: DateTime<Utc>,
}

const FIND: Statement = Statement::read(
    "fleet.find",
    Reach::Named,
    "SELECT v.id, v.city, v.public_id, v.type, v.status, v.reserved_until, v.code, v.brand, v.colour, v.battery, v.lat, v.lon,
        v.place, v.seen_at, v.note, v.version, v.owner_id IS NOT NULL AS owned, v.created_at, v.changed_at,
        r.id AS ride_id, r.started_at
     FROM vehicles v LEFT JOIN rides r ON r.region = $1::TEXT::crdb_internal_region AND r.id = v.open_ride_id
     WHERE v.region = $1::TEXT::crdb_internal_region AND v.id = $2",
);

/// The vehicle with this inner key.
pub async fn find(conn: &Conn, vehicle: &VehicleRef) -> Result<Option<Detailed>, DbError> {
    let Some(row) = conn.opt(&FIND, &[&vehicle.region, &vehicle.id]).await? else {
        return Ok(None);
    };
    let ride: (Option<Uuid>, Option<DateTime<Utc>>) = (row.get("ride_id")?, row.get("started_at")?);
    let of = |id| RideRef { region: vehicle.region.clone(), id };
    Ok(Some(Detailed {
        listed: listed(&vehicle.region, &row)?,
        city: row.get("city")?,
        public_id: row.get("public_id")?,
        owned: row.get("owned")?,
        ride: ride.0.zip(ride.1).map(|(id, since)| (of(id), since)),
        created_at: row.get("created_at")?,
        changed_at: row.get("changed_at")?,
    }))
}

/// Something that happened to a vehicle.
#[derive(Debug, Clone)]
pub struct Happened {
    pub version: i64,
    /// What, as in `ride.ended`.
    pub action: String,
    pub at: DateTime<Utc>,
    pub point: Option<Point>,
    /// Whatever else was noted; no personal data.
    pub metadata: Value,
    /// Of the end of a ride: minutes, metres, what was owed and its currency.
    pub ride: Option<(i64, i64, i64, String)>,
}

/// Events on a page of a vehicle's history.
pub const HISTORY_PAGE: usize = 30;

const HISTORY: Statement = Statement::read(
    "fleet.history",
    Reach::Named,
    "SELECT e.version, e.action, e.occurred_at, e.lat, e.lon, e.metadata, r.minutes, r.distance_m, r.total_minor, r.currency
     FROM events e LEFT JOIN rides r ON r.region = $1::TEXT::crdb_internal_region AND r.id = e.command_id
       AND r.ended_at IS NOT NULL AND e.action <> 'ride.started'
     WHERE e.region = $1::TEXT::crdb_internal_region AND e.aggregate_type = 'vehicle' AND e.aggregate_id = $2
       AND e.version < $3
     ORDER BY e.version DESC LIMIT 31",
);

/// What happened to a vehicle in its region before `version`, newest first; one more than
/// [`HISTORY_PAGE`] when it goes on.
pub async fn history(conn: &Conn, vehicle: &VehicleRef, before: i64) -> Result<Vec<Happened>, DbError> {
    let read = |row: &Row| {
        let at: (Option<f64>, Option<f64>) = (row.get("lat")?, row.get("lon")?);
        let minutes: Option<i64> = row.get("minutes")?;
        Ok(Happened {
            version: row.get("version")?,
            action: row.get("action")?,
            at: row.get("occurred_at")?,
            point: at.0.zip(at.1).and_then(|(lat, lon)| Point::new(lat, lon).ok()),
            metadata: row.get("metadata")?,
            ride: match minutes {
                None => None,
                Some(minutes) => Some((minutes, row.get("distance_m")?, row.get("total_minor")?, row.get("currency")?)),
            },
        })
    };
    conn.rows(&HISTORY, &[&vehicle.region, &vehicle.id, &before]).await?.iter().map(read).collect()
}
