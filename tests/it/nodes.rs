//! The way to the nodes: at home nobody waits for another region, and nodes that fail
//! are replaced by the next ones. Distance is a proxy that delays, a lost node a proxy
//! that refuses.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use movr::domain::refusal::Refusal;
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    crowd::{Bike, END, bikes, count, crowd, redirect, street},
    faults::Proxy,
    html::Page,
    world,
};

const EUROPE: &str = "MOVR_DATABASE_URL_EUROPE_WEST1";
const WEST: &str = "MOVR_DATABASE_URL_US_WEST1";

/// One row of the table: a page, its statements, its waits and its milliseconds.
type Cost = (String, u32, u32, f64);

/// What a visitor sees, and a whole journey of `rider` at home, page by page.
async fn journey_at_home(rider: &Browser, nobody: &Browser, bike: &Bike) -> Vec<Cost> {
    let mut costs = Vec::new();
    let mut tell = |name: &str, page: &Page| {
        assert!(page.status.is_success() || page.status == StatusCode::SEE_OTHER, "{name}: {}", page.text());
        let timing = page.headers["server-timing"].to_str().unwrap();
        assert!(timing.contains("contract;desc=\"kept: here only\""), "{name}: {timing}");
        let (statements, waits) = page.timing();
        costs.push((name.to_owned(), statements, waits, page.milliseconds()));
    };
    tell("`/`, not signed in", &nobody.get("/").await);
    tell("`/vehicles`, not signed in", &nobody.get("/vehicles").await);
    for path in ["/", "/vehicles", "/rides", "/riders", "/profile", "/profile/home", "/profile/delete", "/my/vehicles"]
    {
        tell(&format!("`{path}`"), &rider.get(path).await);
    }
    let (reserve, fields) = bike.reserve();
    tell("reserve", &rider.post(&reserve, &fields).await);
    tell("cancel the reservation", &rider.post("/reservation/cancel", &bike.cancel()).await);
    let started = rider.start(bike, Uuid::new_v4(), "").await;
    let page = started.location();
    tell("start a ride", &started);
    tell("a ride's page", &rider.get(&page).await);
    let positions = rider.post_raw(&format!("{page}/positions"), "application/json", r#"{"positions":[]}"#).await;
    tell("positions", &positions);
    tell("end the ride", &rider.post(&format!("{page}/end"), &END).await);
    tell("the receipt", &rider.get(&page).await);
    let name = [("first_name", "P"), ("last_name", "D"), ("email", "p@example.com")];
    tell("save the profile", &rider.post("/profile", &name).await);
    costs
}

#[actix_web::test]
async fn at_home_every_page_waits_once_however_far_the_others_are() {
    let world = world().await;
    street(&world, &["new-york"], 30).await;
    let [own, west, europe] = proxies(&world).await;
    let settings = [("DATABASE_URL", &*own.url), (WEST, &west.url), (EUROPE, &europe.url), ("MOVR_WATCH_MS", "600000")];
    let instance = world.instance_with("us-east1", &settings).await;
    let ann = crowd(&instance, 1).await.remove(0).browser;
    let sql = world.sql().await;
    ann.get("/").await;
    let nobody = instance.browser();
    nobody.get("/vehicles").await;
    own.delay(Duration::from_millis(70));
    west.delay(Duration::from_millis(140));
    europe.delay(Duration::from_millis(140));
    // A page that needs a second wait needs it each time; a machine that stumbles does not.
    let mut best: Vec<Cost> = Vec::new();
    for _ in 0..3 {
        let costs = journey_at_home(&ann, &nobody, &bikes(&sql, "new-york").await[0]).await;
        best = if best.is_empty() {
            costs
        } else {
            let pairs = best.into_iter().zip(costs);
            pairs.map(|(a, b)| if (b.2, b.3) < (a.2, a.3) { b } else { a }).collect()
        };
        if best.iter().all(|(_, _, waits, ms)| *waits == 1 && *ms < 135.0) {
            break;
        }
    }
    let rows =
        best.iter().map(|(name, statements, waits, ms)| format!("| {name} | {statements} | {waits} | {ms:.0} |"));
    eprintln!("| page | statements | waits | ms |\n|---|---|---|---|\n{}", rows.collect::<Vec<_>>().join("\n"));
    for (name, _, waits, ms) in &best {
        assert_eq!(*waits, 1, "{name}");
        assert!((69.0..135.0).contains(ms), "{name}: {ms} ms");
    }
    for proxy in [&own, &west, &europe] {
        proxy.pass();
    }
    drop(sql);
    instance.running.stop().await;
    world.end().await;
}

async fn proxies(world: &World) -> [Proxy; 3] {
    let url = &world.database.url;
    [Proxy::before(url).await, Proxy::before(url).await, Proxy::before(url).await]
}

/// The same form until there is an answer; `failed` is told of each that had none.
async fn insist(send: impl AsyncFn() -> Page, failed: &Cell<Option<Instant>>) -> Page {
    loop {
        let page = send().await;
        if page.status == StatusCode::SEE_OTHER {
            return page;
        }
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text());
        assert!(page.headers.contains_key("retry-after"));
        failed.set(Some(Instant::now()));
    }
}

