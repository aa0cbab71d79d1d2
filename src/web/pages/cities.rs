//! `/admin/cities`: the cities by region, adding one with its service area and first tariffs, and
//! changing one: name, centre, time zone, area, and pausing it. Read from the catalogue in memory.

use std::f64::consts::TAU;

use actix_web::web::Path;
use askama::Template;
use chrono::SubsecRound;
use chrono_tz::Tz;
use serde::Deserialize;

use super::{
    EVERYWHERE, administrator,
    map::{self, MapView},
    region_of_form,
};
use crate::{
    db::{Conn, Write, catalogue},
    domain::{
        Catalogue, City, Currency, Point, RegionCode, Tariff, Units, VehicleType, Version,
        catalogue::{check_area, fold, is_slug},
        geo::Polygon,
        money, people,
    },
    ops::{self, Done},
    web::{BadRequest, FormState, FormWithState, Layout, PageError, PageResult, RequestContext, Section, form, paths},
};

const PATH: &str = "/admin/cities";

#[derive(Template)]
#[template(path = "pages/cities.html")]
struct CitiesPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    form: FormState,
}

pub async fn list(context: RequestContext) -> PageResult {
    page(context, None).await
}

async fn page(mut context: RequestContext, rejected: Option<FormState>) -> PageResult {
    administrator(&mut context).await?;
    let wrong = rejected.is_some();
    let here = context.service.here.as_str();
    let page = CitiesPage {
        layout: context.layout("Cities", Section::Fleet, context.city()),
        catalogue: &context.catalogue,
        form: rejected.unwrap_or_else(|| FormState::default().with("region", here).with("radius", "5")),
    };
    context.ok_or_invalid(wrong, &page)
}

/// A new city; its tariffs are fields named `unlock-TYPE`, `minute-TYPE`, `fee-TYPE`.
#[derive(Debug, Deserialize)]
pub struct Add {
    name: String,
    #[serde(default)]
    slug: String,
    #[serde(default)]
    country: String,
    region: RegionCode,
    lat: String,
    lon: String,
    zone: String,
    currency: String,
    #[serde(default)]
    radius: String,
    #[serde(default)]
    area: String,
}

/// Of a service area that is made from a radius.
const CORNERS: u8 = 16;
const DEGREE_M: f64 = 111_195.0;

/// The typed ring, or one around the centre.
fn area(centre: Point, ring: &str, radius: &str) -> Result<Polygon, String> {
    let area = if ring.trim().is_empty() {
        let km: f64 = radius.trim().replace(',', ".").parse().unwrap_or(0.0);
        if !(0.1..=45.0).contains(&km) {
            return Err("Please enter a radius from 0.1 to 45 km.".to_owned());
        }
        let degrees = km * 1000.0 / DEGREE_M;
        let corner = |n: u8| {
            let angle = f64::from(n) / f64::from(CORNERS) * TAU;
            let lon = centre.lon() + degrees * angle.sin() / centre.lat().to_radians().cos().max(0.01);
            // Six decimals are 10 cm.
            let round = |degrees: f64| (degrees * 1e6).round() / 1e6;
            Point::new(round(centre.lat() + degrees * angle.cos()), round(lon))
        };
        let corners: Result<Vec<_>, _> = (0..CORNERS).map(corner).collect();
        corners.and_then(Polygon::new).map_err(|_range| "The area reaches over the edge of the map.".to_owned())?
    } else {
        let ring: Result<Vec<[f64; 2]>, _> = serde_json::from_str(ring);
        let ring = ring.ok().filter(|ring| ring.len() <= 500).and_then(|ring| Polygon::try_from(ring).ok());
        ring.ok_or("Please enter 3 to 500 points as [[longitude, latitude], ...].")?
    };
    check_area(&area, centre)?;
    Ok(area)
}

fn slug(text: &str, name: &str) -> Result<String, String> {
    let slug = if text.trim().is_empty() { fold(name).replace(' ', "-") } else { text.trim().to_owned() };
    if is_slug(&slug) { Ok(slug) } else { Err("Please use lower-case letters, digits and dashes only.".to_owned()) }
}

