//! Currencies and how an amount is written for a person. Amounts are integers of
//! minor units (cents) everywhere; there is no floating-point money in the program.
//! Plain domain code: uses only serde and thiserror.
//! Only currencies with two minor digits exist here; any other code is refused when
//! it is parsed, so that formatting needs no table of digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A currency with two minor digits, by its ISO 4217 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// United States dollar.
    Usd,
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
    /// Canadian dollar.
    Cad,
    /// Swiss franc.
    Chf,
}

impl Currency {
    const ALL: [Self; 5] = [Self::Usd, Self::Eur, Self::Gbp, Self::Cad, Self::Chf];

    /// The ISO 4217 code, which is also what the database stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
            Self::Cad => "CAD",
            Self::Chf => "CHF",
        }
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

    /// The amount in `minor` units as a person reads it: `$3.40`, `-€0.05`.
    #[must_use]
    pub fn format(self, minor: i64) -> String {
        let sign = if minor < 0 { "-" } else { "" };
        let amount = minor.unsigned_abs();
        let (whole, cents) = (amount / 100, amount % 100);
        format!("{sign}{}{whole}.{cents:02}", self.symbol())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A currency code that is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency {0:?}")]
pub struct UnknownCurrency(pub String);

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|currency| currency.as_str() == code).ok_or_else(|| UnknownCurrency(code.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_minor_units() {
        assert_eq!(Currency::Usd.format(340), "$3.40");
        assert_eq!(Currency::Eur.format(340), "€3.40");
        assert_eq!(Currency::Eur.format(-5), "-€0.05");
        assert_eq!(Currency::Usd.format(0), "$0.00");
        assert_eq!(Currency::Usd.format(i64::MIN), "-$92233720368547758.08");
    }

    #[test]
    fn parses_exactly_the_served_codes() {
        for currency in Currency::ALL {
            assert_eq!(currency.as_str().parse(), Ok(currency));
        }
        assert_eq!("usd".parse::<Currency>(), Err(UnknownCurrency("usd".into())));
        assert!("JPY".parse::<Currency>().is_err());
    }
}
