//! What surrounds every page (`layout.html`), from the session cookie and the catalogue in memory,
//! so an error page has it while the database is away.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    RequestContext, abroad,
    contract::{self, RegionScope},
    filters::{self, counted},
    notice, paths,
    routes::Access::{self, Administrator, Operator, Staff},
    session::Flash,
    site,
};
use crate::{
    db::{meter::Meter, sessions::Reservation},
    domain::{Catalogue, City, RegionCode, Roles, fare::minutes_started},
};

#[derive(Debug, Clone)]
pub struct Layout {
    pub title: String,
    pub nonce: String,
    pub assets: Arc<str>,
    pub path: String,
    /// What the header shows: the city in use, slug and name.
    pub chosen: (String, String),
    pub catalogue: Arc<Catalogue>,
    pub signed_in: Option<Person>,
    pub open_ride: Option<String>,
    pub reservation: Option<Held>,
    pub abroad: Option<abroad::Offer>,
    /// Closings, in people's words.
    pub notices: Vec<String>,
    pub flash: Option<Flash>,
    pub region_here: RegionCode,
    /// Pages that the deployment brings: name and title.
    pub own_pages: Vec<(&'static str, &'static str)>,
    /// Scheme and host, for addresses that others keep.
    pub origin: String,
    /// As in "2 statements, 1 wait, 3 ms".
    pub footer: String,
    pub section: Section,
    /// Brings people who sign in or up from the header back to this page.
    pub next_query: String,
    /// Navigation of operators and administrators: address, name, and whether it is current.
    pub fleet_nav: Vec<(&'static str, &'static str, bool)>,
}

impl Layout {
    /// Whether this is a page of a fleet for one who operates some.
    pub fn finds_vehicles(&self) -> bool {
        self.fleet_nav.iter().any(|(href, ..)| *href == "/fleet")
    }
}

#[derive(Debug, Clone)]
pub struct Person {
    pub initial: char,
    pub is_admin: bool,
    /// The first fleet page that their roles allow.
    pub fleet: Option<&'static str>,
}

/// The reserved vehicle, wherever it stands.
#[derive(Debug, Clone)]
pub struct Held {
    pub reservation: Reservation,
    /// As in "10:42 CET"; none without its city, which older versions did not note.
    pub until: Option<String>,
    pub seconds: i64,
    /// As in "10 min".
    pub left: String,
    /// Of the form that starts a ride on it.
    pub ride: Uuid,
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
    /// A search has read as much as it may, and goes on with `older`, though the page is not full.
    pub sparse: bool,
}

impl Pagination {
    /// Takes off the row that was read beyond a page: it says that there is a next page, whose
    /// address comes from the last row of this one.
    pub fn cut<T>(rows: &mut Vec<T>, page: i64, newest: Option<String>, next: impl FnOnce(&T) -> String) -> Self {
        let page = usize::try_from(page).unwrap_or(usize::MAX);
        let more = rows.len() > page;
        rows.truncate(page);
        Self { newest, older: rows.last().filter(|_| more).map(next), sparse: false }
    }

    /// Of a search: where it goes on, if it ended before the page was full.
    pub fn or_search(self, searched_to: Option<String>) -> Self {
        let sparse = self.older.is_none() && searched_to.is_some();
        Self { older: self.older.or(searched_to), sparse, ..self }
    }
}

/// Pages of operators and administrators in order: address, name, and who may use it.
const FLEET: &[(&str, &str, Access)] = &[
    ("/fleet", "Vehicles", Operator),
    ("/fleet/rides", "Rides", Operator),
    ("/fleet/tasks", "Tasks", Operator),
    ("/fleet/overview", "Overview", Staff),
    ("/fleet/revenue", "Revenue", Staff),
    ("/fleet/tariffs", "Tariffs", Staff),
    ("/admin/promo-codes", "Promo codes", Administrator),
    ("/admin/cities", "Cities", Administrator),
    ("/admin/people", "People", Administrator),
    ("/admin/roles", "Roles", Administrator),
    ("/fleet/jobs", "Jobs", Operator),
    ("/fleet/audit", "Audit", Staff),
    ("/fleet/import", "Import and export", Operator),
    ("/admin/regions", "Regions", Administrator),
];

fn fleet_pages(roles: &Roles) -> impl Iterator<Item = &'static (&'static str, &'static str, Access)> {
    FLEET.iter().filter(|(.., access)| match access {
        Administrator => roles.administers(),
        Operator => roles.operated().next().is_some(),
        _ => !roles.is_empty(),
    })
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

impl RequestContext {
    /// What surrounds a page that is about `city`, whose closings it announces.
    pub fn layout(&self, title: &str, section: Section, city: &City) -> Layout {
        let signed_in = self.cookie.as_ref().map(|cookie| Person {
            initial: self.initial.unwrap_or('•'),
            fleet: fleet_pages(&cookie.roles).next().map(|(href, ..)| *href),
            is_admin: cookie.roles.administers(),
        });
        Layout {
            title: title.to_owned(),
            nonce: self.ids.nonce.clone(),
            assets: site::assets(),
            path: self.path.clone(),
            chosen: (self.city().slug.clone(), self.city().name.clone()),
            catalogue: Arc::clone(&self.catalogue),
            signed_in,
            // A checked cookie says what the row at home says.
            open_ride: self.cookie.as_ref().and_then(|cookie| cookie.open_ride.as_ref()).map(paths::ride),
            reservation: reservation(self),
            abroad: abroad::offer(self),
            notices: notice::all(self, city),
            flash: self.flash.clone(),
            region_here: self.service.here.clone(),
            own_pages: self.service.config.pages.iter().map(|page| (page.name, page.title)).collect(),
            origin: self.service.config.public_url.origin().to_owned(),
            footer: footer(self).unwrap_or_default(),
            next_query: match section {
                Section::None | Section::Login | Section::Register => String::new(),
                _ => paths::next_query(self.next()),
            },
            section,
            fleet_nav: fleet_nav(self, section),
        }
    }
}

/// For people with a role, and for everybody where distances are simulated: the page's cost so far,
/// as in "2 statements, 1 wait, 3 ms, us-east1 · kept: here only".
fn footer(context: &RequestContext) -> Option<String> {
    let has_role = context.cookie.as_ref().is_some_and(|cookie| !cookie.roles.is_empty());
    let figures = Meter::here().filter(|_| has_role || context.service.config.simulated)?;
    let mut parts = vec![counted(figures.statements, "statement"), counted(figures.waits, "wait")];
    parts.push(format!("{:.0} ms", figures.busy.as_secs_f64() * 1000.0));
    let pattern = context.request().match_pattern().unwrap_or_default();
    let scope = RegionScope::of(context.request().method(), &pattern);
    let (_, verdict) = contract::verdict(&context.service, scope, &figures, || Some(context.clone()));
    parts.extend(figures.regions.iter().map(ToString::to_string));
    Some(format!("{} · {verdict}", parts.join(", ")))
}

fn reservation(context: &RequestContext) -> Option<Held> {
    let reservation = context.cookie.as_ref()?.reservation.clone().filter(|held| held.until > context.now)?;
    let left = reservation.until - context.now;
    Some(Held {
        until: context.catalogue.city(&reservation.city).map(|city| filters::time_of_day(reservation.until, city)),
        seconds: left.num_seconds(),
        left: filters::lasted(minutes_started(left)),
        ride: context.service.ids.form(),
        reservation,
    })
}
