//! The names of events, and how a vehicle's history says them. A new event begins here; which rows
//! it is written with is said in the statement that writes it.

pub const CITY_ADDED: &str = "city.added";
pub const CITY_CHANGED: &str = "city.changed";
pub const JOB_CANCELLED: &str = "job.cancelled";
pub const JOB_CONFIRMED: &str = "job.confirmed";
pub const JOB_DONE: &str = "job.done";
pub const JOB_REQUESTED: &str = "job.requested";
pub const PROMO_CODE_ADDED: &str = "promo_code.added";
pub const PROMO_CODE_CHANGED: &str = "promo_code.changed";
pub const REGION_CLOSED: &str = "region.closed";
pub const REGION_CLOSING_PLANNED: &str = "region.closing_planned";
pub const REGION_DRAINING: &str = "region.draining";
pub const REGION_OPENED: &str = "region.opened";
pub const RESIDENCY_EXPORT_REFUSED: &str = "residency.export_refused";
pub const RESIDENCY_FIGURES_REFUSED: &str = "residency.figures_refused";
pub const RESIDENCY_MOVE_REFUSED: &str = "residency.move_refused";
pub const RESIDENCY_PERSON_REFUSED: &str = "residency.person_refused";
pub const RESIDENCY_RIDER_REFUSED: &str = "residency.rider_refused";
pub const RIDE_CREDITED: &str = "ride.credited";
pub const RIDE_ENDED: &str = "ride.ended";
pub const RIDE_ENDED_BY_OPERATOR: &str = "ride.ended_by_operator";
pub const RIDE_RIDER_ASKED: &str = "ride.rider_asked";
pub const RIDE_STARTED: &str = "ride.started";
pub const SESSION_ENDED: &str = "session.ended";
pub const SESSION_STARTED: &str = "session.started";
pub const TARIFF_SET: &str = "tariff.set";
pub const TARIFF_WITHDRAWN: &str = "tariff.withdrawn";
pub const TASK_FINISHED: &str = "task.finished";
pub const TASK_OPENED: &str = "task.opened";
pub const TASK_RELEASED: &str = "task.released";
pub const TASK_REOPENED: &str = "task.reopened";
pub const TASK_TAKEN: &str = "task.taken";
pub const USER_BLOCKED: &str = "user.blocked";
pub const USER_ERASED: &str = "user.erased";
pub const USER_HOME_MOVED: &str = "user.home_moved";
pub const USER_PASSWORD_CHANGED: &str = "user.password_changed";
pub const USER_PROFILE_CHANGED: &str = "user.profile_changed";
pub const USER_RECOVERED: &str = "user.recovered";
pub const USER_RECOVERY_CODES_MADE: &str = "user.recovery_codes_made";
pub const USER_REGISTERED: &str = "user.registered";
pub const USER_ROLE_GRANTED: &str = "user.role_granted";
pub const USER_ROLE_REVOKED: &str = "user.role_revoked";
pub const USER_SEARCHED: &str = "user.searched";
pub const USER_SESSIONS_ENDED: &str = "user.sessions_ended";
pub const USER_UNBLOCKED: &str = "user.unblocked";
pub const VEHICLE_ADDED: &str = "vehicle.added";
pub const VEHICLE_APPROVED: &str = "vehicle.approved";
pub const VEHICLE_BACK: &str = "vehicle.back";
pub const VEHICLE_DECLINED: &str = "vehicle.declined";
pub const VEHICLE_EDITED: &str = "vehicle.edited";
pub const VEHICLE_FOUND: &str = "vehicle.found";
pub const VEHICLE_LOST: &str = "vehicle.lost";
pub const VEHICLE_MAINTENANCE: &str = "vehicle.maintenance";
pub const VEHICLE_MOVED: &str = "vehicle.moved";
pub const VEHICLE_PAUSED: &str = "vehicle.paused";
pub const VEHICLE_RECEIVED: &str = "vehicle.received";
pub const VEHICLE_RESERVATION_CANCELLED: &str = "vehicle.reservation_cancelled";
pub const VEHICLE_RESERVED: &str = "vehicle.reserved";
pub const VEHICLE_RESUMED: &str = "vehicle.resumed";
pub const VEHICLE_RETIRED: &str = "vehicle.retired";
pub const VEHICLE_SENT: &str = "vehicle.sent";

/// What happened to a vehicle, in words; `automatic` rides ended because they had been open too
/// long.
pub fn of_vehicle(action: &str, automatic: bool) -> &str {
    match action {
        VEHICLE_ADDED => "Added to the fleet",
        VEHICLE_APPROVED => "Approved",
        VEHICLE_DECLINED => "Not approved",
        VEHICLE_PAUSED => "Paused by its owner",
        VEHICLE_RESUMED => "Resumed by its owner",
        VEHICLE_EDITED => "Edited",
        VEHICLE_RETIRED => "Retired",
        VEHICLE_MAINTENANCE => "Put into maintenance",
        VEHICLE_BACK => "Returned to service",
        VEHICLE_LOST => "Marked as lost",
        VEHICLE_FOUND => "Found",
        VEHICLE_MOVED => "Moved to another city",
        VEHICLE_SENT => "Sent to another region",
        VEHICLE_RECEIVED => "Received from another region",
        VEHICLE_RESERVED => "Reserved",
        VEHICLE_RESERVATION_CANCELLED => "Reservation cancelled",
        RIDE_STARTED => "Ride started",
        RIDE_ENDED if automatic => "Ride ended automatically after 24 h",
        RIDE_ENDED => "Ride ended",
        RIDE_ENDED_BY_OPERATOR => "Ride ended by an operator",
        other => other,
    }
}
