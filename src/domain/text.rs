//! Text that a person types and others see: composed, on one line, without invisible or
//! direction-changing characters, accents without a letter, or towers of them. Messages are for the
//! person who typed.

use std::fmt::Display;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Consecutive accents on a letter; no language writes more.
const MARKS_MAX: usize = 4;

/// Blank or shapeless though their category does not say so: fillers, joiners and variant
/// selectors.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether accents stand on letters or digits, and not too many on one.
pub(super) fn marks_are_carried(text: &str) -> bool {
    // Before the first letter nothing carries one.
    let mut marks = MARKS_MAX;
    text.chars().all(|c| {
        marks = match c.general_category_group() {
            GeneralCategoryGroup::Mark => marks + 1,
            GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number => 0,
            _ => MARKS_MAX,
        };
        marks <= MARKS_MAX
    })
}

/// A whole number with separators, and a minus sign that is no hyphen: "1,250", "−3".
pub fn number(n: impl Display) -> String {
    let text = n.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("−", digits));
    let separator = |at: usize| if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
    digits.chars().enumerate().fold(sign.to_owned(), |text, (at, digit)| format!("{text}{}{digit}", separator(at)))
}

/// A trimmed single line of at most `max` characters, in composed form.
pub fn line(text: &str, max: usize, what: &str) -> Result<String, String> {
    let too_long = || format!("Please use at most {max} characters.");
    // What is far too long is not worth composing.
    if text.len() > 16 * max {
        return Err(too_long());
    }
    // Keyboards add these two to signs that have a coloured and a plain form.
    let shown = text.chars().filter(|c| !matches!(c, '\u{fe0e}' | '\u{fe0f}'));
    let blank = |c: char| if c.general_category() == GeneralCategory::SpaceSeparator { ' ' } else { c };
    let composed: String = shown.map(blank).nfc().collect();
    let text = composed.trim();
    if text.is_empty() {
        return Err(format!("Please enter {what}."));
    }
    if text.chars().any(char::is_control) {
        return Err("Control characters and line breaks are not allowed.".to_owned());
    }
    let hidden = |c: char| is_invisible(c) || c.general_category_group() == GeneralCategoryGroup::Other;
    let breaks = |c| matches!(c, '\u{2028}' | '\u{2029}');
    if text.chars().any(|c| hidden(c) || breaks(c)) {
        return Err("Invisible characters and those that change the direction of text are not allowed.".to_owned());
    }
    if !marks_are_carried(text) {
        return Err("An accent needs a letter to stand on.".to_owned());
    }
    if text.chars().count() > max {
        return Err(too_long());
    }
    Ok(text.to_owned())
}

/// None when it is empty.
pub fn optional_line(text: &str, max: usize, what: &str) -> Result<Option<String>, String> {
    if text.trim().is_empty() { Ok(None) } else { line(text, max, what).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_single_bounded_and_show_all_they_hold() {
        for bad in [
            "a\nb",
            "  ",
            "0123456789",
            "a\u{200b}b",
            "a\u{202e}b",
            "\u{2066}a",
            "a\u{200d}",
            "\u{feff}a",
            "a\u{ad}b",
            "\u{3164}",
            "\u{2800}\u{2800}",
            "a\u{e000}",
            "a\u{2028}b",
            "\u{301}a",
            "a \u{301}",
            "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
            "a\u{e0041}",
            "\u{378}",
        ] {
            assert!(line(bad, 9, "it").is_err(), "{bad:?}");
        }
        for good in ["हिन्दी", "ไทยนี้", "தமிழ்", "Nguyễn", "O’Neil-Ö", "東京 👍", "№ 7", "שלום"]
        {
            assert_eq!(line(good, 9, "it").as_deref(), Ok(good));
        }
        assert_eq!(line(" e\u{301}\u{a0}x ", 9, "it").as_deref(), Ok("é x"));
        assert_eq!(line("❤\u{fe0f}", 9, "it").as_deref(), Ok("❤"));
    }
}
