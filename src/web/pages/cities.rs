//! `/admin/cities`: the cities by region, and adding one with its service area and first
//! tariffs, so that it can be ridden in as soon as it has vehicles. Read from the
//! catalogue in memory.

use std::{collections::HashMap, f64::consts::TAU};

use actix_web::HttpResponse;
use chrono::{DurationRound, TimeDelta};
use chrono_tz::Tz;
use serde::Deserialize;

use super::{EVERYWHERE, administrator, region_of_form, typed};
use crate::{
    domain::{
        catalogue::{CITY_RADIUS_M, City, Tariff, VehicleType, fold},
        geo::{Point, Polygon},
        money::{self, Currency},
        people,
        refusal::Refusal,
        region::RegionCode,
    },
    ops::{self, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form},
        layout::layout,
        paths,
        views::{AddCityView, CitiesPage, CityRowView, FieldView, KindTariffsView, OptionView, Section},
    },
};

const PATH: &str = "/admin/cities";

/// `GET /admin/cities`.
pub async fn list(mut context: RequestContext) -> Result<HttpResponse, PageError> {
    let page = page(&mut context, None).await?;
    context.ok(&page)
}

async fn page(context: &mut RequestContext, form: Option<AddCityView>) -> Result<CitiesPage, PageError> {
    let current_user = administrator(context).await?;
    let catalogue = context.catalogue.clone();
    let of_region = |region: &crate::domain::catalogue::Region| {
        let row = |city: &City| CityRowView {
            name: city.name.clone(),
            slug: city.slug.clone(),
            region: region.name.clone(),
            zone: city.time_zone.name().replace('_', " "),
            currency: city.currency.to_string(),
            tariffs: paths::tariffs(&city.slug),
        };
        catalogue.cities_of(&region.code).map(row).collect::<Vec<_>>()
    };
    let form = form.unwrap_or_else(|| AddCityView {
        regions: regions(context, context.service.here.as_str()),
        currencies: currencies(""),
        radius: FieldView { value: "5".to_owned(), error: None },
        kinds: context.catalogue.vehicle_types.iter().map(kind_view).collect(),
        ..AddCityView::default()
    });
    Ok(CitiesPage {
        cities: catalogue.regions.iter().flat_map(of_region).collect(),
        form,
        layout: layout(context, Some(&current_user), "Cities", Section::Fleet, context.city()),
    })
}

fn regions(context: &RequestContext, chosen: &str) -> Vec<OptionView> {
    let option = |region: &crate::domain::catalogue::Region| OptionView {
        value: region.code.to_string(),
        text: region.name.clone(),
        selected: region.code.as_str() == chosen,
    };
    context.catalogue.regions.iter().map(option).collect()
}

fn currencies(chosen: &str) -> Vec<OptionView> {
    let option = |currency: Currency| OptionView {
        value: currency.to_string(),
        text: currency.to_string(),
        selected: currency.as_str() == chosen,
    };
    Currency::ALL.into_iter().map(option).collect()
}

fn kind_view(kind: &VehicleType) -> KindTariffsView {
    KindTariffsView { slug: kind.slug.clone(), name: kind.name.clone(), ..KindTariffsView::default() }
}

/// A new city, as typed; its tariffs are fields named `unlock-TYPE`, `minute-TYPE`, `fee-TYPE`.
#[derive(Debug, Deserialize)]
pub struct Add {
    name: String,
    #[serde(default)]
    slug: String,
    region: RegionCode,
    lat: String,
    lon: String,
    zone: String,
    currency: String,
    #[serde(default)]
    radius: String,
    #[serde(default)]
    area: String,
    #[serde(flatten)]
    prices: HashMap<String, String>,
}

/// Corners of a service area that is made from a radius.
const CORNERS: u8 = 16;
/// Metres in a degree of latitude.
const DEGREE_M: f64 = 111_195.0;

