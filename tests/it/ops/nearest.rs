//! The 25 nearest vehicles through the index against brute force over all rows: cities
//! of several densities, points in and far outside them, types and batteries, and right
//! after vehicles moved, when what an instance remembers of the density is wrong. And
//! what it costs: at most two statements, few candidates, the covering index.
//! With `MOVR_MEASURE=1`, `nearest_cost` prints times at 1,000 to 100,000 vehicles.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use movr::{
    db::{
        all_statements,
        engine::Engine,
        meter::Meter,
        statement::{Conn, Reach, Statement},
        vehicles::{NEAREST_LIMIT, Nearby, Search},
    },
    domain::{
        catalogue::City,
        geo::{Level, Point, block_ranges, cell, level_for_radius},
    },
    ops::service::Service,
    ops::vehicles::nearest,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{World, world};

/// Distances of the database and of Rust differ by rounding only.
const ROUNDING_M: f64 = 1e-4;

/// What decides whether a vehicle is listed.
struct Row {
    public_id: Uuid,
    vehicle_type: String,
    battery: i64,
    at: Point,
}

async fn available(sql: &Client, city: &City) -> Vec<Row> {
    let text = "SELECT public_id, type, battery, lat, lon FROM vehicles WHERE city = $1 AND status = 'available'";
    let rows = sql.query(text, &[&city.slug]).await.unwrap();
    let read = |row: &tokio_postgres::Row| Row {
        public_id: row.try_get(0).unwrap(),
        vehicle_type: row.try_get(1).unwrap(),
        battery: row.try_get(2).unwrap(),
        at: Point::new(row.try_get(3).unwrap(), row.try_get(4).unwrap()).unwrap(),
    };
    rows.iter().map(read).collect()
}

/// What one person asks for.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    point: Point,
    vehicle_type: Option<&'a str>,
    battery: i64,
}

fn search<'a>(service: &Service, city: &'a City, question: &Question<'a>) -> Search<'a> {
    let Question { point, vehicle_type, battery } = *question;
    Search {
        region: &city.region,
        city: &city.slug,
        point,
        vehicle_type,
        battery,
        rider: None,
        after: None,
        now: service.clock.now(),
    }
}

/// Asks the application and compares every answer with all rows; returns how many
/// statements it took.
async fn check(service: &Service, conn: &Conn, city: &City, rows: &[Row], question: &Question<'_>) -> u32 {
    let meter = Arc::new(Meter::default());
    let found: Vec<Nearby> = meter.measure(nearest(service, conn, &search(service, city, question))).await.unwrap();
    let figures = meter.figures();
    assert!(figures.names.iter().all(|name| *name == "vehicles.list_nearest"), "{:?}", figures.names);
    assert!((1..=2).contains(&figures.statements), "{} statements for {question:?}", figures.statements);

    let fits = |row: &&Row| {
        question.vehicle_type.is_none_or(|vehicle_type| vehicle_type == row.vehicle_type)
            && row.battery >= question.battery
    };
    let mut all: Vec<(f64, Uuid)> =
        rows.iter().filter(fits).map(|row| (row.at.distance_m(question.point), row.public_id)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    assert_eq!(found.len(), all.len().min(NEAREST_LIMIT), "{question:?}");
    for (n, (got, (metres, _))) in found.iter().zip(&all).enumerate() {
        assert!(
            (got.distance_m - metres).abs() < ROUNDING_M,
            "place {n}: {} m, not {metres} m: {question:?}",
            got.distance_m
        );
        let same =
            all.iter().find(|(_, id)| *id == got.public_id).unwrap_or_else(|| panic!("{got:?} for {question:?}"));
        assert!((same.0 - got.distance_m).abs() < ROUNDING_M, "place {n}: another vehicle's distance: {question:?}");
        let closer = n > 0 && found[n - 1].public_id >= got.public_id && found[n - 1].at == got.at;
        assert!(!closer, "place {n}: vehicles on one spot are in the order of their ids");
    }
    figures.statements
}

/// A question somewhere: mostly in the city, sometimes far outside, sometimes on another continent.
fn somewhere(rng: &mut StdRng, city: &City) -> Question<'static> {
    let spread = [0.001, 0.02, 0.05, 0.05, 0.5, 20.0][rng.random_range(0..6)];
    let lat = (city.centre.lat() + rng.random_range(-spread..spread)).clamp(-90.0, 90.0);
    let lon = city.centre.lon() + rng.random_range(-spread..spread);
    let far = [Point::new(90.0, 10.0), Point::new(-90.0, 0.0), Point::new(0.0, 180.0), Point::new(-33.9, 151.2)];
    let point = if rng.random_bool(0.05) { far[rng.random_range(0..4)] } else { Point::new(lat, lon) };
    let vehicle_type =
        [None, None, Some("bike"), Some("scooter"), Some("skateboard"), Some("rocket")][rng.random_range(0..6)];
    Question { point: point.unwrap(), vehicle_type, battery: [0, 0, 50, 90, 99, 101][rng.random_range(0..6)] }
}

