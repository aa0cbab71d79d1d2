//! `/erasure/{region}/{id}`: how far the erasure of a person is, for whoever was given the link
//! when the account was closed. It needs no session, and tells nothing of the person.

use actix_web::{HttpResponse, web::Path};

use super::row_of_path;
use crate::{
    db::home,
    domain::job::JobRef,
    ops::erasure::progress,
    web::{
        context::RequestContext,
        error::PageError,
        layout::{layout, time},
        paths,
        views::{ErasurePage, Section},
    },
};

/// `GET /erasure/{region}/{id}`.
pub async fn show(context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, &path)?;
    let job = JobRef { region, id };
    let found = home::find_erasure(&context.service.db.at(&job.region).await?, &job).await?;
    let (parameters, finished_at) = found.ok_or(PageError::NotFound)?;
    let (regions, rides) = progress(&parameters);
    let region =
        |code: &_| context.catalogue.region(code).map_or_else(|| code.to_string(), |region| region.name.clone());
    context.ok(&ErasurePage {
        layout: layout(&context, None, "Erasing your data", Section::None, context.city()),
        href: paths::erasure(&job),
        regions: regions.iter().map(region).collect(),
        rides,
        over: finished_at.map(|at| time(at, context.city().time_zone)),
    })
}
