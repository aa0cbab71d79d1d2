//! `/vehicles`: the 25 closest available vehicles of a city, as list and map; reserving one, and
//! cancelling the reservation.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header::HeaderName};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    map::{self, MapView, Pin},
    region_of_form,
};
use crate::{
    db::{
        reservations,
        vehicles::{NEAREST_PAGE, Nearby, Search},
    },
    domain::{
        Catalogue, City, Point, PublicVehicle, Refusal, RegionCode, Tariff, VehicleType, catalogue::CITY_RADIUS_KM,
        region::GateState, vehicle::charge,
    },
    ops::{self, Done},
    web::{
        Form, Id, Layout, PageError, PageResult, Pagination, Query, RequestContext, RowPath, Section, filters, form,
        paths,
    },
};

#[derive(Template)]
#[template(path = "pages/vehicles.html")]
struct VehiclesPage<'a> {
    layout: Layout,
    city: &'a City,
    vehicle_types: &'a [VehicleType],
    query: &'a Parameters,
    /// The filters that the list has: none, if they are wrong.
    set: &'a Parameters,
    error: Option<String>,
    /// To what they are the closest, as in "you".
    closest_to: &'static str,
    /// The nearest city to somebody who is in none.
    far_from: Option<&'a City>,
    cards: Vec<Card<'a>>,
    /// Why nothing can be started now, as in "You are already riding".
    blocked: Option<String>,
    stale: Option<String>,
    next: String,
    pagination: Pagination,
    map: MapView,
}

pub(super) struct Card<'a> {
    pub number: usize,
    pub vehicle: &'a Nearby,
    pub tariff: &'a Tariff,
    pub ride: Uuid,
    /// As typed, when it was refused.
    pub promo: &'a str,
}

impl Card<'_> {
    pub fn pin(&self) -> Pin {
        Pin::card(self.vehicle, self.number)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    battery: String,
    /// Where the person is, to about a hundred metres: an address is kept by browsers and proxies.
    lat: String,
    lon: String,
    /// The middle of a map that was moved, as in `40.7128,-74.006`.
    map: String,
    after: String,
}

/// Where the person is, and where the middle of the map is.
type Places = (Option<Point>, Option<Point>);

/// To three decimals, if these are degrees.
fn coarse(text: &str) -> String {
    let degrees = text.trim().parse().ok().filter(|degrees: &f64| degrees.abs() <= 180.0);
    degrees.map_or_else(|| text.to_owned(), |degrees| format!("{degrees:.3}"))
}

impl Parameters {
    /// Type, least charge and places.
    fn filters(&self, catalogue: &Catalogue) -> Result<(Option<&str>, i64, Places), String> {
        let vehicle_type = Some(self.vehicle_type.as_str()).filter(|slug| !slug.is_empty());
        if vehicle_type.is_some_and(|slug| catalogue.vehicle_type(slug).is_none()) {
            return Err("There is no such type of vehicle.".to_owned());
        }
        let battery = match self.battery.as_str() {
            "" => Some(0),
            text => text.parse().ok().filter(|percent| (0..=100).contains(percent)),
        };
        let battery: i64 = battery.ok_or("Please enter a battery level from 0 to 100.")?;
        // In the steps that the cards show, or asking again and again would tell more.
        let (lat, lon) = self.map.split_once(',').unwrap_or_default();
        Ok((vehicle_type, charge(battery + 9), (form::point(&self.lat, &self.lon)?, form::point(lat, lon)?)))
    }

    /// The list with these filters, to which a place is added.
    fn filtered(&self, city: &City) -> String {
        paths::with(&paths::vehicles(&city.slug), [("type", &*self.vehicle_type), ("battery", &self.battery)])
    }

    fn after(&self) -> Option<(f64, Uuid)> {
        let (metres, id) = self.after.split_once('~')?;
        Some((metres.parse().ok().filter(|metres: &f64| *metres >= 0.0)?, form::id(id)?))
    }
}

