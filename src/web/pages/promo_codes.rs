//! `/admin/promo-codes`: the codes and their use in each region, adding one, changing its end and
//! limits, and the rides that used one as a file. A code's total is split over the regions of its
//! cities, all of which must answer when quota is granted. All times are in UTC.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use actix_web::web::Path;
use askama::Template;
use chrono::{DateTime, DurationRound, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::{EVERYWHERE, administrator, city_of_form, each_region};
use crate::{
    db::{Conn, Write, catalogue, exports},
    domain::{
        Catalogue, City, Currency, Moment, Region, RegionCode,
        catalogue::{PromoCode, PromoDiscount, is_promo_code},
        csv, money,
    },
    ops::{self, Done, overview::may_count},
    web::{
        BadRequest, FormState, FormWithState, Layout, PageError, PageResult, Pagination, Query, RequestContext,
        Section, filters, form,
    },
};

const PATH: &str = "/admin/promo-codes";

const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "pages/promo_codes.html")]
struct PromoCodesPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    now: DateTime<Utc>,
    regions: Vec<RegionUse<'a>>,
    form: FormState,
    codes: Vec<PromoRow<'a>>,
    pagination: Pagination,
}

struct RegionUse<'a> {
    region: &'a Region,
    /// The region's policy keeps its figures from here.
    hidden: bool,
    /// None when the region does not answer.
    used: Option<HashMap<String, i64>>,
}

impl RegionUse<'_> {
    fn used_of(&self, code: &str) -> Option<i64> {
        self.used.as_ref()?.get(code).copied()
    }
}

struct PromoRow<'a> {
    promo: &'a PromoCode,
    /// The original terms, as JSON.
    seen: String,
    form: FormState,
}

enum RejectedForm<'a> {
    Add(FormState),
    Change(&'a str, FormState),
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    #[serde(default)]
    after: String,
}

pub async fn list(context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    page(context, &query.after, None).await
}

/// The page after the code `after`, or beginning with the code of the rejected form.
async fn page(mut context: RequestContext, after: &str, rejected: Option<RejectedForm<'_>>) -> PageResult {
    administrator(&mut context).await?;
    let catalogue = &context.catalogue;
    let mut codes: Vec<&PromoCode> = catalogue.promo_codes.iter().collect();
    codes.sort_by_key(|promo| (promo.valid_until <= context.now, Reverse(promo.valid_from), &promo.code));
    let place = |code: &str| codes.iter().position(|promo| promo.code == code);
    let begin = match &rejected {
        Some(RejectedForm::Change(code, _)) => place(code).unwrap_or(0),
        _ => place(after).map_or(0, |at| at + 1),
    };
    let older = codes.get(begin + PAGE).and_then(|_| codes.get(begin + PAGE - 1));
    let older = older.map(|last| format!("{PATH}?after={}", last.code));
    let codes: Vec<&PromoCode> = codes.into_iter().skip(begin).take(PAGE).collect();
    let names: Vec<&str> = codes.iter().map(|promo| promo.code.as_str()).collect();
    let db = &context.service.db;
    let hidden = |region: &RegionCode| !may_count(&context.catalogue, region, &context.service.here);
    let list_used = async |region: &RegionCode| {
        if hidden(region) { Ok(Vec::new()) } else { catalogue::list_used(&db.at(region).await?, region, &names).await }
    };
    let regions = each_region(&context, list_used).await.into_iter();
    let of_region = |(region, used): (_, Option<Vec<_>>)| RegionUse {
        region,
        hidden: hidden(&region.code),
        used: used.map(HashMap::from_iter),
    };
    let regions = regions.map(of_region).collect();
    let rows = codes.into_iter().map(|promo| match &rejected {
        // What was typed stays based on what was seen then.
        Some(RejectedForm::Change(code, form)) if promo.code == *code => {
            PromoRow { promo, seen: form.value("seen").to_owned(), form: form.clone() }
        }
        _ => {
            let seen = json!([promo.valid_until.timestamp_micros(), promo.per_rider_limit, promo.quotas]).to_string();
            PromoRow { promo, seen, form: terms(promo) }
        }
    });
    let page = PromoCodesPage {
        layout: context.layout("Promo codes", Section::Fleet, context.city()),
        catalogue,
        now: context.now,
        regions,
        form: match &rejected {
            Some(RejectedForm::Add(form)) => form.clone(),
            _ => empty_form(context.now),
        },
        codes: rows.collect(),
        pagination: Pagination { newest: (begin > 0).then(|| PATH.to_owned()), older, sparse: false },
    };
    context.ok_or_invalid(rejected.is_some(), &page)
}

