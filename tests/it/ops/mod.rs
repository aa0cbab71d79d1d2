//! Races, refusals and rules without HTTP.

mod gates;
mod home;
mod nearest;
mod races;
mod verify;
