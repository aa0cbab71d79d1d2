//! Moving home, erasing and exporting, without HTTP: what goes along and what stays, what
//! is refused whole, and the same person from many sides at once.

mod scene;

use std::{collections::HashSet, sync::Arc};

use chrono::Duration;
use movr::{
    clock::Clock,
    db::{Conn, Db, Write, meter::Meter, vehicles},
    domain::{
        catalogue::Catalogue,
        geo::{Point, cell},
        refusal::Refusal,
    },
    ops::{OpError, accounts, catalogue, erasure, passwords, vehicle_write},
};

use crate::support::engine;
use scene::{PASSWORD, Person, Scene, refused};

#[actix_web::test]
async fn a_move_takes_the_person_along_and_leaves_rides_and_vehicles() {
    let scene = Scene::new().await;
    scene.world.sample(&["paris"], 0, 3).await;
    let ann = scene.person("new-york", "ann").await;
    let id = ann.start.user.id;
    let vehicle = scene.add_vehicle(&ann).await;
    accounts::grant(&scene.service.db, "ann", "operator", "new-york").await.unwrap();
    let east = scene.ride(&ann, "new-york", "CITY2").await;
    let abroad = scene.ride(&ann, "paris", "").await;
    let other = scene.sign_in("ann", &ann.hash).await;

    let boston = scene.move_to(&ann, "boston").await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((&boston.start.user, boston.start.city.as_str()), (&ann.start.user, "boston"));
    assert_eq!(refused(scene.export(&other).await), Refusal::SignedOut, "the other session ended");
    assert_eq!(refused(scene.export(&ann).await), Refusal::SignedOut, "the session that moved ended too");
    let paris = scene.move_to(&boston, "paris").await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!((paris.start.user.region.as_str(), paris.start.user.id), ("europe-west1", id));
    for (what, sql, rows) in [
        ("the row", "SELECT region, city, username FROM users", "europe-west1|paris|ann".to_owned()),
        ("sessions", "SELECT region, count(*) FROM sessions GROUP BY region", "europe-west1|1".to_owned()),
        ("roles", "SELECT region, role, city FROM role_grants", "europe-west1|operator|new-york".to_owned()),
        ("codes", "SELECT region, ride_region FROM promo_redemptions", "europe-west1|us-east1".to_owned()),
        ("rides", "SELECT region FROM rides ORDER BY region::TEXT", "europe-west1;us-east1".to_owned()),
        (
            "vehicles",
            &format!("SELECT region, owner_region FROM vehicles WHERE id = '{vehicle}'"),
            "us-east1|europe-west1".to_owned(),
        ),
        (
            "events",
            &format!("SELECT region, action FROM events WHERE aggregate_id = '{id}' ORDER BY version"),
            "us-east1|user.registered;us-east1|user.role_granted;us-east1|user.home_moved;europe-west1|user.home_moved"
                .to_owned(),
        ),
    ] {
        assert_eq!(scene.one(sql).await, rows, "{what}");
    }
    assert_eq!(refused(scene.move_to(&boston, "boston").await), Refusal::SignedOut);
    assert_eq!(scene.sign_in("ann", &ann.hash).await.start.user, paris.start.user, "found in the new home");

    let meter = Arc::new(Meter::default());
    let all = Box::pin(meter.measure(scene.export(&paris))).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(
        meter.figures().regions.iter().map(movr::domain::region::RegionCode::as_str).collect::<Vec<_>>(),
        ["europe-west1", "us-east1"],
        "only where something is"
    );
    let text = all.to_string();
    for held in [&east.id, &abroad.id, &vehicle, &id] {
        assert!(text.contains(&held.to_string()), "{held} is not in {text}");
    }
    for secret in [&ann.hash, &passwords::token_hash(&paris.start.token), &paris.start.token] {
        assert!(!text.contains(secret.as_str()), "a secret in {text}");
    }
    assert_eq!(all["person"]["email"], "ann@example.com");
    let positions = |region: &str| all["regions"][region]["rides"][0]["positions"].as_array().unwrap().len();
    assert_eq!((positions("us-east1"), positions("europe-west1")), (3, 3));
    scene.end().await;
}

