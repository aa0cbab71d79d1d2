//! `/fleet/tariffs`: the prices of a city, what holds, what held and what comes, for its
//! operators and for administrators. Read from the catalogue in memory. The form carries
//! what it showed; a ride that has begun keeps the tariff it began with.

use actix_web::HttpResponse;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::Deserialize;

use super::{EVERYWHERE, fleet::city_for, typed};
use crate::{
    db::catalogue::changes,
    domain::{
        catalogue::{City, Tariff, VehicleType},
        money,
        refusal::Refusal,
        stored::Moment,
    },
    ops::{self, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form, Query},
        layout::{self, layout},
        paths,
        views::{FieldView, KindTariffsView, OptionView, Section, TariffView, TariffsPage, TimeView},
    },
};

/// Which city.
#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    city: String,
}

/// `GET /fleet/tariffs`.
pub async fn list(mut context: RequestContext, Query(asked): Query<Asked>) -> Result<HttpResponse, PageError> {
    let page = page(&mut context, &asked.city, None).await?;
    context.ok(&page)
}

/// The page, with the form of one vehicle type as it was typed.
async fn page(
    context: &mut RequestContext,
    asked: &str,
    wrong: Option<KindTariffsView>,
) -> Result<TariffsPage, PageError> {
    let current_user = context.current_user().await?;
    let city =
        city_for(context, &current_user, asked, |slug| current_user.administers() || current_user.operates(slug))?;
    let mut kinds = Vec::with_capacity(context.catalogue.vehicle_types.len());
    for kind in &context.catalogue.vehicle_types {
        let mut view = kind_view(context, &city, kind);
        if let Some(wrong) = wrong.as_ref().filter(|wrong| wrong.slug == kind.slug) {
            let KindTariffsView { seen, from, unlock, minute, fee, most, .. } = wrong.clone();
            view = KindTariffsView { seen, from, unlock, minute, fee, most, ..view };
        }
        kinds.push(view);
    }
    let offered =
        context.catalogue.cities.iter().filter(|c| current_user.administers() || current_user.operates(&c.slug));
    let option = |c: &City| OptionView { value: c.slug.clone(), text: c.name.clone(), selected: c.slug == city.slug };
    Ok(TariffsPage {
        cities: offered.map(option).collect(),
        terms: format!("{}, {}", city.time_zone.name().replace('_', " "), city.currency),
        kinds,
        layout: layout(context, Some(&current_user), &format!("Tariffs in {}", city.name), Section::Fleet, &city),
        city: city.name,
        slug: city.slug,
    })
}

fn kind_view(context: &RequestContext, city: &City, kind: &VehicleType) -> KindTariffsView {
    let of_kind = |tariff: &&Tariff| tariff.city == city.slug && tariff.vehicle_type == kind.slug;
    let mut tariffs: Vec<&Tariff> = context.catalogue.tariffs.iter().filter(of_kind).collect();
    tariffs.sort_by_key(|tariff| std::cmp::Reverse(tariff.valid_from));
    let now = context.catalogue.tariff(&city.slug, &kind.slug, context.now);
    let view = |tariff: &&Tariff| {
        let minor = [tariff.unlock_minor, tariff.per_minute_minor, tariff.out_of_area_fee_minor];
        let future = tariff.valid_from > context.now;
        TariffView {
            from: TimeView { text: date(tariff.valid_from, city), ..layout::time(tariff.valid_from, city.time_zone) },
            epoch: tariff.valid_from.timestamp(),
            prices: minor.map(|minor| city.currency.format(minor)),
            most: tariff.max_charge_minor.map(|minor| city.currency.format(minor)),
            minor,
            most_minor: tariff.max_charge_minor.map(|minor| minor.to_string()).unwrap_or_default(),
            word: match (future, now == Some(*tariff)) {
                (true, _) => ("To come", "maintenance"),
                (_, true) => ("Now", "available"),
                _ => ("", ""),
            },
            future,
        }
    };
    let field = |value: Option<i64>| FieldView { value: value.map(money::plain).unwrap_or_default(), error: None };
    KindTariffsView {
        slug: kind.slug.clone(),
        name: kind.name.clone(),
        seen: changes::seen(tariffs.iter().copied()).to_string(),
        tariffs: tariffs.iter().map(view).collect(),
        from: FieldView { value: next_hour(context.now, city), error: None },
        unlock: field(now.map(|tariff| tariff.unlock_minor)),
        minute: field(now.map(|tariff| tariff.per_minute_minor)),
        fee: field(now.map(|tariff| tariff.out_of_area_fee_minor)),
        most: field(now.and_then(|tariff| tariff.max_charge_minor)),
    }
}

/// As in "1 Jan 2024, 00:00".
fn date(at: DateTime<Utc>, city: &City) -> String {
    at.with_timezone(&city.time_zone).format("%-d %b %Y, %H:%M").to_string()
}

