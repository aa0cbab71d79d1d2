//! The catalogue: regions, residency policies, cities, vehicle types, tariffs and promo codes.
//! Immutable; an instance shares one behind an `Arc` and replaces it when the version changes, so
//! that riding works while the GLOBAL tables cannot be read.

mod file;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Offset, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

pub use file::CatalogueError;

use super::{
    fare::{Discount, Rate, Tax},
    geo::{Point, Polygon},
    money::Currency,
    refusal::Refusal,
    region::RegionCode,
    units::Units,
};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    pub code: RegionCode,
    pub name: String,
    /// Where its instance answers, without a trailing slash.
    pub base_url: String,
    pub centre: Point,
    /// The law that applies there, as short capitals (`US`, `EU`).
    pub jurisdiction: String,
}

/// How long a message and its answer take between two regions; what `movr demo` simulates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundTrip {
    pub between: [RegionCode; 2],
    pub ms: u32,
}

/// What may be done with the personal data of people at home in a region.
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
    pub fn allows_move_to(&self, target: &RegionCode) -> bool {
        *target == self.region || self.move_to.contains(target)
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct City {
    /// As in URLs and rows (`new-york`).
    pub slug: String,
    pub name: String,
    pub region: RegionCode,
    pub centre: Point,
    #[serde(deserialize_with = "file::time_zone")]
    pub time_zone: Tz,
    pub currency: Currency,
    #[serde(default)]
    pub units: Units,
    /// Name and address on a receipt; empty for none.
    #[serde(default)]
    pub seller: String,
    /// Included in its prices.
    #[serde(default)]
    pub tax: Option<Tax>,
    /// Where a ride may end without a fee; contains the centre.
    pub service_area: Polygon,
    /// By which lists of cities are headed; empty where nobody said it.
    #[serde(default)]
    pub country: String,
    /// Why no ride or reservation begins there just now; everybody reads it.
    #[serde(default)]
    pub paused: Option<String>,
}

/// A position farther from a city's centre is a mistake, such as latitude and longitude exchanged.
pub const CITY_RADIUS_KM: f64 = 50.0;

impl City {
    /// That nothing begins there just now, if so.
    pub fn refusal(&self) -> Option<Refusal> {
        let why = self.paused.clone()?;
        Some(Refusal::CityPaused { city: self.name.clone(), why })
    }

    /// The parts of a period in which its clocks are as many seconds before UTC.
    pub fn offsets(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>, i64)> {
        let time = |second| DateTime::from_timestamp(second, 0).unwrap_or(to);
        let offset = |second| i64::from(time(second).with_timezone(&self.time_zone).offset().fix().local_minus_utc());
        let (mut parts, mut begins, end) = (Vec::new(), from.timestamp(), to.timestamp() + 1);
        while begins < end {
            // Nowhere do clocks change twice within a day.
            let (mut last, mut step) = (begins, 24 * 60 * 60);
            while step > 0 {
                if last < end && offset(last + step) == offset(begins) {
                    last += step;
                } else {
                    step /= 2;
                }
            }
            let ends = (last + 1).min(end);
            parts.push((time(begins), time(ends), offset(begins)));
            begins = ends;
        }
        parts
    }

    pub fn allows(&self, point: Point) -> bool {
        point.distance_m(self.centre) <= CITY_RADIUS_KM * 1000.0
    }

    /// `point`, or in words why it is not in this city.
    pub fn check(&self, point: Point) -> Result<Point, String> {
        let Self { name, .. } = self;
        let far = || {
            format!(
                "This is too far from {name}: more than {CITY_RADIUS_KM} km from its centre. Please check the position."
            )
        };
        self.allows(point).then_some(point).ok_or_else(far)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VehicleType {
    /// As in URLs and rows (`bike`).
    pub slug: String,
    pub name: String,
    pub form_factor: String,
    pub propulsion: String,
    /// Metres on a full battery; None exactly when `propulsion` is `human`.
    pub max_range_m: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    pub city: String,
    pub vehicle_type: String,
    pub unlock_minor: i64,
    pub per_minute_minor: i64,
    /// Added when a ride ends outside the service area.
    pub out_of_area_fee_minor: i64,
    /// Cap on unlocking and minutes of one ride; none for no limit.
    #[serde(default)]
    pub max_charge_minor: Option<i64>,
    /// When it replaces the one before.
    pub valid_from: DateTime<Utc>,
}

impl Tariff {
    pub const fn rate(&self) -> Rate {
        Rate {
            unlock_minor: self.unlock_minor,
            per_minute_minor: self.per_minute_minor,
            max_charge_minor: self.max_charge_minor,
        }
    }

    pub fn fare(&self, minutes: i64) -> i64 {
        self.rate().charge(minutes)
    }

    /// What the form that starts a ride carries of the price beside it.
    pub fn shown(&self) -> String {
        format!("{}-{}", self.unlock_minor, self.per_minute_minor)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PromoDiscount {
    Percent {
        percent: i64,
    },
    /// At most the charge.
    Amount {
        amount_minor: i64,
        currency: Currency,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromoCode {
    pub code: String,
    pub discount: PromoDiscount,
    /// Slugs of the cities where it is valid; empty means all.
    #[serde(default)]
    pub cities: Vec<String>,
    pub valid_from: DateTime<Utc>,
    pub valid_until: DateTime<Utc>,
    pub per_rider_limit: i64,
    pub total_limit: i64,
    /// By the region in which a ride starts; one not named has none.
    #[serde(default)]
    pub quotas: BTreeMap<RegionCode, i64>,
}

impl PromoCode {
    /// What it takes off a ride in `city` that begins at `at`; none if it is not valid there and
    /// then.
    pub fn discount_for(&self, city: &City, at: DateTime<Utc>) -> Option<Discount> {
        let discount = match self.discount {
            PromoDiscount::Percent { percent } => Discount::Percent(percent),
            PromoDiscount::Amount { amount_minor, .. } => Discount::Amount(amount_minor),
        };
        (self.is_for(city) && (self.valid_from..self.valid_until).contains(&at)).then_some(discount)
    }

    pub fn quota(&self, region: &RegionCode) -> i64 {
        self.quotas.get(region).copied().unwrap_or(0)
    }

    /// Whether it can be used in a city at some time.
    pub fn is_for(&self, city: &City) -> bool {
        let there = self.cities.is_empty() || self.cities.contains(&city.slug);
        there && !matches!(self.discount, PromoDiscount::Amount { currency, .. } if currency != city.currency)
    }
}

/// Whether `slug` can stand in URLs and rows.
pub fn is_slug(slug: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=64).contains(&slug.len()) && slug.bytes().all(good)
}

pub fn is_promo_code(code: &str) -> bool {
    (3..=32).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Why a city around `centre` cannot have this service area, in words.
pub fn check_area(area: &Polygon, centre: Point) -> Result<(), String> {
    if let Some(flaw) = area.flaw() {
        return Err(format!("This is not a valid area: {flaw}."));
    }
    // Its sides would go the other way round the Earth.
    let bounds = area.bounds();
    if bounds.east - bounds.west > 180.0 {
        return Err("The area must not cross the 180th meridian.".to_owned());
    }
    if !area.contains(centre) {
        return Err("The area must contain the centre.".to_owned());
    }
    if area.points().iter().any(|corner| corner.distance_m(centre) > CITY_RADIUS_KM * 1000.0) {
        return Err(format!("The area must not reach farther than {CITY_RADIUS_KM} km from the centre."));
    }
    Ok(())
}

/// Regions, cities and vehicle types are in the file's order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Raised by every change; 0 before the first load.
    #[serde(skip)]
    pub version: i64,
    pub regions: Vec<Region>,
    pub policies: Vec<Policy>,
    pub cities: Vec<City>,
    pub vehicle_types: Vec<VehicleType>,
    /// At least one for each city and vehicle type.
    pub tariffs: Vec<Tariff>,
    #[serde(default)]
    pub promo_codes: Vec<PromoCode>,
    /// Only in the file.
    #[serde(default)]
    pub round_trips: Vec<RoundTrip>,
}

impl Catalogue {
    pub fn region(&self, code: &RegionCode) -> Option<&Region> {
        self.regions.iter().find(|region| region.code == *code)
    }

    pub fn policy(&self, region: &RegionCode) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.region == *region)
    }

    /// None where the file names none.
    pub fn round_trip(&self, one: &RegionCode, other: &RegionCode) -> Option<Duration> {
        let joins = |trip: &&RoundTrip| one != other && trip.between.contains(one) && trip.between.contains(other);
        self.round_trips.iter().find(joins).map(|trip| Duration::from_millis(trip.ms.into()))
    }

    pub fn same_law(&self, one: &RegionCode, other: &RegionCode) -> bool {
        let law = |code| self.region(code).map(|region| &region.jurisdiction);
        law(one).is_some() && law(one) == law(other)
    }

    /// The residency rule that forbids an instance in `here` to export people at home in `region`
    /// to operators, if any.
    pub fn forbids_export(&self, here: &RegionCode, region: &RegionCode) -> Option<&'static str> {
        if !self.same_law(here, region) {
            return Some("jurisdiction");
        }
        let allowed = self.policy(region).is_some_and(|policy| policy.operator_export);
        (!allowed).then_some("operator_export")
    }

    pub fn city(&self, slug: &str) -> Option<&City> {
        self.cities.iter().find(|city| city.slug == slug)
    }

    pub fn city_name<'a>(&'a self, slug: &'a str) -> &'a str {
        self.city(slug).map_or(slug, |city| &city.name)
    }

    pub fn region_name<'a>(&'a self, code: &'a RegionCode) -> &'a str {
        self.region(code).map_or(code.as_str(), |region| &region.name)
    }

    pub fn cities_of(&self, region: &RegionCode) -> impl Iterator<Item = &City> {
        self.cities.iter().filter(move |city| city.region == *region)
    }

    /// Countries, or regions where a city has none, and their cities, both in order.
    pub fn by_country(&self) -> Vec<(&str, Vec<&City>)> {
        let mut countries: Vec<(&str, Vec<&City>)> = Vec::new();
        for city in &self.cities {
            let name = if city.country.is_empty() { self.region_name(&city.region) } else { &city.country };
            match countries.iter_mut().find(|(known, _)| *known == name) {
                Some((_, cities)) => cities.push(city),
                None => countries.push((name, vec![city])),
            }
        }
        countries
    }

    /// The city that a proxy's header names, ignoring case, accents and punctuation.
    pub fn city_by_name(&self, name: &str) -> Option<&City> {
        let name = fold(name);
        self.cities.iter().find(|city| fold(&city.name) == name)
    }

    pub fn nearest_city(&self, point: Point) -> Option<&City> {
        self.cities.iter().min_by(|a, b| {
            let distance = |city: &City| city.centre.distance_m(point);
            distance(a).total_cmp(&distance(b))
        })
    }

    pub fn vehicle_type(&self, slug: &str) -> Option<&VehicleType> {
        self.vehicle_types.iter().find(|vehicle_type| vehicle_type.slug == slug)
    }

    pub fn tariff(&self, city: &str, vehicle_type: &str, at: DateTime<Utc>) -> Option<&Tariff> {
        self.tariffs
            .iter()
            .filter(|tariff| tariff.city == city && tariff.vehicle_type == vehicle_type)
            .filter(|tariff| tariff.valid_from <= at)
            .max_by_key(|tariff| tariff.valid_from)
    }

    /// `rides` of a code over the regions where it can be used, each by the number of its cities.
    pub fn split(&self, promo: &PromoCode, rides: i64) -> BTreeMap<RegionCode, i64> {
        let cities = |region: &Region| self.cities_of(&region.code).filter(|city| promo.is_for(city)).count();
        let weights = self.regions.iter().map(|region| (region, i64::try_from(cities(region)).unwrap_or(0)));
        let weights: Vec<(&Region, i64)> = weights.filter(|(_, weight)| *weight > 0).collect();
        let all: i64 = weights.iter().map(|(_, weight)| weight).sum();
        let (mut so_far, mut given, mut parts) = (0, 0, BTreeMap::new());
        for (region, weight) in weights {
            so_far += weight;
            // Of the sum so far, so that rounding loses none.
            let part = rides * so_far / all - given;
            given += part;
            parts.insert(region.code.clone(), part);
        }
        parts
    }

    /// Ignores surrounding blanks and case.
    pub fn promo_code(&self, typed: &str) -> Option<&PromoCode> {
        let code = typed.trim().to_uppercase();
        self.promo_codes.iter().find(|promo| promo.code == code)
    }
}

/// `name` in lower case, without accents and punctuation, with single blanks: `"Washington, D.C."`
/// and `"washington dc"` become the same text.
pub fn fold(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for c in
        name.nfd().filter(|c| !is_combining_mark(*c) && !matches!(c, '.' | '\'' | '’')).flat_map(char::to_lowercase)
    {
        match c {
            // Letters of their own, not accented ones.
            'æ' => plain.push_str("ae"),
            'œ' => plain.push_str("oe"),
            'ß' => plain.push_str("ss"),
            'þ' => plain.push_str("th"),
            'đ' | 'ð' => plain.push('d'),
            'ı' => plain.push('i'),
            'ł' => plain.push('l'),
            'ø' => plain.push('o'),
            _ => plain.push(if c.is_alphanumeric() { c } else { ' ' }),
        }
    }
    plain.nfc().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../deploy/catalog.toml");

    fn catalogue() -> Catalogue {
        Catalogue { version: 7, ..Catalogue::parse(SHIPPED).unwrap() }
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn cities_are_listed_by_country_or_by_region_where_none_is_known() {
        let mut catalogue = catalogue();
        let names = |catalogue: &Catalogue| -> Vec<(String, usize)> {
            catalogue.by_country().into_iter().map(|(name, cities)| (name.to_owned(), cities.len())).collect()
        };
        let expected = [("United States", 9), ("Netherlands", 1), ("France", 1), ("Italy", 1)];
        assert_eq!(names(&catalogue), expected.map(|(name, n)| (name.to_owned(), n)));
        catalogue.cities.iter_mut().filter(|city| city.slug == "boston").for_each(|city| city.country.clear());
        assert_eq!(names(&catalogue)[1], ("US East (South Carolina)".to_owned(), 1));
    }

    #[test]
    fn shipped_catalogue_is_complete() {
        let catalogue = catalogue();
        assert_eq!(catalogue.version, 7);
        assert_eq!(catalogue.regions.len(), 3);
        assert_eq!(catalogue.cities.len(), 12);
        assert_eq!(catalogue.tariffs.len(), 36);
        let cities = |code: &str| catalogue.cities_of(&code.parse().unwrap()).count();
        assert_eq!((cities("us-east1"), cities("us-west1"), cities("europe-west1")), (6, 3, 3));
        // As `cockroach demo --global` has them.
        for (one, other, ms) in
            [("us-east1", "us-west1", 66), ("europe-west1", "us-east1", 64), ("us-west1", "europe-west1", 146)]
        {
            let trip = catalogue.round_trip(&one.parse().unwrap(), &other.parse().unwrap());
            assert_eq!(trip, Some(Duration::from_millis(ms)), "{one} {other}");
        }
        assert_eq!(catalogue.round_trip(&"us-east1".parse().unwrap(), &"us-east1".parse().unwrap()), None);
        for city in &catalogue.cities {
            let corners = city.service_area.points();
            assert!((8..=14).contains(&corners.len()), "{}", city.slug);
            let far = |point: &Point| point.distance_m(city.centre) > 9_000.0;
            assert!(!corners.iter().any(far), "{}", city.slug);
            let bounds = city.service_area.bounds();
            let corner = Point::new(bounds.south, bounds.west).unwrap();
            let across = corner.distance_m(Point::new(bounds.north, bounds.east).unwrap());
            assert!((5_000.0..12_000.0).contains(&across), "{}: {across} m", city.slug);
        }
    }

    #[test]
    fn finds_cities() {
        let catalogue = catalogue();
        let slug = |city: Option<&City>| city.map(|city| city.slug.clone()).unwrap_or_default();
        assert_eq!(slug(catalogue.city("paris")), "paris");
        assert_eq!(slug(catalogue.city("Paris")), "");
        assert_eq!(slug(catalogue.city_by_name("WASHINGTON, D.C.")), "washington-dc");
        assert_eq!(slug(catalogue.city_by_name("são paulo")), "");
        let brussels = Point::new(50.85, 4.35).unwrap();
        assert_eq!(slug(catalogue.nearest_city(brussels)), "amsterdam");
        let honolulu = Point::new(21.3, -157.86).unwrap();
        assert_eq!(slug(catalogue.nearest_city(honolulu)), "san-francisco");
    }

    #[test]
    fn newest_tariff_that_has_begun_holds() {
        let mut catalogue = catalogue();
        let old = catalogue.tariff("rome", "bike", time("2026-01-01T00:00:00Z")).unwrap().clone();
        assert_eq!(old.fare(10), 240);
        assert_eq!(catalogue.tariff("rome", "bike", time("2020-01-01T00:00:00Z")), None);
        let from = time("2027-01-01T00:00:00Z");
        catalogue.tariffs.insert(0, Tariff { unlock_minor: 60, valid_from: from, ..old });
        let unlock = |at| catalogue.tariff("rome", "bike", time(at)).unwrap().unlock_minor;
        assert_eq!(unlock("2026-12-31T23:59:59Z"), 50);
        assert_eq!(unlock("2027-01-01T00:00:00Z"), 60);
    }

    #[test]
    fn promo_codes_know_place_and_time() {
        let catalogue = catalogue();
        let now = time("2026-11-20T12:00:00Z");
        let discount = |code: &str, city: &str| {
            let city = catalogue.city(city).unwrap();
            catalogue.promo_code(code).unwrap().discount_for(city, now)
        };
        assert_eq!(discount(" welcome ", "paris"), Some(Discount::Percent(50)));
        assert_eq!(discount("CITY2", "boston"), Some(Discount::Amount(200)));
        assert_eq!(discount("CITY2", "paris"), None, "another city");
        assert_eq!(discount("OLD2019", "paris"), None, "expired");
        assert_eq!(catalogue.promo_code("NOPE"), None);

        let mut promo = catalogue.promo_code("CITY2").unwrap().clone();
        promo.cities.clear();
        let paris = catalogue.city("paris").unwrap();
        assert_eq!(promo.discount_for(paris, now), None, "another currency");
        promo.valid_from = time("2027-01-01T00:00:00Z");
        assert_eq!(promo.discount_for(paris, now), None, "not yet");
        assert_eq!(promo.quota(&"us-west1".parse().unwrap()), 2500);
        assert_eq!(promo.quota(&"asia-east1".parse().unwrap()), 0);
    }

    #[test]
    fn the_offsets_of_a_city_are_those_of_its_clocks() {
        let catalogue = catalogue();
        let (from, to) = (time("2026-01-01T05:00:00.5Z"), time("2027-01-01T05:00:00Z"));
        for (zone, changes) in [
            (chrono_tz::America::New_York, vec!["2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"]),
            (chrono_tz::Australia::Lord_Howe, vec!["2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"]),
            (chrono_tz::Asia::Kathmandu, vec![]),
        ] {
            let city = City { time_zone: zone, ..catalogue.city("new-york").unwrap().clone() };
            let parts = city.offsets(from, to);
            let begins: Vec<_> = parts.iter().skip(1).map(|(begins, ..)| *begins).collect();
            assert_eq!(begins, changes.into_iter().map(time).collect::<Vec<_>>());
            assert!(parts[0].0 <= from && parts.last().unwrap().1 > to, "{parts:?}");
            assert!(parts.windows(2).all(|two| two[0].1 == two[1].0), "{parts:?}");
            for (begins, _, seconds) in parts {
                let local = begins.with_timezone(&zone).naive_local();
                assert_eq!((local - begins.naive_utc()).num_seconds(), seconds, "{begins}");
            }
        }
    }

    #[test]
    fn a_total_is_split_by_cities_and_none_is_lost() {
        let catalogue = catalogue();
        let split = |code: &str, cities: &[&str], rides| {
            let cities = cities.iter().map(ToString::to_string).collect();
            let promo = PromoCode { cities, ..catalogue.promo_code(code).unwrap().clone() };
            let parts = catalogue.split(&promo, rides);
            let of = |code: &str| parts.get(&code.parse::<RegionCode>().unwrap()).copied();
            [of("us-east1"), of("us-west1"), of("europe-west1")]
        };
        assert_eq!(split("WELCOME", &[], 100), [Some(50), Some(25), Some(25)], "six cities, three and three");
        assert_eq!(split("WELCOME", &["boston", "rome"], 11), [Some(5), None, Some(6)]);
        assert_eq!(split("CITY2", &[], 10), [Some(6), Some(4), None], "dollars are of no use in Europe");
        assert_eq!(split("CITY2", &["rome"], 10), [None; 3]);
    }

    #[test]
    fn policies_bind_moves() {
        let catalogue = catalogue();
        let europe: RegionCode = "europe-west1".parse().unwrap();
        let policy = catalogue.policy(&europe).unwrap();
        assert!(!policy.operator_export);
        assert!(policy.allows_move_to(&"us-east1".parse().unwrap()));
        let closed = Policy { move_to: Vec::new(), ..policy.clone() };
        assert!(closed.allows_move_to(&europe));
        assert!(!closed.allows_move_to(&"us-east1".parse().unwrap()));
    }

    #[test]
    fn names_fold_to_what_was_meant() {
        for (name, folded) in [
            ("New York", "new york"),
            ("  NEW   york ", "new york"),
            ("new-york", "new york"),
            ("Washington, D.C.", "washington dc"),
            ("Zürich", "zurich"),
            ("Zu\u{308}rich", "zurich"),
            ("Łódź", "lodz"),
            ("Weißenfels", "weissenfels"),
            ("L’Aquila", "laquila"),
            ("東京", "東京"),
            ("…", ""),
        ] {
            assert_eq!(fold(name), folded);
        }
    }
}
