//! What can go wrong with a local database, each in words that say what to do about it.
//!
//! These are read by the person at the terminal, so they name folders, packages and options.
//! The surprise: a failed start carries the end of the server's own log, because that is the only
//! place where PostgreSQL says why it stopped.

use std::io;
use std::path::{Path, PathBuf};

/// Why a local database could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No folder of this machine holds PostgreSQL's server programs.
    #[error(
        "PostgreSQL is not installed: no folder holds both `postgres` and `initdb`. \
         Debian or Ubuntu: apt-get install postgresql. macOS: brew install postgresql@17. \
         Or set MOVR_PG_BIN to the folder that holds them"
    )]
    NotInstalled,
    /// `MOVR_PG_BIN` names a folder without the server programs.
    #[error("MOVR_PG_BIN is {}, but there is no `postgres` and `initdb` in it", .0.display())]
    BadBinaries(PathBuf),
    /// The cluster was made by a major version that is not installed any more.
    #[error(
        "{} holds data of PostgreSQL {cluster}, and that version is not installed. \
         Install it (Debian or Ubuntu: apt-get install postgresql-{cluster}; \
         macOS: brew install postgresql@{cluster}), or start with --fresh to begin anew",
        folder.display()
    )]
    OtherVersion { folder: PathBuf, cluster: String },
    /// Root runs this, and there is no unprivileged user to run the server.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` \
         nor a user `nobody`; run this as another user"
    )]
    NoAccount,
    /// A folder on the way to the data is closed to the user that runs the server.
    #[error(
        "user `{user}` runs PostgreSQL (which refuses root) and cannot enter {}: \
         allow it with chmod o+x, or choose another folder with --data",
        folder.display()
    )]
    Closed {
        /// The first folder that cannot be entered.
        folder: PathBuf,
        user: String,
    },
    /// Another process of ours uses this data now.
    #[error(
        "another `movr` uses the database in {} now: stop it, or choose another folder with --data",
        .0.display()
    )]
    InUse(PathBuf),
    /// A server runs on this data, but the stored password does not open it.
    #[error(
        "the password in {} does not open the database beside it; start with --fresh to begin anew",
        .0.display()
    )]
    WrongPassword(PathBuf),
    /// A database program ended with an error.
    #[error("{program} ended with {status}; it said:\n{log}")]
    Failed { program: &'static str, status: String, log: String },
    /// The server ended without having been told to.
    #[error("PostgreSQL ended while it was in use; its log ends:\n{log}")]
    Ended { log: String },
    /// The server did not answer, or did not stop, in time.
    #[error("PostgreSQL did not {what} within {seconds} s; its log ends:\n{log}")]
    Late {
        what: &'static str,
        /// How long it was waited for, in seconds.
        seconds: u64,
        log: String,
    },
    /// The machine refused a file, folder or process.
    #[error("cannot {doing} {}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl LocalError {
    /// Wraps an I/O error with what was being done to which path, for `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
