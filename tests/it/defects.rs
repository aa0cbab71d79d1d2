//! The defects of the peer application (CockroachDB's MovR Flask application), found by
//! reading it: each is a requirement here, and a test named after it. Anonymous access
//! and CSRF are shown for every route in `routes`, the double click in `pages::rides`.

use reqwest::StatusCode;

use crate::{
    pages::rides,
    support::{Browser, app::PASSWORD, html::Page, rows::pairs, world},
};

fn vehicle_of(card: &[(String, String)]) -> String {
    card.iter().find(|(name, _)| name == "vehicle").unwrap().1.clone()
}

/// Puts a vehicle of one's own on the street of the home city; returns where to remove it.
async fn own_vehicle(owner: &Browser) -> String {
    let id = owner.get("/my/vehicles").await.field("id");
    let form = [("id", id.as_str()), ("type", "bike"), ("brand", "Trek"), ("colour", "blue"), ("lat", ""), ("lon", "")];
    assert_eq!(owner.post("/my/vehicles", &form).await.location(), "/my/vehicles");
    owner.get("/my/vehicles").await.attributes("ul.rows b a", "href").remove(0) + "/remove"
}

#[actix_web::test]
async fn login_required_is_applied_to_anonymous_rides_and_vehicles() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let nobody = instance.browser();
    for path in ["/rides", "/my/vehicles", "/riders", "/profile", "/profile/export"] {
        let answer = nobody.get(path).await;
        assert!(answer.location().starts_with("/login?next="), "{path}");
        assert_eq!(answer.timing(), (0, 0), "{path}: nothing is read first");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn another_persons_ride_can_neither_be_seen_nor_ended_nor_followed() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let ride = rides::start(&ann, "new-york").await;
    let before = world.rows().await;
    let here = [("city", "new-york"), ("place", "Mine"), ("lat", "40.72"), ("lon", "-74.0")];
    let at = world.clock.now().to_rfc3339();
    let batch = format!(r#"{{"positions":[{{"at":"{at}","lat":40.7,"lon":-74.0}}]}}"#);
    let answers: [Page; 3] = [
        bob.get(&ride).await,
        bob.post(&format!("{ride}/end"), &here).await,
        bob.post_raw(&format!("{ride}/positions"), "application/json", batch.clone()).await,
    ];
    for answer in answers {
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
        assert!(answer.text().contains("can't find this page"), "{}", answer.text());
    }
    assert_eq!(world.rows().await, before, "nothing changed");
    // The rider can do all of it.
    world.clock.advance(chrono::Duration::seconds(5));
    assert_eq!(ann.get(&ride).await.status, StatusCode::OK);
    let at = world.clock.now().to_rfc3339();
    let batch = format!(r#"{{"positions":[{{"at":"{at}","lat":40.7,"lon":-74.0}}]}}"#);
    let noted = ann.post_raw(&format!("{ride}/positions"), "application/json", batch).await;
    assert_eq!(noted.status, StatusCode::NO_CONTENT, "{}", noted.text());
    assert_eq!(world.count("SELECT count(*) FROM ride_positions").await, 1);
    assert_eq!(ann.post(&format!("{ride}/end"), &here).await.location(), ride);
    assert_eq!(bob.get(&ride).await.status, StatusCode::NOT_FOUND, "a receipt is as private as a ride");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn another_persons_vehicle_account_and_session_stay_theirs() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let remove = own_vehicle(&ann).await;
    let before = world.rows().await;
    let answer = bob.post(&remove, &[("version", "1")]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    // There is no address that names another account; ids in forms are not believed.
    let sql = world.sql().await;
    let text = "SELECT s.id::TEXT, u.id::TEXT FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.username = $1";
    let row = sql.query_one(text, &[&ann.name]).await.unwrap();
    let (session, id): (String, String) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
    bob.post("/profile/sessions/end", &[("session", &session)]).await;
    for path in [format!("/users/{id}"), format!("/users/remove/{id}"), format!("/profile/{id}")] {
        assert_eq!(bob.get(&path).await.status, StatusCode::NOT_FOUND);
        assert_eq!(bob.post(&path, &[]).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.rows().await, before);
    let fields = [
        ("id", id.as_str()),
        ("user_id", &id),
        ("username", &ann.name),
        ("first_name", "Bob"),
        ("last_name", "Roe"),
        ("email", "bob@example.com"),
    ];
    assert_eq!(bob.post("/profile", &fields).await.location(), "/profile");
    let names = "SELECT count(*) FROM users WHERE first_name = 'Bob'";
    assert_eq!(world.count(names).await, 1);
    assert!(bob.get("/profile").await.text().contains(&bob.name) && ann.signed_in().await);
    assert_eq!(ann.get("/profile").await.field("first_name"), "Pat");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_vehicle_is_not_rented_twice() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let (hers, his) =
        (ann.get("/vehicles?city=new-york").await.card(1), bob.get("/vehicles?city=new-york").await.card(1));
    assert_eq!(vehicle_of(&hers), vehicle_of(&his));
    ann.post("/rides", &pairs(&hers)).await;
    let mut elsewhere = his.clone();
    elsewhere.iter_mut().find(|(name, _)| name == "city").unwrap().1 = "boston".to_owned();
    // That of another city is refused whatever becomes of the vehicle.
    elsewhere.retain(|(name, _)| name != "price");
    // The same words whatever the form says, so that nobody learns by them when a ride ends.
    for form in [&his, &elsewhere] {
        for path in ["/rides".to_owned(), format!("/vehicles/us-east1/{}/reserve", vehicle_of(&his))] {
            let late = bob.post(&path, &pairs(form)).await.location();
            let said = bob.get(&late).await.flash();
            assert_eq!(said, "Someone else has just taken this vehicle. Please choose another one.");
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM rides").await, 1);
    let listed = bob.get("/vehicles?city=new-york").await.attributes("input[name=vehicle]", "value");
    assert!(!listed.contains(&vehicle_of(&his)), "it is not listed while it is ridden");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_open_ride_is_known_without_any_cookie_and_after_a_visit_of_the_start_page() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 30).await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let ann = east.person("new-york").await;
    let ride = rides::start(&ann, "new-york").await;
    ann.get("/").await;
    ann.get("/").await;
    let other = east.browser();
    other.sign_in(&ann.name, PASSWORD).await;
    let abroad = europe.browser();
    abroad.sign_in(&ann.name, PASSWORD).await;
    for (browser, city) in [(&ann, "new-york"), (&other, "new-york"), (&abroad, "paris"), (&ann, "paris")] {
        let card = browser.get(&format!("/vehicles?city={city}")).await.card(1);
        let refused = browser.post("/rides", &pairs(&card)).await.location();
        assert_eq!(browser.get(&refused).await.flash(), "You are already riding. End that ride first.", "in {city}");
        assert_eq!(browser.get("/rides").await.attributes(".open a[role]", "href"), [ride.as_str()]);
    }
    assert_eq!(other.get("/").await.attributes(".riding a", "href"), [ride.as_str()]);
    assert_eq!(world.count("SELECT count(*) FROM rides").await, 1);
    east.running.stop().await;
    europe.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn no_city_is_accepted_that_is_not_in_the_catalogue() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let before = world.rows().await;
    let chosen = ann.post("/city", &[("city", "atlantis")]).await;
    assert_eq!(chosen.status, StatusCode::BAD_REQUEST);
    assert!(!chosen.set_cookies().iter().any(|cookie| cookie.starts_with("movr_city")));
    assert!(chosen.text().contains("There is no such city."), "{}", chosen.text());
    assert_eq!(ann.get("/vehicles?city=atlantis").await.status, StatusCode::NOT_FOUND);
    let moved = ann.post("/profile/home", &[("city", "atlantis"), ("password", PASSWORD)]).await;
    assert_eq!(moved.status, StatusCode::UNPROCESSABLE_ENTITY);
    let forged = instance.replaying("movr_city=atlantis").get("/vehicles").await;
    assert_eq!(forged.texts("h1"), ["Vehicles in New York"], "a cookie that was written by hand is not believed");
    assert_eq!(world.rows().await, before);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn deleted_people_are_not_listed_and_their_name_and_e_mail_are_gone() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("boston").await, instance.person("boston").await);
    let details = [("first_name", "Gonesoon"), ("last_name", "Erasedname"), ("email", "gonesoon@erased.example")];
    ann.post("/profile", &details).await;
    let riders = bob.get("/riders").await;
    assert!(riders.text().contains("Gonesoon E."));
    assert!(!riders.body.contains("Erasedname") && !riders.body.contains(&ann.name), "first name and initial only");
    assert!(ann.post("/profile/delete", &[("password", PASSWORD)]).await.location().starts_with("/erasure/us-east1/"));
    assert!(!bob.get("/riders").await.text().contains("Gonesoon"));
    for (table, rows) in world.rows().await {
        for word in ["Gonesoon", "Erasedname", "gonesoon@erased", ann.name.as_str()] {
            assert!(!rows.iter().any(|row| row.contains(word)), "{word} in {table}");
        }
    }
    assert!(!ann.signed_in().await);
    assert_eq!(ann.sign_in(&ann.name, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn the_databases_error_texts_are_shown_to_nobody() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    world.set("ALTER TABLE users RENAME COLUMN email TO e_mail").await;
    let answer = ann.get("/profile").await;
    world.set("ALTER TABLE users RENAME COLUMN e_mail TO email").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().contains("Something went wrong on our side"), "{}", answer.text());
    let body = answer.body.to_lowercase();
    for word in ["column", "sqlstate", "42703", "error:", "select ", "users.find_profile", "postgres", "cockroach"] {
        assert!(!body.contains(word), "{word} in {}", answer.text());
    }
    let request = answer.headers["x-request-id"].to_str().unwrap();
    assert!(answer.text().contains(&format!("Request {request}")), "what to quote");
    instance.running.stop().await;
    world.end().await;
}

#[test]
fn there_is_no_default_secret_key() {
    let vars =
        [("MOVR_REGION", "us-east1"), ("DATABASE_URL", "postgresql://a@b/c"), ("MOVR_PUBLIC_URL", "http://a.test")];
    let refused = movr::config::Config::from_vars(vars).unwrap_err().to_string();
    assert!(refused.contains("MOVR_SECRET_KEYS"), "{refused}");
}

#[actix_web::test]
async fn lists_are_bounded_25_vehicles_25_rides_50_riders() {
    let world = world().await;
    world.sample(&["new-york"], 60, 60).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    assert_eq!(ann.get("/vehicles?city=new-york").await.texts(".cards > li").len(), 25);
    let first = ann.get("/riders").await;
    let (mut seen, next) = (first.texts(".people li b"), first.attributes("a[rel=next]", "href"));
    assert_eq!((seen.len(), next.len()), (50, 1));
    let second = ann.get(&next[0]).await;
    seen.extend(second.texts(".people li b"));
    assert_eq!((seen.len(), second.attributes("a[rel=next]", "href").len()), (61, 0), "each person once");
    for _ in 0..26 {
        let ride = rides::start(&ann, "new-york").await;
        rides::end(&ann, &ride).await;
    }
    let first = ann.get("/rides").await;
    let (mut seen, next) = (first.attributes("ul.rows a", "href"), first.attributes("a[rel=next]", "href"));
    assert_eq!((seen.len(), next.len()), (25, 1));
    let second = ann.get(&next[0]).await;
    seen.extend(second.attributes("ul.rows a", "href"));
    assert_eq!(second.attributes("a[rel=next]", "href").len(), 0);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 26, "each ride once");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn one_may_enter_at_login_without_having_visited_any_page() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    assert_eq!(instance.browser().get("/login").await.status, StatusCode::OK);
    let fresh = instance.browser();
    assert_eq!(fresh.sign_in(&ann.name, PASSWORD).await.location(), "/vehicles?city=new-york");
    assert!(fresh.signed_in().await);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn logging_out_is_no_get() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    assert_eq!(ann.get("/logout").await.location(), "/");
    assert!(ann.signed_in().await);
    ann.post("/logout", &[]).await;
    assert!(!ann.signed_in().await);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn every_file_that_a_page_names_is_our_own_and_no_page_carries_a_key() {
    let world = world().await;
    world.sample(&["new-york"], 2, 30).await;
    let instance =
        world.instance_with("us-east1", &[("MOVR_TILES_URL", "https://tiles.example/{z}/{x}/{y}.png")]).await;
    let (ann, nobody) = (instance.person("new-york").await, instance.browser());
    let ride = rides::start(&ann, "new-york").await;
    let mut pages = Vec::new();
    for path in [
        "/", "/vehicles", "/rides", &ride, "/riders", "/profile", "/profile/home", "/profile/delete", "/my/vehicles",
        "/nothing",
    ] {
        pages.push((path.to_owned(), ann.get(path).await));
    }
    for path in ["/", "/vehicles", "/login", "/register", "/recover", "/nothing"] {
        pages.push((path.to_owned(), nobody.get(path).await));
    }
    let mut files = std::collections::BTreeSet::new();
    for (path, page) in &pages {
        let named = [("[src]", "src"), ("[href]", "href"), ("[action]", "action"), ("[formaction]", "formaction")];
        for (selector, attribute) in named.into_iter().chain([("[srcset]", "srcset"), ("[poster]", "poster")]) {
            for url in page.attributes(selector, attribute) {
                // A page's canonical address is whole.
                let url = url.strip_prefix("http://movr.test").unwrap_or(&url);
                assert!(url.starts_with('/') && !url.starts_with("//") || url.starts_with('#'), "{url} on {path}");
                if url.starts_with("/static/") {
                    files.insert(url.split('#').next().unwrap().to_owned());
                }
            }
        }
        assert!(!page.body.to_lowercase().contains("api_key") && !page.body.contains("key="), "a key on {path}");
    }
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let answer = nobody.get(&file).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert!(!answer.body.contains("@import"), "{file}");
    }
    instance.running.stop().await;
    world.end().await;
}
