//! `/admin/promo-codes`: the codes with what is used of them in each region, adding one,
//! and changing its end and limits. A code's total is the sum of what the regions have,
//! so every region must answer when one is added or given more. All times are in UTC.

use std::sync::Arc;

use std::collections::{BTreeMap, HashMap};

use actix_web::{HttpResponse, web::Path};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use chrono_tz::Tz;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;

use super::{EVERYWHERE, administrator, number, typed};
use crate::{
    db::catalogue,
    domain::{
        catalogue::{PromoCode, PromoKind},
        money::{self, Currency},
        refusal::Refusal,
        region::RegionCode,
        stored::Moment,
    },
    ops::{self, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form, Query},
        layout::{layout, time},
        paths,
        views::{
            AddPromoView, FieldView, OptionView, PaginationView, PromoCodeView, PromoCodesPage, QuotaView, Section,
            TimeView,
        },
    },
};

const PATH: &str = "/admin/promo-codes";

/// Codes on one page.
const PAGE: usize = 50;

/// Where the list goes on: the last code before.
#[derive(Debug, Deserialize)]
pub struct After {
    #[serde(default)]
    after: String,
}

/// `GET /admin/promo-codes`.
pub async fn list(mut context: RequestContext, Query(query): Query<After>) -> Result<HttpResponse, PageError> {
    let page = page(&mut context, &query.after, None, None).await?;
    context.ok(&page)
}

/// The page behind the code `after`, with the form that adds a code, or beginning with one
/// code and its fields, as they were typed.
async fn page(
    context: &mut RequestContext,
    after: &str,
    add: Option<AddPromoView>,
    wrong: Option<(&str, [FieldView; 2], Vec<FieldView>)>,
) -> Result<PromoCodesPage, PageError> {
    let current_user = administrator(context).await?;
    let (service, catalogue) = (Arc::clone(&context.service), context.catalogue.clone());
    let mut codes: Vec<&PromoCode> = catalogue.promo_codes.iter().collect();
    codes.sort_by_key(|promo| (promo.valid_until <= context.now, std::cmp::Reverse(promo.valid_from), &promo.code));
    let place = |code: &str| codes.iter().position(|promo| promo.code == code);
    let begin = match &wrong {
        Some((code, ..)) => place(code).unwrap_or(0),
        None => place(after).map_or(0, |at| at + 1),
    };
    let older = codes.get(begin + PAGE).and_then(|_| codes.get(begin + PAGE - 1));
    let older = older.map(|last| format!("{PATH}?after={}", last.code));
    let codes: Vec<&PromoCode> = codes.into_iter().skip(begin).take(PAGE).collect();
    let names: Vec<&str> = codes.iter().map(|promo| promo.code.as_str()).collect();
    let asked = catalogue.regions.iter().map(async |region| {
        context.names(&region.code);
        catalogue::list_used(&service.db.at(&region.code).await?, &region.code, &names).await
    });
    let (mut used, mut notes) = (HashMap::new(), Vec::new());
    for (answer, region) in join_all(asked).await.into_iter().zip(&catalogue.regions) {
        match answer {
            Ok(quotas) => {
                used.extend(quotas.into_iter().map(|(code, used)| ((region.code.clone(), code), used)));
            }
            Err(error) => {
                tracing::warn!(%error, region = %region.code, "quotas were not read");
                notes.push(format!("The region {} does not answer; what is used there is not known.", region.code));
            }
        }
    }
    let mut views: Vec<PromoCodeView> = codes.iter().map(|promo| view(context, promo, &used)).collect();
    if let Some((code, [until, per_rider], quotas)) = wrong
        && let Some(view) = views.iter_mut().find(|view| view.code == code)
    {
        (view.until, view.per_rider) = (until, per_rider);
        view.quotas.iter_mut().zip(quotas).for_each(|(quota, field)| quota.field = field);
    }
    let form = add.unwrap_or_else(|| empty_form(context));
    Ok(PromoCodesPage {
        codes: views,
        pagination: PaginationView { newest: (begin > 0).then(|| PATH.to_owned()), older },
        notes,
        form,
        layout: layout(context, Some(&current_user), "Promo codes", Section::Fleet, context.city()),
    })
}

