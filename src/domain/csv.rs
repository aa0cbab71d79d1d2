//! Vehicles as a CSV file: how a cell is written so that no spreadsheet runs it, which
//! columns there are, and what a line must hold. Pure; `read` cuts a stream of bytes into
//! lines. The surprise: a column that is missing leaves what it would say as it is, so a
//! file of codes and batteries is a good file.

mod read;

use std::{borrow::Cow, fmt::Write};

pub use read::{Reader, Record};

use super::{
    catalogue::{CITY_RADIUS_M, Catalogue, City},
    fleet::NOTE_MAX,
    geo::Point,
    people::line,
};

/// What a spreadsheet takes for a formula when a cell begins with it.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A text so that spreadsheets show it and do not run it: with `'` in front, also of a
/// text that begins with `'`, so that [`meant`] gives back every text as it was.
#[must_use]
pub fn neutral(text: &str) -> Cow<'_, str> {
    if text.starts_with(FORMULA) || text.starts_with('\'') { format!("'{text}").into() } else { text.into() }
}

/// What a cell means: without the `'` that [`neutral`] put there.
#[must_use]
pub fn meant(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| rest.starts_with(FORMULA) || rest.starts_with('\'')).unwrap_or(cell)
}

/// Adds a line of cells to `text`. Quotes what has to be quoted; texts of people come
/// through [`neutral`] first.
pub fn write_line<'a>(text: &mut String, cells: impl IntoIterator<Item = Cow<'a, str>>) {
    for (at, cell) in cells.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = if cell.contains([',', '"', '\n', '\r']) {
            write!(text, "{comma}\"{}\"", cell.replace('"', "\"\""))
        } else {
            write!(text, "{comma}{cell}")
        };
    }
    text.push_str("\r\n");
}

/// The columns of a file of vehicles, in the order in which they are exported.
pub const COLUMNS: [&str; 9] = ["code", "type", "brand", "colour", "battery", "lat", "lon", "place", "note"];

/// A line of an imported file. What is None stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The operator's own code: the key.
    pub code: String,
    /// Code of the type.
    pub kind: Option<String>,
    /// Make.
    pub brand: Option<String>,
    /// Colour, in words.
    pub colour: Option<String>,
    /// Charge, in percent.
    pub battery: Option<i64>,
    /// Where it stands.
    pub at: Option<Point>,
    /// The same in words.
    pub place: Option<String>,
    /// A note for operators; empty takes it away.
    pub note: Option<String>,
}

/// Which cell of a line is which column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// For each of [`COLUMNS`], its place in the file.
    places: [Option<usize>; COLUMNS.len()],
    cells: usize,
}

impl Header {
    /// Reads the first line: columns by name, in any order, in any case. Unknown ones are
    /// refused with their names, since a misspelt one would be ignored in silence.
    pub fn read(cells: &[&str]) -> Result<Self, String> {
        let names: Vec<String> =
            cells.iter().map(|cell| meant(cell.trim_start_matches('\u{feff}')).trim().to_lowercase()).collect();
        if let [only] = names.as_slice()
            && only.contains([';', '\t'])
        {
            return Err("The columns must be separated by commas.".to_owned());
        }
        let unknown: Vec<&str> = names.iter().map(String::as_str).filter(|name| !COLUMNS.contains(name)).collect();
        if !unknown.is_empty() {
            let unknown = unknown.join("”, “");
            return Err(format!("Unknown columns: “{unknown}”. Known ones are: {}.", COLUMNS.join(", ")));
        }
        let mut places = [None; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            let mut at = (0..).zip(&names).filter(|(_, name)| *name == column).map(|(at, _)| at);
            *place = at.next();
            if at.next().is_some() {
                return Err(format!("The column “{column}” is there twice."));
            }
        }
        let header = Self { places, cells: cells.len() };
        match places {
            [None, ..] => Err("The column “code” is missing; it says which vehicle a line is about.".to_owned()),
            [.., Some(_), None, _, _] | [.., None, Some(_), _, _] => {
                Err("The columns “lat” and “lon” only go together.".to_owned())
            }
            _ => Ok(header),
        }
    }

    /// The cells of a line by column, without what [`neutral`] added. None where the column
    /// is missing.
    fn sorted<'a>(&self, cells: &[&'a str]) -> [Option<&'a str>; COLUMNS.len()] {
        self.places.map(|place| Some(meant(cells.get(place?)?).trim()))
    }

    /// The vehicle that a line describes, or everything that is wrong with it.
    pub fn line(&self, cells: &[&str], city: &City, catalogue: &Catalogue) -> Result<Line, String> {
        if cells.len() != self.cells {
            return Err(format!("There are {} cells where the header has {}.", cells.len(), self.cells));
        }
        let [code, kind, brand, colour, battery, lat, lon, place, note] = self.sorted(cells);
        let mut wrong = Vec::new();
        let mut text = |column: &str, cell: Option<&str>, max| match cell.map(|cell| line(cell, max, "a value")) {
            Some(Err(_)) if cell == Some("") => {
                wrong.push(format!("{column}: is empty"));
                None
            }
            Some(Err(why)) => {
                wrong.push(format!("{column}: {}", why.trim_end_matches('.')));
                None
            }
            good => good.and_then(Result::ok),
        };
        let code = text("code", code, 60);
        let brand = text("brand", brand, 60);
        let colour = text("colour", colour, 40);
        let place = text("place", place.filter(|place| !place.is_empty()), 120);
        let note = match note {
            Some("") => Some(String::new()),
            note => text("note", note, NOTE_MAX),
        };
        let kind = kind.map(|kind| catalogue.vehicle_type(kind).map(|kind| kind.slug.clone()).ok_or(kind));
        if let Some(Err(unknown)) = kind {
            let shown: String = unknown.chars().take(40).collect();
            wrong.push(format!("type: there is no type “{shown}”"));
        }
        let battery = battery.filter(|cell| !cell.is_empty()).map(str::parse::<i64>);
        if battery.as_ref().is_some_and(|battery| !matches!(battery, Ok(0..=100))) {
            wrong.push("battery: must be a whole number from 0 to 100".to_owned());
        }
        let at = point(lat.unwrap_or_default(), lon.unwrap_or_default(), city).unwrap_or_else(|why| {
            wrong.push(why);
            None
        });
        let kind = kind.and_then(Result::ok);
        let battery = battery.and_then(Result::ok);
        match (code, wrong.is_empty()) {
            (Some(code), true) => Ok(Line { code, kind, brand, colour, battery, at, place, note }),
            _ => Err(wrong.join("; ")),
        }
    }

    /// The code of a line, as far as there is one, to name a line that is refused.
    #[must_use]
    pub fn code<'a>(&self, cells: &[&'a str]) -> &'a str {
        let [code, ..] = self.sorted(cells);
        code.unwrap_or_default()
    }
}

/// Where a vehicle stands; both cells empty leave it where it is.
fn point(lat: &str, lon: &str, city: &City) -> Result<Option<Point>, String> {
    if lat.is_empty() && lon.is_empty() {
        return Ok(None);
    }
    let at = lat.parse().ok().zip(lon.parse().ok()).and_then(|(lat, lon)| Point::new(lat, lon).ok());
    let at = at.ok_or("lat, lon: latitude goes from -90 to 90, longitude from -180 to 180")?;
    if !city.allows(at) {
        return Err(format!("lat, lon: more than {} km from the centre of {}", CITY_RADIUS_M / 1000.0, city.name));
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests;
