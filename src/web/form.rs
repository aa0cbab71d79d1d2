//! Forms and queries: strict where a browser never errs (syntax, duplicate names, UTF-8, size),
//! typed by the page. Pages check what a person typed and show it again with its errors. Unknown
//! fields are ignored.

use std::{borrow::Cow, collections::BTreeMap, future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Bytes};
use chrono::{DateTime, Datelike, NaiveDateTime, Utc};
use chrono_tz::Tz;
use percent_encoding::percent_decode_str;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IntoDeserializer, Visitor, value},
    forward_to_deserialize_any,
};
use uuid::Uuid;

use super::error::PageError;
use crate::domain::{geo::Point, stored::Moment};

pub struct Form<T>(pub T);

/// A form with a list: its fields, and the values of the repeatable field `vehicle`, at most
/// [`LIST_MAX`].
pub struct ListForm<T>(pub T, pub Vec<String>);

/// A form's fields, and the same as typed, for a page that shows them again.
pub struct FormWithState<T>(pub T, pub FormState);

pub struct Query<T>(pub T);

/// What the fields of a form show, and their errors, by name. Not `Debug`: what is typed is
/// personal.
#[derive(Clone, Default)]
pub struct FormState {
    values: BTreeMap<String, String>,
    errors: BTreeMap<String, String>,
    pub error: Option<String>,
}

impl FormState {
    /// Sets what a field shows.
    pub fn with(mut self, field: &str, value: impl Into<String>) -> Self {
        self.values.insert(field.to_owned(), value.into());
        self
    }

    pub fn value(&self, field: impl AsRef<str>) -> &str {
        self.values.get(field.as_ref()).map_or("", String::as_str)
    }

    pub fn error(&self, field: impl AsRef<str>) -> Option<&str> {
        self.errors.get(field.as_ref()).map(String::as_str)
    }

    pub fn has_errors(&self) -> bool {
        self.error.is_some() || !self.errors.is_empty()
    }

    pub fn reject(&mut self, field: &str, error: String) {
        self.errors.insert(field.to_owned(), error);
    }

    pub fn check<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|error| self.reject(field, error)).ok()
    }
}

type FromBody<T> = Pin<Box<dyn Future<Output = Result<T, PageError>>>>;

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = PageError;
    type Future = FromBody<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        from_body(request, payload, |text| parse(pairs(text)?).map(Form))
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for FormWithState<T> {
    type Error = PageError;
    type Future = FromBody<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        from_body(request, payload, |text| {
            let pairs = pairs(text)?;
            let values = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            Ok(Self(parse(pairs)?, FormState { values, ..FormState::default() }))
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
                return Err(PageError::BadRequest("There are too many fields."));
            }
            let value = |pair: &&str| decode(pair.split_once('=').map_or("", |(_, value)| value)).map(Cow::into_owned);
            Ok(Self(parse(pairs(&rest.join("&"))?)?, list.iter().map(value).collect::<Result<_, _>>()?))
        })
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

fn from_body<T: 'static>(
    request: &HttpRequest,
    payload: &mut Payload,
    read: impl FnOnce(&str) -> Result<T, PageError> + 'static,
) -> FromBody<T> {
    let right_type = request.headers().get("content-type").and_then(|v| v.to_str().ok()).is_some_and(|v| {
        v.split(';').next().is_some_and(|v| v.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    });
    let body = Bytes::from_request(request, payload);
    Box::pin(async move {
        if !right_type {
            return Err(PageError::BadRequest("This address takes a form."));
        }
        let body = body.await.map_err(|error| PageError::from_body(&error))?;
        let not_utf8 = |_| PageError::BadRequest("The form is not UTF-8.");
        read(std::str::from_utf8(&body).map_err(not_utf8)?)
    })
}

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = PageError;
    type Future = std::future::Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(pairs(request.query_string()).and_then(parse).map(Query))
    }
}

/// No page of ours sends more.
const FIELDS: usize = 32;
/// Nor a longer list.
pub const LIST_MAX: usize = 200;

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Fails on duplicate names.
fn pairs(text: &str) -> Result<Vec<Pair<'_>>, PageError> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if pairs.len() == FIELDS {
            return Err(PageError::BadRequest("There are too many fields."));
        }
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(PageError::BadRequest("A field was sent twice."));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn parse<T: DeserializeOwned>(pairs: Vec<Pair<'_>>) -> Result<T, PageError> {
    let fields = pairs.into_iter().map(|(name, text)| (name, Field(text)));
    T::deserialize(value::MapDeserializer::<_, value::Error>::new(fields))
        .map_err(|_wrong| PageError::BadRequest("A field is missing, or is not what this page sends."))
}

/// The text of a field; an optional one that is empty is none.
struct Field<'a>(Cow<'a, str>);

impl IntoDeserializer<'_> for Field<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Field<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_str(&self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        IntoDeserializer::<value::Error>::into_deserializer(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, PageError> {
    let bad = |_error| PageError::BadRequest("The text is not UTF-8.");
    let decoded = if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent_decode_str(&spaced).decode_utf8().map_err(bad)?.into_owned())
    } else {
        percent_decode_str(text).decode_utf8().map_err(bad)?
    };
    if decoded.chars().any(char::is_control) {
        return Err(PageError::BadRequest("Control characters and line breaks are not allowed."));
    }
    Ok(decoded)
}

pub fn point(lat: &str, lon: &str) -> Result<Option<Point>, String> {
    if lat.trim().is_empty() && lon.trim().is_empty() {
        return Ok(None);
    }
    let wrong = || "Latitude goes from -90 to 90, longitude from -180 to 180.".to_owned();
    match (lat.trim().parse(), lon.trim().parse()) {
        (Ok(lat), Ok(lon)) => Point::new(lat, lon).map(Some).map_err(|_range| wrong()),
        _ => Err(wrong()),
    }
}

pub fn required_point(lat: &str, lon: &str) -> Result<Point, String> {
    point(lat, lon)?.ok_or_else(|| "Please enter a position.".to_owned())
}

/// What a field of type `datetime-local` shows and sends.
pub const MOMENT: &str = "%Y-%m-%dT%H:%M";

/// Reads a field of type `datetime-local` in a zone; browsers may send seconds. None when empty.
pub fn moment(text: &str, zone: Tz) -> Result<Option<DateTime<Utc>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = NaiveDateTime::parse_from_str(text, MOMENT).or_else(|_| text.parse());
    let at = read.map_err(|_bad| "Please enter date and time, as in 2026-11-21T15:00.".to_owned())?;
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
        let read = |text: &str| pairs(text).and_then(parse::<Two>).ok();
        assert_eq!(read("a=x+%2B&c=1"), Some(Two { a: "x +".to_owned(), b: String::new() }));
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
