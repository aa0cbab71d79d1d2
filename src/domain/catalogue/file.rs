//! The catalogue file (`deploy/catalog.toml`): reading it and refusing what cannot be.
//! Plain parsing of text that the caller has read.
//! The surprise: everything is checked here, once, before anything reaches the
//! database, and every message names both sides of a broken reference.

use std::collections::HashSet;
use std::hash::Hash;

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, de};

use super::{City, Policy, PromoCode, PromoKind, Region, Tariff, VehicleType};
use crate::domain::{geo::Flaw, region::RegionCode, text::line};

/// The `form_factor` values of GBFS 3.
const FORM_FACTORS: [&str; 8] =
    ["bicycle", "cargo_bicycle", "car", "moped", "other", "scooter_seated", "scooter_standing", "tricycle"];

/// The `propulsion_type` values of GBFS 3 for vehicles of our kinds.
const PROPULSIONS: [&str; 3] = ["electric", "electric_assist", "human"];

/// What a catalogue file holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueFile {
    pub regions: Vec<Region>,
    pub policies: Vec<Policy>,
    pub cities: Vec<City>,
    pub vehicle_types: Vec<VehicleType>,
    /// At least one for each city and vehicle type.
    pub tariffs: Vec<Tariff>,
    /// May be none.
    #[serde(default)]
    pub promo_codes: Vec<PromoCode>,
}

/// Why a catalogue is refused; the text is for the person who wrote the file.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It is not TOML of the expected shape; the text says the line.
    #[error("the catalogue cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Something stands there twice.
    #[error("{kind} {name:?} stands in the catalogue twice")]
    Duplicate { kind: &'static str, name: String },
    /// Something names what is not there.
    #[error("{owner} names the {kind} {name:?}, which is not in the catalogue")]
    Unknown { owner: String, kind: &'static str, name: String },
    /// Something that must be there is not.
    #[error("{owner} has no {what}")]
    Missing { owner: String, what: String },
    /// A service area that is none.
    #[error("the city {city}: service_area: {flaw}")]
    Area { city: String, flaw: Flaw },
    /// A value breaks a rule.
    #[error("{owner}: {rule}")]
    Invalid { owner: String, rule: &'static str },
}

type Checked = Result<(), CatalogueError>;

fn require(holds: bool, owner: impl FnOnce() -> String, rule: &'static str) -> Checked {
    if holds {
        return Ok(());
    }
    let owner = owner();
    Err(CatalogueError::Invalid { owner, rule })
}

fn unique<K: Hash + Eq>(
    kind: &'static str,
    keys: impl Iterator<Item = (K, String)>,
) -> Result<HashSet<K>, CatalogueError> {
    let mut seen = HashSet::new();
    for (key, name) in keys {
        if !seen.insert(key) {
            return Err(CatalogueError::Duplicate { kind, name });
        }
    }
    Ok(seen)
}

fn known(there: bool, owner: &str, kind: &'static str, name: &impl ToString) -> Checked {
    if there {
        return Ok(());
    }
    let (owner, name) = (owner.to_owned(), name.to_string());
    Err(CatalogueError::Unknown { owner, kind, name })
}

/// Whether `slug` may stand in URLs and rows.
fn is_slug(slug: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&slug.len()) && slug.bytes().all(good)
}

/// Whether `name` can be shown as it stands.
fn is_name(name: &str) -> bool {
    line(name, 64, "a name").as_deref() == Ok(name)
}

/// Reads an IANA time zone name.
pub(super) fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    let unknown = |_| de::Error::custom(format_args!("unknown time zone {name:?}"));
    name.parse().map_err(unknown)
}

