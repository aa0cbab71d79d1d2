//! What Prometheus reads: the list in deploy/metrics.md is what there is, the numbers are right, each
//! instance has its own, and no client can make more series by what it sends.
//! With `MOVR_BLESS=1` the first test writes the list instead of comparing it.

#![allow(clippy::float_cmp, reason = "what is counted is whole")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use movr::{
    db::health::{Fault, Faults},
    telemetry::metrics::Metrics,
    web::routes::ROUTES,
};
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use crate::{
    ops::jobs,
    routes::scene,
    support::{
        World,
        app::{Instance, PASSWORD},
        world,
    },
};

/// On a port of the system's choice.
pub const LISTEN: (&str, &str) = ("MOVR_METRICS_LISTEN", "127.0.0.1:0");
const REGIONS: [&str; 3] = ["europe-west1", "us-east1", "us-west1"];

/// Every series with its value.
pub struct Scrape(BTreeMap<String, f64>);

pub async fn scrape(instance: &Instance) -> Scrape {
    let url = format!("http://{}/metrics", instance.running.metrics.unwrap());
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    Scrape::read(&answer.text().await.unwrap())
}

impl Scrape {
    fn read(text: &str) -> Self {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} twice");
        }
        Self(series)
    }

    /// The series of a metric, by their labels.
    fn of(&self, metric: &str) -> Vec<(BTreeMap<&str, &str>, f64)> {
        let mut found = Vec::new();
        for (name, value) in &self.0 {
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            if name == metric {
                let pairs = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
                let pairs = pairs.map(|pair| pair.split_once("=\"").unwrap());
                found.push((pairs.map(|(key, value)| (key, value.trim_end_matches('"'))).collect(), *value));
            }
        }
        found
    }

    /// The sum over the series that have these labels.
    pub fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |of: &BTreeMap<&str, &str>| labels.iter().all(|(key, value)| of.get(key) == Some(value));
        self.of(metric).iter().filter(|(of, _)| has(of)).map(|(_, value)| value).sum()
    }

    fn values(&self, label: &str) -> BTreeSet<String> {
        let key = format!("{label}=\"");
        // Not the end of a longer name.
        let of = |name: &String| {
            let at = name.match_indices(&key).map(|(at, _)| at).find(|at| ["{", ","].contains(&&name[at - 1..*at]))?;
            name[at + key.len()..].split('"').next().map(str::to_owned)
        };
        self.0.keys().filter_map(of).collect()
    }
}

