//! Forms and queries: strict where a browser never errs (syntax, duplicate names, UTF-8, size),
//! typed by the page. Pages check what a person typed and show it again with its errors. Unknown
//! fields are ignored.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Ready, ready},
    pin::Pin,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Bytes};
use chrono::{DateTime, Datelike, Duration, NaiveDateTime, Utc};
use chrono_tz::Tz;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{BadRequest, PageError, PageResult, filters::counted, state::State};
use crate::domain::{Moment, Point, Refusal};

pub struct Form<T>(pub T);

/// A form with a list: its fields, and the values of the repeatable field `vehicle`, at most
/// [`LIST_MAX`].
pub struct ListForm<T>(pub T, pub Vec<String>);

/// A form's fields, and the same as typed, for a page that shows them again.
pub struct FormWithState<T>(pub T, pub FormState);

pub struct Query<T>(pub T);

/// The row that the path names, such as a `RideRef`: a region of the catalogue and an id; 404 otherwise.
pub struct RowPath<T>(pub T);

/// What the fields of a form show, and their errors, by name. Not `Debug`: what is typed is
/// personal.
#[derive(Clone, Default)]
pub struct FormState {
    values: BTreeMap<String, String>,
    /// In the order in which they were found, which is that of the fields.
    errors: Vec<(String, String)>,
    pub error: Option<String>,
}

impl FormState {
    /// Sets what a field shows.
    pub fn with(mut self, field: &str, value: impl Into<String>) -> Self {
        self.values.insert(field.to_owned(), value.into());
        self
    }

    /// With `stored` in the fields that were not sent: those of another form of the page.
    pub fn over(mut self, stored: Self) -> Self {
        for (field, value) in stored.values {
            self.values.entry(field).or_insert(value);
        }
        self
    }

    pub fn value(&self, field: impl AsRef<str>) -> &str {
        self.values.get(field.as_ref()).map_or("", String::as_str)
    }

    pub fn error(&self, field: impl AsRef<str>) -> Option<&str> {
        self.errors.iter().find(|(name, _)| name == field.as_ref()).map(|(_, error)| error.as_str())
    }

    /// How many fields are wrong, as in "2 fields", and the name of the first.
    pub fn wrong(&self) -> Option<(String, &str)> {
        self.errors.first().map(|(name, _)| (counted(self.errors.len(), "field"), name.as_str()))
    }

    pub fn has_errors(&self) -> bool {
        self.error.is_some() || !self.errors.is_empty()
    }

    pub fn reject(&mut self, field: &str, error: String) {
        self.errors.push((field.to_owned(), error));
    }

    /// The value, or none and the error beside its field.
    pub fn check<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.reject(field, error)).ok()
    }
}

/// The field that a refusal is about.
pub fn field_of(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::UsernameTaken => "username",
        Refusal::CodeTaken | Refusal::PromoTaken => "code",
        Refusal::CityTaken => "slug",
        Refusal::TooFar(_) => "lat",
        Refusal::CreditTooHigh => "amount",
        _ => return None,
    })
}

type FromBody<T> = Pin<Box<dyn Future<Output = PageResult<T>>>>;

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = PageError;
    type Future = FromBody<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        from_body(request, payload, |text| parse(&pairs(text)?).map(Form))
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for FormWithState<T> {
    type Error = PageError;
    type Future = FromBody<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        from_body(request, payload, |text| {
            let values = pairs(text)?;
            Ok(Self(parse(&values)?, FormState { values, ..FormState::default() }))
        })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for ListForm<T> {
    type Error = PageError;
    type Future = FromBody<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        from_body(request, payload, |text| {
            let (list, rest): (Vec<&str>, Vec<&str>) = text.split('&').partition(|pair| pair.starts_with("vehicle="));
            if list.len() > LIST_MAX {
                return Err(BadRequest::TooManyFields.into());
            }
            let value = |pair: &&str| decode(pair.split_once('=').map_or("", |(_, value)| value));
            Ok(Self(parse(&pairs(&rest.join("&"))?)?, list.iter().map(value).collect::<Result<_, _>>()?))
        })
    }
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = PageError;
    type Future = Ready<PageResult<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(pairs(request.query_string()).and_then(|pairs| parse(&pairs)).map(Query))
    }
}

impl<T: DeserializeOwned> FromRequest for RowPath<T> {
    type Error = PageError;
    type Future = Ready<PageResult<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(State::of(request).and_then(|state| {
            let not_found = |_wrong| PageError::NotFound;
            let (region, Id(_)) = request.match_info().load().map_err(not_found)?;
            state.service.catalogue().region(&region).ok_or(PageError::NotFound)?;
            request.match_info().load().map(Self).map_err(not_found)
        }))
    }
}

/// An id that a browser sent: never the nil id, where every list begins.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Uuid")]
pub struct Id(pub Uuid);

impl TryFrom<Uuid> for Id {
    type Error = &'static str;

    fn try_from(id: Uuid) -> Result<Self, Self::Error> {
        if id.is_nil() { Err("the nil id") } else { Ok(Self(id)) }
    }
}

pub fn id(text: &str) -> Option<Uuid> {
    text.trim().parse().ok().filter(|id: &Uuid| !id.is_nil())
}

/// The cursor of a list by time: the time and the id of the last row of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cursor(pub DateTime<Utc>, pub Uuid);

