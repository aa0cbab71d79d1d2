//! How a city writes lengths, dates and times of day.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Units {
    #[default]
    Metric,
    /// Feet and miles, the month before the day, twelve hours.
    Us,
}

pub const FOOT_M: f64 = 0.3048;
pub const MILE_M: f64 = 1_609.344;

impl Units {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Us => "us",
        }
    }

    /// As in "120 m", "2.1 km", "400 ft", "1.3 mi".
    pub fn length(self, metres: f64) -> String {
        let tens = |length: f64| (length / 10.0).round() * 10.0;
        match self {
            Self::Metric if metres < 995.0 => format!("{} m", tens(metres)),
            Self::Metric => format!("{:.1} km", metres / 1000.0),
            Self::Us if metres < MILE_M / 10.0 => format!("{} ft", tens(metres / FOOT_M)),
            Self::Us => format!("{:.1} mi", metres / MILE_M),
        }
    }

    /// Chrono's format of day and time: `Sat 21 Nov 2026, 10:42`.
    pub const fn day_and_time(self) -> &'static str {
        match self {
            Self::Metric => "%a %-d %b %Y, %H:%M",
            Self::Us => "%a, %b %-d, %Y, %-I:%M %p",
        }
    }

    /// Without the time: `Sat 21 Nov 2026`.
    pub const fn day(self) -> &'static str {
        match self {
            Self::Metric => "%a %-d %b %Y",
            Self::Us => "%a, %b %-d, %Y",
        }
    }

    /// Without the weekday: `21 Nov 2026, 10:42`.
    pub const fn date_and_time(self) -> &'static str {
        match self {
            Self::Metric => "%-d %b %Y, %H:%M",
            Self::Us => "%b %-d, %Y, %-I:%M %p",
        }
    }

    /// `10:42`.
    pub const fn time(self) -> &'static str {
        match self {
            Self::Metric => "%H:%M",
            Self::Us => "%-I:%M %p",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_country() {
        for (metres, metric, us) in [
            (4.0, "0 m", "10 ft"),
            (120.0, "120 m", "390 ft"),
            (160.0, "160 m", "520 ft"),
            (161.0, "160 m", "0.1 mi"),
            (994.0, "990 m", "0.6 mi"),
            (2_100.0, "2.1 km", "1.3 mi"),
        ] {
            assert_eq!([Units::Metric.length(metres), Units::Us.length(metres)], [metric, us]);
        }
    }
}
