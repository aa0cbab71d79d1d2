//! A private PostgreSQL: own data, own free port on 127.0.0.1, random password, for one process at
//! a time. On Linux util-linux's `setpriv` has the kernel stop it when the thread that started it
//! ends, even by kill -9; elsewhere the next start stops it. PostgreSQL refuses root, so root runs
//! it as another user.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
use rand::distr::{Alphanumeric, SampleString as _};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{
    LocalError, binaries,
    process::{Process, tail},
};
use crate::config::{self, Secret};

const USER: &str = "movr";
/// Crash recovery replays up to `max_wal_size`, 1 GB, which takes time on slow disks.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// A fast shutdown ends all sessions and writes one checkpoint; an immediate one writes nothing.
const FAST_PATIENCE: Duration = Duration::from_secs(20);
const IMMEDIATE_PATIENCE: Duration = Duration::from_secs(5);
/// Between choosing a free port and binding it another program may take it.
const PORT_ATTEMPTS: u32 = 3;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder under which `postgres/` is made; it may hold other things.
    pub data: PathBuf,
    /// Gives up crash safety for speed (tests).
    pub volatile: bool,
    pub fresh: bool,
    /// More server settings, such as `("ssl", "on")`.
    pub settings: Vec<(String, String)>,
    /// Files for the cluster's folder, which settings refer to by bare name, such as `server.key`.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Dropping it asks the server to stop; [`PrivatePostgres::stop`] waits.
#[derive(Debug)]
pub struct PrivatePostgres {
    folder: Folder,
    process: Process,
    port: u16,
    password: Secret<String>,
}

impl PrivatePostgres {
    /// Starts the server, which accepts log-ins on return. The caller makes databases. The calling
    /// thread must live as long as the server.
    pub async fn start(options: Options) -> Result<Self, LocalError> {
        let folder = Folder::open(&options.data)?;
        folder.stop_server().await?;
        if options.fresh && folder.cluster.exists() {
            fs::remove_dir_all(&folder.cluster).map_err(LocalError::io("remove", &folder.cluster))?;
        }
        let version = fs::read_to_string(folder.cluster.join("PG_VERSION")).ok();
        let made_by = version.as_deref().map(|version| (version.trim(), &*folder.cluster));
        let (named, path) = (config::env("MOVR_PG_BIN"), config::env("PATH"));
        let bin = binaries::find(named.as_deref().map(Path::new), path.as_deref(), made_by).await?;
        if version.is_none() {
            folder.initialise(&bin, &options).await?;
        }
        for (name, contents) in &options.files {
            folder.write(&folder.cluster.join(name), contents)?;
        }
        let file = folder.path.join("password");
        let password = Secret::new(fs::read_to_string(&file).map_err(LocalError::io("read", &file))?);
        // Its last line is the server's state, which `pg_ctl` waits for too.
        let ready = async || {
            let text = fs::read_to_string(folder.pid_file()).unwrap_or_default();
            Ok(text.trim_end().ends_with("\nready").then_some(()))
        };
        let mut attempt = 1;
        loop {
            let (mut process, port) = folder.start_server(&bin, &options).await?;
            match process.ready(START_PATIENCE, &ready).await {
                Ok(()) => return Ok(Self { folder, process, port, password }),
                Err(LocalError::Ended { log, .. }) if log.contains("could not bind") && attempt < PORT_ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub fn url(&self, database: &str) -> String {
        self.url_through(self.port, database)
    }

    /// As [`Self::url`], by way of something that listens on `port`.
    pub fn url_through(&self, port: u16, database: &str) -> String {
        let password = self.password.expose();
        format!("postgresql://{USER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub async fn ended(&mut self) -> LocalError {
        self.process.ended().await
    }

    pub async fn stop(mut self) -> Result<(), LocalError> {
        self.folder.stop_server().await?;
        let _ = self.process.child.wait().await; // its file goes just before it does
        Ok(())
    }
}

/// `DATA/postgres`: cluster, password and log, owned by the server's user and locked by us.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    cluster: PathBuf,
    /// `None` is ourselves.
    user: Option<User>,
    /// The kernel releases it even after kill -9.
    _lock: File,
}

impl Folder {
    fn open(data: &Path) -> Result<Self, LocalError> {
        DirBuilder::new().recursive(true).mode(0o755).create(data).map_err(LocalError::io("make the folder", data))?;
        let data = data.canonicalize().map_err(LocalError::io("find the folder", data))?;
        let path = data.join("postgres");
        let cluster = path.join("cluster");
        let user = if geteuid().is_root() { Some(server_user(&cluster)?) } else { None };
        if let Some(user) = &user {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            let closed = |folder: &&Path| {
                let facts = fs::metadata(folder);
                facts.is_ok_and(|facts| facts.uid() != uid && facts.gid() != gid && facts.mode() & 0o001 == 0)
            };
            if let Some(folder) = data.ancestors().find(closed) {
                return Err(LocalError::Closed { folder: folder.to_owned(), user: user.name.clone() });
            }
        }
        let made =
            DirBuilder::new().recursive(true).mode(0o700).create(&path).and_then(|()| hand_over(&path, user.as_ref()));
        made.map_err(LocalError::io("make the folder", &path))?;
        let lock = path.join("lock");
        let file = File::create(&lock).map_err(LocalError::io("open", &lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, cluster, user, _lock: file }),
            Err(TryLockError::WouldBlock) => Err(LocalError::InUse(data)),
            Err(TryLockError::Error(source)) => Err(LocalError::io("lock", &lock)(source)),
        }
    }

    /// Only the server's user can read the file.
    fn write(&self, path: &Path, contents: &[u8]) -> Result<(), LocalError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| file.write_all(contents));
        written.and_then(|()| hand_over(path, self.user.as_ref())).map_err(LocalError::io("write", path))
    }

