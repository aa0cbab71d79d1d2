//! Invariants that the database itself holds, whatever a program does: each statement
//! here is refused with the SQLSTATE of its guard, and by that guard's name where the
//! migrations give it one (CHECKs on one column are named by the engine).

use std::collections::BTreeMap;

use movr::db::locality::Schema;
use tokio_postgres::Client;

use super::{STEPS, ids, run};
use crate::support::{engine, world};

const UNIQUE: &str = "23505";
const FOREIGN: &str = "23503";
const CHECK: &str = "23514";
const BAD_VALUE: &str = "22P02";
const NOT_NULL: &str = "23502";

const USER: &str = "INSERT INTO users VALUES ";
const VEHICLE: &str =
    "INSERT INTO vehicles (region, id, public_id, city, type, status, code, brand, colour, battery, lat,
    lon, cell, place, version, created_at, changed_at) VALUES ";
const RIDE: &str = "INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, started_at, start_lat, start_lon,
    start_place, currency, unlock_minor, per_minute_minor, out_of_area_minor, version) VALUES ";
const RIDE_OF: &str = "INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, started_at, start_lat, start_lon,
    start_place, currency, unlock_minor, per_minute_minor, out_of_area_minor, version, rider_region, rider_id) VALUES ";
const EVENT: &str = "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id,
    correlation_id, occurred_at, epoch, metadata) VALUES ";

/// Every field of a ride's end, with a value.
const END: [(&str, &str); 11] = [
    ("ended_at", "now()"),
    ("end_lat", "1"),
    ("end_lon", "1"),
    ("end_place", "'x'"),
    ("outside_area", "false"),
    ("distance_m", "1"),
    ("minutes", "1"),
    ("charge_minor", "5"),
    ("discount_minor", "2"),
    ("fee_minor", "1"),
    ("total_minor", "4"),
];

/// An end in which some fields have other values.
fn end(but: &[(&str, &str)]) -> String {
    let value = |name: &str, value| but.iter().find(|(other, _)| *other == name).map_or(value, |(_, other)| *other);
    END.map(|(name, usual)| format!("{name} = {}", value(name, usual))).join(", ")
}

