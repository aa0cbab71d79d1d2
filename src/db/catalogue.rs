//! The catalogue in GLOBAL tables: read whole into each instance's copy, written by `movr migrate`
//! and, entry by entry, in the browser (`cities`, `promo_codes`, `tariffs`). Each browser change is
//! one statement that checks session, role and gate, raises the version and writes the event. If the
//! entry is already as asked it answers "already", which is also how a change whose COMMIT reply was
//! lost is recognised.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Conn, DbError, DbErrorKind, Param, Reach, Result, Statement, Verdict, Write};
use crate::domain::{Catalogue, Tariff, catalogue::PromoCode};

pub(super) mod cities;
pub(super) mod promo_codes;
pub(super) mod tariffs;

pub use cities::{add_city, pause_city, set_city};
use promo_codes::PromoColumns;
pub use promo_codes::{add_promo_code, list_used, put_quota, set_promo_code};
pub use tariffs::{SeenTariffs, seen, set_tariff, withdraw_tariff};
use tariffs::{tariff_key, tariff_params};

pub const ALL: &[&Statement] =
    &[&VERSION, &LOAD, &REGIONS, &POLICIES, &CITIES, &TYPES, &TARIFFS, &PROMOS, &BUMP, &EDITS];

const VERSION: Statement =
    Statement::read("catalogue.version", Reach::Global, "SELECT version FROM catalogue WHERE id = 1");

pub async fn version(conn: &Conn) -> Result<i64> {
    conn.opt(&VERSION, &[]).await?.map_or(Ok(0), |row| row.get("version"))
}

const LOAD: Statement = Statement::read(
    "catalogue.load",
    Reach::Global,
    "SELECT version,
        (SELECT jsonb_agg(jsonb_build_object('code', code::TEXT, 'name', name, 'base_url', base_url,
            'centre', jsonb_build_object('lat', lat, 'lon', lon), 'jurisdiction', jurisdiction) ORDER BY position)
          FROM regions) AS regions,
        (SELECT jsonb_agg(jsonb_build_object('region', region::TEXT, 'move_to', move_to,
            'operator_export', operator_export, 'backup_regions', backup_to, 'analytics', analytics))
          FROM residency_policies) AS policies,
        (SELECT jsonb_agg(jsonb_build_object('slug', slug, 'name', name, 'region', region::TEXT,
            'centre', jsonb_build_object('lat', lat, 'lon', lon), 'time_zone', time_zone, 'currency', currency,
            'units', units, 'seller', seller, 'tax', CASE WHEN tax_name IS NOT NULL
              THEN jsonb_build_object('name', tax_name, 'rate', tax_rate) END,
            'service_area', service_area, 'country', country, 'paused', paused) ORDER BY position)
          FROM cities) AS cities,
        (SELECT jsonb_agg(jsonb_build_object('slug', code, 'name', name, 'form_factor', form_factor,
            'propulsion', propulsion, 'max_range_m', max_range_m) ORDER BY position)
          FROM vehicle_types) AS vehicle_types,
        (SELECT coalesce(jsonb_agg(jsonb_build_object('city', city, 'vehicle_type', vehicle_type,
            'unlock_minor', unlock_minor, 'per_minute_minor', per_minute_minor,
            'out_of_area_fee_minor', out_of_area_minor, 'max_charge_minor', max_charge_minor, 'valid_from', valid_from)), '[]'::JSONB)
          FROM tariffs) AS tariffs,
        (SELECT coalesce(jsonb_agg(jsonb_build_object('code', code,
            'discount', CASE WHEN percent IS NOT NULL
              THEN jsonb_build_object('kind', 'percent', 'percent', percent)
              ELSE jsonb_build_object('kind', 'amount', 'amount_minor', amount_minor, 'currency', currency) END,
            'cities', cities, 'quotas', quotas, 'per_rider_limit', per_rider_limit, 'total_limit', total_limit,
            'valid_from', valid_from, 'valid_until', valid_until)), '[]'::JSONB)
          FROM promo_codes) AS promo_codes
     FROM catalogue WHERE id = 1",
);

