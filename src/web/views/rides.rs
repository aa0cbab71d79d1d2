//! Pages of the rider: home, vehicles, rides, receipt, riders of the city.
//! Plain structs only; amounts, distances and times come formatted.
//! Surprise: a card has one form with two buttons; Reserve overrides the form's action.

use askama::Template;

use super::{Chrome, CityView, MapView, OptionView, PaginationView, Section, TimeView};

/// `/`: the nearest city, its map, and the way in.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/home.html")]
pub struct HomePage {
    /// The frame.
    pub chrome: Chrome,
    /// How many vehicles are available; none while the region cannot be asked.
    pub available: Option<u64>,
    /// Prices of the vehicle types.
    pub prices: Vec<PriceView>,
    /// When the vehicles on the map stood there, if that was some time ago.
    pub stale: Option<String>,
    /// The city and vehicles near its centre.
    pub map: Option<MapView>,
}

/// What a type of vehicle costs in the city.
#[derive(Debug, Clone, Default)]
pub struct PriceView {
    /// bike, scooter or skateboard: also the name of its icon.
    pub kind: String,
    /// As in "Bikes".
    pub name: String,
    /// As in "$1.00 + $0.24/min".
    pub tariff: String,
    /// Price of a ten-minute ride.
    pub ten_minutes: String,
}

/// `/vehicles`: the closest vehicles, as a list and on a map.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/vehicles.html")]
pub struct VehiclesPage {
    /// The frame.
    pub chrome: Chrome,
    /// The city of the list (it need not be the remembered one).
    pub city: CityView,
    /// The region of the city: that of every vehicle in the list.
    pub region: String,
    /// The filters as sent, and what is wrong with them.
    pub filters: FiltersView,
    /// To what distances are measured, as in "the city centre" or "you".
    pub measured_to: String,
    /// At most 25, closest first.
    pub cards: Vec<VehicleCard>,
    /// Why nothing can be started now, as in "You are already riding"; none when it can.
    pub blocked: Option<String>,
    /// Set when the list is not of now: what to say about it.
    pub stale: Option<String>,
    /// Where signing in comes back to, percent-encoded as a query value.
    pub next: String,
    /// The same vehicles on a map.
    pub map: Option<MapView>,
}

/// `/vehicles/{region}/{public_id}`: one vehicle.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/vehicle.html")]
pub struct VehiclePage {
    /// The frame.
    pub chrome: Chrome,
    /// The city where it stands.
    pub city: CityView,
    /// The region of the city.
    pub region: String,
    /// The vehicle, as on the list.
    pub card: VehicleCard,
    /// Why it cannot be taken now; none when it can.
    pub blocked: Option<String>,
    /// Where signing in comes back to, percent-encoded as a query value.
    pub next: String,
    /// Where it stands.
    pub map: Option<MapView>,
}

/// The filter form of the list.
#[derive(Debug, Clone, Default)]
pub struct FiltersView {
    /// Vehicle types, with an empty first one for all.
    pub kinds: Vec<OptionView>,
    /// Least battery in percent, as choices.
    pub batteries: Vec<OptionView>,
    /// The point asked for, as typed or sent by the browser.
    pub point: Option<(String, String)>,
    /// What is wrong with them.
    pub error: Option<String>,
}

/// One vehicle of the list.
#[derive(Debug, Clone)]
pub struct VehicleCard {
    /// Its number in the list and on the map, from 1.
    pub number: usize,
    /// The public id, as text: it is written three times, and a text is written soonest.
    pub id: String,
    /// Type: also the name of its icon.
    pub kind: String,
    /// As in "Trek, blue bike".
    pub title: String,
    /// Percent.
    pub battery: u8,
    /// As in "120 m".
    pub distance: String,
    /// Where it stands, in words; may be empty.
    pub place: String,
    /// Price of a ten-minute ride, as in "$3.40".
    pub ten_minutes: String,
    /// As in "$1.00 + $0.24/min".
    pub tariff: String,
    /// Until when it is reserved by this person, as in "10:42".
    pub reserved_until: Option<String>,
    /// Id of the ride that starting makes.
    pub ride: String,
}

