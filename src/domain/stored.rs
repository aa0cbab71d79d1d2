//! Times and versions that come from outside and end in a column, limited to what both databases
//! can hold; chrono's and Rust's own types reach farther.

use std::str::FromStr;

use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;

/// A moment of the years 1 to 9999; as text RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Moment(DateTime<Utc>);

impl Moment {
    /// Nothing stored lies beyond it.
    pub const LAST: Self = Self(DateTime::from_timestamp_secs(253_370_764_800).expect("the year 9999"));

    pub fn new(at: DateTime<Utc>) -> Option<Self> {
        (1..10_000).contains(&at.year()).then_some(Self(at))
    }

    /// From a cursor's microseconds since 1970.
    pub fn from_micros(text: &str) -> Option<Self> {
        Self::new(DateTime::from_timestamp_micros(text.parse().ok()?)?)
    }

    pub fn at(self) -> DateTime<Utc> {
        self.0
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or("no moment that can be stored")
    }
}

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A version of a row, or an epoch of a gate; others can follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version(i64);

impl Version {
    /// Far beyond what counting by one reaches.
    pub const LAST: Self = Self(1 << 53);

    pub fn get(self) -> i64 {
        self.0
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().filter(|number| (0..=Self::LAST.0).contains(number));
        number.map(Self).ok_or("no version that can be stored")
    }
}

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_database_stores_is_refused() {
        for bad in
            ["-262143-01-01T00:00:00Z", "+262142-12-31T23:59:59Z", "0000-12-31T23:59:59Z", "+10000-01-01T00:00:00Z"]
        {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
        assert!("0001-01-01T00:00:00Z".parse::<Moment>().is_ok() && "9999-12-31T23:59:59Z".parse::<Moment>().is_ok());
        assert_eq!(Moment::from_micros("-8000000000000000000"), None);
        assert_eq!(Moment::LAST.at().year(), 9999);
        assert!(["-1", "9223372036854775807", "1e3", ""].iter().all(|bad| bad.parse::<Version>().is_err()));
    }
}
