//! What every write of a signed-in person has in common: the first seven parameters,
//! the conditions on session and gate, and the verdict column that tells what
//! happened. A write either does all of its work or nothing, and says which, in the
//! same round trip.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::{DbError, DbErrorKind},
    row::Row,
};
use crate::domain::{people::UserRef, refusal::Refusal, region::RegionCode};

/// Who writes: a session of a person, the times that bound it, and the home region's epoch.
#[derive(Debug, Clone)]
pub struct SessionAuth {
    pub user: UserRef,
    pub session: Uuid,
    /// Hash of the session's secret.
    pub token_hash: String,
    pub now: DateTime<Utc>,
    /// Sessions not seen since then have ended.
    pub idle_since: DateTime<Utc>,
    pub epoch: i64,
}

impl SessionAuth {
    /// Parameters $1 to $7, then `rest` from $8.
    pub fn params<'a>(&'a self, rest: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &self.user.region,
            &self.session,
            &self.user.id,
            &self.token_hash,
            &self.now,
            &self.idle_since,
            &self.epoch,
        ];
        params.extend_from_slice(rest);
        params
    }
}

/// `s` has a row when the session is good: parameters for home region, session, person,
/// secret hash, the time now, and the time after which it was seen.
macro_rules! session_sql {
    ($region:literal, $session:literal, $user:literal, $token:literal, $now:literal, $idle:literal) => {
        concat!(
            "s AS (SELECT 1 AS ok FROM sessions
               WHERE region = ",
            $region,
            "::TEXT::crdb_internal_region AND id = ",
            $session,
            "::UUID AND user_id = ",
            $user,
            "::UUID
                 AND token_hash = ",
            $token,
            "::TEXT AND expires_at > ",
            $now,
            "::TIMESTAMPTZ AND seen_at > ",
            $idle,
            "::TIMESTAMPTZ)"
        )
    };
}
pub(super) use session_sql;

/// Begins the text of a signed-in person's write: `s` has a row when the session $2 of
/// person ($1, $3) with secret hash $4 is good at $5 and was seen after $6, `g` when
/// the home region is writable at epoch $7.
macro_rules! signed_sql {
    ($($rest:expr),+ $(,)?) => {
        concat!(
            "WITH ",
            $crate::db::verdict::session_sql!("$1", "$2", "$3", "$4", "$5", "$6"),
            ",
             g AS (SELECT 1 AS ok FROM region_gates
               WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $7::INT8),
            ",
            $($rest),+
        )
    };
}
pub(super) use signed_sql;

/// Who acts for others: a session whose roles count ($1 to $6), the region that is written
/// ($7) with the epoch held of its gate ($8), and the command's name ($9).
#[derive(Debug, Clone)]
pub struct Acting<'a> {
    pub auth: &'a SessionAuth,
    pub region: &'a RegionCode,
    pub epoch: i64,
    pub command: Uuid,
}

impl Acting<'_> {
    /// Parameters $1 to $9, then `rest` from $10.
    pub fn params<'a>(&'a self, rest: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let mut params = self.auth.params(&[]);
        params.truncate(6);
        let own: [&(dyn ToSql + Sync); 3] = [self.region, &self.epoch, &self.command];
        params.extend(own.into_iter().chain(rest.iter().copied()));
        params
    }
}

/// Begins the text of such a write: `s` has a row when the session is good, `a` when one of
/// the person's roles is as given, `there` when the region takes writes at that epoch.
macro_rules! acting_sql {
    ($role:literal) => {
        concat!(
            "WITH ",
            $crate::db::verdict::session_sql!("$1", "$2", "$3", "$4", "$5", "$6"),
            ",
             a AS (SELECT 1 AS ok FROM role_grants
               WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID AND ",
            $role,
            "),
             there AS (SELECT 1 AS ok FROM region_gates
               WHERE region = $7::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $8::INT8),
             "
        )
    };
}
pub(super) use acting_sql;

/// As `signed_sql` for a write that also touches the region $8: `there` has a row when that
/// region is writable at epoch $10.
macro_rules! signed_there_sql {
    ($($rest:expr),+ $(,)?) => {
        $crate::db::verdict::signed_sql!(
            "there AS (SELECT 1 AS ok FROM region_gates
               WHERE region = $8::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $10::INT8),
            ",
            $($rest),+
        )
    };
}
pub(super) use signed_there_sql;

/// The columns of an event, in the order in which the statements give them.
macro_rules! event_sql {
    ($($select:expr),+ $(,)?) => {
        concat!(
            "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, actor_region, actor_id,
               command_id, correlation_id, occurred_at, epoch, lat, lon, metadata) ",
            $($select),+,
            " RETURNING 1 AS ok"
        )
    };
}
pub(super) use event_sql;

/// What a write statement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything, now.
    Done,
    /// Nothing, because the same command had been carried out before.
    Already,
    /// Nothing: the epoch held is not that of a gate, or a region is closed.
    Gate,
    /// Nothing, and why.
    Refused(Refusal),
}

/// Reads the column `verdict`.
pub fn verdict(row: &Row) -> Result<Verdict, DbError> {
    let code: &str = row.get("verdict")?;
    Ok(match code {
        "ok" => Verdict::Done,
        "already" => Verdict::Already,
        "gate" => Verdict::Gate,
        other => Verdict::Refused(
            Refusal::from_code(other)
                .ok_or_else(|| DbError::new(DbErrorKind::Bug, "verdict", format!("unknown verdict {other}")))?,
        ),
    })
}
