//! What happens when the database, or the way to it, fails: pages say so and come back
//! by themselves; a write whose reply was lost is found again and not repeated; under
//! cuts all the time nothing that was acknowledged is lost, and nothing is doubled.
//! All through a proxy in front of the database; the tests look at rows past it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use movr::domain::refusal::Refusal;
use reqwest::StatusCode;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    app::{Instance, PASSWORD},
    crowd::{Bike, Rider, bikes, count, crowd, redirect, street},
    faults::Proxy,
    html::Page,
    standin::{Answer, StandIn, stands_before},
    world,
};

/// An instance behind a proxy, people of New York, as many vehicles, and a way past the proxy.
struct Scene {
    world: World,
    proxy: Proxy,
    instance: Instance,
    riders: Vec<Rider>,
    sql: Client,
}

impl Scene {
    async fn new(people: usize, extra: &[(&str, &str)]) -> Self {
        let world = world().await;
        street(&world, &["new-york"], people).await;
        let proxy = Proxy::before(&world.database.url).await;
        let settings =
            [&[("DATABASE_URL", &*proxy.url), ("MOVR_CATALOGUE_RELOAD_S", "3600"), ("MOVR_WATCH_MS", "600000")], extra]
                .concat();
        let instance = world.instance_with("us-east1", &settings).await;
        let riders = crowd(&instance, people).await;
        let sql = world.sql().await;
        // Looking takes no part in the races of those who write.
        sql.batch_execute("SET default_transaction_isolation = 'read committed'").await.unwrap();
        Self { world, proxy, instance, riders, sql }
    }

    /// Two connections, both with every statement prepared: a form is one message to the database.
    async fn quiet(people: usize) -> Self {
        Self::new(people, &[("MOVR_POOL_SIZE", "2")]).await
    }

    async fn bikes(&self) -> Vec<Bike> {
        bikes(&self.sql, "new-york").await
    }

    async fn count(&self, text: &str) -> i64 {
        count(&self.sql, text).await
    }

    /// `path` answers with 200 again, soon.
    async fn recovers(&self, browser: &Browser, path: &str) {
        let began = Instant::now();
        while browser.get(path).await.status != StatusCode::OK {
            assert!(began.elapsed() < Duration::from_secs(10), "{path} does not come back");
        }
    }

    async fn end(self) {
        drop(self.sql);
        self.instance.running.stop().await;
        drop(self.proxy);
        self.world.end().await;
    }
}

/// A page to come back to, that says when.
fn come_back(page: &Page) {
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text());
    let seconds: u32 = page.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
}

#[actix_web::test]
async fn without_its_database_the_site_says_so_and_comes_back_by_itself() {
    let scene = Scene::new(1, &[]).await;
    let (ann, nobody) = (&scene.riders[0].browser, scene.instance.browser());
    let bike = &scene.bikes().await[0];
    for path in ["/readyz", "/vehicles", "/rides"] {
        assert_eq!(ann.get(path).await.status, StatusCode::OK, "{path}");
    }
    scene.proxy.refuse();
    scene.proxy.cut();
    for path in ["/rides", "/profile", "/my/vehicles"] {
        let page = ann.get(path).await;
        come_back(&page);
        assert!(page.text().contains("not answer"), "{path}: {}", page.text());
        assert_eq!(page.attributes("nav a[href=\"/profile\"]", "href").len(), 1, "{path}: still signed in");
        assert!(!page.headers.contains_key("set-cookie"), "{path}: the cookie stays as it is");
    }
    let list = nobody.get("/vehicles").await;
    assert_eq!(list.status, StatusCode::OK, "the last good list, from memory");
    assert!(list.headers["x-movr-freshness"].to_str().unwrap().ends_with("source=memory"));
    come_back(&nobody.get("/vehicles?city=boston").await);
    let refused = ann.start(bike, Uuid::new_v4(), "").await;
    come_back(&refused);
    assert!(refused.text().contains("Nothing was changed"), "{}", refused.text());
    assert_eq!(ann.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ann.get("/healthz").await.status, StatusCode::OK, "the process is well");
    assert_eq!(nobody.get("/").await.status, StatusCode::OK, "the landing page needs no figures");
    assert_eq!(scene.count("SELECT count(*) FROM rides").await, 0);

    scene.proxy.pass();
    scene.recovers(ann, "/rides").await;
    for path in ["/vehicles", "/rides", "/profile"] {
        assert_eq!(ann.get(path).await.status, StatusCode::OK, "{path}, with the same cookie");
    }
    assert!(redirect(&scene.instance, &ann.start(bike, Uuid::new_v4(), "").await).good);
    scene.end().await;
}

