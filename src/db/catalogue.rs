//! The catalogue in GLOBAL tables: read whole into each instance's copy, written by `movr migrate`
//! and by changes in the browser; these stand together because they write the same columns. Each
//! browser change is one statement that checks session, role and gate, raises the version and writes
//! the event. If the entry is already as asked it answers "already", which is also how a change
//! whose COMMIT reply was lost is recognised.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BY_ROLE, Conn, DbError, DbErrorKind, EVENT, Param, Reach, Result, Statement, Verdict, Write};
use crate::domain::{
    Catalogue, City, RegionCode, Tariff,
    catalogue::{PromoCode, PromoDiscount},
    event::{CITY_ADDED, CITY_CHANGED, PROMO_CODE_ADDED, PROMO_CODE_CHANGED, TARIFF_SET, TARIFF_WITHDRAWN},
};

pub const ALL: &[&Statement] = &[
    &VERSION, &LOAD, &REGIONS, &POLICIES, &CITIES, &TYPES, &TARIFFS, &PROMOS, &BUMP, &QUOTA, &EDITS, &USED,
    &SET_TARIFF, &WITHDRAW_TARIFF, &ADD_PROMO, &SET_PROMO, &ADD_CITY, &SET_CITY, &PAUSE_CITY,
];

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

fn tariff_params(t: &Tariff) -> [Param<'_>; 7] {
    [
        &t.city, &t.vehicle_type, &t.valid_from, &t.unlock_minor, &t.per_minute_minor, &t.out_of_area_fee_minor,
        &t.max_charge_minor,
    ]
}

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

struct PromoColumns {
    percent: Option<i64>,
    amount: Option<i64>,
    currency: Option<&'static str>,
    cities: Value,
    quotas: Value,
}

impl PromoColumns {
    fn of(promo: &PromoCode) -> Self {
        let (percent, amount, currency) = match promo.discount {
            PromoDiscount::Percent { percent } => (Some(percent), None, None),
            PromoDiscount::Amount { amount_minor, currency } => (None, Some(amount_minor), Some(currency.as_str())),
        };
        Self { percent, amount, currency, cities: json!(promo.cities), quotas: json!(promo.quotas) }
    }

    fn params<'a>(&'a self, promo: &'a PromoCode) -> [Param<'a>; 10] {
        [
            &promo.code, &self.percent, &self.amount, &self.currency, &self.cities, &self.quotas,
            &promo.per_rider_limit, &promo.total_limit, &promo.valid_from, &promo.valid_until,
        ]
    }
}

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

const QUOTA: Statement = Statement::write(
    "catalogue.put_quota",
    Reach::Named,
    "WITH g AS (SELECT 1 AS ok FROM region_gates
           WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $4::INT8),
         q AS (INSERT INTO promo_quotas (region, code, granted, remaining)
           SELECT $1::TEXT::crdb_internal_region, $2::TEXT, $3::INT8, $3::INT8 FROM g
           ON CONFLICT (region, code) DO UPDATE SET granted = excluded.granted,
             remaining = promo_quotas.remaining + excluded.granted - promo_quotas.granted
           WHERE promo_quotas.granted <> excluded.granted RETURNING 1 AS ok)
     SELECT CASE WHEN EXISTS (SELECT 1 FROM g) THEN 'ok' ELSE 'gate' END AS verdict",
);

/// Grants a region its part of a code's total; what was used stays used. Fails on
/// `promo_quotas_left_check` when more was used than is granted now.
pub async fn put_quota(conn: &Conn, region: &RegionCode, code: &str, granted: i64, epoch: i64) -> Result<Verdict> {
    conn.verdict(&QUOTA, &[region, &code, &granted, &epoch]).await
}

const EDITS: Statement =
    Statement::read("catalogue.list_edits", Reach::Global, "SELECT kind, key FROM catalogue_edits");

async fn list_edits(conn: &Conn) -> Result<HashSet<(String, String)>> {
    conn.rows(&EDITS, &[]).await?.iter().map(|row| Ok((row.get("kind")?, row.get("key")?))).collect()
}

const USED: Statement = Statement::read(
    "catalogue.list_used",
    Reach::Named,
    "SELECT code, granted - remaining AS used FROM promo_quotas
     WHERE region = $1::TEXT::crdb_internal_region AND code = ANY($2::TEXT[])",
);

pub async fn list_used(conn: &Conn, region: &RegionCode, codes: &[&str]) -> Result<Vec<(String, i64)>> {
    conn.rows(&USED, &[region, &codes]).await?.iter().map(|row| Ok((row.get("code")?, row.get("used")?))).collect()
}

fn tariff_key(tariff: &Tariff) -> String {
    format!("{}/{}/{}", tariff.city, tariff.vehicle_type, tariff.valid_from.timestamp())
}

