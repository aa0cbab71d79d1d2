//! The checks of `movr verify-data`: one statement each, which returns the keys of rows that break
//! an invariant. Each sees one moment of the whole database. What only Rust computes is read page
//! by page and compared in `ops::verify`. Nothing personal is read.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{Conn, DbError, DbErrorKind, Reach, Result, Row, Statement};
use crate::domain::{
    Point, RegionCode,
    event::{RIDE_CREDITED, RIDE_ENDED_BY_OPERATOR},
    fare::{Discount, Fare, Rate, Span},
};

pub const ALL: &[&Statement] = &[
    &HOMES, &REGIONS, &ENDED, &ONE_OPEN, &OPEN_USERS, &OPEN_VEHICLES, &RESERVATIONS, &REFERENCES, &PRESENCE, &EVENTS,
    &BLOCKED, &QUOTAS, &LIMITS, &CREDITS, &CLOSURES, &VEHICLES, &RIDES,
];

const WHOLE: Reach = Reach::AllRegions { why: "an operator checks the whole database" };

/// Most findings of a check.
pub const SHOWN: usize = 20;

/// A row that breaks an invariant: its region, and its key with what is wrong.
pub type Found = (RegionCode, String);

pub async fn find(conn: &Conn, check: &str, now: DateTime<Utc>) -> Result<Vec<Found>> {
    let rows = match check {
        "homes" => conn.rows(&HOMES, &[]).await,
        "regions" => conn.rows(&REGIONS, &[]).await,
        "ended-rides" => conn.rows(&ENDED, &[]).await,
        "one-open-ride" => conn.rows(&ONE_OPEN, &[]).await,
        "open-rides-of-users" => conn.rows(&OPEN_USERS, &[]).await,
        "open-rides-of-vehicles" => conn.rows(&OPEN_VEHICLES, &[]).await,
        "reservations" => conn.rows(&RESERVATIONS, &[&now]).await,
        "references" => conn.rows(&REFERENCES, &[]).await,
        "presence" => conn.rows(&PRESENCE, &[]).await,
        "events" => conn.rows(&EVENTS, &[]).await,
        "blocked" => conn.rows(&BLOCKED, &[]).await,
        "promo-quotas" => conn.rows(&QUOTAS, &[]).await,
        "promo-limits" => conn.rows(&LIMITS, &[]).await,
        "credits" => conn.rows(&CREDITS, &[]).await,
        other => Err(DbError::new(DbErrorKind::Bug, "verify", format!("there is no check {other}"))),
    };
    rows?.iter().map(|row| Ok((row.region("region")?, row.get("what")?))).collect()
}

