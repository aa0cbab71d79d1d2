//! `/fleet`: a city's vehicles for its operators, as table and map: filters, three orders, pages by
//! key, everything in the URL. One wait for the session, the list, and every ten seconds the
//! numbers.

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{city_of, jobs::JobFields, map, others_operated, read_operated};
use crate::{
    db::fleet::{self, FleetVehicle},
    domain::{
        Catalogue, City, Moment,
        fleet::{Filter, Key, NOTE_MAX, STATUSES, Sort, status_text},
    },
    ops,
    web::{FormState, Layout, PageResult, Pagination, Query, RequestContext, Section, filters, form, paths},
};

/// Hours for which a vehicle stands idle.
const IDLE: [(&str, &str); 6] =
    [("", "Any time"), ("6", "6 hours"), ("24", "1 day"), ("72", "3 days"), ("168", "1 week"), ("720", "30 days")];
/// Without a choice the order is that of the filter, as in the lowest battery first.
const SORTS: [(&str, &str); 4] =
    [("", "Automatic"), ("code", "Code"), ("battery", "Lowest battery"), ("seen", "Longest idle")];

#[derive(Template)]
#[template(path = "pages/fleet.html")]
struct FleetPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    now: DateTime<Utc>,
    city: &'a City,
    cities: Vec<&'a City>,
    /// By status, and when they were counted, as in "10:15:04".
    counts: Vec<(&'static str, i64)>,
    counted: String,
    /// As typed.
    query: &'a FleetQuery,
    /// Those that the list has: none, if they are wrong.
    set: &'a FleetQuery,
    /// What is wrong with the filters.
    filters: FormState,
    new_job: JobFields<'a>,
    /// Vehicles that match, where that is known.
    total: Option<i64>,
    chosen: Vec<Uuid>,
    vehicles: Vec<FleetVehicle>,
    pagination: Pagination,
    map: map::MapView,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FleetQuery {
    pub(super) city: String,
    pub(super) status: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    battery: String,
    idle: String,
    code: String,
    sort: String,
    after: String,
}

impl FleetQuery {
    /// On failure the field and the words.
    pub(super) fn parse(
        &self,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Result<(Filter, Sort), (&'static str, String)> {
        let some = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let number = |field: &'static str, text: &String, range: std::ops::RangeInclusive<i64>| match some(text) {
            None => Ok(None),
            Some(text) => text.parse().ok().filter(|n| range.contains(n)).map(Some).ok_or_else(|| {
                (field, format!("Please enter a whole number from {} to {}.", range.start(), range.end()))
            }),
        };
        let status = some(&self.status);
        if status.as_ref().is_some_and(|status| !STATUSES.contains(&status.as_str()) && status != "retired") {
            return Err(("status", "There is no such status.".to_owned()));
        }
        let vehicle_type = some(&self.vehicle_type);
        if vehicle_type.as_ref().is_some_and(|slug| catalogue.vehicle_type(slug).is_none()) {
            return Err(("type", "There is no such type of vehicle.".to_owned()));
        }
        let idle = number("idle", &self.idle, 1..=8760)?;
        let filter = Filter {
            status,
            vehicle_type,
            battery_below: number("battery", &self.battery, 1..=100)?,
            idle_since: idle.map(|hours| now - Duration::hours(hours)),
            code: some(&self.code),
        };
        let sort = match self.sort.as_str() {
            // The order that goes with the filter finds it soonest.
            "" if filter.code.is_none() && filter.idle_since.is_some() => Sort::Seen,
            "" if filter.code.is_none() && filter.battery_below.is_some() => Sort::Battery,
            "" | "code" => Sort::Code,
            "battery" => Sort::Battery,
            "seen" => Sort::Seen,
            _ => return Err(("sort", "There is no such order.".to_owned())),
        };
        Ok((filter, sort))
    }

    /// As a query with this status; each parameter begins with `&`.
    pub(super) fn with_status(&self, status: &str) -> String {
        self.pairs(status).map(|(name, value)| ["&", name, "=", &paths::encode(value)].concat()).collect()
    }

    fn pairs<'a>(&'a self, status: &'a str) -> impl Iterator<Item = (&'static str, &'a str)> {
        let pairs = [
            ("status", status),
            ("type", &self.vehicle_type),
            ("battery", &self.battery),
            ("idle", &self.idle),
            ("code", &self.code),
            ("sort", &self.sort),
        ];
        pairs.into_iter().filter(|(_, value)| !value.is_empty())
    }

    pub(super) fn cursor(&self, sort: Sort) -> Option<(Key, Uuid)> {
        let (key, id) = self.after.rsplit_once('~')?;
        let key = match sort {
            Sort::Code => Key::Code(key.to_owned()),
            Sort::Battery => Key::Battery(key.parse().ok()?),
            Sort::Seen => Key::Seen(Moment::from_micros(key)?.at()),
        };
        Some((key, form::id(id)?))
    }
}

