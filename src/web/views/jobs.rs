//! Pages of jobs: the list with the form that asks for one, and one job. Plain structs
//! only. Surprise: times are in the zone of the job's city.

use askama::Template;

use super::{Chrome, FieldView, OptionView, PaginationView, Section, TimeView};

/// `/fleet/jobs`: the jobs of a city, and a form that asks for one by filter.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/jobs.html")]
pub struct JobsPage {
    /// The frame.
    pub chrome: Chrome,
    /// Name of the city.
    pub city: String,
    /// The jobs, newest first.
    pub jobs: Vec<JobRow>,
    /// Where the list goes on.
    pub pagination: PaginationView,
    /// The form.
    pub form: NewJobView,
}

/// A job in the list.
#[derive(Debug, Clone, Default)]
pub struct JobRow {
    /// Its page.
    pub href: String,
    /// What it does.
    pub title: String,
    /// When it was asked for.
    pub asked: TimeView,
    /// As in "Waits to be confirmed".
    pub state: String,
    /// CSS class of the state.
    pub class: &'static str,
}

/// The form that asks for a job.
#[derive(Debug, Clone, Default)]
pub struct NewJobView {
    /// Id of the job that the form makes.
    pub id: String,
    /// Slug of the city.
    pub city: String,
    /// When the page was drawn.
    pub drawn: String,
    /// What it may do.
    pub kinds: Vec<OptionView>,
    /// Cities to which vehicles may go.
    pub targets: Vec<OptionView>,
    /// Statuses that vehicles may have.
    pub statuses: Vec<OptionView>,
    /// Types that vehicles may have.
    pub types: Vec<OptionView>,
    /// Battery below, in percent.
    pub battery: FieldView,
    /// Idle longer than, in hours.
    pub idle: FieldView,
    /// What the code begins with.
    pub prefix: FieldView,
    /// The note of maintenance.
    pub note: FieldView,
}

/// `/fleet/jobs/{region}/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/job.html")]
pub struct JobPage {
    /// The frame.
    pub chrome: Chrome,
    /// What it does, and in which city.
    pub title: String,
    /// As in "Running".
    pub state: String,
    /// CSS class of the state.
    pub class: &'static str,
    /// This page; the forms go below it.
    pub href: String,
    /// The jobs of the city.
    pub back: String,
    /// The page looks again by itself after so many seconds.
    pub refresh: Option<u32>,
    /// Why it does not go on, or what else is worth knowing.
    pub notes: Vec<NoteView>,
    /// When it was asked for.
    pub asked: TimeView,
    /// When it was over.
    pub over: Option<TimeView>,
    /// How far it is.
    pub counts: CountsView,
    /// What happens on confirmation; none when there is nothing to confirm.
    pub confirm: Option<String>,
    /// It can be cancelled.
    pub cancellable: bool,
    /// What the comparison at the end of a transfer gave.
    pub compared: Option<ComparedView>,
    /// Heading of the items: not all of them may be shown.
    pub heading: &'static str,
    /// The first items, refused ones first.
    pub items: Vec<ItemView>,
}

/// How many items there are, of each state and in all.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountsView {
    /// To be done.
    pub waiting: i64,
    /// Done.
    pub done: i64,
    /// Refused.
    pub refused: i64,
    /// Cancelled.
    pub cancelled: i64,
    /// All.
    pub all: i64,
    /// Those that do not wait any more.
    pub over: i64,
}

/// A sentence above a job.
#[derive(Debug, Clone, Default)]
pub struct NoteView {
    /// CSS class: info, warn, error.
    pub class: &'static str,
    /// The sentence.
    pub text: String,
}

/// What left and what arrived.
#[derive(Debug, Clone, Default)]
pub struct ComparedView {
    /// Vehicles that left, and their checksum.
    pub sent: (i64, String),
    /// Vehicles that arrived, and theirs.
    pub received: (i64, String),
    /// They are the same.
    pub same: bool,
    /// Ids of vehicles that left and did not arrive, at most 20.
    pub missing: Vec<String>,
}

/// An item of a job.
#[derive(Debug, Clone, Default)]
pub struct ItemView {
    /// Its number.
    pub position: i64,
    /// The operator's code, or the beginning of the id.
    pub name: String,
    /// Make and type.
    pub what: String,
    /// As in "Waiting".
    pub state: String,
    /// CSS class of the state.
    pub class: &'static str,
    /// Why it was refused.
    pub reason: String,
}
