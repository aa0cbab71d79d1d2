//! The server process: making its cluster, starting it, waiting for it, stopping it.
//!
//! Runs `initdb` and `postgres` and logs in through `tokio-postgres`, nothing more of SQL.
//! The surprise: `postgres` is started directly, not by `pg_ctl`, so that it is our child in a process
//! group of its own, and its environment is empty, because ours may hold secrets.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::binaries;
use super::error::LocalError;
use super::folder::{Folder, tail};
use super::orphan::{self, Postmaster};
use super::postgres::Options;

/// The superuser that `initdb` makes; the only role.
pub(super) const USER: &str = "movr";
/// Recovery after a crash of the machine replays up to `max_wal_size`, 1 GB, which slow disks feel.
pub(super) const START_PATIENCE: Duration = Duration::from_mins(1);
/// A fast shutdown ends all sessions and writes one checkpoint.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// After SIGQUIT nothing is written any more.
const QUIT_PATIENCE: Duration = Duration::from_secs(5);
/// Between choosing a free port and binding it another program may take it.
const PORT_ATTEMPTS: u32 = 3;
const POLL: Duration = Duration::from_millis(10);

/// The server that still runs on this folder, once it lets us in.
pub(super) async fn survivor(folder: &Folder, password: &str) -> Result<Option<Postmaster>, LocalError> {
    let cluster = folder.cluster();
    let deadline = Instant::now() + START_PATIENCE;
    // It may be starting or stopping: wait until it lets us in or is gone.
    while orphan::holder(&cluster).is_some() {
        if let Some(server) = orphan::running(&cluster)
            && login(folder, server.port, password).await?
        {
            return Ok(Some(server));
        }
        if Instant::now() > deadline {
            return Err(late(folder, "answer", START_PATIENCE));
        }
        sleep(POLL).await;
    }
    Ok(None)
}

/// Starts a server on this folder, making the cluster when there is none, and waits for it.
pub(super) async fn launch(
    folder: &Folder,
    options: &Options,
    password: &str,
) -> Result<(Postmaster, Child), LocalError> {
    let cluster = folder.cluster();
    let version = folder.version();
    let wanted = version.as_deref().map(|version| (version, &*cluster));
    let named = options.pg_bin.as_deref();
    let bin = binaries::find(named, options.path.as_deref(), wanted).await?;
    if version.is_none() {
        initialise(folder, &bin, options.durable).await?;
    }
    for (name, contents) in &options.files {
        folder.write(&cluster.join(name), contents)?;
    }
    orphan::remove_stale(&cluster)?;
    let mut attempt = 1;
    loop {
        let port = free_port().map_err(LocalError::io("find a free port on", &cluster))?;
        let mut child = spawn(folder, &bin, options, port)?;
        match wait_until_ready(folder, &mut child, port, password).await {
            Ok(server) => return Ok((server, child)),
            Err(LocalError::Failed { log, .. }) if log.contains("could not bind") && attempt < PORT_ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => {
                let _ = child.kill().await; // it may have ended by itself
                return Err(error);
            }
        }
    }
}

