//! The life of an instance, as real processes: it listens before its database answers and
//! says what it waits for, ends when that takes too long, and leaves without a failed
//! request when it is told to.
//! The surprise: the clients of the rolling restart do what a balancer does (ask for
//! readiness, send only to who is ready), so the drain delay must outlast their interval.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    World,
    faults::Proxy,
    process::{Serving, free_port, movr},
    world,
};

/// A client that keeps its connections, or makes a new one for each request.
fn client(pooled: bool) -> Client {
    let idle = if pooled { 100 } else { 0 };
    Client::builder().pool_max_idle_per_host(idle).timeout(Duration::from_secs(30)).build().unwrap()
}

fn serve(world: &World, port: u16, extra: &[(&str, &str)]) -> Serving {
    Serving::start(port, &world.vars("us-east1", extra))
}

/// Asks for a page until it is `over` and was there once: how often it was told to come
/// back, and how often it got the page. A connection that is refused or reset is a panic.
async fn visits(base: String, pooled: bool, over: Arc<AtomicBool>) -> (usize, usize) {
    let (client, mut turned_away, mut served) = (client(pooled), 0, 0);
    while served == 0 || !over.load(Ordering::Relaxed) {
        let answer = client.get(format!("{base}/login")).send().await.unwrap();
        match answer.status() {
            StatusCode::OK => served += 1,
            StatusCode::SERVICE_UNAVAILABLE => turned_away += 1,
            other => panic!("{other}"),
        }
        answer.text().await.unwrap();
    }
    (turned_away, served)
}

#[actix_web::test]
async fn readiness_says_in_order_what_is_waited_for() {
    let world = world().await;
    let proxy = Proxy::before(&world.database.url).await;
    proxy.refuse();
    let port = free_port();
    let instance = serve(&world, port, &[("DATABASE_URL", &proxy.url), ("MOVR_DRAIN_DELAY_MS", "60000")]);
    let client = client(true);
    let waiting = "warming: connecting (last try: the database does not answer)";
    let mut said = instance.until(&client, waiting).await;
    assert_eq!(instance.ask(&client, "/healthz").await.unwrap(), (StatusCode::OK, "ok".to_owned()));
    let page = client.get(format!("{}/vehicles", instance.base)).send().await.unwrap();
    assert_eq!(
        (page.status(), &page.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"3".parse().unwrap())
    );
    assert!(page.text().await.unwrap().contains("MovR is starting"));

    // From here on every request is answered, by the lobby or by the application.
    let over = Arc::new(AtomicBool::new(false));
    let visitors = [true, false].map(|pooled| tokio::spawn(visits(instance.base.clone(), pooled, Arc::clone(&over))));

    // So slow that every step is seen.
    proxy.pass();
    proxy.delay(Duration::from_millis(100));
    said.extend(instance.until(&client, "ready").await);
    said.dedup();
    let steps = ["connecting", "preparing statements", "loading the catalogue"];
    let steps = steps.map(|step| format!("warming: {step} (last try: the database does not answer)"));
    let first = usize::from(said[0] == "warming: connecting");
    assert_eq!(said[first..said.len() - 1], steps, "{said:?}");

    over.store(true, Ordering::Relaxed);
    for current_user in visitors {
        let (turned_away, served) = current_user.await.unwrap();
        assert!(turned_away > 10 && served > 0, "{turned_away} {served}");
    }

    // Without its database it is not ready, and ready again when that is back; alive all the time.
    let listen = format!("0.0.0.0:{port}");
    let checked = async |args: &[&str]| {
        let args: Vec<&str> = ["healthcheck"].iter().chain(args).copied().collect();
        movr(&args, &[("MOVR_LISTEN", &listen)]).await
    };
    assert_eq!((checked(&[]).await.code, checked(&["--ready"]).await.code), (Some(0), Some(0)));
    proxy.refuse();
    proxy.cut();
    instance.until(&client, "database: does not answer").await;
    assert_eq!(checked(&[]).await.code, Some(0));
    let unready = checked(&["--ready"]).await;
    assert_eq!(unready.code, Some(1), "{unready:?}");
    assert!(unready.err.contains("/readyz: 503 database: does not answer"), "{unready:?}");
    proxy.pass();
    instance.until(&client, "ready").await;

    // The second signal ends a drain delay of a minute.
    instance.terminate();
    instance.until(&client, "draining").await;
    instance.terminate();
    let (code, took) = instance.ended().await;
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let gone = checked(&[]).await;
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("refused"), "{gone:?}");
    drop(proxy);
    world.end().await;
}

