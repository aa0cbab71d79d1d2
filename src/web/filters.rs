//! Filters of the templates: how times, money and distances are written on pages.
#![allow(
    clippy::cast_precision_loss,
    clippy::inline_always,
    clippy::trivially_copy_pass_by_ref,
    reason = "askama's macro and its calling convention; metres of a ride are far below 2^52"
)]

use std::fmt::Display;

use askama::{Values, filter_fn, filters::Safe};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

pub use crate::domain::text::number;
use crate::domain::{City, Currency, Units, fare::minutes_started};

/// Whose clock and way of writing a page follows: a city's, or that of a zone alone.
pub trait Local {
    fn zone(&self) -> Tz;
    fn units(&self) -> Units {
        Units::Metric
    }
}

impl Local for City {
    fn zone(&self) -> Tz {
        self.time_zone
    }

    fn units(&self) -> Units {
        self.units
    }
}

impl Local for Tz {
    fn zone(&self) -> Tz {
        *self
    }
}

impl<L: Local> Local for &L {
    fn zone(&self) -> Tz {
        (*self).zone()
    }

    fn units(&self) -> Units {
        (*self).units()
    }
}

/// As in "Sat 21 Nov 2026, 10:42 CET" or "Sat, Nov 21, 2026, 10:42 AM EST": in autumn an hour comes
/// twice, and only the zone tells which it was.
#[filter_fn]
pub fn time<L: Local>(at: &DateTime<Utc>, _: &dyn Values, city: &L) -> askama::Result<Safe<String>> {
    Ok(element(*at, city.zone(), &format!("{} %Z", city.units().day_and_time())))
}

/// Without weekday and zone, where the page names the zone once: "1 Jan 2024, 00:00".
#[filter_fn]
pub fn date<L: Local>(at: &DateTime<Utc>, _: &dyn Values, city: &L) -> askama::Result<Safe<String>> {
    Ok(element(*at, city.zone(), city.units().date_and_time()))
}

#[filter_fn]
pub fn clock(at: &DateTime<Utc>, _: &dyn Values, city: &City) -> askama::Result<String> {
    Ok(time_of_day(*at, city))
}

/// As in "10:42 CET".
pub fn time_of_day(at: DateTime<Utc>, city: &City) -> String {
    at.with_timezone(&city.time_zone).format(&format!("{} %Z", city.units.time())).to_string()
}

/// In UTC, for pages about regions; to the microsecond for machines.
#[filter_fn]
pub fn utc(at: &DateTime<Utc>, _: &dyn Values, format: &str) -> askama::Result<Safe<impl Display>> {
    let iso = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    Ok(Safe(format!("<time datetime=\"{iso}\">{}</time>", at.format(format))))
}

#[filter_fn]
pub fn ago(at: &DateTime<Utc>, _: &dyn Values, now: &DateTime<Utc>) -> askama::Result<String> {
    Ok(age(*now - *at))
}

fn element(at: DateTime<Utc>, zone: Tz, format: &str) -> Safe<String> {
    let iso = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Safe(format!("<time datetime=\"{iso}\">{}</time>", at.with_timezone(&zone).format(format)))
}

/// As in "$1.00".
#[filter_fn]
pub fn money(minor: &i64, _: &dyn Values, currency: &Currency) -> askama::Result<String> {
    Ok(currency.format(*minor))
}

/// A number with its noun, as in "1 vehicle" or "1,250 cities"; code calls [`counted`].
#[filter_fn]
pub fn count<N: Display>(n: N, _: &dyn Values, noun: &str) -> askama::Result<String> {
    Ok(counted(n, noun))
}

/// As in "120 m" or "1.3 mi".
#[filter_fn]
pub fn distance(metres: &f64, _: &dyn Values, units: &Units) -> askama::Result<String> {
    Ok(units.length(*metres))
}

/// For whole metres, as a ride stores them.
#[filter_fn]
pub fn metres(metres: &i64, _: &dyn Values, units: &Units) -> askama::Result<String> {
    Ok(units.length(*metres as f64))
}

/// Started minutes, as rides are charged: "12 min", "3 h 5 min".
#[filter_fn]
pub fn minutes(minutes: &i64, _: &dyn Values) -> askama::Result<String> {
    Ok(lasted(*minutes))
}

/// The same, of seconds.
#[filter_fn]
pub fn duration(seconds: &i64, _: &dyn Values) -> askama::Result<String> {
    Ok(lasted(minutes_started(TimeDelta::seconds(*seconds))))
}

/// As in "12 s ago", "3 min ago", "2 h ago" or "9 days ago".
pub fn age(gone: TimeDelta) -> String {
    match gone.num_seconds().max(0) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// As in "1 vehicle" or "1,250 cities"; the noun is regular, or "person". Any integer, or a reference
/// to one, as templates pass it.
pub fn counted(n: impl Display, noun: &str) -> String {
    let n = number(n);
    if n == "1" { format!("1 {noun}") } else { format!("{n} {}", plural(noun)) }
}

fn plural(noun: &str) -> String {
    let vowel_before_y = ["ay", "ey", "oy"].iter().any(|end| noun.ends_with(end));
    match noun {
        "person" => "people".to_owned(),
        _ if noun.ends_with('y') && !vowel_before_y => format!("{}ies", noun.trim_end_matches('y')),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// Code's way to the filter [`minutes`].
pub fn lasted(minutes: i64) -> String {
    if minutes < 60 { format!("{minutes} min") } else { format!("{} h {} min", minutes / 60, minutes % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_follows_its_number() {
        let said = [
            (0, "bike"),
            (1, "city"),
            (1_250, "city"),
            (2, "day"),
            (2, "match"),
            (1, "person"),
            (-12_345_678, "person"),
        ];
        let said = said.map(|(n, noun)| counted(n, noun));
        let expected = ["0 bikes", "1 city", "1,250 cities", "2 days", "2 matches", "1 person", "−12,345,678 people"];
        assert_eq!(said, expected);
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart() {
        let format = format!("{} %Z", Units::Us.day_and_time());
        let at = |text: &str| element(text.parse().unwrap(), Tz::America__New_York, &format).0;
        assert!(at("2026-11-01T05:50:00Z").ends_with(">Sun, Nov 1, 2026, 1:50 AM EDT</time>"));
        assert!(at("2026-11-01T06:10:00Z").ends_with(">Sun, Nov 1, 2026, 1:10 AM EST</time>"));
    }
}