fn terms(promo: &PromoCode) -> FormState {
    FormState::default()
        .with("until", promo.valid_until.format(form::MOMENT).to_string())
        .with("per_rider", promo.per_rider_limit.to_string())
        .with("total", promo.total_limit.to_string())
}

fn ticked(form: &FormState, city: &City) -> bool {
    form.value("cities").split(',').any(|slug| slug == city.slug)
}

fn empty_form(now: DateTime<Utc>) -> FormState {
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    FormState::default()
        .with("from", hour.format(form::MOMENT).to_string())
        .with("until", (hour + TimeDelta::days(30)).format(form::MOMENT).to_string())
        .with("per_rider", "1")
}

#[derive(Debug, Deserialize)]
pub struct Add {
    code: String,
    #[serde(rename = "kind")]
    unit: String,
    value: String,
    #[serde(default)]
    cities: String,
    from: String,
    until: String,
    per_rider: String,
    total: String,
}

/// The most uses of a code.
const MOST: i64 = 1_000_000_000;

/// A whole number from `least` on that was typed.
fn number(text: &str, least: i64) -> Result<i64, String> {
    let read = text.trim().parse().ok().filter(|number| (least..=MOST).contains(number));
    read.ok_or_else(|| format!("Please enter a whole number from {least} to 1,000,000,000."))
}

fn code(text: &str) -> Result<String, String> {
    let code = text.trim().to_uppercase();
    if is_promo_code(&code) { Ok(code) } else { Err("Please enter 3 to 32 letters and digits.".to_owned()) }
}

fn discount(unit: &str, value: &str) -> Result<PromoDiscount, String> {
    let Ok(currency) = unit.parse() else {
        let percent = number(value, 1).ok().filter(|percent| *percent <= 100);
        let percent = percent.ok_or("Please enter a percentage from 1 to 100.")?;
        return Ok(PromoDiscount::Percent { percent });
    };
    let amount_minor = money::minor(value)?;
    if amount_minor == 0 {
        Err("A discount must be more than zero.".to_owned())
    } else {
        Ok(PromoDiscount::Amount { amount_minor, currency })
    }
}

pub async fn add(context: RequestContext, FormWithState(form, mut state): FormWithState<Add>) -> PageResult {
    let slugs = form.cities.split(',').filter(|slug| !slug.is_empty());
    let cities: Vec<&City> = slugs.map(|slug| city_of_form(&context, slug)).collect::<Result<_, _>>()?;
    let required = |text: &str| form::moment(text, Tz::UTC)?.ok_or_else(|| "Please enter a date and time.".to_owned());
    let from = state.check("from", required(&form.from));
    let until = required(&form.until).and_then(|until| {
        let good = until > context.now && from.is_some_and(|from| until > from);
        if good { Ok(until) } else { Err("It must end after it starts, and in the future.".to_owned()) }
    });
    let until = state.check("until", until);
    let code = state.check("code", code(&form.code));
    let discount = state.check("value", discount(&form.unit, &form.value));
    let per_rider = state.check("per_rider", number(&form.per_rider, 1));
    let total = state.check("total", number(&form.total, 1));
    if per_rider.zip(total).is_some_and(|(limit, total)| limit > total) {
        state.reject("per_rider", "The uses per rider cannot exceed the total uses.".to_owned());
    }
    let (Some(code), Some(discount), Some(valid_from), Some(valid_until), Some(per_rider_limit), Some(total_limit)) =
        (code, discount, from, until, per_rider, total)
    else {
        return page(context, "", Some(RejectedForm::Add(state))).await;
    };
    let slugs = cities.iter().map(|city| city.slug.clone()).collect();
    let quotas = BTreeMap::new();
    let mut promo =
        PromoCode { code, discount, cities: slugs, valid_from, valid_until, per_rider_limit, total_limit, quotas };
    promo.quotas = context.catalogue.split(&promo, total_limit);
    if let Some(city) = cities.iter().find(|city| !promo.is_for(city)) {
        state.reject("value", format!("Rides in {} are paid in {}.", city.name, city.currency));
    } else if promo.quotas.is_empty() {
        state.reject("value", "No city uses this currency.".to_owned());
    } else if promo.quotas.values().any(|part| *part == 0) {
        state.reject("total", format!("Please allow at least one use for each of its {} regions.", promo.quotas.len()));
    }
    if state.has_errors() {
        return page(context, "", Some(RejectedForm::Add(state))).await;
    }
    context.may_touch_all();
    let add = async |conn: &Conn, write: &Write<'_>| catalogue::add_promo_code(conn, write, &promo).await;
    let added = ops::catalogue::change(&context.service, &context.auth()?, Some(&promo), add).await;
    let Some(added) = context.unless_refused(&mut state, added, form::field_of) else {
        return page(context, "", Some(RejectedForm::Add(state))).await;
    };
    added?;
    Ok(context.done(PATH, &format!("{} is added. {EVERYWHERE}", promo.code)))
}

