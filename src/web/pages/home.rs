//! `GET /`: the city in use, how many vehicles are ready there, the way in.

use std::sync::Arc;

use askama::Template;

use super::{
    CityQuery,
    map::{self, MapView, Pin},
    vehicles::{prices, stale_text, with_freshness},
};
use crate::{
    db::vehicles::{NEAREST_PAGE, Search},
    domain::{City, PublicVehicle, Tariff, VehicleType},
    ops,
    web::{Layout, PageError, PageResult, Query, RequestContext, Section, abroad, filters, paths},
};

#[derive(Template)]
#[template(path = "pages/home.html")]
struct HomePage<'a> {
    layout: Layout,
    city: &'a City,
    available: Option<i64>,
    prices: Vec<(&'a VehicleType, &'a Tariff)>,
    stale: Option<String>,
    map: MapView,
}

/// Rendered without figures while the city's region is away.
pub async fn show(mut context: RequestContext, Query(query): Query<CityQuery>) -> PageResult {
    if let Some(there) = abroad::url_at_home(&context) {
        return Ok(context.done(&there, ""));
    }
    let catalogue = Arc::clone(&context.catalogue);
    if let Some(named) = catalogue.city(&query.city) {
        context.set_city(&named.slug);
    }
    let city = catalogue.city(&context.city().slug).ok_or(PageError::NotFound)?;
    let (service, now) = (Arc::clone(&context.service), context.now);
    let search = Search {
        region: &city.region,
        city: &city.slug,
        point: city.centre,
        vehicle_type: None,
        battery: 0,
        rider: None,
        after: None,
        now,
    };
    let read = context
        .read(&city.region, async |conn| {
            let count = ops::counts::available(&service, conn, city, now);
            let near = ops::vehicles::nearest(&service, conn, &search);
            let (count, near) = tokio::join!(count, near);
            Ok((count?, near?))
        })
        .await;
    let mut stale = None;
    let (available, near) = match read {
        Ok((count, near)) => (Some(count), near),
        Err(PageError::Db(error)) if error.unreachable() => {
            tracing::warn!(%error, "landing page without figures");
            let last = ops::vehicles::nearest_stale(&service, &search).await;
            stale = last.as_ref().map(|last| (last.as_of, last.source));
            (None, last.map(|last| last.near).unwrap_or_default())
        }
        Err(error) => return Err(error),
    };
    let pins = near.iter().take(NEAREST_PAGE).map(|vehicle| Pin {
        href: paths::vehicle(&PublicVehicle { region: city.region.clone(), public_id: vehicle.public_id }),
        ..Pin::card(vehicle, 0)
    });
    let page = HomePage {
        layout: context.layout(&city.name, Section::None, city),
        city,
        available: available.filter(|_| city.paused.is_none()),
        prices: prices(&catalogue, city, now),
        stale: stale
            .map(|(as_of, _)| stale_text(&context, &city.region, as_of))
            .or_else(|| Some(context.words(&city.refusal()?))),
        map: MapView {
            focusable: true,
            ..map::vehicles(&context, city, "the vehicles nearest to its centre", pins, None)
        },
    };
    Ok(with_freshness(context.ok(&page)?, now, stale))
}