#[actix_web::test]
async fn what_stands_in_the_way_refuses_a_move_and_an_erasure_whole() {
    let scene = Scene::new().await;
    let ann = scene.person("new-york", "ann").await;
    let vehicle = scene.add_vehicle(&ann).await;
    let (service, city) = (&scene.service, scene.city("new-york"));
    let open = scene.start(&ann, "new-york", "").await.unwrap();
    let before = scene.personal().await;
    assert_eq!(refused(scene.move_to(&ann, "paris").await), Refusal::StillRiding);
    assert_eq!(refused(scene.erase(&ann).await), Refusal::StillRiding);
    assert_eq!(scene.personal().await, before);
    scene.end_ride(&ann, &open, &city).await;

    let (reserved, vehicle_type) = scene.vehicle(&city).await;
    movr::ops::vehicles::reserve(service, &scene.auth(&ann.start), &reserved, ("new-york", &vehicle_type))
        .await
        .unwrap();
    assert_eq!(refused(scene.move_to(&ann, "paris").await), Refusal::StillRiding, "a reservation");
    service.clock.advance(Duration::minutes(11));
    let before = scene.personal().await;
    let wrong = Person { hash: "another".to_owned(), ..ann.clone() };
    assert_eq!(refused(scene.move_to(&wrong, "paris").await), Refusal::Changed, "the password was changed since");
    assert_eq!(refused(scene.erase(&ann).await), Refusal::StillOwner);
    assert_eq!(scene.personal().await, before);

    // From us-west1, people may not go to Europe any more: refused by the rule's name, and noted.
    let seattle = scene.move_to(&ann, "seattle").await.unwrap_or_else(|error| panic!("{error:?}"));
    let text = movr::cli::migrate::SHIPPED.replace(
        "{ region = \"us-west1\", move_to = [\"us-east1\", \"us-west1\", \"europe-west1\"]",
        "{ region = \"us-west1\", move_to = [\"us-west1\", \"us-east1\"]",
    );
    let db = Db::open(&engine::tools(&scene.world.database.url).database).await.unwrap();
    let file = Catalogue::parse(&text).unwrap();
    assert_eq!(catalogue::load(&db, &file, &Clock::default()).await.unwrap(), 1);
    db.close();
    service.reload_catalogue().await.unwrap();
    let before = scene.personal().await;
    assert_eq!(refused(scene.move_to(&seattle, "rome").await), Refusal::Residency("move_to"));
    assert_eq!(scene.personal().await, before);
    let noted = "SELECT region, action, metadata->>'rule', metadata->>'to' FROM events
        WHERE aggregate_type = 'residency_refusal'";
    assert_eq!(scene.one(noted).await, "us-west1|residency.move_refused|move_to|europe-west1");

    // A closed gate of any region with something of the person refuses a move.
    let version = scene.one(&format!("SELECT version FROM vehicles WHERE id = '{vehicle}'")).await.parse().unwrap();
    let retire = async |conn: &Conn, write: &Write<'_>| vehicles::retire(conn, write, version).await;
    vehicle_write(service, &scene.auth(&seattle.start), (&city.region, vehicle), retire).await.unwrap();
    let gate = "UPDATE region_gates SET epoch = epoch + 1, write_state = ";
    scene.world.set(&format!("{gate} 'read_only' WHERE region = 'us-east1'")).await;
    let before = scene.personal().await;
    assert!(matches!(refused(scene.move_to(&seattle, "boston").await), Refusal::RegionReadOnly { .. }));
    assert_eq!(scene.personal().await, before);
    let angeles = scene.move_to(&seattle, "los-angeles").await.unwrap_or_else(|error| panic!("{error:?}"));
    // An erasure closes the account, and waits for that region.
    let erasure = erasure::close_account(service, &scene.auth(&angeles.start), &angeles.hash).await.unwrap();
    assert!(
        matches!(refused(scene.go_on(&erasure).await), Refusal::RegionReadOnly { region, .. } if region == city.region)
    );
    assert_eq!(scene.one("SELECT count(*) FROM users").await, "0");
    let linked = "SELECT (SELECT count(rider_id) FROM rides), (SELECT count(owner_id) FROM vehicles)";
    assert_eq!(scene.one(linked).await, "1|1");
    let report = "SELECT parameters->>'regions', requested_by <> '00000000-0000-0000-0000-000000000000' FROM jobs";
    assert_eq!(scene.one(report).await, "[\"us-east1\", \"us-west1\"]|t");
    scene.world.set(&format!("{gate} 'writable' WHERE region = 'us-east1'")).await;
    // The instance holds the old epoch: it reads the gate again, once.
    scene.go_on(&erasure).await.unwrap();
    assert_eq!(scene.one(linked).await, "0|0");
    assert_eq!(scene.one(report).await, "[]|f", "nothing in the job's row names the person");
    scene.end().await;
}

