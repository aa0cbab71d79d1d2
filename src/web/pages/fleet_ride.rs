//! `/fleet/rides/{region}/{id}`: a ride for the operators of its city, who may end it, credit it,
//! and ask who rode. The page says neither who nor where; who rode is on a page of its own, for some
//! minutes after the question.

use askama::Template;
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::only_operators;
use crate::{
    db::{
        Conn, Result,
        fleet_rides::{self, Credit, FoundRide},
        rides::ForcedEnd,
        users::{self, Profile},
    },
    domain::{
        City, RideRef,
        fare::minutes_started,
        money, people,
        ride::{self, CREDIT_REASONS, END_REASONS, RIDER_REASONS, reason_text},
    },
    ops,
    web::{
        BadRequest, FormState, FormWithState, Id, Layout, PageError, PageResult, RequestContext, RowPath, Section,
        filters, form, paths,
    },
};

/// How long the answer stays visible.
const ANSWERED: Duration = Duration::minutes(15);

#[derive(Template)]
#[template(path = "pages/fleet_ride.html")]
struct FleetRidePage<'a> {
    layout: Layout,
    now: DateTime<Utc>,
    city: &'a City,
    found: &'a FoundRide,
    vehicle_type: &'a str,
    command: Uuid,
    form: FormState,
}

#[derive(Template)]
#[template(path = "pages/rider.html")]
struct RiderPage<'a> {
    layout: Layout,
    found: &'a FoundRide,
    command: Uuid,
    form: FormState,
    /// The rider's home is under the law of this instance.
    may_answer: bool,
    answer: Option<Profile>,
}

/// The ride, what `more` reads beside it, and its city, for operators of that.
async fn load<T>(
    context: &mut RequestContext,
    key: &RideRef,
    more: impl AsyncFn(&Conn) -> Result<T>,
) -> PageResult<(FoundRide, City, T)> {
    let (current_user, (found, more)) = context
        .read_signed_in(&key.region, async |conn| {
            let (found, more) = tokio::join!(fleet_rides::find(conn, key), more(conn));
            Ok((found?, more?))
        })
        .await?;
    let found = found.ok_or(PageError::NotFound)?;
    let city = context.catalogue.city(&found.ride.city).ok_or(PageError::NotFound)?.clone();
    only_operators(&current_user, &city.slug)?;
    Ok((found, city, more))
}

pub async fn show(context: RequestContext, RowPath(ride): RowPath<RideRef>) -> PageResult {
    page(context, &ride, None).await
}

