//! `movr load` and `movr verify-data`: sample data are the same for the same seed and
//! hold every invariant; every kind of damage is found by the check that is there for
//! it. Damage is done in a database of its own, without the constraints that would
//! refuse it, and undone by putting all rows back.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use movr::{
    clock::Clock,
    db::{self, Db},
    domain::{catalogue::Catalogue, region::RegionCode},
    ops::{
        sample::{self, SampleCounts, SamplePlan},
        verify::{self, CHECKS, Finding},
    },
};
use tokio_postgres::Client;

use crate::support::{engine, process::movr, world};

/// Every table that damage or its undoing touches, in the order in which rows can be deleted.
const TABLES: [&str; 10] = [
    "tasks", "promo_redemptions", "role_grants", "sessions", "ride_positions", "rides", "events", "promo_quotas",
    "vehicles", "users",
];

struct Data {
    db: Db,
    catalogue: Catalogue,
    regions: Vec<RegionCode>,
    client: Client,
    now: DateTime<Utc>,
}

impl Data {
    async fn open(url: &str) -> Self {
        let db = Db::open(&engine::tools(url).database).await.unwrap();
        let catalogue = db::catalogue::load(&db.here().await.unwrap()).await.unwrap().unwrap();
        let regions = catalogue.regions.iter().map(|region| region.code.clone()).collect();
        Self { db, catalogue, regions, client: engine::client(url).await, now: Clock::default().now() }
    }

    async fn load(&self, (users, vehicles, rides): (usize, usize, usize), seed: u64) -> SampleCounts {
        let cities = ["boston", "chicago", "seattle", "paris", "rome"].map(str::to_owned).to_vec();
        let plan = SamplePlan { cities, users, vehicles, rides, seed };
        sample::load(&self.db, &self.catalogue, &plan, "x", self.now, |_, _| ()).await.unwrap()
    }

    /// Every sample row as text; when an event was recorded is the database's own time.
    async fn dump(&self) -> BTreeSet<String> {
        let mut rows = BTreeSet::new();
        for table in TABLES {
            let text = format!("SELECT (to_jsonb(t) - 'recorded_at')::TEXT FROM {table} AS t");
            for row in self.client.query(&text, &[]).await.unwrap() {
                let row: String = row.try_get(0).unwrap();
                assert!(rows.insert(format!("{table} {row}")), "{table} {row} twice");
            }
        }
        rows
    }

    async fn verify(&self) -> Vec<Finding> {
        verify::run(&self.db, &self.regions, self.now).await.unwrap()
    }
}

#[actix_web::test]
async fn sample_data_are_the_same_for_a_seed_grow_and_hold_the_invariants() {
    let (one, other) = (world().await, world().await);
    let first = Data::open(&one.database.url).await;
    let second = Data { now: first.now, ..Data::open(&other.database.url).await };
    let five = |users: i64, vehicles: i64| SampleCounts { users: 5 * users, vehicles: 5 * vehicles };

    assert_eq!(first.load((6, 12, 30), 7).await, five(6, 12));
    assert_eq!(first.verify().await, []);
    let dump = first.dump().await;
    assert_eq!(first.load((6, 12, 30), 7).await, five(0, 0), "again");
    assert_eq!(first.dump().await, dump, "loading again changed rows");

    assert_eq!(second.load((6, 12, 30), 7).await, five(6, 12));
    assert_eq!(second.dump().await, dump, "the same seed in another database");
    assert_eq!(first.load((9, 20, 60), 7).await, five(3, 8), "a larger load adds to a smaller one");
    assert!(first.dump().await.is_superset(&dump), "a larger load changed what was there");
    assert_eq!(second.load((6, 12, 30), 8).await.vehicles, 5 * 12, "another seed is other data");
    assert_eq!((first.verify().await, second.verify().await), (vec![], vec![]));
    // A city lives: of its first 20 vehicles one is ridden, one reserved and one lost, and many rides are of today.
    for (of, expected) in [
        ("rides WHERE ended_at IS NULL", 5),
        ("vehicles WHERE status = 'in_use'", 5),
        ("vehicles WHERE reserved_until > $1", 5),
        ("vehicles WHERE status = 'lost'", 5),
        ("vehicles WHERE place LIKE '%of the centre'", 0),
    ] {
        let count = format!("SELECT count(*) FROM {of}");
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = if of.contains("$1") { &[&first.now] } else { &[] };
        let found: i64 = first.client.query_one(&count, params).await.unwrap().try_get(0).unwrap();
        assert_eq!(found, expected, "{of}");
    }
    let lately = "SELECT count(*) FROM rides WHERE ended_at > $1::TIMESTAMPTZ - '1 day'::INTERVAL";
    let lately: i64 = first.client.query_one(lately, &[&first.now]).await.unwrap().try_get(0).unwrap();
    assert!(lately >= 15, "{lately}");
    first.db.close();
    second.db.close();
    one.end().await;
    other.end().await;
}

