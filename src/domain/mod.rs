//! Plain types and rules: what a region, a vehicle, a fare is. No actix, no postgres, no askama, no
//! I/O; everything here can be tested by calling it.

pub mod catalogue;
pub mod csv;
pub mod event;
pub mod fare;
pub mod fleet;
pub mod geo;
pub mod job;
pub mod map_svg;
pub mod money;
pub mod people;
pub mod place;
pub mod qr;
pub mod refusal;
pub mod region;
pub mod ride;
pub mod stored;
pub mod task;
pub mod text;
pub mod units;
pub mod vehicle;

pub use catalogue::{Catalogue, City, Region, Tariff, VehicleType};
pub use geo::Point;
pub use job::{JobKind, JobRef};
pub use money::Currency;
pub use people::{Roles, UserRef};
pub use refusal::Refusal;
pub use region::RegionCode;
pub use ride::RideRef;
pub use stored::{Moment, Version};
pub use units::Units;
pub use vehicle::{PublicVehicle, VehicleRef};
