//! What `movr verify-data` reads: keys, states and figures of one region's rows, a page
//! at a time by primary key, so that no statement needs more than the ordinary read
//! deadline. Nothing personal is read. `ops::verify` compares, also between regions;
//! so no statement crosses.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    error::DbError,
    row::Row,
    statement::{Conn, Reach, Statement},
};
use crate::domain::{
    fare::{Discount, Fare, Rate},
    geo::Point,
    region::RegionCode,
};

pub const ALL: &[&Statement] = &[&USERS, &VEHICLES, &RIDES, &POSITIONS, &EVENTS, &REDEMPTIONS, &LIST_ERASED];

/// Those that a page sends, too.
pub const SERVED: &[&Statement] = &[&QUOTAS];

/// Rows of a full page; a shorter one is the last.
pub(crate) const PAGE: usize = 2_000;
const LIMIT: i64 = 2_000;

type Params<'a> = [&'a (dyn ToSql + Sync)];

async fn page<T>(
    conn: &Conn,
    statement: &'static Statement,
    params: &Params<'_>,
    read: impl Fn(&Row) -> Result<T, DbError>,
) -> Result<Vec<T>, DbError> {
    conn.rows(statement, params).await?.iter().map(read).collect()
}

/// A person, without anything personal.
#[derive(Debug)]
pub(crate) struct User {
    pub id: Uuid,
    pub city: String,
    pub present_in: Vec<RegionCode>,
    pub open_ride: Option<(RegionCode, Uuid)>,
    pub reserved: Option<(RegionCode, Uuid)>,
    pub reserved_until: Option<DateTime<Utc>>,
    pub version: i64,
}

const USERS: Statement = Statement::read(
    "verify.list_users",
    Reach::Named,
    "SELECT id, city, present_in, open_ride_region::TEXT AS open_ride_region, open_ride_id,
        reserved_region::TEXT AS reserved_region, reserved_public_id, reserved_until, version
     FROM users WHERE region = $1::TEXT::crdb_internal_region AND id > $2 ORDER BY id LIMIT $3",
);

/// The people at home in `region` behind `after`, by id.
pub(crate) async fn list_users(conn: &Conn, region: &RegionCode, after: Uuid) -> Result<Vec<User>, DbError> {
    page(conn, &USERS, &[region, &after, &LIMIT], |row| {
        Ok(User {
            id: row.get("id")?,
            city: row.get("city")?,
            present_in: row.json("present_in")?,
            open_ride: row.opt_ref("open_ride_region", "open_ride_id")?,
            reserved: row.opt_ref("reserved_region", "reserved_public_id")?,
            reserved_until: row.get("reserved_until")?,
            version: row.get("version")?,
        })
    })
    .await
}

/// A vehicle and whose it is, now and for good.
#[derive(Debug)]
pub(crate) struct Vehicle {
    pub id: Uuid,
    pub public_id: Uuid,
    pub city: String,
    pub at: Point,
    pub cell: i64,
    pub owner: Option<(RegionCode, Uuid)>,
    pub reserved: Option<(RegionCode, Uuid)>,
    pub reserved_until: Option<DateTime<Utc>>,
    pub in_use: bool,
    pub open_ride: Option<Uuid>,
    pub version: i64,
}

const VEHICLES: Statement = Statement::read(
    "verify.list_vehicles",
    Reach::Named,
    "SELECT id, public_id, city, lat, lon, cell, owner_region::TEXT AS owner_region, owner_id,
        reserved_region::TEXT AS reserved_region, reserved_by, reserved_until, status = 'in_use' AS in_use,
        open_ride_id, version
     FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND id > $2 ORDER BY id LIMIT $3",
);