/// Moves vehicles as the rows would be moved by rides, but at once: `of` of ten, to `spread` degrees around.
async fn scatter(sql: &Client, rng: &mut StdRng, city: &City, rows: &mut [Row], of: u32, spread: f64) {
    let (mut ids, mut lats, mut lons, mut cells) = (vec![], vec![], vec![], vec![]);
    for row in rows {
        if rng.random_ratio(of, 10) {
            let (lat, lon) = (rng.random_range(-spread..spread), rng.random_range(-spread..spread));
            row.at = Point::new(city.centre.lat() + lat, city.centre.lon() + lon).unwrap();
            ids.push(row.public_id);
            lats.push(row.at.lat());
            lons.push(row.at.lon());
            cells.push(cell(row.at));
        }
    }
    let text = "UPDATE vehicles SET lat = n.lat, lon = n.lon, cell = n.cell
        FROM unnest($1::UUID[], $2::FLOAT8[], $3::FLOAT8[], $4::INT8[]) AS n (id, lat, lon, cell)
        WHERE vehicles.region = $5::TEXT::crdb_internal_region AND vehicles.public_id = n.id";
    sql.execute(text, &[&ids, &lats, &lons, &cells, &city.region.as_str()]).await.unwrap();
}

/// A city with so many vehicles, and who asks there.
async fn city_of(world: &World, slug: &str, vehicles: usize) -> (Service, City) {
    world.sample(&[slug], 0, vehicles).await;
    world.set("ANALYZE vehicles").await;
    let service = world.service("us-east1").await;
    let city = service.catalogue().city(slug).unwrap().clone();
    (service, city)
}

#[actix_web::test]
async fn the_index_finds_what_brute_force_finds() {
    let world = world().await;
    for (slug, vehicles, asked) in [("boston", 30, 120), ("paris", 1_000, 120), ("new-york", 10_000, 120)] {
        let (service, city) = city_of(&world, slug, vehicles).await;
        let (sql, conn) = (world.sql().await, service.db.here().await.unwrap());
        let rng = &mut StdRng::seed_from_u64(vehicles as u64);
        let mut rows = available(&sql, &city).await;
        assert!(rows.len() > vehicles * 9 / 10, "{} of {vehicles} are available", rows.len());
        // Points are asked about again, so that both the first and the learnt level are checked.
        let points: Vec<_> = (0..asked).map(|_| somewhere(rng, &city)).collect();
        for question in points.iter().chain(&points) {
            check(&service, &conn, &city, &rows, question).await;
        }
        // Away from the points, all on one spot, and back: the memory is wrong each time.
        for (of, spread) in [(9, 0.6), (10, 1e-9), (5, 0.03), (10, 0.03)] {
            scatter(&sql, rng, &city, &mut rows, of, spread).await;
            for question in &points {
                check(&service, &conn, &city, &rows, question).await;
            }
        }
        // Almost none is left, then none.
        for left in [3, 0] {
            let gone: Vec<Uuid> = rows.drain(left..).map(|row| row.public_id).collect();
            let text = "UPDATE vehicles SET status = 'maintenance' WHERE public_id = ANY($1::UUID[])";
            sql.execute(text, &[&gone]).await.unwrap();
            for question in &points {
                check(&service, &conn, &city, &rows, question).await;
            }
        }
        drop(conn);
        service.db.close();
    }
    world.end().await;
}

const FLUSH: Statement =
    Statement::read("test.flush_statistics", Reach::Global, "SELECT pg_stat_force_next_flush()::TEXT AS done");
const READ: Statement = Statement::read(
    "test.index_entries_read",
    Reach::Global,
    "SELECT coalesce(sum(idx_tup_read), 0)::INT8 AS entries, coalesce(sum(idx_scan), 0)::INT8 AS scans
     FROM pg_stat_user_indexes WHERE indexrelname = 'vehicles_nearest_key'",
);

