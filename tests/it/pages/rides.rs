//! Rides as a person does them: reserve, start, end, receipt; and what it costs the
//! database.

use reqwest::StatusCode;

use crate::support::{Browser, World, html::Page, world};

/// Vehicles on the street of New York.
pub async fn street(world: &World, vehicles: usize) {
    let tools = crate::support::engine::tools(&world.database.url);
    let db = movr::db::Db::open(&tools.database).await.unwrap();
    let catalogue = movr::db::catalogue::load(&db.here().await.unwrap()).await.unwrap().unwrap();
    let plan =
        movr::ops::sample::SamplePlan { cities: vec!["new-york".to_owned()], users: 0, vehicles, rides: 0, seed: 1 };
    movr::ops::sample::load(&db, &catalogue, &plan, "x", world.clock.now(), |_, _| ()).await.unwrap();
    db.close();
}

fn pairs(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Starts a ride on the first vehicle of the list; returns the ride's path.
pub async fn start(browser: &Browser, city: &str) -> String {
    let list = browser.get(&format!("/vehicles?city={city}")).await;
    browser.post("/rides", &pairs(&list.card(1))).await.location()
}

/// Ends the ride of that page in the middle of New York.
pub async fn end(browser: &Browser, ride: &str) -> Page {
    let page = browser.get(ride).await;
    let fields = [
        ("city", page.field("city")),
        ("place", "Corner".to_owned()),
        ("lat", page.field("lat")),
        ("lon", page.field("lon")),
    ];
    browser.post(&format!("{ride}/end"), &fields.each_ref().map(|(n, v)| (*n, v.as_str()))).await
}

#[actix_web::test]
async fn a_person_reserves_rides_and_gets_a_receipt() {
    let world = world().await;
    street(&world, 40).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let list = ann.get("/vehicles?city=new-york").await;
    assert_eq!((list.status, list.timing()), (StatusCode::OK, (2, 1)));
    let card = list.card(1);
    let vehicle = &card.iter().find(|(name, _)| name == "vehicle").unwrap().1;

    let reserved = ann.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await;
    assert_eq!(reserved.timing(), (1, 1), "reserve is one statement");
    assert!(ann.get(&reserved.location()).await.flash().contains("Reserved"));

    let started = ann.post("/rides", &pairs(&card)).await;
    assert_eq!(started.timing(), (1, 1), "start is one statement");
    let ride = started.location();
    let again = ann.post("/rides", &pairs(&card)).await;
    assert_eq!(again.location(), ride, "a double click is one ride");

    let ended = end(&ann, &ride).await;
    assert_eq!(ended.timing(), (1, 1), "end is one statement");
    let receipt = ann.get(&ended.location()).await;
    assert!(receipt.text().contains("You owe"), "{}", receipt.text());
    assert_eq!(ann.get("/rides").await.attributes("main a[href^=\"/rides/us-east1/\"]", "href"), [ride]);
    instance.running.stop().await;
    world.end().await;
}
