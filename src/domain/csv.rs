//! Vehicles as a CSV file: cells that no spreadsheet runs as formulas, the columns, and what a row
//! must hold. A missing column leaves its values unchanged, so a file of codes and batteries is
//! valid. `read` cuts bytes into rows.

mod read;

use std::{borrow::Cow, collections::HashMap, fmt::Write};

pub use read::{Reader, Record};
use uuid::Uuid;

use super::{
    catalogue::{CITY_RADIUS_KM, Catalogue, City},
    fleet::NOTE_MAX,
    geo::Point,
    people::line,
};

/// Whether spreadsheets take text that begins with `c` for a formula.
fn formula(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\0' | '＝' | '＋' | '－' | '＠')
}

/// Whether a cell may begin after `c`, given whether one may begin at `c`: a spreadsheet with
/// another separator, or one that ignores quotes, divides a cell there.
fn begins(begun: bool, c: char) -> bool {
    matches!(c, ',' | ';' | '|' | '\t' | '\r' | '\n') || (begun && matches!(c, '"' | ' '))
}

/// Makes spreadsheets show the text and not run it, whatever their separator: puts `'` before each
/// possible formula at the beginning of a cell. An existing `'` there gets one too, so that
/// [`unescape_formula`] restores every text.
pub fn escape_formula(text: &str) -> Cow<'_, str> {
    let mut escaped = String::new();
    let (mut chars, mut begun) = (text.chars().peekable(), true);
    while let Some(c) = chars.next() {
        let quoted = c == '\'' && chars.peek().is_some_and(|next| formula(*next) || *next == '\'');
        if begun && (formula(c) || quoted) {
            escaped.push('\'');
        }
        escaped.push(c);
        begun = begins(begun, c);
    }
    if escaped.len() == text.len() { text.into() } else { escaped.into() }
}

/// Removes each `'` that [`escape_formula`] added.
pub fn unescape_formula(cell: &str) -> Cow<'_, str> {
    let mut text = String::new();
    let (mut chars, mut begun) = (cell.chars().peekable(), true);
    while let Some(c) = chars.next() {
        let escaped = |next: &char| begun && c == '\'' && (formula(*next) || *next == '\'');
        let c = chars.next_if(escaped).unwrap_or(c);
        text.push(c);
        begun = begins(begun, c);
    }
    if text.len() == cell.len() { cell.into() } else { text.into() }
}

/// The byte order mark by which spreadsheets recognise UTF-8, and the columns.
pub fn head(columns: &[&'static str]) -> String {
    let mut text = "\u{feff}".to_owned();
    write_line(&mut text, columns.iter().map(|column| Cow::Borrowed(*column)));
    text
}

/// Adds a line of cells to `text`, quoted where needed; people's texts must have gone through
/// [`escape_formula`].
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

/// The columns of a file of vehicles, in the order of an export. The id is last, so a row that was
/// cut off has an invalid one.
pub const COLUMNS: [&str; 10] = ["code", "type", "brand", "colour", "battery", "lat", "lon", "place", "note", "id"];

fn column(name: &str) -> Option<&'static str> {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Some(match plain.as_str() {
        "code" | "vehiclecode" => "code",
        "type" | "vehicletype" | "kind" => "type",
        "brand" | "make" | "manufacturer" => "brand",
        "colour" | "color" => "colour",
        "battery" | "batterylevel" | "batterypercent" | "batterypercentage" | "charge" => "battery",
        "lat" | "latitude" => "lat",
        "lon" | "lng" | "long" | "longitude" => "lon",
        "place" | "location" | "address" | "street" => "place",
        "note" | "notes" | "comment" | "comments" | "remark" | "remarks" => "note",
        "id" | "vehicleid" | "uuid" => "id",
        _ => return None,
    })
}

#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Without it the vehicle is found by the code.
    pub id: Option<Uuid>,
    /// The operator's own code; empty for a vehicle without one.
    pub code: Option<String>,
    pub vehicle_type: Option<String>,
    pub brand: Option<String>,
    pub colour: Option<String>,
    /// In percent.
    pub battery: Option<i64>,
    pub at: Option<Point>,
    /// The position in words.
    pub place: Option<String>,
    pub note: Option<String>,
    pub decimals: Decimals,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decimals {
    pub commas: bool,
    pub points: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    places: HashMap<&'static str, usize>,
    cells: usize,
}

