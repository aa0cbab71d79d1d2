//! Cells there and back, headers, lines with all their mistakes, and files in pieces.

use encoding_rs::WINDOWS_1252;
use proptest::prelude::*;

use super::*;
use crate::domain::catalogue::CatalogueFile;

fn catalogue() -> Catalogue {
    Catalogue::new(1, CatalogueFile::parse(include_str!("../../../deploy/catalog.toml")).unwrap())
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
    // Where a tab or a line break divides, a cell begins behind it too.
    assert_eq!((&*escape_formula("\t=1"), &*escape_formula("\r=1")), ("'\t'=1", "'\r'=1"));
    for (cell, meant) in [("'=1", "=1"), ("'t Hart", "'t Hart"), ("''t Hart", "'t Hart"), ("'", "'")] {
        assert_eq!(unescape_formula(cell), meant);
    }
}

/// The cells that a spreadsheet sees which divides by `separator`, however well it knows quotes.
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
    for text in
        ["x;=1+1", "x\t+1", "a, @b", "a;\"=1+1\"", "a;\"\"=1", "two\nlines;=1", "a\n=1", "a|=1", "＝1", " =1", ";=1"]
    {
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
         note: At most 200 characters, please; type: there is no type “tram”; \
         battery: must be a whole number from 0 to 100; \
         lat, lon: latitude goes from -90 to 90, longitude from -180 to 180"
    );
    let exchanged = read("code,lat,lon", &["B-1", "-71.06", "42.36"]).unwrap_err();
    assert_eq!(exchanged, "lat, lon: more than 50 km from the centre of Boston");
    assert_eq!(read("code,lat,lon", &["B-1", "NaN", "1"]).unwrap_err().split(':').next(), Some("lat, lon"));
    assert_eq!(read("code,battery", &["B-1"]).unwrap_err(), "There are 1 cells where the header has 2.");
    let few = read("battery,code", &["7", "B-1"]).unwrap();
    assert_eq!((few.battery, few.kind, few.note), (Some(7), None, None));
}

/// All rows of a file that comes in pieces of `size` bytes.
fn rows(file: &[u8], size: usize) -> Result<(Vec<Record>, Reader), String> {
    let (mut reader, mut records) = (Reader::default(), Vec::new());
    for piece in file.chunks(size) {
        reader.feed(piece)?;
        while let Some(record) = reader.read()? {
            records.push(record);
        }
    }
    reader.end()?;
    while let Some(record) = reader.read()? {
        records.push(record);
    }
    Ok((records, reader))
}

fn cells(record: &Record) -> Vec<&str> {
    record.cells.as_ref().unwrap().iter().map(String::as_str).collect()
}

const SIZES: [usize; 6] = [1, 2, 3, 5, 7, 1000];

#[test]
fn rows_are_numbered_as_a_spreadsheet_does() {
    let file = "code,note\n\nA,\"two\nlines\"\n\n\nB,\"say \"\"x\"\"\"\n,\nC,é\nD,last";
    for (ends, size) in ["\n", "\r\n", "\r"].into_iter().flat_map(|ends| SIZES.map(|size| (ends, size))) {
        let (found, reader) = rows(file.replace('\n', ends).as_bytes(), size).unwrap();
        let numbers: Vec<_> = found.iter().map(|record| record.line).collect();
        assert_eq!(numbers, [1, 3, 6, 8, 9], "{ends:?} {size}");
        let two = format!("two{ends}lines");
        assert_eq!((cells(&found[1]), found[1].breaks), (vec!["A", two.as_str()], 1));
        assert_eq!(cells(&found[2]), ["B", "say \"x\""]);
        assert_eq!((cells(&found[3]), cells(&found[4])), (vec!["C", "é"], vec!["D", "last"]));
        assert!(reader.unfinished() && !rows(b"A,B\r", size).unwrap().1.unfinished());
    }
    let mixed: Vec<i64> = rows(b"a\rb\nc\r\nd\n\re\r\r\nf", 2).unwrap().0.iter().map(|row| row.line).collect();
    assert_eq!(mixed, [1, 2, 3, 4, 6, 8]);
    assert_eq!(rows(b"", 1).unwrap().0, []);
}

