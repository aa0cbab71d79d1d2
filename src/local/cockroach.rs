//! A local nine-node CockroachDB cluster in three regions with simulated latency, as a
//! child process: `cockroach demo --global`. Its address is read from the file it
//! writes, each node's region is asked from the node; nothing is assumed of ports but
//! that the nodes' follow one another. The surprise: it ends when its stdin closes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

/// Nodes that `--global` demands.
const NODES: u16 = 9;
/// It was up in six seconds on a small machine; this leaves room for a busy one.
const START: Duration = Duration::from_mins(2);

/// Why the cluster did not start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CockroachError {
    /// No binary on the PATH.
    #[error("cockroach is not on the PATH: ./deploy/demo.sh --engine cockroach fetches it, or use --engine postgres")]
    Missing,
    /// The process could not be started.
    #[error("cockroach could not be started")]
    Start(#[source] std::io::Error),
    /// It ended before it was ready.
    #[error("cockroach demo ended at once ({0}); try it by hand: cockroach demo --global --nodes 9")]
    Ended(std::process::ExitStatus),
    /// It did not become ready in time.
    #[error("the cluster did not answer within {} s", START.as_secs())]
    Slow,
    /// The file with its address holds something else.
    #[error("the listening URL of the cluster cannot be understood: {0}")]
    Url(String),
}

/// A running demo cluster.
pub struct CockroachDemo {
    child: Child,
    /// Hosts with ports, by region.
    nodes: BTreeMap<String, Vec<String>>,
}

/// The binary, if it is on the PATH.
#[must_use]
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
    parse().ok_or_else(|| CockroachError::Url(url.trim().to_owned()))
}

impl CockroachDemo {
    /// Starts the cluster and finds each region's nodes. `folder` is for the file that
    /// the cluster writes its address to.
    pub async fn start(binary: &Path, folder: &Path) -> Result<Self, CockroachError> {
        std::fs::create_dir_all(folder).map_err(CockroachError::Start)?;
        let file = folder.join("listening-url");
        let _ = std::fs::remove_file(&file); // of an earlier start
        let child = Command::new(binary)
            .args(["demo", "--global", "--nodes", "9", "--no-example-database", "--insecure"])
            .arg("--listening-url-file")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(CockroachError::Start)?;
        let mut demo = Self { child, nodes: BTreeMap::new() };
        let started = Instant::now();
        loop {
            if let Ok(url) = tokio::fs::read_to_string(&file).await
                && !url.trim().is_empty()
                && demo.find_nodes(&url).await?
            {
                return Ok(demo);
            }
            if let Some(status) = demo.child.try_wait().map_err(CockroachError::Start)? {
                return Err(CockroachError::Ended(status));
            }
            if started.elapsed() > START {
                return Err(CockroachError::Slow);
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
        Ok(true)
    }

    /// The regions found.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The URL of `database` at the nodes of `region`; none if it has no nodes.
    #[must_use]
    pub fn url(&self, region: &str, database: &str) -> Option<String> {
        let hosts = self.nodes.get(region)?.join(",");
        Some(format!("postgresql://root@{hosts}/{database}?sslmode=disable"))
    }

    /// Closes its stdin, which ends it, and makes sure.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await.is_err()
            && let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `cockroach demo --insecure` wrote, recorded.
    const RECORDED: &str =
        "postgresql://root@127.146.60.113:26257/defaultdb?application_name=%24+cockroach+demo&sslmode=disable\n";

    #[test]
    fn the_address_is_read_from_the_recorded_file() {
        assert_eq!(address(RECORDED).unwrap(), ("127.146.60.113".to_owned(), 26257));
        assert!(address("nothing of the kind").is_err());
    }

    #[tokio::test]
    async fn a_binary_that_ends_at_once_is_told() {
        let folder = std::env::temp_dir().join(format!("movr-cockroach-{}", std::process::id()));
        let ended = CockroachDemo::start(Path::new("/bin/false"), &folder).await;
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(ended, Err(CockroachError::Ended(_))));
    }
}