/// Makes the cluster in a folder of its own first: an interrupted `initdb` leaves half a cluster.
async fn initialise(folder: &Folder, bin: &Path, durable: bool) -> Result<(), LocalError> {
    folder.erase()?;
    let unfinished = folder.unfinished();
    folder.make_private(&unfinished)?;
    let mut initdb = command(folder, &bin.join("initdb"));
    initdb
        .arg("--pgdata")
        .arg(&unfinished)
        .args(["--username", USER, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C"])
        .arg("--pwfile")
        .arg(folder.password_file());
    if !durable {
        initdb.arg("--no-sync");
    }
    let output = initdb.output().await.map_err(LocalError::io("run", &bin.join("initdb")))?;
    if !output.status.success() {
        return Err(LocalError::Failed {
            program: "initdb",
            status: output.status.to_string(),
            log: tail(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    let cluster = folder.cluster();
    fs::rename(&unfinished, &cluster).map_err(LocalError::io("make", &cluster))
}

fn spawn(folder: &Folder, bin: &Path, options: &Options, port: u16) -> Result<Child, LocalError> {
    let program = bin.join("postgres");
    let log = folder.open(&folder.log(), true)?;
    let errors = log.try_clone().map_err(LocalError::io("open", &folder.log()))?;
    let mut server = command(folder, &program);
    server.arg("-D").arg(folder.cluster());
    let own = [
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", String::new()),
        ("max_connections", options.max_connections.to_string()),
        ("timezone", "UTC".to_owned()),
        // Everything is SERIALIZABLE here; each row read by a write leaves a lock for a while.
        ("max_pred_locks_per_transaction", "256".to_owned()),
        ("shared_buffers", "256MB".to_owned()),
    ];
    let unsafe_but_fast = ["fsync", "synchronous_commit", "full_page_writes"];
    let unsafe_but_fast: &[&str] = if options.durable { &[] } else { &unsafe_but_fast };
    for (name, value) in own {
        server.arg("-c").arg(format!("{name}={value}"));
    }
    for name in unsafe_but_fast {
        server.arg("-c").arg(format!("{name}=off"));
    }
    for (name, value) in &options.settings {
        server.arg("-c").arg(format!("{name}={value}"));
    }
    server.stdout(log).stderr(errors).spawn().map_err(LocalError::io("run", &program))
}

/// A program of PostgreSQL's: as its user, in its folder, out of reach of the terminal's Ctrl-C, and
/// without our environment, in which secrets may be.
fn command(folder: &Folder, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").current_dir(folder.root()).stdin(Stdio::null()).process_group(0);
    if let Some(account) = &folder.account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

async fn wait_until_ready(
    folder: &Folder,
    child: &mut Child,
    port: u16,
    password: &str,
) -> Result<Postmaster, LocalError> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Some(server) = orphan::running(&folder.cluster())
            && login(folder, port, password).await?
        {
            return Ok(server);
        }
        let ended = child.try_wait().map_err(LocalError::io("wait for", Path::new("postgres")))?;
        if let Some(status) = ended {
            return Err(LocalError::Failed { program: "postgres", status: status.to_string(), log: folder.log_tail() });
        }
        if Instant::now() > deadline {
            return Err(late(folder, "answer", START_PATIENCE));
        }
        sleep(POLL).await;
    }
}

/// Whether the server on this port lets us in now.
async fn login(folder: &Folder, port: u16, password: &str) -> Result<bool, LocalError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(Ipv4Addr::LOCALHOST.to_string())
        .port(port)
        .user(USER)
        .password(password)
        .dbname("postgres")
        .ssl_mode(tokio_postgres::config::SslMode::Disable);
    match timeout(Duration::from_secs(5), config.connect(NoTls)).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if error.code() == Some(&SqlState::INVALID_PASSWORD) => {
            Err(LocalError::WrongPassword(folder.password_file()))
        }
        _ => Ok(false),
    }
}

/// Fast shutdown, then immediate shutdown; returns when the server has ended.
pub(super) async fn halt(folder: &Folder, pid: Pid, mut child: Option<Child>) -> Result<(), LocalError> {
    for (signal, patience) in [(Signal::SIGINT, STOP_PATIENCE), (Signal::SIGQUIT, QUIT_PATIENCE)] {
        let deadline = Instant::now() + patience;
        let mut told = false;
        while is_running(folder, pid, child.as_mut()) {
            if !told {
                // An error here means that it has just ended, which the next look tells.
                let _ = kill(pid, signal);
                told = true;
            }
            if Instant::now() > deadline {
                break;
            }
            sleep(POLL).await;
        }
        if !is_running(folder, pid, child.as_mut()) {
            return Ok(());
        }
    }
    Err(late(folder, "stop", STOP_PATIENCE + QUIT_PATIENCE))
}

/// Waits until the server ends without having been told to.
pub(super) async fn ended(folder: &Folder, pid: Pid, mut child: Option<&mut Child>) -> LocalError {
    while is_running(folder, pid, child.as_deref_mut()) {
        sleep(Duration::from_millis(200)).await;
    }
    LocalError::Ended { log: folder.log_tail() }
}

fn is_running(folder: &Folder, pid: Pid, child: Option<&mut Child>) -> bool {
    match child {
        Some(child) => matches!(child.try_wait(), Ok(None)),
        None => orphan::is_server(pid, &folder.cluster()),
    }
}

fn late(folder: &Folder, what: &'static str, patience: Duration) -> LocalError {
    LocalError::Late { what, seconds: patience.as_secs(), log: folder.log_tail() }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
