//! The pages, one file each: handlers and forms. A page that shows rows calls `db`; a
//! form that decides something calls `ops`.

pub mod abroad;
pub mod account;
pub mod city;
pub mod fleet;
pub mod fleet_vehicle;
pub mod health;
pub mod home;
pub mod map;
pub mod move_home;
pub mod moved;
pub mod owner_vehicles;
pub mod profile;
pub mod region_states;
pub mod riders;
pub mod rides;
pub mod status;
pub mod vehicle;
pub mod vehicles;

use uuid::Uuid;

use super::{error::PageError, visit::Visit};
use crate::domain::region::RegionCode;

/// The region and id in a path: a region of the catalogue and a UUID, or not found.
pub fn row_of_path(visit: &Visit, path: &(String, String)) -> Result<(RegionCode, Uuid), PageError> {
    let (region, id) = path;
    let region: RegionCode = region.parse().map_err(|_bad| PageError::NotFound)?;
    let id = id.parse().map_err(|_bad| PageError::NotFound)?;
    visit.catalogue.region(&region).ok_or(PageError::NotFound)?;
    Ok((region, id))
}

/// A region that a form carries: one of the catalogue.
pub fn region_of_form(visit: &Visit, region: &RegionCode) -> Result<(), PageError> {
    visit.names(region);
    visit.catalogue.region(region).map(drop).ok_or(PageError::BadRequest("There is no such region."))
}
