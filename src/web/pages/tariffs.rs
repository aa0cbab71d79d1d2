//! `/fleet/tariffs`: a city's past, current and future prices, for its operators and for
//! administrators. Read from the catalogue in memory. A ride keeps the tariff it began with.

use std::sync::Arc;

use askama::Template;
use chrono::{DateTime, DurationRound, SubsecRound, TimeDelta, Utc};
use serde::Deserialize;

use super::{CityQuery, EVERYWHERE, city_for};
use crate::{
    db::catalogue,
    domain::{City, Moment, Tariff, VehicleType, money},
    ops,
    web::{
        BadRequest, Form, FormState, FormWithState, Layout, PageError, PageResult, Query, RequestContext, Section,
        filters, form, paths,
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
    seen: String,
    form: FormState,
}

struct TariffRow<'a> {
    tariff: &'a Tariff,
    future: bool,
    current: bool,
}

pub async fn list(context: RequestContext, Query(query): Query<CityQuery>) -> PageResult {
    page(context, &query.city, None).await
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
    let of_type = |tariff: &&Tariff| tariff.city == city.slug && tariff.vehicle_type == vehicle_type.slug;
    let mut tariffs: Vec<&Tariff> = context.catalogue.tariffs.iter().filter(of_type).collect();
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
        seen: catalogue::seen(tariffs.iter().copied()).to_string(),
        tariffs: tariffs
            .into_iter()
            .map(|tariff| TariffRow {
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

#[derive(Debug, Deserialize)]
pub struct Set {
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    seen: String,
    #[serde(default)]
    from: String,
    unlock: String,
    minute: String,
    fee: String,
    #[serde(default)]
    most: String,
}

pub async fn set(context: RequestContext, FormWithState(form, mut state): FormWithState<Set>) -> PageResult {
    let city = context.catalogue.city(&form.city).ok_or(PageError::NotFound)?.clone();
    let vehicle_type = context.catalogue.vehicle_type(&form.vehicle_type).ok_or(PageError::NotFound)?.clone();
    let seen = serde_json::from_str(&form.seen).map_err(|_wrong| BadRequest::Field)?;
    let from = form::moment(&form.from, city.time_zone).and_then(|at| match at {
        Some(at) if at <= context.now => Err("This time has passed. Leave it empty for at once.".to_owned()),
        Some(at) => Ok(at),
        None => Ok(context.now.trunc_subsecs(0)),
    });
    let most = Some(form.most.trim()).filter(|text| !text.is_empty()).map(money::minor).transpose();
    let (Some(valid_from), Some(unlock), Some(per_minute), Some(fee), Some(most)) = (
        state.check("from", from),
        state.check("unlock", money::minor(&form.unlock)),
        state.check("minute", money::minor(&form.minute)),
        state.check("fee", money::minor(&form.fee)),
        state.check("most", most),
    ) else {
        return page(context, &form.city, Some((vehicle_type.slug, state))).await;
    };
    let tariff = Tariff {
        city: city.slug.clone(),
        vehicle_type: vehicle_type.slug,
        unlock_minor: unlock,
        per_minute_minor: per_minute,
        out_of_area_fee_minor: fee,
        max_charge_minor: most,
        valid_from,
    };
    let outcome = ops::catalogue::set_tariff(&context.service, &context.auth()?, &tariff, &seen).await;
    let from = valid_from.with_timezone(&city.time_zone).format(city.units.date_and_time());
    let done = format!("New {} price from {from}. {EVERYWHERE}", vehicle_type.name.to_lowercase());
    context.respond(outcome, &paths::tariffs(&city.slug), &done)
}

#[derive(Debug, Deserialize)]
pub struct Withdraw {
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

pub async fn withdraw(context: RequestContext, Form(form): Form<Withdraw>) -> PageResult {
    let city = context.catalogue.city(&form.city).ok_or(PageError::NotFound)?.clone();
    let number = |text: &str| text.parse().map_err(|_wrong| BadRequest::Field);
    let valid_from = DateTime::from_timestamp(number(&form.from)?, 0).and_then(Moment::new);
    let tariff = Tariff {
        city: form.city,
        vehicle_type: form.vehicle_type,
        unlock_minor: number(&form.unlock)?,
        per_minute_minor: number(&form.minute)?,
        out_of_area_fee_minor: number(&form.fee)?,
        max_charge_minor: if form.most.is_empty() { None } else { Some(number(&form.most)?) },
        valid_from: valid_from.ok_or(BadRequest::Field)?.at(),
    };
    let outcome = ops::catalogue::withdraw_tariff(&context.service, &context.auth()?, &tariff).await;
    let done = format!("Scheduled price withdrawn. {EVERYWHERE}");
    context.respond(outcome, &paths::tariffs(&city.slug), &done)
}
