//! Promo codes: what they take off, where and when they count, how often they may be
//! used. Plain types; how many uses are left lives in the regions' quota rows.
//! The surprise: the total limit is not counted anywhere as one number; it is split
//! into a quota for each region when the code is loaded, so that redeeming stays local.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::City;
use crate::domain::fare::Discount;
use crate::domain::money::Currency;
use crate::domain::region::RegionCode;

/// What a promo code takes off a ride's charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromoKind {
    /// So many hundredths of the charge.
    Percent { percent: i64 },
    /// A fixed amount, at most the charge.
    Amount {
        /// Minor units, positive.
        amount_minor: i64,
        /// The only currency in which it counts.
        currency: Currency,
    },
}

/// A promo code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoCode {
    pub code: String,
    pub discount: PromoKind,
    /// Slugs of the cities where it counts; none means all.
    #[serde(default)]
    pub cities: Vec<String>,
    pub valid_from: DateTime<Utc>,
    pub valid_until: DateTime<Utc>,
    pub per_rider_limit: i64,
    pub total_limit: i64,
    /// The total limit split by the regions in which rides start; one not named has none.
    #[serde(default)]
    pub quotas: BTreeMap<RegionCode, i64>,
}

/// Why a promo code does not count for a ride.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PromoRefusal {
    /// Its time has not begun.
    #[error("this code is not valid yet")]
    NotYet,
    /// Its time is over.
    #[error("this code has expired")]
    Expired,
    /// It is for other cities.
    #[error("this code is not valid in this city")]
    OtherCity,
    /// Its amount is in another currency than the city's.
    #[error("this code is in another currency")]
    OtherCurrency,
}

impl PromoCode {
    /// The discount for a ride that starts in `city` at a time; limits are checked by the database.
    ///
    /// # Errors
    /// The first reason why it does not count.
    pub fn discount_for(&self, city: &City, at: DateTime<Utc>) -> Result<Discount, PromoRefusal> {
        if at < self.valid_from {
            return Err(PromoRefusal::NotYet);
        }
        if at >= self.valid_until {
            return Err(PromoRefusal::Expired);
        }
        if !self.cities.is_empty() && !self.cities.contains(&city.slug) {
            return Err(PromoRefusal::OtherCity);
        }
        match self.discount {
            PromoKind::Percent { percent } => Ok(Discount::Percent(percent)),
            PromoKind::Amount { currency, .. } if currency != city.currency => Err(PromoRefusal::OtherCurrency),
            PromoKind::Amount { amount_minor, .. } => Ok(Discount::Amount(amount_minor)),
        }
    }

    /// How many of the total limit a region was given.
    pub fn quota(&self, region: &RegionCode) -> i64 {
        self.quotas.get(region).copied().unwrap_or(0)
    }
}
