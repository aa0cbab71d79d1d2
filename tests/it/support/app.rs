//! Instances of the application on a test's database, and people with browsers: typed
//! callers that keep cookies and do not follow redirects.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use movr::{clock::Clock, config::Config, db::health::Faults, ops::service::Service, server};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use uuid::Uuid;

use super::{engine, html::Page};

/// One database and whatever runs on it. Call `end` last.
pub struct World {
    pub database: engine::Database,
    /// Shared by all instances of this world; tests move it.
    pub clock: Clock,
}

/// A world with schema and catalogue and nobody in it.
pub async fn world() -> World {
    World { database: engine::database().await, clock: Clock::default() }
}

impl World {
    /// A plain connection, to look at rows.
    pub async fn sql(&self) -> tokio_postgres::Client {
        engine::client(&self.database.url).await
    }

    /// The settings that instances of tests get; `extra` goes over them.
    pub fn settings(&self, region: &str, extra: &[(&str, &str)]) -> Config {
        Config::from_vars(self.vars(region, extra)).unwrap()
    }

    /// The same as environment, for processes.
    pub fn vars(&self, region: &str, extra: &[(&str, &str)]) -> BTreeMap<String, String> {
        let key = STANDARD.encode([7_u8; 64]);
        let mut vars: BTreeMap<String, String> = [
            ("MOVR_REGION", region),
            ("DATABASE_URL", &self.database.url),
            ("MOVR_LISTEN", "127.0.0.1:0"),
            ("MOVR_PUBLIC_URL", "http://movr.test"),
            ("MOVR_SECRET_KEYS", &key),
            ("MOVR_WORKERS", "1"),
            ("MOVR_POOL_SIZE", "8"),
            ("MOVR_PASSWORD_MEMORY_KIB", "8"),
            ("MOVR_PASSWORD_ITERATIONS", "1"),
            ("MOVR_SIGN_IN_FLOOR_MS", "50"),
            ("MOVR_DRAIN_DELAY_MS", "0"),
            ("MOVR_SHUTDOWN_TIMEOUT_MS", "1000"),
            ("MOVR_STATEMENT_TIMEOUT_MS", "8000"),
            ("MOVR_WRITE_TIMEOUT_MS", "8000"),
            ("MOVR_WORKER_MS", "200"),
            ("MOVR_TILES_URL", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        vars.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        vars
    }

    /// An App without a server, for tests of `ops`.
    pub async fn service(&self, region: &str) -> Service {
        Service::start(self.settings(region, &[]), self.clock.clone()).await.unwrap()
    }

    /// A running instance in `region`.
    pub async fn instance(&self, region: &str) -> Instance {
        self.instance_with(region, &[]).await
    }

    /// A running instance with other settings.
    pub async fn instance_with(&self, region: &str, extra: &[(&str, &str)]) -> Instance {
        self.instance_losing(region, extra, Arc::default()).await
    }

    /// A running instance to which regions can be lost.
    pub async fn instance_losing(&self, region: &str, extra: &[(&str, &str)], faults: Arc<Faults>) -> Instance {
        let service =
            Service::warm_up(self.settings(region, extra), self.clock.clone(), Some(faults), |_| ()).await.unwrap();
        let (running, server) = server::start(service).unwrap();
        actix_web::rt::spawn(server);
        Instance { base: format!("http://{}", running.address), running }
    }

    /// Checks the invariants of the whole database, then leaves it.
    pub async fn end(self) {
        let tools = engine::tools(&self.database.url);
        let db = movr::db::Db::open(&tools.database).await.unwrap();
        let catalogue = movr::db::catalogue::load(&db.here().await.unwrap()).await.unwrap().unwrap();
        let regions: Vec<_> = catalogue.regions.iter().map(|region| region.code.clone()).collect();
        let findings = movr::ops::verify::run(&db, &regions, self.clock.now()).await.unwrap();
        assert_eq!(findings, [], "the database's invariants");
        db.close();
        self.database.leave().await;
    }
}

/// A running instance.
pub struct Instance {
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    pub running: server::RunningServer,
}

impl Instance {
    /// A new browser without cookies.
    pub fn browser(&self) -> Browser {
        let client = reqwest::Client::builder()
            .cookie_store(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Browser { client, base: self.base.clone(), name: String::new() }
    }

    /// A new person at home in `city`, signed in.
    pub async fn person(&self, city: &str) -> Browser {
        let mut browser = self.browser();
        browser.name = format!("p{}", &Uuid::new_v4().simple().to_string()[..12]);
        let form = browser.get("/register").await;
        let answer = browser
            .post(
                "/register",
                &[
                    ("id", &form.field("id")),
                    ("city", city),
                    ("first_name", "Pat"),
                    ("last_name", "Doe"),
                    ("email", "pat@example.com"),
                    ("username", &browser.name.clone()),
                    ("password", PASSWORD),
                ],
            )
            .await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
        browser
    }
}

/// The password of every person of tests.
pub const PASSWORD: &str = "a long walk to the tram";

/// A browser of one person. Clones share the cookies.
#[derive(Clone)]
pub struct Browser {
    pub client: reqwest::Client,
    pub base: String,
    /// Username, if it is a person's.
    pub name: String,
}

impl Browser {
    pub async fn get(&self, path: &str) -> Page {
        self.send(self.client.get(self.url(path))).await
    }

    /// Makes recovery codes, as the next page shows them.
    pub async fn recovery_codes(&self, password: &str) -> Vec<String> {
        let made = self.post("/profile/recovery-codes", &[("current", password)]).await.location();
        self.get(&made).await.texts(".codes code")
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.client.post(self.url(path)).form(fields)).await
    }

    /// A body as it is, with its content type.
    pub async fn post_raw(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Page {
        self.send(self.client.post(self.url(path)).header(header::CONTENT_TYPE, content_type).body(body)).await
    }

    pub async fn method(&self, method: Method, path: &str) -> Page {
        self.send(self.client.request(method, self.url(path))).await
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        // Whatever a test asks for, the contract is kept.
        let timing = headers.get("server-timing").map_or("", |timing| timing.to_str().unwrap());
        assert!(!timing.contains("broken"), "{}: {timing}", response.url());
        // Not `text`, which would take a byte order mark away.
        let body = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        Page { status, headers, body }
    }

    /// What `/status.json` says of a region.
    pub async fn status_of(&self, region: &str) -> Value {
        let all: Value = serde_json::from_str(&self.get("/status.json").await.body).unwrap();
        all["regions"].as_array().unwrap().iter().find(|of| of["region"] == region).unwrap().clone()
    }

    /// Waits until `/status.json` says so.
    pub async fn until_status(&self, region: &str, reachable: bool) {
        let began = Instant::now();
        loop {
            let status = self.status_of(region).await;
            // Before the first probe a region is neither.
            if status["reachable"] == reachable && status["degradedSince"].is_null() == reachable {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{region} is never reachable: {reachable}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same browser at another instance: cookies do not know ports.
    pub fn at(&self, instance: &Instance) -> Self {
        Self { base: instance.base.clone(), ..self.clone() }
    }
}
