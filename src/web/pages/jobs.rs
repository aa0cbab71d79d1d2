//! `/fleet/jobs`: the jobs of a city with their numbers and who asked for them, and requesting one:
//! for a list of vehicles with their versions, or for the filter of the fleet list with its time.

use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    NO_SUCH_PART, PartQuery, city_of, city_of_form,
    fleet::{self, FleetQuery},
    others_operated, read_operated,
};
use crate::{
    db::{
        Conn,
        bulk::Selection,
        jobs::{self, COUNTED_MAX, Filter, Job, ListedJob},
    },
    domain::{
        Catalogue, City, JobKind, JobRef, Moment, Roles, Version,
        fleet::{NOTE_MAX, STATUSES, status_text},
        job::CHOICES,
        people,
    },
    ops::{
        self,
        jobs::{JobContext, NewJob},
    },
    web::{
        Cursor, FormState, Id, Layout, ListForm, PageResult, Pagination, Query, RequestContext, Section,
        filters::{self, counted, number},
        form, paths,
    },
};

const PAGE: i64 = 25;

#[derive(Template)]
#[template(path = "pages/jobs.html")]
struct JobsPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    city: &'a City,
    jobs: Vec<ListedJob>,
    /// The chosen entry of [`SHOW`].
    show: &'static str,
    me: Uuid,
    pagination: Pagination,
    new_job: JobFields<'a>,
    error: Option<&'static str>,
}

/// Parts of the list: the parameter, its words, and the state and confirmation of its jobs.
const SHOW: [(&str, &str, Option<&str>, Option<bool>); 6] = [
    ("", "All", None, None),
    ("mine", "Mine", None, None),
    ("confirm", "Needs confirmation", Some("running"), Some(false)),
    ("running", "Running", Some("running"), Some(true)),
    ("done", "Done", Some("done"), None),
    ("cancelled", "Cancelled", Some("cancelled"), None),
];

impl JobsPage<'_> {
    fn who(&self, of: &ListedJob) -> String {
        let by = &of.job.requested_by;
        match &of.username {
            _ if by.id == self.me => "you".to_owned(),
            _ if by.id.is_nil() => "a command".to_owned(),
            Some(username) => username.clone(),
            None => format!("an operator from {}", self.catalogue.region_name(&by.region)),
        }
    }
}

/// As in "281 vehicles" or "280 of 281 done, 1 refused".
fn numbers(listed: &ListedJob) -> String {
    let what = if listed.job.job_kind == JobKind::Import { "line" } else { "vehicle" };
    let Some(counts) = &listed.counts else {
        return if listed.more { format!("more than {} {what}s", number(COUNTED_MAX)) } else { String::new() };
    };
    let mut text = match listed.job.confirmed_at {
        None => counted(counts.all(), what),
        Some(_) => format!("{} of {} done", number(counts.done), number(counts.all())),
    };
    for (of, word) in [(counts.refused, "refused"), (counts.cancelled, "cancelled")] {
        if of > 0 {
            text += &[", ", &number(of), " ", word].concat();
        }
    }
    text
}

pub(super) struct JobFields<'a> {
    pub id: Uuid,
    drawn: DateTime<Utc>,
    pub targets: Vec<&'a City>,
    pub form: FormState,
}

impl<'a> JobFields<'a> {
    pub fn new(context: &'a RequestContext, roles: &Roles, city: &City, form: FormState) -> Self {
        Self {
            id: context.service.ids.form(),
            drawn: context.now,
            targets: others_operated(context, roles, city),
            form,
        }
    }

    /// A move needs another city to go to.
    pub fn choices(&self) -> impl Iterator<Item = JobKind> {
        CHOICES.into_iter().filter(|kind| *kind != JobKind::Move || !self.targets.is_empty())
    }

    /// For the form: when the page was rendered.
    pub fn drawn(&self) -> String {
        self.drawn.to_rfc3339_opts(SecondsFormat::Micros, true)
    }
}

pub async fn list(mut context: RequestContext, Query(query): Query<PartQuery>) -> PageResult {
    let city = city_of(&context, &query.city)?;
    let Cursor(at, id) = query.before.unwrap_or_else(|| Cursor::first(context.now));
    let known = SHOW.iter().find(|(show, ..)| *show == query.show);
    let &(show, _, state, confirmed) = known.unwrap_or(&SHOW[0]);
    let me = context.auth()?.user.id;
    let filter = Filter { state, confirmed, by: (show == "mine").then_some(me), names: context.may_name(&city.region) };
    let list = async |conn: &Conn| jobs::list(conn, (&city.region, &city.slug), filter, (at, id), PAGE + 1).await;
    let (current_user, (mut jobs, searched_to)) = read_operated(&mut context, &city, list).await?;
    let here = paths::jobs(&city.slug, show);
    let next = |last: &ListedJob| format!("{here}&before={}", Cursor(last.job.created_at, last.job.job.id));
    let pagination = Pagination::cut(&mut jobs, PAGE, query.before.map(|_| here.clone()), next);
    let page = JobsPage {
        layout: context.layout(&format!("Jobs in {}", city.name), Section::Fleet, &city),
        catalogue: &context.catalogue,
        city: &city,
        pagination: pagination.or_search(searched_to.as_ref().map(next)),
        jobs,
        show,
        me,
        new_job: JobFields::new(&context, &current_user.roles, &city, FormState::default()),
        error: known.is_none().then_some(NO_SUCH_PART),
    };
    context.ok_or_invalid(page.error.is_some(), &page)
}

