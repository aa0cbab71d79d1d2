//! What owners do with their vehicles beside adding and removing them: pausing, editing, and what
//! they earn. A change carries the version that the owner saw.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    Conn, EVENT, Param, Reach, Result, Row, Statement, Verdict, Write,
    fleet::changes::{
        BY_COMMAND, CHANGE, CHANGED, EDITED, NEXT_VERSION, SeenVehicle, UNCHANGEABLE, VehicleEdit, change,
    },
    tasks::REPORTED,
    vehicles::{HOLD, OWN_MAX},
};
use crate::domain::{
    Currency, RegionCode, UserRef,
    event::{VEHICLE_EDITED, VEHICLE_PAUSED, VEHICLE_RESUMED},
    geo::cell,
    task::{CHARGE, REPORTERS},
    vehicle::{AWAITS_APPROVAL, AWAITS_APPROVAL_NOTE, DECLINED, PAUSED},
};

pub const ALL: &[&Statement] = &[&SET_PAUSED, &EDIT, &LIST_EARNINGS];

const NOT_OWNER: &str = "WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM v WHERE owner_region = $1::TEXT::crdb_internal_region AND owner_id = $3::UUID)
               THEN 'not_your_vehicle'";

// $13 whether it pauses.
const SET_PAUSED: Statement = Statement::write(
    "owner_vehicles.set_paused",
    Reach::Named,
    formatcp!(
        "{CHANGE},
         verdict AS (SELECT CASE {NOT_OWNER}
             {UNCHANGEABLE}
             WHEN $13::BOOL AND NOT EXISTS (SELECT 1 FROM v WHERE status = 'available') THEN 'changed'
             WHEN NOT $13::BOOL AND NOT EXISTS (SELECT 1 FROM v WHERE status = 'maintenance' AND hold = '{PAUSED}')
               THEN 'changed'
             ELSE 'ok' END AS code),
         changed AS (UPDATE vehicles SET
               status = CASE WHEN $13::BOOL OR (SELECT count(DISTINCT reporter_id) FROM tasks
                   WHERE region = $8::TEXT::crdb_internal_region AND vehicle_id = $9::UUID AND state = 'open'
                     AND problem <> '{CHARGE}') >= {REPORTERS}
                 THEN 'maintenance' ELSE 'available' END,
               hold = CASE WHEN $13::BOOL THEN '{PAUSED}' END, {NEXT_VERSION}),
         e AS ({EVENT}
             SELECT {CHANGED}, CASE WHEN $13::BOOL THEN '{VEHICLE_PAUSED}' ELSE '{VEHICLE_RESUMED}' END, {BY_COMMAND},
               changed.lat, changed.lon,
               CASE WHEN $13::BOOL OR changed.status = 'available' THEN '{{}}'::JSONB ELSE {REPORTED} END FROM changed
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Takes it off the street until its owner brings it back; operators cannot. If enough people have
/// reported it meanwhile, it comes back into maintenance.
pub async fn set_paused(conn: &Conn, write: &Write<'_>, seen: &SeenVehicle, paused: bool) -> Result<Verdict> {
    change(conn, &SET_PAUSED, write, seen, &[&paused]).await
}

/// Whether an operator looks at an edited vehicle: it was declined, or says something else to everybody
/// than what was approved.
const LOOKED_AT: &str = formatcp!(
    "({HOLD}) = '{DECLINED}' OR (vehicles.status <> 'lost'
                 AND (vehicles.brand, vehicles.colour, vehicles.place) <> ($14::TEXT, $15::TEXT, $20::TEXT))"
);

// $13 to $20 as in `EDITED`.
const EDIT: Statement = Statement::write(
    "owner_vehicles.edit",
    Reach::Named,
    formatcp!(
        "{CHANGE},
         verdict AS (SELECT CASE {NOT_OWNER}
             {UNCHANGEABLE}
             ELSE 'ok' END AS code),
         changed AS (UPDATE vehicles SET {EDITED},
               status = CASE WHEN {LOOKED_AT} THEN 'maintenance' ELSE vehicles.status END,
               note = CASE WHEN ({LOOKED_AT}) AND (vehicles.status = 'available' OR vehicles.note IS NULL
                   OR ({HOLD}) IN ('{DECLINED}', '{PAUSED}')) THEN '{AWAITS_APPROVAL_NOTE}' ELSE vehicles.note END,
               hold = CASE WHEN {LOOKED_AT} THEN '{AWAITS_APPROVAL}' ELSE {HOLD} END, {NEXT_VERSION}),
         e AS ({EVENT}
             SELECT {CHANGED}, '{VEHICLE_EDITED}', {BY_COMMAND}, changed.lat, changed.lon, '{{}}'::JSONB FROM changed
               RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// What operators noted in maintenance stays, unless they declined the vehicle. Fails with the unique kind if
/// another vehicle of the city has the code.
pub async fn edit(conn: &Conn, write: &Write<'_>, seen: &SeenVehicle, new: &VehicleEdit) -> Result<Verdict> {
    let VehicleEdit { code, brand, colour, battery, at, place, .. } = new;
    let (lat, lon, cell) = (at.lat(), at.lon(), cell(*at));
    change(conn, &EDIT, write, seen, &[code, brand, colour, battery, &lat, &lon, &cell, place]).await
}

/// What the rides of a vehicle brought in one currency, less what was credited.
#[derive(Debug, Clone)]
pub struct Earnings {
    pub vehicle: Uuid,
    pub currency: Currency,
    pub rides: i64,
    pub minor: i64,
}

const LIST_EARNINGS: Statement = Statement::read(
    "owner_vehicles.list_earnings",
    Reach::Named,
    formatcp!(
        "SELECT rides.vehicle_id, rides.currency, count(*) AS rides,
           sum(rides.total_minor - rides.credited_minor)::INT8 AS minor
         FROM vehicles JOIN rides ON rides.region = $1::TEXT::crdb_internal_region AND rides.vehicle_id = vehicles.id
           AND rides.started_at > $4::TIMESTAMPTZ
         WHERE vehicles.region = $1::TEXT::crdb_internal_region AND vehicles.owner_id = $2
           AND vehicles.owner_region::TEXT = $3::TEXT AND ($5::UUID IS NULL OR vehicles.id = $5::UUID)
           AND rides.ended_at IS NOT NULL
         GROUP BY rides.vehicle_id, rides.currency ORDER BY rides.vehicle_id, rides.currency LIMIT {OWN_MAX}"
    ),
);

/// Of the person's vehicles in `region`, or of one of them, by rides that began after `since`.
pub async fn list_earnings(
    conn: &Conn,
    region: &RegionCode,
    owner: &UserRef,
    since: DateTime<Utc>,
    vehicle: Option<Uuid>,
) -> Result<Vec<Earnings>> {
    let read = |row: &Row| {
        Ok(Earnings {
            vehicle: row.get("vehicle_id")?,
            currency: row.parse("currency")?,
            rides: row.get("rides")?,
            minor: row.get("minor")?,
        })
    };
    let params: [Param<'_>; 5] = [region, &owner.id, &owner.region.as_str(), &since, &vehicle];
    conn.rows(&LIST_EARNINGS, &params).await?.iter().map(read).collect()
}
