//! Unlocking by the code on a vehicle, which stays, and so must not tell where somebody has left it.

use reqwest::StatusCode;

use super::rides;
use crate::support::{Browser, World, html::Page, world};

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
    let fields = ["region", "code", "city", "type", "ride"].map(|name| (name, field(name)));
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
    ann.get("/rides").await;
    let page = ann.get(&scanned).await;
    assert_eq!((page.status, page.timing()), (StatusCode::OK, (2, 1)), "with its session in one wait");
    let row = "SELECT public_id::TEXT, place, lat::TEXT FROM vehicles WHERE code = ";
    let row = world.sql().await.query_one(&format!("{row}'{mine}'"), &[]).await.unwrap();
    for column in 0..3 {
        let said: String = row.try_get(column).unwrap();
        assert!(!page.body.contains(&said), "{said} says where it is");
    }
    assert_eq!(ann.get(&format!("/v?code={}", mine.to_lowercase())).await.field("code"), mine, "in whatever case");

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
        let page = bob.get(&format!("/v?code={code}")).await;
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
        "UPDATE vehicles SET reserved_by = u.id, reserved_region = u.region, reserved_until = now() + '5 min'::INTERVAL
        FROM users AS u WHERE vehicles.code = '{theirs}' AND u.username = '{}'",
        bob.name
    );
    world.set(&held).await;
    world.set("UPDATE users SET reserved_public_id = v.public_id, reserved_region = v.region, reserved_until = v.reserved_until,
        reserved_city = v.city, reserved_type = v.type FROM vehicles AS v WHERE v.reserved_by = users.id").await;
    let taken = ann.get(&format!("/v/{theirs}")).await;
    assert!(
        taken.text().contains("Someone else has reserved this vehicle.") && taken.body.contains("<button disabled>")
    );
    let back = ride(&ann, &taken).await.location();
    assert!(ann.get(&back).await.flash().contains("Someone else has reserved this vehicle."), "{back}");
    let started = ride(&bob, &bob.get(&format!("/v/{theirs}")).await).await.location();
    assert!(bob.get(&started).await.texts("aside.held").is_empty(), "the reservation is used");
    rides::end(&bob, &started).await;
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
        let found = ann.get(&format!("/v?code={code}&city=new-york")).await.location();
        assert_eq!(found, movr::web::paths::unlock(city, code), "somebody stands there");
        assert_eq!(city_of(&ann.get(&found).await), city);
    }
    // Two cities have it: the chosen one counts, and without one nothing is guessed.
    world.set(&format!("UPDATE vehicles SET code = 'TWIN' WHERE code IN ('{boston}', '{paris}')")).await;
    assert_eq!(city_of(&ann.get("/v?code=twin&city=paris").await), "paris");
    assert!(ann.get("/v?code=twin&city=new-york").await.text().contains(REFUSED));
    assert_eq!(ann.get("/v?code=twin&city=atlantis").await.status, StatusCode::NOT_FOUND);

    let mut tries = 0;
    while bob.get("/v?code=TWIN&city=boston").await.status == StatusCode::OK {
        tries += 1;
        assert!(tries < 20, "whoever asks again and again would learn when somebody parks it");
    }
    assert_eq!(ann.get("/v?code=TWIN&city=boston").await.status, StatusCode::OK, "others may");
    assert_eq!(bob.get("/v").await.status, StatusCode::OK, "the field alone is no try");
    instance.running.stop().await;
    world.end().await;
}
