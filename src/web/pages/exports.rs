//! `/fleet/export.csv` and `/fleet/riders.csv`, sent chunk by chunk. The first chunk is read
//! together with the session; a later failure cuts the connection, so that half a file is never
//! taken for a whole one.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Bytes};
use futures_util::stream;
use serde::Deserialize;

use super::fleet::{Filters, only_operators};
use crate::{
    db::{
        error::DbError,
        exports::{self, Chunk},
        statement::Conn,
    },
    domain::{catalogue::City, event::RESIDENCY_EXPORT_REFUSED, region::RegionCode},
    ops::residency,
    web::{context::RequestContext, error::PageError, form::Query},
};

/// `GET /fleet/export.csv`: the vehicles of a city.
pub async fn vehicles(mut context: RequestContext, Query(query): Query<Filters>) -> Result<HttpResponse, PageError> {
    let city = context.catalogue.city(&query.city).ok_or(PageError::NotFound)?.clone();
    let wrong = |_wrong| PageError::BadRequest("There is no such filter.");
    let filter = query.filter(&context.catalogue, context.now).map_err(wrong)?;
    file(&mut context, &city, "vehicles", async move |conn, region, city, after| {
        exports::vehicles(conn, (region, city), &filter, after).await
    })
    .await
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    city: String,
}

/// `GET /fleet/riders.csv`: the people at home in a city, where residency allows it.
pub async fn riders(mut context: RequestContext, Query(query): Query<Parameters>) -> Result<HttpResponse, PageError> {
    let city = context.catalogue.city(&query.city).ok_or(PageError::NotFound)?.clone();
    if let Some(rule) = context.catalogue.forbids_export(&context.service.here, &city.region) {
        let auth = context.auth()?;
        only_operators(&context.current_user().await?, &city.slug)?;
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
) -> Result<HttpResponse, PageError> {
    let (service, region, slug) = (Arc::clone(&context.service), city.region.clone(), city.slug.clone());
    let (current_user, (first, next)) =
        context.read_signed_in(&region, async |conn| chunk(conn, &region, &slug, None).await).await?;
    only_operators(&current_user, &city.slug)?;
    let state = (service, chunk, region, slug, Some(first), next);
    let lines = stream::try_unfold(state, |(service, chunk, region, slug, ready, next)| async move {
        let (text, next) = match (ready, next) {
            (Some(text), next) => (text, next),
            (None, Some(after)) => chunk(&service.db.at(&region).await?, &region, &slug, Some(after)).await?,
            (None, None) => return Ok(None),
        };
        Ok::<_, DbError>(Some((Bytes::from(text), (service, chunk, region, slug, None, next))))
    });
    Ok(context.csv(&format!("movr-{city}-{what}.csv", city = city.slug), lines))
}