impl Header {
    /// Reads the first row: columns by name, in any order and case. Unknown ones are refused by
    /// name, since a misspelt one would be ignored silently.
    pub fn read(cells: &[impl AsRef<str>]) -> Result<Self, String> {
        let (mut places, mut unknown, mut twice) = (HashMap::new(), Vec::new(), None);
        let cells = trimmed(cells);
        for (place, cell) in cells.iter().enumerate() {
            let name = unescape_formula(cell.as_ref().trim());
            match column(&name) {
                None => unknown.push(name.to_lowercase()),
                Some(column) => twice = places.insert(column, place).map(|_first| column).or(twice),
            }
        }
        let has = |column| places.contains_key(column);
        if !unknown.is_empty() {
            let unknown = unknown.join("”, “");
            return Err(format!("Unknown columns: “{unknown}”. Known ones are: {}.", COLUMNS.join(", ")));
        }
        if let Some(column) = twice {
            return Err(format!("The column “{column}” is there twice."));
        }
        if !has("code") && !has("id") {
            return Err("The column “code” is missing; it says which vehicle a line is about.".to_owned());
        }
        if has("lat") != has("lon") {
            return Err("The columns “lat” and “lon” only go together.".to_owned());
        }
        Ok(Self { places, cells: cells.len() })
    }

    /// A cell of a row, unescaped. None where there is no such column.
    fn cell<'a>(&self, cells: &'a [impl AsRef<str>], column: &str) -> Option<Cow<'a, str>> {
        Some(unescape_formula(cells.get(*self.places.get(column)?)?.as_ref()))
    }

    /// The values of one row, checked against city and catalogue, or all that is wrong with it in words.
    pub fn line(&self, cells: &[impl AsRef<str>], city: &City, catalogue: &Catalogue) -> Result<Line, String> {
        let filled = trimmed(cells).len();
        if cells.len() < self.cells || filled > self.cells {
            let found = filled.max(self.cells.min(cells.len()));
            return Err(format!("There are {found} cells where the header has {}.", self.cells));
        }
        let cell = |column| self.cell(cells, column).map(|cell| cell.trim().to_owned());
        let filled = |column| cell(column).filter(|cell| !cell.is_empty());
        let mut wrong = Vec::new();
        let mut text = |column: &str, cell: Option<String>, max| {
            let cell = cell?;
            line(&cell, max, "a value")
                .map_err(|why| {
                    let why = if cell.is_empty() { "is empty" } else { why.trim_end_matches('.') };
                    wrong.push(format!("{column}: {why}"));
                })
                .ok()
        };
        let id = filled("id").map(|id| id.parse::<Uuid>());
        // Where the id tells which vehicle it is, it needs no code.
        let code = match filled("code") {
            None if id.is_some() => cell("code"),
            code => text("code", code.or_else(|| Some(String::new())), 60),
        };
        let brand = text("brand", cell("brand"), 60);
        let colour = text("colour", cell("colour"), 40);
        let place = text("place", filled("place"), 120);
        let note = match cell("note") {
            Some(note) if note.is_empty() => Some(note),
            note => text("note", note, NOTE_MAX),
        };
        let vehicle_type = cell("type").and_then(|name| {
            let is = |known: &str| known.to_lowercase() == name.to_lowercase();
            let known = catalogue.vehicle_types.iter().find(|known| is(&known.slug) || is(&known.name));
            if known.is_none() {
                wrong.push(format!("type: there is no type “{}”", name.chars().take(40).collect::<String>()));
            }
            Some(known?.slug.clone())
        });
        let battery = filled("battery").map(|cell| percent(&cell));
        if battery == Some(None) {
            wrong.push("battery: must be a whole number from 0 to 100".to_owned());
        }
        let [lat, lon] = ["lat", "lon"].map(|column| cell(column).unwrap_or_default());
        let at = point(&lat, &lon, city).unwrap_or_else(|why| {
            wrong.push(why);
            None
        });
        if let Some(Err(_)) = id {
            wrong.push("id: is none; leave it empty for a new vehicle".to_owned());
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let numbers = ["battery", "lat", "lon"].map(|column| cell(column).unwrap_or_default()).concat();
        let decimals = Decimals { commas: numbers.contains(','), points: numbers.contains('.') };
        let (id, battery) = (id.and_then(Result::ok), battery.flatten());
        Ok(Line { id, code, vehicle_type, brand, colour, battery, at, place, note, decimals })
    }

    pub fn code<'a>(&self, cells: &'a [impl AsRef<str>]) -> Cow<'a, str> {
        self.cell(cells, "code").unwrap_or_default()
    }
}

