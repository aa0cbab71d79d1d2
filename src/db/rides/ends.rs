//! The end of a ride: by its rider, by an operator for them, or by the system when it has been open
//! too long. Distance and fare are computed by the statement, the same for all three.

use chrono::{DateTime, Utc};
use const_format::formatcp;
use uuid::Uuid;

use crate::{
    db::{
        Conn, EVENT, Param, Reach, Result, Row, SIGNED_THERE, Statement, Verdict, Write,
        distance::distance_sql,
        tasks::{reported_sql, reports_sql},
        verdict::operates_sql,
    },
    domain::{
        Point, RegionCode, RideRef, UserRef,
        event::{RIDE_ENDED, RIDE_ENDED_BY_OPERATOR},
        geo::cell,
        ride::{RIDE_MAX_HOURS, SPEED_MAX_KMH},
        task::REPORTERS,
    },
};

pub const ALL: &[&Statement] = &[&END, &FORCE, &OVERDUE, &EXPIRE];

/// Where and how a ride ends; the fee was decided by the service area of `city`.
#[derive(Debug, Clone, Copy)]
pub struct RideEnd<'a> {
    pub city: &'a str,
    pub at: Point,
    pub place: &'a str,
    pub outside_area: bool,
}

impl RideEnd<'_> {
    async fn send(
        &self,
        conn: &Conn,
        statement: &'static Statement,
        write: &Write<'_>,
        rest: &[Param<'_>],
    ) -> Result<Verdict> {
        let Self { city, at, place, outside_area } = self;
        let (lat, lon, cell, public_id) = (at.lat(), at.lon(), cell(*at), Uuid::new_v4());
        let own: [Param<'_>; 7] = [place, &lat, &lon, outside_area, &cell, &public_id, city];
        write.verdict(conn, statement, &[&own[..], rest].concat()).await
    }
}

/// The end of a ride, charged without the time in which its regions were closed (as in
/// [`uncharged_seconds`](crate::domain::fare::uncharged_seconds)), at place $11, latitude $12, longitude $13, outside the area or not $14, in
/// cell $15; $16 is the vehicle's new public id, $17 the city: further tables, refusals and gates,
/// the rider's home and id, when it ended, who ended it, and the event's action, actor (only an
/// operator; a rider is named by the ride's row alone) and metadata. A vehicle that enough people
/// have reported meanwhile goes into maintenance, with an event of its own.
macro_rules! ride_end_sql {
    (
        $tables:expr,
        $refusals:expr,
        $gates:literal,
        $region:literal,
        $user:literal,
        $ended:expr,
        $how:literal,
        $event:expr,
        $actor:literal,
        $metadata:literal
    ) => {
        formatcp!(
            "{SIGNED_THERE},
         {tables}r AS (SELECT 1 AS ok, city, started_at, ended_at, unlock_minor, per_minute_minor, out_of_area_minor,
               promo_percent, promo_amount_minor, max_charge_minor, forced_reason, credit_reason, way_m,
               coalesce(last_at, started_at) AS at,
               coalesce(last_lat, start_lat) AS lat, coalesce(last_lon, start_lon) AS lon FROM rides
             WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
               AND rider_region = {region} AND rider_id = {user}),
         verdict AS (SELECT CASE {refusals}
             WHEN r.ok IS NULL THEN 'no_such_ride'
             WHEN r.ended_at IS NOT NULL THEN 'already'
             WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there) {gates} THEN 'gate'
             WHEN r.city <> $17::TEXT THEN 'other_city'
             ELSE 'ok' END AS code
             FROM (SELECT 1 AS one) AS here LEFT JOIN r ON TRUE),
         way AS (SELECT round(way_m + least({distance},
               greatest(0.0::FLOAT8, extract(epoch FROM ({ended} - at))::FLOAT8) * {SPEED_MAX_KMH}.0 / 3.6))::INT8 AS m
             FROM r),
         shut AS (SELECT greatest(c.closed_at, started_at) AS since, least(c.opened_at, {ended}) AS open_at
             FROM r JOIN region_closures AS c ON c.region = $8::TEXT::crdb_internal_region
               AND c.opened_at > started_at AND c.closed_at < {ended}
             UNION ALL
             SELECT greatest(c.closed_at, started_at) AS since, least(c.opened_at, {ended}) AS open_at
             FROM r JOIN region_closures AS c ON c.region = {region}
               AND c.opened_at > started_at AND c.closed_at < {ended}),
         one_by_one AS (SELECT since, open_at, coalesce(max(open_at) OVER (ORDER BY since, open_at
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), since) AS counted FROM shut),
         free AS (SELECT coalesce(ceil(sum(round(extract(epoch FROM (greatest(open_at, counted) - greatest(since, counted)))
               * 1000000.0)::INT8) / 1000000.0), 0)::INT8 AS s FROM one_by_one),
         priced AS (SELECT greatest(1, ceil((extract(epoch FROM ({ended} - started_at))::FLOAT8 - free.s::FLOAT8) / 60.0)::INT8)
                 AS minutes,
               unlock_minor, per_minute_minor, max_charge_minor, promo_percent, promo_amount_minor,
               CASE WHEN $14::BOOL THEN out_of_area_minor ELSE 0 END AS fee FROM r, free),
         charged AS (SELECT minutes, fee, promo_percent, promo_amount_minor,
               CASE WHEN max_charge_minor < unlock_minor + minutes * per_minute_minor THEN max_charge_minor
                 ELSE unlock_minor + minutes * per_minute_minor END AS charge FROM priced),
         fare AS (SELECT minutes, fee, charge, CASE
               WHEN promo_percent IS NOT NULL THEN floor((charge * promo_percent)::NUMERIC / 100)::INT8
               WHEN promo_amount_minor IS NOT NULL THEN least(promo_amount_minor, charge)
               ELSE 0 END AS discount FROM charged),
         r2 AS (UPDATE rides SET ended_at = {ended}, end_lat = $12::FLOAT8, end_lon = $13::FLOAT8,
               end_place = $11::TEXT, outside_area = $14::BOOL, distance_m = way.m, minutes = fare.minutes,
               charge_minor = fare.charge, discount_minor = fare.discount, fee_minor = fare.fee,
               total_minor = fare.charge - fare.discount + fare.fee, uncharged_s = free.s, {how}, version = version + 1
             FROM way, fare, free, verdict
             WHERE rides.region = $8::TEXT::crdb_internal_region AND rides.id = $9::UUID AND code = 'ok'
             RETURNING rides.vehicle_id AS id),
         reports AS ({reports}),
         v2 AS (UPDATE vehicles SET status = CASE WHEN reports.n < {REPORTERS} THEN 'available' ELSE 'maintenance' END,
               open_ride_id = NULL, lat = $12::FLOAT8, lon = $13::FLOAT8, cell = $15::INT8, place = $11::TEXT,
               public_id = $16::UUID, version = vehicles.version + CASE WHEN reports.n < {REPORTERS} THEN 1 ELSE 2 END,
               changed_at = $5::TIMESTAMPTZ, seen_at = $5::TIMESTAMPTZ
             FROM r2, reports WHERE vehicles.region = $8::TEXT::crdb_internal_region AND vehicles.id = r2.id
               AND vehicles.open_ride_id = $9::UUID
             RETURNING vehicles.id, vehicles.version, reports.n),
         u2 AS (UPDATE users SET open_ride_region = NULL, open_ride_id = NULL FROM r2
             WHERE users.region = {region} AND users.id = {user} AND users.open_ride_id = $9::UUID
             RETURNING users.id),
         e AS ({EVENT}
             SELECT $8::TEXT::crdb_internal_region, 'vehicle', v2.id,
               v2.version - CASE WHEN v2.n < {REPORTERS} THEN 0 ELSE 1 END, '{event}', {actor},
               $9::UUID, $9::UUID, $5::TIMESTAMPTZ, $10::INT8, NULL::FLOAT8, NULL::FLOAT8, {metadata} FROM v2
             UNION ALL {reported})
         SELECT code AS verdict FROM verdict",
            tables = $tables,
            region = $region,
            user = $user,
            refusals = $refusals,
            gates = $gates,
            distance = distance_sql!("lat", "lon", "$12::FLOAT8", "$13::FLOAT8"),
            reports = reports_sql!("r2"),
            reported = reported_sql!("$9"),
            ended = $ended,
            how = $how,
            event = $event,
            actor = $actor,
            metadata = $metadata
        )
    };
}

