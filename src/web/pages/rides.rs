//! `/rides`: start, the list over all regions where the person has ridden, one ride's
//! page (running clock and end form, or receipt), positions on the way.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{Bytes, Header, Path},
};
use chrono::{DateTime, SubsecRound, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{map, region_of_form, row_of_path, vehicles::list_again};
use crate::{
    db::rides::{self, Ended, Ride},
    domain::{
        catalogue::City,
        fare::{Discount, Fare, minutes_started},
        geo::Point,
        refusal::Refusal,
        region::RegionCode,
        ride::RideRef,
        stored::Moment,
        vehicle::PublicVehicle,
    },
    ops::{
        self, OpError,
        rides::{PAGE, PAGE_AND_ONE},
    },
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form, Id, Query},
        layout::{distance, layout, time},
        limits::TooMany,
        paths,
        views::{
            OpenRideView, PaginationView, ReceiptLine, ReceiptView, RidePage, RideRow, RideUnderway, RidesPage, Section,
        },
    },
};

/// What the start form carries.
#[derive(Debug, Deserialize)]
pub struct StartRide {
    region: RegionCode,
    vehicle: Id,
    city: String,
    #[serde(rename = "type")]
    kind: String,
    ride: Id,
    #[serde(default)]
    promo: String,
}

/// `POST /rides`: starts a ride.
pub async fn start(mut context: RequestContext, Form(form): Form<StartRide>) -> Result<HttpResponse, PageError> {
    region_of_form(&context, &form.region)?;
    let ride = RideRef { id: context.made_by(form.ride, "ride", &form.region)?, region: form.region.clone() };
    let start = ops::rides::Start {
        ride: ride.clone(),
        vehicle: PublicVehicle { region: form.region, public_id: form.vehicle.0 },
        city: form.city.clone(),
        vehicle_type: form.kind,
        promo: form.promo,
    };
    let list = list_again(&context, &form.city);
    if !start.promo.trim().is_empty()
        && let Err(TooMany(wait)) =
            context.state.limits.promo_code(&context.auth()?.user.id.to_string(), &context.address())
    {
        let words =
            format!("That were many promo codes. Please wait {} seconds, or start without one.", wait.as_secs() + 1);
        return Ok(context.refused(&list, &words));
    }
    let outcome = ops::rides::start(&context.service, &context.auth()?, start).await;
    context.changed();
    match outcome {
        Ok(ops::Done::Now) => Ok(context.done(&paths::ride(&ride), "Your ride has started. Have a safe one.")),
        Ok(ops::Done::Before) => Ok(context.done(&paths::ride(&ride), "")),
        Err(OpError::Refused(Refusal::SignedOut)) => Err(context.sign_in_first()),
        Err(OpError::Refused(refusal)) => Ok(context.refused(&list, &refusal.message())),
        Err(error) => Err(error.into()),
    }
}

/// Where the list goes on: `TIME~ID` of the last ride of the page before.
#[derive(Debug, Deserialize)]
pub struct Before {
    #[serde(default)]
    before: String,
}

fn behind(before: &str) -> Result<Option<(DateTime<Utc>, Uuid)>, PageError> {
    if before.is_empty() {
        return Ok(None);
    }
    let parse = || {
        let (at, id) = before.split_once('~')?;
        Some((Moment::from_micros(at)?.at(), form::id(id)?))
    };
    parse().map(Some).ok_or(PageError::BadRequest("There is no such page of the list."))
}

/// `GET /rides`: all that is known of here in one wait; a region that the cookie did not
/// know of yet costs a second one, once.
pub async fn list(mut context: RequestContext, Query(query): Query<Before>) -> Result<HttpResponse, PageError> {
    let from = behind(&query.before)?;
    let far = (context.now + chrono::Duration::days(1), Uuid::nil());
    let cookie = context.cookie.clone().ok_or_else(|| context.sign_in_first())?;
    let me = context.auth()?.user;
    let (service, known) = (Arc::clone(&context.service), regions(&cookie.region, &cookie.present_in));
    let elsewhere: Vec<RegionCode> = known.iter().filter(|region| **region != cookie.region).cloned().collect();
    let behind = from.unwrap_or(far);
    let home = context.read_signed_in(&cookie.region, async |conn| {
        rides::list_own(conn, &cookie.region, &me, behind, PAGE_AND_ONE).await
    });
    // Beside it, not inside: no connection is held while others are waited for.
    let (home, others) = tokio::join!(home, ops::rides::list(&service, &me, &elsewhere, behind));
    let ((current_user, home), (mut found, mut silent)) = (home?, others);
    found.extend(home);
    let missing: Vec<RegionCode> =
        current_user.present_in.iter().filter(|region| !known.contains(region)).cloned().collect();
    if !missing.is_empty() {
        let (more, failed) = ops::rides::list(&service, &me, &missing, behind).await;
        found.extend(more);
        silent.extend(failed);
    }
    found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.ride.id.cmp(&b.ride.id)));
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let last =
        found.last().map(|ride| format!("/rides?before={}~{}", ride.started_at.timestamp_micros(), ride.ride.id));
    let page = RidesPage {
        layout: layout(&context, Some(&current_user), "My rides", Section::Rides, context.city()),
        open: found.iter().find(|ride| ride.ended.is_none()).and_then(|ride| open_view(&context, ride)),
        rides: found.iter().filter(|ride| ride.ended.is_some()).filter_map(|ride| row(&context, ride)).collect(),
        notes: silent
            .iter()
            .map(|(region, _)| format!("The region {region} does not answer; your rides there are missing."))
            .collect(),
        pagination: PaginationView { newest: from.map(|_| "/rides".to_owned()), older: last.filter(|_| more) },
    };
    context.ok(&page)
}

