//! Role grants: who operates a city, who administers. Rows are stored with the person.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{Conn, EVENT, Reach, Result, Statement, Verdict, Write, verdict::BY_ADMINISTRATOR};
use crate::domain::{
    RegionCode, UserRef,
    event::{USER_ROLE_GRANTED, USER_ROLE_REVOKED},
};

pub const ALL: &[&Statement] = &[&GRANT, &REVOKE, &LIST];

/// Of an operator for a city, or (city empty) of an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// `operator` or `administrator`.
    pub role: String,
    pub city: String,
}

/// An administrator's write, or the shell's, which has neither session nor role: when there is
/// nothing to do, the change, and the event's action.
macro_rules! role_sql {
    ($done:literal, $change:literal, $action:expr) => {
        formatcp!(
            "{BY_ADMINISTRATOR},
             old AS (SELECT 1 AS ok FROM role_grants WHERE region = $7::TEXT::crdb_internal_region
                 AND user_id = $10::UUID AND role = $11::TEXT AND city = $12::TEXT),
             verdict AS (SELECT CASE
                 WHEN $2::UUID IS NOT NULL AND NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
                 WHEN $3::UUID IS NOT NULL AND NOT EXISTS (SELECT 1 FROM administers) THEN 'not_administrator'
                 WHEN {done} (SELECT 1 FROM old) THEN 'already'
                 WHEN NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
                 WHEN NOT EXISTS (SELECT 1 FROM users WHERE region = $7::TEXT::crdb_internal_region AND id = $10::UUID)
                   THEN 'changed'
                 ELSE 'ok' END AS code),
             r AS ({change} RETURNING role_grants.user_id),
             u AS (UPDATE users SET version = version + 1 FROM r
                 WHERE users.region = $7::TEXT::crdb_internal_region AND users.id = r.user_id
                 RETURNING users.id, users.version),
             e AS ({EVENT}
                 SELECT $7::TEXT::crdb_internal_region, 'user', u.id, u.version, '{action}',
                   CASE WHEN $3::UUID IS NOT NULL THEN $1::TEXT END, $3::UUID,
                   $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $8::INT8, NULL::FLOAT8, NULL::FLOAT8,
                   jsonb_build_object('role', $11::TEXT, 'city', $12::TEXT) FROM u RETURNING 1 AS ok)
             SELECT code AS verdict FROM verdict",
            done = $done,
            change = $change,
            action = $action
        )
    };
}

const GRANT: Statement = Statement::write(
    "roles.grant",
    Reach::Named,
    role_sql!(
        "EXISTS",
        "INSERT INTO role_grants (region, user_id, role, city, granted_at)
             SELECT $7::TEXT::crdb_internal_region, $10::UUID, $11::TEXT, $12::TEXT, $5::TIMESTAMPTZ
             FROM verdict WHERE code = 'ok'",
        USER_ROLE_GRANTED
    ),
);

const REVOKE: Statement = Statement::write(
    "roles.revoke",
    Reach::Named,
    role_sql!(
        "NOT EXISTS",
        "DELETE FROM role_grants WHERE role_grants.region = $7::TEXT::crdb_internal_region
               AND role_grants.user_id = $10::UUID AND role_grants.role = $11::TEXT AND role_grants.city = $12::TEXT
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok')",
        USER_ROLE_REVOKED
    ),
);

/// Gives a role to the person with this id in the written region, or takes it.
pub async fn set(
    conn: &Conn,
    write: &Write<'_>,
    person: Uuid,
    Role { role, city }: &Role,
    grant: bool,
) -> Result<Verdict> {
    let statement = if grant { &GRANT } else { &REVOKE };
    write.verdict_by_role(conn, statement, &[&person, role, city]).await
}

#[derive(Debug, Clone)]
pub struct RoleGrant {
    pub person: UserRef,
    pub username: String,
    pub role: Role,
    pub granted_at: DateTime<Utc>,
}

const LIST: Statement = Statement::read(
    "roles.list",
    Reach::Named,
    "SELECT user_id, role, city, granted_at, (SELECT username FROM users
        WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = role_grants.user_id) AS username
     FROM role_grants WHERE role_grants.region = $1::TEXT::crdb_internal_region
       AND user_id >= $2::UUID AND (user_id > $2::UUID OR role > $3::TEXT OR (role = $3::TEXT AND city > $4::TEXT))
     ORDER BY user_id, role, city LIMIT $5",
);

pub async fn list(
    conn: &Conn,
    region: &RegionCode,
    (person, Role { role, city }): &(Uuid, Role),
    limit: i64,
) -> Result<Vec<RoleGrant>> {
    let rows = conn.rows(&LIST, &[region, person, role, city, &limit]).await?;
    let read = |row: &super::row::Row| {
        Ok(RoleGrant {
            person: UserRef { region: region.clone(), id: row.get("user_id")? },
            username: row.get("username")?,
            role: Role { role: row.get("role")?, city: row.get("city")? },
            granted_at: row.get("granted_at")?,
        })
    };
    rows.iter().map(read).collect()
}
