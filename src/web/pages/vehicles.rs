//! `/vehicles`: the 25 closest available vehicles of a city, as list and map; reserving
//! one, and giving the reservation up.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header::HeaderName, web::Path};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{map, region_of_form, row_of_path};
use crate::{
    db::{
        sessions::CurrentUser,
        vehicles::{Nearby, Search},
    },
    domain::{
        catalogue::{City, Tariff, VehicleType},
        geo::Point,
        refusal::Refusal,
        region::RegionCode,
        vehicle::{PublicVehicle, charge},
    },
    ops::{self, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form, Id, Query},
        layout::{self, distance, kind_options, layout},
        paths,
        views::{CityView, FiltersView, OptionView, Section, VehicleCard, VehiclesPage},
    },
};

/// The filters, as sent.
#[derive(Debug, Default, Deserialize)]
pub struct Filters {
    #[serde(default)]
    city: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    battery: String,
    #[serde(default)]
    lat: String,
    #[serde(default)]
    lon: String,
}

/// Who is farther than this from a city's centre is not in it, in metres.
const NEAR_M: f64 = 50_000.0;

/// "$1.00 + $0.24/min".
pub fn tariff_text(city: &City, tariff: &Tariff) -> String {
    let money = |minor| city.currency.format(minor);
    format!("{} + {}/min", money(tariff.unlock_minor), money(tariff.per_minute_minor))
}

/// What the filters mean: type, battery, point; or what is wrong with them.
fn meaning(context: &RequestContext, filters: &Filters) -> Result<(Option<String>, i64, Option<Point>), String> {
    let kind = Some(filters.kind.clone()).filter(|kind| !kind.is_empty());
    if kind.as_ref().is_some_and(|kind| context.catalogue.vehicle_type(kind).is_none()) {
        return Err("There is no such type of vehicle.".to_owned());
    }
    let battery = match filters.battery.as_str() {
        "" => Some(0),
        text => text.parse().ok().filter(|percent| (0..=100).contains(percent)),
    };
    let battery: i64 = battery.ok_or("The least battery is a number from 0 to 100.")?;
    // In the steps that the cards show, or asking again and again would tell more.
    let battery = charge(battery + 9);
    Ok((kind, battery, form::point(&filters.lat, &filters.lon)?))
}

/// The list. With wrong filters: 422, and the list without them.
pub async fn list(mut context: RequestContext, Query(filters): Query<Filters>) -> Result<HttpResponse, PageError> {
    let catalogue = std::sync::Arc::clone(&context.catalogue);
    let city = match filters.city.as_str() {
        "" => context.city().clone(),
        slug => {
            let city = catalogue.city(slug).ok_or(PageError::NotFound)?.clone();
            if context.city().slug != city.slug {
                context.set_city(&city.slug);
            }
            city
        }
    };
    let meant = meaning(&context, &filters);
    let (kind, battery, me) = meant.clone().unwrap_or((None, 0, None));
    // From farther away every vehicle is equally far; the centre says more.
    let me = me.filter(|me| me.distance_m(city.centre) < NEAR_M);
    let service = Arc::clone(&context.service);
    let search = Search {
        region: &city.region,
        city: &city.slug,
        point: me.unwrap_or(city.centre),
        vehicle_type: kind.as_deref(),
        battery,
        rider: context.cookie.as_ref().map(|cookie| cookie.user),
        now: context.now,
    };
    let (current_user, near, stale) =
        match context.read(&city.region, async |conn| ops::vehicles::nearest(&service, conn, &search).await).await {
            Ok((current_user, near)) => {
                service.lists.keep(&search, city.centre, &near);
                (current_user, near, None)
            }
            Err(PageError::Db(error)) if error.unreachable() => {
                let Some(stale) = ops::vehicles::nearest_stale(&service, &search).await else {
                    return Err(error.into());
                };
                (None, stale.near, Some((stale.as_of, stale.source)))
            }
            Err(error) => return Err(error),
        };
    let mut page = page(&context, current_user.as_ref(), &city, &filters, meant.as_ref().err(), me, &near);
    if let Some((as_of, _)) = stale {
        page.stale = Some(stale_text(&context, &city.region, as_of));
        page.blocked = Some("Reserving and riding here is not possible until the region answers.".to_owned());
    }
    let response = if meant.is_err() { context.wrong(&page) } else { context.ok(&page) }?;
    Ok(with_freshness(response, context.now, stale))
}

