//! Cuts the bytes of a CSV file into rows in bounded memory, whatever the pieces in which
//! they come, and recognises what spreadsheets write: the encoding by its byte order mark or
//! by the first text that is not ASCII, the separator by a `sep=` line or by the header, rows
//! that end in CR, LF or both. Rows are counted as a spreadsheet shows them: one with line
//! breaks inside quotes is one, an empty one counts, a `sep=` line does not.

use std::str::from_utf8;

use csv_core::{ReadRecordResult, Reader as Core, ReaderBuilder};
use encoding_rs::{Decoder, Encoding, UTF_8, WINDOWS_1252};

/// Longest row, in bytes.
const ROW_MAX: usize = 16 * 1024;
/// Most cells of a row: spreadsheets save columns in which there once was something.
const CELLS_MAX: usize = 1024;
/// How Excel files begin, the newer and the older ones.
const WORKBOOKS: [&[u8]; 2] = [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"];

/// A row of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub line: i64,
    /// Its cells; none when they are not in the encoding of the file.
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
    /// What comes next: bytes of the file, until `begun` with a mark of their order.
    input: Vec<u8>,
    at: usize,
    begun: bool,
    ended: bool,
    /// The byte before the next one.
    before: u8,
    line: i64,
    within: bool,
    bytes: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    cells: usize,
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
            within: false,
            bytes: vec![0; ROW_MAX],
            filled: 0,
            ends: vec![0; CELLS_MAX],
            cells: 0,
        }
    }
}

impl Reader {
    /// Takes the next bytes of the file; then `read` has to be called until it gives none.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.take(bytes, false)
    }

    /// The file has ended: `read` gives what is left.
    pub fn end(&mut self) -> Result<(), String> {
        self.take(&[], true)
    }

    fn take(&mut self, bytes: &[u8], last: bool) -> Result<(), String> {
        self.input.drain(..self.at);
        (self.at, self.ended) = (0, last);
        if self.begun {
            return self.decode(bytes, last);
        }
        self.input.extend_from_slice(bytes);
        // The longest mark has three bytes, the beginning of a workbook four.
        if self.input.len() < 4 && !last {
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
        self.decode(file.get(mark.unwrap_or(0)..).unwrap_or_default(), last)
    }

    fn decode(&mut self, bytes: &[u8], last: bool) -> Result<(), String> {
        let Some(decoder) = &mut self.decoder else {
            self.input.extend_from_slice(bytes);
            return Ok(());
        };
        let mut text = String::with_capacity(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or_default());
        if decoder.decode_to_string(bytes, &mut text, last).2 {
            return Err("The file is broken: not all of it is UTF-16, as its beginning says.".to_owned());
        }
        self.input.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// The next row that is not empty, or none when more bytes are needed. Fails on a row that
    /// is too long and on a quote that is never closed.
    pub fn read(&mut self) -> Result<Option<Record>, String> {
        while self.begun {
            if !self.within {
                self.skip_breaks();
            }
            if self.core.is_none() && !self.find_separator() {
                return Ok(None);
            }
            let (Some(core), input) = (&mut self.core, self.input.get(self.at..).unwrap_or_default()) else {
                return Ok(None);
            };
            // The last row may have no line break. No input would mean the end.
            let (input, own) = match (input, self.ended, self.within) {
                ([], true, true) => (&b"\n"[..], true),
                ([], ..) => return Ok(None),
                _ => (input, false),
            };
            let (bytes, ends) = (self.bytes.get_mut(self.filled..), self.ends.get_mut(self.cells..));
            let (result, used, filled, cells) =
                core.read_record(input, bytes.unwrap_or_default(), ends.unwrap_or_default());
            self.filled += filled;
            self.cells += cells;
            self.within = true;
            if !own {
                self.consume(used);
            }
            match result {
                ReadRecordResult::InputEmpty if !own => {}
                ReadRecordResult::Record => {
                    let record = self.record();
                    if record.cells.as_ref().is_none_or(|cells| cells.iter().any(|cell| !cell.trim().is_empty())) {
                        return Ok(Some(record));
                    }
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull if self.breaks() == 0 => {
                    let line = self.line;
                    return Err(format!("Line {line} is too long: at most {ROW_MAX} bytes and {CELLS_MAX} cells."));
                }
                _ => return Err(format!("The quote (\") that opens in line {} is not closed.", self.line)),
            }
        }
        Ok(None)
    }

    /// What has been recognised, in words.
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

    /// Whether the last row that was given ended without a line break.
    pub fn unfinished(&self) -> bool {
        self.ended && !matches!(self.before, b'\r' | b'\n')
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
        if let Some(last) = self.at.checked_sub(1).filter(|_| count > 0).and_then(|at| self.input.get(at)) {
            self.before = *last;
        }
    }

    /// Passes over empty rows, and the LF of a CR LF that ended the last one.
    fn skip_breaks(&mut self) {
        while let Some(next @ (b'\r' | b'\n')) = self.input.get(self.at).copied() {
            self.line += i64::from((self.before, next) != (b'\r', b'\n'));
            self.consume(1);
        }
    }

    /// Finds the separator in the first line; not before there is a whole one.
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
                let (mut quoted, mut counts) = (false, [0; 256]);
                for byte in first {
                    quoted ^= *byte == b'"';
                    if let Some(count) = counts.get_mut(usize::from(*byte)).filter(|_| !quoted) {
                        *count += 1;
                    }
                }
                let count = |separator: &u8| counts.get(usize::from(*separator)).copied();
                self.separator = [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',');
            }
        }
        self.core = Some(ReaderBuilder::new().delimiter(self.separator).build());
        true
    }

    fn breaks(&self) -> usize {
        let bytes = self.bytes.get(..self.filled).unwrap_or_default();
        let lf = bytes.iter().zip(bytes.iter().skip(1)).filter(|pair| *pair == (&b'\r', &b'\n')).count();
        bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() - lf
    }

    fn record(&mut self) -> Record {
        let ends = self.ends.get(..self.cells).unwrap_or_default();
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
        let record = Record { line: self.line, cells: cells.iter().map(text).collect(), breaks: self.breaks() };
        (self.filled, self.cells, self.within) = (0, 0, false);
        self.line += 1;
        record
    }
}
