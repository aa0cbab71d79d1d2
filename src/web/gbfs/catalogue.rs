//! The feeds from the catalogue: the manifest of all cities, and each city's feeds: operator,
//! vehicle types, prices and area.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::STATUS;
use crate::{
    domain::{Catalogue, City, Point, Region, Tariff, VehicleType, vehicle::RESERVATION_MINUTES},
    web::paths,
};

pub(super) struct System<'a> {
    pub catalogue: &'a Catalogue,
    pub city: &'a City,
    pub region: &'a Region,
    pub contact: &'a str,
    pub now: DateTime<Utc>,
}

impl System<'_> {
    pub fn url(&self, feed: &str) -> String {
        self.region.base_url.clone() + &paths::gbfs(&self.city.slug, feed)
    }

    /// The id of the current price of a vehicle type, if it has one.
    pub fn plan(&self, vehicle_type: &str) -> Option<String> {
        let tariff = self.catalogue.tariff(&self.city.slug, vehicle_type, self.now)?;
        Some(format!("{}-{}", tariff.city, tariff.vehicle_type))
    }
}

type Data = fn(&System<'_>) -> Value;

pub(super) const FEEDS: [(&str, Data); 7] = [
    ("gbfs", discovery),
    ("gbfs_versions", versions),
    ("system_information", information),
    ("system_regions", regions),
    ("vehicle_types", vehicle_types),
    ("system_pricing_plans", pricing_plans),
    ("geofencing_zones", zones),
];

/// A text in the languages that we support.
fn text(words: &str) -> Value {
    json!([{ "text": words, "language": "en" }])
}

/// A city's permanent id, worldwide unique.
fn id(city: &str) -> String {
    format!("movr-{city}")
}

/// `manifest.json`, of all cities at once.
pub(super) fn manifest(catalogue: &Catalogue) -> Value {
    let datasets = catalogue.cities.iter().filter_map(|city| {
        let url = catalogue.region(&city.region)?.base_url.clone() + &paths::gbfs(&city.slug, "gbfs");
        Some(json!({ "system_id": id(&city.slug), "versions": [{ "version": "3.0", "url": url }] }))
    });
    json!({ "datasets": datasets.collect::<Vec<_>>() })
}

fn discovery(system: &System<'_>) -> Value {
    let names = FEEDS.iter().map(|(name, _)| *name).chain([STATUS]).filter(|name| *name != "gbfs");
    let feeds: Vec<_> = names.map(|name| json!({ "name": name, "url": system.url(name) })).collect();
    json!({ "feeds": feeds })
}

fn versions(system: &System<'_>) -> Value {
    json!({ "versions": [{ "version": "3.0", "url": system.url("gbfs") }] })
}

fn information(system: &System<'_>) -> Value {
    let (city, base) = (system.city, &system.region.base_url);
    json!({
        "system_id": id(&city.slug),
        "languages": ["en"],
        "name": text(&format!("MovR {}", city.name)),
        "short_name": text("MovR"),
        "operator": text("MovR"),
        "opening_hours": "24/7",
        "url": base.clone() + &paths::vehicles(&city.slug),
        "feed_contact_email": system.contact,
        "manifest_url": format!("{base}{}", paths::GBFS_MANIFEST),
        "timezone": city.time_zone.name(),
    })
}

/// `system_regions.json`: a region of GBFS is a part of a city, and we have none.
fn regions(system: &System<'_>) -> Value {
    json!({ "regions": [{ "region_id": system.city.slug, "name": text(&system.city.name) }] })
}

fn vehicle_types(system: &System<'_>) -> Value {
    let entry = |of: &VehicleType| {
        let mut entry = json!({
            "vehicle_type_id": of.slug,
            "form_factor": of.form_factor,
            "propulsion_type": of.propulsion,
            "name": text(&of.name),
            "default_reserve_time": RESERVATION_MINUTES,
            "return_constraint": "free_floating",
            "max_range_meters": of.max_range_m,
            "default_pricing_plan_id": system.plan(&of.slug),
        });
        // GBFS leaves out what there is not.
        entry.as_object_mut().into_iter().for_each(|fields| fields.retain(|_, value| !value.is_null()));
        entry
    };
    json!({ "vehicle_types": system.catalogue.vehicle_types.iter().map(entry).collect::<Vec<_>>() })
}

/// `system_pricing_plans.json`: what a ride that starts now costs.
fn pricing_plans(system: &System<'_>) -> Value {
    let plan = |of: &VehicleType| {
        let tariff = system.catalogue.tariff(&system.city.slug, &of.slug, system.now)?;
        Some(json!({
            "plan_id": system.plan(&of.slug)?,
            "name": text(&format!("{} in {}", of.name, system.city.name)),
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

/// `geofencing_zones.json`. Rides that end outside cost a fee; GBFS cannot express that, so
/// consumers are told not to plan for it.
fn zones(system: &System<'_>) -> Value {
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

/// A GeoJSON ring: counterclockwise, the first corner again at the end.
fn ring(corners: &[Point]) -> Vec<[f64; 2]> {
    let mut ring: Vec<[f64; 2]> = corners.iter().map(|at| [at.lon(), at.lat()]).collect();
    let ends = ring.iter().cycle().skip(1);
    let signed_area: f64 = ring.iter().zip(ends).map(|([x, y], [next_x, next_y])| (next_x - x) * (next_y + y)).sum();
    if signed_area > 0.0 {
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
