//! Sessions, and what every signed-in page needs to know of its person. The row at home is the
//! truth; the cookie's copy only bridges five minutes abroad. Only the SHA-256 of the secret is
//! stored.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Conn, EVENT, GATED, Param, Reach, Result, Row, SIGNED, SessionAuth, Statement, Verdict, Write};
use crate::domain::{
    RegionCode, RideRef, Roles, UserRef,
    event::{SESSION_ENDED, SESSION_STARTED},
};

pub const ALL: &[&Statement] = &[&CHECK, &CHECK_UNSTORED, &LIST, &START, &PRUNE, &TOUCH, &END, &END_OTHERS];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub region: RegionCode,
    pub public_id: Uuid,
    pub until: DateTime<Utc>,
    /// Of the vehicle, which a ride is started with; empty in rows of older versions.
    #[serde(default)]
    pub city: String,
    #[serde(default)]
    pub vehicle_type: String,
}

/// The person of a valid session, as their home region knows them now.
#[derive(Debug, Clone)]
pub struct CurrentUser {
    pub city: String,
    pub first_name: String,
    pub roles: Roles,
    pub present_in: Vec<RegionCode>,
    pub open_ride: Option<RideRef>,
    pub reservation: Option<Reservation>,
    pub seen_at: DateTime<Utc>,
}

/// Of person `u` ($1, `$id`).
macro_rules! person_sql {
    ($id:literal) => {
        formatcp!(
            "u.city, u.first_name, u.present_in, u.open_ride_region::TEXT AS open_ride_region, u.open_ride_id,
        u.reserved_region::TEXT AS reserved_region, u.reserved_public_id, u.reserved_until,
        coalesce(u.reserved_city, '') AS reserved_city, coalesce(u.reserved_type, '') AS reserved_type,
        ARRAY(SELECT role || ':' || city FROM role_grants
          WHERE region = $1::TEXT::crdb_internal_region AND user_id = {id}) AS roles",
            id = $id
        )
    };
}

const CHECK: Statement = Statement::read(
    "sessions.check",
    Reach::Named,
    formatcp!(
        "SELECT {person}, s.seen_at
         FROM sessions s JOIN users u ON u.region = s.region AND u.id = s.user_id
         WHERE s.region = $1::TEXT::crdb_internal_region AND s.id = $2 AND s.user_id = $3 AND s.token_hash = $4
           AND s.expires_at > $5 AND s.seen_at > $6
           AND u.region = $1::TEXT::crdb_internal_region AND u.id = $3",
        person = person_sql!("$3")
    ),
);

// While the region is read-only nobody changes password or roles; when it opens, this session is over.
const CHECK_UNSTORED: Statement = Statement::read(
    "sessions.check_unstored",
    Reach::Named,
    formatcp!(
        "SELECT {person}, $4::TIMESTAMPTZ AS seen_at
         FROM region_gates g JOIN users u ON u.region = g.region
         WHERE g.region = $1::TEXT::crdb_internal_region AND g.write_state = 'read_only'
           AND u.region = $1::TEXT::crdb_internal_region AND u.id = $2 AND u.version = $3",
        person = person_sql!("$2")
    ),
);

pub async fn check(conn: &Conn, auth: &SessionAuth) -> Result<Option<CurrentUser>> {
    let SessionAuth { user: UserRef { region, id }, now, .. } = auth;
    let row = match &auth.unstored {
        None => conn.opt(&CHECK, &auth.params()).await?,
        Some(version) => conn.opt(&CHECK_UNSTORED, &[region, id, version, now]).await?,
    };
    let Some(row) = row else { return Ok(None) };
    let reservation = match row.opt_ref("reserved_region", "reserved_public_id")? {
        Some((region, public_id)) => Some(Reservation {
            region,
            public_id,
            until: row.get("reserved_until")?,
            city: row.get("reserved_city")?,
            vehicle_type: row.get("reserved_type")?,
        }),
        None => None,
    };
    Ok(Some(CurrentUser {
        city: row.get("city")?,
        first_name: row.get("first_name")?,
        roles: Roles::new(row.get("roles")?),
        present_in: row.json("present_in")?,
        open_ride: row.opt_ref("open_ride_region", "open_ride_id")?.map(|(region, id)| RideRef { region, id }),
        reservation,
        seen_at: row.get("seen_at")?,
    }))
}

#[derive(Debug, Clone)]
pub struct SessionRow {
    pub id: Uuid,
    pub device: String,
    pub created_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
}

pub const PAGE: usize = 50;

const LIST: Statement = Statement::read(
    "sessions.list",
    Reach::Named,
    formatcp!(
        "SELECT id, device, created_at, seen_at FROM sessions
         WHERE region = $1::TEXT::crdb_internal_region AND user_id = $2 AND expires_at > $3 AND seen_at > $4
         ORDER BY seen_at DESC, id LIMIT {PAGE} + 1"
    ),
);

