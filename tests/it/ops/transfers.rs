//! Transfers between regions: what arrives and how, what is refused, a rider who is quicker,
//! a region that is closed or silent, a person's vehicle, a lost reply; and the process that
//! moves them killed in the middle, ten times.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use movr::{
    db::health::{Fault, Faults},
    ops,
};
use reqwest::StatusCode;
use tokio::process::Command;
use uuid::Uuid;

use super::jobs::{IDLE, ask, batch, chosen, done, operator};
use crate::support::{
    Browser, World,
    app::Instance,
    crowd::{bikes, crowd},
    faults::Proxy,
    process::{Serving, free_port, movr},
    world,
};

/// Every vehicle of the transfer has left and arrived exactly once, as events and rows say.
async fn moved_once(world: &World, expected: i64) {
    let pairs = "SELECT count(*) FROM events sent JOIN events received ON received.aggregate_id = sent.aggregate_id
          AND received.version = sent.version + 1 AND received.correlation_id = sent.correlation_id
        JOIN vehicles v ON v.id = sent.aggregate_id AND v.region = 'europe-west1' AND v.city = 'amsterdam'
          AND v.version = received.version AND v.status = 'maintenance' AND v.place = 'Depot'
        WHERE sent.action = 'vehicle.sent' AND sent.region = 'us-east1' AND sent.correlation_id = (SELECT id FROM jobs)
          AND received.action = 'vehicle.received' AND received.region = 'europe-west1'";
    assert_eq!(world.count(pairs).await, expected);
    for action in ["vehicle.sent", "vehicle.received"] {
        assert_eq!(world.count(&format!("SELECT count(*) FROM events WHERE action = '{action}'")).await, expected);
    }
    assert_eq!(world.count("SELECT count(*) FROM job_items WHERE state = 'done'").await, expected);
}

/// Boston with so many vehicles, nobody's own; an operator of both cities, at home there.
async fn scene(vehicles: usize) -> (World, Instance, Browser) {
    scene_with(vehicles, &[]).await
}

/// Nothing is moved but by the test, or by another instance.
async fn idle_scene(vehicles: usize) -> (World, Instance, Browser) {
    scene_with(vehicles, &IDLE).await
}

async fn scene_with(vehicles: usize, settings: &[(&str, &str)]) -> (World, Instance, Browser) {
    let world = world().await;
    world.sample(&["boston"], 0, vehicles).await;
    let instance = world.instance_with("us-east1", settings).await;
    let operator = operator(&instance, "boston", &["boston", "amsterdam"]).await;
    (world, instance, operator)
}

