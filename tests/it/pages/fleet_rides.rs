//! Rides for the operators of their city: found by state, length, vehicle and number; ended for a
//! reason; credited once, and no more than they cost; and who rode, for those who say why they ask.

use chrono::Duration;
use chrono_tz::America::New_York;
use movr::{
    db::fleet_rides::{self, Credit},
    domain::{refusal::Refusal, region::RegionCode, ride::RideRef},
    ops::{self, Done, OpError},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{rides, tariffs::with_role};
use crate::support::{
    Browser, World,
    app::{Instance, PASSWORD},
    crowd::{crowd, redirect},
    html::Page,
    world,
};

const LIST: &str = "/fleet/rides?city=new-york";

async fn scene() -> (World, Instance, Browser) {
    let world = world().await;
    world.sample(&["new-york"], 0, 12).await;
    let instance = world.instance("us-east1").await;
    let operator = with_role(&instance, "boston", "operator", "new-york").await;
    operator.get("/profile").await;
    (world, instance, operator)
}

/// Time goes by, and everybody signs in again.
async fn wait(world: &World, time: Duration, people: &[&Browser]) {
    world.clock.advance(time);
    for person in people {
        person.sign_in(&person.name, PASSWORD).await.location();
    }
}

async fn end(world: World, instance: Instance) {
    instance.running.stop().await;
    world.end().await;
}

/// Ends the ride for its rider.
async fn force(operator: &Browser, ride: &str, how: &[(&str, &str)]) -> Page {
    let place = [("city", "new-york"), ("place", "Depot"), ("lat", "40.73"), ("lon", "-73.99")];
    operator.post(&format!("/fleet{ride}/end"), &[&place[..], how].concat()).await
}

async fn credit(operator: &Browser, ride: &str, command: Uuid, seen: &str, amount: &str) -> Page {
    let id = command.to_string();
    let form = [("command", &*id), ("city", "new-york"), ("seen", seen), ("amount", amount), ("reason", "fault")];
    operator.post(&format!("/fleet{ride}/credit"), &form).await
}

fn numbers(page: &Page) -> Vec<String> {
    page.texts("table tbody th")
}

#[actix_web::test]
async fn rides_are_found_by_state_length_vehicle_and_number() {
    let (world, instance, operator) = scene().await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let long = rides::start(&ann, "new-york").await;
    world.set("UPDATE vehicles SET code = 'NY-7' WHERE open_ride_id IS NOT NULL").await;
    wait(&world, Duration::hours(4), &[&bob, &operator]).await;
    let short = rides::start(&bob, "new-york").await;
    let page = operator.get(LIST).await;
    assert_eq!((page.status, page.timing()), (StatusCode::OK, (2, 1)));
    let both = numbers(&page);
    assert_eq!(both.len(), 2, "{}", page.text());
    assert_eq!(
        page.attributes("tbody th a", "href"),
        [format!("/fleet{long}"), format!("/fleet{short}")],
        "longest first"
    );
    assert!(page.text().contains("1 ride on this page has been under way for more than 3 hours"), "{}", page.text());
    assert!(!page.text().contains("Pat") && page.text().contains(" 4 h 1 min "), "{}", page.text());
    let vehicle: Uuid = {
        let sql = world.sql().await;
        sql.query_one("SELECT id FROM vehicles WHERE code = 'NY-7'", &[]).await.unwrap().try_get(0).unwrap()
    };
    rides::end(&bob, &short).await;
    let (number, vehicle) = (both[0].to_lowercase(), vehicle.to_string());
    for (query, found) in [
        ("", &both[..1]),
        ("&longer=180", &both[..1]),
        ("&longer=720", &[]),
        ("&state=ended", &both[1..]),
        ("&state=ended&longer=30", &[]),
        ("&state=ended&at=2020-01-01T10:00", &[]),
        ("&q=ny-7", &both[..1]),
        ("&q=NY-7&at=2020-01-01T10:00", &[]),
        (&format!("&q={vehicle}"), &both[..1]),
        (&format!("&q={number}"), &both[..1]),
        (&format!("&q={}", both[1]), &both[1..]),
        ("&q=USE1-200101-22222", &[]),
    ] {
        let page = operator.get(&format!("{LIST}{query}")).await;
        assert_eq!((page.status, page.timing()), (StatusCode::OK, (2, 1)), "{query}");
        assert_eq!(numbers(&page), found, "{query}");
    }
    for wrong in ["&longer=7", "&at=soon", "&state=lost", "&state=ended&longer=7"] {
        let page = operator.get(&format!("{LIST}{wrong}")).await;
        assert_eq!((page.status, page.texts("[role=alert]").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1), "{wrong}");
        assert_eq!(numbers(&page), &both[..1], "{wrong}: the list without it");
    }
    end(world, instance).await;
}

/// In started minutes, as charged, wherever it is shown.
#[actix_web::test]
async fn a_ride_lasts_as_long_on_every_page() {
    let (world, instance, operator) = scene().await;
    let ann = instance.person("new-york").await;
    let ride = rides::start(&ann, "new-york").await;
    let shown = async |query: &str| {
        let list = operator.get(&format!("{LIST}{query}")).await.texts("tbody td:nth-child(4)");
        let own = operator.get(&format!("/fleet{ride}")).await.texts(".facts div");
        [list, own.iter().filter_map(|fact| fact.strip_prefix("Duration ").map(str::to_owned)).collect()].concat()
    };
    let open = shown("").await;
    assert!(open.len() == 2 && open.iter().all(|time| time != "0 min"), "{open:?}");
    rides::end(&ann, &ride).await;
    let vehicle = operator.get(&format!("{LIST}&state=ended")).await.attributes("tbody td a", "href").remove(0);
    for (interval, minutes, words) in [("29 s", 1, "1 min"), ("3 h 4 min 30 s", 185, "3 h 5 min")] {
        let price = format!("unlock_minor + per_minute_minor * {minutes}");
        world
            .set(&format!(
                "UPDATE rides SET started_at = ended_at - '{interval}'::INTERVAL, minutes = {minutes},
                   max_charge_minor = NULL, charge_minor = {price}, total_minor = {price}"
            ))
            .await;
        assert_eq!(shown("&state=ended").await, [words, words]);
        assert!(ann.get(&ride).await.texts(".facts div").contains(&format!("Time {words}")), "the receipt");
        assert!(ann.get("/rides").await.texts(".rows small")[1].starts_with(&format!("{words} · ")));
        assert!(operator.get(&vehicle).await.text().contains(&format!("{words}, ")), "the vehicle's history");
    }
    end(world, instance).await;
}

#[actix_web::test]
async fn every_ended_ride_is_listed_once_and_a_search_says_where_it_stopped() {
    let (world, instance, operator) = scene().await;
    rides::end(&operator, &rides::start(&operator, "new-york").await).await;
    let columns = "city, vehicle_id, vehicle_type, start_lat, start_lon, start_place, end_lat, end_lon, end_place,
        outside_area, distance_m, currency, unlock_minor, per_minute_minor, out_of_area_minor";
    world
        .set(&format!(
            "INSERT INTO rides (region, id, started_at, ended_at, {columns}, minutes, charge_minor, discount_minor,
               fee_minor, total_minor, version)
             SELECT region, gen_random_uuid(), started_at - '1 day'::INTERVAL, started_at - '1 day'::INTERVAL
               + CASE WHEN n = 1100 THEN '2 h'::INTERVAL ELSE '1 minute'::INTERVAL END - n * '1 ms'::INTERVAL, {columns},
               CASE WHEN n = 1100 THEN 120 ELSE 1 END, unlock_minor + per_minute_minor * CASE WHEN n = 1100 THEN 120 ELSE 1 END,
               0, 0, unlock_minor + per_minute_minor * CASE WHEN n = 1100 THEN 120 ELSE 1 END, 2
             FROM rides, generate_series(1, 1100) AS n"
        ))
        .await;
    // The long one is the oldest.
    world.set("UPDATE rides SET ended_at = ended_at - '3 h'::INTERVAL, started_at = started_at - '3 h'::INTERVAL WHERE minutes = 120").await;
    let vehicle: Uuid = {
        let sql = world.sql().await;
        sql.query_one("SELECT DISTINCT vehicle_id FROM rides", &[]).await.unwrap().try_get(0).unwrap()
    };
    let of_vehicle = format!("&q={vehicle}");
    for (query, rides, pages, set) in [
        ("&state=ended", 1101, 23, ""),
        ("&state=ended&longer=60", 1, 2, ""),
        (&of_vehicle, 1101, 23, ""),
        (&of_vehicle, 1, 2, "UPDATE rides SET city = 'boston' WHERE minutes = 1"),
    ] {
        world.set(set).await;
        let (mut path, mut found, mut seen) = (format!("{LIST}{query}"), Vec::new(), 0);
        loop {
            let page = operator.get(&path).await;
            (seen, found) = (seen + 1, [found, page.attributes("tbody th a", "href")].concat());
            match page.attributes("nav.pages a[rel=next]", "href").pop() {
                Some(next) => path = next,
                None => break,
            }
        }
        assert_eq!((found.len(), seen), (rides, pages), "{query}");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), rides, "{query}: none twice");
    }
    end(world, instance).await;
}

