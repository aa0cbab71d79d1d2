//! What pages show: one plain struct a page, rendered by askama.
//! Fields are finished text and numbers; nothing here knows rows, clocks or requests.
//! Handlers fill these structs; templates/ holds the words around them.
//! Surprise: `MapData` is the one place that writes JSON into HTML, and escapes `<` itself.

mod account;
mod audit;
mod catalogue;
mod fleet;
mod imports;
mod jobs;
mod map;
mod overview;
mod owner_vehicles;
mod region_states;
mod rides;
mod status;

pub use account::*;
pub use audit::*;
pub use catalogue::*;
pub use fleet::*;
pub use imports::*;
pub use jobs::*;
pub use map::*;
pub use overview::*;
pub use owner_vehicles::*;
pub use region_states::*;
pub use rides::*;
pub use status::*;

use std::sync::Arc;

/// What `layout.html` shows around every page; all of it comes from the session cookie and the
/// catalogue in memory, so an error page has it while the database is away.
#[derive(Debug, Clone, Default)]
pub struct Chrome {
    /// Title of the page, without the name of the site.
    pub title: String,
    /// The Content-Security-Policy nonce of this answer.
    pub nonce: String,
    /// Version of the embedded static files; part of their URLs, so that they may be cached for ever.
    pub assets: Arc<str>,
    /// Path and query of this page.
    pub path: String,
    /// The city in use: its name and slug.
    pub city: CityView,
    /// All cities by region, shared by all pages of one version of the catalogue.
    pub cities: Arc<[RegionView]>,
    /// The person, when signed in.
    pub signed_in: Option<SignedInView>,
    /// The page of the open ride, when there is one.
    pub open_ride: Option<String>,
    /// The reservation that the person holds.
    pub reservation: Option<HeldView>,
    /// The way home, for who is abroad.
    pub abroad: Option<AbroadView>,
    /// Messages carried over from the last form.
    pub flashes: Vec<FlashView>,
    /// Which region answered, as in "us-east1".
    pub region_here: Arc<str>,
    /// What else the footer says, as in "2 statements, 1 wait, 3 ms".
    pub footer: String,
    /// The entry of the main navigation that this page belongs to.
    pub section: Section,
    /// On pages of operators and administrators: the way to the others.
    pub fleet_nav: Vec<NavView>,
}

/// An entry of the navigation between the pages of operators and administrators.
#[derive(Debug, Clone)]
pub struct NavView {
    /// Where it leads.
    pub href: &'static str,
    /// What it is called.
    pub text: &'static str,
    /// It leads here.
    pub here: bool,
}

/// An entry of the main navigation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Section {
    /// Pages outside the navigation.
    #[default]
    None,
    /// The list of vehicles.
    Vehicles,
    /// Rides and receipts.
    Rides,
    /// An owner's vehicles.
    Own,
    /// Pages of operators and administrators.
    Fleet,
    /// Riders of the city.
    Riders,
    /// The profile and what belongs to it.
    Profile,
    /// Sign-in and recovery.
    Login,
    /// Sign-up.
    Register,
}

/// A city by name and slug.
#[derive(Debug, Clone, Default)]
pub struct CityView {
    /// As used in URLs and forms.
    pub slug: String,
    /// As people write it.
    pub name: String,
}

/// A region and its cities, for the city switch.
#[derive(Debug, Clone, Default)]
pub struct RegionView {
    /// As people write it, as in "US East".
    pub name: String,
    /// Its cities by name.
    pub cities: Vec<CityView>,
}

/// A reservation, and what the form that cancels it sends.
#[derive(Debug, Clone, Default)]
pub struct HeldView {
    /// Region of the vehicle.
    pub region: String,
    /// Its public id.
    pub vehicle: String,
    /// When it lapses, as in "10:42".
    pub until: String,
}

/// The way home, and what the form that goes there sends.
#[derive(Debug, Clone, Default)]
pub struct AbroadView {
    /// Name of the home region, as in "US East".
    pub region: String,
    /// Its address.
    pub url: String,
    /// Path and query to come back to, here or there.
    pub next: String,
}

/// The person in the header.
#[derive(Debug, Clone, Default)]
pub struct SignedInView {
    /// First letter of the first name.
    pub initial: String,
    /// May put vehicles on the street.
    pub is_owner: bool,
    /// Administers: closes and opens regions.
    pub is_admin: bool,
    /// For people with a role: the first of the fleet's pages.
    pub fleet: Option<&'static str>,
}

/// One message above the page.
#[derive(Debug, Clone)]
pub struct FlashView {
    /// Whether it is good or bad news.
    pub kind: FlashKind,
    /// What it says.
    pub text: String,
}

/// The looks of a message; its name is its CSS class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashKind {
    /// Done as asked.
    Success,
    /// Worth knowing.
    Info,
    /// Refused or failed.
    Error,
}

impl FlashKind {
    /// The CSS class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Info => "info",
            Self::Error => "error",
        }
    }
}

/// A text field of a form: what was typed, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct FieldView {
    /// What was typed; always empty for passwords.
    pub value: String,
    /// What is wrong, in words.
    pub error: Option<String>,
}

/// A moment: for machines and, in the city's zone, for people.
#[derive(Debug, Clone, Default)]
pub struct TimeView {
    /// RFC 3339.
    pub iso: String,
    /// As in "Sat 21 Nov, 10:42".
    pub text: String,
}

/// A link with its words.
#[derive(Debug, Clone, Default)]
pub struct LinkView {
    /// Where it goes.
    pub href: String,
    /// What it says.
    pub text: String,
}

/// A choice of a `<select>`.
#[derive(Debug, Clone, Default)]
pub struct OptionView {
    /// What the form sends.
    pub value: String,
    /// What a person reads.
    pub text: String,
    /// Chosen now.
    pub selected: bool,
}

/// Choices of a `<select>` under one heading, as cities of a region.
#[derive(Debug, Clone, Default)]
pub struct OptionGroupView {
    /// The heading.
    pub name: String,
    /// The choices.
    pub options: Vec<OptionView>,
}

/// Pages of a list that goes on: links to the newest and to the next older ones.
#[derive(Debug, Clone, Default)]
pub struct PaginationView {
    /// Back to the first page; none on the first page.
    pub newest: Option<String>,
    /// The next page; none on the last one.
    pub older: Option<String>,
}

/// Every error page.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "pages/error.html")]
pub struct ErrorPage {
    /// The frame.
    pub chrome: Chrome,
    /// The HTTP status.
    pub status: u16,
    /// A few words.
    pub heading: String,
    /// A sentence or two: what happened, what to do.
    pub message: String,
    /// Ways on.
    pub links: Vec<LinkView>,
    /// What to quote to the operators.
    pub request_id: String,
}
