//! Pages that change the catalogue: tariffs of a city, promo codes, cities; and roles.
//! Plain structs only.
//! Surprise: forms carry what they showed of an entry, so that a change in between is refused.

use askama::Template;

use super::{Chrome, FieldView, OptionGroupView, OptionView, PaginationView, Section, TimeView};

/// `/fleet/tariffs`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/tariffs.html")]
pub struct TariffsPage {
    /// The frame.
    pub chrome: Chrome,
    /// Name of the city.
    pub city: String,
    /// Its slug.
    pub slug: String,
    /// Its zone and currency, as in "America/New York, USD".
    pub terms: String,
    /// The cities whose prices the person may set.
    pub cities: Vec<OptionView>,
    /// The vehicle types.
    pub kinds: Vec<KindTariffsView>,
}

/// The tariffs of a vehicle type in the city.
#[derive(Debug, Clone, Default)]
pub struct KindTariffsView {
    /// Slug of the type: also the name of its icon.
    pub slug: String,
    /// As in "Bike".
    pub name: String,
    /// Its tariffs, newest first.
    pub tariffs: Vec<TariffView>,
    /// What the form has seen of them.
    pub seen: String,
    /// From when the new one holds.
    pub from: FieldView,
    /// To unlock.
    pub unlock: FieldView,
    /// For each minute.
    pub minute: FieldView,
    /// For leaving it outside the area.
    pub fee: FieldView,
    /// The most that a ride costs; may be empty.
    pub most: FieldView,
}

impl KindTariffsView {
    /// Whether the form came back with mistakes, and so stands open.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        [&self.from, &self.unlock, &self.minute, &self.fee, &self.most].into_iter().any(|field| field.error.is_some())
    }
}

/// One tariff.
#[derive(Debug, Clone, Default)]
pub struct TariffView {
    /// Since when it holds or will.
    pub from: TimeView,
    /// The same in seconds, as the form that withdraws it sends.
    pub epoch: i64,
    /// To unlock, each minute, outside the area: for people.
    pub prices: [String; 3],
    /// The same in minor units, as the form that withdraws it sends.
    pub minor: [i64; 3],
    /// The most that a ride costs, for people; none without a limit.
    pub most: Option<String>,
    /// The same in minor units, as the form that withdraws it sends.
    pub most_minor: String,
    /// "Now", "To come" or nothing, and its CSS class.
    pub word: (&'static str, &'static str),
    /// It can be withdrawn.
    pub future: bool,
}

/// `/admin/promo-codes`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/promo_codes.html")]
pub struct PromoCodesPage {
    /// The frame.
    pub chrome: Chrome,
    /// The codes of this page, those that hold first.
    pub codes: Vec<PromoCodeView>,
    /// Where the list goes on.
    pub pagination: PaginationView,
    /// Regions that did not answer, in words.
    pub notes: Vec<String>,
    /// The form that adds one.
    pub form: AddPromoView,
}

/// A promo code and the form that changes it.
#[derive(Debug, Clone, Default)]
pub struct PromoCodeView {
    /// The code.
    pub code: String,
    /// Where the form is posted to.
    pub action: String,
    /// As in "20 % off".
    pub discount: String,
    /// Where it counts, in words.
    pub cities: String,
    /// Its state in a word, and its CSS class.
    pub word: (&'static str, &'static str),
    /// When it begins.
    pub from: TimeView,
    /// When it ends.
    pub ends: TimeView,
    /// It has ended.
    pub ended: bool,
    /// What the form has seen, as JSON.
    pub seen: String,
    /// Rides that all riders together may take.
    pub total: i64,
    /// The end as a field.
    pub until: FieldView,
    /// Rides of one rider as a field.
    pub per_rider: FieldView,
    /// What each region has.
    pub quotas: Vec<QuotaView>,
}

impl PromoCodeView {
    /// Whether the form came back with mistakes, and so stands open.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        let fields = [&self.until, &self.per_rider].into_iter().chain(self.quotas.iter().map(|quota| &quota.field));
        fields.into_iter().any(|field| field.error.is_some())
    }
}

/// A region's part of a code's total.
#[derive(Debug, Clone, Default)]
pub struct QuotaView {
    /// The region's code.
    pub region: String,
    /// Its name.
    pub name: String,
    /// As in "3 of 50 used".
    pub used: String,
    /// The part as a field.
    pub field: FieldView,
}

/// The form that adds a promo code.
#[derive(Debug, Clone, Default)]
pub struct AddPromoView {
    /// The code.
    pub code: FieldView,
    /// Percent, or an amount in one of the currencies.
    pub kinds: Vec<OptionView>,
    /// How much.
    pub value: FieldView,
    /// Slugs of the cities.
    pub cities: FieldView,
    /// When it begins.
    pub from: FieldView,
    /// When it ends.
    pub until: FieldView,
    /// Rides of one rider.
    pub per_rider: FieldView,
    /// The regions' parts.
    pub quotas: Vec<QuotaView>,
    /// It came back with mistakes, and so stands open.
    pub open: bool,
}

/// `/admin/cities`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/cities.html")]
pub struct CitiesPage {
    /// The frame.
    pub chrome: Chrome,
    /// The cities, by region.
    pub cities: Vec<CityRowView>,
    /// The form that adds one.
    pub form: AddCityView,
}

/// A city in the list.
#[derive(Debug, Clone, Default)]
pub struct CityRowView {
    /// Its name.
    pub name: String,
    /// Its slug.
    pub slug: String,
    /// Name of its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// What is paid there.
    pub currency: String,
    /// Where its tariffs are.
    pub tariffs: String,
}

/// The form that adds a city.
#[derive(Debug, Clone, Default)]
pub struct AddCityView {
    /// Its name.
    pub name: FieldView,
    /// Its slug.
    pub slug: FieldView,
    /// The regions.
    pub regions: Vec<OptionView>,
    /// Latitude of the centre.
    pub lat: FieldView,
    /// Longitude of the centre.
    pub lon: FieldView,
    /// The zone.
    pub zone: FieldView,
    /// The currencies.
    pub currencies: Vec<OptionView>,
    /// Radius of the service area in km.
    pub radius: FieldView,
    /// The service area as a ring of points.
    pub area: FieldView,
    /// The first tariffs: of each vehicle type.
    pub kinds: Vec<KindTariffsView>,
    /// It came back with mistakes, and so stands open.
    pub open: bool,
}

/// `/admin/roles`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/roles.html")]
pub struct RolesPage {
    /// The frame.
    pub chrome: Chrome,
    /// Who has which role.
    pub granted: Vec<GrantedView>,
    /// Regions that did not answer, in words.
    pub notes: Vec<String>,
    /// Where the list goes on.
    pub pagination: PaginationView,
    /// The person to whom a role is given.
    pub username: FieldView,
    /// The role of an operator, by city.
    pub cities: Vec<OptionGroupView>,
    /// The form is about an administrator.
    pub administrator: bool,
}

/// A role that somebody has, and what the form that takes it sends.
#[derive(Debug, Clone, Default)]
pub struct GrantedView {
    /// As chosen.
    pub username: String,
    /// Home region of the person.
    pub region: String,
    /// Id of the person.
    pub id: String,
    /// `operator` or `administrator`.
    pub role: String,
    /// The city's slug; empty for administrators.
    pub city: String,
    /// As in "Operator of Boston".
    pub text: String,
    /// Since when.
    pub since: TimeView,
    /// It is one's own administration.
    pub own: bool,
}
