//! Databases as child processes: for `movr demo` and for tests, never for production. They end with
//! us, and their data is found again at the next start. Schema and statements belong to `db`.

mod binaries;
pub mod cockroach;
pub mod latency;
mod postgres;
mod process;

use std::{
    env::consts::{ARCH, OS},
    io,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use nix::unistd::geteuid;

pub use cockroach::{CockroachDemo, find as find_cockroach};
pub use postgres::{Options, PrivatePostgres};

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(
        "PostgreSQL is not installed: no folder holds both `postgres` and `initdb`. \
         Debian or Ubuntu: apt-get install postgresql. macOS: brew install postgresql@17. \
         Or set MOVR_PG_BIN to the folder that holds them"
    )]
    NotInstalled,
    #[error("MOVR_PG_BIN is {}, but there is no `postgres` and `initdb` in it", .0.display())]
    BadBinaries(PathBuf),
    #[error(
        "{} holds data of PostgreSQL {version}, and that version is not installed. \
         Install it (Debian or Ubuntu: apt-get install postgresql-{version}; \
         macOS: brew install postgresql@{version}), or start with --fresh to begin anew",
        data.display()
    )]
    OtherVersion { data: PathBuf, version: String },
    #[error(
        "PostgreSQL refuses to run as root, and this machine has no user `postgres` or `nobody`; \
         run this as another user"
    )]
    NoUser,
    #[error(
        "user `{user}` runs PostgreSQL (which refuses root) and cannot enter {}: \
         allow it with chmod o+x, or choose another folder with --data",
        folder.display()
    )]
    Closed { folder: PathBuf, user: String },
    #[error("another `movr` uses the database in {} now: stop it, or choose another folder with --data", .0.display())]
    InUse(PathBuf),
    #[error(
        "cockroach is not on the PATH. ./deploy/demo.sh --engine cockroach fetches it; by hand:\n  {}\n\
         Or go without it: --engine postgres",
        cockroach::download(OS, ARCH)
    )]
    NoCockroach,
    #[error(
        "cockroach is {}, and v{}.{} or newer is needed:\n  {}",
        .0,
        cockroach::OLDEST.0, cockroach::OLDEST.1, cockroach::download(OS, ARCH)
    )]
    OldCockroach(String),
    #[error("the listening URL of the cluster cannot be understood: {0}")]
    CockroachUrl(String),
    #[error("{name} ended {when} ({status}); it said:\n{log}")]
    Ended { name: &'static str, when: &'static str, status: ExitStatus, log: String },
    #[error("{name} did not {what} within {} s; it said:\n{log}", patience.as_secs())]
    Late { name: &'static str, what: &'static str, patience: Duration, log: String },
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl LocalError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// The default folder for local state: `/var/lib/movr` for root, else `$XDG_STATE_HOME/movr` or
/// `~/.local/state/movr`; `lookup` reads the environment.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_home_prefers_xdg_and_ignores_relative_paths() {
        for (xdg, expected) in
            [(None, "/home/ada/.local/state"), (Some("/state"), "/state"), (Some("state"), "/home/ada/.local/state")]
        {
            let found = state_home(|name| if name == "HOME" { Some("/home/ada") } else { xdg }.map(str::to_owned));
            assert_eq!(found, PathBuf::from(expected));
        }
    }
}
