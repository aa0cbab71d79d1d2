//! The audit: events of one region, newest first, page by page through the index over
//! their time. Ids only: no names, and no places, since a ride's places are its rider's.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    error::DbError,
    row::Row,
    statement::{Conn, Reach, Statement},
};
use crate::domain::{people, region::RegionCode};

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&LIST];

/// Which events are asked for; what is None does not matter.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Where they were recorded.
    pub region: RegionCode,
    /// Who did it.
    pub actor: Option<Uuid>,
    /// How the action begins, as in `vehicle.`.
    pub action: Option<String>,
    /// What kind of thing it was done to.
    pub kind: Option<String>,
    /// The thing's id.
    pub id: Option<Uuid>,
    /// Not before this.
    pub from: DateTime<Utc>,
    /// Only what stands behind this place.
    pub before: Place,
}

/// The place of an event in the order of the audit: time, kind, id, version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub DateTime<Utc>, pub String, pub Uuid, pub i64);

impl Place {
    /// Before everything that happened at `at`.
    #[must_use]
    pub fn at(at: DateTime<Utc>) -> Self {
        Self(at, String::new(), Uuid::nil(), 0)
    }
}

/// Which events somebody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sees {
    /// All.
    All,
    /// Those of vehicles of these cities, and of their jobs, in the order of their names. A
    /// vehicle that has left by a transfer is not there any more; its leaving is the job's.
    Cities(Vec<String>),
}

impl Sees {
    /// What these roles, written as `role:city`, let a person see.
    #[must_use]
    pub fn of(roles: &[String]) -> Self {
        if roles.iter().any(|role| role == "administrator:") {
            return Self::All;
        }
        let mut cities: Vec<String> = people::operated(roles).map(str::to_owned).collect();
        cities.sort();
        Self::Cities(cities)
    }

    /// Whether it is nothing at all.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Cities(cities) if cities.is_empty())
    }
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// When, what and which version of it.
    pub place: Place,
    /// What was done.
    pub action: String,
    /// Home of whoever did it, at that time; none for commands.
    pub actor_region: Option<String>,
    /// Who did it.
    pub actor: Option<Uuid>,
    /// What was done together.
    pub correlation: Uuid,
    /// The epoch of the region's gate.
    pub epoch: i64,
    /// Details as JSON; never personal data.
    pub metadata: String,
}

const LIST: Statement = Statement::read(
    "audit.list",
    Reach::Named,
    "SELECT e.occurred_at, e.aggregate_type, e.aggregate_id, e.version, e.action, e.actor_region, e.actor_id,
        e.correlation_id, e.epoch, e.metadata::TEXT AS metadata
     FROM events e
     WHERE e.region = $1::TEXT::crdb_internal_region AND e.occurred_at >= $2
       AND (e.occurred_at, e.aggregate_type, e.aggregate_id, e.version) < ($3, $4, $5, $6)
       AND ($7::UUID IS NULL OR e.actor_id = $7) AND ($8::TEXT IS NULL OR left(e.action, length($8)) = $8)
       AND ($9::TEXT IS NULL OR e.aggregate_type = $9) AND ($10::UUID IS NULL OR e.aggregate_id = $10)
       AND ($11::TEXT[] IS NULL
         OR (e.aggregate_type = 'vehicle' AND EXISTS (SELECT 1 FROM vehicles v
               WHERE v.region = $1::TEXT::crdb_internal_region AND v.id = e.aggregate_id AND v.city = ANY ($11)))
         OR (e.aggregate_type IN ('job', 'vehicle') AND EXISTS (SELECT 1 FROM jobs j
               WHERE j.region = $1::TEXT::crdb_internal_region AND j.id = e.correlation_id AND j.city = ANY ($11))))
     ORDER BY e.occurred_at DESC, e.aggregate_type DESC, e.aggregate_id DESC, e.version DESC LIMIT $12",
);

/// The newest events that fit, at most `limit`.
pub async fn list(conn: &Conn, filter: &Filter, sees: &Sees, limit: i64) -> Result<Vec<Event>, DbError> {
    let read = |row: &Row| {
        let kind = row.get("aggregate_type")?;
        Ok(Event {
            place: Place(row.get("occurred_at")?, kind, row.get("aggregate_id")?, row.get("version")?),
            action: row.get("action")?,
            actor_region: row.get("actor_region")?,
            actor: row.get("actor_id")?,
            correlation: row.get("correlation_id")?,
            epoch: row.get("epoch")?,
            metadata: row.get("metadata")?,
        })
    };
    let cities = match sees {
        Sees::All => None,
        Sees::Cities(cities) => Some(cities),
    };
    let Place(at, kind, id, version) = &filter.before;
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
        &filter.region,
        &filter.from,
        at,
        kind,
        id,
        version,
        &filter.actor,
        &filter.action,
        &filter.kind,
        &filter.id,
        &cities,
        &limit,
    ];
    conn.rows(&LIST, &params).await?.iter().map(read).collect()
}
