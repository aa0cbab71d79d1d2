//! Pages of operators about a city's vehicles: the list and one vehicle. Plain structs only.
//! Surprise: what an operator may do with a vehicle now is a list of buttons, made by the
//! handler from its status; the database decides again.

use askama::Template;
use uuid::Uuid;

use crate::web::pages::map::MapView;

use super::{CityView, FieldView, Layout, LinkView, NewJobView, OptionView, Section, TimeView};

/// `/fleet`: a city's vehicles as table and map.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/fleet.html")]
pub struct FleetPage {
    pub layout: Layout,
    pub city: CityView,
    pub cities: Vec<LinkView>,
    pub counts: Vec<CountView>,
    /// As of when they were counted, as in "10:15:04".
    pub counted: String,
    pub filters: FleetFiltersView,
    pub form: NewJobView,
    pub vehicles: Vec<FleetRow>,
    pub first: Option<String>,
    pub next: Option<String>,
    pub sparse: bool,
    pub map: Option<MapView>,
}

/// A status and how many vehicles have it.
#[derive(Debug, Clone)]
pub struct CountView {
    pub status: String,
    pub text: &'static str,
    pub n: i64,
    pub href: String,
    pub here: bool,
}

/// The filters of the fleet's list.
#[derive(Debug, Clone)]
pub struct FleetFiltersView {
    pub statuses: Vec<OptionView>,
    pub kinds: Vec<OptionView>,
    pub idle: Vec<OptionView>,
    pub sorts: Vec<OptionView>,
    pub battery: FieldView,
    pub prefix: FieldView,
    pub set: Vec<(&'static str, String)>,
    pub query: String,
}

/// A vehicle on the list.
#[derive(Debug, Clone)]
pub struct FleetRow {
    pub number: usize,
    pub href: String,
    pub key: String,
    pub code: String,
    pub kind: String,
    /// As in "Trek, blue".
    pub title: String,
    pub status: String,
    pub status_text: &'static str,
    pub battery: i64,
    pub place: String,
    /// For how long, as in "3 h ago".
    pub idle: String,
    pub note: Option<String>,
}

/// `/fleet/vehicles/{region}/{id}`: everything known of a vehicle, and what can be done.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/fleet_vehicle.html")]
pub struct FleetVehiclePage {
    pub layout: Layout,
    pub row: FleetRow,
    pub city: CityView,
    pub id: Uuid,
    pub action: String,
    pub version: i64,
    pub command: Uuid,
    pub facts: Vec<(&'static str, String)>,
    pub steps: Vec<(&'static str, &'static str)>,
    pub ride: Option<(TimeView, String)>,
    pub blocked: Option<String>,
    pub form: EditVehicleView,
    pub cities: Vec<OptionView>,
    pub history: Vec<HappenedView>,
    pub older: Option<String>,
    pub map: Option<MapView>,
}

/// The form that edits a vehicle.
#[derive(Debug, Clone, Default)]
pub struct EditVehicleView {
    pub code: FieldView,
    pub brand: FieldView,
    pub colour: FieldView,
    pub battery: FieldView,
    pub place: FieldView,
    pub lat: FieldView,
    pub lon: FieldView,
    pub note: FieldView,
    pub open: bool,
}

/// Something that happened to a vehicle.
#[derive(Debug, Clone)]
pub struct HappenedView {
    pub text: String,
    pub at: TimeView,
    pub detail: String,
}
