//! Security headers of every answer. Scripts and styles come from here only, with a nonce for our
//! own; images also from the tiles' origin. Forms lead here, or to another region's instance (from
//! abroad).

use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

use super::abroad;
use crate::{config::Tiles, web::state::State};

const FIXED: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "geolocation=(self), camera=(), microphone=(), payment=()"),
];

/// `nonce` is that of the answer's page, if it is one.
pub fn add(headers: &mut HeaderMap, state: &State, nonce: &str) {
    for (name, value) in FIXED {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // What is not said to be for caches is for the one who asked.
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let tiles = state.service.config.tiles.as_ref().map(Tiles::origin).unwrap_or_default();
    let homes = abroad::form_targets(&state.service.catalogue());
    let policy = format!(
        "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; \
         img-src 'self' data: {tiles}; object-src 'none'; base-uri 'none'; form-action 'self'{homes}; \
         frame-ancestors 'none'"
    );
    if let Ok(value) = HeaderValue::from_str(&policy) {
        headers.insert(HeaderName::from_static("content-security-policy"), value);
    }
    if state.site.https {
        let two_years = HeaderValue::from_static("max-age=63072000; includeSubDomains");
        headers.insert(HeaderName::from_static("strict-transport-security"), two_years);
    }
}
