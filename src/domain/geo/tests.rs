//! Unit and property tests of `geo`, apart from it to keep the file under 400 lines.
//! Every property is checked against brute force over all points.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn at(lat: f64, lon: f64) -> Point {
    Point::new(lat, lon).unwrap()
}

fn inside(ranges: &Ranges, code: i64) -> bool {
    ranges.iter().any(|(lo, hi)| (*lo..=*hi).contains(&code))
}

/// The distances of the `n` nearest of `points`, through ranges of cells only.
fn nearest(points: &[Point], me: Point, level: Level, n: usize) -> Vec<f64> {
    let ranges = block_ranges(me, level);
    let mut found: Vec<f64> =
        points.iter().filter(|point| inside(&ranges, cell(**point))).map(|point| me.distance_m(*point)).collect();
    found.sort_by(f64::total_cmp);
    found.truncate(n);
    found
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

#[test]
fn cells_fit_and_levels_nest() {
    assert_eq!(cell(at(-90.0, -180.0)), 0);
    assert_eq!(cell(at(90.0, 180.0)), MAX_CELL);
    for point in [at(0.0, 0.0), at(90.0, -180.0), at(52.37, 4.9), at(-33.0, 180.0)] {
        assert!((0..=MAX_CELL).contains(&cell(point)));
        for bits in 0..=26 {
            let ranges = block_ranges(point, Level::new(bits));
            assert!(inside(&ranges, cell(point)), "{point:?} at {bits}");
        }
    }
    let whole = block_ranges(at(1.0, 1.0), Level::WHOLE);
    assert_eq!(whole.first(), Some(&(0, MAX_CELL)));
    assert!(whole.iter().skip(1).all(|range| *range == (1, 0)));
}

#[test]
fn level_follows_the_radius() {
    let paris = at(48.8566, 2.3522);
    assert_eq!(level_for_radius(paris, f64::INFINITY), Level::WHOLE);
    assert_eq!(level_for_radius(paris, 0.0), Level::FINEST);
    let level = level_for_radius(paris, 500.0);
    assert!((500.0..4_000.0).contains(&safe_radius_m(paris, level)), "{level:?}");
}

fn ring(corners: &[(i32, i32)]) -> Polygon {
    let corner = |(x, y): &(i32, i32)| at(52.0 + f64::from(*y) / 100.0, 4.0 + f64::from(*x) / 100.0);
    Polygon::new(corners.iter().map(corner).collect()).unwrap()
}

#[test]
fn an_outline_that_is_none_is_told_with_the_place() {
    let told = |corners: &[(i32, i32)]| ring(corners).flaw().map(|flaw| flaw.to_string()).unwrap_or_default();
    assert_eq!(told(&[(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)]), "", "closed as GeoJSON is");
    assert_eq!(told(&[(0, 0), (2, 0), (4, 0), (4, 4)]), "", "a corner may be on a straight side");
    let bow = told(&[(0, 0), (4, 4), (4, 0), (0, 4)]);
    assert_eq!(
        bow,
        "the outline crosses itself: its sides from corner 1 to 2 and from corner 3 to 4 meet \
         at latitude 52.02000, longitude 4.02000"
    );
    let touching = told(&[(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)]);
    assert!(touching.starts_with("the outline touches itself: its sides from corner 1 to 2"), "{touching}");
    assert!(touching.ends_with("at latitude 52.00000, longitude 4.02000"), "{touching}");
    assert_eq!(told(&[(0, 0), (4, 0), (4, 0), (0, 4)]), "corner 3 of the outline repeats corner 2");
    for spike in [&[(0, 0), (4, 0), (2, 0), (2, 4)][..], &[(0, 0), (1, 1), (2, 2)], &[(0, 0), (4, 4), (0, 0), (4, 4)]] {
        assert!(told(spike).ends_with("the outline goes back the way it came"), "{}", told(spike));
    }
}

/// Whether two sides have more in common than a corner that they share, by solving for the
/// place on each of them instead of looking on which side corners lie.
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

fn anywhere() -> impl Strategy<Value = Point> {
    (-90.0..=90.0_f64, -180.0..=180.0_f64).prop_map(|(lat, lon)| at(lat, lon))
}

/// A point within about 6 km of central Amsterdam, or of 180 degrees east off Fiji, or of the pole.
fn town() -> impl Strategy<Value = (Point, Vec<Point>)> {
    let centres = prop_oneof![Just((52.3676, 4.9041)), Just((-17.0, 180.0)), Just((89.98, 10.0))];
    centres.prop_flat_map(|(lat, lon)| {
        let point = (-0.05..0.05_f64, -0.08..0.08_f64).prop_map(move |(north, east)| {
            let east = lon + east;
            at((lat + north).min(90.0), if east > 180.0 { east - 360.0 } else { east })
        });
        (point.clone(), prop::collection::vec(point, 0..400))
    })
}

proptest! {
    #[test]
    fn nearest_25_equals_brute_force((me, points) in town(), bits in 2..=20_u8) {
        let mut all: Vec<f64> = points.iter().map(|point| me.distance_m(*point)).collect();
        all.sort_by(f64::total_cmp);
        all.truncate(25);

        let level = Level::new(bits);
        let first = nearest(&points, me, level, 25);
        let answer = match retry_level(me, level, first.get(24).copied()) {
            None => first,
            Some(wider) => {
                let second = nearest(&points, me, wider, 25);
                prop_assert!(retry_level(me, wider, second.get(24).copied()).is_none());
                second
            }
        };
        prop_assert_eq!(answer, all);
    }

    #[test]
    fn what_is_nearer_than_the_safe_radius_is_in_the_block(
        me in anywhere(),
        other in anywhere(),
        bits in 0..=26_u8,
    ) {
        let level = Level::new(bits);
        let ranges = block_ranges(me, level);
        if me.distance_m(other) <= safe_radius_m(me, level) {
            prop_assert!(inside(&ranges, cell(other)));
        }
        let used: Vec<_> = ranges.iter().filter(|(lo, hi)| lo <= hi).collect();
        prop_assert!(used.windows(2).all(|pair| pair.first().unwrap().1 < pair.last().unwrap().0));
    }

    #[test]
    fn just_inside_the_radius_is_in_the_block(
        me in (-89.0..=89.0_f64, -179.0..=179.0_f64).prop_map(|(lat, lon)| at(lat, lon)),
        angle in 0.0..std::f64::consts::TAU,
        bits in 9..=26_u8,
    ) {
        let level = Level::new(bits);
        let degrees = (safe_radius_m(me, level) / EARTH_RADIUS_M).to_degrees() * 0.999;
        let east = degrees * angle.cos() / me.lat().to_radians().cos();
        let (lat, lon) = (me.lat() + degrees * angle.sin(), me.lon() + east);
        if let Ok(other) = Point::new(lat, lon)
            && me.distance_m(other) <= safe_radius_m(me, level)
        {
            prop_assert!(inside(&block_ranges(me, level), cell(other)));
        }
    }
}
