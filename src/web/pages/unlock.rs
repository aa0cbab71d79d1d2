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
    domain::{City, Point, Tariff, vehicle::charge},
    web::{FormState, FormWithState, Layout, PageResult, RequestContext, Section, filters, form},
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

/// Asks for the code, which a scanned one fills in, and where the person stands.
pub async fn form(mut context: RequestContext, scanned: Option<Path<String>>) -> PageResult {
    context.current_user().await?;
    let code = scanned.map(Path::into_inner).unwrap_or_default();
    page(&context, context.city(), FormState::default().with("code", code.trim()), None)
}

#[derive(Deserialize)]
pub struct Asked {
    code: String,
    lat: String,
    lon: String,
}

/// Looks the code up and writes nothing: posted, because where a person stands is no part of an address.
pub async fn find(mut context: RequestContext, FormWithState(asked, mut form): FormWithState<Asked>) -> PageResult {
    let (catalogue, auth, now) = (Arc::clone(&context.catalogue), context.auth()?, context.now);
    let chosen = context.city().clone();
    // Cities may overlap: the chosen one first.
    let place = form::required_point(&asked.lat, &asked.lon, "your position").and_then(|at| {
        let city = Some(&chosen).filter(|city| city.allows(at)).or_else(|| catalogue.nearest_city(at));
        let city = city.unwrap_or(&chosen);
        Ok((city, city.check(at)?))
    });
    let code = match asked.code.trim() {
        "" => Err("Please enter the code on the vehicle.".to_owned()),
        code => Ok(code),
    };
    let (Some(code), Some((city, at))) = (form.check("code", code), form.check("lat", place)) else {
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
    let refused = found.as_ref().and_then(|offer| offer.vehicle.refusal.as_ref());
    let page = UnlockPage {
        layout: context.layout("Unlock a vehicle", Section::Vehicles, city),
        city,
        blocked: blocked(context, city).or(refused.map(|refusal| context.words(refusal))),
        promo: match typed_promo(context, Uuid::nil()) {
            "" => form.value("promo"),
            refused => refused,
        }
        .to_owned(),
        form,
        found,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}
