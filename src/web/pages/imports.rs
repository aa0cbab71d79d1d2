//! `/fleet/import`: a file of vehicles, read as it comes and staged as a job, whose page is
//! the preview. The session and the role are checked before the first byte is read; the
//! file is never held as a whole. Also the links to what can be exported.

use actix_multipart::Multipart;
use actix_web::HttpResponse;
use futures_util::TryStreamExt;
use serde::Deserialize;

use super::fleet::city_for;
use crate::{
    db::sessions::Visitor,
    domain::catalogue::City,
    ops::{
        imports::{Import, ImportError},
        jobs::Hand,
    },
    web::{
        chrome::chrome,
        error::PageError,
        form::Query,
        paths,
        views::{ImportPage, OptionView, Section},
        visit::Visit,
    },
};

/// Largest file, in bytes; ten times what 10,000 vehicles need.
const FILE_MAX: usize = 20 * 1024 * 1024;

/// The city; without one the city in use, or the first that the person operates.
#[derive(Debug, Deserialize)]
pub struct OfCity {
    #[serde(default)]
    city: String,
}

/// Who asks, and the city that they ask about and operate.
async fn operator(visit: &mut Visit, slug: &str) -> Result<(Visitor, City), PageError> {
    let visitor = visit.visitor().await?;
    let city = city_for(visit, &visitor, slug, |slug| visitor.operates(slug))?;
    Ok((visitor, city))
}

fn page(visit: &Visit, visitor: &Visitor, city: &City, error: Option<String>) -> ImportPage {
    let option = |slug: &str| {
        let city = visit.catalogue.city(slug)?;
        Some(OptionView { value: slug.to_owned(), text: city.name.clone(), selected: false })
    };
    let chosen = |option: OptionView| OptionView { selected: option.value == city.slug, ..option };
    let kinds: Vec<&str> = visit.catalogue.vehicle_types.iter().map(|kind| kind.slug.as_str()).collect();
    ImportPage {
        chrome: chrome(visit, Some(visitor), &format!("Import and export: {}", city.name), Section::Fleet, city),
        city: city.name.clone(),
        action: paths::import(&city.slug),
        error,
        cities: visitor.operated().filter_map(option).map(chosen).collect(),
        kinds: kinds.join(", "),
        vehicles: paths::export_vehicles(&city.slug),
        riders: paths::export_riders(&city.slug),
        riders_forbidden: visit.catalogue.forbids_export(&visit.app.here, &city.region),
    }
}

/// `GET /fleet/import`.
pub async fn form(mut visit: Visit, Query(query): Query<OfCity>) -> Result<HttpResponse, PageError> {
    let (visitor, city) = operator(&mut visit, &query.city).await?;
    visit.ok(&page(&visit, &visitor, &city, None))
}

/// `POST /fleet/import`: reads the file and leads to the job that it makes.
pub async fn submit(
    mut visit: Visit,
    Query(query): Query<OfCity>,
    mut parts: Multipart,
) -> Result<HttpResponse, PageError> {
    let (visitor, city) = operator(&mut visit, &query.city).await?;
    let (app, catalogue, signed) = (visit.app.clone(), visit.catalogue.clone(), visit.signed()?);
    match read(Import::new(Hand::of(&app, &catalogue, &signed), &city), &mut parts).await? {
        Ok(location) => Ok(visit.done(&location, "")),
        Err(wrong) => visit.wrong(&page(&visit, &visitor, &city, Some(wrong))),
    }
}

/// The path of the job, or what is wrong with the file as a whole.
async fn read(mut import: Import<'_>, parts: &mut Multipart) -> Result<Result<String, String>, PageError> {
    let broken = |_broken| PageError::BadRequest("The file did not arrive whole.");
    let (mut size, mut wrong) = (0, Err("Please choose a file.".to_owned()));
    while let Some(mut part) = parts.try_next().await.map_err(broken)? {
        if part.name() != Some("file") {
            continue;
        }
        while let Some(bytes) = part.try_next().await.map_err(broken)? {
            size += bytes.len();
            let fed = if size > FILE_MAX { Err(PageError::TooLarge) } else { fed(import.feed(&bytes).await) };
            if !matches!(fed, Ok(Ok(()))) {
                // A browser listens only after it has sent everything.
                drop(part);
                skip(parts).await;
                return fed.map(|wrong| wrong.map(|()| String::new()));
            }
        }
        if size > 0 {
            wrong = Ok(());
        }
    }
    if let Err(wrong) = wrong {
        return Ok(Err(wrong));
    }
    Ok(fed(import.end().await)?.map(|(job, _)| paths::job(&job)))
}

/// What is wrong with the file as a whole is for its form, all else for a page.
fn fed<T>(outcome: Result<T, ImportError>) -> Result<Result<T, String>, PageError> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(ImportError::File(wrong)) => Ok(Err(wrong)),
        Err(ImportError::Op(error)) => Err(error.into()),
    }
}

/// Takes what is left of a body, as much as a file may have.
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
