//! Rides that nobody ends: the system does, once, as of 24 hours after their start, at their
//! last known place and for the tariff's highest charge at most; and what their events say.

use chrono::Duration;
use movr::ops;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{
    app::PASSWORD,
    crowd::{bikes, count, crowd, redirect, street},
    world,
};

#[actix_web::test]
async fn a_ride_that_is_ended_late_costs_a_day() {
    let world = world().await;
    street(&world, &["new-york"], 2).await;
    let instance = world.instance("us-east1").await;
    let rider = crowd(&instance, 1).await.remove(0).browser;
    let sql = world.sql().await;
    let ride = redirect(&instance, &rider.start(&bikes(&sql, "new-york").await[0], Uuid::new_v4(), "").await).location;
    world.set("UPDATE sessions SET seen_at = now() + '9 days'::INTERVAL").await;
    world.clock.advance(Duration::hours(30));
    assert!(redirect(&instance, &rider.end(&ride).await).good);
    let day = "SELECT count(*) FROM rides WHERE minutes = 1440 AND ended_at = started_at + '24 h'::INTERVAL";
    assert_eq!(count(&sql, day).await, 1);
    drop(sql);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_ride_that_nobody_ends_is_ended_once_after_a_day() {
    let world = world().await;
    street(&world, &["new-york"], 6).await;
    world.set("UPDATE tariffs SET max_charge_minor = 2000; UPDATE catalogue SET version = version + 1").await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let other = world.service("us-east1").await;
    let service = &east.running.state.service;
    let sql = world.sql().await;
    let mut riders: Vec<_> = crowd(&east, 3).await.into_iter().map(|rider| rider.browser).collect();
    riders.push(europe.person("paris").await.at(&east));
    world.set("UPDATE sessions SET seen_at = now() + '9 days'::INTERVAL").await;
    let (bikes, mut rides) = (bikes(&sql, "new-york").await, Vec::new());
    for (rider, bike) in riders.iter().zip(&bikes) {
        let started = redirect(&east, &rider.start(bike, Uuid::new_v4(), "").await);
        assert!(started.good, "{started:?}");
        rides.push(started.location);
    }
    world.clock.advance(Duration::hours(1));
    let at = world.clock.now().to_rfc3339();
    let batch = format!(r#"{{"positions":[{{"at":"{at}","lat":40.73,"lon":-74.006}}]}}"#);
    let noted = riders[0].post_raw(&format!("{}/positions", rides[0]), "application/json", batch).await;
    assert_eq!(noted.status, StatusCode::NO_CONTENT);
    world.clock.advance(Duration::hours(23) - Duration::seconds(20));
    assert_eq!(ops::rides::end_overdue(service).await.unwrap(), 0, "not yet");
    riders[2].end(&rides[2]).await;

    world.clock.advance(Duration::seconds(30));
    assert_eq!(ops::rides::end_overdue(&europe.running.state.service).await.unwrap(), 0, "each region sees to its own");
    world
        .set("UPDATE region_gates SET write_state = 'read_only', epoch = epoch + 1 WHERE region = 'europe-west1'")
        .await;
    let both = futures_util::join!(ops::rides::end_overdue(service), ops::rides::end_overdue(&other));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 2, "once each; the rider at home in a closed region waits");
    world
        .set("UPDATE region_gates SET write_state = 'writable', epoch = epoch + 1 WHERE region = 'europe-west1'")
        .await;
    assert_eq!(ops::rides::end_overdue(service).await.unwrap(), 1);
    assert_eq!(ops::rides::end_overdue(service).await.unwrap(), 0);
    let ended = "SELECT count(*) FROM rides WHERE automatic AND NOT forced AND ended_at = started_at + '24 h'::INTERVAL
        AND minutes = 1440 AND charge_minor = 2000 AND total_minor = 2000 AND fee_minor = 0 AND version = 2";
    assert_eq!(count(&sql, ended).await, 3);
    let last = "SELECT count(*) FROM rides WHERE end_lat = 40.73 AND end_place = '1.2 mi north of the centre' AND distance_m > 0";
    assert_eq!(count(&sql, last).await, 1, "where it was last known to be");
    let free =
        "SELECT count(*) FROM vehicles v JOIN rides r ON r.vehicle_id = v.id AND v.lat = r.end_lat AND r.automatic
        WHERE v.status = 'available' AND v.open_ride_id IS NULL";
    assert_eq!(count(&sql, free).await, 3);
    assert_eq!(count(&sql, "SELECT count(*) FROM users WHERE open_ride_id IS NOT NULL").await, 0);
    let own = count(&sql, "SELECT count(*) FROM rides WHERE NOT automatic AND charge_minor = 2000").await;
    assert_eq!(own, 1, "who ended it in time pays no more than that either");

    let back = east.browser();
    back.sign_in(&riders[0].name, PASSWORD).await;
    let receipt = back.get(&rides[0]).await;
    for words in ["ended automatically after 24 h", "A ride costs $20.00 at most", "You owe $20.00"] {
        assert!(receipt.text().contains(words), "{words}: {}", receipt.text());
    }
    let operator = east.person("new-york").await;
    ops::accounts::grant(&service.db, &operator.name, "operator", "new-york").await.unwrap();
    operator.get("/profile").await;
    let page = operator.get(&format!("/fleet/vehicles/us-east1/{}", bikes[0].id)).await;
    assert_eq!(page.texts("ol.timeline b")[0], "Ride ended automatically after 24 h");
    other.db.close();
    drop(sql);
    for instance in [east, europe] {
        instance.running.stop().await;
    }
    world.end().await;
}

#[actix_web::test]
async fn events_of_rides_say_neither_who_nor_where() {
    let world = world().await;
    street(&world, &["new-york"], 4).await;
    let instance = world.instance("us-east1").await;
    let (service, sql) = (&instance.running.state.service, world.sql().await);
    let rider = crowd(&instance, 1).await.remove(0);
    let operator = instance.person("new-york").await;
    ops::accounts::grant(&service.db, &operator.name, "operator", "new-york").await.unwrap();
    operator.get("/profile").await;
    let bike = async || bikes(&world.sql().await, "new-york").await.remove(0);
    let browser = &rider.browser;
    browser.reserve(&bike().await).await;
    browser.post("/reservation/cancel", &bike().await.cancel()).await;
    for how in ["by its rider", "by an operator", "by the system"] {
        let bike = bike().await;
        let ride = browser.start(&bike, Uuid::new_v4(), "").await.location();
        let place = [("city", "new-york"), ("reason", "lost"), ("place", "Depot"), ("lat", "40.73"), ("lon", "-73.99")];
        match how {
            "by its rider" => drop(browser.end(&ride).await),
            "by an operator" => drop(operator.post(&format!("/fleet{ride}/end"), &place).await),
            _ => {
                world.clock.advance(Duration::hours(25));
                assert_eq!(ops::rides::end_overdue(service).await.unwrap(), 1);
            }
        }
    }
    let of_rides = "FROM events WHERE (action LIKE 'ride.%' OR action LIKE 'vehicle.reserv%')";
    let kinds =
        format!("SELECT count(DISTINCT action) * 100 + count(*) {of_rides} AND aggregate_id = '{}'", bike().await.id);
    assert_eq!(count(&sql, &kinds).await, 508, "of each kind");
    let says = format!(
        "SELECT count(*) {of_rides} AND (lat IS NOT NULL OR lon IS NOT NULL
           OR (actor_id IS NOT NULL OR actor_region IS NOT NULL) AND action <> 'ride.ended_by_operator')"
    );
    assert_eq!(count(&sql, &says).await, 0);
    let named = rider.auth.user.id.to_string();
    for row in &world.rows().await["events"] {
        assert!(row.contains("user.") || !row.contains(&named), "{row}");
    }
    drop(sql);
    instance.running.stop().await;
    world.end().await;
}