impl CatalogueFile {
    /// Reads a catalogue file's text and checks all of it.
    ///
    /// # Errors
    /// The first thing that is wrong, in words for the person who wrote the file.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let file: Self = toml::from_str(text)?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Checked {
        let regions = self.check_regions()?;
        let types = self.check_vehicle_types()?;
        let cities = self.check_cities(&regions)?;
        self.check_tariffs(&cities, &types)?;
        self.check_promo_codes(&regions, &cities)
    }

    fn check_regions(&self) -> Result<HashSet<&RegionCode>, CatalogueError> {
        let codes = self.regions.iter().map(|region| (&region.code, region.code.to_string()));
        let regions = unique("the region", codes)?;
        require(!regions.is_empty(), || "the catalogue".into(), "needs a region")?;
        for region in &self.regions {
            let owner = || format!("the region {}", region.code);
            let url = &region.base_url;
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let good_url = host.is_some_and(|host| !host.is_empty() && !host.ends_with('/'));
            require(good_url, owner, "base_url begins with http(s):// and ends without a slash")?;
            require(is_name(&region.name), owner, "name has 1 to 64 printable characters")?;
            let law = &region.jurisdiction;
            let good_law = (2..=8).contains(&law.len()) && law.bytes().all(|b| b.is_ascii_uppercase());
            require(good_law, owner, "jurisdiction is 2 to 8 capital letters")?;
        }
        let policies = self.policies.iter().map(|p| (&p.region, p.region.to_string()));
        let governed = unique("the policy of region", policies)?;
        if let Some(code) = regions.difference(&governed).next() {
            let owner = format!("the region {code}");
            return Err(CatalogueError::Missing { owner, what: "residency policy".into() });
        }
        for policy in &self.policies {
            let owner = format!("the policy of region {}", policy.region);
            let named = policy.move_to.iter().chain(&policy.backup_regions);
            for code in named.chain([&policy.region]) {
                known(regions.contains(code), &owner, "region", code)?;
            }
        }
        Ok(regions)
    }

    fn check_vehicle_types(&self) -> Result<HashSet<&str>, CatalogueError> {
        let slugs = self.vehicle_types.iter().map(|kind| (kind.slug.as_str(), kind.slug.clone()));
        let types = unique("the vehicle type", slugs)?;
        for kind in &self.vehicle_types {
            let owner = || format!("the vehicle type {}", kind.slug);
            require(is_slug(&kind.slug), owner, "slug is lower-case letters, digits and dashes")?;
            require(is_name(&kind.name), owner, "name has 1 to 64 printable characters")?;
            let form = FORM_FACTORS.contains(&kind.form_factor.as_str());
            require(form, owner, "form_factor is not one of GBFS")?;
            let propulsion = PROPULSIONS.contains(&kind.propulsion.as_str());
            require(propulsion, owner, "propulsion is electric, electric_assist or human")?;
            let range = match kind.max_range_m {
                None => kind.propulsion == "human",
                Some(metres) => kind.propulsion != "human" && metres > 0,
            };
            require(range, owner, "max_range_m is positive with a motor, absent without")?;
        }
        Ok(types)
    }

    fn check_cities(&self, regions: &HashSet<&RegionCode>) -> Result<HashSet<&str>, CatalogueError> {
        let slugs = self.cities.iter().map(|city| (city.slug.as_str(), city.slug.clone()));
        let cities = unique("the city", slugs)?;
        let names = self.cities.iter().map(|city| (super::fold(&city.name), city.name.clone()));
        unique("the city name", names)?;
        for city in &self.cities {
            let owner = || format!("the city {}", city.slug);
            require(is_slug(&city.slug), owner, "slug is lower-case letters, digits and dashes")?;
            require(is_name(&city.name), owner, "name has 1 to 64 printable characters")?;
            known(regions.contains(&city.region), &owner(), "region", &city.region)?;
            if let Some(flaw) = city.service_area.flaw() {
                return Err(CatalogueError::Area { city: city.slug.clone(), flaw });
            }
            let covered = city.service_area.contains(city.centre);
            require(covered, owner, "service_area does not contain the centre")?;
            let near = city.service_area.points().iter().all(|corner| city.allows(*corner));
            require(near, owner, "service_area reaches farther than 50 km from the centre")?;
        }
        Ok(cities)
    }

    fn check_tariffs(&self, cities: &HashSet<&str>, types: &HashSet<&str>) -> Checked {
        let keys = self.tariffs.iter().map(|tariff| {
            let key = (tariff.city.as_str(), tariff.vehicle_type.as_str());
            ((key, tariff.valid_from), format!("{} {} {}", key.0, key.1, tariff.valid_from))
        });
        unique("the tariff", keys)?;
        let mut complete = HashSet::new();
        for tariff in &self.tariffs {
            let (city, kind) = (tariff.city.as_str(), tariff.vehicle_type.as_str());
            let owner = format!("the tariff {city} {kind}");
            known(cities.contains(city), &owner, "city", &city)?;
            known(types.contains(kind), &owner, "vehicle type", &kind)?;
            let prices = [tariff.unlock_minor, tariff.per_minute_minor, tariff.out_of_area_fee_minor];
            let sane = prices.iter().chain(&tariff.max_charge_minor).all(|minor| (0..=1_000_000).contains(minor));
            require(sane, || owner, "prices are 0 to 1000000 minor units")?;
            complete.insert((city, kind));
        }
        for (city, kind) in cities.iter().flat_map(|city| types.iter().map(move |kind| (*city, *kind))) {
            if !complete.contains(&(city, kind)) {
                let (owner, what) = (format!("the city {city}"), format!("tariff for {kind}"));
                return Err(CatalogueError::Missing { owner, what });
            }
        }
        Ok(())
    }

    fn check_promo_codes(&self, regions: &HashSet<&RegionCode>, cities: &HashSet<&str>) -> Checked {
        unique("the promo code", self.promo_codes.iter().map(|p| (&p.code, p.code.clone())))?;
        for promo in &self.promo_codes {
            let owner = || format!("the promo code {}", promo.code);
            let good = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
            let good_code = (3..=32).contains(&promo.code.len()) && promo.code.bytes().all(good);
            require(good_code, owner, "code is 3 to 32 capital letters and digits")?;
            match promo.discount {
                PromoKind::Percent { percent } => {
                    require((1..=100).contains(&percent), owner, "percent is 1 to 100")?;
                }
                PromoKind::Amount { amount_minor, .. } => {
                    require(amount_minor > 0, owner, "amount_minor is positive")?;
                }
            }
            let in_order = promo.valid_from < promo.valid_until;
            require(in_order, owner, "valid_from is before valid_until")?;
            let limits = 1 <= promo.per_rider_limit && promo.per_rider_limit <= promo.total_limit;
            require(limits, owner, "per_rider_limit is 1 to total_limit")?;
            for city in &promo.cities {
                known(cities.contains(city.as_str()), &owner(), "city", city)?;
            }
            for code in promo.quotas.keys() {
                known(regions.contains(code), &owner(), "region", code)?;
            }
            let positive = promo.quotas.values().all(|quota| *quota >= 0);
            let sum = promo.quotas.values().fold(0_i64, |sum, quota| sum.saturating_add(*quota));
            require(positive && sum == promo.total_limit, owner, "quotas add up to total_limit")?;
        }
        Ok(())
    }
}
