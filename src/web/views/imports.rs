//! The page of files: what to import, what to take away. Plain structs only.

use askama::Template;

use super::{Layout, OptionView, Section};

/// `/fleet/import`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/import.html")]
pub struct ImportPage {
    pub layout: Layout,
    pub city: String,
    pub action: String,
    pub error: Option<String>,
    pub cities: Vec<OptionView>,
    pub kinds: String,
    pub vehicles: String,
    pub riders: String,
    pub riders_forbidden: Option<&'static str>,
}