/// Entries of the nearest index that the server has read for `conn` and everyone before.
async fn entries_read(conn: &Conn) -> (i64, i64) {
    conn.rows(&FLUSH, &[]).await.unwrap();
    let row = conn.one(&READ, &[]).await.unwrap();
    (row.get("entries").unwrap(), row.get("scans").unwrap())
}

/// What the nearest list costs where it has been asked for before.
struct Cost {
    /// Index entries read, of each question.
    candidates: Vec<i64>,
    /// Questions that needed a second, wider one.
    wider: usize,
    /// Time of each question, and of the first one in a neighbourhood.
    warm: Vec<Duration>,
    cold: Vec<Duration>,
}

async fn cost(service: &Service, city: &City, questions: usize, counted: bool) -> Cost {
    let conn = service.db.here().await.unwrap();
    let rng = &mut StdRng::seed_from_u64(5);
    let bounds = city.service_area.bounds();
    let mut points = Vec::with_capacity(questions);
    while points.len() < questions {
        let (lat, lon) = (rng.random_range(bounds.south..bounds.north), rng.random_range(bounds.west..bounds.east));
        points.extend(Point::new(lat, lon).ok().filter(|point| city.service_area.contains(*point)));
    }
    let mut cost = Cost { candidates: vec![], wider: 0, warm: vec![], cold: vec![] };
    for times in [0, 1] {
        for point in &points {
            let question = search(service, city, &Question { point: *point, vehicle_type: None, battery: 0 });
            let before = if counted { entries_read(&conn).await.0 } else { 0 };
            let meter = Arc::new(Meter::default());
            let begun = Instant::now();
            assert_eq!(meter.measure(nearest(service, &conn, &question)).await.unwrap().len(), NEAREST_LIMIT);
            if times == 0 {
                cost.cold.push(begun.elapsed());
                continue;
            }
            cost.warm.push(begun.elapsed());
            cost.wider += usize::from(meter.figures().statements > 1);
            if counted {
                cost.candidates.push(entries_read(&conn).await.0 - before);
            }
        }
    }
    cost.candidates.sort_unstable();
    cost.warm.sort_unstable();
    cost.cold.sort_unstable();
    cost
}

fn at<T: Copy>(sorted: &[T], per_cent: usize) -> T {
    sorted[(sorted.len() - 1) * per_cent / 100]
}

/// Whether the server is PostgreSQL, which tells what an index has read; says so if not.
async fn tells_entries(sql: &Client, name: &str) -> bool {
    let cockroach = Engine::ask(sql).await.unwrap().cockroach;
    if cockroach {
        eprintln!("SKIPPED {name}: needs PostgreSQL's statistics of its indexes");
    }
    !cockroach
}

#[actix_web::test]
#[allow(clippy::print_stdout, reason = "a measurement is asked for to be read")]
async fn nearest_cost() {
    let world = world().await;
    let measure = movr::config::env("MOVR_MEASURE").as_deref() == Some("1");
    let cities = [("boston", 1_000), ("paris", 10_000), ("new-york", 100_000)];
    let counted = tells_entries(&world.sql().await, "nearest_cost's bound of candidates").await;
    if measure {
        println!("vehicles  candidates p50  p90   p99  second %  time p50   p99  first p50   p99 (ms)");
    }
    for (slug, vehicles) in &cities[..if measure { 3 } else { 1 }] {
        let (service, city) = city_of(&world, slug, *vehicles).await;
        if counted {
            world.set("VACUUM vehicles").await;
        }
        let cost = cost(&service, &city, if measure { 500 } else { 100 }, counted).await;
        if measure {
            let ms = |times: &[Duration], part| at(times, part).as_secs_f64() * 1e3;
            let [half, most, all] = [50, 90, 99].map(|part| if counted { at(&cost.candidates, part) } else { 0 });
            println!(
                "{vehicles:>8}  {half:>14} {most:>4} {all:>5}  {:>8}  {:>8.2} {:>5.2}  {:>9.2} {:>5.2}",
                cost.wider * 100 / cost.warm.len(),
                ms(&cost.warm, 50),
                ms(&cost.warm, 99),
                ms(&cost.cold, 50),
                ms(&cost.cold, 99),
            );
        }
        if counted {
            assert!(at(&cost.candidates, 0) >= 25, "an answer of 25 reads 25: {:?}", cost.candidates);
            assert!(at(&cost.candidates, 50) <= CANDIDATES, "{vehicles} vehicles: {:?}", cost.candidates);
            assert!(cost.wider * 20 <= cost.warm.len(), "{} of {} asked twice", cost.wider, cost.warm.len());
        }
        service.db.close();
    }
    world.end().await;
}

