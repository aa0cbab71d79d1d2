//! The map of a page: the numbers of the server-drawn SVG and the data for Leaflet, from
//! one scene.

use crate::{
    config::Tiles,
    domain::{
        catalogue::City,
        geo::Point,
        map_svg::{MapSvg, Scene, Xy},
    },
    web::views::{MapData, MapPin, MapView, PinView},
};

/// What a map shows.
pub struct Shown<'a> {
    /// In words, for people who do not see it.
    pub label: String,
    /// Its service area is drawn, and frames the map of a lone point.
    pub city: &'a City,
    pub pins: Vec<(Point, String)>,
    pub route: Vec<Point>,
    pub me: Option<Point>,
}

/// Draws it; tiles come from where the settings say.
pub fn view(shown: Shown<'_>, tiles: Option<&Tiles>) -> MapView {
    let points: Vec<Point> = shown.pins.iter().map(|(point, _)| *point).collect();
    let svg = MapSvg::of(&Scene {
        area: &shown.city.service_area,
        pins: &points,
        route: &shown.route,
        me: shown.me,
        width: 640,
        height: 480,
    });
    let pair = |point: Point| [round(point.lat()), round(point.lon())];
    let data = MapData {
        tiles: tiles.map_or_else(String::new, |tiles| tiles.url.clone()),
        attribution: tiles.map_or_else(String::new, |tiles| tiles.attribution.clone()),
        area: shown.city.service_area.points().iter().copied().map(pair).collect(),
        pins: shown.pins.iter().map(|(point, label)| MapPin(pair(*point), label)).collect(),
        route: shown.route.iter().copied().map(pair).collect(),
        me: shown.me.map(pair),
        centre: Some(pair(shown.city.centre)),
    };
    let data = data.to_script();
    let pin = |(at, (_, label)): (Xy, (Point, String))| PinView { x: at.x, y: at.y, label };
    MapView {
        label: shown.label,
        width: svg.width,
        height: svg.height,
        area: svg.area,
        route: svg.route,
        pins: svg.pins.into_iter().zip(shown.pins).map(pin).collect(),
        me: svg.me.map(|at| (at.x, at.y)),
        scale_width: svg.scale.px,
        scale_label: svg.scale.label,
        data,
    }
}

/// Five decimals: a metre.
fn round(degrees: f64) -> f64 {
    (degrees * 1e5).round() / 1e5
}
