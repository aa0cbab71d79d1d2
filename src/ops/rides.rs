//! Rides: start, positions, end. Price terms and service area come from the catalogue in memory;
//! the statements read no GLOBAL row.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Done, OpError, signed_write, vehicle_write};
use crate::{
    db::{
        error::DbError,
        rides::{self, NewRide, OVERDUE_PAGE, Overdue, RideEnd},
        verdict::SessionAuth,
    },
    domain::{
        geo::Point,
        place::place,
        refusal::Refusal,
        ride::{RIDE_MAX, RideRef, chains},
        vehicle::PublicVehicle,
    },
    ops::service::Service,
};

#[derive(Debug, Clone)]
pub struct Start {
    /// From the form, in the vehicle's region.
    pub ride: RideRef,
    pub vehicle: PublicVehicle,
    pub city: String,
    pub vehicle_type: String,
    /// As typed; empty for none.
    pub promo: String,
}

pub async fn start(service: &Service, auth: &SessionAuth, start: Start) -> Result<Done, OpError> {
    let (catalogue, region) = (service.catalogue(), &start.vehicle.region);
    let city = catalogue.city(&start.city).filter(|city| city.region == *region).ok_or(Refusal::VehicleMoved)?;
    let tariff = catalogue.tariff(&start.city, &start.vehicle_type, auth.now).ok_or(Refusal::VehicleMoved)?;
    let promo = match start.promo.trim() {
        "" => None,
        typed => {
            let promo = catalogue.promo_code(typed).ok_or(Refusal::PromoUnknown)?;
            promo.discount_for(city, auth.now).map_err(|_refused| Refusal::PromoUnknown)?;
            Some(promo)
        }
    };
    let Start { ride, vehicle, vehicle_type, .. } = &start;
    let new = NewRide { id: ride.id, vehicle, city, vehicle_type, tariff, promo };
    vehicle_write(service, auth, region, async |conn, auth, epoch| rides::start(conn, auth, &new, epoch).await).await
}

/// Ends the person's ride at `at`, in `city` (a slug). The place in words is relative to the city's
/// centre: everybody reads it, so it is nothing that a rider typed.
pub async fn end(
    service: &Service,
    auth: &SessionAuth,
    ride: &RideRef,
    city: &str,
    at: Point,
) -> Result<Done, OpError> {
    let catalogue = service.catalogue();
    let city = catalogue.city(city).filter(|city| city.region == ride.region).ok_or(Refusal::NoSuchRide)?;
    let words = place(city.centre, at);
    let end = RideEnd::new(ride, &city.slug, at, &words, !city.service_area.contains(at));
    let region = &ride.region;
    vehicle_write(service, auth, region, async |conn, auth, epoch| rides::end(conn, auth, &end, epoch).await).await
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
            let words = place(city.centre, *last);
            let end = RideEnd::new(ride, &city.slug, *last, &words, false);
            // Nobody's session: these parameters name the rider, whose row is freed.
            let system = SessionAuth {
                user: rider.clone(),
                session: Uuid::nil(),
                token_hash: String::new(),
                now,
                idle_since: now,
                epoch: 0,
            };
            let done = vehicle_write(service, &system, &ride.region, async |conn, system, epoch| {
                rides::expire(conn, system, &end, *started_at + RIDE_MAX, epoch).await
            })
            .await;
            match done {
                Ok(done) => ended += usize::from(done == Done::Now),
                Err(OpError::Refused(refusal)) => tracing::info!(?refusal, "an overdue ride is not ended yet"),
                Err(OpError::Db(error)) => tracing::warn!(%error, "an overdue ride is not ended yet"),
            }
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
) -> Result<Done, OpError> {
    let add = async |city: &str| {
        let catalogue = service.catalogue();
        let steps = catalogue.city(city).map_or_else(Vec::new, |city| chains(city, auth.now, noted.to_vec()));
        signed_write(service, auth, &ride.region, async |conn, auth, epoch| {
            rides::add_positions(conn, auth, ride, epoch, city, &steps).await
        })
        .await
    };
    match add(city).await {
        Err(OpError::Refused(Refusal::FormUsed)) => {
            let found = rides::find_rider(&service.db.at(&ride.region).await?, ride).await?;
            add(&found.ok_or(Refusal::NoSuchRide)?.1).await
        }
        added => added,
    }
}
