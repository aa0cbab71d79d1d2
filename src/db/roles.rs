//! Role grants: who operates a city, who administers. Rows live with the person.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    error::DbError,
    statement::{Conn, Reach, Statement},
    verdict::{Verdict, event_sql, verdict},
};
use crate::domain::people::UserRef;

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&GRANT];

const GRANT: Statement = Statement::write(
    "users.grant",
    Reach::Named,
    concat!(
        "WITH g AS (SELECT 1 AS ok FROM region_gates
           WHERE region = $1::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $2::INT8),
         old AS (SELECT 1 AS ok FROM role_grants WHERE region = $1::TEXT::crdb_internal_region
                 AND user_id = $3::UUID AND role = $4::TEXT AND city = $5::TEXT),
         verdict AS (SELECT CASE
             WHEN EXISTS (SELECT 1 FROM old) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) THEN 'gate'
             WHEN NOT EXISTS (SELECT 1 FROM users WHERE region = $1::TEXT::crdb_internal_region AND id = $3::UUID)
               THEN 'changed'
             ELSE 'ok' END AS code),
         r AS (INSERT INTO role_grants (region, user_id, role, city, granted_at)
             SELECT $1::TEXT::crdb_internal_region, $3::UUID, $4::TEXT, $5::TEXT, $6::TIMESTAMPTZ
             FROM verdict WHERE code = 'ok' RETURNING user_id),
         u AS (UPDATE users SET version = version + 1 FROM r
             WHERE users.region = $1::TEXT::crdb_internal_region AND users.id = r.user_id
             RETURNING users.id, users.version),
         e AS (",
        event_sql!(
            "SELECT $1::TEXT::crdb_internal_region, 'user', u.id, u.version, 'user.role_granted', NULL::TEXT, NULL::UUID,
               $7::UUID, $7::UUID, $6::TIMESTAMPTZ, $2::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('role', $4::TEXT, 'city', $5::TEXT) FROM u"
        ),
        ") SELECT code AS verdict FROM verdict"
    ),
);

/// Gives a person a role, for one city or (administrators, city empty) for all.
pub async fn grant(
    conn: &Conn,
    user: &UserRef,
    epoch: i64,
    role: &str,
    city: &str,
    now: DateTime<Utc>,
) -> Result<Verdict, DbError> {
    let command = Uuid::new_v4();
    verdict(&conn.one(&GRANT, &[&user.region, &epoch, &user.id, &role, &city, &now, &command]).await?)
}
