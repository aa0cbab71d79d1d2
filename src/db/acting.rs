//! What all statements on jobs have in common: the first fourteen parameters, the conditions
//! on session, roles and three gates, and the job's own events. A worker has no session, so only
//! roles and gates count; the shell is nobody, so only the gates do.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::DbError,
    row::Row,
    statement::{Conn, Statement},
    verdict::SessionAuth,
};
use crate::domain::{job::JobRef, people::UserRef, region::RegionCode};

/// Who acts.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// A person, whose session and roles must be good.
    Session(&'a SessionAuth),
    /// A worker for a person, whose roles must still be good.
    Person(&'a UserRef),
    /// Whoever has the shell.
    Shell,
}

/// Who does something about which job, and under which gates.
#[derive(Debug, Clone)]
pub struct Acting {
    pub home: RegionCode,
    session: Option<(Uuid, String)>,
    user: Option<Uuid>,
    pub now: DateTime<Utc>,
    /// Sessions not seen since then have ended.
    pub idle_since: DateTime<Utc>,
    pub job: JobRef,
    pub city: String,
    /// Where its vehicles go; the same place for jobs that move nothing.
    pub to: (RegionCode, String),
    /// Epochs of home, of the job's region and of the region that they go to.
    pub epochs: [i64; 3],
}

impl<'a> By<'a> {
    fn session(self) -> Option<&'a SessionAuth> {
        if let Self::Session(auth) = self { Some(auth) } else { None }
    }

    fn user(self) -> Option<&'a UserRef> {
        match self {
            Self::Session(auth) => Some(&auth.user),
            Self::Person(user) => Some(user),
            Self::Shell => None,
        }
    }

    /// The home of the person, or `else_in`.
    pub fn home(self, else_in: &'a RegionCode) -> &'a RegionCode {
        self.user().map_or(else_in, |user| &user.region)
    }
}

impl Acting {
    pub fn new(
        by: By<'_>,
        now: DateTime<Utc>,
        job: &JobRef,
        (city, to): (&str, (&RegionCode, &str)),
        epochs: [i64; 3],
    ) -> Self {
        Self {
            home: by.home(&job.region).clone(),
            session: by.session().map(|auth| (auth.session, auth.token_hash.clone())),
            user: by.user().map(|user| user.id),
            now,
            idle_since: by.session().map_or(now, |auth| auth.idle_since),
            job: job.clone(),
            city: city.to_owned(),
            to: (to.0.clone(), to.1.to_owned()),
            epochs,
        }
    }

    /// The first fourteen parameters of a statement on this job, then `rest` from $15.
    pub(super) async fn one(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        rest: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DbError> {
        let session = self.session.as_ref().map(|(session, _)| session);
        let token = self.session.as_ref().map(|(_, token)| token.as_str());
        let [home, there, target] = &self.epochs;
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &self.home,
            &session,
            &self.user,
            &token,
            &self.now,
            &self.idle_since,
            home,
            &self.job.region,
            &self.job.id,
        ];
        let place: [&(dyn ToSql + Sync); 5] = [there, &self.to.0, target, &self.city, &self.to.1];
        params.extend(place);
        params.extend_from_slice(rest);
        conn.one(statement, &params).await
    }
}

/// Begins the text of a statement on job ($8, $9): `s`, `g`, `there` as for every signed-in
/// person, `tg` when the target region $11 is writable at epoch $12, `o` and `o2` when the
/// person operates the job's city $13 and the target city $14.
macro_rules! acting_sql {
    ($($rest:expr),+ $(,)?) => {
        $crate::db::verdict::signed_there_sql!(
            "tg AS (SELECT 1 AS ok FROM region_gates
               WHERE region = $11::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $12::INT8),
             o AS (SELECT 1 AS ok FROM role_grants WHERE region = $1::TEXT::crdb_internal_region
               AND user_id = $3::UUID AND role = 'operator' AND city = $13::TEXT),
             o2 AS (SELECT 1 AS ok FROM role_grants WHERE region = $1::TEXT::crdb_internal_region
               AND user_id = $3::UUID AND role = 'operator' AND city = $14::TEXT),
            ",
            $($rest),+
        )
    };
}
pub(super) use acting_sql;

/// The first conditions of a verdict: who may not.
macro_rules! who_sql {
    () => {
        "WHEN $2::UUID IS NOT NULL AND NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
         WHEN $3::UUID IS NOT NULL AND NOT (EXISTS (SELECT 1 FROM o) AND EXISTS (SELECT 1 FROM o2)) THEN 'not_operator'
        "
    };
}
pub(super) use who_sql;

/// The job while it is confirmed and not over.
macro_rules! running_sql {
    () => {
        "SELECT 1 AS ok FROM jobs WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID AND city = $13::TEXT
               AND state = 'running' AND confirmed_at IS NOT NULL"
    };
}
pub(super) use running_sql;

/// The condition on the three gates.
macro_rules! gates_sql {
    () => {
        "WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) OR NOT EXISTS (SELECT 1 FROM tg) THEN 'gate'
        "
    };
}
pub(super) use gates_sql;

/// An event that the job's turn or its person caused: version, action and metadata are SQL.
macro_rules! job_event_sql {
    ($version:literal, $action:literal, $metadata:literal, $from:literal) => {
        concat!(
            "SELECT $8::TEXT::crdb_internal_region, 'job', $9::UUID, ",
            $version,
            ", '",
            $action,
            "', CASE WHEN $3::UUID IS NOT NULL THEN $1::TEXT END, $3::UUID, $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, ",
            $metadata,
            " FROM ",
            $from
        )
    };
}
pub(super) use job_event_sql;
