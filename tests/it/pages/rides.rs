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
    browser.post(&format!("{ride}/end"), &[("city", "new-york"), ("lat", "40.7128"), ("lon", "-74.006")]).await
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

#[actix_web::test]
async fn a_receipt_says_what_was_ridden_who_sold_it_and_the_tax_whatever_changes_later() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 10).await;
    let instance = world.instance("europe-west1").await;
    let ann = instance.person("paris").await;
    let ride = start(&ann, "paris").await;
    let row = "SELECT brand, code FROM vehicles WHERE status = 'in_use'";
    let row = world.sql().await.query_one(row, &[]).await.unwrap();
    let (brand, code): (String, String) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
    assert_eq!(ann.get(&ride).await.texts(".code b"), std::slice::from_ref(&code), "while riding");
    world.set("UPDATE vehicles SET code = 'NEW', brand = 'Other' WHERE status = 'in_use'; UPDATE cities SET tax_rate = 100").await;
    ann.post(&format!("{ride}/end"), &[("city", "paris"), ("lat", "48.8566"), ("lon", "2.3522")]).await.location();
    world
        .set("UPDATE rides SET charge_minor = 1200, total_minor = 1200, unlock_minor = 1200, per_minute_minor = 0")
        .await;
    let receipt = ann.get(&ride).await;
    let vehicle = receipt.texts(".facts dd").remove(0);
    assert!(vehicle.starts_with(&brand) && vehicle.ends_with(&code), "{vehicle}");
    assert_eq!(receipt.texts("tr.tax"), ["Includes 20% TVA €2.00"]);
    assert!(receipt.text().contains("Sold by MovR Rides Europe B.V."), "{}", receipt.text());
    // Day first here, month first in the United States; the year in both.
    let year = world.clock.now().format("%Y").to_string();
    assert!(
        receipt.texts(".way time").iter().all(|at| at.contains(&format!(" {year}, ")) && at.contains("CE")),
        "{}",
        receipt.text()
    );
    // A ride of an older version knows none of it.
    world.set("UPDATE rides SET vehicle_code = NULL, vehicle_brand = NULL, tax_name = NULL, tax_rate = NULL").await;
    let old = ann.get(&ride).await;
    assert!(old.texts("tr.tax").is_empty() && !old.text().contains(&code), "{}", old.text());
    let east = world.instance("us-east1").await;
    let bob = east.person("new-york").await;
    let ride = start(&bob, "new-york").await;
    end(&bob, &ride).await;
    let receipt = bob.get(&ride).await;
    assert!(receipt.texts("tr.tax").is_empty(), "New York has no tax");
    assert!(
        receipt.texts(".way time").iter().all(|at| at.ends_with("M EST") || at.ends_with("M EDT")),
        "{}",
        receipt.text()
    );
    east.running.stop().await;
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn ending_outside_the_service_area_is_asked_for_once_more() {
    let world = world().await;
    street(&world, 5).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let ride = start(&ann, "new-york").await;
    let (before, outside) = (world.rows().await, [("city", "new-york"), ("lat", "40.60"), ("lon", "-74.0")]);
    let asked = ann.post(&format!("{ride}/end"), &outside).await;
    assert_eq!(asked.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(asked.texts("[role=alert]").concat().contains("costs an extra $15.00"), "{}", asked.text());
    assert_eq!([asked.field("lat"), asked.field("lon")], ["40.60", "-74.0"], "what was typed stays");
    assert_eq!(world.rows().await, before);
    let yes = asked.field("outside");
    let confirmed = [&outside[..], &[("outside", yes.as_str())]].concat();
    let receipt = ann.get(&ann.post(&format!("{ride}/end"), &confirmed).await.location()).await;
    assert!(receipt.text().contains("Left outside the service area $15.00"), "{}", receipt.text());
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn nobody_is_told_where_a_ride_ends_but_by_its_rider() {
    let world = world().await;
    street(&world, 10).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let ride = start(&ann, "new-york").await;
    let page = ann.get(&ride).await;
    assert_eq!([page.field("lat"), page.field("lon")], ["", ""], "nothing that looks like a measurement");
    let before = world.rows().await;
    for fields in
        [&[][..], &[("lat", ""), ("lon", "")], &[("lat", "40.7"), ("lon", "")], &[("lat", " "), ("lon", "-74")]]
    {
        let page = ann.post(&format!("{ride}/end"), &[&[("city", "new-york")], fields].concat()).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}: {}", page.text());
        assert_eq!(page.texts("[role=alert]").len(), 1);
    }
    assert_eq!(world.rows().await, before);
    // What a rider types is shown to nobody, since everybody reads where a vehicle stands.
    let fields = [("city", "new-york"), ("place", "Ann's flat"), ("lat", "40.73"), ("lon", "-74.006")];
    let receipt = ann.get(&ann.post(&format!("{ride}/end"), &fields).await.location()).await;
    assert!(receipt.text().contains("1.2 mi north of the centre"), "{}", receipt.text());
    for (table, rows) in world.rows().await {
        assert!(!rows.iter().any(|row| row.contains("Ann's flat")), "in {table}");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn nobody_reserves_for_ever_without_riding() {
    let world = world().await;
    street(&world, 10).await;
    let instances = [world.instance("us-east1").await, world.instance("us-east1").await];
    let ann = instances[0].person("new-york").await;
    world.set("UPDATE sessions SET seen_at = now() + '9 days'::INTERVAL").await;
    let turn = async |n: usize| {
        let browser = ann.at(&instances[n % 2]);
        let card = browser.get("/vehicles?city=new-york").await.card(1);
        let vehicle = card.iter().find(|(name, _)| name == "vehicle").unwrap().1.clone();
        let reserved = browser.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await;
        let said = crate::support::crowd::redirect(&instances[0], &reserved).text;
        // Half of them are cancelled, half lapse.
        if n.is_multiple_of(2) {
            browser.post("/reservation/cancel", &pairs(&card)).await;
        } else {
            world.clock.advance(chrono::Duration::minutes(11));
        }
        said
    };
    for day in 0..2 {
        for n in 0..10 {
            assert_eq!(turn(n).await, "Reserved for ten minutes.", "{day} {n}");
        }
        for n in 10..12 {
            assert!(turn(n).await.starts_with("You have reserved 10 times within a day"), "{day} {n}");
        }
        world.clock.advance(chrono::Duration::hours(23));
    }
    // A ride begins the count anew.
    world.set("UPDATE users SET reservations = 10").await;
    let ride = start(&ann, "new-york").await;
    end(&ann, &ride).await;
    assert_eq!(turn(0).await, "Reserved for ten minutes.");
    for instance in instances {
        instance.running.stop().await;
    }
    world.end().await;
}

/// A code that was refused comes back where it was typed, once.
#[actix_web::test]
async fn a_refused_promo_code_is_kept() {
    let world = world().await;
    world.sample(&["new-york"], 0, 10).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let mut card = ann.get("/vehicles?city=new-york").await.card(2);
    card.push(("promo".to_owned(), "NO\"SUCH".to_owned()));
    let list = ann.post("/rides", &pairs(&card)).await.location();
    let page = ann.get(&list).await;
    assert!(page.flash().starts_with("This promo code is not valid here and now."), "{}", page.flash());
    assert_eq!(page.attributes("details[open] input[name=promo]", "value"), ["NO\"SUCH"]);
    assert_eq!(page.texts("details[open] summary").len(), 1, "of one card");
    assert_eq!(ann.get(&list).await.texts("details[open] summary").len(), 0);
    instance.running.stop().await;
    world.end().await;
}
