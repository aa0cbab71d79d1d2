//! The overview of all regions, and charts: bars as inline SVG, with their numbers as a
//! table beneath. Plain structs only.
//! Surprise: amounts of different currencies stand side by side and are never added up.

use askama::Template;

use super::{FieldView, Layout, Section, TimeView};

/// `/fleet/overview`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/overview.html")]
pub struct OverviewPage {
    pub layout: Layout,
    pub as_of: FieldView,
    pub past: bool,
    pub again: String,
    pub no_vehicles: bool,
    pub regions: Vec<RegionFiguresView>,
}

/// A region and, when they are known, its figures.
#[derive(Debug, Clone, Default)]
pub struct RegionFiguresView {
    pub code: String,
    pub name: String,
    pub source: &'static str,
    pub as_of: TimeView,
    /// As in "0 s ago".
    pub lag: String,
    pub note: Option<String>,
    pub figures: Option<FiguresView>,
}

/// The figures of a region.
#[derive(Debug, Clone, Default)]
pub struct FiguresView {
    pub facts: Vec<(&'static str, String)>,
    pub cities: Vec<CityFiguresView>,
    pub check: (String, bool),
    pub charts: Vec<ChartView>,
}

/// The figures of a city, as its row shows them.
#[derive(Debug, Clone, Default)]
pub struct CityFiguresView {
    pub name: String,
    pub vehicles: Option<[i64; 5]>,
    pub running: i64,
    pub utilisation: String,
    pub rides: [i64; 3],
    pub revenue: [Vec<String>; 3],
}

/// Bars of the same width, one a day.
#[derive(Debug, Clone, Default)]
pub struct ChartView {
    pub title: String,
    pub unit: String,
    pub highest: String,
    pub bars: Vec<BarView>,
}

/// One bar.
#[derive(Debug, Clone, Default)]
pub struct BarView {
    pub x: usize,
    pub y: i64,
    pub height: i64,
    /// The day, as in "21 Nov".
    pub label: String,
    pub value: String,
}

impl ChartView {
    /// Units from one bar to the next.
    const STEP: usize = 20;
    /// Units of the highest bar.
    const HEIGHT: i64 = 100;

    /// A chart of `days`; `format` writes a number for people.
    pub fn new(title: String, unit: &str, days: &[(String, i64)], format: impl Fn(i64) -> String) -> Self {
        let highest = days.iter().map(|(_, number)| *number).max().unwrap_or(0).max(1);
        let bar = |(n, (label, number)): (usize, &(String, i64))| {
            // What is not nothing is seen.
            let height = (number * Self::HEIGHT / highest).max(i64::from(*number > 0));
            let (label, value) = (label.clone(), format(*number));
            BarView { x: n * Self::STEP, y: Self::HEIGHT - height, height, label, value }
        };
        let bars = days.iter().enumerate().map(bar).collect();
        Self { title, unit: unit.to_owned(), highest: format(highest), bars }
    }

    /// Its width in units.
    pub fn width(&self) -> usize {
        self.bars.len() * Self::STEP
    }
}
