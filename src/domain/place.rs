//! Short distances within a city on flat ground, and places in words. Good to about a metre;
//! nothing is priced by it.

use super::{
    geo::Point,
    units::{MILE_M, Units},
};

const METRES_PER_DEGREE: f64 = 111_195.0;

/// `point` moved by metres; to about ten centimetres.
pub fn moved(point: Point, north: f64, east: f64) -> Point {
    let round = |degrees: f64| (degrees * 1e6).round() / 1e6;
    let lat = round(point.lat() + north / METRES_PER_DEGREE);
    let lon = round(point.lon() + east / METRES_PER_DEGREE / point.lat().to_radians().cos());
    Point::new(lat, lon).unwrap_or(point)
}

/// Metres north and east from one point to another nearby.
pub fn offset(from: Point, to: Point) -> (f64, f64) {
    let east = (to.lon() - from.lon()) * from.lat().to_radians().cos();
    ((to.lat() - from.lat()) * METRES_PER_DEGREE, east * METRES_PER_DEGREE)
}

/// Where `point` is, in words that work for any city: `1.2 km north-east of the centre`.
pub fn place(units: Units, centre: Point, point: Point) -> String {
    let ((north, east), metres) = (offset(centre, point), centre.distance_m(point));
    // Within an eighth of a circle of an axis, the other one is not named (tan 67.5°).
    let to = |along: f64, across: f64, more, less| match along {
        _ if across.abs() > 2.414 * along.abs() => "",
        _ if along > 0.0 => more,
        _ => less,
    };
    let (vertical, horizontal) = (to(north, east, "north", "south"), to(east, north, "east", "west"));
    let dash = if vertical.is_empty() || horizontal.is_empty() { "" } else { "-" };
    let far = match units {
        _ if metres < 200.0 => return "in the centre".to_owned(),
        Units::Us => format!("{:.1} mi", metres / MILE_M),
        Units::Metric if metres < 950.0 => format!("{:.0} m", (metres / 50.0).round() * 50.0),
        Units::Metric => format!("{:.1} km", metres / 1000.0),
    };
    format!("{far} {vertical}{dash}{horizontal} of the centre")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_from_the_centre() {
        let centre = Point::new(48.8566, 2.3522).unwrap();
        for (north, east, words) in [
            (50.0, 50.0, "in the centre"),
            (0.0, 400.0, "400 m east of the centre"),
            (-850.0, 850.0, "1.2 km south-east of the centre"),
            (3000.0, -100.0, "3.0 km north of the centre"),
        ] {
            let point = moved(centre, north, east);
            assert_eq!(place(Units::Metric, centre, point), words);
            let (n, e) = offset(centre, point);
            assert!((n - north).abs() < 1.0 && (e - east).abs() < 1.0, "{n} {e}");
        }
        assert_eq!(place(Units::Us, centre, moved(centre, 0.0, 400.0)), "0.2 mi east of the centre");
    }
}
