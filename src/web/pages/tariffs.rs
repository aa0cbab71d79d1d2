//! `/fleet/tariffs`: a city's past, current and future prices, for its operators and for
//! administrators. Read from the catalogue in memory. A ride keeps the tariff it began with. A new
//! price is shown beside the one before, and set when that is confirmed; one that was wrong can be
//! withdrawn, also while it is in force.

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, DurationRound, SubsecRound, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use super::{CityQuery, EVERYWHERE, city_for, city_of_form, price_credits};
use crate::{
    db::{
        Conn, Write,
        catalogue::{self, SeenTariffs},
    },
    domain::{City, Moment, Tariff, VehicleType, money},
    ops,
    web::{
        BadRequest, Form, FormState, Layout, PageError, PageResult, Query, RequestContext, Section, filters, form,
        paths,
    },
};

#[derive(Template)]
#[template(path = "pages/tariffs.html")]
struct TariffsPage<'a> {
    layout: Layout,
    city: &'a City,
    cities: Vec<&'a City>,
    vehicle_types: Vec<TypeTariffs<'a>>,
}

struct TypeTariffs<'a> {
    vehicle_type: &'a VehicleType,
    tariffs: Vec<TariffRow<'a>>,
    form: FormState,
}

struct TariffRow<'a> {
    tariff: &'a Tariff,
    future: bool,
    current: bool,
    /// There is one before it.
    follows: bool,
}

#[derive(Template)]
#[template(path = "pages/new_price.html")]
struct NewPricePage<'a> {
    layout: Layout,
    city: &'a City,
    vehicle_type: &'a VehicleType,
    tariff: &'a Tariff,
    price: &'a NewPrice,
    seen: String,
    lines: Vec<PriceLine>,
    steep: bool,
    /// It is steep, and that was not confirmed.
    unsure: bool,
}

/// In minor units.
struct PriceLine {
    name: &'static str,
    old: Option<i64>,
    new: Option<i64>,
}

impl PriceLine {
    /// In percent, as in "+12%".
    fn change(&self) -> String {
        match (self.old, self.new) {
            (Some(old), Some(new)) if old > 0 && old != new => {
                let sign = if new > old { "+" } else { "" };
                format!("{sign}{}%", filters::number((new - old) * 100 / old))
            }
            (old, new) if old == new => "no change".to_owned(),
            _ => "–".to_owned(),
        }
    }
}

/// A price more than this many times the previous one has to be confirmed with a tick.
const STEEP: i64 = 3;
/// The length of the example ride, in minutes.
const PICTURED: i64 = 10;

fn price_lines(old: Option<&Tariff>, new: &Tariff) -> Vec<PriceLine> {
    let line = |name, of: fn(&Tariff) -> Option<i64>| PriceLine { name, old: old.and_then(of), new: of(new) };
    vec![
        line("Unlock", |tariff| Some(tariff.unlock_minor)),
        line("Per minute", |tariff| Some(tariff.per_minute_minor)),
        line("Outside the area", |tariff| Some(tariff.out_of_area_fee_minor)),
        line("Maximum per ride", |tariff| tariff.max_charge_minor),
        line("10-minute ride", |tariff| Some(tariff.fare(PICTURED))),
    ]
}

fn is_steep(old: &Tariff, new: &Tariff) -> bool {
    let of: [fn(&Tariff) -> i64; 2] = [|tariff| tariff.fare(PICTURED), |tariff| tariff.out_of_area_fee_minor];
    of.iter().any(|of| of(new) > STEEP * of(old))
}

/// The tariff that `new` would follow.
fn in_force(seen: &SeenTariffs, new: &Tariff) -> Option<Tariff> {
    let before = seen.iter().filter(|(from, ..)| *from <= new.valid_from.timestamp()).max_by_key(|(from, ..)| *from);
    before.map(|&(_, unlock_minor, per_minute_minor, out_of_area_fee_minor, max_charge_minor)| Tariff {
        unlock_minor,
        per_minute_minor,
        out_of_area_fee_minor,
        max_charge_minor,
        ..new.clone()
    })
}

pub async fn list(context: RequestContext, Query(query): Query<CityQuery>) -> PageResult {
    page(context, &query.city, None).await
}

fn of_type<'a>(context: &'a RequestContext, city: &City, vehicle_type: &VehicleType) -> Vec<&'a Tariff> {
    let of_type = |tariff: &&Tariff| tariff.city == city.slug && tariff.vehicle_type == vehicle_type.slug;
    context.catalogue.tariffs.iter().filter(of_type).collect()
}