fn trimmed<S: AsRef<str>>(cells: &[S]) -> &[S] {
    let last = cells.iter().rposition(|cell| !cell.as_ref().trim().is_empty());
    cells.get(..last.map_or(0, |last| last + 1)).unwrap_or_default()
}

/// With a decimal point or comma.
fn number(cell: &str) -> Option<f64> {
    if cell.contains('.') { cell.parse().ok() } else { cell.replacen(',', ".", 1).parse().ok() }
}

/// As in `88`, `88 %` and `88,0`.
fn percent(cell: &str) -> Option<i64> {
    let number = number(cell.strip_suffix('%').unwrap_or(cell).trim_end())?;
    (0..=100).find(|percent| (f64::from(*percent) - number).abs() < 1e-9).map(i64::from)
}

/// None when both cells are empty.
fn point(lat: &str, lon: &str, city: &City) -> Result<Option<Point>, String> {
    if lat.is_empty() && lon.is_empty() {
        return Ok(None);
    }
    let at = number(lat).zip(number(lon)).and_then(|(lat, lon)| Point::new(lat, lon).ok());
    let at = at.ok_or("lat, lon: latitude goes from -90 to 90, longitude from -180 to 180")?;
    if !city.allows(at) {
        return Err(format!("lat, lon: more than {CITY_RADIUS_KM} km from the centre of {}", city.name));
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue { version: 1, ..Catalogue::parse(include_str!("../../deploy/catalog.toml")).unwrap() }
    }

    fn read(header: &str, cells: &[&str]) -> Result<Line, String> {
        let catalogue = catalogue();
        let header = Header::read(&header.split(',').collect::<Vec<_>>()).unwrap();
        header.line(cells, catalogue.city("boston").unwrap(), &catalogue)
    }

    #[test]
    fn what_a_spreadsheet_would_run_gets_a_quote_in_front() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t1", "\r1", "=HYPERLINK(\"http://evil.example\")"] {
            assert_eq!(escape_formula(bad), format!("'{bad}"));
        }
        for good in ["", "Trek", "a=b", "1-2", "é"] {
            assert_eq!(escape_formula(good), good);
        }
        // Where a tab or a line break divides, a cell begins after it too.
        assert_eq!((&*escape_formula("\t=1"), &*escape_formula("\r=1")), ("'\t'=1", "'\r'=1"));
        for (cell, expected) in [("'=1", "=1"), ("'t Hart", "'t Hart"), ("''t Hart", "'t Hart"), ("'", "'")] {
            assert_eq!(unescape_formula(cell), expected);
        }
    }

    /// The cells seen by a spreadsheet with this `separator` that does or does not know quotes.
    fn seen(line: &str, separator: char, knows_quotes: bool) -> Vec<String> {
        if !knows_quotes {
            let unquoted = |cell: &str| cell.trim_matches(['"', ' ']).to_owned();
            return line.split([separator, '\r', '\n']).map(unquoted).collect();
        }
        let mut reader = csv::ReaderBuilder::new();
        reader.has_headers(false).flexible(true).delimiter(u8::try_from(separator).unwrap());
        let cells = |row: csv::StringRecord| row.iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        reader.from_reader(line.as_bytes()).records().flat_map(|row| cells(row.unwrap())).collect()
    }

    #[test]
    fn a_cell_is_no_formula_whatever_the_separator() {
        for text in [
            "x;=1+1", "x\t+1", "a, @b", "a;\"=1+1\"", "a;\"\"=1", "two\nlines;=1", "a\n=1", "a|=1", "＝1", " =1", ";=1",
        ] {
            let mut line = String::new();
            let cells = [escape_formula(text), "plain".into(), escape_formula(text)];
            write_line(&mut line, cells);
            for separator in [',', ';', '\t', '|'] {
                for cell in [true, false].into_iter().flat_map(|knows| seen(&line, separator, knows)) {
                    assert!(!cell.starts_with(['=', '+', '-', '@', '＝']), "{text:?} by {separator:?}: {cell:?}");
                }
            }
            assert_eq!(unescape_formula(&escape_formula(text)), text);
        }
    }

    #[test]
    fn a_header_names_its_columns_in_any_order() {
        let header = |text: &str| Header::read(&text.split(',').collect::<Vec<_>>());
        assert_eq!(header(&COLUMNS.join(",")).unwrap().cells, 10);
        for good in [
            "Note, code ,BATTERY",
            "Vehicle type,Color,Latitude,Longitude,Battery (%),Code,,",
            "ID,Lat,Lng,Notes",
            "vehicle_id,Make",
        ] {
            assert!(header(good).is_ok(), "{good}");
        }
        for (text, why) in [
            ("type,brand", "The column “code” is missing; it says which vehicle a line is about."),
            ("code,owner,status", "Unknown columns: “owner”, “status”. Known ones are: code, type,"),
            ("code,brand,code", "The column “code” is there twice."),
            ("code,lat", "The columns “lat” and “lon” only go together."),
            ("", "The column “code” is missing"),
            ("code,,type", "Unknown columns: “”."),
            ("code,Colour,color", "The column “colour” is there twice."),
        ] {
            let error = header(text).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn a_line_says_everything_that_is_wrong_with_it() {
        let all = "code,type,brand,colour,battery,lat,lon,place,note";
        let good = read(all, &["B-1", "bike", "Trek", " blue ", "80", "42.36", "-71.06", "", ""]).unwrap();
        let at = Some(Point::new(42.36, -71.06).unwrap());
        assert_eq!((good.colour.as_deref(), good.battery, good.at), (Some("blue"), Some(80), at));
        assert_eq!((good.place, good.note.as_deref()), (None, Some("")));
        let bad = read(all, &["", "tram", "", "x\ny", "101", "42.36", "", "y", &"n".repeat(501)]).unwrap_err();
        assert_eq!(
            bad,
            "code: is empty; brand: is empty; colour: Control characters and line breaks are not allowed; \
             note: Please use at most 200 characters; type: there is no type “tram”; \
             battery: must be a whole number from 0 to 100; \
             lat, lon: latitude goes from -90 to 90, longitude from -180 to 180"
        );
        let exchanged = read("code,lat,lon", &["B-1", "-71.06", "42.36"]).unwrap_err();
        assert_eq!(exchanged, "lat, lon: more than 50 km from the centre of Boston");
        assert_eq!(read("code,lat,lon", &["B-1", "NaN", "1"]).unwrap_err().split(':').next(), Some("lat, lon"));
        assert_eq!(read("code,battery", &["B-1"]).unwrap_err(), "There are 1 cells where the header has 2.");
        let few = read("battery,code", &["7", "B-1"]).unwrap();
        assert_eq!((few.battery, few.vehicle_type, few.note), (Some(7), None, None));
    }

    #[test]
    fn numbers_are_read_as_spreadsheets_write_them() {
        let all = "code,Type,Battery (%),Latitude,Longitude";
        let line = read(all, &["B-1", "BIKE", "88 %", "42,36", "-71,06", "", ""]).unwrap();
        assert_eq!(
            (line.vehicle_type.as_deref(), line.battery, line.at),
            (Some("bike"), Some(88), Point::new(42.36, -71.06).ok())
        );
        assert_eq!(line.decimals, Decimals { commas: true, points: false });
        let line = read(all, &["B-1", "Bike", "88.0", "42.36", "-71.06"]).unwrap();
        assert_eq!((line.battery, line.decimals), (Some(88), Decimals { commas: false, points: true }));
        for bad in ["0,88", "100,5", "1,0,0", "88 %%", "inf", "-1"] {
            assert!(read("code,battery", &["B-1", bad]).is_err(), "{bad}");
        }
        let id = Uuid::from_u128(7);
        let line = read("id,code", &[&id.to_string(), ""]).unwrap();
        assert_eq!((line.id, line.code.as_deref()), (Some(id), Some("")));
        assert_eq!(read("id", &[&id.to_string()]).unwrap().code, None);
        assert_eq!(read("id,code", &["", ""]).unwrap_err(), "code: is empty");
        assert_eq!(read("code,id", &["A", "7"]).unwrap_err(), "id: is none; leave it empty for a new vehicle");
        let more = read("code,battery", &["A", "7", "", "x"]).unwrap_err();
        assert_eq!(more, "There are 4 cells where the header has 2.");
    }
}