/// `X-Movr-Freshness`: how old the list is, in seconds, and where it comes from.
pub fn with_freshness(
    mut response: HttpResponse,
    now: DateTime<Utc>,
    stale: Option<(DateTime<Utc>, &str)>,
) -> HttpResponse {
    let (age, source) = stale.map_or((0, "strong"), |(as_of, source)| ((now - as_of).num_seconds().max(0), source));
    if let Ok(value) = format!("{age}; source={source}").parse() {
        response.headers_mut().insert(HeaderName::from_static("x-movr-freshness"), value);
    }
    response
}

/// "The region europe-west1 does not answer. This is its list as of 10:15:04 UTC, 3 min ago."
pub fn stale_text(context: &RequestContext, region: &RegionCode, as_of: DateTime<Utc>) -> String {
    let (at, ago) = (as_of.format("%H:%M:%S UTC"), layout::ago(context.now - as_of));
    format!("The region {region} does not answer just now. This is its list as of {at}, {ago}.")
}

fn page(
    context: &RequestContext,
    current_user: Option<&CurrentUser>,
    city: &City,
    filters: &Filters,
    wrong: Option<&String>,
    me: Option<Point>,
    near: &[Nearby],
) -> VehiclesPage {
    let shown = map::Shown {
        label: format!("Map of {} with the vehicles of the list", city.name),
        city,
        pins: near.iter().zip(1..).map(|(vehicle, n): (_, usize)| (vehicle.at, n.to_string())).collect(),
        route: Vec::new(),
        me,
    };
    let prices = prices(context, city);
    VehiclesPage {
        layout: layout(context, current_user, &format!("Vehicles in {}", city.name), Section::Vehicles, city),
        city: CityView { slug: city.slug.clone(), name: city.name.clone() },
        region: city.region.to_string(),
        filters: filters_view(context, filters, wrong),
        measured_to: if me.is_some() { "you" } else { "the city centre" }.to_owned(),
        cards: near.iter().zip(1..).filter_map(|(vehicle, n)| card(context, &prices, city, vehicle, n)).collect(),
        blocked: blocked(context),
        stale: None,
        next: paths::encode(&context.path),
        map: Some(map::view(shown, context.state.config.tiles.as_ref())),
    }
}

/// Why the person cannot take any vehicle now.
pub(super) fn blocked(context: &RequestContext) -> Option<String> {
    let cookie = context.cookie.as_ref()?;
    cookie.open_ride.is_some().then(|| Refusal::AlreadyRiding.message())
}

fn filters_view(context: &RequestContext, filters: &Filters, wrong: Option<&String>) -> FiltersView {
    let any = OptionView { value: String::new(), text: "All".to_owned(), selected: filters.kind.is_empty() };
    let battery = |least: u8| OptionView {
        value: if least == 0 { String::new() } else { least.to_string() },
        text: if least == 0 { "Any".to_owned() } else { format!("{least} % or more") },
        selected: if least == 0 { filters.battery.is_empty() } else { filters.battery == least.to_string() },
    };
    FiltersView {
        kinds: std::iter::once(any).chain(kind_options(&context.catalogue, &filters.kind)).collect(),
        batteries: [0, 20, 50, 80].map(battery).into(),
        point: (!filters.lat.is_empty()).then(|| (filters.lat.clone(), filters.lon.clone())),
        error: wrong.cloned(),
    }
}

