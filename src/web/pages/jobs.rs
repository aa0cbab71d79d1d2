//! `/fleet/jobs`: the jobs of a city, and asking for one: by a list of vehicles with the
//! versions that were seen, or by the filter of the list of the fleet with the time at which
//! that page was drawn. `job` has the page of one job.

use actix_web::HttpResponse;
use chrono::{Duration, SecondsFormat};
use serde::Deserialize;
use uuid::Uuid;

use super::fleet::{Filters, city_of, only_operators};
use crate::{
    db::{
        bulk::Selection,
        jobs::{self, Job},
        sessions::CurrentUser,
    },
    domain::{
        catalogue::City,
        fleet::{NOTE_MAX, STATUSES, status_text},
        job::{CHOICES, JobKind, JobRef},
        people,
        refusal::Refusal,
        stored::{Moment, Version},
    },
    ops::{
        self, OpError,
        jobs::{JobContext, NewJob},
    },
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Id, ListForm, Query},
        layout::{kind_options, layout, time},
        paths,
        views::{JobRow, JobsPage, NewJobView, OptionView, PaginationView, Section},
    },
};

/// Jobs on one page.
const PAGE: usize = 25;

/// Which city, and where the list goes on: `MICROSECONDS~ID` of the last job before.
#[derive(Debug, Deserialize)]
pub struct Which {
    #[serde(default)]
    city: String,
    #[serde(default)]
    before: String,
}

/// `GET /fleet/jobs`.
pub async fn list(mut context: RequestContext, Query(query): Query<Which>) -> Result<HttpResponse, PageError> {
    let city = city_of(&context, &query.city)?;
    let behind = match query.before.split_once('~') {
        None => (context.now + Duration::days(1), Uuid::nil()),
        Some((at, id)) => {
            let at = Moment::from_micros(at).map(Moment::at);
            at.zip(form::id(id)).ok_or(PageError::BadRequest("There is no such page of the list."))?
        }
    };
    context.names(&city.region);
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let (current_user, mut found) = context
        .read_signed_in(&city.region, async |conn| jobs::list(conn, &city.region, &city.slug, behind, limit).await)
        .await?;
    only_operators(&current_user, &city.slug)?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let older = found.last().filter(|_| more).map(|last| {
        format!("{}&before={}~{}", paths::jobs(&city.slug), last.created_at.timestamp_micros(), last.job.id)
    });
    let row = |job: &Job| {
        let (state, class) = state(job);
        let title = title(&context, job);
        JobRow { href: paths::job(&job.job), title, asked: time(job.created_at, city.time_zone), state, class }
    };
    let page = JobsPage {
        jobs: found.iter().map(row).collect(),
        pagination: PaginationView { newest: (!query.before.is_empty()).then(|| paths::jobs(&city.slug)), older },
        form: empty_form(&context, &current_user, &city),
        layout: layout(&context, Some(&current_user), &format!("Jobs in {}", city.name), Section::Fleet, &city),
        city: city.name.clone(),
    };
    context.ok(&page)
}

pub(super) fn empty_form(context: &RequestContext, current_user: &CurrentUser, city: &City) -> NewJobView {
    let option =
        |value: &str, text: &str| OptionView { value: value.to_owned(), text: text.to_owned(), selected: false };
    let targets =
        context.catalogue.cities.iter().filter(|other| other.slug != city.slug && current_user.operates(&other.slug));
    NewJobView {
        id: context.service.ids.form().to_string(),
        city: city.slug.clone(),
        drawn: context.now.to_rfc3339_opts(SecondsFormat::Micros, true),
        kinds: CHOICES.iter().map(|kind| option(kind.code(), kind.title())).collect(),
        targets: targets.map(|other| option(&other.slug, &format!("{} ({})", other.name, other.region))).collect(),
        statuses: STATUSES.iter().map(|status| option(status, status_text(status))).collect(),
        types: kind_options(&context.catalogue, ""),
        ..NewJobView::default()
    }
}

/// What a form asks for: the vehicles of its list, or with `all` those that its filter finds.
#[derive(Debug, Deserialize)]
pub struct JobForm {
    id: Id,
    kind: JobKind,
    city: String,
    #[serde(default)]
    to_city: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    all: String,
    drawn: Option<Moment>,
    #[serde(flatten)]
    filters: Filters,
}

