//! Pages of operators about a city's vehicles: the list and one vehicle. Plain structs only.
//! Surprise: what an operator may do with a vehicle now is a list of buttons, made by the
//! handler from its status; the database decides again.

use askama::Template;
use uuid::Uuid;

use super::{Chrome, CityView, FieldView, LinkView, MapView, NewJobView, OptionView, Section, TimeView};

/// `/fleet`: a city's vehicles as table and map.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/fleet.html")]
pub struct FleetPage {
    /// The frame.
    pub chrome: Chrome,
    /// The city.
    pub city: CityView,
    /// The other cities that the person operates.
    pub cities: Vec<LinkView>,
    /// Each status with its number, as links to its list.
    pub counts: Vec<CountView>,
    /// As of when they were counted, as in "10:15:04".
    pub counted: String,
    /// The filters and their state.
    pub filters: FleetFiltersView,
    /// The form that asks for a change of several.
    pub form: NewJobView,
    /// The vehicles.
    pub vehicles: Vec<FleetRow>,
    /// The way to the first page.
    pub first: Option<String>,
    /// The way to the next page.
    pub next: Option<String>,
    /// What matches is rare: the next page goes on looking.
    pub sparse: bool,
    /// The map.
    pub map: Option<MapView>,
}

/// A status and how many vehicles have it.
#[derive(Debug, Clone)]
pub struct CountView {
    /// Its name, also its CSS class.
    pub status: String,
    /// In words.
    pub text: &'static str,
    /// How many.
    pub n: i64,
    /// Their list.
    pub href: String,
    /// It is the one shown.
    pub here: bool,
}

/// The filters of the fleet's list.
#[derive(Debug, Clone)]
pub struct FleetFiltersView {
    /// Statuses.
    pub statuses: Vec<OptionView>,
    /// Types.
    pub kinds: Vec<OptionView>,
    /// Standing still for longer than so many hours.
    pub idle: Vec<OptionView>,
    /// Orders.
    pub sorts: Vec<OptionView>,
    /// Less charge than this.
    pub battery: FieldView,
    /// Beginning of the code.
    pub prefix: FieldView,
    /// The filters that are set: name and value.
    pub set: Vec<(&'static str, String)>,
    /// The same as a query, without city and position in the list; begins with `&` if there are any.
    pub query: String,
}

/// A vehicle on the list.
#[derive(Debug, Clone)]
pub struct FleetRow {
    /// Number on the page, from 1: that of its pin.
    pub number: usize,
    /// Its page.
    pub href: String,
    /// Its id with the version that is shown, as a change of several needs them.
    pub key: String,
    /// The operator's own code, or "no code".
    pub code: String,
    /// Type: also the name of its icon.
    pub kind: String,
    /// As in "Trek, blue".
    pub title: String,
    /// CSS class of the status.
    pub status: String,
    /// The status in words.
    pub status_text: &'static str,
    /// Percent.
    pub battery: i64,
    /// Where it stands.
    pub place: String,
    /// For how long, as in "3 h ago".
    pub idle: String,
    /// What its operators note.
    pub note: Option<String>,
}

/// `/fleet/vehicles/{region}/{id}`: everything known of a vehicle, and what can be done.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/fleet_vehicle.html")]
pub struct FleetVehiclePage {
    /// The frame.
    pub chrome: Chrome,
    /// The vehicle as on the list.
    pub row: FleetRow,
    /// City by name and slug.
    pub city: CityView,
    /// Its inner id.
    pub id: Uuid,
    /// Where its forms are posted to.
    pub action: String,
    /// Version that forms carry.
    pub version: i64,
    /// Id of the next command.
    pub command: Uuid,
    /// What is known: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// What may be done now: name and label.
    pub steps: Vec<(&'static str, &'static str)>,
    /// Since when it is being ridden, and where ending the ride is posted to.
    pub ride: Option<(TimeView, String)>,
    /// Why nothing else can be done now.
    pub blocked: Option<String>,
    /// The form that edits it.
    pub form: EditVehicleView,
    /// Other cities of the region that the person operates.
    pub cities: Vec<OptionView>,
    /// What happened, newest first.
    pub history: Vec<HappenedView>,
    /// The way to what happened before.
    pub older: Option<String>,
    /// Where it stands.
    pub map: Option<MapView>,
}

/// The form that edits a vehicle.
#[derive(Debug, Clone, Default)]
pub struct EditVehicleView {
    /// The operator's own code.
    pub code: FieldView,
    /// Maker.
    pub brand: FieldView,
    /// Colour.
    pub colour: FieldView,
    /// Percent.
    pub battery: FieldView,
    /// Where it stands, in words.
    pub place: FieldView,
    /// Latitude in degrees.
    pub lat: FieldView,
    /// Longitude in degrees.
    pub lon: FieldView,
    /// What its operators note.
    pub note: FieldView,
    /// It came back with mistakes, and so stands open.
    pub open: bool,
}

/// Something that happened to a vehicle.
#[derive(Debug, Clone)]
pub struct HappenedView {
    /// What, in words.
    pub text: String,
    /// When.
    pub at: TimeView,
    /// Where, what was owed, or what was noted; may be empty.
    pub detail: String,
}
