//! Pages that change the catalogue: tariffs of a city, promo codes, cities; and roles.
//! Plain structs only.
//! Surprise: forms carry what they showed of an entry, so that a change in between is refused.

use askama::Template;

use super::{FieldView, Layout, OptionGroupView, OptionView, PaginationView, Section, TimeView};

/// The prices of a vehicle type in a new city.
#[derive(Debug, Clone, Default)]
pub struct KindTariffsView {
    pub slug: String,
    pub name: String,
    pub unlock: FieldView,
    pub minute: FieldView,
    pub fee: FieldView,
    pub most: FieldView,
}

/// `/admin/promo-codes`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/promo_codes.html")]
pub struct PromoCodesPage {
    pub layout: Layout,
    pub codes: Vec<PromoCodeView>,
    pub pagination: PaginationView,
    pub notes: Vec<String>,
    pub form: AddPromoView,
}

/// A promo code and the form that changes it.
#[derive(Debug, Clone, Default)]
pub struct PromoCodeView {
    pub code: String,
    pub action: String,
    /// As in "20 % off".
    pub discount: String,
    pub cities: String,
    pub word: (&'static str, &'static str),
    pub from: TimeView,
    pub ends: TimeView,
    pub ended: bool,
    /// What the form has seen, as JSON.
    pub seen: String,
    pub total: i64,
    pub until: FieldView,
    pub per_rider: FieldView,
    pub quotas: Vec<QuotaView>,
}

impl PromoCodeView {
    /// Whether the form came back with mistakes, and so stands open.
    pub fn has_errors(&self) -> bool {
        let fields = [&self.until, &self.per_rider].into_iter().chain(self.quotas.iter().map(|quota| &quota.field));
        fields.into_iter().any(|field| field.error.is_some())
    }
}

/// A region's part of a code's total.
#[derive(Debug, Clone, Default)]
pub struct QuotaView {
    pub region: String,
    pub name: String,
    /// As in "3 of 50 used".
    pub used: String,
    pub field: FieldView,
}

/// The form that adds a promo code.
#[derive(Debug, Clone, Default)]
pub struct AddPromoView {
    pub code: FieldView,
    pub kinds: Vec<OptionView>,
    pub value: FieldView,
    pub cities: FieldView,
    pub from: FieldView,
    pub until: FieldView,
    pub per_rider: FieldView,
    pub quotas: Vec<QuotaView>,
    pub open: bool,
}

/// `/admin/cities`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/cities.html")]
pub struct CitiesPage {
    pub layout: Layout,
    pub cities: Vec<CityRowView>,
    pub form: AddCityView,
}

/// A city in the list.
#[derive(Debug, Clone, Default)]
pub struct CityRowView {
    pub name: String,
    pub slug: String,
    pub region: String,
    pub zone: String,
    pub currency: String,
    pub tariffs: String,
}

/// The form that adds a city.
#[derive(Debug, Clone, Default)]
pub struct AddCityView {
    pub name: FieldView,
    pub slug: FieldView,
    pub regions: Vec<OptionView>,
    pub lat: FieldView,
    pub lon: FieldView,
    pub zone: FieldView,
    pub currencies: Vec<OptionView>,
    pub radius: FieldView,
    pub area: FieldView,
    pub kinds: Vec<KindTariffsView>,
    pub open: bool,
}

/// `/admin/roles`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/roles.html")]
pub struct RolesPage {
    pub layout: Layout,
    pub granted: Vec<GrantedView>,
    pub notes: Vec<String>,
    pub pagination: PaginationView,
    pub username: FieldView,
    pub cities: Vec<OptionGroupView>,
    pub administrator: bool,
}

/// A role that somebody has, and what the form that takes it sends.
#[derive(Debug, Clone, Default)]
pub struct GrantedView {
    pub username: String,
    pub region: String,
    pub id: String,
    pub role: String,
    pub city: String,
    /// As in "Operator of Boston".
    pub text: String,
    pub since: TimeView,
    pub own: bool,
}