#[actix_web::test]
async fn the_sample_rider_has_a_history_and_the_owner_earnings() {
    let world = world().await;
    let data = Data::open(&world.database.url).await;
    sample::accounts(&data.db, &data.catalogue, &data.regions[0], "x", data.now).await.unwrap();
    sample::accounts(&data.db, &data.catalogue, &data.regions[0], "x", data.now).await.unwrap();
    let count = async |text: &str| -> i64 { data.client.query_one(text, &[]).await.unwrap().try_get(0).unwrap() };
    let rides = "SELECT count(*) FROM rides JOIN users ON users.id = rider_id WHERE username = 'rider'";
    // Where one would be on two vehicles at once, a ride is somebody else's.
    let rides = count(rides).await;
    assert!((8..=14).contains(&rides), "{rides}");
    let owned = "SELECT count(*) FROM vehicles JOIN users ON users.id = owner_id WHERE username = 'owner'";
    assert_eq!(count(owned).await, 2);
    let coded = "SELECT count(*) FROM vehicles WHERE owner_id IS NULL AND code LIKE 'R-______'";
    assert_eq!(count(coded).await, 2, "short enough to be typed");
    let earned = "SELECT count(*) FROM rides JOIN vehicles ON vehicles.id = vehicle_id WHERE owner_id IS NOT NULL";
    assert!(count(earned).await > 0);
    assert_eq!(data.verify().await, []);
    data.db.close();
    world.end().await;
}

/// Makes every kind of row, all of them consistent: an open ride and two ended ones with a
/// promo code, a reservation, an owner. `pick` names the ones that damage is done to.
const SETUP: &str = "
CREATE TABLE pick AS SELECT
  (SELECT id FROM users WHERE region = 'europe-west1' AND city = 'paris' AND open_ride_id IS NULL
    AND reserved_until IS NULL ORDER BY id LIMIT 1) AS u,
  (SELECT id FROM vehicles WHERE region = 'europe-west1' AND city = 'rome' AND status = 'available' AND owner_id IS NULL
    AND reserved_until IS NULL ORDER BY id LIMIT 1) AS v,
  (SELECT id FROM users WHERE region = 'us-east1' AND city = 'boston' AND open_ride_id IS NULL
    AND reserved_until IS NULL ORDER BY id LIMIT 1) AS u2,
  (SELECT id FROM vehicles WHERE region = 'us-west1' AND city = 'seattle' AND status = 'available'
    AND reserved_until IS NULL ORDER BY id LIMIT 1) AS v2,
  (SELECT id FROM rides WHERE region = 'us-east1' AND city = 'boston' AND rider_id IS NOT NULL AND ended_at IS NOT NULL
    ORDER BY id LIMIT 1) AS e,
  gen_random_uuid() AS r;
INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at, start_lat, start_lon,
    start_place, currency, unlock_minor, per_minute_minor, out_of_area_minor, promo_code, promo_percent, version)
  SELECT 'europe-west1', r, 'rome', v, x.type, 'europe-west1', u, now(), x.lat, x.lon, 'here', 'EUR', 100, 20, 800,
    'WELCOME', 50, 1 FROM pick JOIN vehicles x ON x.id = v;
UPDATE users SET open_ride_region = 'europe-west1', open_ride_id = r FROM pick WHERE id = u;
UPDATE vehicles SET status = 'in_use', open_ride_id = r, version = version + 1 FROM pick WHERE id = v;
INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id, correlation_id, occurred_at, epoch,
    metadata)
  SELECT 'europe-west1', 'vehicle', v, x.version, 'ride.started', r, r, now(), 1, '{}' FROM pick JOIN vehicles x ON x.id = v;
INSERT INTO promo_redemptions SELECT 'europe-west1', u, 'WELCOME', 'europe-west1', r, now() FROM pick;
UPDATE promo_quotas SET remaining = remaining - 1 WHERE region = 'europe-west1' AND code = 'WELCOME';
UPDATE users SET reserved_region = 'us-west1', reserved_public_id = x.public_id, reserved_until = '2099-01-01'
  FROM pick JOIN vehicles x ON x.id = v2 WHERE users.id = u2;
UPDATE vehicles SET reserved_region = 'us-east1', reserved_by = u2, reserved_until = '2099-01-01', version = version + 1
  FROM pick WHERE id = v2;
INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id, correlation_id, occurred_at, epoch,
    metadata)
  SELECT 'us-west1', 'vehicle', v2, x.version, 'vehicle.reserved', r, r, now(), 1, '{}' FROM pick JOIN vehicles x ON x.id = v2;
UPDATE users SET present_in = '[\"europe-west1\"]' FROM pick WHERE id = u;
ALTER TABLE users DROP CONSTRAINT users_city_fkey;
ALTER TABLE vehicles DROP CONSTRAINT vehicles_city_fkey;
ALTER TABLE rides DROP CONSTRAINT rides_ended_check;
DROP INDEX rides_open_vehicle_key CASCADE;
";

/// An ended ride, as the columns and values of an INSERT need it.
const ENDED: &str = "INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at,
    start_lat, start_lon, start_place, ended_at, end_lat, end_lon, end_place, outside_area, distance_m, currency,
    unlock_minor, per_minute_minor, out_of_area_minor, promo_code, promo_percent, minutes, charge_minor, discount_minor,
    fee_minor, total_minor, version)
  SELECT 'europe-west1', gen_random_uuid(), 'rome', v, 'bike', 'europe-west1', u, '2026-01-01', 1, 1, 'x', '2026-01-01',
    1, 1, 'x', false, 1, 'EUR', 100, 20, 800, 'WELCOME', 50, 1, 120, 60, 0, 60, 2 FROM pick;
  UPDATE promo_quotas SET remaining = remaining - 1 WHERE region = 'europe-west1' AND code = 'WELCOME'";
const OPEN: &str = "INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at,
    start_lat, start_lon, start_place, currency, unlock_minor, per_minute_minor, out_of_area_minor, version) SELECT";
const EVENT: &str =
    "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id, correlation_id,
    occurred_at, epoch, metadata) SELECT";

const TASK: &str = "INSERT INTO tasks (region, id, city, problem, state, created_at, version, vehicle_id, reporter_id,
    assignee_id) SELECT 'us-west1', '00000001-0000-4000-8000-000000000000', 'seattle', 'lock', 'open', now(), 1,";
const TASK_EVENT: &str = "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, command_id,
    correlation_id, occurred_at, epoch, metadata)
    SELECT region, 'task', id, 1, 'task.opened', id, id, now(), 1, '{}' FROM tasks";

