//! Unlocking by the code on a vehicle, which stays, and so must not tell where somebody has left it.

use reqwest::StatusCode;

use super::rides;
use crate::support::{Browser, World, app::PASSWORD, html::Page, world};

/// 0.001 degrees of latitude are 111 metres.
async fn ask(browser: &Browser, world: &World, code: &str, typed: &str, north: f64) -> Page {
    let place = format!("SELECT lat, lon FROM vehicles WHERE code = '{code}' ORDER BY city LIMIT 1");
    let row = world.sql().await.query_one(&place, &[]).await.unwrap();
    let (lat, lon): (f64, f64) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
    let (lat, lon) = ((lat + north).to_string(), lon.to_string());
    browser.post("/v", &[("code", typed), ("lat", &lat), ("lon", &lon)]).await
}

async fn beside(browser: &Browser, world: &World, code: &str) -> Page {
    ask(browser, world, code, code, 0.001).await
}

async fn code(world: &World, city: &str, n: i64) -> String {
    let text = format!(
        "SELECT code FROM vehicles WHERE city = '{city}' AND status = 'available' ORDER BY code LIMIT 1 OFFSET {n}"
    );
    world.sql().await.query_one(&text, &[]).await.unwrap().try_get(0).unwrap()
}

/// In which the page offers a ride.
fn city_of(page: &Page) -> String {
    page.attributes("[action=\"/rides\"] [name=city]", "value").remove(0)
}

/// Sends the form that the page offers.
async fn ride(browser: &Browser, page: &Page) -> Page {
    let field = |name| page.attributes(&format!("main [name={name}]"), "value").remove(0);
    let fields = ["region", "code", "city", "type", "ride", "price", "lat", "lon"].map(|name| (name, field(name)));
    browser.post("/rides", &fields.each_ref().map(|(name, value)| (*name, value.as_str()))).await
}

const REFUSED: &str = "We can't unlock a vehicle with this code in New York right now.";

