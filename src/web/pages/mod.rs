//! The pages, one file each: handlers and forms. A page that shows rows calls `db`; a
//! form that decides something calls `ops`.

pub mod account;
pub mod audit;
pub mod cities;
pub mod city;
pub mod erasure;
pub mod exports;
pub mod fleet;
pub mod fleet_add;
pub mod fleet_qr;
pub mod fleet_ride;
pub mod fleet_rides;
pub mod fleet_search;
pub mod fleet_vehicle;
pub mod health;
pub mod home;
pub mod imports;
pub mod job;
pub mod jobs;
pub mod map;
pub mod move_home;
pub mod overview;
pub mod own_pages;
pub mod owner_vehicle;
pub mod owner_vehicles;
pub mod people;
pub mod price_credits;
pub mod profile;
pub mod promo_codes;
pub mod region_states;
pub mod revenue;
pub mod riders;
pub mod rides;
pub mod roles;
pub mod status;
pub mod tariffs;
pub mod tasks;
pub mod unlock;
pub mod vehicle;
pub mod vehicles;

use std::sync::Arc;

use futures_util::future::join_all;
use serde::Deserialize;

use super::{BadRequest, Cursor, PageError, PageResult, RequestContext};
use crate::{
    db::{Conn, DbError, sessions::CurrentUser},
    domain::{City, Refusal, Region, RegionCode, Roles, UserRef},
    ops::Service,
};

pub const EVERYWHERE: &str = "Changes can take up to a minute to apply everywhere.";

/// Parameters of a page about one city.
#[derive(Debug, Deserialize)]
pub struct CityQuery {
    #[serde(default)]
    city: String,
}

/// Parameters of a list of a city that has parts.
#[derive(Debug, Deserialize)]
pub struct PartQuery {
    #[serde(default)]
    city: String,
    #[serde(default)]
    show: String,
    before: Option<Cursor>,
}

/// What a list says of a filter that none of its forms sends; it is shown without it, as 422.
pub const NO_SUCH_PART: &str = "There is no such list. This is the default one.";

/// Asks home, in one wait, whether the person administers.
pub async fn administrator(context: &mut RequestContext) -> PageResult<()> {
    if context.current_user().await?.roles.administers() { Ok(()) } else { Err(Refusal::NotAdministrator.into()) }
}

pub fn only_operators(current_user: &CurrentUser, city: &str) -> PageResult<()> {
    if current_user.roles.operates(city) { Ok(()) } else { Err(Refusal::NotOperator.into()) }
}

/// Reads a page about `city` for its operators.
pub async fn read_operated<T>(
    context: &mut RequestContext,
    city: &City,
    page: impl AsyncFn(&Conn) -> Result<T, DbError>,
) -> PageResult<(CurrentUser, T)> {
    context.may_touch(&city.region);
    let (current_user, value) = context.read_signed_in(&city.region, page).await?;
    only_operators(&current_user, &city.slug)?;
    Ok((current_user, value))
}

/// The cities but `city` that the person operates.
pub fn others_operated<'a>(context: &'a RequestContext, roles: &Roles, city: &City) -> Vec<&'a City> {
    let others = context.catalogue.cities.iter().filter(|other| other.slug != city.slug);
    others.filter(|other| roles.operates(&other.slug)).collect()
}

/// The city of a fleet page: the requested one, the one in use if the person operates it, or the
/// first that they operate. Permission is checked with the page.
pub fn city_of(context: &RequestContext, slug: &str) -> PageResult<City> {
    if !slug.is_empty() {
        return context.catalogue.city(slug).cloned().ok_or(PageError::NotFound);
    }
    let operated = |city: &&City| context.cookie.as_ref().is_some_and(|cookie| cookie.roles.operates(&city.slug));
    let first = || context.catalogue.cities.iter().find(operated);
    Ok(Some(context.city()).filter(operated).or_else(first).unwrap_or_else(|| context.city()).clone())
}