/// What is damaged: the checks that say so, and the SQL, of which `@open` and the like are
/// beginnings from above.
const DAMAGES: &[(&[&str], &str)] = &[
    (
        &["homes"],
        "INSERT INTO users SELECT 'us-west1', id, 'seattle', username || 'x', username_key || 'x', first_name,
        last_name, email, password_hash, recovery_hashes, present_in, NULL, NULL, NULL, NULL, NULL, version, created_at
        FROM users WHERE region = 'us-east1' AND city = 'chicago'",
    ),
    (&["regions"], "UPDATE users SET city = 'rome' FROM pick WHERE id = u2"),
    (&["regions"], "UPDATE vehicles SET city = 'rome' FROM pick WHERE id = v2"),
    (&["regions"], "UPDATE rides SET city = 'atlantis' FROM pick WHERE id = e"),
    (&["cells"], "UPDATE vehicles SET lat = lat + 0.01 FROM pick WHERE id = v2"),
    (&["ended-rides"], "UPDATE rides SET end_place = NULL FROM pick WHERE id = e"),
    (&["ended-rides"], "UPDATE rides SET end_lat = 1 FROM pick WHERE id = r"),
    (&["fares"], "UPDATE rides SET minutes = minutes + 1 FROM pick WHERE id = e"),
    (
        &["fares"],
        "UPDATE rides SET charge_minor = charge_minor + 1, total_minor = total_minor + 1 FROM pick WHERE id = e",
    ),
    (&["fares"], "UPDATE rides SET outside_area = NOT outside_area FROM pick WHERE id = e"),
    (&["uncharged", "fares"], "UPDATE rides SET uncharged_s = 120 FROM pick WHERE id = e"),
    (
        &["one-open-ride"],
        "@open 'us-west1', gen_random_uuid(), 'seattle', v2, 'bike', 'europe-west1', u, now(), 0, 0, 'x',
        'USD', 1, 1, 1, 1 FROM pick",
    ),
    (
        &["one-open-ride"],
        "@open 'europe-west1', gen_random_uuid(), 'rome', v, 'bike', 'us-east1', u2, now(), 0, 0, 'x',
        'USD', 1, 1, 1, 1 FROM pick",
    ),
    (&["open-rides-of-users"], "UPDATE users SET open_ride_region = NULL, open_ride_id = NULL FROM pick WHERE id = u"),
    (
        &["open-rides-of-users"],
        "UPDATE users SET open_ride_region = 'us-east1', open_ride_id = gen_random_uuid()
        FROM pick WHERE id = u2",
    ),
    (&["open-rides-of-users"], "UPDATE rides SET rider_id = NULL, rider_region = NULL FROM pick WHERE id = r"),
    (
        &["open-rides-of-vehicles"],
        "UPDATE vehicles SET status = 'available', open_ride_id = NULL FROM pick WHERE id = v",
    ),
    (
        &["open-rides-of-vehicles"],
        "UPDATE vehicles SET status = 'in_use', open_ride_id = gen_random_uuid()
        FROM pick WHERE id = v2",
    ),
    (
        &["reservations"],
        "UPDATE vehicles SET reserved_region = NULL, reserved_by = NULL, reserved_until = NULL
        FROM pick WHERE id = v2",
    ),
    (
        &["reservations"],
        "UPDATE users SET reserved_region = NULL, reserved_public_id = NULL, reserved_until = NULL
        FROM pick WHERE id = u2",
    ),
    (&["reservations"], "UPDATE vehicles SET public_id = gen_random_uuid() FROM pick WHERE id = v2"),
    (&["references"], "UPDATE rides SET vehicle_id = gen_random_uuid() FROM pick WHERE id = e"),
    (&["references"], "UPDATE rides SET rider_id = gen_random_uuid() FROM pick WHERE id = e"),
    (&["references"], "UPDATE rides SET rider_region = 'us-west1' FROM pick WHERE id = e"),
    (&["references"], "UPDATE vehicles SET owner_region = 'us-west1', owner_id = u2 FROM pick WHERE id = v2"),
    (
        &["references"],
        "UPDATE vehicles SET owner_region = 'us-east1', owner_id = gen_random_uuid() FROM pick WHERE id = v2",
    ),
    (&["references"], "INSERT INTO ride_positions VALUES ('us-east1', gen_random_uuid(), now(), 1, 1)"),
    (&["references", "promo-quotas"], "UPDATE promo_redemptions SET ride_id = gen_random_uuid()"),
    (&["references"], "@event 'us-east1', 'vehicle', gen_random_uuid(), 1, 'x', u, u, now(), 1, '{}' FROM pick"),
    (&["presence"], "UPDATE users SET present_in = '[]' FROM pick WHERE id = u"),
    (&["presence"], "@task v2, u, NULL::UUID FROM pick; @task_event"),
    (&["references"], "@task gen_random_uuid(), NULL::UUID, NULL::UUID; @task_event"),
    (&["references"], "@task v2, NULL::UUID, gen_random_uuid() FROM pick; @task_event"),
    (&["events"], "@task v2, NULL::UUID, NULL::UUID FROM pick"),
    (&["events"], "DELETE FROM events WHERE aggregate_id = (SELECT v FROM pick) AND version = 1"),
    (&["events"], "DELETE FROM events WHERE aggregate_id = (SELECT u FROM pick)"),
    (&["events"], "UPDATE events SET region = 'us-east1' FROM pick WHERE aggregate_id = v AND action = 'ride.started'"),
    (&["events"], "@event 'europe-west1', 'user', u, 9, 'x', u, u, now(), 1, '{}' FROM pick"),
    (&["events"], "@event 'us-east1', 'user', u, 1, 'x', u, u, now(), 1, '{}' FROM pick"),
    (
        &["promo-quotas"],
        "UPDATE promo_quotas SET remaining = remaining - 1 WHERE code = 'CITY2' AND region = 'us-west1'",
    ),
    (&["promo-quotas"], "DELETE FROM promo_quotas WHERE code = 'WELCOME' AND region = 'europe-west1'"),
    (&["promo-quotas"], "DELETE FROM promo_redemptions"),
    (&["promo-quotas"], "@ended"),
    (
        &["credits"],
        "UPDATE rides SET credited_minor = 1, credit_reason = 'fault'
        WHERE id::TEXT = (SELECT min(id::TEXT) FROM rides WHERE total_minor > 0)",
    ),
    (
        &["blocked"],
        "UPDATE users SET blocked_at = now() FROM pick WHERE id = u;
         INSERT INTO sessions SELECT region, gen_random_uuid(), id, 'x', 'x', now(), now(), now() FROM users, pick WHERE id = u",
    ),
    (
        &["promo-limits"],
        "@ended; INSERT INTO promo_redemptions SELECT 'europe-west1', u, 'WELCOME', 'europe-west1', id, now()
        FROM pick, rides WHERE rides.rider_id = u AND promo_code = 'WELCOME' AND ended_at IS NOT NULL",
    ),
];