/// The ring that was typed, or one around the centre.
fn area(centre: Point, ring: &str, radius: &str) -> Result<Polygon, String> {
    let area = if ring.trim().is_empty() {
        let km: f64 = radius.trim().replace(',', ".").parse().unwrap_or(0.0);
        if !(0.1..=45.0).contains(&km) {
            return Err("A radius goes from 0.1 to 45 km.".to_owned());
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
        ring.ok_or("Please enter points as [[longitude, latitude], ...], at least three of them.")?
    };
    if let Some(flaw) = area.flaw() {
        return Err(format!("This is no area: {flaw}."));
    }
    if !area.contains(centre) {
        return Err("The area must contain the centre.".to_owned());
    }
    let far = area.points().iter().any(|corner| corner.distance_m(centre) > CITY_RADIUS_M);
    if far { Err("The area must not reach farther than 50 km from the centre.".to_owned()) } else { Ok(area) }
}

fn slug(text: &str, name: &str) -> Result<String, String> {
    let slug = if text.trim().is_empty() { fold(name).replace(' ', "-") } else { text.trim().to_owned() };
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (1..=64).contains(&slug.len()) && slug.bytes().all(good);
    if good { Ok(slug) } else { Err("Lower-case letters, digits and dashes, please.".to_owned()) }
}

/// The tariff of a vehicle type that was typed, for the view and for the database.
fn prices(kind: &VehicleType, typed_prices: &HashMap<String, String>) -> (KindTariffsView, Option<[i64; 3]>) {
    let [unlock, minute, fee] = ["unlock", "minute", "fee"].map(|what| {
        let text = typed_prices.get(&format!("{what}-{}", kind.slug)).map_or("", String::as_str);
        let read = money::minor(text);
        (typed(text, &read), read.ok())
    });
    let read = || Some([unlock.1?, minute.1?, fee.1?]);
    let read = read();
    (KindTariffsView { unlock: unlock.0, minute: minute.0, fee: fee.0, ..kind_view(kind) }, read)
}

/// `POST /admin/cities`.
pub async fn add(mut context: RequestContext, Form(form): Form<Add>) -> Result<HttpResponse, PageError> {
    region_of_form(&context, &form.region)?;
    let currency: Currency =
        form.currency.parse().map_err(|_unknown| PageError::BadRequest("There is no such currency."))?;
    let name = people::line(&form.name, 64, "a name");
    // Without a name there is nothing to say of the slug.
    let mut slug = name.as_ref().map_or(Ok(String::new()), |name| slug(&form.slug, name));
    let name = name.and_then(|name| match (context.catalogue.city_by_name(&name), &slug) {
        (Some(city), Ok(slug)) if city.slug != *slug => Err("There is a city of this name already.".to_owned()),
        _ => Ok(name),
    });
    let zone = form.zone.trim().replace(' ', "_").parse::<Tz>();
    let zone = zone.map_err(|_unknown| "Please enter a time zone such as Europe/Lisbon.".to_owned());
    let centre =
        form::point(&form.lat, &form.lon).and_then(|at| at.ok_or_else(|| "Please enter the centre.".to_owned()));
    let area = centre.clone().map_err(|_above| String::new()).and_then(|at| area(at, &form.area, &form.radius));
    let (kinds, prices): (Vec<_>, Vec<_>) =
        context.catalogue.vehicle_types.iter().map(|kind| prices(kind, &form.prices)).unzip();
    let prices: Option<Vec<[i64; 3]>> = prices.into_iter().collect();
    if let (Ok(name), Ok(short), Ok(time_zone), Ok(centre), Ok(service_area), Some(prices)) =
        (&name, &slug, &zone, &centre, &area, prices)
    {
        let city = City {
            slug: short.clone(),
            name: name.clone(),
            region: form.region.clone(),
            centre: *centre,
            time_zone: *time_zone,
            currency,
            service_area: service_area.clone(),
        };
        let valid_from = context.now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(context.now);
        let tariff =
            |(kind, [unlock_minor, per_minute_minor, out_of_area_fee_minor]): (&VehicleType, [i64; 3])| Tariff {
                city: short.clone(),
                vehicle_type: kind.slug.clone(),
                unlock_minor,
                per_minute_minor,
                out_of_area_fee_minor,
                max_charge_minor: None,
                valid_from,
            };
        let tariffs: Vec<Tariff> = context.catalogue.vehicle_types.iter().zip(prices).map(tariff).collect();
        match ops::catalogue::add_city(&context.service, &context.auth()?, &city, &tariffs).await {
            Ok(_) => return Ok(context.done(PATH, &format!("{name} is added. {EVERYWHERE}"))),
            Err(OpError::Refused(refusal @ Refusal::CityTaken)) => slug = Err(refusal.message()),
            Err(error) => return Err(error.into()),
        }
    }
    // Without a centre there is nothing to say of the area.
    let of_area = area.err().filter(|error| !error.is_empty());
    let form = AddCityView {
        name: typed(&form.name, &name),
        slug: typed(&form.slug, &slug),
        regions: regions(&context, form.region.as_str()),
        lat: typed(&form.lat, &centre),
        lon: FieldView { value: form.lon.clone(), error: None },
        zone: typed(&form.zone, &zone),
        currencies: currencies(&form.currency),
        radius: FieldView {
            value: form.radius.clone(),
            error: of_area.clone().filter(|_| form.area.trim().is_empty()),
        },
        area: FieldView { value: form.area.clone(), error: of_area.filter(|_| !form.area.trim().is_empty()) },
        kinds,
        open: true,
    };
    let page = page(&mut context, Some(form)).await?;
    context.wrong(&page)
}
