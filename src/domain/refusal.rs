//! Refusals: everything a person can be told instead of "done", as one enum that a
//! person would recognise. Statements answer with the code; pages show the message.
//! No variant means "something went wrong": that is an error, not a refusal.

use chrono::{DateTime, Utc};

use super::region::RegionCode;

/// Why something that was asked for was not done; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The session has ended, here or on another device.
    SignedOut,
    /// Another rider has it now.
    VehicleTaken,
    /// Somebody else has reserved it.
    VehicleReserved,
    /// No such vehicle under this public id any more.
    VehicleGone,
    /// It is in maintenance, lost or retired.
    VehicleOutOfService,
    /// It stands in another city, or is of another type, than the page said.
    VehicleMoved,
    /// The rider has an open ride.
    AlreadyRiding,
    /// The rider holds another reservation.
    AlreadyReserved,
    /// The rider has reserved too often without riding.
    TooManyReservations,
    /// There is no reservation to cancel.
    NoReservation,
    /// No such ride, or somebody else's.
    NoSuchRide,
    /// The ride has ended.
    RideEnded,
    /// The form was used before, for something else.
    FormUsed,
    /// No such promo code here and now.
    PromoUnknown,
    /// The rider has used it as often as it may be used.
    PromoUsed,
    /// Nothing is left of it in this region.
    PromoExhausted,
    /// The username belongs to somebody.
    UsernameTaken,
    /// The password given to confirm is not the right one.
    WrongPassword,
    /// Username and password, or recovery code, do not belong together.
    NoMatch,
    /// The row was changed by somebody since the page was made.
    Changed,
    /// No such vehicle among the person's own.
    NotYourVehicle,
    /// The code is used by another vehicle of the city.
    CodeTaken,
    /// Nobody may have more vehicles on the street without being an operator.
    TooManyVehicles,
    /// A place that is none of the city, in words.
    TooFar(String),
    /// Nobody may add more vehicles in one day.
    TooManyToday,
    /// It is being ridden.
    VehicleInUse,
    /// First end the open ride or the reservation.
    StillRiding,
    /// First remove the vehicles that one owns.
    StillOwner,
    /// No such job, or not of this city.
    NoSuchJob,
    /// Only operators of the city may.
    NotOperator,
    /// Only administrators may.
    NotAdministrator,
    /// There is another city of this slug.
    CityTaken,
    /// There is another promo code of this name.
    PromoTaken,
    /// Nobody takes their own administration away.
    OwnRole,
    /// The GLOBAL tables cannot be read or written.
    CatalogueAway,
    /// The region's gate is not as the person last saw it.
    GateChanged { region: RegionCode, writable: bool, epoch: i64 },
    /// A residency rule forbids it.
    Residency(&'static str),
    /// The region takes no changes now.
    RegionReadOnly { region: RegionCode, reason: Option<String>, until: Option<DateTime<Utc>> },
}