#[actix_web::test]
async fn an_operator_ends_a_ride_for_a_reason_at_the_fare_they_choose() {
    let (world, instance, operator) = scene().await;
    let ann = instance.person("new-york").await;
    let price = "UPDATE tariffs SET unlock_minor = 150, per_minute_minor = 30, max_charge_minor = NULL";
    world.set(&format!("{price}; UPDATE catalogue SET version = version + 1")).await;
    instance.running.state.service.reload_catalogue().await.unwrap();
    for (how, minutes, owed) in [("", 240, "$73.50"), ("until", 10, "$4.50"), ("free", 240, "$0.00")] {
        let ride = rides::start(&ann, "new-york").await;
        let until = world.clock.now() + Duration::seconds(570);
        wait(&world, Duration::seconds(14_370), &[&ann, &operator]).await;
        let local =
            |at: chrono::DateTime<chrono::Utc>| at.with_timezone(&New_York).format("%Y-%m-%dT%H:%M:%S").to_string();
        let (until, late) = (local(until), local(world.clock.now() + Duration::hours(1)));
        let before = world.rows().await;
        for wrong in [
            &[("charge", how)][..],
            &[("reason", "bored")],
            &[("reason", "fault"), ("charge", "until"), ("until", "")],
            &[("reason", "fault"), ("charge", "until"), ("until", &late)],
        ] {
            let page = force(&operator, &ride, wrong).await;
            assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
            assert_eq!(page.attributes("#place", "value"), ["Depot"], "kept as typed");
        }
        assert_eq!(world.rows().await, before);
        let good = [("reason", "left_running"), ("charge", how), ("until", &until)];
        let ended = redirect(&instance, &force(&operator, &ride, &good).await);
        assert!(ended.good && ended.location == format!("/fleet{ride}"), "{ended:?}");
        assert_eq!(redirect(&instance, &force(&operator, &ride, &good).await).text, "That was done already.");
        let receipt = ann.get(&ride).await;
        assert_eq!(receipt.texts(".total"), [owed], "{}", receipt.text());
        assert!(
            receipt.text().contains("ended this ride for you. Reason: The ride was left running."),
            "{}",
            receipt.text()
        );
        assert!(receipt.text().contains(&format!("{minutes} min")), "{}", receipt.text());
        assert_eq!(receipt.text().contains("Credit (The ride was left running) −$73.50"), how == "free");
        assert_eq!(operator.get(&ended.location).await.texts("form[action$=credit]").len(), usize::from(how != "free"));
    }
    end(world, instance).await;
}

