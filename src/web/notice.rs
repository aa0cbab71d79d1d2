//! The notice above every page of a city whose region is closed or draining, or soon will be. It comes from the gates in
//! memory, so that error pages have it too.

use chrono::{DateTime, TimeDelta, Utc};

use super::{RequestContext, filters::Local};
use crate::{
    db::gates::{Gate, Plan},
    domain::{City, Units, region::GateState},
};

/// A planned closing is announced this long before.
const AHEAD: TimeDelta = TimeDelta::hours(24);

/// Of the page's region, the person's home, and the region of their ride, each once.
pub fn all(context: &RequestContext, city: &City) -> Vec<String> {
    let catalogue = &context.catalogue;
    let mut about = vec![(&city.region, city.name.as_str())];
    if let Some(cookie) = &context.cookie {
        about.extend(catalogue.city(&cookie.city).map(|home| (&home.region, home.name.as_str())));
        let ride = cookie.open_ride.as_ref().and_then(|ride| catalogue.region(&ride.region));
        about.extend(ride.map(|region| (&region.code, region.name.as_str())));
    }
    let mut seen = Vec::new();
    about.retain(|(region, _)| !seen.contains(region) && (seen.push(region), true).1);
    let notice = |(region, place)| {
        let Gate { state, reason, until, plan, .. } = context.service.gates.last_seen(region)?;
        let local = catalogue.cities_of(region).next()?;
        text(place, local, context.now, (state, reason.as_deref(), until, &plan))
    };
    about.into_iter().filter_map(notice).collect()
}

/// A gate's state, reason, expected end and plan in words; none while nothing is closed or soon will be.
pub fn text(
    place: &str,
    local: &impl Local,
    now: DateTime<Utc>,
    (state, reason, until, plan): (GateState, Option<&str>, Option<DateTime<Utc>>, &Plan),
) -> Option<String> {
    let time = |at: DateTime<Utc>| {
        let (zone, units) = (local.zone(), local.units());
        let (at, today) = (at.with_timezone(&zone), now.with_timezone(&zone).date_naive());
        let day = match units {
            _ if at.date_naive() == today => "",
            Units::Metric => " on %-d %B",
            Units::Us => " on %B %-d",
        };
        at.format(&format!("{} %Z{day}", units.time())).to_string()
    };
    let why = reason.unwrap_or("maintenance");
    let end = until.filter(|until| *until > now).map_or_else(String::new, |at| format!(" until {}", time(at)));
    let soon = |at: DateTime<Utc>| at < now + AHEAD;
    Some(match (state, plan.drain_at, plan.close_at) {
        (GateState::ReadOnly, ..) => {
            format!("{place} is paused for {why}{end}. If you are riding, this time is not charged.")
        }
        (GateState::Draining, _, Some(close)) => format!(
            "{place} will be paused for {why} from {}{end}. No new rides can start; please end yours before then.",
            time(close)
        ),
        (GateState::Draining, _, None) => {
            format!("{place} will soon be paused for {why}{end}. No new rides can start; please end yours.")
        }
        (GateState::Writable, Some(drain), close) if soon(drain) => {
            let (soon, from) = close.map_or_else(|| (" soon", String::new()), |at| ("", format!(" from {}", time(at))));
            format!("{place} will{soon} be paused for {why}{from}{end}. No new rides can start after {}.", time(drain))
        }
        (GateState::Writable, None, Some(close)) if soon(close) => {
            format!("{place} will be paused for {why} from {}{end}. Please end your ride before then.", time(close))
        }
        (GateState::Writable, ..) => return None,
    })
}

#[cfg(test)]
mod tests {
    use GateState::{Draining, ReadOnly, Writable};
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn people_read_where_why_and_when_in_their_time() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (now, noon) = (at("2026-07-01T08:00:00Z"), Some(at("2026-07-01T12:00:00Z")));
        let one = Some(at("2026-07-01T11:00:00Z"));
        let said = |state, reason, until, drain_at, close_at| {
            let plan = Plan { drain_at, close_at };
            text("Paris", &Tz::Europe__Paris, now, (state, reason, until, &plan)).unwrap_or_default()
        };
        for (words, begins) in [
            (
                said(ReadOnly, None, noon, None, None),
                "Paris is paused for maintenance until 14:00 CEST. If you are riding",
            ),
            (said(ReadOnly, Some("a storm"), Some(now), None, None), "Paris is paused for a storm. If"),
            (
                said(ReadOnly, None, Some(at("2026-07-02T22:30:00Z")), None, None),
                "Paris is paused for maintenance until 00:30 CEST on 3 July.",
            ),
            (
                said(Draining, None, noon, None, one),
                "Paris will be paused for maintenance from 13:00 CEST until 14:00 CEST. No new rides can start;",
            ),
            (
                said(Draining, None, None, None, None),
                "Paris will soon be paused for maintenance. No new rides can start;",
            ),
            (
                said(Writable, None, noon, one, noon),
                "Paris will be paused for maintenance from 14:00 CEST until 14:00 CEST. No new rides can start after 13:00 CEST.",
            ),
            (
                said(Writable, None, None, None, one),
                "Paris will be paused for maintenance from 13:00 CEST. Please end your ride before then.",
            ),
            (said(Writable, None, None, None, Some(now + AHEAD)), ""),
            (said(Writable, None, None, None, None), ""),
        ] {
            assert!(words.starts_with(begins) && words.is_empty() == begins.is_empty(), "{words}");
        }
    }
}