async fn page(mut context: RequestContext, city: &str, rejected: Option<(String, FormState)>) -> PageResult {
    let roles = context.current_user().await?.roles;
    let may_see = |slug: &str| roles.administers() || roles.operates(slug);
    let city = city_for(&context, &roles, city, may_see)?;
    let catalogue = Arc::clone(&context.catalogue);
    let tariffs = catalogue.vehicle_types.iter().map(|vehicle_type| {
        let form = rejected.as_ref().filter(|(slug, _)| *slug == vehicle_type.slug).map(|(_, form)| form.clone());
        type_tariffs(&context, &city, vehicle_type, form)
    });
    let page = TariffsPage {
        layout: context.layout(&format!("Tariffs in {}", city.name), Section::Fleet, &city),
        cities: catalogue.cities.iter().filter(|city| may_see(&city.slug)).collect(),
        vehicle_types: tariffs.collect(),
        city: &city,
    };
    context.ok_or_invalid(rejected.is_some(), &page)
}

fn type_tariffs<'a>(
    context: &'a RequestContext,
    city: &City,
    vehicle_type: &'a VehicleType,
    rejected: Option<FormState>,
) -> TypeTariffs<'a> {
    let mut tariffs = of_type(context, city, vehicle_type);
    tariffs.sort_by_key(|tariff| std::cmp::Reverse(tariff.valid_from));
    let current = context.catalogue.tariff(&city.slug, &vehicle_type.slug, context.now);
    let form = rejected.unwrap_or_else(|| {
        let price = |of: fn(&Tariff) -> Option<i64>| current.and_then(of).map(money::plain).unwrap_or_default();
        FormState::default()
            .with("from", next_hour(context.now, city))
            .with("unlock", price(|tariff| Some(tariff.unlock_minor)))
            .with("minute", price(|tariff| Some(tariff.per_minute_minor)))
            .with("fee", price(|tariff| Some(tariff.out_of_area_fee_minor)))
            .with("most", price(|tariff| tariff.max_charge_minor))
    });
    TypeTariffs {
        vehicle_type,
        tariffs: tariffs
            .iter()
            .map(|&tariff| TariffRow {
                follows: tariffs.last() != Some(&tariff),
                future: tariff.valid_from > context.now,
                current: current == Some(tariff),
                tariff,
            })
            .collect(),
        form,
    }
}

fn next_hour(now: DateTime<Utc>, city: &City) -> String {
    let next = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now) + TimeDelta::hours(1);
    next.with_timezone(&city.time_zone).format(form::MOMENT).to_string()
}

/// A price as typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NewPrice {
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    /// The tariffs that the confirmation was based on.
    seen: String,
    from: String,
    unlock: String,
    minute: String,
    fee: String,
    most: String,
    /// A steep price is meant.
    sure: String,
}

impl NewPrice {
    fn seen(&self) -> PageResult<SeenTariffs> {
        let seen = serde_json::from_str::<SeenTariffs>(&self.seen).ok();
        let price = |minor: &i64| (0..=money::MAX).contains(minor);
        let prices = |seen: &SeenTariffs| {
            seen.iter().all(|(_, unlock, minute, fee, most)| [unlock, minute, fee].into_iter().chain(most).all(price))
        };
        Ok(seen.filter(prices).ok_or(BadRequest::Field)?)
    }

    /// The tariff, or the form with what is wrong.
    fn read(&self, city: &City, vehicle_type: &VehicleType, now: DateTime<Utc>) -> Result<Tariff, FormState> {
        let fields = [
            ("from", &self.from),
            ("unlock", &self.unlock),
            ("minute", &self.minute),
            ("fee", &self.fee),
            ("most", &self.most),
        ];
        let mut state = fields.iter().fold(FormState::default(), |state, (name, value)| state.with(name, *value));
        let from = form::moment(&self.from, city.time_zone).and_then(|at| match at {
            Some(at) if at <= now => Err("This time has passed. Leave the field empty to start at once.".to_owned()),
            Some(at) => Ok(at),
            None => Ok(now.trunc_subsecs(0)),
        });
        let most = Some(self.most.trim()).filter(|text| !text.is_empty()).map(money::minor).transpose();
        let (Some(valid_from), Some(unlock), Some(per_minute), Some(fee), Some(most)) = (
            state.check("from", from),
            state.check("unlock", money::minor(&self.unlock)),
            state.check("minute", money::minor(&self.minute)),
            state.check("fee", money::minor(&self.fee)),
            state.check("most", most),
        ) else {
            return Err(state);
        };
        Ok(Tariff {
            city: city.slug.clone(),
            vehicle_type: vehicle_type.slug.clone(),
            unlock_minor: unlock,
            per_minute_minor: per_minute,
            out_of_area_fee_minor: fee,
            max_charge_minor: most,
            valid_from,
        })
    }
}