#[actix_web::test]
async fn when_the_own_nodes_fail_the_next_ones_serve_and_work_returns_home() {
    const RIDERS: usize = 8;
    let world = world().await;
    street(&world, &["new-york"], RIDERS).await;
    let [own, west, europe] = proxies(&world).await;
    let settings = [
        ("DATABASE_URL", &*own.url),
        (WEST, &west.url),
        (EUROPE, &europe.url),
        ("MOVR_POOL_LIFETIME_S", "1"),
        ("MOVR_POOL_SIZE", "16"),
        ("MOVR_STATEMENT_TIMEOUT_MS", "2000"),
        ("MOVR_WRITE_TIMEOUT_MS", "2000"),
    ];
    let instance = world.instance_with("us-east1", &settings).await;
    // The farther of the two others has the longer way, so the nearer one is next.
    west.delay(Duration::from_millis(5));
    europe.delay(Duration::from_millis(60));
    let riders = crowd(&instance, RIDERS).await;
    let sql = world.sql().await;
    sql.batch_execute("SET default_transaction_isolation = 'read committed'").await.unwrap();
    let (rode, refused) = (RefCell::new(BTreeSet::new()), RefCell::new(BTreeSet::new()));
    let (done, failed) = (Cell::new(false), Cell::new(None));
    let journey = async |n: usize| {
        let (browser, mut round) = (&riders[n].browser, 0);
        while !done.get() {
            round += 1;
            // A vehicle has a new public id after each ride.
            let bike = bikes(&sql, "new-york").await.remove((n + round * (n % 3)) % RIDERS);
            let form = Uuid::new_v4();
            let ride = riders[n].ride(form);
            let started = redirect(&instance, &insist(async || browser.start(&bike, form, "").await, &failed).await);
            if started.location != format!("/rides/us-east1/{ride}") {
                assert_eq!(started.text, Refusal::VehicleTaken.message());
                refused.borrow_mut().insert(ride);
                continue;
            }
            rode.borrow_mut().insert(ride);
            let ended = insist(async || browser.end(&started.location).await, &failed).await;
            assert!(redirect(&instance, &ended).good);
        }
    };
    let reading = async {
        let nobody = instance.browser();
        while !done.get() {
            let page = nobody.get("/rides/us-east1/nothing").await;
            assert_eq!(page.status, StatusCode::SEE_OTHER, "no database needed");
            let page = riders[0].browser.get("/rides").await;
            match page.status {
                StatusCode::OK => {}
                StatusCode::SERVICE_UNAVAILABLE => {
                    assert!(page.headers.contains_key("retry-after"));
                    failed.set(Some(Instant::now()));
                }
                other => panic!("{other}: {}", page.text()),
            }
        }
    };
    let drill = async {
        let seconds = |n| tokio::time::sleep(Duration::from_secs(n));
        seconds(2).await;
        own.refuse();
        own.cut();
        let killed = Instant::now();
        seconds(4).await;
        if let Some(last) = failed.get() {
            let gone = last.duration_since(killed);
            eprintln!("the last 503 came {gone:?} after the nodes were killed");
            assert!(gone < Duration::from_secs(2), "service is back within 2 seconds, not {gone:?}");
        }
        let (before, far) = (west.carried(), europe.carried());
        seconds(1).await;
        let (nearest, farther) = (west.carried() - before, europe.carried() - far);
        assert!(nearest > 50, "the next nodes carry the work: {nearest}");
        assert!(farther < nearest / 4, "not the farther ones: {farther} of {nearest}");
        assert!(riders[0].browser.status_of("us-east1").await["reachable"] == true, "its rows answer");
        own.pass();
        seconds(3).await;
        let (before, away) = (own.carried(), west.carried());
        seconds(1).await;
        let (home, away) = (own.carried() - before, west.carried() - away);
        assert!(home > 50 && away < home / 4, "the work is back home: {home} there, {away} away");
        done.set(true);
    };
    futures_util::join!(join_all((0..RIDERS).map(journey)), reading, drill);
    let there = sql.query("SELECT id FROM rides WHERE ended_at IS NOT NULL AND version = 2", &[]).await.unwrap();
    let there: BTreeSet<Uuid> = there.iter().map(|ride| ride.try_get(0).unwrap()).collect();
    assert_eq!(there, *rode.borrow(), "the ledger: nothing lost, nothing doubled");
    assert!(there.len() > 100, "{}", there.len());
    let rides = i64::try_from(there.len()).unwrap();
    assert_eq!(count(&sql, "SELECT count(*) FROM rides").await, rides);
    for action in ["ride.started", "ride.ended"] {
        assert_eq!(count(&sql, &format!("SELECT count(*) FROM events WHERE action = '{action}'")).await, rides);
    }
    drop(sql);
    let metrics = instance.running.state.service.db.metrics();
    let [east, west_only] = ["us-east1", "us-west1"].map(|region| metrics.failovers.of([region]).get());
    assert!(east > 100 && west_only == 0, "{east} {west_only}");
    assert!(metrics.connects.of(["us-east1", "error"]).get() > 0);
    instance.running.stop().await;
    drop((own, west, europe));
    world.end().await;
}

