//! The audit. Plain structs only. Surprise: all times are in UTC, because the page is
//! about what happened in a region, not in a city.

use askama::Template;

use super::{Chrome, OptionView, Section, TimeView};

/// `/fleet/audit`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/audit.html")]
pub struct AuditPage {
    /// The frame.
    pub chrome: Chrome,
    /// The filter as it was asked for.
    pub filter: AuditFilterView,
    /// What is wrong with it.
    pub error: Option<String>,
    /// The person sees only vehicles and jobs of these cities.
    pub cities: Option<String>,
    /// The events, newest first.
    pub events: Vec<EventView>,
    /// Where all that fit can be downloaded.
    pub export: String,
    /// The first page, on others.
    pub newest: Option<String>,
    /// The next page.
    pub older: Option<String>,
}

/// The form above the events.
#[derive(Debug, Clone, Default)]
pub struct AuditFilterView {
    /// Regions.
    pub regions: Vec<OptionView>,
    /// Kinds of things.
    pub kinds: Vec<OptionView>,
    /// Id of a person, or `me`.
    pub actor: String,
    /// How the action begins.
    pub action: String,
    /// Id of a thing.
    pub id: String,
    /// First time, as the field has it.
    pub from: String,
    /// Last time.
    pub to: String,
}

/// One event.
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
