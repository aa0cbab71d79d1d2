//! Points on the Earth, and the polygon of a service area with whether its outline is simple.

mod cells;

pub use cells::{Level, Ranges, block_ranges, cell, level_for_radius, retry_level};
use serde::{Deserialize, Serialize};

/// Mean radius in metres (IUGG), used for every distance.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum GeoError {
    #[error("latitude {0} is not within -90 and 90")]
    Latitude(f64),
    #[error("longitude {0} is not within -180 and 180")]
    Longitude(f64),
    #[error("an area needs at least 3 points, not {0}")]
    TooFewPoints(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPoint")]
pub struct Point {
    lat: f64,
    lon: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoint {
    lat: f64,
    lon: f64,
}

impl TryFrom<RawPoint> for Point {
    type Error = GeoError;

    fn try_from(raw: RawPoint) -> Result<Self, GeoError> {
        Self::new(raw.lat, raw.lon)
    }
}

impl Point {
    /// Checks the point and rounds it to seven decimals: a centimetre, and no difference so small
    /// that the database's arithmetic underflows.
    pub fn new(lat: f64, lon: f64) -> Result<Self, GeoError> {
        if !(-90.0..=90.0).contains(&lat) {
            return Err(GeoError::Latitude(lat));
        }
        if !(-180.0..=180.0).contains(&lon) {
            return Err(GeoError::Longitude(lon));
        }
        // Adding 0.0 makes of -0.0 what everybody writes.
        let round = |degrees: f64| (degrees * 1e7).round() / 1e7 + 0.0;
        Ok(Self { lat: round(lat), lon: round(lon) })
    }

    pub const fn lat(self) -> f64 {
        self.lat
    }

    pub const fn lon(self) -> f64 {
        self.lon
    }

    pub fn distance_m(self, other: Self) -> f64 {
        let half_lat = (other.lat - self.lat).to_radians() / 2.0;
        let half_lon = (other.lon - self.lon).to_radians() / 2.0;
        let cosines = self.lat.to_radians().cos() * other.lat.to_radians().cos();
        let h = half_lat.sin().powi(2) + cosines * half_lon.sin().powi(2);
        2.0 * EARTH_RADIUS_M * h.clamp(0.0, 1.0).sqrt().asin()
    }
}

/// The smallest box of degrees around some points; not across the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub south: f64,
    pub west: f64,
    pub north: f64,
    pub east: f64,
}

impl Bounds {
    /// Of at least one point.
    pub fn of(points: impl IntoIterator<Item = Point>) -> Self {
        let nothing = Self { south: 90.0, west: 180.0, north: -90.0, east: -180.0 };
        points.into_iter().fold(nothing, |bounds, Point { lat, lon }| Self {
            south: bounds.south.min(lat),
            west: bounds.west.min(lon),
            north: bounds.north.max(lat),
            east: bounds.east.max(lon),
        })
    }
}

/// At least three points, not closed, simple where `flaw` finds nothing; serialised as `[[lon,
/// lat], ...]` like `GeoJSON`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<[f64; 2]>", into = "Vec<[f64; 2]>")]
pub struct Polygon(Vec<Point>);

impl TryFrom<Vec<[f64; 2]>> for Polygon {
    type Error = GeoError;

    fn try_from(pairs: Vec<[f64; 2]>) -> Result<Self, GeoError> {
        let points = pairs.into_iter().map(|[lon, lat]| Point::new(lat, lon));
        Self::new(points.collect::<Result<_, _>>()?)
    }
}

impl From<Polygon> for Vec<[f64; 2]> {
    fn from(polygon: Polygon) -> Self {
        polygon.0.into_iter().map(|point| [point.lon, point.lat]).collect()
    }
}

impl Polygon {
    pub fn new(mut points: Vec<Point>) -> Result<Self, GeoError> {
        if points.len() > 1 && points.first() == points.last() {
            points.pop();
        }
        if points.len() < 3 {
            return Err(GeoError::TooFewPoints(points.len()));
        }
        Ok(Self(points))
    }

    pub fn points(&self) -> &[Point] {
        &self.0
    }

    pub fn contains(&self, point: Point) -> bool {
        let ends = self.0.iter().cycle().skip(1);
        let crossings = self.0.iter().zip(ends).filter(|(a, b)| {
            (a.lat > point.lat) != (b.lat > point.lat)
                && point.lon < a.lon + (point.lat - a.lat) / (b.lat - a.lat) * (b.lon - a.lon)
        });
        crossings.count() % 2 == 1
    }

    pub fn bounds(&self) -> Bounds {
        Bounds::of(self.0.iter().copied())
    }
}

/// Why an outline is not simple (its sides may only meet at shared corners). Corners are counted
/// from 1, as written.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Flaw {
    #[error("corner {1} of the outline repeats corner {0}")]
    Repeated(usize, usize),
    #[error("at corner {0} the outline goes back the way it came")]
    Spike(usize),
    #[error(
        "the outline {} itself: its sides from corner {} to {} and from corner {} to {} meet at latitude {:.5}, longitude {:.5}",
        if *crosses { "crosses" } else { "touches" }, sides.0.0, sides.0.1, sides.1.0, sides.1.1, at.lat(), at.lon()
    )]
    Meet { sides: ((usize, usize), (usize, usize)), at: Point, crosses: bool },
}

