//! The folder of a private PostgreSQL: `DATA/postgres` with the cluster, password, log and locks.
//!
//! Makes folders and files with the right owner and mode, and holds the file locks by which processes
//! of ours agree who starts, shares and stops the server.
//! The surprise: locks belong to open files, so the kernel gives them back even after kill -9.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::distr::{Alphanumeric, SampleString as _};
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::error::LocalError;

/// How much of a log is worth a person's time, in lines.
const LOG_LINES: usize = 12;

/// The folder of one private server, ready to be used by the user that runs it.
#[derive(Debug)]
pub(super) struct Folder {
    /// The user's folder, as given; the cluster's name in messages.
    pub(super) data: PathBuf,
    root: PathBuf,
    /// Who runs the server; `None` is ourselves.
    pub(super) account: Option<Account>,
}

impl Folder {
    /// Makes what is missing of `data/postgres` (mode 0700, owned by the server's user).
    pub(super) fn prepare(data: &Path) -> Result<Self, LocalError> {
        DirBuilder::new().recursive(true).mode(0o755).create(data).map_err(LocalError::io("make the folder", data))?;
        let data = data.canonicalize().map_err(LocalError::io("find the folder", data))?;
        let root = data.join("postgres");
        let account = Account::for_cluster(&root.join("cluster"))?;
        if let Some(account) = &account {
            account.check_can_enter(&data)?;
        }
        let folder = Self { data, root, account };
        folder.make_private(&folder.root)?;
        Ok(folder)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The data directory as PostgreSQL knows it.
    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// Where a new cluster is made; renamed to [`Folder::cluster`] once it is whole.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.root.join("password")
    }

    /// The major version that made the cluster; `None` when there is no cluster yet.
    pub(super) fn version(&self) -> Option<String> {
        fs::read_to_string(self.cluster().join("PG_VERSION")).ok().map(|text| text.trim().to_owned())
    }

    /// Makes a folder of mode 0700 for the server's user, or leaves the one that is there.
    pub(super) fn make_private(&self, path: &Path) -> Result<(), LocalError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(LocalError::io("make the folder", path))?;
        self.hand_over(path)
    }

    /// Writes a file of mode 0600 for the server's user.
    pub(super) fn write(&self, path: &Path, contents: &[u8]) -> Result<(), LocalError> {
        let mut file = self.open(path, true)?;
        file.write_all(contents).map_err(LocalError::io("write", path))
    }

    /// Opens (and makes) a file of mode 0600 for the server's user, emptied or as it is.
    pub(super) fn open(&self, path: &Path, empty: bool) -> Result<File, LocalError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(empty)
            .mode(0o600)
            .open(path)
            .map_err(LocalError::io("open", path))?;
        self.hand_over(path)?;
        Ok(file)
    }

    /// Removes cluster and password, so that the next start makes new ones.
    pub(super) fn erase(&self) -> Result<(), LocalError> {
        for folder in [self.cluster(), self.unfinished()] {
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(LocalError::io("remove", &folder))?;
            }
        }
        Ok(())
    }

    /// The stored password, or a new random one when there is no cluster that knows an older one.
    pub(super) fn password(&self) -> Result<String, LocalError> {
        let file = self.password_file();
        if self.version().is_some() {
            return fs::read_to_string(&file).map_err(LocalError::io("read", &file));
        }
        let password = Alphanumeric.sample_string(&mut rand::rng(), 32);
        self.write(&file, password.as_bytes())?;
        Ok(password)
    }

    /// Waits until no other process starts or stops this server, then keeps others from it.
    pub(super) async fn lock_changes(&self, patience: Duration) -> Result<File, LocalError> {
        let path = self.root.join("change.lock");
        let file = self.open(&path, false)?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => return Err(LocalError::InUse(self.data.clone())),
                Err(TryLockError::Error(source)) => {
                    return Err(LocalError::io("lock", &path)(source));
                }
            }
        }
    }

    /// Enters this process among the server's users: alone, or beside others that share it.
    pub(super) fn lock_use(&self, shared: bool) -> Result<File, LocalError> {
        let path = self.root.join("use.lock");
        let file = self.open(&path, false)?;
        let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(LocalError::InUse(self.data.clone())),
            Err(TryLockError::Error(source)) => Err(LocalError::io("lock", &path)(source)),
        }
    }

    /// Lets others in beside this process, which was alone.
    pub(super) fn share(&self, in_use: &File) -> Result<(), LocalError> {
        let shared = in_use.lock_shared();
        shared.map_err(LocalError::io("lock", &self.root.join("use.lock")))
    }

    /// The last lines of the server's log.
    pub(super) fn log_tail(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        tail(&String::from_utf8_lossy(&bytes))
    }

    fn hand_over(&self, path: &Path) -> Result<(), LocalError> {
        self.account.as_ref().map_or(Ok(()), |account| account.own(path))
    }
}

/// The last lines of a text, indented.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(LOG_LINES);
    let last: Vec<&str> = lines.into_iter().skip(start).collect();
    format!("  {}", last.join("\n  "))
}
