//! `/fleet/vehicles/{region}/{id}`: everything known of a vehicle for the operators of its
//! city, its history, and what they may do with it. Each form carries the version that it
//! showed and an id of its own; each action has a form type of its own.

use actix_web::{HttpResponse, web::Path};
use serde::Deserialize;

use super::{fleet as list, map, row_of_path};
use crate::{
    db::{
        fleet::{self, HISTORY_PAGE, HistoryEntry, SeenVehicle, VehicleDetails, VehicleEdit},
        sessions::CurrentUser,
    },
    domain::{
        catalogue::City,
        fleet::NOTE_MAX,
        job::{JobKind, STEPS},
        people,
        refusal::Refusal,
        ride::RideRef,
        stored::Version,
        vehicle::VehicleRef,
    },
    ops::{self, Done, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form, Id, Query},
        layout::{distance, layout, time},
        paths,
        views::{CityView, EditVehicleView, FieldView, FleetVehiclePage, HappenedView, OptionView, Section},
    },
};

/// Where the history goes on.
#[derive(Debug, Default, Deserialize)]
pub struct Before {
    before: Option<Version>,
}

/// `GET /fleet/vehicles/{region}/{id}`.
pub async fn show(
    mut context: RequestContext,
    path: Path<(String, String)>,
    Query(query): Query<Before>,
) -> Result<HttpResponse, PageError> {
    let vehicle = vehicle_of(&context, &path)?;
    let page = page(&mut context, &vehicle, query.before, None).await?;
    context.ok(&page)
}

fn vehicle_of(context: &RequestContext, path: &(String, String)) -> Result<VehicleRef, PageError> {
    let (region, id) = row_of_path(context, path)?;
    Ok(VehicleRef { region, id })
}

/// The page; with the form as it was typed, if it was wrong.
async fn page(
    context: &mut RequestContext,
    vehicle: &VehicleRef,
    before: Option<Version>,
    typed: Option<EditVehicleView>,
) -> Result<FleetVehiclePage, PageError> {
    let (current_user, (found, history)) = context
        .read_signed_in(&vehicle.region, async |conn| {
            let history = fleet::history(conn, vehicle, before.unwrap_or(Version::LAST).get());
            let (found, history) = tokio::join!(fleet::find(conn, vehicle), history);
            Ok((found?, history?))
        })
        .await?;
    let found = found.ok_or(PageError::NotFound)?;
    let city = context.catalogue.city(&found.city).ok_or(PageError::NotFound)?.clone();
    list::only_operators(&current_user, &city.slug)?;
    let row = list::row(&found.vehicle, 1, context.now);
    let status = found.vehicle.status.as_str();
    let held = row.status == "reserved" || status == "in_use";
    let leads = |kind: &JobKind| kind.change().1 != status && kind.change().2.contains(&status);
    let steps = STEPS.into_iter().filter(|kind| !held && leads(kind));
    let shown = map::Shown {
        label: format!("Map of {} with the vehicle", city.name),
        city: &city,
        pins: vec![(found.vehicle.at, "1".to_owned())],
        route: Vec::new(),
        me: None,
    };
    let older = (history.len() > HISTORY_PAGE).then(|| history.get(HISTORY_PAGE - 1)).flatten();
    Ok(FleetVehiclePage {
        layout: layout(context, Some(&current_user), &row.code, Section::Fleet, &city),
        city: CityView { slug: city.slug.clone(), name: city.name.clone() },
        id: vehicle.id,
        action: paths::fleet_vehicle(vehicle),
        version: found.vehicle.version,
        command: context.service.ids.form(),
        facts: facts(&found, &city),
        steps: steps.map(|kind| (kind.code(), kind.title())).collect(),
        ride: found.ride.as_ref().map(|(ride, since)| (time(*since, city.time_zone), paths::fleet_end_ride(ride))),
        blocked: blocked(status, held),
        form: typed.unwrap_or_else(|| stored(&found)),
        cities: other_cities(context, &current_user, &city),
        older: older.map(|happened| format!("{}?before={}", paths::fleet_vehicle(vehicle), happened.version)),
        history: history.iter().take(HISTORY_PAGE).map(|happened| happened_view(context, happened, &city)).collect(),
        map: Some(map::view(shown, context.state.config.tiles.as_ref())),
        row,
    })
}

