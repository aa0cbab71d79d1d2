//! A folder for one test, open to the user that runs PostgreSQL. Database, profile and
//! processes of the test live in it; dropping it ends the processes that are at home in
//! it (by their command line or working folder) and removes it.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::{Mutex, MutexGuard};

/// Whose turn it is; `cargo test` would run the tests of a binary at once.
static TURN: Mutex<()> = Mutex::const_new(());

pub struct Folder {
    pub path: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Folder {
    pub async fn new() -> Self {
        let turn = TURN.lock().await;
        let parent = movr::config::env("MOVR_TEST_DATA").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = parent.join(format!("movr-browser-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).unwrap();
        Self { path: path.canonicalize().unwrap(), _turn: turn }
    }

    /// Where the demo keeps its data.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The database server's process, as its own file says.
    pub fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.data().join("postgres/cluster/postmaster.pid")).ok()?;
        Some(Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
    }

    /// A connection to the demo's database.
    pub async fn sql(&self) -> tokio_postgres::Client {
        let root = self.data().join("postgres");
        let password = fs::read_to_string(root.join("password")).unwrap();
        let pid_file = fs::read_to_string(root.join("cluster/postmaster.pid")).unwrap();
        let port: u16 = pid_file.lines().nth(3).unwrap().trim().parse().unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user("movr").password(password).dbname("movr");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Living processes at home in this folder.
    pub fn processes(&self) -> Vec<Pid> {
        processes(&self.path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The database server ends its own children, and what it leaves is killed.
        for signal in [Signal::SIGQUIT, Signal::SIGKILL] {
            for pid in processes(&self.path) {
                let _ = kill(pid, signal); // it may have ended meanwhile
            }
            let deadline = Instant::now() + Duration::from_secs(5);
            while !processes(&self.path).is_empty() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn processes(home: &Path) -> Vec<Pid> {
    let here = i32::try_from(std::process::id()).unwrap();
    let name = home.to_str().unwrap();
    let Ok(entries) = fs::read_dir("/proc") else {
        return told_by_ps(name);
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    let at_home = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let named = String::from_utf8_lossy(&line).contains(name);
        named || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(home))
    };
    entries.flatten().filter_map(number).filter(|pid| *pid != here && at_home(pid)).map(Pid::from_raw).collect()
}

/// Without `/proc`, as on macOS.
fn told_by_ps(name: &str) -> Vec<Pid> {
    let output = std::process::Command::new("ps").args(["-axo", "pid=,command="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| line.contains(name));
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).map(Pid::from_raw).collect()
}
