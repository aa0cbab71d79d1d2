//! `/fleet/audit`: the events of one region, and the same as a file. Administrators see all of
//! them, operators those of their cities' vehicles and jobs. The statement depends on the roles:
//! those of the cookie are tried, and if the row at home differs the page is read once more.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Bytes};
use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use futures_util::stream;
use serde::Deserialize;

use crate::{
    db::{
        audit::{self, Event, Filter, Found, Place, Sees},
        error::DbError,
        sessions::CurrentUser,
    },
    domain::{
        catalogue::Catalogue,
        csv::{escape_formula, head, write_line},
        refusal::Refusal,
        region::RegionCode,
        stored::{Moment, Version},
    },
    ops::service::Service,
    web::{
        context::RequestContext,
        error::PageError,
        filters,
        form::{self, Query, moment},
        layout::{Layout, Section, layout},
        paths,
    },
};

const PAGE: usize = 50;
const CHUNK: usize = 1000;

const OBJECTS: [(&str, &str); 8] = [
    ("", "All"),
    ("vehicle", "Vehicles"),
    ("job", "Jobs"),
    ("user", "People"),
    ("session", "Sessions"),
    ("region", "Regions"),
    ("catalogue", "Catalogue"),
    ("residency_refusal", "Refusals of residency"),
];

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct AuditPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    parameters: &'a Parameters,
    region: &'a RegionCode,
    sees: Sees,
    events: Vec<Event>,
    export: String,
    newest: Option<String>,
    /// How far back the search went, if that was too little for a page.
    searched_to: Option<DateTime<Utc>>,
    older: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    region: String,
    actor: String,
    action: String,
    #[serde(rename = "type")]
    object: String,
    id: String,
    from: String,
    to: String,
    before: String,
}

impl Parameters {
    /// The address of `page` with this filter, after `before`.
    fn address(&self, page: &str, before: &str) -> String {
        let fields = [
            ("region", self.region.as_str()),
            ("actor", &self.actor),
            ("action", &self.action),
            ("type", &self.object),
            ("id", &self.id),
            ("from", &self.from),
            ("to", &self.to),
            ("before", before),
        ];
        let set = fields.iter().filter(|(_, value)| !value.is_empty());
        let pairs: Vec<_> = set.map(|(name, value)| format!("{name}={}", paths::encode(value))).collect();
        if pairs.is_empty() { page.to_owned() } else { format!("{page}?{}", pairs.join("&")) }
    }

    fn filter(&self, context: &RequestContext) -> Result<Filter, String> {
        let id = |text: &str, what: &str| match text.trim() {
            "" => Ok(None),
            "me" if what == "actor" => Ok(context.cookie.as_ref().map(|cookie| cookie.user)),
            text => form::id(text).map(Some).ok_or_else(|| format!("That is not the id of an {what}.")),
        };
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let before = match self.before.as_str() {
            "" => Place::at(moment(&self.to, Tz::UTC)?.unwrap_or(Moment::LAST.at())),
            before => place(before).ok_or("There is no such page of the audit.")?,
        };
        Ok(Filter {
            region: self.region(context)?,
            actor: id(&self.actor, "actor")?,
            action: text(&self.action),
            aggregate_type: text(&self.object),
            aggregate_id: id(&self.id, "object")?,
            from: moment(&self.from, Tz::UTC)?.unwrap_or(DateTime::UNIX_EPOCH),
            before,
        })
    }

    fn region(&self, context: &RequestContext) -> Result<RegionCode, String> {
        if self.region.is_empty() {
            return Ok(context.service.here.clone());
        }
        let known = context.catalogue.regions.iter().find(|region| region.code.as_str() == self.region);
        known.map(|region| region.code.clone()).ok_or_else(|| "There is no such region.".to_owned())
    }
}

fn place(text: &str) -> Option<Place> {
    let mut parts = text.split('.');
    let at = Moment::from_micros(parts.next()?)?.at();
    let (object, id) = (parts.next()?.to_owned(), form::id(parts.next()?)?);
    Some(Place(at, object, id, parts.next()?.parse::<Version>().ok()?.get()))
}

fn place_text(Place(at, object, id, version): &Place) -> String {
    format!("{}.{object}.{id}.{version}", at.timestamp_micros())
}

