//! `/rides`: start, the list over all regions where the person has ridden, one ride's page (running
//! clock and end form, or receipt), positions.

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{Bytes, Header},
};
use askama::Template;
use chrono::{SubsecRound, TimeDelta};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    map::{self, MapView},
    own_rows, region_of_form,
    tasks::ReportForm,
    vehicles::list_again,
};
use crate::{
    db::rides::{self, Ride, RideCompletion},
    domain::{
        Catalogue, City, Moment, Point, PublicVehicle, Refusal, RegionCode, RideRef,
        fare::{Discount, Fare, minutes_started, uncharged_seconds},
        fleet,
        region::GateState,
        ride::reason_text,
        task,
    },
    ops::{self, Done, OpError},
    web::{
        BadRequest, Cursor, Form, FormState, FormWithState, Id, Layout, PageError, PageResult, Pagination, Query,
        RequestContext, RowPath, Section, filters, form, limits::TooMany, paths,
    },
};

const PAGE: i64 = 25;
/// As long as the field for it.
const PROMO_MAX: usize = 40;

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
    /// Within a day of its end.
    report: Option<ReportForm>,
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
    /// How long regions were closed, which is not charged, is known from the gates in memory.
    fn new(context: &'a RequestContext, ride: &'a Ride) -> Option<Self> {
        let (now, catalogue) = (context.now, &context.catalogue);
        let home = context.cookie.as_ref().map(|cookie| &cookie.region);
        let gates = [Some(&ride.ride.region), home].into_iter().flatten().filter_map(|region| {
            let mut gate = context.service.gates.last_seen(region)?;
            // It is still closed.
            if gate.state == GateState::ReadOnly
                && let Some((_, until)) = gate.closures.last_mut()
            {
                *until = now;
            }
            Some(gate)
        });
        let uncharged = uncharged_seconds((ride.started_at, now), gates.flat_map(|gate| gate.closures));
        let charged = now - ride.started_at - TimeDelta::seconds(uncharged);
        let minutes = minutes_started(charged);
        Some(Self {
            ride,
            vehicle_type: type_name(catalogue, ride),
            city: catalogue.city(&ride.city)?,
            elapsed_seconds: charged.num_seconds().max(0),
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
    /// Or its code.
    vehicle: Option<Id>,
    code: Option<String>,
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    ride: Id,
    /// [`Tariff::shown`](crate::domain::Tariff::shown), where the page shows a price.
    price: Option<String>,
    #[serde(default)]
    promo: String,
    /// Where the person is, with a code.
    #[serde(default)]
    lat: String,
    #[serde(default)]
    lon: String,
}

/// `POST /rides`: starts a ride.
pub async fn start(mut context: RequestContext, Form(form): Form<StartRide>) -> PageResult {
    if form.vehicle.is_none() && form.code.is_none() {
        return Err(BadRequest::Field.into());
    }
    region_of_form(&context, &form.region)?;
    let ride = RideRef { id: context.row_id(form.ride, "ride", &form.region)?, region: form.region.clone() };
    let code = form.code.filter(|_| form.vehicle.is_none());
    let list = match &code {
        Some(code) => paths::sticker(code),
        None => list_again(&context, &form.city),
    };
    // Nil for the page that unlocks by a code.
    let on = form.vehicle.map_or(Uuid::nil(), |Id(id)| id);
    context.typed_promo = Some((on, form.promo.chars().take(PROMO_MAX).collect()));
    let at = match code.as_ref().map(|_| form::required_point(&form.lat, &form.lon, "your position")).transpose() {
        Ok(at) => at,
        Err(text) => return Ok(context.refused(&list, &text)),
    };
    let start = ops::rides::Start {
        ride: ride.clone(),
        // No vehicle has the id of a ride.
        vehicle: PublicVehicle { region: form.region, public_id: form.vehicle.map_or(ride.id, |Id(id)| id) },
        code: code.zip(at),
        city: form.city,
        vehicle_type: form.vehicle_type,
        price: form.price,
        promo: form.promo,
    };
    let auth = context.auth()?;
    if start.code.is_some() {
        context.state.limits.vehicle_code(&auth.user.id.to_string())?;
    }
    if !start.promo.trim().is_empty()
        && let Err(TooMany(wait)) = context.state.limits.promo_code(&auth.user.id.to_string(), context.client_address())
    {
        let wait = filters::counted(wait.as_secs() + 1, "second");
        let text = format!("Too many promo codes. Please wait {wait}, or start without one.");
        return Ok(context.refused(&list, &text));
    }
    let outcome = ops::rides::start(&context.service, &auth, start).await;
    context.ride_changed();
    match outcome {
        Ok(Done::Now) => Ok(context.done(&paths::ride(&ride), "Your ride has started. Have a safe one.")),
        Ok(Done::Before) => Ok(context.done(&paths::ride(&ride), "")),
        Err(error) => context.respond(Err(error), &list, ""),
    }
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    before: Option<Cursor>,
}

pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let Cursor(at, id) = query.before.unwrap_or_else(|| Cursor::first(context.now));
    let own =
        own_rows(&mut context, async |conn, region, me| rides::list_own(conn, region, me, (at, id), PAGE + 1).await)
            .await?;
    let mut found: Vec<Ride> = own.found.into_iter().flat_map(|(_, rides)| rides).collect();
    found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.ride.id.cmp(&b.ride.id)));
    let next = |last: &Ride| format!("/rides?before={}", Cursor(last.started_at, last.ride.id));
    let pagination = Pagination::cut(&mut found, PAGE, query.before.map(|_| "/rides".to_owned()), next);
    let catalogue = &context.catalogue;
    let open = found.iter().find(|ride| ride.ended.is_none());
    context.ok(&RidesPage {
        layout: context.layout("My rides", Section::Rides, context.city()),
        open: open.and_then(|ride| OpenRide::new(&context, ride)),
        rides: found
            .iter()
            .filter_map(|ride| Some((ride, ride.ended.as_ref()?, catalogue.city(&ride.city)?)))
            .collect(),
        unreachable: own.unreachable,
        pagination,
    })
}

