//! A statement is data: name, text, reach, so that a check can list, prepare, explain and count
//! them all; a connection (`Conn`) sends it. A region parameter is always written
//! `$n::TEXT::crdb_internal_region`, by which it is recognised.

mod conn;

use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut};

pub use conn::Conn;

pub type Param<'a> = &'a (dyn ToSql + Sync);

use crate::domain::region::RegionCode;

/// Which regions a statement may touch: the consistency contract, in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only regions bound to its parameters.
    Named,
    /// GLOBAL tables.
    Global,
    /// The nearest replica, of whatever region.
    Stale,
    /// Deliberately every region, and why.
    AllRegions { why: &'static str },
}

impl Reach {
    /// As metrics and spans name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Global => "global",
            Self::Stale => "stale",
            Self::AllRegions { .. } => "all",
        }
    }
}

#[derive(Debug)]
pub struct Statement {
    /// Shown on pages and in spans and logs, such as `rides.start`.
    pub name: &'static str,
    /// The same on both engines.
    pub text: &'static str,
    pub reach: Reach,
    /// It changes rows, so a lost reply leaves its outcome open.
    pub writes: bool,
    /// Why it reads a GLOBAL row although its reach is `Named`. The others work while the primary
    /// region is away; `locality` checks it.
    pub reads_global: Option<&'static str>,
    regions: u64,
}

pub const CITY_CHECKED: &str = "a row that comes to a city is checked against the catalogue";

impl Statement {
    pub const fn read(name: &'static str, reach: Reach, text: &'static str) -> Self {
        Self { name, text, reach, writes: false, reads_global: None, regions: region_parameters(text) }
    }

    /// A statement that changes rows. It must be safe to run twice with the same parameters: it
    /// looks for its own row first.
    pub const fn write(name: &'static str, reach: Reach, text: &'static str) -> Self {
        Self { name, text, reach, writes: true, reads_global: None, regions: region_parameters(text) }
    }

    /// Declares that it reads GLOBAL rows, and why.
    pub const fn reading_global(self, why: &'static str) -> Self {
        Self { reads_global: Some(why), ..self }
    }

    fn bound(&self, params: &[Param<'_>]) -> Vec<RegionCode> {
        let mut bound = Vec::new();
        for (index, param) in params.iter().enumerate() {
            if self.binds_region(index)
                && let Some(region) = read::<String>(*param, &Type::TEXT).and_then(|code| code.parse().ok())
                && !bound.contains(&region)
            {
                bound.push(region);
            }
        }
        bound
    }

    /// Its text with the values in place of `$n`, for people to read.
    pub(super) fn with_values(&self, params: &[Param<'_>]) -> String {
        let (mut filled, mut rest) = (String::with_capacity(self.text.len() * 2), self.text);
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = after.split_at(digits);
            let param = number.parse().ok().and_then(|n: usize| params.get(n.checked_sub(1)?));
            filled.push_str(&param.and_then(|param| literal(*param)).unwrap_or_else(|| "NULL".to_owned()));
            rest = tail;
        }
        filled + rest
    }

    pub(super) fn everywhere(&self) -> bool {
        matches!(self.reach, Reach::AllRegions { .. })
    }

    /// `index` is counted from 0.
    pub const fn binds_region(&self, index: usize) -> bool {
        index < 64 && self.regions & (1 << index) != 0
    }
}

/// Bit n-1 is set when `$n::TEXT::crdb_internal_region` occurs in the text. Found while compiling:
/// every statement that is sent needs them.
#[allow(clippy::indexing_slicing, reason = "evaluated while compiling: a slip is a compile error")]
const fn region_parameters(text: &str) -> u64 {
    let (bytes, mark) = (text.as_bytes(), b"::TEXT::crdb_internal_region");
    let (mut at, mut found) = (0, 0_u64);
    while at < bytes.len() {
        if bytes[at] == b'$' {
            let (mut end, mut number) = (at + 1, 0_u32);
            while end < bytes.len() && bytes[end].is_ascii_digit() {
                number = number * 10 + (bytes[end] - b'0') as u32;
                end += 1;
            }
            let mut same = 0;
            while same < mark.len() && end + same < bytes.len() && bytes[end + same] == mark[same] {
                same += 1;
            }
            if same == mark.len() && number >= 1 && number <= 64 {
                found |= 1 << (number - 1);
            }
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// A value as SQL writes it. A parameter can only encode itself, so our types are tried one by one.
fn literal(param: Param<'_>) -> Option<String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let text = read::<String>(param, &Type::TEXT).map(|text| quoted(&text));
    let json = || read::<serde_json::Value>(param, &Type::JSONB).map(|json| quoted(&json.to_string()) + "::JSONB");
    let time = || read::<chrono::DateTime<chrono::Utc>>(param, &Type::TIMESTAMPTZ).map(|at| quoted(&at.to_rfc3339()));
    let whole = || read::<i64>(param, &Type::INT8).map(|number| number.to_string());
    let real = || read::<f64>(param, &Type::FLOAT8).map(|number| number.to_string());
    let truth = || read::<bool>(param, &Type::BOOL).map(|truth| truth.to_string());
    text.or_else(json).or_else(time).or_else(whole).or_else(real).or_else(truth)
}

fn read<T: for<'a> FromSql<'a>>(param: Param<'_>, ty: &Type) -> Option<T> {
    let mut bytes = BytesMut::new();
    match param.to_sql_checked(ty, &mut bytes).ok()? {
        IsNull::Yes => None,
        IsNull::No => T::from_sql(ty, &bytes).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_parameters_are_found_by_their_cast() {
        let text =
            "SELECT 1 WHERE a = $1::TEXT::crdb_internal_region AND b = $2 AND c = $12::TEXT::crdb_internal_region";
        let statement = Statement::read("test", Reach::Named, text);
        let found: Vec<usize> = (0..64).filter(|index| statement.binds_region(*index)).collect();
        assert_eq!(found, [0, 11]);
    }
}
