//! A local nine-node CockroachDB cluster in three regions with simulated latency, as a
//! child process: `cockroach demo --global`. Its address is read from the file it
//! writes, each node's region is asked from the node; nothing is assumed of ports but
//! that the nodes' follow one another. What can go wrong is told with the command that
//! helps on this platform. The surprise: it ends when its stdin closes.

use std::{
    collections::BTreeMap,
    env::consts::{ARCH, OS},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Nodes that `--global` demands.
const NODES: u16 = 9;
/// Ports from which nine free ones in a row are looked for. The consoles would take 8080 and
/// what follows, where the demo itself serves, and end the cluster where something listens.
const SQL_PORT: u16 = 26257;
const HTTP_PORT: u16 = 8180;
/// It was up in six seconds on a small machine; this leaves room for a busy one.
const START: Duration = Duration::from_mins(2);
/// For asking all nodes once; one that hangs is asked again.
const LOOK: Duration = Duration::from_secs(10);

/// What a new user downloads: the newest version with long support. `deploy/install.sh`
/// fetches the same; a test compares.
pub const VERSION: &str = "v25.4.11";
/// The first version that this program was tried on.
const OLDEST: (u32, u32) = (22, 1);

/// How to get the binary, by the platform as Rust names it; the archives' names follow `uname`.
pub fn download(os: &str, machine: &str) -> String {
    let platform = match (os, machine) {
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-10.9-amd64",
        ("macos", "aarch64") => "darwin-11.0-arm64",
        _ => return format!("(there is no archive of it for {os} on {machine})"),
    };
    let name = format!("cockroach-{VERSION}.{platform}");
    format!("curl -fL https://binaries.cockroachdb.com/{name}.tgz | tar -xz && export PATH=\"$PWD/{name}:$PATH\"")
}

/// Whether a build tag (`v25.4.11`, `v22.1.0-dev`) is of a version that is too old. A tag
/// that says no version is somebody's own build, and is given a try.
pub fn too_old(tag: &str) -> bool {
    let numbers = || {
        let mut parts = tag.trim().strip_prefix('v')?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    numbers().is_some_and(|version: (u32, u32)| version < OLDEST)
}

/// Why the cluster did not start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CockroachError {
    /// No binary on the PATH.
    #[error(
        "cockroach is not on the PATH. ./deploy/demo.sh --engine cockroach fetches it; by context:\n  {}\n\
         Or go without it: --engine postgres",
        download(OS, ARCH)
    )]
    Missing,
    /// An old binary; its version.
    #[error("cockroach is {found}, and v{}.{} or newer is needed:\n  {}", OLDEST.0, OLDEST.1, download(OS, ARCH))]
    TooOld { found: String },
    /// The process could not be started.
    #[error("cockroach could not be started")]
    Start(#[source] std::io::Error),
    /// It ended before it was ready, or later by itself.
    #[error("cockroach demo ended {when} ({status}); it said:\n{said}")]
    Ended {
        /// `at once`, or what it was used for.
        when: &'static str,
        status: std::process::ExitStatus,
        said: String,
    },
    /// It did not become ready in time.
    #[error("the cluster did not answer within {} s; it said:\n{said}", START.as_secs())]
    Slow { said: String },
    /// The file with its address holds something else.
    #[error("the listening URL of the cluster cannot be understood: {0}")]
    Url(String),
}

/// A running demo cluster.
pub struct CockroachDemo {
    child: Child,
    nodes: BTreeMap<String, Vec<String>>,
    http_port: u16,
    pub console: String,
    log: PathBuf,
}

/// The first of as many free ports in a row as there are nodes.
fn free_ports(from: u16) -> u16 {
    let every = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST];
    let free = |port: u16| every.iter().all(|host| TcpListener::bind((*host, port)).is_ok());
    let mut runs = (from..).step_by(NODES.into()).take(100);
    // Where all are taken the cluster itself says so.
    runs.find(|first| (*first..first + NODES).all(free)).unwrap_or(from)
}

/// The binary, if it is on the PATH.
pub fn find(path: Option<&str>) -> Option<PathBuf> {
    std::env::split_paths(path?).map(|folder| folder.join("cockroach")).find(|file| file.is_file())
}