/// The prices of a type of vehicle in the city, as the cards show them.
pub(super) struct Price<'a> {
    kind: &'a str,
    ten_minutes: String,
    tariff: String,
}

pub(super) fn prices<'a>(context: &'a RequestContext, city: &City) -> Vec<Price<'a>> {
    let price = |kind: &'a VehicleType| {
        let tariff = context.catalogue.tariff(&city.slug, &kind.slug, context.now)?;
        let ten_minutes = city.currency.format(tariff.fare(10));
        Some(Price { kind: &kind.slug, ten_minutes, tariff: tariff_text(city, tariff) })
    };
    context.catalogue.vehicle_types.iter().filter_map(price).collect()
}

/// The card of a vehicle; none without a price for its type.
pub(super) fn card(
    context: &RequestContext,
    prices: &[Price<'_>],
    city: &City,
    vehicle: &Nearby,
    number: usize,
) -> Option<VehicleCard> {
    let price = prices.iter().find(|price| price.kind == vehicle.vehicle_type)?;
    Some(VehicleCard {
        number,
        id: vehicle.public_id.to_string(),
        kind: vehicle.vehicle_type.clone(),
        title: format!("{}, {} {}", vehicle.brand, vehicle.colour, vehicle.vehicle_type),
        battery: u8::try_from(charge(vehicle.battery)).unwrap_or(0),
        distance: distance(vehicle.distance_m),
        place: vehicle.place.clone(),
        ten_minutes: price.ten_minutes.clone(),
        tariff: price.tariff.clone(),
        reserved_until: vehicle
            .reserved_until
            .map(|until| until.with_timezone(&city.time_zone).format("%H:%M").to_string()),
        ride: context.service.ids.form().to_string(),
    })
}

/// What the page said of a vehicle.
#[derive(Debug, Deserialize)]
pub struct Said {
    city: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Reserves a vehicle for ten minutes.
pub async fn reserve(
    mut context: RequestContext,
    path: Path<(String, String)>,
    Form(said): Form<Said>,
) -> Result<HttpResponse, PageError> {
    let (region, public_id) = row_of_path(&context, &path)?;
    let vehicle = PublicVehicle { region, public_id };
    let outcome = ops::vehicles::reserve(&context.service, &context.auth()?, &vehicle, (&said.city, &said.kind)).await;
    context.changed();
    back(&context, &said.city, outcome, "Reserved for ten minutes.")
}

/// The vehicle whose reservation is given up.
#[derive(Debug, Deserialize)]
pub struct Held {
    region: RegionCode,
    vehicle: Id,
    #[serde(default)]
    city: String,
}

/// Gives up the reservation.
pub async fn cancel_reservation(
    mut context: RequestContext,
    Form(held): Form<Held>,
) -> Result<HttpResponse, PageError> {
    region_of_form(&context, &held.region)?;
    let vehicle = PublicVehicle { region: held.region, public_id: held.vehicle.0 };
    let outcome = ops::vehicles::cancel_reservation(&context.service, &context.auth()?, &vehicle).await;
    context.changed();
    back(&context, &held.city, outcome, "The reservation is cancelled.")
}

/// The list that the person was looking at, with its filters, or that of the city.
pub fn list_again(context: &RequestContext, city: &str) -> String {
    let of_city =
        || context.catalogue.city(city).map_or_else(|| "/vehicles".to_owned(), |city| paths::vehicles(&city.slug));
    context.came_from("/vehicles").unwrap_or_else(of_city)
}

fn back(
    context: &RequestContext,
    city: &str,
    outcome: Result<ops::Done, OpError>,
    done: &str,
) -> Result<HttpResponse, PageError> {
    let list = list_again(context, city);
    match outcome {
        Ok(_) => Ok(context.done(&list, done)),
        Err(OpError::Refused(Refusal::SignedOut)) => Err(context.sign_in_first()),
        Err(OpError::Refused(refusal)) => Ok(context.refused(&list, &refusal.message())),
        Err(error) => Err(error.into()),
    }
}
