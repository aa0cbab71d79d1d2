//! `/v`: unlocking a vehicle by the code on it, typed or scanned (`/v/CODE`).

use std::sync::Arc;

use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::vehicles::{blocked, typed_promo};
use crate::{
    db::vehicles::{self, Coded},
    domain::{City, Refusal, Tariff, vehicle::charge},
    web::{FormState, Layout, PageError, PageResult, Query, RequestContext, Section, filters, paths},
};

#[derive(Template)]
#[template(path = "pages/unlock.html")]
struct UnlockPage<'a> {
    layout: Layout,
    city: &'a City,
    form: FormState,
    found: Option<Offer<'a>>,
    promo: String,
    blocked: Option<String>,
}

struct Offer<'a> {
    vehicle: Coded,
    tariff: &'a Tariff,
    ride: Uuid,
}

impl Offer<'_> {
    /// In the steps that the public sees.
    fn battery(&self) -> i64 {
        charge(self.vehicle.battery)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    code: String,
    city: String,
}

pub async fn scanned(context: RequestContext, code: Path<String>, Query(query): Query<Parameters>) -> PageResult {
    page(context, &code, &query.city).await
}

pub async fn show(context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    page(context, &query.code, &query.city).await
}

/// Nothing typed: the field alone.
async fn page(mut context: RequestContext, typed: &str, slug: &str) -> PageResult {
    let (catalogue, auth, now) = (Arc::clone(&context.catalogue), context.auth()?, context.now);
    let slug = if slug.is_empty() { context.city().slug.clone() } else { slug.to_owned() };
    let city = catalogue.city(&slug).ok_or(PageError::NotFound)?;
    let code = typed.trim();
    let mut form = FormState::default().with("code", code);
    let mut found = None;
    if code.is_empty() {
        context.current_user().await?;
    } else {
        context.state.limits.vehicle_code(&auth.user.id.to_string())?;
        let at = (&city.region, city.slug.as_str());
        let read = context
            .read_signed_in(&city.region, async |conn| vehicles::find_by_code(conn, at, code, auth.user.id, now).await);
        found = read.await?.1;
        if found.is_none() {
            if let Some(other) = elsewhere(&context, city, code).await? {
                return Ok(context.done(&paths::unlock(&other, code), ""));
            }
            let text = format!(
                "We can't unlock a vehicle with this code in {} right now. Please check the code, or try another vehicle.",
                city.name
            );
            form.reject("code", text);
        }
    }
    let found = found.and_then(|vehicle| {
        let tariff = catalogue.tariff(&city.slug, &vehicle.vehicle_type, now)?;
        Some(Offer { vehicle, tariff, ride: context.service.ids.form() })
    });
    if found.is_some() && context.city().slug != city.slug {
        context.set_city(&city.slug);
    }
    let reserved = found.as_ref().and_then(|offer| offer.vehicle.refusal.as_ref());
    let page = UnlockPage {
        layout: context.layout("Unlock a vehicle", Section::Vehicles, city),
        city,
        blocked: blocked(&context, city).or(reserved.map(Refusal::message)),
        promo: typed_promo(&context, Uuid::nil()).to_owned(),
        form,
        found,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

/// The one other city that has the code. It asks all regions, once, so the address is throttled.
async fn elsewhere(context: &RequestContext, city: &City, code: &str) -> PageResult<Option<String>> {
    context.state.limits.search_everywhere(context.client_address())?;
    let others = context.catalogue.cities.iter().map(|city| city.slug.as_str());
    let others: Vec<&str> = others.filter(|slug| *slug != city.slug).collect();
    let mut found = vehicles::find_cities_of_code(&context.service.db.here().await?, &others, code).await?;
    Ok(found.pop().filter(|_| found.is_empty()))
}