#[actix_web::test]
async fn erasing_leaves_anonymous_rides_and_nothing_else() {
    let scene = Scene::new().await;
    scene.world.sample(&["paris", "new-york"], 0, 3).await;
    let ann = scene.person("new-york", "ann").await;
    let id = ann.start.user.id;
    accounts::grant(&scene.service.db, "ann", "operator", "new-york").await.unwrap();
    scene.ride(&ann, "new-york", "CITY2").await;
    scene.ride(&ann, "paris", "").await;
    let quota = "SELECT granted - remaining FROM promo_quotas WHERE region = 'us-east1' AND code = 'CITY2'";
    assert_eq!(scene.one(quota).await, "1");
    scene.erase(&ann).await.unwrap();
    for table in ["users", "sessions", "role_grants", "promo_redemptions", "ride_positions"] {
        assert_eq!(scene.one(&format!("SELECT count(*) FROM {table}")).await, "0", "{table}");
    }
    let rides = "SELECT count(*), count(rider_id), count(rider_region), count(total_minor) FROM rides";
    assert_eq!(scene.one(rides).await, "2|0|0|2", "anonymous, with what they cost");
    assert_eq!(scene.one(quota).await, "1", "what was used stays used");
    let last = format!("SELECT action FROM events WHERE aggregate_id = '{id}' ORDER BY version DESC LIMIT 1");
    assert_eq!(scene.one(&last).await, "user.erased");
    let personal = "SELECT count(*) FROM events WHERE metadata::TEXT LIKE '%ann%'";
    assert_eq!(scene.one(personal).await, "0");
    assert_eq!(refused(scene.erase(&ann).await), Refusal::SignedOut);
    assert!(matches!(
        accounts::sign_in(&scene.service, "ann", PASSWORD, "x", None).await,
        Err(OpError::Refused(Refusal::NoMatch))
    ));
    scene.person("rome", "ann").await;
    scene.end().await;
}

