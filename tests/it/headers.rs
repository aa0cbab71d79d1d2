//! What every answer carries, good or bad: security headers with a nonce of its own, no
//! inline scripts or styles, and nothing personal in caches.

use std::collections::BTreeSet;

use crate::{
    pages::rides,
    support::{app::PASSWORD, world},
};

#[actix_web::test]
async fn every_answer_has_security_headers_and_no_page_has_inline_code() {
    let world = world().await;
    world.sample(&["new-york"], 2, 30).await;
    let tiles = [("MOVR_TILES_URL", "https://tiles.example/{z}/{x}/{y}.png")];
    let instance = world.instance_with("us-east1", &tiles).await;
    let browser = instance.person("new-york").await;
    let ended = rides::start(&browser, "new-york").await;
    rides::end(&browser, &ended).await;
    let open = rides::start(&browser, "new-york").await;
    let mut answers = Vec::new();
    for path in [
        "/", "/vehicles", "/rides", &open, &ended, "/riders", "/profile", "/profile/home", "/profile/delete",
        "/profile/export", "/my/vehicles", "/login", "/register", "/recover", "/logout", "/nothing", "/rides?before=x",
        "/healthz", "/readyz", "/static/app.css", "/static/nothing", "/status.json", "/gbfs/3/manifest.json",
    ] {
        answers.push((path.to_owned(), browser.get(path).await));
    }
    answers
        .push(("recovery codes".to_owned(), browser.post("/profile/recovery-codes", &[("current", PASSWORD)]).await));
    answers.push(("cross-site".to_owned(), browser.post_with("/logout", &[("origin", "null")], &[]).await));
    answers.push(("see other".to_owned(), browser.post("/city", &[("city", "rome")]).await));
    answers.push(("signed in".to_owned(), instance.browser().sign_in(&browser.name, PASSWORD).await));
    answers.push(("sign in first".to_owned(), instance.browser().get("/rides").await));
    answers.push((
        "too large".to_owned(),
        browser.post_raw("/city", "application/x-www-form-urlencoded", "x".repeat(70_000)).await,
    ));
    let mut nonces = BTreeSet::new();
    for (path, page) in &answers {
        let header =
            |name: &str| page.headers.get(name).unwrap_or_else(|| panic!("{name} on {path}")).to_str().unwrap();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
        ] {
            assert_eq!(header(name), value, "{name} on {path}");
        }
        assert!(header("permissions-policy").contains("geolocation=(self)"), "{path}");
        let policy = header("content-security-policy");
        for part in [
            "default-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "img-src 'self' data: https://tiles.example;",
        ] {
            assert!(policy.contains(part), "{part} on {path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert!(nonce.len() >= 16 && nonces.insert(nonce.to_owned()), "a nonce is used once");
        // Only what is the same for everybody may be kept by caches.
        let kept = path.starts_with("/static/app") || path.starts_with("/gbfs/");
        assert!(kept != header("cache-control").contains("no-store"), "{path}: {}", header("cache-control"));
        if page.headers.get("content-type").is_none_or(|of| !of.to_str().unwrap().starts_with("text/html")) {
            continue;
        }
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert!(page.attributes("script[nonce]", "nonce").iter().all(|own| own == nonce), "{path}");
        let inline = "script:not([src]):not([nonce]):not([type=\"application/json\"]), style:not([nonce])";
        assert!(page.texts(inline).is_empty() && page.attributes("[style]", "style").is_empty(), "{path}");
        let handlers = [" onclick=", " onload=", " onerror=", " onsubmit=", "javascript:"];
        assert!(!handlers.iter().any(|handler| page.body.contains(handler)), "{path}");
    }
    let export = answers.iter().find(|(path, _)| path == "/profile/export").unwrap();
    assert_eq!(export.1.headers["cache-control"], "no-store");
    rides::end(&browser, &open).await;
    instance.running.stop().await;
    world.end().await;
}

/// Who cannot unpack it gets the file as it is; whoever can, no more than the best level of gzip makes of it.
#[actix_web::test]
async fn a_static_file_is_packed_as_small_as_it_gets() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let client = reqwest::Client::new();
    let mut sizes = Vec::new();
    for accepts in ["identity", "gzip, deflate, br", "gzip;q=0"] {
        let file = client.get(instance.browser().url("/static/app.css")).header("accept-encoding", accepts);
        let answer = file.send().await.unwrap();
        assert_eq!(answer.headers()["vary"], "accept-encoding");
        let packed = answer.headers().get("content-encoding").is_some_and(|of| of == "gzip");
        assert_eq!(packed, accepts.starts_with("gzip,"), "{accepts}");
        sizes.push(answer.bytes().await.unwrap().len());
    }
    assert!(sizes[0] == sizes[2] && sizes[1] * 4 < sizes[0], "{sizes:?}");
    instance.running.stop().await;
    world.end().await;
}