/// Whether no city but `slug` has this name.
fn free(catalogue: &Catalogue, name: &str, slug: &str) -> Result<(), String> {
    let taken = catalogue.city_by_name(name).is_some_and(|city| city.slug != slug);
    if taken { Err("There is already a city with this name.".to_owned()) } else { Ok(()) }
}

fn zone(text: &str) -> Result<Tz, String> {
    let zone = text.trim().replace(' ', "_").parse();
    zone.map_err(|_unknown| "Please enter a time zone such as Europe/Lisbon.".to_owned())
}

/// Unlocking, a minute, ending outside the area.
fn prices(state: &mut FormState, vehicle_type: &VehicleType) -> Option<[i64; 3]> {
    let [unlock, minute, fee] = ["unlock", "minute", "fee"].map(|price| {
        let field = format!("{price}-{}", vehicle_type.slug);
        state.check(&field, money::minor(state.value(&field)))
    });
    Some([unlock?, minute?, fee?])
}

pub async fn add(context: RequestContext, FormWithState(form, mut state): FormWithState<Add>) -> PageResult {
    region_of_form(&context, &form.region)?;
    let currency: Currency = form.currency.parse().map_err(|_unknown| BadRequest::Field)?;
    let name = state.check("name", people::line(&form.name, 64, "a name"));
    // Without a name there is nothing to say of the slug, without a centre nothing of the area.
    let slug = name.as_ref().and_then(|name| state.check("slug", slug(&form.slug, name)));
    if let (Some(name), Some(slug)) = (&name, &slug) {
        state.check("name", free(&context.catalogue, name, slug));
    }
    let country = state.check("country", people::line(&form.country, 64, "a country"));
    let zone = state.check("zone", zone(&form.zone));
    let centre = state.check("lat", form::required_point(&form.lat, &form.lon, "the centre"));
    let of_area = if form.area.trim().is_empty() { "radius" } else { "area" };
    let area = centre.and_then(|centre| state.check(of_area, area(centre, &form.area, &form.radius)));
    let catalogue = context.catalogue.clone();
    let prices: Vec<_> = catalogue.vehicle_types.iter().map(|of| Some((of, prices(&mut state, of)?))).collect();
    let prices: Option<Vec<_>> = prices.into_iter().collect();
    let (Some(name), Some(slug), Some(country), Some(time_zone), Some(centre), Some(service_area), Some(prices), false) =
        (name, slug, country, zone, centre, area, prices, state.has_errors())
    else {
        return page(context, Some(state)).await;
    };
    let valid_from = context.now.trunc_subsecs(0);
    let tariff =
        |(vehicle_type, [unlock_minor, per_minute_minor, out_of_area_fee_minor]): (&VehicleType, [i64; 3])| Tariff {
            city: slug.clone(),
            vehicle_type: vehicle_type.slug.clone(),
            unlock_minor,
            per_minute_minor,
            out_of_area_fee_minor,
            max_charge_minor: None,
            valid_from,
        };
    let tariffs: Vec<Tariff> = prices.into_iter().map(tariff).collect();
    let us = context.catalogue.region(&form.region).is_some_and(|region| region.jurisdiction == "US");
    let units = if us { Units::Us } else { Units::Metric };
    let (region, seller, tax) = (form.region, String::new(), None);
    let city = City {
        slug,
        name,
        region,
        centre,
        time_zone,
        currency,
        units,
        seller,
        tax,
        service_area,
        country,
        paused: None,
    };
    let added = ops::catalogue::add_city(&context.service, &context.auth()?, &city, &tariffs).await;
    let Some(added) = context.unless_refused(&mut state, added, form::field_of) else {
        return page(context, Some(state)).await;
    };
    added?;
    Ok(context.done(PATH, &format!("{} is added. {EVERYWHERE}", city.name)))
}

#[derive(Template)]
#[template(path = "pages/city.html")]
struct CityPage<'a> {
    layout: Layout,
    city: &'a City,
    region: &'a str,
    form: FormState,
    map: MapView,
}

pub async fn show(context: RequestContext, slug: Path<String>) -> PageResult {
    city_page(context, &slug, None).await
}

