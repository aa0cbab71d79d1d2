//! Vehicles: how they are named, inside and in public.

use chrono::TimeDelta;
use serde::Deserialize;
use uuid::Uuid;

use super::region::RegionCode;

/// The inner key: for owners and operators, never for public pages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct VehicleRef {
    pub region: RegionCode,
    pub id: Uuid,
}

impl VehicleRef {
    /// What operators call it: by their code, or by the beginning of its id.
    pub fn name(&self, code: Option<&str>) -> String {
        code.map_or_else(|| short(self.id), str::to_owned)
    }
}

/// The first eight letters of an id: enough for people.
pub fn short(id: Uuid) -> String {
    id.simple().to_string().chars().take(8).collect()
}

/// By its public id, which changes after each ride, so that a vehicle cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct PublicVehicle {
    pub region: RegionCode,
    pub public_id: Uuid,
}

/// In steps of ten: an exact charge would identify the vehicle under its next public id.
pub const fn charge(battery: i64) -> i64 {
    battery / 10 * 10
}

/// From so far away, in metres, a vehicle can be unlocked by its code: what a phone in a street is
/// wrong by, and no more than whoever sees the vehicle knows anyway.
pub const UNLOCK_WITHIN_M: i64 = 200;

/// What keeps an owner's vehicle in maintenance: an operator has not approved it yet,
pub const AWAITS_APPROVAL: &str = "approval";
/// (its note, by which alone the release before recognises it),
pub const AWAITS_APPROVAL_NOTE: &str = "Waits for approval";
/// or has declined it, with a note that says why;
pub const DECLINED: &str = "declined";
/// or its owner has paused it, and only they can bring it back.
pub const PAUSED: &str = "paused";

/// A reservation lapses by time alone.
pub const RESERVATION_MINUTES: i64 = 10;

/// How often a person may reserve without riding,
pub const RESERVATIONS_MAX: i64 = 10;
/// within this time of the first; a ride resets the count.
pub const RESERVATIONS_IN: TimeDelta = TimeDelta::hours(24);
