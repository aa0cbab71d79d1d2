//! What there is: every city in the manifest, a city's feeds, who runs it, and where.

use serde_json::{Value, json};

use super::{FEEDS, STATUS, System, text};
use crate::{domain::catalogue::Catalogue, web::paths};

/// The id of a city for ever, among all systems of the world.
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

/// `gbfs.json`.
pub(super) fn discovery(system: &System<'_>) -> Value {
    let names = FEEDS.iter().map(|(name, _)| *name).chain([STATUS]).filter(|name| *name != "gbfs");
    let feeds: Vec<_> = names.map(|name| json!({ "name": name, "url": system.url(name) })).collect();
    json!({ "feeds": feeds })
}

/// `gbfs_versions.json`.
pub(super) fn versions(system: &System<'_>) -> Value {
    json!({ "versions": [{ "version": "3.0", "url": system.url("gbfs") }] })
}

/// `system_information.json`.
pub(super) fn information(system: &System<'_>) -> Value {
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

/// `system_regions.json`: a region of GBFS is a part of a system, and we divide no city.
pub(super) fn regions(system: &System<'_>) -> Value {
    json!({ "regions": [{ "region_id": system.city.slug, "name": text(&system.city.name) }] })
}