#[actix_web::test]
async fn a_database_that_never_comes_ends_it_in_time_and_in_words() {
    let world = world().await;
    let silent = Proxy::before(&world.database.url).await;
    silent.delay(Duration::from_hours(1));
    let nobody = "postgresql://ada:hidden@127.0.0.1:1/movr?sslmode=disable";
    for (url, words) in [(nobody, "nothing listens"), (&silent.url, "while connecting")] {
        let extra = [("DATABASE_URL", url), ("MOVR_WARM_UP_TIMEOUT_S", "2")];
        let vars = world.vars("us-east1", &extra);
        let vars: Vec<_> = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let began = Instant::now();
        let ended = movr(&["serve"], &vars).await;
        let took = began.elapsed();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!((1900..6000).contains(&took.as_millis()), "{took:?}");
        for words in ["movr: not ready within 2 s (MOVR_WARM_UP_TIMEOUT_S)", words] {
            assert!(ended.err.contains(words), "{words}: {}", ended.err);
        }
        assert!(!ended.err.contains("hidden"), "{}", ended.err);
    }
    drop(silent);
    world.end().await;
}

#[actix_web::test]
async fn told_to_stop_it_is_unready_at_once_and_still_serves() {
    const DELAY: Duration = Duration::from_secs(3);
    let world = world().await;
    let instance = serve(&world, free_port(), &[("MOVR_DRAIN_DELAY_MS", "3000"), ("MOVR_SHUTDOWN_TIMEOUT_MS", "5000")]);
    let client = client(true);
    instance.until(&client, "ready").await;
    let began = Instant::now();
    instance.terminate();
    instance.until(&client, "draining").await;
    let at_once = began.elapsed();
    assert!(at_once < DELAY / 2, "{at_once:?}");
    for _ in 0..10 {
        let page = client.get(format!("{}/vehicles", instance.base)).send().await.unwrap();
        assert_eq!((page.status(), &page.headers()["connection"]), (StatusCode::OK, &"close".parse().unwrap()));
    }
    let (code, _) = instance.ended().await;
    assert_eq!(code, Some(0));
    let took = began.elapsed();
    assert!(DELAY <= took && took < DELAY + Duration::from_secs(5), "{took:?}");
    eprintln!("draining after {at_once:?}, ended after {took:?}");
    world.end().await;
}