#[actix_web::test]
async fn an_export_and_an_erasure_of_thousands_of_rides_are_complete() {
    let scene = Scene::new().await;
    let ann = scene.person("new-york", "ann").await;
    let id = ann.start.user.id;
    // 2,350 rides of one vehicle, several of them begun in the same instant, and 7 positions each.
    let rows = format!(
        "INSERT INTO vehicles (region, id, public_id, city, type, status, brand, colour, battery, lat, lon, cell, place, version,
           created_at, changed_at)
         VALUES ('europe-west1', '{id}', '{id}', 'paris', 'bike', 'retired', 'x', 'x', 9, 48, 2, {}, 'x', 1, now(), now());
         INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id, correlation_id, occurred_at,
           epoch, metadata) VALUES ('europe-west1', 'vehicle', '{id}', 1, 'x', '{id}', '{id}', now(), 1, '{{}}');
         INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at, start_lat, start_lon,
           start_place, currency, unlock_minor, per_minute_minor, out_of_area_minor, version, ended_at, end_lat, end_lon,
           end_place, outside_area, distance_m, minutes, charge_minor, discount_minor, fee_minor, total_minor)
         SELECT 'europe-west1', gen_random_uuid(), 'paris', '{id}', 'bike', 'us-east1', '{id}', at, 48, 2, 'p', 'EUR', 1, 1, 1, 2,
           at + '30 s'::INTERVAL, 48, 2, 'q', false, 1, 1, 2, 0, 0, 2
         FROM (SELECT '2026-01-01'::TIMESTAMPTZ - (n - n % 3) * '1 h'::INTERVAL AS at FROM generate_series(1, 2350) AS n) AS s;
         INSERT INTO ride_positions SELECT region, id, started_at + n * '1 s'::INTERVAL, 48, 2
         FROM rides, generate_series(1, 7) AS n;
         INSERT INTO ride_positions SELECT region, id, started_at + '1 s'::INTERVAL * n, 48, 2
         FROM (SELECT region, id, started_at FROM rides ORDER BY started_at DESC, id LIMIT 1) AS r, generate_series(8, 12000) AS n;
         UPDATE users SET present_in = '[\"europe-west1\"]' WHERE id = '{id}'",
        cell(Point::new(48.0, 2.0).unwrap()),
    );
    scene.world.set(&rows).await;
    let all = scene.export(&ann).await.unwrap_or_else(|error| panic!("{error:?}"));
    let rides = all["regions"]["europe-west1"]["rides"].as_array().unwrap();
    let ids: HashSet<_> = rides.iter().map(|ride| ride["id"].to_string()).collect();
    assert_eq!((rides.len(), ids.len()), (2350, 2350));
    let mut lengths: Vec<_> = rides.iter().map(|ride| ride["positions"].as_array().unwrap().len()).collect();
    lengths.sort_unstable();
    // One of them has more than a batch of the erasure takes.
    assert_eq!(lengths.pop(), Some(12_000));
    assert!(lengths.iter().all(|length| *length == 7));
    assert_eq!(all["missing"], serde_json::json!([]));
    scene.erase(&ann).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM ride_positions), (SELECT count(rider_id) FROM rides), count(*) FROM rides";
    assert_eq!(scene.one(left).await, "0|0|2350");
    scene.end().await;
}

#[actix_web::test]
async fn a_person_who_does_everything_at_once_is_never_in_two_places() {
    let scene = Scene::new().await;
    for round in 0..10 {
        let ann = scene.person("new-york", &format!("ann{round}")).await;
        let cities = ["paris", "boston", "seattle", "rome", "paris", "boston", "seattle", "rome"];
        let moves = futures_util::future::join_all(cities.map(|city| scene.move_to(&ann, city))).await;
        let (won, lost): (Vec<_>, Vec<_>) = moves.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}");
        for result in lost {
            assert_eq!(refused(result), Refusal::SignedOut, "round {round}");
        }
        let now = won.into_iter().next().unwrap().unwrap_or_else(|error| panic!("{error:?}"));
        let row = format!("SELECT region, city FROM users WHERE id = '{}'", ann.start.user.id);
        assert_eq!(scene.one(&row).await, format!("{}|{}", now.start.user.region, now.start.city), "round {round}");

        // Erasing, moving and starting a ride from one session: one of them, whichever is first.
        let eve = scene.person("new-york", &format!("eve{round}")).await;
        let owner = scene.person("new-york", &format!("owner{round}")).await;
        scene.add_vehicle(&owner).await;
        let (erased, moved, started) =
            tokio::join!(scene.erase(&eve), scene.move_to(&eve, "rome"), scene.start(&eve, "new-york", ""));
        let done = [erased.is_ok(), moved.is_ok(), started.is_ok()];
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "round {round}: {done:?}");
        let reasons = [erased.err(), moved.err(), started.err()].into_iter().flatten();
        for reason in reasons.map(|error| refused(Err::<(), _>(error))) {
            let expected = if done[2] {
                [Refusal::StillRiding, Refusal::Changed]
            } else {
                [Refusal::SignedOut, Refusal::SignedOut]
            };
            assert!(expected.contains(&reason), "round {round}: {done:?} and {reason:?}");
        }
        let out = "UPDATE vehicles SET status = 'maintenance' WHERE status = 'available'";
        scene.world.set(out).await;
    }
    scene.end().await;
}