fn view(context: &RequestContext, promo: &PromoCode, used: &HashMap<(RegionCode, String), i64>) -> PromoCodeView {
    let ended = promo.valid_until <= context.now;
    let cities: Vec<&str> = promo.cities.iter().map(|slug| context.catalogue.city_name(slug)).collect();
    let quota = |region: &crate::domain::catalogue::Region| {
        let (granted, key) = (promo.quota(&region.code), (region.code.clone(), promo.code.clone()));
        QuotaView {
            used: used.get(&key).map_or("not known".to_owned(), |used| format!("{used} of {granted} used")),
            field: FieldView { value: granted.to_string(), error: None },
            ..empty_quota(region)
        }
    };
    PromoCodeView {
        code: promo.code.clone(),
        action: paths::promo_code(&promo.code),
        discount: match promo.discount {
            PromoKind::Percent { percent } => format!("{percent} % off"),
            PromoKind::Amount { amount_minor, currency } => format!("{} off", currency.format(amount_minor)),
        },
        cities: if cities.is_empty() { "all cities".to_owned() } else { cities.join(", ") },
        word: match (ended, promo.valid_from > context.now) {
            (true, _) => ("Ended", ""),
            (_, true) => ("To come", "maintenance"),
            _ => ("Valid", "available"),
        },
        from: moment(promo.valid_from),
        ends: moment(promo.valid_until),
        ended,
        seen: json!([promo.valid_until.timestamp_micros(), promo.per_rider_limit, promo.quotas]).to_string(),
        total: promo.total_limit,
        until: FieldView { value: promo.valid_until.format(form::MOMENT).to_string(), error: None },
        per_rider: FieldView { value: promo.per_rider_limit.to_string(), error: None },
        quotas: context.catalogue.regions.iter().map(quota).collect(),
    }
}

fn moment(at: DateTime<Utc>) -> TimeView {
    TimeView { text: at.format("%-d %b %Y, %H:%M UTC").to_string(), ..time(at, Tz::UTC) }
}

fn empty_quota(region: &crate::domain::catalogue::Region) -> QuotaView {
    QuotaView { region: region.code.to_string(), name: region.name.clone(), ..QuotaView::default() }
}

fn kinds(chosen: &str) -> Vec<OptionView> {
    let percent = ("percent", "percent".to_owned());
    let amounts = Currency::ALL.into_iter().map(|currency| (currency.as_str(), format!("{currency} off a ride")));
    let option =
        |(value, text): (&str, String)| OptionView { selected: value == chosen, value: value.to_owned(), text };
    std::iter::once(percent).chain(amounts).map(option).collect()
}

fn empty_form(context: &RequestContext) -> AddPromoView {
    let field = |value: &str| FieldView { value: value.to_owned(), error: None };
    let hour = context.now.duration_trunc(TimeDelta::hours(1)).unwrap_or(context.now);
    AddPromoView {
        kinds: kinds("percent"),
        from: field(&hour.format(form::MOMENT).to_string()),
        until: field(&(hour + TimeDelta::days(30)).format(form::MOMENT).to_string()),
        per_rider: field("1"),
        quotas: context.catalogue.regions.iter().map(empty_quota).collect(),
        ..AddPromoView::default()
    }
}

/// A new code, as typed; the regions' parts are fields named `quota-REGION`.
#[derive(Debug, Deserialize)]
pub struct Add {
    code: String,
    kind: String,
    value: String,
    #[serde(default)]
    cities: String,
    from: String,
    until: String,
    per_rider: String,
    #[serde(flatten)]
    quotas: HashMap<String, String>,
}

