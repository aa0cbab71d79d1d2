//! Databases as child processes of this program: for `movr demo` and for tests, never for production.
//!
//! What lives here finds the machine's database binaries, starts them on a free loopback port, finds
//! them again after a crash of ours, and stops them. It may use processes, files and a bare driver
//! connection to see whether the server answers; schema and statements are the business of `db`.
//! The surprise: run as root, the server child belongs to another user, since PostgreSQL refuses root.

mod account;
mod binaries;
pub mod cockroach;
mod error;
mod folder;
mod launch;
mod orphan;
mod postgres;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use nix::unistd::geteuid;

pub use cockroach::{CockroachDemo, CockroachError, find as find_cockroach};
pub use error::LocalError;
pub use postgres::{Options, PrivatePostgres};

/// The folder for local state when none is named: `/var/lib/movr` for root, else
/// `$XDG_STATE_HOME/movr` or `~/.local/state/movr`; `lookup` reads the environment.
pub fn default_data_dir(lookup: impl Fn(&str) -> Option<String>) -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/var/lib/movr");
    }
    state_home(lookup).join("movr")
}

fn state_home(lookup: impl Fn(&str) -> Option<String>) -> PathBuf {
    // The XDG specification says to ignore a relative path.
    let absolute = |name| lookup(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from(".local/state"))
}
