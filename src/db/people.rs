//! People as administrators meet them: found by username, e-mail address or name in one region,
//! blocked, and signed out everywhere.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{BY_ROLE, Conn, EVENT, Param, Reach, Result, Row, Statement, Verdict, Write};
use crate::domain::{
    RegionCode, Roles, UserRef,
    event::{USER_BLOCKED, USER_SESSIONS_ENDED, USER_UNBLOCKED},
    people::username_key,
};

pub const ALL: &[&Statement] = &[&LIST_MATCHES, &FIND, &BLOCK, &UNBLOCK, &END_SESSIONS];

pub const SHOWN: usize = 25;

#[derive(Debug, Clone)]
pub struct Match {
    pub person: UserRef,
    pub username: String,
    pub name: String,
    pub city: String,
    pub blocked: bool,
}

// Each part has its index. $5 are the possible last names, since both parts of a name may have
// blanks; who has none is found by the first name.
const LIST_MATCHES: Statement = Statement::read(
    "people.list_matches",
    Reach::Named,
    formatcp!(
        "SELECT id, username, first_name, last_name, city, blocked_at IS NOT NULL AS blocked FROM users
           WHERE region = $1::TEXT::crdb_internal_region AND username_key IN ($2::TEXT, $3::TEXT)
         UNION SELECT id, username, first_name, last_name, city, blocked_at IS NOT NULL FROM users
           WHERE region = $1::TEXT::crdb_internal_region AND lower(email) = $4::TEXT
         UNION SELECT id, username, first_name, last_name, city, blocked_at IS NOT NULL FROM users
           WHERE region = $1::TEXT::crdb_internal_region AND lower(last_name) = ANY($5::TEXT[])
             AND (lower(last_name) = $4::TEXT OR lower(first_name || ' ' || last_name) = $4::TEXT)
         UNION SELECT id, username, first_name, last_name, city, blocked_at IS NOT NULL FROM users
           WHERE region = $1::TEXT::crdb_internal_region AND lower(last_name) = '' AND lower(first_name) = $4::TEXT
         ORDER BY last_name, first_name, id LIMIT {SHOWN} + 1"
    ),
);

