//! Pages of people who own vehicles. Plain structs only.
//! Surprise: removing carries the version that was shown, so a change in between is refused.

use askama::Template;
use uuid::Uuid;

use super::{Chrome, FieldView, OptionView, Section};

/// `/my/vehicles`: the owner's vehicles, and a form that adds one.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/owner_vehicles.html")]
pub struct OwnerVehiclesPage {
    /// The frame.
    pub chrome: Chrome,
    /// Name of the home city: where new vehicles go.
    pub city: String,
    /// The vehicles.
    pub vehicles: Vec<OwnVehicleView>,
    /// Regions that did not answer, in words.
    pub notes: Vec<String>,
    /// The form that adds one.
    pub form: AddVehicleView,
}

/// The form that adds a vehicle.
#[derive(Debug, Clone, Default)]
pub struct AddVehicleView {
    /// Id of the vehicle that the form makes.
    pub id: Uuid,
    /// Vehicle types.
    pub kinds: Vec<OptionView>,
    /// What is wrong with the type.
    pub kind_error: Option<String>,
    /// Maker.
    pub brand: FieldView,
    /// Colour.
    pub colour: FieldView,
    /// The operator's own code.
    pub code: FieldView,
    /// Where it stands, in words.
    pub place: FieldView,
    /// Latitude in degrees.
    pub lat: FieldView,
    /// Longitude in degrees.
    pub lon: FieldView,
    /// What is wrong with the form as a whole.
    pub error: Option<String>,
}

impl AddVehicleView {
    /// Whether the form comes back with mistakes, and so stands open.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        let fields = [&self.brand, &self.colour, &self.code, &self.place, &self.lat, &self.lon];
        self.error.is_some() || self.kind_error.is_some() || fields.iter().any(|field| field.error.is_some())
    }
}

/// One vehicle of its owner.
#[derive(Debug, Clone, Default)]
pub struct OwnVehicleView {
    /// Where the form that removes it goes.
    pub remove_action: String,
    /// Type: also the name of its icon.
    pub kind: String,
    /// As in "Trek, blue bike".
    pub title: String,
    /// The operator's own code; may be empty.
    pub code: String,
    /// Name of the city.
    pub city: String,
    /// Where it stands, in words; may be empty.
    pub place: String,
    /// Percent.
    pub battery: u8,
    /// `available`, `reserved`, `in_use` or `maintenance`: its CSS class.
    pub status: String,
    /// The status in words.
    pub status_text: &'static str,
    /// Version that the form sends.
    pub version: i64,
    /// Why it cannot be removed now.
    pub blocked: Option<String>,
}
