//! The HTTP edge under those who mean ill: bodies that unpack to a thousand times their
//! size, requests that never end, answers that nobody reads, passwords that take long to
//! judge. Sockets are used by hand, since no client library does such things.

use std::time::{Duration, Instant};

use movr::{
    db::{
        Db,
        statement::{Conn, Reach, Statement},
    },
    web::routes::ROUTES,
};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    pages::rides,
    support::{
        app::{Instance, PASSWORD},
        engine,
        faults::Proxy,
        html::Page,
        log::Lines,
        process::{Serving, free_port, movr},
        world,
    },
};

const FORM: &str = "application/x-www-form-urlencoded";

async fn connect(base: &str, sent: &str) -> TcpStream {
    let mut socket = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
    socket.write_all(sent.as_bytes()).await.unwrap();
    socket
}

/// What comes until the server closes the connection, which it does within its ten seconds
/// for a request.
async fn to_the_end(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(15), socket.read_to_end(&mut answer)).await;
    // A reset ends it as well.
    assert!(read.is_ok(), "still open after {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// All POST routes, with something in place of parameters.
fn posts() -> impl Iterator<Item = String> {
    ROUTES.iter().filter(|route| route.method.as_str() == "POST").map(|route| {
        let parts = route.path.split('/').map(|part| if part.starts_with('{') { "us-east1" } else { part });
        parts.collect::<Vec<_>>().join("/")
    })
}

/// Gzip of `length` zeros: one literal and then copies of it, 13 bits for 258 bytes.
fn bomb(length: usize) -> Vec<u8> {
    let (mut bytes, mut bits, mut free) = (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], 0_u32, 0);
    let mut put = |value: u32, count: u32, bytes: &mut Vec<u8>| {
        bits |= value << free;
        free += count;
        while free >= 8 {
            bytes.push((bits & 255) as u8);
            (bits, free) = (bits >> 8, free - 8);
        }
    };
    put(0b011, 3, &mut bytes); // the last block, with the fixed codes
    put(0b0000_1100, 8, &mut bytes); // the byte 0, whose code is sent from its highest bit on
    for _ in 0..length / 258 {
        put(0b1010_0011, 8, &mut bytes); // 258 bytes
        put(0, 5, &mut bytes); // from one byte before
    }
    put(0, 7, &mut bytes);
    put(0, 7, &mut bytes);
    bytes
}

