//! The haversine distance in SQL, like `domain::geo`. It never fails: PostgreSQL refuses a product
//! that underflows (22003), so coordinates are shifted before they are subtracted, which makes a
//! difference zero or large enough to be squared, and costs some nanometres.

use const_format::formatcp;

/// Metres between (`lat0`, `lon0`) and (`lat1`, `lon1`), four expressions of degrees.
macro_rules! distance_sql {
    ($lat0:literal, $lon0:literal, $lat1:literal, $lon1:literal) => {
        formatcp!(
            "12742017.6 * asin(sqrt(greatest(0.0::FLOAT8, least(1.0::FLOAT8,
               power(sin(radians(({lat1} + 180.0) - ({lat0} + 180.0)) / 2.0), 2.0)
               + sin(radians({lat0} + 90.0)) * sin(radians({lat1} + 90.0))
               * power(sin(radians(({lon1} + 360.0) - ({lon0} + 360.0)) / 2.0), 2.0)))))",
            lat0 = $lat0,
            lon0 = $lon0,
            lat1 = $lat1,
            lon1 = $lon1
        )
    };
}
pub(super) use distance_sql;

/// For tests: the expression between the points `a` and `b`.
pub const BETWEEN: &str = distance_sql!("a.lat", "a.lon", "b.lat", "b.lon");
