//! What all pages of an instance share: cookie keys, the embedded static files and their version.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::Write,
    sync::{Arc, OnceLock},
};

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::Key,
    http::header::{
        ACCEPT_ENCODING, AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, ETAG, Encoding, Header, IF_NONE_MATCH, VARY,
    },
    web::Bytes,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use parking_lot::Mutex;
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

use super::{PageError, PageResult};
use crate::config::Config;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

pub struct Site {
    pub keys: Vec<Key>,
    log_key: [u8; 32],
    /// Cookies are `__Host-` and `Secure`, and HSTS is sent.
    pub https: bool,
}

impl Site {
    pub fn new(config: &Config) -> Self {
        Self {
            keys: config.secret_keys.expose().iter().map(|key| Key::from(key)).collect(),
            log_key: Sha256::new_with_prefix(b"movr log ")
                .chain_update(config.secret_keys.expose().first().map_or(&[][..], Vec::as_slice))
                .finalize()
                .into(),
            https: config.public_url.is_https(),
        }
    }

    /// For logs: a keyed hash of a username's key, or of a person's id.
    pub fn account(&self, who: &str) -> String {
        let hash = Sha256::new_with_prefix(self.log_key).chain_update(who.as_bytes()).finalize();
        URL_SAFE_NO_PAD.encode(hash).chars().take(12).collect()
    }
}

/// A short hash over all static files, part of their URLs.
pub fn assets() -> Arc<str> {
    static VERSION: OnceLock<Arc<str>> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let mut hash = Sha256::new();
        for name in Static::iter() {
            if let Some(file) = Static::get(&name) {
                hash.update(file.metadata.sha256_hash());
            }
        }
        URL_SAFE_NO_PAD.encode(hash.finalize()).chars().take(10).collect::<String>().into()
    });
    Arc::clone(version)
}

/// `GET /static/...`: an embedded file. With a version in its URL it never changes.
pub async fn file(request: HttpRequest) -> PageResult {
    embedded(&request, request.match_info().query("file"))
}

/// `GET /favicon.ico`, `GET /robots.txt`: where browsers and search engines look for them.
pub async fn at_root(request: HttpRequest) -> PageResult {
    embedded(&request, request.path().trim_start_matches('/'))
}

fn embedded(request: &HttpRequest, name: &str) -> PageResult {
    let file = Static::get(name).ok_or(PageError::NotFound)?;
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let versioned = name.starts_with("vendor/") || request.query_string().strip_prefix("v=") == Some(&*assets());
    let cache = if versioned { "public, max-age=31536000, immutable" } else { "public, max-age=300" };
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, cache)).insert_header((ETAG, tag.as_str()));
    if request.headers().get(IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes()) {
        return Ok(response.status(actix_web::http::StatusCode::NOT_MODIFIED).finish());
    }
    response.insert_header((VARY, ACCEPT_ENCODING.as_str()));
    response.content_type(file.metadata.mimetype());
    let text = !file.metadata.mimetype().starts_with("image/") || file.metadata.mimetype().contains("svg");
    let accepted = AcceptEncoding::parse(request).ok();
    if text && accepted.is_some_and(|of| of.negotiate([Encoding::gzip()].iter()) == Some(Encoding::gzip())) {
        return Ok(response.insert_header((CONTENT_ENCODING, "gzip")).body(packed(&file)?));
    }
    // Not a copy for each of many slow readers: it lies in the program.
    let data = match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => data.into(),
    };
    Ok(response.body(data))
}

/// As small as gzip makes it, once: the middleware packs each answer anew, and so in a hurry.
fn packed(file: &EmbeddedFile) -> Result<Bytes, PageError> {
    static PACKED: OnceLock<Mutex<HashMap<[u8; 32], Bytes>>> = OnceLock::new();
    let mut packed = PACKED.get_or_init(Mutex::default).lock();
    let hash = file.metadata.sha256_hash();
    if let Some(data) = packed.get(&hash) {
        return Ok(data.clone());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let data = encoder.write_all(&file.data).and_then(|()| encoder.finish());
    let data = Bytes::from(data.map_err(|error| PageError::Bug(error.to_string()))?);
    packed.insert(hash, data.clone());
    Ok(data)
}