pub async fn load(conn: &Conn) -> Result<Option<Catalogue>> {
    let Some(row) = conn.opt(&LOAD, &[]).await? else {
        return Ok(None);
    };
    let column = |name: &str| row.get::<Value>(name);
    let all = json!({
        "regions": column("regions")?, "policies": column("policies")?, "cities": column("cities")?,
        "vehicle_types": column("vehicle_types")?, "tariffs": column("tariffs")?, "promo_codes": column("promo_codes")?,
    });
    let catalogue: Catalogue = serde_json::from_value(all)
        .map_err(|error| DbError::new(DbErrorKind::Bug, "catalogue.load", error.to_string()))?;
    Ok(Some(Catalogue { version: row.get("version")?, ..catalogue }))
}

const REGIONS: Statement = Statement::write(
    "catalogue.put_region",
    Reach::Global,
    "INSERT INTO regions (code, position, name, base_url, lat, lon, jurisdiction)
     VALUES ($1::TEXT::crdb_internal_region, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (code) DO UPDATE SET position = excluded.position, name = excluded.name, base_url = excluded.base_url,
       lat = excluded.lat, lon = excluded.lon, jurisdiction = excluded.jurisdiction
     WHERE (regions.position, regions.name, regions.base_url, regions.lat, regions.lon, regions.jurisdiction)
       IS DISTINCT FROM (excluded.position, excluded.name, excluded.base_url, excluded.lat, excluded.lon, excluded.jurisdiction)
     RETURNING 1 AS changed",
);

const POLICIES: Statement = Statement::write(
    "catalogue.put_policy",
    Reach::Global,
    "INSERT INTO residency_policies (region, move_to, backup_to, operator_export, analytics)
     VALUES ($1::TEXT::crdb_internal_region, $2, $3, $4, $5)
     ON CONFLICT (region) DO UPDATE SET move_to = excluded.move_to, backup_to = excluded.backup_to,
       operator_export = excluded.operator_export, analytics = excluded.analytics
     WHERE (residency_policies.move_to, residency_policies.backup_to, residency_policies.operator_export,
         residency_policies.analytics)
       IS DISTINCT FROM (excluded.move_to, excluded.backup_to, excluded.operator_export, excluded.analytics)
     RETURNING 1 AS changed",
);

const CITIES: Statement = Statement::write(
    "catalogue.put_city",
    Reach::Global,
    "INSERT INTO cities (slug, position, region, name, lat, lon, time_zone, currency, service_area, units, seller,
       tax_name, tax_rate, country, paused)
     VALUES ($1, $2, $3::TEXT::crdb_internal_region, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
     ON CONFLICT (slug) DO UPDATE SET position = excluded.position, name = excluded.name,
       lat = excluded.lat, lon = excluded.lon, time_zone = excluded.time_zone, currency = excluded.currency,
       service_area = excluded.service_area, units = excluded.units, seller = excluded.seller,
       tax_name = excluded.tax_name, tax_rate = excluded.tax_rate,
       country = excluded.country, paused = excluded.paused
     WHERE (cities.position, cities.name, cities.lat, cities.lon, cities.time_zone, cities.currency,
         cities.service_area, cities.units, cities.seller, cities.tax_name, cities.tax_rate,
         cities.country, cities.paused)
       IS DISTINCT FROM (excluded.position, excluded.name, excluded.lat, excluded.lon, excluded.time_zone,
         excluded.currency, excluded.service_area, excluded.units, excluded.seller, excluded.tax_name, excluded.tax_rate,
         excluded.country, excluded.paused)
     RETURNING 1 AS changed",
);

const TYPES: Statement = Statement::write(
    "catalogue.put_vehicle_type",
    Reach::Global,
    "INSERT INTO vehicle_types (code, position, name, form_factor, propulsion, max_range_m)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (code) DO UPDATE SET position = excluded.position, name = excluded.name,
       form_factor = excluded.form_factor, propulsion = excluded.propulsion, max_range_m = excluded.max_range_m
     WHERE (vehicle_types.position, vehicle_types.name, vehicle_types.form_factor, vehicle_types.propulsion,
         vehicle_types.max_range_m)
       IS DISTINCT FROM (excluded.position, excluded.name, excluded.form_factor, excluded.propulsion, excluded.max_range_m)
     RETURNING 1 AS changed",
);

const TARIFFS: Statement = Statement::write(
    "catalogue.put_tariff",
    Reach::Global,
    "INSERT INTO tariffs (city, vehicle_type, valid_from, unlock_minor, per_minute_minor, out_of_area_minor,
       max_charge_minor)
     VALUES ($1, $2, $3, $4, $5, $6, $7)
     ON CONFLICT (city, vehicle_type, valid_from) DO UPDATE SET unlock_minor = excluded.unlock_minor,
       per_minute_minor = excluded.per_minute_minor, out_of_area_minor = excluded.out_of_area_minor,
       max_charge_minor = excluded.max_charge_minor
     WHERE (tariffs.unlock_minor, tariffs.per_minute_minor, tariffs.out_of_area_minor, tariffs.max_charge_minor)
       IS DISTINCT FROM (excluded.unlock_minor, excluded.per_minute_minor, excluded.out_of_area_minor,
         excluded.max_charge_minor)
     RETURNING 1 AS changed",
);

