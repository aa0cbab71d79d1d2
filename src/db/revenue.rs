//! What a city's ended rides earned in a period, by day, month, vehicle type or vehicle: fares and
//! what was taken off them. Read from one index, which has all of it.

use chrono::{DateTime, Utc};

use super::{Conn, Param, Reach, Result, Row, Statement};
use crate::domain::{City, Currency};

pub const ALL: &[&Statement] = &[&LIST];

/// Rides of one day, month, vehicle type or vehicle in one currency; amounts in minor units.
#[derive(Debug, Clone)]
pub struct Revenue {
    /// As in `2026-11-21`, `2026-11`, `bike`, or a vehicle's id; empty for all together.
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

const LIST: Statement = Statement::read(
    "revenue.list",
    Reach::Named,
    "SELECT t.key, v.code, t.currency, t.rides, t.fares, t.discounts, t.fees, t.credits
     FROM (SELECT CASE $5::TEXT WHEN 'day' THEN (ended_at AT TIME ZONE $6::TEXT)::DATE::TEXT
             WHEN 'month' THEN left((ended_at AT TIME ZONE $6::TEXT)::DATE::TEXT, 7)
             WHEN 'type' THEN vehicle_type WHEN 'vehicle' THEN vehicle_id::TEXT ELSE '' END AS key,
           CASE WHEN $5::TEXT = 'vehicle' THEN vehicle_id END AS vehicle, currency, count(*) AS rides,
           sum(charge_minor)::INT8 AS fares, sum(discount_minor)::INT8 AS discounts, sum(fee_minor)::INT8 AS fees,
           sum(credited_minor)::INT8 AS credits
         FROM rides WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND ended_at >= $3 AND ended_at < $4
         GROUP BY 1, 2, 3) AS t
       LEFT JOIN vehicles AS v ON v.region = $1::TEXT::crdb_internal_region AND v.id = t.vehicle
     WHERE t.key > $7::TEXT OR (t.key = $7::TEXT AND t.currency > $8::TEXT)
     ORDER BY t.key, t.currency LIMIT $9",
);

/// Of rides of `city` that ended from the one time until before the other, `by` day, month, type or
/// vehicle, or all together.
pub async fn list(
    conn: &Conn,
    city: &City,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    by: &str,
    (key, currency): &Cursor,
    limit: i64,
) -> Result<Vec<Revenue>> {
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
    let zone = city.time_zone.name();
    let params: [Param<'_>; 9] = [&city.region, &city.slug, &from, &to, &by, &zone, key, currency, &limit];
    conn.rows(&LIST, &params).await?.iter().map(read).collect()
}
