//! `/fleet`: a city's vehicles for those who operate it, as table and map: filters, three
//! orders, pages by key, everything in the URL. One wait: the session, the list, and every
//! ten seconds the numbers.

use std::sync::Arc;

use actix_web::HttpResponse;
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{jobs, map};
use crate::{
    db::{
        fleet::{self, FleetVehicle},
        sessions::CurrentUser,
    },
    domain::{
        catalogue::{Catalogue, City},
        fleet::{Filter, Key, STATUSES, Sort, status_text},
        refusal::Refusal,
        stored::Moment,
    },
    ops,
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Query},
        layout::{ago, kind_options, layout},
        paths,
        views::{CityView, CountView, FieldView, FleetFiltersView, FleetPage, FleetRow, LinkView, OptionView, Section},
    },
};

/// The filters, as sent.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Filters {
    #[serde(default)]
    pub(super) city: String,
    #[serde(default)]
    status: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    battery: String,
    #[serde(default)]
    idle: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    after: String,
}

/// The city that a fleet's page is about: the one asked for, the one in use if the person
/// operates it, or the first that they operate. Whether they do is decided with the page.
pub fn city_of(context: &RequestContext, asked: &str) -> Result<City, PageError> {
    if !asked.is_empty() {
        return context.catalogue.city(asked).cloned().ok_or(PageError::NotFound);
    }
    let operated = |city: &&City| context.cookie.as_ref().is_some_and(|cookie| cookie.operates(&city.slug));
    let first = || context.catalogue.cities.iter().find(operated);
    Ok(Some(context.city()).filter(operated).or_else(first).unwrap_or_else(|| context.city()).clone())
}

/// The city that was asked for, if the person `may` act there; without one the city in use,
/// or the first that the person operates.
pub fn city_for(
    context: &RequestContext,
    current_user: &CurrentUser,
    asked: &str,
    may: impl Fn(&str) -> bool,
) -> Result<City, PageError> {
    let found = match asked {
        "" if may(&context.city().slug) => Some(context.city()),
        "" => current_user.operated().find_map(|slug| context.catalogue.city(slug)),
        slug => Some(context.catalogue.city(slug).ok_or(PageError::NotFound)?).filter(|_| may(slug)),
    };
    found.cloned().ok_or(PageError::Refused(Refusal::NotOperator))
}

/// Refuses whoever does not operate the city.
pub fn only_operators(current_user: &CurrentUser, city: &str) -> Result<(), PageError> {
    if current_user.operates(city) { Ok(()) } else { Err(PageError::Refused(Refusal::NotOperator)) }
}

