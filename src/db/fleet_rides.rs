//! Rides as the operators of their city see them: lists, credits, and the question who rode. Nothing
//! here says who or where; only [`ask_rider`] leads to a person, and leaves an event about it.

use chrono::{DateTime, Days, NaiveTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use super::{
    Conn, EVENT, Param, Reach, Result, Row, Statement, Verdict, Write,
    rides::{COLUMNS, Ride, ride},
    row::{SEARCHED, searched},
    verdict::BY_OPERATOR,
};
use crate::domain::{
    Currency, RegionCode, RideRef, Tariff, UserRef, VehicleRef,
    event::{RIDE_CREDITED, RIDE_RIDER_ASKED},
    ride::{RIDE_MAX, RideNumber},
};

pub const ALL: &[&Statement] =
    &[&OPEN, &ENDED, &OF_VEHICLE, &NUMBERED, &FIND, &PRICED, &CREDIT, &ASK_RIDER, &FIND_ASKED];

#[derive(Debug, Clone)]
pub struct FleetRide {
    pub ride: RideRef,
    pub vehicle: VehicleRef,
    /// Of the vehicle, if it is still in the region.
    pub code: Option<String>,
    pub vehicle_type: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub currency: Currency,
    pub total_minor: Option<i64>,
    pub credited_minor: i64,
}

impl FleetRide {
    pub fn number(&self) -> String {
        self.ride.number(self.started_at)
    }
}

// What the index of a city's rides has: no row is looked up for one that is not shown.
const LISTED: &str = "id, vehicle_id, vehicle_type, started_at, ended_at, currency, total_minor, credited_minor";

/// Rides `$among`, with the codes of their vehicles, in `$order`.
macro_rules! listed_sql {
    ($more:literal, $among:expr, $order:literal) => {
        formatcp!(
            "SELECT r.id, r.vehicle_id, r.vehicle_type, r.started_at, r.ended_at, r.currency, r.total_minor,
               r.credited_minor, v.code{more}
             FROM ({among}) AS r LEFT JOIN vehicles AS v ON v.region = $1::TEXT::crdb_internal_region AND v.id = r.vehicle_id
             ORDER BY {order}",
            more = $more,
            among = $among,
            order = $order
        )
    };
}

fn listed(region: &RegionCode, row: &Row) -> Result<FleetRide> {
    Ok(FleetRide {
        ride: RideRef { region: region.clone(), id: row.get("id")? },
        vehicle: VehicleRef { region: region.clone(), id: row.get("vehicle_id")? },
        code: row.get("code")?,
        vehicle_type: row.get("vehicle_type")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
        currency: row.parse("currency")?,
        total_minor: row.get("total_minor")?,
        credited_minor: row.get("credited_minor")?,
    })
}

const OPEN: Statement = Statement::read(
    "fleet_rides.list_open",
    Reach::Named,
    listed_sql!(
        "",
        formatcp!(
            "SELECT {LISTED} FROM rides WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND ended_at IS NULL
                 AND started_at <= $3 AND started_at >= $4 AND (started_at > $4 OR id > $5)
               ORDER BY started_at, id LIMIT $6"
        ),
        "r.started_at, r.id"
    ),
);

/// Rides under way that began by `began_by`, longest first.
pub async fn list_open(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    began_by: DateTime<Utc>,
    after: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<Vec<FleetRide>> {
    let rows = conn.rows(&OPEN, &[region, &city, &began_by, &after.0, &after.1, &limit]).await?;
    rows.iter().map(|row| listed(region, row)).collect()
}

// The last of those that were looked at comes along even if it does not fit: there the search goes on.
const ENDED: Statement = Statement::read(
    "fleet_rides.list_ended",
    Reach::Named,
    listed_sql!(
        ", r.ends, r.fits",
        formatcp!(
            "SELECT {LISTED}, ends, fits FROM
               (SELECT {LISTED}, extract(epoch FROM (ended_at - started_at))::INT8 >= $5::INT8 * 60 AS fits,
                  row_number() OVER (ORDER BY ended_at DESC, id DESC) = $7 AS ends FROM
                  (SELECT {LISTED} FROM rides WHERE region = $1::TEXT::crdb_internal_region AND city = $2
                       AND ended_at <= $3 AND (ended_at < $3 OR id < $4)
                     ORDER BY ended_at DESC, id DESC LIMIT $7) AS newest) AS judged
               WHERE fits OR ends ORDER BY ended_at DESC, id DESC LIMIT $6"
        ),
        "r.ended_at DESC, r.id DESC"
    ),
);

/// Ended rides that took at least so many minutes, newest first, among a bounded number; and the last of those, if the
/// search goes on behind it.
pub async fn list_ended(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    minutes: i64,
    before: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<(Vec<FleetRide>, Option<FleetRide>)> {
    let among = if minutes == 0 { limit } else { SEARCHED.max(limit) };
    let params: [Param<'_>; 7] = [region, &city, &before.0, &before.1, &minutes, &limit, &among];
    searched(&conn.rows(&ENDED, &params).await?, |row| listed(region, row))
}

// The index of a vehicle's rides says nothing of their cities: rows are read of a bounded number only.
const OF_VEHICLE: Statement = Statement::read(
    "fleet_rides.list_of_vehicle",
    Reach::Named,
    listed_sql!(
        ", r.ends, r.fits",
        formatcp!(
            "SELECT rides.id, vehicle_id, vehicle_type, rides.started_at, ended_at, currency, total_minor,
                   credited_minor, ends, city = $2 AS fits FROM
               (SELECT id, row_number() OVER (ORDER BY started_at DESC, id DESC) = {SEARCHED} AS ends FROM
                 (SELECT rides.id, started_at
                   FROM (SELECT id FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND city = $2
                         AND code = ANY ($3::TEXT[])
                       UNION SELECT id FROM vehicles WHERE region = $1::TEXT::crdb_internal_region AND id = $4::UUID) AS w
                     JOIN rides ON rides.region = $1::TEXT::crdb_internal_region AND rides.vehicle_id = w.id
                   WHERE started_at <= $5 AND (started_at < $5 OR rides.id < $6)
                   ORDER BY started_at DESC, rides.id DESC LIMIT {SEARCHED}) AS newest) AS numbered
                 JOIN rides ON rides.region = $1::TEXT::crdb_internal_region AND rides.id = numbered.id
               WHERE city = $2 OR ends ORDER BY rides.started_at DESC, rides.id DESC LIMIT $7"
        ),
        "r.started_at DESC, r.id DESC"
    ),
);

/// Of the vehicle with this code, however its letters are written, or this id; newest first, among a bounded number as in
/// [`list_ended`].
pub async fn list_of_vehicle(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    vehicle: &str,
    before: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<(Vec<FleetRide>, Option<FleetRide>)> {
    let codes = [vehicle.to_owned(), vehicle.to_uppercase(), vehicle.to_lowercase()];
    let id: Option<Uuid> = vehicle.parse().ok();
    let params: [Param<'_>; 7] = [region, &city, &&codes[..], &id, &before.0, &before.1, &limit];
    searched(&conn.rows(&OF_VEHICLE, &params).await?, |row| listed(region, row))
}

// A ride ends within two days of the day on which it began, or is under way.
const NUMBERED: Statement = Statement::read(
    "fleet_rides.list_numbered",
    Reach::Named,
    listed_sql!(
        "",
        formatcp!(
            "SELECT {LISTED} FROM
               (SELECT {LISTED} FROM rides WHERE region = $1::TEXT::crdb_internal_region AND city = $2 AND ended_at IS NULL
                UNION ALL
                SELECT {LISTED} FROM rides WHERE region = $1::TEXT::crdb_internal_region AND city = $2
                  AND ended_at >= $3 AND ended_at < $4) AS near
               WHERE started_at >= $3 AND started_at < $5 AND right(id::TEXT, 6) = $6::TEXT
                 AND strpos($7::TEXT, substr(id::TEXT, 30, 1)) > 0
               ORDER BY started_at, id LIMIT 10"
        ),
        "r.started_at, r.id"
    ),
);

/// Numbers are not unique, but nearly.
pub async fn list_numbered(
    conn: &Conn,
    (region, city): (&RegionCode, &str),
    number: RideNumber,
) -> Result<Vec<FleetRide>> {
    let day = |days| (number.day + Days::new(days)).and_time(NaiveTime::MIN).and_utc();
    let (last, before) = number.digits();
    let params: [Param<'_>; 7] = [region, &city, &day(0), &day(3), &day(1), &last, &before];
    conn.rows(&NUMBERED, &params).await?.iter().map(|row| listed(region, row)).collect()
}

const FIND: Statement = Statement::read(
    "fleet_rides.find",
    Reach::Named,
    formatcp!(
        "SELECT {COLUMNS}, vehicle_id, rider_region::TEXT AS rider_region, rider_id,
            (SELECT v.code FROM vehicles AS v WHERE v.region = $1::TEXT::crdb_internal_region AND v.id = rides.vehicle_id)
              AS code
         FROM rides WHERE region = $1::TEXT::crdb_internal_region AND id = $2"
    ),
);

#[derive(Debug, Clone)]
pub struct FoundRide {
    pub ride: Ride,
    pub vehicle: VehicleRef,
    pub code: Option<String>,
    /// None after an erasure.
    pub rider: Option<UserRef>,
}

pub async fn find(conn: &Conn, key: &RideRef) -> Result<Option<FoundRide>> {
    let read = |row: &Row| {
        Ok(FoundRide {
            ride: ride(row)?,
            vehicle: VehicleRef { region: key.region.clone(), id: row.get("vehicle_id")? },
            code: row.get("code")?,
            rider: row.opt_ref("rider_region", "rider_id")?.map(|(region, id)| UserRef { region, id }),
        })
    };
    conn.opt(&FIND, &[&key.region, &key.id]).await?.as_ref().map(read).transpose()
}

pub const PRICED_PAGE: usize = 200;

const PRICED: Statement = Statement::read(
    "fleet_rides.list_priced",
    Reach::Named,
    formatcp!(
        "SELECT {COLUMNS}, ends, fits FROM
           (SELECT {COLUMNS}, row_number() OVER (ORDER BY ended_at, id) = {SEARCHED} AS ends,
              vehicle_type = $3 AND started_at >= $6 AND started_at < $11 AND unlock_minor = $7 AND per_minute_minor = $8
                AND out_of_area_minor = $9 AND max_charge_minor IS NOT DISTINCT FROM $10::INT8 AND credited_minor = 0
                AND rider_id IS DISTINCT FROM $13::UUID AS fits
            FROM (SELECT {COLUMNS}, rider_id FROM rides WHERE region = $1::TEXT::crdb_internal_region AND city = $2
                AND ended_at >= $4 AND (ended_at > $4 OR id > $5) AND ended_at <= $12
              ORDER BY ended_at, id LIMIT {SEARCHED}) AS oldest) AS judged
         WHERE fits OR ends ORDER BY ended_at, id LIMIT {PRICED_PAGE}"
    ),
);

/// Ended rides that began before `until`, were charged by `tariff` and have no credit, in the order of
/// their ends, among a bounded number as in [`list_ended`]. Those of the operator who asks are a colleague's.
pub async fn list_priced(
    conn: &Conn,
    region: &RegionCode,
    t: &Tariff,
    until: DateTime<Utc>,
    after: (DateTime<Utc>, Uuid),
    operator: Uuid,
) -> Result<(Vec<Ride>, Option<Ride>)> {
    let params: [Param<'_>; 13] = [
        region,
        &t.city,
        &t.vehicle_type,
        &after.0,
        &after.1,
        &t.valid_from,
        &t.unlock_minor,
        &t.per_minute_minor,
        &t.out_of_area_fee_minor,
        &t.max_charge_minor,
        &until,
        &(until + RIDE_MAX),
        &operator,
    ];
    searched(&conn.rows(&PRICED, &params).await?, ride)
}

/// What is taken off one receipt, and what had been taken off when that was decided.
#[derive(Debug, Clone, Copy)]
pub struct Credit {
    pub ride: Uuid,
    pub minor: i64,
    pub seen_minor: i64,
}

// $9 is the command. $11 city, $12 reason; of each credit $13 ride, $14 amount, $15 credited before.
const CREDIT: Statement = Statement::write(
    "fleet_rides.credit",
    Reach::Named,
    formatcp!(
        "{BY_OPERATOR},
         c AS (SELECT c.id, c.minor, c.seen FROM unnest($13::UUID[], $14::INT8[], $15::INT8[]) AS c (id, minor, seen)),
         r AS (SELECT rides.id, rides.ended_at, rides.total_minor, rides.credited_minor, rides.rider_id, c.minor, c.seen
             FROM c JOIN rides ON rides.region = $8::TEXT::crdb_internal_region AND rides.id = c.id
             WHERE rides.city = $11::TEXT),
         old AS (SELECT 1 AS ok FROM events WHERE region = $8::TEXT::crdb_internal_region AND aggregate_type = 'ride'
             AND aggregate_id = ANY($13::UUID[]) AND command_id = $9::UUID LIMIT 1),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM operates) THEN 'not_operator'
             WHEN (SELECT count(*) FROM r) <> (SELECT count(*) FROM c) THEN 'no_such_ride'
             WHEN EXISTS (SELECT 1 FROM old) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN EXISTS (SELECT 1 FROM r WHERE rider_id = $3::UUID) THEN 'own_interest'
             WHEN EXISTS (SELECT 1 FROM r WHERE ended_at IS NULL) THEN 'ride_open'
             WHEN EXISTS (SELECT 1 FROM r WHERE credited_minor <> seen) THEN 'changed'
             WHEN EXISTS (SELECT 1 FROM r WHERE minor <= 0 OR minor > total_minor - credited_minor) THEN 'credit_too_high'
             ELSE 'ok' END AS code),
         r2 AS (UPDATE rides SET credited_minor = rides.credited_minor + c.minor, credit_reason = $12::TEXT,
               version = rides.version + 1
             FROM c, verdict
             WHERE rides.region = $8::TEXT::crdb_internal_region AND rides.id = ANY($13::UUID[]) AND rides.id = c.id
               AND verdict.code = 'ok'
             RETURNING rides.id, rides.version, c.minor),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'ride', r2.id, r2.version, '{RIDE_CREDITED}', $1::TEXT, $3::UUID,
               $9::UUID, r2.id, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8,
               jsonb_build_object('reason', $12::TEXT, 'credited_minor', r2.minor) FROM r2 RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Takes amounts off the receipts of ended rides of `city`: all of them or none.
pub async fn credit(conn: &Conn, write: &Write<'_>, city: &str, reason: &str, credits: &[Credit]) -> Result<Verdict> {
    let rides: Vec<Uuid> = credits.iter().map(|credit| credit.ride).collect();
    let minors: Vec<i64> = credits.iter().map(|credit| credit.minor).collect();
    let seen: Vec<i64> = credits.iter().map(|credit| credit.seen_minor).collect();
    write.verdict(conn, &CREDIT, &[&city, &reason, &rides, &minors, &seen]).await
}

/// How often a person may ask who rode, in a region within a day.
const RIDERS_A_DAY: i64 = 20;

// $9 is the ride. $11 city, $12 reason, $13 command. The events of an operator's questions are an
// aggregate of their own, so that counting them reads no others of theirs.
const ASK_RIDER: Statement = Statement::write(
    "fleet_rides.ask_rider",
    Reach::Named,
    formatcp!(
        "{BY_OPERATOR},
         r AS (SELECT 1 AS ok FROM rides WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
             AND city = $11::TEXT AND rider_id IS NOT NULL),
         asked AS (SELECT max(version) AS version FROM events WHERE region = $8::TEXT::crdb_internal_region
             AND aggregate_type = 'rider_request' AND aggregate_id = $9::UUID),
         old AS (SELECT 1 AS ok FROM events WHERE region = $8::TEXT::crdb_internal_region
             AND aggregate_type = 'rider_request' AND aggregate_id = $9::UUID AND command_id = $13::UUID),
         day AS (SELECT count(*) AS questions FROM events WHERE region = $8::TEXT::crdb_internal_region
             AND actor_id = $3::UUID AND aggregate_type = 'rider_request'
             AND occurred_at > $5::TIMESTAMPTZ - '24:00:00'::INTERVAL),
         verdict AS (SELECT CASE
             WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN NOT EXISTS (SELECT 1 FROM operates) THEN 'not_operator'
             WHEN NOT EXISTS (SELECT 1 FROM r) THEN 'no_such_ride'
             WHEN EXISTS (SELECT 1 FROM old) THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) THEN 'gate'
             WHEN day.questions >= {RIDERS_A_DAY} THEN 'too_many_riders'
             ELSE 'ok' END AS code FROM day),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'rider_request', $9::UUID, coalesce(asked.version, 0) + 1,
               '{RIDE_RIDER_ASKED}', $1::TEXT, $3::UUID, $13::UUID, $9::UUID, $5::TIMESTAMPTZ, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, jsonb_build_object('reason', $12::TEXT)
             FROM asked, verdict WHERE verdict.code = 'ok' RETURNING 1 AS ok)
         SELECT code AS verdict FROM verdict"
    ),
);

/// Records that the person asks who rode.
pub async fn ask_rider(conn: &Conn, write: &Write<'_>, city: &str, reason: &str, command: Uuid) -> Result<Verdict> {
    write.verdict(conn, &ASK_RIDER, &[&city, &reason, &command]).await
}

const FIND_ASKED: Statement = Statement::read(
    "fleet_rides.find_asked",
    Reach::Named,
    "SELECT max(occurred_at) AS at FROM events WHERE region = $1::TEXT::crdb_internal_region
       AND aggregate_type = 'rider_request' AND aggregate_id = $2 AND actor_id = $3 AND actor_region = $4",
);

/// When `by` last asked who rode.
pub async fn find_asked(conn: &Conn, ride: &RideRef, by: &UserRef) -> Result<Option<DateTime<Utc>>> {
    conn.one(&FIND_ASKED, &[&ride.region, &ride.id, &by.id, &by.region.as_str()]).await?.get("at")
}
