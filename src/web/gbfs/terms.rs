//! What may be ridden in a city, for how much, and where: vehicle types, pricing plans,
//! the service area.

use serde::Serialize;
use serde_json::{Value, json};

use super::{System, text};
use crate::domain::{
    catalogue::{Tariff, VehicleType},
    geo::Point,
    vehicle::RESERVATION_MINUTES,
};

/// A type of `vehicle_types.json`.
#[derive(Serialize)]
struct Kind<'a> {
    vehicle_type_id: &'a str,
    form_factor: &'a str,
    propulsion_type: &'a str,
    name: Value,
    default_reserve_time: i64,
    return_constraint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_range_meters: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_pricing_plan_id: Option<String>,
}

/// `vehicle_types.json`.
pub(super) fn vehicle_types(system: &System<'_>) -> Value {
    let kind = |kind: &VehicleType| {
        json!(Kind {
            vehicle_type_id: &kind.slug,
            form_factor: &kind.form_factor,
            propulsion_type: &kind.propulsion,
            name: text(&kind.name),
            default_reserve_time: RESERVATION_MINUTES,
            return_constraint: "free_floating",
            max_range_meters: kind.max_range_m,
            default_pricing_plan_id: system.plan(&kind.slug),
        })
    };
    json!({ "vehicle_types": system.catalogue.vehicle_types.iter().map(kind).collect::<Vec<_>>() })
}

/// `system_pricing_plans.json`: what a ride that starts now costs.
pub(super) fn pricing_plans(system: &System<'_>) -> Value {
    let plan = |kind: &VehicleType| {
        let tariff = system.catalogue.tariff(&system.city.slug, &kind.slug, system.now)?;
        Some(json!({
            "plan_id": system.plan(&kind.slug)?,
            "name": text(&format!("{} in {}", kind.name, system.city.name)),
            "currency": system.city.currency,
            "price": amount(tariff.unlock_minor),
            "is_taxable": false,
            "description": text(&description(system, tariff)),
            "per_min_pricing": [{ "start": 0, "rate": amount(tariff.per_minute_minor), "interval": 1 }],
        }))
    };
    json!({ "plans": system.catalogue.vehicle_types.iter().filter_map(plan).collect::<Vec<_>>() })
}

fn description(system: &System<'_>, tariff: &Tariff) -> String {
    let money = |minor| system.city.currency.format(minor);
    let most = tariff.max_charge_minor.map(|minor| format!(", {} at most", money(minor))).unwrap_or_default();
    format!(
        "{} to unlock, {} for each started minute{most}; {} more when the ride ends outside the service area.",
        money(tariff.unlock_minor),
        money(tariff.per_minute_minor),
        money(tariff.out_of_area_fee_minor)
    )
}

/// Minor units as the decimal that GBFS wants.
#[allow(
    clippy::cast_precision_loss,
    reason = "prices are far below 2^53 cents, and the nearest double prints as written"
)]
fn amount(minor: i64) -> f64 {
    minor as f64 / 100.0
}

/// `geofencing_zones.json`. Rides that end outside cost a fee; GBFS cannot say that, so
/// consumers are told not to plan for it.
pub(super) fn zones(system: &System<'_>) -> Value {
    let rules = |inside: bool| json!([{ "ride_start_allowed": true, "ride_end_allowed": inside, "ride_through_allowed": true }]);
    json!({
        "geofencing_zones": {
            "type": "FeatureCollection",
            "features": [{
                "type": "Feature",
                "geometry": { "type": "MultiPolygon", "coordinates": [[ring(system.city.service_area.points())]] },
                "properties": { "name": text(&format!("{} service area", system.city.name)), "rules": rules(true) },
            }],
        },
        "global_rules": rules(false),
    })
}

/// A ring as GeoJSON wants it: counterclockwise, the first corner again at the end.
fn ring(corners: &[Point]) -> Vec<[f64; 2]> {
    let mut ring: Vec<[f64; 2]> = corners.iter().map(|at| [at.lon(), at.lat()]).collect();
    let ends = ring.iter().cycle().skip(1);
    let turn: f64 = ring.iter().zip(ends).map(|([x, y], [next_x, next_y])| (next_x - x) * (next_y + y)).sum();
    if turn > 0.0 {
        ring.reverse();
    }
    ring.extend(ring.first().copied());
    ring
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_turn_left_and_close() {
        let square = [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)].map(|(lat, lon)| Point::new(lat, lon).unwrap());
        let left = vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]];
        assert_eq!(ring(&square), left);
        let mut right = square;
        right.reverse();
        right.rotate_right(1);
        assert_eq!(ring(&right), [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]);
    }
}
