//! The pages, one file each: handlers and forms. A page that shows rows calls `db`; a
//! form that decides something calls `ops`.

pub mod abroad;
pub mod account;
pub mod audit;
pub mod cities;
pub mod city;
pub mod erasure;
pub mod exports;
pub mod fleet;
pub mod fleet_vehicle;
pub mod health;
pub mod home;
pub mod imports;
pub mod job;
pub mod jobs;
pub mod map;
pub mod move_home;
pub mod moved;
pub mod overview;
pub mod owner_vehicles;
pub mod profile;
pub mod promo_codes;
pub mod region_states;
pub mod riders;
pub mod rides;
pub mod roles;
pub mod status;
pub mod tariffs;
pub mod vehicle;
pub mod vehicles;

use uuid::Uuid;

use super::{context::RequestContext, error::PageError, form};
use crate::{
    db::sessions::CurrentUser,
    domain::{refusal::Refusal, region::RegionCode},
};

/// How soon a change of the catalogue holds, said when one was made.
pub const EVERYWHERE: &str = "It takes effect everywhere, and may take up to a minute.";

/// The visitor, asked of their home in one wait, if they are an administrator.
pub async fn administrator(context: &mut RequestContext) -> Result<CurrentUser, PageError> {
    let current_user = context.current_user().await?;
    if current_user.administers() { Ok(current_user) } else { Err(PageError::Refused(Refusal::NotAdministrator)) }
}

/// The region and id in a path: a region of the catalogue and a UUID, or not found.
pub fn row_of_path(context: &RequestContext, path: &(String, String)) -> Result<(RegionCode, Uuid), PageError> {
    let (region, id) = path;
    let region: RegionCode = region.parse().map_err(|_bad| PageError::NotFound)?;
    let id = form::id(id).ok_or(PageError::NotFound)?;
    context.catalogue.region(&region).ok_or(PageError::NotFound)?;
    Ok((region, id))
}

/// Those of `regions` that are neither `home` nor `known` already.
pub fn other_regions(regions: &[RegionCode], home: &RegionCode, known: &[RegionCode]) -> Vec<RegionCode> {
    regions.iter().filter(|region| *region != home && !known.contains(region)).cloned().collect()
}

/// A region that a form carries: one of the catalogue.
pub fn region_of_form(context: &RequestContext, region: &RegionCode) -> Result<(), PageError> {
    context.names(region);
    context.catalogue.region(region).map(drop).ok_or(PageError::BadRequest("There is no such region."))
}
