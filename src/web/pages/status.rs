//! `/status` and `/status.json`: the regions as seen from here, from memory, so that they answer
//! while no database does. One struct for people, balancers and alerts. No personal data and no
//! host names.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    db::health::Circuit,
    domain::{Point, Region},
    web::{Layout, PageResult, RequestContext, Section, session::COPY_COUNTS},
};

#[derive(Template)]
#[template(path = "pages/status.html")]
struct StatusPage {
    layout: Layout,
    status: Status,
    simulated: bool,
    dots: Vec<Dot>,
    from: (i64, i64),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    here: String,
    at: DateTime<Utc>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    versions: Option<Versions>,
    catalogue_age_seconds: i64,
    residency_refusals: BTreeMap<&'static str, u64>,
    warnings: Vec<String>,
    regions: Vec<RegionStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    build: &'static str,
    engine: String,
    schema_version: i32,
    catalogue_version: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionStatus {
    region: String,
    name: String,
    state: &'static str,
    epoch: Option<i64>,
    reachable: bool,
    round_trip_ms: Option<f64>,
    last_good_at: Option<DateTime<Utc>>,
    as_of: Option<DateTime<Utc>>,
    lag_seconds: Option<i64>,
    source: &'static str,
    degraded_since: Option<DateTime<Utc>>,
    circuit: &'static str,
    own_nodes: bool,
}

impl RegionStatus {
    /// In a word, and the CSS class of that word.
    fn word(&self) -> (&'static str, &'static str) {
        match (self.reachable, self.circuit, self.state) {
            (false, ..) => ("does not answer", "bad"),
            (true, "suspected", _) => ("suspected", "warn"),
            (true, _, "read_only") => ("read-only", "warn"),
            (true, _, "draining") => ("draining", "warn"),
            (true, ..) => ("healthy", "good"),
        }
    }

    /// As in "68 ms".
    fn trip(&self) -> String {
        self.round_trip_ms.map_or_else(
            || "not known".to_owned(),
            |ms| if ms < 9.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") },
        )
    }
}

/// With its day, unless that is today.
fn time(at: &DateTime<Utc>, now: &DateTime<Utc>) -> String {
    let day = if at.date_naive() == now.date_naive() { "" } else { "%-d %b %Y, " };
    at.format(&format!("{day}%H:%M:%S UTC")).to_string()
}

struct Dot {
    region: usize,
    x: i64,
    y: i64,
}

const SIZE: (f64, f64) = (640.0, 260.0);
const ROOM: (f64, f64) = (90.0, 60.0);

pub async fn show(context: RequestContext) -> PageResult {
    let dots = dots(&context);
    let here = context.catalogue.regions.iter().position(|region| region.code == context.service.here);
    let from = here.and_then(|here| dots.get(here)).map_or((0, 0), |dot| (dot.x, dot.y));
    let page = StatusPage {
        layout: context.layout("Status", Section::None, context.city()),
        status: status(&context),
        simulated: context.service.config.simulated,
        dots,
        from,
    };
    context.ok(&page)
}

pub async fn json(context: RequestContext) -> PageResult {
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(status(&context)))
}

