//! `/fleet/jobs/{region}/{id}`: one job, for the operators of its city: preview, progress, why
//! items were refused, and a report. The page only reads, and is kept fresh while a worker works.

use std::sync::Arc;

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::{
    jobs::{state, title},
    only_operators,
};
use crate::{
    db::{
        gates::Gate,
        jobs::{self, Counts, Item, Job},
    },
    domain::{
        Catalogue, City, JobKind, JobRef, Refusal,
        csv::{escape_formula, head, write_line},
        job,
        region::GateState,
        vehicle::short,
    },
    ops::{self, Done, jobs::JobContext},
    web::{
        BadRequest, Form, Layout, PageError, PageResult, RequestContext, RowPath, Section,
        filters::{self, counted},
        paths,
    },
};

/// Items on the page; the report has all.
const SHOWN: i64 = 50;

#[derive(Template)]
#[template(path = "pages/job.html")]
struct JobPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    city: &'a City,
    job: &'a Job,
    halted: Option<String>,
    compared: Option<Comparison<'a>>,
    half_read: bool,
    /// After so many seconds.
    refresh: Option<u32>,
    counts: Counts,
    items: Vec<&'a Item>,
}

/// Departures and arrivals of a transfer.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Comparison<'a> {
    sent: i64,
    sent_sum: &'a str,
    received: i64,
    received_sum: &'a str,
    #[serde(borrow)]
    missing: Vec<&'a str>,
}

impl Comparison<'_> {
    fn same(&self) -> bool {
        (self.sent, self.sent_sum) == (self.received, self.received_sum)
    }
}

impl JobPage<'_> {
    fn to_confirm(&self) -> bool {
        self.job.running && self.job.confirmed_at.is_none() && !self.job.selecting()
    }

    fn vehicles(&self) -> String {
        counted(self.counts.waiting, "vehicle")
    }

    fn target(&self) -> String {
        self.catalogue.city_name(&self.job.target().1).to_owned()
    }
}

/// A job that the person may see.
async fn theirs(context: &mut RequestContext, RowPath(which): RowPath<JobRef>) -> PageResult<Job> {
    let (current_user, found) =
        context.read_signed_in(&which.region, async |conn| jobs::find(conn, &which).await).await?;
    let job = found.ok_or(PageError::NotFound)?;
    only_operators(&current_user, &job.city)?;
    context.may_touch(&job.target().0);
    Ok(job)
}

pub async fn show(mut context: RequestContext, row: RowPath<JobRef>) -> PageResult {
    let job = theirs(&mut context, row).await?;
    let conn = context.service.db.at(&job.job.region).await?;
    let list = async |state| jobs::list_items(&conn, &job.job, 0, state, SHOWN).await;
    // Of a file, first what is wrong and what would be done.
    let next = async || if job.job_kind == JobKind::Import { list(Some("waiting")).await } else { Ok(Vec::new()) };
    let counts = async {
        match job.progress {
            // As of the last batch: many may look every second.
            Some(progress) => Ok(progress),
            None => jobs::count_items(&conn, &job.job).await,
        }
    };
    let (refused, next, all, counts) = tokio::try_join!(list(Some("refused")), next(), list(None), counts)?;
    let first = |item: &&Item| item.state == "refused" || !next.is_empty() && item.state == "waiting";
    let rest = all.iter().filter(|item| !first(item));
    let items = refused.iter().chain(&next).chain(rest).take(usize::try_from(SHOWN).unwrap_or(50)).collect();
    let city = context.catalogue.city(&job.city).ok_or(PageError::NotFound)?;
    let half_read = job.job_kind == JobKind::Import && job.running && job.selecting();
    let goes_on = job.running && !half_read && (job.selecting() || job.confirmed_at.is_some());
    let halted = halted(&context, &job).filter(|_| goes_on);
    let compared = job.parameters.get("compared").and_then(|compared| Comparison::deserialize(compared).ok());
    let calm =
        halted.is_none() && compared.as_ref().is_none_or(Comparison::same) && job.parameters.get("cut").is_none();
    let title = title(&context.catalogue, &job);
    context.ok(&JobPage {
        layout: context.layout(&title, Section::Fleet, city),
        catalogue: &context.catalogue,
        city,
        job: &job,
        halted,
        compared,
        half_read,
        // What does not go on now may soon; but not so often.
        refresh: goes_on.then_some(if calm { 2 } else { 10 }),
        counts,
        items,
    })
}

fn halted(context: &RequestContext, job: &Job) -> Option<String> {
    if job.paused.as_deref() == Some("not_operator") {
        let text = "The person who confirmed this job no longer operates its cities. Cancel it and create another one.";
        return Some(text.to_owned());
    }
    let service = &context.service;
    [job.job.region.clone(), job.target().0].into_iter().find_map(|region| match service.gates.last_seen(&region) {
        Some(Gate { state: GateState::ReadOnly, reason, until, .. }) => {
            let closed = Refusal::RegionReadOnly { region, reason, until };
            Some(format!("{} The job continues by itself.", context.words(&closed)))
        }
        _ => service.db.health().refused(&region).map(|_| {
            let name = context.catalogue.region_name(&region);
            format!("The region {name} does not answer. The job continues when it does.")
        }),
    })
}