/// One more than a page shows, by name.
pub async fn list_matches(conn: &Conn, region: &RegionCode, typed: &str) -> Result<Vec<Match>> {
    let words: Vec<String> = typed.split_whitespace().map(str::to_lowercase).collect();
    let last_names: Vec<String> = (0..words.len()).filter_map(|n| Some(words.get(n..)?.join(" "))).collect();
    let name = words.join(" ");
    // As `users::find_login` has it.
    let (key, old) = (username_key(typed), typed.trim().to_lowercase());
    let params: [Param<'_>; 5] = [region, &key, &old, &name, &last_names];
    let read = |row: &Row| {
        Ok(Match {
            person: UserRef { region: region.clone(), id: row.get("id")? },
            username: row.get("username")?,
            name: whole_name(row)?,
            city: row.get("city")?,
            blocked: row.get("blocked")?,
        })
    };
    conn.rows(&LIST_MATCHES, &params).await?.iter().map(read).collect()
}

fn whole_name(row: &Row) -> Result<String> {
    let (first, last): (&str, &str) = (row.get("first_name")?, row.get("last_name")?);
    Ok(format!("{first} {last}").trim_end().to_owned())
}

#[derive(Debug, Clone)]
pub struct Account {
    pub username: String,
    pub name: String,
    pub email: String,
    pub city: String,
    pub created_at: DateTime<Utc>,
    pub blocked_at: Option<DateTime<Utc>>,
    pub riding: bool,
    pub sessions: i64,
    pub roles: Roles,
}

const FIND: Statement = Statement::read(
    "people.find",
    Reach::Named,
    "SELECT username, first_name, last_name, email, city, created_at, blocked_at, open_ride_id IS NOT NULL AS riding,
       (SELECT count(*) FROM sessions WHERE sessions.region = $1::TEXT::crdb_internal_region AND sessions.user_id = $2::UUID
          AND expires_at > $3::TIMESTAMPTZ AND seen_at > $4::TIMESTAMPTZ) AS sessions,
       ARRAY(SELECT role || ':' || role_grants.city FROM role_grants
          WHERE role_grants.region = $1::TEXT::crdb_internal_region AND role_grants.user_id = $2::UUID) AS roles
     FROM users WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $2::UUID",
);

pub async fn find(
    conn: &Conn,
    person: &UserRef,
    now: DateTime<Utc>,
    idle_since: DateTime<Utc>,
) -> Result<Option<Account>> {
    let row = conn.opt(&FIND, &[&person.region, &person.id, &now, &idle_since]).await?;
    let read = |row: &Row| {
        Ok(Account {
            username: row.get("username")?,
            name: whole_name(row)?,
            email: row.get("email")?,
            city: row.get("city")?,
            created_at: row.get("created_at")?,
            blocked_at: row.get("blocked_at")?,
            riding: row.get("riding")?,
            sessions: row.get("sessions")?,
            roles: Roles::new(row.get("roles")?),
        })
    };
    row.as_ref().map(read).transpose()
}

/// An administrator's change of person $10 in region $7: when there is nothing to do, what is set,
/// and the event's action; $11 the reason. All of the person's sessions end.
macro_rules! account_sql {
    ($done:literal, $set:literal, $action:expr) => {
        formatcp!(
            "{BY_ROLE},
             a AS (SELECT 1 AS ok FROM role_grants
               WHERE region = $1::TEXT::crdb_internal_region AND user_id = $3::UUID AND role = 'administrator'),
             old AS (SELECT blocked_at FROM users WHERE region = $7::TEXT::crdb_internal_region AND id = $10::UUID),
             verdict AS (SELECT CASE
                 WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN NOT EXISTS (SELECT 1 FROM a) THEN 'not_administrator'
                 WHEN {done} THEN 'already'
                 WHEN NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
                 WHEN NOT EXISTS (SELECT 1 FROM old) THEN 'changed'
                 ELSE 'ok' END AS code),
             u AS (UPDATE users SET {set}version = version + 1 FROM verdict
                 WHERE users.region = $7::TEXT::crdb_internal_region AND users.id = $10::UUID AND code = 'ok'
                 RETURNING users.id, users.version),
             d AS (DELETE FROM sessions WHERE sessions.region = $7::TEXT::crdb_internal_region
                 AND sessions.user_id = $10::UUID AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') RETURNING 1 AS ok),
             e AS ({EVENT}
                 SELECT $7::TEXT::crdb_internal_region, 'user', u.id, u.version, '{action}', $1::TEXT, $3::UUID,
                   $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $8::INT8, NULL::FLOAT8, NULL::FLOAT8,
                   jsonb_strip_nulls(jsonb_build_object('reason', $11::TEXT)) FROM u RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            done = $done,
            set = $set,
            action = $action
        )
    };
}

const BLOCK: Statement = Statement::write(
    "people.block",
    Reach::Named,
    account_sql!(
        "EXISTS (SELECT 1 FROM old WHERE blocked_at IS NOT NULL)",
        "blocked_at = $5::TIMESTAMPTZ, ",
        USER_BLOCKED
    ),
);

const UNBLOCK: Statement = Statement::write(
    "people.unblock",
    Reach::Named,
    account_sql!("EXISTS (SELECT 1 FROM old WHERE blocked_at IS NULL)", "blocked_at = NULL, ", USER_UNBLOCKED),
);

const END_SESSIONS: Statement = Statement::write(
    "people.end_sessions",
    Reach::Named,
    account_sql!(
        "NOT EXISTS (SELECT 1 FROM sessions WHERE region = $7::TEXT::crdb_internal_region AND user_id = $10::UUID)",
        "",
        USER_SESSIONS_ENDED
    ),
);

#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// With the code of the reason.
    Block(&'static str),
    Unblock,
    EndSessions,
}

pub async fn change(conn: &Conn, write: &Write<'_>, person: Uuid, change: Change) -> Result<Verdict> {
    let (statement, reason) = match change {
        Change::Block(reason) => (&BLOCK, Some(reason)),
        Change::Unblock => (&UNBLOCK, None),
        Change::EndSessions => (&END_SESSIONS, None),
    };
    write.verdict_by_role(conn, statement, &[&person, &reason]).await
}
