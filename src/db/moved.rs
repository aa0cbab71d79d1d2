//! Links to rows that have moved: in which region a row is now that is not where its
//! link says. A deliberate crossing; whoever asks throttles it, since anybody can write a
//! link. Rides stay where they happened; only vehicles move. What is not shown is not found either.

use uuid::Uuid;

use super::{
    error::DbError,
    statement::{Conn, Reach, Statement},
};
use crate::domain::region::RegionCode;

pub const ALL: &[&Statement] = &[&VEHICLE];

const VEHICLE: Statement = Statement::read(
    "vehicles.find_moved",
    Reach::AllRegions { why: "a link to a row that has moved" },
    "SELECT region::TEXT AS region FROM vehicles
     WHERE public_id = $1 AND status = 'available' ORDER BY region LIMIT 1",
);

/// Where the vehicle is that has this public id now.
pub async fn find_vehicle(conn: &Conn, public_id: Uuid) -> Result<Option<RegionCode>, DbError> {
    conn.opt(&VEHICLE, &[&public_id]).await?.map(|row| row.region("region")).transpose()
}