fn next_hour(now: DateTime<Utc>, city: &City) -> String {
    let next = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now) + TimeDelta::hours(1);
    next.with_timezone(&city.time_zone).format(form::MOMENT).to_string()
}

/// A new price, and the tariffs that the form showed.
#[derive(Debug, Deserialize)]
pub struct Set {
    city: String,
    #[serde(rename = "type")]
    kind: String,
    seen: String,
    #[serde(default)]
    from: String,
    unlock: String,
    minute: String,
    fee: String,
    #[serde(default)]
    most: String,
}

/// `POST /fleet/tariffs`.
pub async fn set(mut context: RequestContext, Form(form): Form<Set>) -> Result<HttpResponse, PageError> {
    let city = context.catalogue.city(&form.city).ok_or(PageError::NotFound)?.clone();
    let kind = context.catalogue.vehicle_type(&form.kind).ok_or(PageError::NotFound)?.clone();
    let seen = serde_json::from_str(&form.seen).map_err(|_bad| PageError::BadRequest("A field is not as it was."))?;
    let from = form::moment(&form.from, city.time_zone).and_then(|at| match at {
        Some(at) if at <= context.now => Err("This time has passed. Leave it empty for at once.".to_owned()),
        Some(at) => Ok(at),
        None => Ok(context.now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(context.now)),
    });
    let prices = [&form.unlock, &form.minute, &form.fee].map(|text| money::minor(text));
    let most = Some(form.most.trim()).filter(|text| !text.is_empty()).map(money::minor).transpose();
    let (Ok(valid_from), [Ok(unlock_minor), Ok(per_minute_minor), Ok(out_of_area_fee_minor)], Ok(max_charge_minor)) =
        (&from, &prices, &most)
    else {
        let [unlock, minute, fee] = &prices;
        let wrong = KindTariffsView {
            slug: kind.slug,
            seen: form.seen,
            from: typed(&form.from, &from),
            unlock: typed(&form.unlock, unlock),
            minute: typed(&form.minute, minute),
            fee: typed(&form.fee, fee),
            most: typed(&form.most, &most),
            ..KindTariffsView::default()
        };
        let page = page(&mut context, &form.city, Some(wrong)).await?;
        return context.wrong(&page);
    };
    let tariff = Tariff {
        city: city.slug.clone(),
        vehicle_type: kind.slug,
        unlock_minor: *unlock_minor,
        per_minute_minor: *per_minute_minor,
        out_of_area_fee_minor: *out_of_area_fee_minor,
        max_charge_minor: *max_charge_minor,
        valid_from: *valid_from,
    };
    let done = ops::catalogue::changes::set_tariff(&context.service, &context.auth()?, &tariff, &seen).await;
    let from = date(tariff.valid_from, &city);
    finish(&context, &city, done, &format!("{} costs this from {from} on. {EVERYWHERE}", kind.name))
}

/// The tariff that shall not come, as the page showed it.
#[derive(Debug, Deserialize)]
pub struct Withdraw {
    city: String,
    #[serde(rename = "type")]
    kind: String,
    from: String,
    unlock: String,
    minute: String,
    fee: String,
    #[serde(default)]
    most: String,
}

/// `POST /fleet/tariffs/withdraw`.
pub async fn withdraw(context: RequestContext, Form(form): Form<Withdraw>) -> Result<HttpResponse, PageError> {
    let city = context.catalogue.city(&form.city).ok_or(PageError::NotFound)?.clone();
    let number = |text: &str| text.parse().map_err(|_bad| PageError::BadRequest("A field is not as it was."));
    let valid_from = DateTime::from_timestamp(number(&form.from)?, 0).and_then(Moment::new);
    let tariff = Tariff {
        city: form.city,
        vehicle_type: form.kind,
        unlock_minor: number(&form.unlock)?,
        per_minute_minor: number(&form.minute)?,
        out_of_area_fee_minor: number(&form.fee)?,
        max_charge_minor: if form.most.is_empty() { None } else { Some(number(&form.most)?) },
        valid_from: valid_from.ok_or(PageError::BadRequest("A field is not as it was."))?.at(),
    };
    let done = ops::catalogue::changes::withdraw_tariff(&context.service, &context.auth()?, &tariff).await;
    finish(&context, &city, done, &format!("The tariff will not come. {EVERYWHERE}"))
}

fn finish(
    context: &RequestContext,
    city: &City,
    done: Result<ops::Done, OpError>,
    good: &str,
) -> Result<HttpResponse, PageError> {
    let back = paths::tariffs(&city.slug);
    match done {
        Ok(_) => Ok(context.done(&back, good)),
        Err(OpError::Refused(refusal @ Refusal::Changed)) => Ok(context.refused(&back, &refusal.message())),
        Err(error) => Err(error.into()),
    }
}
