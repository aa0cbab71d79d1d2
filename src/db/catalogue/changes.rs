//! Changes of the catalogue by people: each statement checks session, role and the gate
//! of the region that keeps the event, changes one entry, marks it as changed in the
//! browser, raises the version and writes the event, or does nothing and says why.
//! An entry that is as asked already answers "already", which is also how a change whose
//! COMMIT was lost is found done.

use std::collections::HashSet;

use const_format::formatcp;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PromoColumns;
use crate::{
    db::{
        error::DbError,
        statement::{Conn, Reach, Statement},
        verdict::{BY_ROLE, EVENT, Verdict, Write},
    },
    domain::{
        catalogue::{City, PromoCode, Tariff},
        region::RegionCode,
    },
};

pub(super) const EDITS: Statement =
    Statement::read("catalogue.list_edits", Reach::Global, "SELECT kind, key FROM catalogue_edits");

/// Kind and key of every entry that was changed in the browser.
pub(super) async fn list_edits(conn: &Conn) -> Result<HashSet<(String, String)>, DbError> {
    conn.rows(&EDITS, &[]).await?.iter().map(|row| Ok((row.get("kind")?, row.get("key")?))).collect()
}

pub(super) const USED: Statement = Statement::read(
    "catalogue.list_used",
    Reach::Named,
    "SELECT code, granted - remaining AS used FROM promo_quotas
     WHERE region = $1::TEXT::crdb_internal_region AND code = ANY($2::TEXT[])",
);

/// How often each of these promo codes was used in `region`.
pub async fn list_used(conn: &Conn, region: &RegionCode, codes: &[&str]) -> Result<Vec<(String, i64)>, DbError> {
    conn.rows(&USED, &[region, &codes]).await?.iter().map(|row| Ok((row.get("code")?, row.get("used")?))).collect()
}

/// The key of a tariff among the edits.
pub(super) fn tariff_key(tariff: &Tariff) -> String {
    format!("{}/{}/{}", tariff.city, tariff.vehicle_type, tariff.valid_from.timestamp())
}

/// Who may, the verdict of who may not, other refusals, the change (with a row when it
/// was made), the kind of entry, the event's action and metadata. $10 is the
/// catalogue as what the event is about, $11 the key of the entry.
macro_rules! change_sql {
    ($role:literal, $not:literal, $refusals:literal, $change:literal, $kind:literal, $action:literal, $metadata:literal) => {
        formatcp!(
            "{BY_ROLE},
             a AS (SELECT 1 AS ok FROM role_grants
               WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID AND {role}),
             verdict AS (SELECT CASE
                 WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN NOT EXISTS (SELECT 1 FROM a) THEN '{not}'
                 {refusals}
                 WHEN NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
                 ELSE 'ok' END AS code),
             n AS ({change} RETURNING 1 AS ok),
             c AS (UPDATE catalogue SET version = catalogue.version + 1, changed_at = $5::TIMESTAMPTZ FROM n
                 WHERE catalogue.id = 1 RETURNING catalogue.version),
             m AS (INSERT INTO catalogue_edits (kind, key, version) SELECT '{kind}', $11::TEXT, c.version FROM c
                 ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version RETURNING 1 AS ok),
             e AS ({EVENT}
                 SELECT $7::TEXT::crdb_internal_region, 'catalogue', $10::UUID, c.version, '{action}', $1::TEXT, $3::UUID,
                   $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $8::INT8, NULL::FLOAT8, NULL::FLOAT8, {metadata} FROM c RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            role = $role,
            not = $not,
            refusals = $refusals,
            change = $change,
            kind = $kind,
            action = $action,
            metadata = $metadata
        )
    };
}

/// Why these statements read GLOBAL rows.
const CHANGES_IT: &str = "it changes the catalogue";

/// The catalogue as what events are about: the same id everywhere.
const CATALOGUE: Uuid = Uuid::from_u128(0x6d6f_7672_0000_8000_8000_6361_7461_6c6f);

async fn send(
    conn: &Conn,
    statement: &'static Statement,
    write: &Write<'_>,
    key: &str,
    rest: &[&(dyn ToSql + Sync)],
) -> Result<Verdict, DbError> {
    let first: [&(dyn ToSql + Sync); 2] = [&CATALOGUE, &key];
    write.verdict_by_role(conn, statement, &[&first[..], rest].concat()).await
}

pub(super) const SET_TARIFF: Statement = Statement::write(
    "catalogue.set_tariff",
    Reach::Named,
    change_sql!(
        "(role = 'administrator' OR role = 'operator' AND city = $12::TEXT)",
        "not_operator",
        "WHEN EXISTS (SELECT 1 FROM (SELECT unlock_minor, per_minute_minor, out_of_area_minor, max_charge_minor FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from <= $14::TIMESTAMPTZ
                     ORDER BY valid_from DESC LIMIT 1) AS held
                   WHERE held.unlock_minor = $15::INT8 AND held.per_minute_minor = $16::INT8
                     AND held.out_of_area_minor = $17::INT8
                     AND held.max_charge_minor IS NOT DISTINCT FROM $18::INT8) THEN 'already'
                 WHEN $19::JSONB <> (SELECT coalesce(jsonb_agg(jsonb_build_array(extract(EPOCH FROM valid_from)::INT8,
                     unlock_minor, per_minute_minor, out_of_area_minor, max_charge_minor) ORDER BY valid_from), '[]'::JSONB)
                   FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT) THEN 'changed'",
        "INSERT INTO tariffs (city, vehicle_type, valid_from, unlock_minor, per_minute_minor, out_of_area_minor,
               max_charge_minor)
             SELECT $12::TEXT, $13::TEXT, $14::TIMESTAMPTZ, $15::INT8, $16::INT8, $17::INT8, $18::INT8
             FROM verdict WHERE code = 'ok'
             ON CONFLICT (city, vehicle_type, valid_from) DO UPDATE SET unlock_minor = excluded.unlock_minor,
               per_minute_minor = excluded.per_minute_minor, out_of_area_minor = excluded.out_of_area_minor,
               max_charge_minor = excluded.max_charge_minor",
        "tariff",
        "tariff.set",
        "jsonb_build_object('city', $12::TEXT, 'vehicle_type', $13::TEXT, 'valid_from', $14::TIMESTAMPTZ,
               'unlock_minor', $15::INT8, 'per_minute_minor', $16::INT8, 'out_of_area_minor', $17::INT8,
               'max_charge_minor', $18::INT8)"
    ),
)
.reading_global(CHANGES_IT);