/// With wrong filters: 422, and the list without them.
pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let query = Parameters { lat: coarse(&query.lat), lon: coarse(&query.lon), ..query };
    let catalogue = Arc::clone(&context.catalogue);
    let slug = if query.city.is_empty() { &context.city().slug } else { &query.city };
    let asked = catalogue.city(slug).ok_or(PageError::NotFound)?;
    let (filters, error) = match query.filters(&catalogue) {
        Ok(filters) => (filters, None),
        Err(error) => (Default::default(), Some(error)),
    };
    let all = Parameters::default();
    let set = if error.is_some() { &all } else { &query };
    let (vehicle_type, battery, (me, middle)) = filters;
    // Whoever shares a position wants what is around them, whichever city was shown before.
    let nearest = me.or(middle).and_then(|point| Some((point, catalogue.nearest_city(point)?)));
    let (city, point, far_from) = match nearest {
        Some((point, nearest)) if nearest.allows(point) => (nearest, Some(point), None),
        // From farther away every vehicle is equally far; the centre says more.
        far => (asked, None, far.filter(|_| me.is_some()).map(|(_, nearest)| nearest)),
    };
    let me = point.filter(|_| me.is_some());
    if context.city().slug != city.slug {
        context.set_city(&city.slug);
        context.may_touch(&city.region);
    }
    let service = Arc::clone(&context.service);
    let search = Search {
        region: &city.region,
        city: &city.slug,
        point: point.unwrap_or(city.centre),
        vehicle_type,
        battery,
        rider: context.cookie.as_ref().map(|cookie| cookie.user),
        after: set.after(),
        now: context.now,
    };
    let (mut near, stale) =
        match context.read(&city.region, async |conn| ops::vehicles::nearest(&service, conn, &search).await).await {
            Ok(near) => {
                service.lists.keep(&search, city.centre, &near);
                (near, None)
            }
            Err(PageError::Db(error)) if error.unreachable() => {
                let stale = ops::vehicles::nearest_stale(&service, &search).await.ok_or(error)?;
                (stale.near, Some((stale.as_of, stale.source)))
            }
            Err(error) => return Err(error),
        };
    let prices = prices(&catalogue, city, context.now);
    let (filtered, place) = (set.filtered(city), [("lat", &*set.lat), ("lon", &set.lon), ("map", &set.map)]);
    let first = paths::with(&filtered, place);
    if !query.lat.is_empty() || !query.lon.is_empty() {
        // Links that lead back to this page tell the place no better than it does.
        context.path.clone_from(&first);
    }
    let next = |last: &Nearby| paths::with(&first, [("after", &*format!("{}~{}", last.distance_m, last.public_id))]);
    let page = i64::try_from(NEAREST_PAGE).unwrap_or(i64::MAX);
    let pagination = Pagination::cut(&mut near, page, search.after.map(|_| first.clone()), next);
    let pins = near.iter().zip(1..).map(|(vehicle, n)| Pin::card(vehicle, n));
    let map = map::vehicles(&context, city, "the vehicles of the list", pins, me);
    let page = VehiclesPage {
        layout: context.layout(&format!("Vehicles in {}", city.name), Section::Vehicles, city),
        city,
        vehicle_types: &catalogue.vehicle_types,
        query: &query,
        set,
        closest_to: match (me, point) {
            (Some(_), _) => "you",
            (None, Some(_)) => "the middle of the map",
            (None, None) => "the city centre",
        },
        far_from,
        cards: near.iter().zip(1..).filter_map(|(vehicle, n)| card(&context, &prices, vehicle, n)).collect(),
        blocked: match stale {
            Some(_) => Some("You cannot reserve or ride here until the region answers.".to_owned()),
            None => blocked(&context, city),
        },
        stale: stale.map(|(as_of, _)| stale_text(&context, &city.region, as_of)),
        next: paths::encode(&context.path),
        // An old list has no more pages, and is searched nowhere else.
        pagination: if stale.is_some() { Pagination::default() } else { pagination },
        map: MapView { search: if stale.is_some() { String::new() } else { filtered }, ..map },
        error,
    };
    let response = context.ok_or_invalid(page.error.is_some(), &page)?;
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