async fn city_page(mut context: RequestContext, slug: &str, rejected: Option<FormState>) -> PageResult {
    administrator(&mut context).await?;
    let city = context.catalogue.city(slug).ok_or(PageError::NotFound)?;
    // What the forms are based on. One that comes back has fields of this instance's copy beside what
    // was typed, and that copy may be older than the page that was sent.
    let version = context.catalogue.version;
    let seen =
        rejected.as_ref().and_then(|form| form.value("seen").parse().ok()).map_or(version, |seen| version.min(seen));
    let stored = FormState::default()
        .with("name", &city.name)
        .with("lat", city.centre.lat().to_string())
        .with("lon", city.centre.lon().to_string())
        .with("zone", city.time_zone.name())
        .with("area", serde_json::to_string(&city.service_area).unwrap_or_default())
        .with("reason", city.paused.clone().unwrap_or_default());
    let wrong = rejected.is_some();
    let page = CityPage {
        layout: context.layout(&city.name, Section::Fleet, city),
        city,
        region: context.catalogue.region_name(&city.region),
        form: rejected.unwrap_or_default().over(stored).with("seen", seen.to_string()),
        map: map::vehicles(&context, city, "its service area", std::iter::empty(), None),
    };
    context.ok_or_invalid(wrong, &page)
}

#[derive(Debug, Deserialize)]
pub struct Edit {
    seen: Version,
    name: String,
    lat: String,
    lon: String,
    zone: String,
    area: String,
}

pub async fn save(
    context: RequestContext,
    slug: Path<String>,
    FormWithState(form, mut state): FormWithState<Edit>,
) -> PageResult {
    let city = context.catalogue.city(&slug).ok_or(PageError::NotFound)?.clone();
    let name = people::line(&form.name, 64, "a name");
    let name = name.and_then(|name| free(&context.catalogue, &name, &city.slug).map(|()| name));
    let name = state.check("name", name);
    let zone = state.check("zone", zone(&form.zone));
    // Its vehicles stand where the old centre is.
    let centre = form::required_point(&form.lat, &form.lon, "the centre").and_then(|centre| city.check(centre));
    let centre = state.check("lat", centre);
    let area = centre.and_then(|centre| match form.area.trim() {
        "" => state.check("area", Err("Please draw the area, or enter its corners.".to_owned())),
        ring => state.check("area", area(centre, ring, "")),
    });
    let (Some(name), Some(time_zone), Some(centre), Some(service_area)) = (name, zone, centre, area) else {
        return city_page(context, &city.slug, Some(state)).await;
    };
    let new = City { name, centre, time_zone, service_area, ..city };
    let done = format!("{} is saved. {EVERYWHERE}", new.name);
    let set = async |conn: &Conn, write: &Write<'_>| catalogue::set_city(conn, write, &new, form.seen.get()).await;
    let outcome = ops::catalogue::change(&context.service, &context.auth()?, None, set).await;
    context.respond(outcome.map(|_| Done::Now), &paths::admin_city(&new.slug), &done)
}

/// Pauses the city for a reason, or changes that; `resume` opens it again.
#[derive(Debug, Deserialize)]
pub struct Pause {
    seen: Version,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    resume: String,
}

pub async fn pause(
    context: RequestContext,
    slug: Path<String>,
    FormWithState(form, mut state): FormWithState<Pause>,
) -> PageResult {
    let city = context.catalogue.city(&slug).ok_or(PageError::NotFound)?.clone();
    let (paused, done) = if form.resume.is_empty() {
        let Some(reason) = state.check("reason", people::line(&form.reason, REASON_MAX, "a reason")) else {
            return city_page(context, &city.slug, Some(state)).await;
        };
        (Some(reason), "is paused")
    } else {
        (None, "is open again")
    };
    let done = format!("{} {done}. {EVERYWHERE}", city.name);
    let outcome = ops::catalogue::change(&context.service, &context.auth()?, None, async |conn, write| {
        catalogue::pause_city(conn, write, &city.slug, paused.as_deref(), form.seen.get()).await
    })
    .await;
    context.respond(outcome.map(|_| Done::Now), &paths::admin_city(&city.slug), &done)
}

const REASON_MAX: usize = 120;
