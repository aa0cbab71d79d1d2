//! `/fleet/tasks`: what riders reported in a city, for its operators, who take tasks and finish
//! them; and the report itself, about a vehicle on the street or after a ride.

use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{NO_SUCH_PART, PartQuery, city_of, read_operated};
use crate::{
    db::{
        fleet::{self, FleetVehicle},
        tasks::{self, Task},
    },
    domain::{
        City, PublicVehicle, RegionCode, RideRef, VehicleRef, Version,
        fleet::{NOTE_MAX, status_text},
        people,
        task::{CHARGE, PROBLEMS, TaskRef, TaskStep, problem_text},
    },
    ops::{self, Done},
    web::{Cursor, Form, Id, Layout, PageResult, Pagination, Query, RequestContext, RowPath, Section, filters, paths},
};

const PAGE: i64 = 25;

/// Which tasks a page shows: its parameter and its name.
const SHOWN: [(&str, &str); 3] = [("", "Open"), ("mine", "Mine"), ("done", "Done")];

#[derive(Template)]
#[template(path = "pages/tasks.html")]
struct TasksPage<'a> {
    layout: Layout,
    city: &'a City,
    show: &'a str,
    /// Owners' vehicles to approve; on the first page.
    waiting: Vec<FleetVehicle>,
    tasks: Vec<Task>,
    me: Uuid,
    command: Uuid,
    pagination: Pagination,
    error: Option<&'static str>,
}

pub async fn list(mut context: RequestContext, Query(query): Query<PartQuery>) -> PageResult {
    let city = city_of(&context, &query.city)?;
    let Cursor(at, id) = query.before.unwrap_or_else(|| Cursor::first(context.now));
    let known = SHOWN.into_iter().find(|(show, _)| *show == query.show);
    let (show, _) = known.unwrap_or_default();
    let me = context.auth()?.user.id;
    let wanted = (if show == "done" { "done" } else { "open" }, Some(me).filter(|_| show == "mine"));
    let first = show.is_empty() && query.before.is_none();
    let names = context.may_name(&city.region);
    let (_, (mut tasks, waiting)) = read_operated(&mut context, &city, async |conn| {
        let tasks = tasks::list(conn, (&city.region, &city.slug), wanted, (at, id), PAGE + 1, names);
        if !first {
            return Ok((tasks.await?, Vec::new()));
        }
        let (tasks, waiting) = tokio::join!(tasks, fleet::list_waiting(conn, &city.region, &city.slug));
        Ok((tasks?, waiting?))
    })
    .await?;
    let here = paths::tasks(&city.slug, show);
    let next = |last: &Task| format!("{here}&before={}", Cursor(last.created_at, last.task.id));
    let page = TasksPage {
        layout: context.layout(&format!("Tasks in {}", city.name), Section::Fleet, &city),
        city: &city,
        show,
        pagination: Pagination::cut(&mut tasks, PAGE, query.before.map(|_| here.clone()), next),
        waiting,
        tasks,
        me,
        command: context.service.ids.form(),
        error: known.is_none().then_some(NO_SUCH_PART),
    };
    context.ok_or_invalid(page.error.is_some(), &page)
}

#[derive(Debug, Deserialize)]
pub struct Change {
    version: Version,
    command: Id,
    step: TaskStep,
    vehicle: Id,
}

pub async fn change(context: RequestContext, RowPath(task): RowPath<TaskRef>, Form(form): Form<Change>) -> PageResult {
    let command = context.row_id(form.command, "command", &task.region)?;
    let vehicle = VehicleRef { region: task.region.clone(), id: form.vehicle.0 };
    let back = context.came_from("/fleet/tasks").unwrap_or_else(|| paths::fleet_vehicle(&vehicle));
    let outcome =
        ops::signed_write(&context.service, &context.auth()?, (&task.region, task.id), async |conn, write| {
            tasks::change(conn, write, form.version.get(), command, form.step).await
        })
        .await;
    let done = match form.step {
        TaskStep::Take => "This task is yours now.",
        TaskStep::Release => "This task is free for others again.",
        TaskStep::Finish => "This task is done.",
        TaskStep::Reopen => "This task is open again.",
    };
    context.respond(outcome, &back, done)
}

/// On the pages of vehicles and rides.
pub(super) struct ReportForm {
    /// Its page; the report goes to `/report` below.
    pub about: String,
    pub task: Uuid,
    /// Whether its price can be wrong.
    pub charged: bool,
}

impl ReportForm {
    pub fn new(context: &RequestContext, about: String, charged: bool) -> Self {
        Self { about, task: context.service.ids.form(), charged }
    }
}

#[derive(Debug, Deserialize)]
pub struct Report {
    task: Id,
    problem: String,
    #[serde(default)]
    note: String,
}

/// `POST /vehicles/{region}/{public_id}/report`.
pub async fn report_vehicle(
    context: RequestContext,
    RowPath(vehicle): RowPath<PublicVehicle>,
    Form(form): Form<Report>,
) -> PageResult {
    // After the third report the vehicle is off the street and has no page.
    report(context, (&vehicle.region, vehicle.public_id), form, false, ["/vehicles", &paths::vehicle(&vehicle)]).await
}

/// `POST /rides/{region}/{id}/report`: about the person's own ride, or its vehicle.
pub async fn report_ride(
    context: RequestContext,
    RowPath(ride): RowPath<RideRef>,
    Form(form): Form<Report>,
) -> PageResult {
    let receipt = paths::ride(&ride);
    report(context, (&ride.region, ride.id), form, true, [&receipt, &receipt]).await
}

/// Leads to the page `done`, or `again` if something typed is wrong.
async fn report(
    mut context: RequestContext,
    about: (&RegionCode, Uuid),
    form: Report,
    charged: bool,
    [done, again]: [&str; 2],
) -> PageResult {
    let auth = context.auth()?;
    let task = context.row_id(form.task, "task", about.0)?;
    let charge = charged && form.problem == CHARGE;
    if !charge && !PROBLEMS.iter().any(|(problem, _)| *problem == form.problem) {
        return Ok(context.refused(again, "Please choose what is wrong."));
    }
    let note = match people::optional_line(&form.note, NOTE_MAX, "a note") {
        Ok(note) if charge => Some(format!("{} {}", about.1, note.unwrap_or_default())),
        Ok(note) => note,
        Err(wrong) => return Ok(context.refused(again, &wrong)),
    };
    let outcome = ops::vehicle_write(&context.service, &auth, about, async |conn, write| {
        tasks::report(conn, write, task, &form.problem, note.as_deref()).await
    })
    .await;
    // A report can take the vehicle off the street, and a reservation with it.
    context.ride_changed();
    context.respond(outcome.map(|_| Done::Now), done, "Thank you for telling us. We will look into it.")
}
