//! Erasing a person: the account is closed at once, the rest follows when every region answers, and
//! nothing that is left joins two of their rides. And the export of much, in little memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use movr::db::health::{Fault, Faults};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};
use uuid::Uuid;

use crate::{
    metrics,
    pages::rides,
    support::{Browser, World, app::PASSWORD, rows::pairs, world},
};

#[actix_web::test]
async fn an_erasure_closes_the_account_at_once_and_goes_on_when_a_region_is_back() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 20).await;
    let faults = Arc::<Faults>::default();
    let settings = [("MOVR_STATEMENT_TIMEOUT_MS", "700"), ("MOVR_WRITE_TIMEOUT_MS", "1500"), ("MOVR_WATCH_MS", "300")];
    let instance = world.instance_losing("us-east1", &settings, Arc::clone(&faults)).await;
    let ann = instance.person("new-york").await;
    for (city, lat, lon) in [("paris", "48.8566", "2.3522"), ("new-york", "40.7128", "-74.006")] {
        let ride = rides::start(&ann, city).await;
        world.clock.advance(chrono::Duration::seconds(60));
        ann.post(&format!("{ride}/end"), &[("city", city), ("lat", lat), ("lon", lon)]).await.location();
    }
    ann.get("/profile").await;
    faults.write().insert("europe-west1".parse().unwrap(), Fault::Unreachable);
    ann.get("/vehicles?city=paris").await;
    ann.until_status("europe-west1", false).await;
    // What is missing is named in the export.
    let export: Value = serde_json::from_str(&ann.get("/profile/export").await.body).unwrap();
    assert_eq!(export["missing"], serde_json::json!(["europe-west1"]));
    assert_eq!(export["regions"]["us-east1"]["rides"].as_array().unwrap().len(), 1);
    assert!(export["regions"]["europe-west1"]["incomplete"].is_string());

    let link = ann.post("/profile/delete", &[("password", PASSWORD)]).await.location();
    let nobody = instance.browser();
    assert!(!ann.signed_in().await);
    for (table, rows) in [("users", 0), ("sessions", 0)] {
        assert_eq!(world.count(&format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
    world.until("SELECT count(*) FROM rides WHERE rider_id IS NULL", 0).await;
    let page = nobody.get(&link).await;
    assert!(page.text().contains("Your data is being erased"), "{}", page.text());
    assert_eq!(page.attributes("main p a", "href"), [link.as_str()], "{}", page.text());
    // Home comes last, and waits with it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.count("SELECT count(*) FROM rides WHERE rider_id IS NOT NULL").await, 2);
    faults.write().clear();
    world.until("SELECT count(*) FROM jobs WHERE state = 'done'", 1).await;
    assert_eq!(world.count("SELECT count(*) FROM rides WHERE rider_id IS NOT NULL OR end_place <> ''").await, 0);
    let page = nobody.get(&link).await;
    assert!(page.text().contains("Nothing here points to you any more"), "{}", page.text());
    assert!(page.text().contains("Rides made anonymous so far: 2"), "{}", page.text());
    assert_eq!(nobody.get(&format!("/erasure/us-east1/{}", Uuid::new_v4())).await.status, StatusCode::NOT_FOUND);
    // No job of operators: neither listed nor shown.
    let id = link.rsplit_once('/').unwrap().1;
    let operator = instance.person("new-york").await;
    movr::ops::accounts::grant(&instance.running.state.service.db, &operator.name, "operator", "new-york")
        .await
        .unwrap();
    assert!(!operator.get("/fleet/jobs?city=new-york").await.body.contains(id));
    assert_eq!(operator.get(&format!("/fleet/jobs/us-east1/{id}")).await.status, StatusCode::FORBIDDEN);
    instance.running.stop().await;
    world.end().await;
}

/// The texts and ids in each row of the database.
type Rows = Vec<BTreeSet<String>>;

async fn rows(world: &World) -> Rows {
    let sql = world.sql().await;
    let mut columns = BTreeMap::<String, Vec<String>>::new();
    let text = "SELECT table_name::TEXT, column_name::TEXT FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('uuid', 'text', 'jsonb') AND table_name NOT LIKE 'refinery%'";
    for row in sql.query(text, &[]).await.unwrap() {
        columns.entry(row.try_get(0).unwrap()).or_default().push(row.try_get(1).unwrap());
    }
    let mut rows = Rows::new();
    for (table, columns) in columns {
        let all = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        let text = format!("SELECT row_to_json(t)::TEXT FROM (SELECT {all} FROM {table}) AS t");
        for row in sql.query(&text, &[]).await.unwrap() {
            let mut found = BTreeSet::new();
            leaves(&serde_json::from_str(row.try_get(0).unwrap()).unwrap(), &mut found);
            rows.push(found);
        }
    }
    rows
}

fn leaves(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(all) => all.iter().for_each(|value| leaves(value, found)),
        Value::Object(all) => all.values().for_each(|value| leaves(value, found)),
        _ => {}
    }
}

fn is_id(text: &str) -> bool {
    Uuid::parse_str(text).is_ok_and(|id| !id.is_nil())
}

/// The rows that tell of a ride: those that name it, and those that name an id of theirs.
fn about<'a>(rows: &'a Rows, ride: &str) -> Vec<&'a BTreeSet<String>> {
    let named: BTreeSet<&String> =
        rows.iter().filter(|row| row.contains(ride)).flatten().filter(|v| is_id(v)).collect();
    rows.iter().filter(|row| row.iter().any(|value| named.contains(value))).collect()
}