#[actix_web::test]
async fn what_an_operator_decides_of_a_ride_that_has_ended_is_not_reported_as_done() {
    let (world, instance, operator) = scene().await;
    let colleague = with_role(&instance, "boston", "operator", "new-york").await;
    let ann = instance.person("new-york").await;
    let free = [("reason", "left_running"), ("charge", "free")];
    // The rider was first.
    let ride = rides::start(&ann, "new-york").await;
    rides::end(&ann, &ride).await;
    // Or another operator, who charged it.
    let charged = rides::start(&ann, "new-york").await;
    assert!(redirect(&instance, &force(&colleague, &charged, &free[..1]).await).good);
    let before = world.rows().await;
    for (ride, how) in
        [(&ride, &free[..]), (&ride, &free[..1]), (&charged, &free[..]), (&charged, &[("reason", "fault")])]
    {
        let late = redirect(&instance, &force(&operator, ride, how).await);
        assert!(!late.good && late.text.contains("This ride has already ended."), "{how:?}: {late:?}");
    }
    assert_eq!(redirect(&instance, &force(&operator, &charged, &free[..1]).await).text, "That was done already.");
    assert_eq!(world.rows().await, before);
    end(world, instance).await;
}

#[actix_web::test]
async fn a_credit_is_given_once_and_is_never_more_than_is_owed() {
    let (world, instance, operator) = scene().await;
    let other = with_role(&instance, "boston", "operator", "boston").await;
    let ann = instance.person("new-york").await;
    let ride = rides::start(&ann, "new-york").await;
    let first = Uuid::new_v4();
    let before = world.rows().await;
    let refused = redirect(&instance, &credit(&operator, &ride, first, "0", "1").await);
    assert!(refused.text.contains("still under way"), "{refused:?}");
    assert_eq!(world.rows().await, before);
    rides::end(&ann, &ride).await;
    let owed = world.count("SELECT total_minor FROM rides").await;
    let more = format!("{}.{:02}", (owed + 1) / 100, (owed + 1) % 100);

    let before = world.rows().await;
    for browser in [&ann, &other] {
        assert_eq!(credit(browser, &ride, first, "0", "1").await.status, StatusCode::FORBIDDEN);
        assert_eq!(browser.get(&format!("/fleet{ride}")).await.status, StatusCode::FORBIDDEN);
    }
    // Nor as one of the city that they operate.
    let id = first.to_string();
    let form = [("command", &*id), ("city", "boston"), ("seen", "0"), ("amount", "1"), ("reason", "fault")];
    assert_eq!(other.post(&format!("/fleet{ride}/credit"), &form).await.status, StatusCode::NOT_FOUND);
    for amount in ["0", "-1", "much", &more] {
        let page = credit(&operator, &ride, first, "0", amount).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{amount}");
        assert_eq!(page.texts("#amount-error").len(), 1);
    }
    assert_eq!(world.rows().await, before);

    let clicks =
        futures_util::join!(credit(&operator, &ride, first, "0", "1"), credit(&operator, &ride, first, "0", "1"));
    let mut said = [clicks.0, clicks.1].map(|page| redirect(&instance, &page).text);
    said.sort();
    assert_eq!(said, ["$1.00 credited. It is on the rider's receipt.", "That was done already."]);
    let late = redirect(&instance, &credit(&operator, &ride, Uuid::new_v4(), "0", "0.10").await);
    assert!(late.text.contains("was changed since the page was loaded"), "{late:?}");
    let page = credit(&operator, &ride, Uuid::new_v4(), "100", &format!("{}.{:02}", owed / 100, owed % 100)).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "with the first it would be too much");
    assert_eq!(world.count("SELECT credited_minor FROM rides").await, 100);
    let receipt = ann.get(&ride).await;
    let left = format!("${}.{:02}", (owed - 100) / 100, (owed - 100) % 100);
    assert!(receipt.text().contains("Credit (The vehicle broke down) −$1.00"), "{}", receipt.text());
    assert_eq!((receipt.texts(".total"), receipt.texts("tfoot td")), (vec![left.clone()], vec![left]));
    let event =
        "SELECT count(*) FROM events WHERE aggregate_type = 'ride' AND action = 'ride.credited' AND version = 3";
    assert_eq!(world.count(event).await, 1);
    assert!(operator.get("/fleet/audit?type=ride").await.text().contains("ride.credited"));
    let data: Value = serde_json::from_str(&ann.get("/profile/export").await.body).unwrap();
    assert_eq!(data["regions"]["us-east1"]["rides"][0]["credited_minor"], json!(100));
    end(world, instance).await;
}

