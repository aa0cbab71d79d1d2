//! `/fleet/vehicles/{region}/{id}`: a vehicle for the operators of its city, its history, and what
//! they may do with it. Each form carries the version that it showed and an id of its own.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{city_of_form, jobs, map, only_operators, others_operated};
use crate::{
    db::{
        bulk::Selection,
        fleet::{self, FleetVehicle, HISTORY_PAGE, HistoryEntry, SeenVehicle, VehicleDetails, VehicleEdit},
        tasks::{self, Task},
    },
    domain::{
        Catalogue, City, JobKind, JobRef, VehicleRef, Version, event,
        fleet::{NOTE_MAX, status_text},
        job::{STEPS, StatusChange},
        people,
        task::problem_text,
    },
    ops::{self, jobs::NewJob},
    web::{
        BadRequest, Form, FormState, FormWithState, Id, Layout, PageError, PageResult, Query, RequestContext, RowPath,
        Section, filters, form, paths,
    },
};

#[derive(Template)]
#[template(path = "pages/fleet_vehicle.html")]
struct FleetVehiclePage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    now: DateTime<Utc>,
    city: &'a City,
    found: &'a VehicleDetails,
    command: Uuid,
    /// An owner's vehicle that an operator has to approve.
    waits: bool,
    /// Possible actions; the database decides again.
    steps: Vec<JobKind>,
    /// The one that cannot be undone stands apart.
    retires: bool,
    changeable: bool,
    form: FormState,
    cities: Vec<&'a City>,
    tasks: Vec<Task>,
    me: Uuid,
    history: &'a [HistoryEntry],
    older: Option<String>,
    map: map::MapView,
}

#[derive(Debug, Default, Deserialize)]
pub struct Parameters {
    before: Option<Version>,
}

pub async fn show(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    Query(query): Query<Parameters>,
) -> PageResult {
    page(context, &vehicle, query.before, None).await
}

