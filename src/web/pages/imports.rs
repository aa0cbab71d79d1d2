//! `/fleet/import`: a file of vehicles, staged as a job, whose page is the preview. Session and
//! role are checked before the first byte is read; the file is never held as a whole.

use actix_multipart::Multipart;
use askama::Template;
use futures_util::TryStreamExt;

use super::{CityQuery, city_for};
use crate::{
    domain::{Catalogue, City, JobRef, Roles},
    ops::{
        imports::{Import, ImportError},
        jobs::JobContext,
    },
    web::{BadRequest, Layout, PageError, PageResult, Query, RequestContext, Section, paths},
};

/// In bytes; ten times what 10,000 vehicles need.
const FILE_MAX: usize = 20 * 1024 * 1024;

#[derive(Template)]
#[template(path = "pages/import.html")]
struct ImportPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    city: &'a City,
    cities: Vec<&'a City>,
    error: Option<String>,
    /// The residency rule that forbids exporting riders here.
    riders_forbidden: Option<&'static str>,
}

async fn operator(context: &mut RequestContext, slug: &str) -> PageResult<(Roles, City)> {
    let roles = context.current_user().await?.roles;
    let city = city_for(context, &roles, slug, |slug| roles.operates(slug))?;
    Ok((roles, city))
}

fn page(context: &RequestContext, roles: &Roles, city: &City, error: Option<String>) -> PageResult {
    let catalogue = &context.catalogue;
    let page = ImportPage {
        layout: context.layout(&format!("Import and export: {}", city.name), Section::Fleet, city),
        catalogue,
        city,
        cities: roles.operated().filter_map(|slug| catalogue.city(slug)).collect(),
        error,
        riders_forbidden: catalogue.forbids_export(&context.service.here, &city.region),
    };
    context.ok_or_invalid(page.error.is_some(), &page)
}

pub async fn form(mut context: RequestContext, Query(query): Query<CityQuery>) -> PageResult {
    let (roles, city) = operator(&mut context, &query.city).await?;
    page(&context, &roles, &city, None)
}

/// `POST /fleet/import`: reads the file and leads to the job that it makes.
pub async fn submit(mut context: RequestContext, Query(query): Query<CityQuery>, mut parts: Multipart) -> PageResult {
    let (roles, city) = operator(&mut context, &query.city).await?;
    let auth = context.auth()?;
    let import = Import::new(JobContext::of(&context.service, &context.catalogue, &auth), &city);
    match read(import, &mut parts).await? {
        Ok(job) => Ok(context.done(&paths::job(&job), "")),
        Err(wrong) => page(&context, &roles, &city, Some(wrong)),
    }
}

/// The job, or what is wrong with the file.
async fn read(mut import: Import<'_>, parts: &mut Multipart) -> PageResult<Result<JobRef, String>> {
    let incomplete = |_broken| BadRequest::Incomplete;
    let mut size = 0;
    while let Some(mut part) = parts.try_next().await.map_err(incomplete)? {
        if part.name() != Some("file") {
            continue;
        }
        while let Some(bytes) = part.try_next().await.map_err(incomplete)? {
            size += bytes.len();
            let refused = if size > FILE_MAX {
                Some(Err(PageError::TooLarge))
            } else {
                import.feed(&bytes).await.err().map(about_file)
            };
            if let Some(refused) = refused {
                // A browser listens only after it has sent everything.
                drop(part);
                skip(parts).await;
                return refused;
            }
        }
    }
    if size == 0 {
        return Ok(Err("Please choose a file.".to_owned()));
    }
    import.end().await.map_or_else(about_file, |job| Ok(Ok(job)))
}

fn about_file(error: ImportError) -> PageResult<Result<JobRef, String>> {
    match error {
        ImportError::File(wrong) => Ok(Err(wrong)),
        ImportError::Op(error) => Err(error.into()),
    }
}

/// Reads the rest of a body, up to the size of a file.
async fn skip(parts: &mut Multipart) {
    let mut left = FILE_MAX;
    while let Ok(Some(mut part)) = parts.try_next().await {
        while let Ok(Some(bytes)) = part.try_next().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                return;
            }
        }
    }
}