/// What a wrong price cost too much is computed, and so given by whoever looks at the page.
#[actix_web::test]
async fn an_operator_who_rides_needs_another_one_to_pay_less() {
    let (world, instance, colleague) = scene().await;
    let (service, riders) = (&instance.running.state.service, crowd(&instance, 1).await);
    let operator = &riders[0].browser;
    movr::ops::accounts::grant(&service.db, &operator.name, "operator", "new-york").await.unwrap();
    operator.get("/profile").await;
    let ride = rides::start(operator, "new-york").await;
    let own = |page: &Page| {
        let refused = redirect(&instance, page);
        assert!(!refused.good && refused.text.contains("Please ask another operator"), "{refused:?}");
    };
    let before = world.rows().await;
    for how in [&[("reason", "fault"), ("charge", "free")][..], &[("reason", "fault")]] {
        own(&force(operator, &ride, how).await);
    }
    assert_eq!(world.rows().await, before);
    rides::end(operator, &ride).await.location();
    let before = world.rows().await;
    own(&credit(operator, &ride, Uuid::new_v4(), "0", "0.01").await);
    assert_eq!(world.rows().await, before);
    let east: RegionCode = "us-east1".parse().unwrap();
    let computed = [Credit { ride: ride.rsplit_once('/').unwrap().1.parse().unwrap(), minor: 1, seen_minor: 0 }];
    let given = ops::signed_write(service, &riders[0].auth, (&east, Uuid::new_v4()), async |conn, write| {
        fleet_rides::credit(conn, write, "new-york", "wrong_price", &computed).await
    });
    let given = given.await;
    assert!(matches!(given, Err(OpError::Refused(Refusal::OwnInterest))), "{given:?}");
    assert!(redirect(&instance, &credit(&colleague, &ride, Uuid::new_v4(), "0", "0.01").await).good);
    end(world, instance).await;
}

