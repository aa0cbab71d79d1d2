//! Abroad: the way home is offered and the answer remembered; signing in costs one look
//! into all regions; what one rides and holds is shown on every page; rows of other
//! regions are reached from here. And what operators see in the footer.

use std::{collections::BTreeMap, sync::Arc};

use movr::db::{all_statements, meter::Meter, statement::Reach};
use reqwest::StatusCode;

use super::rides;
use crate::support::{
    Browser, World,
    app::{Instance, PASSWORD},
    html::Page,
    rows::pairs,
    world,
};

const PARIS: &str = "/vehicles?city=paris";
const END: [(&str, &str); 4] = [("city", "paris"), ("place", "Quai"), ("lat", "48.8566"), ("lon", "2.3522")];

/// Writes the regions' addresses into the catalogue; all instances read it again.
async fn addresses(world: &World, urls: &[(&str, &str)], instances: [&Instance; 2]) {
    for (region, url) in urls {
        world.set(&format!("UPDATE regions SET base_url = '{url}' WHERE code = '{region}'")).await;
    }
    world.set("UPDATE catalogue SET version = version + 1 WHERE id = 1").await;
    for instance in instances {
        instance.running.state.service.reload_catalogue().await.unwrap();
    }
}

fn offer(page: &Page) -> String {
    page.texts("aside.abroad").join(" ")
}

async fn stop(world: World, instances: [Instance; 2]) {
    for instance in instances {
        instance.running.stop().await;
    }
    world.end().await;
}

async fn two() -> (World, Instance, Instance) {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 30).await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    addresses(&world, &[("us-east1", &east.base), ("europe-west1", &europe.base)], [&east, &europe]).await;
    (world, east, europe)
}

