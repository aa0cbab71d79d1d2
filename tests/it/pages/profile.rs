//! One's own account: details, password, sessions, moving home, export, deletion. Each
//! is shown with what it must leave alone: other people, old rides, the other sessions.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;
use serde_json::Value;

use super::rides;
use crate::support::{
    Browser,
    app::{Instance, PASSWORD},
    html::Page,
    rows::pairs,
    world,
};

const NEW_PASSWORD: &str = "another road to the sea";

async fn move_home(browser: &Browser, city: &str) -> Page {
    browser.post("/profile/home", &[("city", city), ("password", PASSWORD)]).await
}

/// The same person in another browser.
async fn elsewhere(instance: &Instance, person: &Browser) -> Browser {
    let browser = instance.browser();
    assert_eq!(browser.sign_in(&person.name, PASSWORD).await.status, StatusCode::SEE_OTHER);
    browser
}

async fn own_vehicle(owner: &Browser) -> String {
    let id = owner.get("/my/vehicles").await.field("id");
    let form = [("id", id.as_str()), ("type", "bike"), ("brand", "Trek"), ("colour", "blue"), ("lat", ""), ("lon", "")];
    owner.post("/my/vehicles", &form).await;
    owner.get("/my/vehicles").await.attributes("ul.rows b a", "href").remove(0) + "/remove"
}

