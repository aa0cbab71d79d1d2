//! What surrounds every page (`layout.html`), from the session cookie and the catalogue in memory,
//! so an error page has it while the database is away.

use std::sync::Arc;

use super::{
    abroad,
    context::RequestContext,
    contract::{self, RegionScope},
    paths,
    session::Flash,
    site,
};
use crate::{
    db::{
        meter::Meter,
        sessions::{CurrentUser, Reservation},
    },
    domain::{
        catalogue::{Catalogue, City},
        region::RegionCode,
    },
};

#[derive(Debug, Clone)]
pub struct Layout {
    pub title: String,
    pub nonce: String,
    pub assets: Arc<str>,
    pub path: String,
    pub city_slug: String,
    pub city_name: String,
    pub catalogue: Arc<Catalogue>,
    pub signed_in: Option<Person>,
    pub open_ride: Option<String>,
    /// The reservation and its end, as in "10:42".
    pub reservation: Option<(Reservation, String)>,
    pub abroad: Option<abroad::Offer>,
    pub flash: Option<Flash>,
    pub region_here: RegionCode,
    /// As in "2 statements, 1 wait, 3 ms".
    pub footer: String,
    pub section: Section,
    /// Navigation of operators and administrators: address, name, and whether it is current.
    pub fleet_nav: Vec<(&'static str, &'static str, bool)>,
}

#[derive(Debug, Clone)]
pub struct Person {
    pub initial: String,
    pub is_admin: bool,
    /// The first fleet page that their roles allow.
    pub fleet: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    None,
    Vehicles,
    Rides,
    Own,
    Fleet,
    Riders,
    Profile,
    Login,
    Register,
}

#[derive(Debug, Clone, Default)]
pub struct Pagination {
    pub newest: Option<String>,
    pub older: Option<String>,
}

/// Pages of operators and administrators in order, with the prefix of the role that may use them
/// (empty: any role).
#[rustfmt::skip]
const FLEET: &[(&str, &str, &str)] = &[
    ("/fleet", "Vehicles", "operator:"),
    ("/fleet/overview", "Overview", ""),
    ("/fleet/tariffs", "Tariffs", ""),
    ("/admin/promo-codes", "Promo codes", "administrator:"),
    ("/admin/cities", "Cities", "administrator:"),
    ("/admin/roles", "Roles", "administrator:"),
    ("/fleet/jobs", "Jobs", "operator:"),
    // Whoever has any role.
    ("/fleet/audit", "Audit", ""),
    ("/fleet/import", "Import and export", "operator:"),
    ("/admin/regions", "Regions", "administrator:"),
];

fn fleet_pages(roles: &[String]) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    FLEET.iter().filter(|(_, _, role)| roles.iter().any(|has| has.starts_with(role)))
}

fn fleet_nav(context: &RequestContext, section: Section) -> Vec<(&'static str, &'static str, bool)> {
    let Some(cookie) = context.cookie.as_ref().filter(|_| section == Section::Fleet) else {
        return Vec::new();
    };
    let path = context.request().path();
    // The longest entry under which the page lies.
    let here = FLEET.iter().map(|(href, ..)| *href).filter(|href| path.starts_with(href)).max_by_key(|href| href.len());
    fleet_pages(&cookie.roles).map(|&(href, text, _)| (href, text, here == Some(href))).collect()
}

pub fn layout(
    context: &RequestContext,
    current_user: Option<&CurrentUser>,
    title: &str,
    section: Section,
    city: &City,
) -> Layout {
    let initial = |current_user: &CurrentUser| current_user.first_name.chars().next().map(String::from);
    let signed_in = context.cookie.as_ref().map(|cookie| Person {
        initial: current_user.and_then(initial).unwrap_or_else(|| "•".to_owned()),
        fleet: fleet_pages(&cookie.roles).next().map(|(href, ..)| *href),
        is_admin: cookie.roles.iter().any(|role| role.starts_with("administrator")),
    });
    Layout {
        title: title.to_owned(),
        nonce: context.ids.nonce.clone(),
        assets: site::assets(),
        path: context.path.clone(),
        city_slug: city.slug.clone(),
        city_name: city.name.clone(),
        catalogue: Arc::clone(&context.catalogue),
        signed_in,
        // A checked cookie says what the row at home says.
        open_ride: context.cookie.as_ref().and_then(|cookie| cookie.open_ride.as_ref()).map(paths::ride),
        reservation: reservation(context, city),
        abroad: abroad::offer(context),
        flash: context.flash.clone(),
        region_here: context.service.here.clone(),
        footer: footer(context).unwrap_or_default(),
        section,
        fleet_nav: fleet_nav(context, section),
    }
}

/// For people with a role, and for everybody where distances are simulated: the page's cost so far,
/// as in "2 statements, 1 wait, 3 ms, us-east1 · kept: here only".
fn footer(context: &RequestContext) -> Option<String> {
    let has_role = context.cookie.as_ref().is_some_and(|cookie| !cookie.roles.is_empty());
    let figures = Meter::here().filter(|_| has_role || context.service.config.simulated)?;
    let count = |n: u32, of: &str| format!("{n} {of}{}", if n == 1 { "" } else { "s" });
    let mut parts = vec![count(figures.statements, "statement"), count(figures.waits, "wait")];
    parts.push(format!("{:.0} ms", figures.busy.as_secs_f64() * 1000.0));
    let pattern = context.request().match_pattern().unwrap_or_default();
    let scope = RegionScope::of(context.request().method(), &pattern);
    let (_, verdict) = contract::verdict(&context.service, scope, &figures, || Some(context.clone()));
    parts.extend(figures.regions.iter().map(ToString::to_string));
    Some(format!("{} · {verdict}", parts.join(", ")))
}

fn reservation(context: &RequestContext, city: &City) -> Option<(Reservation, String)> {
    let held = context.cookie.as_ref()?.reservation.as_ref().filter(|held| held.until > context.now)?;
    Some((held.clone(), held.until.with_timezone(&city.time_zone).format("%H:%M").to_string()))
}
