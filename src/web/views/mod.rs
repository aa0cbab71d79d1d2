//! What the layout of every page shows; `layout` makes it.

use std::sync::Arc;

use crate::domain::{catalogue::Catalogue, region::RegionCode};

/// What `layout.html` shows around every page; all of it comes from the session cookie and the
/// catalogue in memory, so an error page has it while the database is away.
#[derive(Debug, Clone)]
pub struct Layout {
    pub title: String,
    pub nonce: String,
    pub assets: Arc<str>,
    pub path: String,
    pub city: CityView,
    /// For the city switch.
    pub catalogue: Arc<Catalogue>,
    pub signed_in: Option<SignedInView>,
    pub open_ride: Option<String>,
    pub reservation: Option<HeldView>,
    pub abroad: Option<AbroadView>,
    pub flashes: Vec<FlashView>,
    /// Which region answered, as in "us-east1".
    pub region_here: RegionCode,
    /// What else the footer says, as in "2 statements, 1 wait, 3 ms".
    pub footer: String,
    pub section: Section,
    pub fleet_nav: Vec<NavView>,
}

/// An entry of the navigation between the pages of operators and administrators.
#[derive(Debug, Clone)]
pub struct NavView {
    pub href: &'static str,
    pub text: &'static str,
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
    pub slug: String,
    pub name: String,
}

/// A reservation, and what the form that cancels it sends.
#[derive(Debug, Clone, Default)]
pub struct HeldView {
    pub region: String,
    pub vehicle: String,
    /// When it lapses, as in "10:42".
    pub until: String,
}

/// The way home, and what the form that goes there sends.
#[derive(Debug, Clone, Default)]
pub struct AbroadView {
    /// Name of the home region, as in "US East".
    pub region: String,
    pub url: String,
    pub next: String,
}

/// The person in the header.
#[derive(Debug, Clone, Default)]
pub struct SignedInView {
    pub initial: String,
    pub is_owner: bool,
    pub is_admin: bool,
    pub fleet: Option<&'static str>,
}

/// One message above the page.
#[derive(Debug, Clone)]
pub struct FlashView {
    pub kind: FlashKind,
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
    pub fn class(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Info => "info",
            Self::Error => "error",
        }
    }
}

/// A link with its words.
#[derive(Debug, Clone, Default)]
pub struct LinkView {
    pub href: String,
    pub text: String,
}

/// Pages of a list that goes on: links to the newest and to the next older ones.
#[derive(Debug, Clone, Default)]
pub struct PaginationView {
    pub newest: Option<String>,
    pub older: Option<String>,
}

/// Every error page.
#[derive(Debug, Clone, askama::Template)]
#[template(path = "pages/error.html")]
pub struct ErrorPage {
    pub layout: Layout,
    pub status: u16,
    pub heading: String,
    pub message: String,
    pub links: Vec<LinkView>,
    pub request_id: String,
}
