//! Rides: their keys, limits, and the number on a receipt. The number is for people only and needs
//! no counter, whose row would be the hottest of the database.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{catalogue::City, geo::Point, region::RegionCode};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RideRef {
    pub region: RegionCode,
    pub id: Uuid,
}

/// Letters that are not mistaken for each other when read aloud.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

impl RideRef {
    /// The number on the receipt, such as `EUW1-261120-7F3K9`: region, day (UTC), and five letters
    /// from the id. For display only: it is not unique.
    pub fn number(&self, started_at: DateTime<Utc>) -> String {
        let mut bits = self.id.as_u128();
        let letters: String = std::iter::repeat_with(|| {
            let letter = LETTERS.get((bits & 31) as usize).copied().unwrap_or(b'2');
            bits >>= 5;
            char::from(letter)
        })
        .take(5)
        .collect();
        format!("{}-{}-{letters}", self.region.short(), started_at.format("%y%m%d"))
    }
}

/// What a number on a receipt says: the day on which the ride began (UTC), and the end of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RideNumber {
    pub day: NaiveDate,
    bits: u32,
}

impl RideNumber {
    /// Reads a number as people type it, of a ride in `region`.
    pub fn parse(text: &str, region: &RegionCode) -> Option<Self> {
        let text = text.trim().to_uppercase();
        let (day, letters) = text.strip_prefix(&region.short())?.strip_prefix('-')?.split_once('-')?;
        let digit = |letter: u8| LETTERS.iter().position(|of| *of == letter).and_then(|at| u32::try_from(at).ok());
        let bits = letters.bytes().rev().try_fold(0, |bits, letter| Some(bits << 5 | digit(letter)?));
        let bits = bits.filter(|_| letters.len() == 5)?;
        Some(Self { day: NaiveDate::parse_from_str(day, "%y%m%d").ok()?, bits })
    }

    /// The last six hexadecimal digits of the ride's id, and those that may stand before them.
    pub fn digits(self) -> (String, &'static str) {
        let odd = self.bits >> 24 & 1 == 1;
        (format!("{:06x}", self.bits & 0xff_ffff), if odd { "13579bdf" } else { "02468ace" })
    }
}

/// Why an operator acts on somebody's ride: a code, and its words. Chosen and not typed, because what
/// people type about others has no place in events and on receipts.
pub type Reasons = [(&'static str, &'static str)];

pub const END_REASONS: &Reasons = &[
    ("left_running", "The ride was left running"),
    ("fault", "The vehicle broke down"),
    ("lost", "The vehicle was lost or taken away"),
    ("safety", "Safety"),
];

pub const CREDIT_REASONS: &Reasons = &[
    ("fault", "The vehicle broke down"),
    ("left_running", "The ride was left running"),
    ("wrong_price", "The price was wrong"),
    ("goodwill", "Goodwill"),
];

/// Why an operator may learn who rode.
pub const RIDER_REASONS: &Reasons =
    &[("police", "Police request"), ("accident", "Accident"), ("lost_property", "Lost property")];

pub fn reason(of: &Reasons, code: &str) -> Result<&'static str, String> {
    let known = of.iter().find(|(known, _)| *known == code).map(|(known, _)| *known);
    known.ok_or_else(|| "Please choose a reason.".to_owned())
}

/// As in "The vehicle broke down".
pub fn reason_text(code: &str) -> &str {
    let mut all = END_REASONS.iter().chain(CREDIT_REASONS).chain(RIDER_REASONS);
    all.find(|(known, _)| *known == code).map_or(code, |(_, text)| *text)
}

/// A ride that is under way for longer was probably forgotten.
pub const RIDE_LONG: TimeDelta = TimeDelta::hours(3);
/// A ride that is open for longer is ended by the system, as of then.
pub const RIDE_MAX: TimeDelta = TimeDelta::hours(RIDE_MAX_HOURS);
/// For statements.
pub const RIDE_MAX_HOURS: i64 = 24;
/// Two positions of a ride lie at least this far apart, in seconds.
pub const POSITION_EVERY_S: i64 = 5;
pub const POSITIONS_MAX: i64 = 5_000;
/// Nobody rides faster.
pub const SPEED_MAX_KMH: u8 = 120;

/// A position in one of the chains in which a batch can continue.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub chain: i64,
    pub nth: i64,
    pub at: DateTime<Utc>,
    pub point: Point,
    /// From the one before, in metres; 0 for the first.
    pub metres: f64,
}

