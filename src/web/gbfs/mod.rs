//! GBFS 3.0: the fleet of each city as public JSON feeds, for journey planners and city
//! halls. A system of GBFS is a city; its addresses are those of its own region, so that
//! consumers read it there. Everything but the vehicles' state comes from the catalogue
//! in memory. No session is read, no cookie set, and trouble is told as JSON, too.

mod answer;
mod system;
mod terms;
mod vehicles;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{error::PageError, paths};
use crate::{
    domain::catalogue::{Catalogue, City, Region},
    web::state::State,
};
use answer::Feed;

pub use answer::preflight;
pub use vehicles::FeedCache;

/// Seconds for which a feed out of the catalogue holds: a change may take up to a minute.
const TTL: i64 = 60;

/// What a feed of a city is made of.
struct System<'a> {
    catalogue: &'a Catalogue,
    city: &'a City,
    region: &'a Region,
    contact: &'a str,
    now: DateTime<Utc>,
}

impl System<'_> {
    /// Where another feed of this city is.
    fn url(&self, feed: &str) -> String {
        self.region.base_url.clone() + &paths::gbfs(&self.city.slug, feed)
    }

    /// The id of the price of a vehicle type here, if it has one now.
    fn plan(&self, kind: &str) -> Option<String> {
        let tariff = self.catalogue.tariff(&self.city.slug, kind, self.now)?;
        Some(format!("{}-{}", tariff.city, tariff.vehicle_type))
    }
}

/// A feed out of the catalogue: its name, and what makes its data.
type Named = (&'static str, fn(&System<'_>) -> Value);

/// All of them.
const FEEDS: [Named; 7] = [
    ("gbfs", system::discovery),
    ("gbfs_versions", system::versions),
    ("system_information", system::information),
    ("system_regions", system::regions),
    ("vehicle_types", terms::vehicle_types),
    ("system_pricing_plans", terms::pricing_plans),
    ("geofencing_zones", terms::zones),
];

/// The one that asks the database.
const STATUS: &str = "vehicle_status";

/// `GET /gbfs/3/manifest.json`: every city, with the address of its feeds.
pub async fn manifest(request: HttpRequest, state: Data<State>) -> Result<HttpResponse, PageError> {
    let data = system::manifest(&state.service.catalogue());
    Ok(Feed::new(state.service.catalogue_seen(), TTL, &data)?.answer(&request))
}

/// `GET /gbfs/3/{city}/{feed}.json`.
pub async fn feed(
    request: HttpRequest,
    state: Data<State>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, PageError> {
    let (catalogue, (slug, name)) = (state.service.catalogue(), path.into_inner());
    let Some(city) = catalogue.city(&slug) else {
        return Ok(answer::not_found("There is no such city."));
    };
    let region = catalogue.region(&city.region).ok_or_else(|| PageError::Bug(format!("no region of {slug}")))?;
    let contact = &state.config.feed_contact;
    let system = System { catalogue: &catalogue, city, region, contact, now: state.service.clock.now() };
    if name == STATUS {
        return Ok(match vehicles::status(&state, &system).await {
            Ok(feed) => feed.answer(&request),
            Err(PageError::Db(error)) if error.unreachable() => answer::silent(&error),
            Err(error) => return Err(error),
        });
    }
    match FEEDS.iter().find(|(of, _)| *of == name) {
        Some((_, data)) => Ok(Feed::new(state.service.catalogue_seen(), TTL, &data(&system))?.answer(&request)),
        None => Ok(answer::not_found("There is no such feed.")),
    }
}

/// A text in the languages that we speak.
fn text(words: &str) -> Value {
    json!([{ "text": words, "language": "en" }])
}