impl Filters {
    /// What they mean, or what is wrong with them: field and words.
    pub fn meaning(&self, catalogue: &Catalogue, now: DateTime<Utc>) -> Result<(Filter, Sort), (&'static str, String)> {
        let some = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let number =
            |field: &'static str, text: &String, range: std::ops::RangeInclusive<i64>| match some(text) {
                None => Ok(None),
                Some(text) => text.parse().ok().filter(|n| range.contains(n)).map(Some).ok_or_else(|| {
                    (field, format!("A whole number from {} to {}, please.", range.start(), range.end()))
                }),
            };
        let status = some(&self.status);
        if status.as_ref().is_some_and(|status| !STATUSES.contains(&status.as_str()) && status != "retired") {
            return Err(("status", "There is no such status.".to_owned()));
        }
        let kind = some(&self.kind);
        if kind.as_ref().is_some_and(|kind| catalogue.vehicle_type(kind).is_none()) {
            return Err(("type", "There is no such type of vehicle.".to_owned()));
        }
        let idle = number("idle", &self.idle, 1..=8760)?;
        let filter = Filter {
            status,
            vehicle_type: kind,
            battery_below: number("battery", &self.battery, 1..=100)?,
            idle_since: idle.map(|hours| now - Duration::hours(hours)),
            prefix: some(&self.prefix),
        };
        let sort = match self.sort.as_str() {
            // The order that goes with the filter finds it soonest.
            "" if filter.prefix.is_none() && filter.idle_since.is_some() => Sort::Seen,
            "" if filter.prefix.is_none() && filter.battery_below.is_some() => Sort::Battery,
            "" | "code" => Sort::Code,
            "battery" => Sort::Battery,
            "seen" => Sort::Seen,
            _ => return Err(("sort", "There is no such order.".to_owned())),
        };
        Ok((filter, sort))
    }

    /// Those of a file or a change of all that match, drawn at `now`; or what is wrong.
    pub fn filter(&self, catalogue: &Catalogue, now: DateTime<Utc>) -> Result<Filter, String> {
        self.meaning(catalogue, now)
            .map(|(filter, _)| filter)
            .map_err(|(field, words)| format!("The filter {field}: {words}"))
    }

    /// They as a query, with another status if one is given; each begins with `&`.
    fn query(&self, status: Option<&str>) -> String {
        let pairs = self.set(status);
        pairs.iter().map(|(name, value)| ["&", name, "=", &paths::encode(value)].concat()).collect()
    }

    /// Those that are set.
    fn set(&self, status: Option<&str>) -> Vec<(&'static str, String)> {
        let status = status.unwrap_or(&self.status);
        let pairs = [
            ("status", status),
            ("type", &self.kind),
            ("battery", &self.battery),
            ("idle", &self.idle),
            ("prefix", &self.prefix),
            ("sort", &self.sort),
        ];
        let set = pairs.iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    fn behind(&self, sort: Sort) -> Option<(Key, Uuid)> {
        let (key, id) = self.after.rsplit_once('~')?;
        let key = match sort {
            Sort::Code => Key::Code(key.to_owned()),
            Sort::Battery => Key::Battery(key.parse().ok()?),
            Sort::Seen => Key::Seen(Moment::from_micros(key)?.at()),
        };
        Some((key, form::id(id)?))
    }
}

/// Where a list goes on, as its URL says it.
fn after(key: &Key, id: Uuid) -> String {
    let key = match key {
        Key::Code(code) => code.clone(),
        Key::Battery(battery) => battery.to_string(),
        Key::Seen(at) => at.timestamp_micros().to_string(),
    };
    paths::encode(&format!("{key}~{id}"))
}

/// `GET /fleet`. With wrong filters: 422, and the list without them.
pub async fn list(mut context: RequestContext, Query(filters): Query<Filters>) -> Result<HttpResponse, PageError> {
    let city = city_of(&context, &filters.city)?;
    let meant = filters.meaning(&context.catalogue, context.now);
    let (filter, sort) = meant.clone().unwrap_or_default();
    let behind = filters.behind(sort).filter(|_| meant.is_ok());
    let (service, now) = (Arc::clone(&context.service), context.now);
    let (current_user, (part, counts)) = context
        .read_signed_in(&city.region, async |conn| {
            let list = fleet::list(conn, (&city.region, &city.slug), &filter, sort, behind.clone());
            let (list, counts) = tokio::join!(list, ops::fleet::counts(&service, conn, &city, now));
            Ok((list?, counts?))
        })
        .await?;
    only_operators(&current_user, &city.slug)?;
    let vehicles: Vec<FleetRow> = part.vehicles.iter().zip(1..).map(|(vehicle, n)| row(vehicle, n, now)).collect();
    let shown = map::Shown {
        label: format!("Map of {} with the vehicles of the list", city.name),
        city: &city,
        pins: part.vehicles.iter().zip(1..).map(|(vehicle, n): (_, usize)| (vehicle.at, n.to_string())).collect(),
        route: Vec::new(),
        me: None,
    };
    let here = |rest: String| format!("{}{rest}", paths::fleet(&city.slug));
    let query = filters.query(None);
    let zone = city.time_zone;
    let page = FleetPage {
        layout: layout(&context, Some(&current_user), &format!("Fleet of {}", city.name), Section::Fleet, &city),
        city: CityView { slug: city.slug.clone(), name: city.name.clone() },
        cities: other_cities(&context, &current_user, &city),
        counts: count_views(&counts.1, &filters, &city),
        counted: counts.0.with_timezone(&zone).format("%H:%M:%S").to_string(),
        form: jobs::empty_form(&context, &current_user, &city),
        first: behind.is_some().then(|| here(query.clone())),
        sparse: part.next.is_some() && vehicles.len() < fleet::PAGE,
        next: part.next.map(|(key, id)| here(format!("{query}&after={}", after(&key, id)))),
        filters: filters_view(&context, &filters, sort, query, meant.as_ref().err()),
        vehicles,
        map: Some(map::view(shown, context.state.config.tiles.as_ref())),
    };
    if meant.is_err() { context.wrong(&page) } else { context.ok(&page) }
}

