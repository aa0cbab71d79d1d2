//! Cells of CSV files as spreadsheets take them. A cell that begins like a formula is
//! executed by the program that opens the file, whoever wrote it; an apostrophe in front
//! makes it text.

use std::borrow::Cow;

/// The cell, with an apostrophe in front when a spreadsheet would execute it.
//! Text in CSV files that people open in spreadsheets.

use std::borrow::Cow;

/// A cell of text, with a `'` in front if a spreadsheet would take it for a formula. Not
/// for numbers of our own making: a negative longitude is one, and stays one.
#[must_use]
pub fn neutral(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(neutral(formula), format!("'{formula}"));
        }
        assert_eq!(neutral("BOS-1"), "BOS-1");
    use super::neutral;

    #[test]
    fn formulas_become_text() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(neutral(bad), format!("'{bad}"));
        }
        for good in ["", "a=b", "'=1", "2026", " x"] {
            assert_eq!(neutral(good), good);
        }
    }
}
