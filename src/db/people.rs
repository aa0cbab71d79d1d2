//! People as administrators meet them: found by username in a region or by name and e-mail address
//! in a city, blocked, and signed out everywhere.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{Conn, EVENT, Reach, Result, Row, Statement, Verdict, Write, row::searched, verdict::BY_ADMINISTRATOR};
use crate::domain::{
    RegionCode, Roles, UserRef,
    event::{USER_BLOCKED, USER_SEARCHED, USER_SESSIONS_ENDED, USER_UNBLOCKED},
    people::username_key,
};

pub const ALL: &[&Statement] = &[&LIST_NAMED, &SEARCH, &NOTE_SEARCH, &FIND, &BLOCK, &UNBLOCK, &END_SESSIONS];

const SHOWN: usize = 25;

#[derive(Debug, Clone)]
pub struct Match {
    pub person: UserRef,
    pub username: String,
    pub name: String,
    pub city: String,
    pub blocked: bool,
}

const LIST_NAMED: Statement = Statement::read(
    "people.list_named",
    Reach::Named,
    "SELECT id, username, first_name, last_name, city, blocked_at IS NOT NULL AS blocked FROM users
     WHERE region = $1::TEXT::crdb_internal_region AND username_key IN ($2::TEXT, $3::TEXT)",
);

/// Whoever has this username.
pub async fn list_named(conn: &Conn, region: &RegionCode, typed: &str) -> Result<Vec<Match>> {
    // As `users::find_login` has it.
    let (key, old) = (username_key(typed), typed.trim().to_lowercase());
    conn.rows(&LIST_NAMED, &[region, &key, &old]).await?.iter().map(|row| read_match(region, row)).collect()
}

/// People that one search looks at.
const SEARCHED: i64 = 5_000;

// No index has names or addresses: keys of indexes are known in every region. $3 after whom, $4 the
// words of a name, or an address: folded here like the columns, for engines fold differently.
const SEARCH: Statement = Statement::read(
    "people.search",
    Reach::Named,
    formatcp!(
        "WITH seen AS (SELECT id, username, first_name, last_name, email, city, blocked_at FROM users
           WHERE region = $1::TEXT::crdb_internal_region AND city = $2::TEXT AND id > $3::UUID
           ORDER BY id LIMIT {SEARCHED}),
         judged AS (SELECT id, username, first_name, last_name, city, blocked_at,
             row_number() OVER (ORDER BY id) = {SEARCHED} AS ends, lower(email) = lower($4::TEXT)
               OR strpos(' ' || lower(first_name || ' ' || last_name) || ' ', ' ' || lower($4::TEXT) || ' ') > 0 AS fits
           FROM seen)
         SELECT id, username, first_name, last_name, city, blocked_at IS NOT NULL AS blocked, fits, ends
         FROM judged WHERE fits OR ends ORDER BY id LIMIT {SHOWN} + 1"
    ),
);

#[derive(Debug, Default)]
pub struct Found {
    pub matches: Vec<Match>,
    /// None when everybody of the city was looked at.
    pub searched_to: Option<Uuid>,
}

/// The people of a city after `after` with this e-mail address, or these words in their name.
pub async fn search(conn: &Conn, (region, city): (&RegionCode, &str), typed: &str, after: Uuid) -> Result<Found> {
    let words = typed.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = conn.rows(&SEARCH, &[region, &city, &after, &words]).await?;
    let (mut matches, mut last) = searched(&rows, |row| read_match(region, row))?;
    if matches.len() > SHOWN {
        matches.truncate(SHOWN);
        last = matches.last().cloned();
    }
    Ok(Found { matches, searched_to: last.map(|last| last.person.id) })
}

const NOTE_SEARCH: Statement = Statement::write(
    "people.note_search",
    Reach::Named,
    formatcp!(
        "{BY_ADMINISTRATOR},
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM administers) THEN 'not_administrator'
             WHEN EXISTS (SELECT 1 FROM events WHERE region = $7::TEXT::crdb_internal_region
                 AND aggregate_type = 'people_search' AND aggregate_id = $9::UUID AND version = 1) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             ELSE 'ok' END AS code),
         e AS ({EVENT}
             SELECT $7::TEXT::crdb_internal_region, 'people_search', $9::UUID, 1, '{USER_SEARCHED}', $1::TEXT, $3::UUID,
               $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $8::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('city', $10::TEXT) FROM verdict WHERE code = 'ok' RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Records that an administrator searches the people of a city; what was typed is personal.
pub async fn note_search(conn: &Conn, write: &Write<'_>, city: &str) -> Result<Verdict> {
    write.verdict_by_role(conn, &NOTE_SEARCH, &[&city]).await
}

fn read_match(region: &RegionCode, row: &Row) -> Result<Match> {
    Ok(Match {
        person: UserRef { region: region.clone(), id: row.get("id")? },
        username: row.get("username")?,
        name: whole_name(row)?,
        city: row.get("city")?,
        blocked: row.get("blocked")?,
    })
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
            "{BY_ADMINISTRATOR},
             old AS (SELECT blocked_at FROM users WHERE region = $7::TEXT::crdb_internal_region AND id = $10::UUID),
             verdict AS (SELECT CASE
                 WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN NOT EXISTS (SELECT 1 FROM administers) THEN 'not_administrator'
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