const HOMES: Statement = Statement::read(
    "verify.homes",
    WHOLE,
    formatcp!(
        "SELECT max(region::TEXT) AS region, 'user ' || id::TEXT || ': also in another region' AS what
         FROM users GROUP BY id HAVING count(*) > 1
         UNION ALL
         SELECT max(region::TEXT), 'vehicle ' || id::TEXT || ': also in another region'
         FROM vehicles GROUP BY id HAVING count(*) > 1
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const REGIONS: Statement = Statement::read(
    "verify.regions",
    WHOLE,
    formatcp!(
        "SELECT t.region::TEXT AS region, t.kind || ' ' || t.id::TEXT || ': ' || t.city AS what
         FROM (SELECT 'user' AS kind, region, id, city FROM users
             UNION ALL SELECT 'vehicle', region, id, city FROM vehicles
             UNION ALL SELECT 'ride', region, id, city FROM rides) AS t
           LEFT JOIN cities AS c ON c.region = t.region AND c.slug = t.city
         WHERE c.slug IS NULL
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const ENDED: Statement = Statement::read(
    "verify.ended_rides",
    WHOLE,
    formatcp!(
        "SELECT region::TEXT AS region, 'ride ' || id::TEXT || ': fields of its end do not fit together' AS what
         FROM rides WHERE CASE WHEN ended_at IS NULL
             THEN end_lat IS NOT NULL OR end_lon IS NOT NULL OR end_place IS NOT NULL OR outside_area IS NOT NULL
               OR minutes IS NOT NULL OR charge_minor IS NOT NULL OR discount_minor IS NOT NULL OR fee_minor IS NOT NULL
             ELSE end_lat IS NULL OR end_lon IS NULL OR end_place IS NULL OR outside_area IS NULL OR distance_m IS NULL
               OR minutes IS NULL OR charge_minor IS NULL OR discount_minor IS NULL OR fee_minor IS NULL
               OR distance_m < 0
             END
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const ONE_OPEN: Statement = Statement::read(
    "verify.one_open_ride",
    WHOLE,
    formatcp!(
        "SELECT max(region::TEXT) AS region, 'vehicle ' || vehicle_id::TEXT || ': more than one open ride' AS what
         FROM rides WHERE ended_at IS NULL GROUP BY vehicle_id HAVING count(*) > 1
         UNION ALL
         SELECT max(region::TEXT), 'user ' || rider_id::TEXT || ': more than one open ride'
         FROM rides WHERE ended_at IS NULL AND rider_id IS NOT NULL GROUP BY rider_id HAVING count(*) > 1
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const OPEN_USERS: Statement = Statement::read(
    "verify.open_rides_of_users",
    WHOLE,
    formatcp!(
        "SELECT r.region::TEXT AS region, 'open ride ' || r.id::TEXT || ': not on the row of its rider' AS what
         FROM rides AS r LEFT JOIN users AS u ON u.region = r.rider_region AND u.id = r.rider_id
           AND u.open_ride_region = r.region AND u.open_ride_id = r.id
         WHERE r.ended_at IS NULL AND u.id IS NULL
         UNION ALL
         SELECT u.region::TEXT, 'user ' || u.id::TEXT || ': carries an open ride that is not theirs'
         FROM users AS u LEFT JOIN rides AS r ON r.region = u.open_ride_region AND r.id = u.open_ride_id
           AND r.ended_at IS NULL AND r.rider_id = u.id
         WHERE u.open_ride_id IS NOT NULL AND r.id IS NULL
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const OPEN_VEHICLES: Statement = Statement::read(
    "verify.open_rides_of_vehicles",
    WHOLE,
    formatcp!(
        "SELECT r.region::TEXT AS region, 'open ride ' || r.id::TEXT || ': not on the row of its vehicle' AS what
         FROM rides AS r LEFT JOIN vehicles AS v ON v.region = r.region AND v.id = r.vehicle_id AND v.open_ride_id = r.id
         WHERE r.ended_at IS NULL AND v.id IS NULL
         UNION ALL
         SELECT v.region::TEXT, 'vehicle ' || v.id::TEXT || ': its status is not that of its open ride'
         FROM vehicles AS v LEFT JOIN rides AS r ON r.region = v.region AND r.id = v.open_ride_id
           AND r.ended_at IS NULL AND r.vehicle_id = v.id
         WHERE (v.status = 'in_use') <> (r.id IS NOT NULL)
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const RESERVATIONS: Statement = Statement::read(
    "verify.reservations",
    WHOLE,
    formatcp!(
        "SELECT coalesce(u.region, v.region)::TEXT AS region,
           coalesce('user ' || u.id::TEXT || ': the vehicle', 'vehicle ' || v.id::TEXT || ': the person')
             || ' knows of no such reservation' AS what
         FROM (SELECT region, id, reserved_region, reserved_public_id, reserved_until FROM users
             WHERE reserved_until > $1::TIMESTAMPTZ) AS u
           FULL JOIN (SELECT region, id, public_id, reserved_region, reserved_by, reserved_until FROM vehicles
             WHERE reserved_until > $1::TIMESTAMPTZ) AS v
           ON v.region = u.reserved_region AND v.public_id = u.reserved_public_id AND v.reserved_region = u.region
             AND v.reserved_by = u.id AND v.reserved_until = u.reserved_until
         WHERE u.id IS NULL OR v.id IS NULL
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

// An erased person's rides and vehicles are separated from them by a job, batch by batch.
const REFERENCES: Statement = Statement::read(
    "verify.references",
    WHOLE,
    formatcp!(
        "SELECT r.region::TEXT AS region, 'ride ' || r.id::TEXT || ': no vehicle ' || r.vehicle_id::TEXT AS what
         FROM rides AS r LEFT JOIN vehicles AS v ON v.id = r.vehicle_id WHERE v.id IS NULL
         UNION
         SELECT t.region::TEXT, 'task ' || t.id::TEXT || ': no vehicle ' || t.vehicle_id::TEXT
         FROM tasks AS t LEFT JOIN vehicles AS v ON v.id = t.vehicle_id WHERE v.id IS NULL
         UNION
         SELECT t.region::TEXT, 'task ' || t.id::TEXT || ': names somebody who is not there'
         FROM (SELECT region, id, reporter_id AS person FROM tasks UNION ALL SELECT region, id, assignee_id FROM tasks) AS t
           LEFT JOIN users AS u ON u.id = t.person
         WHERE t.person IS NOT NULL AND u.id IS NULL AND NOT EXISTS (SELECT 1 FROM jobs WHERE kind = 'erasure'
           AND state = 'running' AND confirmed_at IS NOT NULL AND requested_by = t.person)
         UNION
         SELECT t.region::TEXT, 'user ' || t.id::TEXT || ': not in ' || t.home::TEXT || ', but ' || t.kind
         FROM (SELECT region, rider_region AS home, rider_id AS id, 'rides of theirs are here' AS kind FROM rides
               WHERE rider_id IS NOT NULL
             UNION ALL SELECT region, owner_region, owner_id, 'vehicles of theirs are here' FROM vehicles
               WHERE owner_id IS NOT NULL) AS t
           LEFT JOIN users AS u ON u.region = t.home AND u.id = t.id
         WHERE u.id IS NULL AND NOT EXISTS (SELECT 1 FROM jobs WHERE kind = 'erasure' AND state = 'running'
           AND confirmed_at IS NOT NULL AND requested_by = t.id)
         UNION
         SELECT p.region::TEXT, 'ride ' || p.ride_id::TEXT || ': has positions but is not there'
         FROM ride_positions AS p LEFT JOIN rides AS r ON r.region = p.region AND r.id = p.ride_id WHERE r.id IS NULL
         UNION
         SELECT p.region::TEXT, 'redemption by user ' || p.user_id::TEXT || ': no ride ' || p.ride_id::TEXT || ' with it'
         FROM promo_redemptions AS p LEFT JOIN rides AS r ON r.region = p.ride_region AND r.id = p.ride_id
           AND r.promo_code = p.code AND r.rider_id = p.user_id
         WHERE r.id IS NULL
         UNION
         SELECT e.region::TEXT, 'vehicle ' || e.aggregate_id::TEXT || ': has events but is not there'
         FROM events AS e LEFT JOIN vehicles AS v ON v.id = e.aggregate_id
         WHERE e.aggregate_type = 'vehicle' AND v.id IS NULL
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const PRESENCE: Statement = Statement::read(
    "verify.presence",
    WHOLE,
    formatcp!(
        "SELECT t.region::TEXT AS region, 'user ' || u.id::TEXT || ': present_in lacks this region' AS what
         FROM (SELECT region, rider_id AS id FROM rides WHERE rider_id IS NOT NULL
             UNION SELECT region, owner_id FROM vehicles WHERE owner_id IS NOT NULL
             UNION SELECT region, reporter_id FROM tasks WHERE reporter_id IS NOT NULL
             UNION SELECT region, assignee_id FROM tasks WHERE assignee_id IS NOT NULL) AS t
           JOIN users AS u ON u.id = t.id
         WHERE NOT u.present_in @> jsonb_build_array(t.region::TEXT)
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const BLOCKED: Statement = Statement::read(
    "verify.blocked",
    WHOLE,
    formatcp!(
        "SELECT s.region::TEXT AS region, 'user ' || s.user_id::TEXT || ': has a session, but is blocked' AS what
         FROM sessions AS s JOIN users AS u ON u.region = s.region AND u.id = s.user_id WHERE u.blocked_at IS NOT NULL
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

// Things move between regions and leave their events behind, so these are counted over all
// regions; the newest lies where the thing is. An erased person's events stay.
const EVENTS: Statement = Statement::read(
    "verify.events",
    WHOLE,
    formatcp!(
        "WITH t AS (SELECT 'user' AS kind, region, id, version FROM users
             UNION ALL SELECT 'vehicle', region, id, version FROM vehicles
             UNION ALL SELECT 'task', region, id, version FROM tasks)
         SELECT coalesce(t.region::TEXT, e.region) AS region,
           coalesce(t.kind, e.kind) || ' ' || coalesce(t.id, e.id)::TEXT || ': version ' || coalesce(t.version::TEXT, 'gone')
             || ', ' || coalesce(e.events, 0)::TEXT || ' events up to ' || coalesce(e.newest, 0)::TEXT AS what
         FROM t FULL JOIN (SELECT aggregate_type AS kind, aggregate_id AS id, max(region::TEXT) AS region,
               count(*) AS events, count(DISTINCT version) AS versions, max(version) AS newest
             FROM events WHERE aggregate_type IN ('user', 'vehicle', 'task') GROUP BY aggregate_type, aggregate_id) AS e
           ON e.kind = t.kind AND e.id = t.id
         WHERE e.events IS NULL OR e.events <> e.newest OR e.versions <> e.newest OR t.version <> e.newest
         UNION ALL
         SELECT t.region::TEXT, t.kind || ' ' || t.id::TEXT || ': its last event is not here'
         FROM t LEFT JOIN events AS e ON e.region = t.region AND e.aggregate_type = t.kind AND e.aggregate_id = t.id
           AND e.version = t.version
         WHERE e.version IS NULL
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

// Counted by rides, which stay when a person's redemptions are erased.
const QUOTAS: Statement = Statement::read(
    "verify.promo_quotas",
    WHOLE,
    formatcp!(
        "SELECT coalesce(q.region, r.region)::TEXT AS region, 'quota ' || coalesce(q.code, r.code) || ': '
           || coalesce(q.granted - q.remaining, 0)::TEXT || ' taken, ' || coalesce(r.rides, 0)::TEXT || ' rides' AS what
         FROM promo_quotas AS q FULL JOIN (SELECT region, promo_code AS code, count(*) AS rides FROM rides
             WHERE promo_code IS NOT NULL GROUP BY region, promo_code) AS r
           ON r.region = q.region AND r.code = q.code
         WHERE coalesce(q.granted - q.remaining, 0) <> coalesce(r.rides, 0)
         UNION ALL
         SELECT r.region::TEXT, 'ride ' || r.id::TEXT || ': ' || r.promo_code || ' was never redeemed for it'
         FROM rides AS r LEFT JOIN promo_redemptions AS p ON p.ride_region = r.region AND p.ride_id = r.id
         WHERE r.promo_code IS NOT NULL AND r.rider_id IS NOT NULL AND p.ride_id IS NULL
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE kind = 'erasure' AND state = 'running'
             AND confirmed_at IS NOT NULL AND requested_by = r.rider_id)
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const LIMITS: Statement = Statement::read(
    "verify.promo_limits",
    WHOLE,
    formatcp!(
        "SELECT max(p.region::TEXT) AS region,
           'user ' || p.user_id::TEXT || ': ' || p.code || ' used more than ' || c.per_rider_limit::TEXT || ' times' AS what
         FROM promo_redemptions AS p JOIN promo_codes AS c ON c.code = p.code
         GROUP BY p.user_id, p.code, c.per_rider_limit HAVING count(*) > c.per_rider_limit
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const CREDITS: Statement = Statement::read(
    "verify.credits",
    WHOLE,
    formatcp!(
        "SELECT coalesce(r.region, e.region)::TEXT AS region, 'ride ' || coalesce(r.id, e.id)::TEXT || ': '
           || coalesce(r.credited_minor, 0)::TEXT || ' credited, ' || coalesce(e.minor, 0)::TEXT || ' by its events' AS what
         FROM (SELECT region, id, credited_minor FROM rides WHERE credited_minor <> 0) AS r
           FULL JOIN (SELECT region, correlation_id AS id, sum((metadata->>'credited_minor')::INT8) AS minor FROM events
             WHERE action IN ('{RIDE_CREDITED}', '{RIDE_ENDED_BY_OPERATOR}') GROUP BY region, correlation_id) AS e
           ON e.region = r.region AND e.id = r.id
         WHERE coalesce(r.credited_minor, 0) <> coalesce(e.minor, 0)
         ORDER BY region, what LIMIT {SHOWN}"
    ),
);

const CLOSURES: Statement = Statement::read(
    "verify.list_closures",
    Reach::Named,
    "SELECT closed_at, opened_at FROM region_closures WHERE region = $1::TEXT::crdb_internal_region ORDER BY opened_at",
);

/// A few a year.
pub(crate) async fn list_closures(conn: &Conn, region: &RegionCode) -> Result<Vec<Span>> {
    let rows = conn.rows(&CLOSURES, &[region]).await?;
    rows.iter().map(|row| Ok((row.get("closed_at")?, row.get("opened_at")?))).collect()
}

pub(crate) const PAGE: usize = 2_000;

#[derive(Debug)]
pub(crate) struct Vehicle {
    pub id: Uuid,
    pub at: Point,
    pub cell: i64,
}

const VEHICLES: Statement = Statement::read(
    "verify.list_vehicles",
    Reach::Named,
    formatcp!(
        "SELECT id, lat, lon, cell FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND id > $2
         ORDER BY id LIMIT {PAGE}"
    ),
);

pub(crate) async fn list_vehicles(conn: &Conn, region: &RegionCode, after: Uuid) -> Result<Vec<Vehicle>> {
    let read = |row: &Row| Ok(Vehicle { id: row.get("id")?, at: row.point("lat", "lon")?, cell: row.get("cell")? });
    conn.rows(&VEHICLES, &[region, &after]).await?.iter().map(read).collect()
}

#[derive(Debug)]
pub(crate) struct Ride {
    pub id: Uuid,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub rate: Rate,
    pub fee_minor: i64,
    pub discount: Option<Discount>,
    pub stored: Fare,
    pub uncharged_s: i64,
}

const RIDES: Statement = Statement::read(
    "verify.list_rides",
    Reach::Named,
    formatcp!(
        "SELECT id, started_at, ended_at, unlock_minor, per_minute_minor, max_charge_minor,
            CASE WHEN outside_area THEN out_of_area_minor ELSE 0 END AS fee, promo_percent, promo_amount_minor,
            minutes, charge_minor, discount_minor, fee_minor, total_minor, uncharged_s
         FROM rides WHERE region = $1::TEXT::crdb_internal_region AND id > $2 AND ended_at IS NOT NULL
           AND minutes IS NOT NULL AND charge_minor IS NOT NULL AND discount_minor IS NOT NULL AND fee_minor IS NOT NULL
           AND total_minor IS NOT NULL
         ORDER BY id LIMIT {PAGE}"
    ),
);

/// The ended rides of `region` after `after`, by id; incomplete ends are found by another check.
pub(crate) async fn list_rides(conn: &Conn, region: &RegionCode, after: Uuid) -> Result<Vec<Ride>> {
    let read = |row: &Row| {
        let (started_at, ended_at) = (row.get("started_at")?, row.get("ended_at")?);
        let (rate, discount, stored) = (row.rate()?, row.discount()?, row.fare()?);
        let (id, fee_minor, uncharged_s) = (row.get("id")?, row.get("fee")?, row.get("uncharged_s")?);
        Ok(Ride { id, started_at, ended_at, rate, fee_minor, discount, stored, uncharged_s })
    };
    conn.rows(&RIDES, &[region, &after]).await?.iter().map(read).collect()
}
