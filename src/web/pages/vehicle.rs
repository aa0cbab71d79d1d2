//! `/vehicles/{region}/{public_id}`: one vehicle, for everybody. The address lasts until the end of
//! the next ride.

use std::sync::Arc;

use actix_web::{HttpResponse, web::Path};
use askama::Template;

use super::{
    map::{self, MapView},
    row_of_path,
    vehicles::{Card, blocked, card, prices},
};
use crate::{
    db::vehicles::{self, Found},
    domain::{catalogue::City, refusal::Refusal, vehicle::PublicVehicle},
    web::{
        context::RequestContext,
        error::PageError,
        filters,
        layout::{Layout, Section, layout},
        paths,
    },
};

#[derive(Template)]
#[template(path = "pages/vehicle.html")]
struct VehiclePage<'a> {
    layout: Layout,
    city: &'a City,
    card: Card<'a>,
    blocked: Option<String>,
    next: String,
    map: MapView,
}

/// Redirects if the vehicle is now in another region.
pub async fn show(mut context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (region, public_id) = row_of_path(&context, &path)?;
    let named = PublicVehicle { region, public_id };
    let (rider, now) = (context.cookie.as_ref().map(|cookie| cookie.user), context.now);
    let (current_user, found) =
        context.read(&named.region, async |conn| vehicles::find(conn, &named, rider, now).await).await?;
    let Some(Found { city, mut vehicle, refusal }) = found else {
        return moved(&context, named).await;
    };
    let catalogue = Arc::clone(&context.catalogue);
    let city = catalogue.city(&city).ok_or(PageError::NoVehicle)?;
    vehicle.distance_m = vehicle.at.distance_m(city.centre);
    let prices = prices(&catalogue, city, now);
    let title = format!("{}, {} {}", vehicle.brand, vehicle.colour, vehicle.vehicle_type);
    let page = VehiclePage {
        layout: layout(&context, current_user.as_ref(), &title, Section::Vehicles, city),
        city,
        card: card(&context, &prices, &vehicle, 1).ok_or(PageError::NoVehicle)?,
        blocked: blocked(&context).or(refusal.as_ref().map(Refusal::message)),
        next: paths::encode(&context.path),
        map: map::vehicles(&context, city, "the vehicle", [vehicle.at].into_iter(), None),
    };
    context.ok(&page)
}

/// Finds a vehicle that has moved. It asks all regions, once; the address is throttled, since
/// anybody can write such links. 303, not 308: what has moved once may come back.
async fn moved(context: &RequestContext, named: PublicVehicle) -> Result<HttpResponse, PageError> {
    context.state.limits.search_everywhere(&context.address()).map_err(|wait| PageError::TooMany(wait.0))?;
    let found = vehicles::find_moved(&context.service.db.here().await?, named.public_id).await?;
    // It was not there a moment ago; a page never leads to itself.
    let region = found.filter(|region| *region != named.region).ok_or(PageError::NoVehicle)?;
    Ok(context.done(&paths::vehicle(&PublicVehicle { region, ..named }), ""))
}
