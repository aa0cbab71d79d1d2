//! `/rides`: start, the list over all regions where the person has ridden, one ride's page (running
//! clock and end form, or receipt), positions.

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{Bytes, Header, Path},
};
use askama::Template;
use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    map::{self, MapView},
    own_rows, region_of_form, row_of_path,
    vehicles::list_again,
};
use crate::{
    db::rides::{self, Ride, RideCompletion},
    domain::{
        catalogue::{Catalogue, City},
        fare::{Discount, Fare, minutes_started},
        geo::Point,
        refusal::Refusal,
        region::RegionCode,
        ride::RideRef,
        stored::Moment,
        vehicle::PublicVehicle,
    },
    ops::{self, Done, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        filters,
        form::{self, Form, FormState, FormWithState, Id, Query},
        layout::{Layout, Pagination, Section, layout},
        limits::TooMany,
        paths,
    },
};

const PAGE: usize = 25;
/// One more, to know whether there is another page.
const PAGE_AND_ONE: i64 = 26;

#[derive(Template)]
#[template(path = "pages/rides.html")]
struct RidesPage<'a> {
    layout: Layout,
    open: Option<OpenRide<'a>>,
    rides: Vec<(&'a Ride, &'a RideCompletion, &'a City)>,
    unreachable: Vec<RegionCode>,
    pagination: Pagination,
}

#[derive(Template)]
#[template(path = "pages/ride.html")]
struct RidePage<'a> {
    layout: Layout,
    ride: &'a Ride,
    vehicle_type: &'a str,
    city: &'a City,
    open: Option<OpenRide<'a>>,
    form: FormState,
    /// Without positions the distance is the straight line.
    straight: bool,
    map: MapView,
}

struct OpenRide<'a> {
    ride: &'a Ride,
    vehicle_type: &'a str,
    city: &'a City,
    elapsed_seconds: i64,
    minutes: i64,
    fare_minor: i64,
}

impl<'a> OpenRide<'a> {
    fn new(catalogue: &'a Catalogue, ride: &'a Ride, now: DateTime<Utc>) -> Option<Self> {
        let minutes = minutes_started(now - ride.started_at);
        Some(Self {
            ride,
            vehicle_type: type_name(catalogue, ride),
            city: catalogue.city(&ride.city)?,
            elapsed_seconds: (now - ride.started_at).num_seconds().max(0),
            minutes,
            fare_minor: Fare::new(ride.rate, minutes, ride.discount, 0).total_minor,
        })
    }
}

fn type_name<'a>(catalogue: &'a Catalogue, ride: &'a Ride) -> &'a str {
    catalogue.vehicle_type(&ride.vehicle_type).map_or(&ride.vehicle_type, |of| &of.name)
}

#[derive(Debug, Deserialize)]
pub struct StartRide {
    region: RegionCode,
    vehicle: Id,
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    ride: Id,
    #[serde(default)]
    promo: String,
}

/// `POST /rides`: starts a ride.
pub async fn start(mut context: RequestContext, Form(form): Form<StartRide>) -> Result<HttpResponse, PageError> {
    region_of_form(&context, &form.region)?;
    let ride = RideRef { id: context.made_by(form.ride, "ride", &form.region)?, region: form.region.clone() };
    let list = list_again(&context, &form.city);
    let start = ops::rides::Start {
        ride: ride.clone(),
        vehicle: PublicVehicle { region: form.region, public_id: form.vehicle.0 },
        city: form.city,
        vehicle_type: form.vehicle_type,
        promo: form.promo,
    };
    if !start.promo.trim().is_empty()
        && let Err(TooMany(wait)) =
            context.state.limits.promo_code(&context.auth()?.user.id.to_string(), &context.address())
    {
        let seconds = wait.as_secs() + 1;
        let text = format!("That were many promo codes. Please wait {seconds} seconds, or start without one.");
        return Ok(context.refused(&list, &text));
    }
    let outcome = ops::rides::start(&context.service, &context.auth()?, start).await;
    context.changed();
    match outcome {
        Ok(Done::Now) => Ok(context.done(&paths::ride(&ride), "Your ride has started. Have a safe one.")),
        Ok(Done::Before) => Ok(context.done(&paths::ride(&ride), "")),
        Err(error) => context.respond(Err(error), &list, ""),
    }
}

/// The cursor: `TIME~ID` of the last ride.
#[derive(Debug, Deserialize)]
pub struct Parameters {
    #[serde(default)]
    before: String,
}

impl Parameters {
    fn cursor(&self) -> Result<Option<(DateTime<Utc>, Uuid)>, PageError> {
        if self.before.is_empty() {
            return Ok(None);
        }
        let parse = || {
            let (at, id) = self.before.split_once('~')?;
            Some((Moment::from_micros(at)?.at(), form::id(id)?))
        };
        parse().map(Some).ok_or(PageError::BadRequest("There is no such page of the list."))
    }
}

pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> Result<HttpResponse, PageError> {
    let later = query.cursor()?;
    let cursor = later.unwrap_or((context.now + chrono::Duration::days(1), Uuid::nil()));
    let own =
        own_rows(&mut context, async |conn, region, me| rides::list_own(conn, region, me, cursor, PAGE_AND_ONE).await)
            .await?;
    let mut found: Vec<Ride> = own.found.into_iter().flat_map(|(_, rides)| rides).collect();
    found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.ride.id.cmp(&b.ride.id)));
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let last = found.last().filter(|_| more);
    let catalogue = &context.catalogue;
    let open = found.iter().find(|ride| ride.ended.is_none());
    let page = RidesPage {
        layout: layout(&context, Some(&own.current_user), "My rides", Section::Rides, context.city()),
        open: open.and_then(|ride| OpenRide::new(catalogue, ride, context.now)),
        rides: found
            .iter()
            .filter_map(|ride| Some((ride, ride.ended.as_ref()?, catalogue.city(&ride.city)?)))
            .collect(),
        unreachable: own.unreachable,
        pagination: Pagination {
            newest: later.map(|_| "/rides".to_owned()),
            older: last.map(|ride| format!("/rides?before={}~{}", ride.started_at.timestamp_micros(), ride.ride.id)),
        },
    };
    context.ok(&page)
}

/// `GET /rides/{region}/{id}`: the person's own ride, or where it is.
pub async fn show(context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    page(context, &path, None).await
}

async fn page(
    mut context: RequestContext,
    path: &(String, String),
    rejected: Option<FormState>,
) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, path)?;
    let key = RideRef { region: region.clone(), id };
    let rider = context.auth()?.user;
    let (current_user, found) =
        context.read_signed_in(&region, async |conn| rides::find_own(conn, &key, &rider).await).await?;
    let (ride, track) = found.ok_or(PageError::NotFound)?;
    let city = context.catalogue.city(&ride.city).ok_or(PageError::NotFound)?;
    let title = format!("Ride {}", ride.number());
    let wrong = rejected.is_some();
    let page = RidePage {
        layout: layout(&context, Some(&current_user), &title, Section::Rides, city),
        ride: &ride,
        vehicle_type: type_name(&context.catalogue, &ride),
        city,
        open: if ride.ended.is_none() { OpenRide::new(&context.catalogue, &ride, context.now) } else { None },
        form: rejected.unwrap_or_default(),
        straight: track.is_empty(),
        map: map::view(&context, track_map(&ride, city, track)),
    };
    if wrong { context.wrong(&page) } else { context.ok(&page) }
}

fn track_map<'a>(ride: &Ride, city: &'a City, track: Vec<Point>) -> map::Shown<'a> {
    let mut route = vec![ride.start];
    route.extend(track);
    let mut pins = vec![(ride.start, "A".to_owned())];
    if let Some(ended) = &ride.ended {
        route.push(ended.point);
        pins.push((ended.point, "B".to_owned()));
    }
    map::Shown { label: format!("Map of {} with the way of the ride", city.name), city, pins, route, me: None }
}

#[derive(Debug, Deserialize)]
pub struct EndRide {
    city: String,
    #[serde(default)]
    lat: String,
    #[serde(default)]
    lon: String,
}

/// `POST /rides/{region}/{id}/end`: ends the person's own ride.
pub async fn end(
    mut context: RequestContext,
    path: Path<(String, String)>,
    FormWithState(form, mut state): FormWithState<EndRide>,
) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, &path)?;
    let ride = RideRef { region, id };
    let checked = form::point(&form.lat, &form.lon).and_then(|at| {
        let at = at.ok_or("Please say where you leave the vehicle: nobody else knows.")?;
        context.catalogue.city(&form.city).ok_or("There is no such city.")?.check(at)
    });
    let at = match checked {
        Ok(at) => at,
        Err(error) => {
            state.error = Some(error);
            return page(context, &path, Some(state)).await;
        }
    };
    let outcome = ops::rides::end(&context.service, &context.auth()?, &ride, &form.city, at).await;
    context.changed();
    let page = paths::ride(&ride);
    match outcome {
        Err(OpError::Refused(Refusal::NoSuchRide)) => Err(PageError::NotFound),
        Err(OpError::Refused(Refusal::SignedOut)) => Err(PageError::SignIn(paths::login(&page))),
        outcome => context.respond(outcome.map(|_| Done::Now), &page, "Your ride has ended. Here is your receipt."),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    positions: Vec<Position>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    at: Moment,
    lat: f64,
    lon: f64,
}

const BATCH: usize = 100;

/// `POST /rides/{region}/{id}/positions`: 204, or why not.
pub async fn positions(
    mut context: RequestContext,
    path: Path<(String, String)>,
    content_type: Header<ContentType>,
    body: Bytes,
) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, &path)?;
    let position = |p: &Position| Some((p.at.at().trunc_subsecs(0), Point::new(p.lat, p.lon).ok()?));
    let read = || {
        let json = content_type.essence_str() == "application/json";
        let batch = serde_json::from_slice::<Batch>(&body).ok();
        let batch = batch.filter(|batch| json && batch.positions.len() <= BATCH)?;
        batch.positions.iter().map(position).collect::<Option<Vec<_>>>()
    };
    let positions = read().ok_or(PageError::BadRequest("Positions are JSON: up to 100 of at, lat and lon."))?;
    let ride = RideRef { region, id };
    let auth = context.auth()?;
    match ops::rides::add_positions(&context.service, &auth, &ride, &context.city().slug, &positions).await {
        Ok(_) => {
            context.used(auth);
            Ok(context.finish(HttpResponse::NoContent().finish()))
        }
        Err(OpError::Refused(Refusal::NoSuchRide)) => Err(PageError::NotFound),
        Err(error) => Err(error.into()),
    }
}
