//! The administrators' page of regions: their gates, and a form each that changes it.
//! Plain structs only. Surprise: all times are in UTC, because the page is about all regions.

use askama::Template;

use super::{Chrome, FieldView, Section, TimeView};

/// `/admin/regions`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/region_states.html")]
pub struct RegionStatesPage {
    /// The frame.
    pub chrome: Chrome,
    /// The regions, in the order of the catalogue.
    pub regions: Vec<RegionStateView>,
    /// Seconds after which the page looks again: when the next region is fenced.
    pub refresh: Option<i64>,
}

/// One region.
#[derive(Debug, Clone, Default)]
pub struct RegionStateView {
    /// As in "us-east1".
    pub code: String,
    /// As in "US East".
    pub name: String,
    /// Its gate; none when the region does not answer.
    pub gate: Option<GateView>,
}

/// The gate of a region, and the form that changes it.
#[derive(Debug, Clone, Default)]
pub struct GateView {
    /// Where the form is posted to.
    pub action: String,
    /// It takes writes.
    pub writable: bool,
    /// The epoch, which the form carries.
    pub epoch: i64,
    /// Since when it is like this.
    pub since: TimeView,
    /// When a closed region is fenced, or was.
    pub fenced_at: TimeView,
    /// It is closed, and fenced.
    pub fenced: bool,
    /// When it is expected to open.
    pub opens: Option<TimeView>,
    /// Why it is closed: as stored, or as typed.
    pub reason: FieldView,
    /// The expected end as the field of the form has it.
    pub until: FieldView,
}