#[actix_web::test]
async fn the_way_home_is_offered_abroad_and_the_answer_is_remembered() {
    let (world, east, europe) = two().await;
    let ann = east.person("new-york").await;
    let abroad = ann.at(&europe);
    for path in ["/", PARIS, "/rides", "/profile", "/nothing", "/recover"] {
        let words = format!(
            "Your account lives in US East (South Carolina). Switch for faster pages? Go to {} Stay here",
            east.base
        );
        assert_eq!(offer(&abroad.get(path).await), words, "{path}");
        assert_eq!(offer(&ann.get(path).await), "", "{path} at home");
        assert_eq!(offer(&europe.browser().get(path).await), "", "{path}, nobody");
    }
    let page = abroad.get("/rides").await;
    assert_eq!(page.attributes("aside.abroad [name=next]", "value"), ["/rides"]);
    // Browsers check the redirect behind a form against the policy of its page.
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    let targets = policy.split("form-action ").nth(1).unwrap().split(';').next().unwrap();
    assert!(targets.split(' ').any(|target| target == east.base) && targets.starts_with("'self' "), "{policy}");
    // A balancer may have sent a browser here that asked for home.
    let home = east.base.strip_prefix("http://").unwrap();
    assert_eq!(offer(&abroad.get_with("/rides", &[("host", home)]).await), "");

    let before = world.rows().await;
    let answer = async |fields: &[(&str, &str)]| abroad.post("/abroad", fields).await;
    assert_eq!(answer(&[("answer", "elsewhere"), ("next", "/")]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer(&[("next", "/")]).await.status, StatusCode::BAD_REQUEST);
    for (next, at_home) in [
        ("/rides?before=", "/rides?before="),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("", "/"),
    ] {
        let went = answer(&[("answer", "go"), ("next", next), ("url", "https://evil.example")]).await;
        assert_eq!(went.location(), format!("{}{at_home}", east.base), "{next}");
        let cookie = went.set_cookies().into_iter().find(|cookie| cookie.starts_with("movr_abroad=")).unwrap();
        assert!(cookie.starts_with("movr_abroad=go;") && cookie.contains("Max-Age=31536000"), "{cookie}");
    }
    assert_eq!(abroad.get("/?city=paris").await.location(), format!("{}/?city=paris", east.base), "at once");
    assert_eq!(ann.get("/").await.status, StatusCode::OK, "home leads nowhere");
    assert_eq!(abroad.get_with("/", &[("host", home)]).await.status, StatusCode::OK, "nor what is home to the browser");
    assert_eq!(europe.browser().get("/").await.status, StatusCode::OK);
    assert_ne!(offer(&abroad.get("/rides").await), "", "other pages stay where they are");

    let stays = answer(&[("answer", "stay"), ("next", "/rides")]).await;
    assert_eq!(stays.location(), "/rides");
    for path in ["/", "/rides"] {
        let page = abroad.get(path).await;
        assert_eq!((page.status, offer(&page)), (StatusCode::OK, String::new()), "{path}");
    }
    assert_eq!(world.rows().await, before, "an answer is a cookie and no row");
    stop(world, [east, europe]).await;
}

#[actix_web::test]
async fn behind_one_shared_host_nothing_is_offered() {
    let (world, east, europe) = two().await;
    let ann = east.person("new-york").await;
    let abroad = ann.at(&europe);
    assert_eq!(abroad.post("/abroad", &[("answer", "go"), ("next", "/")]).await.location(), format!("{}/", east.base));
    // One address for all regions; the settings' address, in another case; this page's own.
    for home in ["https://app.example", "http://MOVR.test:80", &europe.base] {
        let here = if home.starts_with("https") { home } else { "https://eu.example" };
        addresses(&world, &[("us-east1", home), ("europe-west1", here)], [&east, &europe]).await;
        assert_eq!(offer(&abroad.get("/rides").await), "", "{home}");
        assert_eq!(abroad.get("/").await.status, StatusCode::OK, "{home}");
        assert_eq!(
            abroad.post("/abroad", &[("answer", "go"), ("next", "/rides")]).await.location(),
            "/rides",
            "{home}"
        );
    }
    stop(world, [east, europe]).await;
}

#[actix_web::test]
async fn signing_in_abroad_asks_each_region_at_its_own_gateway_and_home_for_the_rest() {
    let (world, east, europe) = two().await;
    let ann = east.person("new-york").await;
    let service = &europe.running.state.service;
    service.gates.get(&service.db, &"us-east1".parse().unwrap()).await.unwrap();
    let reach: BTreeMap<_, _> =
        all_statements().into_iter().map(|statement| (statement.name, statement.reach)).collect();
    let meter = Arc::new(Meter::default());
    Box::pin(meter.measure(movr::ops::accounts::sign_in(service, &ann.name, PASSWORD, "Test", None))).await.unwrap();
    let figures = meter.figures();
    let asked = figures.names.iter().filter(|name| **name == "users.find_login").count();
    assert!((2..=3).contains(&asked), "here first, then the others until one of them knows: {:?}", figures.names);
    assert_eq!(figures.names[asked..], ["sessions.start", "sessions.prune"]);
    let everywhere = figures.names.iter().filter(|name| matches!(reach[**name], Reach::AllRegions { .. })).count();
    assert_eq!(everywhere, 0);
    let regions: Vec<_> = figures.regions.iter().map(movr::domain::region::RegionCode::as_str).collect();
    assert!(regions.starts_with(&["europe-west1", "us-east1"]), "{regions:?}");
    stop(world, [east, europe]).await;
}

/// What the frame of a public page says of ride and reservation, and whether the page
/// asked home for it.
async fn frame(browser: &Browser, path: &str) -> (Vec<String>, bool, bool) {
    let page = browser.get(path).await;
    let regions = page.headers["server-timing"].to_str().unwrap().contains("us-east1");
    (page.attributes("aside.riding > a", "href"), !page.texts("aside.held").is_empty(), regions)
}

#[actix_web::test]
async fn what_one_rides_and_holds_is_shown_abroad_without_asking_home_each_time() {
    let (world, east, europe) = two().await;
    let ann = east.person("new-york").await;
    let abroad = europe.browser();
    abroad.sign_in(&ann.name, PASSWORD).await;
    assert_eq!(frame(&abroad, PARIS).await, (vec![], false, true), "nothing is known yet");
    assert_eq!(frame(&abroad, PARIS).await, (vec![], false, false), "the copy counts");
    let card = abroad.get(PARIS).await.card(1);
    let vehicle = card.iter().find(|(name, _)| name == "vehicle").unwrap().1.clone();
    let reserve = format!("/vehicles/europe-west1/{vehicle}/reserve");
    abroad.post(&reserve, &pairs(&card)).await;
    assert_eq!(frame(&abroad, "/?city=paris").await, (vec![], true, true), "after a write home is asked");
    assert_eq!(frame(&abroad, "/?city=paris").await, (vec![], true, false));
    abroad.post("/reservation/cancel", &pairs(&card)).await;
    assert_eq!(frame(&abroad, PARIS).await, (vec![], false, true));
    abroad.post(&reserve, &pairs(&card)).await;
    abroad.get(PARIS).await;
    world.clock.advance(chrono::Duration::minutes(4));
    assert_eq!(frame(&abroad, PARIS).await, (vec![], true, false));

    ann.get("/").await;
    let ride = abroad.post("/rides", &pairs(&card)).await.location();
    assert_eq!(frame(&abroad, PARIS).await, (vec![ride.clone()], false, true));
    assert_eq!(frame(&abroad, PARIS).await, (vec![ride.clone()], false, false));
    assert!(abroad.get(PARIS).await.text().contains("You are already riding."), "the list says so too");
    let second = europe.browser();
    second.sign_in(&ann.name, PASSWORD).await;
    assert_eq!(frame(&second, PARIS).await, (vec![ride.clone()], false, true), "on another device");
    for path in ["/", "/recover"] {
        let at_home = ann.get(path).await;
        assert_eq!(at_home.attributes(".riding a", "href"), [ride.as_str()], "{path} at home");
    }

    assert_eq!(abroad.post(&format!("{ride}/end"), &END).await.location(), ride);
    assert_eq!(abroad.get("/nothing").await.attributes(".riding a", "href"), [""; 0], "never what was before a write");
    assert_eq!(frame(&abroad, PARIS).await, (vec![], false, true));
    assert_eq!(ann.get("/").await.attributes(".riding a", "href"), [""; 0], "at home each page knows");
    // Elsewhere the copy says for five minutes what was; then home is asked.
    assert_eq!(frame(&second, PARIS).await, (vec![ride], false, false));
    world.clock.advance(chrono::Duration::minutes(5));
    assert_eq!(frame(&second, PARIS).await, (vec![], false, true));
    stop(world, [east, europe]).await;
}

#[actix_web::test]
async fn rides_of_another_region_are_opened_from_here() {
    let (world, east, europe) = two().await;
    let (ann, bob) = (east.person("new-york").await, east.person("new-york").await);
    let ride = rides::start(&ann, "paris").await;
    let id = ride.strip_prefix("/rides/europe-west1/").unwrap().to_owned();
    for browser in [&ann, &ann.at(&europe)] {
        assert!(browser.get(&ride).await.texts("h1").concat().len() > 1, "it is open");
        // A ride stays where it happened: no other address is its own.
        let page = browser.get(&format!("/rides/us-west1/{id}")).await;
        assert_eq!((page.status, page.timing().0), (StatusCode::NOT_FOUND, 2));
    }
    for path in [ride.clone(), format!("/rides/us-east1/{id}")] {
        let page = bob.get(&path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "somebody else's");
        assert!(page.text().contains("We can't find this page."));
        assert!(europe.browser().get(&path).await.location().starts_with("/login?next="));
    }
    assert_eq!(ann.post(&format!("{ride}/end"), &END).await.location(), ride);
    let receipt = ann.get(&ride).await;
    assert!(receipt.text().contains("You owe"), "{}", receipt.text());
    stop(world, [east, europe]).await;
}

#[actix_web::test]
async fn people_with_a_role_see_in_the_footer_what_the_page_cost() {
    let (world, east, europe) = two().await;
    let (ann, bob) = (east.person("new-york").await, east.person("new-york").await);
    let footer = async |browser: &Browser, path: &str| browser.get(path).await.texts("footer.bottom").concat();
    movr::ops::accounts::grant(&east.running.state.service.db, &ann.name, "operator", "paris").await.unwrap();
    for path in ["/vehicles?city=new-york", "/rides", "/nothing", "/recover"] {
        assert_eq!(footer(&bob, path).await, "MovR · served from us-east1 · Status", "{path}");
    }
    for (path, start, regions) in [
        ("/vehicles?city=new-york", "2 statements, 1 wait, ", "us-east1 · kept: here only"),
        (PARIS, "2 statements, 1 wait, ", "europe-west1, us-east1 · kept: crosses to europe-west1"),
        ("/profile/home", "1 statement, 1 wait, ", "us-east1 · kept: here only"),
        ("/recover", "0 statements, 0 waits, ", " · kept: here only"),
    ] {
        ann.get(path).await;
        let said = footer(&ann, path).await;
        let cost = said
            .strip_prefix("MovR · served from us-east1 · Status What this page cost ")
            .unwrap_or_else(|| panic!("{path}: {said}"));
        let rest = cost.strip_prefix(start).unwrap_or_else(|| panic!("{path}: {said}"));
        let (ms, named) = rest.split_once(" ms").unwrap();
        assert!(ms.parse::<u32>().is_ok(), "{path}: {said}");
        assert_eq!(named.trim_start_matches(", "), regions, "{path}");
    }
    stop(world, [east, europe]).await;
}

#[actix_web::test]
async fn probes_need_no_headers_and_no_headers_harm_them() {
    let world = world().await;
    let headers = [
        ("MOVR_CLIENT_CITY_HEADER", "X-City"),
        ("MOVR_CLIENT_COORDINATES_HEADER", "X-Point"),
        ("MOVR_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let instance = world.instance_with("us-east1", &headers).await;
    for sent in [&[][..], &[("X-City", ""), ("X-Point", "")], &[("X-City", "Gotham"), ("X-Point", "1e999,x")]] {
        for path in ["/healthz", "/readyz", "/"] {
            assert_eq!(instance.browser().get_with(path, sent).await.status, StatusCode::OK, "{path} {sent:?}");
        }
    }
    // Whatever the case, accents and punctuation; more than ASCII, or not even text.
    for (name, city) in [
        (&b"  new-york "[..], "New York"),
        ("PARÍS".as_bytes(), "Paris"),
        ("Washington, D.C.".as_bytes(), "Washington"),
        (&b"\xff\xfe"[..], "Rome"),
    ] {
        let point = reqwest::header::HeaderValue::from_bytes(name).unwrap();
        let browser = instance.browser();
        let request = browser.client.get(browser.url("/")).header("X-City", point).header("X-Point", "41.9,12.5");
        let shown = browser.send(request).await.texts("h1").concat();
        assert!(shown.starts_with(&format!("Get around {city}")), "{shown}");
    }
    instance.running.stop().await;
    world.end().await;
}
