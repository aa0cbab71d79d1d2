//! `/fleet/jobs/{region}/{id}`: one job, for the operators of its city. What it will do
//! before it is confirmed, how far it is, why items were refused, and all of it as a report.
//! The page only looks, and looks again by itself while a worker goes on (`worker`).

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION},
    web::{Bytes, Path},
};
use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::{
    fleet::only_operators,
    jobs::{state, title, told},
    row_of_path,
};
use crate::{
    db::{
        error::DbError,
        gates::Gate,
        jobs::{self, Counts, Item, Job},
        sessions::CurrentUser,
    },
    domain::{
        csv::{escape_formula, head, write_line},
        job::{self, JobKind, JobRef},
        refusal::Refusal,
    },
    ops::{self, jobs::JobContext},
    web::{
        context::RequestContext,
        error::PageError,
        layout::{layout, time},
        paths,
        views::{ComparedView, CountsView, ItemView, JobPage, NoteView, Section},
    },
};

/// Items on the page; the report has all.
const SHOWN: i64 = 50;

/// A job that the person may see.
async fn theirs(context: &mut RequestContext, path: &(String, String)) -> Result<(CurrentUser, Job), PageError> {
    let (region, id) = row_of_path(context, path)?;
    let which = JobRef { region, id };
    let (current_user, found) =
        context.read_signed_in(&which.region, async |conn| jobs::find(conn, &which).await).await?;
    let job = found.ok_or(PageError::NotFound)?;
    only_operators(&current_user, &job.city)?;
    context.names(&job.target().0);
    Ok((current_user, job))
}

/// `GET /fleet/jobs/{region}/{id}`.
pub async fn show(mut context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (current_user, job) = theirs(&mut context, &path).await?;
    let conn = context.service.db.at(&job.job.region).await?;
    let list = async |state| jobs::list_items(&conn, &job.job, 0, state, SHOWN).await;
    let counts = async {
        match job.progress {
            // As of the last batch: many may look every second.
            Some(progress) => Ok(progress),
            None => jobs::count_items(&conn, &job.job).await,
        }
    };
    let (refused, all, counts) = tokio::try_join!(list(Some("refused")), list(None), counts)?;
    let rest = all.iter().filter(|item| item.state != "refused");
    let items: Vec<&Item> = refused.iter().chain(rest).take(usize::try_from(SHOWN).unwrap_or(50)).collect();
    let page = page(&context, &current_user, &job, &counts, &items)?;
    context.ok(&page)
}

/// Why a job that could go on does not.
fn halted(context: &RequestContext, job: &Job) -> Option<String> {
    if job.paused.as_deref() == Some("not_operator") {
        let text =
            "Whoever confirmed this job does not operate its cities any more. Cancel it and ask for another one.";
        return Some(text.to_owned());
    }
    let service = &context.service;
    [job.job.region.clone(), job.target().0].into_iter().find_map(|region| {
        let unreachable = || Some(format!("The region {region} does not answer. The job goes on when it does."));
        match service.gates.last_seen(&region) {
            Some(Gate { writable: false, reason, until, .. }) => {
                let closed = Refusal::RegionReadOnly { region, reason, until }.message();
                Some(format!("{closed} The job goes on by itself."))
            }
            _ => service.db.health().refused(&region).and_then(|_| unreachable()),
        }
    })
}

