//! Region gates: one row a region that says whether it takes writes, and its epoch. Every write
//! statement carries the gate's condition. The times of a change are the server's: an application's
//! wrong clock would report a fence too early.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    Conn, Db, DbError, DbErrorKind, EVENT, Param, Reach, Result, SessionAuth, Statement, Verdict, verdict::SESSION,
};
use crate::domain::{
    RegionCode,
    event::{REGION_CLOSED, REGION_CLOSING_PLANNED, REGION_DRAINING, REGION_OPENED},
    fare::Span,
    region::GateState,
    ride::RIDE_MAX_HOURS,
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
    pub state: GateState,
    pub epoch: i64,
    pub reason: Option<String>,
    pub until: Option<DateTime<Utc>>,
    pub plan: Plan,
    /// By the server's clock.
    pub changed_at: DateTime<Utc>,
    pub read_at: DateTime<Utc>,
    /// Of the last day, and the one under way up to `read_at`.
    pub closures: Vec<Span>,
}

/// When a region is to drain and to close by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub drain_at: Option<DateTime<Utc>>,
    pub close_at: Option<DateTime<Utc>>,
}

impl Gate {
    /// From when on no write of an older epoch becomes visible, as a whole second; none while the
    /// region is open. `fence` is [`Db::fence`].
    pub fn fenced_at(&self, fence: Duration) -> Option<DateTime<Utc>> {
        if self.state != GateState::ReadOnly {
            return None;
        }
        let at = self.changed_at + TimeDelta::from_std(fence).unwrap_or(TimeDelta::MAX);
        Some(at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(at) + TimeDelta::seconds(1))
    }

    /// The change that the plan asks for by now.
    pub fn due(&self, now: DateTime<Utc>) -> Option<Change> {
        let reached = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
        let Plan { drain_at, close_at } = self.plan;
        let (state, close_at) = match self.state {
            GateState::Writable | GateState::Draining if reached(close_at) => (GateState::ReadOnly, None),
            GateState::Writable if reached(drain_at) => (GateState::Draining, close_at),
            _ => return None,
        };
        let plan = Plan { drain_at: None, close_at };
        let (region, reason) = (self.region.clone(), self.reason.clone());
        Some(Change { region, state, epoch: Some(self.epoch), reason, until: self.until, plan })
    }
}

pub const ALL: &[&Statement] = &[&FIND, &COUNT_OPEN, &CREATE, &CHANGE];

pub(super) const FIND: Statement = Statement::read(
    "gates.find",
    Reach::Named,
    formatcp!(
        "SELECT region::TEXT AS region, {STATE} AS state, epoch, reason, until_at, drain_at, close_at,
            coalesce(closed_at, changed_at) AS closed_at, changed_at, now() AS read_at,
            ARRAY(SELECT closed_at FROM region_closures WHERE region = $1::TEXT::crdb_internal_region
              AND opened_at > now() - '{RIDE_MAX_HOURS}:00:00'::INTERVAL ORDER BY opened_at) AS closings,
            ARRAY(SELECT opened_at FROM region_closures WHERE region = $1::TEXT::crdb_internal_region
              AND opened_at > now() - '{RIDE_MAX_HOURS}:00:00'::INTERVAL ORDER BY opened_at) AS openings
         FROM region_gates WHERE region = $1::TEXT::crdb_internal_region"
    ),
);

/// An instance of before the state existed writes only the first of the two columns.
const STATE: &str = "CASE WHEN write_state = 'writable' AND draining THEN 'draining' ELSE write_state END";

pub async fn find(conn: &Conn, region: &RegionCode) -> Result<Gate> {
    let Some(row) = conn.opt(&FIND, &[region]).await? else {
        let missing = format!("region {region} has no gate: run movr migrate");
        return Err(DbError::new(DbErrorKind::Bug, FIND.name, missing));
    };
    let (state, read_at) = (row.parse("state")?, row.get("read_at")?);
    let (closings, openings): (Vec<_>, Vec<_>) = (row.get("closings")?, row.get("openings")?);
    let mut closures: Vec<Span> = closings.into_iter().zip(openings).collect();
    if state == GateState::ReadOnly {
        closures.push((row.get("closed_at")?, read_at));
    }
    Ok(Gate {
        region: row.region("region")?,
        state,
        epoch: row.get("epoch")?,
        reason: row.get("reason")?,
        until: row.get("until_at")?,
        plan: Plan { drain_at: row.get("drain_at")?, close_at: row.get("close_at")? },
        changed_at: row.get("changed_at")?,
        read_at,
        closures,
    })
}

/// What a closing would interrupt.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    pub rides: i64,
    pub reservations: i64,
    pub jobs: i64,
}

const COUNT_OPEN: Statement = Statement::read(
    "gates.count_open",
    Reach::Named,
    "SELECT (SELECT count(*) FROM rides WHERE region = $1::TEXT::crdb_internal_region AND ended_at IS NULL) AS rides,
        (SELECT count(*) FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND reserved_by IS NOT NULL
           AND reserved_until > now()) AS reservations,
        (SELECT count(*) FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND state = 'running'
           AND confirmed_at IS NOT NULL) AS jobs",
);

