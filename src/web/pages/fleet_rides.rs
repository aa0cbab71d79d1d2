//! `/fleet/rides`: the rides of a city for its operators: those under way, longest first, the ended
//! ones, those of a vehicle, and the one with a number. One wait, and no person is named.

use askama::Template;
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{city_of, others_operated, read_operated};
use crate::{
    db::{
        Conn, Result,
        fleet_rides::{self, FleetRide},
    },
    domain::{
        City,
        fare::minutes_started,
        ride::{RIDE_LONG, RideNumber},
    },
    web::{Cursor, Layout, PageResult, Pagination, Query, RequestContext, Section, filters, form, paths},
};

const PAGE: i64 = 50;

/// Minutes.
const LONGER: [(&str, &str); 6] = [
    ("", "Any time"),
    ("30", "30 minutes"),
    ("60", "1 hour"),
    ("180", "3 hours"),
    ("360", "6 hours"),
    ("720", "12 hours"),
];

#[derive(Template)]
#[template(path = "pages/fleet_rides.html")]
struct FleetRidesPage<'a> {
    layout: Layout,
    now: DateTime<Utc>,
    city: &'a City,
    cities: Vec<&'a City>,
    query: &'a Parameters,
    error: Option<String>,
    rides: Vec<FleetRide>,
    pagination: Pagination,
}

impl FleetRidesPage<'_> {
    fn minutes(&self, ride: &FleetRide) -> i64 {
        minutes_started(ride.ended_at.unwrap_or(self.now) - ride.started_at)
    }

    fn is_long(&self, ride: &FleetRide) -> bool {
        ride.ended_at.is_none() && self.now - ride.started_at > RIDE_LONG
    }

    fn long(&self) -> usize {
        self.rides.iter().filter(|ride| self.is_long(ride)).count()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    city: String,
    /// `ended`, or empty for those under way.
    state: String,
    longer: String,
    /// A ride's number, a vehicle's code, or its id.
    q: String,
    /// Began before then, in the city's zone.
    at: String,
    after: Option<Cursor>,
}

impl Parameters {
    fn address(&self, city: &City, after: Option<Cursor>) -> String {
        let fields = [("state", &*self.state), ("longer", &self.longer), ("q", &self.q), ("at", &self.at)];
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        paths::with(&paths::fleet_rides(&city.slug), fields) + &after
    }

    fn ended(&self) -> bool {
        self.state == "ended" && self.q.trim().is_empty()
    }

    /// The rides of `city`, one more than a page, and the ride behind which a search goes on.
    async fn find(
        &self,
        conn: &Conn,
        city: &City,
        at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<(Vec<FleetRide>, Option<FleetRide>)> {
        let (place, q) = ((&city.region, city.slug.as_str()), self.q.trim());
        let newest = || at.map_or_else(|| Cursor::first(now), |at| Cursor(at, Uuid::nil()));
        let Cursor(from, id) = self.after.unwrap_or_else(newest);
        let minutes = self.longer.parse().unwrap_or(0);
        if let Some(number) = RideNumber::parse(q, &city.region) {
            return Ok((fleet_rides::list_numbered(conn, place, number).await?, None));
        }
        if !q.is_empty() {
            return fleet_rides::list_of_vehicle(conn, place, q, (from, id), PAGE + 1).await;
        }
        if self.ended() {
            return fleet_rides::list_ended(conn, place, minutes, (from, id), PAGE + 1).await;
        }
        let Cursor(from, id) = self.after.unwrap_or(Cursor(DateTime::UNIX_EPOCH, Uuid::nil()));
        let began_by = at.unwrap_or(now) - Duration::minutes(minutes);
        Ok((fleet_rides::list_open(conn, place, began_by, (from, id), PAGE + 1).await?, None))
    }
}

pub async fn list(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let city = city_of(&context, &query.city)?;
    let checked = form::moment(&query.at, city.time_zone).and_then(|at| {
        let known = LONGER.iter().any(|(minutes, _)| *minutes == query.longer);
        match query.state.as_str() {
            "" | "ended" if known => Ok(at),
            "" | "ended" => Err("Please choose one of the times.".to_owned()),
            _ => Err("Please choose rides under way or ended ones.".to_owned()),
        }
    });
    let (at, error) = checked.map_or_else(|error| (None, Some(error)), |at| (at, None));
    let now = context.now;
    // With wrong filters: the list without them.
    let all = Parameters::default();
    let filter = if error.is_some() { &all } else { &query };
    let (current_user, (mut rides, searched_to)) =
        read_operated(&mut context, &city, async |conn| filter.find(conn, &city, at, now).await).await?;
    let ended = filter.ended();
    let next = |last: &FleetRide| {
        let at = last.ended_at.filter(|_| ended).unwrap_or(last.started_at);
        filter.address(&city, Some(Cursor(at, last.ride.id)))
    };
    let newest = filter.after.map(|_| filter.address(&city, None));
    let pagination = Pagination::cut(&mut rides, PAGE, newest, next).or_search(searched_to.as_ref().map(next));
    let page = FleetRidesPage {
        layout: context.layout(&format!("Rides in {}", city.name), Section::Fleet, &city),
        now,
        cities: others_operated(&context, &current_user.roles, &city),
        city: &city,
        query: &query,
        error,
        rides,
        pagination,
    };
    context.ok_or_invalid(page.error.is_some(), &page)
}
