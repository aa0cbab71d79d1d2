//! The audit. Plain structs only. Surprise: all times are in UTC, because the page is
//! about what happened in a region, not in a city.

use askama::Template;

use super::{Layout, OptionView, Section, TimeView};

/// `/fleet/audit`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/audit.html")]
pub struct AuditPage {
    pub layout: Layout,
    pub filter: AuditFilterView,
    pub error: Option<String>,
    pub cities: Option<String>,
    pub events: Vec<EventView>,
    pub export: String,
    pub newest: Option<String>,
    pub searched_to: Option<TimeView>,
    pub older: Option<String>,
}

/// The form above the events.
#[derive(Debug, Clone, Default)]
pub struct AuditFilterView {
    pub regions: Vec<OptionView>,
    pub kinds: Vec<OptionView>,
    pub actor: String,
    pub action: String,
    pub id: String,
    pub from: String,
    pub to: String,
}

#[derive(Debug, Clone, Default)]
pub struct EventView {
    pub at: TimeView,
    /// As in `ride.started`.
    pub action: String,
    pub kind: String,
    pub id: String,
    pub version: i64,
    pub of_it: String,
    pub actor: String,
    pub by_them: String,
    pub correlation: String,
    /// Details as JSON; empty when there are none.
    pub metadata: String,
}
