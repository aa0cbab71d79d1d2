//! Pages of the rider: home, vehicles, rides, receipt, riders of the city.
//! Plain structs only; amounts, distances and times come formatted.
//! Surprise: a card has one form with two buttons; Reserve overrides the form's action.

use askama::Template;

use super::{CityView, Layout, MapView, OptionView, PaginationView, Section, TimeView};

/// `/`: the nearest city, its map, and the way in.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/home.html")]
pub struct HomePage {
    pub layout: Layout,
    pub available: Option<u64>,
    pub prices: Vec<PriceView>,
    pub stale: Option<String>,
    pub map: Option<MapView>,
}

/// What a type of vehicle costs in the city.
#[derive(Debug, Clone, Default)]
pub struct PriceView {
    pub kind: String,
    /// As in "Bikes".
    pub name: String,
    /// As in "$1.00 + $0.24/min".
    pub tariff: String,
    pub ten_minutes: String,
}

/// `/vehicles`: the closest vehicles, as a list and on a map.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/vehicles.html")]
pub struct VehiclesPage {
    pub layout: Layout,
    pub city: CityView,
    pub region: String,
    pub filters: FiltersView,
    /// To what distances are measured, as in "the city centre" or "you".
    pub measured_to: String,
    pub cards: Vec<VehicleCard>,
    /// Why nothing can be started now, as in "You are already riding"; none when it can.
    pub blocked: Option<String>,
    pub stale: Option<String>,
    pub next: String,
    pub map: Option<MapView>,
}

/// `/vehicles/{region}/{public_id}`: one vehicle.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/vehicle.html")]
pub struct VehiclePage {
    pub layout: Layout,
    pub city: CityView,
    pub region: String,
    pub card: VehicleCard,
    pub blocked: Option<String>,
    pub next: String,
    pub map: Option<MapView>,
}

/// The filter form of the list.
#[derive(Debug, Clone, Default)]
pub struct FiltersView {
    pub kinds: Vec<OptionView>,
    pub batteries: Vec<OptionView>,
    pub point: Option<(String, String)>,
    pub error: Option<String>,
}

/// One vehicle of the list.
#[derive(Debug, Clone)]
pub struct VehicleCard {
    pub number: usize,
    pub id: String,
    pub kind: String,
    /// As in "Trek, blue bike".
    pub title: String,
    pub battery: u8,
    /// As in "120 m".
    pub distance: String,
    pub place: String,
    /// Price of a ten-minute ride, as in "$3.40".
    pub ten_minutes: String,
    /// As in "$1.00 + $0.24/min".
    pub tariff: String,
    /// Until when it is reserved by this person, as in "10:42".
    pub reserved_until: Option<String>,
    pub ride: String,
}

/// `/rides`: the open ride and the history.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/rides.html")]
pub struct RidesPage {
    pub layout: Layout,
    pub open: Option<OpenRideView>,
    pub rides: Vec<RideRow>,
    pub notes: Vec<String>,
    pub pagination: PaginationView,
}

/// One line of the history.
#[derive(Debug, Clone, Default)]
pub struct RideRow {
    pub href: String,
    pub kind: String,
    pub number: String,
    pub city: String,
    pub started: TimeView,
    /// As in "12 min".
    pub duration: String,
    /// As in "2.1 km".
    pub distance: String,
    /// As in "$3.88".
    pub fare: String,
}

/// The ride under way, with what its running clock needs.
#[derive(Debug, Clone, Default)]
pub struct OpenRideView {
    pub href: String,
    pub kind: String,
    /// As in "Trek, blue bike".
    pub title: String,
    pub started: TimeView,
    pub elapsed_seconds: i64,
    /// The same in words, as in "12 min".
    pub elapsed: String,
    pub fare: String,
    /// Unlock fee in minor units, for the running fare.
    pub unlock_minor: i64,
    /// Price of a started minute in minor units, for the running fare.
    pub minute_minor: i64,
    /// The most that both cost together, in minor units.
    pub most_minor: Option<i64>,
    /// Discount in minor units, for the running fare; 0 when it is a percentage.
    pub discount_minor: i64,
    pub discount_percent: i64,
    pub currency: String,
    /// As in "$1.00 + $0.24/min".
    pub tariff: String,
}

/// `/rides/{region}/{id}`: the open ride with its end form, or the receipt.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/ride.html")]
pub struct RidePage {
    pub layout: Layout,
    pub number: String,
    pub kind: String,
    /// As in "Trek, blue bike".
    pub vehicle: String,
    pub city: String,
    pub open: Option<RideUnderway>,
    pub receipt: Option<ReceiptView>,
    pub map: Option<MapView>,
}

/// What the page of an open ride has.
#[derive(Debug, Clone, Default)]
pub struct RideUnderway {
    pub ride: OpenRideView,
    pub city: String,
    pub end_action: String,
    pub positions_url: String,
    pub point: (String, String),
    pub error: Option<String>,
    /// The fee for ending outside the service area, as in "$5.00".
    pub outside_fee: String,
}

/// What the page of an ended ride has.
#[derive(Debug, Clone, Default)]
pub struct ReceiptView {
    pub forced: bool,
    pub automatic: bool,
    pub started: TimeView,
    pub from: String,
    pub ended: TimeView,
    pub to: String,
    /// As in "12 min".
    pub duration: String,
    /// As in "2.1 km", or with "straight line" when no positions came.
    pub distance: String,
    pub lines: Vec<ReceiptLine>,
    pub total: String,
}

/// One line of a receipt.
#[derive(Debug, Clone, Default)]
pub struct ReceiptLine {
    /// As in "12 min at $0.24".
    pub text: String,
    /// As in "$2.88" or "−$1.00".
    pub amount: String,
}

/// `/riders`: riders of the person's city by first name and initial.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/riders.html")]
pub struct RidersPage {
    pub layout: Layout,
    pub city: String,
    pub riders: Vec<RiderView>,
    pub pagination: PaginationView,
}

/// One rider, with as little as recognises a neighbour.
#[derive(Debug, Clone, Default)]
pub struct RiderView {
    pub initial: String,
    /// As in "Ada L."
    pub name: String,
    /// As in "Riding since May 2026".
    pub since: String,
}
