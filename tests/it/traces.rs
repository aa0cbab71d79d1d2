//! Spans as a collector receives them by OTLP: one for each request, statement and attempt of a write, with
//! region and reach, under the caller's trace, and without anything personal.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix_web::{App as Actix, HttpResponse, HttpServer, web};
use reqwest::{StatusCode, redirect::Policy};

use crate::support::{
    Browser,
    app::PASSWORD,
    process::{Serving, free_port},
    world,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Numbers and parts of a message of protobuf, by the number of their field.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                found.push((key >> 3, varint(&mut message).to_be_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (part, rest) = message.split_at(length);
        found.push((key >> 3, part.to_vec()));
        message = rest;
    }
    found
}

fn each(message: &[u8], field: u64) -> impl Iterator<Item = Vec<u8>> {
    fields(message).into_iter().filter(move |(number, _)| *number == field).map(|(_, part)| part)
}

#[derive(Debug, Clone)]
struct Seen {
    trace: String,
    id: String,
    parent: String,
    name: String,
    attributes: BTreeMap<String, String>,
}

/// Of `opentelemetry/proto/trace/v1/trace.proto`.
fn span(message: &[u8]) -> Seen {
    let text = |part: Vec<u8>| String::from_utf8_lossy(&part).into_owned();
    let hex = |number| {
        each(message, number).flatten().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    };
    let attribute = |pair: Vec<u8>| {
        let value = each(&pair, 2).flat_map(|value| fields(&value)).next().unwrap();
        // 1 is a text, 3 a whole number.
        let value = if value.0 == 1 { text(value.1) } else { value.1.last().unwrap().to_string() };
        (text(each(&pair, 1).next().unwrap()), value)
    };
    Seen {
        trace: hex(1),
        id: hex(2),
        parent: hex(4),
        name: text(each(message, 5).next().unwrap()),
        attributes: each(message, 9).map(attribute).collect(),
    }
}

/// What a collector was sent.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Vec<u8>>>>);

impl Received {
    fn all(&self) -> Vec<u8> {
        self.0.lock().unwrap().concat()
    }

    fn spans(&self) -> Vec<Seen> {
        let of_resource = |resource: Vec<u8>| each(&resource, 2).collect::<Vec<_>>();
        let of_scope = |scope: Vec<u8>| each(&scope, 2).collect::<Vec<_>>();
        each(&self.all(), 1).flat_map(of_resource).flat_map(of_scope).map(|message| span(&message)).collect()
    }

    /// Waits for a span of this name.
    async fn until(&self, name: &str) -> Seen {
        let began = Instant::now();
        loop {
            if let Some(seen) = self.spans().into_iter().find(|span| span.name == name) {
                return seen;
            }
            let names: Vec<_> = self.spans().into_iter().map(|span| span.name).collect();
            assert!(began.elapsed() < Duration::from_secs(10), "no {name}: {names:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[actix_web::test]
async fn a_collector_gets_a_span_for_each_request_statement_and_attempt() {
    let received = Received::default();
    let sink = web::Data::new(received.clone());
    let take = async |sink: web::Data<Received>, body: web::Bytes| {
        sink.0.lock().unwrap().push(body.to_vec());
        HttpResponse::Ok().finish()
    };
    let collector =
        HttpServer::new(move || Actix::new().app_data(sink.clone()).route("/v1/traces", web::post().to(take)));
    let collector = collector.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.addrs()[0]);
    let collector = collector.run();
    let handle = collector.handle();
    actix_web::rt::spawn(collector);

    let world = world().await;
    world.sample(&["new-york", "paris"], 1, 6).await;
    let extra = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("MOVR_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let serving = Serving::start(free_port(), &world.vars("us-east1", &extra));
    let client = reqwest::Client::builder().cookie_store(true).redirect(Policy::none()).build().unwrap();
    serving.until(&client, "ready").await;
    let ann = Browser { client, base: serving.base.clone(), name: "spanmark".to_owned() };
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let page = ann.get_with("/vehicles?city=paris&lat=48.8&lon=2.3", &[("traceparent", &parent)]).await;
    assert_eq!(page.status, StatusCode::OK);

    let request = received.until("GET /vehicles").await;
    assert_eq!((&*request.trace, &*request.parent), (TRACE, CALLER));
    for (key, value) in [
        ("http.route", "/vehicles"),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("region", "us-east1"),
        ("reach", "away"),
        ("request_id", page.headers["x-request-id"].to_str().unwrap()),
    ] {
        assert_eq!(request.attributes.get(key).map(String::as_str), Some(value), "{key}: {request:?}");
    }
    let statement = received.until("vehicles.list_nearest").await;
    assert_eq!((&statement.trace, &statement.parent), (&request.trace, &request.id));
    assert_eq!((&*statement.attributes["data_region"], &*statement.attributes["reach"]), ("europe-west1", "named"));

    let id = ann.get("/register").await.field("id");
    let person = [
        ("id", &*id),
        ("city", "new-york"),
        ("first_name", "Spanmark"),
        ("last_name", "Spanmark"),
        ("email", "spanmark@example.com"),
        ("username", "spanmark"),
        ("password", PASSWORD),
    ];
    assert_eq!(ann.post("/register", &person).await.status, StatusCode::SEE_OTHER);
    let insert = received.until("users.insert").await;
    let attempt = received.spans().into_iter().find(|span| span.id == insert.parent).unwrap();
    assert_eq!(
        (&*attempt.name, &*attempt.attributes["attempt"], &*attempt.attributes["data_region"]),
        ("write", "1", "us-east1")
    );
    let request = received.spans().into_iter().find(|span| span.id == attempt.parent).unwrap();
    assert_eq!((&*request.name, &request.trace), ("POST /register", &insert.trace));
    assert_ne!(request.trace, TRACE);

    // The end sends what is left.
    ann.get("/status").await;
    serving.terminate();
    assert_eq!(serving.ended().await.0, Some(0));
    received.until("GET /status").await;
    let sent = String::from_utf8_lossy(&received.all()).into_owned();
    assert!(sent.contains("service.name") && sent.contains("movr"));
    assert!(!sent.to_lowercase().contains("spanmark") && !sent.contains("48.8"), "something personal");
    handle.stop(false).await;
    world.end().await;
}