/// A corner with its number and place in whole units of 1e-7 degrees, the precision of points, so
/// that computations are exact.
#[derive(Clone, Copy)]
struct Corner {
    number: usize,
    at: Point,
    x: i128,
    y: i128,
}

#[allow(clippy::cast_possible_truncation, reason = "a Point's degrees times 1e7 are far inside i64")]
fn corner((number, at): (usize, &Point)) -> Corner {
    let whole = |degrees: f64| i128::from((degrees * 1e7).round() as i64);
    Corner { number, at: *at, x: whole(at.lon), y: whole(at.lat) }
}

/// 1 when `c` is to the left of the line from `a` to `b`, -1 to the right, 0 on it.
fn orientation(a: Corner, b: Corner, c: Corner) -> i128 {
    ((b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)).signum()
}

/// Whether `c`, which is on the line through `a` and `b`, is between them or one of them.
fn between(a: Corner, b: Corner, c: Corner) -> bool {
    (a.x - c.x) * (b.x - c.x) + (a.y - c.y) * (b.y - c.y) <= 0
}

/// Where two sides have a point in common, and whether they cross there.
fn meet((a, b): (Corner, Corner), (c, d): (Corner, Corner)) -> Option<(Point, bool)> {
    let corners = [(a, b, c), (a, b, d), (c, d, a), (c, d, b)];
    let touches = |(a, b, c): &&(Corner, Corner, Corner)| orientation(*a, *b, *c) == 0 && between(*a, *b, *c);
    if let Some((.., touching)) = corners.iter().find(touches) {
        return Some((touching.at, false));
    }
    let [c_is, d_is, a_is, b_is] = corners.map(|(a, b, c)| orientation(a, b, c));
    (c_is * d_is < 0 && a_is * b_is < 0).then(|| (crossing((a.at, b.at), (c.at, d.at)), true))
}

impl Polygon {
    /// The first reason why the outline is not simple. Checked when an area is accepted; stored
    /// areas are read as they are.
    pub fn flaw(&self) -> Option<Flaw> {
        let corners: Vec<Corner> = (1..).zip(&self.0).map(corner).collect();
        let next = || corners.iter().copied().cycle().skip(1);
        let sides: Vec<(Corner, Corner)> = corners.iter().copied().zip(next()).collect();
        if let Some((a, b)) = sides.iter().find(|(a, b)| (a.x, a.y) == (b.x, b.y)) {
            return Some(Flaw::Repeated(a.number, b.number));
        }
        let goes_back = |(a, b, c): (Corner, Corner, Corner)| orientation(a, b, c) == 0 && !between(a, c, b);
        let mut spikes = sides.iter().zip(next().skip(1)).filter(|((a, b), c)| goes_back((*a, *b, *c)));
        if let Some(((_, corner), _)) = spikes.next() {
            return Some(Flaw::Spike(corner.number));
        }
        // Neighbours have their corner in common; what else they could have is a spike.
        let apart = |i: usize, j: usize| j > i + 1 && j + 1 < i + sides.len();
        let all = || sides.iter().enumerate();
        let mut pairs =
            all().flat_map(|(i, one)| all().filter(move |(j, _)| apart(i, *j)).map(move |(_, two)| (one, two)));
        pairs.find_map(|(one, two)| {
            let (at, crosses) = meet(*one, *two)?;
            Some(Flaw::Meet { sides: ((one.0.number, one.1.number), (two.0.number, two.1.number)), at, crosses })
        })
    }
}

