//! A city's vehicles or riders, and a promo code's rides, as CSV, one statement a chunk, so that memory is bounded. Texts that
//! people typed are escaped for spreadsheets. An exported file of vehicles can be imported again
//! and changes nothing.

use chrono::{DateTime, SecondsFormat, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{Conn, Param, Reach, Result, Row, Statement};
use crate::domain::{
    RegionCode,
    csv::{COLUMNS, escape_formula, head, write_line},
    fleet::Filter,
    money::plain,
};

pub const ALL: &[&Statement] = &[&VEHICLES, &RIDERS, &PROMO_RIDES];

const CHUNK: usize = 500;

/// Lines, and where the next chunk begins. The first chunk has the header.
pub type Chunk<K> = (String, Option<K>);

pub type Cursor = (String, Uuid);

/// The vehicles of one status after ($4, $5).
macro_rules! of_status_sql {
    ($status:literal) => {
        formatcp!(
            "(SELECT id, sort_code AS code, type, brand, colour, battery, lat, lon, place, note FROM vehicles
               WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND status = '{status}'
                 AND '{status}' = ANY ($3::TEXT[]) AND sort_code >= $4::TEXT AND (sort_code > $4::TEXT OR id > $5::UUID)
                 AND ($6::TEXT IS NULL OR type = $6::TEXT) AND ($7::INT8 IS NULL OR battery < $7::INT8)
                 AND ($8::TIMESTAMPTZ IS NULL OR seen_at < $8::TIMESTAMPTZ)
                 AND ($9::TEXT IS NULL OR strpos(lower(coalesce(code, retired_code)), lower($9::TEXT)) > 0)
               ORDER BY sort_code, id LIMIT {CHUNK})",
            status = $status
        )
    };
}

// The index has the status before the code; this walks it once for each status and merges
// them, so that a vehicle whose status changes between two chunks is neither lost nor doubled.
const VEHICLES: Statement = Statement::read(
    "exports.list_vehicles",
    Reach::Named,
    formatcp!(
        "SELECT id, code, type, brand, colour, battery, lat, lon, place, note
         FROM ({} UNION ALL {} UNION ALL {} UNION ALL {} UNION ALL {}) AS statuses
         ORDER BY code, id LIMIT {CHUNK}",
        of_status_sql!("available"),
        of_status_sql!("in_use"),
        of_status_sql!("maintenance"),
        of_status_sql!("lost"),
        of_status_sql!("retired")
    ),
);

/// In the order of their codes, those without one first.
pub async fn vehicles(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    filter: &Filter,
    after: Option<Cursor>,
) -> Result<Chunk<Cursor>> {
    let mut text = if after.is_none() { head(&COLUMNS) } else { String::new() };
    let (code, id) = after.unwrap_or_default();
    let (statuses, Filter { vehicle_type, battery_below, idle_since, code: part, .. }) = (filter.statuses(), filter);
    let params: [Param<'_>; 9] = [region, &city, &statuses, &code, &id, vehicle_type, battery_below, idle_since, part];
    let rows = conn.rows(&VEHICLES, &params).await?;
    for row in &rows {
        let at = row.point("lat", "lon")?;
        let cells = [
            escape_formula(row.get("code")?),
            escape_formula(row.get("type")?),
            escape_formula(row.get("brand")?),
            escape_formula(row.get("colour")?),
            row.get::<i64>("battery")?.to_string().into(),
            at.lat().to_string().into(),
            at.lon().to_string().into(),
            escape_formula(row.get("place")?),
            escape_formula(row.get::<Option<_>>("note")?.unwrap_or_default()),
            row.get::<Uuid>("id")?.to_string().into(),
        ];
        write_line(&mut text, cells);
    }
    let cursor = |row: &Row| Ok((row.get("code")?, row.get("id")?));
    Ok((text, rows.get(CHUNK - 1).map(cursor).transpose()?))
}

const RIDERS: Statement = Statement::read(
    "exports.list_riders",
    Reach::Named,
    formatcp!(
        "SELECT id, username, first_name, last_name, created_at FROM users
         WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND id > $3 ORDER BY id LIMIT {CHUNK}"
    ),
);

pub async fn riders(conn: &Conn, (region, city): (&RegionCode, &str), after: Option<Uuid>) -> Result<Chunk<Uuid>> {
    let columns = ["username", "first_name", "last_name", "since"];
    let mut text = if after.is_none() { head(&columns) } else { String::new() };
    let rows = conn.rows(&RIDERS, &[region, &city, &after.unwrap_or_default()]).await?;
    for row in &rows {
        let since = row.get::<DateTime<Utc>>("created_at")?.to_rfc3339_opts(SecondsFormat::Secs, true);
        let cells = [
            escape_formula(row.get("username")?),
            escape_formula(row.get("first_name")?),
            escape_formula(row.get("last_name")?),
            since.into(),
        ];
        write_line(&mut text, cells);
    }
    Ok((text, rows.get(CHUNK - 1).map(|row| row.get("id")).transpose()?))
}

// A partial index has them.
const PROMO_RIDES: Statement = Statement::read(
    "exports.list_promo_rides",
    Reach::Named,
    formatcp!(
        "SELECT id, city, vehicle_type, started_at, ended_at, currency, discount_minor,
           total_minor - credited_minor AS owed_minor FROM rides
         WHERE region = $1::TEXT::crdb_internal_region AND promo_code = $2 AND promo_code IS NOT NULL AND id > $3
         ORDER BY id LIMIT {CHUNK}"
    ),
);

pub const PROMO_COLUMNS: [&str; 9] =
    ["code", "region", "city", "type", "started", "ended", "currency", "discount", "total"];

/// The rides that used a promo code; an open one has no amounts yet.
pub async fn promo_rides(conn: &Conn, region: &RegionCode, code: &str, after: Uuid) -> Result<Chunk<Uuid>> {
    let mut text = String::new();
    let rows = conn.rows(&PROMO_RIDES, &[region, &code, &after]).await?;
    for row in &rows {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let amount = |minor: Option<i64>| minor.map(plain).unwrap_or_default();
        let cells = [
            code.into(),
            region.as_str().into(),
            row.get("city")?,
            row.get("vehicle_type")?,
            time(row.get("started_at")?).into(),
            row.get::<Option<_>>("ended_at")?.map(time).unwrap_or_default().into(),
            row.get("currency")?,
            amount(row.get("discount_minor")?).into(),
            amount(row.get("owed_minor")?).into(),
        ];
        write_line(&mut text, cells);
    }
    Ok((text, rows.get(CHUNK - 1).map(|row| row.get("id")).transpose()?))
}
