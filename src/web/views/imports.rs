//! The page of files: what to import, what to take away. Plain structs only.

use askama::Template;

use super::{Chrome, OptionView, Section};

/// `/fleet/import`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/import.html")]
pub struct ImportPage {
    /// The frame.
    pub chrome: Chrome,
    /// Name of the city.
    pub city: String,
    /// Where the file is posted to.
    pub action: String,
    /// What is wrong with the file as a whole.
    pub error: Option<String>,
    /// The cities that the person operates.
    pub cities: Vec<OptionView>,
    /// The types that there are, as a file writes them.
    pub kinds: String,
    /// Where its vehicles can be taken away.
    pub vehicles: String,
    /// The same of its riders.
    pub riders: String,
    /// The residency rule that does not allow the second one here.
    pub riders_forbidden: Option<&'static str>,
}
