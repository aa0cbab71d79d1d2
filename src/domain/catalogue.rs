//! The catalogue: regions, residency policies, cities, vehicle types, tariffs and promo
//! codes of a deployment, with the look-ups that pages and operations need. Immutable;
//! an instance shares one behind an `Arc` and replaces it when the version changes.
//! `file` reads and checks `deploy/catalog.toml`; `promo` holds the promo codes.
//! The surprise: nothing here is asynchronous or fails for the database, so that
//! riding works while the GLOBAL tables cannot be read.

mod file;
mod fold;
mod promo;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

pub use file::{CatalogueError, CatalogueFile};
pub use fold::fold;
pub use promo::{PromoCode, PromoKind, PromoRefusal};

use super::fare::Rate;
use super::geo::{Point, Polygon};
use super::money::Currency;
use super::region::RegionCode;

/// A cloud region in which the service runs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its code, the same as in the database.
    pub code: RegionCode,
    pub name: String,
    /// Where its instance answers, without a slash at the end.
    pub base_url: String,
    pub centre: Point,
    /// The law that holds there, as short capitals (`US`, `EU`).
    pub jurisdiction: String,
}

/// What may be done with the personal data that is at home in a region.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub region: RegionCode,
    pub move_to: Vec<RegionCode>,
    /// Whether operators may export personal data of its riders.
    pub operator_export: bool,
    pub backup_regions: Vec<RegionCode>,
    /// Whether its rows may be counted for dashboards of other regions.
    pub analytics: bool,
}

impl Policy {
    /// Whether a person may move home from this region to `target`; inside it, always.
    pub fn allows_move_to(&self, target: &RegionCode) -> bool {
        *target == self.region || self.move_to.contains(target)
    }
}

/// A city with vehicles.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct City {
    /// Its name in URLs and rows (`new-york`).
    pub slug: String,
    pub name: String,
    pub region: RegionCode,
    pub centre: Point,
    #[serde(deserialize_with = "file::time_zone")]
    pub time_zone: Tz,
    pub currency: Currency,
    /// Where a ride may end without a fee; contains the centre.
    pub service_area: Polygon,
}

/// Farther than this from a city's centre nothing of it is, in metres: such a position is a
/// mistake, most often of a device, or latitude and longitude exchanged.
pub const CITY_RADIUS_M: f64 = 50_000.0;

impl City {
    /// Whether a vehicle or ride of the city can be there: the one rule, whoever says so.
    pub fn allows(&self, point: Point) -> bool {
        point.distance_m(self.centre) <= CITY_RADIUS_M
    }

    /// `point`, or in words why it is none of this city.
    pub fn check(&self, point: Point) -> Result<Point, String> {
        let (km, name) = (CITY_RADIUS_M / 1000.0, &self.name);
        let far =
            || format!("This is too far from {name}: more than {km} km from its centre. Please check the position.");
        self.allows(point).then_some(point).ok_or_else(far)
    }
}

/// A kind of vehicle, in the terms of GBFS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VehicleType {
    /// Its name in URLs and rows (`bike`).
    pub slug: String,
    pub name: String,
    /// The `form_factor` of GBFS 3.
    pub form_factor: String,
    /// The `propulsion_type` of GBFS 3.
    pub propulsion: String,
    /// Metres on a full battery; None exactly when `propulsion` is `human`.
    pub max_range_m: Option<i64>,
}

/// The price of a vehicle type in a city from a time on, in minor units of the city's currency.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// The city's slug.
    pub city: String,
    /// The vehicle type's slug.
    pub vehicle_type: String,
    pub unlock_minor: i64,
    pub per_minute_minor: i64,
    /// Added when a ride ends outside the service area.
    pub out_of_area_fee_minor: i64,
    /// The most that unlocking and minutes of one ride cost; none for no limit.
    #[serde(default)]
    pub max_charge_minor: Option<i64>,
    /// When it takes the place of the one before.
    pub valid_from: DateTime<Utc>,
}

impl Tariff {
    /// The part that a ride copies when it starts.
    pub const fn rate(&self) -> Rate {
        Rate {
            unlock_minor: self.unlock_minor,
            per_minute_minor: self.per_minute_minor,
            max_charge_minor: self.max_charge_minor,
        }
    }

