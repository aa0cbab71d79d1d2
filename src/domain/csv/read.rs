//! Cuts the bytes of a CSV file into rows in bounded memory, and recognises what spreadsheets
//! write: the encoding by its byte order mark or the first non-ASCII text, the separator by a
//! `sep=` line or the header, rows ending in CR, LF or both. Rows are counted as a spreadsheet
//! shows them: empty ones count, a `sep=` line does not.

use std::str::from_utf8;

use csv_core::{ReadRecordResult, Reader as Core, ReaderBuilder};
use encoding_rs::{Decoder, Encoding, UTF_8, WINDOWS_1252};

const ROW_MAX: usize = 16 * 1024;
/// Spreadsheets also save columns that were emptied.
const CELLS_MAX: usize = 1024;
/// How Excel files begin, the newer and the older ones.
const WORKBOOKS: [&[u8]; 2] = [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub line: i64,
    pub cells: Option<Vec<String>>,
    pub breaks: usize,
}

pub struct Reader {
    /// None until the separator is known.
    core: Option<Core>,
    separator: u8,
    /// None while everything was ASCII.
    encoding: Option<&'static Encoding>,
    decoder: Option<Decoder>,
    /// Bytes from `at` on are still to be read; until `begun` they have their byte order mark.
    /// Holds at most one row and what was last fed.
    input: Vec<u8>,
    at: usize,
    begun: bool,
    ended: bool,
    /// The last byte read.
    before: u8,
    line: i64,
    /// The cells of a row, concatenated, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            core: None,
            separator: b',',
            encoding: None,
            decoder: None,
            input: Vec::new(),
            at: 0,
            begun: false,
            ended: false,
            before: b'\n',
            line: 1,
            bytes: vec![0; ROW_MAX],
            ends: vec![0; CELLS_MAX],
        }
    }
}

