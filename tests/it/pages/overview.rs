//! The overview of all regions: its numbers are those of the rows, each region's carry
//! their time and source, and the same page can be shown again.

use std::sync::Arc;

use movr::db::health::{Fault, Faults};
use reqwest::StatusCode;
use uuid::Uuid;

use super::tariffs::with_role;
use crate::{
    ops::races::Arena,
    support::{
        Browser,
        crowd::{bikes, crowd, street},
        html::Page,
        world,
    },
};

const PATH: &str = "/fleet/overview";

/// The row of a city: its cells.
fn city(page: &Page, region: &str, name: &str) -> Vec<String> {
    let table = format!("[aria-labelledby={region}] > .scroll");
    let names = page.texts(&format!("{table} tbody th"));
    let row = names.iter().position(|found| found == name).unwrap_or_else(|| panic!("{name}: {names:?}"));
    let columns = page.texts(&format!("{table} thead th")).len() - 1;
    page.texts(&format!("{table} td"))[row * columns..][..columns].to_vec()
}

fn section(page: &Page, region: &str) -> String {
    page.texts(&format!("[aria-labelledby={region}]")).remove(0)
}

/// Rides once and ends it; the ride's id.
async fn ride(arena: &Arena, browser: &Browser, city: &str, bike: usize) -> Uuid {
    let ride = start(arena, browser, city, bike).await;
    end(arena, browser, city, &ride).await;
    ride.rsplit_once('/').unwrap().1.parse().unwrap()
}

async fn start(arena: &Arena, browser: &Browser, city: &str, bike: usize) -> String {
    let bike = &bikes(&arena.sql, city).await[bike];
    let started = arena.redirect(&browser.start(bike, Uuid::new_v4(), "").await);
    assert!(started.good, "{started:?}");
    started.location
}

async fn end(arena: &Arena, browser: &Browser, city: &str, ride: &str) {
    let (lat, lon) = if city == "paris" { ("48.8566", "2.3522") } else { ("40.7128", "-74.006") };
    let end = [("city", city), ("place", "Corner"), ("lat", lat), ("lon", lon)];
    assert!(arena.redirect(&browser.post(&format!("{ride}/end"), &end).await).good);
}

