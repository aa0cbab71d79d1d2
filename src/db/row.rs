//! Columns by name, fallibly: a mismatch reports statement and column instead of panicking.

use serde::de::DeserializeOwned;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use uuid::Uuid;

use super::error::{DbError, DbErrorKind, Result};
use crate::domain::{geo::Point, region::RegionCode};

#[derive(Debug)]
pub struct Row {
    pub(super) statement: &'static str,
    pub(super) inner: tokio_postgres::Row,
}

impl Row {
    pub fn get<'a, T: FromSql<'a>>(&'a self, name: &str) -> Result<T> {
        self.inner.try_get(name).map_err(|error| self.bug(name, &error))
    }

    pub fn region(&self, name: &str) -> Result<RegionCode> {
        self.get::<&str>(name)?.parse().map_err(|error| self.bug(name, &error))
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

    /// A pair of columns that names a row of another table, both or neither.
    pub fn opt_ref(&self, region: &str, id: &str) -> Result<Option<(RegionCode, Uuid)>> {
        Ok(self.opt_region(region)?.zip(self.get(id)?))
    }

    fn bug(&self, column: &str, error: &dyn std::fmt::Display) -> DbError {
        DbError::new(DbErrorKind::Bug, self.statement, format!("column {column}: {error}"))
    }
}

impl ToSql for RegionCode {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.as_str().to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&str as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}
