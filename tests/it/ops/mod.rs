//! Races, refusals and rules without HTTP.

mod fence;
mod gates;
mod home;
mod nearest;
pub mod races;
mod verify;