#[actix_web::test]
async fn its_numbers_are_those_of_the_rows_and_the_same_page_is_shown_again() {
    let arena = Arena::new(2, 8).await;
    let operator = with_role(&arena.instances[0], "boston", "operator", "rome").await;
    arena.world.set("UPDATE vehicles SET status = 'available' WHERE status = 'maintenance'").await;
    arena.world.set("UPDATE vehicles SET seen_at = now() - interval '2 days 23 hours'").await;
    let long = "UPDATE vehicles SET seen_at = now() - interval '73 hours' WHERE id IN
        (SELECT id FROM vehicles WHERE city = 'new-york' ORDER BY id LIMIT 3)";
    arena.world.set(long).await;
    let all = arena.count("SELECT count(*) FROM vehicles WHERE city = 'new-york' AND status = 'available'").await;
    let (ann, bob) = (arena.browser(0), arena.browser(1));
    let (new_york, yesterday) = (ride(&arena, &ann, "new-york", 5).await, ride(&arena, &ann, "new-york", 5).await);
    let week = ride(&arena, &ann, "new-york", 5).await;
    ride(&arena, &bob, "paris", 0).await;
    // A minute before midnight in New York is yesterday, also where it is tomorrow by UTC.
    for (id, days) in [(yesterday, 0), (week, 7)] {
        let to = format!(
            "((now() AT TIME ZONE 'America/New_York')::DATE::TIMESTAMP AT TIME ZONE 'America/New_York')
            - interval '1 minute' - {days} * interval '1 day'"
        );
        arena
            .world
            .set(&format!(
                "UPDATE rides SET started_at = started_at + (({to}) - ended_at), ended_at = {to}
            WHERE id = '{id}'"
            ))
            .await;
    }
    let open = arena.redirect(&bob.start(&bikes(&arena.sql, "paris").await[0], Uuid::new_v4(), "").await).location;
    let owed = "SELECT total_minor FROM rides WHERE id = ";
    let one = arena.count(&format!("{owed} '{new_york}'")).await;
    let dollars = |rides: i64| format!("{rides} ${}.{:02}", one * rides / 100, one * rides % 100);

    let page = operator.get(PATH).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let free = all.to_string();
    let expected = [&free, "0", "0", "0", "3", "0%", "0", &dollars(1), &dollars(2), &dollars(3)];
    assert_eq!(city(&page, "us-east1", "New York"), expected);
    let paris = city(&page, "europe-west1", "Paris");
    assert_eq!((paris[1].as_str(), paris[6].as_str()), ("1", "1"), "being ridden, and its ride: {paris:?}");
    assert!(paris[7].starts_with("1 €"), "{paris:?}");
    assert_eq!(city(&page, "us-west1", "Seattle")[7..], ["0", "0", "0"]);
    for region in ["us-east1", "us-west1", "europe-west1"] {
        assert!(section(&page, region).contains("✓ The cities add up to the region"), "{}", section(&page, region));
    }
    // What was credited is no revenue.
    arena
        .world
        .set(&format!("UPDATE rides SET credited_minor = 7, credit_reason = 'goodwill' WHERE id = '{new_york}'"))
        .await;
    let today = &city(&operator.get(PATH).await, "us-east1", "New York")[7];
    assert_eq!(*today, format!("1 ${}.{:02}", (one - 7) / 100, (one - 7) % 100));
    arena.world.set("UPDATE rides SET credited_minor = 0, credit_reason = NULL").await;
    let charts = page.texts("[aria-labelledby=us-east1] figcaption");
    assert!(charts[0].starts_with("Rides by day") && charts[1].starts_with("Revenue by day in USD"), "{charts:?}");
    assert_eq!(page.attributes("[aria-labelledby=us-east1] .chart rect", "x").len(), 60);
    let rows = page.texts("[aria-labelledby=us-east1] .chart:first-child tbody tr");
    assert_eq!(rows.iter().filter(|row| !row.ends_with(" 0")).count(), 3, "three days with rides: {rows:?}");
    for row in arena
        .sql
        .query("SELECT id FROM rides UNION SELECT id FROM vehicles UNION SELECT id FROM users", &[])
        .await
        .unwrap()
    {
        let id: Uuid = row.try_get(0).unwrap();
        assert!(!page.body.contains(&id.to_string()), "numbers only");
    }

    // The same again, after a ride that was under way has ended, where the clocks were changed meanwhile.
    let under_way = start(&arena, &ann, "new-york", 6).await;
    arena.world.set("UPDATE rides SET started_at = started_at - interval '1 minute' WHERE ended_at IS NULL").await;
    arena.world.set("UPDATE cities SET time_zone = 'Antarctica/Troll' WHERE slug = 'rome'").await;
    let past = operator.get(PATH).await.attributes("a[href*=as_of]", "href").remove(0);
    let first = operator.get(&past).await;
    end(&arena, &ann, "new-york", &under_way).await;
    let now = city(&operator.get(PATH).await, "us-east1", "New York");
    assert!(now.iter().any(|cell| cell.starts_with("4 $")), "{now:?}");
    let again = operator.get(&past).await;
    let figures = |page: &Page| page.texts(".panel table");
    assert_eq!(figures(&again), figures(&first));
    if !arena.instances[0].running.state.service.db.engine().regions {
        assert!(again.text().contains("keeps no history of vehicles"), "{}", again.text());
    }
    for wrong in ["2999-01-01T00:00:00Z", "yesterday"] {
        let page = operator.get(&format!("{PATH}?as_of={wrong}")).await;
        assert_eq!((page.status, page.texts("[role=alert]").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1), "{wrong}");
    }

    // What no city has is missed.
    arena.world.set(&format!("UPDATE rides SET city = 'atlantis' WHERE id = '{new_york}'")).await;
    let words = section(&operator.get(PATH).await, "us-east1");
    assert!(words.contains("! The cities do not add up to the region") && words.contains("3 of 4 rides"), "{words}");
    arena.world.set(&format!("UPDATE rides SET city = 'new-york' WHERE id = '{new_york}'")).await;
    assert!(
        arena
            .redirect(
                &bob.post(
                    &format!("{open}/end"),
                    &[("city", "paris"), ("place", "x"), ("lat", "48.8566"), ("lon", "2.3522")]
                )
                .await
            )
            .good
    );
    assert_eq!(ann.get(PATH).await.status, StatusCode::FORBIDDEN, "not for riders");
    arena.end().await;
}