/// Index entries that a question reads, in the middle, whatever the density.
const CANDIDATES: i64 = 350;

#[actix_web::test]
async fn at_ten_thousand_vehicles_a_list_reads_few_candidates() {
    let world = world().await;
    if tells_entries(&world.sql().await, "the bound of candidates").await {
        let (service, city) = city_of(&world, "new-york", 10_000).await;
        let cost = cost(&service, &city, 150, true).await;
        assert!(at(&cost.candidates, 0) >= 25, "an answer of 25 reads 25: {:?}", cost.candidates);
        assert!(at(&cost.candidates, 50) <= CANDIDATES, "{:?}", cost.candidates);
        // Who stands at the edge of where vehicles stand reads more; few people do.
        assert!(at(&cost.candidates, 95) <= 6 * CANDIDATES, "{:?}", cost.candidates);
        assert!(cost.wider * 20 <= cost.warm.len(), "{} of {} asked twice", cost.wider, cost.warm.len());
        service.db.close();
    }
    world.end().await;
}

/// The nodes of a plan that read a table or an index.
fn scans(node: &Value, found: &mut Vec<(String, String)>) {
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    if text("Node Type").contains("Scan") {
        found.push((text("Node Type"), text("Index Name") + &text("Relation Name")));
    }
    node["Plans"].as_array().into_iter().flatten().for_each(|child| scans(child, found));
}

#[actix_web::test]
async fn the_plan_uses_the_covering_index_prepared_or_not() {
    let world = world().await;
    let sql = world.sql().await;
    let engine = Engine::ask(&sql).await.unwrap();
    if engine.cockroach {
        eprintln!("SKIPPED the_plan_uses_the_covering_index_prepared_or_not: needs PostgreSQL's plans as JSON");
        drop(sql);
        return world.end().await;
    }
    let (service, city) = city_of(&world, "new-york", 10_000).await;
    sql.batch_execute("VACUUM ANALYZE vehicles").await.unwrap();
    for (name, value) in engine.session_settings() {
        sql.batch_execute(&format!("SET {name} = {value}")).await.unwrap();
    }
    let statement = all_statements().into_iter().find(|statement| statement.name == "vehicles.list_nearest").unwrap();
    sql.batch_execute(&format!("PREPARE near AS {}", statement.text)).await.unwrap();
    let near = level_for_radius(city.centre, 200.0);
    // Who reads the whole city anyway may do it in another way, if the plan is made for that.
    let generic: &[Level] = &[near, Level::WHOLE];
    for (mode, levels) in [("force_generic_plan", generic), ("force_custom_plan", &[near]), ("auto", &[near])] {
        sql.batch_execute(&format!("SET plan_cache_mode = {mode}")).await.unwrap();
        for level in levels {
            let ranges = block_ranges(city.centre, *level);
            let ranges = ranges.map(|(low, high)| format!("{low}, {high}")).join(", ");
            let execute = format!(
                "EXPLAIN (FORMAT JSON) EXECUTE near('us-east1', 'new-york', NULL, 0, NULL, now(), {}, {}, {ranges}, -1, '00000000-0000-0000-0000-000000000000')",
                city.centre.lat(),
                city.centre.lon()
            );
            let plan: Value = sql.query_one(&execute, &[]).await.unwrap().try_get(0).unwrap();
            let mut found = Vec::new();
            scans(&plan[0]["Plan"], &mut found);
            assert!(!found.is_empty(), "{plan:#}");
            for (node, on) in found {
                // The others find what has come to where it stands just now, and what the person has reserved.
                let indexes = ["vehicles_nearest_key", "vehicles_seen_idx", "vehicles_reserved_idx"];
                let by_index = indexes.iter().any(|index| on.contains(index)) || node == "Bitmap Heap Scan";
                assert!(by_index, "{mode}: {node} on {on}: {plan:#}");
            }
        }
    }
    service.db.close();
    drop(sql);
    world.end().await;
}
