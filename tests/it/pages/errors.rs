//! What goes wrong is said in its own words and changes nothing: every kind of bad
//! input, on every page that takes any. The rows of the whole database are compared
//! before and after, so that "nothing" is nothing.

use std::{collections::BTreeSet, fmt::Write};

use reqwest::StatusCode;
use uuid::Uuid;

use super::rides;
use crate::support::{Browser, html::Page, rows::pairs, world};

const FORM: &str = "application/x-www-form-urlencoded";

#[actix_web::test]
async fn every_status_has_its_own_words() {
    let world = world().await;
    let more = [("MOVR_MAX_BODY_KIB", "2"), ("MOVR_SIGN_IN_FLOOR_MS", "0")];
    let instance = world.instance_with("us-east1", &more).await;
    let slow = [
        ("MOVR_REQUEST_TIMEOUT_MS", "3000"),
        ("MOVR_STATEMENT_TIMEOUT_MS", "3000"),
        ("MOVR_WRITE_TIMEOUT_MS", "3000"),
        ("MOVR_SIGN_IN_FLOOR_MS", "60000"),
    ];
    let slow = world.instance_with("us-east1", &slow).await;
    let ann = instance.person("new-york").await;
    let guess = [("username", "somebody"), ("password", "wrong password here")];
    let details = [("first_name", "Ann"), ("last_name", "Roe"), ("email", "ann@example.com")];
    let mut answers = vec![
        (400, ann.post("/city", &[("city", "gotham")]).await),
        (403, ann.post_with("/city", &[("sec-fetch-site", "cross-site")], &[("city", "rome")]).await),
        (404, ann.get("/no/such/page").await),
        (405, ann.post("/status", &[]).await),
        (413, ann.post_raw("/city", FORM, format!("city=rome&next={}", "x".repeat(3_000))).await),
        (
            422,
            ann.post(
                "/register",
                &[
                    ("id", &Uuid::new_v4().to_string()),
                    ("city", "gotham"),
                    ("first_name", ""),
                    ("last_name", ""),
                    ("email", ""),
                    ("username", ""),
                    ("password", ""),
                ],
            )
            .await,
        ),
        (503, slow.browser().post("/login", &guess).await),
    ];
    for _ in 0..5 {
        ann.post("/login", &guess).await;
    }
    answers.push((429, ann.post("/login", &guess).await));
    world.set("UPDATE region_gates SET write_state = 'read_only', epoch = epoch + 1, reason = 'new disks' WHERE region = 'us-east1'").await;
    answers.push((503, ann.post("/profile", &details).await));
    world.set("UPDATE region_gates SET write_state = 'writable', epoch = epoch + 1 WHERE region = 'us-east1'").await;
    assert_eq!(ann.post("/profile", &details).await.status, StatusCode::SEE_OTHER, "and on it goes");
    slow.running.state.service.db.close();
    answers.push((503, slow.browser().get("/vehicles").await));
    let mut words = BTreeSet::new();
    for (status, page) in &answers {
        assert_eq!(page.status.as_u16(), *status, "{}", page.text());
        assert!(words.insert(page.text()), "said twice: {}", page.text());
        assert!(*status == 422 || page.text().contains(&format!("{status} ")), "{}", page.text());
        assert_eq!(page.headers.contains_key("retry-after"), [429, 503].contains(status), "{status}");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert!(!page.attributes("main a[href]", "href").is_empty() || *status == 422, "a way on");
    }
    let said = answers.iter().fold(String::new(), |mut all, (_, page)| {
        writeln!(all, "{}", page.text()).unwrap();
        all
    });
    for part in [
        "can't find this page", "go back and try again", "larger than this page takes", "Please wait", "took too long",
        "is read-only (new disks)", "database is not answering",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let home = slow.browser().get("/").await;
    assert_eq!(home.status, StatusCode::OK, "the landing page is drawn without figures");
    instance.running.stop().await;
    slow.running.stop().await;
    world.end().await;
}

/// Ann has ridden and rides; what is asked of her pages below is all wrong.
struct Ann {
    browser: Browser,
    ended: String,
    open: String,
    card: Vec<(String, String)>,
}

async fn ann(instance: &crate::support::app::Instance) -> Ann {
    let browser = instance.person("new-york").await;
    let ended = rides::start(&browser, "new-york").await;
    rides::end(&browser, &ended).await;
    let open = rides::start(&browser, "new-york").await;
    let card = browser.get("/vehicles?city=new-york").await.card(1);
    Ann { browser, ended, open, card }
}

#[actix_web::test]
async fn addresses_that_make_no_sense_are_not_found_or_refused() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let Ann { browser, ended, open, .. } = ann(&instance).await;
    let id = ended.rsplit('/').next().unwrap();
    let long = "x".repeat(5_000);
    let before = world.rows().await;
    for (status, path) in [
        (404, "/rides/us-east1/not-a-uuid".to_owned()),
        (404, format!("/rides/us-east1/{id}/more")),
        (404, format!("/rides/us-east1/{id}{id}")),
        (404, format!("/rides/us-west1/{id}")),
        (404, format!("/rides/us-west1/{}", Uuid::max())),
        (404, format!("/rides/atlantis/{id}")),
        (404, format!("/rides/US%20EAST'--/{id}")),
        (404, format!("/rides/%ff/{id}")),
        (404, format!("/rides/us-east1/{}", Uuid::nil())),
        (404, "/static/%2e%2e/Cargo.toml".to_owned()),
        (404, "/static/../Cargo.toml".to_owned()),
        (404, format!("/{long}")),
        (404, "/vehicles?city=gotham".to_owned()),
        (404, format!("/vehicles?city={long}")),
        (400, "/vehicles?city=new-york&city=paris".to_owned()),
        (400, "/vehicles?city=%ff".to_owned()),
        (400, "/vehicles?city=new-york%00".to_owned()),
        (400, "/vehicles?city=new-york%0D%0AX:1".to_owned()),
        (422, "/vehicles?lat=91&lon=0".to_owned()),
        (400, "/login?next=%ff".to_owned()),
        (400, "/login?next=/&next=/".to_owned()),
        (400, "/rides?before=x".to_owned()),
        (400, "/rides?before=1~x".to_owned()),
        (400, format!("/rides?before={}~{id}", i64::MAX)),
        (400, format!("/rides?before={}~{id}", i64::MIN)),
        (400, format!("/rides?before=-300000000000000000~{id}")),
        (400, format!("/rides?before=99999999999999999999~{id}")),
        (400, "/riders?after=x".to_owned()),
        (400, "/riders?after=%F0%28%8C%28".to_owned()),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.status.as_u16(), status, "{path}: {}", page.text());
        assert!(status == 303 || !page.text().is_empty(), "{path}");
    }
    assert_eq!(world.rows().await, before);
    rides::end(&browser, &open).await;
    instance.running.stop().await;
    world.end().await;
}