/// Without a form, whose checks stand before those of the statement.
#[actix_web::test]
async fn of_two_credits_at_once_one_is_given_and_all_together_are_no_more_than_is_owed() {
    let (world, instance, _) = scene().await;
    world.set("UPDATE vehicles SET type = 'bike'").await;
    let (service, riders) = (&instance.running.state.service, crowd(&instance, 3).await);
    for operator in &riders[..2] {
        let name = &operator.browser.name;
        movr::ops::accounts::grant(&service.db, name, "operator", "new-york").await.unwrap();
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        let ride = rides::start(&riders[2].browser, "new-york").await;
        rides::end(&riders[2].browser, &ride).await.location();
        ids.push(ride.rsplit_once('/').unwrap().1.parse().unwrap());
    }
    let owed = world.count("SELECT min(total_minor) FROM rides").await;
    let east: RegionCode = "us-east1".parse().unwrap();
    let give = async |n: usize, of: &[(usize, i64, i64)]| {
        let credit = |(n, minor, seen_minor): &(usize, i64, i64)| Credit {
            ride: ids[*n],
            minor: *minor,
            seen_minor: *seen_minor,
        };
        let credits: Vec<_> = of.iter().map(credit).collect();
        ops::signed_write(service, &riders[n].auth, (&east, Uuid::new_v4()), async |conn, write| {
            fleet_rides::credit(conn, write, "new-york", "fault", &credits).await
        })
        .await
    };
    let refused = |outcome: Result<Done, OpError>, of: &Refusal| {
        assert!(matches!(&outcome, Err(OpError::Refused(refusal)) if refusal == of), "{outcome:?}, not {of:?}");
    };
    let before = world.rows().await;
    for minor in [0, -1, i64::MIN, owed + 1, i64::MAX] {
        refused(give(0, &[(0, minor, 0)]).await, &Refusal::CreditTooHigh);
    }
    refused(give(0, &[(0, 1, 0), (1, owed + 1, 0)]).await, &Refusal::CreditTooHigh);
    assert_eq!(world.rows().await, before, "all of them or none");
    let both = futures_util::join!(give(0, &[(0, 60, 0)]), give(1, &[(0, 60, 0)]));
    let (done, late) = if both.0.is_ok() { both } else { (both.1, both.0) };
    assert_eq!(done.unwrap(), Done::Now);
    refused(late, &Refusal::Changed);
    refused(give(1, &[(0, owed - 59, 60)]).await, &Refusal::CreditTooHigh);
    assert_eq!(give(1, &[(0, owed - 60, 60), (1, 1, 0)]).await.unwrap(), Done::Now, "the rest");
    refused(give(0, &[(0, 1, owed)]).await, &Refusal::CreditTooHigh);
    let credited = "SELECT count(*) FROM rides WHERE credited_minor = total_minor OR credited_minor = 1";
    assert_eq!(world.count(credited).await, 2);
    end(world, instance).await;
}

