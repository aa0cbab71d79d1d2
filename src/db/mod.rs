//! The database: pools to each region's nodes (`Db`), how statements are sent, retried and
//! measured, and the tables, one file a family. Uses only `domain`; decides nothing.

use connect::connect_beside;
pub use connect::{connect_once, endpoint};
pub use error::{DbError, DbErrorKind, Result};
pub use nodes::PROBES;
pub use pools::Db;
use row::Row;
use statement::{CITY_CHECKED, Param};
pub use statement::{Conn, Reach, Statement};
pub use verdict::{Actor, SessionAuth, Verdict, Write};
use verdict::{BEGINS_THERE, EVENT, GATED, SIGNED, SIGNED_THERE};

pub mod audit;
pub mod bulk;
pub mod catalogue;
pub mod connect;
pub mod distance;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod explain;
pub mod exports;
pub mod feeds;
pub mod fleet;
pub mod fleet_rides;
pub mod gates;
pub mod health;
pub mod home;
pub mod imports;
pub mod job_write;
pub mod jobs;
pub mod locality;
pub mod meter;
pub mod migrate;
mod nodes;
pub mod overview;
pub mod owner_vehicles;
pub mod people;
mod pools;
pub mod reservations;
mod retry;
pub mod revenue;
pub mod rides;
pub mod rights;
pub mod roles;
pub mod row;
pub mod sample;
pub mod sessions;
pub mod stale;
pub mod statement;
pub mod tasks;
pub mod transfers;
pub mod txn;
pub mod users;
pub mod vehicles;
pub mod verdict;
pub mod verify;

/// Every statement by file, and whether the server sends that file's statements: those are prepared
/// before a page needs them.
const STATEMENTS: [(&[&Statement], bool); 30] = [
    (catalogue::ALL, true),
    (catalogue::cities::ALL, true),
    (catalogue::promo_codes::ALL, true),
    (catalogue::tariffs::ALL, true),
    (gates::ALL, true),
    (sessions::ALL, true),
    (users::ALL, true),
    (vehicles::ALL, true),
    (owner_vehicles::ALL, true),
    (reservations::ALL, true),
    (rides::ALL, true),
    (rides::ends::ALL, true),
    (fleet::ALL, true),
    (fleet::changes::ALL, true),
    (fleet_rides::ALL, true),
    (feeds::ALL, true),
    (audit::ALL, true),
    (roles::ALL, true),
    (tasks::ALL, true),
    (overview::ALL, true),
    (revenue::ALL, true),
    (people::ALL, true),
    (home::ALL, true),
    (jobs::ALL, true),
    (bulk::ALL, true),
    (transfers::ALL, true),
    (exports::ALL, true),
    (imports::ALL, true),
    (sample::ALL, false),
    (verify::ALL, false),
];

/// For checks that prepare, explain and count them.
pub fn all_statements() -> Vec<&'static Statement> {
    STATEMENTS.iter().flat_map(|(all, _)| all.iter().copied()).collect()
}

pub fn served_statements() -> impl Iterator<Item = &'static Statement> {
    STATEMENTS.iter().filter(|(_, served)| *served).flat_map(|(all, _)| all.iter().copied())
}
