//! What all writes share: the first parameters, the beginning of the text, and the verdict column.
//! A write does all of its work or nothing, and says which, in the same round trip.
//!
//! The verdict is the first WHEN that holds. They stand in this order, as far as a statement has
//! them; where one differs, a comment there says why:
//! 1. `signed_out`, then the missing role: whoever may not write learns nothing else.
//! 2. There is no such ride, vehicle or job of theirs.
//! 3. `already`: the same command was carried out. A command that is sent again after a lost reply
//!    finds the state that it made itself, and perhaps a region that was closed since. Then
//!    `form_used`: the form made something else.
//! 4. `gate`: a closed region says that it is closed, whatever else it would have said. Then, where
//!    something begins, `draining`.
//! 5. The rules of the subject.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{Conn, DbError, DbErrorKind, Param, Result, Row, Statement};
use crate::domain::{Refusal, RegionCode, UserRef};

/// A session of a person, and the times that bound it.
#[derive(Debug, Clone)]
pub struct SessionAuth {
    pub user: UserRef,
    pub session: Uuid,
    pub token_hash: String,
    pub now: DateTime<Utc>,
    /// Sessions not used since then have expired.
    pub idle_since: DateTime<Utc>,
    /// Without a row: the version of the person's row when they signed in. It is good for reading, while their home is
    /// read-only.
    pub unstored: Option<i64>,
}

