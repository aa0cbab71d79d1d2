//! `/fleet/export.csv` and `/fleet/riders.csv`: files for the operators of a city, written
//! chunk by chunk as they are sent. The first chunk is read together with the session; a
//! failure behind it cuts the connection, so that half a file is never taken for a whole one.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION},
    web::Bytes,
};
use chrono::TimeDelta;
use futures_util::stream;
use serde::Deserialize;

use super::fleet::only_operators;
use crate::{
    db::{error::DbError, exports::Filter, statement::Conn},
    domain::{catalogue::City, region::RegionCode},
    ops::{
        exports::{self, Chunk},
        residency,
    },
    web::{error::PageError, form::Query, visit::Visit},
};

/// The city, and the filters of the fleet's list; those that are empty filter nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    city: String,
    status: String,
    #[serde(rename = "type")]
    kind: String,
    battery: String,
    idle: String,
    prefix: String,
}

impl Wanted {
    fn filter(&self, visit: &Visit) -> Result<Filter, PageError> {
        let bad = |_bad| PageError::BadRequest("That is no whole number.");
        let number = |text: &str| (!text.is_empty()).then(|| text.parse::<u32>().map_err(bad)).transpose();
        let idle = number(&self.idle)?.map(|hours| TimeDelta::hours(hours.into()));
        let all = Filter::on_the_books();
        let chosen = Some(self.status.clone()).filter(|status| !status.is_empty());
        Ok(Filter {
            statuses: chosen.map_or(all.statuses, |status| vec![status]),
            kind: Some(self.kind.clone()).filter(|kind| !kind.is_empty()),
            battery_below: number(&self.battery)?.map(Into::into),
            idle_since: idle.and_then(|idle| visit.now.checked_sub_signed(idle)),
            prefix: self.prefix.clone(),
        })
    }
}

/// `GET /fleet/export.csv`: the vehicles of a city.
pub async fn vehicles(mut visit: Visit, Query(wanted): Query<Wanted>) -> Result<HttpResponse, PageError> {
    let city = visit.catalogue.city(&wanted.city).ok_or(PageError::NotFound)?.clone();
    let filter = wanted.filter(&visit)?;
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
        let (visitor, ()) = visit.read_signed(&signed.user.region, async |_| Ok(())).await?;
        only_operators(&visitor, &city.slug)?;
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
