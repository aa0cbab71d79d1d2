//! Every statement of the program prepares on a migrated database, once, and says which
//! regions it may touch. The registry of statements has all that the source declares.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
};

use chrono::TimeDelta;
use movr::{
    db::{Db, all_statements, error::DbErrorKind, jobs, served_statements, statement::Reach, transfers, users},
    domain::{job::JobRef, refusal::Refusal},
};
use uuid::Uuid;

use crate::support::{
    crowd::{bikes, crowd, redirect, street},
    engine, world,
};

/// Every source file below `folder`, and what it says.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| {
        if path.is_dir() { sources(&path) } else { vec![(path.clone(), std::fs::read_to_string(&path).unwrap())] }
    });
    files.collect()
}

#[test]
fn every_statement_that_the_source_declares_is_registered_and_sent() {
    let mut declared = BTreeSet::new();
    // By the first file or folder below src/db: a file's parts are registered and sent there.
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let mut constants = Vec::new();
    for (path, text) in sources(Path::new("src")) {
        let Ok(inside) = path.strip_prefix("src/db") else {
            assert!(!text.contains(": Statement ="), "a statement in {}", path.display());
            continue;
        };
        let family = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let family = family.split('.').next().unwrap().to_owned();
        for (at, _) in text.match_indices(": Statement =") {
            let constant = text[..at].rsplit(' ').next().unwrap().to_owned();
            let name = text[at..].split('"').nth(1).unwrap().to_owned();
            let begun = &text[at..at + text[at..].find('"').unwrap()];
            assert!(begun.contains("Statement::read(") || begun.contains("Statement::write("), "{constant}: {begun}");
            constants.push((family.clone(), constant, name.clone()));
            assert!(declared.insert(name.clone()), "{name} twice");
        }
        families.entry(family).or_default().push_str(&text);
    }
    let registered: BTreeSet<String> = all_statements().iter().map(|statement| statement.name.to_owned()).collect();
    assert_eq!(declared, registered);
    for (family, constant, name) in constants {
        let words = families[&family].split(|c: char| !c.is_alphanumeric() && c != '_');
        // Declared, registered, sent.
        assert!(words.filter(|word| *word == constant).count() > 2, "{name} is never sent");
    }
}

#[test]
fn what_only_commands_send_is_sent_by_no_page() {
    let served: HashSet<&str> = served_statements().map(|statement| statement.name).collect();
    let others: Vec<&str> = all_statements().iter().map(|s| s.name).filter(|name| !served.contains(name)).collect();
    let files: BTreeSet<&str> = others.iter().map(|name| name.split('.').next().unwrap()).collect();
    let pages = sources(Path::new("src/web")).into_iter().chain(sources(Path::new("src/ops")));
    for (path, text) in pages.filter(|(path, _)| !path.to_str().unwrap().starts_with("src/ops/sample")) {
        for file in files.iter().filter(|file| !path.to_str().unwrap().starts_with(&format!("src/ops/{file}"))) {
            // Whatever its functions are named, which need not be as their statements.
            assert!(!text.contains(&format!("{file}::")), "{} uses db::{file}", path.display());
        }
    }
}

#[actix_web::test]
async fn a_column_that_cannot_be_read_is_an_error_and_not_nothing() {
    let world = world().await;
    world.sample(&["boston"], 1, 1).await;
    let db = Db::open(&engine::tools(&world.database.url).database).await.unwrap();
    let region = "us-east1".parse().unwrap();
    let conn = db.at(&region).await.unwrap();
    let key = "SELECT min(username_key)::TEXT FROM users WHERE region = 'us-east1'";
    let key: String = world.sql().await.query_one(key, &[]).await.unwrap().try_get(0).unwrap();
    let login = users::find_login(&conn, Some(&region), &key).await.unwrap().unwrap();
    assert_eq!(login.recovery_hashes, [""; 0]);
    for secret in [r#"{"secret": 1}"#, r#""secret""#, "null", "[1]"] {
        world.set(&format!("UPDATE users SET recovery_hashes = '{secret}' WHERE username_key = '{key}'")).await;
        let error = users::find_login(&conn, Some(&region), &key).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Bug, "{error}");
        let said = error.to_string();
        assert!(said.contains("recovery_hashes") && !said.contains("secret"), "{said}");
    }
    let job = JobRef { region: region.clone(), id: Uuid::new_v4() };
    world
        .set(&format!(
            "INSERT INTO jobs (region, id, kind, city, state, requested_region, requested_by, parameters, created_at)
        VALUES ('us-east1', '{0}', 'transfer', 'boston', 'running', 'us-east1', '{0}', '{{\"to_region\": \"nowhere!\"}}', now())",
            job.id
        ))
        .await;
    world
        .set(&format!(
            "INSERT INTO job_items (region, job_id, position, input, state)
        VALUES ('us-east1', '{}', 1, '{{\"owner\": \"nowhere!\"}}', 'waiting')",
            job.id
        ))
        .await;
    let error = jobs::list(
        &conn,
        (&region, "boston"),
        jobs::Filter::default(),
        (world.clock.now() + TimeDelta::days(1), Uuid::nil()),
        9,
    )
    .await
    .unwrap_err();
    assert!(error.kind == DbErrorKind::Bug && error.to_string().contains("to_region"), "{error}");
    let error = transfers::list(&conn, &job, "waiting", 0, 9).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Bug, "{error}");
    drop(conn);
    db.close();
    world.end().await;
}

