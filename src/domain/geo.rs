//! Points on the Earth, the service area's polygon, and the cell code by which the
//! nearest vehicles are found through an index. Plain arithmetic, no I/O.
//! A cell is an interleaved (Morton) code of 26 bits of longitude and 26 of latitude:
//! one stored INT8 serves every precision, because the cells of a coarser level are
//! ranges of it. The surprise: there is no `Level` 1, since the three by three cells
//! around a point would cover the Earth; it is `Level::WHOLE`.

mod outline;

pub use outline::Flaw;
use serde::{Deserialize, Serialize};

/// The mean radius of the Earth in metres (IUGG), the one used for every distance.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Bits per axis: a cell is about 0.3 m by 0.6 m at the equator.
const BITS: u8 = 26;

/// The largest code that `cell` returns.
pub const MAX_CELL: i64 = (1 << (2 * BITS)) - 1;

/// Taken off a safe radius: far more than the rounding of an `f64` edge, far less than matters.
const MARGIN_M: f64 = 0.01;

/// Coordinates that are not on the Earth.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum GeoError {
    /// Latitude outside -90 to 90 degrees, or not a number.
    #[error("latitude {0} is not within -90 and 90")]
    Latitude(f64),
    /// Longitude outside -180 to 180 degrees, or not a number.
    #[error("longitude {0} is not within -180 and 180")]
    Longitude(f64),
    /// A polygon of fewer than three points.
    #[error("an area needs at least 3 points, not {0}")]
    TooFewPoints(usize),
}

/// A position in degrees (WGS 84); always finite and in range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPoint", into = "RawPoint")]
pub struct Point {
    lat: f64,
    lon: f64,
}

#[derive(Serialize, Deserialize)]
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

impl From<Point> for RawPoint {
    fn from(Point { lat, lon }: Point) -> Self {
        Self { lat, lon }
    }
}

impl Point {
    /// A checked point, rounded to seven decimals: a centimetre, and no difference so small
    /// that the database's arithmetic underflows.
    ///
    /// # Errors
    /// When a coordinate is not finite or out of range.
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

    /// Degrees north.
    pub const fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east.
    pub const fn lon(self) -> f64 {
        self.lon
    }

    /// The great-circle distance to `other` in metres (haversine).
    pub fn distance_m(self, other: Self) -> f64 {
        let half_lat = (other.lat - self.lat).to_radians() / 2.0;
        let half_lon = (other.lon - self.lon).to_radians() / 2.0;
        let cosines = self.lat.to_radians().cos() * other.lat.to_radians().cos();
        let h = half_lat.sin().powi(2) + cosines * half_lon.sin().powi(2);
        2.0 * EARTH_RADIUS_M * h.clamp(0.0, 1.0).sqrt().asin()
    }
}

/// The smallest box of degrees around some points; does not know the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub south: f64,
    pub west: f64,
    pub north: f64,
    pub east: f64,
}

impl Bounds {
    /// The box around `points`; None when there are none.
    pub fn of(points: impl IntoIterator<Item = Point>) -> Option<Self> {
        points.into_iter().fold(None, |bounds: Option<Self>, Point { lat, lon }| {
            let old = bounds.unwrap_or(Self { south: lat, west: lon, north: lat, east: lon });
            Some(Self {
                south: old.south.min(lat),
                west: old.west.min(lon),
                north: old.north.max(lat),
                east: old.east.max(lon),
            })
        })
    }
}

/// A polygon of at least three points, not closed, simple where `flaw` has none; written as `[[lon, lat], ...]` like `GeoJSON`.
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
    /// A polygon of `points`; a last point that repeats the first is dropped.
    ///
    /// # Errors
    /// When fewer than three points are left.
    pub fn new(mut points: Vec<Point>) -> Result<Self, GeoError> {
        if points.len() > 1 && points.first() == points.last() {
            points.pop();
        }
        if points.len() < 3 {
            return Err(GeoError::TooFewPoints(points.len()));
        }
        Ok(Self(points))
    }

    /// The corners in order.
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// Whether `point` lies inside (even-odd rule on plain degrees, right for a city's size).
    pub fn contains(&self, point: Point) -> bool {
        let ends = self.0.iter().cycle().skip(1);
        let crossings = self.0.iter().zip(ends).filter(|(a, b)| {
            (a.lat > point.lat) != (b.lat > point.lat)
                && point.lon < a.lon + (point.lat - a.lat) / (b.lat - a.lat) * (b.lon - a.lon)
        });
        crossings.count() % 2 == 1
    }

    /// The box of degrees around the polygon.
    pub fn bounds(&self) -> Bounds {
        let nothing = Bounds { south: 0.0, west: 0.0, north: 0.0, east: 0.0 };
        Bounds::of(self.0.iter().copied()).unwrap_or(nothing)
    }
}

