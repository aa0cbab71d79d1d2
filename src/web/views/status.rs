//! `/status` as page and as JSON: one struct for both, so that they cannot disagree.
//! No personal data and no host names are in it.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Layout, Section};

/// What an instance knows of itself and of the regions, from its memory.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub here: String,
    pub at: DateTime<Utc>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    pub catalogue_age_seconds: i64,
    pub residency_refusals: BTreeMap<&'static str, u64>,
    pub warnings: Vec<String>,
    pub regions: Vec<RegionStatus>,
}

/// Which versions run here.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    pub build: &'static str,
    pub engine: String,
    pub schema_version: i32,
    pub catalogue_version: i64,
}

impl Status {
    /// When this was said.
    pub fn time(&self) -> String {
        utc(Some(self.at))
    }
}

/// One region as seen from here.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    pub region: String,
    pub name: String,
    pub state: &'static str,
    pub epoch: Option<i64>,
    pub reachable: bool,
    pub round_trip_ms: Option<f64>,
    pub last_good_at: Option<DateTime<Utc>>,
    pub as_of: Option<DateTime<Utc>>,
    pub lag_seconds: Option<i64>,
    pub source: &'static str,
    pub degraded_since: Option<DateTime<Utc>>,
    pub circuit: &'static str,
    pub own_nodes: bool,
}

impl RegionStatus {
    /// In a word, and the CSS class of that word.
    pub fn word(&self) -> (&'static str, &'static str) {
        match (self.reachable, self.circuit, self.state) {
            (false, ..) => ("does not answer", "bad"),
            (true, "suspected", _) => ("suspected", "warn"),
            (true, _, "read_only") => ("read-only", "warn"),
            (true, ..) => ("healthy", "good"),
        }
    }

    /// Since when it does not answer.
    pub fn since(&self) -> String {
        utc(self.degraded_since)
    }

    /// When it last answered.
    pub fn answered(&self) -> String {
        utc(self.last_good_at)
    }

    /// For when its lists would be true.
    pub fn lists(&self) -> String {
        utc(self.as_of)
    }

    /// As in "68 ms".
    pub fn trip(&self) -> String {
        self.round_trip_ms.map_or_else(
            || "not known".to_owned(),
            |ms| if ms < 9.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") },
        )
    }
}

/// A region in the picture.
#[derive(Debug, Clone)]
pub struct Dot {
    pub region: usize,
    pub x: i64,
    pub y: i64,
    pub label: (i64, i64),
}

/// `/status`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/status.html")]
pub struct StatusPage {
    pub layout: Layout,
    pub status: Status,
    pub dots: Vec<Dot>,
    pub from: (i64, i64),
}

/// "10:15:04 UTC", or a dash.
fn utc(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "–".to_owned(), |at| at.format("%H:%M:%S UTC").to_string())
}