/// In the transaction of a statement that has checked the permission.
pub async fn put_tariff(conn: &Conn, tariff: &Tariff) -> Result<()> {
    conn.rows(&TARIFFS, &tariff_params(tariff)).await.map(drop)
}

const PROMOS: Statement = Statement::write(
    "catalogue.put_promo_code",
    Reach::Global,
    "INSERT INTO promo_codes (code, percent, amount_minor, currency, cities, quotas, per_rider_limit, total_limit,
       valid_from, valid_until)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     ON CONFLICT (code) DO UPDATE SET percent = excluded.percent, amount_minor = excluded.amount_minor,
       currency = excluded.currency, cities = excluded.cities, quotas = excluded.quotas,
       per_rider_limit = excluded.per_rider_limit, total_limit = excluded.total_limit,
       valid_from = excluded.valid_from, valid_until = excluded.valid_until
     WHERE (promo_codes.percent, promo_codes.amount_minor, promo_codes.currency, promo_codes.cities, promo_codes.quotas,
         promo_codes.per_rider_limit, promo_codes.total_limit, promo_codes.valid_from, promo_codes.valid_until)
       IS DISTINCT FROM (excluded.percent, excluded.amount_minor, excluded.currency, excluded.cities, excluded.quotas,
         excluded.per_rider_limit, excluded.total_limit, excluded.valid_from, excluded.valid_until)
     RETURNING 1 AS changed",
);

const BUMP: Statement = Statement::write(
    "catalogue.bump",
    Reach::Global,
    "INSERT INTO catalogue (id, version, changed_at) VALUES (1, 1, $1)
     ON CONFLICT (id) DO UPDATE SET version = catalogue.version + 1, changed_at = excluded.changed_at
     RETURNING version",
);

/// Writes every entry of `file`, inside a transaction, except those that were changed in the
/// browser, and raises the version if anything differed.
pub async fn put(conn: &Conn, file: &Catalogue, now: DateTime<Utc>) -> Result<Put> {
    let send = async |statement: &'static Statement, params: &Params<'_>| Ok(conn.rows(statement, params).await?.len());
    let edits = list_edits(conn).await?;
    let file = without(file, &edits);
    let changed = entries(&send, &file).await?;
    if changed > 0 || version(conn).await? == 0 {
        send(&BUMP, &[&now]).await?;
    }
    Ok(Put { changed, promo_codes: file.promo_codes })
}

#[derive(Debug)]
pub struct Put {
    pub changed: usize,
    /// The codes that match the file, so their quotas are the file's, too.
    pub promo_codes: Vec<PromoCode>,
}

fn without(file: &Catalogue, edits: &HashSet<(String, String)>) -> Catalogue {
    let as_loaded = |entry: &str, key: String| !edits.contains(&(entry.to_owned(), key));
    let mut file = file.clone();
    file.cities.retain(|city| as_loaded("city", city.slug.clone()));
    file.tariffs.retain(|tariff| as_loaded("tariff", tariff_key(tariff)));
    file.promo_codes.retain(|promo| as_loaded("promo_code", promo.code.clone()));
    file
}

pub async fn plan(file: &Catalogue, now: DateTime<Utc>) -> Result<Vec<String>> {
    let texts = std::cell::RefCell::new(Vec::new());
    let send = async |statement: &'static Statement, params: &Params<'_>| {
        texts.borrow_mut().push(statement.with_values(params));
        Ok(1)
    };
    entries(&send, file).await?;
    send(&BUMP, &[&now]).await?;
    Ok(texts.into_inner())
}

type Params<'a> = [Param<'a>];

