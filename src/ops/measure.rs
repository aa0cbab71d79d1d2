//! What is measured when Prometheus asks, all from memory; what happens is counted where it does.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Service;
use crate::db::{gates::Gate, health::Circuit};

/// Sets the metrics of pools, regions and catalogue to what is so now.
pub fn measure(service: &Service) {
    let (db, now) = (&service.db, service.clock.now());
    let (metrics, catalogue) = (db.metrics(), service.catalogue());
    db.measure();
    metrics.ready.of([]).set(i64::from(!service.draining() && db.reached()));
    for region in &catalogue.regions {
        let (label, known) = (metrics.know(&region.code), db.health().of(&region.code));
        let circuit = match known.circuit {
            Circuit::Closed => "closed",
            Circuit::Suspected(_) => "suspect",
            Circuit::Open => "open",
            Circuit::HalfOpen => "half_open",
        };
        metrics.circuits.state(label, &["closed", "suspect", "open", "half_open"], circuit);
        let reachable = known.unreachable_since.is_none() && known.good_at.is_some();
        metrics.reachable.of([label]).set(i64::from(reachable));
        if let Some(gate) = service.gates.last_seen(&region.code) {
            let state = state(&gate, db.fence(), now);
            metrics.region_states.state(label, &["open", "draining", "closed", "fenced"], state);
        }
        if let Some(at) = known.good_at {
            metrics.answer_age.of([label]).set(age(at, now));
        }
        let shown = if reachable { Some(now) } else { service.lists.would_show(service, &region.code).0 };
        if let Some(as_of) = shown.or(known.good_at) {
            metrics.stale_age.of([label]).set(age(as_of, now));
        }
    }
    metrics.catalogue_version.of([]).set(catalogue.version);
    metrics.catalogue_age.of([]).set(age(service.catalogue_seen(), now));
}

fn state(gate: &Gate, fence: Duration, now: DateTime<Utc>) -> &'static str {
    match gate.fenced_at(fence) {
        None => gate.state.word(),
        Some(at) if now < at => "closed",
        Some(_) => "fenced",
    }
}

fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    (now - at).as_seconds_f64().max(0.0)
}
