//! One file per page of `src/web/pages`: what a person sees and can do.

mod abroad;
mod account;
mod errors;
mod fleet;
mod owner_vehicles;
mod profile;
mod region_states;
pub mod rides;
mod vehicle;
mod vehicles;
