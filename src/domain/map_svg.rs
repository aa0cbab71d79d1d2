//! The numbers of a server-rendered SVG map: service area, pins, a route and a scale bar.
//! Equirectangular, scaled by the cosine of the middle latitude: right to a pixel over a city. The
//! whole service area is shown only when there is nothing on it, and a person far away is left out,
//! else the city would be a dot.

use super::{
    geo::{Bounds, EARTH_RADIUS_M, Point, Polygon},
    units::{FOOT_M, MILE_M, Units},
};

/// A person farther than this from everything else is not drawn.
const ME_WITHIN_M: f64 = 20_000.0;

/// The minimum height and width of a map: the surroundings of a lone pin.
const LEAST_SPAN_M: f64 = 400.0;

/// Margin, as a fraction of width and height.
const PADDING: f64 = 0.06;

#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    pub area: &'a Polygon,
    pub pins: &'a [Point],
    /// In order of time.
    pub route: &'a [Point],
    pub me: Option<Point>,
    pub units: Units,
    pub width: u16,
    pub height: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xy {
    pub x: i32,
    pub y: i32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ScaleBar {
    pub metres: f64,
    /// At most a quarter of the width.
    pub px: f64,
    /// As in `500 m`, `2 km`, `1 mi`.
    pub label: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MapSvg {
    pub width: u16,
    pub height: u16,
    /// The `points` of a polygon.
    pub area: String,
    /// The `points` of a polyline; empty without a route.
    pub route: String,
    pub pins: Vec<Xy>,
    pub me: Option<Xy>,
    pub scale: ScaleBar,
}

impl MapSvg {
    pub fn of(scene: &Scene<'_>) -> Self {
        let area = scene.area.points();
        let mut shown: Vec<Point> = scene.pins.iter().chain(scene.route).copied().collect();
        let near = |me: &Point| shown.iter().chain(area).any(|point| point.distance_m(*me) <= ME_WITHIN_M);
        let me = scene.me.filter(near);
        if shown.is_empty() {
            shown.extend(area);
        }
        shown.extend(me);
        let projection = Projection::new(Bounds::of(shown), scene.width, scene.height);
        Self {
            width: scene.width,
            height: scene.height,
            area: projection.points(area),
            route: projection.points(scene.route),
            pins: scene.pins.iter().map(|pin| projection.xy(*pin)).collect(),
            me: me.map(|me| projection.xy(me)),
            scale: projection.scale_bar(scene.units),
        }
    }
}

struct Projection {
    middle_lat: f64,
    middle_lon: f64,
    width: f64,
    height: f64,
    m_per_lon: f64,
    px_per_m: f64,
}

/// Metres of one degree of latitude.
const M_PER_LAT: f64 = EARTH_RADIUS_M * std::f64::consts::PI / 180.0;

impl Projection {
    fn new(bounds: Bounds, width: u16, height: u16) -> Self {
        let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
        let middle_lat = f64::midpoint(bounds.south, bounds.north);
        let m_per_lon = M_PER_LAT * middle_lat.to_radians().cos();
        let wide = ((bounds.east - bounds.west) * m_per_lon).max(LEAST_SPAN_M);
        let high = ((bounds.north - bounds.south) * M_PER_LAT).max(LEAST_SPAN_M);
        let room = 1.0 - 2.0 * PADDING;
        Self {
            middle_lat,
            middle_lon: f64::midpoint(bounds.west, bounds.east),
            width,
            height,
            m_per_lon,
            px_per_m: (width * room / wide).min(height * room / high),
        }
    }

    fn xy(&self, point: Point) -> Xy {
        let east = (point.lon() - self.middle_lon) * self.m_per_lon;
        let north = (point.lat() - self.middle_lat) * M_PER_LAT;
        Xy { x: whole(self.width / 2.0 + east * self.px_per_m), y: whole(self.height / 2.0 - north * self.px_per_m) }
    }

    fn points(&self, points: &[Point]) -> String {
        let pair = |Xy { x, y }| format!("{x},{y}");
        points.iter().map(|point| pair(self.xy(*point))).collect::<Vec<_>>().join(" ")
    }

    /// The longest round length that takes at most a quarter of the width.
    fn scale_bar(&self, units: Units) -> ScaleBar {
        let longest = self.width / 4.0 / self.px_per_m;
        let (unit, name) = match units {
            Units::Metric if longest >= 1_000.0 => (1_000.0, "km"),
            Units::Metric => (1.0, "m"),
            Units::Us if longest >= MILE_M => (MILE_M, "mi"),
            Units::Us => (FOOT_M, "ft"),
        };
        let power = 10.0_f64.powf((longest / unit).log10().floor());
        let fits = |step: &f64| step * power * unit <= longest;
        let length = power * [5.0, 2.0].into_iter().find(fits).unwrap_or(1.0);
        let (metres, label) = (length * unit, format!("{length} {name}"));
        ScaleBar { metres, px: (metres * self.px_per_m * 10.0).round() / 10.0, label }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "saturates: a corner that far away is out of sight")]
fn whole(px: f64) -> i32 {
    px.round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> Point {
        Point::new(lat, lon).unwrap()
    }

    fn amsterdam() -> Polygon {
        Polygon::new(vec![at(52.35, 4.87), at(52.35, 4.93), at(52.38, 4.93), at(52.38, 4.87)]).unwrap()
    }

    fn scene<'a>(area: &'a Polygon, pins: &'a [Point], me: Option<Point>) -> Scene<'a> {
        Scene { area, pins, route: &[], me, units: Units::Metric, width: 800, height: 600 }
    }

    #[test]
    fn everything_is_inside_and_north_is_up() {
        let (area, pins) = (amsterdam(), [at(52.36, 4.88), at(52.39, 4.95)]);
        let map = MapSvg::of(&scene(&area, &pins, Some(at(52.34, 4.9))));
        for Xy { x, y } in map.pins.iter().copied().chain(map.me) {
            assert!((0..=800).contains(&x) && (0..=600).contains(&y), "{x},{y}");
        }
        assert!(map.pins[1].y < map.pins[0].y && map.pins[1].x > map.pins[0].x);
        assert_eq!(map.area.split(' ').count(), 4);
        assert_eq!(map.route, "");
    }

    #[test]
    fn two_points_fill_the_picture_and_one_is_shown_with_its_surroundings() {
        let (area, pins) = (amsterdam(), [at(52.36, 4.88), at(52.365, 4.89)]);
        let map = MapSvg::of(&scene(&area, &pins, None));
        assert!((map.pins[0].x - map.pins[1].x).abs() > 600 || (map.pins[0].y - map.pins[1].y).abs() > 450, "{map:?}");
        let one = MapSvg::of(&scene(&area, &pins[..1], None));
        assert_eq!((one.pins[0], &*one.scale.label), (Xy { x: 400, y: 300 }, "100 m"), "in the middle, and close");
    }

    #[test]
    fn pixels_agree_with_metres() {
        let (area, pins) = (amsterdam(), [at(52.36, 4.88), at(52.36, 4.92), at(52.378, 4.88)]);
        let map = MapSvg::of(&scene(&area, &pins, None));
        let px_per_m = map.scale.px / map.scale.metres;
        let east = f64::from(map.pins[1].x - map.pins[0].x) / px_per_m;
        let north = f64::from(map.pins[0].y - map.pins[2].y) / px_per_m;
        assert!((east / pins[0].distance_m(pins[1]) - 1.0).abs() < 0.005, "{east}");
        assert!((north / pins[0].distance_m(pins[2]) - 1.0).abs() < 0.005, "{north}");
    }

    #[test]
    fn the_scale_is_round() {
        let area = amsterdam();
        let map = MapSvg::of(&scene(&area, &[], None));
        assert_eq!(map.scale.label, "1 km");
        assert!(map.scale.px <= 200.0 && map.scale.px > 80.0);
        let map = MapSvg::of(&Scene { units: Units::Us, ..scene(&area, &[], None) });
        assert_eq!((map.scale.label.as_str(), map.scale.metres.round()), ("2000 ft", 610.0));
        assert!(map.scale.px <= 200.0 && map.scale.px > 80.0);
    }

    #[test]
    fn a_person_far_away_is_left_out() {
        let area = amsterdam();
        let near = MapSvg::of(&scene(&area, &[], None));
        let far = MapSvg::of(&scene(&area, &[], Some(at(48.85, 2.35))));
        assert_eq!(near, far);
    }

    #[test]
    fn a_map_of_nearly_nothing_has_finite_numbers() {
        let dot = at(52.36, 4.88);
        let area = Polygon::new(vec![dot, at(52.36, 4.880_001), at(52.360_001, 4.88)]).unwrap();
        let map = MapSvg::of(&Scene { width: 0, height: 0, ..scene(&area, &[dot], None) });
        assert!(map.scale.px.is_finite() && map.pins.iter().all(|pin| pin.x.abs() < 2 && pin.y.abs() < 2), "{map:?}");
        let map = MapSvg::of(&scene(&area, &[dot], None));
        assert!(map.scale.metres <= 200.0);
    }
}
