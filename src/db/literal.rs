//! Statements with their parameters written into the text, for `movr migrate --plan`.
//! Nothing that is sent is made here. The surprise: a parameter only knows how to
//! encode itself, so the types that ours have are tried one after the other.

use tokio_postgres::types::{FromSql, ToSql, Type, private::BytesMut};

/// The text with every `$n` replaced by the value of parameter n.
pub(super) fn filled_in(text: &str, params: &[&(dyn ToSql + Sync)]) -> String {
    let (mut filled, mut rest) = (String::with_capacity(text.len() * 2), text);
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = after.split_at(digits);
        let param = number.parse().ok().and_then(|n: usize| params.get(n.checked_sub(1)?));
        filled.push_str(&param.map_or_else(|| "NULL".to_owned(), |param| literal(*param)));
        rest = tail;
    }
    filled + rest
}

/// A value as SQL writes it.
fn literal(param: &(dyn ToSql + Sync)) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let text = read::<String>(param, &Type::TEXT).map(|text| quoted(&text));
    let json = || read::<serde_json::Value>(param, &Type::JSONB).map(|json| quoted(&json.to_string()) + "::JSONB");
    let time = || read::<chrono::DateTime<chrono::Utc>>(param, &Type::TIMESTAMPTZ).map(|at| quoted(&at.to_rfc3339()));
    let whole = || read::<i64>(param, &Type::INT8).map(|number| number.to_string());
    let real = || read::<f64>(param, &Type::FLOAT8).map(|number| number.to_string());
    let truth = || read::<bool>(param, &Type::BOOL).map(|truth| truth.to_string());
    text.or_else(json).or_else(time).or_else(whole).or_else(real).or_else(truth).unwrap_or_else(|| "NULL".to_owned())
}

/// The value back from its encoding, if it encodes itself as `ty`.
fn read<T: for<'a> FromSql<'a>>(param: &(dyn ToSql + Sync), ty: &Type) -> Option<T> {
    let mut bytes = BytesMut::new();
    match param.to_sql_checked(ty, &mut bytes).ok()? {
        tokio_postgres::types::IsNull::Yes => None,
        tokio_postgres::types::IsNull::No => T::from_sql(ty, &bytes).ok(),
    }
}
