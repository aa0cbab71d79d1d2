//! What all writes share: actor and gates, as the first parameters and the beginning of the text,
//! and the verdict column, which says what happened. A write does all of its work or nothing, and
//! says which, in the same round trip.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::{DbError, DbErrorKind},
    row::Row,
    statement::{Conn, Statement},
};
use crate::domain::{people::UserRef, refusal::Refusal, region::RegionCode};

/// A session of a person, the times that bound it, and the home region's epoch.
#[derive(Debug, Clone)]
pub struct SessionAuth {
    pub user: UserRef,
    pub session: Uuid,
    pub token_hash: String,
    pub now: DateTime<Utc>,
    /// Sessions not used since then have expired.
    pub idle_since: DateTime<Utc>,
    pub epoch: i64,
}

impl SessionAuth {
    /// Parameters $1 to $7 of `SIGNED`, then `rest` from $8.
    pub fn params<'a>(&'a self, rest: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let own: [&(dyn ToSql + Sync); 7] = [
            &self.user.region,
            &self.session,
            &self.user.id,
            &self.token_hash,
            &self.now,
            &self.idle_since,
            &self.epoch,
        ];
        [&own[..], rest].concat()
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    Session(&'a SessionAuth),
    Person(&'a UserRef),
    Shell,
}

impl<'a> Actor<'a> {
    fn user(self) -> Option<&'a UserRef> {
        match self {
            Self::Session(auth) => Some(&auth.user),
            Self::Person(user) => Some(user),
            Self::Shell => None,
        }
    }

    /// The person's home, or `else_in`.
    pub fn home(self, else_in: &'a RegionCode) -> &'a RegionCode {
        self.user().map_or(else_in, |user| &user.region)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    pub actor: Actor<'a>,
    pub now: DateTime<Utc>,
    pub home_epoch: i64,
    pub region: &'a RegionCode,
    /// The row that is written, or the command.
    pub id: Uuid,
    pub epoch: i64,
}

impl<'a> Write<'a> {
    pub fn signed(auth: &'a SessionAuth, home_epoch: i64, (region, id): (&'a RegionCode, Uuid), epoch: i64) -> Self {
        Self { actor: Actor::Session(auth), now: auth.now, home_epoch, region, id, epoch }
    }

    /// Sends a statement whose parameters begin with $1 to $6 of `SIGNED`.
    async fn send(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        rest: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DbError> {
        let session = if let Actor::Session(auth) = self.actor { Some(auth) } else { None };
        let (session_id, token) = (session.map(|auth| auth.session), session.map(|auth| &auth.token_hash));
        let (home, user) = (self.actor.home(self.region), self.actor.user().map(|user| user.id));
        let idle_since = session.map_or(self.now, |auth| auth.idle_since);
        let own: [&(dyn ToSql + Sync); 6] = [home, &session_id, &user, &token, &self.now, &idle_since];
        conn.one(statement, &[&own[..], rest].concat()).await
    }

    /// Sends a statement that begins with [`SIGNED_THERE`]; `rest` begins at $11.
    pub(super) async fn row(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        rest: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DbError> {
        let own: [&(dyn ToSql + Sync); 4] = [&self.home_epoch, self.region, &self.id, &self.epoch];
        self.send(conn, statement, &[&own[..], rest].concat()).await
    }

    /// Sends a statement that begins with [`BY_ROLE`]; `rest` begins at $10.
    pub(super) async fn verdict_by_role(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        rest: &[&(dyn ToSql + Sync)],
    ) -> Result<Verdict, DbError> {
        let own: [&(dyn ToSql + Sync); 3] = [self.region, &self.epoch, &self.id];
        verdict(&self.send(conn, statement, &[&own[..], rest].concat()).await?)
    }
}

pub(super) const GATED: &str = "WITH g AS (SELECT 1 AS ok FROM region_gates
     WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $2::INT8)";

/// `s` has a row when session $2 of person ($1, $3) with secret hash $4 is valid at $5 and was used
/// after $6.
const SESSION: &str = "WITH s AS (SELECT 1 AS ok FROM sessions
     WHERE region = $1::TEXT::crdb_internal_region AND id = $2::UUID AND user_id = $3::UUID
       AND token_hash = $4::TEXT AND expires_at > $5::TIMESTAMPTZ AND seen_at > $6::TIMESTAMPTZ)";

/// A signed-in person's write: beside `s`, `g` has a row when the home region is writable at epoch
/// $7.
pub(super) const SIGNED: &str = formatcp!(
    "{SESSION},
     g AS (SELECT 1 AS ok FROM region_gates
       WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $7::INT8)"
);

/// Like `SIGNED`, for a [`Write`] about $9 in region $8: `there` has a row when that region is
/// writable at epoch $10.
pub(super) const SIGNED_THERE: &str = formatcp!(
    "{SIGNED},
     there AS (SELECT 1 AS ok FROM region_gates
       WHERE region = $8::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $10::INT8)"
);

/// A write by command $9 of a person whose roles count, but not their home's gate: `there` has a
/// row when region $7 is writable at epoch $8.
pub(super) const BY_ROLE: &str = formatcp!(
    "{SESSION},
     there AS (SELECT 1 AS ok FROM region_gates
       WHERE region = $7::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $8::INT8)"
);

/// For an UPDATE of the person: notes that region $8 holds data of theirs.
pub(super) const PRESENT_THERE: &str =
    "present_in = CASE WHEN users.present_in @> jsonb_build_array($8::TEXT) THEN users.present_in
                 ELSE users.present_in || jsonb_build_array($8::TEXT) END";

/// Begins the INSERT of an event; a SELECT of these columns follows.
pub(super) const EVENT: &str =
    "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, actor_region,
       actor_id, command_id, correlation_id, occurred_at, epoch, lat, lon, metadata)";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// Nothing, because the same command had been carried out before.
    Already,
    /// Nothing: the gate has another epoch, or a region is closed.
    Gate,
    Refused(Refusal),
}

pub fn verdict(row: &Row) -> Result<Verdict, DbError> {
    let code: &str = row.get("verdict")?;
    let unknown = || DbError::new(DbErrorKind::Bug, "verdict", format!("unknown verdict {code}"));
    Ok(match code {
        "ok" => Verdict::Done,
        "already" => Verdict::Already,
        "gate" => Verdict::Gate,
        refused => Verdict::Refused(Refusal::from_code(refused).ok_or_else(unknown)?),
    })
}