    /// Makes the cluster in a temporary folder first: an interrupted `initdb` leaves half a
    /// cluster.
    async fn initialise(&self, bin: &Path, options: &Options) -> Result<(), LocalError> {
        let (unfinished, password) = (self.path.join("unfinished"), self.path.join("password"));
        let _ = fs::remove_dir_all(&unfinished); // most often there is none
        self.write(&password, Alphanumeric.sample_string(&mut rand::rng(), 32).as_bytes())?;
        let mut command = self.command(&bin.join("initdb")).await;
        command.arg("--pgdata").arg(&unfinished).arg("--pwfile").arg(&password);
        command.args(["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]);
        if options.volatile {
            command.arg("--no-sync");
        }
        let mut initdb = Process::spawn("initdb", command.kill_on_drop(true), &self.path.join("log"))?;
        let status = initdb.child.wait().await.map_err(LocalError::io("wait for", Path::new("initdb")))?;
        if !status.success() {
            return Err(initdb.ended_with("at once", status));
        }
        fs::rename(&unfinished, &self.cluster).map_err(LocalError::io("make", &self.cluster))
    }

    async fn start_server(&self, bin: &Path, options: &Options) -> Result<(Process, u16), LocalError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = port.map_err(LocalError::io("find a free port for", &self.path))?.port();
        let number = port.to_string();
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1"),
            ("port", &number),
            ("unix_socket_directories", ""),
            ("timezone", "UTC"),
            // Everything is SERIALIZABLE here; each row read by a write leaves a lock for a while.
            ("max_pred_locks_per_transaction", "256"),
            ("shared_buffers", "256MB"),
        ];
        if options.volatile {
            settings.extend([("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")]);
        }
        settings.extend(options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut command = self.command(&bin.join("postgres")).await;
        command.arg("-D").arg(&self.cluster);
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        Ok((Process::spawn("postgres", &mut command, &self.path.join("log"))?, port))
    }

    async fn command(&self, program: &Path) -> Command {
        // macOS has none, and BusyBox one that knows less.
        let mut probe = Command::new("setpriv");
        probe.env_clear().args(["--pdeathsig", "INT", "true"]).stderr(Stdio::null());
        let guarded = probe.status().await.is_ok_and(|status| status.success());
        let mut command = Command::new(if guarded { Path::new("setpriv") } else { program });
        if guarded {
            command.args(["--pdeathsig", "INT"]).arg(program);
        }
        command.env_clear().env("LC_ALL", "C").current_dir(&self.path).stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    fn pid_file(&self) -> PathBuf {
        self.cluster.join("postmaster.pid")
    }

    /// The server of this cluster, by PostgreSQL's pid file. The pid alone proves nothing: after a
    /// restart of the machine it may be any process.
    fn server(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        let pid: i32 = text.lines().next()?.trim().parse().ok()?;
        let command = if cfg!(target_os = "linux") {
            fs::read(format!("/proc/{pid}/cmdline")).ok()?
        } else {
            let mut ps = std::process::Command::new("ps");
            ps.args(["-o", "command=", "-p", &pid.to_string()]).output().ok()?.stdout
        };
        String::from_utf8_lossy(&command).contains(self.cluster.to_str()?).then(|| Pid::from_raw(pid))
    }

    /// Stops the server, ours or one that a killed process left.
    async fn stop_server(&self) -> Result<(), LocalError> {
        for (signal, patience) in [(Signal::SIGINT, FAST_PATIENCE), (Signal::SIGQUIT, IMMEDIATE_PATIENCE)] {
            let deadline = Instant::now() + patience;
            if let Some(pid) = self.server() {
                let _ = kill(pid, signal); // it may just have ended
            }
            while self.server().is_some() && Instant::now() < deadline {
                sleep(Duration::from_millis(10)).await;
            }
        }
        if self.server().is_some() {
            let (patience, log) = (FAST_PATIENCE + IMMEDIATE_PATIENCE, tail(&self.path.join("log")));
            return Err(LocalError::Late { name: "postgres", what: "stop", patience, log });
        }
        // What a crash left; PostgreSQL does not start when any process of its user has the number in it.
        let _ = fs::remove_file(self.pid_file());
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(pid) = self.server() {
            let _ = kill(pid, Signal::SIGINT); // it may just have ended
        }
    }
}

fn hand_over(path: &Path, user: Option<&User>) -> io::Result<()> {
    user.map_or(Ok(()), |user| chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())))
}

/// Who runs the server for root. Existing data decides: what `nobody` made stays with `nobody` even
/// if a user `postgres` appears, so ownership never has to change.
fn server_user(cluster: &Path) -> Result<User, LocalError> {
    let owner = fs::metadata(cluster).ok().filter(|owner| owner.uid() != 0);
    let owner = owner.and_then(|owner| User::from_uid(owner.uid().into()).ok()?);
    let named = || ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok()?);
    owner.or_else(named).ok_or(LocalError::NoUser)
}