/// Valid ones, last used first, one more than a page has.
pub async fn list(conn: &Conn, user: &UserRef, now: DateTime<Utc>, idle: DateTime<Utc>) -> Result<Vec<SessionRow>> {
    let rows = conn.rows(&LIST, &[&user.region, &user.id, &now, &idle]).await?;
    let read = |row: &Row| {
        Ok(SessionRow {
            id: row.get("id")?,
            device: row.get("device")?,
            created_at: row.get("created_at")?,
            seen_at: row.get("seen_at")?,
        })
    };
    rows.iter().map(read).collect()
}

#[derive(Debug, Clone)]
pub struct NewSession {
    pub id: Uuid,
    pub token_hash: String,
    pub device: String,
    pub expires_at: DateTime<Utc>,
}

const START: Statement = Statement::write(
    "sessions.start",
    Reach::Named,
    formatcp!(
        "{GATED},
         u AS (SELECT password_hash, blocked_at FROM users
           WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         old AS (SELECT 1 AS ok FROM sessions
           WHERE region = $1::TEXT::crdb_internal_region AND id = $4::UUID AND token_hash = $5::TEXT),
         verdict AS (SELECT CASE
             WHEN EXISTS (SELECT 1 FROM old) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             WHEN NOT EXISTS (SELECT 1 FROM u WHERE password_hash = $6::TEXT) THEN 'changed'
             WHEN EXISTS (SELECT 1 FROM u WHERE blocked_at IS NOT NULL) THEN 'blocked'
             ELSE 'ok' END AS code),
         n AS (INSERT INTO sessions (region, id, user_id, token_hash, device, created_at, seen_at, expires_at)
             SELECT $1::TEXT::crdb_internal_region, $4::UUID, $3::UUID, $5::TEXT, $7::TEXT, $8::TIMESTAMPTZ,
               $8::TIMESTAMPTZ, $9::TIMESTAMPTZ FROM verdict WHERE code = 'ok' RETURNING id),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'session', n.id, 1, '{SESSION_STARTED}', $1::TEXT, $3::UUID,
               n.id, n.id, $8::TIMESTAMPTZ, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM n
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Only if the person's password hash is still `password_hash`, and they are not blocked.
pub async fn start(
    conn: &Conn,
    user: &UserRef,
    epoch: i64,
    new: &NewSession,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<Verdict> {
    let NewSession { id, token_hash, device, expires_at } = new;
    let params: [Param<'_>; 9] =
        [&user.region, &epoch, &user.id, id, token_hash, &password_hash, device, &now, expires_at];
    conn.verdict(&START, &params).await
}

const PRUNE: Statement = Statement::write(
    "sessions.prune",
    Reach::Named,
    "DELETE FROM sessions WHERE region = $1::TEXT::crdb_internal_region AND user_id = $2
       AND (expires_at <= $3 OR seen_at <= $4)
       AND EXISTS (SELECT 1 FROM region_gates WHERE region = $1::TEXT::crdb_internal_region
                   AND write_state = 'writable' AND epoch = $5)",
);

pub async fn prune(conn: &Conn, user: &UserRef, epoch: i64, now: DateTime<Utc>, idle: DateTime<Utc>) -> Result<()> {
    conn.rows(&PRUNE, &[&user.region, &user.id, &now, &idle, &epoch]).await.map(drop)
}

const TOUCH: Statement = Statement::write(
    "sessions.touch",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             ELSE 'ok' END AS code),
         u AS (UPDATE sessions SET seen_at = $5::TIMESTAMPTZ
            WHERE region = $1::TEXT::crdb_internal_region AND id = $2::UUID AND user_id = $3::UUID
              AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Records that the session is in use. Not an event: only the time changes.
pub async fn touch(conn: &Conn, write: &Write<'_>) -> Result<Verdict> {
    write.verdict_at_home(conn, &TOUCH, &[]).await
}

/// The person's write that ends sessions: which, and the command in their events.
macro_rules! session_end_sql {
    ($which:literal, $command:literal) => {
        formatcp!(
            "{SIGNED},
             verdict AS (SELECT CASE
                 WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
                 ELSE 'ok' END AS code),
             d AS (DELETE FROM sessions
                 WHERE sessions.region = $1::TEXT::crdb_internal_region AND sessions.id {which}
                   AND sessions.user_id = $3::UUID AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok')
                 RETURNING sessions.id),
             e AS ({EVENT}
                 SELECT $1::TEXT::crdb_internal_region, 'session', d.id, 2, '{SESSION_ENDED}', $1::TEXT, $3::UUID,
                   {command}, {command}, $5::TIMESTAMPTZ, $7::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM d
                 RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            which = $which,
            command = $command
        )
    };
}

const END: Statement = Statement::write("sessions.end", Reach::Named, session_end_sql!("= $8::UUID", "d.id"));

pub async fn end(conn: &Conn, write: &Write<'_>, session: Uuid) -> Result<Verdict> {
    write.verdict_at_home(conn, &END, &[&session]).await
}

const END_OTHERS: Statement =
    Statement::write("sessions.end_others", Reach::Named, session_end_sql!("<> $2::UUID", "$8::UUID"));

pub async fn end_others(conn: &Conn, write: &Write<'_>) -> Result<Verdict> {
    write.verdict_at_home(conn, &END_OTHERS, &[&write.id]).await
}
