//! Refusals: everything a person can be told instead of "done", each with what happened and what to
//! do. An error is not a refusal.

use chrono::{DateTime, Utc};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error},
};

use strum::IntoStaticStr;

use super::region::{GateState, RegionCode};

/// Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    #[error("Your session has ended. Please sign in again; nothing was changed.")]
    SignedOut,
    /// Or nothing has this public id any more: nobody else may learn when a ride ends.
    #[error("Someone else has just taken this vehicle. Please choose another one.")]
    VehicleTaken,
    #[error("Someone else has reserved this vehicle. Please choose another one.")]
    VehicleReserved,
    /// The vehicle is in maintenance, lost or retired.
    #[error("This vehicle is out of service. Please choose another one.")]
    VehicleOutOfService,
    /// The vehicle stands in another city or is of another type than the page said, or that city
    /// has no tariff for the type. The last two take a change of the catalogue in that minute, so
    /// they have no words of their own.
    #[error("This vehicle has been moved to another city. Please look at the list again.")]
    VehicleMoved,
    #[error("The price has changed. Please look at the new one first.")]
    PriceChanged,
    #[error("You are already riding. End that ride first.")]
    AlreadyRiding,
    #[error("You have reserved another vehicle. Cancel that reservation first.")]
    AlreadyReserved,
    #[error(
        "You have reserved 10 times within a day without riding. You can start a ride at any time; \
         reserving works again after that, or tomorrow."
    )]
    TooManyReservations,
    #[error("There is no reservation to cancel; it may have expired.")]
    NoReservation,
    /// There is none with this id, or it is somebody else's.
    #[error("We can't find this ride among yours.")]
    NoSuchRide,
    #[error("This ride has already ended.")]
    RideEnded,
    #[error("This ride is still under way. End it first.")]
    RideOpen,
    #[error("That is more than the rider owes for this ride. Please enter a smaller amount.")]
    CreditTooHigh,
    #[error("You have looked up 20 riders within a day, which is the limit. Please try again tomorrow.")]
    TooManyRiders,
    /// The form made something else before.
    #[error("This form was used before. Please load the page again.")]
    FormUsed,
    /// Its fee was decided by the service area of the city that the page said.
    #[error("This ride is not in the city that the page showed. Please load the page again.")]
    OtherCity,
    #[error("This promo code is not valid here and now. The ride was not started; try without it.")]
    PromoUnknown,
    #[error("You have used this promo code as often as it allows. The ride was not started; try without it.")]
    PromoUsed,
    /// The quota of this region is used up.
    #[error("This promo code is used up. The ride was not started; try without it.")]
    PromoExhausted,
    #[error("This username is taken, or looks like one that is. Please choose another one.")]
    UsernameTaken,
    #[error("That is not your current password. Nothing was changed.")]
    WrongPassword,
    /// Which of them is wrong is not said.
    #[error("Wrong username or password.")]
    NoMatch,
    #[error("Wrong username or recovery code.")]
    WrongRecoveryCode,
    #[error("This account is blocked. Please contact support.")]
    Blocked,
    #[error("This was changed since the page was loaded. Please look at it again.")]
    Changed,
    #[error("We can't find this vehicle among yours.")]
    NotYourVehicle,
    #[error("Another vehicle in this city has this code. Please choose another one.")]
    CodeTaken,
    #[error("You have 50 vehicles, which is the limit. Remove one first.")]
    TooManyVehicles,
    /// The place is not in the city; says in words why.
    #[error("{0}")]
    #[serde(skip)]
    TooFar(String),
    #[error("You have added 10 vehicles within a day, which is the limit. Please add more tomorrow.")]
    TooManyToday,
    #[error("This vehicle is reserved or being ridden. Try again when it is back.")]
    VehicleInUse,
    /// It is waiting for approval, was declined, or is paused.
    #[error("This vehicle has an owner. It can return to service once it is approved, or its owner resumes it.")]
    VehicleHeld,
    #[error("End your ride or cancel your reservation first.")]
    StillRiding,
    #[error("Remove your vehicles first; they need an owner.")]
    StillOwner,
    /// The vehicle is not on the street (any more), or the ride is somebody else's or ended long ago.
    #[error("This vehicle is no longer here, so there is nothing left to report. Thank you anyway.")]
    NothingToReport,
    #[error("You have already reported this vehicle. We are looking into it.")]
    AlreadyReported,
    #[error("You have reported 10 problems within a day, which is the limit. Thank you; please report more tomorrow.")]
    TooManyReports,
    /// There is none with this id, or it is another city's.
    #[error("There is no such job here.")]
    NoSuchJob,
    #[error("Only operators of this city may do this. Nothing was changed.")]
    NotOperator,
    #[error("This is about your own ride or vehicle. Please ask another operator of the city.")]
    OwnInterest,
    #[error("Only administrators may use this page. Nothing was changed.")]
    NotAdministrator,
    #[error("There is already a city with this short name. Please choose another one.")]
    CityTaken,
    #[error("There is already a promo code with this name. Please choose another one.")]
    PromoTaken,
    #[error("You cannot change your own account here. Another administrator can.")]
    OwnAccount,
    #[error("You cannot revoke your own administrator role. Another administrator can.")]
    OwnRole,
    #[error("{city} is paused ({why}). No rides or reservations can start there; rides under way can still end.")]
    #[serde(skip)]
    CityPaused { city: String, why: String },
    /// The GLOBAL tables cannot be read or written just now.
    #[error(
        "The catalogue cannot be changed just now, because one of the regions that keep it does not answer. \
         Nothing was changed; riding goes on. Please try again in a minute."
    )]
    CatalogueAway,
    /// This and what follows is said after "The region ...".
    #[error(
        "was changed in the meantime: it is {} now, at epoch {epoch}. \
         Nothing was changed; please look at it again.",
        state.word()
    )]
    #[serde(skip)]
    GateChanged { region: RegionCode, state: GateState, epoch: i64 },
    #[error("The data residency policy does not allow this (rule {0}).")]
    #[serde(skip)]
    Residency(&'static str),
    #[error(
        "is read-only ({}). Nothing was changed; please try again {}.",
        reason.as_deref().unwrap_or("maintenance"),
        after(*until)
    )]
    #[serde(skip)]
    RegionReadOnly { region: RegionCode, reason: Option<String>, until: Option<DateTime<Utc>> },
    /// Only what starts something is refused.
    #[error(
        "is draining ({}), so nothing new can start there. Nothing was changed; please try again {}.",
        reason.as_deref().unwrap_or("maintenance"),
        after(*until)
    )]
    #[serde(skip)]
    RegionDraining { region: RegionCode, reason: Option<String>, until: Option<DateTime<Utc>> },
}

