//! `/my/vehicles/{region}/{id}`: one of the person's own vehicles: what it earns, pausing, editing.

use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    fleet_vehicle::{Edit, read, seen, stored},
    owner_vehicles::{EARNED_IN, earned_by},
};
use crate::{
    db::{fleet::FleetVehicle, owner_vehicles, vehicles},
    domain::{City, VehicleRef, Version, fleet::status_text},
    ops,
    web::{
        Form, FormState, FormWithState, Id, Layout, PageError, PageResult, RequestContext, RowPath, Section, form,
        paths,
    },
};

#[derive(Template)]
#[template(path = "pages/owner_vehicle.html")]
struct OwnerVehiclePage<'a> {
    layout: Layout,
    city: &'a City,
    vehicle: &'a FleetVehicle,
    status: &'a str,
    /// Reserved or being ridden.
    held: bool,
    earned: String,
    command: Uuid,
    form: FormState,
}

pub async fn show(context: RequestContext, RowPath(vehicle): RowPath<VehicleRef>) -> PageResult {
    page(context, &vehicle, None).await
}

async fn page(mut context: RequestContext, key: &VehicleRef, rejected: Option<FormState>) -> PageResult {
    let (me, since) = (context.auth()?.user, context.now - EARNED_IN);
    let (_, (found, earned)) = context
        .read_signed_in(&key.region, async |conn| {
            let found = vehicles::list_own(conn, &key.region, &me, Some(key.id));
            let earned = owner_vehicles::list_earnings(conn, &key.region, &me, since, Some(key.id));
            let (found, earned) = tokio::join!(found, earned);
            Ok((found?, earned?))
        })
        .await?;
    let (city, vehicle) = found.first().ok_or(PageError::NotFound)?;
    let city = context.catalogue.city(city).ok_or(PageError::NotFound)?;
    let title = format!("{}, {} {}", vehicle.brand, vehicle.colour, vehicle.vehicle_type);
    let status = vehicle.shown_status(context.now);
    let page = OwnerVehiclePage {
        layout: context.layout(&title, Section::Own, city),
        city,
        vehicle,
        status,
        held: matches!(status, "reserved" | "in_use"),
        earned: earned_by(vehicle, &earned),
        command: context.service.ids.form(),
        form: rejected.unwrap_or_else(|| stored(vehicle)),
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

#[derive(Debug, Deserialize)]
pub struct Pause {
    version: Version,
    command: Id,
    /// `yes`, or to bring it back `no`.
    answer: String,
}

pub async fn set_paused(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    Form(form): Form<Pause>,
) -> PageResult {
    let seen = seen(&context, vehicle, form.version, form.command)?;
    let pause = form.answer == "yes";
    let back = context.came_from("/my/vehicles").unwrap_or_else(|| paths::own_vehicle(&seen.vehicle));
    let done = if pause { "Your vehicle is paused. Nobody can ride it." } else { "Your vehicle is no longer paused." };
    let (auth, row) = (context.auth()?, (&seen.vehicle.region, seen.vehicle.id));
    let paused = ops::vehicle_write(&context.service, &auth, row, async |conn, write| {
        owner_vehicles::set_paused(conn, write, &seen, pause).await
    });
    context.respond(paused.await, &back, done)
}

pub async fn edit(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    FormWithState(form, mut state): FormWithState<Edit>,
) -> PageResult {
    let seen = seen(&context, vehicle, form.version, form.command)?;
    if let Some(edit) = read(&form.typed, &mut state) {
        let edited = ops::fleet::edit(&context.service, &context.auth()?, &seen, &edit, true).await;
        if let Some(edited) = context.unless_refused(&mut state, edited, form::field_of) {
            return context.respond(edited, &paths::own_vehicle(&seen.vehicle), "Saved.");
        }
    }
    page(context, &seen.vehicle, Some(state)).await
}