#[actix_web::test]
async fn a_database_that_answers_too_late_is_not_waited_for() {
    let short = [
        ("MOVR_STATEMENT_TIMEOUT_MS", "1500"),
        ("MOVR_WRITE_TIMEOUT_MS", "1500"),
        ("MOVR_CONNECT_TIMEOUT_MS", "1500"),
        ("MOVR_POOL_SIZE", "2"),
    ];
    let scene = Scene::new(1, &short).await;
    let (ann, bike, form) = (&scene.riders[0].browser, &scene.bikes().await[0], Uuid::new_v4());
    let ride = scene.riders[0].ride(form);
    scene.proxy.delay(Duration::from_mins(1));
    let began = Instant::now();
    // It reaches the database, and nobody hears of it.
    let page = ann.start(bike, form, "").await;
    come_back(&page);
    assert!(page.text().contains("check whether it was done"), "not that nothing was changed: {}", page.text());
    come_back(&ann.get("/rides").await);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    scene.proxy.cut();
    scene.proxy.pass();
    scene.recovers(ann, "/rides").await;
    assert_eq!(scene.count("SELECT count(*) FROM rides").await, 1);
    let again = redirect(&scene.instance, &ann.start(bike, form, "").await);
    assert_eq!((again.text.as_str(), again.location), ("", format!("/rides/us-east1/{ride}")));
    assert_eq!(scene.count("SELECT count(*) FROM rides").await, 1);
    scene.end().await;
}

#[actix_web::test]
async fn a_start_and_an_end_whose_replies_are_lost_are_one_ride_and_one_fare() {
    let scene = Scene::quiet(1).await;
    let (ann, bike, form) = (&scene.riders[0].browser, &scene.bikes().await[0], Uuid::new_v4());
    let ride = scene.riders[0].ride(form);
    scene.proxy.lose_reply_to(ride.as_bytes(), 0);
    let page = ann.start(bike, form, "").await;
    assert_eq!(scene.proxy.lost(), 1);
    let started = redirect(&scene.instance, &page);
    // No message: the second try found the ride of the first.
    assert_eq!((started.text.as_str(), &*started.location), ("", &*format!("/rides/us-east1/{ride}")));
    assert_eq!(ann.get(&started.location).await.status, StatusCode::OK);
    let rides = "SELECT (SELECT count(*) FROM rides WHERE ended_at IS NULL) * 10
        + (SELECT count(*) FROM events WHERE action = 'ride.started')";
    assert_eq!(scene.count(rides).await, 11, "one ride, one event");

    // The connection that was cut has a successor, warm like the first.
    scene.recovers(ann, "/rides").await;
    scene.proxy.lose_reply_to(ride.as_bytes(), 0);
    let ended = redirect(&scene.instance, &ann.end(&started.location).await);
    assert_eq!(scene.proxy.lost(), 2);
    assert_eq!((ended.good, ended.location), (true, started.location.clone()));
    let ends = "SELECT (SELECT count(*) FROM rides WHERE version = 2 AND minutes = 1
          AND total_minor = unlock_minor + per_minute_minor) * 10
        + (SELECT count(*) FROM events WHERE action = 'ride.ended')";
    assert_eq!(scene.count(ends).await, 11, "one fare, one event");
    assert!(ann.get(&started.location).await.text().contains("You owe"));
    scene.end().await;
}

