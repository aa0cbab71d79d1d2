//! Columns by name, fallibly: a mismatch reports statement and column instead of panicking.

use std::{fmt::Display, str::FromStr};

use serde::de::DeserializeOwned;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use uuid::Uuid;

use super::{DbError, DbErrorKind, Result};
use crate::domain::{
    Point, RegionCode,
    fare::{Discount, Fare, Rate},
};

#[derive(Debug)]
pub struct Row {
    pub(super) statement: &'static str,
    pub(super) inner: tokio_postgres::Row,
}

impl Row {
    pub fn get<'a, T: FromSql<'a>>(&'a self, name: &str) -> Result<T> {
        self.inner.try_get(name).map_err(|error| self.bug(name, &error))
    }

    /// A text column of something with a form of its own, such as a region or currency.
    pub fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T> {
        self.get::<&str>(name)?.parse().map_err(|error| self.bug(name, &error))
    }

    pub fn region(&self, name: &str) -> Result<RegionCode> {
        self.parse(name)
    }

    pub fn opt_region(&self, name: &str) -> Result<Option<RegionCode>> {
        let code = self.get::<Option<&str>>(name)?;
        code.map(str::parse).transpose().map_err(|error| self.bug(name, &error))
    }

    /// A JSON column of this form. Errors do not quote the value: it may be personal.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = serde_json::from_value(self.get(name)?);
        value.map_err(|error| self.bug(name, &format!("other JSON than expected ({:?})", error.classify())))
    }

    pub fn point(&self, lat: &str, lon: &str) -> Result<Point> {
        Point::new(self.get(lat)?, self.get(lon)?).map_err(|error| self.bug(lat, &error))
    }

    pub fn rate(&self) -> Result<Rate> {
        Ok(Rate {
            unlock_minor: self.get("unlock_minor")?,
            per_minute_minor: self.get("per_minute_minor")?,
            max_charge_minor: self.get("max_charge_minor")?,
        })
    }

    pub fn discount(&self) -> Result<Option<Discount>> {
        let percent = self.get::<Option<i64>>("promo_percent")?.map(Discount::Percent);
        Ok(percent.or(self.get::<Option<i64>>("promo_amount_minor")?.map(Discount::Amount)))
    }

    pub fn fare(&self) -> Result<Fare> {
        Ok(Fare {
            minutes: self.get("minutes")?,
            charge_minor: self.get("charge_minor")?,
            discount_minor: self.get("discount_minor")?,
            fee_minor: self.get("fee_minor")?,
            total_minor: self.get("total_minor")?,
        })
    }

    /// A pair of columns that names a row of another table, both or neither.
    pub fn opt_ref(&self, region: &str, id: &str) -> Result<Option<(RegionCode, Uuid)>> {
        Ok(self.opt_region(region)?.zip(self.get(id)?))
    }

    fn bug(&self, column: &str, error: &dyn Display) -> DbError {
        DbError::new(DbErrorKind::Bug, self.statement, format!("column {column}: {error}"))
    }
}

/// Of a search that reads a bounded number of rows: those that fit, and its last one, which comes along even if it does
/// not fit, if it has read as many as it may (`ends`): from there the search goes on.
pub(super) fn searched<T: Clone>(rows: &[Row], read: impl Fn(&Row) -> Result<T>) -> Result<(Vec<T>, Option<T>)> {
    let (mut found, mut last) = (Vec::new(), None);
    for row in rows {
        let value = read(row)?;
        if row.get("ends")? {
            last = Some(value.clone());
        }
        if row.get("fits")? {
            found.push(value);
        }
    }
    Ok((found, last))
}

/// Rows that such a search reads at most.
pub(super) const SEARCHED: i64 = 1_000;

impl ToSql for RegionCode {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.as_str().to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&str as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}