/// The vehicles of its list, or with `all` those that match its filter.
#[derive(Debug, Deserialize)]
pub struct JobForm {
    id: Id,
    #[serde(rename = "kind")]
    job_kind: JobKind,
    city: String,
    #[serde(default)]
    to_city: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    all: String,
    drawn: Option<Moment>,
    #[serde(flatten)]
    query: FleetQuery,
}

pub async fn create(context: RequestContext, ListForm(form, list): ListForm<JobForm>) -> PageResult {
    let city = city_of_form(&context, &form.city)?.clone();
    context.may_touch(&city.region);
    let back = context.came_from("/fleet").unwrap_or_else(|| paths::jobs(&city.slug, ""));
    let job = JobRef { id: context.row_id(form.id, "job", &city.region)?, region: city.region.clone() };
    match parse(&context, &form, &city, &list, job) {
        Ok(new) => request(&context, &new, &back).await,
        // The list that the job was about, with all that was chosen for it.
        Err(wrong) => {
            let mut job = FormState::default().with("kind", form.job_kind.code());
            job = job.with("to_city", form.to_city).with("note", form.note);
            job.error = Some(wrong);
            let chosen = listed(&list).unwrap_or_default().into_iter().map(|(id, _)| id).collect();
            let mut query = form.query;
            query.city = form.city;
            fleet::page(context, query, job, chosen).await
        }
    }
}

/// Creates the job, and leads to its page.
pub(super) async fn request(context: &RequestContext, new: &NewJob, back: &str) -> PageResult {
    let auth = context.auth()?;
    let created = ops::jobs::create(JobContext::of(&context.service, &context.catalogue, &auth), new).await;
    if created.is_err() {
        return context.respond(created, back, "");
    }
    context.service.work.notify_one();
    Ok(context.done(&paths::job(&new.job), ""))
}

fn parse(
    context: &RequestContext,
    form: &JobForm,
    city: &City,
    list: &[String],
    job: JobRef,
) -> Result<NewJob, String> {
    let (job_kind, to_city) = match form.job_kind {
        JobKind::Move | JobKind::Transfer => {
            let to = context.catalogue.city(&form.to_city).ok_or("Please choose a destination city.")?;
            context.may_touch(&to.region);
            if to.slug == city.slug {
                return Err("The vehicles are already in this city.".to_owned());
            }
            let job_kind = if to.region == city.region { JobKind::Move } else { JobKind::Transfer };
            (job_kind, Some(to.slug.clone()))
        }
        JobKind::Import | JobKind::Erasure => return Err("Imports and erasures have their own pages.".to_owned()),
        job_kind => (job_kind, None),
    };
    let note = match job_kind {
        JobKind::Maintenance => people::optional_line(&form.note, NOTE_MAX, "a note")?,
        _ => None,
    };
    let selection = if form.all.is_empty() {
        Selection::List { list: listed(list)? }
    } else {
        let drawn = form.drawn.ok_or("Please load the page again.")?.at();
        let parsed = form.query.parse(&context.catalogue, drawn);
        let (filter, _) = parsed.map_err(|_wrong| "Please correct the filters first.")?;
        Selection::Filter { filter, drawn }
    };
    Ok(NewJob { job, job_kind, city: city.slug.clone(), to_city, note, selection })
}

/// `ID:VERSION` of each chosen vehicle.
fn listed(list: &[String]) -> Result<Vec<(Uuid, i64)>, String> {
    let read = |text: &String| {
        let (id, version) = text.split_once(':')?;
        Some((form::id(id)?, version.parse::<Version>().ok()?.get()))
    };
    let mut chosen = list.iter().map(read).collect::<Option<Vec<_>>>().ok_or("This is not a list of vehicles.")?;
    chosen.sort_unstable();
    chosen.dedup_by_key(|(id, _)| *id);
    if chosen.is_empty() { Err("Please choose vehicles first.".to_owned()) } else { Ok(chosen) }
}

pub(super) fn title(catalogue: &Catalogue, job: &Job) -> String {
    let (_, to) = job.target();
    let (from, to) = (catalogue.city_name(&job.city), catalogue.city_name(&to));
    match job.job_kind {
        JobKind::Move | JobKind::Transfer => format!("Move from {from} to {to}"),
        job_kind => format!("{} in {from}", job_kind.title()),
    }
}

/// The progress in words, and its CSS class.
pub(super) fn state(job: &Job) -> (&'static str, &'static str) {
    match job {
        job if job.cancelled => ("Cancelled", "maintenance"),
        job if !job.running => ("Done", "available"),
        job if job.selecting() => ("Collecting vehicles", "maintenance"),
        job if job.confirmed_at.is_none() => ("Needs confirmation", "maintenance"),
        _ => ("Running", "available"),
    }
}