/// Permission, verdict without it, when it is done already, other refusals, the change (with a row
/// when it was made), the kind of entry, the event's action and metadata. $10 is the catalogue's id
/// in events, $11 the entry's key.
macro_rules! catalogue_change_sql {
    (
        $role:literal,
        $not:literal,
        $already:literal,
        $refusals:expr,
        $change:literal,
        $kind:literal,
        $action:expr,
        $metadata:literal
    ) => {
        formatcp!(
            "{BY_ROLE},
             a AS (SELECT 1 AS ok FROM role_grants
               WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID AND {role}),
             verdict AS (SELECT CASE
                 WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN NOT EXISTS (SELECT 1 FROM a) THEN '{not}'
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
            role = $role,
            not = $not,
            already = $already,
            refusals = $refusals,
            change = $change,
            kind = $kind,
            action = $action,
            metadata = $metadata
        )
    };
}

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

// $12 to $18 as in `tariff_params`; $19 what the form is based on.
const SET_TARIFF: Statement = Statement::write(
    "catalogue.set_tariff",
    Reach::Named,
    catalogue_change_sql!(
        "(role = 'administrator' OR role = 'operator' AND city = $12::TEXT)",
        "not_operator",
        "EXISTS (SELECT 1 FROM (SELECT unlock_minor, per_minute_minor, out_of_area_minor, max_charge_minor FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from <= $14::TIMESTAMPTZ
                     ORDER BY valid_from DESC LIMIT 1) AS held
                   WHERE held.unlock_minor = $15::INT8 AND held.per_minute_minor = $16::INT8
                     AND held.out_of_area_minor = $17::INT8
                     AND held.max_charge_minor IS NOT DISTINCT FROM $18::INT8)",
        "WHEN $19::JSONB <> (SELECT coalesce(jsonb_agg(jsonb_build_array(extract(EPOCH FROM valid_from)::INT8,
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
        TARIFF_SET,
        "jsonb_build_object('city', $12::TEXT, 'vehicle_type', $13::TEXT, 'valid_from', $14::TIMESTAMPTZ,
               'unlock_minor', $15::INT8, 'per_minute_minor', $16::INT8, 'out_of_area_minor', $17::INT8,
               'max_charge_minor', $18::INT8)"
    ),
)
.reading_global(CHANGES_IT);

/// The state that a tariff form is based on, all tariffs of a vehicle type in a city: from when (in
/// seconds), unlocking, a minute, the fee outside the area, the most.
pub type SeenTariffs = Vec<(i64, i64, i64, i64, Option<i64>)>;

pub fn seen<'a>(tariffs: impl Iterator<Item = &'a Tariff>) -> SeenTariffs {
    let mut rows: SeenTariffs = tariffs
        .map(|t| {
            let at = t.valid_from.timestamp();
            (at, t.unlock_minor, t.per_minute_minor, t.out_of_area_fee_minor, t.max_charge_minor)
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// Sets a price from a time on, if the tariffs are still those `seen`.
pub async fn set_tariff(conn: &Conn, write: &Write<'_>, tariff: &Tariff, seen: &SeenTariffs) -> Result<Verdict> {
    let seen = json!(seen);
    let rest = [&tariff_params(tariff)[..], &[&seen]].concat();
    change(conn, &SET_TARIFF, write, &tariff_key(tariff), &rest).await
}

// $12 to $18 as in `tariff_params`.
const WITHDRAW_TARIFF: Statement = Statement::write(
    "catalogue.withdraw_tariff",
    Reach::Named,
    catalogue_change_sql!(
        "(role = 'administrator' OR role = 'operator' AND city = $12::TEXT)",
        "not_operator",
        "NOT EXISTS (SELECT 1 FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT
                     AND valid_from = $14::TIMESTAMPTZ)",
        "WHEN $14::TIMESTAMPTZ <= $5::TIMESTAMPTZ AND (NOT EXISTS (SELECT 1 FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from < $14::TIMESTAMPTZ)
                   OR EXISTS (SELECT 1 FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT
                     AND valid_from > $14::TIMESTAMPTZ AND valid_from <= $5::TIMESTAMPTZ))
                   OR NOT EXISTS (SELECT 1 FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from = $14::TIMESTAMPTZ
                       AND unlock_minor = $15::INT8 AND per_minute_minor = $16::INT8
                       AND out_of_area_minor = $17::INT8
                       AND max_charge_minor IS NOT DISTINCT FROM $18::INT8) THEN 'changed'",
        "DELETE FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from = $14::TIMESTAMPTZ
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok')",
        "tariff",
        TARIFF_WITHDRAWN,
        "jsonb_build_object('city', $12::TEXT, 'vehicle_type', $13::TEXT, 'valid_from', $14::TIMESTAMPTZ)"
    ),
)
.reading_global(CHANGES_IT);

/// Takes back a price that is to come, or the one in force if there is one before it.
pub async fn withdraw_tariff(conn: &Conn, write: &Write<'_>, tariff: &Tariff) -> Result<Verdict> {
    change(conn, &WITHDRAW_TARIFF, write, &tariff_key(tariff), &tariff_params(tariff)).await
}

// $12 to $21 as in `PromoColumns::params`.
const ADD_PROMO: Statement = Statement::write(
    "catalogue.add_promo_code",
    Reach::Named,
    catalogue_change_sql!(
        "role = 'administrator'",
        "not_administrator",
        "EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT
                   AND (percent, amount_minor, currency, cities, quotas, per_rider_limit, valid_from, valid_until)
                     IS NOT DISTINCT FROM ($13::INT8, $14::INT8, $15::TEXT, $16::JSONB, $17::JSONB, $18::INT8,
                       $20::TIMESTAMPTZ, $21::TIMESTAMPTZ))",
        "WHEN EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT) THEN 'promo_taken'",
        "INSERT INTO promo_codes (code, percent, amount_minor, currency, cities, quotas, per_rider_limit, total_limit,
               valid_from, valid_until)
             SELECT $12::TEXT, $13::INT8, $14::INT8, $15::TEXT, $16::JSONB, $17::JSONB, $18::INT8, $19::INT8,
               $20::TIMESTAMPTZ, $21::TIMESTAMPTZ FROM verdict WHERE verdict.code = 'ok'",
        "promo_code",
        PROMO_CODE_ADDED,
        "jsonb_build_object('code', $12::TEXT, 'total_limit', $19::INT8, 'valid_from', $20::TIMESTAMPTZ,
               'valid_until', $21::TIMESTAMPTZ)"
    ),
)
.reading_global(CHANGES_IT);

