//! The administrators' page of regions: their gates, and a form each that changes it.
//! Plain structs only. Surprise: all times are in UTC, because the page is about all regions.

use askama::Template;

use super::{FieldView, Layout, Section, TimeView};

/// `/admin/regions`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/region_states.html")]
pub struct RegionStatesPage {
    pub layout: Layout,
    pub regions: Vec<RegionStateView>,
    pub refresh: Option<i64>,
}

/// One region.
#[derive(Debug, Clone, Default)]
pub struct RegionStateView {
    /// As in "us-east1".
    pub code: String,
    /// As in "US East".
    pub name: String,
    pub gate: Option<GateView>,
}

/// The gate of a region, and the form that changes it.
#[derive(Debug, Clone, Default)]
pub struct GateView {
    pub action: String,
    pub writable: bool,
    pub epoch: i64,
    pub since: TimeView,
    pub fenced_at: TimeView,
    pub fenced: bool,
    pub opens: Option<TimeView>,
    pub reason: FieldView,
    pub until: FieldView,
}