async fn page(mut context: RequestContext, key: &RideRef, rejected: Option<FormState>) -> PageResult {
    let (found, city, ()) = load(&mut context, key, async |_| Ok(())).await?;
    let of_type = context.catalogue.vehicle_type(&found.ride.vehicle_type);
    let owed = found.ride.ended.as_ref().map(|ended| money::plain(ended.owed_minor())).unwrap_or_default();
    let page = FleetRidePage {
        layout: context.layout(&format!("Ride {}", found.ride.number()), Section::Fleet, &city),
        now: context.now,
        city: &city,
        vehicle_type: of_type.map_or(&found.ride.vehicle_type, |of| &of.name),
        command: context.service.ids.form(),
        form: rejected.unwrap_or_else(|| FormState::default().with("amount", owed)),
        found: &found,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EndRide {
    /// In whose zone `until` is.
    city: String,
    reason: String,
    /// `free`, `until`, or empty for now.
    charge: String,
    until: String,
    place: String,
    lat: String,
    lon: String,
}

pub async fn end(
    context: RequestContext,
    RowPath(key): RowPath<RideRef>,
    FormWithState(form, mut state): FormWithState<EndRide>,
) -> PageResult {
    let zone = super::city_of_form(&context, &form.city)?.time_zone;
    let until = form::moment(&form.until, zone).and_then(|at| match at.filter(|_| form.charge == "until") {
        Some(at) if at > context.now => Err("Please enter a time in the past.".to_owned()),
        None if form.charge == "until" => Err("Please enter a date and time.".to_owned()),
        at => Ok(at),
    });
    let reason = state.check("reason", ride::reason(END_REASONS, &form.reason));
    let until = state.check("until", until);
    let place = state.check("place", people::line(&form.place, 120, "a place"));
    let at = state.check("lat", form::required_point(&form.lat, &form.lon, "a position"));
    if let (Some(reason), Some(until), Some(place), Some(at)) = (reason, until, place, at) {
        let how = ForcedEnd { reason, until, free: form.charge == "free" };
        let ended = ops::fleet::end_ride(&context.service, &context.auth()?, &key, (at, &place), &how).await;
        if let Some(ended) = context.unless_refused(&mut state, ended, form::field_of) {
            let done = "The ride has ended. The rider will see this on the next page they open.";
            return context.respond(ended, &paths::fleet_ride(&key), done);
        }
    }
    page(context, &key, Some(state)).await
}

#[derive(Debug, Deserialize)]
pub struct CreditForm {
    command: Id,
    city: String,
    /// What had been credited when the page was made.
    seen: String,
    amount: String,
    #[serde(default)]
    reason: String,
}

pub async fn credit(
    context: RequestContext,
    RowPath(key): RowPath<RideRef>,
    FormWithState(form, mut state): FormWithState<CreditForm>,
) -> PageResult {
    let city = super::city_of_form(&context, &form.city)?.clone();
    let seen_minor = form.seen.parse().map_err(|_wrong| BadRequest::Field)?;
    if city.region != key.region {
        return Err(PageError::NotFound);
    }
    let amount = money::minor(&form.amount).and_then(|minor| match minor {
        0 => Err("Please enter an amount above 0.".to_owned()),
        minor => Ok(minor),
    });
    let amount = state.check("amount", amount);
    let reason = state.check("reason", ride::reason(CREDIT_REASONS, &form.reason));
    if let (Some(minor), Some(reason)) = (amount, reason) {
        let command = context.row_id(form.command, "command", &key.region)?;
        let credits = [Credit { ride: key.id, minor, seen_minor }];
        let auth = context.auth()?;
        let credited = ops::signed_write(&context.service, &auth, (&city.region, command), async |conn, write| {
            fleet_rides::credit(conn, write, &city.slug, reason, &credits).await
        });
        if let Some(credited) = context.unless_refused(&mut state, credited.await, form::field_of) {
            let done = format!("{} credited. It is on the rider's receipt.", city.currency.format(minor));
            return context.respond(credited, &paths::fleet_ride(&key), &done);
        }
    }
    page(context, &key, Some(state)).await
}

fn rider_path(key: &RideRef) -> String {
    paths::fleet_ride(key) + "/rider"
}

/// `GET .../rider`: asks for a reason, or answers the question that this person has just asked.
pub async fn rider(context: RequestContext, RowPath(ride): RowPath<RideRef>) -> PageResult {
    rider_page(context, &ride, FormState::default()).await
}

async fn rider_page(mut context: RequestContext, key: &RideRef, form: FormState) -> PageResult {
    let me = context.auth()?.user;
    let asked = async |conn: &Conn| fleet_rides::find_asked(conn, key, &me).await;
    let (found, city, asked) = load(&mut context, key, asked).await?;
    let rider = found.rider.as_ref().filter(|rider| context.may_name(&rider.region));
    let answer = match rider.filter(|_| asked.is_some_and(|at| context.now - at < ANSWERED)) {
        Some(rider) => users::find_profile(&context.service.db.at(&rider.region).await?, rider).await?,
        None => None,
    };
    let page = RiderPage {
        layout: context.layout(&format!("Who rode {}", found.ride.number()), Section::Fleet, &city),
        command: context.service.ids.form(),
        form,
        may_answer: rider.is_some(),
        answer,
        found: &found,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

#[derive(Debug, Deserialize)]
pub struct Question {
    command: Id,
    #[serde(default)]
    reason: String,
}

/// `POST .../rider`: asks who rode.
pub async fn ask_rider(
    mut context: RequestContext,
    RowPath(key): RowPath<RideRef>,
    FormWithState(form, mut state): FormWithState<Question>,
) -> PageResult {
    let Some(reason) = state.check("reason", ride::reason(RIDER_REASONS, &form.reason)) else {
        return rider_page(context, &key, state).await;
    };
    let (found, city, ()) = load(&mut context, &key, async |_| Ok(())).await?;
    let rider = found.rider.ok_or(PageError::NotFound)?;
    let question = (context.row_id(form.command, "command", &key.region)?, reason);
    let auth = context.auth()?;
    let asked = ops::fleet::ask_rider(&context.service, &auth, (&key, &city.slug), &rider.region, question).await;
    context.respond(asked, &rider_path(&key), "")
}