/// The other cities that the person operates.
fn other_cities(context: &RequestContext, current_user: &CurrentUser, city: &City) -> Vec<LinkView> {
    let others =
        current_user.operated().filter(|slug| *slug != city.slug).filter_map(|slug| context.catalogue.city(slug));
    others.map(|city| LinkView { href: paths::fleet(&city.slug), text: city.name.clone() }).collect()
}

fn count_views(counts: &[(String, i64)], filters: &Filters, city: &City) -> Vec<CountView> {
    let count = |status: &str| CountView {
        status: status.to_owned(),
        text: status_text(status),
        n: counts.iter().find(|(of, _)| of == status).map_or(0, |(_, n)| *n),
        href: format!("{}{}", paths::fleet(&city.slug), filters.query(Some(status))),
        here: filters.status == status,
    };
    STATUSES.into_iter().chain(["retired"]).map(count).collect()
}

/// A vehicle as a row, number `number` on its page.
pub(super) fn row(vehicle: &FleetVehicle, number: usize, now: DateTime<Utc>) -> FleetRow {
    let status = vehicle.shown_status(now);
    FleetRow {
        number,
        href: paths::fleet_vehicle(&vehicle.vehicle),
        key: format!("{}:{}", vehicle.vehicle.id, vehicle.version),
        code: vehicle.code.clone().unwrap_or_else(|| "no code".to_owned()),
        kind: vehicle.vehicle_type.clone(),
        title: format!("{}, {}", vehicle.brand, vehicle.colour),
        status: status.to_owned(),
        status_text: status_text(status),
        battery: vehicle.battery,
        place: vehicle.place.clone(),
        idle: ago(now - vehicle.seen_at),
        note: vehicle.note.clone(),
    }
}

fn filters_view(
    context: &RequestContext,
    filters: &Filters,
    sort: Sort,
    query: String,
    wrong: Option<&(&'static str, String)>,
) -> FleetFiltersView {
    let option = |value: &str, text: &str, chosen: &str| OptionView {
        value: value.to_owned(),
        text: text.to_owned(),
        selected: value == chosen,
    };
    let field = |name: &str, value: &str| FieldView {
        value: value.to_owned(),
        error: wrong.filter(|(field, _)| *field == name).map(|(_, words)| words.clone()),
    };
    let of_status = |status: &str| option(status, status_text(status), &filters.status);
    let statuses = STATUSES.into_iter().chain(["retired"]).map(of_status);
    let idle =
        [("", "Any time"), ("6", "6 hours"), ("24", "1 day"), ("72", "3 days"), ("168", "1 week"), ("720", "30 days")];
    let sorts = [
        ("code", "Code", Sort::Code),
        ("battery", "Lowest battery", Sort::Battery),
        ("seen", "Longest idle", Sort::Seen),
    ];
    let order = |(value, text, of): (&str, &str, Sort)| OptionView { selected: of == sort, ..option(value, text, "") };
    FleetFiltersView {
        statuses: std::iter::once(option("", "All but retired", &filters.status)).chain(statuses).collect(),
        kinds: std::iter::once(option("", "All", &filters.kind))
            .chain(kind_options(&context.catalogue, &filters.kind))
            .collect(),
        idle: idle.into_iter().map(|(value, text)| option(value, text, &filters.idle)).collect(),
        sorts: sorts.into_iter().map(order).collect(),
        battery: field("battery", &filters.battery),
        prefix: field("prefix", &filters.prefix),
        set: filters.set(None),
        query,
    }
}
