//! `/erasure/{region}/{id}`: the progress of an erasure, for whoever has the link. It needs no
//! session, and reveals nothing of the person.

use askama::Template;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::{
    db::home,
    domain::JobRef,
    ops::erasure::progress,
    web::{Layout, PageError, PageResult, RequestContext, RowPath, Section, filters, paths},
};

#[derive(Template)]
#[template(path = "pages/erasure.html")]
struct ErasurePage<'a> {
    layout: Layout,
    job: JobRef,
    regions: Vec<&'a str>,
    rides: i64,
    finished_at: Option<DateTime<Utc>>,
    time_zone: Tz,
}

pub async fn show(context: RequestContext, RowPath(job): RowPath<JobRef>) -> PageResult {
    let found = home::find_erasure(&context.service.db.at(&job.region).await?, &job).await?;
    let (parameters, finished_at) = found.ok_or(PageError::NotFound)?;
    let (regions, rides) = progress(&parameters);
    context.ok(&ErasurePage {
        layout: context.layout("Erasing your data", Section::None, context.city()),
        job,
        regions: regions.iter().map(|region| context.catalogue.region_name(region)).collect(),
        rides,
        finished_at,
        time_zone: context.city().time_zone,
    })
}
