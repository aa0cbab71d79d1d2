//! Cities: one that is added can be lived and ridden in at every instance, without a
//! restart.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::{rides, tariffs::with_role};
use crate::support::{Browser, html::Page, rows::pairs, world};

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
    assert!(
        rows.contains(&"Lisboa lisboa Europe West (Belgium) Europe/Lisbon EUR Open Tariffs".to_owned()),
        "{rows:?}"
    );
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
    let strait =
        [("lat", "38.75"), ("lon", "179.89"), ("area", "[[179.9,38.7],[-179.9,38.7],[-179.9,38.8],[179.9,38.8]]")];
    let page = add(&admin, &strait).await;
    assert!(page.texts("#area-error").concat().contains("180th meridian"), "{} {}", page.status, page.text());
    let ring = "[[-9.2,38.7],[-9.1,38.7],[-9.1,38.8],[-9.2,38.8]]";
    assert_eq!(add(&admin, &[("area", ring)]).await.location(), PATH);
    let stored = format!("SELECT count(*) FROM cities WHERE slug = 'lisboa' AND service_area = '{ring}'");
    assert_eq!(world.count(&stored).await, 1);
    instance.running.stop().await;
    world.end().await;
}

/// Posts the form of Boston as `page` drew it, with `changed` over it.
async fn change(admin: &Browser, page: &Page, changed: &[(&str, &str)]) -> Page {
    let drawn = ["seen", "name", "lat", "lon", "zone", "area"].map(|name| (name, page.field(name)));
    let mut form: Vec<_> = drawn.iter().map(|(name, value)| (*name, value.as_str())).collect();
    form.retain(|(name, _)| changed.iter().all(|(other, _)| name != other));
    form.extend(changed);
    admin.post("/admin/cities/boston", &form).await
}

#[actix_web::test]
async fn a_city_is_renamed_and_its_area_drawn_anew() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let page = admin.get("/admin/cities/boston").await;
    let before = world.rows().await;
    let crossed = "[[-71.2,42.2],[-70.9,42.5],[-70.9,42.2],[-71.2,42.5]]";
    for (field, value) in [
        ("name", ""),
        ("name", "PARIS"),
        ("zone", "Boston"),
        ("lat", "48.8"),
        ("lat", ""),
        ("area", ""),
        ("area", crossed),
        ("area", "[[-71,42],[-70,42],[-70,43]]"),
    ] {
        let wrong = change(&admin, &page, &[(field, value)]).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}: {}", wrong.text());
        assert_eq!(wrong.texts("small.error").len(), 1, "{field} {value}");
        assert_eq!(wrong.texts(&format!("#{field}-error")).len(), 1, "{field} {value}");
        assert_eq!(wrong.attributes(&format!("#{field}"), "value"), [value]);
    }
    assert_eq!(world.rows().await, before);
    let area = "[[-71.2,42.2],[-70.9,42.2],[-70.9,42.5],[-71.2,42.5]]";
    let new = [("name", "Boston Bay"), ("zone", "America/Detroit"), ("lat", "42.36"), ("area", area)];
    assert_eq!(change(&admin, &page, &new).await.location(), "/admin/cities/boston");
    assert!(admin.get("/admin/cities/boston").await.flash().starts_with("Boston Bay is saved."));
    let stored = format!(
        "SELECT count(*) FROM cities WHERE slug = 'boston' AND name = 'Boston Bay' AND time_zone = 'America/Detroit'
         AND lat = 42.36 AND service_area = '{area}' AND paused IS NULL"
    );
    assert_eq!(world.count(&stored).await, 1);
    assert_eq!(admin.get("/vehicles?city=boston").await.texts("h1"), ["Vehicles in Boston Bay"]);
    // Whoever still has the old page overwrites nothing.
    change(&admin, &page, &[("name", "Beantown")]).await.location();
    assert!(admin.get("/admin/cities/boston").await.flash().starts_with("This was changed since"));
    change(&admin, &page, &new).await.location();
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'city.changed'").await, 1);
    assert_eq!(world.count(&stored).await, 1);
    instance.running.stop().await;
    world.end().await;
}

