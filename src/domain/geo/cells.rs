//! The cell code by which the nearest vehicles are found through an index: an interleaved (Morton)
//! code of 26 bits of longitude and 26 of latitude. One stored INT8 serves every precision, because
//! the cells of a coarser level are ranges of it.

use super::{EARTH_RADIUS_M, Point};

/// Bits per axis: a cell is about 0.3 m by 0.6 m at the equator.
const BITS: u8 = 26;

/// The largest code that `cell` returns.
pub const MAX_CELL: i64 = (1 << (2 * BITS)) - 1;

/// Subtracted from a safe radius: far more than `f64` rounding, far less than matters.
const MARGIN_M: f64 = 0.01;

/// The slice, of 2^`bits` in `span` degrees, that holds `degrees` above its start.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 <= degrees <= span by Point, and the result is clamped to 26 bits"
)]
fn slice(degrees: f64, span: f64, bits: u8) -> u32 {
    let count = 1_u32 << bits;
    ((degrees / span * f64::from(count)) as u32).min(count - 1)
}

fn interleave(column: u32, row: u32) -> i64 {
    let pair = |bit| (i64::from(column >> bit & 1) | i64::from(row >> bit & 1) << 1) << (2 * bit);
    (0..BITS).map(pair).sum()
}

pub fn cell(point: Point) -> i64 {
    interleave(slice(point.lon + 180.0, 360.0, BITS), slice(point.lat + 90.0, 180.0, BITS))
}

/// The precision of a search: bits per axis, 2 to 26, or 0 for everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

/// Nine inclusive `[lo, hi]` ranges of cells; the unused ones are `(1, 0)`, which holds nothing.
pub type Ranges = [(i64, i64); 9];

impl Level {
    pub const WHOLE: Self = Self(0);

    /// Below two bits the block around any point would cover the Earth.
    pub fn new(bits: u8) -> Self {
        if bits < 2 { Self::WHOLE } else { Self(bits.min(BITS)) }
    }

    fn cell_of(self, point: Point) -> (u32, u32) {
        (slice(point.lon + 180.0, 360.0, self.0), slice(point.lat + 90.0, 180.0, self.0))
    }
}

/// The three by three block of cells around `point` at `level`, as sorted, merged ranges. Columns
/// wrap at the antimeridian; rows beyond a pole do not exist.
pub fn block_ranges(point: Point, level: Level) -> Ranges {
    let mut merged: Vec<(i64, i64)> = Vec::with_capacity(9);
    if level == Level::WHOLE {
        merged.push((0, MAX_CELL));
    } else {
        let count = 1_u32 << level.0;
        let (column, row) = level.cell_of(point);
        let columns = [(column + count - 1) % count, column, (column + 1) % count];
        let rows = row.saturating_sub(1)..=(row + 1).min(count - 1);
        let shift = 2 * (BITS - level.0);
        let mut codes: Vec<i64> = rows.flat_map(|row| columns.map(|column| interleave(column, row))).collect();
        codes.sort_unstable();
        for code in codes {
            let (lo, hi) = (code << shift, ((code + 1) << shift) - 1);
            match merged.last_mut() {
                Some(last) if last.1 + 1 == lo => last.1 = hi,
                _ => merged.push((lo, hi)),
            }
        }
    }
    let mut ranges = [(1, 0); 9];
    ranges.iter_mut().zip(merged).for_each(|(slot, range)| *slot = range);
    ranges
}

/// Metres around `point` that surely lie inside its block at `level`; infinite when the block is
/// everything. A list found through `block_ranges` is exact up to this distance.
pub fn safe_radius_m(point: Point, level: Level) -> f64 {
    if level == Level::WHOLE {
        return f64::INFINITY;
    }
    let count = f64::from(1_u32 << level.0);
    let (column, row) = level.cell_of(point);
    let (width, height) = (360.0 / count, 180.0 / count);
    let west = point.lon + 180.0 - (f64::from(column) - 1.0) * width;
    let east = 3.0 * width - west;
    let south = point.lat + 90.0 - (f64::from(row) - 1.0) * height;
    let north = 3.0 * height - south;
    // A row beyond the pole does not exist: over the pole, the block is left through its sides.
    let south = if row == 0 { f64::INFINITY } else { south };
    let north = if row + 1 == 1 << level.0 { f64::INFINITY } else { north };
    let side = meridian_distance(point.lat, west.min(east));
    let radius = EARTH_RADIUS_M * side.min(south.to_radians()).min(north.to_radians());
    (radius - MARGIN_M).max(0.0)
}

/// The angle in radians from a point at `lat` to the meridian `degrees` of longitude away.
fn meridian_distance(lat: f64, degrees: f64) -> f64 {
    if degrees >= 90.0 {
        (90.0 - lat.abs()).to_radians()
    } else {
        (lat.to_radians().cos() * degrees.to_radians().sin()).asin()
    }
}

/// The finest level whose block around `point` holds everything within `metres`.
pub fn level_for_radius(point: Point, metres: f64) -> Level {
    let fits = |level: &Level| safe_radius_m(point, *level) >= metres;
    (0..=BITS).rev().map(Level).find(fits).unwrap_or(Level::WHOLE)
}

/// The level for a second search, or None when the answer at `level` is exact. `farthest_m` is the
/// distance of the last result shown, None when the list is not full. The second answer is always
/// exact.
pub fn retry_level(point: Point, level: Level, farthest_m: Option<f64>) -> Option<Level> {
    if level == Level::WHOLE {
        return None;
    }
    match farthest_m {
        Some(metres) if metres <= safe_radius_m(point, level) => None,
        Some(metres) => Some(level_for_radius(point, metres)),
        None => Some(Level::WHOLE),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(level_for_radius(paris, 0.0), Level::new(BITS));
        let level = level_for_radius(paris, 500.0);
        assert!((500.0..4_000.0).contains(&safe_radius_m(paris, level)), "{level:?}");
    }

    fn anywhere() -> impl Strategy<Value = Point> {
        (-90.0..=90.0_f64, -180.0..=180.0_f64).prop_map(|(lat, lon)| at(lat, lon))
    }

    /// A point near central Amsterdam, 180 degrees east off Fiji, or the pole, with others around
    /// it.
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
            elsewhere in anywhere(),
            angle in 0.0..std::f64::consts::TAU,
            bits in 0..=26_u8,
        ) {
            let level = Level::new(bits);
            let (ranges, radius) = (block_ranges(me, level), safe_radius_m(me, level));
            let degrees = (radius / EARTH_RADIUS_M).to_degrees() * 0.999;
            let (north, east) = (degrees * angle.sin(), degrees * angle.cos() / me.lat().to_radians().cos());
            let just_inside = Point::new(me.lat() + north, me.lon() + east);
            for other in just_inside.into_iter().chain([elsewhere]) {
                if me.distance_m(other) <= radius {
                    prop_assert!(inside(&ranges, cell(other)));
                }
            }
            let used: Vec<_> = ranges.iter().filter(|(lo, hi)| lo <= hi).collect();
            prop_assert!(used.windows(2).all(|pair| pair.first().unwrap().1 < pair.last().unwrap().0));
        }
    }
}