/// Waits until a metric of these labels has the value.
async fn until(instance: &Instance, metric: &str, labels: &[(&str, &str)], value: f64) -> Scrape {
    let began = Instant::now();
    loop {
        let scrape = scrape(instance).await;
        let now = scrape.sum(metric, labels);
        if (now - value).abs() < 1e-9 {
            return scrape;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{metric} {labels:?} stays {now}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn the_list_of_metrics_is_that_of_the_program() {
    let mut text = String::from(
        "# Metrics\n\n`MOVR_METRICS_LISTEN` answers `/metrics` with these, in Prometheus' text format. Each has the label\n\
         `region`, which is the instance's; `data_region` is the region whose rows or nodes are meant, `several` for more\n\
         than one and `none` for GLOBAL tables. Histograms have buckets from 1 ms to 10 s. The standard figures of a process\n\
         (`process_*`) are there, too. Made from the program by a test.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for of in Metrics::new("us-east1").described() {
        let labels: Vec<String> = of.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(text, "| `{}` | {} | {} | {} |", of.name, of.kind.as_str(), labels.join(", "), of.help).unwrap();
    }
    let path = format!("{}/deploy/metrics.md", env!("CARGO_MANIFEST_DIR"));
    if movr::config::env("MOVR_BLESS").as_deref() == Some("1") {
        fs::write(path, text).unwrap();
    } else {
        assert_eq!(fs::read_to_string(path).unwrap(), text, "run this test with MOVR_BLESS=1 to rewrite the list");
    }
}

#[actix_web::test]
async fn after_a_walk_of_all_routes_everything_is_there_and_nothing_grows_with_what_is_sent() {
    let scene = scene().await;
    let instance = scene.world.instance_with("us-east1", &[LISTEN]).await;
    let (ann, nobody) = (scene.ann.at(&instance), instance.browser());
    let mut sent = 0.0;
    let mut walk = async || {
        for case in &scene.cases {
            let odd = format!("x{}", Uuid::new_v4().simple());
            let segments: Vec<_> = case.path.split('/').map(str::to_owned).collect();
            let last = [&segments[..segments.len() - 1], std::slice::from_ref(&odd)].concat().join("/");
            let region = case.path.replace("us-east1", &odd[..20]);
            let query = format!("{}?{odd}={odd}", case.path);
            for path in [last, region, query] {
                for browser in [&ann, &nobody] {
                    browser.method(case.method.clone(), &path).await;
                    sent += 1.0;
                }
            }
            ann.method(Method::from_bytes(odd.to_uppercase().as_bytes()).unwrap(), &case.path).await;
            sent += 1.0;
            if case.pattern != "/logout" {
                case.ask(&ann, &[]).await;
                sent += 1.0;
            }
        }
    };
    walk().await;
    let first = scrape(&instance).await;
    walk().await;
    let second = scrape(&instance).await;
    assert!((second.sum("movr_http_requests_total", &[]) - sent).abs() < 0.5, "each request is counted once");
    for (scrape, name) in [(&first, "first"), (&second, "second")] {
        let routes: BTreeSet<String> =
            ROUTES.iter().map(|route| route.path.to_owned()).chain(["none".to_owned()]).collect();
        assert_eq!(scrape.values("route"), routes, "{name}");
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
        assert!(scrape.values("method").iter().all(|method| methods.contains(&&**method)));
        assert!(scrape.values("method").contains("other"));
        let regions = scrape.values("data_region");
        assert!(
            regions.iter().all(|of| REGIONS.contains(&&**of) || ["several", "none"].contains(&&**of)),
            "{regions:?}"
        );
        assert_eq!(scrape.values("region"), BTreeSet::from(["us-east1".to_owned()]));
    }
    let grown: Vec<_> = second.0.keys().filter(|name| !first.0.contains_key(*name) && name.contains("http_")).collect();
    assert!(grown.len() < 20, "the same requests, other words in them: {grown:#?}");
    assert!(second.0.len() < 6_000, "{} series", second.0.len());
    eprintln!("{sent} requests, {} series, then {}", first.0.len(), second.0.len());

    // Of what is described all is there but what needs TLS.
    let names: BTreeSet<&str> = second.0.keys().map(|name| name.split('{').next().unwrap()).collect();
    let described = instance.running.state.service.db.metrics().described();
    let tls = scene.world.database.url.contains("sslmode=verify");
    for of in described {
        let there = names.contains(of.name) || names.contains(&*format!("{}_count", of.name));
        assert_eq!(there, tls || of.name != "movr_db_certificate_expiry_timestamp_seconds", "{}", of.name);
    }
    let known = |name: &&str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        name.starts_with("process_") || described.iter().any(|of| of.name == *name || of.name == base)
    };
    assert_eq!(names.iter().filter(|name| !known(name)).collect::<Vec<_>>(), [&""; 0]);
    instance.running.stop().await;
    scene.end().await;
}

#[actix_web::test]
async fn each_instance_has_its_own_numbers_and_they_are_right() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 2, 12).await;
    let (east, europe) =
        (world.instance_with("us-east1", &[LISTEN]).await, world.instance_with("europe-west1", &[LISTEN]).await);
    let ann = east.person("new-york").await;
    for city in ["new-york", "new-york", "paris"] {
        assert_eq!(ann.get(&format!("/vehicles?city={city}")).await.status, StatusCode::OK);
    }
    assert_eq!(ann.get("/nowhere").await.status, StatusCode::NOT_FOUND);
    let there = scrape(&europe).await;
    let here = scrape(&east).await;
    let list = [("route", "/vehicles"), ("method", "GET")];
    let count =
        |scrape: &Scrape, more: &[(&str, &str)]| scrape.sum("movr_http_requests_total", &[&list, more].concat());
    assert_eq!((count(&here, &[("status", "200")]), count(&here, &[]), count(&there, &[])), (3.0, 3.0, 0.0));
    let took = |reach| here.sum("movr_http_request_duration_seconds_count", &[&list[..], &[("reach", reach)]].concat());
    assert_eq!((took("home"), took("away"), took("none")), (2.0, 1.0, 0.0));
    assert_eq!(here.sum("movr_http_requests_total", &[("route", "none"), ("status", "404")]), 1.0);
    let statement = |region| {
        let labels =
            [("statement", "vehicles.list_nearest"), ("reach", "named"), ("data_region", region), ("outcome", "ok")];
        here.sum("movr_db_statement_duration_seconds_count", &labels)
    };
    assert!(statement("us-east1") >= 2.0 && statement("europe-west1") >= 1.0 && statement("us-west1") == 0.0);
    let (of_europe, of_east) = (there.values("region"), here.values("region"));
    assert_eq!((of_europe, of_east), (["europe-west1".to_owned()].into(), ["us-east1".to_owned()].into()));
    assert!(here.sum("movr_db_transaction_attempts_total", &[("outcome", "committed")]) >= 1.0, "she has registered");
    // The pools of readers and of writers together.
    assert_eq!(here.sum("movr_db_pool_size", &[("data_region", "us-east1")]), 8.0);
    let open = here.sum("movr_db_pool_connections", &[("data_region", "us-east1")]);
    let connects = here.sum("movr_db_connects_total", &[("data_region", "us-east1"), ("outcome", "ok")]);
    assert!((2.0..=8.0).contains(&open) && connects >= open, "{open} {connects}");
    // The background work of an instance takes one now and then, and gives it back.
    until(&east, "movr_db_pool_connections", &[("state", "in_use")], 0.0).await;
    let version = east.running.state.service.catalogue().version;
    assert_eq!(here.sum("movr_catalogue_version", &[]), f64::from(i32::try_from(version).unwrap()));
    assert_eq!(here.sum("movr_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(here.sum("process_resident_memory_bytes", &[]) > 1e6 && here.sum("process_cpu_seconds_total", &[]) > 0.0);
    assert_eq!(here.sum("movr_ready", &[]), 1.0);
    europe.running.state.service.drain();
    assert_eq!(scrape(&europe).await.sum("movr_ready", &[]), 0.0);
    // Only there: neither the application has them nor this listener anything else.
    assert_eq!(ann.get("/metrics").await.status, StatusCode::NOT_FOUND);
    let other = reqwest::get(format!("http://{}/vehicles", east.running.metrics.unwrap())).await.unwrap();
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    assert!(world.instance("us-west1").await.running.metrics.is_none(), "there is no default");
    let listener = east.running.metrics.unwrap();
    east.running.stop().await;
    assert!(reqwest::get(format!("http://{listener}/metrics")).await.is_err(), "it ends with the instance");
    europe.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_lost_region_and_a_closed_one_are_seen() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 2, 12).await;
    let faults: Arc<Faults> = Arc::default();
    let settings =
        [LISTEN, ("MOVR_STATEMENT_TIMEOUT_MS", "2000"), ("MOVR_WRITE_TIMEOUT_MS", "500"), ("MOVR_WATCH_MS", "500")];
    let instance = world.instance_losing("us-east1", &settings, Arc::clone(&faults)).await;
    let nobody = instance.browser();
    let europe = ("data_region", "europe-west1");
    nobody.until_status("europe-west1", true).await;
    nobody.get("/vehicles?city=paris").await;
    let well = scrape(&instance).await;
    let state = |scrape: &Scrape, metric, state| scrape.sum(metric, &[europe, ("state", state)]);
    assert_eq!(well.sum("movr_region_reachable", &[europe]), 1.0);
    assert_eq!(
        ["closed", "suspect", "open", "half_open"].map(|of| state(&well, "movr_circuit_state", of)),
        [1.0, 0.0, 0.0, 0.0]
    );
    let states = ["open", "draining", "closed", "fenced"];
    assert_eq!(states.map(|of| state(&well, "movr_region_state", of)), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(
        (well.sum("movr_stale_reads_total", &[europe]), well.sum("movr_stale_read_age_seconds", &[europe])),
        (0.0, 0.0)
    );

    for (gate, seen) in [("read_only", &["closed", "fenced"][..]), ("writable", &["open"])] {
        let change = format!("write_state = '{gate}', epoch = epoch + 1, changed_at = now()");
        world.set(&format!("UPDATE region_gates SET {change} WHERE region = 'europe-west1'")).await;
        // The fence takes 2.5 s.
        for state in seen {
            let there = until(&instance, "movr_region_state", &[europe, ("state", state)], 1.0).await;
            assert_eq!(there.sum("movr_region_state", &[europe]), 1.0, "in one state");
        }
    }

    faults.write().insert("europe-west1".parse().unwrap(), Fault::Unreachable);
    // Waits in vain.
    assert_eq!(nobody.get("/vehicles?city=paris").await.status, StatusCode::OK);
    let lost = until(&instance, "movr_circuit_state", &[europe, ("state", "open")], 1.0).await;
    assert_eq!((lost.sum("movr_region_reachable", &[europe]), lost.sum("movr_region_reachable", &[])), (0.0, 2.0));
    world.clock.advance(chrono::Duration::minutes(3));
    assert_eq!(nobody.get("/vehicles?city=paris").await.status, StatusCode::OK);
    let lost = scrape(&instance).await;
    assert_eq!(lost.sum("movr_stale_reads_total", &[europe]), 2.0);
    let age = lost.sum("movr_stale_read_age_seconds", &[europe]);
    assert!((180.0..200.0).contains(&age), "{age} s");
    let errors = [("outcome", "error"), europe];
    assert!(lost.sum("movr_db_statement_duration_seconds_count", &errors) >= 1.0);

    faults.write().clear();
    let back = until(&instance, "movr_region_reachable", &[europe], 1.0).await;
    assert_eq!(back.sum("movr_stale_read_age_seconds", &[europe]), 0.0);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn sign_ins_and_refusals_are_counted_by_what_became_of_them() {
    let world = world().await;
    let instance = world.instance_with("us-east1", &[LISTEN]).await;
    let ann = instance.person("new-york").await;
    let stranger = instance.browser();
    assert!(stranger.sign_in(&ann.name, PASSWORD).await.status.is_redirection());
    let guesser = instance.browser();
    let mut throttled = 0.0;
    for _ in 0..8 {
        throttled += f64::from(u8::from(
            guesser.sign_in(&ann.name, "a wrong guess").await.status == StatusCode::TOO_MANY_REQUESTS,
        ));
    }
    assert!(throttled > 0.0);
    assert_eq!(ann.get("/fleet?city=new-york").await.status, StatusCode::FORBIDDEN);
    ann.post("/reservation/cancel", &[("region", "us-east1"), ("vehicle", &Uuid::new_v4().to_string())]).await;
    // Confirming one's own password is no sign-in, however often.
    let confirm = async || ann.post("/profile/recovery-codes", &[("current", "a wrong guess")]).await.status;
    while confirm().await != StatusCode::TOO_MANY_REQUESTS {}
    // The second click of a sign-up is refused at first, and then signs in.
    let form = instance.browser().get("/register").await.field("id");
    let person = [
        ("id", form.as_str()),
        ("city", "new-york"),
        ("first_name", "Bo"),
        ("last_name", "Bo"),
        ("email", "bo@movr.test"),
        ("username", "bo-clicks-twice"),
        ("password", PASSWORD),
    ];
    for _ in 0..2 {
        assert_eq!(instance.browser().post("/register", &person).await.status, StatusCode::SEE_OTHER);
    }
    let scrape = scrape(&instance).await;
    let sign_ins = |outcome| scrape.sum("movr_sign_ins_total", &[("outcome", outcome)]);
    assert_eq!((sign_ins("ok"), sign_ins("failed"), sign_ins("throttled")), (1.0, 8.0 - throttled, throttled));
    let refused = |reason| scrape.sum("movr_refusals_total", &[("reason", reason)]);
    assert_eq!((refused("not_operator"), refused("no_match")), (1.0, 8.0 - throttled));
    assert_eq!((refused("form_used"), refused("username_taken")), (0.0, 0.0), "that was done after all");
    instance.running.stop().await;
    world.end().await;
}

/// A vehicle of the city, a job about it that is confirmed, and nobody who works.
async fn waiting_job(world: &World) {
    world.sample(&["new-york"], 2, 12).await;
    let idle = world.instance_with("us-east1", &[("MOVR_WORKER_MS", "0")]).await;
    let operator = jobs::operator(&idle, "new-york", &["new-york"]).await;
    let job = jobs::ask(&operator, "new-york", "maintenance", &[]).await;
    operator.post(&format!("{job}/confirm"), &[]).await;
    idle.running.stop().await;
}

#[actix_web::test]
async fn jobs_that_wait_or_run_are_counted_with_their_age() {
    let world = world().await;
    waiting_job(&world).await;
    world.set("UPDATE jobs SET confirmed_at = now() - '10 min'::INTERVAL, lease_owner = gen_random_uuid(), lease_until = now() + '1 min'::INTERVAL").await;
    let jobs = |scrape: &Scrape, state| {
        (scrape.sum("movr_jobs", &[("state", state)]), scrape.sum("movr_job_oldest_age_seconds", &[("state", state)]))
    };
    // Another worker's.
    let instance = world.instance_with("us-east1", &[LISTEN]).await;
    let held = until(&instance, "movr_jobs", &[("state", "running")], 1.0).await;
    let (running, waiting) = (jobs(&held, "running"), jobs(&held, "waiting"));
    assert!((600.0..660.0).contains(&running.1) && waiting == (0.0, 0.0), "{running:?} {waiting:?}");
    instance.running.stop().await;
    world.set("UPDATE jobs SET lease_until = now() - '1 s'::INTERVAL").await;
    let instance = world.instance_with("us-east1", &[LISTEN]).await;
    let left = until(&instance, "movr_jobs", &[("state", "waiting")], 1.0).await;
    assert!((600.0..660.0).contains(&jobs(&left, "waiting").1) && jobs(&left, "running").0 == 0.0);
    world.until("SELECT count(*) FROM jobs WHERE state = 'done'", 1).await;
    instance.running.stop().await;
    world.end().await;
}