/// The end of a ride that ends now.
const AT_MOST_RIDE_MAX: &str = formatcp!("least($5::TIMESTAMPTZ, started_at + '{RIDE_MAX_HOURS}:00:00'::INTERVAL)");

const END: Statement = Statement::write(
    "rides.end",
    Reach::Named,
    ride_end_sql!(
        "",
        "WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'",
        "",
        "$1::TEXT::crdb_internal_region",
        "$3::UUID",
        AT_MOST_RIDE_MAX,
        "forced = FALSE",
        RIDE_ENDED,
        "NULL::TEXT, NULL::UUID",
        "'{}'::JSONB"
    ),
);

/// Distance and fare are computed from what is stored.
pub async fn end(conn: &Conn, write: &Write<'_>, end: &RideEnd<'_>) -> Result<Verdict> {
    end.send(conn, &END, write, &[]).await
}

/// Never before it began, nor later than it would end now.
const FORCED_AT: &str =
    formatcp!("least({AT_MOST_RIDE_MAX}, greatest(started_at, coalesce($21::TIMESTAMPTZ, $5::TIMESTAMPTZ)))");

// A ride that ended otherwise than this operator asks for was not ended by them, nor is one's own.
// $18 and $19 the rider, $20 the epoch of their home, $21 until when it is charged, $22 whether it is
// free, $23 the reason.
const FORCE: Statement = Statement::write(
    "rides.force_end",
    Reach::Named,
    ride_end_sql!(
        formatcp!(
            "rider_gate AS (SELECT 1 AS ok FROM region_gates
           WHERE region = $18::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $20::INT8),
         operates AS ({}),
         ",
            operates_sql!("$17")
        ),
        formatcp!(
            "WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out' WHEN NOT EXISTS (SELECT 1 FROM operates) THEN 'not_operator'
             WHEN $19::UUID = $3::UUID THEN 'own_interest'
             WHEN r.ended_at IS NOT NULL AND NOT (coalesce(r.forced_reason = $23::TEXT, FALSE)
               AND (r.credit_reason IS NOT NULL OR NOT $22::BOOL) AND r.ended_at <= {FORCED_AT}) THEN 'ride_ended'"
        ),
        " OR NOT EXISTS (SELECT 1 FROM rider_gate)",
        "$18::TEXT::crdb_internal_region",
        "$19::UUID",
        FORCED_AT,
        "forced = TRUE, forced_reason = $23::TEXT,
               credited_minor = CASE WHEN $22::BOOL THEN fare.charge - fare.discount + fare.fee ELSE 0 END,
               credit_reason = CASE WHEN $22::BOOL THEN $23::TEXT END",
        RIDE_ENDED_BY_OPERATOR,
        "$1::TEXT, $3::UUID",
        "(SELECT jsonb_build_object('reason', $23::TEXT,
                 'credited_minor', CASE WHEN $22::BOOL THEN charge - discount + fee ELSE 0 END) FROM fare)"
    ),
);

