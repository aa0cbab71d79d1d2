//! One file per page of `src/web/pages`: what a person sees and can do.

mod account;
mod errors;
mod owner_vehicles;
mod profile;
pub mod rides;
mod vehicles;
