//! The catalogue file (`deploy/catalog.toml`): everything is checked here, before anything reaches
//! the database; a message names both sides of a broken reference.

use std::{collections::HashSet, fmt::Display, hash::Hash};

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, de};

use super::{Catalogue, PromoDiscount, Tariff, check_area, fold, is_promo_code, is_slug};
use crate::domain::{money, region::RegionCode, text::line};

/// The `form_factor` values of GBFS 3.
const FORM_FACTORS: [&str; 8] =
    ["bicycle", "cargo_bicycle", "car", "moped", "other", "scooter_seated", "scooter_standing", "tricycle"];

/// The `propulsion_type` values of GBFS 3 for vehicles of our types.
const PROPULSIONS: [&str; 3] = ["electric", "electric_assist", "human"];

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not TOML of the expected shape; the text names the line.
    #[error("the catalogue cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    #[error("{0}")]
    Invalid(String),
}

type Checked<T = ()> = Result<T, CatalogueError>;

fn require(holds: bool, owner: impl Display, rule: impl Display) -> Checked {
    if holds { Ok(()) } else { Err(CatalogueError::Invalid(format!("{owner}: {rule}"))) }
}

/// Returns the keys; fails on a duplicate.
fn unique<K: Hash + Eq>(what: &str, keys: impl Iterator<Item = (K, impl Display)>) -> Checked<HashSet<K>> {
    let mut seen = HashSet::new();
    for (key, name) in keys {
        if !seen.insert(key) {
            let name = name.to_string();
            return Err(CatalogueError::Invalid(format!("{what} {name:?} stands in the catalogue twice")));
        }
    }
    Ok(seen)
}

fn known(there: bool, owner: impl Display, what: &str, name: &impl Display) -> Checked {
    if there {
        return Ok(());
    }
    let name = name.to_string();
    Err(CatalogueError::Invalid(format!("{owner} names the {what} {name:?}, which is not in the catalogue")))
}

/// Checks that names may be used in URLs and rows, and shown.
fn named(owner: impl Display, slug: &str, name: &str) -> Checked {
    require(is_slug(slug), &owner, "slug is lower-case letters, digits and dashes")?;
    require(is_name(name), &owner, "name has 1 to 64 printable characters")
}

fn is_name(name: &str) -> bool {
    line(name, 64, "a name").as_deref() == Ok(name)
}

pub(super) fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    let unknown = |_| de::Error::custom(format_args!("unknown time zone {name:?}"));
    name.parse().map_err(unknown)
}

