//! Links to rows that have moved: in which region a row is now that is not where its
//! link says. Two deliberate crossings; whoever asks throttles them, since anybody can
//! write a link. What is not shown is not found either.

use uuid::Uuid;

use super::{
    error::DbError,
    row::Row,
    statement::{Conn, Reach, Statement},
};
use crate::domain::region::RegionCode;

/// Every statement of this file.
pub const ALL: &[&Statement] = &[&VEHICLE, &RIDE];

const EVERYWHERE: Reach = Reach::AllRegions { why: "a link to a row that has moved" };

const VEHICLE: Statement = Statement::read(
    "vehicles.find_moved",
    EVERYWHERE,
    "SELECT region::TEXT AS region FROM vehicles
     WHERE public_id = $1 AND status IN ('available', 'in_use') ORDER BY region LIMIT 1",
);

/// Where the vehicle is that has this public id now.
pub async fn find_vehicle(conn: &Conn, public_id: Uuid) -> Result<Option<RegionCode>, DbError> {
    region(conn.opt(&VEHICLE, &[&public_id]).await?.as_ref())
}

const RIDE: Statement = Statement::read(
    "rides.find_moved",
    EVERYWHERE,
    "SELECT region::TEXT AS region FROM rides WHERE id = $1 AND rider_id = $2 ORDER BY region LIMIT 1",
);

/// Where that ride of the person is.
pub async fn find_ride(conn: &Conn, id: Uuid, rider: Uuid) -> Result<Option<RegionCode>, DbError> {
    region(conn.opt(&RIDE, &[&id, &rider]).await?.as_ref())
}

fn region(row: Option<&Row>) -> Result<Option<RegionCode>, DbError> {
    row.map(|row| row.region("region")).transpose()
}
