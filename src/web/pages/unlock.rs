//! `/v`: unlocking the vehicle in front of one by the code on it, typed or scanned (`/v/CODE`). A code
//! stays, so only whoever stands next to the vehicle learns that it is there.

use std::sync::Arc;

use actix_web::web::Path;
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::vehicles::{blocked, typed_promo};
use crate::{
    db::vehicles::{self, Coded},
    domain::{City, Point, Refusal, Tariff, vehicle::charge},
    web::{FormState, Layout, PageResult, Query, RequestContext, Section, filters, form},
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
    at: Point,
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
    lat: String,
    lon: String,
}

/// The code filled in; where the person stands is asked for.
pub async fn scanned(mut context: RequestContext, code: Path<String>) -> PageResult {
    context.current_user().await?;
    let city = context.city().clone();
    page(&context, &city, FormState::default().with("code", code.trim()), None)
}

pub async fn show(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let (catalogue, auth, now) = (Arc::clone(&context.catalogue), context.auth()?, context.now);
    let (code, chosen) = (query.code.trim(), context.city().clone());
    let mut form = FormState::default().with("code", code).with("lat", &*query.lat).with("lon", &*query.lon);
    if code.is_empty() {
        context.current_user().await?;
        return page(&context, &chosen, form, None);
    }
    // Cities may overlap: the chosen one first.
    let place = form::required_point(&query.lat, &query.lon, "your position").and_then(|at| {
        let city = Some(&chosen).filter(|city| city.allows(at)).or_else(|| catalogue.nearest_city(at));
        let city = city.unwrap_or(&chosen);
        Ok((city, city.check(at)?))
    });
    let Some((city, at)) = form.check("lat", place) else {
        context.current_user().await?;
        return page(&context, &chosen, form, None);
    };
    context.state.limits.vehicle_code(&auth.user.id.to_string())?;
    let there = (&city.region, city.slug.as_str(), at);
    let read = context
        .read_signed_in(&city.region, async |conn| vehicles::find_by_code(conn, there, code, auth.user.id, now).await);
    let found = read.await?.1.and_then(|vehicle| {
        let tariff = catalogue.tariff(&city.slug, &vehicle.vehicle_type, now)?;
        Some(Offer { vehicle, tariff, ride: context.service.ids.form(), at })
    });
    if found.is_none() {
        let text = format!(
            "We can't unlock a vehicle with this code in {} right now. Please stand next to it and check the code, \
             or try another vehicle.",
            city.name
        );
        form.reject("code", text);
    } else if context.city().slug != city.slug {
        context.set_city(&city.slug);
    }
    page(&context, city, form, found)
}

fn page(context: &RequestContext, city: &City, form: FormState, found: Option<Offer<'_>>) -> PageResult {
    let reserved = found.as_ref().and_then(|offer| offer.vehicle.refusal.as_ref());
    let page = UnlockPage {
        layout: context.layout("Unlock a vehicle", Section::Vehicles, city),
        city,
        blocked: blocked(context, city).or(reserved.map(Refusal::message)),
        promo: typed_promo(context, Uuid::nil()).to_owned(),
        form,
        found,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}