#[actix_web::test]
async fn details_are_edited_and_mistakes_come_back_with_what_was_typed() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let before = world.rows().await;
    for (first, last, email, wrong) in [
        ("", "Roe", "ann@example.com", "first_name"),
        ("Ann", "x".repeat(61).as_str(), "ann@example.com", "last_name"),
        ("Ann", "Roe", "ann at example", "email"),
    ] {
        let page = ann.post("/profile", &[("first_name", first), ("last_name", last), ("email", email)]).await;
        assert_eq!((page.status, page.texts("small.error").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1), "{wrong}");
        assert_eq!(page.texts(&format!("#{wrong}-error")).len(), 1, "{wrong}");
        assert_eq!([page.field("first_name"), page.field("last_name"), page.field("email")], [first, last, email]);
    }
    assert_eq!(world.rows().await, before);
    let good = [("first_name", "Ann <b>"), ("last_name", "O'Roe"), ("email", "ann+1@example.com")];
    assert_eq!(ann.post("/profile", &good).await.location(), "/profile");
    let page = ann.get("/profile").await;
    assert_eq!(page.flash(), "Your details are saved.");
    for (name, value) in good {
        assert_eq!(page.field(name), value);
    }
    assert!(!page.body.contains("<b>\""), "markup is text");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_new_password_needs_the_old_one_and_ends_the_other_sessions() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let other = elsewhere(&instance, &ann).await;
    let before = world.rows().await;
    for (current, new, field) in [
        ("wrong password here", NEW_PASSWORD, "current"),
        (PASSWORD, "qwertyuiop", "password"),
        (PASSWORD, "short", "password"),
    ] {
        let page = ann.post("/profile/password", &[("current", current), ("password", new)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(page.texts(&format!("#{field}-error")).len(), 1, "{}", page.text());
        assert!(!page.body.contains(current) && !page.body.contains(new), "passwords never come back");
    }
    assert_eq!(world.rows().await, before);
    let done = ann.post("/profile/password", &[("current", PASSWORD), ("password", NEW_PASSWORD)]).await;
    assert_eq!(done.location(), "/profile");
    assert!(ann.signed_in().await && bob.signed_in().await);
    assert!(!other.signed_in().await, "the other session has ended");
    let fresh = instance.browser();
    assert_eq!(fresh.sign_in(&ann.name, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fresh.sign_in(&ann.name, NEW_PASSWORD).await.status, StatusCode::SEE_OTHER);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_others() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let phone = instance.browser();
    let firefox = [("user-agent", "Mozilla/5.0 (Android 16; Mobile) Firefox/145.0")];
    phone.post_with("/login", &firefox, &[("username", &ann.name), ("password", PASSWORD)]).await;
    let tablet = elsewhere(&instance, &ann).await;
    let page = ann.get("/profile").await;
    let listed = page.texts("section[aria-labelledby=sessions] li");
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed[0].contains("this device") && listed.iter().any(|line| line.contains("Firefox on Android")));
    assert!(!page.body.contains("145.0"), "no fingerprints");
    let ids = page.attributes("input[name=session]", "value");
    let lines: Vec<_> = page.texts("section[aria-labelledby=sessions] li:has(input)");
    let of_phone = lines.iter().position(|line| line.contains("Android")).unwrap();
    ann.post("/profile/sessions/end", &[("session", &ids[of_phone])]).await;
    assert!(!phone.signed_in().await && tablet.signed_in().await && ann.signed_in().await);
    ann.post("/profile/sessions/end-others", &[]).await;
    assert!(!tablet.signed_in().await && ann.signed_in().await && bob.signed_in().await);
    assert_eq!(ann.get("/profile").await.texts("section[aria-labelledby=sessions] li").len(), 1);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn moving_home_takes_the_person_along_and_leaves_the_rides() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let ann = east.person("new-york").await;
    let old_cookie = {
        let browser = east.browser();
        browser.sign_in(&ann.name, PASSWORD).await.session_cookie()
    };
    let other = elsewhere(&east, &ann).await;
    let ride = rides::start(&ann, "new-york").await;
    let before = world.rows().await;
    let refused = move_home(&ann, "paris").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("End your ride or cancel your reservation first."), "{}", refused.text());
    let wrong = ann.post("/profile/home", &[("city", "paris"), ("password", "wrong password here")]).await;
    assert_eq!(wrong.texts("#password-error").join(""), "That is not your current password. Nothing was changed.");
    assert_eq!(world.rows().await, before);
    rides::end(&ann, &ride).await;
    let remove = own_vehicle(&ann).await;

    assert_eq!(move_home(&ann, "paris").await.location(), "/profile");
    let page = ann.get("/profile").await;
    assert_eq!(page.flash(), "You are at home in Paris now.");
    assert!(page.text().contains("Your data is stored in Europe West"), "{}", page.text());
    assert!(!other.signed_in().await, "the other sessions have ended");
    assert!(!east.replaying(&old_cookie).signed_in().await, "and so has what was copied of them");
    for table in ["users", "sessions"] {
        assert_eq!(world.count(&format!("SELECT count(*) FROM {table} WHERE region = 'us-east1'")).await, 0, "{table}");
        assert_eq!(world.count(&format!("SELECT count(*) FROM {table} WHERE region = 'europe-west1'")).await, 1);
    }
    assert_eq!(world.count("SELECT count(*) FROM rides WHERE region = 'us-east1'").await, 1);
    let there = elsewhere(&europe, &ann).await;
    for browser in [&ann, &there] {
        assert_eq!(browser.get("/rides").await.attributes("ul.rows a", "href"), [ride.as_str()], "old rides are seen");
        assert!(browser.get(&ride).await.text().contains("You owe"));
        let own = browser.get("/my/vehicles").await.attributes("ul.rows b a", "href");
        assert_eq!(own, [remove.trim_end_matches("/remove")], "vehicles too");
    }
    instance_end([east, europe]).await;
    world.end().await;
}

async fn instance_end<const N: usize>(instances: [Instance; N]) {
    for instance in instances {
        instance.running.stop().await;
    }
}