fn blocked(status: &str, held: bool) -> Option<String> {
    match status {
        "retired" => Some("It is retired: nothing can be done with it any more.".to_owned()),
        "in_use" => Some("It is being ridden. It can be changed when the ride has ended.".to_owned()),
        _ if held => {
            Some("A rider has reserved it for a few minutes. It can be changed when that has lapsed.".to_owned())
        }
        _ => None,
    }
}

fn facts(found: &VehicleDetails, city: &City) -> Vec<(&'static str, String)> {
    let listed = &found.vehicle;
    let at = |at| time(at, city.time_zone).text;
    let mut facts = vec![
        ("City", city.name.clone()),
        ("Type", listed.vehicle_type.clone()),
        ("Battery", format!("{} %", listed.battery)),
        ("Stands since", at(listed.seen_at)),
        ("Place", listed.place.clone()),
        ("Position", format!("{:.5}, {:.5}", listed.at.lat(), listed.at.lon())),
        ("Owner", if found.owned { "A person" } else { "The fleet" }.to_owned()),
        ("In the fleet since", at(found.created_at)),
        ("Last changed", at(found.changed_at)),
        ("Version", listed.version.to_string()),
        ("Public id now", found.public_id.to_string()),
    ];
    facts.extend(listed.note.clone().map(|note| ("Note", note)));
    facts
}

/// The form as the row says it.
fn stored(found: &VehicleDetails) -> EditVehicleView {
    let field = |value: String| FieldView { value, error: None };
    let listed = &found.vehicle;
    EditVehicleView {
        code: field(listed.code.clone().unwrap_or_default()),
        brand: field(listed.brand.clone()),
        colour: field(listed.colour.clone()),
        battery: field(listed.battery.to_string()),
        place: field(listed.place.clone()),
        lat: field(format!("{:.6}", listed.at.lat())),
        lon: field(format!("{:.6}", listed.at.lon())),
        note: field(listed.note.clone().unwrap_or_default()),
        open: false,
    }
}

fn other_cities(context: &RequestContext, current_user: &CurrentUser, city: &City) -> Vec<OptionView> {
    let others = context.catalogue.cities_of(&city.region).filter(|other| other.slug != city.slug);
    let operated = others.filter(|other| current_user.operates(&other.slug));
    operated.map(|city| OptionView { value: city.slug.clone(), text: city.name.clone(), selected: false }).collect()
}

fn happened_view(context: &RequestContext, happened: &HistoryEntry, city: &City) -> HappenedView {
    let automatic = happened.metadata.get("automatic").is_some();
    let text = match happened.action.as_str() {
        "vehicle.added" => "Put into the fleet",
        "vehicle.edited" => "Edited",
        "vehicle.retired" => "Retired",
        "vehicle.maintenance" => "Set to maintenance",
        "vehicle.back" => "Back to the street",
        "vehicle.lost" => "Marked as lost",
        "vehicle.found" => "Found",
        "vehicle.moved" => "Moved to another city",
        "vehicle.sent" => "Sent to another region",
        "vehicle.received" => "Received from another region",
        "ride.started" => "Ride started",
        "ride.ended" if automatic => "Ride ended automatically after 24 h",
        "ride.ended" => "Ride ended",
        "ride.ended_by_operator" => "Ride ended by an operator",
        other => other,
    };
    let noted = |name: &str| happened.metadata.get(name).and_then(|value| value.as_str());
    let mut details = Vec::new();
    if let Some((minutes, metres, minor, _)) = &happened.ride {
        #[allow(clippy::cast_precision_loss, reason = "a ride's way is far below 2^52 metres")]
        details.push(format!("{minutes} min, {}, {}", distance(*metres as f64), city.currency.format(*minor)));
    }
    details.extend(noted("city").and_then(|slug| context.catalogue.city(slug)).map(|city| city.name.clone()));
    details.extend(noted("note").map(|note| format!("“{note}”")));
    details.extend(happened.point.map(|at| format!("{:.4}, {:.4}", at.lat(), at.lon())));
    HappenedView { text: text.to_owned(), at: time(happened.at, city.time_zone), detail: details.join(" · ") }
}