impl Catalogue {
    /// Reads and checks a catalogue file's text, as version 0; returns the first error.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let file: Self = toml::from_str(text)?;
        let regions = file.check_regions()?;
        let types = file.check_vehicle_types()?;
        let cities = file.check_cities(&regions)?;
        file.check_tariffs(&cities, &types)?;
        file.check_promo_codes(&regions, &cities)?;
        Ok(file)
    }

    fn check_regions(&self) -> Checked<HashSet<&RegionCode>> {
        let regions = unique("the region", self.regions.iter().map(|region| (&region.code, &region.code)))?;
        require(!regions.is_empty(), "the catalogue", "needs a region")?;
        for region in &self.regions {
            let owner = format!("the region {}", region.code);
            let url = &region.base_url;
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let good_url = host.is_some_and(|host| !host.is_empty() && !host.ends_with('/'));
            require(good_url, &owner, "base_url begins with http(s):// and ends without a slash")?;
            require(is_name(&region.name), &owner, "name has 1 to 64 printable characters")?;
            let law = &region.jurisdiction;
            let good_law = (2..=8).contains(&law.len()) && law.bytes().all(|b| b.is_ascii_uppercase());
            require(good_law, &owner, "jurisdiction is 2 to 8 capital letters")?;
        }
        let governed = unique("the policy of region", self.policies.iter().map(|p| (&p.region, &p.region)))?;
        if let Some(code) = regions.difference(&governed).next() {
            return Err(CatalogueError::Invalid(format!("the region {code} has no residency policy")));
        }
        for policy in &self.policies {
            let owner = format!("the policy of region {}", policy.region);
            for code in policy.move_to.iter().chain(&policy.backup_regions).chain([&policy.region]) {
                known(regions.contains(code), &owner, "region", code)?;
            }
        }
        for trip in &self.round_trips {
            let [one, other] = &trip.between;
            let owner = format!("the round trip between {one} and {other}");
            for code in &trip.between {
                known(regions.contains(code), &owner, "region", code)?;
            }
            require(one != other && trip.ms <= 1000, &owner, "joins two regions in at most 1000 ms")?;
        }
        let pair = |[one, other]: &[RegionCode; 2]| (one.min(other).clone(), one.max(other).clone());
        let pairs = self
            .round_trips
            .iter()
            .map(|trip| (pair(&trip.between), trip.between.each_ref().map(RegionCode::as_str).join(" ")));
        unique("the round trip", pairs)?;
        Ok(regions)
    }

    fn check_vehicle_types(&self) -> Checked<HashSet<&str>> {
        let types = unique("the vehicle type", self.vehicle_types.iter().map(|t| (t.slug.as_str(), &t.slug)))?;
        for vehicle_type in &self.vehicle_types {
            let owner = format!("the vehicle type {}", vehicle_type.slug);
            named(&owner, &vehicle_type.slug, &vehicle_type.name)?;
            let form = FORM_FACTORS.contains(&vehicle_type.form_factor.as_str());
            require(form, &owner, "form_factor is not one of GBFS")?;
            let propulsion = PROPULSIONS.contains(&vehicle_type.propulsion.as_str());
            require(propulsion, &owner, "propulsion is electric, electric_assist or human")?;
            let human = vehicle_type.propulsion == "human";
            let range = vehicle_type.max_range_m.map_or(human, |metres| !human && metres > 0);
            require(range, &owner, "max_range_m is positive with a motor, absent without")?;
        }
        Ok(types)
    }

    fn check_cities(&self, regions: &HashSet<&RegionCode>) -> Checked<HashSet<&str>> {
        let cities = unique("the city", self.cities.iter().map(|city| (city.slug.as_str(), &city.slug)))?;
        unique("the city name", self.cities.iter().map(|city| (fold(&city.name), &city.name)))?;
        for city in &self.cities {
            let owner = format!("the city {}", city.slug);
            named(&owner, &city.slug, &city.name)?;
            known(regions.contains(&city.region), &owner, "region", &city.region)?;
            require(
                city.country.is_empty() || is_name(&city.country),
                &owner,
                "country has 1 to 64 printable characters",
            )?;
            check_area(&city.service_area, city.centre)
                .map_err(|why| CatalogueError::Invalid(format!("{owner}: service_area: {why}")))?;
            let seller = city.seller.is_empty() || line(&city.seller, 200, "a seller").as_deref() == Ok(&*city.seller);
            require(seller, &owner, "seller has up to 200 printable characters")?;
            let tax = city.tax.as_ref().is_none_or(|tax| is_name(&tax.name) && (1..=10_000).contains(&tax.rate));
            require(tax, &owner, "tax has a name, and a rate of 1 to 10000 hundredths of a percent")?;
        }
        Ok(cities)
    }

    fn check_tariffs(&self, cities: &HashSet<&str>, types: &HashSet<&str>) -> Checked {
        let key = |tariff: &Tariff| format!("{} {} {}", tariff.city, tariff.vehicle_type, tariff.valid_from);
        unique("the tariff", self.tariffs.iter().map(|tariff| (key(tariff), key(tariff))))?;
        let mut complete = HashSet::new();
        for tariff in &self.tariffs {
            let (city, vehicle_type) = (tariff.city.as_str(), tariff.vehicle_type.as_str());
            let owner = format!("the tariff {city} {vehicle_type}");
            known(cities.contains(city), &owner, "city", &city)?;
            known(types.contains(vehicle_type), &owner, "vehicle type", &vehicle_type)?;
            let prices = [tariff.unlock_minor, tariff.per_minute_minor, tariff.out_of_area_fee_minor];
            let sane = prices.iter().chain(&tariff.max_charge_minor).all(|minor| (0..=money::MAX).contains(minor));
            require(sane, &owner, format!("prices are 0 to {} minor units", money::MAX))?;
            complete.insert((city, vehicle_type));
        }
        for (city, vehicle_type) in cities.iter().flat_map(|city| types.iter().map(move |of| (*city, *of))) {
            if !complete.contains(&(city, vehicle_type)) {
                return Err(CatalogueError::Invalid(format!("the city {city} has no tariff for {vehicle_type}")));
            }
        }
        Ok(())
    }

    fn check_promo_codes(&self, regions: &HashSet<&RegionCode>, cities: &HashSet<&str>) -> Checked {
        unique("the promo code", self.promo_codes.iter().map(|promo| (&promo.code, &promo.code)))?;
        for promo in &self.promo_codes {
            let owner = format!("the promo code {}", promo.code);
            require(is_promo_code(&promo.code), &owner, "code is 3 to 32 capital letters and digits")?;
            match promo.discount {
                PromoDiscount::Percent { percent } => {
                    require((1..=100).contains(&percent), &owner, "percent is 1 to 100")?;
                }
                PromoDiscount::Amount { amount_minor, .. } => {
                    require(amount_minor > 0, &owner, "amount_minor is positive")?;
                }
            }
            require(promo.valid_from < promo.valid_until, &owner, "valid_from is before valid_until")?;
            let limits = 1 <= promo.per_rider_limit && promo.per_rider_limit <= promo.total_limit;
            require(limits, &owner, "per_rider_limit is 1 to total_limit")?;
            for city in &promo.cities {
                known(cities.contains(city.as_str()), &owner, "city", city)?;
            }
            for code in promo.quotas.keys() {
                known(regions.contains(code), &owner, "region", code)?;
            }
            let positive = promo.quotas.values().all(|quota| *quota >= 0);
            let sum = promo.quotas.values().fold(0_i64, |sum, quota| sum.saturating_add(*quota));
            require(positive && sum == promo.total_limit, &owner, "quotas add up to total_limit")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../deploy/catalog.toml");

    /// The error for the shipped file with `from` replaced by `to`: only one word is broken, so
    /// that only its rule can be the reason.
    fn refusal(from: &str, to: &str) -> String {
        assert!(SHIPPED.contains(from), "{from:?} is not in the file");
        let broken = SHIPPED.replacen(from, to, 1);
        Catalogue::parse(&broken).unwrap_err().to_string()
    }

    #[test]
    fn refuses_a_city_without_its_region() {
        let message = refusal("\"France\"\nregion = \"europe-west1\"", "\"France\"\nregion = \"europe-west9\"");
        assert_eq!(message, "the city paris names the region \"europe-west9\", which is not in the catalogue");
    }

    const ROME: &str = "city = \"rome\", vehicle_type = \"bike\"";

    /// What is broken, how, and part of the expected message.
    const REFUSALS: [(&str, &str, &str); 30] = [
        ("slug = \"boston\"", "slug = \"new-york\"", "the city \"new-york\" stands"),
        ("name = \"Boston\"", "name = \"NEW YORK\"", "the city name \"NEW YORK\" stands"),
        ("slug = \"boston\"", "slug = \"Boston\"", "slug is lower-case"),
        ("Europe/Rome", "Europe/Roma", "unknown time zone \"Europe/Roma\""),
        ("currency = \"EUR\"", "currency = \"XXX\"", "unknown variant `XXX`"),
        ("lat = 48.8566", "lat = 49.8566", "the city paris: service_area: The area must contain the centre."),
        (
            "[-74.0165, 40.7125]",
            "[-73.95, 40.7125]",
            "the city new-york: service_area: This is not a valid area: the outline crosses itself",
        ),
        ("lat = 48.8566", "lat = 148.8566", "latitude 148.8566"),
        (ROME, "city = \"oslo\", vehicle_type = \"bike\"", "the tariff oslo bike names the city \"oslo\""),
        (ROME, "city = \"rome\", vehicle_type = \"boat\"", "names the vehicle type \"boat\""),
        (ROME, "city = \"paris\", vehicle_type = \"bike\"", "the tariff \"paris bike"),
        ("unlock_minor = 150", "unlock_minor = -1", "prices are 0"),
        ("percent = 50", "percent = 101", "WELCOME: percent is 1 to 100"),
        ("percent = 50", "percent = 0", "percent is 1 to 100"),
        ("code = \"WELCOME\"", "code = \"Welcome\"", "capital letters"),
        ("code = \"CITY2\"", "code = \"WELCOME\"", "the promo code \"WELCOME\" stands"),
        ("us-east1 = 4000", "us-east1 = 4001", "quotas add up"),
        ("us-east1 = 4000", "us-east9 = 4000", "names the region \"us-east9\""),
        ("per_rider_limit = 1\n", "per_rider_limit = 0\n", "per_rider_limit"),
        ("cities = [\"rome\"]", "cities = [\"oslo\"]", "names the city \"oslo\""),
        (
            "policies = [\n  { region = \"us-east1\"",
            "policies = [\n  { region = \"us-west1\"",
            "the policy of region \"us-west1\" stands",
        ),
        ("form_factor = \"other\"", "form_factor = \"board\"", "form_factor"),
        ("\"electric\", max_range_m = 20000", "\"human\", max_range_m = 20000", "max_range_m"),
        ("localhost:8080", "localhost:8080/", "base_url"),
        ("jurisdiction = \"US\"", "jurisdiction = \"us\"", "jurisdiction"),
        ("analytics = true", "analytic = true", "unknown field `analytic`"),
        ("\"us-west1\"], ms", "\"us-west9\"], ms", "us-west9 names the region \"us-west9\""),
        ("\"us-west1\"], ms", "\"us-east1\"], ms", "joins two regions"),
        (
            "[\"us-west1\", \"europe-west1\"], ms", "[\"europe-west1\", \"us-east1\"], ms",
            "stands in the catalogue twice",
        ),
        ("regions = [", "regions = ", "cannot be read"),
    ];

    #[test]
    fn refuses_what_cannot_be() {
        for (from, to, part) in REFUSALS {
            let message = refusal(from, to);
            assert!(message.contains(part), "{to}: {message}");
        }
    }

    #[test]
    fn refuses_a_city_without_a_price() {
        let line = SHIPPED.lines().find(|line| line.contains("\"rome\", vehicle_type = \"bike\""));
        assert_eq!(refusal(line.unwrap(), ""), "the city rome has no tariff for bike");
    }
}