fn crossing((a, b): (Point, Point), (c, d): (Point, Point)) -> Point {
    let vector = |from: Point, to: Point| (to.lon - from.lon, to.lat - from.lat);
    let cross = |p: (f64, f64), q: (f64, f64)| p.0 * q.1 - p.1 * q.0;
    let (side, other) = (vector(a, b), vector(c, d));
    let part = cross(vector(a, c), other) / cross(side, other);
    Point::new(a.lat + part * side.1, a.lon + part * side.0).unwrap_or(a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(lat: f64, lon: f64) -> Point {
        Point::new(lat, lon).unwrap()
    }

    #[test]
    fn refuses_what_is_not_on_the_earth() {
        assert!(Point::new(f64::NAN, 0.0).is_err());
        assert!(Point::new(0.0, f64::INFINITY).is_err());
        assert!(Point::new(90.1, 0.0).is_err());
        assert!(Point::new(0.0, -180.1).is_err());
        assert!(serde_json::from_str::<Point>(r#"{"lat": 91, "lon": 0}"#).is_err());
        assert!(serde_json::from_str::<Polygon>("[[0, 0], [1, 1], [0, 0]]").is_err());
    }

    #[test]
    fn knows_distances() {
        let (paris, new_york) = (at(48.8566, 2.3522), at(40.7128, -74.0060));
        assert!((paris.distance_m(new_york) - 5_837_250.0).abs() < 1_000.0);
        assert!(paris.distance_m(paris) < 1e-6);
        let half = EARTH_RADIUS_M * std::f64::consts::PI;
        assert!((at(90.0, 0.0).distance_m(at(-90.0, 0.0)) - half).abs() < 1.0);
    }

    #[test]
    fn polygon_contains_its_inside_only() {
        let square = r"[[0, 0], [2, 0], [2, 2], [1, 0.5], [0, 2], [0, 0]]";
        let polygon: Polygon = serde_json::from_str(square).unwrap();
        assert_eq!(polygon.points().len(), 5);
        assert!(polygon.contains(at(0.25, 1.0)));
        assert!(polygon.contains(at(1.5, 0.1)));
        assert!(!polygon.contains(at(1.5, 1.0)));
        assert!(!polygon.contains(at(-0.1, 1.0)));
        assert_eq!(polygon.bounds(), Bounds { south: 0.0, west: 0.0, north: 2.0, east: 2.0 });
    }

    fn ring(corners: &[(i32, i32)]) -> Polygon {
        let corner = |(x, y): &(i32, i32)| at(52.0 + f64::from(*y) / 100.0, 4.0 + f64::from(*x) / 100.0);
        Polygon::new(corners.iter().map(corner).collect()).unwrap()
    }

    #[test]
    fn an_outline_that_is_none_is_told_with_the_place() {
        let flaw_of = |corners: &[(i32, i32)]| ring(corners).flaw().map(|flaw| flaw.to_string()).unwrap_or_default();
        assert_eq!(flaw_of(&[(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)]), "", "closed as GeoJSON is");
        assert_eq!(flaw_of(&[(0, 0), (2, 0), (4, 0), (4, 4)]), "", "a corner may be on a straight side");
        let bow = flaw_of(&[(0, 0), (4, 4), (4, 0), (0, 4)]);
        assert_eq!(
            bow,
            "the outline crosses itself: its sides from corner 1 to 2 and from corner 3 to 4 meet \
             at latitude 52.02000, longitude 4.02000"
        );
        let touching = flaw_of(&[(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)]);
        assert!(touching.starts_with("the outline touches itself: its sides from corner 1 to 2"), "{touching}");
        assert!(touching.ends_with("at latitude 52.00000, longitude 4.02000"), "{touching}");
        assert_eq!(flaw_of(&[(0, 0), (4, 0), (4, 0), (0, 4)]), "corner 3 of the outline repeats corner 2");
        for spike in
            [&[(0, 0), (4, 0), (2, 0), (2, 4)][..], &[(0, 0), (1, 1), (2, 2)], &[(0, 0), (4, 4), (0, 0), (4, 4)]]
        {
            assert!(flaw_of(spike).ends_with("the outline goes back the way it came"), "{}", flaw_of(spike));
        }
    }

    /// Whether two sides share more than a common corner, found by solving for the crossing instead
    /// of by orientation.
    fn share_more((a, b): ((i32, i32), (i32, i32)), (c, d): ((i32, i32), (i32, i32)), neighbours: bool) -> bool {
        let (side, other, gap) = ((b.0 - a.0, b.1 - a.1), (d.0 - c.0, d.1 - c.1), (c.0 - a.0, c.1 - a.1));
        let cross = |p: (i32, i32), q: (i32, i32)| p.0 * q.1 - p.1 * q.0;
        let det = cross(side, other);
        if det != 0 {
            let inside = |numerator: i32| (0..=det.abs()).contains(&(numerator * det.signum()));
            return !neighbours && inside(cross(gap, other)) && inside(cross(gap, side));
        }
        if cross(side, gap) != 0 {
            return false;
        }
        let along = |p: (i32, i32)| if side.0 == 0 { p.1 } else { p.0 };
        let (low, high) =
            (along(a).min(along(b)).max(along(c).min(along(d))), along(a).max(along(b)).min(along(c).max(along(d))));
        if neighbours { high > low } else { high >= low }
    }

    proptest! {
        #[test]
        fn an_outline_is_simple_when_no_two_sides_share_more_than_a_corner(
            corners in prop::collection::vec((0..7_i32, 0..7_i32), 3..9),
        ) {
            prop_assume!(corners.first() != corners.last());
            let n = corners.len();
            let side = |i: usize| (corners[i], corners[(i + 1) % n]);
            let repeated = (0..n).any(|i| side(i).0 == side(i).1);
            let share = |i: usize, j: usize| share_more(side(i), side(j), j == i + 1 || j + 1 == i + n);
            let simple = !repeated && (0..n).all(|i| (i + 1..n).all(|j| !share(i, j)));
            let polygon = ring(&corners);
            prop_assert_eq!(polygon.flaw().is_none(), simple, "{:?}", polygon.flaw());
            if let Some(Flaw::Meet { sides: (one, two), at: place, .. }) = polygon.flaw() {
                for (from, to) in [one, two] {
                    let [from, to] = [from, to].map(|n| polygon.points()[n - 1]);
                    let detour = from.distance_m(place) + place.distance_m(to) - from.distance_m(to);
                    prop_assert!(detour < 0.5, "{} m off the side", detour);
                }
            }
        }
    }
}
