//! Cross-site writes are refused before any handler runs: by Fetch-Metadata where the
//! browser sends it, by Origin otherwise. No token in forms is needed then, and no
//! handler can forget to check one.

use actix_web::http::{
    Method,
    header::{HeaderMap, ORIGIN},
};

/// Whether the request may go on: safe methods always, others from our own pages only.
/// A client that is no browser (neither header) has no cookies to abuse.
#[must_use]
pub fn allowed(method: &Method, headers: &HeaderMap, host: &str, own_origin: &str) -> bool {
    if method.is_safe() {
        return true;
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match text(ORIGIN.as_str()) {
        None => true,
        Some(origin) => {
            // In development the page may be reached under other names of this machine.
            let same_host = || origin.strip_prefix("http://").is_some_and(|rest| rest == host);
            origin == own_origin || (own_origin.starts_with("http://") && same_host())
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn only_our_own_pages_may_write() {
        let ask = |headers: &HeaderMap| allowed(&Method::POST, headers, "localhost:8080", "http://movr.example");
        assert!(ask(&with("sec-fetch-site", "same-origin")));
        assert!(ask(&with("origin", "http://movr.example")));
        assert!(ask(&with("origin", "http://localhost:8080")));
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://movr.example.evil.example"),
            ("origin", "https://localhost:8080"),
        ] {
            assert!(!ask(&with(name, value)), "{name}: {value}");
        }
        let secure = |origin| allowed(&Method::POST, &with("origin", origin), "movr.example", "https://movr.example");
        assert!(secure("https://movr.example"));
        assert!(!secure("http://movr.example"), "a page without TLS may not write over it");
        assert!(allowed(&Method::GET, &with("sec-fetch-site", "cross-site"), "x", "y"));
    }
}