/// The parts that were typed, for each region of the catalogue in its order.
fn quotas(context: &RequestContext, typed: &HashMap<String, String>) -> Vec<(RegionCode, String, Result<i64, String>)> {
    let read = |region: &crate::domain::catalogue::Region| {
        let text = typed.get(&format!("quota-{}", region.code)).cloned().unwrap_or_default();
        let part = if text.trim().is_empty() { Ok(0) } else { number(&text, 0) };
        (region.code.clone(), text, part)
    };
    context.catalogue.regions.iter().map(read).collect()
}

fn sum(quotas: &[(RegionCode, String, Result<i64, String>)]) -> Option<(i64, BTreeMap<RegionCode, i64>)> {
    let parts: Option<BTreeMap<_, _>> =
        quotas.iter().map(|(region, _, part)| Some((region.clone(), *part.as_ref().ok()?))).collect();
    let parts = parts?;
    Some((parts.values().sum(), parts))
}

fn code(text: &str) -> Result<String, String> {
    let code = text.trim().to_uppercase();
    let good = (3..=32).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if good { Ok(code) } else { Err("3 to 32 letters and digits, please.".to_owned()) }
}

fn discount(kind: &str, value: &str) -> Result<PromoKind, String> {
    let Ok(currency) = kind.parse() else {
        let percent = number(value, 1).ok().filter(|percent| *percent <= 100);
        let percent = percent.ok_or("Please enter a percentage from 1 to 100.")?;
        return Ok(PromoKind::Percent { percent });
    };
    let amount_minor = money::minor(value)?;
    if amount_minor == 0 {
        Err("Nothing off is no discount.".to_owned())
    } else {
        Ok(PromoKind::Amount { amount_minor, currency })
    }
}

/// `POST /admin/promo-codes`.
pub async fn add(mut context: RequestContext, Form(form): Form<Add>) -> Result<HttpResponse, PageError> {
    let slugs: Vec<String> =
        form.cities.split([',', ' ']).filter(|slug| !slug.is_empty()).map(str::to_lowercase).collect();
    let unknown = slugs.iter().find(|slug| context.catalogue.city(slug).is_none());
    let cities = unknown.map_or(Ok(()), |slug| Err(format!("There is no city {slug}.")));
    let required = |text: &str| form::moment(text, Tz::UTC)?.ok_or_else(|| "Please enter date and time.".to_owned());
    let (mut code, discount) = (code(&form.code), discount(&form.kind, &form.value));
    let (from, until) = (required(&form.from), required(&form.until));
    let until = until.and_then(|until| {
        let good = until > context.now && from.as_ref().is_ok_and(|from| until > *from);
        if good { Ok(until) } else { Err("It must end after it begins, and after now.".to_owned()) }
    });
    let (mut quotas, mut per_rider) = (quotas(&context, &form.quotas), number(&form.per_rider, 1));
    let total = sum(&quotas);
    if let (Ok(limit), Some((total, _)), Some((.., first))) = (&per_rider, &total, quotas.first_mut()) {
        if *total == 0 {
            *first = Err("All regions together need at least one ride.".to_owned());
        } else if limit > total {
            per_rider = Err("One rider cannot take more rides than all together.".to_owned());
        }
    }
    if let (Ok(name), Ok(discount), Ok(()), Ok(from), Ok(until), Ok(limit), Some((total, parts))) =
        (&code, &discount, &cities, &from, &until, &per_rider, total.filter(|(total, _)| *total > 0))
    {
        let promo = PromoCode {
            code: name.clone(),
            discount: *discount,
            cities: slugs,
            valid_from: *from,
            valid_until: *until,
            per_rider_limit: *limit,
            total_limit: total,
            quotas: parts,
        };
        name_all(&context);
        match ops::catalogue::add_promo_code(&context.service, &context.auth()?, &promo).await {
            Ok(_) => return Ok(context.done(PATH, &format!("{name} is added. {EVERYWHERE}"))),
            Err(OpError::Refused(refusal @ Refusal::PromoTaken)) => code = Err(refusal.message()),
            Err(error) => return Err(error.into()),
        }
    }
    let parts = context.catalogue.regions.iter().zip(&quotas);
    let form = AddPromoView {
        code: typed(&form.code, &code),
        kinds: kinds(&form.kind),
        value: typed(&form.value, &discount),
        cities: typed(&form.cities, &cities),
        from: typed(&form.from, &from),
        until: typed(&form.until, &until),
        per_rider: typed(&form.per_rider, &per_rider),
        quotas: parts
            .map(|(region, (_, text, part))| QuotaView { field: typed(text, part), ..empty_quota(region) })
            .collect(),
        open: true,
    };
    let page = page(&mut context, "", Some(form), None).await?;
    context.wrong(&page)
}