/// What a form that sets a tariff has seen: all tariffs of a vehicle type in a city.
pub fn seen<'a>(tariffs: impl Iterator<Item = &'a Tariff>) -> Value {
    let mut rows: Vec<(i64, i64, i64, i64, Option<i64>)> = tariffs
        .map(|t| {
            let at = t.valid_from.timestamp();
            (at, t.unlock_minor, t.per_minute_minor, t.out_of_area_fee_minor, t.max_charge_minor)
        })
        .collect();
    rows.sort_unstable();
    json!(rows)
}

/// Sets the price of a vehicle type in a city from a time on, if its tariffs are those `seen`.
pub async fn set_tariff(conn: &Conn, write: &Write<'_>, tariff: &Tariff, seen: &Value) -> Result<Verdict, DbError> {
    let rest = [&super::tariff_params(tariff)[..], &[seen]].concat();
    send(conn, &SET_TARIFF, write, &tariff_key(tariff), &rest).await
}

pub(super) const WITHDRAW_TARIFF: Statement = Statement::write(
    "catalogue.withdraw_tariff",
    Reach::Named,
    change_sql!(
        "(role = 'administrator' OR role = 'operator' AND city = $12::TEXT)",
        "not_operator",
        "WHEN NOT EXISTS (SELECT 1 FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT
                     AND valid_from = $14::TIMESTAMPTZ) THEN 'already'
                 WHEN $14::TIMESTAMPTZ <= $5::TIMESTAMPTZ OR NOT EXISTS (SELECT 1 FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from = $14::TIMESTAMPTZ
                       AND unlock_minor = $15::INT8 AND per_minute_minor = $16::INT8
                       AND out_of_area_minor = $17::INT8
                       AND max_charge_minor IS NOT DISTINCT FROM $18::INT8) THEN 'changed'",
        "DELETE FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from = $14::TIMESTAMPTZ
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok')",
        "tariff",
        "tariff.withdrawn",
        "jsonb_build_object('city', $12::TEXT, 'vehicle_type', $13::TEXT, 'valid_from', $14::TIMESTAMPTZ)"
    ),
)
.reading_global(CHANGES_IT);

pub async fn withdraw_tariff(conn: &Conn, write: &Write<'_>, tariff: &Tariff) -> Result<Verdict, DbError> {
    send(conn, &WITHDRAW_TARIFF, write, &tariff_key(tariff), &super::tariff_params(tariff)).await
}

