//! The audit as operators and administrators see it: who sees what, every filter, pages
//! that miss and repeat nothing while events arrive, the file, a silent region.

use std::{collections::BTreeSet, sync::Arc};

use movr::db::health::{Fault, Faults};
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    app::Instance,
    crowd::{bikes, crowd, street},
    html::Page,
    world,
};

const PATH: &str = "/fleet/audit";

async fn person(instance: &Instance, role: &str, city: &str) -> Browser {
    let person = instance.person("new-york").await;
    movr::ops::accounts::grant(&instance.running.state.service.db, &person.name, role, city).await.unwrap();
    // The cookie learns of the role.
    person.get("/profile").await;
    person
}

/// Time, action and object of each line, newest first.
fn lines(page: &Page) -> Vec<(String, String, String)> {
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let rows = page.attributes(".audit tbody time", "datetime").into_iter();
    let named = page.texts(".audit tbody th").into_iter().zip(page.texts(".audit tbody td:nth-child(3)"));
    rows.zip(named).map(|(at, (action, object))| (at, action, object)).collect()
}

/// All pages from `path` on.
async fn all(browser: &Browser, path: &str) -> Vec<(String, String, String)> {
    let (mut found, mut next) = (Vec::new(), path.to_owned());
    loop {
        let page = browser.get(&next).await;
        found.extend(lines(&page));
        match page.attributes("nav.pages a[rel=next]", "href").pop() {
            Some(href) => next = href,
            None => return found,
        }
    }
}

async fn count(world: &World, condition: &str) -> usize {
    let query = format!("SELECT count(*) FROM events WHERE region::TEXT = 'us-east1' AND {condition}");
    usize::try_from(world.count(&query).await).unwrap()
}