/// The requested city, if the person `may` act there; by default the city in use, or the first that
/// the person operates.
pub fn city_for(context: &RequestContext, roles: &Roles, slug: &str, may: impl Fn(&str) -> bool) -> PageResult<City> {
    let found = match slug {
        "" if may(&context.city().slug) => Some(context.city()),
        "" => roles.operated().find_map(|slug| context.catalogue.city(slug)),
        slug => Some(context.catalogue.city(slug).ok_or(PageError::NotFound)?).filter(|_| may(slug)),
    };
    found.cloned().ok_or(Refusal::NotOperator.into())
}

/// The city that a form names; every form of ours names one of the catalogue.
pub fn city_of_form<'a>(context: &'a RequestContext, slug: &str) -> PageResult<&'a City> {
    Ok(context.catalogue.city(slug).ok_or(BadRequest::City)?)
}

pub fn region_of_form(context: &RequestContext, region: &RegionCode) -> PageResult<()> {
    context.may_touch(region);
    Ok(context.catalogue.region(region).map(drop).ok_or(BadRequest::Region)?)
}

/// Asks all regions concurrently, each at its own gateway; none for those that do not answer.
pub async fn each_region<T>(
    context: &RequestContext,
    ask: impl AsyncFn(&RegionCode) -> Result<T, DbError>,
) -> Vec<(&Region, Option<T>)> {
    let answers = context.catalogue.regions.iter().map(async |region| {
        context.may_touch(&region.code);
        let answer = ask(&region.code).await;
        if let Err(error) = &answer {
            tracing::warn!(request = context.ids.request, %error, region = %region.code, "a region was not read");
        }
        (region, answer.ok())
    });
    join_all(answers).await
}

/// What several regions answered for a page of the person.
pub struct Answers<T> {
    pub current_user: CurrentUser,
    /// Home first.
    pub found: Vec<(RegionCode, T)>,
    pub unreachable: Vec<RegionCode>,
}

impl<T> Answers<T> {
    fn add(&mut self, answers: Vec<(RegionCode, Result<T, DbError>)>) {
        for (region, answer) in answers {
            match answer {
                Ok(answer) => self.found.push((region, answer)),
                Err(_) => self.unreachable.push(region),
            }
        }
    }
}

async fn ask_each<T>(
    service: &Service,
    regions: Vec<RegionCode>,
    ask: impl AsyncFn(&Conn, &RegionCode) -> Result<T, DbError>,
) -> Vec<(RegionCode, Result<T, DbError>)> {
    let answers = regions.into_iter().map(async |region| {
        let answer = async { ask(&service.db.at(&region).await?, &region).await }.await;
        (region, answer)
    });
    join_all(answers).await
}

/// Asks home with the session's check, and the `others` side by side with it, each at its own gateway.
pub async fn ask_home_and<T>(
    context: &mut RequestContext,
    others: Vec<RegionCode>,
    ask: impl AsyncFn(&Conn, &RegionCode) -> Result<T, DbError>,
) -> PageResult<Answers<T>> {
    let (service, home) = (Arc::clone(&context.service), context.auth()?.user.region);
    let at_home = context.read_signed_in(&home, async |conn| ask(conn, &home).await);
    // Beside it, not inside: no connection is held while others are waited for.
    let (at_home, others) = tokio::join!(at_home, ask_each(&service, others, &ask));
    let (current_user, at_home) = at_home?;
    let mut answers = Answers { current_user, found: vec![(home, at_home)], unreachable: Vec::new() };
    answers.add(others);
    Ok(answers)
}

/// The person's rows from every region that has some, in one wait; a region that the cookie does
/// not know yet costs a second one, once.
pub async fn own_rows<T>(
    context: &mut RequestContext,
    list: impl AsyncFn(&Conn, &RegionCode, &UserRef) -> Result<Vec<T>, DbError>,
) -> PageResult<Answers<Vec<T>>> {
    let (me, cookie) = (context.auth()?.user, context.cookie.clone());
    let ask = async |conn: &Conn, region: &RegionCode| list(conn, region, &me).await;
    let mut known = cookie.map(|cookie| cookie.present_in).unwrap_or_default();
    known.retain(|region| *region != me.region);
    let mut own = ask_home_and(context, known.clone(), &ask).await?;
    let mut more = own.current_user.present_in.clone();
    more.retain(|region| *region != me.region && !known.contains(region));
    own.add(ask_each(&context.service, more, &ask).await);
    Ok(own)
}
