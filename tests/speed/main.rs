//! How fast `/vehicles` is beside a bare actix handler that sends the same statement and
//! renders 25 cards: the measure of what sessions, catalogue, filters, map, headers and
//! logs cost. `cargo run --release --example speed` (needs `wrk` and PostgreSQL's
//! programs; ends by itself). Both servers run in this process, on the same cores as
//! wrk and the database; each is measured alone, in turns.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a program for measuring: it ends in words"
)]

use std::{collections::BTreeMap, process::Command, sync::Arc};

use actix_web::{
    App as Actix, HttpResponse, HttpServer,
    web::{self, Data},
};
use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use movr::{
    cli::migrate::SHIPPED,
    clock::Clock,
    config::Config,
    db::{
        self, Db,
        connect::Endpoint,
        migrate::Layout,
        vehicles::{NEAREST, NEAREST_PAGE, Search},
    },
    domain::{
        catalogue::Catalogue,
        geo::{Level, Point, Ranges, block_ranges, level_for_radius},
    },
    local::{Options, PrivatePostgres},
    ops::service::Service,
    ops::{self, sample::SamplePlan},
    server,
};
use reqwest::cookie::{CookieStore, Jar};
use tokio_postgres::types::ToSql;

const SECONDS: &str = "8";

struct Card {
    number: usize,
    title: String,
    distance: String,
    place: String,
    battery: i64,
}

#[derive(Template)]
#[template(path = "../tests/speed/cards.html")]
struct Cards {
    cards: Vec<Card>,
}

struct Bare {
    pool: Pool,
    centre: Point,
    ranges: Ranges,
}

/// The bare handler: one statement, 25 cards, nothing else.
async fn bare(data: Data<Bare>) -> HttpResponse {
    let client = data.pool.get().await.unwrap();
    let statement = client.prepare_cached(NEAREST.text).await.unwrap();
    let (lat, lon, now) = (data.centre.lat(), data.centre.lon(), Clock::default().now());
    let nobody: Option<uuid::Uuid> = None;
    let any: Option<&str> = None;
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&"us-east1", &"new-york", &any, &0_i64, &nobody, &now, &lat, &lon];
    for (low, high) in &data.ranges {
        params.extend([low as &(dyn ToSql + Sync), high]);
    }
    // The first page.
    let (metres, id) = (-1.0_f64, uuid::Uuid::nil());
    params.extend([&metres as &(dyn ToSql + Sync), &id]);
    let rows = client.query(&statement, &params).await.unwrap();
    let card = |(number, row): (usize, &tokio_postgres::Row)| Card {
        number,
        title: format!(
            "{}, {} {}",
            row.try_get::<_, &str>("brand").unwrap(),
            row.try_get::<_, &str>("colour").unwrap(),
            row.try_get::<_, &str>("type").unwrap()
        ),
        distance: format!("{:.0} m", row.try_get::<_, f64>("distance_m").unwrap()),
        place: row.try_get("place").unwrap(),
        battery: row.try_get("battery").unwrap(),
    };
    let page = Cards { cards: (1..).zip(&rows).take(NEAREST_PAGE).map(card).collect() };
    HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page.render().unwrap())
}

fn settings(url: &str) -> Config {
    let key = STANDARD.encode([7_u8; 64]);
    let vars: BTreeMap<&str, &str> = [
        ("MOVR_REGION", "us-east1"),
        ("DATABASE_URL", url),
        ("MOVR_LISTEN", "127.0.0.1:0"),
        ("MOVR_PUBLIC_URL", "http://localhost"),
        ("MOVR_SECRET_KEYS", &key),
        ("MOVR_DRAIN_DELAY_MS", "0"),
        // Half of them read: one for each of wrk's connections, for both servers.
        ("MOVR_POOL_SIZE", "32"),
    ]
    .into();
    Config::from_vars(vars).unwrap()
}

/// A bare pool with the session settings of the application's readers.
async fn bare_pool(config: &Config) -> Pool {
    let mut endpoint = Endpoint::parse(config.database.url.expose(), None).unwrap();
    endpoint.with_session(&[
        ("default_transaction_isolation", "repeatable read"),
        ("default_transaction_read_only", "on"),
        ("enable_seqscan", "off"),
    ]);
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(endpoint.config, endpoint.tls, recycling);
    let pool = Pool::builder(manager).max_size(config.database.pool_size / 2).runtime(Runtime::Tokio1).build().unwrap();
    drop(pool.get().await.unwrap());
    pool
}

/// `wrk` against a URL: pages a second, and the slowest of the best 99 %.
async fn wrk(url: String, cookie: Option<String>) -> (String, String) {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c16", "--latency"]).arg(format!("-d{SECONDS}s"));
    if let Some(cookie) = cookie {
        command.args(["-H", &format!("Cookie: {cookie}")]);
    }
    let output = web::block(move || command.arg(url).output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let after = |mark: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(mark)).unwrap_or("? ?");
        line.split_whitespace().nth(1).unwrap_or("?").to_owned()
    };
    (after("Requests/sec:"), after("99%"))
}

