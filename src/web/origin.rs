//! Refuses cross-site writes before any handler runs, by Fetch-Metadata and Origin, where the
//! browser sends them, so forms need no token.

use actix_web::http::{
    Method,
    header::{HeaderMap, ORIGIN},
};

/// Safe methods are always allowed, others from our own pages only. A client that is no browser
/// (neither header) has no cookies to abuse.
pub fn allowed(method: &Method, headers: &HeaderMap, host: &str, own_origin: &str) -> bool {
    if method.is_safe() {
        return true;
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // A region's own address, or another name of this machine in development.
    let scheme = own_origin.split_inclusive("://").next().unwrap_or_default();
    let same_host = |origin: &str| origin.strip_prefix(scheme).is_some_and(|rest| rest == host);
    let own = text(ORIGIN.as_str()).map(|origin| origin == own_origin || same_host(origin));
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => own != Some(false),
        Some(_) => false,
        None if own_origin.starts_with("https://") => text(ORIGIN.as_str()).is_none_or(|origin| origin == own_origin),
        None => own != Some(false),
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
        let both = |site: &'static str, origin: &'static str| {
            let mut headers = with("sec-fetch-site", site);
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            [ask(&headers), allowed(&Method::POST, &headers, "us.movr.example", "https://movr.example")]
        };
        for site in ["same-origin", "none"] {
            assert_eq!(both(site, "https://evil.example"), [false, false], "{site}");
            assert_eq!(both(site, "null"), [false, false], "{site}");
            assert_eq!(both(site, "https://us.movr.example"), [false, true], "{site}: a region's own address");
        }
        assert!(allowed(&Method::GET, &with("sec-fetch-site", "cross-site"), "x", "y"));
    }
}
