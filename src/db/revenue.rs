//! What a city's ended rides earned in a period, by day, month, vehicle type or vehicle: fares and
//! what was taken off them. Read from one index, which has all of it.

use chrono::{DateTime, Utc};
use const_format::formatcp;

use super::{Conn, Param, Reach, Result, Row, Statement};
use crate::domain::{City, Currency};

pub const ALL: &[&Statement] = &[&LIST];

/// Rides of one day, month, vehicle type or vehicle in one currency; amounts in minor units.
#[derive(Debug, Clone)]
pub struct Revenue {
    /// As in `2026-11-21`, `2026-11`, `bike`, or a vehicle's id; empty for a total.
    pub key: String,
    /// Of the vehicle, if it is still in the region.
    pub code: Option<String>,
    pub currency: Currency,
    pub rides: i64,
    pub fares_minor: i64,
    pub discounts_minor: i64,
    pub fees_minor: i64,
    pub credits_minor: i64,
}

impl Revenue {
    pub fn revenue_minor(&self) -> i64 {
        self.fares_minor - self.discounts_minor + self.fees_minor - self.credits_minor
    }

    pub fn cursor(&self) -> Cursor {
        (self.key.clone(), self.currency.as_str().to_owned())
    }
}

pub type Cursor = (String, String);

/// The day on which a ride ended in its city, beside one of [`City::offsets`]: CockroachDB reads a time zone
/// anew for every row that is converted by its name.
pub(super) const LOCAL_DAY: &str = "((ended_at AT TIME ZONE 'UTC') + offset_s * '00:00:01'::INTERVAL)::DATE::TEXT";

// The rides are read and grouped once, for the lines after ($9, $10) and for the totals, which have no
// key and so come first.
const LIST: Statement = Statement::read(
    "revenue.list",
    Reach::Named,
    formatcp!(
        "WITH t AS (SELECT CASE $5::TEXT WHEN 'day' THEN {LOCAL_DAY} WHEN 'month' THEN left({LOCAL_DAY}, 7)
             WHEN 'type' THEN vehicle_type ELSE vehicle_id::TEXT END AS key,
           CASE WHEN $5::TEXT = 'vehicle' THEN vehicle_id END AS vehicle, currency, count(*) AS rides,
           sum(charge_minor)::INT8 AS fares, sum(discount_minor)::INT8 AS discounts, sum(fee_minor)::INT8 AS fees,
           sum(credited_minor)::INT8 AS credits
         FROM rides JOIN unnest($6::TIMESTAMPTZ[], $7::TIMESTAMPTZ[], $8::INT8[]) AS c (begins, ends, offset_s)
           ON ended_at >= c.begins AND ended_at < c.ends
         WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND ended_at >= $3 AND ended_at < $4
         GROUP BY 1, 2, 3),
       lines AS (SELECT key, vehicle, currency, rides, fares, discounts, fees, credits FROM t
         WHERE key > $9::TEXT OR (key = $9::TEXT AND currency > $10::TEXT) ORDER BY key, currency LIMIT $11)
     SELECT '' AS key, NULL::TEXT AS code, currency, sum(rides)::INT8 AS rides, sum(fares)::INT8 AS fares,
       sum(discounts)::INT8 AS discounts, sum(fees)::INT8 AS fees, sum(credits)::INT8 AS credits FROM t GROUP BY currency
     UNION ALL SELECT l.key, v.code, l.currency, l.rides, l.fares, l.discounts, l.fees, l.credits FROM lines AS l
       LEFT JOIN vehicles AS v ON v.region = $1::TEXT::crdb_internal_region AND v.id = l.vehicle
     ORDER BY key, currency"
    ),
);

/// Of rides of `city` that ended from the one time until before the other, `by` day, month, type or
/// vehicle: lines, and the totals of all.
pub async fn list(
    conn: &Conn,
    city: &City,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    by: &str,
    (key, currency): &Cursor,
    limit: i64,
) -> Result<(Vec<Revenue>, Vec<Revenue>)> {
    let read = |row: &Row| {
        Ok(Revenue {
            key: row.get("key")?,
            code: row.get("code")?,
            currency: row.parse("currency")?,
            rides: row.get("rides")?,
            fares_minor: row.get("fares")?,
            discounts_minor: row.get("discounts")?,
            fees_minor: row.get("fees")?,
            credits_minor: row.get("credits")?,
        })
    };
    let parts = city.offsets(from, to);
    let (begins, ends): (Vec<_>, Vec<_>) = parts.iter().map(|(begins, ends, _)| (*begins, *ends)).unzip();
    let offsets: Vec<i64> = parts.iter().map(|(.., offset)| *offset).collect();
    let params: [Param<'_>; 11] =
        [&city.region, &city.slug, &from, &to, &by, &begins, &ends, &offsets, key, currency, &limit];
    let rows: Vec<Revenue> = conn.rows(&LIST, &params).await?.iter().map(read).collect::<Result<_>>()?;
    Ok(rows.into_iter().partition(|row| !row.key.is_empty()))
}