/// What says of two rides that they are of one person: an id that no ride of others has in its
/// rows, or a text that stands in no other row.
fn joins(rows: &Rows, rides: &[String], others: &[String]) -> BTreeSet<String> {
    let [one, two] = [&rides[0], &rides[1]].map(|ride| about(rows, ride));
    let values = |of: &[&BTreeSet<String>]| of.iter().copied().flatten().cloned().collect::<BTreeSet<String>>();
    let foreign: BTreeSet<String> = others.iter().flat_map(|ride| values(&about(rows, ride))).collect();
    let elsewhere =
        rows.iter().filter(|row| !one.contains(row) && !two.contains(row)).flatten().collect::<BTreeSet<_>>();
    let common = values(&one).intersection(&values(&two)).cloned().collect::<BTreeSet<_>>();
    common.into_iter().filter(|v| !foreign.contains(v) && (is_id(v) || !elsewhere.contains(v))).collect()
}

/// Two rides with reservations, a code and positions, each on another vehicle; their ids.
async fn two_rides(world: &World, person: &Browser) -> Vec<String> {
    let mut ids = Vec::new();
    for (card, lat) in [(2, "40.7128"), (4, "40.7228")] {
        let list = person.get("/vehicles?city=new-york").await;
        let (lapses, rides) = (list.card(card + 1), list.card(card));
        let vehicle = |card: &[(String, String)]| card.iter().find(|(name, _)| name == "vehicle").unwrap().1.clone();
        let reserve = async |card: &[(String, String)]| {
            let path = format!("/vehicles/us-east1/{}/reserve", vehicle(card));
            person.post(&path, &pairs(card)).await.location()
        };
        reserve(&rides).await;
        person.post("/reservation/cancel", &pairs(&rides)).await.location();
        reserve(&lapses).await;
        world.clock.advance(chrono::Duration::minutes(11));
        let promo = [&pairs(&rides)[..], &[("promo", "CITY2")]].concat();
        let ride = person.post("/rides", &promo).await.location();
        assert!(ride.starts_with("/rides/us-east1/"), "{ride}");
        world.clock.advance(chrono::Duration::seconds(60));
        let at = world.clock.now().to_rfc3339();
        let batch = format!(r#"{{"positions":[{{"at":"{at}","lat":{lat},"lon":-74.006}}]}}"#);
        person.post_raw(&format!("{ride}/positions"), "application/json", batch).await;
        person.post(&format!("{ride}/end"), &[("city", "new-york"), ("lat", lat), ("lon", "-74.006")]).await.location();
        ids.push(ride.rsplit_once('/').unwrap().1.to_owned());
    }
    ids
}

#[actix_web::test]
async fn nothing_that_is_left_joins_two_rides_of_an_erased_person() {
    let world = world().await;
    world.sample(&["new-york"], 0, 60).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let (others, own) = (two_rides(&world, &bob).await, two_rides(&world, &ann).await);
    let id = "SELECT id::TEXT FROM users WHERE username = $1";
    let id: String = world.sql().await.query_one(id, &[&ann.name]).await.unwrap().try_get(0).unwrap();
    // As texts were typed, and as reservations were left, before.
    world.set(&format!("UPDATE rides SET end_place = 'At my aunt''s' WHERE rider_id = '{id}'")).await;
    world
        .set(&format!("UPDATE rides SET last_at = ended_at, last_lat = 1, last_lon = 1 WHERE rider_id = '{id}'"))
        .await;
    let found = joins(&rows(&world).await, &own, &others);
    assert!(found.contains(&id) && found.contains("At my aunt's"), "it looks: {found:?}");
    let reserved = format!("SELECT count(*) FROM vehicles WHERE reserved_by = '{id}'");
    assert_eq!(world.count(&reserved).await, 2, "lapsed reservations stay on the vehicles");
    ann.post("/profile/delete", &[("password", PASSWORD)]).await.location();
    world.until("SELECT count(*) FROM jobs WHERE state = 'done'", 1).await;
    let left = rows(&world).await;
    assert_eq!(joins(&left, &own, &others), BTreeSet::new());
    let last = "SELECT count(*) FROM rides WHERE rider_id IS NULL AND (last_at IS NOT NULL OR last_lat IS NOT NULL)";
    assert_eq!(world.count(last).await, 0, "nor is a last position left");
    // The person is named by the events of their own account, and nowhere else.
    let named = left.iter().filter(|row| row.contains(&id)).collect::<Vec<_>>();
    assert!(named.iter().all(|row| row.contains("user")), "{named:?}");
    assert!(!left.iter().any(|row| own.iter().any(|ride| row.contains(ride) && row.contains(&id))));
    instance.running.stop().await;
    world.end().await;
}

/// The other end takes nothing after the first bytes: what does not fit into the buffers on the way
/// is not read from the database either.
#[actix_web::test]
async fn an_export_of_a_hundred_thousand_positions_is_read_as_fast_as_it_is_received() {
    const RIDES: usize = 50;
    let world = world().await;
    world.sample(&["new-york"], 0, 2).await;
    let instance = world.instance_with("us-east1", &[metrics::LISTEN]).await;
    let person = instance.person("new-york").await;
    let filled = format!(
        "INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, rider_region, rider_id, started_at, start_lat,
           start_lon, start_place, currency, unlock_minor, per_minute_minor, out_of_area_minor, version, ended_at, end_lat,
           end_lon, end_place, outside_area, distance_m, minutes, charge_minor, discount_minor, fee_minor, total_minor)
         SELECT 'us-east1', gen_random_uuid(), 'new-york', v.id, 'bike', 'us-east1', u.id,
           '2026-01-01'::TIMESTAMPTZ - n * '3 h'::INTERVAL, 40.7, -74, 'p', 'USD', 1, 1, 1, 2,
           '2026-01-01'::TIMESTAMPTZ - n * '3 h'::INTERVAL + '30 s'::INTERVAL, 40.7, -74, 'q', false, 1, 1, 2, 0, 0, 2
         FROM generate_series(1, {RIDES}) AS n, (SELECT id FROM vehicles ORDER BY id LIMIT 1) AS v,
           (SELECT id FROM users) AS u;
         INSERT INTO ride_positions SELECT region, rides.id, started_at + n * '1 s'::INTERVAL, 40.7, -74
         FROM rides, generate_series(1, 2000) AS n;
         UPDATE users SET present_in = '[\"us-east1\"]'"
    );
    world.set(&filled).await;
    let reads = async || {
        let scrape = metrics::scrape(&instance).await;
        scrape.sum("movr_db_statement_duration_seconds_count", &[("statement", "home.list_positions")])
    };
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let address = instance.base.strip_prefix("http://").unwrap().parse().unwrap();
    let signed_in = [("username", person.name.as_str()), ("password", PASSWORD)];
    let cookie = instance.browser().post("/login", &signed_in).await.session_cookie();
    let mut slow = socket.connect(address).await.unwrap();
    let head = format!("GET /profile/export HTTP/1.1\r\nHost: movr.test\r\nCookie: {cookie}\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 1024];
    slow.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&first));
    let mut read = 0.0;
    while read < 1.0 || read < reads().await {
        read = reads().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    drop(slow);
    let file = person.get("/profile/export").await.body;
    let all = reads().await - read;
    eprintln!("{} KiB; {read} pages of positions are read ahead of {all}", file.len() / 1024);
    assert!(read < all, "{read} of {all}");
    let export: Value = serde_json::from_str(&file).unwrap();
    let rides = export["regions"]["us-east1"]["rides"].as_array().unwrap();
    let positions: usize = rides.iter().map(|ride| ride["positions"].as_array().unwrap().len()).sum();
    assert_eq!((rides.len(), positions), (RIDES, RIDES * 2000));
    instance.running.stop().await;
    world.end().await;
}
