//! Every statement of the program prepares on a migrated database, once, and says which
//! regions it may touch.

use std::collections::{BTreeSet, HashSet};

use movr::db::{all_statements, statement::Reach};

use crate::support::world;

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
const WITHOUT_EVENT: [(&str, &str); 16] = [
    ("catalogue.put_region", "a release brings the file, whose history is its audit"),
    ("catalogue.put_policy", "the same"),
    ("catalogue.put_city", "the same"),
    ("catalogue.put_vehicle_type", "the same"),
    ("catalogue.put_tariff", "the same"),
    ("catalogue.put_promo_code", "the same"),
    ("catalogue.put_quota", "the same"),
    ("catalogue.bump", "the same"),
    ("gates.open", "a region that the file brings"),
    ("home.set_owner_region", "in the transaction of home.set_home or home.erase, which record it"),
    ("home.erase_region", "in the transaction of home.erase, which records it"),
    ("imports.ready", "the job has read its file; nothing is changed before jobs.confirm records it"),
    ("imports.stage", "the same"),
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
        let wanted = usize::from(!excused.remove(statement.name));
        let wanted = if statement.name == "sample.insert_vehicles" { events.max(1) } else { wanted };
        assert_eq!(events, wanted, "{} writes {events} events", statement.name);
    }
    assert_eq!(excused, BTreeSet::new(), "excused, but there are no such writes");
    let changed = all_statements()
        .into_iter()
        .find(|s| s.text.contains("UPDATE events") || s.text.contains("DELETE FROM events"));
    assert!(changed.is_none(), "{changed:?} changes events");
}