#[actix_web::test]
async fn a_compressed_body_is_refused_before_it_is_read() {
    let world = world().await;
    let serving = Serving::start(free_port(), &world.vars("us-east1", &[]));
    let client = reqwest::Client::new();
    let bomb = bomb(10_000_000);
    assert!(bomb.len() < 64 * 1024, "{} bytes are a small body", bomb.len());
    let send = async |path: &str, codings: &[&str], body: Vec<u8>| {
        let mut request = client.post(format!("{}{path}", serving.base)).header("content-type", FORM).body(body);
        for coding in codings {
            request = request.header("content-encoding", *coding);
        }
        request.send().await.map(|answer| answer.status())
    };
    // Also while the application is not there yet.
    let mut early = send("/login", &["gzip"], bomb.clone()).await;
    while early.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        early = send("/login", &["gzip"], bomb.clone()).await;
    }
    assert_eq!(early.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    serving.until(&client, "ready").await;
    for path in posts() {
        assert_eq!(send(&path, &["gzip"], bomb.clone()).await.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
    }
    for codings in [
        &["GZIP"][..],
        &["x-gzip"],
        &["br"],
        &["deflate"],
        &["zstd"],
        &["identity, gzip"],
        &["gzip,identity"],
        &["identity", "gzip"],
        &["nonsense"],
    ] {
        let status = send("/city", codings, b"city=rome".to_vec()).await.unwrap();
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{codings:?}");
    }
    for codings in [&["identity"][..], &["Identity"], &[]] {
        assert_ne!(send("/city", codings, b"city=rome".to_vec()).await.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let chunked = "POST /city HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = to_the_end(connect(&serving.base, chunked).await).await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    let all = (0..25).map(|_| send("/register", &["gzip"], bomb.clone()));
    futures_util::future::join_all(all).await;
    let bombed = serving.peak_kib();
    // And as many connections as may be, that do not end, or do not read.
    let file = "GET /static/vendor/leaflet-1.9.4/leaflet.js HTTP/1.1\r\nHost: x\r\n\r\n";
    let import = "POST /fleet/import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
    let mut held = Vec::new();
    let head = format!("GET /login HTTP/1.1\r\nX-{}", "y".repeat(20_000));
    // The files of this build are copied for each reader, those of a release are not.
    for (sent, times) in [(file.repeat(60), 60), (import.to_owned(), 200), (head, 200)] {
        for _ in 0..times {
            held.push(connect(&serving.base, &sent).await);
        }
    }
    assert_eq!(client.get(format!("{}/healthz", serving.base)).send().await.unwrap().status(), StatusCode::OK);
    let peak = serving.peak_kib();
    drop(held);
    eprintln!("peak memory: {bombed} KiB after 25 bombs at once, {peak} KiB with 460 connections besides");
    assert!(peak < 120 * 1024, "{peak} KiB");
    drop(serving);
    world.end().await;
}

#[actix_web::test]
async fn a_body_of_unknown_length_is_taken_by_the_import_alone() {
    let world = world().await;
    let instance = world.instance_with("us-east1", &[("MOVR_KEEP_ALIVE_S", "1"), ("MOVR_SIGN_IN_FLOOR_MS", "0")]).await;
    for coding in ["chunked", "Chunked", "gzip, chunked"] {
        for path in posts() {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\n"
            );
            let mut socket = connect(&instance.base, &head).await;
            let mut answer = [0; 64];
            let read = timeout(Duration::from_secs(10), socket.read(&mut answer)).await.unwrap().unwrap();
            let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
            let expected = if path == "/fleet/import" { "HTTP/1.1 303 " } else { "HTTP/1.1 411 " };
            assert!(answer.starts_with(expected) || answer.starts_with("HTTP/1.1 400 "), "{coding} {path}: {answer}");
            assert!(coding != "chunked" || answer.starts_with(expected), "{coding} {path}: {answer}");
        }
    }
    // With a length the same is taken, and the connection goes on.
    let twice = "POST /city HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\ncity=rome";
    let answers = to_the_end(connect(&instance.base, &twice.repeat(2)).await).await;
    assert_eq!(answers.matches("HTTP/1.1 303 ").count(), 2, "{answers}");
    instance.running.stop().await;
    world.end().await;
}

/// Waits until no more than `wanted` connections are open.
async fn until_open(instance: &Instance, expected: usize, within: Duration, what: &str) -> Duration {
    let began = Instant::now();
    while instance.running.open_connections() > expected {
        let open = instance.running.open_connections();
        assert!(began.elapsed() < within, "{what}: {open} are open after {within:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

#[actix_web::test]
async fn no_connection_stays_for_ever_whatever_its_client_does() {
    const MANY: usize = 60;
    let world = world().await;
    let second = [
        ("MOVR_REQUEST_TIMEOUT_MS", "1000"),
        ("MOVR_STATEMENT_TIMEOUT_MS", "1000"),
        ("MOVR_WRITE_TIMEOUT_MS", "1000"),
        ("MOVR_KEEP_ALIVE_S", "1"),
        ("MOVR_CONNECTION_LIFETIME_S", "3"),
    ];
    let instance = world.instance_with("us-east1", &second).await;
    let ask = |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let page = ask("GET /login", "");
    // Many answers of 150 KB each, which do not fit into what the system keeps for a socket.
    let file = "GET /static/vendor/leaflet-1.9.4/leaflet.js HTTP/1.1\r\nHost: x\r\n\r\n";
    let form = format!("Content-Type: {FORM}\r\n");
    let chunked = "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n";
    for (what, sent, drip) in [
        ("half a head", "GET /login HTTP/1.1\r\nHost: x\r\nX-".to_owned(), "y"),
        ("half a second head", format!("{page}GET /login HTTP/1.1\r\nHost: x\r\nX-"), "y"),
        ("a chunked body", ask("POST /login", &format!("{form}Transfer-Encoding: chunked\r\n")), ""),
        ("a chunked import", ask("POST /fleet/import", chunked), ""),
        ("a slow body", ask("POST /login", &format!("{form}Content-Length: 1000\r\n")), "y"),
        ("a body that nobody wants", ask("POST /nothing", "Content-Length: 1000\r\n"), "y"),
        ("a body of a GET", ask("GET /login", "Content-Length: 1000\r\n"), "y"),
        ("nothing", String::new(), ""),
        ("an answer that is not read", file.repeat(100), ""),
    ] {
        let mut sockets = Vec::new();
        for _ in 0..if what.contains("answer") { 8 } else { MANY } {
            sockets.push(connect(&instance.base, &sent).await);
        }
        let dripping = async {
            loop {
                for socket in &mut sockets {
                    // Those that were closed cannot be written to.
                    let _ = socket.try_write(drip.as_bytes());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let closed = until_open(&instance, 0, Duration::from_secs(20), what);
        let took = tokio::select! {
            took = closed => took,
            () = dripping => unreachable!(),
        };
        eprintln!("{what}: closed after {took:?}");
    }
    // Whoever goes on asking gets a last answer that says so, before the connection is old.
    let mut socket = connect(&instance.base, "").await;
    let began = Instant::now();
    let mut buffer = vec![0; 1 << 16];
    loop {
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let read = timeout(Duration::from_secs(5), socket.read(&mut buffer)).await.unwrap().unwrap();
        let answers = String::from_utf8_lossy(&buffer[..read]);
        assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
        if answers.contains("connection: close") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it is never told to end: {answers}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(to_the_end(socket).await, "");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn connections_are_capped_and_the_others_come_in_when_room_is_made() {
    const CAP: usize = 20;
    let world = world().await;
    let settings = [
        ("MOVR_REQUEST_TIMEOUT_MS", "2000"),
        ("MOVR_STATEMENT_TIMEOUT_MS", "2000"),
        ("MOVR_WRITE_TIMEOUT_MS", "2000"),
        ("MOVR_MAX_CONNECTIONS", "20"),
    ];
    let instance = world.instance_with("us-east1", &settings).await;
    let mut sockets = Vec::new();
    for _ in 0..3 * CAP {
        sockets.push(connect(&instance.base, "GET /login HTTP/1.1\r\nHost").await);
    }
    let mut most = 0;
    let person = instance.browser();
    let asked = async {
        let page = person.get("/login").await;
        assert_eq!(page.status, StatusCode::OK);
    };
    let watched = async {
        loop {
            most = most.max(instance.running.open_connections());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = asked => {}
        () = watched => unreachable!(),
    }
    assert_eq!(most, CAP, "as many as may, and no more");
    drop(sockets);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn judging_passwords_holds_up_nobody() {
    let world = world().await;
    let instance = world.instance_with("us-east1", &[("MOVR_PASSWORD_THREADS", "1")]).await;
    // No two parts alike: the slowest to judge.
    let long: String = (0..128_u32).map(|n| char::from(b'!' + u8::try_from(n * 37 % 93).unwrap())).collect();
    let (over, base) = (std::sync::atomic::AtomicBool::new(false), instance.base.clone());
    let registering = async |n: usize| {
        let browser = instance.browser();
        for round in 0..3 {
            let name = format!("slow{n}x{round}");
            let fields = [
                ("id", Uuid::new_v4().to_string()),
                ("city", "new-york".to_owned()),
                ("first_name", String::new()),
                ("last_name", "Doe".to_owned()),
                ("email", "a@b.example".to_owned()),
                ("username", name.clone()),
                ("password", format!("{}{name}", &long[..128 - name.len()])),
            ];
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let status = browser.post("/register", &fields).await.status;
            assert!([StatusCode::UNPROCESSABLE_ENTITY, StatusCode::TOO_MANY_REQUESTS].contains(&status), "{status}");
        }
    };
    let attack = async {
        futures_util::future::join_all((0..8).map(registering)).await;
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let healthy = async {
        let (client, mut times) = (reqwest::Client::new(), Vec::new());
        while !over.load(std::sync::atomic::Ordering::Relaxed) {
            let began = Instant::now();
            assert_eq!(client.get(format!("{base}/healthz")).send().await.unwrap().status(), StatusCode::OK);
            times.push(began.elapsed());
        }
        times.sort();
        times
    };
    let (times, ()) = tokio::join!(healthy, attack);
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    eprintln!("{} answers, median {:?}, 90 % {:?}, worst {:?}", times.len(), at(50), at(90), at(100));
    // While the worker judged them itself it answered nobody else: a few answers in seconds.
    assert!(at(50) < Duration::from_millis(50), "{:?}", at(50));
    assert!(times.len() > 50, "{} answers", times.len());
    instance.running.stop().await;
    world.end().await;
}

static PID: Statement = Statement::read("test.pid", Reach::Global, "SELECT pg_backend_pid()::TEXT AS session");
static SESSION: Statement =
    Statement::read("test.session", Reach::Global, "SELECT session_id AS session FROM [SHOW session_id]");
static SLEEP: Statement = Statement::read("test.sleep", Reach::Global, "SELECT pg_sleep(2)::TEXT");

#[actix_web::test]
async fn a_connection_with_an_unanswered_statement_is_not_used_again() {
    let world = world().await;
    let mut tools = engine::tools(&world.database.url).database;
    tools.pool_size = 4;
    let db = Db::open(&tools).await.unwrap();
    let session = if db.engine().cockroach { &SESSION } else { &PID };
    let pid = async |conn: &Conn| conn.one(session, &[]).await.unwrap().get::<String>("session").unwrap();
    let conn = db.here().await.unwrap();
    let left = pid(&conn).await;
    drop(conn);
    let conn = db.here().await.unwrap();
    assert_eq!(pid(&conn).await, left, "one that is answered goes back");
    assert!(timeout(Duration::from_millis(50), conn.rows(&SLEEP, &[])).await.is_err());
    drop(conn);
    let began = Instant::now();
    let again = [db.here().await.unwrap(), db.here().await.unwrap()];
    for conn in &again {
        assert_ne!(pid(conn).await, left, "nobody waits behind what somebody else has left");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(again);
    db.close();
    world.end().await;
}

#[actix_web::test]
async fn a_write_under_way_at_the_deadline_of_its_request_is_told_as_it_ended() {
    let world = world().await;
    let proxy = Proxy::before(&world.database.url).await;
    let ann = world.instance("us-east1").await.person("new-york").await;
    let slow = |write: &'static str| {
        [
            ("DATABASE_URL", proxy.url.clone()),
            ("MOVR_REQUEST_TIMEOUT_MS", "1000".to_owned()),
            ("MOVR_STATEMENT_TIMEOUT_MS", "1000".to_owned()),
            ("MOVR_WRITE_TIMEOUT_MS", write.to_owned()),
            ("MOVR_CATALOGUE_RELOAD_S", "3600".to_owned()),
        ]
    };
    // A read and then a write, 700 ms each.
    for (write, status, sessions) in [("1000", StatusCode::SEE_OTHER, 2), ("600", StatusCode::SERVICE_UNAVAILABLE, 3)] {
        let settings = slow(write);
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        proxy.pass();
        let instance = world.instance_with("us-east1", &settings).await;
        // So that every connection is prepared and the gate is known.
        instance.browser().sign_in(&ann.name, "not the password").await;
        proxy.delay(Duration::from_millis(700));
        let answer = instance.browser().sign_in(&ann.name, PASSWORD).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(answer.text().contains("check whether it was done before you repeat it"), "{}", answer.text());
        }
        proxy.pass();
        world.until("SELECT count(*) FROM sessions", sessions).await;
        instance.running.stop().await;
    }
    drop(proxy);
    world.end().await;
}

#[actix_web::test]
async fn a_try_that_is_turned_away_is_one_line_of_the_log_without_a_name() {
    let world = world().await;
    let lines = Lines::keep("info");
    let proxies = [("MOVR_SIGN_IN_FLOOR_MS", "0"), ("MOVR_TRUSTED_PROXIES", "127.0.0.1")];
    let instance = world.instance_with("us-east1", &proxies).await;
    let standard = world
        .instance_with("us-east1", &[proxies.as_slice(), &[("MOVR_CLIENT_ADDRESS_HEADER", "Forwarded")]].concat())
        .await;
    // However a proxy writes the client's address, and what it is worth when it writes none.
    let (v4, v6, proxy) = ("192.0.2.0/24", "2001:db8:1::/48", "127.0.0.0/24");
    let cases = [
        ("x-forwarded-for", "192.0.2.77", v4),
        ("x-forwarded-for", "192.0.2.77:4711", v4),
        ("x-forwarded-for", "\"192.0.2.77:4711\"", v4),
        ("x-forwarded-for", "::ffff:192.0.2.77", v4),
        ("x-forwarded-for", ", ,192.0.2.77,, ", v4),
        ("x-forwarded-for", "unknown, 203.0.113.9, 192.0.2.77,127.0.0.1", v4),
        ("x-forwarded-for", "2001:db8:1:2::7", v6),
        ("x-forwarded-for", "[2001:db8:1:2::7]", v6),
        ("x-forwarded-for", "[2001:db8:1:2::7]:443", v6),
        ("x-forwarded-for", "\"[2001:db8:1:2::7]\"", v6),
        ("x-forwarded-for", "192.0.2.77, unknown", proxy),
        ("x-forwarded-for", "[2001:db8::7", proxy),
        ("x-forwarded-for", "192.0.2.77.1", proxy),
        ("forwarded", "for=192.0.2.77;proto=https;by=203.0.113.43", v4),
        ("forwarded", "proto=https; For=\"192.0.2.77:4711\"", v4),
        ("forwarded", "for=192.0.2.1, for=\"[2001:db8:1:2::7]:4711\"", v6),
        ("forwarded", "for=_hidden", proxy),
        ("forwarded", "proto=https", proxy),
    ];
    for (n, (header, value, network)) in cases.into_iter().enumerate() {
        let at = if header == "forwarded" { &standard } else { &instance };
        let name = format!("nobodymark{n}");
        let fields = [("username", name.as_str()), ("password", "some password")];
        let answer = at.browser().post_with("/login", &[(header, value)], &fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        let line = turned_away(&lines, &answer);
        assert_eq!((&*line.reason, &*line.network), ("sign-in failed", network), "{header}: {value}");
    }
    let said = lines.text().matches("names no address").count();
    assert_eq!(said, 1, "once a minute");
    // The same account under the same key, until the throttle, and then too.
    let (guess, mut accounts) = ([("username", "Victimmark"), ("password", "some password")], Vec::new());
    for n in 0..6 {
        let answer = instance.browser().post_with("/login", &[("x-forwarded-for", "192.0.2.7")], &guess).await;
        let line = turned_away(&lines, &answer);
        assert_eq!(line.reason, if n < 5 { "sign-in failed" } else { "too many attempts" });
        accounts.push(line.account);
    }
    accounts.dedup();
    assert!(accounts.len() == 1 && accounts[0].len() == 12, "{accounts:?}");
    let recover = [("username", "othermark"), ("code", "x"), ("password", "four plain words here")];
    let other = turned_away(&lines, &instance.browser().post("/recover", &recover).await);
    assert!(other.reason == "recovery failed" && other.account != accounts[0]);
    // What is somebody else's, and what is for others; from one account, under one key.
    world.sample(&["new-york"], 0, 10).await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let ride = rides::start(&ann, "new-york").await;
    let wrong = [("current", "not mine at all"), ("password", "four plain words here")];
    let tries = [
        bob.get(&ride).await,
        bob.get("/fleet?city=new-york").await,
        bob.get("/admin/roles").await,
        bob.post("/profile/password", &wrong).await,
        bob.post_with("/city", &[("origin", "https://evil.example")], &[("city", "rome")]).await,
    ];
    let tries: Vec<_> = tries.iter().map(|page| turned_away(&lines, page)).collect();
    let reasons = ["nothing of theirs is there", "NotOperator", "NotAdministrator", "wrong password"];
    for (line, reason) in tries.iter().zip(reasons.into_iter().chain(["a write from another site"])) {
        assert_eq!((&*line.reason, &line.account), (reason, &tries[0].account));
    }
    rides::end(&ann, &ride).await;
    // A client's mistake is none of ours.
    let broken =
        to_the_end(connect(&instance.base, "GET / HTTP/1.1\r\nHost: x\r\nBad\u{1} header\r\n\r\n").await).await;
    assert!(broken.starts_with("HTTP/1.1 400 "), "{broken}");
    let text = lines.text();
    assert!(!text.contains("ERROR"), "{}", text.lines().find(|line| line.contains("ERROR")).unwrap());
    assert!(!text.to_lowercase().contains("mark") && !text.contains("192.0.2.7"), "neither names nor addresses");
    instance.running.stop().await;
    standard.running.stop().await;
    world.end().await;
}

/// What the log says of a try.
struct TurnedAway {
    account: String,
    network: String,
    reason: String,
}

/// The one line about the request that was answered like that.
fn turned_away(lines: &Lines, answer: &Page) -> TurnedAway {
    let request = answer.headers["x-request-id"].to_str().unwrap();
    let all = lines.with("turned away");
    let mut lines = all.iter().filter(|line| line["request"] == request);
    let field = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let line = lines.next().unwrap_or_else(|| panic!("no line about {}", answer.text()));
    assert!(lines.next().is_none(), "one line each: {}", answer.text());
    let [account, network, reason] = ["account", "network", "reason"].map(|name| field(line, name));
    TurnedAway { account, network, reason }
}

#[actix_web::test]
async fn versions_are_told_to_administrators_and_logs_that_are_files_have_no_colours() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    movr::ops::accounts::grant(&instance.running.state.service.db, &ann.name, "administrator", "").await.unwrap();
    let bob = instance.person("new-york").await;
    for (browser, shown) in [(&instance.browser(), false), (&bob, false), (&ann, true)] {
        browser.get("/profile").await;
        let json: Value = serde_json::from_str(&browser.get("/status.json").await.body).unwrap();
        for name in ["build", "engine", "schemaVersion", "catalogueVersion"] {
            assert_eq!(json.get(name).is_some(), shown, "{name}");
        }
        assert!(
            !shown
                || json["schemaVersion"] == movr::db::migrate::newest() && json["catalogueVersion"].as_i64() > Some(0)
        );
        let page = browser.get("/status").await.text();
        let engine = instance.running.state.service.db.engine().version.split(' ').next().unwrap();
        assert_eq!(page.contains(engine) && page.contains("schema"), shown, "{page}");
        assert!(page.contains("as JSON"));
    }
    instance.running.stop().await;
    let nobody = "postgresql://ada:hidden@127.0.0.1:1/movr?sslmode=disable";
    let vars = world.vars("us-east1", &[("DATABASE_URL", nobody), ("MOVR_WARM_UP_TIMEOUT_S", "1")]);
    let vars: Vec<_> = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let said = movr(&["serve"], &vars).await.err;
    assert!(said.contains("INFO") && !said.contains('\u{1b}'), "{said:?}");
    world.end().await;
}

#[actix_web::test]
async fn scripts_of_other_sites_may_ask_for_feeds_that_they_have() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let script = instance.browser();
    for feed in ["manifest.json", "new-york/gbfs.json", "new-york/vehicle_status.json", "paris/system_information.json"]
    {
        let path = format!("/gbfs/3/{feed}");
        let asks = [
            ("origin", "https://planner.example"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "if-none-match"),
        ];
        let request = script.client.request(reqwest::Method::OPTIONS, script.url(&path));
        let preflight = script.send(asks.iter().fold(request, |request, (name, value)| request.header(*name, *value)));
        let preflight = preflight.await;
        assert_eq!((preflight.status, &*preflight.body), (StatusCode::NO_CONTENT, ""), "{path}");
        let header = |page: &Page, name: &str| page.headers[name].to_str().unwrap().to_lowercase();
        assert_eq!(header(&preflight, "access-control-allow-origin"), "*");
        assert!(header(&preflight, "access-control-allow-headers").contains("if-none-match"));
        assert!(header(&preflight, "access-control-allow-methods").contains("get"));
        let first = script.get_with(&path, &asks[..1]).await;
        assert!(header(&first, "access-control-expose-headers").contains("etag"), "{path}");
        let tag = &first.headers["etag"];
        let again = script.get_with(&path, &[asks[0], ("if-none-match", tag.to_str().unwrap())]).await;
        assert_eq!((again.status, &again.headers["etag"]), (StatusCode::NOT_MODIFIED, tag), "{path}");
        assert_eq!(header(&again, "access-control-allow-origin"), "*");
    }
    let nothing = script.get("/gbfs/3/atlantis/gbfs.json").await;
    assert_eq!(
        (nothing.status, &nothing.headers["access-control-allow-origin"]),
        (StatusCode::NOT_FOUND, &"*".parse().unwrap())
    );
    instance.running.stop().await;
    world.end().await;
}
