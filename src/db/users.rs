//! People: their row at home. Registration and the look-up of a username abroad are the two
//! deliberate crossings; everything else names the home region.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use serde_json::Value;
use uuid::Uuid;

use super::{Conn, EVENT, GATED, Param, Reach, Result, Row, SIGNED, Statement, Verdict, Write, sessions::NewSession};
use crate::domain::{
    RegionCode, UserRef,
    event::{USER_PASSWORD_CHANGED, USER_PROFILE_CHANGED, USER_RECOVERED, USER_RECOVERY_CODES_MADE, USER_REGISTERED},
    people::{Registration, folded, username_key},
};

pub const ALL: &[&Statement] =
    &[&LOGIN, &LOGIN_ANYWHERE, &INSERT, &PROFILE, &LIST_CITY, &SET_PROFILE, &SET_PASSWORD, &SET_RECOVERY, &RECOVER];

#[derive(Debug, Clone)]
pub struct Login {
    pub user: UserRef,
    pub city: String,
    pub password_hash: String,
    /// Of the unused recovery codes.
    pub recovery_hashes: Vec<String>,
    pub blocked: bool,
    pub version: i64,
}

const LOGIN: Statement = Statement::read(
    "users.find_login",
    Reach::Named,
    "SELECT region::TEXT AS region, id, city, username, password_hash, recovery_hashes,
       blocked_at IS NOT NULL AS blocked, version
     FROM users WHERE region = $1::TEXT::crdb_internal_region AND username_key IN ($2, $3)",
);

const LOGIN_ANYWHERE: Statement = Statement::read(
    "users.find_login_anywhere",
    Reach::AllRegions { why: "a command names a person by username alone" },
    "SELECT region::TEXT AS region, id, city, username, password_hash, recovery_hashes,
       blocked_at IS NOT NULL AS blocked, version
     FROM users WHERE username_key IN ($1, $2)",
);

/// In `region`, or anywhere.
pub async fn find_login(conn: &Conn, region: Option<&RegionCode>, username: &str) -> Result<Option<Login>> {
    // Before look-alikes had one key, lower case was enough.
    let (key, old) = (username_key(username), username.trim().to_lowercase());
    let rows = match region {
        Some(region) => conn.rows(&LOGIN, &[region, &key, &old]).await?,
        None => conn.rows(&LOGIN_ANYWHERE, &[&key, &old]).await?,
    };
    let name = folded(username);
    // A look-alike is another person's; and who has just this name comes before who has its fold.
    let mut found = None;
    for row in &rows {
        let theirs: &str = row.get("username")?;
        if folded(theirs) == name && (found.is_none() || theirs.to_lowercase() == old) {
            found = Some(row);
        }
    }
    let login = |row: &Row| {
        Ok(Login {
            user: UserRef { region: row.region("region")?, id: row.get("id")? },
            city: row.get("city")?,
            password_hash: row.get("password_hash")?,
            recovery_hashes: row.json("recovery_hashes")?,
            blocked: row.get("blocked")?,
            version: row.get("version")?,
        })
    };
    found.map(login).transpose()
}

/// Ends a change of person $3: nothing, unless the verdict is good.
pub(super) const NEW_VERSION: &str = "version = version + 1 FROM verdict
               WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = $3::UUID AND code = 'ok'
               RETURNING users.id, users.version";

/// Ends all sessions of person $3, if the verdict is good.
pub(super) const END_SESSIONS: &str = "d AS (DELETE FROM sessions
             WHERE sessions.region = $1::TEXT::crdb_internal_region AND sessions.user_id = $3::UUID
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok') RETURNING sessions.id)";