/// The possible continuations of a ride in `city`, one for each position that may come first after
/// the stored ones, which only the database knows. Left out are positions in the future, too far
/// from the city, or too soon or too fast after the one before; and chains that begin later without
/// being better.
pub fn chains(city: &City, now: DateTime<Utc>, mut noted: Vec<(DateTime<Utc>, Point)>) -> Vec<Step> {
    noted.retain(|(at, point)| *at <= now && city.allows(*point));
    noted.sort_by_key(|(at, _)| *at);
    noted.dedup_by_key(|(at, _)| *at);
    let mut steps = Vec::new();
    for (chain, first) in (0..).zip(&noted) {
        let (mut nth, mut last) = (0, *first);
        steps.push(Step { chain, nth, at: last.0, point: last.1, metres: 0.0 });
        for (at, point) in noted.iter().filter(|(at, _)| *at > first.0) {
            let (elapsed, metres) = (*at - last.0, last.1.distance_m(*point));
            if elapsed.num_seconds() >= POSITION_EVERY_S
                && metres <= elapsed.as_seconds_f64() * f64::from(SPEED_MAX_KMH) / 3.6
            {
                (nth, last) = (nth + 1, (*at, *point));
                steps.push(Step { chain, nth, at: *at, point: *point, metres });
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_that_cannot_be_true_are_dropped() -> Result<(), Box<dyn std::error::Error>> {
        let file = crate::domain::catalogue::Catalogue::parse(include_str!("../../deploy/catalog.toml"))?;
        let city = file.cities.first().ok_or("no city")?;
        let start: DateTime<Utc> = "2026-11-20T12:00:00Z".parse()?;
        let now = start + TimeDelta::hours(20);
        // A step is 111 m north of the one before; a second number is the time in seconds.
        let at = |steps: f64, seconds: i64| {
            let point = Point::new(city.centre.lat() + steps * 0.001, city.centre.lon());
            point.map(|point| (start + TimeDelta::seconds(seconds), point))
        };
        let far = (start + TimeDelta::seconds(30), Point::new(0.0, 1e-200)?);
        for (what, batch, kept) in [
            ("in order", vec![at(1.0, 10)?, at(2.0, 20)?, at(3.0, 30)?], vec![10, 20, 30]),
            ("out of order", vec![at(3.0, 30)?, at(1.0, 10)?, at(2.0, 20)?], vec![10, 20, 30]),
            ("twice", vec![at(1.0, 10)?, at(1.0, 10)?], vec![10]),
            ("sooner than in five seconds", vec![at(1.0, 10)?, at(1.1, 14)?, at(1.2, 15)?], vec![10, 15]),
            ("in the future", vec![at(1.0, 10)?, at(2.0, 72_001)?], vec![10]),
            ("too fast, and back", vec![at(1.0, 10)?, at(90.0, 20)?, at(2.0, 30)?], vec![10, 30]),
            ("119 and 121 km/h", vec![at(1.0, 10)?, at(1.0 + 2.97, 20)?, at(3.97 + 3.03, 30)?], vec![10, 20]),
            ("outside the city, first and later", vec![far, at(1.0, 40)?, (at(1.0, 9_000)?.0, far.1)], vec![40]),
        ] {
            let steps = chains(city, now, batch);
            let first = steps.iter().filter(|step| step.chain == 0);
            let times: Vec<i64> = first.map(|step| (step.at - start).num_seconds()).collect();
            assert_eq!(times, kept, "{what}");
        }
        // Whatever is stored already, the rest can go on by itself.
        let steps = chains(city, now, vec![at(90.0, 10)?, at(1.0, 20)?, at(2.0, 30)?]);
        let found: Vec<_> = steps.iter().map(|step| (step.chain, step.nth, (step.at - start).num_seconds())).collect();
        assert_eq!(found, [(0, 0, 10), (1, 0, 20), (1, 1, 30), (2, 0, 30)]);
        Ok(())
    }

    #[test]
    fn a_number_tells_region_and_day() -> Result<(), Box<dyn std::error::Error>> {
        let ride = RideRef { region: "europe-west1".parse()?, id: Uuid::from_u128(0x1234_5678_9abc) };
        let number = ride.number("2026-11-20T23:59:00Z".parse()?);
        assert!(number.starts_with("EUW1-261120-"), "{number}");
        assert_eq!(number.len(), "EUW1-261120-7F3K9".len());
        let read = RideNumber::parse(&format!(" {} ", number.to_lowercase()), &ride.region).ok_or("it is a number")?;
        assert_eq!((read.day, read.digits()), ("2026-11-20".parse()?, ("789abc".to_owned(), "02468ace")));
        for other in ["", "EUW1-261120-7F3K", "EUW1-261120-7F3K99", "EUW1-261320-7F3K9", "USE1-261120-7F3K9", "é"] {
            assert_eq!(RideNumber::parse(other, &ride.region), None, "{other}");
        }
        Ok(())
    }
}
