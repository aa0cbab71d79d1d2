//! The schema: migrations one by one and in one group, twice, and by two processes at
//! once; its types and tables; the plan; and the catalogue that `movr migrate` loads.
//! What the database itself refuses is in `held`, the commands' words in `commands`.
//! The SQL applied step by step here is what `--plan` prints.

mod commands;
mod held;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use movr::{
    clock::Clock,
    db::{self, Db, migrate::Layout},
    domain::catalogue::Catalogue,
    ops,
};
use refinery_core::{Migration, Runner, Target, load_sql_migrations};
use tokio_postgres::Client;

use crate::support::{World, engine, process::movr, world};

/// The migrations that make tables: version, the tables that there are at the end, and a
/// row for each; `#n` stands for an id. Others change what is there.
#[rustfmt::skip]
const STEPS: [(i32, &[&str], &str); 10] = [
    (1, &["catalogue", "regions", "residency_policies", "cities", "vehicle_types", "tariffs", "promo_codes"], "INSERT INTO catalogue VALUES (1, 1, now());
     INSERT INTO regions VALUES ('us-east1', 0, 'East', 'https://e.example', 33, -80, 'US'),
       ('europe-west1', 1, 'West', 'https://w.example', 50, 3, 'EU');
     INSERT INTO residency_policies VALUES ('us-east1', '[]', '[]', true, true);
     INSERT INTO cities VALUES ('boston', 0, 'us-east1', 'Boston', 42, -71, 'America/New_York', 'USD', '[]'),
       ('paris', 1, 'europe-west1', 'Paris', 48, 2, 'Europe/Paris', 'EUR', '[]');
     INSERT INTO vehicle_types VALUES ('bike', 0, 'Bike', 'bicycle', 'human', NULL);
     INSERT INTO tariffs VALUES ('boston', 'bike', now(), 100, 20, 500);
     INSERT INTO promo_codes VALUES ('HALF', 50, NULL, NULL, '[]', '{}', 1, 10, now(), now());"),
    (2, &["region_gates", "users", "sessions", "role_grants", "promo_quotas", "promo_redemptions"], "INSERT INTO region_gates VALUES ('us-east1', 'writable', 1, NULL, NULL, now());
     INSERT INTO users VALUES ('us-east1', #1, 'boston', 'Ann', 'ann', 'Ann', 'Lee', 'ann@example.com', 'x', '[]', '[]',
       NULL, NULL, NULL, NULL, NULL, 1, now());
     INSERT INTO sessions VALUES ('us-east1', #2, #1, 'x', 'x', now(), now(), now());
     INSERT INTO role_grants VALUES ('us-east1', #1, 'operator', 'boston', now());
     INSERT INTO promo_quotas VALUES ('us-east1', 'HALF', 5, 5);
     INSERT INTO promo_redemptions VALUES ('us-east1', #1, 'HALF', 'us-east1', #4, now());"),
    (3, &["vehicles"], "INSERT INTO vehicles (region, id, public_id, city, type, status, code, brand, colour, battery, lat, lon, cell, place,
       open_ride_id, version, created_at, changed_at)
     VALUES ('us-east1', #3, #9, 'boston', 'bike', 'in_use', 'A1', 'x', 'red', 90, 42, -71, 1, 'x', #4, 2, now(), now());"),
    (4, &["rides", "ride_positions"], "INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at, start_lat, start_lon,
       start_place, currency, unlock_minor, per_minute_minor, out_of_area_minor, version)
     VALUES ('us-east1', #4, 'boston', #3, 'bike', 'us-east1', #1, now(), 42, -71, 'x', 'USD', 100, 20, 500, 1);
     INSERT INTO ride_positions VALUES ('us-east1', #4, now(), 42, -71);"),
    (5, &["events"], "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id, correlation_id, occurred_at,
       epoch, metadata) VALUES ('us-east1', 'vehicle', #3, 1, 'vehicle.added', #3, #3, now(), 1, '{}');"),
    // With transfers, until V13.
    (6, &["jobs"], "INSERT INTO jobs VALUES ('us-east1', #5, 'transfer', 'boston', 'running', 'us-east1', #1, '{}', now(), NULL);"),
    (11, &["job_items"], "INSERT INTO job_items VALUES ('us-east1', #5, 1, #3, 2, '{}', 'waiting', NULL);"),
    (16, &["catalogue_edits"], "INSERT INTO catalogue_edits VALUES ('city', 'boston', 2);"),
    (37, &["region_closures"], "INSERT INTO region_closures VALUES ('us-east1', 1, now(), now());"),
    (49, &["tasks"], "INSERT INTO tasks VALUES ('us-east1', #6, 'boston', #3, 'brakes', NULL, #1, NULL, 'open', now(), NULL, 1);"),
];

/// The rows that can be put in once these migrations, counted from 0, are there.
fn rows_of(files: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    let made: Vec<_> = migrations()[files].iter().map(Migration::version).collect();
    STEPS.iter().filter(move |(version, ..)| made.contains(version)).map(|(_, _, rows)| ids(rows))
}

/// Every table that there is at the end.
fn tables() -> Vec<&'static str> {
    STEPS.iter().flat_map(|(_, tables, _)| *tables).copied().collect()
}

fn migrations() -> Vec<Migration> {
    let mut files = load_sql_migrations("migrations").unwrap();
    files.sort_by_key(Migration::version);
    files
}

/// The statement with its ids.
fn ids(sql: &str) -> String {
    (1..=9)
        .fold(sql.to_owned(), |sql, n| sql.replace(&format!("#{n}"), &format!("'{n:08}-0000-4000-8000-000000000000'")))
}

fn shipped() -> Catalogue {
    Catalogue::parse(movr::cli::migrate::SHIPPED).unwrap()
}

/// Runs the migrations; what was done, or would be.
async fn run(url: &str, plan: bool) -> Vec<String> {
    let regions = shipped().regions.iter().map(|region| region.code.clone()).collect();
    let layout = Layout { regions, survive_region: false, placement_restricted: false, locality: false };
    let endpoint = db::endpoint(&engine::tools(url).database, url).unwrap();
    db::migrate::run(&endpoint, &layout, plan).await.unwrap()
}

pub async fn column(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.try_get(0).unwrap()).collect()
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().try_get(0).unwrap()
}

/// Everything that makes a schema, as lines that can be compared.
async fn schema(url: &str) -> Vec<String> {
    let client = engine::client(url).await;
    let mut lines = Vec::new();
    for sql in [
        "SELECT concat_ws(' ', table_name::TEXT, column_name::TEXT, udt_name::TEXT, is_nullable::TEXT, column_default::TEXT)
         FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
        "SELECT concat_ws(' ', c.relname::TEXT, k.conname::TEXT, pg_get_constraintdef(k.oid)) FROM pg_constraint k
         JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' ORDER BY 1",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT enumlabel::TEXT FROM pg_enum ORDER BY enumsortorder",
        "SELECT concat_ws(' ', version::TEXT, name::TEXT, checksum::TEXT) FROM refinery_schema_history ORDER BY version",
    ] {
        lines.extend(column(&client, sql).await);
    }
    let name = column(&client, "SELECT current_database()::TEXT").await.remove(0);
    lines.into_iter().map(|line| line.replace(&name, "NAME")).collect()
}

/// A new database with the first `count` migrations, applied one by one, each followed by rows.
async fn step_by_step(world: &World, count: usize) -> String {
    let url = world.database.another();
    let (head, _) = url.split_once('?').unwrap();
    let create = format!("CREATE DATABASE {}", head.rsplit_once('/').unwrap().1);
    engine::client(&engine::with_database(&url, "postgres")).await.batch_execute(&create).await.unwrap();
    let mut client = engine::client(&url).await;
    let plan = run(&url, true).await;
    let files = migrations();
    assert_eq!(plan.len(), files.len() + 1, "the region type, then a step a file");
    client.batch_execute(&plan[0]).await.unwrap();
    for n in 0..count {
        client.batch_execute(&format!("BEGIN; {}; COMMIT", plan[n + 1])).await.unwrap();
        let noted = Runner::new(&files).set_target(Target::FakeVersion(files[n].version()));
        noted.run_async(&mut client).await.unwrap();
        for rows in rows_of(n..n + 1) {
            client.batch_execute(&rows).await.unwrap();
        }
    }
    url
}

#[actix_web::test]
async fn migrations_one_by_one_over_rows_and_in_one_group_give_the_same_schema() {
    let world = world().await;
    let whole = world.database.another();
    let steps = run(&whole, false).await;
    let last = migrations().len();
    assert_eq!(steps.len(), last + 2, "database, region type, and a step a file");
    let grouped = schema(&whole).await;
    for count in 0..=last {
        let url = step_by_step(&world, count).await;
        assert_eq!(run(&url, false).await.len(), last - count, "steps that were left after {count}");
        assert_eq!(schema(&url).await, grouped, "after {count} by hand");
        let client = engine::client(&url).await;
        for rows in rows_of(count..last) {
            client.batch_execute(&rows).await.unwrap();
        }
        for table in tables() {
            let rows = number(&client, &format!("SELECT count(*) FROM {table}")).await;
            assert!(rows > 0, "{table} lost its rows after {count}");
        }
        drop(client);
        world.database.drop_another(&url).await;
    }
    // Again does nothing: no step, and the history says the same.
    let client = engine::client(&whole).await;
    let applied =
        "SELECT concat_ws(' ', version::TEXT, applied_on::TEXT) FROM refinery_schema_history ORDER BY version";
    let before = column(&client, applied).await;
    assert_eq!(run(&whole, false).await, [""; 0]);
    assert_eq!(column(&client, applied).await, before);
    assert_eq!(schema(&whole).await, grouped);
    drop(client);
    world.database.drop_another(&whole).await;
    world.end().await;
}

/// Keys of indexes stand in meta ranges, system tables and backups of every region.
#[actix_web::test]
async fn no_index_has_a_name_or_an_address_of_a_person() {
    let world = world().await;
    let indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1";
    let indexes = column(&world.sql().await, indexes).await;
    assert!(indexes.iter().any(|index| index.contains("username_key")), "{indexes:?}");
    let personal = |index: &&String| ["first_name", "last_name", "email"].iter().any(|name| index.contains(name));
    assert_eq!(indexes.iter().filter(personal).collect::<Vec<_>>(), [""; 0]);
    world.end().await;
}

/// The text of the migration with this name.
fn migration(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let found = files.into_iter().find(|file| file.to_string_lossy().ends_with(&format!("__{name}.sql")));
    std::fs::read_to_string(found.unwrap()).unwrap()
}

#[actix_web::test]
async fn rides_that_a_move_home_left_behind_are_their_riders_again() {
    let world = world().await;
    world.sample(&["new-york"], 0, 8).await;
    let instance = world.instance("us-east1").await;
    for _ in 0..2 {
        crate::pages::rides::start(&instance.person("new-york").await, "new-york").await;
    }
    instance.running.stop().await;
    let strays = "SELECT count(*) FROM rides JOIN users ON users.id = rider_id WHERE rider_region <> users.region";
    world.set("UPDATE rides SET rider_region = 'europe-west1'").await;
    let (before, rides) = (world.count(strays).await, world.count("SELECT count(*) FROM rides").await);
    assert!(before == rides && rides == 2, "{before} of {rides}");
    world.set(&migration("rides_follow_their_riders")).await;
    assert_eq!(world.count(strays).await, 0);
    // Every later run of the migrations does the same, batch by batch.
    world.set("UPDATE rides SET rider_region = 'europe-west1'").await;
    assert_eq!(run(&world.database.url, false).await, [""; 0]);
    assert_eq!(world.count(strays).await, 0);
    world.end().await;
}

/// Rides' events as older versions wrote them, more than one batch in each of two regions, and
/// others that stay as they are.
const OLD_EVENTS: &str = "
INSERT INTO events (region, aggregate_type, aggregate_id, version, action, actor_region, actor_id, command_id,
    correlation_id, occurred_at, epoch, lat, lon, metadata)
  SELECT r.region::crdb_internal_region, 'vehicle', gen_random_uuid(), n, a.action, r.region, gen_random_uuid(),
    gen_random_uuid(), gen_random_uuid(), now(), 1, 1, 2, '{}'
  FROM (VALUES ('us-east1'), ('europe-west1')) AS r (region), generate_series(1, 420) AS n,
    (VALUES ('ride.started'), ('ride.ended'), ('ride.ended_by_operator'), ('vehicle.added'), ('vehicle.reserved')) AS a (action)";

#[actix_web::test]
async fn every_migrate_takes_rider_and_place_from_old_ride_events_in_batches() {
    let world = world().await;
    let url = world.database.another();
    run(&url, false).await;
    let client = engine::client(&url).await;
    let gates = "INSERT INTO region_gates VALUES ('us-east1', 'writable', 1, NULL, NULL, now()),
        ('europe-west1', 'writable', 1, NULL, NULL, now())";
    client.batch_execute(gates).await.unwrap();
    let summary = "SELECT concat_ws(' ', action, (count(lat) + count(lon))::TEXT, count(actor_id)::TEXT, count(actor_region)::TEXT)
        FROM events GROUP BY action ORDER BY action";
    let clean = [
        "ride.ended 0 0 0", "ride.ended_by_operator 0 840 840", "ride.started 0 0 0", "vehicle.added 1680 840 840",
        "vehicle.reserved 0 0 0",
    ];
    // A second time, as after a release during which an older version went on writing.
    for times in 1..=2 {
        client.batch_execute(OLD_EVENTS).await.unwrap();
        assert!(column(&client, summary).await.concat().contains("ride.started 1680 840"));
        assert_eq!(run(&url, false).await, [""; 0]);
        assert_eq!(column(&client, summary).await, clean, "run {times}");
        client.batch_execute("DELETE FROM events").await.unwrap();
    }
    drop(client);
    world.database.drop_another(&url).await;
    world.end().await;
}

#[actix_web::test]
async fn two_migrations_at_once_do_no_harm() {
    let world = world().await;
    let whole = world.database.another();
    run(&whole, false).await;
    let expected = schema(&whole).await;
    world.database.drop_another(&whole).await;
    for round in 0..9 {
        // No database yet; an empty one; one in the middle, where files go one by one.
        let url = match round % 3 {
            0 => world.database.another(),
            1 => step_by_step(&world, 0).await,
            _ => {
                let url = step_by_step(&world, 3).await;
                let client = engine::client(&url).await;
                for table in STEPS[..3].iter().rev().flat_map(|(_, tables, _)| tables.iter().rev()) {
                    client.batch_execute(&format!("DELETE FROM {table}")).await.unwrap();
                }
                url
            }
        };
        let env = [("DATABASE_URL", url.as_str())];
        // The steps by hand know no regions of a cluster.
        let command = ["migrate", "--locality", "off"];
        let both = tokio::join!(movr(&command, &env), movr(&command, &env));
        assert_eq!((both.0.code, both.1.code), (Some(0), Some(0)), "round {round}: {both:#?}");
        assert_eq!(schema(&url).await, expected, "round {round}");
        let (client, file) = (engine::client(&url).await, shipped());
        assert_eq!(number(&client, "SELECT version FROM catalogue").await, 1, "round {round}: {both:#?}");
        for (table, rows) in [
            ("regions", file.regions.len()),
            ("region_gates", file.regions.len()),
            ("cities", file.cities.len()),
            ("tariffs", file.tariffs.len()),
            ("promo_codes", file.promo_codes.len()),
            ("promo_quotas", file.promo_codes.len() * file.regions.len()),
        ] {
            let found = number(&client, &format!("SELECT count(*) FROM {table}")).await;
            assert_eq!(usize::try_from(found).unwrap(), rows, "round {round}: {table}");
        }
        drop(client);
        world.database.drop_another(&url).await;
    }
    world.end().await;
}

#[actix_web::test]
async fn a_plan_is_sql_and_changes_nothing() {
    let world = world().await;
    let url = world.database.another();
    let env = [("DATABASE_URL", url.as_str())];
    let plan = movr(&["migrate", "--plan"], &env).await;
    assert_eq!((plan.code, plan.err.as_str()), (Some(0), ""), "{plan:?}");
    let mut wanted = vec!["CREATE DATABASE".to_owned()];
    wanted.extend(tables().iter().map(|table| format!("CREATE TABLE {table} (")));
    let places: Vec<_> = wanted.iter().map(|words| plan.out.find(words)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {}", plan.out);
    // Without regions the type is made by hand, and no LOCALITY line would be sent.
    let by_hand =
        plan.out.contains("CREATE TYPE crdb_internal_region AS ENUM ('us-east1', 'us-west1', 'europe-west1')");
    let localities = plan.out.lines().filter(|line| line.starts_with("LOCALITY ")).count();
    assert_eq!(localities, if by_hand { 0 } else { tables().len() }, "{}", plan.out);
    assert!(by_hand || plan.out.contains("PRIMARY REGION"), "{}", plan.out);
    let admin = world.sql().await;
    let name = url.split(['/', '?']).nth(3).unwrap();
    let known = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(number(&admin, &known).await, 0, "the plan made the database");

    let ready = schema(&world.database.url).await;
    let nothing = movr(&["migrate", "--plan"], &[("DATABASE_URL", &world.database.url)]).await;
    assert_eq!(nothing.code, Some(0), "{nothing:?}");
    assert!(!nothing.out.contains("CREATE"), "nothing is left to do: {}", nothing.out);
    assert_eq!(schema(&world.database.url).await, ready);
    drop(admin);
    world.end().await;
}

#[actix_web::test]
async fn tables_and_types_are_the_ones_of_the_data_classes() {
    let world = world().await;
    let client = world.sql().await;
    let mut tables: BTreeSet<_> = tables().into_iter().map(str::to_owned).collect();
    tables.insert("refinery_schema_history".to_owned());
    let known = "SELECT table_name::TEXT FROM information_schema.tables WHERE table_schema = 'public'";
    assert_eq!(column(&client, known).await.into_iter().collect::<BTreeSet<_>>(), tables);
    let types = "SELECT DISTINCT udt_name::TEXT FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'refinery_schema_history' ORDER BY 1";
    let allowed = ["bool", "crdb_internal_region", "float8", "int8", "jsonb", "text", "timestamptz", "uuid"];
    assert_eq!(column(&client, types).await, allowed);
    drop(client);
    world.end().await;
}

/// The shipped catalogue with some text replaced, once.
fn changed(from: &str, to: &str) -> String {
    assert!(movr::cli::migrate::SHIPPED.contains(from), "{from}");
    movr::cli::migrate::SHIPPED.replacen(from, to, 1)
}

#[actix_web::test]
async fn the_catalogue_changes_only_what_changed_and_running_instances_follow() {
    let world = world().await;
    let instance = world.instance_with("us-east1", &[("MOVR_CATALOGUE_RELOAD_S", "1")]).await;
    let service = world.service("europe-west1").await;
    let db = Db::open(&engine::tools(&world.database.url).database).await.unwrap();
    let client = world.sql().await;
    let tables = STEPS[0].1.iter().chain(&["promo_quotas", "region_gates"]);
    let mut before = BTreeMap::new();
    for table in tables.clone() {
        before.insert(*table, column(&client, &format!("SELECT t::TEXT FROM {table} t ORDER BY 1")).await);
    }
    let version = service.catalogue().version;

    assert_eq!(ops::catalogue::load(&db, &shipped(), &Clock::default()).await.unwrap(), 0, "the same file again");
    for table in tables {
        let rows = column(&client, &format!("SELECT t::TEXT FROM {table} t ORDER BY 1")).await;
        assert_eq!(rows, before[*table], "{table}");
    }

    let text = changed("unlock_minor = 150, per_minute_minor = 30", "unlock_minor = 175, per_minute_minor = 30");
    let file = Catalogue::parse(&text).unwrap();
    assert_eq!(ops::catalogue::load(&db, &file, &Clock::default()).await.unwrap(), 1, "one tariff");
    assert_eq!(number(&client, "SELECT version FROM catalogue").await, version + 1);
    let unlock = |service: &movr::ops::service::Service| {
        service.catalogue().tariff("new-york", "bike", world.clock.now()).map(|tariff| tariff.unlock_minor)
    };
    assert_eq!((service.catalogue().version, unlock(&service)), (version, Some(150)), "nobody has told it yet");
    service.reload_catalogue().await.unwrap();
    assert_eq!((service.catalogue().version, unlock(&service)), (version + 1, Some(175)));
    let follows = async {
        while unlock(&instance.running.state.service) != Some(175) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), follows).await.expect("the instance never read it again");

    service.db.close();
    db.close();
    drop(client);
    instance.running.stop().await;
    world.end().await;
}
