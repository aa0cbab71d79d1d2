//! `/vehicles/{region}/{public_id}`: one vehicle, for everybody: its card as on the
//! list, and where it stands. The address lasts until the end of the next ride.

use actix_web::{HttpResponse, web::Path};

use super::{map, moved, row_of_path, vehicles as list};
use crate::{
    db::vehicles::{self, Found},
    domain::{refusal::Refusal, vehicle::PublicVehicle},
    web::{
        context::RequestContext,
        error::PageError,
        layout::layout,
        paths,
        views::{CityView, Section, VehiclePage},
    },
};

/// The page; of a vehicle that is in another region by now, the way there.
pub async fn show(mut context: RequestContext, path: Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (region, public_id) = row_of_path(&context, &path)?;
    let named = PublicVehicle { region, public_id };
    let (rider, now) = (context.cookie.as_ref().map(|cookie| cookie.user), context.now);
    let (current_user, found) =
        context.read(&named.region, async |conn| vehicles::find(conn, &named, rider, now).await).await?;
    let Some(Found { city, mut vehicle, refusal }) = found else {
        return moved::vehicle(&context, named).await;
    };
    let city = context.catalogue.city(&city).ok_or(PageError::NoVehicle)?.clone();
    vehicle.distance_m = vehicle.at.distance_m(city.centre);
    let mut card =
        list::card(&context, &list::prices(&context, &city), &city, &vehicle, 1).ok_or(PageError::NoVehicle)?;
    card.distance += " from the city centre";
    let shown = map::Shown {
        label: format!("Map of {} with the vehicle", city.name),
        city: &city,
        pins: vec![(vehicle.at, "1".to_owned())],
        route: Vec::new(),
        me: None,
    };
    let page = VehiclePage {
        layout: layout(&context, current_user.as_ref(), &card.title, Section::Vehicles, &city),
        city: CityView { slug: city.slug.clone(), name: city.name.clone() },
        region: named.region.to_string(),
        blocked: list::blocked(&context).or(refusal.as_ref().map(Refusal::message)),
        next: paths::encode(&context.path),
        map: Some(map::view(shown, context.state.config.tiles.as_ref())),
        card,
    };
    context.ok(&page)
}
