//! What a region's fleet does and earns, in numbers: one aggregate statement a region, possibly
//! answered by a replica some seconds behind. Days are in the city's own zone. Totals are counted a
//! second time without the cities, so that the sums can be checked.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use const_format::formatcp;
use serde::Deserialize;

use super::{Conn, Reach, Result, Statement, revenue::LOCAL_DAY};
use crate::domain::{City, Currency, RegionCode};

pub const ALL: &[&Statement] = &[&FIGURES];

// The index over the ends of rides begins with a digit of the id, so that rides that end at
// one time are written to sixteen places. The rides that had not ended at a time are asked for
// in two parts: PostgreSQL would read all rides for both at once.
const ANY_DIGIT: &str = "left(rides.id::TEXT, 1) = ANY ('{0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f}'::TEXT[])";

const FIGURES: Statement = Statement::read(
    "overview.figures",
    Reach::Stale,
    formatcp!(
        "SELECT
        (SELECT coalesce(jsonb_agg(jsonb_build_array(city, status, n, idle)), '[]'::JSONB) FROM
          (SELECT city, status, count(*) AS n, count(*) FILTER (WHERE seen_at < $3::TIMESTAMPTZ) AS idle FROM vehicles
            WHERE region = $1::TEXT::crdb_internal_region AND status <> 'retired' GROUP BY city, status) AS v) AS vehicles,
        (SELECT count(*) FROM vehicles
          WHERE region = $1::TEXT::crdb_internal_region AND status <> 'retired') AS all_vehicles,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(city, n)), '[]'::JSONB) FROM
          (SELECT city, count(*) AS n FROM (
              SELECT city, started_at FROM rides
                WHERE region = $1::TEXT::crdb_internal_region AND {ANY_DIGIT} AND ended_at IS NULL
              UNION ALL SELECT rides.city, started_at FROM rides
                  JOIN (SELECT DISTINCT city FROM unnest($5::TEXT[]) AS parts (city)) AS c ON c.city = rides.city
                WHERE region = $1::TEXT::crdb_internal_region AND {ANY_DIGIT} AND ended_at > $2::TIMESTAMPTZ) AS open
            WHERE started_at <= $2::TIMESTAMPTZ GROUP BY city) AS r) AS running,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(city, day, currency, n, revenue)), '[]'::JSONB) FROM
          (SELECT rides.city, {LOCAL_DAY} AS day, currency, count(*) AS n,
              sum(total_minor - credited_minor)::INT8 AS revenue
            FROM rides JOIN unnest($5::TEXT[], $6::TIMESTAMPTZ[], $7::TIMESTAMPTZ[], $8::INT8[])
                AS c (city, begins, ends, offset_s)
              ON c.city = rides.city AND ended_at >= c.begins AND ended_at < c.ends
            WHERE region = $1::TEXT::crdb_internal_region AND {ANY_DIGIT}
              AND ended_at > $4::TIMESTAMPTZ AND ended_at <= $2::TIMESTAMPTZ GROUP BY 1, 2, 3) AS d) AS days,
        (SELECT count(*) FROM rides WHERE region = $1::TEXT::crdb_internal_region
            AND {ANY_DIGIT} AND ended_at > $4::TIMESTAMPTZ AND ended_at <= $2::TIMESTAMPTZ) AS all_rides"
    ),
);

/// A vehicle that has stood for longer is idle.
pub const IDLE: Duration = Duration::days(3);
/// Thirty days of every zone lie within this.
const WINDOW: Duration = Duration::days(32);

/// A city's earnings of one day in one currency; an array in this order.
#[derive(Debug, Clone, Deserialize)]
pub struct Day {
    pub city: String,
    pub day: NaiveDate,
    pub currency: Currency,
    pub rides: i64,
    /// In minor units, without what was credited.
    pub revenue: i64,
}

#[derive(Debug, Clone)]
pub struct Figures {
    /// City, status, vehicles, and idle ones among them; without retired vehicles.
    pub vehicles: Vec<(String, String, i64, i64)>,
    pub all_vehicles: i64,
    /// City, and rides under way.
    pub running: Vec<(String, i64)>,
    pub days: Vec<Day>,
    pub all_rides: i64,
}

/// The figures of `region` at `at`. Rides count if they had begun or ended by then; vehicles are as
/// the connection sees them.
pub async fn figures(conn: &Conn, region: &RegionCode, cities: &[&City], at: DateTime<Utc>) -> Result<Figures> {
    let since = at - WINDOW;
    let (mut slugs, mut begins, mut ends, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for city in cities {
        for part in city.offsets(since, at) {
            slugs.push(city.slug.as_str());
            begins.push(part.0);
            ends.push(part.1);
            offsets.push(part.2);
        }
    }
    let row = conn.one(&FIGURES, &[region, &at, &(at - IDLE), &since, &slugs, &begins, &ends, &offsets]).await?;
    Ok(Figures {
        vehicles: row.json("vehicles")?,
        all_vehicles: row.get("all_vehicles")?,
        running: row.json("running")?,
        days: row.json("days")?,
        all_rides: row.get("all_rides")?,
    })
}