#[actix_web::test]
async fn a_move_that_the_residency_policy_forbids_is_refused_by_its_rule_and_recorded() {
    let world = world().await;
    world.set("UPDATE residency_policies SET move_to = '[\"us-east1\", \"us-west1\"]' WHERE region = 'us-east1'").await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let refused = move_home(&ann, "paris").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("(rule move_to)"), "{}", refused.text());
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'residency.move_refused'").await, 1);
    let status: Value = serde_json::from_str(&ann.get("/status.json").await.body).unwrap();
    assert_eq!(status["residencyRefusals"], serde_json::json!({ "move_to": 1 }));
    assert_eq!(world.count("SELECT count(*) FROM users WHERE region = 'us-east1'").await, 1);
    assert_eq!(move_home(&ann, "seattle").await.location(), "/profile");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_export_holds_all_that_is_ones_own_and_nothing_else() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 3, 30).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    for (person, mark) in [(&ann, "Annmark"), (&bob, "Bobmark")] {
        let email = format!("{mark}@example.com");
        person.post("/profile", &[("first_name", mark), ("last_name", mark), ("email", &email)]).await;
    }
    let bobs = rides::start(&bob, "new-york").await;
    let mut own = Vec::new();
    for (city, lat, lon) in [("new-york", "40.72", "-74.0"), ("paris", "48.85", "2.35")] {
        let ride = rides::start(&ann, city).await;
        world.clock.advance(chrono::Duration::seconds(30));
        let batch =
            format!(r#"{{"positions":[{{"at":"{}","lat":{lat},"lon":{lon}}}]}}"#, world.clock.now().to_rfc3339());
        ann.post_raw(&format!("{ride}/positions"), "application/json", batch).await;
        ann.post(&format!("{ride}/end"), &[("city", city), ("place", "Annplace"), ("lat", lat), ("lon", lon)]).await;
        own.push(ride);
    }
    own_vehicle(&ann).await;
    ann.post("/profile/recovery-codes", &[("current", PASSWORD)]).await;

    let file = ann.get("/profile/export").await;
    assert_eq!(file.status, StatusCode::OK);
    assert_eq!(file.headers["cache-control"], "no-store");
    assert!(file.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let data: Value = serde_json::from_str(&file.body).unwrap();
    let person = &data["person"];
    assert_eq!(
        [&person["username"], &person["first_name"], &person["email"]],
        [&ann.name, "Annmark", "Annmark@example.com"]
    );
    assert_eq!((&person["home_city"], &person["unused_recovery_codes"]), (&Value::from("new-york"), &Value::from(8)));
    for (region, ride) in [("us-east1", &own[0]), ("europe-west1", &own[1])] {
        let rides = data["regions"][region]["rides"].as_array().unwrap();
        assert_eq!(rides.len(), 1, "{region}");
        assert!(ride.ends_with(rides[0]["id"].as_str().unwrap()));
        assert_eq!(rides[0]["positions"].as_array().unwrap().len(), 1, "with its positions");
        // Rides stand above; their events name nobody.
        let events = data["regions"][region]["events_by_you"].as_array().unwrap();
        assert_eq!(events.is_empty(), region == "europe-west1", "{region}: {events:?}");
    }
    assert_eq!(data["regions"]["us-east1"]["vehicles"].as_array().unwrap().len(), 1);
    assert_eq!(person["sessions"].as_array().unwrap().len(), 1);
    let bob_id = bobs.rsplit('/').next().unwrap();
    for foreign in ["Bobmark", bob.name.as_str(), bob_id] {
        assert!(!file.body.contains(foreign), "{foreign} is somebody else's");
    }
    for secret in ["argon2", "password", "token", "recovery_hashes", "hash"] {
        assert!(!file.body.contains(secret), "{secret} opens the account");
    }
    bob.post(&format!("{bobs}/end"), &[("city", "new-york"), ("lat", "40.72"), ("lon", "-74.0")]).await;
    instance.running.stop().await;
    world.end().await;
}

/// Columns that an export has not under their own names, and why.
const NOT_EXPORTED: [(&str, &[&str], &str); 18] = [
    ("users", &["region", "city"], "home_region and home_city"),
    ("users", &["username_key"], "computed from the username"),
    ("users", &["password_hash", "recovery_hashes"], "open the account; the unused codes are counted"),
    (
        "users",
        &["reserved_region", "reserved_public_id", "reserved_until", "reserved_city", "reserved_type"],
        "reservation",
    ),
    ("users", &["open_ride_region", "open_ride_id"], "open_ride"),
    ("sessions", &["region", "user_id"], "the person's"),
    ("sessions", &["token_hash"], "opens the account"),
    ("role_grants", &["region", "user_id"], "the person's"),
    ("promo_redemptions", &["region", "user_id"], "the person's"),
    ("rides", &["region", "rider_region", "rider_id"], "the region's list, the person's"),
    ("ride_positions", &["region", "ride_id"], "within the ride"),
    ("vehicles", &["region", "owner_region", "owner_id"], "the region's list, the person's"),
    ("vehicles", &["cell"], "computed from lat and lon"),
    ("vehicles", &["sort_code"], "computed from the code"),
    ("vehicles", &["reserved_region", "reserved_by", "reserved_until", "open_ride_id"], "of whoever uses it"),
    ("tasks", &["region", "reporter_id", "assignee_id"], "the region's list; whether it was the person"),
    ("events", &["region"], "the region's list"),
    ("events", &["correlation_id", "causation_id", "epoch"], "how the program ordered it"),
];

#[actix_web::test]
async fn an_export_has_every_column_of_the_tables_that_name_a_person() {
    let world = world().await;
    world.sample(&["new-york"], 0, 60).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    own_vehicle(&ann).await;
    movr::ops::accounts::grant(&instance.running.state.service.db, &ann.name, "operator", "new-york").await.unwrap();
    let list = ann.get("/vehicles?city=new-york").await;
    let reported = format!("{}/report", list.attributes("#v1 h2 a", "href")[0]);
    ann.post(&reported, &[("task", &*uuid::Uuid::new_v4().to_string()), ("problem", "lock")]).await.location();
    let card = list.card(2);
    let ride = ann.post("/rides", &[&pairs(&card)[..], &[("promo", "CITY2")]].concat()).await.location();
    world.clock.advance(chrono::Duration::seconds(30));
    let at = world.clock.now().to_rfc3339();
    let batch = format!(r#"{{"positions":[{{"at":"{at}","lat":40.72,"lon":-74.0}}]}}"#);
    ann.post_raw(&format!("{ride}/positions"), "application/json", batch).await;
    let data: Value = serde_json::from_str(&ann.get("/profile/export").await.body).unwrap();
    let (person, here) = (&data["person"], &data["regions"]["us-east1"]);
    let exported = [
        ("users", person),
        ("sessions", &person["sessions"][0]),
        ("role_grants", &person["roles"][0]),
        ("promo_redemptions", &person["promo_redemptions"][0]),
        ("rides", &here["rides"][0]),
        ("ride_positions", &here["rides"][0]["positions"][0]),
        ("vehicles", &here["vehicles"][0]),
        ("tasks", &here["tasks"][0]),
        ("events", &here["events_about_you"][0]),
        ("events", &here["events_by_you"][0]),
    ];
    let mut columns = BTreeMap::<String, BTreeSet<String>>::new();
    let text =
        "SELECT table_name::TEXT, column_name::TEXT FROM information_schema.columns WHERE table_schema = 'public'";
    for row in world.sql().await.query(text, &[]).await.unwrap() {
        columns.entry(row.try_get(0).unwrap()).or_default().insert(row.try_get(1).unwrap());
    }
    for (table, item) in exported {
        let keys: BTreeSet<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        let excused = NOT_EXPORTED.iter().filter(|(of, ..)| *of == table).flat_map(|(_, names, _)| *names).copied();
        let excused: BTreeSet<&str> = excused.collect();
        let missing: BTreeSet<&str> = columns[table].iter().map(String::as_str).filter(|c| !keys.contains(c)).collect();
        assert_eq!(missing, excused, "{table}");
    }
    // An operator's jobs are in the events that they caused.
    let names = ["user_id", "rider_id", "owner_id", "actor_id", "requested_by", "reporter_id", "assignee_id"];
    let naming = columns.iter().filter(|(_, columns)| names.iter().any(|name| columns.contains(*name)));
    let naming: BTreeSet<&str> = naming.map(|(table, _)| table.as_str()).collect();
    let known = ["events", "jobs", "promo_redemptions", "rides", "role_grants", "sessions", "tasks", "vehicles"];
    assert_eq!(naming, BTreeSet::from(known));
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn deleting_erases_the_person_and_keeps_anonymous_rides() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let other = elsewhere(&instance, &ann).await;
    let kept = rides::start(&bob, "new-york").await;
    let delete = async || ann.post("/profile/delete", &[("password", PASSWORD)]).await;

    // Nothing of it happens with an open ride, a reservation, own vehicles or a wrong password.
    let abroad = rides::start(&ann, "paris").await;
    world.clock.advance(chrono::Duration::seconds(30));
    let batch = format!(r#"{{"positions":[{{"at":"{}","lat":48.85,"lon":2.35}}]}}"#, world.clock.now().to_rfc3339());
    ann.post_raw(&format!("{abroad}/positions"), "application/json", batch).await;
    let (before, refused) = (world.rows().await, delete().await);
    assert!(refused.text().contains("End your ride or cancel your reservation first."), "{}", refused.text());
    assert_eq!(world.rows().await, before);
    ann.post(&format!("{abroad}/end"), &[("city", "paris"), ("lat", "48.85"), ("lon", "2.35")]).await;
    let remove = own_vehicle(&ann).await;
    let (before, refused) = (world.rows().await, delete().await);
    assert!(refused.text().contains("Remove your vehicles first"), "{}", refused.text());
    let wrong = ann.post("/profile/delete", &[("password", "wrong password here")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.rows().await, before);
    ann.post(&remove, &[("version", "1")]).await;

    let erasure = delete().await.location();
    assert!(erasure.starts_with("/erasure/us-east1/"), "{erasure}");
    assert!(!ann.signed_in().await && !other.signed_in().await && bob.signed_in().await);
    world.until("SELECT count(*) FROM jobs WHERE state = 'running'", 0).await;
    let page = instance.browser().get(&erasure).await;
    assert!(page.text().contains("Nothing here points to you any more"), "{}", page.text());
    assert!(page.text().contains("Rides made anonymous so far: 1"), "{}", page.text());
    let counts = [
        ("SELECT count(*) FROM users", 1),
        ("SELECT count(*) FROM sessions", 1),
        ("SELECT count(*) FROM ride_positions", 0),
        ("SELECT count(*) FROM rides", 2),
        ("SELECT count(*) FROM rides WHERE rider_id IS NULL AND total_minor IS NOT NULL", 1),
        ("SELECT count(*) FROM vehicles WHERE owner_id IS NOT NULL", 0),
    ];
    for (query, expected) in counts {
        assert_eq!(world.count(query).await, expected, "{query}");
    }
    assert_eq!(bob.get(&kept).await.status, StatusCode::OK, "other people's rides are untouched");
    bob.post(&format!("{kept}/end"), &[("city", "new-york"), ("lat", "40.72"), ("lon", "-74.0")]).await;
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_reservation_also_stands_against_moving_and_deleting() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let card = ann.get("/vehicles?city=new-york").await.card(1);
    let vehicle = &card.iter().find(|(name, _)| name == "vehicle").unwrap().1;
    ann.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await;
    let before = world.rows().await;
    for answer in [move_home(&ann, "paris").await, ann.post("/profile/delete", &[("password", PASSWORD)]).await] {
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer.text().contains("cancel your reservation first"), "{}", answer.text());
    }
    assert_eq!(world.rows().await, before);
    world.clock.advance(chrono::Duration::minutes(11));
    assert_eq!(move_home(&ann, "paris").await.location(), "/profile", "it has lapsed");
    instance.running.stop().await;
    world.end().await;
}