/// Registers a person; the client keeps cookies in `jar` like a browser.
async fn sign_up(base: &str, jar: &Arc<Jar>) -> reqwest::Client {
    let client = reqwest::Client::builder().cookie_provider(Arc::clone(jar)).build().unwrap();
    let id = uuid::Uuid::new_v4().to_string();
    let form = [
        ("id", id.as_str()),
        ("city", "new-york"),
        ("first_name", "Speed"),
        ("last_name", "Test"),
        ("email", "speed@example.com"),
        ("username", &format!("speed{}", &id[..8])),
        ("password", "a long walk to the tram"),
    ];
    client.post(format!("{base}/register")).form(&form).send().await.unwrap();
    client
}

#[actix_web::main]
async fn main() {
    let folder = std::env::temp_dir().join("movr-speed");
    let options = Options { data: folder, fresh: true, ..Default::default() };
    let postgres = PrivatePostgres::start(options).await.unwrap();
    let config = settings(&postgres.url("movr"));
    let file = Catalogue::parse(SHIPPED).unwrap();
    let layout = Layout {
        regions: file.regions.iter().map(|region| region.code.clone()).collect(),
        survive_region: false,
        placement_restricted: false,
        locality: true,
    };
    let endpoint = db::endpoint(&config.database, config.database.url.expose()).unwrap();
    db::migrate::run(&endpoint, &layout, false).await.unwrap();
    let database = Db::open(&config.database).await.unwrap();
    ops::catalogue::load(&database, &file, &Clock::default()).await.unwrap();
    let catalogue = db::catalogue::load(&database.here().await.unwrap()).await.unwrap().unwrap();
    let plan = SamplePlan { cities: vec!["new-york".to_owned()], users: 100, vehicles: 1000, rides: 1000, seed: 1 };
    ops::sample::load(&database, &catalogue, &plan, "x", Clock::default().now(), |_, _| ()).await.unwrap();
    database.close();
    let analyzed = db::connect_once(&endpoint).await.unwrap();
    analyzed.batch_execute("VACUUM ANALYZE").await.unwrap();

    let centre = catalogue.city("new-york").unwrap().centre;
    // The application learns how much of the index is enough; the bare handler is told.
    let db = Db::open(&config.database).await.unwrap();
    let (region, nobody) = (config.region.clone(), None);
    let search = Search {
        region: &region,
        city: "new-york",
        point: centre,
        vehicle_type: None,
        battery: 0,
        after: None,
        rider: nobody,
        now: Clock::default().now(),
    };
    let conn = db.at(&region).await.unwrap();
    let found = db::vehicles::list_nearest(&conn, &search, &block_ranges(centre, Level::WHOLE)).await.unwrap();
    drop(conn);
    db.close();
    let ranges = block_ranges(centre, level_for_radius(centre, found.last().unwrap().distance_m * 2.0));
    let bare_data = Data::new(Bare { pool: bare_pool(&config).await, centre, ranges });
    let bare_server =
        HttpServer::new(move || Actix::new().app_data(bare_data.clone()).route("/vehicles", web::get().to(bare)))
            .workers(config.workers)
            .tcp_nodelay(true)
            .bind("127.0.0.1:0")
            .unwrap();
    let bare_url = format!("http://{}/vehicles", bare_server.addrs()[0]);
    actix_web::rt::spawn(bare_server.run());
    let (running, serving) = server::start(Service::start(config, Clock::default()).await.unwrap()).unwrap();
    actix_web::rt::spawn(serving);
    let base = format!("http://{}", running.address);
    let jar = Arc::<Jar>::default();
    let client = sign_up(&base, &jar).await;

    println!("{:<28} {:>10} {:>10}", "wrk, 16 connections", "pages/s", "p99");
    for _ in 0..3 {
        let vehicles = format!("{base}/vehicles?city=new-york");
        // A browser sends the cookie as the last page renewed it; wrk sends what it is given.
        client.get(&vehicles).send().await.unwrap();
        let cookie = jar.cookies(&vehicles.parse().unwrap()).unwrap().to_str().unwrap().to_owned();
        assert!(cookie.contains("movr_session="), "not signed in");
        for (name, url, cookie) in [
            ("bare handler", bare_url.clone(), None),
            ("/vehicles, anonymous", vehicles.clone(), None),
            ("/vehicles, signed in", vehicles, Some(cookie)),
        ] {
            let (rate, p99) = wrk(url, cookie).await;
            println!("{name:<28} {rate:>10} {p99:>10}");
        }
    }
    running.stop().await;
    postgres.stop().await.unwrap();
    actix_web::rt::System::current().stop();
}