#[derive(Debug, Deserialize)]
pub struct Change {
    seen: String,
    until: String,
    per_rider: String,
    total: String,
    #[serde(default)]
    end: String,
}

pub async fn change(
    context: RequestContext,
    path: Path<String>,
    FormWithState(form, mut state): FormWithState<Change>,
) -> PageResult {
    let promo = context.catalogue.promo_code(&path).ok_or(PageError::NotFound)?.clone();
    let (micros, limit, shown): (i64, i64, BTreeMap<RegionCode, i64>) =
        serde_json::from_str(&form.seen).map_err(|_wrong| BadRequest::Field)?;
    if shown.values().any(|part| !(0..=MOST).contains(part)) {
        return Err(BadRequest::Field.into());
    }
    let until = DateTime::from_timestamp_micros(micros).and_then(Moment::new).ok_or(BadRequest::Field)?;
    let seen = PromoCode { valid_until: until.at(), per_rider_limit: limit, quotas: shown.clone(), ..promo.clone() };
    let mut new = promo.clone();
    if form.end.is_empty() {
        let minute = |at: DateTime<Utc>| at.format(form::MOMENT).to_string();
        let until = form::moment(&form.until, Tz::UTC).and_then(|until| match until {
            // The field knows minutes only, so an end that was not touched stays.
            Some(until) if minute(until) == minute(seen.valid_until) => Ok(seen.valid_until),
            Some(until) if until > context.now => Ok(until),
            _ => Err("This time has passed; use the button to end it now.".to_owned()),
        });
        // Limits only go up.
        let least: i64 = shown.values().sum();
        let (Some(valid_until), Some(per_rider_limit), Some(total_limit)) = (
            state.check("until", until),
            state.check("per_rider", number(&form.per_rider, limit)),
            state.check("total", number(&form.total, least)),
        ) else {
            return page(context, "", Some(RejectedForm::Change(&promo.code, state))).await;
        };
        let mut quotas = shown;
        for (region, more) in context.catalogue.split(&promo, total_limit - least) {
            *quotas.entry(region).or_default() += more;
        }
        new = PromoCode { valid_until, per_rider_limit, total_limit: quotas.values().sum(), quotas, ..new };
    } else {
        new.valid_until = context.now.trunc_subsecs(0);
        new.total_limit = shown.values().sum();
        new.quotas = shown;
        new.per_rider_limit = limit;
    }
    context.may_touch_all();
    let outcome = ops::catalogue::set_promo_code(&context.service, &context.auth()?, &seen, &new).await;
    context.respond(outcome.map(|_| Done::Now), PATH, &format!("{} is saved. {EVERYWHERE}", promo.code))
}

/// `GET /admin/promo-codes/{code}/rides.csv`: the rides that used a code, region by region, without
/// their riders; those whose figures may be counted here.
pub async fn rides(mut context: RequestContext, path: Path<String>) -> PageResult {
    administrator(&mut context).await?;
    let code = context.catalogue.promo_code(&path).ok_or(PageError::NotFound)?.code.clone();
    let regions = context.catalogue.regions.iter().map(|region| region.code.clone());
    let regions: Vec<_> =
        regions.filter(|region| may_count(&context.catalogue, region, &context.service.here)).collect();
    let (service, name) = (context.service.clone(), format!("movr-{code}.csv"));
    let read = async move |(n, after): (usize, Uuid)| {
        let Some(region) = regions.get(n) else { return Ok((String::new(), None)) };
        let (lines, next) = exports::promo_rides(&service.db.at(region).await?, region, &code, after).await?;
        Ok((lines, Some(next.map_or((n + 1, Uuid::nil()), |after| (n, after)))))
    };
    Ok(context.csv(&name, (csv::head(&exports::PROMO_COLUMNS), Some((0, Uuid::nil()))), read))
}
