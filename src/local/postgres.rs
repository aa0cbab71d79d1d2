//! A private PostgreSQL: own data, own free port on 127.0.0.1, own process group, random password.
//!
//! The public face of this folder: who may use the server and who stops it; its sibling modules do the
//! work.
//! The surprise: when we were killed with -9 the server lives on, and the next start finds it by its
//! `postmaster.pid` and goes on with it.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use tokio::process::Child;

use super::error::LocalError;
use super::folder::Folder;
use super::launch::{self, START_PATIENCE, USER, halt, launch, survivor};
use super::orphan::{self, Postmaster};
use crate::config::Secret;

/// How a private server is to be run; make it with [`Options::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder under which `postgres/` is made; it may hold other things.
    pub data: PathBuf,
    /// False gives up safety against a crash of the machine for speed (tests).
    pub durable: bool,
    /// Removes the data that is there before starting.
    pub fresh: bool,
    /// Several processes use one server, and the last that stops it ends it (tests).
    pub shared: bool,
    /// `max_connections` of the server.
    pub max_connections: u16,
    /// More server settings, such as `("ssl", "on")`.
    pub settings: Vec<(String, String)>,
    /// Files for the cluster's folder, where settings find them by bare name, such as `server.key`.
    pub files: Vec<(String, Vec<u8>)>,
    /// The folder of the server's programs, from `MOVR_PG_BIN`.
    pub pg_bin: Option<PathBuf>,
    /// The folders to search for them first, from `PATH`.
    pub path: Option<OsString>,
}

impl Options {
    /// A durable server with 100 connections under `data`; `lookup` reads the environment.
    pub fn new(data: impl Into<PathBuf>, lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            data: data.into(),
            durable: true,
            fresh: false,
            shared: false,
            max_connections: 100,
            settings: Vec::new(),
            files: Vec::new(),
            pg_bin: lookup("MOVR_PG_BIN").filter(|v| !v.is_empty()).map(PathBuf::from),
            path: lookup("PATH").map(OsString::from),
        }
    }
}

/// A running private PostgreSQL; dropping it asks the server to stop, [`PrivatePostgres::stop`] waits.
#[derive(Debug)]
pub struct PrivatePostgres {
    folder: Folder,
    server: Postmaster,
    /// Our child; `None` when an earlier process of ours started the server.
    child: Option<Child>,
    password: Secret<String>,
    shared: bool,
    /// The lock that says that we use the server; `None` once it has been given up.
    in_use: Option<File>,
}

impl PrivatePostgres {
    /// Starts the server, or goes on with the one that an earlier process left; it takes log-ins when
    /// this returns. Databases are made by the caller.
    ///
    /// # Errors
    /// When PostgreSQL is missing, cannot use the folder, or does not come up within a minute.
    pub async fn start(options: Options) -> Result<Self, LocalError> {
        let folder = Folder::prepare(&options.data)?;
        let _changing = folder.lock_changes(START_PATIENCE).await?;
        let in_use = folder.lock_use(options.shared && !options.fresh)?;
        if options.fresh {
            if let Some(pid) = orphan::holder(&folder.cluster()) {
                halt(&folder, pid, None).await?;
            }
            folder.erase()?;
            if options.shared {
                folder.share(&in_use)?;
            }
        }
        let password = folder.password()?;
        let (server, child) = if let Some(server) = survivor(&folder, &password).await? {
            (server, None)
        } else {
            let (server, child) = launch(&folder, &options, &password).await?;
            (server, Some(child))
        };
        let password = Secret::new(password);
        Ok(Self { folder, server, child, password, shared: options.shared, in_use: Some(in_use) })
    }

    /// The URL of a database of this server, for the superuser `movr`, without TLS.
    pub fn url(&self, database: &str) -> String {
        let (password, port) = (self.password.expose(), self.server.port);
        format!("postgresql://{USER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Whether an earlier process had started this server.
    pub fn is_reused(&self) -> bool {
        self.child.is_none()
    }

    /// Waits until the server ends without having been told to.
    pub async fn ended(&mut self) -> LocalError {
        launch::ended(&self.folder, self.server.pid, self.child.as_mut()).await
    }

    /// Ends all sessions and stops the server; a shared server goes on while others use it.
    ///
    /// # Errors
    /// When the server is still there after both a fast and an immediate shutdown.
    pub async fn stop(mut self) -> Result<(), LocalError> {
        let _changing = self.folder.lock_changes(START_PATIENCE).await?;
        if !self.leave() {
            return Ok(());
        }
        let child = self.child.take();
        halt(&self.folder, self.server.pid, child).await
    }

    /// Ends the use of the server as kill -9 would: it runs on, and nobody holds its locks.
    #[cfg(test)]
    pub(super) fn abandon(mut self) {
        self.in_use = None;
    }

    /// Gives up the use of the server; true when nobody else uses it, so that it is ours to stop.
    fn leave(&mut self) -> bool {
        self.in_use.take().is_some_and(|file| !self.shared || file.try_lock().is_ok())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if self.leave() && self.child.as_ref().is_none_or(|child| child.id().is_some()) {
            // Best effort: it may be gone already.
            let _ = kill(self.server.pid, Signal::SIGINT);
        }
    }
}
