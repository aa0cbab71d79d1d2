//! One file per page of `src/web/pages`: what a person sees and can do.

mod abroad;
mod account;
mod audit;
mod cities;
mod errors;
mod exports;
mod fleet;
mod fleet_rides;
mod imports;
mod overview;
mod own_pages;
mod owner_vehicles;
mod people;
mod profile;
mod promo_codes;
mod region_states;
mod revenue;
pub mod rides;
mod roles;
mod tariffs;
mod tasks;
mod unlock;
mod vehicle;
mod vehicles;