/// What a form is answered: an error page, or back to where it came from with words.
async fn answer(browser: &Browser, page: Page) -> (u16, String) {
    if page.status != StatusCode::SEE_OTHER {
        return (page.status.as_u16(), page.text());
    }
    let flash = browser.get(&page.location()).await.flash();
    (303, flash)
}

/// The form with one field changed.
fn with<'a>(fields: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let kept = fields.iter().filter(|(known, _)| *known != name).copied();
    kept.chain([(name, value)]).collect()
}

#[actix_web::test]
async fn rides_that_make_no_sense_are_refused_in_words_and_change_nothing() {
    let world = world().await;
    world.sample(&["new-york", "seattle"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let ann = ann(&instance).await;
    let bob = instance.person("new-york").await;
    let start = pairs(&ann.card);
    let vehicle = start.iter().find(|(name, _)| *name == "vehicle").unwrap().1;
    let (any, long) = (Uuid::new_v4().to_string(), "x".repeat(5_000));
    let promo = "This promo code is not valid here and now.";
    let fits_not = "not what this page sends";
    let before = world.rows().await;
    for (field, value, status, words) in [
        ("region", "atlantis", 400, "There is no such region."),
        ("region", "us east'", 400, fits_not),
        ("region", "us-west1", 303, "has been moved"),
        ("vehicle", "x", 400, fits_not),
        ("vehicle", any.as_str(), 303, "has just taken this vehicle"),
        ("ride", "", 400, fits_not),
        ("city", "gotham", 303, "has been moved"),
        ("city", "boston", 303, "has been moved"),
        ("city", &long, 303, "has been moved"),
        ("type", "rocket", 303, "has been moved"),
        ("promo", "OLD2019", 303, promo),
        ("promo", "CIAO1", 303, promo),
        ("promo", "NOSUCHCODE", 303, promo),
        ("promo", &long, 303, promo),
        ("promo", "WEL\u{1}COME", 400, "Control characters"),
    ] {
        let mut form = with(&start, field, value);
        // That of another city is judged first.
        form.retain(|(name, _)| field != "city" || *name != "price");
        let (got, said) = answer(&bob, bob.post("/rides", &form).await).await;
        assert!(got == status && said.contains(words), "{field}={value}: {got} {said}");
    }
    for field in ["region", "vehicle", "city", "type", "ride"] {
        let missing: Vec<_> = start.iter().filter(|(name, _)| *name != field).copied().collect();
        assert_eq!(bob.post("/rides", &missing).await.status, StatusCode::BAD_REQUEST, "without {field}");
        let twice = [start.as_slice(), &[(field, "x")]].concat();
        let page = bob.post("/rides", &twice).await;
        assert!(page.status == StatusCode::BAD_REQUEST && page.text().contains("A field was sent twice."), "{field}");
    }
    for (path, status, words) in [
        (format!("/vehicles/us-west1/{vehicle}/reserve"), 303, "has just taken this vehicle"),
        (format!("/vehicles/us-east1/{any}/reserve"), 303, "has just taken this vehicle"),
        (format!("/vehicles/atlantis/{vehicle}/reserve"), 404, "can't find this page"),
        ("/vehicles/us-east1/x/reserve".to_owned(), 404, "can't find this page"),
        ("/reservation/cancel".to_owned(), 303, "no reservation to cancel"),
    ] {
        let (got, said) = answer(&bob, bob.post(&path, &start).await).await;
        assert!(got == status && said.contains(words), "{path}: {got} {said}");
    }
    let end = [("city", "new-york"), ("place", "Corner"), ("lat", "40.72"), ("lon", "-74.0")];
    for (field, value, status, words) in [
        ("lat", "91", 422, "Latitude must be from"),
        ("lat", "NaN", 422, "Latitude must be from"),
        ("lon", "1e999", 422, "Latitude must be from"),
        ("lon", "", 422, "Latitude must be from"),
        ("place", "Cor\nner", 400, "Control characters"),
        ("lat", "0", 422, "too far from New York"),
        ("city", "gotham", 422, "There is no such city."),
        ("city", "seattle", 422, "too far from Seattle"),
        ("city", "boston", 422, "too far from Boston"),
    ] {
        let page = ann.browser.post(&format!("{}/end", ann.open), &with(&end, field, value)).await;
        let (got, said) = answer(&ann.browser, page).await;
        assert!(got == status && said.contains(words), "end with {field}={value}: {got} {said}");
    }
    // Ending again is a double click: it leads to the receipt as it was.
    let again = ann.browser.post(&format!("{}/end", ann.ended), &with(&end, "lat", "40.75")).await;
    assert_eq!(again.location(), ann.ended);
    assert_eq!(world.rows().await, before);
    ann.browser.post(&format!("{}/end", ann.open), &end).await;
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn positions_that_make_no_sense_are_refused_whole() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let Ann { browser, ended, open, .. } = ann(&instance).await;
    // Less than a minute: after that the use of the session is noted.
    world.clock.advance(chrono::Duration::seconds(30));
    let now = world.clock.now().to_rfc3339();
    let position = |at: &str, lat: &str| format!(r#"{{"at":"{at}","lat":{lat},"lon":-74.0}}"#);
    let batch = |positions: &[String]| format!(r#"{{"positions":[{}]}}"#, positions.join(","));
    let good = position(&now, "40.72");
    let json = "application/json";
    let before = world.rows().await;
    for (kind, body) in [
        (json, String::new()),
        (json, "positions=1".to_owned()),
        (json, "[".repeat(10_000)),
        (json, "{}".to_owned()),
        (json, r#"{"positions":{}}"#.to_owned()),
        (json, r#"{"positions":[],"rider_id":"x"}"#.to_owned()),
        (json, batch(&[position("yesterday", "40.72")])),
        (json, batch(&[good.clone(), position(&now, "91")])),
        (json, batch(&[good.clone(), position(&now, "1e999")])),
        (json, batch(&[good.clone(), position(&now, "\"40\"")])),
        (json, batch(&[good.clone(), position("+262142-01-01T00:00:00Z", "40.72")])),
        (json, batch(&[good.clone(), position("-262142-01-01T00:00:00Z", "40.72")])),
        (json, batch(&[good.clone(), position("-4800-01-01T00:00:00Z", "40.72")])),
        (json, batch(&vec![good.clone(); 101])),
        ("text/plain", batch(std::slice::from_ref(&good))),
        (FORM, batch(std::slice::from_ref(&good))),
    ] {
        let page = browser.post_raw(&format!("{open}/positions"), kind, body.clone()).await;
        let start: String = body.chars().take(120).collect();
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{kind} {start}: {}", page.text());
        assert!(page.text().contains("Positions are JSON"), "{}", page.text());
    }
    for (ride, status) in [(&ended, 409), (&"/rides/us-west1/00000000-0000-4000-8000-000000000000".to_owned(), 404)] {
        let page = browser.post_raw(&format!("{ride}/positions"), json, batch(std::slice::from_ref(&good))).await;
        assert_eq!(page.status.as_u16(), status, "{ride}: {}", page.text());
    }
    // Before the start and in the future: dropped, as a browser with a wrong clock sends them.
    let odd = batch(&[position("2001-01-01T00:00:00Z", "40.72"), position("2999-01-01T00:00:00Z", "40.72")]);
    let page = browser.post_raw(&format!("{open}/positions"), json, odd).await;
    assert_eq!(page.status, StatusCode::NO_CONTENT, "{}", page.text());
    assert_eq!(world.rows().await, before);
    for _ in 0..2 {
        browser.post_raw(&format!("{open}/positions"), json, batch(std::slice::from_ref(&good))).await;
    }
    assert_eq!(world.count("SELECT count(*) FROM ride_positions").await, 1, "twice is once");
    rides::end(&browser, &open).await;
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn bodies_that_are_no_form_are_refused_on_every_page() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let details = "first_name=Eve&last_name=Evil&email=e@v.example";
    let bodies: Vec<(u16, &str, Vec<u8>)> = vec![
        (400, FORM, b"first_name=Eve".to_vec()),
        (400, FORM, format!("{details}&email=f@v.example").into_bytes()),
        (400, FORM, format!("{details}&x=1&x=2").into_bytes()),
        (400, FORM, format!("{details}%00").into_bytes()),
        (400, FORM, format!("{details}%0d%0aX").into_bytes()),
        (400, FORM, format!("{details}%ff").into_bytes()),
        (400, FORM, [details.as_bytes(), &[0xff, 0xfe]].concat()),
        (400, "text/plain", details.as_bytes().to_vec()),
        (400, "application/json", br#"{"first_name":"Eve","last_name":"Evil","email":"e@v.example"}"#.to_vec()),
        (400, "multipart/form-data; boundary=x", details.as_bytes().to_vec()),
        (400, "", details.as_bytes().to_vec()),
        (413, FORM, format!("{details}&x={}", "x".repeat(64 * 1024)).into_bytes()),
        (413, FORM, format!("{details}&x={}", "x".repeat(1024 * 1024)).into_bytes()),
        (422, FORM, format!("{details}{}", "x".repeat(300)).into_bytes()),
    ];
    let before = world.rows().await;
    for (status, kind, body) in bodies {
        let page = ann.post_raw("/profile", kind, body.clone()).await;
        let start: String = String::from_utf8_lossy(&body).chars().take(80).collect();
        assert_eq!(page.status.as_u16(), status, "{kind} {start}: {}", page.text());
    }
    // The same for every form: neither a foreign type nor broken text gets through.
    for path in [
        "/city", "/abroad", "/register", "/login", "/recover", "/rides", "/reservation/cancel", "/profile/password",
        "/profile/recovery-codes", "/profile/sessions/end", "/profile/home", "/profile/delete", "/my/vehicles",
    ] {
        for (kind, body) in
            [("text/plain", "city=rome"), (FORM, "city=%ff"), (FORM, "city=a&city=b"), (FORM, "=&=&%"), (FORM, "")]
        {
            assert_eq!(ann.post_raw(path, kind, body).await.status, StatusCode::BAD_REQUEST, "{path} {kind} {body}");
        }
    }
    assert_eq!(world.rows().await, before);
    assert_eq!(ann.post_raw("/profile", &format!("{FORM}; charset=UTF-8"), details).await.location(), "/profile");
    instance.running.stop().await;
    world.end().await;
}
