//! Fleets: what operators look for in a city, and in which order. An order and a filter that go
//! together ("idle longer than" in the order of idleness) end a list early, which keeps rare
//! filters cheap.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub fn status_text(status: &str) -> &'static str {
    match status {
        "available" => "Available",
        "reserved" => "Reserved",
        "in_use" => "Being ridden",
        "maintenance" => "In maintenance",
        "waiting" => "Waiting for approval",
        "declined" => "Not approved",
        "paused" => "Paused by its owner",
        "lost" => "Lost",
        _ => "Retired",
    }
}

/// The statuses in a fleet, in display order; retired vehicles are not part of it.
pub const STATUSES: [&str; 4] = ["available", "in_use", "maintenance", "lost"];

pub const NOTE_MAX: usize = 200;

/// Each has its index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// By the operator's own code; without one first.
    #[default]
    Code,
    /// Lowest charge first.
    Battery,
    /// Longest idle first.
    Seen,
}

/// The key of the last vehicle that was read, as a cursor.
#[derive(Debug, Clone, PartialEq)]
pub enum Key {
    Code(String),
    Battery(i64),
    Seen(DateTime<Utc>),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Filter {
    /// None for all but retired ones.
    pub status: Option<String>,
    #[serde(rename = "kind")]
    pub vehicle_type: Option<String>,
    /// In percent.
    pub battery_below: Option<i64>,
    /// Not moved since before then.
    pub idle_since: Option<DateTime<Utc>>,
    /// Any part of the code, in any case. In stored jobs it keeps its former name: an older
    /// release takes it for the beginning of the code, and selects no more vehicles by it.
    #[serde(rename = "prefix")]
    pub code: Option<String>,
}

impl Filter {
    pub fn statuses(&self) -> Vec<&str> {
        self.status.as_deref().map_or_else(|| STATUSES.to_vec(), |status| vec![status])
    }

    /// Whether nothing after a vehicle with this key can match.
    pub fn ends_at(&self, key: &Key) -> bool {
        match key {
            Key::Code(_) => false,
            Key::Battery(battery) => self.battery_below.is_some_and(|below| *battery >= below),
            Key::Seen(seen) => self.idle_since.is_some_and(|since| *seen >= since),
        }
    }

    /// Whether the order alone finds what matches: then one page of rows is enough.
    pub fn follows(&self, sort: Sort) -> bool {
        self.vehicle_type.is_none()
            && (self.battery_below.is_none() || sort == Sort::Battery)
            && (self.idle_since.is_none() || sort == Sort::Seen)
            && self.code.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_its_order_says_so() {
        let filter = Filter { battery_below: Some(20), code: Some("BOS".to_owned()), ..Filter::default() };
        assert!(filter.ends_at(&Key::Battery(20)) && !filter.ends_at(&Key::Battery(19)));
        assert!(!filter.ends_at(&Key::Code("BOT".to_owned())), "a code may have it anywhere");
        assert!(!filter.follows(Sort::Battery) && !filter.follows(Sort::Code));
        assert!(Filter { battery_below: Some(20), ..Filter::default() }.follows(Sort::Battery));
    }

    #[test]
    fn a_filter_that_an_older_release_stored_is_read() {
        let stored = serde_json::json!({ "status": "lost", "kind": "bike", "battery_below": 20, "prefix": "NY-" });
        let filter: Filter = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!((filter.vehicle_type.as_deref(), filter.code.as_deref()), (Some("bike"), Some("NY-")));
        // Nor does an older release lose what this one stores.
        let again = serde_json::to_value(filter).unwrap();
        assert!(stored.as_object().unwrap().iter().all(|(key, value)| again[key] == *value), "{again}");
    }
}
