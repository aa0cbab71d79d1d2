//! The map of a page: an inline SVG that needs no JavaScript, and the data for the Leaflet map of
//! static/app.js, which takes the pins from the SVG. Where a list stands beside the map only that can
//! be focused; its pins are shortcuts for the pointer.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    db::{fleet::FleetVehicle, vehicles::Nearby},
    domain::{
        City, Point, Units,
        fleet::status_text,
        map_svg::{MapSvg, Scene},
        vehicle::charge,
    },
    web::{context::RequestContext, paths},
};

/// A vehicle's shows type, charge and status; a ride's ends have letters.
#[derive(Debug, Clone)]
pub struct Pin {
    pub at: Point,
    pub letter: &'static str,
    pub vehicle_type: String,
    pub battery: i64,
    pub status: String,
    /// Where it leads; empty for nowhere.
    pub href: String,
    pub title: String,
}

impl Pin {
    pub fn letter(at: Point, letter: &'static str) -> Self {
        let none = String::new;
        Self { at, letter, vehicle_type: none(), battery: 0, status: none(), href: none(), title: none() }
    }

    /// As a class of its colour.
    pub const fn level(&self) -> &'static str {
        match self.battery {
            ..25 => "low",
            25..50 => "half",
            _ => "",
        }
    }

    /// Leads to its card on the page; charge in the steps that the public sees.
    pub fn card(vehicle: &Nearby, number: usize) -> Self {
        let Nearby { brand, colour, vehicle_type, .. } = vehicle;
        let battery = charge(vehicle.battery);
        Self {
            at: vehicle.at,
            letter: "",
            vehicle_type: vehicle_type.clone(),
            battery,
            status: "available".to_owned(),
            href: format!("#v{number}"),
            title: format!("{brand}, {colour} {vehicle_type}, {battery}%"),
        }
    }

    /// Leads to its page for operators.
    pub fn fleet(vehicle: &FleetVehicle, now: DateTime<Utc>) -> Self {
        let (name, status) = (vehicle.vehicle.name(vehicle.code.as_deref()), vehicle.shown_status(now));
        Self {
            at: vehicle.at,
            letter: "",
            vehicle_type: vehicle.vehicle_type.clone(),
            battery: vehicle.battery,
            status: status.to_owned(),
            href: paths::fleet_vehicle(&vehicle.vehicle),
            title: format!("{name}, {}, {}%", status_text(status), vehicle.battery),
        }
    }
}

#[derive(Debug, Clone)]
pub struct MapView {
    /// In words, for people who cannot see it.
    pub label: String,
    pub svg: MapSvg,
    /// In the order of the SVG's pins.
    pub pins: Vec<Pin>,
    pub data: String,
    /// No list beside it: its pins are links for everybody.
    pub focusable: bool,
    /// The address of a list, to which the place on the map is added; empty for none.
    pub search: String,
}

/// In the order of the list beside it; `me` is the user's position.
pub fn vehicles(
    context: &RequestContext,
    city: &City,
    with: &str,
    pins: impl Iterator<Item = Pin>,
    me: Option<Point>,
) -> MapView {
    view(context, city, with, (pins.collect(), &[], me))
}

/// Draws pins, a route and the user's position on the service area of `city`, which sets the scale when
/// nothing else does.
pub fn view(
    context: &RequestContext,
    city: &City,
    with: &str,
    (pins, route, me): (Vec<Pin>, &[Point], Option<Point>),
) -> MapView {
    let tiles = context.service.config.tiles.as_ref();
    let points: Vec<Point> = pins.iter().map(|pin| pin.at).collect();
    let svg = MapSvg::of(&Scene {
        area: &city.service_area,
        pins: &points,
        route,
        me,
        units: city.units,
        width: 640,
        height: 480,
    });
    let pair = |point: &Point| [round(point.lat()), round(point.lon())];
    let data = Data {
        tiles: tiles.map_or("", |tiles| &tiles.url),
        attribution: tiles.map_or("", |tiles| &tiles.attribution),
        area: city.service_area.points().iter().map(pair).collect(),
        pins: points.iter().map(pair).collect(),
        route: route.iter().map(pair).collect(),
        me: me.as_ref().map(pair),
        centre: pair(&city.centre),
        us: city.units == Units::Us,
    };
    let (label, data) = (format!("Map of {} with {with}", city.name), script(&data));
    MapView { data, label, svg, pins, focusable: false, search: String::new() }
}

/// What static/app.js needs; points are `[latitude, longitude]` in degrees.
#[derive(Default, Serialize)]
struct Data<'a> {
    tiles: &'a str,
    attribution: &'a str,
    area: Vec<[f64; 2]>,
    pins: Vec<[f64; 2]>,
    route: Vec<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    me: Option<[f64; 2]>,
    centre: [f64; 2],
    /// Feet and miles.
    us: bool,
}

/// JSON without `<`, so that it cannot end its script element.
fn script(data: &Data<'_>) -> String {
    // Numbers, strings and lists cannot fail to serialize; an empty object draws no map.
    serde_json::to_string(data).map_or_else(|_| "{}".to_owned(), |json| json.replace('<', "\\u003c"))
}

/// Five decimals: a metre.
fn round(degrees: f64) -> f64 {
    (degrees * 1e5).round() / 1e5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_data_cannot_end_its_element() {
        let json = script(&Data { attribution: "</script><script>alert(1)", ..Data::default() });
        assert!(!json.contains('<'));
        assert!(json.contains(r"\u003c/script>"));
    }
}
