//! Journeys in Chromium, through its driver, against the real program: `movr demo` as a
//! child process with a private database. One binary beside the integration tests; the
//! tests take turns, since the demo picks its ports and a browser needs the machine.
//! The surprise: whatever they start runs on a folder of its own, and the folder's end
//! ends the processes that are at home in it, also when a test panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips and measures"
)]
#![allow(missing_docs, clippy::too_many_lines, reason = "nobody calls tests")]

mod accessibility;
mod administrator;
mod closing;
mod distances;
mod fleet;
mod journey;
mod keyboard;
mod maps;
mod owner;
mod restart;
mod support;
mod without_scripts;
