//! Region gates: one row a region that says whether it takes writes, and its epoch.
//! Every write statement carries the gate's condition; this file only reads the rows
//! and makes them.

use chrono::{DateTime, Utc};

use super::{
    error::DbError,
    statement::{Conn, Reach, Statement},
};
use crate::domain::region::RegionCode;

/// The state of a region's gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The region.
    pub region: RegionCode,
    /// It takes writes of this epoch.
    pub writable: bool,
    /// Raised at each change.
    pub epoch: i64,
    /// Why it is closed.
    pub reason: Option<String>,
    /// When it is expected to open.
    pub until: Option<DateTime<Utc>>,
}

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&FIND, &OPEN];

const FIND: Statement = Statement::read(
    "gates.find",
    Reach::Named,
    "SELECT region::TEXT AS region, write_state, epoch, reason, until_at
     FROM region_gates WHERE region = $1::TEXT::crdb_internal_region",
);

/// The gate of `region`, if the region has been set up.
pub async fn find(conn: &Conn, region: &RegionCode) -> Result<Option<Gate>, DbError> {
    let Some(row) = conn.opt(&FIND, &[region]).await? else {
        return Ok(None);
    };
    Ok(Some(Gate {
        region: row.region("region")?,
        writable: row.get::<&str>("write_state")? == "writable",
        epoch: row.get("epoch")?,
        reason: row.get("reason")?,
        until: row.get("until_at")?,
    }))
}

const OPEN: Statement = Statement::write(
    "gates.open",
    Reach::Named,
    "INSERT INTO region_gates (region, write_state, epoch, changed_at)
     VALUES ($1::TEXT::crdb_internal_region, 'writable', 1, $2)
     ON CONFLICT (region) DO NOTHING",
);

/// Gives a new region its gate, writable at epoch 1; an existing gate stays as it is.
pub async fn open(conn: &Conn, region: &RegionCode, now: DateTime<Utc>) -> Result<(), DbError> {
    conn.rows(&OPEN, &[region, &now]).await.map(drop)
}
