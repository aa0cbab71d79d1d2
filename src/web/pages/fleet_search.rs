//! `/fleet/search`: a vehicle by any part of its code, in all cities of the operator, all regions
//! at once. A single match is opened directly.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use serde::Deserialize;

use super::{Answers, ask_home_and};
use crate::{
    db::{
        Conn, DbError,
        fleet::{self, FleetVehicle, Page},
    },
    domain::{
        City, Refusal, RegionCode,
        fleet::{Filter, Sort, status_text},
    },
    web::{Layout, PageResult, Query, RequestContext, Section, paths},
};

/// Vehicles shown for each city; its own list has all.
const SHOWN: usize = 25;

#[derive(Template)]
#[template(path = "pages/fleet_search.html")]
struct SearchPage<'a> {
    layout: Layout,
    now: DateTime<Utc>,
    code: &'a str,
    /// The vehicles of a city, and its list if that has more.
    found: Vec<(&'a City, Vec<FleetVehicle>, Option<String>)>,
    unreachable: Vec<RegionCode>,
}

#[derive(Debug, Deserialize)]
pub struct Parameters {
    #[serde(default)]
    q: String,
}

pub async fn show(mut context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let catalogue = Arc::clone(&context.catalogue);
    let cookie = context.cookie.clone().ok_or_else(|| context.sign_in_first())?;
    let code = query.q.trim();
    let theirs = |city: &&City| !code.is_empty() && cookie.roles.operates(&city.slug);
    let cities: Vec<&City> = catalogue.cities.iter().filter(theirs).collect();
    let filter = Filter { code: Some(code.to_owned()), ..Filter::default() };
    let search = async |conn: &Conn, region: &RegionCode| -> Result<Vec<(&City, Page)>, DbError> {
        let there = cities
            .iter()
            .filter(|city| city.region == *region)
            .map(async |city| Ok((*city, fleet::list(conn, (region, &city.slug), &filter, Sort::Code, None).await?)));
        try_join_all(there).await
    };
    let mut elsewhere: BTreeSet<RegionCode> = cities.iter().map(|city| city.region.clone()).collect();
    elsewhere.remove(&cookie.region);
    for region in &elsewhere {
        context.may_touch(region);
    }
    let elsewhere = elsewhere.into_iter().collect();
    let Answers { current_user, found, unreachable } = ask_home_and(&mut context, elsewhere, search).await?;
    if current_user.roles.operated().next().is_none() {
        return Err(Refusal::NotOperator.into());
    }
    // The cookie knew fewer cities, as it does right after signing in; the answer brings a new one.
    let unknown = |city: &str| current_user.roles.operates(city) && !cookie.roles.operates(city);
    if catalogue.cities.iter().any(|city| unknown(&city.slug)) {
        return Ok(context.done(&context.path, ""));
    }
    let mut found: Vec<_> = found.into_iter().flat_map(|(_, pages)| pages).collect();
    found.retain(|(city, page)| {
        current_user.roles.operates(&city.slug) && (!page.vehicles.is_empty() || page.next.is_some())
    });
    let mut all = found.iter().flat_map(|(_, page)| &page.vehicles);
    if let (Some(only), None) = (all.next(), all.next())
        && unreachable.is_empty()
        && found.iter().all(|(_, page)| page.next.is_none())
    {
        return Ok(context.done(&paths::fleet_vehicle(&only.vehicle), ""));
    }
    let shown = |(city, mut page): (_, Page)| {
        let more = page.next.is_some() || page.vehicles.len() > SHOWN;
        page.vehicles.truncate(SHOWN);
        let city: &City = city;
        (city, page.vehicles, more.then(|| format!("{}&code={}", paths::fleet(&city.slug), paths::encode(code))))
    };
    context.ok(&SearchPage {
        layout: context.layout("Find a vehicle", Section::Fleet, context.city()),
        now: context.now,
        code,
        found: found.into_iter().map(shown).collect(),
        unreachable,
    })
}