async fn entries(
    send: &impl AsyncFn(&'static Statement, &Params<'_>) -> Result<usize>,
    file: &Catalogue,
) -> Result<usize> {
    let mut changed = 0;
    for (n, r) in (0_i64..).zip(&file.regions) {
        let (lat, lon) = (r.centre.lat(), r.centre.lon());
        changed += send(&REGIONS, &[&r.code, &n, &r.name, &r.base_url, &lat, &lon, &r.jurisdiction]).await?;
    }
    for p in &file.policies {
        let (to, backup) = (json!(p.move_to), json!(p.backup_regions));
        changed += send(&POLICIES, &[&p.region, &to, &backup, &p.operator_export, &p.analytics]).await?;
    }
    for (n, c) in (0_i64..).zip(&file.cities) {
        let (lat, lon, area) = (c.centre.lat(), c.centre.lon(), json!(c.service_area));
        let (zone, currency, units) = (c.time_zone.name(), c.currency.as_str(), c.units.as_str());
        let (tax, rate) = c.tax.as_ref().map(|tax| (&tax.name, tax.rate)).unzip();
        let place: [Param<'_>; 6] = [&c.slug, &n, &c.region, &c.name, &lat, &lon];
        let rest: [Param<'_>; 9] = [&zone, &currency, &area, &units, &c.seller, &tax, &rate, &c.country, &c.paused];
        changed += send(&CITIES, &[&place[..], &rest].concat()).await?;
    }
    for (n, t) in (0_i64..).zip(&file.vehicle_types) {
        changed += send(&TYPES, &[&t.slug, &n, &t.name, &t.form_factor, &t.propulsion, &t.max_range_m]).await?;
    }
    for t in &file.tariffs {
        changed += send(&TARIFFS, &tariff_params(t)).await?;
    }
    for promo in &file.promo_codes {
        changed += send(&PROMOS, &PromoColumns::of(promo).params(promo)).await?;
    }
    Ok(changed)
}

const EDITS: Statement =
    Statement::read("catalogue.list_edits", Reach::Global, "SELECT kind, key FROM catalogue_edits");

async fn list_edits(conn: &Conn) -> Result<HashSet<(String, String)>> {
    conn.rows(&EDITS, &[]).await?.iter().map(|row| Ok((row.get("kind")?, row.get("key")?))).collect()
}

/// Who may, and the refusal of others; when it is done already, other refusals, the change (with a row
/// when it was made), the kind of entry, the event's action and metadata. $10 is the catalogue's id
/// in events, $11 the entry's key.
macro_rules! catalogue_change_sql {
    (
        $who:expr,
        $others:expr,
        $already:literal,
        $refusals:expr,
        $change:literal,
        $kind:literal,
        $action:expr,
        $metadata:literal
    ) => {
        formatcp!(
            "{who},
             verdict AS (SELECT CASE
                 WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 {others}
                 WHEN {already} THEN 'already'
                 WHEN NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
                 {refusals}
                 ELSE 'ok' END AS code),
             changed AS ({change} RETURNING 1 AS ok),
             bumped AS (UPDATE catalogue SET version = catalogue.version + 1, changed_at = $5::TIMESTAMPTZ FROM changed
                 WHERE catalogue.id = 1 RETURNING catalogue.version),
             edit AS (INSERT INTO catalogue_edits (kind, key, version) SELECT '{kind}', $11::TEXT, bumped.version FROM bumped
                 ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version RETURNING 1 AS ok),
             e AS ({EVENT}
                 SELECT $7::TEXT::crdb_internal_region, 'catalogue', $10::UUID, bumped.version, '{action}', $1::TEXT, $3::UUID,
                   $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $8::INT8, NULL::FLOAT8, NULL::FLOAT8, {metadata} FROM bumped RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            who = $who,
            others = $others,
            already = $already,
            refusals = $refusals,
            change = $change,
            kind = $kind,
            action = $action,
            metadata = $metadata
        )
    };
}

use catalogue_change_sql;

const NOT_ADMINISTRATOR: &str = "WHEN NOT EXISTS (SELECT 1 FROM administers) THEN 'not_administrator'";

const CHANGES_IT: &str = "it changes the catalogue";

/// The catalogue's id in events, the same everywhere.
const CATALOGUE_ID: Uuid = Uuid::from_u128(0x6d6f_7672_0000_8000_8000_6361_7461_6c6f);

async fn change(
    conn: &Conn,
    statement: &'static Statement,
    write: &Write<'_>,
    key: &str,
    rest: &[Param<'_>],
) -> Result<Verdict> {
    let first: [Param<'_>; 2] = [&CATALOGUE_ID, &key];
    write.verdict_by_role(conn, statement, &[&first[..], rest].concat()).await
}
