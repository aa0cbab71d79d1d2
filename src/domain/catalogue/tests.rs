//! Tests of the catalogue, against the file that is shipped.
//! A refusal is tested by breaking one word of that file, so that only that rule can
//! be the reason.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::domain::fare::Discount;

const SHIPPED: &str = include_str!("../../../deploy/catalog.toml");

fn catalogue() -> Catalogue {
    Catalogue::new(7, CatalogueFile::parse(SHIPPED).unwrap())
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The message with which the shipped file is refused once `from` has become `to`.
fn refusal(from: &str, to: &str) -> String {
    assert!(SHIPPED.contains(from), "{from:?} is not in the file");
    let broken = SHIPPED.replacen(from, to, 1);
    CatalogueFile::parse(&broken).unwrap_err().to_string()
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
    assert_eq!(discount(" welcome ", "paris"), Ok(Discount::Percent(50)));
    assert_eq!(discount("CITY2", "boston"), Ok(Discount::Amount(200)));
    assert_eq!(discount("CITY2", "paris"), Err(PromoRefusal::OtherCity));
    assert_eq!(discount("OLD2019", "paris"), Err(PromoRefusal::Expired));
    assert_eq!(catalogue.promo_code("NOPE"), None);

    let mut promo = catalogue.promo_code("CITY2").unwrap().clone();
    promo.cities.clear();
    let paris = catalogue.city("paris").unwrap();
    assert_eq!(promo.discount_for(paris, now), Err(PromoRefusal::OtherCurrency));
    promo.valid_from = time("2027-01-01T00:00:00Z");
    assert_eq!(promo.discount_for(paris, now), Err(PromoRefusal::NotYet));
    assert_eq!(promo.quota(&"us-west1".parse().unwrap()), 2500);
    assert_eq!(promo.quota(&"asia-east1".parse().unwrap()), 0);
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
fn refuses_a_city_without_its_region() {
    let message = refusal("name = \"Paris\"\nregion = \"europe-west1\"", "name = \"Paris\"\nregion = \"europe-west9\"");
    assert_eq!(message, "the city paris names the region \"europe-west9\", which is not in the catalogue");
}

/// What is broken, how, and a part of the message that must come.
const REFUSALS: [(&str, &str, &str); 27] = [
    ("slug = \"boston\"", "slug = \"new-york\"", "the city \"new-york\" stands"),
    ("name = \"Boston\"", "name = \"NEW YORK\"", "the city name \"NEW YORK\" stands"),
    ("slug = \"boston\"", "slug = \"Boston\"", "slug is lower-case"),
    ("Europe/Rome", "Europe/Roma", "unknown time zone \"Europe/Roma\""),
    ("currency = \"EUR\"", "currency = \"XXX\"", "unknown variant `XXX`"),
    ("lat = 48.8566", "lat = 49.8566", "the city paris: service_area does not contain"),
    ("[-74.0165, 40.7125]", "[-73.95, 40.7125]", "the city new-york: service_area: the outline crosses itself"),
    ("lat = 48.8566", "lat = 148.8566", "latitude 148.8566"),
    (
        "city = \"rome\", vehicle_type = \"bike\"",
        "city = \"oslo\", vehicle_type = \"bike\"",
        "the tariff oslo bike names the city \"oslo\"",
    ),
    (
        "city = \"rome\", vehicle_type = \"bike\"",
        "city = \"rome\", vehicle_type = \"boat\"",
        "names the vehicle type \"boat\"",
    ),
    (
        "city = \"rome\", vehicle_type = \"bike\"",
        "city = \"paris\", vehicle_type = \"bike\"",
        "the tariff \"paris bike",
    ),
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