/// Waits until the page of the job says so.
async fn until(operator: &Browser, job: &str, words: &str) {
    for _ in 0..750 {
        if operator.get(job).await.text().contains(words) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never says {words}: {}", operator.get(job).await.text());
}

const TO: [(&str, &str); 1] = [("to_city", "amsterdam")];

async fn end(world: World, instance: Instance) {
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn vehicles_arrive_as_they_left_and_rides_stay_where_they_happened() {
    let (world, instance, operator) = scene(60).await;
    let sql = world.sql().await;
    let rider = &crowd(&instance, 1).await[0];
    let bike = &bikes(&sql, "boston").await[0];
    let ride = rider.browser.start(bike, Uuid::new_v4(), "").await.location();
    let end_of_ride = [("city", "boston"), ("place", "Corner"), ("lat", "42.36"), ("lon", "-71.06")];
    rider.browser.post(&format!("{ride}/end"), &end_of_ride).await.location();
    let before =
        "SELECT string_agg(concat_ws('|', id::TEXT, type, brand, colour, code, battery::TEXT, created_at::TEXT), ',' ORDER BY id)
        FROM vehicles";
    let before = async || -> String { sql.query_one(before, &[]).await.unwrap().try_get(0).unwrap() };
    world
        .set(
            "UPDATE vehicles SET note = 'Brakes', status = 'maintenance' WHERE code = (SELECT min(code) FROM vehicles)",
        )
        .await;
    let were = before().await;
    let public_id: Uuid =
        sql.query_one("SELECT public_id FROM vehicles WHERE id = $1", &[&bike.id]).await.unwrap().try_get(0).unwrap();
    let job = ask(&operator, "boston", "move", &TO).await;
    let page = operator.get(&job).await;
    assert!(
        page.text().contains("60 vehicles will move to the depot of Amsterdam, into maintenance."),
        "{}",
        page.text()
    );
    let page = done(&operator, &job).await;
    assert!(page.text().contains("Comparison Left 60") && page.text().contains("Arrived 60"), "{}", page.text());
    let sums = page.texts("dl code");
    assert!(sums.len() == 2 && sums[0] == sums[1] && sums[0].len() == 10, "{sums:?}");
    moved_once(&world, 60).await;
    assert_eq!(before().await, were, "the same vehicles");
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE note = 'Brakes'").await, 1, "with their notes");
    assert_eq!(rider.browser.get(&ride).await.status, StatusCode::OK, "the receipt is where it was");
    assert_eq!(
        world
            .count("SELECT count(*) FROM rides r JOIN vehicles v ON v.id = r.vehicle_id WHERE r.region = 'us-east1'")
            .await,
        1
    );
    // The old link finds it, once it is on the street.
    let there = world.instance("europe-west1").await;
    let back = ask(&operator, "amsterdam", "back", &[]).await;
    done(&operator, &back).await;
    there.running.stop().await;
    let moved = operator.get(&format!("/vehicles/us-east1/{public_id}")).await;
    assert_eq!(moved.location(), format!("/vehicles/europe-west1/{public_id}"));
    drop(sql);
    end(world, instance).await;
}

#[actix_web::test]
async fn each_vehicle_is_refused_for_its_own_reason() {
    let (world, instance, operator) = scene(40).await;
    let sql = world.sql().await;
    let riders = crowd(&instance, 3).await;
    let bikes = bikes(&sql, "boston").await;
    riders[0].browser.start(&bikes[0], Uuid::new_v4(), "").await.location();
    riders[1].browser.reserve(&bikes[1]).await.location();
    let lost = chosen(&world, &format!("id = '{}'", bikes[2].id)).await;
    done(&operator, &ask(&operator, "boston", "lost", &[("vehicle", &lost[0])]).await).await;
    world.sample(&["amsterdam"], 0, 1).await;
    world.set("UPDATE vehicles SET code = 'TWICE' WHERE city = 'amsterdam'").await;
    world.set(&format!("UPDATE vehicles SET code = 'TWICE' WHERE id = '{}'", bikes[3].id)).await;
    let job = ask(&operator, "boston", "move", &TO).await;
    // Its id is taken there: not by what any page of ours makes.
    let twin = format!(
        "INSERT INTO vehicles (region, id, public_id, city, type, status, brand, colour, battery, lat, lon, cell, place,
           version, created_at, changed_at, seen_at)
         SELECT 'europe-west1', id, gen_random_uuid(), 'paris', type, 'retired', brand, colour, battery, lat, lon, cell,
           place, 1, created_at, changed_at, seen_at
         FROM vehicles WHERE id = '{}'",
        bikes[5].id
    );
    world.set(&twin).await;
    // Quicker than the operator.
    riders[2].browser.start(&bikes[4], Uuid::new_v4(), "").await.location();
    let text = done(&operator, &job).await.text();
    for (words, times) in [
        ("It is reserved or being ridden.", 2),
        ("Its state does not allow this: lost.", 1),
        ("Another vehicle of that city has its code.", 1),
        ("Another vehicle of that region has its id.", 1),
        ("Changed since the page was drawn: ride.started at 20", 1),
    ] {
        assert_eq!(text.matches(words).count(), times, "{words}: {text}");
    }
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE city = 'amsterdam'").await, 1 + 34);
    world.set("DELETE FROM vehicles WHERE city = 'paris'").await;
    drop(sql);
    end(world, instance).await;
}

#[actix_web::test]
async fn a_rider_and_the_transfer_never_both_have_a_vehicle() {
    let (world, instance, operator) = scene(120).await;
    let sql = world.sql().await;
    let riders = crowd(&instance, 16).await;
    let bikes = bikes(&sql, "boston").await;
    let job = ask(&operator, "boston", "move", &TO).await;
    let start = async |n: usize| riders[n].browser.start(&bikes[n * 6], Uuid::new_v4(), "").await.status;
    let (starts, page) = tokio::join!(join_all((0..16).map(start)), done(&operator, &job));
    assert!(starts.iter().all(|status| *status == StatusCode::SEE_OTHER), "{starts:?}");
    assert!(page.text().contains("Comparison"), "{}", page.text());
    let riding = world.count("SELECT count(*) FROM vehicles WHERE region = 'us-east1' AND status = 'in_use'").await;
    assert_eq!(riding, world.count("SELECT count(*) FROM rides WHERE ended_at IS NULL").await);
    let refused = world.count("SELECT count(*) FROM job_items WHERE state = 'refused'").await;
    assert_eq!(refused, riding, "exactly those");
    moved_once(&world, 120 - riding).await;
    drop(sql);
    end(world, instance).await;
}

#[actix_web::test]
async fn both_cities_must_be_the_operators_and_both_gates_open() {
    let (world, instance, operator) = idle_scene(10).await;
    let boston = super::jobs::operator(&instance, "boston", &["boston"]).await;
    let form = |id: &str| {
        [
            ("id", id.to_owned()),
            ("city", "boston".into()),
            ("kind", "transfer".into()),
            ("all", "1".into()),
            ("drawn", "2999-01-01T00:00:00Z".into()),
            ("to_city", "amsterdam".into()),
        ]
    };
    let send = async |browser: &Browser| {
        let fields = form(&Uuid::new_v4().to_string());
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post("/fleet/jobs", &fields).await
    };
    assert_eq!(send(&boston).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
    let job = ask(&operator, "boston", "move", &TO).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    world.set("UPDATE region_gates SET write_state = 'read_only', epoch = 2, reason = 'moving' WHERE region = 'europe-west1'").await;
    let working = world.instance("us-east1").await;
    let operator_there = operator.at(&working);
    until(&operator_there, &job, "The region Europe West (Belgium) is read-only (moving).").await;
    let page = operator_there.get(&job).await;
    assert_eq!(page.attributes(&format!("a[href='{job}']"), "data-refresh"), ["10"]);
    let refused = send(&operator).await;
    assert_eq!(refused.status, StatusCode::SEE_OTHER);
    assert!(operator.get("/fleet/jobs?city=boston").await.flash().contains("Europe West (Belgium) is read-only"));
    moved_once(&world, 0).await;
    // The role for the other city is looked at in each move.
    world.set("DELETE FROM role_grants WHERE city = 'amsterdam'").await;
    world.set("UPDATE region_gates SET write_state = 'writable', epoch = 3 WHERE region = 'europe-west1'").await;
    until(&operator_there, &job, "no longer operates its cities").await;
    moved_once(&world, 0).await;
    ops::accounts::grant(&instance.running.state.service.db, &operator.name, "operator", "amsterdam").await.unwrap();
    until(&operator_there, &job, "Comparison Left 10").await;
    moved_once(&world, 10).await;
    working.running.stop().await;
    end(world, instance).await;
}

#[actix_web::test]
async fn a_silent_region_gets_no_transfer_and_the_job_can_be_cancelled() {
    let world = world().await;
    world.sample(&["boston"], 0, 20).await;
    let faults = Arc::<Faults>::default();
    let instance =
        world.instance_losing("us-east1", &[("MOVR_STATEMENT_TIMEOUT_MS", "700"), IDLE[0]], Arc::clone(&faults)).await;
    let operator = operator(&instance, "boston", &["boston", "amsterdam"]).await;
    let job = ask(&operator, "boston", "move", &TO).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    faults.write().insert("europe-west1".parse().unwrap(), Fault::Unreachable);
    operator.get("/vehicles?city=amsterdam").await;
    operator.until_status("europe-west1", false).await;
    let page = operator.get(&job).await;
    assert!(page.text().contains("The region Europe West (Belgium) does not answer."), "{}", page.text());
    let id = Uuid::new_v4().to_string();
    let form = [
        ("id", &*id),
        ("city", "boston"),
        ("kind", "transfer"),
        ("all", "1"),
        ("drawn", "2999-01-01T00:00:00Z"),
        TO[0],
    ];
    assert_eq!(operator.post("/fleet/jobs", &form).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(operator.post(&format!("{job}/cancel"), &[]).await.location(), job);
    assert!(operator.get(&job).await.text().contains("Cancelled"));
    faults.write().clear();
    operator.until_status("europe-west1", true).await;
    assert_eq!(world.count("SELECT count(*) FROM job_items WHERE state = 'cancelled'").await, 20);
    assert_eq!(world.count("SELECT count(*) FROM jobs").await, 1);
    end(world, instance).await;
}

/// The sample's people own some vehicles: here us-east1 does not let people move to Europe,
/// and us-west1 lets them move to us-east1.
#[actix_web::test]
async fn a_persons_vehicle_goes_only_where_the_person_may_go() {
    let world = world().await;
    world.sample(&["boston", "seattle"], 30, 60).await;
    let stay = "UPDATE residency_policies SET move_to = '[\"us-west1\"]' WHERE region = 'us-east1'";
    world.set(stay).await;
    let instance = world.instance("us-east1").await;
    let operator = operator(&instance, "boston", &["boston", "seattle", "amsterdam"]).await;
    let owned = |city: &str| format!("SELECT count(*) FROM vehicles WHERE city = '{city}' AND owner_id IS NOT NULL");
    let (here, west) = (world.count(&owned("boston")).await, world.count(&owned("seattle")).await);
    assert!(here > 0 && west > 0, "{here} {west}");
    let catalogue = instance.running.state.service.catalogue();
    let allows =
        |from: &str, to: &str| catalogue.policy(&from.parse().unwrap()).unwrap().allows_move_to(&to.parse().unwrap());
    assert!(!allows("us-east1", "europe-west1") && allows("us-west1", "us-east1"));
    let page = operator.get(&ask(&operator, "boston", "move", &TO).await).await;
    let words = "the data residency policy does not allow this (rule move_to)";
    assert_eq!(i64::try_from(page.text().matches(words).count()).unwrap(), here, "{}", page.text());
    let noted = format!("SELECT count(*) FROM events WHERE aggregate_type = 'residency_refusal' AND region = 'us-east1'
        AND metadata->>'rule' = 'move_to' AND metadata->>'to' = 'europe-west1' AND (metadata->>'vehicles')::INT8 = {here}");
    assert_eq!(world.count(&noted).await, 1);
    let counted = instance.running.state.service.residency_refusals.by_rule();
    assert_eq!(counted.get("move_to").copied(), u64::try_from(here).ok(), "counted for /status.json");
    // Inside one law they go, and their people know where they are.
    let west_instance = world.instance("us-west1").await;
    let job = ask(&operator, "seattle", "move", &[("to_city", "boston")]).await;
    done(&operator, &job).await;
    assert_eq!(world.count(&owned("seattle")).await, 0);
    let known = "SELECT count(*) FROM vehicles v JOIN users u ON u.id = v.owner_id AND u.region = v.owner_region
        WHERE v.region = 'us-east1' AND u.region = 'us-west1' AND u.present_in @> '[\"us-east1\"]'";
    assert_eq!(world.count(known).await, west);
    west_instance.running.stop().await;
    end(world, instance).await;
}

#[actix_web::test]
async fn a_lost_reply_moves_a_vehicle_once() {
    let (world, instance, operator) = idle_scene(30).await;
    let proxy = Proxy::before(&world.database.url).await;
    let behind = world.instance_with("us-east1", &[("DATABASE_URL", &proxy.url)]).await;
    let operator = operator.at(&behind);
    let job = ask(&operator, "boston", "move", &TO).await;
    // What a move carries and nothing else: where it goes.
    proxy.lose_reply_to(b"Depot", 7);
    let page = done(&operator, &job).await;
    assert_eq!((page.status, proxy.lost()), (StatusCode::OK, 1), "{}", page.text());
    moved_once(&world, 30).await;
    behind.running.stop().await;
    end(world, instance).await;
}

#[actix_web::test]
async fn what_did_not_arrive_keeps_the_transfer_open() {
    let (world, instance, operator) = idle_scene(10).await;
    let job = ask(&operator, "boston", "move", &TO).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    batch(&instance, &job).await.unwrap();
    moved_once(&world, 10).await;
    // As if the row had been lost on the way.
    world
        .set("UPDATE vehicles SET brand = brand || 'x' WHERE id = (SELECT id FROM vehicles ORDER BY id LIMIT 1)")
        .await;
    let working = world.instance("us-east1").await;
    until(&operator, &job, "Sent and received vehicles don't match.").await;
    let page = operator.get(&job).await;
    assert!(page.text().contains("Left 10") && page.text().contains("Arrived 9"), "{}", page.text());
    assert_eq!(world.count("SELECT count(*) FROM jobs WHERE state = 'running'").await, 1);
    world
        .set("UPDATE vehicles SET brand = rtrim(brand, 'x') WHERE id = (SELECT id FROM vehicles ORDER BY id LIMIT 1)")
        .await;
    world.until("SELECT count(*) FROM jobs WHERE state = 'done'", 1).await;
    working.running.stop().await;
    end(world, instance).await;
}

#[actix_web::test]
async fn killed_ten_times_in_the_middle_nothing_is_lost_or_doubled() {
    let (world, instance, operator) = idle_scene(600).await;
    let job = ask(&operator, "boston", "move", &TO).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    let id = job.rsplit_once('/').unwrap().1.to_owned();
    let proxy = Proxy::before(&world.database.url).await;
    proxy.delay(Duration::from_millis(3));
    let sql = world.sql().await;
    sql.batch_execute("SET default_transaction_isolation = 'read committed'").await.unwrap();
    let moved =
        async || crate::support::crowd::count(&sql, "SELECT count(*) FROM job_items WHERE state = 'done'").await;
    let mut at = Vec::new();
    for _ in 0..10 {
        let before = moved().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_movr"));
        command.args(["operator", "job", "us-east1", &id]).env_clear().env("DATABASE_URL", &proxy.url);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let in_the_middle = async {
            while moved().await < before + 10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), in_the_middle).await.expect("it moves nothing");
        // SIGKILL: nothing of it runs any more.
        child.kill().await.unwrap();
        at.push(moved().await);
    }
    // Statements that were under way are done or not when their connection is gone.
    assert!(at.len() == 10 && *at.last().unwrap() < 600, "killed in the middle: {at:?}");
    let ended = movr(&["operator", "job", "us-east1", &id], &[("DATABASE_URL", world.database.url.as_str())]).await;
    assert!(ended.code == Some(0) && ended.out.ends_with("the job is done\n"), "{ended:?}");
    moved_once(&world, 600).await;
    assert_eq!(world.count("SELECT count(*) FROM vehicles").await, 600);
    let page = operator.get(&job).await;
    assert!(page.text().contains("Left 600") && page.text().contains("Arrived 600"), "{}", page.text());
    drop((sql, proxy));
    end(world, instance).await;
}

/// Instances whose worker has the job are killed one after the other; the next goes on within
/// ten seconds, when the lease has run out, and not before.
#[actix_web::test]
async fn a_killed_instance_hands_its_job_over_within_ten_seconds() {
    let (world, instance, operator) = idle_scene(600).await;
    let job = ask(&operator, "boston", "move", &TO).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    let proxy = Proxy::before(&world.database.url).await;
    proxy.delay(Duration::from_millis(10));
    let sql = world.sql().await;
    sql.batch_execute("SET default_transaction_isolation = 'read committed'").await.unwrap();
    let moved =
        async || crate::support::crowd::count(&sql, "SELECT count(*) FROM job_items WHERE state = 'done'").await;
    let serve = async || {
        let serving = Serving::start(free_port(), &world.vars("us-east1", &[("DATABASE_URL", &proxy.url)]));
        serving.until(&reqwest::Client::new(), "ready").await;
        serving
    };
    let goes_on = async |from: i64| {
        while moved().await <= from {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (mut working, mut waits) = (serve().await, Vec::new());
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(20), goes_on(moved().await + 10)).await.expect("it moves nothing");
        let next = serve().await;
        working.kill().await;
        working = next;
        let (began, at) = (Instant::now(), moved().await);
        // What was under way is done or not within a moment.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(moved().await <= at + 8, "nobody else had the job");
        tokio::time::timeout(Duration::from_secs(10), goes_on(at + 8)).await.expect("handed over");
        waits.push(began.elapsed());
    }
    eprintln!("handed over after {waits:?}");
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(10)), "{waits:?}");
    world.until("SELECT count(*) FROM jobs WHERE state = 'done'", 1).await;
    moved_once(&world, 600).await;
    working.terminate();
    working.ended().await;
    drop((sql, proxy));
    end(world, instance).await;
}
