//! Rides: start, positions, end. Price terms and service area come from the catalogue in memory;
//! the statements read no GLOBAL row.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Done, OpError, Result, Service, gated, signed_write, vehicle_write};
use crate::{
    db::{
        Actor, Conn, DbError, SessionAuth, Write,
        rides::{self, NewRide, OVERDUE_PAGE, Overdue, RideEnd},
    },
    domain::{
        Point, PublicVehicle, Refusal, RideRef,
        place::place,
        ride::{RIDE_MAX, chains},
    },
};

#[derive(Debug, Clone)]
pub struct Start {
    /// From the form, in the vehicle's region.
    pub ride: RideRef,
    pub vehicle: PublicVehicle,
    /// If the vehicle is known by its code in the city, not by its public id; and where the person is.
    pub code: Option<(String, Point)>,
    pub city: String,
    pub vehicle_type: String,
    /// The price that the person saw, if any.
    pub price: Option<String>,
    /// As typed; empty for none.
    pub promo: String,
}

pub async fn start(service: &Service, auth: &SessionAuth, start: Start) -> Result<Done> {
    let (catalogue, region) = (service.catalogue(), &start.vehicle.region);
    let city = catalogue.city(&start.city).filter(|city| city.region == *region).ok_or(Refusal::VehicleMoved)?;
    if let Some(paused) = city.refusal() {
        return Err(paused.into());
    }
    let tariff = catalogue.tariff(&start.city, &start.vehicle_type, auth.now).ok_or(Refusal::VehicleMoved)?;
    if start.price.is_some_and(|price| price != tariff.shown()) {
        return Err(Refusal::PriceChanged.into());
    }
    let promo = match start.promo.trim() {
        "" => None,
        typed => {
            let promo = catalogue.promo_code(typed).ok_or(Refusal::PromoUnknown)?;
            Some((promo, promo.discount_for(city, auth.now).ok_or(Refusal::PromoUnknown)?))
        }
    };
    let new = NewRide {
        id: start.ride.id,
        code: start.code.as_ref().map(|(code, at)| (code.as_str(), *at)),
        city,
        vehicle_type: &start.vehicle_type,
        tariff,
        promo,
    };
    let vehicle = (region, start.vehicle.public_id);
    vehicle_write(service, auth, vehicle, async |conn, write| rides::start(conn, write, &new).await).await
}

/// Ends the person's ride at `at`, in `city` (a slug). The place in words is relative to the city's
/// centre: everybody reads it, so it is nothing that a rider typed.
pub async fn end(service: &Service, auth: &SessionAuth, ride: &RideRef, city: &str, at: Point) -> Result<Done> {
    let catalogue = service.catalogue();
    let city = catalogue.city(city).filter(|city| city.region == ride.region).ok_or(Refusal::NoSuchRide)?;
    let outside_area = !city.service_area.contains(at);
    let end = RideEnd { city: &city.slug, at, place: &place(city.units, city.centre, at), outside_area };
    let ride = (&ride.region, ride.id);
    vehicle_write(service, auth, ride, async |conn, write| rides::end(conn, write, &end).await).await
}

/// Ends this region's rides that have been open too long, each at its last known place and without
/// an out-of-area fee; returns how many. One that cannot end now, because a region is closed or
/// does not answer, is retried the next time. Instances may do this concurrently.
pub async fn end_overdue(service: &Service) -> Result<usize, DbError> {
    let (now, catalogue) = (service.clock.now(), service.catalogue());
    let (mut after, mut ended) = (Uuid::nil(), 0);
    loop {
        let conn = service.db.at(&service.here).await?;
        let overdue = rides::list_overdue(&conn, &service.here, now - RIDE_MAX, after).await?;
        drop(conn);
        for Overdue { ride, rider, city, started_at, last } in &overdue {
            let Some(city) = catalogue.city(city) else {
                continue;
            };
            let place = place(city.units, city.centre, *last);
            let end = RideEnd { city: &city.slug, at: *last, place: &place, outside_area: false };
            let done = gated(&service.db, &service.gates, [&rider.region, &ride.region], async |epochs| {
                let write = Write::new(Actor::Person(rider), now, (&ride.region, ride.id), epochs);
                let expire = async |conn: &Conn| rides::expire(conn, &write, &end, *started_at + RIDE_MAX).await;
                service.db.write_with_retry(&ride.region, expire).await
            });
            match done.await {
                Ok(done) => ended += usize::from(done == Done::Now),
                Err(OpError::Refused(refusal)) => tracing::info!(?refusal, "an overdue ride is not ended yet"),
                Err(OpError::Db(error)) => tracing::warn!(%error, "an overdue ride is not ended yet"),
            }
        }
        if ended > 0 {
            service.vehicles_changed(&service.here);
        }
        match overdue.last() {
            Some(last) if overdue.len() == OVERDUE_PAGE => after = last.ride.id,
            _ => return Ok(ended),
        }
    }
}

/// Adds positions to the open ride. It is most likely in `city`; if not, its city is looked up and
/// the positions are checked against that.
pub async fn add_positions(
    service: &Service,
    auth: &SessionAuth,
    ride: &RideRef,
    city: &str,
    noted: &[(DateTime<Utc>, Point)],
) -> Result<Done> {
    let add = async |city: &str| {
        let catalogue = service.catalogue();
        let steps = catalogue.city(city).map_or_else(Vec::new, |city| chains(city, auth.now, noted.to_vec()));
        let add = async |conn: &Conn, write: &Write<'_>| rides::add_positions(conn, write, city, &steps).await;
        signed_write(service, auth, (&ride.region, ride.id), add).await
    };
    match add(city).await {
        Err(OpError::Refused(Refusal::OtherCity)) => {
            let found = rides::find_rider(&service.db.at(&ride.region).await?, ride).await?;
            add(&found.ok_or(Refusal::NoSuchRide)?.1).await
        }
        added => added,
    }
}