/// Host and first port in the URL that the cluster wrote.
pub fn address(url: &str) -> Result<(String, u16), CockroachError> {
    let parse = || {
        let (_, rest) = url.trim().lines().last()?.split_once("://")?;
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = authority.rsplit('@').next()?.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    };
    // What stands before the host is nobody's business.
    parse().ok_or_else(|| CockroachError::Url(url.trim().rsplit('@').next().unwrap_or_default().to_owned()))
}

impl CockroachDemo {
    /// Starts the cluster and finds each region's nodes. `folder` is for the file that
    /// the cluster writes its address to, and for what it prints.
    pub async fn start(binary: &Path, folder: &Path) -> Result<Self, CockroachError> {
        let version = Command::new(binary).args(["version", "--build-tag"]).stdin(Stdio::null()).output();
        let version = version.await.map_err(CockroachError::Start)?;
        let tag = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        if too_old(&tag) {
            return Err(CockroachError::TooOld { found: tag });
        }
        std::fs::create_dir_all(folder).map_err(CockroachError::Start)?;
        let file = folder.join("listening-url");
        let log = folder.join("cockroach.log");
        let output = std::fs::File::create(&log).map_err(CockroachError::Start)?;
        let (sql, http) = (free_ports(SQL_PORT), free_ports(HTTP_PORT));
        let _ = std::fs::remove_file(&file); // of an earlier start
        let child = Command::new(binary)
            .args(["demo", "--global", "--nodes", "9", "--no-example-database", "--insecure"])
            .args(["--sql-port", &sql.to_string(), "--http-port", &http.to_string()])
            .arg("--listening-url-file")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(CockroachError::Start)?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(CockroachError::Start)?;
        let mut demo = Self { child, nodes: BTreeMap::new(), http_port: http, console: String::new(), log };
        let started = Instant::now();
        loop {
            if let Ok(url) = tokio::fs::read_to_string(&file).await
                && !url.trim().is_empty()
                && timeout(LOOK, demo.find_nodes(&url)).await.unwrap_or(Ok(false))?
            {
                return Ok(demo);
            }
            if let Some(status) = demo.child.try_wait().map_err(CockroachError::Start)? {
                return Err(CockroachError::Ended { when: "at once", status, said: demo.said() });
            }
            if started.elapsed() > START {
                return Err(CockroachError::Slow { said: demo.said() });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The last lines of what it printed.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
    }

    /// Waits until it ends without having been told to.
    pub async fn ended(&mut self) -> CockroachError {
        loop {
            // `wait` would close its stdin, which ends it.
            if let Ok(Some(status)) = self.child.try_wait() {
                return CockroachError::Ended { when: "while the demo ran on it", status, said: self.said() };
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks every node for its region; false while one does not answer yet.
    async fn find_nodes(&mut self, url: &str) -> Result<bool, CockroachError> {
        let (host, first) = address(url)?;
        let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for port in first..first.saturating_add(NODES) {
            let url = format!("postgresql://root@{host}:{port}/defaultdb?sslmode=disable");
            let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await else {
                return Ok(false);
            };
            tokio::spawn(connection);
            let Ok(row) = client.query_one("SELECT gateway_region()::TEXT", &[]).await else {
                return Ok(false);
            };
            let region: String = row.try_get(0).map_err(|error| CockroachError::Url(error.to_string()))?;
            nodes.entry(region).or_default().push(format!("{host}:{port}"));
        }
        self.nodes = nodes;
        self.console = format!("http://{host}:{}", self.http_port);
        Ok(true)
    }

    /// The regions found.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The URL of `database` at the nodes of `region`; none if it has no nodes.
    pub fn url(&self, region: &str, database: &str) -> Option<String> {
        let hosts = self.nodes.get(region)?.join(",");
        Some(format!("postgresql://root@{hosts}/{database}?sslmode=disable"))
    }

    /// Closes its stdin, which ends it, and makes sure.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        if timeout(Duration::from_secs(20), self.child.wait()).await.is_err()
            && let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
    }
}
