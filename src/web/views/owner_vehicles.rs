//! Pages of people who own vehicles. Plain structs only.
//! Surprise: removing carries the version that was shown, so a change in between is refused.

use askama::Template;
use uuid::Uuid;

use super::{FieldView, Layout, OptionView, Section};

/// `/my/vehicles`: the owner's vehicles, and a form that adds one.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/owner_vehicles.html")]
pub struct OwnerVehiclesPage {
    pub layout: Layout,
    pub city: String,
    pub vehicles: Vec<OwnVehicleView>,
    pub notes: Vec<String>,
    pub form: AddVehicleView,
}

/// The form that adds a vehicle.
#[derive(Debug, Clone, Default)]
pub struct AddVehicleView {
    pub id: Uuid,
    pub kinds: Vec<OptionView>,
    pub kind_error: Option<String>,
    pub brand: FieldView,
    pub colour: FieldView,
    pub code: FieldView,
    pub place: FieldView,
    pub lat: FieldView,
    pub lon: FieldView,
    pub error: Option<String>,
}

impl AddVehicleView {
    /// Whether the form comes back with mistakes, and so stands open.
    pub fn has_errors(&self) -> bool {
        let fields = [&self.brand, &self.colour, &self.code, &self.place, &self.lat, &self.lon];
        self.error.is_some() || self.kind_error.is_some() || fields.iter().any(|field| field.error.is_some())
    }
}

/// One vehicle of its owner.
#[derive(Debug, Clone, Default)]
pub struct OwnVehicleView {
    pub remove_action: String,
    pub kind: String,
    /// As in "Trek, blue bike".
    pub title: String,
    pub code: String,
    pub city: String,
    pub place: String,
    pub battery: u8,
    pub status: String,
    pub status_text: &'static str,
    pub version: i64,
    pub blocked: Option<String>,
}