/// "The region Europe West (Belgium) does not answer. This is its list as of 10:15:04 UTC, 3 min ago."
pub fn stale_text(context: &RequestContext, region: &RegionCode, as_of: DateTime<Utc>) -> String {
    let (at, ago) = (as_of.format("%H:%M:%S UTC"), filters::age(context.now - as_of));
    let region = context.catalogue.region_name(region);
    format!("The region {region} does not answer just now. This is its list as of {at}, {ago}.")
}

pub(super) fn blocked(context: &RequestContext, city: &City) -> Option<String> {
    let closed = |region| context.service.gates.last_seen(region).is_some_and(|gate| gate.state != GateState::Writable);
    if closed(&city.region) || context.cookie.as_ref().is_some_and(|cookie| closed(&cookie.region)) {
        return Some("You can reserve and ride again after the pause.".to_owned());
    }
    let riding = || context.cookie.as_ref()?.open_ride.is_some().then_some(Refusal::AlreadyRiding);
    city.refusal().or_else(riding).map(|refusal| context.words(&refusal))
}

/// By vehicle type.
pub(super) fn prices<'a>(
    catalogue: &'a Catalogue,
    city: &City,
    now: DateTime<Utc>,
) -> Vec<(&'a VehicleType, &'a Tariff)> {
    let price = |of: &'a VehicleType| Some((of, catalogue.tariff(&city.slug, &of.slug, now)?));
    catalogue.vehicle_types.iter().filter_map(price).collect()
}

/// None without a price for its type.
pub(super) fn card<'a>(
    context: &'a RequestContext,
    prices: &[(&VehicleType, &'a Tariff)],
    vehicle: &'a Nearby,
    number: usize,
) -> Option<Card<'a>> {
    let (_, tariff) = prices.iter().find(|(of, _)| of.slug == vehicle.vehicle_type)?;
    let (ride, promo) = (context.service.ids.form(), typed_promo(context, vehicle.public_id));
    Some(Card { number, vehicle, tariff, ride, promo })
}

/// The code that was refused for the vehicle with this public id.
pub(super) fn typed_promo(context: &RequestContext, vehicle: Uuid) -> &str {
    let typed = context.flash.as_ref().and_then(|flash| flash.promo.as_ref());
    typed.filter(|(of, _)| *of == vehicle).map_or("", |(_, code)| code)
}

#[derive(Debug, Deserialize)]
pub struct Reserve {
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
}

pub async fn reserve(
    mut context: RequestContext,
    RowPath(vehicle): RowPath<PublicVehicle>,
    Form(form): Form<Reserve>,
) -> PageResult {
    let shown = (form.city.as_str(), form.vehicle_type.as_str());
    let outcome = ops::vehicles::reserve(&context.service, &context.auth()?, &vehicle, shown).await;
    context.ride_changed();
    // Twice is as good as once.
    context.respond(outcome.map(|_| Done::Now), &list_again(&context, &form.city), "Reserved for ten minutes.")
}

#[derive(Debug, Deserialize)]
pub struct Cancel {
    region: RegionCode,
    vehicle: Id,
    #[serde(default)]
    city: String,
}

pub async fn cancel_reservation(mut context: RequestContext, Form(form): Form<Cancel>) -> PageResult {
    region_of_form(&context, &form.region)?;
    let (vehicle, command) = ((&form.region, form.vehicle.0), Uuid::new_v4());
    let outcome = ops::vehicle_write(&context.service, &context.auth()?, vehicle, async |conn, write| {
        reservations::cancel(conn, write, command).await
    })
    .await;
    context.ride_changed();
    context.respond(outcome.map(|_| Done::Now), &list_again(&context, &form.city), "The reservation is cancelled.")
}

/// The list that the person was looking at, with its filters, or that of the city.
pub fn list_again(context: &RequestContext, city: &str) -> String {
    let of_city =
        || context.catalogue.city(city).map_or_else(|| "/vehicles".to_owned(), |city| paths::vehicles(&city.slug));
    context.came_from("/vehicles").unwrap_or_else(of_city)
}