impl Refusal {
    /// The refusal that a statement's verdict column names.
    pub fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "signed_out" => Self::SignedOut,
            "vehicle_taken" => Self::VehicleTaken,
            "vehicle_reserved" => Self::VehicleReserved,
            "vehicle_gone" => Self::VehicleGone,
            "vehicle_out" => Self::VehicleOutOfService,
            "vehicle_moved" => Self::VehicleMoved,
            "already_riding" => Self::AlreadyRiding,
            "already_reserved" => Self::AlreadyReserved,
            "too_many_reservations" => Self::TooManyReservations,
            "username_taken" => Self::UsernameTaken,
            "no_reservation" => Self::NoReservation,
            "no_such_ride" => Self::NoSuchRide,
            "ride_ended" => Self::RideEnded,
            "form_used" => Self::FormUsed,
            "promo_used" => Self::PromoUsed,
            "promo_exhausted" => Self::PromoExhausted,
            "wrong_password" => Self::WrongPassword,
            "changed" => Self::Changed,
            "not_your_vehicle" => Self::NotYourVehicle,
            "too_many_vehicles" => Self::TooManyVehicles,
            "too_many_today" => Self::TooManyToday,
            "vehicle_in_use" => Self::VehicleInUse,
            "still_riding" => Self::StillRiding,
            "still_owner" => Self::StillOwner,
            "no_such_job" => Self::NoSuchJob,
            "not_operator" => Self::NotOperator,
            "city_taken" => Self::CityTaken,
            "promo_taken" => Self::PromoTaken,
            "not_administrator" => Self::NotAdministrator,
            _ => return None,
        })
    }

    /// What happened and what to do, for the person who asked.
    pub fn message(&self) -> String {
        match self {
            Self::SignedOut => "Your session has ended. Please sign in again; nothing was changed.",
            // The same words for both: when a ride of somebody else ends is nobody's business.
            Self::VehicleTaken | Self::VehicleGone => {
                "Someone else has just taken this vehicle. Please choose another one."
            }
            Self::VehicleReserved => "Someone else has reserved this vehicle. Please choose another one.",
            Self::VehicleOutOfService => "This vehicle is out of service. Please choose another one.",
            Self::VehicleMoved => "This vehicle has been moved to another city. Please look at the list again.",
            Self::AlreadyRiding => "You are already riding. End that ride first.",
            Self::AlreadyReserved => "You have reserved another vehicle. Cancel that reservation first.",
            Self::TooManyReservations => {
                "You have reserved 10 times within a day without riding. You can start a ride at any time; \
                 reserving works again after that, or tomorrow."
            }
            Self::NoReservation => "There is no reservation to cancel; it may have lapsed.",
            Self::NoSuchRide => "There is no such ride of yours.",
            Self::RideEnded => "This ride has already ended.",
            Self::FormUsed => "This form was used before. Please load the page again.",
            Self::PromoUnknown => {
                "This promo code is not valid here and now. The ride was not started; try without it."
            }
            Self::PromoUsed => {
                "You have used this promo code as often as it allows. The ride was not started; try without it."
            }
            Self::PromoExhausted => "This promo code is used up. The ride was not started; try without it.",
            Self::UsernameTaken => "This username is taken, or looks like one that is. Please choose another one.",
            Self::WrongPassword => "That is not your current password. Nothing was changed.",
            Self::NoMatch => "These do not belong together. Check both and try again.",
            Self::Changed => "This was changed since the page was loaded. Please look at it again.",
            Self::NotYourVehicle => "There is no such vehicle of yours.",
            Self::CodeTaken => "Another vehicle of the city has this code. Please choose another one.",
            Self::TooManyVehicles => "You have 50 vehicles, which is as many as one person may have. Remove one first.",
            Self::TooManyToday => {
                "You have added 10 vehicles within a day, which is as many as one person may. Go on tomorrow."
            }
            Self::VehicleInUse => "This vehicle is reserved or being ridden. Try again when it is back.",
            Self::StillRiding => "End your ride or cancel your reservation first.",
            Self::StillOwner => "Remove your vehicles first; they need an owner.",
            Self::NoSuchJob => "There is no such job here.",
            Self::NotOperator => "Only operators of this city may do this. Nothing was changed.",
            Self::NotAdministrator => "Only administrators may use this page. Nothing was changed.",
            Self::CityTaken => "There is a city with this short name already. Please choose another one.",
            Self::PromoTaken => "There is a promo code of this name already. Please choose another one.",
            Self::OwnRole => "You cannot take away your own administration. Another administrator can.",
            Self::CatalogueAway => {
                "The catalogue cannot be changed just now, because one of the regions that keep it does not answer. \
                 Nothing was changed; riding goes on. Please try again in a minute."
            }
            Self::TooFar(words) => words,
            Self::GateChanged { region, writable, epoch } => {
                let state = if *writable { "open" } else { "closed" };
                return format!(
                    "The region {region} has been changed meanwhile: it is {state} now, at epoch {epoch}. \
                     Nothing was done; please look at it again."
                );
            }
            Self::Residency(rule) => return format!("The data residency policy does not allow this (rule {rule})."),
            Self::RegionReadOnly { region, reason, until } => {
                let why = reason.as_deref().unwrap_or("maintenance");
                let when = until.map_or_else(
                    || "a little later".to_owned(),
                    |t| format!("after {}", t.format("%H:%M UTC on %-d %B")),
                );
                return format!("The region {region} is read-only ({why}). Nothing was changed; please try {when}.");
            }
        }
        .to_owned()
    }
}