pub async fn add_promo_code(conn: &Conn, write: &Write<'_>, promo: &PromoCode) -> Result<Verdict> {
    change(conn, &ADD_PROMO, write, &promo.code, &PromoColumns::of(promo).params(promo)).await
}

// $12 code; the new $13 end, $14 limit per rider, $15 total, $16 quotas; those seen: $17 end, $18
// limit per rider, $19 quotas.
const SET_PROMO: Statement = Statement::write(
    "catalogue.set_promo_code",
    Reach::Named,
    catalogue_change_sql!(
        "role = 'administrator'",
        "not_administrator",
        "EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT AND valid_until = $13::TIMESTAMPTZ
                   AND per_rider_limit = $14::INT8 AND quotas = $16::JSONB)",
        "WHEN NOT EXISTS (SELECT 1 FROM promo_codes WHERE promo_codes.code = $12::TEXT
                   AND valid_until = $17::TIMESTAMPTZ AND per_rider_limit = $18::INT8 AND quotas = $19::JSONB)
                   THEN 'changed'",
        "UPDATE promo_codes SET valid_until = $13::TIMESTAMPTZ, per_rider_limit = $14::INT8, total_limit = $15::INT8,
               quotas = $16::JSONB FROM verdict WHERE promo_codes.code = $12::TEXT AND verdict.code = 'ok'",
        "promo_code",
        PROMO_CODE_CHANGED,
        "jsonb_build_object('code', $12::TEXT, 'valid_until', $13::TIMESTAMPTZ, 'per_rider_limit', $14::INT8,
               'total_limit', $15::INT8)"
    ),
)
.reading_global(CHANGES_IT);

/// Changes end, limits and quotas, if they are still those `seen`.
pub async fn set_promo_code(conn: &Conn, write: &Write<'_>, seen: &PromoCode, new: &PromoCode) -> Result<Verdict> {
    let (quotas, seen_quotas) = (json!(new.quotas), json!(seen.quotas));
    let rest: [Param<'_>; 8] = [
        &new.code, &new.valid_until, &new.per_rider_limit, &new.total_limit, &quotas, &seen.valid_until,
        &seen.per_rider_limit, &seen_quotas,
    ];
    change(conn, &SET_PROMO, write, &new.code, &rest).await
}

// $12 short name, $13 region, $14 name, $15 and $16 centre, $17 time zone, $18 currency, $19
// service area, $20 units, $21 seller, $22 tax, $23 its rate, $24 country.
const ADD_CITY: Statement = Statement::write(
    "catalogue.add_city",
    Reach::Named,
    catalogue_change_sql!(
        "role = 'administrator'",
        "not_administrator",
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
        "role = 'administrator'",
        "not_administrator",
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
        "role = 'administrator'",
        "not_administrator",
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