async fn read(
    context: &mut RequestContext,
    filter: &Filter,
    limit: usize,
) -> Result<(CurrentUser, Sees, Found), PageError> {
    context.names(&filter.region);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut sees = Sees::of(context.cookie.as_ref().map_or(&[], |cookie| &cookie.roles));
    loop {
        let (current_user, found) = context
            .read_signed_in(&filter.region, async |conn| {
                if sees.is_nothing() { Ok(Found::default()) } else { audit::list(conn, filter, &sees, limit).await }
            })
            .await?;
        let now = Sees::of(&current_user.roles);
        if now.is_nothing() {
            return Err(PageError::Refused(Refusal::NotOperator));
        }
        if now == sees {
            return Ok((current_user, sees, found));
        }
        sees = now;
    }
}

pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> Result<HttpResponse, PageError> {
    let (filter, error) = match query.filter(&context) {
        Ok(filter) => (filter, None),
        // Nothing fits, but whoever may not see the page is refused.
        Err(error) => {
            let all = Parameters::default().filter(&context).map_err(PageError::Bug)?;
            (Filter { before: Place::at(DateTime::UNIX_EPOCH), ..all }, Some(error))
        }
    };
    let (current_user, sees, Found { mut events, searched_to }) = read(&mut context, &filter, PAGE + 1).await?;
    let more = events.len() > PAGE;
    events.truncate(PAGE);
    let searched_to = searched_to.filter(|_| !more);
    let last = searched_to.as_ref().or_else(|| events.last().filter(|_| more).map(|last| &last.place)).map(place_text);
    let page = AuditPage {
        layout: layout(&context, Some(&current_user), "Audit", Section::Fleet, context.city()),
        catalogue: &context.catalogue,
        parameters: &query,
        region: &filter.region,
        sees,
        events,
        export: query.address("/fleet/audit.csv", ""),
        newest: (!query.before.is_empty()).then(|| query.address("/fleet/audit", "")),
        searched_to: searched_to.map(|place| place.0),
        older: last.map(|before| query.address("/fleet/audit", &before)),
        error,
    };
    if page.error.is_some() { context.wrong(&page) } else { context.ok(&page) }
}

/// The rest of an export: events that were read and not yet sent.
struct Left {
    service: Arc<Service>,
    filter: Filter,
    sees: Sees,
    found: Found,
    begun: bool,
}

/// `GET /fleet/audit.csv`: all that fit, newest first, read a thousand at a time.
pub async fn export(mut context: RequestContext, Query(query): Query<Parameters>) -> Result<HttpResponse, PageError> {
    let query = Parameters { before: String::new(), ..query };
    let filter = query.filter(&context).map_err(|_wrong| PageError::BadRequest("There is no such audit."))?;
    let (_, sees, found) = read(&mut context, &filter, CHUNK).await?;
    let left = Left { service: Arc::clone(&context.service), filter, sees, found, begun: false };
    let body = stream::try_unfold(left, |mut left| async move {
        let Found { events, searched_to } = &left.found;
        if events.is_empty() && searched_to.is_none() && left.begun {
            return Ok(None);
        }
        let text = csv(&left);
        let full = events.last().filter(|_| events.len() == CHUNK).map(|last| &last.place);
        left.found = match searched_to.as_ref().or(full).cloned() {
            Some(last) => {
                left.filter.before = last;
                let conn = left.service.db.at(&left.filter.region).await?;
                audit::list(&conn, &left.filter, &left.sees, i64::try_from(CHUNK).unwrap_or(i64::MAX)).await?
            }
            None => Found::default(),
        };
        left.begun = true;
        Ok::<_, DbError>(Some((text, left)))
    });
    Ok(context.csv("movr-audit.csv", body))
}

const HEAD: [&str; 11] = [
    "occurred_at", "region", "action", "object_type", "object_id", "version", "actor_region", "actor_id",
    "correlation_id", "epoch", "details",
];

/// The next lines, with the head before the first.
fn csv(left: &Left) -> Bytes {
    let mut lines = if left.begun { String::new() } else { head(&HEAD) };
    for event in &left.found.events {
        let Place(at, object, id, version) = &event.place;
        let line = [
            at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
            left.filter.region.as_str().into(),
            escape_formula(&event.action),
            escape_formula(object),
            id.to_string().into(),
            version.to_string().into(),
            event.actor_region.as_deref().unwrap_or_default().into(),
            event.actor.map(|actor| actor.to_string()).unwrap_or_default().into(),
            event.correlation.to_string().into(),
            event.epoch.to_string().into(),
            escape_formula(&event.metadata),
        ];
        write_line(&mut lines, line);
    }
    lines.into()
}