/// A request under way when the signal comes; the answer as far as it came.
async fn under_way(world: &World, answer_after: Duration, shutdown: &str) -> (String, Option<i32>, Duration) {
    let proxy = Proxy::before(&world.database.url).await;
    let settings = [
        ("DATABASE_URL", &*proxy.url),
        ("MOVR_DRAIN_DELAY_MS", "500"),
        ("MOVR_SHUTDOWN_TIMEOUT_MS", shutdown),
        ("MOVR_CATALOGUE_RELOAD_S", "3600"),
        // Nothing else is asked meanwhile.
        ("MOVR_WATCH_MS", "3600000"),
    ];
    let instance = serve(world, free_port(), &settings);
    instance.until(&client(false), "ready").await;
    proxy.delay(answer_after);
    let carried = proxy.carried();
    let mut socket = TcpStream::connect(instance.base.strip_prefix("http://").unwrap()).await.unwrap();
    socket.write_all(b"GET /vehicles HTTP/1.1\r\nHost: movr.test\r\n\r\n").await.unwrap();
    while proxy.carried() == carried {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    instance.terminate();
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    let (_, (code, _)) = tokio::join!(read, instance.ended());
    (String::from_utf8_lossy(&answer).into_owned(), code, began.elapsed())
}

#[actix_web::test]
async fn a_request_under_way_is_answered_before_the_end_but_not_waited_for_for_ever() {
    let world = world().await;
    let (answer, code, took) = under_way(&world, Duration::from_secs(2), "10000").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.trim_end().ends_with("</html>"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(code, Some(0));
    assert!((2..10).contains(&took.as_secs()), "{took:?}");
    eprintln!("an answer of 2 s: ended after {took:?}");

    let (answer, code, took) = under_way(&world, Duration::from_mins(1), "1000").await;
    assert_eq!((&*answer, code), ("", Some(0)));
    assert!(took < Duration::from_secs(4), "{took:?}");
    eprintln!("an answer that does not come: ended after {took:?}");
    world.end().await;
}

/// What the clients of the rolling restart share.
struct Load {
    bases: Vec<String>,
    ready: Vec<AtomicBool>,
    served: Vec<AtomicUsize>,
    over: AtomicBool,
}

impl Load {
    /// Asks one instance for readiness every 50 ms.
    async fn watch(self: Arc<Self>, n: usize) {
        let client = client(false);
        while !self.over.load(Ordering::Relaxed) {
            let answer = client.get(format!("{}/readyz", self.bases[n])).send().await;
            let ready = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
            self.ready[n].store(ready, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for pages, each time from the next instance that is ready; all that went
    /// wrong. Every other client keeps its connections.
    async fn ask(self: Arc<Self>, first: usize) -> Vec<String> {
        let (client, mut failed) = (client(first.is_multiple_of(2)), Vec::new());
        for round in first.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let n = round % self.bases.len();
            if self.ready[n].load(Ordering::Relaxed) {
                let path = ["/", "/vehicles?city=boston", "/login"][round / 3 % 3];
                let url = format!("{}{path}", self.bases[n]);
                let page = async { client.get(url).send().await?.error_for_status()?.text().await };
                match page.await {
                    Ok(_) => drop(self.served[n].fetch_add(1, Ordering::Relaxed)),
                    Err(error) => failed.push(format!("instance {n}: {error:?}")),
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        failed
    }

    /// Waits until instance `n` has served `more` pages than now.
    async fn serves(&self, n: usize, more: usize) {
        let (began, expected) = (Instant::now(), self.served[n].load(Ordering::Relaxed) + more);
        while self.served[n].load(Ordering::Relaxed) < expected {
            assert!(began.elapsed() < Duration::from_secs(30), "instance {n} gets no requests");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[actix_web::test]
async fn a_rolling_restart_fails_no_request_of_those_who_follow_readiness() {
    let world = world().await;
    let settings = [("MOVR_DRAIN_DELAY_MS", "1500"), ("MOVR_SHUTDOWN_TIMEOUT_MS", "5000"), ("MOVR_POOL_SIZE", "4")];
    let ports = [(); 3].map(|()| free_port());
    let mut instances: Vec<_> = ports.iter().map(|port| serve(&world, *port, &settings)).collect();
    let load = Arc::new(Load {
        bases: instances.iter().map(|instance| instance.base.clone()).collect(),
        ready: ports.iter().map(|_| AtomicBool::new(false)).collect(),
        served: ports.iter().map(|_| AtomicUsize::new(0)).collect(),
        over: AtomicBool::new(false),
    });
    let probe = client(false);
    for instance in &instances {
        instance.until(&probe, "ready").await;
    }
    let watching: Vec<_> = (0..3).map(|n| tokio::spawn(Arc::clone(&load).watch(n))).collect();
    let clients: Vec<_> = (0..6).map(|n| tokio::spawn(Arc::clone(&load).ask(n))).collect();
    let mut counts = Vec::new();
    for (n, port) in ports.iter().enumerate() {
        load.serves(n, 20).await;
        let instance = instances.remove(n);
        instance.terminate();
        assert_eq!(instance.ended().await.0, Some(0));
        let elsewhere = (n + 1) % 3;
        load.serves(elsewhere, 20).await;
        instances.insert(n, serve(&world, *port, &settings));
        instances[n].until(&probe, "ready").await;
        // The new process takes its share.
        load.serves(n, 20).await;
        counts.push(load.served[n].load(Ordering::Relaxed));
    }
    load.over.store(true, Ordering::Relaxed);
    let failed: Vec<String> = join_all(clients).await.into_iter().flat_map(Result::unwrap).collect();
    join_all(watching).await;
    assert!(failed.is_empty(), "{failed:#?}");
    eprintln!("served by each until it was back: {counts:?}, failed: 0");
    for instance in instances {
        instance.terminate();
        assert_eq!(instance.ended().await.0, Some(0));
    }
    world.end().await;
}
