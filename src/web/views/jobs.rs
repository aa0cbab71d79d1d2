//! Pages of jobs: the list with the form that asks for one, and one job. Plain structs
//! only. Surprise: times are in the zone of the job's city.

use askama::Template;

use super::{FieldView, Layout, OptionView, PaginationView, Section, TimeView};

/// `/fleet/jobs`: the jobs of a city, and a form that asks for one by filter.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/jobs.html")]
pub struct JobsPage {
    pub layout: Layout,
    pub city: String,
    pub jobs: Vec<JobRow>,
    pub pagination: PaginationView,
    pub form: NewJobView,
}

/// A job in the list.
#[derive(Debug, Clone, Default)]
pub struct JobRow {
    pub href: String,
    pub title: String,
    pub asked: TimeView,
    /// As in "Waits to be confirmed".
    pub state: String,
    pub class: &'static str,
}

/// The form that asks for a job.
#[derive(Debug, Clone, Default)]
pub struct NewJobView {
    pub id: String,
    pub city: String,
    pub drawn: String,
    pub kinds: Vec<OptionView>,
    pub targets: Vec<OptionView>,
    pub statuses: Vec<OptionView>,
    pub types: Vec<OptionView>,
    pub battery: FieldView,
    pub idle: FieldView,
    pub prefix: FieldView,
    pub note: FieldView,
}

/// `/fleet/jobs/{region}/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/job.html")]
pub struct JobPage {
    pub layout: Layout,
    pub title: String,
    /// As in "Running".
    pub state: String,
    pub class: &'static str,
    pub href: String,
    pub back: String,
    pub refresh: Option<u32>,
    pub notes: Vec<NoteView>,
    pub asked: TimeView,
    pub over: Option<TimeView>,
    pub counts: CountsView,
    pub confirm: Option<String>,
    pub cancellable: bool,
    pub compared: Option<ComparedView>,
    pub heading: &'static str,
    pub items: Vec<ItemView>,
}

/// How many items there are, of each state and in all.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountsView {
    pub waiting: i64,
    pub done: i64,
    pub refused: i64,
    pub cancelled: i64,
    pub all: i64,
    pub over: i64,
}

/// A sentence above a job.
#[derive(Debug, Clone, Default)]
pub struct NoteView {
    pub class: &'static str,
    pub text: String,
}

/// What left and what arrived.
#[derive(Debug, Clone, Default)]
pub struct ComparedView {
    pub sent: (i64, String),
    pub received: (i64, String),
    pub same: bool,
    pub missing: Vec<String>,
}

/// An item of a job.
#[derive(Debug, Clone, Default)]
pub struct ItemView {
    pub position: i64,
    pub name: String,
    pub what: String,
    /// As in "Waiting".
    pub state: String,
    pub class: &'static str,
    pub reason: String,
}