/// The cursor as the URL has it.
pub(super) fn after(key: &Key, id: Uuid) -> String {
    let key = match key {
        Key::Code(code) => code.clone(),
        Key::Battery(battery) => battery.to_string(),
        Key::Seen(at) => at.timestamp_micros().to_string(),
    };
    paths::encode(&format!("{key}~{id}"))
}

/// `GET /fleet`. With wrong filters: 422, and the list without them.
pub async fn list(context: RequestContext, Query(query): Query<FleetQuery>) -> PageResult {
    page(context, query, FormState::default(), Vec::new()).await
}

/// With what was chosen and typed for a job that was refused.
pub(super) async fn page(
    mut context: RequestContext,
    query: FleetQuery,
    job: FormState,
    chosen: Vec<Uuid>,
) -> PageResult {
    let city = city_of(&context, &query.city)?;
    let mut filters = FormState::default();
    let parsed = query.parse(&context.catalogue, context.now);
    let (filter, sort) = parsed.unwrap_or_else(|(field, words)| {
        match field {
            "battery" => filters.reject(field, words),
            // Not typed but chosen, if it comes from a form of ours.
            _ => filters.error = Some(words),
        }
        Default::default()
    });
    let all = FleetQuery::default();
    let set = if filters.has_errors() { &all } else { &query };
    let cursor = set.cursor(sort);
    let (service, now) = (Arc::clone(&context.service), context.now);
    let (current_user, (page, (counted_at, counts))) = read_operated(&mut context, &city, async |conn| {
        let list = fleet::list(conn, (&city.region, &city.slug), &filter, sort, cursor.clone());
        let (list, counts) = tokio::join!(list, ops::counts::by_status(&service, conn, &city, now));
        Ok((list?, counts?))
    })
    .await?;
    let pins = page.vehicles.iter().map(|vehicle| map::Pin::fleet(vehicle, now));
    let map = map::vehicles(&context, &city, "the vehicles of the list", pins, None);
    let count = |status| (status, counts.iter().find(|(of, _)| of == status).map_or(0, |(_, n)| *n));
    let here = format!("{}{}", paths::fleet(&city.slug), set.with_status(&set.status));
    let older = page.next.as_ref().map(|(key, id)| format!("{here}&after={}", after(key, *id)));
    let counts: Vec<_> = STATUSES.into_iter().chain(["retired"]).map(count).collect();
    let of_status = |status: &str| set.status.is_empty() && status != "retired" || set.status == status;
    let whole = cursor.is_none() && older.is_none();
    let total = match &filter {
        _ if whole => i64::try_from(page.vehicles.len()).ok(),
        Filter { vehicle_type: None, battery_below: None, idle_since: None, code: None, .. } => {
            Some(counts.iter().filter(|(status, _)| of_status(status)).map(|(_, n)| n).sum())
        }
        _ => None,
    };
    let rejected = filters.has_errors() || job.has_errors();
    let page = FleetPage {
        layout: context.layout(&format!("Fleet of {}", city.name), Section::Fleet, &city),
        catalogue: &context.catalogue,
        now,
        city: &city,
        cities: others_operated(&context, &current_user.roles, &city),
        counts,
        counted: counted_at.with_timezone(&city.time_zone).format("%H:%M:%S %Z").to_string(),
        query: &query,
        set,
        filters,
        new_job: JobFields::new(&context, &current_user.roles, &city, job),
        total,
        chosen,
        pagination: Pagination {
            newest: cursor.is_some().then_some(here),
            sparse: older.is_some() && page.vehicles.len() < fleet::PAGE,
            older,
        },
        vehicles: page.vehicles,
        map,
    };
    context.ok_or_invalid(rejected, &page)
}
