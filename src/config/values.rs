//! From a variable's text to a typed value: one small function a form, no I/O but the reading of `pages`.
//! Each answers `Err` with words that continue "NAME: ..."; a secret's text is never repeated.

use std::{
    fmt,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use actix_web::http::header::HeaderName;
use base64::{Engine as _, engine::general_purpose::STANDARD_PAD_INDIFFERENT};
use clap::builder::ValueParser;
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

use crate::domain::region::RegionCode;

/// A value that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; whoever calls this keeps it out of logs and pages.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The address under which browsers see this instance: scheme, host and port, nothing after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The origin as browsers write it in `Origin`: `https://movr.example`, lower case.
    pub fn origin(&self) -> &str {
        &self.0
    }

    /// Whether browsers come over TLS: decides `__Host-` cookies and HSTS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

/// Where the map's tiles come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiles {
    /// URL with `{z}`, `{x}` and `{y}`.
    pub url: String,
    pub attribution: String,
}

impl Tiles {
    /// Scheme and host of the tiles, for the content security policy.
    pub fn origin(&self) -> String {
        web_url(&self.url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One JSON object a line.
    Json,
}

/// A page whose text the deployment brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPage {
    /// As in its address.
    pub name: &'static str,
    pub title: &'static str,
    pub html: String,
}

const OWN_PAGES: [(&str, &str); 4] =
    [("help", "Help"), ("terms", "Terms"), ("privacy", "Privacy"), ("imprint", "Imprint")];
const OWN_PAGE_KIB: usize = 256;

type Parsed<T> = Result<T, String>;

fn web_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()))
}

pub(super) fn region(text: &str) -> Parsed<RegionCode> {
    text.parse()
        .ok()
        .filter(|_: &RegionCode| text.starts_with(|c: char| c.is_ascii_lowercase()))
        .ok_or_else(|| format!("{text:?} is not a region code; write small letters, digits and hyphens, like us-east1"))
}

pub(super) fn listen(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|error| format!("{text:?} is not like 0.0.0.0:8080 or [::]:8080 ({error})"))
}

/// Without TLS: a collector is a neighbour.
pub(super) fn collector(text: &str) -> Parsed<String> {
    if text.starts_with("http://") && web_url(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} must begin with http://: a collector beside the instance passes traces on by TLS"))
}

pub(super) fn database_url(text: &str) -> Parsed<Secret<String>> {
    if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        return Ok(Secret::new(text.to_owned()));
    }
    Err("must begin with postgresql://".to_owned())
}

pub(super) fn public_url(text: &str) -> Parsed<PublicUrl> {
    let url = web_url(text).ok_or_else(|| format!("{text:?} must begin with https:// or http://"))?;
    let origin = url.origin().ascii_serialization();
    // Written out, an origin ends with the only slash that its URL may have.
    if url.as_str().strip_suffix('/') == Some(&origin) {
        return Ok(PublicUrl(origin));
    }
    Err(format!("{text:?} must be scheme, host and port only, like https://movr.example"))
}

pub(super) fn secret_keys(text: &str) -> Parsed<Secret<Vec<Vec<u8>>>> {
    let mut keys = Vec::new();
    for (number, part) in (1..).zip(text.split(',')) {
        let key = STANDARD_PAD_INDIFFERENT
            .decode(part.trim())
            .map_err(|error| format!("key {number} is not base64 ({})", base64_fault(&error)))?;
        if key.len() < 64 {
            return Err(format!("key {number} has {} bytes, at least 64 are needed", key.len()));
        }
        keys.push(key);
    }
    if keys.len() > 3 {
        return Err(format!("has {} keys, at most 3 are taken", keys.len()));
    }
    Ok(Secret::new(keys))
}

/// The driver's own words would repeat a character of the key.
fn base64_fault(error: &base64::DecodeError) -> &'static str {
    match error {
        base64::DecodeError::InvalidByte(..) => "a character that base64 does not have",
        _ => "cut off or damaged at its end",
    }
}

pub(super) fn header_name(text: &str) -> Parsed<String> {
    HeaderName::try_from(text).map_err(|_bad| format!("{text:?} is not the name of a header"))?;
    Ok(text.to_owned())
}

pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let network = |part: &str| {
        let address = part.parse::<IpAddr>().map(IpNet::from);
        address.or_else(|_| part.parse()).map_err(|error: ipnet::AddrParseError| {
            format!("{part:?} is neither an address nor a CIDR like 10.0.0.0/8 ({error})")
        })
    };
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect()
}

/// Empty, there are none.
pub(super) fn tiles_url(text: &str) -> Parsed<String> {
    let one_host = web_url(text).and_then(|url| Some(!url.host_str()?.contains('{'))) == Some(true);
    if text.is_empty() || one_host && ["{z}", "{x}", "{y}"].iter().all(|part| text.contains(part)) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} must be one http(s) host with {{z}}, {{x}} and {{y}} in the path"))
}

/// Reads the files, so that a start without a text that was meant to be there fails.
pub(super) fn pages(folder: &str) -> Parsed<Vec<OwnPage>> {
    let mut pages = Vec::new();
    if folder.is_empty() {
        return Ok(pages);
    }
    for (name, title) in OWN_PAGES {
        let path = Path::new(folder).join(format!("{name}.html"));
        match std::fs::read_to_string(&path) {
            Ok(html) if html.len() > OWN_PAGE_KIB * 1024 => {
                return Err(format!("{} is larger than {OWN_PAGE_KIB} KiB", path.display()));
            }
            Ok(html) => pages.push(OwnPage { name, title, html }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{} cannot be read ({error})", path.display())),
        }
    }
    if pages.is_empty() { Err(format!("{folder:?} holds none of the files")) } else { Ok(pages) }
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither text nor json")),
    }
}

pub(super) fn log_filter(text: &str) -> Parsed<String> {
    EnvFilter::try_new(text).map_err(|error| format!("{text:?} is not a filter ({error})"))?;
    Ok(text.to_owned())
}

fn whole(text: &str, least: u32, most: u32) -> Parsed<u32> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a whole number from {least} to {most}"))
}

pub(super) fn number(least: u32, most: u32) -> ValueParser {
    ValueParser::new(move |text: &str| whole(text, least, most))
}

pub(super) fn count(least: u32, most: u32) -> ValueParser {
    ValueParser::new(move |text: &str| whole(text, least, most).map(|number| number as usize))
}

/// In bytes.
pub(super) fn kibibytes(least: u32, most: u32) -> ValueParser {
    ValueParser::new(move |text: &str| whole(text, least, most).map(|number| number as usize * 1024))
}

/// As many as there are processors, for the word `cores`.
pub(super) fn cores() -> ValueParser {
    ValueParser::new(|text: &str| match text {
        "cores" => Ok(std::thread::available_parallelism().map_or(1, usize::from).min(1024)),
        _ => whole(text, 1, 1024)
            .map(|number| number as usize)
            .map_err(|problem| format!("{problem}, nor the word cores")),
    })
}

/// At most an hour: a larger number was meant in another unit.
pub(super) fn milliseconds(least: u32) -> ValueParser {
    ValueParser::new(move |text: &str| whole(text, least, 3_600_000).map(|number| Duration::from_millis(number.into())))
}

/// At most a day.
pub(super) fn seconds() -> ValueParser {
    ValueParser::new(|text: &str| whole(text, 1, 86_400).map(|number| Duration::from_secs(number.into())))
}
