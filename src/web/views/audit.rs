//! The audit. Plain structs only. Surprise: all times are in UTC, because the page is
//! about what happened in a region, not in a city.

use askama::Template;

use super::{Chrome, OptionView, Section, TimeView};

/// `/fleet/audit`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/audit.html")]
pub struct AuditPage {
    pub chrome: Chrome,
    pub filter: AuditFilterView,
    pub error: Option<String>,
    /// The person sees only vehicles and jobs of these cities.
    pub cities: Option<String>,
    pub events: Vec<EventView>,
    /// Where all that fit can be downloaded.
    pub export: String,
    pub newest: Option<String>,
    /// Until when was looked for what fits, where there is more to look at.
    pub searched_to: Option<TimeView>,
    pub older: Option<String>,
}

/// The form above the events.
#[derive(Debug, Clone, Default)]
pub struct AuditFilterView {
    pub regions: Vec<OptionView>,
    pub kinds: Vec<OptionView>,
    /// Id of a person, or `me`.
    pub actor: String,
    pub action: String,
    pub id: String,
    pub from: String,
    pub to: String,
}

#[derive(Debug, Clone, Default)]
pub struct EventView {
    /// When.
    pub at: TimeView,
    /// As in `ride.started`.
    pub action: String,
    /// Kind of the thing.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its version after that.
    pub version: i64,
    /// All events of it.
    pub of_it: String,
    /// Id of the person; empty for commands.
    pub actor: String,
    /// All events of that person here.
    pub by_them: String,
    /// What was done together.
    pub correlation: String,
    /// Details as JSON; empty when there are none.
    pub metadata: String,
}