fn after(until: Option<DateTime<Utc>>) -> String {
    until.map_or_else(|| "a little later".to_owned(), |at| format!("after {}", at.format("%H:%M UTC on %-d %B")))
}

impl Refusal {
    pub fn from_code(code: &str) -> Option<Self> {
        Self::deserialize(IntoDeserializer::<Error>::into_deserializer(code)).ok()
    }

    /// The region will be back, so a form that is refused keeps what was typed.
    pub fn region_closed(&self) -> bool {
        matches!(self, Self::RegionReadOnly { .. } | Self::RegionDraining { .. })
    }

    /// Its name in metrics and logs, such as `vehicle_taken`.
    pub fn code(&self) -> &'static str {
        self.into()
    }

    /// With regions by their codes.
    pub fn message(&self) -> String {
        self.message_with(ToString::to_string)
    }

    /// With the `name` of its region.
    pub fn message_with(&self, name: impl Fn(&RegionCode) -> String) -> String {
        match self {
            Self::GateChanged { region, .. }
            | Self::RegionReadOnly { region, .. }
            | Self::RegionDraining { region, .. } => format!("The region {} {self}", name(region)),
            _ => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_name_of_its_region() {
        let region: RegionCode = "us-east1".parse().unwrap();
        let closed = Refusal::RegionReadOnly { region, reason: Some("us-east1 moves".to_owned()), until: None };
        let says = |name: &str| {
            format!(
                "The region {name} is read-only (us-east1 moves). Nothing was changed; please try again a little later."
            )
        };
        assert_eq!(closed.message_with(|_| "US East".to_owned()), says("US East"));
        assert_eq!(closed.message(), says("us-east1"));
    }
}
