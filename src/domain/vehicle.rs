//! Vehicles: how they are named, inside and in public. The public id is what pages,
//! links and feeds show; it changes after each ride, so a vehicle cannot be followed.

use chrono::TimeDelta;
use uuid::Uuid;

use super::region::RegionCode;

/// A vehicle by its inner key: for owners and operators, never for public pages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VehicleRef {
    pub region: RegionCode,
    pub id: Uuid,
}

/// A vehicle as the public sees it, until the end of its next ride.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublicVehicle {
    pub region: RegionCode,
    pub public_id: Uuid,
}

/// The charge that the public is told, in steps of ten: an exact one is recognised again
/// under the next public id.
pub const fn charge(battery: i64) -> i64 {
    battery / 10 * 10
}

/// The note of a person's new vehicle, in maintenance until an operator of its city brings it
/// to the street.
pub const AWAITS_APPROVAL: &str = "Waits for approval";

/// How long a reservation holds, in minutes. It lapses by time alone.
pub const RESERVATION_MINUTES: i64 = 10;

/// As often as this a person may reserve without riding,
pub const RESERVATIONS_MAX: i64 = 10;
/// within this time of the first; a ride begins the count anew.
pub const RESERVATIONS_IN: TimeDelta = TimeDelta::hours(24);
