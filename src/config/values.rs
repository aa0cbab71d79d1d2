//! From a variable's text to a typed value: one small function a form, no I/O.
//! Each answers `Err` with words that continue "NAME: ..."; a secret's text is never repeated.
//! The surprise: keys are read as standard base64 with or without padding, since tools differ.

use std::{fmt, net::IpAddr, ops::RangeInclusive, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD_PAD_INDIFFERENT};
use ipnet::IpNet;

/// A value that `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`, which from here on is seen through [`Secret::expose`] only.
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    pub fn origin(&self) -> &str {
        origin_of(&self.url).unwrap_or_default()
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

type Parsed<T> = Result<T, String>;

fn origin_of(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let length = url.get(start..)?.find(['/', '?', '#']);
    length.map_or(Some(url), |length| url.get(..start + length))
}

pub(super) fn region(text: &str) -> Parsed<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() <= 40 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a region code; write small letters, digits and hyphens, like us-east1"))
}

pub(super) fn database_url(text: &str) -> Parsed<Secret<String>> {
    if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        return Ok(Secret::new(text.to_owned()));
    }
    Err("must begin with postgresql://".to_owned())
}

pub(super) fn public_url(text: &str) -> Parsed<PublicUrl> {
    let url = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (rest, default_port) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, ":443"),
        (None, Some(rest)) => (rest, ":80"),
        (None, None) => return Err(format!("{text:?} must begin with https:// or http://")),
    };
    let host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    if rest.is_empty() || rest.starts_with(':') || !rest.chars().all(host) {
        return Err(format!("{text:?} must be scheme, host and port only, like https://movr.example"));
    }
    // Browsers leave the scheme's own port out of `Origin`.
    Ok(PublicUrl(url.strip_suffix(default_port).unwrap_or(&url).to_owned()))
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
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.chars().all(token) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not the name of a header"))
}

pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect()
}

fn network(text: &str) -> Parsed<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    text.parse().map_err(|error| format!("{text:?} is neither an address nor a CIDR like 10.0.0.0/8 ({error})"))
}

pub(super) fn tiles_url(text: &str) -> Parsed<String> {
    let web = text.starts_with("https://") || text.starts_with("http://");
    let host_is_fixed = origin_of(text).is_some_and(|origin| !origin.contains('{'));
    if web && host_is_fixed && ["{z}", "{x}", "{y}"].iter().all(|part| text.contains(part)) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} must be one http(s) host with {{z}}, {{x}} and {{y}} in the path"))
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither text nor json")),
    }
}

pub(super) fn log_filter(text: &str) -> Parsed<String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is not a filter ({error})")),
    }
}

pub(super) fn number(text: &str, range: RangeInclusive<u32>) -> Parsed<u32> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{text:?} is not a whole number from {} to {}", range.start(), range.end()))
}

pub(super) fn number_or_cores(text: &str, range: RangeInclusive<u32>) -> Parsed<u32> {
    if text == "cores" {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        return Ok(u32::try_from(cores).unwrap_or(u32::MAX).clamp(*range.start(), *range.end()));
    }
    number(text, range).map_err(|problem| format!("{problem}, nor the word cores"))
}

pub(super) fn milliseconds(text: &str, range: RangeInclusive<u32>) -> Parsed<Duration> {
    number(text, range).map(|count| Duration::from_millis(count.into()))
}

pub(super) fn seconds(text: &str, range: RangeInclusive<u32>) -> Parsed<Duration> {
    number(text, range).map(|count| Duration::from_secs(count.into()))
}