fn regions(home: &RegionCode, present_in: &[RegionCode]) -> Vec<RegionCode> {
    let mut all = vec![home.clone()];
    all.extend(present_in.iter().filter(|region| *region != home).cloned());
    all
}

fn city<'a>(context: &'a RequestContext, ride: &Ride) -> Option<&'a City> {
    context.catalogue.city(&ride.city)
}

fn kind_name(context: &RequestContext, kind: &str) -> String {
    context.catalogue.vehicle_type(kind).map_or_else(|| kind.to_owned(), |kind| kind.name.clone())
}

fn row(context: &RequestContext, ride: &Ride) -> Option<RideRow> {
    let (city, ended) = (city(context, ride)?, ride.ended.as_ref()?);
    Some(RideRow {
        href: paths::ride(&ride.ride),
        kind: ride.vehicle_type.clone(),
        number: ride.ride.number(ride.started_at),
        city: city.name.clone(),
        started: time(ride.started_at, city.time_zone),
        duration: format!("{} min", ended.minutes),
        distance: metres(ended.distance_m),
        fare: money(ride, ended.total_minor),
    })
}

#[allow(clippy::cast_precision_loss, reason = "metres of a ride are far below 2^52")]
fn metres(distance_m: i64) -> String {
    distance(distance_m as f64)
}

fn money(ride: &Ride, minor: i64) -> String {
    let currency = ride.currency.parse::<crate::domain::money::Currency>();
    currency.map_or_else(|_| format!("{} {minor}", ride.currency), |currency| currency.format(minor))
}

fn discount(ride: &Ride) -> Option<Discount> {
    ride.promo_percent.map(Discount::Percent).or(ride.promo_amount_minor.map(Discount::Amount))
}

fn open_view(context: &RequestContext, ride: &Ride) -> Option<OpenRideView> {
    let city = city(context, ride)?;
    let minutes = minutes_started(context.now - ride.started_at);
    let fare = Fare::new(ride.rate, minutes, discount(ride), 0);
    Some(OpenRideView {
        href: paths::ride(&ride.ride),
        kind: ride.vehicle_type.clone(),
        title: format!("{} in {}", kind_name(context, &ride.vehicle_type), city.name),
        started: time(ride.started_at, city.time_zone),
        elapsed_seconds: (context.now - ride.started_at).num_seconds().max(0),
        elapsed: format!("{minutes} min"),
        fare: money(ride, fare.total_minor),
        unlock_minor: ride.rate.unlock_minor,
        minute_minor: ride.rate.per_minute_minor,
        most_minor: ride.rate.max_charge_minor,
        discount_minor: ride.promo_amount_minor.unwrap_or(0),
        discount_percent: ride.promo_percent.unwrap_or(0),
        currency: ride.currency.clone(),
        tariff: format!("{} + {}/min", money(ride, ride.rate.unlock_minor), money(ride, ride.rate.per_minute_minor)),
    })
}

/// `GET /rides/{region}/{id}`: the person's own ride, or where it is.
pub async fn show(mut context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    page(&mut context, &path, ("", ""), None).await.and_then(|page| context.ok(&page))
}

/// The page, with the position that was sent with the end form and what is wrong with it.
async fn page(
    context: &mut RequestContext,
    path: &(String, String),
    (lat, lon): (&str, &str),
    error: Option<String>,
) -> Result<RidePage, PageError> {
    let (region, id) = row_of_path(context, path)?;
    let wanted = RideRef { region: region.clone(), id };
    let rider = context.auth()?.user;
    let (current_user, found) =
        context.read_signed_in(&region, async |conn| rides::find_own(conn, &wanted, &rider).await).await?;
    let (ride, way) = found.ok_or(PageError::NotFound)?;
    let city = city(context, &ride).ok_or(PageError::NotFound)?.clone();
    let number = ride.ride.number(ride.started_at);
    let open = if ride.ended.is_none() {
        open_view(context, &ride).map(|view| RideUnderway {
            ride: view,
            city: city.slug.clone(),
            end_action: paths::end_ride(&ride.ride),
            positions_url: paths::positions(&ride.ride),
            point: (lat.to_owned(), lon.to_owned()),
            error,
            outside_fee: money(&ride, ride.out_of_area_minor),
        })
    } else {
        None
    };
    Ok(RidePage {
        layout: layout(context, Some(&current_user), &format!("Ride {number}"), Section::Rides, &city),
        number,
        kind: ride.vehicle_type.clone(),
        vehicle: kind_name(context, &ride.vehicle_type),
        city: city.name.clone(),
        open,
        receipt: ride.ended.as_ref().map(|ended| receipt(&ride, ended, &city, way.is_empty())),
        map: Some(map::view(way_map(&ride, &city, way), context.state.config.tiles.as_ref())),
    })
}