#[actix_web::test]
async fn filters_and_pages_show_each_event_once_newest_first() {
    let world = world().await;
    street(&world, &["new-york"], 60).await;
    let instance = world.instance("us-east1").await;
    let admin = person(&instance, "administrator", "").await;
    let rider = crowd(&instance, 1).await.remove(0);
    let bike = bikes(&world.sql().await, "new-york").await.remove(0);
    let ride = rider.browser.start(&bike, Uuid::new_v4(), "").await.location();
    rider.browser.end(&ride).await;
    let first = admin.get(PATH).await;
    assert_eq!((lines(&first).len(), first.timing()), (50, (2, 1)), "session and events in one wait");

    let riders = admin.get(&format!("{PATH}?action=ride.")).await.texts(".audit tbody td:nth-child(4)");
    assert!(!riders.is_empty() && riders.iter().all(|rider| rider == "not named"), "{riders:?}");

    let whole = all(&admin, PATH).await;
    assert_eq!(whole.len(), count(&world, "true").await);
    assert!(whole.is_sorted_by(|a, b| a.0 >= b.0), "newest first");
    assert_eq!(whole.iter().map(|line| &line.2).collect::<BTreeSet<_>>().len(), whole.len(), "each once");

    let actor = rider.auth.user.id;
    for (filter, condition) in [
        (format!("actor={actor}"), format!("actor_id = '{actor}'")),
        ("action=ride.".to_owned(), "action LIKE 'ride.%'".to_owned()),
        ("action=ride.%25".to_owned(), "false".to_owned()),
        ("type=vehicle".to_owned(), "aggregate_type = 'vehicle'".to_owned()),
        (format!("type=vehicle&id={}", bike.id), format!("aggregate_id = '{}'", bike.id)),
        (format!("type=user&id={}", bike.id), "false".to_owned()),
        (format!("actor={actor}&action=ride.ended"), format!("actor_id = '{actor}' AND action = 'ride.ended'")),
        ("from=2999-01-01T00:00".to_owned(), "false".to_owned()),
        ("to=2000-01-01T00:00".to_owned(), "false".to_owned()),
        ("from=2000-01-01T00:00&to=2999-01-01T00:00&region=us-east1".to_owned(), "true".to_owned()),
    ] {
        let found = all(&admin, &format!("{PATH}?{filter}")).await;
        assert_eq!(found.len(), count(&world, &condition).await, "{filter}");
    }
    let mine = all(&admin, &format!("{PATH}?actor=me")).await;
    assert!(mine.iter().any(|line| line.1 == "user.registered"), "{mine:?}");
    let of_bike = admin.get(&format!("{PATH}?type=vehicle&id={}", bike.id)).await;
    let actions: Vec<_> = lines(&of_bike).into_iter().map(|line| line.1).collect();
    assert_eq!(actions, ["ride.ended", "ride.started", "vehicle.added"]);
    assert_eq!(of_bike.attributes("select[name=type] option[selected]", "value"), ["vehicle"], "the form keeps it");

    // What arrives meanwhile moves nothing.
    let older = first.attributes("nav.pages a[rel=next]", "href").remove(0);
    let second = lines(&admin.get(&older).await);
    crowd(&instance, 3).await;
    assert_eq!(lines(&admin.get(&older).await), second);
    for (wrong, says) in [
        ("actor=ann", "not the id of an actor"),
        ("id=7", "not the id of an object"),
        ("from=yesterday", "date and time"),
        ("region=mars", "no such region"),
        ("before=x", "no such page"),
    ] {
        let page = admin.get(&format!("{PATH}?{wrong}")).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert!(page.text().contains(says), "{}", page.text());
        assert_eq!(page.texts(".audit tbody th").len(), 50, "{wrong}: the list without filters");
        let next = page.attributes("nav.pages a[rel=next]", "href").remove(0);
        assert_eq!(admin.get(&next).await.status, StatusCode::OK, "{next}");
        // A file begins at the beginning, and has no other wrong filter either: its link leads to this page then.
        let file = admin.get(&format!("{PATH}.csv?{wrong}")).await;
        let expected = if wrong == "before=x" { StatusCode::OK } else { page.status };
        assert_eq!((file.status, file.text().contains(says)), (expected, expected != StatusCode::OK), "{wrong}");
    }
    let there = admin.get(&format!("{PATH}?actor=ann&region=us-west1")).await;
    assert_eq!(there.attributes("[name=region] [selected]", "value"), ["us-west1"], "what was right is kept");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn operators_see_what_happens_to_vehicles_of_their_cities() {
    let world = world().await;
    street(&world, &["new-york", "boston"], 10).await;
    let instance = world.instance("us-east1").await;
    let rider = instance.person("new-york").await;
    for path in [PATH.to_owned(), format!("{PATH}.csv"), format!("{PATH}?actor=x")] {
        assert_eq!(rider.get(&path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    // The cookie does not know of the role yet; the row does.
    movr::ops::accounts::grant(&instance.running.state.service.db, &rider.name, "operator", "boston").await.unwrap();
    let boston = "aggregate_type = 'vehicle' AND aggregate_id IN (SELECT id FROM vehicles WHERE city = 'boston')";
    assert_eq!(all(&rider, PATH).await.len(), count(&world, boston).await);
    assert!(rider.get(PATH).await.text().contains("vehicles, rides, jobs and tasks of Boston"));
    assert_eq!(rider.get(PATH).await.attributes(".fleet-nav a[aria-current]", "href"), [PATH]);
    let new_york = "SELECT id FROM vehicles WHERE city = 'new-york' LIMIT 1";
    let foreign: Uuid = world.sql().await.query_one(new_york, &[]).await.unwrap().try_get(0).unwrap();
    assert_eq!(lines(&rider.get(&format!("{PATH}?type=vehicle&id={foreign}")).await), []);
    let file = rider.get(&format!("{PATH}.csv")).await;
    assert_eq!(file.body.lines().count() - 1, count(&world, boston).await);
    world.set("DELETE FROM role_grants WHERE role = 'operator'").await;
    for path in [PATH.to_owned(), format!("{PATH}.csv")] {
        assert_eq!(rider.get(&path).await.status, StatusCode::FORBIDDEN, "{path}: it is the row that counts");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn the_file_has_every_event_and_no_formula() {
    let world = world().await;
    // More than two chunks.
    world.sample(&["new-york", "boston"], 50, 2300).await;
    let instance = world.instance("us-east1").await;
    let admin = person(&instance, "administrator", "").await;
    world.set("UPDATE events SET action = '=HYPERLINK(\"x\")' WHERE action = 'user.role_granted'").await;
    let file = admin.get(&format!("{PATH}.csv")).await;
    assert_eq!(
        (file.status, file.headers["content-type"].to_str().unwrap()),
        (StatusCode::OK, "text/csv; charset=utf-8")
    );
    assert!(file.headers["content-disposition"].to_str().unwrap().contains("movr-audit.csv"));
    let mut reader = csv::Reader::from_reader(file.body.as_bytes());
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), count(&world, "true").await);
    assert!(records.len() > 2000, "{}", records.len());
    let keys: BTreeSet<_> = records.iter().map(|of| (of[3].to_owned(), of[4].to_owned(), of[5].to_owned())).collect();
    assert_eq!(keys.len(), records.len(), "each once");
    assert!(records.iter().any(|of| &of[2] == "'=HYPERLINK(\"x\")"), "neutral");
    assert!(records.iter().flat_map(|of| of.iter()).all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
    let some = admin.get(&format!("{PATH}.csv?action=vehicle.&type=vehicle")).await;
    assert_eq!(some.body.lines().count() - 1, count(&world, "action LIKE 'vehicle.%'").await);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_silent_region_says_so_and_the_others_show_theirs() {
    let world = world().await;
    let faults: Arc<Faults> = Arc::default();
    let settings = [("MOVR_STATEMENT_TIMEOUT_MS", "2000"), ("MOVR_WATCH_MS", "500")];
    let instance = world.instance_losing("us-east1", &settings, Arc::clone(&faults)).await;
    let admin = person(&instance, "administrator", "").await;
    let europe = format!("{PATH}?region=europe-west1");
    assert_eq!(admin.get(&europe).await.status, StatusCode::OK);
    faults.write().insert("europe-west1".parse().unwrap(), Fault::Unreachable);
    admin.until_status("europe-west1", false).await;
    let page = admin.get(&europe).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.text().contains("The region Europe West (Belgium) has not answered since"), "{}", page.text());
    assert!(!lines(&admin.get(PATH).await).is_empty());
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_rare_filter_looks_at_a_bounded_number_of_events_and_says_how_far_it_looked() {
    let world = world().await;
    world.sample(&["new-york"], 1, 5000).await;
    let instance = world.instance("us-east1").await;
    let admin = person(&instance, "administrator", "").await;
    let oldest = "(SELECT min(occurred_at) FROM events WHERE region = 'us-east1')";
    world
        .set(&format!("UPDATE events SET action = 'rare.one' WHERE region = 'us-east1' AND occurred_at = {oldest}"))
        .await;
    let rare = format!("{PATH}?action=rare.");
    let first = admin.get(&rare).await;
    assert_eq!((lines(&first), first.timing()), (Vec::new(), (2, 1)));
    assert!(
        first.text().contains("Searched back to") && first.text().contains("Search further back"),
        "{}",
        first.text()
    );
    assert!(!first.text().contains("No events match"));
    assert_eq!(all(&admin, &rare).await.len(), count(&world, "action = 'rare.one'").await);
    assert_eq!(admin.get(&rare.replace("audit?", "audit.csv?")).await.body.lines().count(), 2);
    // Whoever asks for the object itself finds all of it at once.
    let id = "SELECT aggregate_id FROM events WHERE action = 'rare.one'";
    let id: Uuid = world.sql().await.query_one(id, &[]).await.unwrap().try_get(0).unwrap();
    let of_it = lines(&admin.get(&format!("{PATH}?type=vehicle&id={id}")).await);
    assert!(of_it.iter().any(|(_, action, _)| action == "rare.one"), "{of_it:?}");
    if !instance.running.state.service.db.engine().cockroach {
        let statement =
            movr::db::all_statements().into_iter().find(|statement| statement.name == "audit.list").unwrap();
        let values =
            ["'us-east1'", "'2000-01-01'", "'2999-01-01'", "''", "'00000000-0000-0000-0000-000000000000'", "1", "NULL"];
        let values = [&values[..], &["'rare.'", "NULL", "NULL", "NULL", "51", "1000"]].concat().join(", ");
        let sql = world.sql().await;
        // So few events would rather be read all at once than joined by their key.
        let settings = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; ANALYZE";
        sql.batch_execute(&format!("{settings}; PREPARE rare AS {}", statement.text)).await.unwrap();
        let explained = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE rare ({values})");
        let plan: Value = sql.query_one(&explained, &[]).await.unwrap().try_get(0).unwrap();
        let read = rows_read(&plan[0]["Plan"]);
        assert!((1000.0..2200.0).contains(&read), "{read} events read\n{plan:#}");
    }
    instance.running.stop().await;
    world.end().await;
}

/// Rows that a plan took from events.
fn rows_read(node: &Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let own = if node["Relation Name"] == "events" {
        (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops")
    } else {
        0.0
    };
    own + node["Plans"].as_array().into_iter().flatten().map(rows_read).sum::<f64>()
}