#[actix_web::test]
async fn a_silent_region_shows_its_last_figures_and_a_policy_keeps_them_at_home() {
    let world = world().await;
    street(&world, &["new-york", "paris", "seattle"], 5).await;
    let faults: Arc<Faults> = Arc::default();
    let settings = [("MOVR_STATEMENT_TIMEOUT_MS", "2000"), ("MOVR_WRITE_TIMEOUT_MS", "2000"), ("MOVR_WATCH_MS", "500")];
    let east = world.instance_losing("us-east1", &settings, Arc::clone(&faults)).await;
    let europe = world.instance("europe-west1").await;
    let admin = with_role(&east, "boston", "administrator", "").await;
    // The cookie learns of the role; connections are made when they are needed.
    admin.get(PATH).await;
    let mut waits = Vec::new();
    for _ in 0..10 {
        let (statements, times) = admin.get(PATH).await.timing();
        assert_eq!(statements, 4, "the session and three regions");
        waits.push(times);
    }
    assert!(waits.contains(&1), "in one wait: {waits:?}");
    let fresh = admin.get(PATH).await;
    let before = city(&fresh, "europe-west1", "Paris");
    assert_ne!(before[0], "0");

    faults.write().insert("europe-west1".parse().unwrap(), Fault::Unreachable);
    admin.until_status("europe-west1", false).await;
    world.set("UPDATE vehicles SET status = 'lost' WHERE city IN ('paris', 'seattle')").await;
    let page = admin.get(PATH).await;
    assert_eq!(page.status, StatusCode::OK);
    let words = section(&page, "europe-west1");
    assert!(words.contains("has not answered since") && words.contains("last known figures"), "{words}");
    assert!(words.contains("· from memory"), "{words}");
    assert_eq!(city(&page, "europe-west1", "Paris"), before);
    assert_eq!(city(&page, "us-west1", "Seattle")[0], "0", "the others are of now: lost");
    let past = admin.get(&format!("{PATH}?as_of=2026-01-01T00:00:00Z")).await;
    assert!(section(&past, "europe-west1").contains("no earlier figures are known"), "not the wrong ones");
    faults.write().clear();
    admin.until_status("europe-west1", true).await;
    assert_eq!(city(&admin.get(PATH).await, "europe-west1", "Paris")[0], "0");

    world.set("UPDATE residency_policies SET analytics = false; UPDATE catalogue SET version = version + 1").await;
    for instance in [&east, &europe] {
        instance.running.state.service.reload_catalogue().await.unwrap();
    }
    let page = admin.get(PATH).await;
    assert!(section(&page, "europe-west1").contains("in EU (rule analytics)"), "{}", section(&page, "europe-west1"));
    assert!(page.texts("[aria-labelledby=europe-west1] table").is_empty());
    assert!(section(&page, "us-west1").contains("add up"), "the same law");
    assert_eq!(page.timing().0, 3, "it is not even asked");
    let there = admin.at(&europe).get(PATH).await;
    assert!(section(&there, "europe-west1").contains("add up") && section(&there, "us-east1").contains("in US (rule"));
    let rider = crowd(&east, 1).await.remove(0).browser;
    let refused = rider.get(PATH).await;
    assert_eq!((refused.status, refused.timing().0), (StatusCode::FORBIDDEN, 1), "and nobody is counted");
    for instance in [east, europe] {
        instance.running.stop().await;
    }
    world.end().await;
}
