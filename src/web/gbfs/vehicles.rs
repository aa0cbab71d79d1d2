//! `vehicle_status.json`: the vehicles on a city's streets, by their rotating ids. Built once per
//! ttl, however many ask; the last good one is kept with its time for when the region does not
//! answer.

use std::{collections::HashMap, sync::Arc};

use actix_web::web;
use chrono::{DateTime, Duration, DurationRound, Utc};
use serde::Serialize;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    answer::{Feed, time},
    catalogue::System,
};
use crate::{
    db::feeds::{self, FeedVehicle},
    domain::{PublicVehicle, VehicleType, vehicle::charge},
    web::{PageError, PageResult, paths, state::State},
};

/// Seconds: a vehicle in the feed may have been taken that long ago.
const TTL: i64 = 15;
/// Arrival times of vehicles are rounded to this: they are when a ride ended.
const REPORTED: Duration = Duration::minutes(5);
/// After this a region that did not answer is asked again.
const RETRY: Duration = Duration::seconds(2);

#[derive(Debug, Default)]
pub struct FeedCache(parking_lot::Mutex<HashMap<String, Arc<Slot>>>);

/// A city's feed, and until when it is valid. Whoever has the lock builds it.
type Slot = Mutex<Option<(Feed, DateTime<Utc>)>>;

impl FeedCache {
    /// Bounded by the cities that the catalogue has, or had.
    fn of(&self, city: &str) -> Arc<Slot> {
        Arc::clone(self.0.lock().entry(city.to_owned()).or_default())
    }
}

#[derive(Serialize)]
struct Vehicle {
    #[serde(rename = "vehicle_id")]
    id: Uuid,
    #[serde(rename = "vehicle_type_id")]
    type_id: String,
    lat: f64,
    lon: f64,
    is_reserved: bool,
    is_disabled: bool,
    last_reported: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_range_meters: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rental_uris: Option<HashMap<&'static str, String>>,
}

/// The current feed, or the last one while the city's region does not answer.
pub(super) async fn status(state: &State, system: &System<'_>) -> PageResult<Feed> {
    let (slot, now) = (state.feeds.of(&system.city.slug), system.now);
    let mut cached = slot.lock().await;
    if let Some((feed, _)) = cached.as_ref().filter(|(_, until)| now < *until) {
        return Ok(feed.clone());
    }
    let feed = match (read(state, system).await, cached.as_mut()) {
        (Ok(feed), _) => feed,
        (Err(PageError::Db(error)), Some((feed, until))) if error.unreachable() => {
            tracing::warn!(%error, city = system.city.slug, "the last feed is sent once more");
            *until = now + RETRY;
            state.service.stale_read(&system.city.region);
            return Ok(feed.clone());
        }
        (Err(error), _) => return Err(error),
    };
    *cached = Some((feed.clone(), now + Duration::seconds(TTL)));
    Ok(feed)
}

async fn read(state: &State, system: &System<'_>) -> PageResult<Feed> {
    let (region, city) = (&system.city.region, &system.city.slug);
    let (as_of, standing) = state
        .service
        .db
        .read_stale(region, system.now, async |conn, at| feeds::list_standing(conn, region, city, at).await)
        .await?;
    let priced = |of: &VehicleType| (of.slug.clone(), (of.max_range_m, system.plan(&of.slug).is_some()));
    let types: HashMap<_, _> = system.catalogue.vehicle_types.iter().map(priced).collect();
    let (region, base, paused) = (region.clone(), system.region.base_url.clone(), system.city.paused.is_some());
    // A large city takes longer than a worker should be busy.
    let build = web::block(move || {
        let vehicle = |standing: FeedVehicle| {
            let (max_range_m, priced) = *types.get(&standing.vehicle_type)?;
            let is_disabled = standing.in_maintenance || !priced || paused;
            let page = PublicVehicle { region: region.clone(), public_id: standing.public_id };
            Some(Vehicle {
                id: standing.public_id,
                type_id: standing.vehicle_type,
                lat: five_decimals(standing.at.lat()),
                lon: five_decimals(standing.at.lon()),
                is_reserved: standing.reserved,
                is_disabled,
                last_reported: time(standing.seen_at.duration_trunc(REPORTED).unwrap_or(standing.seen_at)),
                current_range_meters: max_range_m.map(|metres| metres * charge(standing.battery) / 100),
                rental_uris: (!is_disabled)
                    .then(|| HashMap::from([("web", format!("{base}{}", paths::vehicle(&page)))])),
            })
        };
        let mut vehicles: Vec<_> = standing.into_iter().filter_map(vehicle).collect();
        // In an order that says nothing of which vehicle has got a new id.
        vehicles.sort_unstable_by_key(|vehicle| vehicle.id);
        Feed::new(as_of, TTL, &HashMap::from([("vehicles", vehicles)]))
    });
    build.await.map_err(|error| PageError::Bug(error.to_string()))?
}

/// About a metre, precise enough to find a vehicle.
fn five_decimals(degrees: f64) -> f64 {
    (degrees * 1e5).round() / 1e5
}
