//! Currencies and amounts, which are integers of minor units (cents) everywhere. All currencies
//! here have two minor digits, so formatting needs no table.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use super::text::number;

/// In the order of their codes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
pub enum Currency {
    Cad,
    Chf,
    Eur,
    Gbp,
    Usd,
}

impl Currency {
    pub const ALL: [Self; 5] = [Self::Usd, Self::Eur, Self::Gbp, Self::Cad, Self::Chf];

    pub fn as_str(self) -> &'static str {
        self.into()
    }

    const fn symbol(self) -> &'static str {
        match self {
            Self::Usd => "$",
            Self::Eur => "€",
            Self::Gbp => "£",
            Self::Cad => "CA$",
            Self::Chf => "CHF ",
        }
    }

    /// As in `$1,003.40`, `−€0.05`.
    pub fn format(self, minor: i64) -> String {
        let sign = if minor < 0 { "−" } else { "" };
        let amount = minor.unsigned_abs();
        let (whole, cents) = (amount / 100, amount % 100);
        format!("{sign}{}{}.{cents:02}", self.symbol(), number(whole))
    }
}

/// The highest price, in minor units.
pub const MAX: i64 = 1_000_000;

/// Reads an amount that a person typed: `3`, `3.4`, `3,40`; at most [`MAX`]. In minor units.
pub fn minor(text: &str) -> Result<i64, String> {
    let text = text.trim().replace(',', ".");
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let good = digits(whole) && digits(cents) && cents.len() <= 2;
    let minor = format!("{whole}{cents:0<2}").parse().ok().filter(|minor| good && *minor <= MAX);
    minor.ok_or_else(|| "Please enter an amount up to 10000, such as 1.50.".to_owned())
}

/// As a field shows it: `3.40`.
pub fn plain(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_minor_units() {
        assert_eq!(Currency::Usd.format(340), "$3.40");
        assert_eq!(Currency::Eur.format(340), "€3.40");
        assert_eq!(Currency::Eur.format(-5), "−€0.05");
        assert_eq!(Currency::Usd.format(0), "$0.00");
        assert_eq!(Currency::Usd.format(i64::MIN), "−$92,233,720,368,547,758.08");
    }

    #[test]
    fn currencies_are_read_by_their_exact_codes() {
        for (code, currency) in
            [("USD", Some(Currency::Usd)), ("EUR", Some(Currency::Eur)), ("usd", None), ("JPY", None)]
        {
            assert_eq!(code.parse().ok(), currency);
            assert!(currency.is_none_or(|currency| currency.as_str() == code));
        }
    }

    #[test]
    fn amounts_are_read_as_they_are_typed() {
        for (text, amount) in [("3", 300), ("3.4", 340), (" 3,40 ", 340), ("0.05", 5), ("10000", 1_000_000), ("0", 0)] {
            assert_eq!(minor(text), Ok(amount), "{text}");
            assert_eq!(minor(&plain(amount)), Ok(amount));
        }
        for bad in ["", ".", "-1", "+1", "1.234", "1.", ".5", "1.2.3", "10000.01", "1e3", "9999999999999999999", "$1"] {
            assert!(minor(bad).is_err(), "{bad}");
        }
    }
}