/// A code has a quota in every region.
fn name_all(context: &RequestContext) {
    context.catalogue.regions.iter().for_each(|region| context.names(&region.code));
}

/// Other terms of a code, and those that the page showed.
#[derive(Debug, Deserialize)]
pub struct Change {
    seen: String,
    until: String,
    per_rider: String,
    #[serde(default)]
    end: String,
    #[serde(flatten)]
    quotas: HashMap<String, String>,
}

/// `POST /admin/promo-codes/{code}`.
pub async fn change(
    mut context: RequestContext,
    path: Path<String>,
    Form(form): Form<Change>,
) -> Result<HttpResponse, PageError> {
    let promo = context.catalogue.promo_code(&path).ok_or(PageError::NotFound)?.clone();
    let bad = || PageError::BadRequest("A field is not as it was.");
    let (micros, limit, shown): (i64, i64, BTreeMap<RegionCode, i64>) =
        serde_json::from_str(&form.seen).map_err(|_bad| bad())?;
    let seen = PromoCode {
        valid_until: DateTime::from_timestamp_micros(micros).and_then(Moment::new).ok_or_else(bad)?.at(),
        per_rider_limit: limit,
        quotas: shown.clone(),
        ..promo.clone()
    };
    let mut new = promo.clone();
    if form.end.is_empty() {
        let until = form::moment(&form.until, Tz::UTC).and_then(|until| match until {
            // The field knows minutes only, so an end that was not touched stays.
            Some(until)
                if until.format(form::MOMENT).to_string() == seen.valid_until.format(form::MOMENT).to_string() =>
            {
                Ok(seen.valid_until)
            }
            Some(until) if until > context.now => Ok(until),
            _ => Err("This time has passed; use the button to end it now.".to_owned()),
        });
        let per_rider = number(&form.per_rider, limit);
        let mut quotas = quotas(&context, &form.quotas);
        for (region, _, part) in &mut quotas {
            let least = shown.get(region).copied().unwrap_or(0);
            if part.as_ref().is_ok_and(|part| *part < least) {
                *part = Err(format!("Limits only go up: at least {least}."));
            }
        }
        let (Ok(valid_until), Ok(limit), Some((total, parts))) = (&until, &per_rider, sum(&quotas)) else {
            let fields = quotas.iter().map(|(_, text, part)| typed(text, part)).collect();
            let own = [typed(&form.until, &until), typed(&form.per_rider, &per_rider)];
            let page = page(&mut context, "", None, Some((&promo.code, own, fields))).await?;
            return context.wrong(&page);
        };
        (new.valid_until, new.per_rider_limit, new.total_limit) = (*valid_until, *limit, total);
        // A region that had no part and gets none stays unnamed.
        new.quotas = parts.into_iter().filter(|(region, part)| *part > 0 || shown.contains_key(region)).collect();
    } else {
        new.valid_until = context.now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(context.now);
        new.quotas = shown;
        new.per_rider_limit = limit;
    }
    name_all(&context);
    match ops::catalogue::set_promo_code(&context.service, &context.auth()?, &seen, &new).await {
        Ok(_) => Ok(context.done(PATH, &format!("{} is changed. {EVERYWHERE}", promo.code))),
        Err(OpError::Refused(refusal @ Refusal::Changed)) => Ok(context.refused(PATH, &refusal.message())),
        Err(error) => Err(error.into()),
    }
}