impl Cursor {
    /// Before everything: a row may be a little younger than `now`, by another clock.
    pub fn first(now: DateTime<Utc>) -> Self {
        Self(now + Duration::days(1), Uuid::nil())
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let read = || {
            let (at, row) = text.split_once('~')?;
            Some(Self(Moment::from_micros(at)?.at(), id(row)?))
        };
        read().ok_or("no such page of the list")
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.0.timestamp_micros(), self.1)
    }
}

fn from_body<T: 'static>(
    request: &HttpRequest,
    payload: &mut Payload,
    read: impl FnOnce(&str) -> PageResult<T> + 'static,
) -> FromBody<T> {
    let right_type = request.headers().get("content-type").and_then(|v| v.to_str().ok()).is_some_and(|v| {
        v.split(';').next().is_some_and(|v| v.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    });
    let body = Bytes::from_request(request, payload);
    Box::pin(async move {
        if !right_type {
            return Err(BadRequest::NoForm.into());
        }
        let body = body.await.map_err(|error| PageError::from_body(&error))?;
        read(std::str::from_utf8(&body).map_err(|_wrong| BadRequest::NotUtf8)?)
    })
}

/// Boxes of this name may be ticked side by side: their values are joined by commas, which none has.
const BOXES: &str = "cities";

/// No page of ours sends more.
const FIELDS: usize = 32;
/// Nor a longer list.
pub const LIST_MAX: usize = 200;

/// Fails on duplicate names.
fn pairs(text: &str) -> PageResult<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::<String, String>::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if let Some(ticked) = pairs.get_mut(BOXES).filter(|_| name == BOXES) {
            *ticked = format!("{ticked},{value}");
            continue;
        }
        if pairs.len() == FIELDS {
            return Err(BadRequest::TooManyFields.into());
        }
        if pairs.insert(name, value).is_some() {
            return Err(BadRequest::RepeatedField.into());
        }
    }
    Ok(pairs)
}

fn parse<T: DeserializeOwned>(pairs: &BTreeMap<String, String>) -> PageResult<T> {
    let fields = pairs.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Ok(serde_json::from_value(fields).map_err(|_wrong| BadRequest::Field)?)
}

fn decode(text: &str) -> PageResult<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().map_err(|_wrong| BadRequest::NotUtf8)?;
    if decoded.chars().any(char::is_control) {
        return Err(BadRequest::ControlCharacters.into());
    }
    Ok(decoded.into_owned())
}

pub fn point(lat: &str, lon: &str) -> Result<Option<Point>, String> {
    if lat.trim().is_empty() && lon.trim().is_empty() {
        return Ok(None);
    }
    let wrong = || "Latitude must be from -90 to 90, longitude from -180 to 180.".to_owned();
    match (lat.trim().parse(), lon.trim().parse()) {
        (Ok(lat), Ok(lon)) => Point::new(lat, lon).map(Some).map_err(|_range| wrong()),
        _ => Err(wrong()),
    }
}

/// `what` is asked for, as in "the centre".
pub fn required_point(lat: &str, lon: &str, what: &str) -> Result<Point, String> {
    point(lat, lon)?.ok_or_else(|| format!("Please enter {what}."))
}

/// What a field of type `datetime-local` shows and sends.
pub const MOMENT: &str = "%Y-%m-%dT%H:%M";

/// Reads a field of type `datetime-local` in a zone; browsers may send seconds. None when empty.
pub fn moment(text: &str, zone: Tz) -> Result<Option<DateTime<Utc>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = NaiveDateTime::parse_from_str(text, MOMENT).or_else(|_| text.parse());
    let at = read.map_err(|_bad| "Please enter a date and time, as in 2026-11-21T15:00.".to_owned())?;
    // An hour that clocks repeat means the first time.
    let storable = (1..9999).contains(&at.year());
    let at = Some(at).filter(|_| storable).and_then(|at| at.and_local_timezone(zone).earliest());
    at.and_then(|at| Moment::new(at.to_utc()))
        .map(|at| Some(at.at()))
        .ok_or_else(|| "The clocks skip this time; please choose another one.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Two {
        a: String,
        #[serde(default)]
        b: String,
    }

    #[test]
    fn forms_are_read_strictly() {
        let read = |text: &str| pairs(text).and_then(|pairs| parse::<Two>(&pairs)).ok();
        assert_eq!(read("a=x+%2B&c=1"), Some(Two { a: "x +".to_owned(), b: String::new() }));
        let boxes = pairs("cities=rome&a=1&cities=paris").ok().and_then(|mut pairs| pairs.remove("cities"));
        assert_eq!(boxes.as_deref(), Some("rome,paris"));
        for bad in ["", "b=1", "a=1&a=2", "a=%ff", "a=%00", "a=x%0Ay"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn points_are_in_range() {
        assert_eq!(point("", " "), Ok(None));
        for (lat, lon) in [("91", "0"), ("0", "181"), ("NaN", "0"), ("x", "0"), ("1", "")] {
            assert!(point(lat, lon).is_err(), "{lat},{lon}");
        }
    }

    #[test]
    fn moments_are_those_of_the_zone() {
        let paris = Tz::Europe__Paris;
        let at = |text| moment(text, paris).map(|at| at.map(|at| at.to_rfc3339()));
        assert_eq!(at(""), Ok(None));
        assert_eq!(at("2026-07-01T10:00"), Ok(Some("2026-07-01T08:00:00+00:00".to_owned())));
        assert_eq!(at("2026-10-25T02:30:00"), Ok(Some("2026-10-25T00:30:00+00:00".to_owned())), "the first of two");
        assert!(at("2026-03-29T02:30").is_err() && at("tomorrow").is_err());
    }
}
