//! `/fleet/export.csv` and `/fleet/riders.csv`, sent chunk by chunk. Nothing is read before the role
//! is checked.

use super::{
    CityQuery,
    fleet::{self, FleetQuery},
    only_operators,
};
use crate::{
    db::{
        Conn, DbError,
        exports::{self, Chunk},
    },
    domain::{City, RegionCode, event::RESIDENCY_EXPORT_REFUSED},
    ops::residency,
    web::{PageError, PageResult, Query, RequestContext},
};

/// `GET /fleet/export.csv`: the vehicles of a city. With wrong filters: their page.
pub async fn vehicles(mut context: RequestContext, Query(query): Query<FleetQuery>) -> PageResult {
    let city = context.catalogue.city(&query.city).ok_or(PageError::NotFound)?.clone();
    let Ok((filter, _)) = query.parse(&context.catalogue, context.now) else {
        return fleet::list(context, Query(query)).await;
    };
    file(&mut context, &city, "vehicles", async move |conn, region, city, after| {
        exports::vehicles(conn, (region, city), &filter, after).await
    })
    .await
}

/// `GET /fleet/riders.csv`: the people at home in a city, where residency allows it.
pub async fn riders(mut context: RequestContext, Query(query): Query<CityQuery>) -> PageResult {
    let city = context.catalogue.city(&query.city).ok_or(PageError::NotFound)?.clone();
    if let Some(rule) = context.catalogue.forbids_export(&context.service.here, &city.region) {
        only_operators(&context.current_user().await?, &city.slug)?;
        let auth = context.auth()?;
        let what = (RESIDENCY_EXPORT_REFUSED, rule);
        return Err(residency::refuse(&context.service, &auth, what, &city.region).await.into());
    }
    file(&mut context, &city, "riders", async |conn, region, city, after| {
        exports::riders(conn, (region, city), after).await
    })
    .await
}

/// The file `movr-CITY-WHAT.csv`; `chunk` returns its lines.
async fn file<K: 'static>(
    context: &mut RequestContext,
    city: &City,
    what: &str,
    chunk: impl AsyncFn(&Conn, &RegionCode, &str, Option<K>) -> Result<Chunk<K>, DbError> + 'static,
) -> PageResult {
    context.may_touch(&city.region);
    only_operators(&context.current_user().await?, &city.slug)?;
    let (service, region, slug) = (context.service.clone(), city.region.clone(), city.slug.clone());
    let first = chunk(&service.db.at(&region).await?, &region, &slug, None).await?;
    let read = async move |after| chunk(&service.db.at(&region).await?, &region, &slug, Some(after)).await;
    Ok(context.csv(&format!("movr-{}-{what}.csv", city.slug), first, read))
}
