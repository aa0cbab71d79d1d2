//! Columns by name, fallibly: a mismatch reports statement and column instead of
//! panicking, and is our bug. `Row` is what every statement returns.

use serde::de::DeserializeOwned;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::error::{DbError, DbErrorKind};
use crate::domain::{geo::Point, region::RegionCode};

/// One row of a statement's result.
#[derive(Debug)]
pub struct Row {
    statement: &'static str,
    inner: tokio_postgres::Row,
}

impl Row {
    pub(super) fn new(statement: &'static str, inner: tokio_postgres::Row) -> Self {
        Self { statement, inner }
    }

    /// The column `name`, or an error that names statement and column.
    pub fn get<'a, T: FromSql<'a>>(&'a self, name: &str) -> Result<T, DbError> {
        self.inner.try_get(name).map_err(|error| self.bug(name, &error))
    }

    /// A region column, read as text.
    pub fn region(&self, name: &str) -> Result<RegionCode, DbError> {
        self.get::<&str>(name)?.parse().map_err(|error| self.bug(name, &error))
    }

    /// A region column that may be empty, read as text.
    pub fn opt_region(&self, name: &str) -> Result<Option<RegionCode>, DbError> {
        let code = self.get::<Option<&str>>(name)?;
        code.map(str::parse).transpose().map_err(|error| self.bug(name, &error))
    }

    /// A column of JSON that has this form. What it holds instead is not told: it may be personal.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, DbError> {
        let value = serde_json::from_value(self.get(name)?);
        value.map_err(|error| self.bug(name, &format!("other JSON than expected ({:?})", error.classify())))
    }

    /// A pair of coordinate columns.
    pub fn point(&self, lat: &str, lon: &str) -> Result<Point, DbError> {
        Point::new(self.get(lat)?, self.get(lon)?).map_err(|error| self.bug(lat, &error))
    }

    /// A pair of columns that names a row of another table, both or neither.
    pub fn opt_ref(&self, region: &str, id: &str) -> Result<Option<(RegionCode, Uuid)>, DbError> {
        match (self.get::<Option<&str>>(region)?, self.get::<Option<Uuid>>(id)?) {
            (Some(code), Some(id)) => Ok(Some((code.parse().map_err(|error| self.bug(region, &error))?, id))),
            _ => Ok(None),
        }
    }

    fn bug(&self, column: &str, error: &dyn std::fmt::Display) -> DbError {
        DbError::new(DbErrorKind::Bug, self.statement, format!("column {column}: {error}"))
    }
}