impl SessionAuth {
    /// What `s` of [`SESSION`] is found by.
    pub(super) fn params(&self) -> [Param<'_>; 6] {
        [&self.user.region, &self.session, &self.user.id, &self.token_hash, &self.now, &self.idle_since]
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    Session(&'a SessionAuth),
    /// A worker acts for them; without a session.
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

/// The first ten parameters of a write, in this order: who writes ($1 to $6), the epoch of the gate
/// of their home ($7), and what is written: row or command $9 of region $8, whose gate has epoch
/// $10. For `BY_ROLE`, which needs no open home, region, epoch and id are $7 to $9.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    home: &'a RegionCode,
    session: Option<Uuid>,
    user: Option<Uuid>,
    token_hash: Option<&'a str>,
    pub now: DateTime<Utc>,
    idle_since: DateTime<Utc>,
    home_epoch: i64,
    pub region: &'a RegionCode,
    pub id: Uuid,
    pub epoch: i64,
}

impl<'a> Write<'a> {
    /// `epochs` are those of the actor's home and of `region`.
    pub fn new(
        actor: Actor<'a>,
        now: DateTime<Utc>,
        (region, id): (&'a RegionCode, Uuid),
        [home_epoch, epoch]: [i64; 2],
    ) -> Self {
        let auth = if let Actor::Session(auth) = actor { Some(auth) } else { None };
        Self {
            home: actor.home(region),
            session: auth.map(|auth| auth.session),
            user: actor.user().map(|user| user.id),
            token_hash: auth.map(|auth| auth.token_hash.as_str()),
            now,
            idle_since: auth.map_or(now, |auth| auth.idle_since),
            home_epoch,
            region,
            id,
            epoch,
        }
    }

    fn actor(&self) -> [Param<'_>; 6] {
        [self.home, &self.session, &self.user, &self.token_hash, &self.now, &self.idle_since]
    }

    /// Sends a statement that begins with [`SIGNED_THERE`]; `rest` begins at $11.
    pub(super) async fn row(&self, conn: &Conn, statement: &'static Statement, rest: &[Param<'_>]) -> Result<Row> {
        let own: [Param<'_>; 4] = [&self.home_epoch, self.region, &self.id, &self.epoch];
        conn.one(statement, &[&self.actor()[..], &own, rest].concat()).await
    }

    /// The verdict of such a statement.
    pub(super) async fn verdict(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        rest: &[Param<'_>],
    ) -> Result<Verdict> {
        self.row(conn, statement, rest).await?.verdict()
    }

    /// That of a statement that begins with [`SIGNED`]; `rest` begins at $8.
    pub(super) async fn verdict_at_home(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        rest: &[Param<'_>],
    ) -> Result<Verdict> {
        conn.verdict(statement, &[&self.actor()[..], &[&self.home_epoch], rest].concat()).await
    }

    /// That of a statement that begins with [`BY_ROLE`]; `rest` begins at $10.
    pub(super) async fn verdict_by_role(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        rest: &[Param<'_>],
    ) -> Result<Verdict> {
        let own: [Param<'_>; 3] = [self.region, &self.epoch, &self.id];
        conn.verdict(statement, &[&self.actor()[..], &own, rest].concat()).await
    }
}

impl Conn {
    /// Sends a write that begins with [`GATED`], or with nothing of these.
    pub(super) async fn verdict(&self, statement: &'static Statement, params: &[Param<'_>]) -> Result<Verdict> {
        self.one(statement, params).await?.verdict()
    }
}

/// A write of nobody in particular: `g` has a row when region $1 is writable at epoch $2. It says, as those of the others do,
/// whether the region is draining.
pub(super) const GATED: &str = "WITH g AS (SELECT draining FROM region_gates
     WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $2::INT8)";

/// Has a row when the person operates the city `$city`.
macro_rules! operates_sql {
    ($city:literal) => {
        const_format::formatcp!(
            "SELECT 1 AS ok FROM role_grants WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID
               AND role = 'operator' AND city = {city}::TEXT",
            city = $city
        )
    };
}
pub(super) use operates_sql;

/// `s` has a row when session $2 of person ($1, $3) with secret hash $4 is valid at $5 and was used
/// after $6.
pub(super) const SESSION: &str = "WITH s AS (SELECT 1 AS ok FROM sessions
     WHERE region = $1::TEXT::crdb_internal_region AND id = $2::UUID AND user_id = $3::UUID
       AND token_hash = $4::TEXT AND expires_at > $5::TIMESTAMPTZ AND seen_at > $6::TIMESTAMPTZ)";

/// A signed-in person's write: beside `s`, `g` has a row when the home region is writable at epoch
/// $7.
pub(super) const SIGNED: &str = formatcp!(
    "{SESSION},
     g AS (SELECT draining FROM region_gates
       WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $7::INT8)"
);

/// Like `SIGNED`, for a write in region $8: `there` has a row when that region is writable at epoch
/// $10.
pub(super) const SIGNED_THERE: &str = formatcp!(
    "{SIGNED},
     there AS (SELECT draining FROM region_gates
       WHERE region = $8::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $10::INT8)"
);

/// A write by command $9 of a person whose roles count, but not their home's gate: `there` has a
/// row when region $7 is writable at epoch $8.
const BY_ROLE: &str = formatcp!(
    "{SESSION},
     there AS (SELECT 1 AS ok FROM region_gates
       WHERE region = $7::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $8::INT8)"
);

/// Like `BY_ROLE`, for an administrator.
pub(super) const BY_ADMINISTRATOR: &str = formatcp!(
    "{BY_ROLE},
         administers AS (SELECT 1 AS ok FROM role_grants
           WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID AND role = 'administrator')"
);

/// Like `SIGNED_THERE`, for an operator of city $11.
pub(super) const BY_OPERATOR: &str = formatcp!(
    "{SIGNED_THERE},
         operates AS ({operates})",
    operates = operates_sql!("$11")
);

/// The condition on both gates of [`SIGNED_THERE`] of a write that begins something.
pub(super) const BEGINS_THERE: &str = "WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM g WHERE draining) OR EXISTS (SELECT 1 FROM there WHERE draining) THEN 'draining'";

/// For an UPDATE of the person: notes that region `$region` holds data of theirs.
macro_rules! present_in_sql {
    ($region:literal) => {
        const_format::formatcp!(
            "present_in = CASE WHEN users.present_in @> jsonb_build_array({region}::TEXT) THEN users.present_in
                 ELSE users.present_in || jsonb_build_array({region}::TEXT) END",
            region = $region
        )
    };
}
pub(super) use present_in_sql;

/// Begins the INSERT of an event; a SELECT of these columns follows.
pub(super) const EVENT: &str =
    "INSERT INTO events (region, aggregate_type, aggregate_id, version, action, actor_region,
       actor_id, command_id, correlation_id, occurred_at, epoch, lat, lon, metadata)";

/// The last event of a vehicle, in words, from a row of events; CockroachDB v22.1 has no `to_char`.
pub(super) const LAST_EVENT_IN_WORDS: &str =
    "events.action || ' at ' || substr((events.occurred_at AT TIME ZONE 'UTC')::TEXT, 1, 16) || ' UTC'";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Done,
    /// Nothing, because the same command had been carried out before.
    Already,
    /// Nothing: a gate has another epoch, or is closed.
    Gate,
    /// Nothing: it would begin something, and a region is draining.
    Draining,
    Refused(Refusal),
}

impl Row {
    pub(super) fn verdict(&self) -> Result<Verdict> {
        let code: &str = self.get("verdict")?;
        let unknown = || DbError::new(DbErrorKind::Bug, "verdict", format!("unknown verdict {code}"));
        Ok(match code {
            "ok" => Verdict::Done,
            "already" => Verdict::Already,
            "gate" => Verdict::Gate,
            "draining" => Verdict::Draining,
            refused => Verdict::Refused(Refusal::from_code(refused).ok_or_else(unknown)?),
        })
    }
}
