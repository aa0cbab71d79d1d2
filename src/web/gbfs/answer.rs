//! A feed as it is sent: GBFS's envelope around the data, an `ETag` over all of it, 304 if it is
//! unchanged, and open to scripts of every site.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH, RETRY_AFTER,
        },
    },
    web::Bytes,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    db::DbError,
    web::{PageError, PageResult},
};

pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    last_updated: String,
    ttl: i64,
    version: &'static str,
    data: &'a T,
}

#[derive(Debug, Clone)]
pub(super) struct Feed {
    body: Bytes,
    tag: String,
    ttl: i64,
}

impl Feed {
    /// `data` as of `as_of`, valid for `ttl` seconds.
    pub(super) fn new(as_of: DateTime<Utc>, ttl: i64, data: &impl Serialize) -> PageResult<Self> {
        let body = serde_json::to_vec(&Envelope { last_updated: time(as_of), ttl, version: "3.0", data })
            .map_err(|error| PageError::Bug(error.to_string()))?;
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&body)));
        Ok(Self { body: body.into(), tag, ttl })
    }

    /// 200 with the feed, or 304 when the request names this very one.
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|sent| sent.to_str().ok());
        // A proxy that compresses marks the tag as weak; it is the same feed all the same.
        let same = |tag: &str| matches!(tag.trim().trim_start_matches("W/"), tag if tag == self.tag || tag == "*");
        let known = known.flat_map(|sent| sent.split(',')).any(same);
        open(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK })
            .insert_header((CACHE_CONTROL, format!("public, max-age={}", self.ttl)))
            .insert_header((ETAG, self.tag.as_str()))
            .content_type("application/json")
            .body(if known { Bytes::new() } else { self.body.clone() })
    }
}

fn open(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .insert_header((ACCESS_CONTROL_EXPOSE_HEADERS, "ETag, Retry-After"));
    response
}

/// CORS preflight, before a script of another site sends more than a plain GET.
pub async fn preflight() -> HttpResponse {
    open(StatusCode::NO_CONTENT)
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"))
        .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match, Cache-Control, Content-Type"))
        .insert_header((ACCESS_CONTROL_MAX_AGE, "86400"))
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .finish()
}

/// 404, for machines.
pub(super) fn not_found(words: &str) -> HttpResponse {
    open(StatusCode::NOT_FOUND).json(json!({ "error": words }))
}

/// 503: the city's region does not answer, and there is no older feed.
pub(super) fn unreachable(error: &DbError) -> HttpResponse {
    tracing::warn!(%error, "a feed could not be read");
    open(StatusCode::SERVICE_UNAVAILABLE)
        .insert_header((RETRY_AFTER, "5"))
        .json(json!({ "error": "The city's region does not answer just now." }))
}
