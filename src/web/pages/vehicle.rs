//! `/vehicles/{region}/{public_id}`: one vehicle, for everybody. The address lasts until the end of
//! the next ride.

use std::sync::Arc;

use askama::Template;

use super::{
    map::{self, MapView, Pin},
    tasks::ReportForm,
    vehicles::{Card, blocked, card, prices},
};
use crate::{
    db::vehicles::{self, Found},
    domain::{City, PublicVehicle, fleet, task},
    web::{Layout, PageError, PageResult, RequestContext, RowPath, Section, filters, paths},
};

#[derive(Template)]
#[template(path = "pages/vehicle.html")]
struct VehiclePage<'a> {
    layout: Layout,
    city: &'a City,
    card: Card<'a>,
    blocked: Option<String>,
    next: String,
    /// Of whoever is signed in, unless they ride.
    report: Option<ReportForm>,
    map: MapView,
}

/// Redirects if the vehicle is now in another region.
pub async fn show(mut context: RequestContext, RowPath(named): RowPath<PublicVehicle>) -> PageResult {
    let (rider, now) = (context.cookie.as_ref().map(|cookie| cookie.user), context.now);
    let found = context.read(&named.region, async |conn| vehicles::find(conn, &named, rider, now).await).await?;
    let Some(Found { city, mut vehicle, refusal }) = found else {
        return moved(&context, named).await;
    };
    let catalogue = Arc::clone(&context.catalogue);
    let city = catalogue.city(&city).ok_or(PageError::NoVehicle)?;
    vehicle.distance_m = vehicle.at.distance_m(city.centre);
    let prices = prices(&catalogue, city, now);
    let title = format!("{}, {} {}", vehicle.brand, vehicle.colour, vehicle.vehicle_type);
    let page = VehiclePage {
        layout: context.layout(&title, Section::Vehicles, city),
        city,
        card: card(&context, &prices, &vehicle, 1).ok_or(PageError::NoVehicle)?,
        blocked: blocked(&context, city).or(refusal.map(|refusal| context.words(&refusal))),
        next: paths::encode(&context.path),
        report: context
            .cookie
            .as_ref()
            .filter(|cookie| cookie.open_ride.is_none())
            .map(|_| ReportForm::new(&context, paths::vehicle(&named), false)),
        map: map::vehicles(&context, city, "the vehicle", [Pin::card(&vehicle, 1)].into_iter(), None),
    };
    context.ok(&page)
}

/// Finds a vehicle that has moved. It asks all regions, once; the address is throttled, since
/// anybody can write such links. 303, not 308: what has moved once may come back.
async fn moved(context: &RequestContext, named: PublicVehicle) -> PageResult {
    context.state.limits.search_everywhere(context.client_address())?;
    let found = vehicles::find_moved(&context.service.db.here().await?, named.public_id).await?;
    // It was not there a moment ago; a page never leads to itself.
    let region = found.filter(|region| *region != named.region).ok_or(PageError::NoVehicle)?;
    Ok(context.done(&paths::vehicle(&PublicVehicle { region, ..named }), ""))
}
