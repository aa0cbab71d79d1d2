//! Races, refusals and rules without HTTP.

mod draining;
mod fence;
mod gates;
mod home;
mod ids;
pub mod jobs;
mod nearest;
mod overdue;
mod positions;
pub mod races;
mod transfers;
mod verify;
