//! Where rides have been: whatever two points the database holds, their distance is
//! computed; what cannot be true is dropped; the end of a ride reads none of it; and one
//! rule says how far from a city anything of it may be. With `MOVR_MEASURE=1`, the test of
//! 5,000 positions prints what the end of a ride costs with and without them.

use std::time::Instant;

use chrono::Duration;
use movr::{
    db::{all_statements, distance},
    domain::geo::Point,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use reqwest::StatusCode;

use crate::{
    pages::rides,
    support::{Browser, World, app::Instance, crowd::redirect, world},
};

/// Degrees up to `limit`, with what is near zero, near the limits, and as small as it gets.
fn degrees(limit: f64) -> impl Strategy<Value = f64> {
    let special = [0.0, -0.0, 5e-324, -5e-324, 1e-310, 1e-200, -1e-200, 1e-160, 1e-9, f64::MIN_POSITIVE];
    let near = proptest::sample::select(special.to_vec());
    prop_oneof![
        near.clone(),
        -limit..=limit,
        proptest::sample::select(vec![limit, -limit, limit - 1e-13, 90.0, 45.0]),
        (near, -limit..limit).prop_map(move |(small, large)| (large + small).clamp(-limit, limit)),
        any::<f64>().prop_filter_map("out of range", move |any| (any.abs() <= limit).then_some(any)),
    ]
}

#[actix_web::test]
async fn the_distance_of_any_two_points_is_computed() {
    let world = world().await;
    let sql = world.sql().await;
    let mut runner = TestRunner::deterministic();
    let one = (degrees(90.0), degrees(180.0), degrees(90.0), degrees(180.0));
    let four: Vec<_> = (0..20_000).map(|_| one.new_tree(&mut runner).unwrap().current()).collect();
    let columns: [Vec<f64>; 4] = [
        four.iter().map(|p| p.0).collect(),
        four.iter().map(|p| p.1).collect(),
        four.iter().map(|p| p.2).collect(),
        four.iter().map(|p| p.3).collect(),
    ];
    let text = format!(
        "SELECT {} FROM (SELECT n.lat, n.lon, n.n FROM unnest($1::FLOAT8[], $2::FLOAT8[]) WITH ORDINALITY AS n (lat, lon, n)) AS a
         JOIN (SELECT n.lat, n.lon, n.n FROM unnest($3::FLOAT8[], $4::FLOAT8[]) WITH ORDINALITY AS n (lat, lon, n)) AS b
           ON a.n = b.n ORDER BY a.n",
        distance::BETWEEN
    );
    let rows = sql.query(&text, &[&columns[0], &columns[1], &columns[2], &columns[3]]).await.unwrap();
    assert_eq!(rows.len(), four.len());
    for (row, (lat0, lon0, lat1, lon1)) in rows.iter().zip(four) {
        let found: f64 = row.try_get(0).unwrap();
        let expected = Point::new(lat0, lon0).unwrap().distance_m(Point::new(lat1, lon1).unwrap());
        // Opposite points differ by what an arc sine loses there.
        assert!(
            (found - expected).abs() <= 0.05 + expected * 1e-6,
            "{lat0} {lon0} {lat1} {lon1}: {found}, not {expected}"
        );
    }
    drop(sql);
    world.end().await;
}

async fn send(browser: &Browser, ride: &str, world: &World, points: &[(i64, &str, &str)]) {
    let at = |ago: i64| (world.clock.now() - Duration::seconds(ago)).to_rfc3339();
    let one = |(ago, lat, lon): &(i64, &str, &str)| format!(r#"{{"at":"{}","lat":{lat},"lon":{lon}}}"#, at(*ago));
    let batch = format!(r#"{{"positions":[{}]}}"#, points.iter().map(one).collect::<Vec<_>>().join(","));
    let answer = browser.post_raw(&format!("{ride}/positions"), "application/json", batch).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
}

async fn end_at(instance: &Instance, browser: &Browser, ride: &str, at: (&str, &str)) {
    let fields = [("city", "new-york"), ("place", "Corner"), ("outside", "1"), ("lat", at.0), ("lon", at.1)];
    let ended = redirect(instance, &browser.post(&format!("{ride}/end"), &fields).await);
    assert!(ended.good, "{ended:?}");
}

#[actix_web::test]
async fn positions_that_cannot_be_true_change_neither_the_way_nor_the_end() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let ride = rides::start(&ann, "new-york").await;
    world.set("UPDATE rides SET start_lat = 40.72, start_lon = -74.0").await;
    world.clock.advance(Duration::seconds(60));
    // Nowhere, hardly anywhere, in the future, before the start, and another city of the region.
    let nonsense =
        [(50, "0", "0"), (44, "1e-200", "0"), (-9, "40.72", "-74.0"), (90, "40.72", "-74.0"), (30, "42.36", "-71.06")];
    send(&ann, &ride, &world, &nonsense).await;
    assert_eq!(world.count("SELECT count(*) FROM ride_positions").await, 0);
    // 111 m each; one of them is ten kilometres off, the rest goes on as if it had not been.
    let track = [(40, "40.721", "-74.0"), (30, "40.82", "-74.0"), (20, "40.722", "-74.0"), (18, "40.7221", "-74.0")];
    send(&ann, &ride, &world, &track).await;
    send(&ann, &ride, &world, &track).await;
    send(&ann, &ride, &world, &[(10, "40.723", "-74.0"), (25, "40.7", "-74.0")]).await;
    let stored = "SELECT count(*) FROM ride_positions";
    assert_eq!(world.count(stored).await, 3);
    let noted = "SELECT count(*) FROM rides WHERE positions = 3 AND last_lat = 40.723 AND way_m BETWEEN 333 AND 334";
    assert_eq!(world.count(noted).await, 1);
    end_at(&instance, &ann, &ride, ("40.724", "-74.0")).await;
    assert_eq!(world.count("SELECT distance_m FROM rides").await, 445, "and 111 m to the end");

    // The end has no position before it that it could be compared with: its time does.
    let ride = rides::start(&ann, "new-york").await;
    world.clock.advance(Duration::seconds(3));
    end_at(&instance, &ann, &ride, ("40.5", "-74.3")).await;
    let fast = "SELECT max(distance_m) FROM rides WHERE positions = 0";
    assert!((100..200).contains(&world.count(fast).await), "three seconds at 120 km/h, and not 50 km");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
#[allow(clippy::print_stdout, reason = "a measurement is asked for to be read")]
async fn the_end_of_a_ride_reads_no_positions_and_there_are_5000_at_most() {
    for statement in all_statements() {
        let ends = ["rides.end", "rides.force_end"].contains(&statement.name);
        assert!(!ends || !statement.text.contains("ride_positions"), "{}", statement.name);
    }
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    world.set("UPDATE sessions SET seen_at = now() + '9 days'::INTERVAL").await;
    let measure = movr::config::env("MOVR_MEASURE").as_deref() == Some("1");
    for positions in [0, 4_999] {
        let mut times = Vec::new();
        for _ in 0..if measure { 11 } else { 1 } {
            let ride = rides::start(&ann, "new-york").await;
            world.clock.advance(Duration::hours(8));
            ann.get("/").await;
            let many = format!(
                "INSERT INTO ride_positions SELECT region, id, started_at + n * '5 s'::INTERVAL, 40.72, -74.0
                   FROM rides, generate_series(1, {positions}) AS n WHERE ended_at IS NULL;
                 UPDATE rides SET positions = {positions}, way_m = 7000, last_lat = 40.72, last_lon = -74.0,
                   last_at = started_at + {positions} * '5 s'::INTERVAL WHERE ended_at IS NULL AND {positions} > 0"
            );
            world.set(&many).await;
            if positions > 0 {
                send(&ann, &ride, &world, &[(20, "40.72", "-74.0"), (10, "40.72", "-74.0"), (5, "40.72", "-74.0")])
                    .await;
                let stored =
                    "SELECT count(*) FROM ride_positions p JOIN rides r ON r.id = p.ride_id WHERE ended_at IS NULL";
                assert_eq!(world.count(stored).await, 5_000);
            }
            let began = Instant::now();
            end_at(&instance, &ann, &ride, ("40.72", "-74.0")).await;
            times.push(began.elapsed());
        }
        times.sort();
        if measure {
            println!("end of a ride with {positions} positions: p50 {:?}, slowest {:?}", times[5], times[10]);
        }
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn one_rule_says_how_far_from_its_city_a_vehicle_may_be() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let (ann, operator) = (instance.person("new-york").await, instance.person("new-york").await);
    movr::ops::accounts::grant(&instance.running.state.service.db, &operator.name, "operator", "new-york")
        .await
        .unwrap();
    operator.get("/profile").await;
    let ride = rides::start(&ann, "new-york").await;
    let sql = world.sql().await;
    let id = async |text: &str| -> String {
        let text = format!("SELECT id::TEXT FROM vehicles WHERE status = '{text}' ORDER BY id LIMIT 1");
        sql.query_one(&text, &[]).await.unwrap().try_get(0).unwrap()
    };
    let free = id("available").await;
    let version = world.count(&format!("SELECT version FROM vehicles WHERE id = '{free}'")).await.to_string();
    let command = uuid::Uuid::new_v4().to_string();
    let before = world.rows().await;
    // 60 km north of the centre, near Africa, and as near to it as a number can say.
    for (lat, lon) in [("41.26", "-74.006"), ("0", "0"), ("5e-324", "1e-200")] {
        let place = [("city", "new-york"), ("place", "Corner"), ("lat", lat), ("lon", lon)];
        let edit = [("version", &*version), ("command", &*command), ("brand", "B"), ("colour", "c"), ("battery", "50")];
        let own = [("id", &*command), ("type", "bike"), ("brand", "B"), ("colour", "c")];
        for answer in [
            ann.post(&format!("{ride}/end"), &place).await,
            ann.post("/my/vehicles", &[&own[..], &place[1..]].concat()).await,
            operator.post(&format!("/fleet/vehicles/us-east1/{free}/edit"), &[&edit[..], &place[1..]].concat()).await,
            operator.post(&format!("/fleet{ride}/end"), &[&[("reason", "lost")][..], &place].concat()).await,
        ] {
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{lat} {lon}: {}", answer.text());
            assert!(answer.text().contains("too far from New York"), "{lat} {lon}: {}", answer.text());
        }
    }
    assert_eq!(world.rows().await, before);
    drop(sql);
    instance.running.stop().await;
    world.end().await;
}
