//! `/fleet/export.csv` and `/fleet/riders.csv`: files for the operators of a city, written
//! chunk by chunk as they are sent. The first chunk is read together with the session; a
//! failure behind it cuts the connection, so that half a file is never taken for a whole one.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION},
    web::Bytes,
};
use futures_util::stream;
use serde::Deserialize;

use super::fleet::{Filters, only_operators};
use crate::{
    db::{error::DbError, statement::Conn},
    domain::{catalogue::City, region::RegionCode},
    ops::{
        exports::{self, Chunk},
        residency,
    },
    web::{error::PageError, form::Query, visit::Visit},
};

/// `GET /fleet/export.csv`: the vehicles of a city.
pub async fn vehicles(mut visit: Visit, Query(wanted): Query<Filters>) -> Result<HttpResponse, PageError> {
    let city = visit.catalogue.city(&wanted.city).ok_or(PageError::NotFound)?.clone();
    let wrong = |_wrong| PageError::BadRequest("There is no such filter.");
    let filter = wanted.filter(&visit.catalogue, visit.now).map_err(wrong)?;
    file(&mut visit, &city, "vehicles", async move |conn, region, city, after| {
        exports::vehicles(conn, (region, city), &filter, after).await
    })
    .await
}

/// The city whose riders are wanted.
#[derive(Debug, Deserialize)]
pub struct OfCity {
    city: String,
}

/// `GET /fleet/riders.csv`: the people at home in a city, where residency allows it.
pub async fn riders(mut visit: Visit, Query(wanted): Query<OfCity>) -> Result<HttpResponse, PageError> {
    let city = visit.catalogue.city(&wanted.city).ok_or(PageError::NotFound)?.clone();
    if let Some(rule) = visit.catalogue.forbids_export(&visit.app.here, &city.region) {
        let signed = visit.signed()?;
        only_operators(&visit.visitor().await?, &city.slug)?;
        let what = ("residency.export_refused", rule);
        return Err(residency::refuse(&visit.app, &signed, what, &city.region).await.into());
    }
    file(&mut visit, &city, "riders", async |conn, region, city, after| {
        exports::riders(conn, (region, city), after).await
    })
    .await
}

/// The file `movr-CITY-WHAT.csv` for an operator of the city: `chunk` gives its lines.
async fn file<K: 'static>(
    visit: &mut Visit,
    city: &City,
    what: &str,
    chunk: impl AsyncFn(&Conn, &RegionCode, &str, Option<K>) -> Result<Chunk<K>, DbError> + 'static,
) -> Result<HttpResponse, PageError> {
    let (app, region, slug) = (visit.app.clone(), city.region.clone(), city.slug.clone());
    let (visitor, (first, next)) =
        visit.read_signed(&region, async |conn| chunk(conn, &region, &slug, None).await).await?;
    only_operators(&visitor, &city.slug)?;
    let name = format!("attachment; filename=\"movr-{slug}-{what}.csv\"");
    let state = (app, chunk, region, slug, Some(first), next);
    let lines = stream::try_unfold(state, |(app, chunk, region, slug, ready, next)| async move {
        let (text, next) = match (ready, next) {
            (Some(text), next) => (text, next),
            (None, Some(after)) => chunk(&app.db.at(&region).await?, &region, &slug, Some(after)).await?,
            (None, None) => return Ok(None),
        };
        Ok::<_, DbError>(Some((Bytes::from(text), (app, chunk, region, slug, None, next))))
    });
    let response = HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_DISPOSITION, name))
        .streaming(lines);
    Ok(visit.finish(response))
}