/// The number of the slice of `span` degrees, cut into 2^`bits`, that holds `degrees` above its start.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 <= degrees <= span by Point, and the result is clamped to 26 bits"
)]
fn slice(degrees: f64, span: f64, bits: u8) -> u32 {
    let count = 1_u32 << bits;
    ((degrees / span * f64::from(count)) as u32).min(count - 1)
}

/// Spreads the 26 low bits to the even positions.
fn spread(bits: u32) -> u64 {
    let mut code = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_FFFF_0000_FFFF),
        (8, 0x00FF_00FF_00FF_00FF),
        (4, 0x0F0F_0F0F_0F0F_0F0F),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        code = (code | (code << shift)) & mask;
    }
    code
}

fn interleave(column: u32, row: u32) -> i64 {
    (spread(column) | (spread(row) << 1)).cast_signed()
}

/// The finest cell of `point`, 0 to `MAX_CELL`: what a vehicle's row stores.
pub fn cell(point: Point) -> i64 {
    interleave(slice(point.lon + 180.0, 360.0, BITS), slice(point.lat + 90.0, 180.0, BITS))
}

/// How fine a search is: bits per axis, 2 to 26, or 0 for everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

/// Nine inclusive `[lo, hi]` ranges of cells; the unused ones are `(1, 0)`, which holds nothing.
pub type Ranges = [(i64, i64); 9];

impl Level {
    /// Everywhere: one range of all cells.
    pub const WHOLE: Self = Self(0);
    /// The finest level, where a range is a single cell.
    pub const FINEST: Self = Self(BITS);

    /// The level of so many bits per axis: at most the finest, below 2 the whole.
    pub fn new(bits: u8) -> Self {
        if bits < 2 { Self::WHOLE } else { Self(bits.min(BITS)) }
    }

    /// Whether the block around any point covers the Earth.
    pub const fn is_whole(self) -> bool {
        self.0 == 0
    }

    /// The column and row of the cell of `point` at this level.
    fn cell_of(self, point: Point) -> (u32, u32) {
        (slice(point.lon + 180.0, 360.0, self.0), slice(point.lat + 90.0, 180.0, self.0))
    }
}

/// The cells of the three by three block around `point` at `level`, as sorted, merged ranges.
///
/// Columns wrap at the antimeridian; rows beyond a pole do not exist.
pub fn block_ranges(point: Point, level: Level) -> Ranges {
    const NOTHING: (i64, i64) = (1, 0);
    let mut ranges = [NOTHING; 9];
    let mut merged: Vec<(i64, i64)> = Vec::with_capacity(9);
    if level.is_whole() {
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
    for (slot, range) in ranges.iter_mut().zip(merged) {
        *slot = range;
    }
    ranges
}

/// Metres around `point` that surely lie inside its block at `level`; infinite when the block is everything.
///
/// A list of the nearest found through `block_ranges` is exact as far as this distance.
pub fn safe_radius_m(point: Point, level: Level) -> f64 {
    if level.is_whole() {
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

/// The level at which to search once more, or None when the answer found at `level` is exact.
///
/// `farthest_m` is the distance of the last of the wanted number, None when fewer were found.
/// The second answer is always exact.
pub fn retry_level(point: Point, level: Level, farthest_m: Option<f64>) -> Option<Level> {
    if level.is_whole() {
        return None;
    }
    match farthest_m {
        Some(metres) if metres <= safe_radius_m(point, level) => None,
        Some(metres) => Some(level_for_radius(point, metres)),
        None => Some(Level::WHOLE),
    }
}

#[cfg(test)]
mod tests;