#[actix_web::test]
async fn every_kind_of_damage_is_found_by_its_check() {
    let world = world().await;
    let url = world.database.another();
    engine::migrate(&url).await;
    let data = Data::open(&url).await;
    data.load((4, 10, 40), 1).await;
    data.client.batch_execute(SETUP).await.unwrap();
    let mut redo = Vec::new();
    for table in TABLES {
        // What is generated is not written.
        let columns = "SELECT string_agg(column_name::TEXT, ', ') FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name::TEXT = $1 AND column_name <> 'sort_code'";
        let columns: String = data.client.query_one(columns, &[&table]).await.unwrap().try_get(0).unwrap();
        redo.push(format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM good_{table};"));
        data.client.batch_execute(&format!("CREATE TABLE good_{table} AS SELECT * FROM {table}")).await.unwrap();
    }
    let env = [("DATABASE_URL", url.as_str())];
    assert_eq!(data.verify().await, [], "before any damage");
    let clean = movr(&["verify-data"], &env).await;
    assert_eq!(clean.code, Some(0), "{clean:?}");

    // Whatever could be told of a person, to see that it is not.
    let private = "SELECT unnest(ARRAY[username, email, password_hash || '$']) FROM users";
    let private: Vec<String> =
        data.client.query(private, &[]).await.unwrap().iter().map(|row| row.try_get(0).unwrap()).collect();
    let mut seen = BTreeSet::new();
    for (checks, damage) in DAMAGES {
        let damage = damage.replace("@open", OPEN).replace("@event", EVENT).replace("@ended", ENDED);
        let damage = damage.replace("@task_event", TASK_EVENT).replace("@task", TASK);
        data.client.batch_execute(&damage).await.unwrap();
        let findings = data.verify().await;
        let found: BTreeSet<_> = findings.iter().map(|finding| finding.check).collect();
        for check in *checks {
            assert!(found.contains(check), "{check} did not find: {damage}\nfound: {findings:#?}");
            // One process a check is enough.
            if seen.insert(*check) {
                let ended = movr(&["verify-data"], &env).await;
                assert_eq!(ended.code, Some(1), "{check}: {ended:?}");
                assert!(ended.out.contains(&format!("{check} in ")) && ended.err.contains("findings"), "{ended:?}");
                assert!(!private.iter().any(|text| ended.out.contains(text) || ended.err.contains(text)), "{ended:?}");
            }
        }
        let undo = TABLES.iter().map(|table| format!("DELETE FROM {table};"));
        data.client.batch_execute(&undo.chain(redo.iter().rev().cloned()).collect::<String>()).await.unwrap();
        assert_eq!(data.verify().await, [], "after undoing: {damage}");
    }
    let all: BTreeSet<_> = CHECKS.iter().map(|(check, _)| *check).collect();
    assert_eq!(seen, all, "every check has a damage");
    data.db.close();
    drop(data.client);
    world.database.drop_another(&url).await;
    world.end().await;
}

#[actix_web::test]
async fn the_load_command_loads_once() {
    let world = world().await;
    let env = [("DATABASE_URL", world.database.url.as_str()), ("MOVR_PASSWORD_MEMORY_KIB", "8")];
    let load = ["load", "--cities", "rome,seattle", "--users", "3", "--vehicles", "5", "--rides", "8", "--seed", "9"];
    let load = [&load[..], &["--password", "a long walk to the tram"]].concat();
    let first = movr(&load, &env).await;
    assert!(first.code == Some(0) && first.out.contains("6 new people, 10 new vehicles"), "{first:?}");
    let again = movr(&load, &env).await;
    assert!(again.code == Some(0) && again.out.contains("0 new people, 0 new vehicles"), "{again:?}");
    let nowhere = movr(&["load", "--cities", "atlantis", "--password", "x"], &env).await;
    assert!(nowhere.code == Some(1) && nowhere.err.contains("atlantis"), "{nowhere:?}");
    assert_eq!(movr(&["verify-data"], &env).await.code, Some(0));
    let service = world.service("us-east1").await;
    let hash = "SELECT count(DISTINCT password_hash) FROM users";
    let hashes: i64 = world.sql().await.query_one(hash, &[]).await.unwrap().try_get(0).unwrap();
    assert_eq!(hashes, 1, "one hash for all");
    let someone = "SELECT username FROM users ORDER BY username LIMIT 1";
    let someone: String = world.sql().await.query_one(someone, &[]).await.unwrap().try_get(0).unwrap();
    movr::ops::accounts::sign_in(&service, &someone, "a long walk to the tram", "x", None).await.unwrap();
    service.db.close();
    world.end().await;
}