#[actix_web::test]
async fn a_write_that_nobody_can_look_for_is_not_called_undone() {
    let scene = Scene::quiet(1).await;
    let (ann, bike, form) = (&scene.riders[0].browser, &scene.bikes().await[0], Uuid::new_v4());
    let ride = scene.riders[0].ride(form);
    scene.proxy.lose_all_after(ride.as_bytes());
    let page = ann.start(bike, form, "").await;
    come_back(&page);
    assert_eq!(scene.count("SELECT count(*) FROM rides").await, 1, "it happened");
    assert!(page.text().contains("check whether it was done"), "{}", page.text());
    scene.proxy.pass();
    scene.recovers(ann, "/rides").await;
    let again = redirect(&scene.instance, &ann.start(bike, form, "").await);
    assert_eq!((again.text.as_str(), again.location), ("", format!("/rides/us-east1/{ride}")));
    assert_eq!(scene.count("SELECT count(*) FROM rides").await, 1);
    scene.end().await;
}

#[actix_web::test]
async fn a_registration_whose_reply_is_lost_is_one_person_signed_in() {
    let scene = Scene::quiet(0).await;
    let newcomer = scene.instance.browser();
    let id = Uuid::parse_str(&newcomer.get("/register").await.field("id")).unwrap();
    let user = scene.instance.running.state.service.ids.row("user", &"us-east1".parse().unwrap(), None, id);
    scene.proxy.lose_reply_to(user.as_bytes(), 0);
    let text = id.to_string();
    let fields = [
        ("id", &*text),
        ("city", "new-york"),
        ("first_name", "Pat"),
        ("last_name", "Doe"),
        ("email", "pat@example.com"),
        ("username", "newcomer"),
        ("password", PASSWORD),
    ];
    let page = newcomer.post("/register", &fields).await;
    assert!(redirect(&scene.instance, &page).good);
    assert_eq!(scene.proxy.lost(), 1);
    assert_eq!(newcomer.get("/profile").await.status, StatusCode::OK);
    let rows = "SELECT (SELECT count(*) FROM users) * 100 + (SELECT count(*) FROM sessions) * 10
        + (SELECT count(*) FROM events WHERE action = 'user.registered')";
    assert_eq!(scene.count(rows).await, 111, "one person, one session, one event");
    scene.end().await;
}

/// Moving home is a transaction of several messages: whichever of their replies is lost,
/// it happened and the person is told so, or it did not and the page says that.
#[actix_web::test]
async fn a_move_that_loses_any_reply_is_made_or_not_as_the_person_is_told() {
    const PEOPLE: usize = 20;
    let scene = Scene::quiet(PEOPLE).await;
    let mut outcomes = Vec::new();
    for (skip, rider) in scene.riders.iter().enumerate() {
        scene.proxy.lose_reply_in_transaction(skip);
        let lost = scene.proxy.lost();
        let page = rider.browser.post("/profile/home", &[("city", "paris"), ("password", PASSWORD)]).await;
        scene.proxy.lose_no_reply();
        let lost = scene.proxy.lost() > lost;
        let moved = "SELECT count(*) FROM users u JOIN events e ON e.aggregate_id = u.id AND e.version = u.version
            WHERE u.id = $1 AND u.city = 'paris' AND u.region::TEXT = 'europe-west1' AND u.version = 2";
        let moved: i64 = scene.sql.query_one(moved, &[&rider.auth.user.id]).await.unwrap().try_get(0).unwrap();
        if page.status == StatusCode::SERVICE_UNAVAILABLE {
            come_back(&page);
            assert_eq!(moved, 0, "message {skip}: {}", page.text());
        } else {
            assert!(redirect(&scene.instance, &page).good, "message {skip}");
            assert_eq!(moved, 1, "message {skip}");
        }
        let path = if moved == 1 { "/" } else { "/profile" };
        scene.recovers(&rider.browser, path).await;
        outcomes.push((lost, moved == 1));
    }
    assert!(outcomes.contains(&(true, true)), "a lost COMMIT was found again: {outcomes:?}");
    assert_eq!(outcomes.last(), Some(&(false, true)), "every message had its turn: {outcomes:?}");
    scene.end().await;
}