/// The operator's code, or the beginning of the id; make and type.
fn named(item: &Item) -> (String, String) {
    let text = |key: &str| item.input.get(key).and_then(Value::as_str).unwrap_or_default();
    let id = || item.vehicle.map(short).unwrap_or_default();
    let name = Some(text("code").to_owned()).filter(|code| !code.is_empty()).unwrap_or_else(id);
    (name, format!("{} {}", text("brand"), text("type")).trim().to_owned())
}

/// What a line of a file changes, as in "battery 40 → 55"; none if it is no such line, or adds a
/// vehicle.
fn changes(item: &Item) -> Option<String> {
    let was = item.input.get("was")?.as_object()?;
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "none".to_owned(),
    };
    let change = |field: &&str| {
        let (old, new) = (was.get(*field), item.input.get(*field));
        (text(old) != text(new)).then(|| format!("{field} {} → {}", text(old), text(new)))
    };
    let fields = ["type", "brand", "colour", "battery", "lat", "lon", "place", "note"];
    Some(fields.iter().filter_map(change).collect::<Vec<_>>().join(", "))
}

fn item_state(job: &Job, item: &Item) -> (&'static str, &'static str) {
    if job.job_kind == JobKind::Import && !job.cancelled {
        let (confirmed, changes) = (job.confirmed_at.is_some(), changes(item));
        let adds = item.input.get("was").is_some_and(Value::is_null);
        match item.state.as_str() {
            "refused" => return ("Rejected", "maintenance"),
            _ if changes.as_deref() == Some("") => return ("Unchanged", ""),
            "waiting" if !confirmed => return (if adds { "Will be added" } else { "Will change" }, "waiting"),
            "done" if !confirmed => return ("Unchanged", ""),
            "done" if adds => return ("Added", "available"),
            "done" if changes.is_some() => return ("Changed", "available"),
            _ => {}
        }
    }
    match item.state.as_str() {
        "done" => ("Done", "available"),
        "refused" => ("Refused", "maintenance"),
        // The job is cancelled first and then its items, part by part.
        "waiting" if !job.cancelled => ("Waiting", ""),
        _ => ("Cancelled", "maintenance"),
    }
}

#[derive(Debug, Deserialize)]
pub struct Confirm {
    /// Where an import's new vehicles go.
    #[serde(default)]
    new_status: String,
}

pub async fn confirm(mut context: RequestContext, row: RowPath<JobRef>, Form(form): Form<Confirm>) -> PageResult {
    let job = theirs(&mut context, row).await?;
    let auth = context.auth()?;
    let new_status = match form.new_status.as_str() {
        "" if job.job_kind == JobKind::Import && job.number("new") > 0 && job.confirmed_at.is_none() => {
            return Ok(context.refused(&paths::job(&job.job), "Please choose where the new vehicles go."));
        }
        "" => None,
        status @ ("available" | "maintenance") => Some(status),
        _ => return Err(BadRequest::Field.into()),
    };
    let on_job = JobContext::of(&context.service, &context.catalogue, &auth);
    let outcome = ops::jobs::confirm(on_job, &job, new_status).await;
    if outcome.is_ok() {
        // Wakes the worker, which leases the job and calls `ops::jobs::batch` until nothing waits.
        context.service.work.notify_one();
    }
    // The page says how far it is, after a double click as well.
    context.respond(outcome.map(|_| Done::Now), &paths::job(&job.job), "")
}

pub async fn cancel(mut context: RequestContext, row: RowPath<JobRef>) -> PageResult {
    let job = theirs(&mut context, row).await?;
    let auth = context.auth()?;
    let outcome = ops::jobs::cancel(JobContext::of(&context.service, &context.catalogue, &auth), &job).await;
    let done = "The job is cancelled. What was done stays.";
    context.respond(outcome.map(|_| Done::Now), &paths::job(&job.job), done)
}

const CHUNK: i64 = 1_000;

/// `GET /fleet/jobs/{region}/{id}/report.csv`: every item, streamed.
pub async fn report(mut context: RequestContext, row: RowPath<JobRef>) -> PageResult {
    let job = theirs(&mut context, row).await?;
    let file = format!("job-{}.csv", job.job.id);
    let service = Arc::clone(&context.service);
    let read = async move |after| {
        let conn = service.db.at(&job.job.region).await?;
        let items = jobs::list_items(&conn, &job.job, after, None, CHUNK).await?;
        let mut text = String::new();
        for item in &items {
            let ((name, what), (state, _)) = (named(item), item_state(&job, item));
            let position = item.position.to_string();
            let id = item.vehicle.map(|id| id.to_string()).unwrap_or_default();
            let reason = item.reason.as_deref().map(job::reason).unwrap_or_default();
            let changes = changes(item).unwrap_or_default();
            let cells: [&str; 7] = [&position, &id, &name, &what, state, &reason, &changes];
            write_line(&mut text, cells.map(escape_formula));
        }
        let full = i64::try_from(items.len()) == Ok(CHUNK);
        Ok((text, items.last().map(|item| item.position).filter(|_| full)))
    };
    let head = head(&["position", "vehicle", "code", "what", "state", "reason", "changes"]);
    Ok(context.csv(&file, (head, Some(0)), read))
}