// The person's $3 to $10; the session's $11 id, $12 token hash, $13 device, $14 end; $15 now; $16
// the username's key as older versions made it; $17 the hashes of the recovery codes.
const INSERT: Statement = Statement::write(
    "users.insert",
    Reach::AllRegions { why: "a username is unique over all regions" },
    formatcp!(
        "{GATED},
         old AS (SELECT username_key FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID),
         verdict AS (SELECT CASE
             WHEN EXISTS (SELECT 1 FROM sessions WHERE region = $1::TEXT::crdb_internal_region AND id = $11::UUID
                          AND token_hash = $12::TEXT) THEN 'already'
             WHEN EXISTS (SELECT 1 FROM old) THEN 'form_used'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM g WHERE draining) THEN 'draining'
             WHEN EXISTS (SELECT 1 FROM users WHERE username_key = $16::TEXT) THEN 'username_taken'
             ELSE 'ok' END AS code),
         u AS (INSERT INTO users (region, id, city, username, username_key, first_name, last_name, email,
               password_hash, recovery_hashes, present_in, version, created_at)
             SELECT $1::TEXT::crdb_internal_region, $3::UUID, $4::TEXT, $5::TEXT, $6::TEXT, $7::TEXT, $8::TEXT,
               $9::TEXT, $10::TEXT, $17::JSONB, '[]'::JSONB, 1, $15::TIMESTAMPTZ
             FROM verdict WHERE code = 'ok' RETURNING id),
         first_session AS (INSERT INTO sessions (region, id, user_id, token_hash, device, created_at, seen_at, expires_at)
             SELECT $1::TEXT::crdb_internal_region, $11::UUID, u.id, $12::TEXT, $13::TEXT, $15::TIMESTAMPTZ,
               $15::TIMESTAMPTZ, $14::TIMESTAMPTZ FROM u RETURNING id),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'user', u.id, 1, '{USER_REGISTERED}', $1::TEXT, u.id,
               u.id, u.id, $15::TIMESTAMPTZ, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM u
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

pub async fn insert(
    conn: &Conn,
    id: Uuid,
    new: &Registration,
    (password_hash, recovery_hashes): (&str, &Value),
    epoch: i64,
    session: &NewSession,
    now: DateTime<Utc>,
) -> Result<Verdict> {
    let key = username_key(&new.username);
    // The key of those who registered before look-alikes had one.
    let old_key = new.username.trim().to_lowercase();
    let params: [Param<'_>; 17] = [
        &new.region, &epoch, &id, &new.city, &new.username, &key, &new.first_name, &new.last_name, &new.email,
        &password_hash, &session.id, &session.token_hash, &session.device, &session.expires_at, &now, &old_key,
        recovery_hashes,
    ];
    conn.verdict(&INSERT, &params).await
}

#[derive(Debug, Clone)]
pub struct Profile {
    pub username: String,
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    pub city: String,
    pub password_hash: String,
    pub recovery_codes: usize,
}

const PROFILE: Statement = Statement::read(
    "users.find_profile",
    Reach::Named,
    "SELECT username, first_name, last_name, email, city, password_hash, recovery_hashes FROM users
     WHERE region = $1::TEXT::crdb_internal_region AND id = $2",
);

pub async fn find_profile(conn: &Conn, user: &UserRef) -> Result<Option<Profile>> {
    let read = |row: &Row| {
        Ok(Profile {
            username: row.get("username")?,
            first_name: row.get("first_name")?,
            last_name: row.get("last_name")?,
            email: row.get("email")?,
            city: row.get("city")?,
            password_hash: row.get("password_hash")?,
            recovery_codes: row.json::<Vec<String>>("recovery_hashes")?.len(),
        })
    };
    conn.opt(&PROFILE, &[&user.region, &user.id]).await?.as_ref().map(read).transpose()
}

pub const PAGE: i64 = 50;

const LIST_CITY: Statement = Statement::read(
    "users.list_city",
    Reach::Named,
    formatcp!(
        "SELECT id, first_name, left(last_name, 1) AS initial, created_at FROM users
         WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND id > $3 ORDER BY id LIMIT {PAGE} + 1"
    ),
);

/// A rider as others of the city see them.
#[derive(Debug, Clone)]
pub struct Neighbour {
    /// For the next page only.
    pub id: Uuid,
    pub first_name: String,
    pub initial: String,
    pub created_at: DateTime<Utc>,
}

/// By id, one more than a page has.
pub async fn list_city(conn: &Conn, region: &RegionCode, city: &str, after: Uuid) -> Result<Vec<Neighbour>> {
    let read = |row: &Row| {
        Ok(Neighbour {
            id: row.get("id")?,
            first_name: row.get("first_name")?,
            initial: row.get("initial")?,
            created_at: row.get("created_at")?,
        })
    };
    conn.rows(&LIST_CITY, &[region, &city, &after]).await?.iter().map(read).collect()
}

const SET_PROFILE: Statement = Statement::write(
    "users.set_profile",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
                          AND first_name = $8::TEXT AND last_name = $9::TEXT AND email = $10::TEXT) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             ELSE 'ok' END AS code),
         u AS (UPDATE users SET first_name = $8::TEXT, last_name = $9::TEXT, email = $10::TEXT, {NEW_VERSION}),
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'user', u.id, u.version, '{USER_PROFILE_CHANGED}', $1::TEXT, u.id,
               $11::UUID, $11::UUID, $5::TIMESTAMPTZ, $7::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM u
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