/// PostgreSQL may cancel a read in favour of two writers.
#[actix_web::test]
async fn a_read_that_loses_a_race_is_read_again() {
    let scene = Scene::new(1, &[]).await;
    if !stands_before(&scene.world.database.url, "a_read_that_loses_a_race_is_read_again") {
        return scene.end().await;
    }
    let ann = &scene.riders[0].browser;
    let ride = redirect(&scene.instance, &ann.start(&scene.bikes().await[0], Uuid::new_v4(), "").await).location;
    let stand_in = StandIn::postgres(&scene.world.database.url).await;
    let (_, path) = scene.world.database.url.rsplit_once('/').unwrap();
    let url = stand_in.url(path.split('?').next().unwrap());
    let instance = scene.world.instance_with("us-east1", &[("DATABASE_URL", &url)]).await;
    let ann = ann.at(&instance);
    let read = "FROM rides WHERE region = $1::TEXT::crdb_internal_region AND id = $2 AND rider_id = $3";
    stand_in.answer_times(read, Answer::Error("40001", "restart transaction".to_owned()), 2);
    let page = ann.get(&ride).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert_eq!(page.timing().0, 4, "the session once, the ride three times");
    instance.running.stop().await;
    drop(stand_in);
    scene.end().await;
}

/// The same form again and again until there is an answer, as the page says is safe.
async fn insist(send: impl AsyncFn() -> Page) -> Page {
    let began = Instant::now();
    loop {
        let page = send().await;
        if page.status == StatusCode::SEE_OTHER {
            return page;
        }
        come_back(&page);
        assert!(began.elapsed() < Duration::from_mins(1), "no answer for a minute");
    }
}

#[actix_web::test]
async fn what_was_acknowledged_while_connections_are_cut_is_what_is_there() {
    const ENOUGH: usize = 20;
    let scene = Scene::new(8, &[]).await;
    let (rode, refused) = (RefCell::new(BTreeSet::new()), RefCell::new(BTreeSet::new()));
    let journey = async |n: usize| {
        let browser = &scene.riders[n].browser;
        let (mut done, mut turn) = (0, 0);
        while done < ENOUGH || scene.proxy.severed() < ENOUGH || scene.proxy.lost() < ENOUGH {
            turn += 1;
            // Neighbours want the same vehicle now and then.
            let bike = &scene.bikes().await[(n + turn * (n % 3)) % 8];
            let form = Uuid::new_v4();
            let ride = scene.riders[n].ride(form);
            let started = redirect(&scene.instance, &insist(async || browser.start(bike, form, "").await).await);
            if started.location != format!("/rides/us-east1/{ride}") {
                assert_eq!(started.text, Refusal::VehicleTaken.message(), "{started:?}");
                refused.borrow_mut().insert(ride);
                continue;
            }
            assert!(rode.borrow_mut().insert(ride));
            let ended = redirect(&scene.instance, &insist(async || browser.end(&started.location).await).await);
            assert!(ended.good && ended.location == started.location, "{ended:?}");
            done += 1;
        }
    };
    let faults = async {
        let known = || rode.borrow().len() + refused.borrow().len();
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(60)).await;
            // However slow the database is, somebody gets an answer between two cuts.
            while known() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            before = known();
            scene.proxy.cut();
            tokio::time::sleep(Duration::from_millis(40)).await;
            scene.proxy.lose_reply_to(b"", 0);
        }
    };
    tokio::select! {
        _ = join_all((0..8).map(journey)) => {}
        () = faults => {}
    }
    scene.proxy.lose_no_reply();
    let there = scene.sql.query("SELECT id, ended_at IS NOT NULL AND version = 2 FROM rides", &[]).await.unwrap();
    assert!(there.iter().all(|ride| ride.try_get(1).unwrap()), "all have ended, once");
    let there: BTreeSet<Uuid> = there.iter().map(|ride| ride.try_get(0).unwrap()).collect();
    assert_eq!(there, *rode.borrow(), "the ledger");
    assert!(there.is_disjoint(&refused.borrow()));
    for action in ["ride.started", "ride.ended"] {
        let events = scene.count(&format!("SELECT count(*) FROM events WHERE action = '{action}'")).await;
        assert_eq!(events, i64::try_from(there.len()).unwrap(), "{action}");
    }
    scene.recovers(&scene.riders[0].browser, "/rides").await;
    scene.end().await;
}
