//! What a ride costs: started minutes, charge, discount, and the fee for leaving the vehicle
//! outside the service area. In integer minor units. The fee is added after the discount: a promo
//! code never pays for it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    pub unlock_minor: i64,
    pub per_minute_minor: i64,
    /// Cap on unlocking and minutes together.
    pub max_charge_minor: Option<i64>,
}

impl Rate {
    pub fn charge(self, minutes: i64) -> i64 {
        let charge = self.unlock_minor.saturating_add(self.per_minute_minor.saturating_mul(minutes));
        self.max_charge_minor.map_or(charge, |most| most.min(charge))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discount {
    /// Percent of the charge (1 to 100), rounded down to a minor unit.
    Percent(i64),
    /// Minor units of the ride's currency, at most the charge.
    Amount(i64),
}

impl Discount {
    /// Between 0 and `charge_minor`.
    pub fn off(self, charge_minor: i64) -> i64 {
        let discount = match self {
            Self::Percent(percent) => charge_minor.saturating_mul(percent) / 100,
            Self::Amount(minor) => minor,
        };
        discount.clamp(0, charge_minor.max(0))
    }
}

/// A tax that prices include: what a receipt calls it, and its rate in hundredths of a percent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tax {
    pub name: String,
    pub rate: i64,
}

impl Tax {
    /// What of `total_minor` is tax, rounded half up.
    pub fn included(&self, total_minor: i64) -> i64 {
        let whole = 10_000 + self.rate;
        (2 * total_minor * self.rate + whole) / (2 * whole)
    }

    /// As in "20%", "5.5%".
    pub fn percent(&self) -> String {
        let (whole, rest) = (self.rate / 100, self.rate % 100);
        let digits = format!("{whole}.{rest:02}");
        format!("{}%", digits.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// `total_minor` = charge - discount + fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fare {
    /// Started minutes, at least one.
    pub minutes: i64,
    pub charge_minor: i64,
    pub discount_minor: i64,
    pub fee_minor: i64,
    pub total_minor: i64,
}

impl Fare {
    /// `minutes` are started minutes; `fee_minor` is 0 inside the service area.
    pub fn new(rate: Rate, minutes: i64, discount: Option<Discount>, fee_minor: i64) -> Self {
        let charge_minor = rate.charge(minutes);
        let discount_minor = discount.map_or(0, |discount| discount.off(charge_minor));
        let total_minor = (charge_minor - discount_minor).saturating_add(fee_minor);
        Self { minutes, charge_minor, discount_minor, fee_minor, total_minor }
    }
}

/// The started minutes of a ride that lasted `duration`: at least one, even when clocks disagree.
/// Counts microseconds, the database's resolution, so that a recomputation always agrees.
pub fn minutes_started(duration: TimeDelta) -> i64 {
    const MINUTE_US: i64 = 60_000_000;
    let us = duration.num_microseconds().unwrap_or(i64::MAX);
    (us.saturating_add(MINUTE_US - 1) / MINUTE_US).max(1)
}

/// The time between two others, as from a closing to the opening after it.
pub type Span = (DateTime<Utc>, DateTime<Utc>);

/// How much of a ride is not charged, in started seconds: `closures` of its two regions, in which it could not end. What
/// both have in common counts once.
pub fn uncharged_seconds((from, to): Span, closures: impl IntoIterator<Item = Span>) -> i64 {
    let mut closures: Vec<Span> = closures.into_iter().collect();
    closures.sort();
    let (mut counted, mut us) = (from, 0);
    for (closed, opened) in closures {
        let (since, until) = (closed.max(counted), opened.min(to));
        if since < until {
            us += (until - since).num_microseconds().unwrap_or(i64::MAX);
            counted = until;
        }
    }
    (us + 999_999) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { unlock_minor: 100, per_minute_minor: 25, max_charge_minor: None };

    #[test]
    fn minutes_are_started_minutes() {
        for (us, minutes) in
            [(-5, 1), (0, 1), (1, 1), (60_000_000, 1), (60_000_001, 2), (120_000_000, 2), (i64::MAX, 153_722_867_280)]
        {
            assert_eq!(minutes_started(TimeDelta::microseconds(us)), minutes, "{us} us");
        }
    }

    #[test]
    fn closed_time_counts_once_and_only_within_the_ride() {
        let at = |seconds: f64| DateTime::UNIX_EPOCH + std::time::Duration::from_secs_f64(seconds);
        let ride = (at(100.0), at(200.0));
        for (closures, seconds) in [
            (vec![], 0),
            (vec![(0.0, 100.0), (200.0, 300.0)], 0),
            (vec![(90.0, 110.0), (195.0, 500.0)], 15),
            (vec![(120.0, 140.0), (130.0, 150.0), (125.0, 135.0)], 30),
            (vec![(130.0, 150.0), (130.0, 150.0)], 20),
            (vec![(150.0, 150.000_001)], 1),
            (vec![(0.0, 1000.0)], 100),
        ] {
            let spans = closures.iter().map(|(closed, opened)| (at(*closed), at(*opened)));
            assert_eq!(uncharged_seconds(ride, spans), seconds, "{closures:?}");
        }
    }

    #[test]
    fn fee_comes_after_the_discount() {
        let fare = Fare::new(RATE, 10, Some(Discount::Percent(50)), 500);
        assert_eq!(
            fare,
            Fare { minutes: 10, charge_minor: 350, discount_minor: 175, fee_minor: 500, total_minor: 675 }
        );
    }

    #[test]
    fn discounts_round_down_and_stop_at_the_charge() {
        assert_eq!(Discount::Percent(33).off(101), 33);
        assert_eq!(Discount::Percent(100).off(101), 101);
        assert_eq!(Discount::Amount(200).off(125), 125);
        assert_eq!(Discount::Amount(100).off(125), 100);
        assert_eq!(Fare::new(RATE, 1, Some(Discount::Amount(9_999)), 0).total_minor, 0);
    }

    #[test]
    fn the_tax_is_what_the_net_price_lacks() {
        for (rate, total, tax, percent) in [
            (2000, 1200, 200, "20%"),
            (550, 1055, 55, "5.5%"),
            (2100, 340, 59, "21%"),
            (810, 1, 0, "8.1%"),
            (2000, 0, 0, "20%"),
        ] {
            let of = Tax { name: "VAT".to_owned(), rate };
            assert_eq!((of.included(total), of.percent().as_str()), (tax, percent));
        }
    }

    proptest! {
        #[test]
        fn parts_add_up(
            unlock in 0..100_000_i64,
            per_minute in 0..100_000_i64,
            minutes in 1..1_000_000_i64,
            percent in 1..=100_i64,
            fee in 0..100_000_i64,
            most in proptest::option::of(0..100_000_i64),
        ) {
            let rate = Rate { unlock_minor: unlock, per_minute_minor: per_minute, max_charge_minor: most };
            let fare = Fare::new(rate, minutes, Some(Discount::Percent(percent)), fee);
            prop_assert!(most.is_none_or(|most| fare.charge_minor <= most));
            prop_assert!((0..=fare.charge_minor).contains(&fare.discount_minor));
            prop_assert_eq!(
                fare.total_minor,
                fare.charge_minor - fare.discount_minor + fare.fee_minor
            );
            prop_assert!(Fare::new(rate, minutes + 1, None, fee).total_minor >= fare.total_minor);
        }
    }
}