/// The vehicles of `region` behind `after`, by id.
pub(crate) async fn list_vehicles(conn: &Conn, region: &RegionCode, after: Uuid) -> Result<Vec<Vehicle>, DbError> {
    page(conn, &VEHICLES, &[region, &after, &LIMIT], |row| {
        Ok(Vehicle {
            id: row.get("id")?,
            public_id: row.get("public_id")?,
            city: row.get("city")?,
            at: row.point("lat", "lon")?,
            cell: row.get("cell")?,
            owner: row.opt_ref("owner_region", "owner_id")?,
            reserved: row.opt_ref("reserved_region", "reserved_by")?,
            reserved_until: row.get("reserved_until")?,
            in_use: row.get("in_use")?,
            open_ride: row.get("open_ride_id")?,
            version: row.get("version")?,
        })
    })
    .await
}

/// A ride with what its fare is made of, and the fare that was stored.
#[derive(Debug)]
pub(crate) struct Ride {
    pub id: Uuid,
    pub city: String,
    pub vehicle: Uuid,
    pub rider: Option<Uuid>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Open with some field of an end, or ended without one of them.
    pub partial: bool,
    pub rate: Rate,
    pub fee_minor: i64,
    pub promo_code: Option<String>,
    pub discount: Option<Discount>,
    pub stored: Option<Fare>,
}

const RIDES: Statement = Statement::read(
    "verify.list_rides",
    Reach::Named,
    "SELECT id, city, vehicle_id, rider_id, started_at, ended_at, unlock_minor, per_minute_minor, max_charge_minor,
        CASE WHEN outside_area THEN out_of_area_minor ELSE 0 END AS fee, promo_code, promo_percent, promo_amount_minor,
        minutes, charge_minor, discount_minor, fee_minor, total_minor,
        CASE WHEN ended_at IS NULL
          THEN end_lat IS NOT NULL OR end_lon IS NOT NULL OR end_place IS NOT NULL OR outside_area IS NOT NULL
            OR minutes IS NOT NULL OR charge_minor IS NOT NULL OR discount_minor IS NOT NULL OR fee_minor IS NOT NULL
          ELSE end_lat IS NULL OR end_lon IS NULL OR end_place IS NULL OR outside_area IS NULL OR distance_m IS NULL
            OR minutes IS NULL OR charge_minor IS NULL OR discount_minor IS NULL OR fee_minor IS NULL
            OR distance_m < 0
          END AS partial
     FROM rides WHERE region = $1::TEXT::crdb_internal_region AND id > $2 ORDER BY id LIMIT $3",
);

/// The rides of `region` behind `after`, by id.
pub(crate) async fn list_rides(conn: &Conn, region: &RegionCode, after: Uuid) -> Result<Vec<Ride>, DbError> {
    page(conn, &RIDES, &[region, &after, &LIMIT], |row| {
        let percent: Option<i64> = row.get("promo_percent")?;
        let amount: Option<i64> = row.get("promo_amount_minor")?;
        Ok(Ride {
            id: row.get("id")?,
            city: row.get("city")?,
            vehicle: row.get("vehicle_id")?,
            rider: row.get("rider_id")?,
            started_at: row.get("started_at")?,
            ended_at: row.get("ended_at")?,
            partial: row.get("partial")?,
            rate: Rate {
                unlock_minor: row.get("unlock_minor")?,
                per_minute_minor: row.get("per_minute_minor")?,
                max_charge_minor: row.get("max_charge_minor")?,
            },
            fee_minor: row.get("fee")?,
            promo_code: row.get("promo_code")?,
            discount: percent.map(Discount::Percent).or(amount.map(Discount::Amount)),
            stored: fare(row)?,
        })
    })
    .await
}

fn fare(row: &Row) -> Result<Option<Fare>, DbError> {
    let parts: [Option<i64>; 5] = [
        row.get("minutes")?,
        row.get("charge_minor")?,
        row.get("discount_minor")?,
        row.get("fee_minor")?,
        row.get("total_minor")?,
    ];
    let [Some(minutes), Some(charge_minor), Some(discount_minor), Some(fee_minor), Some(total_minor)] = parts else {
        return Ok(None);
    };
    Ok(Some(Fare { minutes, charge_minor, discount_minor, fee_minor, total_minor }))
}