fn page(
    context: &RequestContext,
    current_user: &CurrentUser,
    job: &Job,
    counts: &Counts,
    items: &[&Item],
) -> Result<JobPage, PageError> {
    let city = context.catalogue.city(&job.city).ok_or(PageError::NotFound)?;
    let (state, class) = state(job);
    let (title, compared) = (title(context, job), compared(job));
    let half_read = job.job_kind == JobKind::Import && job.selecting();
    let goes_on = job.running && !half_read && (job.selecting() || job.confirmed_at.is_some());
    let halted = halted(context, job).filter(|_| goes_on);
    let mut notes: Vec<_> = halted.into_iter().map(|text| NoteView { class: "error", text }).collect();
    let unlike = compared.as_ref().is_some_and(|compared| !compared.same);
    if unlike {
        let text = "What left and what arrived is not the same. The job stays open until it is.".to_owned();
        notes.push(NoteView { class: "error", text });
    }
    if job.parameters.get("cut").is_some() {
        let text = "There were more vehicles: a job takes 50,000. Ask for another one afterwards.".to_owned();
        notes.push(NoteView { class: "warn", text });
    }
    if half_read && job.running {
        let text = "The file was not read to its end. Cancel this and send it again.".to_owned();
        notes.push(NoteView { class: "error", text });
    }
    let to_confirm = job.running && job.confirmed_at.is_none() && !job.selecting();
    // What does not go on now may a second later; but not so often.
    let refresh = goes_on.then_some(if notes.is_empty() { 1 } else { 10 });
    Ok(JobPage {
        layout: layout(context, Some(current_user), &title, Section::Fleet, city),
        title,
        state,
        class,
        href: paths::job(&job.job),
        back: paths::jobs(&job.city),
        refresh,
        notes,
        asked: time(job.created_at, city.time_zone),
        over: job.finished_at.map(|at| time(at, city.time_zone)),
        counts: CountsView {
            waiting: counts.waiting,
            done: counts.done,
            refused: counts.refused,
            cancelled: counts.cancelled,
            all: counts.all(),
            over: counts.all() - counts.waiting,
        },
        heading: if counts.all() > SHOWN { "The first items" } else { "Items" },
        confirm: to_confirm.then(|| will(context, job, counts)),
        cancellable: job.running,
        compared,
        items: items.iter().map(|item| item_view(job, item)).collect(),
    })
}

/// What a job will do, before it is confirmed.
fn will(context: &RequestContext, job: &Job, counts: &Counts) -> String {
    let (_, to) = job.target();
    let (from, to) = (context.catalogue.city_name(&job.city), context.catalogue.city_name(&to));
    let vehicles = if counts.waiting == 1 { "1 vehicle".to_owned() } else { format!("{} vehicles", counts.waiting) };
    match job.job_kind {
        JobKind::Maintenance => format!("Sets {vehicles} of {from} to maintenance."),
        JobKind::Back => format!("Puts {vehicles} of {from} back on the street."),
        JobKind::Lost => format!("Marks {vehicles} of {from} as lost."),
        JobKind::Found => format!("Marks {vehicles} of {from} as found. They go to maintenance first."),
        JobKind::Retire => {
            format!("Takes {vehicles} of {from} off the street for ever. This cannot be taken back.")
        }
        JobKind::Move => {
            format!("Moves {vehicles} to {to}. They arrive at its depot in maintenance, not on the street.")
        }
        JobKind::Transfer => format!(
            "Transfers {vehicles} to {to}. They arrive at its depot in maintenance, not on the street. \
             Their rides stay where they happened."
        ),
        // It has no page here.
        JobKind::Erasure => String::new(),
        JobKind::Import => {
            let count = |key: &str| job.parameters.get(key).and_then(Value::as_i64).unwrap_or(0);
            format!(
                "Vehicles of {}: adds {}, changes {}; {} are like that already. Lines that are refused: {}. Read as: {}",
                from,
                count("new"),
                count("changed"),
                count("same"),
                count("refused"),
                job.text("read_as").unwrap_or_default(),
            )
        }
    }
}

fn compared(job: &Job) -> Option<ComparedView> {
    let compared = job.parameters.get("compared")?;
    let number = |key: &str| compared.get(key).and_then(Value::as_i64).unwrap_or(0);
    let text = |key: &str| compared.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (sent, received) = ((number("sent"), text("sent_sum")), (number("received"), text("received_sum")));
    let missing = compared.get("missing").and_then(Value::as_array).into_iter().flatten();
    let missing = missing.filter_map(|id| id.as_str().map(str::to_owned)).collect();
    Some(ComparedView { same: sent == received, sent, received, missing })
}

