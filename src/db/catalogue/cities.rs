//! Cities: added, changed, paused.

use const_format::formatcp;
use serde_json::json;

use super::{CHANGES_IT, NOT_ADMINISTRATOR, catalogue_change_sql, change};
use crate::{
    db::{Conn, EVENT, Param, Reach, Result, Statement, Verdict, Write, verdict::BY_ADMINISTRATOR},
    domain::{
        City,
        event::{CITY_ADDED, CITY_CHANGED},
    },
};

pub const ALL: &[&Statement] = &[&ADD_CITY, &SET_CITY, &PAUSE_CITY];

// $12 short name, $13 region, $14 name, $15 and $16 centre, $17 time zone, $18 currency, $19
// service area, $20 units, $21 seller, $22 tax, $23 its rate, $24 country.
const ADD_CITY: Statement = Statement::write(
    "catalogue.add_city",
    Reach::Named,
    catalogue_change_sql!(
        BY_ADMINISTRATOR,
        NOT_ADMINISTRATOR,
        "EXISTS (SELECT 1 FROM cities WHERE slug = $12::TEXT AND region::TEXT = $13::TEXT AND name = $14::TEXT
                   AND lat = $15::FLOAT8 AND lon = $16::FLOAT8 AND service_area = $19::JSONB)",
        "WHEN EXISTS (SELECT 1 FROM cities WHERE slug = $12::TEXT) THEN 'city_taken'",
        "INSERT INTO cities (slug, position, region, name, lat, lon, time_zone, currency, service_area, units, seller,
               tax_name, tax_rate, country)
             SELECT $12::TEXT, (SELECT coalesce(max(position), -1) + 1 FROM cities), $13::TEXT::crdb_internal_region,
               $14::TEXT, $15::FLOAT8, $16::FLOAT8, $17::TEXT, $18::TEXT, $19::JSONB, $20::TEXT, $21::TEXT, $22::TEXT,
               $23::INT8, $24::TEXT FROM verdict WHERE code = 'ok'",
        "city",
        CITY_ADDED,
        "jsonb_build_object('city', $12::TEXT, 'region', $13::TEXT)"
    ),
)
.reading_global(CHANGES_IT);

pub async fn add_city(conn: &Conn, write: &Write<'_>, city: &City) -> Result<Verdict> {
    let (lat, lon, area) = (city.centre.lat(), city.centre.lon(), json!(city.service_area));
    let (zone, currency, units) = (city.time_zone.name(), city.currency.as_str(), city.units.as_str());
    let (tax, rate) = city.tax.as_ref().map(|tax| (&tax.name, tax.rate)).unzip();
    let place: [Param<'_>; 6] = [&city.slug, &city.region, &city.name, &lat, &lon, &zone];
    let rest: [Param<'_>; 7] = [&currency, &area, &units, &city.seller, &tax, &rate, &city.country];
    change(conn, &ADD_CITY, write, &city.slug, &[&place[..], &rest].concat()).await
}

/// Refuses when the city was changed since version `$seen` of the catalogue.
macro_rules! city_changed_sql {
    ($seen:literal) => {
        formatcp!(
            "WHEN EXISTS (SELECT 1 FROM catalogue_edits WHERE kind = 'city' AND key = $12::TEXT AND version > {seen}::INT8)
                   OR NOT EXISTS (SELECT 1 FROM cities WHERE slug = $12::TEXT) THEN 'changed'",
            seen = $seen
        )
    };
}

// $12 short name, $13 name, $14 and $15 centre, $16 time zone, $17 service area, $18 the catalogue's
// version that the form is based on.
const SET_CITY: Statement = Statement::write(
    "catalogue.set_city",
    Reach::Named,
    catalogue_change_sql!(
        BY_ADMINISTRATOR,
        NOT_ADMINISTRATOR,
        "EXISTS (SELECT 1 FROM cities WHERE slug = $12::TEXT AND name = $13::TEXT AND lat = $14::FLOAT8
                   AND lon = $15::FLOAT8 AND time_zone = $16::TEXT AND service_area = $17::JSONB)",
        city_changed_sql!("$18"),
        "UPDATE cities SET name = $13::TEXT, lat = $14::FLOAT8, lon = $15::FLOAT8, time_zone = $16::TEXT,
               service_area = $17::JSONB FROM verdict
             WHERE cities.slug = $12::TEXT AND verdict.code = 'ok'",
        "city",
        CITY_CHANGED,
        "jsonb_build_object('city', $12::TEXT, 'name', $13::TEXT)"
    ),
)
.reading_global(CHANGES_IT);

/// Changes name, centre, time zone and area, if nobody has changed the city since version `seen` of
/// the catalogue.
pub async fn set_city(conn: &Conn, write: &Write<'_>, city: &City, seen: i64) -> Result<Verdict> {
    let (lat, lon, area) = (city.centre.lat(), city.centre.lon(), json!(city.service_area));
    let rest: [Param<'_>; 7] = [&city.slug, &city.name, &lat, &lon, &city.time_zone.name(), &area, &seen];
    change(conn, &SET_CITY, write, &city.slug, &rest).await
}

// $12 short name, $13 why it is paused, $14 the catalogue's version that the form is based on.
const PAUSE_CITY: Statement = Statement::write(
    "catalogue.pause_city",
    Reach::Named,
    catalogue_change_sql!(
        BY_ADMINISTRATOR,
        NOT_ADMINISTRATOR,
        "EXISTS (SELECT 1 FROM cities WHERE slug = $12::TEXT AND paused IS NOT DISTINCT FROM $13::TEXT)",
        city_changed_sql!("$14"),
        "UPDATE cities SET paused = $13::TEXT FROM verdict WHERE cities.slug = $12::TEXT AND verdict.code = 'ok'",
        "city",
        CITY_CHANGED,
        "jsonb_build_object('city', $12::TEXT, 'paused', $13::TEXT)"
    ),
)
.reading_global(CHANGES_IT);

/// With a reason it is paused, without one it opens.
pub async fn pause_city(
    conn: &Conn,
    write: &Write<'_>,
    slug: &str,
    paused: Option<&str>,
    seen: i64,
) -> Result<Verdict> {
    change(conn, &PAUSE_CITY, write, slug, &[&slug, &paused, &seen]).await
}