/// `GET /rides/{region}/{id}`: the person's own ride, or where it is.
pub async fn show(context: RequestContext, RowPath(ride): RowPath<RideRef>) -> PageResult {
    page(context, ride, FormState::default()).await
}

/// Shown for this value of the field `outside`, the page asks whether to end the ride there.
const ASK: &str = "ask";

async fn page(mut context: RequestContext, key: RideRef, mut form: FormState) -> PageResult {
    let rider = context.auth()?.user;
    let (_, found) =
        context.read_signed_in(&key.region, async |conn| rides::find_own(conn, &key, &rider).await).await?;
    let (ride, track) = found.ok_or(PageError::NotFound)?;
    let city = context.catalogue.city(&ride.city).ok_or(PageError::NotFound)?;
    if form.value("outside") == ASK {
        let fee = ride.currency.format(ride.out_of_area_minor);
        form.error = Some(format!(
            "This is outside the service area: ending the ride here costs an extra {fee}. You can ride back into the \
             coloured area first."
        ));
    }
    let title = format!("Ride {}", ride.number());
    let page = RidePage {
        layout: context.layout(&title, Section::Rides, city),
        ride: &ride,
        vehicle_type: type_name(&context.catalogue, &ride),
        city,
        open: if ride.ended.is_none() { OpenRide::new(&context, &ride) } else { None },
        form,
        straight: track.is_empty(),
        report: ride
            .ended
            .as_ref()
            .filter(|ended| context.now - ended.at < TimeDelta::days(1))
            .map(|_| ReportForm::new(&context, paths::ride(&ride.ride), true)),
        map: track_map(&context, &ride, city, track),
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

fn track_map(context: &RequestContext, ride: &Ride, city: &City, track: Vec<Point>) -> MapView {
    let mut route = vec![ride.start];
    route.extend(track);
    let mut pins = vec![map::Pin::letter(ride.start, "A")];
    if let Some(ended) = &ride.ended {
        route.push(ended.point);
        pins.push(map::Pin::letter(ended.point, "B"));
    }
    let me = route.last().filter(|_| ride.ended.is_none() && route.len() > 1).copied();
    map::view(context, city, "the route of the ride", (pins, &route, me))
}

#[derive(Debug, Deserialize)]
pub struct EndRide {
    city: String,
    #[serde(default)]
    lat: String,
    #[serde(default)]
    lon: String,
    /// The person knows that the place is outside the service area.
    #[serde(default)]
    outside: String,
}

/// `POST /rides/{region}/{id}/end`: ends the person's own ride.
pub async fn end(
    mut context: RequestContext,
    RowPath(ride): RowPath<RideRef>,
    FormWithState(form, mut state): FormWithState<EndRide>,
) -> PageResult {
    let checked = form::point(&form.lat, &form.lon).and_then(|at| {
        let at = at.ok_or("Please say where you parked the vehicle: only you know.")?;
        let city = context.catalogue.city(&form.city).ok_or("There is no such city.")?;
        Ok((city.check(at)?, city.service_area.contains(at)))
    });
    let at = match checked {
        Ok((at, inside)) if inside || !form.outside.is_empty() => at,
        Ok(_) => {
            return page(context, ride, state.with("outside", ASK)).await;
        }
        Err(error) => {
            state.error = Some(error);
            return page(context, ride, state).await;
        }
    };
    let outcome = ops::rides::end(&context.service, &context.auth()?, &ride, &form.city, at).await;
    context.ride_changed();
    let receipt = paths::ride(&ride);
    match outcome {
        Err(OpError::Refused(Refusal::SignedOut)) => return Err(PageError::SignIn(paths::login(&receipt))),
        Err(OpError::Refused(Refusal::RegionReadOnly { .. })) => {
            return Ok(context.refused(&receipt, "Your ride cannot end just now. Until it can, time is not charged."));
        }
        _ => {}
    }
    context.respond(outcome.map(|_| Done::Now), &receipt, "Your ride has ended. Here is your receipt.")
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
    RowPath(ride): RowPath<RideRef>,
    content_type: Header<ContentType>,
    body: Bytes,
) -> PageResult {
    let position = |p: &Position| Some((p.at.at().trunc_subsecs(0), Point::new(p.lat, p.lon).ok()?));
    let read = || {
        let json = content_type.essence_str() == "application/json";
        let batch = serde_json::from_slice::<Batch>(&body).ok();
        let batch = batch.filter(|batch| json && batch.positions.len() <= BATCH)?;
        batch.positions.iter().map(position).collect::<Option<Vec<_>>>()
    };
    let positions = read().ok_or(BadRequest::Positions)?;
    let auth = context.auth()?;
    match ops::rides::add_positions(&context.service, &auth, &ride, &context.city().slug, &positions).await {
        Ok(_) => {
            context.session_used(auth);
            Ok(context.finish(HttpResponse::NoContent().finish()))
        }
        Err(OpError::Refused(Refusal::NoSuchRide)) => Err(PageError::NotFound),
        Err(error) => Err(error.into()),
    }
}