pub(super) const ADD_PROMO: Statement = Statement::write(
    "catalogue.add_promo_code",
    Reach::Named,
    change_sql!(
        "role = 'administrator'",
        "not_administrator",
        "WHEN EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT
                   AND (percent, amount_minor, currency, cities, quotas, per_rider_limit, valid_from, valid_until)
                     IS NOT DISTINCT FROM ($13::INT8, $14::INT8, $15::TEXT, $16::JSONB, $17::JSONB, $18::INT8,
                       $20::TIMESTAMPTZ, $21::TIMESTAMPTZ)) THEN 'already'
                 WHEN EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT) THEN 'promo_taken'",
        "INSERT INTO promo_codes (code, percent, amount_minor, currency, cities, quotas, per_rider_limit, total_limit,
               valid_from, valid_until)
             SELECT $12::TEXT, $13::INT8, $14::INT8, $15::TEXT, $16::JSONB, $17::JSONB, $18::INT8, $19::INT8,
               $20::TIMESTAMPTZ, $21::TIMESTAMPTZ FROM verdict WHERE verdict.code = 'ok'",
        "promo_code",
        "promo_code.added",
        "jsonb_build_object('code', $12::TEXT, 'total_limit', $19::INT8, 'valid_from', $20::TIMESTAMPTZ,
               'valid_until', $21::TIMESTAMPTZ)"
    ),
)
.reading_global(CHANGES_IT);

/// Adds a code; the regions' quotas are put in the same transaction.
pub async fn add_promo_code(conn: &Conn, write: &Write<'_>, promo: &PromoCode) -> Result<Verdict, DbError> {
    send(conn, &ADD_PROMO, write, &promo.code, &PromoColumns::of(promo).params(promo)).await
}

pub(super) const SET_PROMO: Statement = Statement::write(
    "catalogue.set_promo_code",
    Reach::Named,
    change_sql!(
        "role = 'administrator'",
        "not_administrator",
        "WHEN EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT AND valid_until = $13::TIMESTAMPTZ
                   AND per_rider_limit = $14::INT8 AND quotas = $16::JSONB) THEN 'already'
                 WHEN NOT EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT
                   AND valid_until = $17::TIMESTAMPTZ AND per_rider_limit = $18::INT8 AND quotas = $19::JSONB)
                   THEN 'changed'",
        "UPDATE promo_codes SET valid_until = $13::TIMESTAMPTZ, per_rider_limit = $14::INT8, total_limit = $15::INT8,
               quotas = $16::JSONB FROM verdict WHERE promo_codes.code = $12::TEXT AND verdict.code = 'ok'",
        "promo_code",
        "promo_code.changed",
        "jsonb_build_object('code', $12::TEXT, 'valid_until', $13::TIMESTAMPTZ, 'per_rider_limit', $14::INT8,
               'total_limit', $15::INT8)"
    ),
)
.reading_global(CHANGES_IT);

/// Gives a code another end, limits and quotas, if it has those `seen`.
pub async fn set_promo_code(
    conn: &Conn,
    write: &Write<'_>,
    seen: &PromoCode,
    new: &PromoCode,
) -> Result<Verdict, DbError> {
    let (quotas, seen_quotas) = (json!(new.quotas), json!(seen.quotas));
    let rest: [&(dyn ToSql + Sync); 8] = [
        &new.code,
        &new.valid_until,
        &new.per_rider_limit,
        &new.total_limit,
        &quotas,
        &seen.valid_until,
        &seen.per_rider_limit,
        &seen_quotas,
    ];
    send(conn, &SET_PROMO, write, &new.code, &rest).await
}

pub(super) const ADD_CITY: Statement = Statement::write(
    "catalogue.add_city",
    Reach::Named,
    change_sql!(
        "role = 'administrator'",
        "not_administrator",
        "WHEN EXISTS (SELECT 1 FROM cities WHERE slug = $12::TEXT AND region::TEXT = $13::TEXT AND name = $14::TEXT
                   AND lat = $15::FLOAT8 AND lon = $16::FLOAT8 AND service_area = $19::JSONB) THEN 'already'
                 WHEN EXISTS (SELECT 1 FROM cities WHERE slug = $12::TEXT) THEN 'city_taken'",
        "INSERT INTO cities (slug, position, region, name, lat, lon, time_zone, currency, service_area)
             SELECT $12::TEXT, (SELECT coalesce(max(position), -1) + 1 FROM cities), $13::TEXT::crdb_internal_region,
               $14::TEXT, $15::FLOAT8, $16::FLOAT8, $17::TEXT, $18::TEXT, $19::JSONB FROM verdict WHERE code = 'ok'",
        "city",
        "city.added",
        "jsonb_build_object('city', $12::TEXT, 'region', $13::TEXT)"
    ),
)
.reading_global(CHANGES_IT);

/// Adds a city; its tariffs are put in the same transaction.
pub async fn add_city(conn: &Conn, write: &Write<'_>, city: &City) -> Result<Verdict, DbError> {
    let (lat, lon, area) = (city.centre.lat(), city.centre.lon(), json!(city.service_area));
    let (zone, currency) = (city.time_zone.name(), city.currency.as_str());
    let rest: [&(dyn ToSql + Sync); 8] = [&city.slug, &city.region, &city.name, &lat, &lon, &zone, &currency, &area];
    send(conn, &ADD_CITY, write, &city.slug, &rest).await
}