/// The vehicle as the page showed it.
fn wanted(
    context: &RequestContext,
    path: &(String, String),
    version: Version,
    command: Id,
) -> Result<SeenVehicle, PageError> {
    let vehicle = vehicle_of(context, path)?;
    let command = context.made_by(command, "command", &vehicle.region)?;
    Ok(SeenVehicle { vehicle, version: version.get(), command })
}

/// Back to the vehicle's page with what came of it.
fn back(
    context: &RequestContext,
    vehicle: &VehicleRef,
    outcome: Result<Done, OpError>,
    done: &str,
) -> Result<HttpResponse, PageError> {
    let page = paths::fleet_vehicle(vehicle);
    match outcome {
        Ok(Done::Now) => Ok(context.done(&page, done)),
        Ok(Done::Before) => Ok(context.done(&page, "That was done already.")),
        Err(OpError::Refused(Refusal::SignedOut)) => Err(context.sign_in_first()),
        Err(OpError::Refused(refusal @ Refusal::NotOperator)) => Err(PageError::Refused(refusal)),
        Err(OpError::Refused(refusal)) => Ok(context.refused(&page, &refusal.message())),
        Err(error) => Err(error.into()),
    }
}

/// A step that changes the vehicle's status.
#[derive(Debug, Deserialize)]
pub struct Step {
    version: Version,
    command: Id,
    action: JobKind,
    #[serde(default)]
    note: String,
}

/// `POST /fleet/vehicles/{region}/{id}/status`.
pub async fn set_status(
    context: RequestContext,
    path: Path<(String, String)>,
    Form(step): Form<Step>,
) -> Result<HttpResponse, PageError> {
    let wanted = wanted(&context, &path, step.version, step.command)?;
    if !STEPS.contains(&step.action) {
        return Err(PageError::BadRequest("That is done by a job."));
    }
    let note = match people::optional_line(&step.note, NOTE_MAX, "a note") {
        Ok(note) => note,
        Err(words) => return Ok(context.refused(&paths::fleet_vehicle(&wanted.vehicle), &words)),
    };
    let outcome = ops::fleet::act(&context.service, &context.auth()?, &wanted, step.action, note.as_deref()).await;
    let done = match step.action {
        JobKind::Maintenance => "The vehicle is in maintenance.",
        JobKind::Back => "The vehicle is back on the street.",
        JobKind::Lost => "The vehicle is marked as lost.",
        JobKind::Found => "The vehicle is found, and in maintenance.",
        _ => "The vehicle is retired.",
    };
    back(&context, &wanted.vehicle, outcome, done)
}

/// What an operator types about a vehicle.
#[derive(Debug, Deserialize)]
pub struct Edit {
    version: Version,
    command: Id,
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

impl Edit {
    /// What it says, or the form with what is wrong in it.
    fn details(&self) -> Result<VehicleEdit, Box<EditVehicleView>> {
        let code = people::optional_line(&self.code, 60, "a code");
        let brand = people::line(&self.brand, 60, "a brand");
        let colour = people::line(&self.colour, 40, "a colour");
        let battery = self.battery.trim().parse().ok().filter(|percent| (0..=100).contains(percent));
        let battery = battery.ok_or_else(|| "A whole number from 0 to 100, please.".to_owned());
        let place = people::line(&self.place, 120, "a place");
        let at = form::required_point(&self.lat, &self.lon);
        let note = people::optional_line(&self.note, NOTE_MAX, "a note");
        match (code, brand, colour, battery, place, at, note) {
            (Ok(code), Ok(brand), Ok(colour), Ok(battery), Ok(place), Ok(at), Ok(note)) => {
                Ok(VehicleEdit { code, brand, colour, battery, at, place, note })
            }
            (code, brand, colour, battery, place, at, note) => {
                let mut view = self.typed();
                view.code.error = code.err();
                view.brand.error = brand.err();
                view.colour.error = colour.err();
                view.battery.error = battery.err();
                view.place.error = place.err();
                view.lat.error = at.err();
                view.note.error = note.err();
                Err(Box::new(view))
            }
        }
    }