#[actix_web::test]
async fn every_statement_prepares_and_its_name_is_its_own() {
    let world = world().await;
    let client = world.sql().await;
    let mut names = HashSet::new();
    for statement in all_statements() {
        assert!(names.insert(statement.name), "{} twice", statement.name);
        assert!(statement.name.contains('.'), "{}", statement.name);
        if let Err(error) = client.prepare(statement.text).await {
            panic!("{}: {error:?}", statement.name);
        }
        if statement.reach == Reach::Named {
            assert!(statement.text.contains("::TEXT::crdb_internal_region"), "{} names no region", statement.name);
        }
    }
    drop(client);
    world.end().await;
}

/// CockroachDB reads no index in the order of an expression, runs a LATERAL part once for each row, and
/// reads a time zone anew for each time that is converted by its name.
#[test]
fn no_statement_has_what_cockroachdb_does_row_by_row() {
    for statement in all_statements() {
        assert!(!statement.text.contains("LATERAL"), "{}", statement.name);
        let mut zones = statement.text.split("AT TIME ZONE ").skip(1);
        assert!(zones.all(|zone| zone.starts_with("'UTC'")), "{} converts by the name of a zone", statement.name);
        let mut orders = statement.text.split("ORDER BY ").skip(1);
        let sorted = orders.find(|order| order.split([',', ')']).next().unwrap().contains('('));
        assert_eq!(sorted, None, "{} is in the order of an expression", statement.name);
    }
}

#[test]
fn riding_reads_no_global_table() {
    let global = ["catalogue", "regions", "residency_policies", "cities", "vehicle_types", "tariffs", "promo_codes"];
    for statement in all_statements().iter().filter(|s| s.name.starts_with("rides.") || s.name.starts_with("sessions."))
    {
        for table in global {
            for word in ["FROM", "JOIN", "INTO", "UPDATE"] {
                assert!(!statement.text.contains(&format!("{word} {table} ")), "{} reads {table}", statement.name);
            }
        }
    }
}

/// Writes that record no event of their own, and why.
const WITHOUT_EVENT: [(&str, &str); 17] = [
    ("catalogue.put_region", "a release brings the file, whose history is its audit"),
    ("catalogue.put_policy", "the same"),
    ("catalogue.put_city", "the same"),
    ("catalogue.put_vehicle_type", "the same"),
    ("catalogue.put_tariff", "the same"),
    ("catalogue.put_promo_code", "the same"),
    ("catalogue.put_quota", "the same"),
    ("catalogue.bump", "the same"),
    ("gates.open", "a region that the file brings"),
    ("home.set_owner_region", "in the transaction of home.set_home, which records it"),
    ("imports.ready", "the job has read its file; nothing is changed before jobs.confirm records it"),
    ("imports.stage", "the same"),
    ("jobs.lease", "who does the job, and how far it is; what it does has events"),
    ("jobs.pause", "the same"),
    ("rides.add_positions", "the way of a ride, which is a record itself"),
    ("sessions.prune", "sessions that had ended"),
    ("sessions.touch", "notes that a session is used"),
];

#[test]
fn every_write_records_one_event_in_its_own_statement() {
    let mut excused: BTreeSet<_> = WITHOUT_EVENT.iter().map(|(name, _)| *name).collect();
    for statement in all_statements().iter().filter(|statement| statement.writes) {
        let events = statement.text.matches("INSERT INTO events ").count();
        // One statement makes a history of rides at once.
        let expected = usize::from(!excused.remove(statement.name));
        let expected = if statement.name == "sample.insert_vehicles" { events.max(1) } else { expected };
        assert_eq!(events, expected, "{} writes {events} events", statement.name);
    }
    assert_eq!(excused, BTreeSet::new(), "excused, but there are no such writes");
    let changed = all_statements()
        .into_iter()
        .find(|s| s.text.contains("UPDATE events") || s.text.contains("DELETE FROM events"));
    assert!(changed.is_none(), "{changed:?} changes events");
}