/// `/rides`: the open ride and the history.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/rides.html")]
pub struct RidesPage {
    /// The frame.
    pub chrome: Chrome,
    /// The ride under way.
    pub open: Option<OpenRideView>,
    /// Ended rides, newest first, at most 25.
    pub rides: Vec<RideRow>,
    /// Regions that did not answer, in words.
    pub notes: Vec<String>,
    /// Newer and older ones.
    pub pagination: PaginationView,
}

/// One line of the history.
#[derive(Debug, Clone, Default)]
pub struct RideRow {
    /// Its page.
    pub href: String,
    /// Type: also the name of its icon.
    pub kind: String,
    /// The human number.
    pub number: String,
    /// Name of the city.
    pub city: String,
    /// Start, in the city's zone.
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
    /// Its page.
    pub href: String,
    /// Type: also the name of its icon.
    pub kind: String,
    /// As in "Trek, blue bike".
    pub title: String,
    /// Start, in the city's zone.
    pub started: TimeView,
    /// Seconds since the start, when rendered.
    pub elapsed_seconds: i64,
    /// The same in words, as in "12 min".
    pub elapsed: String,
    /// Fare so far, when rendered.
    pub fare: String,
    /// Unlock fee in minor units, for the running fare.
    pub unlock_minor: i64,
    /// Price of a started minute in minor units, for the running fare.
    pub minute_minor: i64,
    /// The most that both cost together, in minor units.
    pub most_minor: Option<i64>,
    /// Discount in minor units, for the running fare; 0 when it is a percentage.
    pub discount_minor: i64,
    /// Discount in percent, for the running fare; 0 when it is an amount.
    pub discount_percent: i64,
    /// ISO 4217.
    pub currency: String,
    /// As in "$1.00 + $0.24/min".
    pub tariff: String,
}

/// `/rides/{region}/{id}`: the open ride with its end form, or the receipt.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/ride.html")]
pub struct RidePage {
    /// The frame.
    pub chrome: Chrome,
    /// The human number.
    pub number: String,
    /// Type: also the name of its icon.
    pub kind: String,
    /// As in "Trek, blue bike".
    pub vehicle: String,
    /// Name of the city.
    pub city: String,
    /// While it is under way.
    pub open: Option<RideUnderway>,
    /// When it has ended.
    pub receipt: Option<ReceiptView>,
    /// The way, service area and positions.
    pub map: Option<MapView>,
}

/// What the page of an open ride has.
#[derive(Debug, Clone, Default)]
pub struct RideUnderway {
    /// The running clock.
    pub ride: OpenRideView,
    /// Slug of the city, for the end form.
    pub city: String,
    /// Where the end form goes.
    pub end_action: String,
    /// Where the browser reports positions to.
    pub positions_url: String,
    /// Where the vehicle is left: latitude and longitude as sent, empty until then.
    pub point: (String, String),
    /// What is wrong with the form as a whole.
    pub error: Option<String>,
    /// The fee for ending outside the service area, as in "$5.00".
    pub outside_fee: String,
}

/// What the page of an ended ride has.
#[derive(Debug, Clone, Default)]
pub struct ReceiptView {
    /// An operator ended the ride.
    pub forced: bool,
    /// The system ended it.
    pub automatic: bool,
    /// Start and place of it.
    pub started: TimeView,
    /// Where it began, in words.
    pub from: String,
    /// End and place of it.
    pub ended: TimeView,
    /// Where it ended, in words.
    pub to: String,
    /// As in "12 min".
    pub duration: String,
    /// As in "2.1 km", or with "straight line" when no positions came.
    pub distance: String,
    /// What the fare is made of.
    pub lines: Vec<ReceiptLine>,
    /// What is owed.
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
    /// The frame.
    pub chrome: Chrome,
    /// Name of the city.
    pub city: String,
    /// The riders.
    pub riders: Vec<RiderView>,
    /// Newer and older ones.
    pub pagination: PaginationView,
}

/// One rider, with as little as recognises a neighbour.
#[derive(Debug, Clone, Default)]
pub struct RiderView {
    /// First letter of the first name.
    pub initial: String,
    /// As in "Ada L."
    pub name: String,
    /// As in "Riding since May 2026".
    pub since: String,
}