/// The operator's code, or the beginning of the id; make and type.
fn named(item: &Item) -> (String, String) {
    let text = |key: &str| item.input.get(key).and_then(Value::as_str).unwrap_or_default();
    let id = || item.vehicle.map(|id| id.simple().to_string().chars().take(8).collect::<String>()).unwrap_or_default();
    let name = Some(text("code").to_owned()).filter(|code| !code.is_empty()).unwrap_or_else(id);
    (name, format!("{} {}", text("brand"), text("type")).trim().to_owned())
}

fn item_state(job: &Job, item: &Item) -> (&'static str, &'static str) {
    match item.state.as_str() {
        "done" => ("Done", "available"),
        "refused" => ("Refused", "maintenance"),
        // The job is cancelled first and then its items, part by part.
        "waiting" if !job.cancelled => ("Waiting", ""),
        _ => ("Cancelled", "maintenance"),
    }
}

fn item_view(job: &Job, item: &Item) -> ItemView {
    let ((name, what), (state, class)) = (named(item), item_state(job, item));
    let reason = item.reason.as_deref().map(job::reason).unwrap_or_default();
    ItemView { position: item.position, name, what, state: state.to_owned(), class, reason }
}

/// `POST /fleet/jobs/{region}/{id}/confirm`.
pub async fn confirm(mut context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (_, job) = theirs(&mut context, &path).await?;
    let (catalogue, auth, back) = (context.catalogue.clone(), context.auth()?, paths::job(&job.job));
    match ops::jobs::confirm(JobContext::of(&context.service, &catalogue, &auth), &job).await {
        Ok(_) => {
            context.service.work.notify_one();
            Ok(context.done(&back, ""))
        }
        Err(error) => told(&context, &back, error),
    }
}

/// `POST /fleet/jobs/{region}/{id}/cancel`.
pub async fn cancel(mut context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (_, job) = theirs(&mut context, &path).await?;
    let (catalogue, auth, back) = (context.catalogue.clone(), context.auth()?, paths::job(&job.job));
    match ops::jobs::cancel(JobContext::of(&context.service, &catalogue, &auth), &job).await {
        Ok(_) => Ok(context.done(&back, "The job is cancelled. What was done stays.")),
        Err(error) => told(&context, &back, error),
    }
}

/// Items that the report reads in one go.
const CHUNK: i64 = 1_000;

/// `GET /fleet/jobs/{region}/{id}/report.csv`: every item, streamed.
pub async fn report(mut context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (_, job) = theirs(&mut context, &path).await?;
    let file = format!("attachment; filename=\"job-{}.csv\"", job.job.id);
    let (service, head) =
        (Arc::clone(&context.service), head(&["position", "vehicle", "code", "what", "state", "reason"]));
    let rows = stream::try_unfold(Some(0), move |after| {
        let (service, job) = (Arc::clone(&service), job.clone());
        async move {
            let Some(after) = after else { return Ok::<_, DbError>(None) };
            let conn = service.db.at(&job.job.region).await?;
            let items = jobs::list_items(&conn, &job.job, after, None, CHUNK).await?;
            let mut text = String::new();
            for item in &items {
                let ((name, what), (state, _)) = (named(item), item_state(&job, item));
                let id = item.vehicle.map(|id| id.to_string()).unwrap_or_default();
                let reason = item.reason.as_deref().map(job::reason).unwrap_or_default();
                text += &line([&item.position.to_string(), &id, &name, &what, state, &reason]);
            }
            let full = i64::try_from(items.len()) == Ok(CHUNK);
            let next = items.last().map(|item| item.position).filter(|_| full);
            Ok(Some((Bytes::from(text), next)))
        }
    });
    let body = stream::once(std::future::ready(Ok(Bytes::from(head)))).chain(rows);
    let response = HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_DISPOSITION, file))
        .streaming(body);
    Ok(context.finish(response))
}

/// One line of the report.
fn line(cells: [&str; 6]) -> String {
    let mut text = String::new();
    write_line(&mut text, cells.map(escape_formula));
    text
}