/// A page of one instance may be sent to another one, whose copy of the catalogue is older.
#[actix_web::test]
async fn an_instance_with_an_old_catalogue_undoes_nothing() {
    let world = world().await;
    let (instance, old) = (world.instance("us-east1").await, world.instance("us-east1").await);
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let elsewhere = admin.at(&old);
    let (city, pause) = ("/admin/cities/boston", "/admin/cities/boston/pause");
    let is = async |name: &str, paused: &str| {
        let row =
            format!("SELECT count(*) FROM cities WHERE slug = 'boston' AND name = '{name}' AND paused = '{paused}'");
        assert_eq!(world.count(&row).await, 1, "{name}, {paused}");
    };
    let seen = admin.get(city).await.field("seen");
    admin.post(pause, &[("seen", &seen), ("reason", "snow")]).await.location();
    change(&elsewhere, &admin.get(city).await, &[("name", "Boston Bay")]).await.location();
    is("Boston Bay", "snow").await;

    change(&admin, &admin.get(city).await, &[("name", "Boston Bay")]).await.location();
    change(&admin, &admin.get(city).await, &[("name", "Boston Port")]).await.location();
    let seen = admin.get(city).await.field("seen");
    elsewhere.post(pause, &[("seen", &seen), ("reason", "ice")]).await.location();
    is("Boston Port", "ice").await;

    let stale = old.running.state.service.catalogue().version.to_string();
    instance.running.state.service.reload_catalogue().await.unwrap();
    change(&admin, &admin.get(city).await, &[("name", "Boston Cove")]).await.location();
    let seen = admin.get(city).await.field("seen");
    let wrong = elsewhere.post(pause, &[("seen", &seen), ("reason", " ")]).await;
    assert_eq!(
        (wrong.status, wrong.field("name"), wrong.field("seen")),
        (StatusCode::UNPROCESSABLE_ENTITY, "Boston Port".to_owned(), stale)
    );
    change(&elsewhere, &wrong, &[("zone", "America/Detroit")]).await.location();
    assert!(elsewhere.get(city).await.flash().starts_with("This was changed since"));
    is("Boston Cove", "ice").await;
    for instance in [instance, old] {
        instance.running.stop().await;
    }
    world.end().await;
}

#[actix_web::test]
async fn in_a_paused_city_nothing_begins_and_rides_end() {
    let world = world().await;
    rides::street(&world, 20).await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let card = bob.get("/vehicles?city=new-york").await.card(2);
    let ride = rides::start(&ann, "new-york").await;
    let pause = "/admin/cities/new-york/pause";
    let seen = admin.get("/admin/cities/new-york").await.field("seen");
    let nameless = admin.post(pause, &[("seen", &seen), ("reason", " ")]).await;
    assert_eq!((nameless.status, nameless.texts("#reason-error").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    admin.post(pause, &[("seen", &seen), ("reason", "snow until noon")]).await.location();
    assert!(admin.get(pause.strip_suffix("/pause").unwrap()).await.flash().starts_with("New York is paused."));

    let words = "New York is paused (snow until noon). No rides or reservations can start there; rides under way can still end.";
    let vehicle = &card.iter().find(|(name, _)| name == "vehicle").unwrap().1;
    let before = world.rows().await;
    for path in ["/rides".to_owned(), format!("/vehicles/us-east1/{vehicle}/reserve")] {
        let refused = bob.post(&path, &pairs(&card)).await;
        assert_eq!(bob.get(&refused.location()).await.flash(), words, "{path}");
    }
    assert_eq!(world.rows().await, before, "nothing has begun");
    for path in ["/", "/vehicles?city=new-york", &format!("/vehicles/us-east1/{vehicle}")] {
        let page = instance.browser().get(path).await;
        assert!(page.texts(".note").contains(&words.to_owned()), "{path}: {}", page.text());
    }
    let feed = instance.browser().get("/gbfs/3/new-york/vehicle_status.json").await.body;
    assert!(feed.contains("\"is_disabled\":true") && !feed.contains("\"is_disabled\":false"), "{feed}");
    let receipt = rides::end(&ann, &ride).await.location();
    assert!(ann.get(&receipt).await.text().contains("You owe"));

    let seen = admin.get("/admin/cities/new-york").await.field("seen");
    admin.post(pause, &[("seen", &seen), ("reason", "snow until noon"), ("resume", "1")]).await.location();
    assert!(admin.get("/admin/cities").await.flash().starts_with("New York is open again."));
    assert!(bob.post("/rides", &pairs(&card)).await.location().starts_with("/rides/us-east1/"));
    let told = "SELECT string_agg(metadata->>'paused', ',') = 'snow until noon' AND count(*) = 2 FROM events
        WHERE action = 'city.changed'";
    assert!(world.sql().await.query_one(told, &[]).await.unwrap().try_get::<_, bool>(0).unwrap());
    instance.running.stop().await;
    world.end().await;
}
