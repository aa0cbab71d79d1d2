//! `/my/vehicles`: one's own vehicles over all regions, adding one in the home city,
//! removing one. Removing carries the version that was shown.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Path};
use serde::Deserialize;
use uuid::Uuid;

use super::row_of_path;
use crate::{
    db::{
        fleet::FleetVehicle,
        vehicles::{self, NewVehicle, OWN_MAX},
    },
    domain::{fleet::status_text, people, refusal::Refusal, region::RegionCode, stored::Version, vehicle::VehicleRef},
    ops::{self, OpError},
    web::{
        context::RequestContext,
        error::PageError,
        form::{self, Form, Id},
        layout::{kind_options, layout},
        paths,
        views::{AddVehicleView, FieldView, OwnVehicleView, OwnerVehiclesPage, Section},
    },
};

async fn page(context: &mut RequestContext, form: AddVehicleView) -> Result<OwnerVehiclesPage, PageError> {
    let cookie = context.cookie.clone().ok_or_else(|| context.sign_in_first())?;
    let (service, me) = (Arc::clone(&context.service), context.auth()?.user);
    let ask = async |region: RegionCode| {
        let rows = async { vehicles::list_own(&service.db.at(&region).await?, &region, &me).await };
        (rows.await, region)
    };
    let elsewhere = |present_in: &[RegionCode], known: &[RegionCode]| -> Vec<RegionCode> {
        present_in.iter().filter(|region| **region != cookie.region && !known.contains(region)).cloned().collect()
    };
    let known = elsewhere(&cookie.present_in, &[]);
    let home = context.read_signed_in(&cookie.region, async |conn| vehicles::list_own(conn, &cookie.region, &me).await);
    // Beside it, not inside: no connection is held while others are waited for.
    let (home, mut others) = tokio::join!(home, futures_util::future::join_all(known.iter().cloned().map(&ask)));
    let (current_user, mut own) = home?;
    let missing = elsewhere(&current_user.present_in, &known);
    others.extend(futures_util::future::join_all(missing.into_iter().map(&ask)).await);
    let mut notes = Vec::new();
    let cut = |rows: &[_], region: &RegionCode| {
        let full = rows.len() == OWN_MAX;
        full.then(|| format!("Of your vehicles in {region} only {OWN_MAX} are shown; the list of the fleet has all."))
    };
    notes.extend(cut(&own, &cookie.region));
    for (rows, region) in others {
        match rows {
            Ok(rows) => {
                notes.extend(cut(&rows, &region));
                own.extend(rows);
            }
            Err(_) => notes.push(format!("The region {region} does not answer; your vehicles there are missing.")),
        }
    }
    let city = context.catalogue.city(&current_user.city).unwrap_or_else(|| context.city());
    Ok(OwnerVehiclesPage {
        layout: layout(context, Some(&current_user), "My vehicles", Section::Own, city),
        city: city.name.clone(),
        vehicles: own.iter().map(|(city, vehicle)| view(context, city, vehicle)).collect(),
        notes,
        form,
    })
}

fn view(context: &RequestContext, city: &str, own: &FleetVehicle) -> OwnVehicleView {
    let status = own.shown_status(context.now);
    OwnVehicleView {
        remove_action: paths::remove_vehicle(&own.vehicle),
        kind: own.vehicle_type.clone(),
        title: format!("{}, {} {}", own.brand, own.colour, own.vehicle_type),
        code: own.code.clone().unwrap_or_default(),
        city: context.catalogue.city_name(city).to_owned(),
        place: own.place.clone(),
        battery: u8::try_from(own.battery).unwrap_or(0),
        status: status.to_owned(),
        status_text: status_text(status),
        version: own.version,
        blocked: matches!(status, "reserved" | "in_use").then(|| "Can be removed when it is back.".to_owned()),
    }
}

fn empty_form(context: &RequestContext) -> AddVehicleView {
    AddVehicleView {
        id: context.service.ids.form(),
        kinds: kind_options(&context.catalogue, ""),
        ..AddVehicleView::default()
    }
}

/// `GET /my/vehicles`.
pub async fn list(mut context: RequestContext) -> Result<HttpResponse, PageError> {
    let form = empty_form(&context);
    let page = page(&mut context, form).await?;
    context.ok(&page)
}