pub async fn count_open(conn: &Conn, region: &RegionCode) -> Result<Open> {
    let row = conn.one(&COUNT_OPEN, &[region]).await?;
    Ok(Open { rides: row.get("rides")?, reservations: row.get("reservations")?, jobs: row.get("jobs")? })
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
    pub state: GateState,
    pub epoch: Option<i64>,
    pub reason: Option<String>,
    pub until: Option<DateTime<Utc>>,
    pub plan: Plan,
}

// $1 to $6 as in `SessionAuth::params`, without a session for a command; gate $7 to state $8, if its epoch is $9, with
// reason $10, end $11 and plan ($12, $13). A gate that is already as asked is found before its epoch is compared, so a
// change whose reply was lost is found done when it is sent again. The event, of object $14 by command $15, lies where the
// acting instance runs ($16). It needs no open gate, not even at the administrator's home: it must be possible to open a
// region from inside.
const CHANGE: Statement = Statement::write(
    "gates.change",
    Reach::Named,
    formatcp!(
        "{SESSION},
         a AS (SELECT 1 AS ok FROM role_grants WHERE region = $1::TEXT::crdb_internal_region
             AND user_id = $3::UUID AND role = 'administrator'),
         old AS (SELECT {STATE} AS state, epoch, reason, until_at, drain_at, close_at,
             coalesce(closed_at, changed_at) AS closed_at FROM region_gates WHERE region = $7::TEXT::crdb_internal_region),
         verdict AS (SELECT CASE
             WHEN $2::UUID IS NOT NULL AND NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN $3::UUID IS NOT NULL AND NOT EXISTS (SELECT 1 FROM a) THEN 'not_administrator'
             WHEN EXISTS (SELECT 1 FROM old WHERE state = $8::TEXT
                 AND reason IS NOT DISTINCT FROM $10::TEXT AND until_at IS NOT DISTINCT FROM $11::TIMESTAMPTZ
                 AND drain_at IS NOT DISTINCT FROM $12::TIMESTAMPTZ AND close_at IS NOT DISTINCT FROM $13::TIMESTAMPTZ)
               THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM old WHERE epoch = coalesce($9::INT8, epoch)) THEN 'changed'
             ELSE 'ok' END AS code),
         changed AS (UPDATE region_gates SET write_state = CASE WHEN $8::TEXT = 'read_only' THEN 'read_only' ELSE 'writable' END,
               draining = ($8::TEXT = 'draining'), epoch = region_gates.epoch + 1, reason = $10::TEXT, until_at = $11::TIMESTAMPTZ,
               drain_at = $12::TIMESTAMPTZ, close_at = $13::TIMESTAMPTZ, changed_at = now(),
               closed_at = CASE WHEN $8::TEXT <> 'read_only' THEN NULL WHEN old.state = 'read_only' THEN old.closed_at
                 ELSE now() END
             FROM verdict, old WHERE region_gates.region = $7::TEXT::crdb_internal_region AND code = 'ok'
             RETURNING region_gates.epoch),
         opened AS (INSERT INTO region_closures (region, epoch, closed_at, opened_at)
             SELECT $7::TEXT::crdb_internal_region, changed.epoch, old.closed_at, now() FROM changed, old
             WHERE old.state = 'read_only' AND $8::TEXT <> 'read_only' RETURNING 1 AS ok),
         e AS ({EVENT} SELECT $16::TEXT::crdb_internal_region, 'region', $14::UUID, changed.epoch,
           CASE WHEN $8::TEXT = 'read_only' THEN '{REGION_CLOSED}' WHEN $8::TEXT = 'draining' THEN '{REGION_DRAINING}'
             WHEN $12::TIMESTAMPTZ IS NOT NULL OR $13::TIMESTAMPTZ IS NOT NULL THEN '{REGION_CLOSING_PLANNED}'
             ELSE '{REGION_OPENED}' END, CASE WHEN $3::UUID IS NOT NULL THEN $1::TEXT END, $3::UUID,
           $15::UUID, $15::UUID, now(), changed.epoch, NULL::FLOAT8, NULL::FLOAT8,
           jsonb_build_object('region', $7::TEXT, 'state', $8::TEXT, 'epoch', changed.epoch, 'reason', $10::TEXT,
             'drain', $12::TIMESTAMPTZ, 'close', $13::TIMESTAMPTZ, 'until', $11::TIMESTAMPTZ)
           FROM changed RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
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
    let Change { region, epoch, reason, until, plan: Plan { drain_at, close_at }, .. } = change;
    let (state, id) = (change.state.code(), region.id());
    let (nobody, never) = (None::<Uuid>, None::<DateTime<Utc>>);
    let command_of: [Param<'_>; 6] = [region, &nobody, &nobody, &None::<&str>, &never, &never];
    let of_gate: [Param<'_>; 10] = [region, &state, epoch, reason, until, drain_at, close_at, &id, &command, here];
    let who = by.map_or(command_of, SessionAuth::params);
    conn.verdict(&CHANGE, &[&who[..], &of_gate].concat()).await
}
