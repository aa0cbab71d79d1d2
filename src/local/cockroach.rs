//! A local nine-node CockroachDB cluster in three regions with simulated latency, as a child
//! process: `cockroach demo --global`. Its address is read from the file it writes; each node is
//! asked for its region. It ends when its stdin closes, so it ends with us.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::{ChildStdin, Command},
    time::timeout,
};

use super::{LocalError, process::Process};

/// Required by `--global`.
const NODES: u16 = 9;
/// Where the search for nine free consecutive ports begins. From 8080 on they could collide with
/// the demo's own server and with the consoles, which would end the cluster.
const SQL_PORT: u16 = 26257;
const HTTP_PORT: u16 = 8180;
/// It was up in six seconds on a small machine; this leaves room for a busy one.
const START_PATIENCE: Duration = Duration::from_mins(2);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const ASK_PATIENCE: Duration = Duration::from_secs(10);

/// What a new user downloads: the newest long-term version. `deploy/install.sh` fetches the same; a
/// test compares.
pub const VERSION: &str = "v25.4.11";
/// The first version that this program was tested with.
pub(super) const OLDEST: (u32, u32) = (22, 1);

/// How to get the binary, by Rust's platform names; the archives' names follow `uname`.
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

/// Whether a build tag (`v25.4.11`, `v22.1.0-dev`) is of an unsupported version. A tag without a
/// version is a custom build, which is tried.
pub fn too_old(tag: &str) -> bool {
    let version = || {
        let mut parts = tag.trim().strip_prefix('v')?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    version().is_some_and(|version: (u32, u32)| version < OLDEST)
}

/// The first of [`NODES`] free consecutive ports.
fn free_ports(from: u16) -> u16 {
    let every = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST];
    let free = |port: u16| every.iter().all(|host| TcpListener::bind((*host, port)).is_ok());
    let mut runs = (from..).step_by(NODES.into()).take(100);
    // Where all are taken the cluster itself says so.
    runs.find(|first| (*first..first + NODES).all(free)).unwrap_or(from)
}

pub fn find(path: Option<&str>) -> Option<PathBuf> {
    std::env::split_paths(path?).map(|folder| folder.join("cockroach")).find(|file| file.is_file())
}

/// Host and first port in the URL that the cluster wrote.
pub fn address(url: &str) -> Result<(String, u16), LocalError> {
    let parse = || {
        let (_, rest) = url.trim().lines().last()?.split_once("://")?;
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = authority.rsplit('@').next()?.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    };
    // Before the host stand user and password: not for messages.
    parse().ok_or_else(|| LocalError::CockroachUrl(url.trim().rsplit('@').next().unwrap_or_default().to_owned()))
}

pub struct CockroachDemo {
    process: Process,
    stdin: Option<ChildStdin>,
    /// Addresses by region.
    nodes: BTreeMap<String, Vec<String>>,
    pub console: String,
}

impl CockroachDemo {
    /// Starts the cluster and finds each region's nodes. `folder` is for the cluster's address file
    /// and log.
    pub async fn start(binary: &Path, folder: &Path) -> Result<Self, LocalError> {
        let version = Command::new(binary).args(["version", "--build-tag"]).stdin(Stdio::null()).output().await;
        let version = version.map_err(LocalError::io("run", binary))?;
        let tag = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        if too_old(&tag) {
            return Err(LocalError::OldCockroach(tag));
        }
        fs::create_dir_all(folder).map_err(LocalError::io("make the folder", folder))?;
        let url_file = folder.join("listening-url");
        let _ = fs::remove_file(&url_file); // of an earlier start
        let (sql, http) = (free_ports(SQL_PORT), free_ports(HTTP_PORT));
        let mut command = Command::new(binary);
        command
            .args(["demo", "--global", "--nodes", &NODES.to_string(), "--no-example-database", "--insecure"])
            .args(["--sql-port", &sql.to_string(), "--http-port", &http.to_string()])
            .arg("--listening-url-file")
            .arg(&url_file)
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        let mut process = Process::spawn("cockroach demo", &mut command, &folder.join("cockroach.log"))?;
        // Left in the child, waiting for its end would close it.
        let stdin = process.child.stdin.take();
        let probe = async || {
            let url = fs::read_to_string(&url_file).unwrap_or_default();
            if url.trim().is_empty() {
                return Ok(None);
            }
            let (host, first) = address(&url)?;
            let nodes = timeout(ASK_PATIENCE, find_nodes(&host, first)).await.unwrap_or(None);
            Ok(nodes.map(|nodes| (nodes, format!("http://{host}:{http}"))))
        };
        let (nodes, console) = process.ready(START_PATIENCE, probe).await?;
        Ok(Self { process, stdin, nodes, console })
    }

    pub async fn ended(&mut self) -> LocalError {
        self.process.ended().await
    }

    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// None if the region has no nodes.
    pub fn url(&self, region: &str, database: &str) -> Option<String> {
        let hosts = self.nodes.get(region)?.join(",");
        Some(format!("postgresql://root@{hosts}/{database}?sslmode=disable"))
    }

    pub async fn stop(mut self) {
        drop(self.stdin.take());
        if timeout(STOP_PATIENCE, self.process.child.wait()).await.is_err() {
            let _ = self.process.child.kill().await; // it may just have ended
        }
    }
}

/// Asks every node for its region; `None` while one does not answer yet.
async fn find_nodes(host: &str, first: u16) -> Option<BTreeMap<String, Vec<String>>> {
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for port in first..first.saturating_add(NODES) {
        let url = format!("postgresql://root@{host}:{port}/defaultdb?sslmode=disable");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        let row = client.query_one("SELECT gateway_region()::TEXT", &[]).await.ok()?;
        nodes.entry(row.try_get(0).ok()?).or_default().push(format!("{host}:{port}"));
    }
    Some(nodes)
}
