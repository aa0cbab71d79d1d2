//! Cuts a stream of bytes into the lines of a CSV file, in bounded memory, whatever the
//! pieces in which it comes. The surprise: lines are counted here as an editor counts
//! them, by line breaks, also those inside quotes and of empty lines.

use csv_core::{ReadRecordResult, Reader as Core};

/// Longest line, in bytes.
const LINE_MAX: usize = 16 * 1024;
/// Most cells of a line.
const CELLS_MAX: usize = 64;

/// A line of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins: the first line of a file is 1.
    pub line: i64,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Record {
    /// Its cells as text; none when it is not UTF-8.
    #[must_use]
    pub fn cells(&self) -> Option<Vec<&str>> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| text.get(start..*end)).collect()
    }
}

/// The line that is being read, and where.
pub struct Reader {
    core: Core,
    line: i64,
    begun_at: Option<i64>,
    bytes: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    ended: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            core: Core::new(),
            line: 1,
            begun_at: None,
            bytes: vec![0; LINE_MAX],
            filled: 0,
            ends: vec![0; CELLS_MAX],
            ended: 0,
        }
    }
}

impl Reader {
    /// Reads on in `input` and shortens it by what was used: the next line, or none when
    /// `input` is used up. Fails on a line that is too long, with its number.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Record>, String> {
        if self.begun_at.is_none() {
            let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.used(input, blank);
        }
        // No bytes would mean the end of the file.
        if input.is_empty() { Ok(None) } else { self.read(input) }
    }

    /// The last line, when no line break ended it.
    pub fn end(&mut self) -> Result<Option<Record>, String> {
        self.read(&mut &[][..])
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<Option<Record>, String> {
        let line = self.begun_at.unwrap_or(self.line);
        let (bytes, ends) = (self.bytes.get_mut(self.filled..), self.ends.get_mut(self.ended..));
        let (bytes, ends) = (bytes.unwrap_or_default(), ends.unwrap_or_default());
        let (result, used, filled, ended) = self.core.read_record(input, bytes, ends);
        self.filled += filled;
        self.ended += ended;
        self.used(input, used);
        self.begun_at = None;
        match result {
            ReadRecordResult::InputEmpty => {
                self.begun_at = Some(line);
                Ok(None)
            }
            ReadRecordResult::End => Ok(None),
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                Err(format!("Line {line} is too long: at most {LINE_MAX} bytes and {CELLS_MAX} cells."))
            }
            ReadRecordResult::Record => {
                let bytes = self.bytes.get(..self.filled).unwrap_or_default().to_vec();
                let ends = self.ends.get(..self.ended).unwrap_or_default().to_vec();
                (self.filled, self.ended) = (0, 0);
                Ok(Some(Record { line, bytes, ends }))
            }
        }
    }

    fn used(&mut self, input: &mut &[u8], count: usize) {
        let (used, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
        used.iter().filter(|byte| **byte == b'\n').for_each(|_| self.line += 1);
        *input = rest;
    }
}