/// What is tried: beginning and rest of a statement, its SQLSTATE and its guard ("" when
/// the engine names it).
const REFUSED: &[(&str, &str, &str, &str)] = &[
    // Regions are those of the cities.
    (
        USER,
        "('europe-west1', #7, 'boston', 'b', 'b', 'B', 'B', 'b', 'x', '[]', '[]', NULL, NULL, NULL, NULL, NULL, 1, now())",
        FOREIGN,
        "users_city_fkey",
    ),
    (
        USER,
        "('us-east1', #7, 'atlantis', 'b', 'b', 'B', 'B', 'b', 'x', '[]', '[]', NULL, NULL, NULL, NULL, NULL, 1, now())",
        FOREIGN,
        "users_city_fkey",
    ),
    ("UPDATE users SET", " city = 'paris'", FOREIGN, "users_city_fkey"),
    (
        VEHICLE,
        "('europe-west1', #7, #7, 'boston', 'bike', 'available', NULL, 'x', 'x', 1, 1, 1, 1, 'x', 1, now(), now())",
        FOREIGN,
        "vehicles_city_fkey",
    ),
    ("UPDATE vehicles SET", " region = 'europe-west1'", FOREIGN, "vehicles_city_fkey"),
    ("UPDATE cities SET", " region = 'us-west1' WHERE slug = 'paris'", FOREIGN, "cities_region_fkey"),
    (
        VEHICLE,
        "('mars-north1', #7, #7, 'boston', 'bike', 'available', NULL, 'x', 'x', 1, 1, 1, 1, 'x', 1, now(), now())",
        BAD_VALUE,
        "",
    ),
    (
        USER,
        "(NULL, #7, 'boston', 'b', 'b', 'B', 'B', 'b', 'x', '[]', '[]', NULL, NULL, NULL, NULL, NULL, 1, now())",
        NOT_NULL,
        "",
    ),
    // What moves with a person is theirs.
    (
        "INSERT INTO sessions VALUES",
        " ('us-east1', #7, #8, 'x', 'x', now(), now(), now())",
        FOREIGN,
        "sessions_user_fkey",
    ),
    (
        "INSERT INTO role_grants VALUES",
        " ('us-east1', #8, 'operator', 'boston', now())",
        FOREIGN,
        "role_grants_user_fkey",
    ),
    (
        "INSERT INTO promo_redemptions VALUES",
        " ('us-east1', #8, 'HALF', 'us-east1', #4, now())",
        FOREIGN,
        "promo_redemptions_user_fkey",
    ),
    ("INSERT INTO job_items VALUES", " ('us-east1', #8, 1, #3, 1, '{}', 'done', NULL)", FOREIGN, "job_items_job_fkey"),
    ("INSERT INTO tariffs VALUES", " ('atlantis', 'bike', now(), 1, 1, 1)", FOREIGN, "tariffs_city_fkey"),
    ("INSERT INTO tariffs VALUES", " ('boston', 'rocket', now(), 1, 1, 1)", FOREIGN, "tariffs_vehicle_type_fkey"),
    // Only one.
    (
        USER,
        "('europe-west1', #7, 'paris', 'ANN', 'ann', 'B', 'B', 'b', 'x', '[]', '[]', NULL, NULL, NULL, NULL, NULL, 1, now())",
        UNIQUE,
        "users_username_key",
    ),
    (
        RIDE,
        "('us-east1', #7, 'boston', #3, 'bike', now(), 1, 1, 'x', 'USD', 1, 1, 1, 1)",
        UNIQUE,
        "rides_open_vehicle_key",
    ),
    (
        RIDE_OF,
        "('us-east1', #7, 'boston', #8, 'bike', now(), 1, 1, 'x', 'USD', 1, 1, 1, 1, 'us-east1', #1)",
        UNIQUE,
        "rides_open_rider_key",
    ),
    (EVENT, "('us-east1', 'vehicle', #3, 1, 'x', #8, #8, now(), 1, '{}')", UNIQUE, "events_pkey"),
    (
        VEHICLE,
        "('us-east1', #7, #9, 'boston', 'bike', 'available', NULL, 'x', 'x', 1, 1, 1, 1, 'x', 1, now(), now())",
        UNIQUE,
        "vehicles_public_id_key",
    ),
    (
        VEHICLE,
        "('us-east1', #7, #7, 'boston', 'bike', 'available', 'A1', 'x', 'x', 1, 1, 1, 1, 'x', 1, now(), now())",
        UNIQUE,
        "vehicles_code_key",
    ),
    (
        "INSERT INTO job_items VALUES",
        " ('us-east1', #5, 2, #3, 1, '{}', 'done', NULL)",
        UNIQUE,
        "job_items_vehicle_key",
    ),
    (
        "INSERT INTO promo_redemptions VALUES",
        " ('us-east1', #1, 'HALF', 'us-east1', #4, now())",
        UNIQUE,
        "promo_redemptions_pkey",
    ),
    ("INSERT INTO catalogue VALUES", " (2, 1, now())", CHECK, ""),
    // Both or neither.
    ("UPDATE users SET", " open_ride_id = #4", CHECK, "users_open_ride_check"),
    ("UPDATE users SET", " open_ride_region = 'us-east1'", CHECK, "users_open_ride_check"),
    ("UPDATE users SET", " reserved_region = 'us-east1', reserved_public_id = #9", CHECK, "users_reservation_check"),
    ("UPDATE users SET", " reserved_region = 'us-east1', reserved_until = now()", CHECK, "users_reservation_check"),
    ("UPDATE vehicles SET", " owner_id = #1", CHECK, "vehicles_owner_check"),
    ("UPDATE vehicles SET", " reserved_region = 'us-east1', reserved_by = #1", CHECK, "vehicles_reservation_check"),
    ("UPDATE vehicles SET", " reserved_by = #1, reserved_until = now()", CHECK, "vehicles_reservation_check"),
    ("UPDATE vehicles SET", " status = 'available'", CHECK, "vehicles_open_ride_check"),
    ("UPDATE vehicles SET", " open_ride_id = NULL", CHECK, "vehicles_open_ride_check"),
    ("UPDATE rides SET", " rider_id = NULL", CHECK, "rides_rider_check"),
    ("UPDATE rides SET", " promo_percent = 50", CHECK, "rides_promo_check"),
    ("UPDATE rides SET", " promo_code = 'A', promo_percent = 50, promo_amount_minor = 9", CHECK, "rides_promo_check"),
    ("UPDATE rides SET", " @total", CHECK, "rides_total_check"),
    ("UPDATE rides SET", " @discount", CHECK, "rides_discount_check"),
    ("UPDATE rides SET", " credited_minor = 1", CHECK, "rides_credited_check"),
    ("UPDATE rides SET", " credited_minor = 1, credit_reason = 'fault'", CHECK, "rides_credited_check"),
    ("UPDATE jobs SET", " finished_at = now()", CHECK, "jobs_finished_check"),
    ("UPDATE jobs SET", " state = 'done'", CHECK, "jobs_finished_check"),
    ("UPDATE promo_codes SET", " percent = NULL", CHECK, "promo_codes_kind_check"),
    ("UPDATE promo_codes SET", " percent = NULL, amount_minor = 5", CHECK, "promo_codes_currency_check"),
    ("UPDATE role_grants SET", " city = ''", CHECK, "role_grants_city_check"),
    ("UPDATE role_grants SET", " role = 'administrator'", CHECK, "role_grants_city_check"),
    // Ranges.
    ("UPDATE promo_quotas SET", " remaining = -1", CHECK, ""),
    ("UPDATE promo_quotas SET", " remaining = 6", CHECK, "promo_quotas_left_check"),
    ("UPDATE vehicles SET", " battery = 101", CHECK, ""),
    ("UPDATE vehicles SET", " lat = 90.1", CHECK, ""),
    ("UPDATE vehicles SET", " cell = -1", CHECK, ""),
    ("UPDATE vehicles SET", " status = 'stolen', open_ride_id = NULL", CHECK, ""),
    ("UPDATE region_gates SET", " write_state = 'ajar'", CHECK, ""),
    ("UPDATE region_gates SET", " epoch = 0", CHECK, ""),
    ("UPDATE tariffs SET", " unlock_minor = -1", CHECK, ""),
    ("UPDATE jobs SET", " state = 'lost'", CHECK, ""),
];