impl Reader {
    /// Adds bytes of the file; then call `read` until it returns none.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.input.drain(..std::mem::take(&mut self.at));
        if self.begun {
            return self.decode(bytes);
        }
        self.input.extend_from_slice(bytes);
        // The longest mark has three bytes, the beginning of a workbook four.
        if self.input.len() < 4 && !self.ended {
            return Ok(());
        }
        self.begun = true;
        let file = std::mem::take(&mut self.input);
        if WORKBOOKS.iter().any(|begin| file.starts_with(begin)) {
            return Err("This is a workbook. Please save its sheet as CSV (UTF-8).".to_owned());
        }
        let (encoding, mark) = Encoding::for_bom(&file).unzip();
        self.encoding = encoding;
        self.decoder = encoding.filter(|encoding| *encoding != UTF_8).map(Encoding::new_decoder_without_bom_handling);
        self.decode(file.get(mark.unwrap_or(0)..).unwrap_or_default())
    }

    /// The file has ended: `read` returns what is left.
    pub fn end(&mut self) -> Result<(), String> {
        self.ended = true;
        self.feed(&[])
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(decoder) = &mut self.decoder else {
            self.input.extend_from_slice(bytes);
            return Ok(());
        };
        let mut text = String::with_capacity(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or_default());
        if decoder.decode_to_string(bytes, &mut text, self.ended).2 {
            return Err("The file is broken: not all of it is UTF-16, as its beginning says.".to_owned());
        }
        self.input.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// The next row that is not empty, or none when more bytes are needed. Fails on a row that is
    /// too long and on a quote that is never closed.
    pub fn read(&mut self) -> Result<Option<Record>, String> {
        while self.begun {
            self.skip_breaks();
            if self.core.is_none() && !self.find_separator() {
                return Ok(None);
            }
            let (Some(core), rest @ [_, ..]) = (&mut self.core, self.input.get(self.at..).unwrap_or_default()) else {
                return Ok(None);
            };
            core.reset();
            let (mut result, used, mut bytes, mut cells) = core.read_record(rest, &mut self.bytes, &mut self.ends);
            if matches!(result, ReadRecordResult::InputEmpty) {
                if !self.ended {
                    return Ok(None);
                }
                // The last row may have no line break.
                let (more, ends) = (self.bytes.get_mut(bytes..), self.ends.get_mut(cells..));
                let last = core.read_record(b"\n", more.unwrap_or_default(), ends.unwrap_or_default());
                (result, bytes, cells) = (last.0, bytes + last.2, cells + last.3);
            }
            let breaks = breaks(self.bytes.get(..bytes).unwrap_or_default());
            match result {
                ReadRecordResult::Record => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull if breaks == 0 => {
                    let line = self.line;
                    return Err(format!("Line {line} is too long: at most {ROW_MAX} bytes and {CELLS_MAX} cells."));
                }
                _ => return Err(format!("The quote (\") that opens in line {} is not closed.", self.line)),
            }
            let record = Record { line: self.line, cells: self.cells(cells), breaks };
            self.consume(used);
            self.line += 1;
            if record.cells.as_ref().is_none_or(|cells| cells.iter().any(|cell| !cell.trim().is_empty())) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    pub fn recognised(&self) -> [&'static str; 2] {
        let separator = match self.separator {
            b',' => "commas",
            b';' => "semicolons",
            b'\t' => "tabs",
            _ => "the separator that its first line names",
        };
        let encoding = self.encoding.unwrap_or(UTF_8);
        [separator, if encoding == WINDOWS_1252 { "Windows-1252" } else { encoding.name() }]
    }

    pub fn unfinished(&self) -> bool {
        self.ended && !matches!(self.before, b'\r' | b'\n')
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        if let Some(last) = self.at.checked_sub(1).filter(|_| count > 0).and_then(|at| self.input.get(at)) {
            self.before = *last;
        }
    }

    /// Skips empty rows, and the LF of a CR LF that ended the last one.
    fn skip_breaks(&mut self) {
        while let Some(next @ (b'\r' | b'\n')) = self.input.get(self.at).copied() {
            self.line += i64::from((self.before, next) != (b'\r', b'\n'));
            self.consume(1);
        }
    }

    /// Finds the separator in the first line, once that is complete.
    fn find_separator(&mut self) -> bool {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let Some(end) = end.or_else(|| (self.ended || rest.len() >= ROW_MAX).then_some(rest.len())) else {
            return false;
        };
        let first = rest.get(..end).unwrap_or_default();
        match first {
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator]
                if *separator == b'\t' || (separator.is_ascii_punctuation() && *separator != b'"') =>
            {
                self.separator = *separator;
                self.consume(first.len());
                // Its own end is that of a row; this one does not count.
                self.line -= 1;
                self.skip_breaks();
            }
            _ => {
                let count = |separator: &u8| {
                    let mut quoted = false;
                    let of_row = |byte: &&u8| {
                        quoted ^= **byte == b'"';
                        !quoted && *byte == separator
                    };
                    first.iter().filter(of_row).count()
                };
                self.separator = [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',');
            }
        }
        self.core = Some(ReaderBuilder::new().delimiter(self.separator).build());
        true
    }

    /// The first `count` cells as text; the first non-ASCII one decides the encoding.
    fn cells(&mut self, count: usize) -> Option<Vec<String>> {
        let ends = self.ends.get(..count).unwrap_or_default();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let cells: Vec<&[u8]> =
            starts.zip(ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default()).collect();
        if self.encoding.is_none() && !cells.iter().all(|cell| cell.is_ascii()) {
            let good = cells.iter().all(|cell| from_utf8(cell).is_ok());
            self.encoding = Some(if good { UTF_8 } else { WINDOWS_1252 });
        }
        let text = |cell: &&[u8]| match self.encoding {
            Some(encoding) if encoding == WINDOWS_1252 => {
                Some(encoding.decode_without_bom_handling(cell).0.into_owned())
            }
            _ => from_utf8(cell).ok().map(str::to_owned),
        };
        cells.iter().map(text).collect()
    }
}

fn breaks(bytes: &[u8]) -> usize {
    let both = bytes.windows(2).filter(|pair| *pair == b"\r\n").count();
    bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() - both
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{escape_formula, head, unescape_formula, write_line},
        *,
    };

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
            for file in ["code,note\nA,x\nB,\"y\nC,z\n", "code,note\rA,x\rB,\"y\rC,z", "code,note\r\n\r\nB,\"\"\"y\r\n"]
            {
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
                let expected: Vec<_> =
                    table.iter().filter(|row| row.iter().any(|cell| !escape_formula(cell).trim().is_empty())).cloned().collect();
                prop_assert_eq!(found.iter().skip(1).map(text).collect::<Vec<_>>(), expected);
            }
        }
    }
}
