//! Audit events of one region, newest first, page by page. Every statement reads at most 1,000
//! events, through the index of the actor if one is given, or puts those of one object in order.
//! Ids only: no names and no places, since a ride's places are personal data of its rider.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Conn, Param, Reach, Result, Row, Statement,
    row::{SEARCHED, searched},
};
use crate::domain::{RegionCode, Roles};

pub const ALL: &[&Statement] = &[&LIST, &LIST_OF, &LIST_BY];

#[derive(Debug, Clone)]
pub struct Filter {
    pub region: RegionCode,
    pub actor: Option<Uuid>,
    /// A prefix, as in `vehicle.`.
    pub action: Option<String>,
    pub aggregate_type: Option<String>,
    pub aggregate_id: Option<Uuid>,
    pub from: DateTime<Utc>,
    /// Only events older than this.
    pub before: Place,
}

/// An event's position in the audit order: time, object type, object id, version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub DateTime<Utc>, pub String, pub Uuid, pub i64);

impl Place {
    /// Before everything that happened at `at`.
    pub fn at(at: DateTime<Utc>) -> Self {
        Self(at, String::new(), Uuid::nil(), 0)
    }
}

#[derive(Debug, Clone)]
pub struct Event {
    pub place: Place,
    pub action: String,
    /// The actor's home at that time; none for commands.
    pub actor_region: Option<String>,
    pub actor: Option<Uuid>,
    pub correlation: Uuid,
    pub epoch: i64,
    /// Details as JSON; never personal data.
    pub metadata: String,
}

macro_rules! newest_sql {
    ($condition:expr) => {
        concat!(
            "(SELECT occurred_at, aggregate_type, aggregate_id, version FROM events
             WHERE region = $1::TEXT::crdb_internal_region AND ",
            $condition,
            " AND occurred_at >= $2 AND (occurred_at, aggregate_type, aggregate_id, version) < ($3, $4, $5, $6)
             ORDER BY occurred_at DESC, aggregate_type DESC, aggregate_id DESC, version DESC LIMIT $13)"
        )
    };
}

macro_rules! any_digit_sql {
    ($first:literal $($digit:literal)*) => {
        concat!(
            newest_sql!(concat!("left(aggregate_id::TEXT, 1) = '", $first, "'")),
            $(" UNION ALL ", newest_sql!(concat!("left(aggregate_id::TEXT, 1) = '", $digit, "'"))),*
        )
    };
}

// $1 region, $2 from, $3 to $6 before; the filter's $7 actor, $8 action, $9 and $10 object; $11
// cities, $12 how many, $13 among how many. The last of the events that were looked at comes along
// even if it does not fit: from there the search goes on.
macro_rules! audit_list_sql {
    ($among:expr) => {
        concat!(
            "WITH seen AS (SELECT occurred_at, aggregate_type, aggregate_id, version,
                 row_number() OVER (ORDER BY occurred_at DESC, aggregate_type DESC, aggregate_id DESC, version DESC) = $13
                   AS ends
               FROM (SELECT occurred_at, aggregate_type, aggregate_id, version FROM (",
            $among,
            ") AS each_digit
                 ORDER BY occurred_at DESC, aggregate_type DESC, aggregate_id DESC, version DESC LIMIT $13) AS newest),
             judged AS (SELECT e.occurred_at, e.aggregate_type, e.aggregate_id, e.version, e.action, e.actor_region,
                 e.actor_id, e.correlation_id, e.epoch, e.metadata::TEXT AS metadata, seen.ends,
                 ($7::UUID IS NULL OR e.actor_id = $7) AND ($8::TEXT IS NULL OR left(e.action, length($8)) = $8)
                   AND ($9::TEXT IS NULL OR e.aggregate_type = $9) AND ($10::UUID IS NULL OR e.aggregate_id = $10)
                   AND ($11::TEXT[] IS NULL OR v.city = ANY ($11) OR j.city = ANY ($11) OR t.city = ANY ($11)
                     OR r.city = ANY ($11)) AS fits
               FROM seen JOIN events e ON e.region = $1::TEXT::crdb_internal_region
                 AND e.aggregate_type = seen.aggregate_type AND e.aggregate_id = seen.aggregate_id
                 AND e.version = seen.version
               LEFT JOIN vehicles v ON v.region = $1::TEXT::crdb_internal_region AND v.id = e.aggregate_id
                 AND e.aggregate_type = 'vehicle'
               LEFT JOIN jobs j ON j.region = $1::TEXT::crdb_internal_region AND j.id = e.correlation_id
                 AND e.aggregate_type IN ('job', 'vehicle')
               LEFT JOIN tasks t ON t.region = $1::TEXT::crdb_internal_region AND t.id = e.aggregate_id
                 AND e.aggregate_type = 'task'
               LEFT JOIN rides r ON r.region = $1::TEXT::crdb_internal_region AND r.id = e.aggregate_id
                 AND e.aggregate_type IN ('ride', 'rider_request'))
             SELECT occurred_at, aggregate_type, aggregate_id, version, action, actor_region, actor_id, correlation_id,
               epoch, metadata, ends, coalesce(fits, FALSE) AS fits
             FROM judged WHERE fits OR ends
             ORDER BY occurred_at DESC, aggregate_type DESC, aggregate_id DESC, version DESC LIMIT $12"
        )
    };
}