fn way_map<'a>(ride: &Ride, city: &'a City, way: Vec<Point>) -> map::Shown<'a> {
    let mut route = vec![ride.start];
    route.extend(way);
    let mut pins = vec![(ride.start, "A".to_owned())];
    if let Some(ended) = &ride.ended {
        route.push(ended.point);
        pins.push((ended.point, "B".to_owned()));
    }
    map::Shown { label: format!("Map of {} with the way of the ride", city.name), city, pins, route, me: None }
}

fn receipt(ride: &Ride, ended: &Ended, city: &City, straight: bool) -> ReceiptView {
    let line = |text: String, minor: i64| ReceiptLine { text, amount: money(ride, minor) };
    let per_minute = money(ride, ride.rate.per_minute_minor);
    let minutes_minor = ended.minutes * ride.rate.per_minute_minor;
    let mut lines = vec![
        line("Unlocking".to_owned(), ride.rate.unlock_minor),
        line(
            format!(
                "{} started {} at {per_minute}",
                ended.minutes,
                if ended.minutes == 1 { "minute" } else { "minutes" }
            ),
            minutes_minor,
        ),
    ];
    let over = ended.charge_minor - ride.rate.unlock_minor - minutes_minor;
    if over != 0 {
        lines.push(line(format!("A ride costs {} at most", money(ride, ended.charge_minor)), over));
    }
    if let Some(code) = &ride.promo_code {
        lines.push(line(format!("Promo code {code}"), -ended.discount_minor));
    }
    if ended.outside_area {
        lines.push(line("Left outside the service area".to_owned(), ended.fee_minor));
    }
    let suffix = if straight { " (straight line)" } else { "" };
    ReceiptView {
        forced: ended.forced,
        automatic: ended.automatic,
        started: time(ride.started_at, city.time_zone),
        from: ride.start_place.clone(),
        ended: time(ended.at, city.time_zone),
        to: ended.place.clone(),
        duration: format!("{} min", ended.minutes),
        distance: format!("{}{suffix}", metres(ended.distance_m)),
        lines,
        total: money(ride, ended.total_minor),
    }
}

/// What the end form carries.
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
    Form(form): Form<EndRide>,
) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, &path)?;
    let ride = RideRef { region, id };
    let checked = form::point(&form.lat, &form.lon).and_then(|at| {
        let at = at.ok_or_else(|| "Please say where you leave the vehicle: nobody else knows.".to_owned())?;
        let city = context.catalogue.city(&form.city).ok_or_else(|| "There is no such city.".to_owned())?;
        city.check(at)
    });
    let at = match checked {
        Ok(at) => at,
        Err(wrong) => {
            let page = page(&mut context, &path, (&form.lat, &form.lon), Some(wrong)).await?;
            return context.wrong(&page);
        }
    };
    let outcome = ops::rides::end(&context.service, &context.auth()?, &ride, &form.city, at).await;
    context.changed();
    match outcome {
        Ok(_) => Ok(context.done(&paths::ride(&ride), "Your ride has ended. Here is your receipt.")),
        Err(OpError::Refused(Refusal::NoSuchRide)) => Err(PageError::NotFound),
        Err(OpError::Refused(Refusal::SignedOut)) => Err(PageError::SignIn(paths::login(&paths::ride(&ride)))),
        Err(OpError::Refused(refusal)) => Ok(context.refused(&paths::ride(&ride), &refusal.message())),
        Err(error) => Err(error.into()),
    }
}

/// A batch of positions, as the browser sends it.
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

/// Positions of one request at most.
const BATCH: usize = 100;

/// `POST /rides/{region}/{id}/positions`: 204, or why not.
pub async fn positions(
    mut context: RequestContext,
    path: Path<(String, String)>,
    kind: Header<ContentType>,
    body: Bytes,
) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, &path)?;
    let bad = PageError::BadRequest("Positions are JSON: up to 100 of at, lat and lon.");
    let json = kind.essence_str() == "application/json";
    let batch = serde_json::from_slice::<Batch>(&body).ok().filter(|batch| json && batch.positions.len() <= BATCH);
    let Some(batch) = batch else {
        return Err(bad);
    };
    let read = |p: &Position| Some((p.at.at().trunc_subsecs(0), Point::new(p.lat, p.lon).ok()?));
    let Some(positions) = batch.positions.iter().map(read).collect::<Option<Vec<_>>>() else {
        return Err(bad);
    };
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