/// What an owner types.
#[derive(Debug, Deserialize)]
pub struct Add {
    id: Id,
    #[serde(rename = "type")]
    kind: String,
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

/// The form as it was typed, with a new id.
fn typed(context: &RequestContext, form: &Add) -> AddVehicleView {
    let field = |value: &str| FieldView { value: value.to_owned(), error: None };
    AddVehicleView {
        id: context.service.ids.form(),
        kinds: kind_options(&context.catalogue, &form.kind),
        brand: field(&form.brand),
        colour: field(&form.colour),
        code: field(&form.code),
        place: field(&form.place),
        lat: field(&form.lat),
        lon: field(&form.lon),
        ..AddVehicleView::default()
    }
}

/// The vehicle that the form describes, or the form with what is wrong in it.
fn check(context: &RequestContext, form: &Add, id: Uuid) -> Result<NewVehicle, Box<AddVehicleView>> {
    let home = context.cookie.as_ref().and_then(|cookie| context.catalogue.city(&cookie.city));
    let kind = context.catalogue.vehicle_type(&form.kind).ok_or_else(|| "Please choose a type.".to_owned());
    let brand = people::line(&form.brand, 60, "a brand");
    let colour = people::line(&form.colour, 40, "a colour");
    let code = people::optional_line(&form.code, 60, "a code");
    let place = people::optional_line(&form.place, 120, "a place");
    let place = place.map(|place| place.unwrap_or_else(|| "On the street".to_owned()));
    // Where the owner stands, or the centre of their city.
    let at = form::point(&form.lat, &form.lon).and_then(|at| {
        let home = home.ok_or("Your home city is not in the catalogue.")?;
        Ok((home.slug.clone(), home.check(at.unwrap_or(home.centre))?))
    });
    match (kind, brand, colour, code, place, at) {
        (Ok(kind), Ok(brand), Ok(colour), Ok(code), Ok(place), Ok((city, at))) => {
            Ok(NewVehicle { id, city, vehicle_type: kind.slug.clone(), code, brand, colour, at, place })
        }
        (kind, brand, colour, code, place, at) => {
            let mut view = typed(context, form);
            view.kind_error = kind.err();
            view.brand.error = brand.err();
            view.colour.error = colour.err();
            view.code.error = code.err();
            view.place.error = place.err();
            view.lat.error = at.err();
            Err(Box::new(view))
        }
    }
}

/// `POST /my/vehicles`.
pub async fn add(mut context: RequestContext, Form(form): Form<Add>) -> Result<HttpResponse, PageError> {
    let auth = context.auth()?;
    let id = context.made_by(form.id, "vehicle", &auth.user.region)?;
    let new = match check(&context, &form, id) {
        Ok(new) => new,
        Err(view) => {
            let page = page(&mut context, *view).await?;
            return context.wrong(&page);
        }
    };
    match ops::vehicles::add(&context.service, &auth, &new).await {
        Ok(_) => Ok(context.done(
            "/my/vehicles",
            "Your vehicle is added. It is on the street as soon as an operator has approved it.",
        )),
        Err(OpError::Refused(Refusal::SignedOut)) => Err(context.sign_in_first()),
        Err(OpError::Refused(
            refusal @ (Refusal::CodeTaken | Refusal::FormUsed | Refusal::TooManyVehicles | Refusal::TooManyToday),
        )) => {
            let mut again = typed(&context, &form);
            match refusal {
                Refusal::CodeTaken => again.code.error = Some(refusal.message()),
                _ => again.error = Some(refusal.message()),
            }
            let page = page(&mut context, again).await?;
            context.wrong(&page)
        }
        Err(error) => Err(error.into()),
    }
}

/// The version that the owner saw.
#[derive(Debug, Deserialize)]
pub struct Remove {
    version: Version,
}

/// `POST /my/vehicles/{region}/{id}/remove`.
pub async fn remove(
    context: RequestContext,
    path: Path<(String, String)>,
    Form(form): Form<Remove>,
) -> Result<HttpResponse, PageError> {
    let (region, id) = row_of_path(&context, &path)?;
    let version = form.version.get();
    match ops::vehicles::retire(&context.service, &context.auth()?, &VehicleRef { region, id }, version).await {
        Ok(_) => Ok(context.done("/my/vehicles", "Your vehicle is off the street.")),
        Err(OpError::Refused(Refusal::NotYourVehicle)) => Err(PageError::NotFound),
        Err(OpError::Refused(Refusal::SignedOut)) => Err(context.sign_in_first()),
        Err(OpError::Refused(refusal)) => Ok(context.refused("/my/vehicles", &refusal.message())),
        Err(error) => Err(error.into()),
    }
}