    fn typed(&self) -> EditVehicleView {
        let field = |value: &str| FieldView { value: value.to_owned(), error: None };
        EditVehicleView {
            code: field(&self.code),
            brand: field(&self.brand),
            colour: field(&self.colour),
            battery: field(&self.battery),
            place: field(&self.place),
            lat: field(&self.lat),
            lon: field(&self.lon),
            note: field(&self.note),
            open: true,
        }
    }
}

/// `POST /fleet/vehicles/{region}/{id}/edit`.
pub async fn edit(
    mut context: RequestContext,
    path: Path<(String, String)>,
    Form(form): Form<Edit>,
) -> Result<HttpResponse, PageError> {
    let wanted = wanted(&context, &path, form.version, form.command)?;
    let mut view = match form.details() {
        Ok(details) => match ops::fleet::edit(&context.service, &context.auth()?, &wanted, &details).await {
            Err(OpError::Refused(refusal @ (Refusal::CodeTaken | Refusal::TooFar(_)))) => {
                let mut view = form.typed();
                let field = if refusal == Refusal::CodeTaken { &mut view.code } else { &mut view.lat };
                field.error = Some(refusal.message());
                view
            }
            outcome => return back(&context, &wanted.vehicle, outcome, "Saved."),
        },
        Err(view) => *view,
    };
    view.open = true;
    let page = page(&mut context, &wanted.vehicle, None, Some(view)).await?;
    context.wrong(&page)
}

/// The other city.
#[derive(Debug, Deserialize)]
pub struct Move {
    version: Version,
    command: Id,
    city: String,
}

/// `POST /fleet/vehicles/{region}/{id}/move`.
pub async fn move_to(
    context: RequestContext,
    path: Path<(String, String)>,
    Form(form): Form<Move>,
) -> Result<HttpResponse, PageError> {
    let wanted = wanted(&context, &path, form.version, form.command)?;
    let outcome = ops::fleet::move_to(&context.service, &context.auth()?, &wanted, &form.city).await;
    back(&context, &wanted.vehicle, outcome, "The vehicle belongs to the other city now, and is in maintenance.")
}

/// Where the vehicle stands whose ride is ended, and the vehicle's page to come back to.
#[derive(Debug, Deserialize)]
pub struct EndRide {
    vehicle: Id,
    place: String,
    lat: String,
    lon: String,
}

/// `POST /fleet/rides/{region}/{id}/end`.
pub async fn end_ride(
    context: RequestContext,
    path: Path<(String, String)>,
    Form(form): Form<EndRide>,
) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, &path)?;
    let vehicle = VehicleRef { region: region.clone(), id: form.vehicle.0 };
    let place = people::line(&form.place, 120, "a place");
    let at = form::required_point(&form.lat, &form.lon);
    let (place, at) = match (place, at) {
        (Ok(place), Ok(at)) => (place, at),
        (Err(words), _) | (_, Err(words)) => return Ok(context.refused(&paths::fleet_vehicle(&vehicle), &words)),
    };
    let outcome = ops::fleet::end_ride(&context.service, &context.auth()?, &RideRef { region, id }, at, &place).await;
    back(&context, &vehicle, outcome, "The ride is ended. Its rider is told on their next page.")
}
