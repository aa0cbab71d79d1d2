//! `/my/vehicles`: the person's own vehicles in all regions with what they earn, adding one in the
//! home city, removing one.

use askama::Template;
use chrono::Duration;
use serde::Deserialize;
use uuid::Uuid;

use super::own_rows;
use crate::{
    db::{
        fleet::FleetVehicle,
        owner_vehicles::{self, Earnings},
        vehicles::{self, NewVehicle, OWN_MAX},
    },
    domain::{City, Refusal, RegionCode, VehicleRef, VehicleType, Version, fleet, people},
    ops::{self, Done},
    web::{
        Form, FormState, FormWithState, Id, Layout, PageResult, RequestContext, RowPath, Section, filters, form, paths,
    },
};

#[derive(Template)]
#[template(path = "pages/owner_vehicles.html")]
struct OwnerVehiclesPage<'a> {
    layout: Layout,
    /// Home, where a new vehicle is added.
    city: &'a City,
    /// Name of the city, vehicle, shown status, what it earned.
    vehicles: Vec<(&'a str, &'a FleetVehicle, &'a str, String)>,
    /// Regions of which only some vehicles are shown.
    cut: Vec<&'a RegionCode>,
    unreachable: &'a [RegionCode],
    vehicle_types: &'a [VehicleType],
    id: Uuid,
    command: Uuid,
    form: FormState,
}

/// Earnings are those of rides that began within this time.
pub(super) const EARNED_IN: Duration = Duration::days(30);

/// As in "3 rides in the last 30 days, $12.00".
pub(super) fn earned_by(vehicle: &FleetVehicle, earnings: &[Earnings]) -> String {
    let own = || earnings.iter().filter(|earned| earned.vehicle == vehicle.vehicle.id);
    let rides: i64 = own().map(|earned| earned.rides).sum();
    let sums: Vec<String> = own().map(|earned| earned.currency.format(earned.minor)).collect();
    match rides {
        0 => "No rides in the last 30 days".to_owned(),
        rides => format!("{} in the last 30 days, {}", filters::counted(rides, "ride"), sums.join(" and ")),
    }
}

async fn page(mut context: RequestContext, form: FormState) -> PageResult {
    let since = context.now - EARNED_IN;
    let own = own_rows(&mut context, async |conn, region, me| {
        let vehicles = vehicles::list_own(conn, region, me, None);
        let (vehicles, earned) = tokio::join!(vehicles, owner_vehicles::list_earnings(conn, region, me, since, None));
        let earned = earned?;
        Ok(vehicles?.into_iter().map(|(city, vehicle)| (city, earned_by(&vehicle, &earned), vehicle)).collect())
    })
    .await?;
    let city = context.catalogue.city(&own.current_user.city).unwrap_or_else(|| context.city());
    let page = OwnerVehiclesPage {
        layout: context.layout("My vehicles", Section::Own, city),
        city,
        vehicles: own
            .found
            .iter()
            .flat_map(|(_, rows)| rows)
            .map(|(city, earned, vehicle)| {
                (context.catalogue.city_name(city), vehicle, vehicle.shown_status(context.now), earned.clone())
            })
            .collect(),
        cut: own.found.iter().filter(|(_, rows)| rows.len() == OWN_MAX).map(|(region, _)| region).collect(),
        unreachable: &own.unreachable,
        vehicle_types: &context.catalogue.vehicle_types,
        id: context.service.ids.form(),
        command: context.service.ids.form(),
        form,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

pub async fn list(context: RequestContext) -> PageResult {
    page(context, FormState::default()).await
}

#[derive(Debug, Deserialize)]
pub struct Add {
    id: Id,
    #[serde(rename = "type")]
    vehicle_type: String,
    brand: String,
    colour: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    place: String,
    #[serde(default)]
    lat: String,
    #[serde(default)]
    lon: String,
}

pub async fn add(context: RequestContext, FormWithState(form, mut state): FormWithState<Add>) -> PageResult {
    let auth = context.auth()?;
    let id = context.row_id(form.id, "vehicle", &auth.user.region)?;
    let home = context.cookie.as_ref().and_then(|cookie| context.catalogue.city(&cookie.city));
    // Where the owner stands, or the centre of their city.
    let at = form::point(&form.lat, &form.lon).and_then(|at| {
        let home = home.ok_or("Your home city is not in the catalogue.")?;
        Ok((home.slug.clone(), home.check(at.unwrap_or(home.centre))?))
    });
    let of_type = context.catalogue.vehicle_type(&form.vehicle_type).ok_or_else(|| "Please choose a type.".to_owned());
    let (Some(of_type), Some(brand), Some(colour), Some(code), Some(place), Some((city, at))) = (
        state.check("type", of_type),
        state.check("brand", people::line(&form.brand, 60, "a brand")),
        state.check("colour", people::line(&form.colour, 40, "a colour")),
        state.check("code", people::optional_line(&form.code, 60, "a code")),
        state.check("place", people::optional_line(&form.place, 120, "a place")),
        state.check("lat", at),
    ) else {
        return page(context, state).await;
    };
    let new = NewVehicle {
        id,
        city,
        vehicle_type: of_type.slug.clone(),
        code,
        brand,
        colour,
        at,
        place: place.unwrap_or_else(|| "On the street".to_owned()),
    };
    let public_id = Uuid::new_v4();
    let added = ops::vehicle_write(&context.service, &auth, (&auth.user.region, id), async |conn, write| {
        vehicles::insert(conn, write, &new, public_id).await
    });
    let added = context.unless_refused(&mut state, added.await, |refusal| match refusal {
        Refusal::FormUsed | Refusal::TooManyVehicles | Refusal::TooManyToday => Some(""),
        refusal if refusal.region_closed() => Some(""),
        refusal => form::field_of(refusal),
    });
    let Some(added) = added else { return page(context, state).await };
    added?;
    let text = "Your vehicle is added. It is on the street as soon as an operator has approved it.";
    Ok(context.done("/my/vehicles", text))
}

#[derive(Debug, Deserialize)]
pub struct Remove {
    version: Version,
}

pub async fn remove(
    context: RequestContext,
    RowPath(vehicle): RowPath<VehicleRef>,
    Form(form): Form<Remove>,
) -> PageResult {
    let auth = context.auth()?;
    let retired = ops::vehicle_write(&context.service, &auth, (&vehicle.region, vehicle.id), async |conn, write| {
        vehicles::retire(conn, write, form.version.get()).await
    });
    context.respond(retired.await.map(|_| Done::Now), "/my/vehicles", "Your vehicle has been removed.")
}