    /// The charge for `minutes` started minutes, in minor units, before discount and fee.
    pub fn fare(&self, minutes: i64) -> i64 {
        self.rate().charge(minutes)
    }
}

/// One version of everything above.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    /// Raised by every change; 0 before the first load.
    pub version: i64,
    /// The regions, in the file's order.
    pub regions: Vec<Region>,
    pub policies: Vec<Policy>,
    /// The cities, in the file's order.
    pub cities: Vec<City>,
    /// The vehicle types, in the file's order.
    pub vehicle_types: Vec<VehicleType>,
    pub tariffs: Vec<Tariff>,
    pub promo_codes: Vec<PromoCode>,
}

impl Catalogue {
    /// The catalogue with the contents of `file` as `version`.
    pub fn new(version: i64, file: CatalogueFile) -> Self {
        Self {
            version,
            regions: file.regions,
            policies: file.policies,
            cities: file.cities,
            vehicle_types: file.vehicle_types,
            tariffs: file.tariffs,
            promo_codes: file.promo_codes,
        }
    }

    /// The region of that code.
    pub fn region(&self, code: &RegionCode) -> Option<&Region> {
        self.regions.iter().find(|region| region.code == *code)
    }

    /// The residency policy of a region.
    pub fn policy(&self, region: &RegionCode) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.region == *region)
    }

    /// Whether both regions are known and stand under the same law.
    pub fn same_law(&self, one: &RegionCode, other: &RegionCode) -> bool {
        let law = |code| self.region(code).map(|region| &region.jurisdiction);
        law(one).is_some() && law(one) == law(other)
    }

    /// The residency rule that keeps an instance in `here` from showing operators a file of
    /// the people at home in `region`; none when it may.
    pub fn forbids_export(&self, here: &RegionCode, region: &RegionCode) -> Option<&'static str> {
        if !self.same_law(here, region) {
            return Some("jurisdiction");
        }
        let allowed = self.policy(region).is_some_and(|policy| policy.operator_export);
        (!allowed).then_some("operator_export")
    }

    /// The city of that slug.
    pub fn city(&self, slug: &str) -> Option<&City> {
        self.cities.iter().find(|city| city.slug == slug)
    }

    /// The name of the city of that slug; the slug itself where there is none any more.
    pub fn city_name<'a>(&'a self, slug: &'a str) -> &'a str {
        self.city(slug).map_or(slug, |city| &city.name)
    }

    /// The cities of a region, in the file's order.
    pub fn cities_of(&self, region: &RegionCode) -> impl Iterator<Item = &City> {
        self.cities.iter().filter(move |city| city.region == *region)
    }

    /// The city that a proxy's header names, whatever its case, accents and punctuation.
    pub fn city_by_name(&self, name: &str) -> Option<&City> {
        let name = fold(name);
        self.cities.iter().find(|city| fold(&city.name) == name)
    }

    /// The city whose centre is nearest to `point`; None only when there are no cities.
    pub fn nearest_city(&self, point: Point) -> Option<&City> {
        self.cities.iter().min_by(|a, b| {
            let distance = |city: &City| city.centre.distance_m(point);
            distance(a).total_cmp(&distance(b))
        })
    }

    /// The vehicle type of that slug.
    pub fn vehicle_type(&self, slug: &str) -> Option<&VehicleType> {
        self.vehicle_types.iter().find(|kind| kind.slug == slug)
    }

    /// The tariff of a vehicle type in a city that holds at a time.
    pub fn tariff(&self, city: &str, vehicle_type: &str, at: DateTime<Utc>) -> Option<&Tariff> {
        self.tariffs
            .iter()
            .filter(|tariff| tariff.city == city && tariff.vehicle_type == vehicle_type)
            .filter(|tariff| tariff.valid_from <= at)
            .max_by_key(|tariff| tariff.valid_from)
    }

    /// The promo code as a person typed it: blanks around it and its case do not matter.
    pub fn promo_code(&self, typed: &str) -> Option<&PromoCode> {
        let code = typed.trim().to_uppercase();
        self.promo_codes.iter().find(|promo| promo.code == code)
    }
}

#[cfg(test)]
mod tests;
