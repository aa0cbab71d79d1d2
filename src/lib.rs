//! MovR: a multi-region vehicle-sharing web application on CockroachDB.
//!
//! Layers, and nothing points back: `cli, web -> ops -> db -> domain`.
//!
//! - [`domain`]: plain types and rules; no I/O.
//! - [`db`]: connections, statements (SQL as data), transactions, migrations.
//! - [`ops`]: what a person asks for, when it decides something.
//! - [`web`]: pages, forms, sessions, middleware, the route table.
//! - [`cli`]: one file a subcommand.
//! - [`worker`]: the background work of an instance; [`server`] binds, starts everything, drains.
//! - [`config`], [`clock`] and [`telemetry`] may be used by anyone.
//! - [`local`]: database servers as child processes, for `movr demo` and tests.
//!
//! Start reading at `web/routes.rs`, follow one route down to its SQL.

pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod local;
pub mod ops;
pub mod server;
pub mod telemetry;
pub mod web;
pub mod worker;

/// A page is hundreds of small allocations; the C library's allocator took a fifth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