pub async fn set_profile(conn: &Conn, write: &Write<'_>, [first, last, email]: [&str; 3]) -> Result<Verdict> {
    write.verdict_at_home(conn, &SET_PROFILE, &[&first, &last, &email, &write.id]).await
}

const SET_PASSWORD: Statement = Statement::write(
    "users.set_password",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
                          AND password_hash = $9::TEXT) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             WHEN NOT EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
                              AND password_hash = $8::TEXT) THEN 'wrong_password'
             ELSE 'ok' END AS code),
         u AS (UPDATE users SET password_hash = $9::TEXT, {NEW_VERSION}),
         {END_SESSIONS},
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'user', u.id, u.version, '{USER_PASSWORD_CHANGED}', $1::TEXT, u.id,
               $10::UUID, $10::UUID, $5::TIMESTAMPTZ, $7::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM u
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Replaces the password hash `old` and ends all of the person's sessions.
pub async fn set_password(conn: &Conn, write: &Write<'_>, old: &str, new: &str) -> Result<Verdict> {
    write.verdict_at_home(conn, &SET_PASSWORD, &[&old, &new, &write.id]).await
}

const SET_RECOVERY: Statement = Statement::write(
    "users.set_recovery",
    Reach::Named,
    formatcp!(
        "{SIGNED},
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
                          AND recovery_hashes = $8::JSONB) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             ELSE 'ok' END AS code),
         u AS (UPDATE users SET recovery_hashes = $8::JSONB, {NEW_VERSION}),
         {END_SESSIONS},
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'user', u.id, u.version, '{USER_RECOVERY_CODES_MADE}', $1::TEXT, u.id,
               $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $7::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM u
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Replaces the person's recovery codes, given as hashes, and ends all of their sessions.
pub async fn set_recovery(conn: &Conn, write: &Write<'_>, hashes: &Value) -> Result<Verdict> {
    write.verdict_at_home(conn, &SET_RECOVERY, &[hashes, &write.id]).await
}

const RECOVER: Statement = Statement::write(
    "users.recover",
    Reach::Named,
    formatcp!(
        "{GATED},
         verdict AS (SELECT CASE
             WHEN EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
                          AND password_hash = $6::TEXT) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             WHEN NOT EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
                              AND version = $4::INT8) THEN 'changed'
             WHEN EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID
                          AND blocked_at IS NOT NULL) THEN 'blocked'
             ELSE 'ok' END AS code),
         u AS (UPDATE users SET password_hash = $6::TEXT, recovery_hashes = $5::JSONB, {NEW_VERSION}),
         {END_SESSIONS},
         e AS ({EVENT}
             SELECT $1::TEXT::crdb_internal_region, 'user', u.id, u.version, '{USER_RECOVERED}', $1::TEXT, u.id,
               $7::UUID, $7::UUID, $8::TIMESTAMPTZ, $2::INT8, NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM u
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Sets a new password with the recovery code that is missing from `left`; ends all sessions.
pub async fn recover(
    conn: &Conn,
    login: &Login,
    epoch: i64,
    left: &Value,
    password_hash: &str,
    command: Uuid,
    now: DateTime<Utc>,
) -> Result<Verdict> {
    let UserRef { region, id } = &login.user;
    conn.verdict(&RECOVER, &[region, &epoch, id, &login.version, left, &password_hash, &command, &now]).await
}
