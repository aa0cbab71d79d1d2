//! Region gates: one row a region that says whether it takes writes, and its epoch. Every write
//! statement carries the gate's condition. The times of a change are the server's: an application's
//! wrong clock would report a fence too early.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{Conn, Db, DbError, DbErrorKind, EVENT, Param, Reach, Result, SessionAuth, Statement, Verdict};
use crate::domain::{
    RegionCode,
    event::{REGION_CLOSED, REGION_OPENED},
};

/// CockroachDB's nodes stop when their clocks differ by more; PostgreSQL has one clock.
pub(super) const CLOCKS: Duration = Duration::from_millis(500);

impl Db {
    /// The longest time from a write's look at a gate until it is visible or never will be. A lone
    /// statement: one write timeout, held by the server. A transaction: one until COMMIT is sent,
    /// held here (`Db::txn`); one for COMMIT to arrive, after which the server ends the idle
    /// transaction (`idle_in_transaction_session_timeout`); one for COMMIT itself.
    pub fn longest_write(&self) -> Duration {
        self.config.write_timeout * 3
    }

    /// A region closed at the server's time T is fenced at T plus this. T is taken when the closing
    /// statement begins, which may last as long as any other; from its end the longest write is
    /// waited for.
    pub fn fence(&self) -> Duration {
        self.config.write_timeout + self.longest_write() + CLOCKS
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub region: RegionCode,
    pub writable: bool,
    pub epoch: i64,
    pub reason: Option<String>,
    pub until: Option<DateTime<Utc>>,
    /// By the server's clock.
    pub changed_at: DateTime<Utc>,
    pub read_at: DateTime<Utc>,
}

impl Gate {
    /// From when on no write of an older epoch becomes visible, as a whole second; none while the
    /// region is open. `fence` is [`Db::fence`].
    pub fn fenced_at(&self, fence: Duration) -> Option<DateTime<Utc>> {
        if self.writable {
            return None;
        }
        let at = self.changed_at + TimeDelta::from_std(fence).unwrap_or(TimeDelta::MAX);
        Some(at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(at) + TimeDelta::seconds(1))
    }
}

pub const ALL: &[&Statement] = &[&FIND, &CREATE, &CHANGE, &CHANGE_SIGNED];

pub(super) const FIND: Statement = Statement::read(
    "gates.find",
    Reach::Named,
    "SELECT region::TEXT AS region, write_state, epoch, reason, until_at, changed_at, now() AS read_at
     FROM region_gates WHERE region = $1::TEXT::crdb_internal_region",
);

pub async fn find(conn: &Conn, region: &RegionCode) -> Result<Gate> {
    let Some(row) = conn.opt(&FIND, &[region]).await? else {
        let missing = format!("region {region} has no gate: run movr migrate");
        return Err(DbError::new(DbErrorKind::Bug, FIND.name, missing));
    };
    Ok(Gate {
        region: row.region("region")?,
        writable: row.get::<&str>("write_state")? == "writable",
        epoch: row.get("epoch")?,
        reason: row.get("reason")?,
        until: row.get("until_at")?,
        changed_at: row.get("changed_at")?,
        read_at: row.get("read_at")?,
    })
}

const CREATE: Statement = Statement::write(
    "gates.open",
    Reach::Named,
    "INSERT INTO region_gates (region, write_state, epoch, changed_at)
     VALUES ($1::TEXT::crdb_internal_region, 'writable', 1, $2)
     ON CONFLICT (region) DO NOTHING",
);

/// An open gate for a region that has none.
pub async fn create(conn: &Conn, region: &RegionCode, now: DateTime<Utc>) -> Result<()> {
    conn.rows(&CREATE, &[region, &now]).await.map(drop)
}

#[derive(Debug, Clone)]
pub struct Change {
    pub region: RegionCode,
    pub writable: bool,
    pub epoch: Option<i64>,
    pub reason: Option<String>,
    pub until: Option<DateTime<Utc>>,
}

/// A change of gate $1 to state $2, if its epoch is $3, with reason $4 and end $5: tables to read,
/// who is refused, and the event's actor. A gate that is already as asked is found before its epoch
/// is compared, so a change whose reply was lost is found done when it is sent again. The event, of
/// object $7 by command $8, lies where the acting instance runs ($6). It needs no open gate: it
/// must be possible to open a region from inside.
macro_rules! gate_change_sql {
    ($tables:literal, $refusals:literal, $actor:literal) => {
        formatcp!(
            "WITH {tables}old AS (SELECT write_state, epoch, reason, until_at FROM region_gates
               WHERE region = $1::TEXT::crdb_internal_region),
             verdict AS (SELECT CASE {refusals}
                 WHEN EXISTS (SELECT 1 FROM old WHERE write_state = $2::TEXT
                     AND reason IS NOT DISTINCT FROM $4::TEXT AND until_at IS NOT DISTINCT FROM $5::TIMESTAMPTZ) THEN 'already'
                 WHEN NOT EXISTS (SELECT 1 FROM old WHERE epoch = coalesce($3::INT8, epoch)) THEN 'changed'
                 ELSE 'ok' END AS code),
             changed AS (UPDATE region_gates SET write_state = $2::TEXT, epoch = region_gates.epoch + 1, reason = $4::TEXT,
                   until_at = $5::TIMESTAMPTZ, changed_at = now()
                 FROM verdict WHERE region_gates.region = $1::TEXT::crdb_internal_region AND code = 'ok'
                 RETURNING region_gates.epoch),
             e AS ({EVENT} SELECT $6::TEXT::crdb_internal_region, 'region', $7::UUID, changed.epoch,
               CASE WHEN $2::TEXT = 'writable' THEN '{REGION_OPENED}' ELSE '{REGION_CLOSED}' END, {actor},
               $8::UUID, $8::UUID, now(), changed.epoch, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('region', $1::TEXT, 'state', $2::TEXT, 'epoch', changed.epoch, 'reason', $4::TEXT,
                 'until', $5::TIMESTAMPTZ) FROM changed RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            tables = $tables,
            refusals = $refusals,
            actor = $actor
        )
    };
}

const CHANGE: Statement =
    Statement::write("gates.change", Reach::Named, gate_change_sql!("", "", "NULL::TEXT, NULL::UUID"));

// $9 to $14 as in `SessionAuth::params`.
const CHANGE_SIGNED: Statement = Statement::write(
    "gates.change_signed",
    Reach::Named,
    gate_change_sql!(
        "s AS (SELECT 1 AS ok FROM sessions
               WHERE region = $9::TEXT::crdb_internal_region AND id = $10::UUID AND user_id = $11::UUID
                 AND token_hash = $12::TEXT AND expires_at > $13::TIMESTAMPTZ AND seen_at > $14::TIMESTAMPTZ),
             a AS (SELECT 1 AS ok FROM role_grants WHERE region = $9::TEXT::crdb_internal_region
               AND user_id = $11::UUID AND role = 'administrator'),
             ",
        "WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN NOT EXISTS (SELECT 1 FROM a) THEN 'not_administrator'",
        "$9::TEXT, $11::UUID"
    ),
);

/// Changes the gate, if its epoch is the one given, under the next epoch; `here` keeps the event.
/// Without `by` it is a command's.
pub async fn change(
    conn: &Conn,
    change: &Change,
    here: &RegionCode,
    command: Uuid,
    by: Option<&SessionAuth>,
) -> Result<Verdict> {
    let Change { region, epoch, reason, until, .. } = change;
    let state = if change.writable { "writable" } else { "read_only" };
    let id = region.id();
    let mut params: Vec<Param<'_>> = vec![region, &state, epoch, reason, until, here, &id, &command];
    // The administrator's home need not be open.
    params.extend(by.into_iter().flat_map(SessionAuth::params));
    conn.verdict(if by.is_some() { &CHANGE_SIGNED } else { &CHANGE }, &params).await
}