const LIST: Statement = Statement::read(
    "audit.list",
    Reach::Named,
    audit_list_sql!(any_digit_sql!("0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "a" "b" "c" "d" "e" "f")),
);

const LIST_OF: Statement = Statement::read(
    "audit.list_of",
    Reach::Named,
    audit_list_sql!(newest_sql!("aggregate_type = $9::TEXT AND aggregate_id = $10::UUID")),
);

const LIST_BY: Statement =
    Statement::read("audit.list_by", Reach::Named, audit_list_sql!(newest_sql!("actor_id = $7::UUID")));

#[derive(Debug, Clone, Default)]
pub struct Found {
    pub events: Vec<Event>,
    pub searched_to: Option<Place>,
}

/// The newest events that fit, at most `limit`: all for an administrator, for others those of their
/// cities' vehicles, rides, jobs and tasks. A vehicle that was transferred away is not found any more; its
/// departure is among the job's events.
pub async fn list(conn: &Conn, filter: &Filter, roles: &Roles, limit: i64) -> Result<Found> {
    let read = |row: &Row| {
        let aggregate = (row.get("aggregate_type")?, row.get("aggregate_id")?);
        Ok(Event {
            place: Place(row.get("occurred_at")?, aggregate.0, aggregate.1, row.get("version")?),
            action: row.get("action")?,
            actor_region: row.get("actor_region")?,
            actor: row.get("actor_id")?,
            correlation: row.get("correlation_id")?,
            epoch: row.get("epoch")?,
            metadata: row.get("metadata")?,
        })
    };
    let cities: Option<Vec<&str>> = (!roles.administers()).then(|| roles.operated().collect());
    let Filter { region, actor, action, aggregate_type, aggregate_id, from, before } = filter;
    let Place(at, before_type, before_id, version) = before;
    let filtered = actor.is_some() || action.is_some() || aggregate_type.is_some() || aggregate_id.is_some();
    let anything = cities.is_none() && !filtered;
    let params: [Param<'_>; 13] = [
        region,
        from,
        at,
        before_type,
        before_id,
        version,
        actor,
        action,
        aggregate_type,
        aggregate_id,
        &cities,
        &limit,
        // Where everything fits, no more than is shown.
        &if anything { limit } else { SEARCHED.max(limit) },
    ];
    let statement = match (aggregate_type, aggregate_id, actor) {
        (Some(_), Some(_), _) => &LIST_OF,
        (.., Some(_)) => &LIST_BY,
        _ => &LIST,
    };
    let (events, last) = searched(&conn.rows(statement, &params).await?, read)?;
    Ok(Found { events, searched_to: last.map(|event| event.place) })
}