/// How an operator ends a ride.
#[derive(Debug, Clone)]
pub struct ForcedEnd {
    pub reason: &'static str,
    /// It is charged until then; none for now.
    pub until: Option<DateTime<Utc>>,
    pub free: bool,
}

/// By an operator of its city. `epoch` is that of the rider's home.
pub async fn force(
    conn: &Conn,
    write: &Write<'_>,
    end: &RideEnd<'_>,
    (rider, epoch): (&UserRef, i64),
    ForcedEnd { reason, until, free }: &ForcedEnd,
) -> Result<Verdict> {
    end.send(conn, &FORCE, write, &[&rider.region, &rider.id, &epoch, until, free, reason]).await
}

/// A ride that has been open too long, and its last known place.
#[derive(Debug)]
pub struct Overdue {
    pub ride: RideRef,
    pub rider: UserRef,
    pub city: String,
    pub started_at: DateTime<Utc>,
    pub last: Point,
}

pub const OVERDUE_PAGE: usize = 50;

// The index of open rides holds as many as there are vehicles being ridden, and no more.
const OVERDUE: Statement = Statement::read(
    "rides.list_overdue",
    Reach::Named,
    formatcp!(
        "SELECT id, rider_region::TEXT AS rider_region, rider_id, city, started_at, coalesce(last_lat, start_lat) AS lat,
            coalesce(last_lon, start_lon) AS lon
         FROM rides WHERE region = $1::TEXT::crdb_internal_region AND ended_at IS NULL AND started_at <= $2
           AND rider_id IS NOT NULL AND id > $3 ORDER BY id LIMIT {OVERDUE_PAGE}"
    ),
);

pub async fn list_overdue(
    conn: &Conn,
    region: &RegionCode,
    before: DateTime<Utc>,
    after: Uuid,
) -> Result<Vec<Overdue>> {
    let read = |row: &Row| {
        Ok(Overdue {
            ride: RideRef { region: region.clone(), id: row.get("id")? },
            rider: UserRef { region: row.region("rider_region")?, id: row.get("rider_id")? },
            city: row.get("city")?,
            started_at: row.get("started_at")?,
            last: row.point("lat", "lon")?,
        })
    };
    conn.rows(&OVERDUE, &[region, &before, &after]).await?.iter().map(read).collect()
}

// `changed` stands first: what permits this, without a session, is that the ride is overdue.
// $18 when it ended.
const EXPIRE: Statement = Statement::write(
    "rides.expire",
    Reach::Named,
    ride_end_sql!(
        "",
        "WHEN $18::TIMESTAMPTZ > $5::TIMESTAMPTZ OR EXISTS (SELECT 1 FROM s) THEN 'changed'",
        "",
        "$1::TEXT::crdb_internal_region",
        "$3::UUID",
        "$18::TIMESTAMPTZ",
        "automatic = TRUE",
        RIDE_ENDED,
        "NULL::TEXT, NULL::UUID",
        "'{\"automatic\": true}'::JSONB"
    ),
);

/// Ends an overdue ride as of `ended_at`, for the rider, without a session.
pub async fn expire(conn: &Conn, write: &Write<'_>, end: &RideEnd<'_>, ended_at: DateTime<Utc>) -> Result<Verdict> {
    end.send(conn, &EXPIRE, write, &[&ended_at]).await
}
