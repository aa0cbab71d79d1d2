//! Ids that browsers bring: what one form makes in two regions, and two people of one id,
//! as rows of the time before ids were derived could be.

use movr::web::session::{self, SessionCookie};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    pages::rides,
    support::{
        Browser,
        app::{Instance, PASSWORD},
        world,
    },
};

async fn register(instance: &Instance, id: Uuid, city: &str, username: &str) -> (Browser, String) {
    let browser = instance.browser();
    let fields = [
        ("id", &*id.to_string()),
        ("city", city),
        ("first_name", "Pat"),
        ("last_name", "Doe"),
        ("email", "pat@example.com"),
        ("username", username),
        ("password", PASSWORD),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let cookie = browser.post("/register", &fields).await.session_cookie();
    (browser, cookie)
}

#[actix_web::test]
async fn one_registration_form_in_two_regions_makes_two_people_who_share_nothing() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 20).await;
    let instance = world.instance("us-east1").await;
    let form = Uuid::new_v4();
    let (ann, _) = register(&instance, form, "new-york", "ann").await;
    let (_, bob) = register(&instance, form, "paris", "bob").await;
    let ids = "SELECT count(DISTINCT id) FROM users";
    assert_eq!(world.count(ids).await, 2);
    assert_eq!(world.count(&format!("SELECT count(*) FROM users WHERE id = '{form}'")).await, 0);

    // Had they one id all the same, the region beside it would keep them apart.
    let sql = world.sql().await;
    let ann_id: Uuid =
        sql.query_one("SELECT id FROM users WHERE username = 'ann'", &[]).await.unwrap().try_get(0).unwrap();
    let one_id = format!(
        "CREATE TABLE kept AS SELECT * FROM sessions WHERE region = 'europe-west1';
         DELETE FROM sessions WHERE region = 'europe-west1';
         UPDATE users SET id = '{ann_id}' WHERE region = 'europe-west1';
         INSERT INTO sessions (region, id, user_id, token_hash, device, created_at, seen_at, expires_at)
           SELECT region, id, '{ann_id}', token_hash, device, created_at, seen_at, expires_at FROM kept;
         DROP TABLE kept"
    );
    for text in one_id.split(';') {
        world.set(text).await;
    }
    let site = &instance.running.state.site;
    let cookies = [actix_web::cookie::Cookie::parse_encoded(bob).unwrap()];
    let cookie = session::read(site, &cookies, instance.running.state.service.clock.now()).unwrap();
    let cookie = SessionCookie { user: ann_id, ..cookie };
    let bob = instance.replaying(&session::write(site, &cookie).stripped().encoded().to_string());
    assert!(bob.signed_in().await, "the twin is signed in");

    let ride = rides::start(&ann, "new-york").await;
    let before = world.count("SELECT version FROM rides").await;
    assert_eq!(bob.get(&ride).await.status, StatusCode::NOT_FOUND);
    let point = r#"{"positions":[{"at":"2026-01-01T00:00:00Z","lat":40.7,"lon":-74.0}]}"#;
    let positions = bob.post_raw(&format!("{ride}/positions"), "application/json", point).await;
    assert_ne!(positions.status, StatusCode::NO_CONTENT, "{}", positions.text());
    bob.end(&ride).await;
    assert_eq!(world.count("SELECT version FROM rides WHERE ended_at IS NULL").await, before, "not ended by the twin");
    let vehicle = "UPDATE vehicles SET owner_region = 'us-east1', owner_id = (SELECT rider_id FROM rides)
        WHERE id = (SELECT id FROM vehicles WHERE city = 'paris' LIMIT 1)";
    world.set(vehicle).await;
    for present in ["ann", "bob"] {
        let everywhere = r#"["us-east1","europe-west1"]"#;
        world.set(&format!("UPDATE users SET present_in = '{everywhere}' WHERE username = '{present}'")).await;
    }
    assert!(bob.get("/my/vehicles").await.text().contains("No vehicles yet."));
    let export: serde_json::Value = serde_json::from_str(&bob.get("/profile/export").await.body).unwrap();
    for (region, held) in export["regions"].as_object().unwrap() {
        assert_eq!(
            (held["rides"].as_array().unwrap().len(), held["vehicles"].as_array().unwrap().len()),
            (0, 0),
            "{region}"
        );
    }
    let removed = bob.post("/profile/delete", &[("password", PASSWORD)]).await;
    assert_eq!(removed.status, StatusCode::SEE_OTHER, "{}", removed.text());
    let left = "SELECT (SELECT count(*) FROM rides WHERE rider_id IS NOT NULL) * 10
        + (SELECT count(*) FROM vehicles WHERE owner_id IS NOT NULL)";
    assert_eq!(world.count(left).await, 11, "erasing the twin takes nothing of the other");
    ann.end(&ride).await;
    assert_eq!(world.count("SELECT count(*) FROM rides WHERE ended_at IS NOT NULL").await, 1);

    // A person who moves takes the reference along. (Versions of one id are in one history.)
    world.set(&format!("DELETE FROM events WHERE region = 'europe-west1' AND aggregate_id = '{ann_id}'")).await;
    let moved = ann.post("/profile/home", &[("city", "paris"), ("password", PASSWORD)]).await;
    assert_eq!(moved.status, StatusCode::SEE_OTHER, "{}", moved.text());
    assert_eq!(world.count("SELECT count(*) FROM rides WHERE rider_region = 'europe-west1'").await, 1);
    assert_eq!(ann.get(&ride).await.status, StatusCode::OK, "the receipt is still theirs");
    drop(sql);
    world.set("UPDATE vehicles SET owner_region = NULL, owner_id = NULL").await;
    instance.running.stop().await;
    world.end().await;
}
