//! The map of a page: an inline SVG that needs no JavaScript, and the data for the Leaflet map of
//! static/app.js. Only the list next to the map can be focused; pins are shortcuts for the pointer.

use serde::Serialize;

use crate::{
    domain::{
        City, Point, Units,
        map_svg::{MapSvg, Scene},
    },
    web::context::RequestContext,
};

pub struct Shown<'a> {
    /// In words, for people who cannot see it.
    pub label: String,
    /// Its service area is drawn, and sets the scale for a lone point.
    pub city: &'a City,
    pub pins: Vec<(Point, String)>,
    pub route: Vec<Point>,
    pub me: Option<Point>,
}

#[derive(Debug, Clone)]
pub struct MapView {
    pub label: String,
    pub svg: MapSvg,
    /// In the order of the SVG's pins.
    pub pins: Vec<String>,
    pub data: String,
}

/// Vehicles are numbered as in the list beside it; `me` is the user's position.
pub fn vehicles(
    context: &RequestContext,
    city: &City,
    with: &str,
    points: impl Iterator<Item = Point>,
    me: Option<Point>,
) -> MapView {
    let pins = points.zip(1..).map(|(point, number): (_, usize)| (point, number.to_string())).collect();
    view(context, Shown { label: format!("Map of {} with {with}", city.name), city, pins, route: Vec::new(), me })
}

/// Draws it; tiles come from where the settings say.
pub fn view(context: &RequestContext, shown: Shown<'_>) -> MapView {
    let tiles = context.service.config.tiles.as_ref();
    let (points, pins): (Vec<Point>, Vec<String>) = shown.pins.into_iter().unzip();
    let svg = MapSvg::of(&Scene {
        area: &shown.city.service_area,
        pins: &points,
        route: &shown.route,
        me: shown.me,
        units: shown.city.units,
        width: 640,
        height: 480,
    });
    let pair = |point: &Point| [round(point.lat()), round(point.lon())];
    let data = Data {
        tiles: tiles.map_or("", |tiles| &tiles.url),
        attribution: tiles.map_or("", |tiles| &tiles.attribution),
        area: shown.city.service_area.points().iter().map(pair).collect(),
        pins: points.iter().map(pair).zip(pins.iter().map(String::as_str)).collect(),
        route: shown.route.iter().map(pair).collect(),
        me: shown.me.as_ref().map(pair),
        centre: pair(&shown.city.centre),
        us: shown.city.units == Units::Us,
    };
    MapView { data: script(&data), label: shown.label, svg, pins }
}

/// What static/app.js needs; points are `[latitude, longitude]` in degrees. A pin's description is
/// the card with the same number.
#[derive(Default, Serialize)]
struct Data<'a> {
    tiles: &'a str,
    attribution: &'a str,
    area: Vec<[f64; 2]>,
    pins: Vec<([f64; 2], &'a str)>,
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
