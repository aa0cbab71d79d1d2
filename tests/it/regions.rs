//! What the application exists for: at home nobody waits for another region, a region
//! that is away is told honestly and bothers nobody else, nodes that fail are replaced
//! by the next ones. Distance is a proxy that delays, a lost node a proxy that refuses;
//! a lost region is a fault by the region that a statement names, since one PostgreSQL
//! cannot lose one.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use movr::{
    db::health::{Fault, Faults},
    domain::{refusal::Refusal, region::RegionCode},
};
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    app::{Instance, PASSWORD},
    crowd::{END, bikes, count, crowd, street, told},
    faults::Proxy,
    html::Page,
    world,
};

const EUROPE: &str = "MOVR_DATABASE_URL_EUROPE_WEST1";
const WEST: &str = "MOVR_DATABASE_URL_US_WEST1";

fn region(code: &str) -> RegionCode {
    code.parse().unwrap()
}

/// What `/status.json` says of a region.
async fn status(browser: &Browser, code: &str) -> Value {
    let all: Value = serde_json::from_str(&browser.get("/status.json").await.body).unwrap();
    all["regions"].as_array().unwrap().iter().find(|region| region["region"] == code).unwrap().clone()
}

/// Waits until `/status.json` says so.
async fn until_status(browser: &Browser, code: &str, reachable: bool) {
    let began = Instant::now();
    while status(browser, code).await["reachable"] != reachable {
        assert!(began.elapsed() < Duration::from_secs(10), "{code} is never reachable: {reachable}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn milliseconds(page: &Page) -> f64 {
    let timing = page.headers["server-timing"].to_str().unwrap();
    timing.rsplit_once("total;dur=").unwrap().1.parse().unwrap()
}

#[actix_web::test]
async fn at_home_every_page_waits_once_however_far_the_others_are() {
    let world = world().await;
    street(&world, &["new-york"], 30).await;
    let [own, west, europe] = proxies(&world).await;
    let settings = [("DATABASE_URL", &*own.url), (WEST, &west.url), (EUROPE, &europe.url), ("MOVR_WATCH_MS", "600000")];
    let instance = world.instance_with("us-east1", &settings).await;
    let ann = crowd(&instance, 1).await.remove(0).browser;
    let bike = &bikes(&world.sql().await, "new-york").await[0];
    let nobody = instance.browser();
    ann.get("/").await;
    nobody.get("/vehicles").await;
    let ride = Uuid::new_v4();
    let (reserve, reserve_fields) = bike.reserve();
    own.delay(Duration::from_millis(70));
    west.delay(Duration::from_millis(140));
    europe.delay(Duration::from_millis(140));
    let mut table = vec!["| page | statements | waits | ms |\n|---|---|---|---|".to_owned()];
    let mut tell = |name: &str, page: &Page| {
        let (statements, waits) = page.timing();
        let ms = milliseconds(page);
        table.push(format!("| {name} | {statements} | {waits} | {ms:.0} |"));
        assert!(page.status.is_success() || page.status == StatusCode::SEE_OTHER, "{name}: {}", page.text());
        assert_eq!(waits, 1, "{name}: {table:#?}");
        assert!((69.0..135.0).contains(&ms), "{name}: {ms} ms");
        let timing = page.headers["server-timing"].to_str().unwrap();
        assert!(timing.contains("contract;desc=\"kept: here only\""), "{name}: {timing}");
    };
    tell("`/`, not signed in", &nobody.get("/").await);
    tell("`/vehicles`, not signed in", &nobody.get("/vehicles").await);
    for path in ["/", "/vehicles", "/rides", "/riders", "/profile", "/profile/home", "/profile/delete", "/my/vehicles"]
    {
        tell(&format!("`{path}`"), &ann.get(path).await);
    }
    tell("reserve", &ann.post(&reserve, &reserve_fields).await);
    tell("cancel the reservation", &ann.post("/reservation/cancel", &bike.cancel()).await);
    let started = ann.start(bike, ride, "").await;
    tell("start a ride", &started);
    let page = format!("/rides/us-east1/{ride}");
    tell("a ride's page", &ann.get(&page).await);
    let positions = r#"{"positions":[]}"#;
    let positions = ann.post_raw(&format!("{page}/positions"), "application/json", positions).await;
    tell("positions", &positions);
    tell("end the ride", &ann.post(&format!("{page}/end"), &END).await);
    tell("the receipt", &ann.get(&page).await);
    tell(
        "save the profile",
        &ann.post("/profile", &[("first_name", "P"), ("last_name", "D"), ("email", "p@example.com")]).await,
    );
    eprintln!("{}", table.join("\n"));
    for proxy in [&own, &west, &europe] {
        proxy.pass();
    }
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
        let (browser, mut turn) = (&riders[n].browser, 0);
        while !done.get() {
            turn += 1;
            // A vehicle has a new public id after each ride.
            let bike = bikes(&sql, "new-york").await.remove((n + turn * (n % 3)) % RIDERS);
            let ride = Uuid::new_v4();
            let started = told(&instance, &insist(async || browser.start(&bike, ride, "").await, &failed).await);
            if started.location != format!("/rides/us-east1/{ride}") {
                assert!([Refusal::VehicleTaken.message(), Refusal::VehicleGone.message()].contains(&started.text));
                refused.borrow_mut().insert(ride);
                continue;
            }
            rode.borrow_mut().insert(ride);
            let ended = insist(async || browser.end(&started.location).await, &failed).await;
            assert!(told(&instance, &ended).good);
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
        assert!(status(&riders[0].browser, "us-east1").await["reachable"] == true, "its rows answer");
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
    let fresh = async |wanted: bool| {
        let began = Instant::now();
        loop {
            let page = nobody.get("/vehicles").await;
            assert_eq!(page.status, StatusCode::OK, "fresh or the last good list: {}", page.text());
            if (page.headers["x-movr-freshness"] == "0; source=strong") == wanted {
                return began.elapsed();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "never {wanted}");
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

/// An instance in us-east1 to which regions can be lost.
async fn losing(world: &World, extra: &[(&str, &str)]) -> (Instance, Arc<Faults>) {
    let faults: Arc<Faults> = Arc::default();
    let settings =
        [&[("MOVR_STATEMENT_TIMEOUT_MS", "2000"), ("MOVR_WRITE_TIMEOUT_MS", "2000"), ("MOVR_WATCH_MS", "500")], extra]
            .concat();
    (world.instance_losing("us-east1", &settings, Arc::clone(&faults)).await, faults)
}

/// The median time of some tries of a page at home, in milliseconds.
async fn at_home(browser: &Browser) -> f64 {
    let mut times = Vec::new();
    for _ in 0..11 {
        let page = browser.get("/vehicles?city=new-york").await;
        assert_eq!(
            (page.status, page.headers["x-movr-freshness"].to_str().unwrap()),
            (StatusCode::OK, "0; source=strong")
        );
        times.push(milliseconds(&page));
    }
    times.sort_by(f64::total_cmp);
    times[5]
}

#[actix_web::test]
async fn a_silent_region_is_told_honestly_and_the_others_do_not_notice() {
    let world = world().await;
    street(&world, &["new-york", "paris", "rome"], 10).await;
    let (instance, faults) = losing(&world, &[]).await;
    let ann = crowd(&instance, 1).await.remove(0).browser;
    let sql = world.sql().await;
    let (home_bike, abroad) = (bikes(&sql, "new-york").await.remove(0), bikes(&sql, "paris").await.remove(0));
    let normal = at_home(&ann).await;
    let nobody = instance.browser();
    let fresh = nobody.get("/vehicles?city=paris").await;
    assert_eq!(fresh.headers["x-movr-freshness"], "0; source=strong");
    let cards = fresh.texts("ol.cards h2");
    assert!(cards.len() > 3);
    assert_eq!(status(&nobody, "europe-west1").await["source"], "strong");

    faults.write().unwrap().insert(region("europe-west1"), Fault::Silent);
    until_status(&nobody, "europe-west1", false).await;
    world.clock.advance(chrono::Duration::minutes(3));
    // Home does not notice.
    let meanwhile = at_home(&ann).await;
    eprintln!("a page at home: {normal:.1} ms, with europe-west1 away {meanwhile:.1} ms");
    assert!(meanwhile < normal + 50.0, "{meanwhile} ms instead of {normal} ms");
    assert!(told(&instance, &ann.reserve(&home_bike).await).good);
    assert!(told(&instance, &ann.post("/reservation/cancel", &home_bike.cancel()).await).good);

    // Paris shows its last list, with its time, and nothing can be taken.
    let stale = nobody.get("/vehicles?city=paris").await;
    assert_eq!((stale.status, stale.timing().0), (StatusCode::OK, 0), "nobody queues behind the region");
    assert_eq!(stale.texts("ol.cards h2"), cards);
    assert!(stale.text().contains("The region europe-west1 does not answer") && stale.text().contains("3 min ago"));
    let freshness = stale.headers["x-movr-freshness"].to_str().unwrap();
    let seconds: u32 = freshness.split_once("; source=memory").unwrap().0.parse().unwrap();
    assert!((180..200).contains(&seconds), "{freshness}");
    let stale = ann.get("/vehicles?city=paris").await;
    let buttons = stale.attributes("ol.cards button", "aria-label").len();
    assert!(buttons >= 2 * cards.len() && stale.attributes("ol.cards button:not([disabled])", "aria-label").is_empty());
    let before = world.rows().await;
    let refused = ann.start(&abroad, Uuid::new_v4(), "").await;
    says_which(&refused, "Nothing was changed");
    assert_eq!(world.rows().await, before, "a start in Paris changes nothing");
    assert_eq!(ann.get("/vehicles?city=paris&type=bike").await.status, StatusCode::OK, "filters work on the last list");

    // Rome was never asked for: there is nothing to show.
    says_which(&nobody.get("/vehicles?city=rome").await, "Everything about other regions works");
    assert_eq!(nobody.get("/?city=rome").await.status, StatusCode::OK, "the landing page needs no figures");
    let landing = nobody.get("/?city=paris").await;
    assert!(landing.text().contains("does not answer") && landing.headers["x-movr-freshness"] != "0; source=strong");
    // A username is unique everywhere.
    let form = nobody.get("/register").await;
    let id = form.field("id");
    let person = [
        ("id", &*id),
        ("city", "new-york"),
        ("first_name", "Pat"),
        ("last_name", "Doe"),
        ("email", "pat@example.com"),
        ("username", "newcomer"),
        ("password", PASSWORD),
    ];
    says_which(&nobody.post("/register", &person).await, "Nothing was changed");
    assert_eq!(world.rows().await, before);
    let page = nobody.get("/status").await;
    assert_eq!((page.status, page.timing()), (StatusCode::OK, (0, 0)));
    assert!(page.text().contains("does not answer since"), "{}", page.text());
    let europe = status(&nobody, "europe-west1").await;
    assert_eq!((europe["source"].as_str(), europe["reachable"].as_bool()), (Some("memory"), Some(false)));
    assert!(
        europe["degradedSince"].is_string() && europe["asOf"].is_string() && europe["lagSeconds"].as_i64() >= Some(180)
    );

    // It comes back by itself.
    faults.write().unwrap().clear();
    until_status(&nobody, "europe-west1", true).await;
    let back = nobody.get("/vehicles?city=paris").await;
    assert_eq!(back.headers["x-movr-freshness"], "0; source=strong");
    assert!(told(&instance, &nobody.post("/register", &person).await).good);
    let ride = told(&instance, &ann.start(&abroad, Uuid::new_v4(), "").await);
    assert!(ride.good && ride.location.starts_with("/rides/europe-west1/"), "{ride:?}");
    drop(sql);
    instance.running.stop().await;
    world.end().await;
}

fn says_which(page: &Page, words: &str) {
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text());
    assert!(page.headers.contains_key("retry-after"));
    assert!(page.text().contains("The region europe-west1 has not answered since"), "{}", page.text());
    assert!(page.text().contains(words), "{}", page.text());
}

#[actix_web::test]
async fn the_first_to_notice_waits_and_those_behind_do_not() {
    let world = world().await;
    street(&world, &["paris"], 5).await;
    let (instance, faults) = losing(&world, &[("MOVR_WATCH_MS", "600000")]).await;
    let nobody = instance.browser();
    assert_eq!(nobody.get("/vehicles?city=paris").await.status, StatusCode::OK);
    faults.write().unwrap().insert(region("europe-west1"), Fault::Silent);
    let began = Instant::now();
    let first = nobody.get("/vehicles?city=paris").await;
    assert!((Duration::from_secs(2)..Duration::from_secs(4)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert!(first.text().contains("does not answer"), "the last good list: {}", first.text());
    let began = Instant::now();
    let pages = join_all((0..40).map(|_| nobody.get("/vehicles?city=paris"))).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(pages.iter().all(|page| page.status == StatusCode::OK && page.timing().0 == 0));
    faults.write().unwrap().clear();
    until_status(&nobody, "europe-west1", true).await;
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_slow_statement_takes_no_region_away() {
    let world = world().await;
    street(&world, &["new-york"], 3).await;
    let (instance, faults) = losing(&world, &[("MOVR_WATCH_MS", "600000")]).await;
    let ann = crowd(&instance, 1).await.remove(0).browser;
    // Another region that is away does not change that.
    faults.write().unwrap().insert(region("europe-west1"), Fault::Silent);
    ann.get("/vehicles?city=rome").await;
    until_status(&ann, "europe-west1", false).await;
    let holder = world.sql().await;
    holder.batch_execute("BEGIN; UPDATE vehicles SET version = version WHERE true").await.unwrap();
    let bike = bikes(&holder, "new-york").await.remove(0);
    let page = ann.reserve(&bike).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text());
    assert!(!page.text().contains("has not answered since"), "it is not the region: {}", page.text());
    assert_eq!(status(&ann, "us-east1").await["degradedSince"], Value::Null);
    let list = ann.get("/vehicles?city=new-york").await;
    assert_eq!(list.headers["x-movr-freshness"], "0; source=strong");
    holder.batch_execute("ROLLBACK").await.unwrap();
    drop(holder);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn while_the_catalogue_cannot_be_read_a_whole_ride_is_ridden() {
    let world = world().await;
    street(&world, &["new-york"], 5).await;
    let settings = [("MOVR_CATALOGUE_RELOAD_S", "1"), ("MOVR_STATEMENT_TIMEOUT_MS", "1000")];
    let instance = world.instance_with("us-east1", &settings).await;
    let ann = crowd(&instance, 1).await.remove(0).browser;
    let holder = world.sql().await;
    if instance.running.app.db.engine().cockroach {
        eprintln!("SKIPPED while_the_catalogue_cannot_be_read_a_whole_ride_is_ridden: needs PostgreSQL (LOCK TABLE)");
    } else {
        let tables = "catalogue, regions, residency_policies, cities, vehicle_types, tariffs, promo_codes";
        holder.batch_execute(&format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        // Longer than a reload takes to give up.
        let aged = async || -> i64 {
            let all: Value = serde_json::from_str(&ann.get("/status.json").await.body).unwrap();
            all["catalogueAgeSeconds"].as_i64().unwrap()
        };
        while aged().await < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        let list = ann.get("/vehicles?city=new-york").await;
        let card = list.card(1);
        let card: Vec<(&str, &str)> = card.iter().map(|(name, value)| (&**name, &**value)).collect();
        let vehicle = card.iter().find(|(name, _)| *name == "vehicle").unwrap().1;
        assert!(told(&instance, &ann.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &card).await).good);
        let started = told(&instance, &ann.post("/rides", &card).await);
        assert!(started.good, "{started:?}");
        assert!(told(&instance, &ann.end(&started.location).await).good);
        assert!(ann.get(&started.location).await.text().contains("You owe"));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        holder.batch_execute("ROLLBACK").await.unwrap();
    }
    drop(holder);
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
    until_status(&alone.browser(), "us-west1", true).await;
    until_status(&whole.browser(), "us-west1", true).await;
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
    assert_eq!(all["schemaVersion"], movr::db::migrate::newest());
    assert!(all["catalogueVersion"].as_i64() > Some(0) && all["build"].is_string());
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
    let Err(error) = movr::app::App::start(config, world.clock.clone()).await else { panic!("it starts") };
    assert!(error.to_string().contains("MOVR_DATABASE_URL_EUROPE_WEST9"), "{error}");
    world.end().await;
}