const POSITIONS: Statement = Statement::read(
    "verify.list_positions",
    Reach::Named,
    "SELECT ride_id, at FROM ride_positions WHERE region = $1::TEXT::crdb_internal_region AND (ride_id, at) > ($2, $3)
     ORDER BY ride_id, at LIMIT $4",
);

/// The keys of the positions in `region` behind `after`.
pub(crate) async fn list_positions(
    conn: &Conn,
    region: &RegionCode,
    after: (Uuid, DateTime<Utc>),
) -> Result<Vec<(Uuid, DateTime<Utc>)>, DbError> {
    let read = |row: &Row| Ok((row.get("ride_id")?, row.get("at")?));
    page(conn, &POSITIONS, &[region, &after.0, &after.1, &LIMIT], read).await
}

const EVENTS: Statement = Statement::read(
    "verify.list_events",
    Reach::Named,
    "SELECT aggregate_id, version FROM events
     WHERE region = $1::TEXT::crdb_internal_region AND aggregate_type = $2 AND (aggregate_id, version) > ($3, $4)
     ORDER BY aggregate_id, version LIMIT $5",
);

/// Ids and versions of the events of `kind` in `region` behind `after`.
pub(crate) async fn list_events(
    conn: &Conn,
    region: &RegionCode,
    kind: &str,
    after: (Uuid, i64),
) -> Result<Vec<(Uuid, i64)>, DbError> {
    let read = |row: &Row| Ok((row.get("aggregate_id")?, row.get("version")?));
    page(conn, &EVENTS, &[region, &kind, &after.0, &after.1, &LIMIT], read).await
}

/// One use of a promo code.
#[derive(Debug)]
pub(crate) struct Redemption {
    pub user: Uuid,
    pub code: String,
    pub ride: (RegionCode, Uuid),
}

const REDEMPTIONS: Statement = Statement::read(
    "verify.list_redemptions",
    Reach::Named,
    "SELECT user_id, code, ride_region::TEXT AS ride_region, ride_id FROM promo_redemptions
     WHERE region = $1::TEXT::crdb_internal_region AND (user_id, code, ride_id) > ($2, $3, $4)
     ORDER BY user_id, code, ride_id LIMIT $5",
);

/// The redemptions of people at home in `region` behind user, code and ride.
pub(crate) async fn list_redemptions(
    conn: &Conn,
    region: &RegionCode,
    after: (Uuid, String, Uuid),
) -> Result<Vec<Redemption>, DbError> {
    page(conn, &REDEMPTIONS, &[region, &after.0, &after.1, &after.2, &LIMIT], |row| {
        let ride = (row.region("ride_region")?, row.get("ride_id")?);
        Ok(Redemption { user: row.get("user_id")?, code: row.get("code")?, ride })
    })
    .await
}

const QUOTAS: Statement = Statement::read(
    "verify.list_quotas",
    Reach::Named,
    "SELECT code, granted - remaining AS used FROM promo_quotas
     WHERE region = $1::TEXT::crdb_internal_region AND code > $2 ORDER BY code LIMIT $3",
);

/// The codes with a quota in `region` behind `after`, and how often each was used.
pub(crate) async fn list_quotas(
    conn: &Conn,
    region: &RegionCode,
    after: String,
) -> Result<Vec<(String, i64)>, DbError> {
    let read = |row: &Row| Ok((row.get("code")?, row.get("used")?));
    page(conn, &QUOTAS, &[region, &after, &LIMIT], read).await
}

const LIST_ERASED: Statement = Statement::read(
    "verify.list_erased",
    Reach::Named,
    "SELECT requested_by FROM jobs WHERE region = $1::TEXT::crdb_internal_region AND state = 'running'
       AND confirmed_at IS NOT NULL AND kind = 'erasure' ORDER BY confirmed_at, created_at, id LIMIT 10000",
);

/// The people at home in `region` whose rides and vehicles are still being separated from them.
pub async fn list_erased(conn: &Conn, region: &RegionCode) -> Result<Vec<Uuid>, DbError> {
    conn.rows(&LIST_ERASED, &[region]).await?.iter().map(|row| row.get("requested_by")).collect()
}
