//! The one line of the log about a request: what is in it, and nothing else, whatever the client sends.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{Browser, app::Instance, html::Page, log::Lines, world};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The line about an answer.
fn line_about(lines: &Lines, page: &Page) -> Value {
    let request = page.headers["x-request-id"].to_str().unwrap();
    let mut about = lines.with("answered");
    about.retain(|line| line["request"] == request);
    assert_eq!(about.len(), 1, "one line each: {request}");
    about.remove(0)
}

async fn ask(browser: &Browser, headers: &[(&str, &str)]) -> Page {
    browser.get_with("/vehicles?city=new-york", headers).await
}

#[actix_web::test]
async fn a_request_is_one_line_with_what_operators_need_and_nothing_of_the_client() {
    let lines = Lines::keep("info");
    let world = world().await;
    world.sample(&["new-york", "paris"], 1, 6).await;
    let instance = world.instance("us-east1").await;
    let nobody = instance.browser();
    let page = nobody.get("/vehicles?city=new-york&lat=40.7123&lon=-74.0123").await;
    let line = line_about(&lines, &page);
    let keys: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "attempts", "contract", "data_regions", "db_ms", "level", "message", "method", "ms", "reach", "region",
        "request", "route", "rows", "statements", "status", "target", "timestamp", "waits",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    for (key, value) in [
        ("method", "GET"),
        ("route", "/vehicles"),
        ("region", "us-east1"),
        ("reach", "home"),
        ("data_regions", "us-east1"),
        ("contract", "kept: here only"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!((line["status"].as_u64(), line["attempts"].as_u64()), (Some(200), Some(1)));
    let figures = (line["statements"].as_u64().unwrap(), line["waits"].as_u64().unwrap());
    assert_eq!((u64::from(page.timing().0), u64::from(page.timing().1)), figures);
    assert!(line["rows"].as_u64().unwrap() >= 6 && line["db_ms"].as_f64().unwrap() <= line["ms"].as_f64().unwrap());
    let abroad = line_about(&lines, &nobody.get("/vehicles?city=paris").await);
    assert_eq!((&abroad["reach"], &abroad["data_regions"]), (&"away".into(), &"europe-west1".into()));

    // What was refused, by name.
    let ann = instance.person("new-york").await;
    let refused = line_about(&lines, &ann.get("/fleet?city=new-york").await);
    assert_eq!((&refused["refusal"], refused["status"].as_u64()), (&"not_operator".into(), Some(403)));

    // A client's words are in none of it.
    let headers = [
        ("user-agent", "clientmark"),
        ("referer", "http://movr.test/clientmark"),
        ("cookie", "clientmark=1"),
        ("x-request-id", "clientmark"),
        ("accept-language", "clientmark"),
    ];
    let page = nobody.get_with("/clientmark/x?clientmark=clientmark", &headers).await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert_eq!(line_about(&lines, &page)["route"], "none");
    let page = nobody.method(Method::from_bytes(b"CLIENTMARK").unwrap(), "/vehicles").await;
    assert_eq!(line_about(&lines, &page)["method"], "other");
    let text = lines.text().to_lowercase();
    assert!(!text.contains("clientmark") && !text.contains("40.7123"), "{text}");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn ids_of_requests_and_traces_are_taken_from_trusted_proxies_if_they_are_well_formed() {
    let lines = Lines::keep("info");
    let world = world().await;
    let trusting = world.instance_with("us-east1", &[("MOVR_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let strict = world.instance("us-east1").await;
    let browser = Instance::browser(&trusting);
    let long = "x".repeat(65);
    let id = |page: &Page| page.headers["x-request-id"].to_str().unwrap().to_owned();
    for good in ["7a9f1e60-2f5e-4a52-9a37-3f8e2f1f6f10", "AbC_1.2-3", &long[..64]] {
        let page = ask(&browser, &[("x-request-id", good)]).await;
        assert_eq!(id(&page), good);
        assert_eq!(line_about(&lines, &page)["request"], good);
    }
    for bad in ["", &long, "ann@example.com", "a b", "a\"b", "<b>", "a,b", "é"] {
        let page = ask(&browser, &[("x-request-id", bad)]).await;
        assert!(id(&page).len() == 16 && id(&page) != bad, "{bad}: {}", id(&page));
    }
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for good in [
        parent.clone(),
        format!("00-{TRACE}-00f067aa0ba902b7-00"),
        format!("01-{TRACE}-00f067aa0ba902b7-01"),
        format!("01-{TRACE}-00f067aa0ba902b7-01-more"),
    ] {
        let page = ask(&browser, &[("traceparent", &good)]).await;
        assert_eq!(line_about(&lines, &page)["trace"], TRACE, "{good}");
    }
    for bad in [
        String::new(),
        "x".to_owned(),
        TRACE.to_owned(),
        format!("ff-{TRACE}-00f067aa0ba902b7-01"),
        format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
        format!("00-{TRACE}-00f067aa0ba902b7"),
        format!("00-{TRACE}-00f067aa0ba902b7-zz"),
        format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
        format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("01-{TRACE}-00f067aa0ba902b7-01-{}", "x".repeat(512)),
    ] {
        let page = ask(&browser, &[("traceparent", &bad)]).await;
        assert!(line_about(&lines, &page).get("trace").is_none(), "{bad}");
    }
    // Whoever is no proxy of ours chooses neither.
    let page = ask(&strict.browser(), &[("x-request-id", "chosen-by-a-client"), ("traceparent", &parent)]).await;
    assert_ne!(id(&page), "chosen-by-a-client");
    assert!(line_about(&lines, &page).get("trace").is_none());
    trusting.running.stop().await;
    strict.running.stop().await;
    world.end().await;
}
