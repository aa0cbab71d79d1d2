//! Cells there and back, headers, lines with all their mistakes, and files in pieces.

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
    for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"http://evil.example\")"] {
        assert_eq!(neutral(bad), format!("'{bad}"));
    }
    for good in ["", "Trek", "a=b", "1-2", "é"] {
        assert_eq!(neutral(good), good);
    }
    assert_eq!((meant("'=1"), meant("'t Hart"), meant("''t Hart"), meant("'")), ("=1", "'t Hart", "'t Hart", "'"));
}

#[test]
fn a_header_names_its_columns_in_any_order() {
    let header = |text: &str| Header::read(&text.split(',').collect::<Vec<_>>());
    assert_eq!(header(&COLUMNS.join(",")).unwrap().cells, 9);
    assert!(header("Note, code ,BATTERY").is_ok());
    for (text, why) in [
        ("type,brand", "The column “code” is missing; it says which vehicle a line is about."),
        ("code,owner,status", "Unknown columns: “owner”, “status”. Known ones are: code, type,"),
        ("code,brand,code", "The column “code” is there twice."),
        ("code;type", "The columns must be separated by commas."),
        ("code,lat", "The columns “lat” and “lon” only go together."),
        ("", "Unknown columns: “”."),
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

/// All lines of a file that comes in pieces of `size` bytes.
fn lines(file: &[u8], size: usize) -> Result<Vec<Record>, String> {
    let (mut reader, mut records) = (Reader::default(), Vec::new());
    for mut piece in file.chunks(size) {
        while let Some(record) = reader.next(&mut piece)? {
            records.push(record);
        }
    }
    records.extend(reader.end()?);
    Ok(records)
}

#[test]
fn lines_are_numbered_as_an_editor_does() {
    let file = b"\xef\xbb\xbfcode,note\r\n\r\nA,\"two\r\nlines\"\n\n\nB,\"say \"\"x\"\"\"\r\nC,\xff\nD,last";
    for size in [1, 2, 3, 7, 1000] {
        let records = lines(file, size).unwrap();
        let numbers: Vec<_> = records.iter().map(|record| record.line).collect();
        assert_eq!(numbers, [1, 3, 7, 8, 9], "{size}");
        assert_eq!(records[1].cells().unwrap(), ["A", "two\r\nlines"]);
        assert_eq!(records[2].cells().unwrap(), ["B", "say \"x\""]);
        assert_eq!((records[3].cells(), records[4].cells()), (None, Some(vec!["D", "last"])));
    }
    assert_eq!(lines(b"\xef\xbb\xbfcode\n", 1000).unwrap()[0].cells().unwrap(), ["code"]);
    assert_eq!(lines(b"", 1).unwrap(), []);
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let endless = [b"code\nA\n\"".as_slice(), &vec![b'x'; 40_000]].concat();
    assert!(lines(&endless, 1000).unwrap_err().starts_with("Line 3 is too long"));
    let many = "a,".repeat(100);
    assert!(lines(many.as_bytes(), 10).unwrap_err().starts_with("Line 1 is too long"));
}

proptest! {
    #[test]
    fn every_text_comes_back(cells in prop::collection::vec("[ -~\t\r\n=é']{0,12}", 2..6), size in 1_usize..40) {
        let mut text = String::new();
        write_line(&mut text, cells.iter().map(|cell| neutral(cell)));
        let records = lines(text.as_bytes(), size).unwrap();
        prop_assert_eq!(records.len(), 1);
        let back: Vec<_> = records[0].cells().unwrap().into_iter().map(meant).collect();
        prop_assert_eq!(back, cells);
    }
}
