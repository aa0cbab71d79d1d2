//! `GET /`: the nearest city, how many vehicles are ready there, the way in.

use std::sync::Arc;

use actix_web::HttpResponse;
use serde::Deserialize;

use super::{
    map,
    vehicles::{stale_text, with_freshness},
};
use crate::{
    db::vehicles::Search,
    domain::catalogue::{Catalogue, City},
    ops,
    web::{
        abroad,
        context::RequestContext,
        error::PageError,
        form::Query,
        layout::layout,
        views::{HomePage, PriceView, Section},
    },
};

/// A city may be asked for.
#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    city: String,
}

/// The landing page. It is drawn without figures while the city's region is away.
pub async fn show(mut context: RequestContext, Query(asked): Query<Asked>) -> Result<HttpResponse, PageError> {
    if let Some(there) = abroad::way_home(&context) {
        return Ok(context.done(&there, ""));
    }
    let catalogue = std::sync::Arc::clone(&context.catalogue);
    let city = catalogue.city(&asked.city).unwrap_or_else(|| context.nearest_city()).clone();
    let (service, now) = (Arc::clone(&context.service), context.now);
    let search = Search {
        region: &city.region,
        city: &city.slug,
        point: city.centre,
        vehicle_type: None,
        battery: 0,
        rider: None,
        now,
    };
    let asked = context
        .read(&city.region, async |conn| {
            let count = ops::fleet::count_available(&service, conn, &city, now);
            let near = ops::vehicles::nearest(&service, conn, &search);
            let (count, near) = tokio::join!(count, near);
            Ok((count?, near?))
        })
        .await;
    let mut stale = None;
    let (current_user, available, near) = match asked {
        Ok((current_user, (count, near))) => (current_user, u64::try_from(count).ok(), near),
        Err(PageError::Db(error)) if error.unreachable() => {
            tracing::warn!(%error, "landing page without figures");
            let last = ops::vehicles::nearest_stale(&service, &search).await;
            stale = last.as_ref().map(|last| (last.as_of, last.source));
            (None, None, last.map(|last| last.near).unwrap_or_default())
        }
        Err(error) => return Err(error),
    };
    let shown = map::Shown {
        label: format!("Map of {} with the vehicles nearest to its centre", city.name),
        city: &city,
        pins: near.iter().zip(1..).map(|(vehicle, n): (_, usize)| (vehicle.at, n.to_string())).collect(),
        route: Vec::new(),
        me: None,
    };
    let page = HomePage {
        layout: layout(&context, current_user.as_ref(), &city.name, Section::None, &city),
        available,
        prices: prices(&catalogue, &city, context.now),
        stale: stale.map(|(as_of, _)| stale_text(&context, &city.region, as_of)),
        map: Some(map::view(shown, context.state.config.tiles.as_ref())),
    };
    Ok(with_freshness(context.ok(&page)?, context.now, stale))
}

fn prices(catalogue: &Catalogue, city: &City, now: chrono::DateTime<chrono::Utc>) -> Vec<PriceView> {
    let price = |kind: &crate::domain::catalogue::VehicleType| {
        let tariff = catalogue.tariff(&city.slug, &kind.slug, now)?;
        Some(PriceView {
            kind: kind.slug.clone(),
            name: kind.name.clone(),
            tariff: super::vehicles::tariff_text(city, tariff),
            ten_minutes: city.currency.format(tariff.fare(10)),
        })
    };
    catalogue.vehicle_types.iter().filter_map(price).collect()
}
