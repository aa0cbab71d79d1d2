//! Operators' jobs: the kinds, what each does to a vehicle, and why items were refused. A reason is
//! stored as a short code, with what changed after a colon.

use serde::Deserialize;
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use super::{
    event::{
        VEHICLE_BACK, VEHICLE_FOUND, VEHICLE_LOST, VEHICLE_MAINTENANCE, VEHICLE_MOVED, VEHICLE_RECEIVED,
        VEHICLE_RETIRED,
    },
    region::RegionCode,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct JobRef {
    pub region: RegionCode,
    pub id: Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum JobKind {
    /// Off the street, with a note.
    Maintenance,
    /// From maintenance.
    #[serde(rename = "back")]
    #[strum(serialize = "back")]
    BackToStreet,
    Lost,
    /// A lost one that was found: it goes to maintenance first.
    Found,
    /// Off the street for ever; another vehicle may have its code.
    Retire,
    /// Within the region.
    Move,
    /// To another region.
    Transfer,
    /// Lines of a file, each a vehicle.
    Import,
    /// Whatever is left of a person whose account is closed.
    #[serde(skip)]
    Erasure,
}

/// What an operator can choose, in the order of the form; the city says whether a move is a
/// transfer.
pub const CHOICES: [JobKind; 6] =
    [JobKind::Maintenance, JobKind::BackToStreet, JobKind::Lost, JobKind::Found, JobKind::Retire, JobKind::Move];

pub const STEPS: [JobKind; 5] =
    [JobKind::BackToStreet, JobKind::Maintenance, JobKind::Found, JobKind::Lost, JobKind::Retire];

impl JobKind {
    pub fn code(self) -> &'static str {
        self.into()
    }

    pub fn from_code(code: &str) -> Option<Self> {
        code.parse().ok()
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Maintenance => "Put into maintenance",
            Self::BackToStreet => "Return to service",
            Self::Lost => "Mark as lost",
            Self::Found => "Mark as found",
            Self::Retire => "Retire",
            Self::Move | Self::Transfer => "Move to another city",
            Self::Import => "Import",
            Self::Erasure => "Erasure",
        }
    }

    /// What it does to each vehicle's status, if that is what it is about. A vehicle that arrives in
    /// another city is not on the street yet.
    pub fn status_change(self) -> Option<StatusChange> {
        let (event, to, from): (_, _, &[_]) = match self {
            Self::Maintenance => (VEHICLE_MAINTENANCE, "maintenance", &["available", "maintenance", "lost"]),
            Self::BackToStreet => (VEHICLE_BACK, "available", &["maintenance"]),
            Self::Lost => (VEHICLE_LOST, "lost", &["available", "maintenance"]),
            Self::Found => (VEHICLE_FOUND, "maintenance", &["lost"]),
            Self::Retire => (VEHICLE_RETIRED, "retired", &["available", "maintenance", "lost"]),
            Self::Move => (VEHICLE_MOVED, "maintenance", &["available", "maintenance"]),
            Self::Transfer => (VEHICLE_RECEIVED, "maintenance", &["available", "maintenance"]),
            Self::Import | Self::Erasure => return None,
        };
        Some(StatusChange { event, to, from })
    }
}

#[derive(Debug, Clone, Copy)]
pub struct StatusChange {
    pub event: &'static str,
    pub to: &'static str,
    /// The statuses that the vehicle may have before.
    pub from: &'static [&'static str],
}

pub fn reason(code: &str) -> String {
    let (head, detail) = code.split_once(": ").unwrap_or((code, ""));
    match head {
        "gone" => "It is not in this city any more.".to_owned(),
        "changed" => format!("Changed since the page was drawn: {detail}."),
        "vehicle_in_use" => "It is reserved or being ridden.".to_owned(),
        "state" => format!("Its state does not allow this: {}.", detail.replace('_', " ")),
        "held" => "It has an owner. It can return to service once it is approved, or its owner resumes it.".to_owned(),
        "code_taken" => "Another vehicle of that city has its code.".to_owned(),
        "id_taken" => "Another vehicle of that region has its id.".to_owned(),
        "residency" => {
            format!("It belongs to a person, and the data residency policy does not allow this (rule {detail}).")
        }
        "owner_elsewhere" => "It belongs to a person of a third region.".to_owned(),
        // An imported line's reasons are words already: see `db::imports`.
        _ => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_kinds_are_read_back_and_reasons_have_words() {
        // As rows and stored parameters have them.
        for code in ["maintenance", "back", "lost", "found", "retire", "move", "transfer", "import"] {
            let kind = JobKind::from_code(code).unwrap();
            assert_eq!((kind.code(), serde_json::from_value(code.into()).ok()), (code, Some(kind)));
        }
        assert_eq!(JobKind::from_code("burn"), None);
        let changed = reason("changed: ride.started at 2026-11-21 10:05 UTC");
        assert_eq!(changed, "Changed since the page was drawn: ride.started at 2026-11-21 10:05 UTC.");
        assert_eq!(reason("Line 4: no code."), "Line 4: no code.");
    }
}
