//! `/fleet/tariffs/credit`: the rides charged at a wrong price, and crediting what they cost more
//! than at the price before it: a page of rides at once, each with its own event.

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{city_of_form, read_operated, tariffs::Known};
use crate::{
    db::{
        Conn,
        fleet_rides::{self, Credit, PRICED_PAGE},
        rides::Ride,
    },
    domain::{Catalogue, City, Tariff, fare::Fare},
    ops::{self, Done},
    web::{Cursor, Form, Id, Layout, PageError, PageResult, Query, RequestContext, Section, filters, paths},
};

#[derive(Template)]
#[template(path = "pages/price_credits.html")]
struct PriceCreditsPage<'a> {
    layout: Layout,
    city: &'a City,
    vehicle_type: &'a str,
    wrong: &'a Tariff,
    right: &'a Tariff,
    command: Uuid,
    found: Found,
    after: String,
    /// The page of rides after these.
    next: Option<String>,
}

/// At this price, as its rides are found.
pub fn path(tariff: &Tariff) -> String {
    let most = tariff.max_charge_minor.map(|most| most.to_string()).unwrap_or_default();
    format!(
        "/fleet/tariffs/credit?city={}&type={}&from={}&unlock={}&minute={}&fee={}&most={most}",
        tariff.city,
        tariff.vehicle_type,
        tariff.valid_from.timestamp(),
        tariff.unlock_minor,
        tariff.per_minute_minor,
        tariff.out_of_area_fee_minor
    )
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    #[serde(flatten)]
    tariff: Known,
    after: Option<Cursor>,
}

struct Found {
    credits: Vec<Credit>,
    minor: i64,
    /// The last of these rides, and after which there may be more.
    last: Option<Cursor>,
    next: Option<Cursor>,
}

impl Found {
    fn of(rides: &[Ride], searched_to: Option<&Ride>, right: &Tariff) -> Self {
        let credit = |ride: &Ride| {
            let ended = ride.ended.as_ref()?;
            let fee = if ended.outside_area { right.out_of_area_fee_minor } else { 0 };
            let fare = Fare::new(right.rate(), ended.fare.minutes, ride.discount, fee);
            let minor = ended.fare.total_minor - fare.total_minor;
            (minor > 0).then_some(Credit { ride: ride.ride.id, minor, seen_minor: 0 })
        };
        let credits: Vec<Credit> = rides.iter().filter_map(credit).collect();
        let cursor = |ride: &Ride| Some(Cursor(ride.ended.as_ref()?.at, ride.ride.id));
        let last = rides.last().and_then(cursor);
        let next = if rides.len() == PRICED_PAGE { last } else { searched_to.and_then(cursor) };
        let minor = credits.iter().map(|credit| credit.minor).sum();
        Self { credits, minor, last, next }
    }
}

/// An instance learns of another price within this time.
const LEARNED: TimeDelta = TimeDelta::minutes(1);

/// When a ride at these numbers was no longer priced wrongly: the same price was set again for later,
/// or everybody knew another one.
fn held_until(catalogue: &Catalogue, wrong: &Tariff) -> Option<DateTime<Utc>> {
    let of_type = |tariff: &&Tariff| tariff.city == wrong.city && tariff.vehicle_type == wrong.vehicle_type;
    let later = catalogue.tariffs.iter().filter(of_type).filter(|tariff| tariff.valid_from > wrong.valid_from);
    let ends = |tariff: &Tariff| {
        let same = Tariff { valid_from: wrong.valid_from, ..tariff.clone() } == *wrong;
        if same { tariff.valid_from } else { tariff.valid_from + LEARNED }
    };
    later.map(ends).min()
}

/// The wrong price, the one before it, and the rides charged at it, for operators.
async fn find(
    context: &mut RequestContext,
    tariff: &Known,
    after: Option<Cursor>,
    until: Option<Cursor>,
) -> PageResult<(City, Tariff, Tariff, Found)> {
    let wrong = tariff.read()?;
    let city = city_of_form(context, &wrong.city)?.clone();
    let first = Cursor(wrong.valid_from, Uuid::nil());
    let Cursor(at, id) = after.filter(|Cursor(at, _)| *at >= wrong.valid_from).unwrap_or(first);
    let began_by = held_until(&context.catalogue, &wrong).unwrap_or(context.now);
    let me = context.auth()?.user.id;
    let list = async |conn: &Conn| fleet_rides::list_priced(conn, &city.region, &wrong, began_by, (at, id), me).await;
    let (_, (mut rides, searched_to)) = read_operated(context, &city, list).await?;
    let before = wrong.valid_from - chrono::Duration::seconds(1);
    let right = context.catalogue.tariff(&city.slug, &wrong.vehicle_type, before).ok_or(PageError::NotFound)?.clone();
    // What has ended since the page was made was not confirmed.
    rides.retain(|ride| {
        let key = |ride: &Ride| Some((ride.ended.as_ref()?.at, ride.ride.id));
        until.is_none_or(|Cursor(at, id)| key(ride).is_some_and(|key: (DateTime<Utc>, Uuid)| key <= (at, id)))
    });
    let found = Found::of(&rides, searched_to.as_ref(), &right);
    Ok((city, wrong, right, found))
}

pub async fn show(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let (city, wrong, right, found) = find(&mut context, &query.tariff, query.after, None).await?;
    let catalogue = Arc::clone(&context.catalogue);
    let page = PriceCreditsPage {
        layout: context.layout("Credit rides", Section::Fleet, &city),
        city: &city,
        vehicle_type: catalogue.vehicle_type(&wrong.vehicle_type).map_or(&wrong.vehicle_type, |of| &of.name),
        command: context.service.ids.form(),
        after: query.after.map(|after| after.to_string()).unwrap_or_default(),
        next: found.next.map(|next| format!("{}&after={next}", path(&wrong))),
        wrong: &wrong,
        right: &right,
        found,
    };
    context.ok(&page)
}

#[derive(Debug, Deserialize)]
pub struct Confirmed {
    #[serde(flatten)]
    tariff: Known,
    command: Id,
    #[serde(default)]
    after: String,
    last: Cursor,
}

pub async fn credit(mut context: RequestContext, Form(form): Form<Confirmed>) -> PageResult {
    let after = Cursor::try_from(form.after).ok();
    let (city, wrong, _, found) = find(&mut context, &form.tariff, after, Some(form.last)).await?;
    // The next batch begins after what was read for this one.
    let back = format!("{}&after={}", path(&wrong), form.last);
    if found.credits.is_empty() {
        return context.respond(Ok(Done::Before), &back, "");
    }
    let command = context.row_id(form.command, "command", &city.region)?;
    let outcome =
        ops::signed_write(&context.service, &context.auth()?, (&city.region, command), async |conn, write| {
            fleet_rides::credit(conn, write, &city.slug, "wrong_price", &found.credits).await
        })
        .await;
    let (rides, minor) = (filters::counted(found.credits.len(), "ride"), city.currency.format(found.minor));
    context.respond(outcome, &back, &format!("{rides} credited, {minor} in all."))
}
