//! Every statement of the program prepares on a migrated database, once, and says which
//! regions it may touch.

use std::collections::HashSet;

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