/// The SQLSTATE and guard that refuse `sql`; nothing is left of it either way.
async fn refusal(client: &Client, sql: &str) -> (String, String) {
    client.batch_execute("BEGIN").await.unwrap();
    let answer = client.batch_execute(sql).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    let Err(error) = answer else { return ("done".to_owned(), String::new()) };
    let error = error.as_db_error().unwrap();
    (error.code().code().to_owned(), error.constraint().unwrap_or_default().to_owned())
}

#[actix_web::test]
async fn the_database_refuses_what_must_never_be() {
    let world = world().await;
    let url = world.database.another();
    run(&url, false).await;
    let client = engine::client(&url).await;
    for (_, _, rows) in STEPS {
        client.batch_execute(&ids(rows)).await.unwrap();
    }
    let (total, discount) = (end(&[("total_minor", "5")]), end(&[("discount_minor", "6"), ("total_minor", "0")]));
    for (head, rest, code, guard) in REFUSED {
        let sql = ids(&format!("{head}{rest}")).replace("@total", &total).replace("@discount", &discount);
        let (found, by) = refusal(&client, &sql).await;
        assert_eq!(found, *code, "{head}{rest}: {by}");
        assert!(guard.is_empty() || by == *guard, "{head}{rest}: refused by {by}, not {guard}");
    }
    // A ride's end is whole, or there is none.
    assert_eq!(refusal(&client, &format!("UPDATE rides SET {}", end(&[]))).await.0, "done");
    for (field, value) in END {
        for part in [end(&[(field, "NULL")]), format!("{field} = {value}")] {
            let refused = refusal(&client, &format!("UPDATE rides SET {part}")).await;
            assert_eq!(refused, (CHECK.to_owned(), "rides_ended_check".to_owned()), "{part}");
        }
    }
    drop(client);
    world.database.drop_another(&url).await;
    world.end().await;
}

/// The table, whether it is unique, and its columns with their types.
type Index = (String, bool, Vec<(String, String)>);

#[actix_web::test]
async fn no_index_sends_all_writes_of_a_moment_to_one_place_and_none_says_the_same_twice() {
    let world = world().await;
    // A partial index holds what is under way, which is little.
    let sql = world.sql().await;
    let columns = "SELECT i.relname::TEXT, t.relname::TEXT, x.indisunique, a.attname::TEXT, y.typname::TEXT
         FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
         JOIN pg_namespace AS n ON n.oid = t.relnamespace AND n.nspname = 'public'
         JOIN pg_attribute AS a ON a.attrelid = i.oid AND a.attnum <= x.indnkeyatts
         JOIN pg_type AS y ON y.oid = a.atttypid WHERE t.relkind = 'r' AND x.indpred IS NULL ORDER BY i.relname, a.attnum";
    let mut indexes: BTreeMap<String, Index> = BTreeMap::new();
    for row in sql.query(columns, &[]).await.unwrap() {
        let text = |column| row.try_get::<_, String>(column).unwrap();
        let new = (text(1), row.try_get(2).unwrap(), Vec::new());
        indexes.entry(text(0)).or_insert(new).2.push((text(3), text(4)));
    }
    assert!(indexes.len() > 30, "{indexes:?}");
    let regional = Schema::of_migrations().regional;
    for (name, (table, unique, columns)) in indexes.iter().filter(|(_, index)| regional.get(&index.0) == Some(&true)) {
        let behind_region = columns.iter().find(|(column, _)| column != "region");
        let by_time = behind_region.is_some_and(|(_, column_type)| column_type == "timestamptz");
        assert!(columns[0].0 != "region" || !by_time, "{name}: {columns:?}");
        let without_region: Vec<_> = columns.iter().filter(|(column, _)| column != "region").collect();
        for (other, (of, also, named)) in indexes.iter().filter(|(other, _)| *other != name) {
            let same = named.iter().collect::<Vec<_>>() == without_region && columns.len() > named.len();
            assert!(!(of == table && *unique && *also && same), "{name} says what {other} says: {columns:?}");
        }
    }
    drop(sql);
    world.end().await;
}