async fn page(
    mut context: RequestContext,
    vehicle: &VehicleRef,
    before: Option<Version>,
    rejected: Option<FormState>,
) -> PageResult {
    let (me, names) = (context.auth()?.user.id, context.may_name(&vehicle.region));
    let (current_user, (found, history, tasks)) = context
        .read_signed_in(&vehicle.region, async |conn| {
            let history = fleet::history(conn, vehicle, before.unwrap_or(Version::LAST).get());
            let tasks = tasks::list_of_vehicle(conn, vehicle, names);
            let (found, history, tasks) = tokio::join!(fleet::find(conn, vehicle), history, tasks);
            Ok((found?, history?, tasks?))
        })
        .await?;
    let found = found.ok_or(PageError::NotFound)?;
    let city = context.catalogue.city(&found.city).ok_or(PageError::NotFound)?;
    only_operators(&current_user, &city.slug)?;
    let status = found.vehicle.status.as_str();
    let held = status == "in_use" || found.vehicle.shown_status(context.now) == "reserved";
    let waits = found.vehicle.shown_status(context.now) == "waiting";
    let kept = found.vehicle.hold.is_some();
    let leads = |change: StatusChange| {
        change.to != status && change.from.contains(&status) && !(kept && change.to == "available")
    };
    let may = |step: &JobKind| !held && step.status_change().is_some_and(leads);
    let (history, more) = history.split_at(history.len().min(HISTORY_PAGE));
    let older = history.last().filter(|_| !more.is_empty());
    let pin = map::Pin { href: String::new(), ..map::Pin::fleet(&found.vehicle, context.now) };
    let title = vehicle.name(found.vehicle.code.as_deref());
    let page = FleetVehiclePage {
        layout: context.layout(&title, Section::Fleet, city),
        catalogue: &context.catalogue,
        now: context.now,
        city,
        command: context.service.ids.form(),
        waits,
        steps: STEPS.into_iter().filter(may).filter(|step| *step != JobKind::Retire).collect(),
        retires: may(&JobKind::Retire),
        changeable: !held && status != "retired",
        form: rejected.unwrap_or_else(|| stored(&found.vehicle)),
        cities: others_operated(&context, &current_user.roles, city),
        // Those of another city, where it stood before, are of its operators.
        tasks: tasks.into_iter().filter(|task| task.city == city.slug).collect(),
        me,
        older: older.map(|entry| format!("{}?before={}", paths::fleet_vehicle(vehicle), entry.version)),
        history,
        map: map::vehicles(&context, city, "the vehicle", [pin].into_iter(), None),
        found: &found,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

pub(super) fn stored(vehicle: &FleetVehicle) -> FormState {
    FormState::default()
        .with("code", vehicle.code.as_deref().unwrap_or_default())
        .with("brand", &vehicle.brand)
        .with("colour", &vehicle.colour)
        .with("battery", vehicle.battery.to_string())
        .with("place", &vehicle.place)
        .with("lat", format!("{:.6}", vehicle.at.lat()))
        .with("lon", format!("{:.6}", vehicle.at.lon()))
        .with("note", vehicle.note.as_deref().unwrap_or_default())
}

fn words(entry: &HistoryEntry) -> &str {
    event::of_vehicle(&entry.action, entry.metadata.get("automatic").is_some())
}

fn details(catalogue: &Catalogue, city: &City, entry: &HistoryEntry) -> String {
    let noted = |name: &str| entry.metadata.get(name).and_then(|value| value.as_str());
    let mut details = Vec::new();
    if let Some((minutes, metres, minor)) = &entry.ride {
        #[allow(clippy::cast_precision_loss, reason = "a ride's track is far below 2^52 metres")]
        details.push(format!(
            "{}, {}, {}",
            filters::lasted(*minutes),
            city.units.length(*metres as f64),
            city.currency.format(*minor)
        ));
    }
    details.extend(noted("city").and_then(|slug| catalogue.city(slug)).map(|city| city.name.clone()));
    details.extend(noted("note").map(|note| format!("“{note}”")));
    details.extend(entry.point.map(|at| format!("{:.4}, {:.4}", at.lat(), at.lon())));
    details.join(" · ")
}

pub(super) fn seen(
    context: &RequestContext,
    vehicle: VehicleRef,
    version: Version,
    command: Id,
) -> PageResult<SeenVehicle> {
    let command = context.row_id(command, "command", &vehicle.region)?;
    Ok(SeenVehicle { vehicle, version: version.get(), command })
}

#[derive(Debug, Deserialize)]
pub struct Step {
    version: Version,
    command: Id,
    action: JobKind,
    #[serde(default)]
    note: String,
}

pub async fn set_status(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    Form(step): Form<Step>,
) -> PageResult {
    let seen = seen(&context, vehicle, step.version, step.command)?;
    let note = match people::optional_line(&step.note, NOTE_MAX, "a note") {
        Ok(note) => note,
        Err(words) => return Ok(context.refused(&paths::fleet_vehicle(&seen.vehicle), &words)),
    };
    let change = step.action.status_change().ok_or(BadRequest::Step)?;
    let done = match step.action {
        JobKind::Maintenance => "The vehicle is in maintenance.",
        JobKind::BackToStreet => "The vehicle is back in service.",
        JobKind::Lost => "The vehicle is marked as lost.",
        JobKind::Found => "The vehicle is marked as found and is in maintenance.",
        JobKind::Retire => "The vehicle is retired.",
        JobKind::Move | JobKind::Transfer | JobKind::Import | JobKind::Erasure => return Err(BadRequest::Step.into()),
    };
    let row = (&seen.vehicle.region, seen.vehicle.id);
    let outcome = ops::vehicle_write(&context.service, &context.auth()?, row, async |conn, write| {
        fleet::set_status(conn, write, &seen, change, note.as_deref()).await
    })
    .await;
    context.respond(outcome, &paths::fleet_vehicle(&seen.vehicle), done)
}

#[derive(Debug, Deserialize)]
pub struct Edit {
    pub(super) version: Version,
    pub(super) command: Id,
    #[serde(flatten)]
    pub(super) typed: Typed,
}

/// What a form says about a vehicle.
#[derive(Debug, Deserialize)]
pub struct Typed {
    #[serde(default)]
    code: String,
    brand: String,
    colour: String,
    battery: String,
    #[serde(default)]
    place: String,
    lat: String,
    lon: String,
    #[serde(default)]
    note: String,
}

pub(super) fn read(form: &Typed, state: &mut FormState) -> Option<VehicleEdit> {
    let battery = form.battery.trim().parse().ok().filter(|percent| (0..=100).contains(percent));
    let battery = battery.ok_or_else(|| "Please enter a whole number from 0 to 100.".to_owned());
    let code = state.check("code", people::optional_line(&form.code, 60, "a code"));
    let brand = state.check("brand", people::line(&form.brand, 60, "a brand"));
    let colour = state.check("colour", people::line(&form.colour, 40, "a colour"));
    let battery = state.check("battery", battery);
    let place = state.check("place", people::line(&form.place, 120, "a place"));
    let at = state.check("lat", form::required_point(&form.lat, &form.lon, "a position"));
    let note = state.check("note", people::optional_line(&form.note, NOTE_MAX, "a note"));
    Some(VehicleEdit {
        code: code?,
        brand: brand?,
        colour: colour?,
        battery: battery?,
        at: at?,
        place: place?,
        note: note?,
    })
}

pub async fn edit(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    FormWithState(form, mut state): FormWithState<Edit>,
) -> PageResult {
    let seen = seen(&context, vehicle, form.version, form.command)?;
    if let Some(edit) = read(&form.typed, &mut state) {
        let edited = ops::fleet::edit(&context.service, &context.auth()?, &seen, &edit, false).await;
        if let Some(edited) = context.unless_refused(&mut state, edited, form::field_of) {
            return context.respond(edited, &paths::fleet_vehicle(&seen.vehicle), "Saved.");
        }
    }
    page(context, &seen.vehicle, None, Some(state)).await
}

#[derive(Debug, Deserialize)]
pub struct Approval {
    version: Version,
    command: Id,
    /// `yes` or `no`.
    answer: String,
    #[serde(default)]
    reason: String,
}

pub async fn approve(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    Form(form): Form<Approval>,
) -> PageResult {
    let seen = seen(&context, vehicle, form.version, form.command)?;
    let back = paths::fleet_vehicle(&seen.vehicle);
    let declined = match form.answer.as_str() {
        "yes" => None,
        _ => match people::line(&form.reason, NOTE_MAX, "a reason for the owner") {
            Ok(reason) => Some(reason),
            Err(words) => return Ok(context.refused(&back, &words)),
        },
    };
    let done = if declined.is_none() {
        "Approved. The vehicle is on the street."
    } else {
        "Declined. The owner will see your reason."
    };
    let row = (&seen.vehicle.region, seen.vehicle.id);
    let outcome = ops::vehicle_write(&context.service, &context.auth()?, row, async |conn, write| {
        fleet::approve(conn, write, &seen, declined.as_deref()).await
    })
    .await;
    context.respond(outcome, &back, done)
}

#[derive(Debug, Deserialize)]
pub struct Move {
    version: Version,
    command: Id,
    #[serde(default)]
    from: String,
    city: String,
}

/// At once within the region; to another region by a job, which its page confirms.
pub async fn move_to(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    Form(form): Form<Move>,
) -> PageResult {
    let to = city_of_form(&context, &form.city)?;
    if to.region != vehicle.region {
        context.may_touch(&to.region);
        let job = JobRef { id: context.row_id(form.command, "job", &vehicle.region)?, region: vehicle.region.clone() };
        let new = NewJob {
            job,
            job_kind: JobKind::Transfer,
            city: form.from,
            to_city: Some(form.city),
            note: None,
            selection: Selection::List { list: vec![(vehicle.id, form.version.get())] },
        };
        return jobs::request(&context, &new, &paths::fleet_vehicle(&vehicle)).await;
    }
    let seen = seen(&context, vehicle, form.version, form.command)?;
    let outcome = ops::fleet::move_to(&context.service, &context.auth()?, &seen, &form.city).await;
    context.respond(
        outcome,
        &paths::fleet_vehicle(&seen.vehicle),
        "The vehicle has moved to the other city and is in maintenance.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::all_statements,
        domain::event::{RIDE_CREDITED, RIDE_RIDER_ASKED},
    };

    #[test]
    fn every_event_of_a_vehicle_has_words() {
        let quoted = all_statements().into_iter().flat_map(|statement| statement.text.split('\'').skip(1).step_by(2));
        let of_rides = [RIDE_CREDITED, RIDE_RIDER_ASKED];
        let of_vehicles =
            |action: &&str| action.starts_with("vehicle.") || action.starts_with("ride.") && !of_rides.contains(action);
        let mut actions: Vec<&str> = quoted.filter(of_vehicles).collect();
        actions.extend(STEPS.iter().filter_map(|step| Some(step.status_change()?.event)));
        assert!(actions.len() > 15, "{actions:?}");
        for action in actions {
            let entry = HistoryEntry {
                version: 1,
                action: action.to_owned(),
                at: chrono::DateTime::UNIX_EPOCH,
                point: None,
                metadata: serde_json::Value::Null,
                ride: None,
            };
            assert_ne!(words(&entry), action);
        }
    }
}