#[test]
fn what_spreadsheets_write_is_recognised() {
    let utf16 = |text: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect()
    };
    let latin = |text: &str| WINDOWS_1252.encode(text).0.into_owned();
    let (comma, semicolon, tab) =
        ("code,note\nA,\"café; 5 €\"\n", "code;note\nA;café; 5 €\n", "code\tnote\nA\tcafé; 5 €\n");
    let semicolon = semicolon.replacen("café; 5 €", "\"café; 5 €\"", 1);
    let files = [
        (comma.as_bytes().to_vec(), ["commas", "UTF-8"]),
        (format!("\u{feff}{semicolon}").into_bytes(), ["semicolons", "UTF-8"]),
        (latin(&semicolon), ["semicolons", "Windows-1252"]),
        (utf16(tab, u16::to_le_bytes), ["tabs", "UTF-16LE"]),
        (utf16(&semicolon, u16::to_be_bytes), ["semicolons", "UTF-16BE"]),
        (format!("sep=;\r\n{semicolon}").into_bytes(), ["semicolons", "UTF-8"]),
        (latin(&format!("SEP=,\n{comma}")), ["commas", "Windows-1252"]),
        (
            format!("sep=|\n{}", tab.replace('\t', "|")).into_bytes(),
            ["the separator that its first line names", "UTF-8"],
        ),
    ];
    for ((file, recognised), size) in files.iter().flat_map(|file| SIZES.map(|size| (file, size))) {
        let (found, reader) = rows(file, size).unwrap();
        assert_eq!(reader.recognised(), *recognised, "{size}");
        let lines: Vec<_> = found.iter().map(|record| (record.line, cells(record))).collect();
        assert_eq!(lines, [(1, vec!["code", "note"]), (2, vec!["A", "café; 5 €"])], "{recognised:?} {size}");
    }
    // What came before tells the encoding; a row that is in another one is refused alone.
    let (found, _) = rows(b"code\n\xc3\xa9\nA\xe9\nB\n", 1).unwrap();
    assert_eq!((cells(&found[1]), found[2].cells.clone(), cells(&found[3])), (vec!["é"], None, vec!["B"]));
    let mut half = utf16(tab, u16::to_le_bytes);
    half.pop();
    assert!(rows(&half, 3).err().unwrap().starts_with("The file is broken"));
    assert!(rows(b"PK\x03\x04rest", 1).err().unwrap().starts_with("This is a workbook"));
}

#[test]
fn an_open_quote_and_an_endless_row_are_told() {
    for size in SIZES {
        for file in ["code,note\nA,x\nB,\"y\nC,z\n", "code,note\rA,x\rB,\"y\rC,z", "code,note\r\n\r\nB,\"\"\"y\r\n"] {
            assert_eq!(
                rows(file.as_bytes(), size).err().unwrap(),
                "The quote (\") that opens in line 3 is not closed."
            );
        }
        assert_eq!(rows(b"A,\"x\"", size).unwrap().0.len(), 1);
    }
    let swallowed = format!("code\nA\n\"B\n{}", "more\n".repeat(9_000));
    assert!(rows(swallowed.as_bytes(), 1000).err().unwrap().starts_with("The quote (\") that opens in line 3"));
    let endless = [b"code\nA\n\"".as_slice(), &vec![b'x'; 40_000]].concat();
    assert!(rows(&endless, 1000).err().unwrap().starts_with("Line 3 is too long"));
    let many = "a,".repeat(2_000);
    assert!(rows(many.as_bytes(), 10).err().unwrap().starts_with("Line 1 is too long"));
}

#[test]
fn numbers_are_read_as_spreadsheets_write_them() {
    let all = "code,Type,Battery (%),Latitude,Longitude";
    let line = read(all, &["B-1", "BIKE", "88 %", "42,36", "-71,06", "", ""]).unwrap();
    assert_eq!((line.kind.as_deref(), line.battery, line.at), (Some("bike"), Some(88), Point::new(42.36, -71.06).ok()));
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

proptest! {
    #[test]
    fn every_text_comes_back(
        table in prop::collection::vec(prop::collection::vec("[ -~\t\r\n=é',;\"@+|-]{0,12}", 3..4), 1..5),
        separator in prop::sample::select(vec![b',', b';', b'\t']),
        ends in prop::sample::select(vec![csv::Terminator::CRLF, csv::Terminator::Any(b'\n'), csv::Terminator::Any(b'\r')]),
        size in 1_usize..40,
    ) {
        let mut file = head(&["code", "brand", "note"]);
        for row in &table {
            write_line(&mut file, row.iter().map(|cell| escape_formula(cell)));
        }
        // A spreadsheet reads the file and writes it in its own way.
        let mut resaved = csv::WriterBuilder::new();
        resaved.delimiter(separator).terminator(ends);
        let mut resaved = resaved.from_writer(Vec::new());
        for row in csv::ReaderBuilder::new().has_headers(false).from_reader(file.as_bytes()).byte_records() {
            resaved.write_byte_record(&row.unwrap()).unwrap();
        }
        let resaved = String::from_utf8(resaved.into_inner().unwrap()).unwrap();
        for file in [&file, &resaved] {
            let (found, _) = rows(file.as_bytes(), size).unwrap();
            let text = |record: &Record| cells(record).iter().map(|cell| unescape_formula(cell).into_owned()).collect::<Vec<_>>();
            let wanted: Vec<_> =
                table.iter().filter(|row| row.iter().any(|cell| !escape_formula(cell).trim().is_empty())).cloned().collect();
            prop_assert_eq!(found.iter().skip(1).map(text).collect::<Vec<_>>(), wanted);
        }
    }
}
