//! `/fleet/audit`: the events of one region, and the same as a file. Administrators see all of
//! them, operators those of their cities' vehicles and jobs. The statement depends on the roles:
//! those of the cookie are tried, and if the row at home differs the page is read once more.

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

use crate::{
    db::audit::{self, Event, Filter, Found, Place},
    domain::{
        Catalogue, Moment, Refusal, RegionCode, Roles, Version,
        csv::{escape_formula, head, write_line},
    },
    web::{Layout, PageError, PageResult, Pagination, Query, RequestContext, Section, filters, form, paths},
};

const PAGE: i64 = 50;
const CHUNK: i64 = 1000;

const OBJECTS: [(&str, &str); 12] = [
    ("", "All"),
    ("vehicle", "Vehicles"),
    ("ride", "Rides"),
    ("rider_request", "Rider look-ups"),
    ("job", "Jobs"),
    ("task", "Tasks"),
    ("user", "People"),
    ("session", "Sessions"),
    ("people_search", "People searches"),
    ("region", "Regions"),
    ("catalogue", "Catalogue"),
    ("residency_refusal", "Residency refusals"),
];

#[derive(Template)]
#[template(path = "pages/audit.html")]
struct AuditPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    parameters: &'a Parameters,
    region: &'a RegionCode,
    roles: Roles,
    events: Vec<Event>,
    export: String,
    /// How far back the search went, if that was too little for a page.
    searched_to: Option<DateTime<Utc>>,
    pagination: Pagination,
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
            ("region", &*self.region),
            ("actor", &self.actor),
            ("action", &self.action),
            ("type", &self.object),
            ("id", &self.id),
            ("from", &self.from),
            ("to", &self.to),
            ("before", before),
        ];
        paths::with(page, fields)
    }

    fn filter(&self, context: &RequestContext) -> Result<Filter, String> {
        let id = |text: &str, what: &str| match text.trim() {
            "" => Ok(None),
            "me" if what == "actor" => Ok(context.cookie.as_ref().map(|cookie| cookie.user)),
            text => form::id(text).map(Some).ok_or_else(|| format!("That is not the id of an {what}.")),
        };
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let before = match self.before.as_str() {
            "" => Place::at(form::moment(&self.to, Tz::UTC)?.unwrap_or(Moment::LAST.at())),
            before => place(before).ok_or("There is no such page of the audit.")?,
        };
        if !OBJECTS.iter().any(|(object, _)| *object == self.object) {
            return Err("There is no such kind of object.".to_owned());
        }
        Ok(Filter {
            region: self.region(context)?,
            actor: id(&self.actor, "actor")?,
            action: text(&self.action),
            aggregate_type: text(&self.object),
            aggregate_id: id(&self.id, "object")?,
            from: form::moment(&self.from, Tz::UTC)?.unwrap_or(DateTime::UNIX_EPOCH),
            before,
        })
    }

    fn region(&self, context: &RequestContext) -> Result<RegionCode, String> {
        if self.region.is_empty() {
            return Ok(context.service.here.clone());
        }
        let known = |code: &RegionCode| context.catalogue.region(code).is_some();
        self.region.parse().ok().filter(known).ok_or_else(|| "There is no such region.".to_owned())
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

/// The events that the person may see, whose roles decide which.
async fn read(context: &mut RequestContext, filter: &Filter, limit: i64) -> PageResult<(Roles, Found)> {
    context.may_touch(&filter.region);
    let mut roles = context.cookie.as_ref().map(|cookie| cookie.roles.clone()).unwrap_or_default();
    loop {
        let (current_user, found) = context
            .read_signed_in(&filter.region, async |conn| {
                if roles.is_empty() { Ok(Found::default()) } else { audit::list(conn, filter, &roles, limit).await }
            })
            .await?;
        if current_user.roles.is_empty() {
            return Err(Refusal::NotOperator.into());
        }
        if current_user.roles == roles {
            return Ok((roles, found));
        }
        roles = current_user.roles;
    }
}

pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    // With wrong filters: the list of the region without them.
    let region = query.region(&context).map(|code| code.to_string()).unwrap_or_default();
    let all = Parameters { region, ..Parameters::default() };
    let (filter, error) = match query.filter(&context) {
        Ok(filter) => (filter, None),
        Err(error) => (all.filter(&context).map_err(PageError::Bug)?, Some(error)),
    };
    let set = if error.is_some() { &all } else { &query };
    let (roles, Found { mut events, searched_to }) = read(&mut context, &filter, PAGE + 1).await?;
    let newest = (!set.before.is_empty()).then(|| set.address("/fleet/audit", ""));
    let next = |last: &Place| set.address("/fleet/audit", &place_text(last));
    let pagination = Pagination::cut(&mut events, PAGE, newest, |last| next(&last.place));
    let pagination = pagination.or_search(searched_to.as_ref().map(next));
    let page = AuditPage {
        layout: context.layout("Audit", Section::Fleet, context.city()),
        catalogue: &context.catalogue,
        parameters: &query,
        region: &filter.region,
        roles,
        events,
        export: set.address("/fleet/audit.csv", ""),
        searched_to: searched_to.filter(|_| pagination.sparse).map(|place| place.0),
        pagination,
        error,
    };
    context.ok_or_invalid(page.error.is_some(), &page)
}

/// `GET /fleet/audit.csv`: all that fit, newest first, read a thousand at a time. With wrong filters:
/// their page.
pub async fn export(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let query = Parameters { before: String::new(), ..query };
    let Ok(filter) = query.filter(&context) else {
        return list(context, Query(query)).await;
    };
    context.may_touch(&filter.region);
    let roles = context.current_user().await?.roles;
    if roles.is_empty() {
        return Err(Refusal::NotOperator.into());
    }
    let service = Arc::clone(&context.service);
    let found = audit::list(&service.db.at(&filter.region).await?, &filter, &roles, CHUNK).await?;
    let (text, next) = csv(&filter.region, found);
    let read = async move |before| {
        let filter = Filter { before, ..filter.clone() };
        let conn = service.db.at(&filter.region).await?;
        Ok(csv(&filter.region, audit::list(&conn, &filter, &roles, CHUNK).await?))
    };
    Ok(context.csv("movr-audit.csv", (head(&HEAD) + &text, next), read))
}

const HEAD: [&str; 11] = [
    "occurred_at", "region", "action", "object_type", "object_id", "version", "actor_region", "actor_id",
    "correlation_id", "epoch", "details",
];

/// The lines of these events, and before which event the search goes on.
fn csv(region: &RegionCode, Found { events, searched_to }: Found) -> (String, Option<Place>) {
    let mut lines = String::new();
    for event in &events {
        let Place(at, object, id, version) = &event.place;
        let line = [
            at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
            region.as_str().into(),
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
    let full = i64::try_from(events.len()) == Ok(CHUNK);
    (lines, searched_to.or_else(|| events.into_iter().last().filter(|_| full).map(|last| last.place)))
}