/// `POST /fleet/jobs`.
pub async fn create(
    context: RequestContext,
    ListForm(form, list): ListForm<JobForm>,
) -> Result<HttpResponse, PageError> {
    let city = context.catalogue.city(&form.city).ok_or(PageError::BadRequest("There is no such city."))?.clone();
    context.names(&city.region);
    let back = context.came_from("/fleet").unwrap_or_else(|| paths::jobs(&city.slug));
    let job = JobRef { id: context.made_by(form.id, "job", &city.region)?, region: city.region.clone() };
    let new = match parse(&context, &form, &city, &list, job) {
        Ok(new) => new,
        Err(wrong) => {
            // Who may not is told that, whatever the form says.
            only_operators(&context.clone().current_user().await?, &city.slug)?;
            return Ok(context.refused(&back, &wrong));
        }
    };
    let (catalogue, auth) = (context.catalogue.clone(), context.auth()?);
    match ops::jobs::create(JobContext::of(&context.service, &catalogue, &auth), &new).await {
        Ok(_) => {
            context.service.work.notify_one();
            Ok(context.done(&paths::job(&new.job), ""))
        }
        Err(error) => told(&context, &back, error),
    }
}

/// The job that the form describes, or what is wrong with it.
fn parse(
    context: &RequestContext,
    form: &JobForm,
    city: &City,
    list: &[String],
    job: JobRef,
) -> Result<NewJob, String> {
    let to_city = match form.kind {
        JobKind::Move | JobKind::Transfer => {
            let to = context.catalogue.city(&form.to_city).ok_or("Please choose the city to which they go.")?;
            context.names(&to.region);
            match (form.kind == JobKind::Transfer, to.region == city.region) {
                (false, false) => return Err(format!("{} is in another region: choose a transfer.", to.name)),
                (true, true) => return Err(format!("{} is in the same region: choose a move.", to.name)),
                _ if to.slug == city.slug => return Err("They are in this city already.".to_owned()),
                _ => Some(to.slug.clone()),
            }
        }
        JobKind::Import | JobKind::Erasure => return Err("That is asked for on its own page.".to_owned()),
        _ => None,
    };
    let note = match form.kind {
        JobKind::Maintenance => people::optional_line(&form.note, NOTE_MAX, "a note")?,
        _ => None,
    };
    let selection = if form.all.is_empty() {
        Selection::List { list: listed(list)? }
    } else {
        let drawn = form.drawn.ok_or("Please load the page again.")?.at();
        Selection::Filter { filter: form.filters.filter(&context.catalogue, drawn)?, drawn }
    };
    Ok(NewJob { job, job_kind: form.kind, city: city.slug.clone(), to_city, note, selection })
}

/// `ID:VERSION` of each chosen vehicle.
fn listed(list: &[String]) -> Result<Vec<(Uuid, i64)>, String> {
    let read = |text: &String| {
        let (id, version) = text.split_once(':')?;
        Some((form::id(id)?, version.parse::<Version>().ok()?.get()))
    };
    let mut chosen = list.iter().map(read).collect::<Option<Vec<_>>>().ok_or("That is no list of vehicles.")?;
    chosen.sort_unstable();
    chosen.dedup_by_key(|(id, _)| *id);
    if chosen.is_empty() { Err("Please choose vehicles first.".to_owned()) } else { Ok(chosen) }
}

/// What becomes of an act that was not done: back with the reason.
pub(super) fn told(context: &RequestContext, back: &str, error: OpError) -> Result<HttpResponse, PageError> {
    match error {
        OpError::Refused(Refusal::SignedOut) => Err(context.sign_in_first()),
        OpError::Refused(Refusal::NoSuchJob) => Err(PageError::NotFound),
        OpError::Refused(Refusal::NotOperator) => Err(PageError::Refused(Refusal::NotOperator)),
        OpError::Refused(refusal) => Ok(context.refused(back, &refusal.message())),
        error @ OpError::Db(_) => Err(error.into()),
    }
}

/// What the job does, and where.
pub(super) fn title(context: &RequestContext, job: &Job) -> String {
    let (_, to) = job.target();
    let (from, to) = (context.catalogue.city_name(&job.city), context.catalogue.city_name(&to));
    match job.job_kind {
        JobKind::Move => format!("Move from {from} to {to}"),
        JobKind::Transfer => format!("Transfer from {from} to {to}"),
        kind => format!("{} in {from}", kind.title()),
    }
}

/// How far the job is, and the CSS class of that.
pub(super) fn state(job: &Job) -> (String, &'static str) {
    let (text, class) = match job {
        job if job.cancelled => ("Cancelled", "maintenance"),
        job if !job.running => ("Done", "available"),
        job if job.selecting() => ("Collecting vehicles", "maintenance"),
        job if job.confirmed_at.is_none() => ("Waits to be confirmed", "maintenance"),
        _ => ("Running", "available"),
    };
    (text.to_owned(), class)
}
