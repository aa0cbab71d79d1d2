//! Tasks of operators: a rider's report about a vehicle is one.

use serde::Deserialize;
use uuid::Uuid;

use super::region::RegionCode;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskRef {
    pub region: RegionCode,
    pub id: Uuid,
}

/// What can be wrong with a vehicle, in the order of the form; other codes are refused.
pub const PROBLEMS: [(&str, &str); 7] = [
    ("missing", "It isn't where the map shows it"),
    ("battery", "The battery is empty"),
    ("brakes", "The brakes don't work properly"),
    ("wheels", "A tire or wheel is damaged"),
    ("lock", "It doesn't unlock or lock"),
    ("parking", "It is in the way"),
    ("other", "Something else"),
];

/// What can be wrong with a ride. It says nothing of the vehicle, which it never takes off the street.
pub const CHARGE: &str = "charge";

pub fn problem_text(code: &str) -> &'static str {
    if code == CHARGE {
        return "I was charged too much";
    }
    PROBLEMS.iter().find(|(problem, _)| *problem == code).map_or("Something else", |(_, text)| text)
}

/// So many people who report a vehicle put it into maintenance.
pub const REPORTERS: i64 = 3;

/// Reports of one person within a day.
pub const REPORTS_A_DAY: i64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStep {
    /// It becomes the operator's own.
    Take,
    /// It is nobody's any more.
    Release,
    Finish,
    Reopen,
}