#[actix_web::test]
async fn who_rode_is_told_to_those_who_say_why_they_ask_and_the_rider_can_see_it() {
    let (world, instance, operator) = scene().await;
    let colleague = with_role(&instance, "boston", "operator", "new-york").await;
    let (ann, guest) = (instance.person("new-york").await, instance.person("paris").await);
    let (ride, other) = (rides::start(&ann, "new-york").await, rides::start(&colleague, "new-york").await);
    let path = format!("/fleet{ride}/rider");
    let ask = async |browser: &Browser, path: &str, reason: &str| {
        let id = Uuid::new_v4().to_string();
        browser.post(path, &[("command", &*id), ("reason", reason)]).await
    };
    let knows = |page: &Page| page.text().contains("Pat Doe") && page.text().contains("pat@example.com");
    let before = world.rows().await;
    assert!(!knows(&operator.get(&path).await), "nobody has asked");
    assert_eq!(ask(&ann, &path, "police").await.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(&operator, &path, "curious").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.rows().await, before);
    // Nor as an operator of another city.
    let (service, crowd) = (&instance.running.state.service, crowd(&instance, 2).await);
    movr::ops::accounts::grant(&service.db, &crowd[1].browser.name, "operator", "boston").await.unwrap();
    let before = world.rows().await;
    let key = RideRef { region: "us-east1".parse().unwrap(), id: ride.rsplit_once('/').unwrap().1.parse().unwrap() };
    for (of, by, refusal) in [
        ("new-york", 0, Refusal::NotOperator),
        ("new-york", 1, Refusal::NotOperator),
        ("boston", 1, Refusal::NoSuchRide),
    ] {
        let question = (Uuid::new_v4(), "police");
        let asked = ops::fleet::ask_rider(service, &crowd[by].auth, (&key, of), &key.region, question).await;
        assert!(matches!(&asked, Err(OpError::Refused(why)) if *why == refusal), "{of}: {asked:?}");
    }
    assert_eq!(world.rows().await, before);
    let id = Uuid::new_v4().to_string();
    for _ in 0..2 {
        let twice = operator.post(&path, &[("command", &*id), ("reason", "lost_property")]).await;
        assert_eq!(twice.location(), path, "a double click");
    }
    assert_eq!(
        ask(&operator, &format!("/fleet{other}/rider"), "police").await.location(),
        format!("/fleet{other}/rider")
    );
    assert!(knows(&operator.get(&path).await), "{}", operator.get(&path).await.text());
    assert!(!knows(&colleague.get(&path).await), "who has not asked");
    world.clock.advance(Duration::minutes(16));
    assert!(!knows(&operator.get(&path).await), "not for ever");
    let data: Value = serde_json::from_str(&ann.get("/profile/export").await.body).unwrap();
    let requests = &data["regions"]["us-east1"]["rides"][0]["operator_requests"];
    assert_eq!((requests.as_array().unwrap().len(), &requests[0]["reason"]), (1, &json!("lost_property")));
    assert!(operator.get("/fleet/audit?type=rider_request").await.text().contains("ride.rider_asked"));
    for row in &world.rows().await["events"] {
        assert!(!row.contains("Doe") && !row.contains("example.com"), "{row}");
    }

    // Twenty within a day, each of them an event.
    for _ in 2..20 {
        assert_eq!(ask(&operator, &path, "police").await.location(), path);
    }
    let before = world.rows().await;
    assert!(redirect(&instance, &ask(&operator, &path, "police").await).text.contains("20 riders within a day"));
    assert_eq!(world.rows().await, before);
    assert_eq!(redirect(&instance, &ask(&colleague, &path, "police").await).text, "", "of one person");
    wait(&world, Duration::hours(24), &[&operator, &guest]).await;
    assert_eq!(redirect(&instance, &ask(&operator, &path, "police").await).text, "", "the next day");

    // A rider who is at home under another law is not named here.
    let abroad = format!("/fleet{}/rider", rides::start(&guest, "new-york").await);
    assert!(operator.get(&abroad).await.text().contains("Another law applies"));
    let refused = ask(&operator, &abroad, "police").await;
    assert!(
        refused.text().contains("rule jurisdiction")
            || redirect(&instance, &refused).text.contains("rule jurisdiction")
    );
    assert!(!knows(&operator.get(&abroad).await));
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'residency.rider_refused'").await, 1);
    let asked = "SELECT count(*) FROM events WHERE aggregate_type = 'rider_request'";
    assert_eq!(world.count(asked).await, 22);
    end(world, instance).await;
}
