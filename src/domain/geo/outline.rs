//! Whether the outline of an area is simple: sides that meet nowhere but at the corner that
//! they share. Computed in whole units of 1e-7 degrees, to which points are rounded, so the
//! answer is exact.

use super::{Point, Polygon};

/// Why an outline is not simple. Corners are counted from 1, as they were written.
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

/// A corner: its number, where it is, and the same in whole units.
type Corner = (usize, Point, (i128, i128));

#[allow(clippy::cast_possible_truncation, reason = "a Point's degrees times 1e7 are far inside i64")]
fn corner((number, at): (usize, &Point)) -> Corner {
    let whole = |degrees: f64| i128::from((degrees * 1e7).round() as i64);
    (number, *at, (whole(at.lon), whole(at.lat)))
}

fn minus((.., a): &Corner, (.., b): &Corner) -> (i128, i128) {
    (a.0 - b.0, a.1 - b.1)
}

/// 1 when `c` is to the left of the line from `a` to `b`, -1 to the right, 0 on it.
fn turn(a: &Corner, b: &Corner, c: &Corner) -> i128 {
    let (to, aside) = (minus(b, a), minus(c, a));
    (to.0 * aside.1 - to.1 * aside.0).signum()
}

/// Whether `c`, which is on the line through `a` and `b`, is between them or one of them.
fn between(a: &Corner, b: &Corner, c: &Corner) -> bool {
    let (back, on) = (minus(a, c), minus(b, c));
    back.0 * on.0 + back.1 * on.1 <= 0
}

/// Where two sides have a point in common, and whether they cross there.
fn meet((a, b): (&Corner, &Corner), (c, d): (&Corner, &Corner)) -> Option<(Point, bool)> {
    let turns = [(a, b, c), (a, b, d), (c, d, a), (c, d, b)].map(|line| (turn(line.0, line.1, line.2), line));
    if let Some((_, (_, _, touching))) = turns.iter().find(|(turn, (a, b, c))| *turn == 0 && between(a, b, c)) {
        return Some((touching.1, false));
    }
    let [left, right, before, behind] = turns.map(|(turn, _)| turn);
    (left * right < 0 && before * behind < 0).then(|| (crossing((a.1, b.1), (c.1, d.1)), true))
}

impl Polygon {
    /// The first thing by which the outline is not simple. Who accepts an area asks; areas
    /// that are stored already are read as they are.
    pub fn flaw(&self) -> Option<Flaw> {
        let corners: Vec<Corner> = (1..).zip(&self.0).map(corner).collect();
        let next = || corners.iter().cycle().skip(1);
        let sides: Vec<(&Corner, &Corner)> = corners.iter().zip(next()).collect();
        if let Some((a, b)) = sides.iter().find(|(a, b)| a.2 == b.2) {
            return Some(Flaw::Repeated(a.0, b.0));
        }
        let mut turns = sides.iter().zip(next().skip(1));
        if let Some(((_, b), _)) = turns.find(|((a, b), c)| turn(a, b, c) == 0 && !between(a, c, b)) {
            return Some(Flaw::Spike(b.0));
        }
        // Neighbours have their corner in common; what else they could have is a spike.
        let apart = |i: usize, j: usize| j > i + 1 && j + 1 < i + sides.len();
        let all = || sides.iter().enumerate();
        let mut pairs =
            all().flat_map(|(i, one)| all().filter(move |(j, _)| apart(i, *j)).map(move |(_, two)| (one, two)));
        pairs.find_map(|(one, two)| {
            let (at, crosses) = meet(*one, *two)?;
            Some(Flaw::Meet { sides: ((one.0.0, one.1.0), (two.0.0, two.1.0)), at, crosses })
        })
    }
}

/// Where two sides that cross do so.
fn crossing((a, b): (Point, Point), (c, d): (Point, Point)) -> Point {
    let way = |from: Point, to: Point| (to.lon - from.lon, to.lat - from.lat);
    let cross = |p: (f64, f64), q: (f64, f64)| p.0 * q.1 - p.1 * q.0;
    let (side, other) = (way(a, b), way(c, d));
    let part = cross(way(a, c), other) / cross(side, other);
    Point::new(a.lat + part * side.1, a.lon + part * side.0).unwrap_or(a)
}
