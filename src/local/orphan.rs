//! A server that outlived us: what `postmaster.pid` says, and whether it is true.
//!
//! Reads and removes that one file; whether the server lets us in is asked by `launch.rs`.
//! The surprise: a process id alone proves nothing. After a reboot it may belong to anybody, even to
//! another PostgreSQL, and in a container without an init a dead server stays as a zombie; so `/proc`
//! is asked, where there is one, for a living process at home in the cluster's folder.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::error::LocalError;

/// A server process that runs on a cluster's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: Pid,
    pub(super) port: u16,
}

/// The process of the server that runs on `cluster` now, which may not listen yet.
pub(super) fn holder(cluster: &Path) -> Option<Pid> {
    pid(&read(cluster)?).filter(|pid| is_server(*pid, cluster))
}

/// The server that runs on `cluster` now, once its file is whole (it grows while the server starts).
pub(super) fn running(cluster: &Path) -> Option<Postmaster> {
    let text = read(cluster)?;
    let pid = pid(&text).filter(|pid| is_server(*pid, cluster))?;
    let port = text.lines().nth(3)?.trim().parse().ok()?;
    Some(Postmaster { pid, port })
}

/// Removes a file that no server stands behind: PostgreSQL itself refuses to start when the number in
/// it belongs to any process of the same user.
pub(super) fn remove_stale(cluster: &Path) -> Result<(), LocalError> {
    let file = cluster.join("postmaster.pid");
    if file.exists() && holder(cluster).is_none() {
        fs::remove_file(&file).map_err(LocalError::io("remove", &file))?;
    }
    Ok(())
}

/// Whether `pid` is a living server on `cluster` (without `/proc`: any living process).
pub(super) fn is_server(pid: Pid, cluster: &Path) -> bool {
    if !Path::new("/proc/self").exists() {
        return kill(pid, None) != Err(Errno::ESRCH);
    }
    // A zombie has no folder any more.
    let home = fs::read_link(format!("/proc/{pid}/cwd"));
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    home.is_ok_and(|home| home == cluster) && name.is_ok_and(|name| name.starts_with("postgres"))
}

fn read(cluster: &Path) -> Option<String> {
    fs::read_to_string(cluster.join("postmaster.pid")).ok()
}

/// The first line; 0 and below would be signals to whole groups.
fn pid(text: &str) -> Option<Pid> {
    let number = text.lines().next()?.trim().parse().ok()?;
    (number > 1).then(|| Pid::from_raw(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_a_process_and_never_a_group() {
        assert_eq!(pid("4711\n/data\n"), Some(Pid::from_raw(4711)));
        for text in ["", "\n", "0\n", "1\n", "-4711\n", "many\n"] {
            assert_eq!(pid(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_process_elsewhere_is_not_the_server() {
        assert!(!is_server(Pid::this(), Path::new("/")));
    }
}
