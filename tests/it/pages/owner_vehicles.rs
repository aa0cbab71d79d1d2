//! A person's own vehicles: added in the home city, seen with their status, removed
//! with the version that was shown; nothing of it while somebody rides.

use reqwest::StatusCode;

use super::rides;
use crate::{
    ops::jobs,
    support::{Browser, app::PASSWORD, html::Page, rows::pairs, world},
};

const FORM: [(&str, &str); 7] = [
    ("type", "scooter"),
    ("brand", "Niu"),
    ("colour", "red"),
    ("code", "S-1"),
    ("place", "Main St"),
    ("lat", "40.7130"),
    ("lon", "-74.0050"),
];

/// Adds a vehicle; `changed` goes over a good form.
async fn add(owner: &Browser, changed: &[(&str, &str)]) -> Page {
    let id = owner.get("/my/vehicles").await.field("id");
    let mut form = vec![("id", id.as_str())];
    form.extend(FORM);
    for (name, value) in changed {
        form.retain(|(known, _)| known != name);
        form.push((name, value));
    }
    owner.post("/my/vehicles", &form).await
}

fn removals(page: &Page) -> Vec<String> {
    page.attributes("form[action$=\"/remove\"]", "action")
}

#[actix_web::test]
async fn an_owner_adds_sees_and_removes_a_vehicle() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    assert!(ann.get("/my/vehicles").await.text().contains("No vehicles yet."));
    assert_eq!(add(&ann, &[]).await.location(), "/my/vehicles");
    let page = ann.get("/my/vehicles").await;
    assert!(page.flash().contains("as soon as an operator has approved it"), "{}", page.flash());
    assert!(page.texts("ul.rows li").join("").contains("Waits for approval"), "{}", page.text());
    let street = async || bob.get("/vehicles?city=new-york&lat=40.7130&lon=-74.0050").await.texts("#v1").join("");
    assert_eq!(street().await, "", "nobody sees it yet");
    let feed = bob.get("/gbfs/3/new-york/vehicle_status.json").await;
    assert!(feed.body.contains(r#""vehicles":[]"#), "nor does anybody by the feed: {}", feed.body);
    // Its operators find it in their list, and bring it to the street by the usual step.
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    let fleet = operator.get("/fleet?city=new-york&status=maintenance").await;
    assert!(fleet.texts("tbody tr").join("").contains("Waits for approval"), "{}", fleet.text());
    let vehicle = operator.get(&fleet.attributes("tbody th a", "href").remove(0)).await;
    let action = vehicle.attributes("form[action$=\"/status\"]", "action").remove(0);
    let step = [("version", vehicle.field("version")), ("command", vehicle.field("command"))];
    let step = step.each_ref().map(|(name, value)| (*name, value.as_str()));
    operator.post(&action, &[&step[..], &[("action", "back")]].concat()).await.location();
    let page = ann.get("/my/vehicles").await;
    let line = page.texts("ul.rows li").join("");
    assert!(!line.contains("Waits") && !operator.get("/fleet?city=new-york").await.text().contains("Waits"));
    for word in ["Niu, red scooter", "Available", "New York", "Main St", "100 % battery", "S-1"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(street().await.contains("0 ft"));
    assert!(!bob.get("/my/vehicles").await.text().contains("Niu"), "others see their own only");
    let [remove] = removals(&page).try_into().unwrap();
    let done = ann.post(&remove, &[("version", &page.field("version"))]).await;
    assert_eq!(done.location(), "/my/vehicles");
    assert!(ann.get("/my/vehicles").await.text().contains("No vehicles yet."));
    assert_eq!(ann.get("/vehicles?city=new-york").await.texts(".cards > li").len(), 0);
    assert_eq!(ann.post(&remove, &[("version", "1")]).await.location(), "/my/vehicles", "a double click does no harm");
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'vehicle.retired'").await, 1);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn what_is_wrong_with_a_new_vehicle_is_said_and_nothing_is_added() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let before = world.rows().await;
    let long = "x".repeat(121);
    for (field, value, wrong) in [
        ("type", "rocket", "type"),
        ("brand", "a\u{202e}b", "brand"),
        ("colour", "\u{3164}", "colour"),
        ("place", "a\u{200b}b", "place"),
        ("brand", "", "brand"),
        ("brand", &long, "brand"),
        ("colour", " ", "colour"),
        ("colour", &long, "colour"),
        ("code", &long, "code"),
        ("place", &long, "place"),
        ("lat", "91", "lat"),
        ("lat", "NaN", "lat"),
        ("lon", "-181", "lat"),
        ("lon", "", "lat"),
        // In the home city only: this is in Boston.
        ("lat", "42.36", "lat"),
    ] {
        let page = add(&ann, &[(field, value)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}={value}");
        assert_eq!(page.texts(&format!("#{wrong}-error")).len(), 1, "{field}={value}: {}", page.text());
        assert!(field == "brand" || page.field("brand") == "Niu", "the rest is kept");
    }
    assert_eq!(world.rows().await, before);
    // What a form does not have is not believed: owner, status, battery, city, region.
    let more =
        [("owner_id", "x"), ("status", "in_use"), ("battery", "1"), ("city", "paris"), ("region", "europe-west1")];
    assert_eq!(add(&ann, &more).await.location(), "/my/vehicles");
    let good = "SELECT count(*) FROM vehicles WHERE region = 'us-east1' AND city = 'new-york' AND status = 'maintenance' AND battery = 100";
    assert_eq!(world.count(good).await, 1);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_code_is_used_once_in_a_city_and_a_form_once() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let boston = instance.person("boston").await;
    let id = uuid::Uuid::new_v4().to_string();
    assert_eq!(add(&ann, &[("id", &id)]).await.location(), "/my/vehicles");
    assert_eq!(add(&ann, &[("id", &id)]).await.location(), "/my/vehicles", "a double click adds one");
    let before = world.rows().await;
    let taken = add(&bob, &[]).await;
    assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(taken.text().contains("Another vehicle of the city has this code."), "{}", taken.text());
    assert_eq!(world.rows().await, before);
    assert_eq!(add(&bob, &[("id", &id), ("code", "S-2")]).await.location(), "/my/vehicles", "the same form of another");
    let own = format!("SELECT count(DISTINCT owner_id) FROM vehicles WHERE id <> '{id}'");
    assert_eq!(world.count(&own).await, 2, "each has one, under an id that nobody chose");
    assert_eq!(add(&boston, &[("lat", ""), ("lon", "")]).await.location(), "/my/vehicles", "another city");
    for _ in 0..2 {
        assert_eq!(add(&bob, &[("code", "")]).await.location(), "/my/vehicles", "without a code there is no clash");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn nobody_adds_more_than_ten_vehicles_a_day_and_a_job_approves_them() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    for n in 0..10 {
        assert_eq!(add(&ann, &[("code", &format!("S-{n}"))]).await.location(), "/my/vehicles");
    }
    // Removing one makes no room.
    let page = ann.get("/my/vehicles").await;
    ann.post(&removals(&page)[0], &[("version", "1")]).await.location();
    let refused = add(&ann, &[("code", "")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("You have added 10 vehicles within a day"), "{}", refused.text());
    assert_eq!(world.count("SELECT count(*) FROM vehicles").await, 10);
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    jobs::done(&operator, &jobs::ask(&operator, "new-york", "back", &[]).await).await;
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE status = 'available' AND note IS NULL").await, 9);
    world.clock.advance(chrono::Duration::hours(25));
    ann.sign_in(&ann.name, PASSWORD).await;
    assert_eq!(add(&ann, &[("code", "")]).await.location(), "/my/vehicles", "the next day");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_vehicle_is_removed_only_as_it_was_seen_and_never_under_its_rider() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    add(&ann, &[]).await;
    world.approve().await;
    let seen = ann.get("/my/vehicles").await;
    let [remove] = removals(&seen).try_into().unwrap();
    let shown = seen.field("version");
    let card = bob.get("/vehicles?city=new-york").await.card(1);
    let vehicle = &card.iter().find(|(name, _)| name == "vehicle").unwrap().1;

    bob.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await;
    let (before, page) = (world.rows().await, ann.get("/my/vehicles").await);
    assert!(page.text().contains("Reserved") && removals(&page).is_empty(), "no button while it is reserved");
    ann.post(&remove, &[("version", &shown)]).await;
    assert!(ann.get("/my/vehicles").await.flash().contains("reserved or being ridden"));
    assert_eq!(world.rows().await, before);

    bob.post("/rides", &pairs(&card)).await;
    let (before, page) = (world.rows().await, ann.get("/my/vehicles").await);
    assert!(page.text().contains("Being ridden") && removals(&page).is_empty());
    ann.post(&remove, &[("version", &shown)]).await;
    assert!(ann.get("/my/vehicles").await.flash().contains("reserved or being ridden"));
    assert_eq!(world.rows().await, before);

    let ride = bob.get("/rides").await.attributes(".open a[role]", "href").remove(0);
    rides::end(&bob, &ride).await;
    let before = world.rows().await;
    ann.post(&remove, &[("version", &shown)]).await;
    let page = ann.get("/my/vehicles").await;
    assert!(page.flash().contains("This was changed since the page was loaded."), "{}", page.flash());
    assert_eq!(world.rows().await, before);
    assert_eq!(ann.post(&remove, &[("version", "x")]).await.status, StatusCode::BAD_REQUEST);
    ann.post(&remove, &[("version", &page.field("version"))]).await;
    assert!(ann.get("/my/vehicles").await.text().contains("No vehicles yet."));
    instance.running.stop().await;
    world.end().await;
}
