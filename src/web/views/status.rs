//! `/status` as page and as JSON: one struct for both, so that they cannot disagree.
//! No personal data and no host names are in it.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Chrome, Section};

/// What an instance knows of itself and of the regions, from its memory.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The region of this instance.
    pub here: String,
    /// When this was said.
    pub at: DateTime<Utc>,
    /// For administrators: what runs here.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    /// Seconds since that was last known to be the database's.
    pub catalogue_age_seconds: i64,
    /// How often each residency rule refused something here since the start.
    pub residency_refusals: BTreeMap<&'static str, u64>,
    /// What an operator should mend, in words.
    pub warnings: Vec<String>,
    /// The regions, in the order of the catalogue.
    pub regions: Vec<RegionStatus>,
}

/// Which versions run here.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Of the program.
    pub build: &'static str,
    /// The database server, as it names itself.
    pub engine: String,
    /// Of the schema when the instance started.
    pub schema_version: i32,
    /// Of the catalogue in memory.
    pub catalogue_version: i64,
}

impl Status {
    /// When this was said.
    #[must_use]
    pub fn time(&self) -> String {
        utc(Some(self.at))
    }
}

/// One region as seen from here.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// Its code.
    pub region: String,
    /// What people call it.
    pub name: String,
    /// `writable` or `read_only`, as last seen; `unknown` before that.
    pub state: &'static str,
    /// Epoch of its gate, as last seen.
    pub epoch: Option<i64>,
    /// Its rows answer.
    pub reachable: bool,
    /// How long its rows last took to answer from here.
    pub round_trip_ms: Option<f64>,
    /// When they last answered.
    pub last_good_at: Option<DateTime<Utc>>,
    /// The time for which a list of its vehicles asked for now would be true.
    pub as_of: Option<DateTime<Utc>>,
    /// How old that would be.
    pub lag_seconds: Option<i64>,
    /// Where it would come from: `strong`, `replica`, `memory`, `none`.
    pub source: &'static str,
    /// Since when its rows do not answer.
    pub degraded_since: Option<DateTime<Utc>>,
    /// Its circuit breaker: `closed`, `suspected`, `open`, `half-open`.
    pub circuit: &'static str,
    /// Statements for it go to its own nodes.
    pub own_nodes: bool,
}

impl RegionStatus {
    /// In a word, and the CSS class of that word.
    #[must_use]
    pub fn word(&self) -> (&'static str, &'static str) {
        match (self.reachable, self.circuit, self.state) {
            (false, ..) => ("does not answer", "bad"),
            (true, "suspected", _) => ("suspected", "warn"),
            (true, _, "read_only") => ("read-only", "warn"),
            (true, ..) => ("healthy", "good"),
        }
    }

    /// Since when it does not answer.
    #[must_use]
    pub fn since(&self) -> String {
        utc(self.degraded_since)
    }

    /// When it last answered.
    #[must_use]
    pub fn answered(&self) -> String {
        utc(self.last_good_at)
    }

    /// For when its lists would be true.
    #[must_use]
    pub fn lists(&self) -> String {
        utc(self.as_of)
    }

    /// As in "68 ms".
    #[must_use]
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
    /// Its place among the regions.
    pub region: usize,
    /// From the left edge.
    pub x: i64,
    /// From the upper edge.
    pub y: i64,
    /// Where its line's label stands.
    pub label: (i64, i64),
}

/// `/status`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/status.html")]
pub struct StatusPage {
    /// The frame.
    pub chrome: Chrome,
    /// The facts.
    pub status: Status,
    /// The regions in the picture.
    pub dots: Vec<Dot>,
    /// Where the lines begin: the place of this instance.
    pub from: (i64, i64),
}

/// "10:15:04 UTC", or a dash.
fn utc(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "–".to_owned(), |at| at.format("%H:%M:%S UTC").to_string())
}
