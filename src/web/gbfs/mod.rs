//! GBFS 3.0: the fleet of each city as public JSON feeds. A GBFS system is a city; its addresses
//! are those of its own region. Everything but the vehicles' state comes from the catalogue in
//! memory. No session is read, no cookie set, and errors are JSON, too.

mod answer;
mod catalogue;
mod vehicles;

use actix_web::{
    HttpRequest,
    web::{Data, Path},
};

use super::{PageError, PageResult, state::State};
use answer::Feed;
use catalogue::{FEEDS, System};

pub use answer::preflight;
pub use vehicles::FeedCache;

/// Seconds for which a feed from the catalogue is valid: a change may take up to a minute.
const TTL: i64 = 60;

/// The only feed that needs the database.
const STATUS: &str = "vehicle_status";

/// `GET /gbfs/3/manifest.json`: every city, with the address of its feeds.
pub async fn manifest(request: HttpRequest, state: Data<State>) -> PageResult {
    let data = catalogue::manifest(&state.service.catalogue());
    Ok(Feed::new(state.service.catalogue_seen(), TTL, &data)?.answer(&request))
}

/// `GET /gbfs/3/{city}/{feed}.json`.
pub async fn feed(request: HttpRequest, state: Data<State>, path: Path<(String, String)>) -> PageResult {
    let (known, (slug, name)) = (state.service.catalogue(), path.into_inner());
    let Some(city) = known.city(&slug) else {
        return Ok(answer::not_found("There is no such city."));
    };
    let region = known.region(&city.region).ok_or_else(|| PageError::Bug(format!("no region of {slug}")))?;
    let contact = &state.service.config.feed_contact;
    let system = System { catalogue: &known, city, region, contact, now: state.service.clock.now() };
    if name == STATUS {
        return Ok(match vehicles::status(&state, &system).await {
            Ok(feed) => feed.answer(&request),
            Err(PageError::Db(error)) if error.unreachable() => answer::unreachable(&error),
            Err(error) => return Err(error),
        });
    }
    match FEEDS.iter().find(|(of, _)| *of == name) {
        Some((_, data)) => Ok(Feed::new(state.service.catalogue_seen(), TTL, &data(&system))?.answer(&request)),
        None => Ok(answer::not_found("There is no such feed.")),
    }
}
