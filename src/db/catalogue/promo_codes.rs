//! Promo codes, and their quotas in each region.

use const_format::formatcp;
use serde_json::{Value, json};

use super::{CHANGES_IT, NOT_ADMINISTRATOR, catalogue_change_sql, change};
use crate::{
    db::{Conn, EVENT, Param, Reach, Result, Statement, Verdict, Write, verdict::BY_ADMINISTRATOR},
    domain::{
        RegionCode,
        catalogue::{PromoCode, PromoDiscount},
        event::{PROMO_CODE_ADDED, PROMO_CODE_CHANGED},
    },
};

pub const ALL: &[&Statement] = &[&QUOTA, &USED, &ADD_PROMO, &SET_PROMO];

pub(super) struct PromoColumns {
    percent: Option<i64>,
    amount: Option<i64>,
    currency: Option<&'static str>,
    cities: Value,
    quotas: Value,
}

impl PromoColumns {
    pub(super) fn of(promo: &PromoCode) -> Self {
        let (percent, amount, currency) = match promo.discount {
            PromoDiscount::Percent { percent } => (Some(percent), None, None),
            PromoDiscount::Amount { amount_minor, currency } => (None, Some(amount_minor), Some(currency.as_str())),
        };
        Self { percent, amount, currency, cities: json!(promo.cities), quotas: json!(promo.quotas) }
    }

    pub(super) fn params<'a>(&'a self, promo: &'a PromoCode) -> [Param<'a>; 10] {
        [
            &promo.code, &self.percent, &self.amount, &self.currency, &self.cities, &self.quotas,
            &promo.per_rider_limit, &promo.total_limit, &promo.valid_from, &promo.valid_until,
        ]
    }
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

const USED: Statement = Statement::read(
    "catalogue.list_used",
    Reach::Named,
    "SELECT code, granted - remaining AS used FROM promo_quotas
     WHERE region = $1::TEXT::crdb_internal_region AND code = ANY($2::TEXT[])",
);

pub async fn list_used(conn: &Conn, region: &RegionCode, codes: &[&str]) -> Result<Vec<(String, i64)>> {
    conn.rows(&USED, &[region, &codes]).await?.iter().map(|row| Ok((row.get("code")?, row.get("used")?))).collect()
}

// $12 to $21 as in `PromoColumns::params`.
const ADD_PROMO: Statement = Statement::write(
    "catalogue.add_promo_code",
    Reach::Named,
    catalogue_change_sql!(
        BY_ADMINISTRATOR,
        NOT_ADMINISTRATOR,
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
        BY_ADMINISTRATOR,
        NOT_ADMINISTRATOR,
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