#[actix_web::test]
async fn nodes_that_accept_and_never_answer_are_left_too() {
    let world = world().await;
    street(&world, &["new-york"], 5).await;
    let [own, west, _] = proxies(&world).await;
    let settings = [
        ("DATABASE_URL", &*own.url),
        (WEST, &west.url),
        ("MOVR_CONNECT_TIMEOUT_MS", "1000"),
        ("MOVR_STATEMENT_TIMEOUT_MS", "1000"),
        ("MOVR_WATCH_MS", "1000"),
    ];
    let instance = world.instance_with("us-east1", &settings).await;
    let nobody = instance.browser();
    assert_eq!(nobody.get("/vehicles").await.headers["x-movr-freshness"], "0; source=strong");
    own.delay(Duration::from_mins(10));
    let fresh = async |expected: bool| {
        let began = Instant::now();
        loop {
            let page = nobody.get("/vehicles").await;
            assert_eq!(page.status, StatusCode::OK, "fresh or the last good list: {}", page.text());
            if (page.headers["x-movr-freshness"] == "0; source=strong") == expected {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "never {expected}");
        }
    };
    fresh(false).await;
    let gone = fresh(true).await;
    eprintln!("nodes that do not answer were left after {gone:?}");
    assert!(nobody.get("/status").await.text().contains("The nodes of here cannot be reached"));
    let before = own.carried();
    for _ in 0..20 {
        assert_eq!(nobody.get("/vehicles").await.headers["x-movr-freshness"], "0; source=strong");
    }
    assert!(own.carried() - before < 20, "nobody is sent to them");
    own.pass();
    own.cut();
    let began = Instant::now();
    while nobody.get("/status").await.text().contains("cannot be reached") {
        assert!(began.elapsed() < Duration::from_secs(20), "they are never used again");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn the_status_says_what_missing_nodes_cost_and_nothing_that_is_secret() {
    let world = world().await;
    let [west, europe, _] = proxies(&world).await;
    let alone = world.instance_with("us-east1", &[(WEST, &west.url), ("MOVR_WATCH_MS", "500")]).await;
    let whole =
        world.instance_with("us-east1", &[(WEST, &west.url), (EUROPE, &europe.url), ("MOVR_WATCH_MS", "500")]).await;
    alone.browser().until_status("us-west1", true).await;
    whole.browser().until_status("us-west1", true).await;
    let (without, with) = (alone.browser().get("/status").await, whole.browser().get("/status").await);
    assert!(without.text().contains("No nodes of europe-west1 are configured"), "{}", without.text());
    assert!(!with.text().contains("are configured"), "{}", with.text());
    let json = whole.browser().get("/status.json").await.body;
    for page in [&without.body, &with.body, &json] {
        for secret in ["127.0.0.1", "localhost:5", "postgresql://", "hostaddr"] {
            assert!(!page.contains(secret), "{secret} in {page}");
        }
    }
    let all: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(all["here"], "us-east1");
    assert!(all.get("schemaVersion").is_none(), "versions are for administrators");
    for region in all["regions"].as_array().unwrap() {
        assert_eq!((&region["state"], &region["epoch"]), (&"writable".into(), &1.into()), "{region}");
        assert!(region["roundTripMs"].as_f64() > Some(0.0), "{region}");
    }
    alone.running.stop().await;
    whole.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn urls_of_the_own_and_of_unknown_regions_are_refused_at_the_start() {
    let world = world().await;
    let own = movr::config::Config::from_vars([
        ("MOVR_REGION", "us-east1"),
        ("DATABASE_URL", "postgresql://a@b/c"),
        ("MOVR_DATABASE_URL_US_EAST1", "postgresql://a@b/c"),
        ("MOVR_PUBLIC_URL", "http://movr.test"),
    ]);
    assert!(own.unwrap_err().to_string().contains("MOVR_DATABASE_URL_US_EAST1: names the instance's own region"));
    let config = world.settings("us-east1", &[("MOVR_DATABASE_URL_EUROPE_WEST9", &world.database.url)]);
    let Err(error) = movr::ops::service::Service::start(config, world.clock.clone()).await else { panic!("it starts") };
    assert!(error.to_string().contains("MOVR_DATABASE_URL_EUROPE_WEST9"), "{error}");
    world.end().await;
}