/// Rows of a table that a plan, as it was carried out, has looked at.
fn rows_read(table: &str, plan: &serde_json::Value) -> f64 {
    let number = |key: &str| plan[key].as_f64().unwrap_or(0.0);
    let own = if plan["Relation Name"] == table && plan["Node Type"] != "ModifyTable" {
        (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops")
    } else {
        0.0
    };
    own + plan["Plans"].as_array().into_iter().flatten().map(|plan| rows_read(table, plan)).sum::<f64>()
}

#[actix_web::test]
async fn cancelling_a_reservation_reads_one_event_however_long_the_history_is() {
    let world = world().await;
    let sql = world.sql().await;
    let version: String = sql.query_one("SELECT version()", &[]).await.unwrap().try_get(0).unwrap();
    if version.starts_with("CockroachDB") {
        eprintln!(
            "SKIPPED cancelling_a_reservation_reads_one_event_however_long_the_history_is: needs PostgreSQL's plans"
        );
        return world.end().await;
    }
    street(&world, &["new-york"], 3).await;
    let instance = world.instance("us-east1").await;
    let rider = crowd(&instance, 1).await.remove(0);
    let bike = bikes(&sql, "new-york").await.remove(0);
    let history = format!(
        "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id, correlation_id, occurred_at,
           epoch, metadata)
         SELECT 'us-east1', 'vehicle', '{0}', n, 'x', gen_random_uuid(), '{0}', now(), 1, '{{}}' FROM generate_series(2, 3000) n;
         UPDATE vehicles SET version = 3000 WHERE id = '{0}'; ANALYZE events",
        bike.id
    );
    world.set(&history).await;
    assert!(redirect(&instance, &rider.browser.reserve(&bike).await).good);
    let cancel = all_statements().into_iter().find(|statement| statement.name == "reservations.cancel").unwrap();
    let (auth, any) = (&rider.auth, uuid::Uuid::new_v4());
    sql.batch_execute(&format!("PREPARE cancel AS {}; BEGIN", cancel.text)).await.unwrap();
    let explain = format!(
        "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE cancel('us-east1', '{}', '{}', '{}', now(), '{}', {}, 'us-east1', '{}', {}, '{any}')",
        auth.session, auth.user.id, auth.token_hash, auth.idle_since, 0, bike.public_id, 0
    );
    let plan: serde_json::Value = sql.query_one(&explain, &[]).await.unwrap().try_get(0).unwrap();
    sql.batch_execute("ROLLBACK").await.unwrap();
    let read = rows_read("events", &plan[0]["Plan"]);
    assert!((1.0..=2.0).contains(&read), "{read} events: {plan:#}");
    drop(sql);
    instance.running.stop().await;
    world.end().await;
}

#[test]
fn every_verdict_of_a_statement_is_one_that_the_program_knows() {
    let mut seen = BTreeSet::new();
    for statement in all_statements() {
        let cases = statement.text.split("verdict AS (").skip(1).filter_map(|rest| rest.split("AS code").next());
        for verdict in cases.flat_map(|case| case.split("THEN '").skip(1)).filter_map(|rest| rest.split('\'').next()) {
            // Of `imports.ready`, where it would be a bug: every line has become an item.
            let known = ["ok", "already", "gate", "draining", "incomplete"].contains(&verdict);
            assert!(known || Refusal::from_code(verdict).is_some(), "{}: {verdict}", statement.name);
            seen.insert(verdict);
        }
    }
    assert!(seen.len() > 25, "{seen:?}");
}

/// Verdicts that stand elsewhere than `db::verdict` says; a comment at the statement says why.
const OUT_OF_ORDER: [&str; 5] = ["home.erase", "reservations.make", "rides.expire", "rides.force_end", "tasks.report"];

#[test]
fn verdicts_stand_in_the_order_that_verdict_rs_promises() {
    let rank = |verdict: &str| match verdict {
        "signed_out" | "not_operator" | "not_administrator" => 1,
        "no_such_ride" | "no_such_job" | "not_your_vehicle" => 2,
        "already" | "form_used" => 3,
        "gate" => 4,
        _ => 5,
    };
    let ranks = |text: &str| -> Vec<u8> {
        let case = text.split("verdict AS (").nth(1).and_then(|rest| rest.split("AS code").next()).unwrap_or_default();
        case.split("THEN '").skip(1).map(|rest| rank(rest.split('\'').next().unwrap())).collect()
    };
    let all: BTreeMap<&str, Vec<u8>> = all_statements().into_iter().map(|s| (s.name, ranks(s.text))).collect();
    let differ: Vec<&str> = all.iter().filter(|(_, ranks)| !ranks.is_sorted()).map(|(name, _)| *name).collect();
    assert_eq!(differ, OUT_OF_ORDER);
    assert!(all.values().filter(|ranks| ranks.len() > 2).count() > 30, "{all:?}");
}