fn status(context: &RequestContext) -> Status {
    let (service, catalogue) = (&context.service, &context.catalogue);
    let regions: Vec<_> = catalogue.regions.iter().map(|region| of_region(context, region)).collect();
    let engine = service.db.engine();
    let mut warnings = Vec::new();
    if let Some(gateway) = service.db.foreign_gateway(&service.here) {
        warnings.push(format!(
            "The nearest database node is in {gateway}, not in {}: every statement crosses.",
            service.here
        ));
    }
    if let Some(region) = &service.config.all_rows_in {
        warnings
            .push(format!("Localities are off: all rows are in {region}, and every statement from elsewhere crosses."));
    }
    for region in service.db.unreached() {
        let whose = region.map_or_else(|| "here".to_owned(), ToString::to_string);
        warnings.push(format!("The nodes of {whose} cannot be reached: the nearest others do their work."));
    }
    // One PostgreSQL has no nodes elsewhere to name.
    let may_name = engine.cockroach || service.db.regions_with_nodes().next().is_some();
    for region in regions.iter().filter(|region| may_name && !region.own_nodes) {
        warnings.push(format!(
            "No nodes of {} are configured: what touches it goes through the nodes here, where every step of a \
             statement is a crossing of its own; and it is no fallback when the nodes here fail.",
            region.region
        ));
    }
    // From the cookie's copy, while that counts: this page asks no database.
    let fresh = context.cookie.as_ref().filter(|cookie| context.now - cookie.checked_at < COPY_COUNTS);
    let administrator = fresh.is_some_and(|cookie| cookie.roles.administers());
    Status {
        here: service.here.to_string(),
        at: context.now,
        versions: administrator.then(|| Versions {
            build: env!("CARGO_PKG_VERSION"),
            engine: engine.version.split(" (").next().unwrap_or_default().to_owned(),
            schema_version: service.schema_version,
            catalogue_version: catalogue.version,
        }),
        catalogue_age_seconds: (context.now - service.catalogue_seen()).num_seconds(),
        residency_refusals: service.residency_refusals.by_rule(),
        warnings,
        regions,
    }
}

fn of_region(context: &RequestContext, region: &Region) -> RegionStatus {
    let (service, code) = (&context.service, &region.code);
    let (known, gate) = (service.db.health().of(code), service.gates.last_seen(code));
    let reachable = known.unreachable_since.is_none() && known.good_at.is_some();
    let (as_of, source) =
        if reachable { (Some(context.now), "strong") } else { service.lists.would_show(service, code) };
    RegionStatus {
        region: code.to_string(),
        name: region.name.clone(),
        state: gate.as_ref().map_or("unknown", |gate| gate.state.code()),
        epoch: gate.map(|gate| gate.epoch),
        reachable,
        round_trip_ms: known.round_trip.map(|trip| (trip.as_secs_f64() * 10_000.0).round() / 10.0),
        last_good_at: known.good_at,
        as_of,
        lag_seconds: as_of.map(|as_of| (context.now - as_of).num_seconds().max(0)),
        source,
        degraded_since: known.unreachable_since,
        circuit: circuit(known.circuit),
        own_nodes: *code == service.here || service.db.regions_with_nodes().any(|with| with == code),
    }
}

fn circuit(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Closed => "closed",
        Circuit::Suspected(_) => "suspected",
        Circuit::Open => "open",
        Circuit::HalfOpen => "half-open",
    }
}

/// Degrees to units, the outermost regions at the edges.
fn dots(context: &RequestContext) -> Vec<Dot> {
    let centres: Vec<Point> = context.catalogue.regions.iter().map(|region| region.centre).collect();
    let range = |of: fn(Point) -> f64| {
        let (low, high) =
            centres.iter().copied().map(of).fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
        (low, (high - low).max(1.0))
    };
    let (west, width) = range(Point::lon);
    let (south, height) = range(Point::lat);
    let place = |at: &Point| {
        let x = ROOM.0 + (at.lon() - west) / width * (SIZE.0 - 2.0 * ROOM.0);
        (x, SIZE.1 - ROOM.1 - (at.lat() - south) / height * (SIZE.1 - 2.0 * ROOM.1))
    };
    let dot = |(region, at): (usize, &Point)| {
        let (x, y) = place(at);
        Dot { region, x: round(x), y: round(y) }
    };
    centres.iter().enumerate().map(dot).collect()
}

#[allow(clippy::cast_possible_truncation, reason = "units of the picture are below a thousand")]
fn round(units: f64) -> i64 {
    units.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_another_day_says_which() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = at("2026-11-21T00:00:05Z");
        assert_eq!(time(&now, &now), "00:00:05 UTC");
        assert_eq!(time(&at("2026-11-20T23:59:58Z"), &now), "20 Nov 2026, 23:59:58 UTC");
    }
}
