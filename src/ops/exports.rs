//! Files for operators, chunk by chunk: each function gives the next lines and the cursor of
//! those that follow. Texts that people typed are escaped for spreadsheets; numbers
//! are written as they are. A file of vehicles can be imported again and changes nothing.

use chrono::SecondsFormat;
use uuid::Uuid;

use crate::{
    db::{
        error::DbError,
        exports::{self, CHUNK, Cursor},
        statement::Conn,
    },
    domain::{
        csv::{COLUMNS, escape_formula, head, write_line},
        fleet::Filter,
        region::RegionCode,
    },
};

/// Lines, and after which row the next ones begin.
pub type Chunk<K> = (String, Option<K>);

/// The vehicles of a city after `after`; the first chunk (None) has the header.
pub async fn vehicles(
    conn: &Conn,
    place: (&RegionCode, &str),
    filter: &Filter,
    after: Option<Cursor>,
) -> Result<Chunk<Cursor>, DbError> {
    let mut text = if after.is_none() { head(&COLUMNS) } else { String::new() };
    let found = exports::list_vehicles(conn, place, filter, &after.unwrap_or_default()).await?;
    for vehicle in &found {
        let cells = [
            escape_formula(&vehicle.code),
            escape_formula(&vehicle.vehicle_type),
            escape_formula(&vehicle.brand),
            escape_formula(&vehicle.colour),
            vehicle.battery.to_string().into(),
            vehicle.at.lat().to_string().into(),
            vehicle.at.lon().to_string().into(),
            escape_formula(&vehicle.place),
            escape_formula(vehicle.note.as_deref().unwrap_or_default()),
            vehicle.id.to_string().into(),
        ];
        write_line(&mut text, cells);
    }
    let last = found.into_iter().nth(CHUNK - 1);
    Ok((text, last.map(|last| (last.code, last.id))))
}

/// The people at home in a city after `after`; the first chunk (None) has the header.
pub async fn riders(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    after: Option<Uuid>,
) -> Result<Chunk<Uuid>, DbError> {
    let columns = ["username", "first_name", "last_name", "since"];
    let mut text = if after.is_none() { head(&columns) } else { String::new() };
    let found = exports::list_riders(conn, region, city, after.unwrap_or_default()).await?;
    for rider in &found {
        let since = rider.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let names = [&rider.username, &rider.first_name, &rider.last_name].map(|name| escape_formula(name));
        write_line(&mut text, names.into_iter().chain([since.into()]));
    }
    Ok((text, found.get(CHUNK - 1).map(|last| last.id)))
}