/// `GET /fleet/tariffs/new`: a new price beside the one before, to be confirmed. Sets nothing.
pub async fn confirm(context: RequestContext, Query(price): Query<NewPrice>) -> PageResult {
    new_price(context, price, false).await
}

pub async fn set(context: RequestContext, Form(price): Form<NewPrice>) -> PageResult {
    new_price(context, price, true).await
}

async fn new_price(mut context: RequestContext, price: NewPrice, set: bool) -> PageResult {
    let city = context.catalogue.city(&price.city).ok_or(PageError::NotFound)?.clone();
    let vehicle_type = context.catalogue.vehicle_type(&price.vehicle_type).ok_or(PageError::NotFound)?.clone();
    let tariff = match price.read(&city, &vehicle_type, context.now) {
        Ok(tariff) => tariff,
        Err(state) => return page(context, &city.slug, Some((vehicle_type.slug, state))).await,
    };
    // Judged by what was confirmed, which the statement compares with the rows: this instance may
    // know less.
    let seen = if set { price.seen()? } else { catalogue::seen(of_type(&context, &city, &vehicle_type).into_iter()) };
    let old = in_force(&seen, &tariff);
    let steep = old.as_ref().is_some_and(|old| is_steep(old, &tariff));
    if set && (!steep || !price.sure.is_empty()) {
        let set = async |conn: &Conn, write: &Write<'_>| catalogue::set_tariff(conn, write, &tariff, &seen).await;
        let outcome = ops::catalogue::change(&context.service, &context.auth()?, None, set).await;
        let format = format!("{} %Z", city.units.date_and_time());
        let from = tariff.valid_from.with_timezone(&city.time_zone).format(&format);
        let done = format!("New {} price from {from}. {EVERYWHERE}", vehicle_type.name.to_lowercase());
        return context.respond(outcome, &paths::tariffs(&city.slug), &done);
    }
    let roles = context.current_user().await?.roles;
    city_for(&context, &roles, &city.slug, |slug| roles.administers() || roles.operates(slug))?;
    let page = NewPricePage {
        layout: context.layout(&format!("New price in {}", city.name), Section::Fleet, &city),
        city: &city,
        vehicle_type: &vehicle_type,
        seen: json!(seen).to_string(),
        lines: price_lines(old.as_ref(), &tariff),
        tariff: &tariff,
        price: &price,
        steep,
        unsure: set,
    };
    context.ok_or_invalid(page.unsure, &page)
}

/// A tariff that is in the catalogue, or was.
#[derive(Debug, Deserialize)]
pub struct Known {
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    from: String,
    unlock: String,
    minute: String,
    fee: String,
    #[serde(default)]
    most: String,
}

impl Known {
    pub(super) fn read(&self) -> PageResult<Tariff> {
        let number = |text: &str| text.parse().map_err(|_wrong| BadRequest::Field);
        let valid_from = DateTime::from_timestamp(number(&self.from)?, 0).and_then(Moment::new);
        Ok(Tariff {
            city: self.city.clone(),
            vehicle_type: self.vehicle_type.clone(),
            unlock_minor: number(&self.unlock)?,
            per_minute_minor: number(&self.minute)?,
            out_of_area_fee_minor: number(&self.fee)?,
            max_charge_minor: if self.most.is_empty() { None } else { Some(number(&self.most)?) },
            valid_from: valid_from.ok_or(BadRequest::Field)?.at(),
        })
    }
}

pub async fn withdraw(context: RequestContext, Form(form): Form<Known>) -> PageResult {
    let city = city_of_form(&context, &form.city)?.clone();
    let tariff = form.read()?;
    let withdraw = async |conn: &Conn, write: &Write<'_>| catalogue::withdraw_tariff(conn, write, &tariff).await;
    let outcome = ops::catalogue::change(&context.service, &context.auth()?, None, withdraw).await;
    if tariff.valid_from > context.now {
        let done = format!("Scheduled price withdrawn. {EVERYWHERE}");
        return context.respond(outcome, &paths::tariffs(&city.slug), &done);
    }
    // Rides may have been charged by it; only operators give credits.
    let operates = context.cookie.as_ref().is_some_and(|cookie| cookie.roles.operates(&city.slug));
    let back = if operates && outcome.is_ok() { price_credits::path(&tariff) } else { paths::tariffs(&city.slug) };
    context.respond(outcome, &back, &format!("Price withdrawn; the previous one applies again. {EVERYWHERE}"))
}
