//! The integration tests: one binary, so one link step. Each test has a migrated
//! database of its own (PostgreSQL) or borrows one of a few (CockroachDB); servers run
//! in the test's process on ports of the system's choice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    missing_docs,
    clippy::too_many_lines,
    reason = "nobody calls tests"
)]

mod arrows;
mod cluster;
mod config;
mod connecting;
mod defects;
mod doctor;
mod edge;
mod erasure;
mod faults;
mod gbfs;
mod haproxy;
mod headers;
mod latency;
mod lifecycle;
mod lint;
mod local;
mod locality;
mod metrics;
mod nodes;
mod ops;
mod pages;
mod plans;
mod pools;
mod privacy;
mod regions;
mod request_log;
mod rights;
mod routes;
mod schema;
mod sql;
mod support;
mod texts;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
