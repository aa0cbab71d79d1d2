//! `/fleet/add`: a vehicle for the fleet of a city, by its operators.

use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{CityQuery, city_of, city_of_form, fleet_vehicle, map, only_operators};
use crate::{
    db::{bulk::DEPOT, fleet},
    domain::{City, VehicleRef, VehicleType},
    ops,
    web::{FormState, FormWithState, Id, Layout, PageResult, Query, RequestContext, Section, form, paths},
};

/// Where the vehicle starts: the form's value and its label.
const STATUSES: [(&str, &str); 2] = [("maintenance", "In maintenance"), ("available", "On the street")];

#[derive(Template)]
#[template(path = "pages/fleet_add.html")]
struct AddPage<'a> {
    layout: Layout,
    city: &'a City,
    vehicle_types: &'a [VehicleType],
    id: Uuid,
    form: FormState,
    map: map::MapView,
}

pub async fn form(context: RequestContext, Query(query): Query<CityQuery>) -> PageResult {
    let city = city_of(&context, &query.city)?;
    let form = FormState::default()
        .with("battery", "100")
        .with("place", DEPOT)
        .with("lat", format!("{:.6}", city.centre.lat()))
        .with("lon", format!("{:.6}", city.centre.lon()));
    page(context, &city, form).await
}

async fn page(mut context: RequestContext, city: &City, form: FormState) -> PageResult {
    only_operators(&context.current_user().await?, &city.slug)?;
    let page = AddPage {
        layout: context.layout("Add a vehicle", Section::Fleet, city),
        city,
        vehicle_types: &context.catalogue.vehicle_types,
        id: context.service.ids.form(),
        form,
        map: map::vehicles(&context, city, "its service area", std::iter::empty(), None),
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

#[derive(Debug, Deserialize)]
pub struct Add {
    id: Id,
    city: String,
    #[serde(rename = "type")]
    vehicle_type: String,
    status: String,
    #[serde(flatten)]
    typed: fleet_vehicle::Typed,
}

pub async fn add(context: RequestContext, FormWithState(form, mut state): FormWithState<Add>) -> PageResult {
    let city = city_of_form(&context, &form.city)?.clone();
    context.may_touch(&city.region);
    let vehicle = VehicleRef { id: context.row_id(form.id, "vehicle", &city.region)?, region: city.region.clone() };
    let of_type = context.catalogue.vehicle_type(&form.vehicle_type).map(|of| of.slug.clone());
    let of_type = state.check("type", of_type.ok_or_else(|| "Please choose a type.".to_owned()));
    let status = STATUSES.into_iter().map(|(status, _)| status).find(|status| *status == form.status);
    let status = state.check("status", status.ok_or_else(|| "Please choose where it starts.".to_owned()));
    let new = fleet_vehicle::read(&form.typed, &mut state);
    let new = new.filter(|new| state.check("lat", city.check(new.at)).is_some());
    if let (Some(new), Some(of_type), Some(status)) = (new, of_type, status) {
        let (auth, row, public_id) = (context.auth()?, (&vehicle.region, vehicle.id), Uuid::new_v4());
        let added = ops::vehicle_write(&context.service, &auth, row, async |conn, write| {
            fleet::add(conn, write, (&city.slug, &of_type, status), public_id, &new).await
        });
        if let Some(added) = context.unless_refused(&mut state, added.await, form::field_of) {
            return context.respond(added, &paths::fleet_vehicle(&vehicle), "The vehicle is added.");
        }
    }
    page(context, &city, state).await
}
