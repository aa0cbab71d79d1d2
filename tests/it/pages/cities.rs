//! Cities: one that is added can be lived and ridden in at every instance, without a
//! restart.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::{rides, tariffs::with_role};
use crate::support::{Browser, html::Page, world};

const PATH: &str = "/admin/cities";

/// Posts a good form, with `changed` over it.
async fn add(admin: &Browser, changed: &[(&str, &str)]) -> Page {
    let mut form = vec![
        ("name", "Lisboa"),
        ("country", "Portugal"),
        ("region", "europe-west1"),
        ("lat", "38.7223"),
        ("lon", "-9.1393"),
        ("zone", "Europe/Lisbon"),
        ("currency", "EUR"),
        ("radius", "4.5"),
    ];
    for vehicle_type in ["bike", "scooter", "skateboard"] {
        for what in ["unlock", "minute", "fee"] {
            form.push((format!("{what}-{vehicle_type}").leak(), "1.20"));
        }
    }
    form.retain(|(name, _)| changed.iter().all(|(other, _)| name != other));
    form.extend(changed);
    admin.post(PATH, &form).await
}

#[actix_web::test]
async fn a_city_that_is_added_is_ridden_in_everywhere_without_a_restart() {
    let world = world().await;
    let reload = [("MOVR_CATALOGUE_RELOAD_S", "1")];
    let east = world.instance_with("us-east1", &reload).await;
    let europe = world.instance_with("europe-west1", &reload).await;
    let admin = with_role(&east, "boston", "administrator", "").await;
    let nobody = europe.browser();
    let countries = async |browser: &Browser| browser.get("/").await.texts(".city-switch legend");
    assert_eq!(countries(&nobody).await, ["United States", "Netherlands", "France", "Italy"]);
    assert_eq!(nobody.get("/vehicles?city=lisboa").await.status, StatusCode::NOT_FOUND);
    assert_eq!(add(&admin, &[]).await.location(), PATH);
    let page = admin.get(PATH).await;
    assert!(page.flash().contains("Lisboa is added") && page.flash().contains("up to a minute"), "{}", page.flash());
    let rows = page.texts("tbody tr");
    assert!(rows.contains(&"Lisboa lisboa Europe West (Belgium) Europe/Lisbon EUR".to_owned()), "{rows:?}");
    assert_eq!(admin.get("/vehicles?city=lisboa").await.status, StatusCode::OK, "at once where it was added");
    let began = Instant::now();
    while nobody.get("/vehicles?city=lisboa").await.status != StatusCode::OK {
        assert!(began.elapsed() < Duration::from_secs(20), "the other instance never learns of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(countries(&nobody).await.pop().as_deref(), Some("Portugal"));
    let ines = europe.person("lisboa").await;
    let id = ines.get("/my/vehicles").await.field("id");
    let own = [("id", &*id), ("type", "bike"), ("brand", "Own"), ("colour", "red")];
    assert_eq!(ines.post("/my/vehicles", &own).await.location(), "/my/vehicles");
    world.approve().await;
    let ride = rides::start(&ines, "lisboa").await;
    assert!(ride.starts_with("/rides/europe-west1/"), "{ride}");
    let end = [("city", "lisboa"), ("place", "Rossio"), ("lat", "38.7139"), ("lon", "-9.1394")];
    assert_eq!(ines.post(&format!("{ride}/end"), &end).await.status, StatusCode::SEE_OTHER);
    let paid = "SELECT count(*) FROM rides WHERE city = 'lisboa' AND currency = 'EUR' AND unlock_minor = 120
        AND total_minor = 240 AND NOT outside_area";
    assert_eq!(world.count(paid).await, 1, "inside the circle: one minute and no fee");
    let event = "SELECT count(*) FROM events WHERE action = 'city.added' AND region = 'us-east1'";
    assert_eq!(world.count(event).await, 1);
    for instance in [east, europe] {
        instance.running.stop().await;
    }
    world.end().await;
}

#[actix_web::test]
async fn mistakes_come_back_with_what_was_typed() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let before = world.rows().await;
    for (field, value, error) in [
        ("name", " ", "name"),
        ("country", "", "country"),
        ("slug", "Lisboa Velha", "slug"),
        ("slug", "boston", "slug"),
        ("lat", "95", "lat"),
        ("lat", "", "lat"),
        ("zone", "Lisbon", "zone"),
        ("radius", "0", "radius"),
        ("radius", "wide", "radius"),
        ("area", "[[0,0],[1,1]]", "area"),
        ("area", "[[0,0],[1,1],[0,1]]", "area"),
        ("area", "here", "area"),
        ("area", "[[-9.2,38.7],[-9.1,38.8],[-9.1,38.7],[-9.2,38.8]]", "area"),
        ("unlock-bike", "", "unlock-bike"),
        ("fee-scooter", "-3", "fee-scooter"),
    ] {
        let page = add(&admin, &[(field, value)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}: {}", page.text());
        assert_eq!(page.texts(&format!("#{error}-error")).len(), 1, "{field} {value}");
        assert_eq!(page.attributes(&format!("#{field}"), "value"), [value]);
        assert_eq!(page.texts("small.error").len(), 1, "nothing else is wrong: {field} {value}");
    }
    for (slug, error) in [("", "slug"), ("boston-2", "name")] {
        let page = add(&admin, &[("name", "Boston"), ("slug", slug)]).await;
        assert_eq!((page.status, page.texts(&format!("#{error}-error")).len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    }
    assert_eq!(add(&admin, &[("region", "mars-north1")]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(add(&admin, &[("currency", "XXX")]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.rows().await, before);
    let bow = "[[-9.2,38.7],[-9.1,38.75],[-9.1,38.7],[-9.2,38.75],[-9.15,38.8]]";
    let error = add(&admin, &[("area", bow)]).await.texts("#area-error").concat();
    let expected = "This is not a valid area: the outline crosses itself: its sides from corner 1 to 2 and from corner 3 to 4 \
        meet at latitude 38.72500, longitude -9.15000.";
    assert_eq!(error, expected);
    let ring = "[[-9.2,38.7],[-9.1,38.7],[-9.1,38.8],[-9.2,38.8]]";
    assert_eq!(add(&admin, &[("area", ring)]).await.location(), PATH);
    let stored = format!("SELECT count(*) FROM cities WHERE slug = 'lisboa' AND service_area = '{ring}'");
    assert_eq!(world.count(&stored).await, 1);
    instance.running.stop().await;
    world.end().await;
}