#[actix_web::test]
async fn a_code_unlocks_its_vehicle_and_does_not_tell_where_it_is() {
    let world = world().await;
    world.sample(&["new-york", "boston"], 0, 20).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob, nobody) = (instance.person("new-york").await, instance.person("new-york").await, instance.browser());
    let mine = code(&world, "new-york", 0).await;
    let scanned = format!("/v/{mine}");
    assert_eq!(nobody.get(&scanned).await.location(), movr::web::paths::login(&scanned));
    assert_eq!(nobody.post("/v", &[("code", &mine)]).await.location(), movr::web::paths::login("/v"));
    ann.get("/rides").await;
    let asked = ann.get(&scanned).await;
    assert_eq!((asked.status, asked.field("code")), (StatusCode::OK, mine.clone()), "and asks where they are");
    let operator = crate::ops::jobs::operator(&instance, "new-york", &["new-york"]).await;
    let leads = |page: &Page| page.attributes("form[action=\"/fleet/search\"] [name=q]", "value");
    assert_eq!((leads(&asked), leads(&operator.get(&scanned).await)), (Vec::new(), vec![mine.clone()]));
    let page = beside(&ann, &world, &mine).await;
    assert_eq!((page.status, page.timing()), (StatusCode::OK, (2, 1)), "with its session in one wait");
    let row = "SELECT public_id::TEXT, place, lat::TEXT FROM vehicles WHERE code = ";
    let row = world.sql().await.query_one(&format!("{row}'{mine}'"), &[]).await.unwrap();
    for column in 0..3 {
        let said: String = row.try_get(column).unwrap();
        assert!(!page.body.contains(&said), "{said} says where it is");
    }
    let lower = ask(&ann, &world, &mine, &mine.to_lowercase(), 0.0).await;
    assert_eq!(lower.field("code"), mine, "in whatever case");

    let started = ride(&ann, &page).await;
    assert_eq!(started.timing(), (1, 1), "one statement");
    let path = started.location();
    assert!(path.starts_with("/rides/us-east1/"), "{path}");
    assert_eq!(ride(&ann, &page).await.location(), path, "a double click is one ride");
    assert_eq!(ann.get(&path).await.texts(".code b"), std::slice::from_ref(&mine));
    // Ridden, in maintenance, and not there at all read the same, to everybody.
    world
        .set(&format!(
            "UPDATE vehicles SET status = 'maintenance' WHERE code = '{}'",
            code(&world, "new-york", 1).await
        ))
        .await;
    let service = "SELECT code FROM vehicles WHERE city = 'new-york' AND status = 'maintenance' ORDER BY code LIMIT 1";
    let service: String = world.sql().await.query_one(service, &[]).await.unwrap().try_get(0).unwrap();
    for code in [mine.as_str(), &service, "NO-SUCH", "%25", &"x".repeat(300)] {
        let page = ask(&bob, &world, &mine, code, 0.0).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{code}");
        assert!(
            page.text().contains(REFUSED) && page.attributes("form[action=\"/rides\"]", "action").is_empty(),
            "{code}"
        );
    }
    rides::end(&ann, &path).await;

    // Reserved by somebody else, or by the person.
    let theirs = code(&world, "new-york", 2).await;
    let held = format!(
        "UPDATE vehicles SET reserved_by = u.person, reserved_region = u.home, reserved_until = now() + '5 min'::INTERVAL
        FROM (SELECT id AS person, region AS home FROM users WHERE username = '{}') AS u WHERE code = '{theirs}'",
        bob.name
    );
    world.set(&held).await;
    world
        .set(
            "UPDATE users SET reserved_public_id = v.public, reserved_region = v.home, reserved_until = v.until,
        reserved_city = v.town, reserved_type = v.kind FROM (SELECT public_id AS public, region AS home, city AS town,
          type AS kind, reserved_until AS until, reserved_by AS person FROM vehicles) AS v WHERE v.person = users.id",
        )
        .await;
    let taken = beside(&ann, &world, &theirs).await;
    assert!(
        taken.text().contains("Someone else has reserved this vehicle.") && taken.body.contains("<button disabled>")
    );
    let back = ride(&ann, &taken).await.location();
    assert!(ann.get(&back).await.flash().contains("Someone else has reserved this vehicle."), "{back}");
    // A promo code stays typed until it is used.
    let field = |name| taken.attributes(&format!("main [name={name}]"), "value").remove(0);
    let offered = ["region", "code", "city", "type", "ride"].map(|name| (name, field(name)));
    let mut start = offered.each_ref().map(|(name, value)| (*name, value.as_str())).to_vec();
    start.push(("promo", "SPRING"));
    let back = ann.post("/rides", &start).await.location();
    assert_eq!(ann.get(&back).await.field("promo"), "SPRING", "{back}");
    let place = ["code", "lat", "lon"].map(|name| (name, field(name)));
    let mut asked = place.each_ref().map(|(name, value)| (*name, value.as_str())).to_vec();
    asked.push(("promo", "SPRING"));
    let again = ann.post("/v", &asked).await;
    assert_eq!(again.attributes("[action=\"/rides\"] [name=promo]", "value"), ["SPRING"]);
    let started = ride(&bob, &beside(&bob, &world, &theirs).await).await.location();
    assert!(bob.get(&started).await.texts("aside.held").is_empty(), "the reservation is used");
    rides::end(&bob, &started).await;

    // Whoever signs in while their home is closed has a session of which no row is kept, and may look.
    world.set("UPDATE region_gates SET write_state = 'read_only', epoch = epoch + 1 WHERE region = 'us-east1'").await;
    let cat = instance.browser();
    cat.sign_in(&ann.name, PASSWORD).await.location();
    let free = code(&world, "new-york", 3).await;
    assert_eq!(beside(&cat, &world, &free).await.field("code"), free);
    assert_eq!(cat.post("/rides", &start).await.status, StatusCode::SERVICE_UNAVAILABLE);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn whoever_saw_somebody_leave_does_not_learn_by_the_code_where_to() {
    let world = world().await;
    world.sample(&["new-york", "boston"], 0, 20).await;
    let instance = world.instance("us-east1").await;
    let (ann, mallory) = (instance.person("new-york").await, instance.person("new-york").await);
    let mine = code(&world, "new-york", 0).await;
    let offer = beside(&ann, &world, &mine).await;
    rides::end(&ann, &ride(&ann, &offer).await.location()).await;
    let field = |name| offer.attributes(&format!("main [name={name}]"), "value").remove(0);
    let (city, kind) = (field("city"), field("type"));
    let send = async |code: &str, lat: &str, lon: &str| {
        let id = uuid::Uuid::new_v4().to_string();
        let fields = [
            ("region", "us-east1"),
            ("code", code),
            ("city", &city),
            ("type", &kind),
            ("ride", &id),
            ("lat", lat),
            ("lon", lon),
        ];
        let back = mallory.post("/rides", &fields).await.location();
        (back.clone(), mallory.get(&back).await.flash())
    };
    let kept = async || {
        let rows = world.rows().await;
        ["rides", "vehicles", "events"].map(|table| rows[table].clone())
    };
    let before = kept().await;
    // Ann parked it this minute, at 40.7128, -74.006.
    assert!(beside(&mallory, &world, &mine).await.text().contains(REFUSED), "not before the public sees it");
    let (_, unknown) = send("NO-SUCH", "40.7128", "-74.006").await;
    assert_eq!(send(&mine, "40.7128", "-74.006").await.1, unknown);
    world.clock.advance(chrono::Duration::minutes(3));
    // From elsewhere a code that exists reads like one that does not.
    for (lat, lon) in [("40.7148", "-74.006"), ("42.36", "-71.06")] {
        assert_eq!(send(&mine, lat, lon).await.1, unknown, "{lat}");
    }
    assert!(unknown.contains("Someone else has just taken this vehicle."), "{unknown}");
    assert!(send(&mine, "", "").await.1.contains("Please enter your position."));
    let [far, none] =
        [(&*mine, 0.002), ("NO-SUCH", 0.0)].map(|(typed, north)| ask(&mallory, &world, &mine, typed, north));
    let (far, none) = (far.await, none.await);
    assert!(far.text().contains(REFUSED) && far.text() == none.text(), "{}", far.text());
    let nowhere = mallory.post("/v", &[("code", &mine), ("lat", ""), ("lon", "")]).await;
    assert_eq!(nowhere.texts("#lat-error"), ["Please enter your position."]);
    let form = mallory.get("/v").await;
    assert_eq!(form.attributes("main form:not([method=post])", "action"), [""; 0], "a position is in no address");
    assert_eq!(form.attributes("main form [name=lat]", "name"), ["lat"]);
    assert_eq!(kept().await, before);
    assert!(send(&mine, "40.7138", "-74.006").await.0.starts_with("/rides/us-east1/"), "whoever stands there");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_code_is_found_in_the_city_that_has_it_and_nobody_asks_for_ever() {
    let world = world().await;
    world.sample(&["new-york", "boston", "paris"], 0, 20).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let (boston, paris) = (code(&world, "boston", 0).await, code(&world, "paris", 0).await);
    for (code, city) in [(&boston, "boston"), (&paris, "paris")] {
        assert_eq!(city_of(&beside(&ann, &world, code).await), city, "somebody stands there");
    }
    // Two cities have it: where the person stands counts, whatever city they chose.
    world.set(&format!("UPDATE vehicles SET code = 'TWIN' WHERE code IN ('{boston}', '{paris}')")).await;
    ann.post("/city", &[("city", "paris")]).await;
    assert_eq!(city_of(&ask(&ann, &world, "TWIN", "twin", 0.0).await), "boston");
    let sea = ann.post("/v", &[("code", "TWIN"), ("lat", "30"), ("lon", "-40")]).await;
    assert!(sea.texts("#lat-error").join("").contains("too far from"), "{}", sea.text());

    let mut tries = 0;
    while beside(&bob, &world, "TWIN").await.status == StatusCode::OK {
        tries += 1;
        assert!(tries < 20, "whoever asks again and again would learn when somebody parks it");
    }
    assert_eq!(beside(&ann, &world, "TWIN").await.status, StatusCode::OK, "others may");
    assert_eq!(bob.get("/v").await.status, StatusCode::OK, "the field alone is no try");
    let cat = instance.person("new-york").await;
    for tries in 0.. {
        let id = uuid::Uuid::new_v4().to_string();
        let place = [("region", "us-east1"), ("city", "boston"), ("lat", "42.36"), ("lon", "-71.06")];
        let start = [&place[..], &[("code", "TWIN"), ("type", "bike"), ("ride", &*id)]].concat();
        if cat.post("/rides", &start).await.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        assert!(tries < 20, "nor by trying to start");
    }
    instance.running.stop().await;
    world.end().await;
}
