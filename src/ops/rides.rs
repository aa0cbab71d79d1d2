//! Rides: start, positions, end, the list over regions. Price terms and service area
//! come from the catalogue in memory; the statements read no GLOBAL row.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Done, OpError, signed_write};
use crate::{
    app::App,
    db::{
        error::DbError,
        positions,
        ride_ends::{self, RideEnd},
        rides::{self, NewRide, Promo, Ride, Terms},
        verdict::Signed,
    },
    domain::{
        catalogue::PromoKind,
        geo::{Point, cell},
        refusal::Refusal,
        region::RegionCode,
        ride::RideRef,
        vehicle::PublicVehicle,
    },
};

/// Rides on one page of the list.
pub const PAGE: usize = 25;
/// One more than a page, to know whether there is another.
pub const PAGE_AND_ONE: i64 = 26;

/// What a person asks for when starting a ride.
#[derive(Debug, Clone)]
pub struct Start {
    /// The id that the form carried, in the vehicle's region.
    pub ride: RideRef,
    /// The vehicle as the page showed it.
    pub vehicle: PublicVehicle,
    /// City that the page said.
    pub city: String,
    /// Type that the page said.
    pub kind: String,
    /// As typed; empty for none.
    pub promo: String,
}

/// Starts a ride, exactly once.
pub async fn start(app: &App, signed: &Signed, wish: Start) -> Result<Done, OpError> {
    let terms = terms(app, &wish, signed.now)?;
    let new = NewRide { ride: wish.ride, vehicle: wish.vehicle, city: wish.city, kind: wish.kind, terms };
    signed_write(app, signed, &new.vehicle.region, async |signed, epoch| {
        app.db.write(&new.vehicle.region, async |conn| rides::start(conn, signed, &new, epoch).await).await
    })
    .await
}

fn terms(app: &App, wish: &Start, now: DateTime<Utc>) -> Result<Terms, OpError> {
    let catalogue = app.catalogue();
    let city = catalogue.city(&wish.city).filter(|city| city.region == wish.vehicle.region);
    let city = city.ok_or(Refusal::VehicleMoved)?;
    let tariff = catalogue.tariff(&wish.city, &wish.kind, now).ok_or(Refusal::VehicleMoved)?;
    let promo = match wish.promo.trim() {
        "" => None,
        typed => {
            let promo = catalogue.promo_code(typed).ok_or(Refusal::PromoUnknown)?;
            promo.discount_for(city, now).map_err(|_refused| Refusal::PromoUnknown)?;
            let (percent, amount_minor) = match promo.discount {
                PromoKind::Percent { percent } => (Some(percent), None),
                PromoKind::Amount { amount_minor, .. } => (None, Some(amount_minor)),
            };
            Some(Promo { code: promo.code.clone(), percent, amount_minor, per_rider_limit: promo.per_rider_limit })
        }
    };
    Ok(Terms {
        currency: city.currency.as_str().to_owned(),
        unlock_minor: tariff.unlock_minor,
        per_minute_minor: tariff.per_minute_minor,
        out_of_area_minor: tariff.out_of_area_fee_minor,
        promo,
    })
}

/// Ends the person's ride at `at`, a place in `city` (a slug of the ride's region).
pub async fn end(
    app: &App,
    signed: &Signed,
    ride: &RideRef,
    city: &str,
    at: Point,
    place: &str,
) -> Result<Done, OpError> {
    let catalogue = app.catalogue();
    let city = catalogue.city(city).filter(|city| city.region == ride.region).ok_or(Refusal::NoSuchRide)?;
    let end = RideEnd {
        ride: ride.clone(),
        city: city.slug.clone(),
        at,
        cell: cell(at),
        place: place.to_owned(),
        outside_area: !city.service_area.contains(at),
        public_id: Uuid::new_v4(),
    };
    signed_write(app, signed, &ride.region, async |signed, epoch| {
        app.db.write(&ride.region, async |conn| ride_ends::end(conn, signed, &end, epoch).await).await
    })
    .await
}

/// Notes where the open ride has been.
pub async fn add_positions(
    app: &App,
    signed: &Signed,
    ride: &RideRef,
    positions: &[(DateTime<Utc>, Point)],
) -> Result<Done, OpError> {
    signed_write(app, signed, &ride.region, async |signed, epoch| {
        app.db.write(&ride.region, async |conn| positions::add(conn, signed, ride, epoch, positions).await).await
    })
    .await
}

/// Rides of a person in several regions, asked side by side, newest first, at most one
/// more than a page; and the regions that did not answer.
pub async fn list(
    app: &App,
    rider: Uuid,
    regions: &[RegionCode],
    from: (DateTime<Utc>, Uuid),
) -> (Vec<Ride>, Vec<(RegionCode, DbError)>) {
    let ask = async |region: RegionCode| match app.db.at(&region).await {
        Ok(conn) => (rides::list_own(&conn, &region, rider, from, PAGE_AND_ONE).await, region),
        Err(error) => (Err(error), region),
    };
    let (mut newest, mut silent) = (Vec::new(), Vec::new());
    for (answer, region) in futures_util::future::join_all(regions.iter().cloned().map(ask)).await {
        match answer {
            Ok(some) => newest.extend(some),
            Err(error) => silent.push((region, error)),
        }
    }
    newest.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.ride.id.cmp(&b.ride.id)));
    newest.truncate(PAGE + 1);
    (newest, silent)
}
