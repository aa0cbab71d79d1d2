//! The global balancer of deploy/haproxy, run by the real `haproxy`: which region a client is sent to, what is sent
//! again and what is not, and that neither a rolling restart nor a killed instance loses or duplicates anything.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use movr::{cli::migrate::SHIPPED, config::Config, domain::catalogue::Catalogue};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, crypto::ring, version};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::support::{
    World,
    crowd::{Bike, END, Rider, bikes, crowd, made, street},
    process::{Serving, free_port},
    world,
};

const REGIONS: [&str; 3] = ["us-east1", "us-west1", "europe-west1"];
const CITIES: [&str; 3] = ["New York", "Seattle", "Paris"];
const CONFIGURATION: &str = "deploy/haproxy/haproxy.cfg";

/// The program, if this machine has it.
fn haproxy(test: &str) -> Option<PathBuf> {
    let path = movr::config::env("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    let found = folders.map(|folder| PathBuf::from(folder).join("haproxy")).find(|program| program.is_file());
    if found.is_none() {
        assert_ne!(movr::config::env("CI").as_deref(), Some("true"), "CI needs haproxy");
        eprintln!("SKIPPED {test}: needs haproxy");
    }
    found
}

/// What the balancer has written, and when.
type Log = Arc<Mutex<Vec<(Instant, String)>>>;

/// A running `haproxy`; killed when dropped.
struct Balancer {
    child: Child,
    url: String,
    metrics: String,
    log: Log,
}

impl Balancer {
    /// In front of instances at these addresses, in the order of `REGIONS`.
    async fn start(program: &PathBuf, instances: [&str; 3], extra: &[(&str, &str)]) -> Self {
        let (web, metrics) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let mut command = Command::new(program);
        command.args(["-f", CONFIGURATION]).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        command.envs(["MOVR_US_EAST1", "MOVR_US_WEST1", "MOVR_EUROPE_WEST1"].into_iter().zip(instances));
        command.env("MOVR_BALANCER_HTTP", &web).env("MOVR_BALANCER_METRICS", &metrics).envs(extra.iter().copied());
        let mut child = command.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let log = Log::default();
        let written = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                written.lock().unwrap().push((Instant::now(), line));
            }
        });
        let balancer = Self { child, url: format!("http://{web}"), metrics: format!("http://{metrics}"), log };
        let began = Instant::now();
        while reqwest::get(format!("{}/healthz", balancer.metrics)).await.is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "it does not come up; run haproxy -c -f {CONFIGURATION}"
            );
            sleep(Duration::from_millis(20)).await;
        }
        balancer
    }

    /// When it wrote something with these words for the `nth` time, from 1.
    async fn wrote(&self, words: &str, nth: usize) -> Instant {
        let began = Instant::now();
        loop {
            let found = self.log.lock().unwrap().iter().filter(|line| line.1.contains(words)).nth(nth - 1).cloned();
            if let Some((when, _)) = found {
                return when;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "never {words}: {:#?}", self.log.lock().unwrap());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until its own figures say that the instance of a region is used.
    async fn uses(&self, region: &str) {
        let up = format!("haproxy_server_status{{proxy=\"{region}\",server=\"{region}\",state=\"UP\"}} 1");
        let began = Instant::now();
        while !reqwest::get(format!("{}/metrics", self.metrics)).await.unwrap().text().await.unwrap().contains(&up) {
            assert!(began.elapsed() < Duration::from_secs(20), "{region} is never used");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().await.unwrap();
    }
}

/// In place of an instance: answers with its name and keeps what it was sent.
struct Stub {
    address: String,
    /// Heads and bodies, except of health checks.
    seen: Arc<Mutex<Vec<String>>>,
    /// Connections on which they came.
    used: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Stub {
    /// One that `dies` does so when it has read its first request, like a process that is killed.
    async fn start(name: &'static str, dies: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, used, dead) = (Arc::default(), Arc::default(), Arc::new(tokio::sync::Notify::new()));
        let (requests, connections, dying) = (Arc::clone(&seen), Arc::clone(&used), dies.then(|| Arc::clone(&dead)));
        let accepting = tokio::spawn(async move {
            let accept = async {
                while let Ok((socket, _)) = listener.accept().await {
                    let (requests, connections) = (Arc::clone(&requests), Arc::clone(&connections));
                    tokio::spawn(answer(socket, name, requests, connections, dying.clone()));
                }
            };
            tokio::select! {
                () = accept => {}
                () = dead.notified() => {}
            }
        });
        Self { address, seen, used, accepting }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    socket: TcpStream,
    name: &str,
    seen: Arc<Mutex<Vec<String>>>,
    used: Arc<AtomicUsize>,
    dying: Option<Arc<tokio::sync::Notify>>,
) -> Option<()> {
    let (mut socket, mut first) = (BufReader::new(socket), true);
    loop {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            (socket.read_line(&mut text).await.ok()? > 0).then_some(())?;
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        socket.read_exact(&mut body).await.ok()?;
        if !text.starts_with("GET /readyz ") {
            used.fetch_add(usize::from(std::mem::take(&mut first)), Ordering::Relaxed);
            seen.lock().unwrap().push(text + &String::from_utf8(body).unwrap());
            if let Some(dead) = dying {
                dead.notify_one();
                // The listener goes before the connection, so that nobody comes in between.
                sleep(Duration::from_millis(100)).await;
                return None;
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        socket.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// Stubs of all regions; that of us-east1 dies if `dies`.
async fn stubs(dies: bool) -> [Stub; 3] {
    [Stub::start(REGIONS[0], dies).await, Stub::start(REGIONS[1], false).await, Stub::start(REGIONS[2], false).await]
}

fn addresses(stubs: &[Stub; 3]) -> [&str; 3] {
    stubs.each_ref().map(|stub| stub.address.as_str())
}

/// A client at an address of its own, with a new connection for each request.
fn client_at(address: &str) -> Client {
    let builder = Client::builder().local_address(Some(address.parse().unwrap())).pool_max_idle_per_host(0);
    builder.redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(30)).build().unwrap()
}

#[test]
fn its_settings_fit_the_instances_and_its_map_the_catalogue() {
    let Some(program) = haproxy("its_settings_fit_the_instances_and_its_map_the_catalogue") else { return };
    for extra in [
        ("", ""),
        ("MOVR_EDGE_NETWORKS", "10.0.0.0/8 2001:db8::/32"),
        ("MOVR_INSTANCE_OPTIONS", "ssl verify none"),
        ("MOVR_INSTANCE_OPTIONS", "error-limit 10 maxconn 390 pool-max-conn 90"),
    ] {
        let mut check = std::process::Command::new(&program);
        // Warnings are errors.
        check.args(["-dW", "-c", "-f", CONFIGURATION]).env_clear().env("MOVR_EUROPE_WEST1", "127.0.0.1:3");
        check.env("MOVR_US_EAST1", "127.0.0.1:1").env("MOVR_US_WEST1", "127.0.0.1:2");
        if !extra.0.is_empty() {
            check.env(extra.0, extra.1);
        }
        let checked = check.output().unwrap();
        assert!(checked.status.success(), "{extra:?}: {}", String::from_utf8_lossy(&checked.stderr));
    }

    let text = fs::read_to_string(CONFIGURATION).unwrap();
    let number = |setting: &str| -> u128 {
        let (_, value) = text.split_once(setting).unwrap_or_else(|| panic!("no {setting}"));
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        value[..end].parse().unwrap()
    };
    let key = "AAAA".repeat(22);
    let required = [
        ("MOVR_REGION", "us-east1"),
        ("DATABASE_URL", "postgresql://127.0.0.1/movr"),
        ("MOVR_PUBLIC_URL", "https://movr.example"),
        ("MOVR_SECRET_KEYS", &key),
    ];
    let instance = Config::from_vars(required).unwrap();
    let longest = instance.request_timeout + instance.database.write_timeout * 3;
    assert!(number("timeout server ") * 1000 > longest.as_millis());
    let import = instance.request_timeout * 12 + instance.database.write_timeout * 3;
    assert!(number("set-timeout server ") * 1000 > import.as_millis());
    assert!(number("hard-stop-after ") * 1000 > import.as_millis());
    assert!(number("timeout http-keep-alive ") * 1000 < instance.keep_alive.as_millis());
    let most = 3 * (number(" rise 2 maxconn ") + number("pool-max-conn "));
    assert!(most < instance.max_connections as u128, "{most}");
    // A check may just have passed, and the next one waits for the database.
    let found_out = number("default-server inter ") * 1000 + number("fastinter ");
    assert!(found_out * 2 < instance.drain_delay.as_millis());
    assert!(number("tune.bufsize ") > instance.max_body_bytes as u128 + 16384);

    let map = fs::read_to_string("deploy/haproxy/maps/cities.map").unwrap();
    let entries = map.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once(' ').unwrap());
    let cities: BTreeMap<&str, &str> = entries.collect();
    for city in Catalogue::parse(SHIPPED).unwrap().cities {
        let key: String = city.name.to_lowercase().chars().filter(char::is_ascii_lowercase).collect();
        assert_eq!(cities.get(key.as_str()), Some(&city.region.as_str()), "{key}");
    }
    let countries = fs::read_to_string("deploy/haproxy/maps/countries.map").unwrap();
    let codes = countries.lines().filter(|line| !line.starts_with('#'));
    let codes = codes.flat_map(|line| line.trim_start_matches("^(").split(")$").next().unwrap().split('|'));
    let mut known = HashSet::new();
    assert!(codes.into_iter().all(|code| code.len() == 2 && known.insert(code)), "a country stands there once");
}

#[tokio::test]
async fn a_client_is_sent_to_the_nearest_region_and_cannot_say_where_or_who_it_is() {
    let Some(program) = haproxy("a_client_is_sent_to_the_nearest_region_and_cannot_say_where_or_who_it_is") else {
        return;
    };
    let stubs = stubs(false).await;
    let (edge, anybody) = (client_at("127.0.0.7"), client_at("127.0.0.1"));
    let balancer =
        Balancer::start(&program, addresses(&stubs), &[("MOVR_EDGE_NETWORKS", "127.0.0.7 10.0.0.0/8")]).await;
    let url = format!("{}/vehicles?city=paris&secret=hidden", balancer.url);
    let region = async |client: &Client, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(client.get(&url), |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap().text().await.unwrap()
    };
    for (headers, expected) in [
        (&[("X-Client-City", "New York")][..], "us-east1"),
        (&[("X-Client-City", "SEATTLE")], "us-west1"),
        (&[("X-Client-City", "Washington, D.C.")], "us-east1"),
        (&[("X-Client-City", "Paris"), ("X-Client-Country", "US")], "europe-west1"),
        (
            &[("X-Client-City", "Phoenix"), ("X-Client-Coordinates", "33.45,-112.07"), ("X-Client-Country", "US")],
            "us-west1",
        ),
        (&[("X-Client-City", "Atlanta"), ("X-Client-Coordinates", "33.75, -84.39")], "us-east1"),
        (&[("X-Client-Coordinates", "-33.87,151.21")], "us-west1"),
        (&[("X-Client-Coordinates", "51.48,-0.2")], "europe-west1"),
        (&[("X-Client-City", "Lyon"), ("X-Client-Country", "fr")], "europe-west1"),
        (&[("X-Client-Coordinates", "unknown"), ("X-Client-Country", "JP")], "us-west1"),
        (&[("X-Client-Country", "ZZ")], "us-east1"),
        (&[], "us-east1"),
    ] {
        assert_eq!(region(&edge, headers).await, expected, "{headers:?}");
        assert_eq!(region(&anybody, headers).await, "us-east1", "whoever is no proxy of ours: {headers:?}");
    }

    let last = |stub: &Stub| -> Vec<String> {
        let head = stub.seen().pop().unwrap();
        head.lines().filter(|line| !line.starts_with("accept: ")).map(str::to_lowercase).collect()
    };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let forged = [
        ("Host", "movr.example"),
        ("Traceparent", trace),
        ("Tracestate", "vendor=1"),
        ("X-Request-Id", "mine"),
        ("X-Client-City", "Paris"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Real-IP", "192.0.2.1"),
        ("Forwarded", "for=192.0.2.1"),
    ];
    region(&anybody, &forged).await;
    let mut head = last(&stubs[0]);
    let at = head.iter().position(|line| line.starts_with("x-request-id: ")).unwrap();
    let id = head.remove(at);
    let id = id.strip_prefix("x-request-id: ").unwrap();
    assert!(id.parse::<Uuid>().is_ok(), "{id}");
    head.sort();
    let address = "x-forwarded-for: 127.0.0.1";
    let line = "get /vehicles?city=paris&secret=hidden http/1.1";
    assert_eq!(head, ["", line, "host: movr.example", address, "x-forwarded-proto: http"], "of anybody");

    region(&edge, &forged).await;
    let head = last(&stubs[2]);
    let traced = format!("traceparent: {trace}");
    for line in [
        "x-client-city: paris",
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-for: 127.0.0.7",
        "x-forwarded-proto: https",
        traced.as_str(),
        "tracestate: vendor=1",
    ] {
        assert!(head.iter().any(|seen| seen == line), "{line} of a proxy of ours: {head:?}");
    }
    assert!(
        !head.iter().any(|line| line.contains("mine") || line.starts_with("forwarded") || line.contains("real-ip"))
    );

    // A connection that was idle may just be closing: the first request of a client gets one of its own.
    for stub in &stubs {
        assert_eq!(stub.used.load(Ordering::Relaxed), stub.seen().len());
    }

    // One line a request, under the id that the instance was given, and nothing that is about a person.
    balancer.wrote(&format!("\"request\":\"{id}\""), 1).await;
    balancer.wrote("\"method\":\"GET\"", 26).await;
    let log = balancer.log.lock().unwrap().clone();
    for (_, line) in log.iter().filter(|line| line.1.starts_with('{')) {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&entry["status"], &entry["backend"]), (&200.into(), &entry["server"]), "{line}");
    }
    for word in ["hidden", "city", "vehicles", "127.0.0.7", "192.0.2.1", "Paris"] {
        assert!(!log.iter().any(|line| line.1.contains(word)), "{word}: {log:#?}");
    }
    let large = anybody.get(&balancer.url).header("X-Large", "x".repeat(20_000)).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    balancer.stop().await;
}

#[tokio::test]
async fn what_was_sent_is_sent_again_only_if_that_changes_nothing() {
    let Some(program) = haproxy("what_was_sent_is_sent_again_only_if_that_changes_nothing") else { return };
    let client = client_at("127.0.0.1");
    let text = async |response: reqwest::Result<Response>| {
        let response = response.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    for method in [Method::GET, Method::POST] {
        let stubs = stubs(true).await;
        let balancer = Balancer::start(&program, addresses(&stubs), &[]).await;
        let ask = || client.request(method.clone(), &balancer.url).body("form=1").send();
        let (status, body) = text(ask().await).await;
        if method == Method::GET {
            assert_eq!((status, &*body), (StatusCode::OK, "us-west1"), "the next nearest answers instead");
            assert_eq!(stubs.each_ref().map(|stub| stub.seen().len()), [1, 1, 0]);
        } else {
            assert_eq!(status, StatusCode::BAD_GATEWAY);
            assert!(body.contains("may have been done"), "{body}");
            assert_eq!(stubs.each_ref().map(|stub| stub.seen().len()), [1, 0, 0], "sent once");
            // Nobody has noticed yet, but a connection that is refused has carried nothing.
            assert!(!balancer.log.lock().unwrap().iter().any(|line| line.1.contains("is DOWN")), "not yet");
            assert_eq!(text(ask().await).await, (StatusCode::OK, "us-west1".to_owned()));
            assert_eq!(stubs.each_ref().map(|stub| stub.seen().len()), [1, 1, 0], "sent once");
        }
        // By the first connection that was refused, not by a check.
        balancer.wrote("Server us-east1/us-east1 is DOWN, reason: Health analyze", 1).await;
        for stub in &stubs[1..] {
            stub.accepting.abort();
        }
        balancer.wrote("backend us-east1 has no server available", 1).await;
        let nobody = ask().await.unwrap();
        assert_eq!(
            (nobody.status(), &nobody.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"3".parse().unwrap())
        );
        assert!(nobody.headers().contains_key("x-request-id"));
        assert!(nobody.text().await.unwrap().contains("Nothing was done"));
        balancer.stop().await;
    }
}

/// One request over TLS of a version.
fn over_tls(port: u16, roots: RootCertStore, version: &'static SupportedProtocolVersion) -> std::io::Result<String> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots).with_no_client_auth();
    let mut session = ClientConnection::new(Arc::new(config), "movr.example".try_into().unwrap()).unwrap();
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port))?;
    let mut tls = rustls::Stream::new(&mut session, &mut socket);
    tls.write_all(b"GET / HTTP/1.1\r\nHost: movr.example\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test]
async fn outside_it_speaks_tls_1_3_and_sends_everybody_there() {
    let Some(program) = haproxy("outside_it_speaks_tls_1_3_and_sends_everybody_there") else { return };
    let made = rcgen::generate_simple_self_signed(["movr.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("movr.pem");
    fs::write(&pem, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let stubs = stubs(false).await;
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let tls = [("MOVR_BALANCER_CERTIFICATE", pem.to_str().unwrap()), ("MOVR_BALANCER_HTTPS", &listen)];
    let balancer = Balancer::start(&program, addresses(&stubs), &tls).await;
    let ask = client_at("127.0.0.1").get(format!("{}/login", balancer.url)).header("Host", "movr.example");
    let plain = ask.send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(plain.headers()[header::LOCATION], "https://movr.example/login");
    let trusting = roots.clone();
    let answer = tokio::task::spawn_blocking(move || over_tls(port, trusting, &version::TLS13)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("us-east1"), "{answer}");
    let seen = stubs[0].seen();
    assert!(seen.len() == 1 && seen[0].contains("x-forwarded-proto: https\r\n"), "{seen:?}");
    let refused = tokio::task::spawn_blocking(move || over_tls(port, roots, &version::TLS12)).await.unwrap();
    assert!(refused.unwrap_err().to_string().contains("ProtocolVersion"));
    balancer.stop().await;
}

#[actix_web::test]
async fn a_slow_client_holds_no_connection_of_an_instance() {
    let Some(program) = haproxy("a_slow_client_holds_no_connection_of_an_instance") else { return };
    let world = world().await;
    let few = [("MOVR_MAX_CONNECTIONS", "8"), ("MOVR_TRUSTED_PROXIES", "127.0.0.1")];
    let instance = world.instance_with("us-east1", &few).await;
    let address = instance.base.strip_prefix("http://").unwrap();
    let balancer = Balancer::start(&program, [address; 3], &[]).await;
    balancer.uses("us-east1").await;
    let began = Instant::now();
    let slow = (0..40).map(|_| async {
        let mut socket = TcpStream::connect(balancer.url.strip_prefix("http://").unwrap()).await.unwrap();
        let head = "POST /login HTTP/1.1\r\nHost: movr.test\r\nContent-Length: 1000\r\n\
            Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=";
        socket.write_all(head.as_bytes()).await.unwrap();
        while began.elapsed() < Duration::from_secs(3) {
            sleep(Duration::from_millis(300)).await;
            socket.write_all(b"a").await.unwrap();
        }
        let mut answer = vec![0; 13];
        timeout(Duration::from_secs(15), socket.read_exact(&mut answer)).await.unwrap().unwrap();
        answer
    });
    let others = async {
        let client = client_at("127.0.0.1");
        for _ in 0..25 {
            let asked = Instant::now();
            let page = client.get(format!("{}/login", balancer.url)).send().await.unwrap();
            assert_eq!(page.status(), StatusCode::OK);
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
            assert!(instance.running.open_connections() < 8, "{}", instance.running.open_connections());
            sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() < Duration::from_secs(8), "the slow ones were there meanwhile");
    };
    let (answers, ()) = tokio::join!(join_all(slow), others);
    assert!(answers.iter().all(|answer| answer == b"HTTP/1.1 408 "), "{answers:?}");
    balancer.stop().await;
    instance.running.stop().await;
    world.end().await;
}

/// Three instances as processes, the balancer in front of them, and people.
struct Site {
    world: World,
    ports: [u16; 3],
    instances: Vec<Option<Serving>>,
    balancer: Arc<Balancer>,
    riders: Vec<Rider>,
    bikes: Vec<Bike>,
}

impl Site {
    async fn start(program: &PathBuf) -> Self {
        let world = world().await;
        let ports = [(); 3].map(|()| free_port());
        let instances = (0..3).map(|n| Some(serve(&world, n, ports[n]))).collect::<Vec<_>>();
        street(&world, &["new-york"], RIDERS).await;
        let registering = world.instance("us-east1").await;
        let riders = crowd(&registering, RIDERS).await;
        registering.running.stop().await;
        let bikes = bikes(&world.sql().await, "new-york").await;
        let client = client_at("127.0.0.1");
        for instance in instances.iter().flatten() {
            instance.until(&client, "ready").await;
        }
        let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
        let edge = [("MOVR_EDGE_NETWORKS", "127.0.0.1")];
        let balancer = Balancer::start(program, addresses.each_ref().map(String::as_str), &edge).await;
        for region in REGIONS {
            balancer.uses(region).await;
        }
        Self { world, ports, instances, balancer: Arc::new(balancer), riders, bikes }
    }

    fn load(&self) -> Running {
        let load =
            Arc::new(Load { url: self.balancer.url.clone(), over: false.into(), pages: 0.into(), rides: 0.into() });
        let looking = (0..VISITORS).map(|n| tokio::spawn(Arc::clone(&load).look(n))).collect();
        let riders = self.riders.iter().zip(&self.bikes).enumerate();
        let riding = riders.map(|(n, (rider, bike))| {
            tokio::spawn(Arc::clone(&load).ride(n, rider.clone(), bike.clone(), self.world.database.url.clone()))
        });
        Running { riding: riding.collect(), load, looking }
    }

    /// Nothing that was answered is missing, and nothing is there twice.
    async fn counts(&self, rounds: &[Rounds]) {
        let forms: usize = rounds.iter().map(|rounds| rounds.forms.len()).sum();
        let reservations: usize = rounds.iter().map(|rounds| rounds.reservations).sum();
        let count = async |query: &str| usize::try_from(self.world.count(query).await).unwrap();
        let rows = self.world.sql().await.query("SELECT id FROM rides WHERE ended_at IS NOT NULL", &[]).await.unwrap();
        let ids: HashSet<Uuid> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
        for (rider, rounds) in self.riders.iter().zip(rounds) {
            for form in &rounds.forms {
                assert!(ids.contains(&made("ride", &rider.auth.user, *form)), "a ride that was answered is missing");
            }
        }
        assert_eq!(count("SELECT count(*) FROM rides").await, forms, "rides");
        let reserved = "SELECT count(*) FROM events WHERE action = 'vehicle.reserved'";
        assert_eq!(count(reserved).await, reservations, "reservations");
        assert!(forms > RIDERS && reservations >= RIDERS, "{forms} rides, {reservations} reservations");
    }

    async fn end(self) {
        for instance in self.instances.into_iter().flatten() {
            instance.kill().await;
        }
        Arc::into_inner(self.balancer).unwrap().stop().await;
        self.world.end().await;
    }
}

fn serve(world: &World, n: usize, port: u16) -> Serving {
    let settings = [
        ("MOVR_DRAIN_DELAY_MS", "2000"),
        ("MOVR_SHUTDOWN_TIMEOUT_MS", "5000"),
        // The balancer has to follow connections that end with an answer.
        ("MOVR_CONNECTION_LIFETIME_S", "1"),
        ("MOVR_POOL_SIZE", "4"),
        ("MOVR_TRUSTED_PROXIES", "127.0.0.1"),
        ("MOVR_CLIENT_CITY_HEADER", "X-Client-City"),
    ];
    Serving::start(port, &world.vars(REGIONS[n], &settings))
}

const RIDERS: usize = 6;
const VISITORS: usize = 6;

/// What everybody who makes the load shares.
struct Load {
    url: String,
    over: AtomicBool,
    pages: AtomicUsize,
    rides: AtomicUsize,
}

/// When a request began that went wrong, and how.
type Failed = Vec<(Instant, String)>;

/// What one rider did: a form for each ride, and how many reservations.
#[derive(Default)]
struct Rounds {
    forms: Vec<Uuid>,
    reservations: usize,
    failed: Failed,
}

impl Load {
    /// Looks at pages. Every other visitor keeps the connection.
    async fn look(self: Arc<Self>, n: usize) -> Failed {
        let client = Client::builder().pool_max_idle_per_host(n % 2).timeout(Duration::from_secs(30)).build().unwrap();
        let mut failed = Failed::new();
        for turn in n.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let (began, path) = (Instant::now(), ["/", "/vehicles?city=boston", "/login"][turn % 3]);
            let request = client.get(format!("{}{path}", self.url)).header("X-Client-City", CITIES[n % 3]);
            let page = async { request.send().await?.error_for_status()?.text().await };
            match page.await {
                Ok(_) => drop(self.pages.fetch_add(1, Ordering::Relaxed)),
                Err(error) => failed.push((began, format!("GET {path}: {error:?}"))),
            }
            sleep(Duration::from_millis(10)).await;
        }
        failed
    }

    /// Sends a form until it is answered with a redirect, as a person would.
    async fn post(&self, n: usize, form: impl Fn() -> RequestBuilder, failed: &mut Failed) -> String {
        loop {
            let began = Instant::now();
            match form().header("X-Client-City", CITIES[n % 3]).send().await {
                Ok(answer) if answer.status() == StatusCode::SEE_OTHER => {
                    return answer.headers()[header::LOCATION].to_str().unwrap().to_owned();
                }
                Ok(answer) => {
                    failed.push((began, format!("POST: {} {}", answer.status(), answer.text().await.unwrap())));
                }
                Err(error) => failed.push((began, format!("POST: {error:?}"))),
            }
            assert!(failed.len() < 200, "{failed:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Reserves the same vehicle, rides it and ends the ride, again and again.
    async fn ride(self: Arc<Self>, n: usize, rider: Rider, mut bike: Bike, database: String) -> Rounds {
        let (mut rounds, sql) = (Rounds::default(), crate::support::engine::client(&database).await);
        let url = |path: &str| format!("{}{path}", self.url);
        let client = &rider.browser.client;
        while !self.over.load(Ordering::Relaxed) {
            // It changes with each ride, and a read may be cancelled for the writes of the others.
            let row = loop {
                match sql.query_one("SELECT public_id FROM vehicles WHERE id = $1", &[&bike.id]).await {
                    Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => {}
                    row => break row.unwrap(),
                }
            };
            bike.public_id = row.try_get::<_, Uuid>(0).unwrap().to_string();
            // Nobody may reserve more than ten times a day.
            if rounds.reservations < 10 {
                let (path, fields) = bike.reserve();
                self.post(n, || client.post(url(&path)).form(&fields), &mut rounds.failed).await;
                rounds.reservations += 1;
            }
            let form = Uuid::new_v4();
            rounds.forms.push(form);
            let id = form.to_string();
            let fields = bike.start(&id, "");
            let ride = self.post(n, || client.post(url("/rides")).form(&fields), &mut rounds.failed).await;
            assert!(ride.starts_with("/rides/us-east1/"), "{ride}");
            self.post(n, || client.post(url(&format!("{ride}/end"))).form(&END), &mut rounds.failed).await;
            self.rides.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(20)).await;
        }
        rounds
    }
}

/// The load while it runs.
struct Running {
    load: Arc<Load>,
    looking: Vec<JoinHandle<Failed>>,
    riding: Vec<JoinHandle<Rounds>>,
}

impl Running {
    /// Waits until so many more pages were seen and rides ridden.
    async fn more(&self, pages: usize, rides: usize) {
        let done = |load: &Load| (load.pages.load(Ordering::Relaxed), load.rides.load(Ordering::Relaxed));
        let (before, began) = (done(&self.load), Instant::now());
        loop {
            let now = done(&self.load);
            if now.0 >= before.0 + pages && now.1 >= before.1 + rides {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "no more than {now:?} from {before:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it: failed GETs, and what the riders did.
    async fn stop(self) -> (Failed, Vec<Rounds>) {
        self.load.over.store(true, Ordering::Relaxed);
        let failed = join_all(self.looking).await.into_iter().flat_map(Result::unwrap).collect();
        (failed, join_all(self.riding).await.into_iter().map(Result::unwrap).collect())
    }
}

#[actix_web::test]
async fn a_rolling_restart_of_all_regions_fails_no_request() {
    let Some(program) = haproxy("a_rolling_restart_of_all_regions_fails_no_request") else { return };
    let mut site = Site::start(&program).await;
    let running = site.load();
    for (n, region) in REGIONS.iter().enumerate() {
        running.more(30, 3).await;
        let instance = site.instances[n].take().unwrap();
        instance.terminate();
        assert_eq!(instance.ended().await.0, Some(0));
        running.more(30, 3).await;
        site.instances[n] = Some(serve(&site.world, n, site.ports[n]));
        site.balancer.wrote(&format!("Server {region}/{region} is UP"), 1).await;
    }
    running.more(30, 3).await;
    let (pages, rides) = (running.load.pages.load(Ordering::Relaxed), running.load.rides.load(Ordering::Relaxed));
    let (failed, rounds) = running.stop().await;
    assert!(failed.is_empty(), "{failed:#?}");
    for rounds in &rounds {
        assert!(rounds.failed.is_empty(), "{:#?}", rounds.failed);
    }
    eprintln!("{pages} pages and {rides} rides while three instances were restarted, failed: 0");
    site.counts(&rounds).await;
    site.end().await;
}

#[actix_web::test]
async fn an_instance_that_is_killed_loses_and_duplicates_nothing() {
    let Some(program) = haproxy("an_instance_that_is_killed_loses_and_duplicates_nothing") else { return };
    let mut site = Site::start(&program).await;
    let running = site.load();
    running.more(60, 6).await;
    let killed = Instant::now();
    site.instances[0].take().unwrap().kill().await;
    let detected = site.balancer.wrote("Server us-east1/us-east1 is DOWN", 1).await;
    running.more(100, 10).await;
    site.instances[0] = Some(serve(&site.world, 0, site.ports[0]));
    let back = site.balancer.wrote("Server us-east1/us-east1 is UP", 1).await;
    running.more(60, 6).await;
    let (failed, rounds) = running.stop().await;
    let late: Vec<_> = failed.iter().filter(|failed| failed.0 > detected).collect();
    assert!(late.is_empty(), "{late:#?}");
    let posts: Vec<_> = rounds.iter().flat_map(|rounds| &rounds.failed).collect();
    assert!(posts.iter().all(|failed| failed.0 <= detected), "{posts:#?}");
    eprintln!(
        "detected after {:?}, used again after {:?}; failed until then: {failed:?}, and sent again: {posts:?}",
        detected - killed,
        back - killed,
    );
    site.counts(&rounds).await;
    site.end().await;
}
