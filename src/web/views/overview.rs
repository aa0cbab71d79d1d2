//! The overview of all regions, and charts: bars as inline SVG, with their numbers as a
//! table beneath. Plain structs only.
//! Surprise: amounts of different currencies stand side by side and are never added up.

use askama::Template;

use super::{Chrome, FieldView, Section, TimeView};

/// `/fleet/overview`.
#[derive(Debug, Clone, Template)]
#[template(path = "pages/overview.html")]
pub struct OverviewPage {
    /// The frame.
    pub chrome: Chrome,
    /// The time that was asked for.
    pub as_of: FieldView,
    /// It is a time of the past.
    pub past: bool,
    /// The address that shows the same figures again.
    pub again: String,
    /// Vehicles of the past are not known on this engine.
    pub no_vehicles: bool,
    /// The regions, in the order of the catalogue.
    pub regions: Vec<RegionFiguresView>,
}

/// A region and, when they are known, its figures.
#[derive(Debug, Clone, Default)]
pub struct RegionFiguresView {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Where the figures come from: `strong`, `replica`, `memory` or `none`.
    pub source: &'static str,
    /// When they were true.
    pub as_of: TimeView,
    /// As in "0 s ago".
    pub lag: String,
    /// Why there are none, or only old ones.
    pub note: Option<String>,
    /// The figures.
    pub figures: Option<FiguresView>,
}

/// The figures of a region.
#[derive(Debug, Clone, Default)]
pub struct FiguresView {
    /// Words and numbers about the whole region.
    pub facts: Vec<(&'static str, String)>,
    /// The cities.
    pub cities: Vec<CityFiguresView>,
    /// What the sums of the cities say, and whether they are the region's.
    pub check: (String, bool),
    /// Rides, and revenue by currency, day by day.
    pub charts: Vec<ChartView>,
}

/// The figures of a city, as its row shows them.
#[derive(Debug, Clone, Default)]
pub struct CityFiguresView {
    /// Its name.
    pub name: String,
    /// Vehicles by status, idle ones; none when they are not known.
    pub vehicles: Option<[i64; 5]>,
    /// Rides under way.
    pub running: i64,
    /// Of the vehicles that could be ridden, how many are.
    pub utilisation: String,
    /// Rides today, in 7 and in 30 days.
    pub rides: [i64; 3],
    /// What they earned: one line a currency.
    pub revenue: [Vec<String>; 3],
}

/// Bars of the same width, one a day.
#[derive(Debug, Clone, Default)]
pub struct ChartView {
    /// What it shows.
    pub title: String,
    /// What the numbers are.
    pub unit: String,
    /// The highest number, as the axis says it.
    pub highest: String,
    /// The bars, oldest first.
    pub bars: Vec<BarView>,
}

/// One bar.
#[derive(Debug, Clone, Default)]
pub struct BarView {
    /// Left edge, top and height in the chart's units.
    pub x: usize,
    /// Its top.
    pub y: i64,
    /// Its height.
    pub height: i64,
    /// The day, as in "21 Nov".
    pub label: String,
    /// The number, for people.
    pub value: String,
}

impl ChartView {
    /// Units from one bar to the next.
    const STEP: usize = 20;
    /// Units of the highest bar.
    const HEIGHT: i64 = 100;

    /// A chart of `days`; `format` writes a number for people.
    #[must_use]
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
    #[must_use]
    pub fn width(&self) -> usize {
        self.bars.len() * Self::STEP
    }
}
