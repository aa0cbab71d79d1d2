//! Real servers on this machine's PostgreSQL: start, reuse, share, refuse, stop.
//!
//! Each test has its own folder under the system's temporary folder, where a server that is not ours
//! may enter; every wait is bounded by the code under test.
//! The surprise: `abandon` plays kill -9, by keeping the server and giving back our locks.
#![allow(clippy::unwrap_used, reason = "a test may stop at a surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use super::*;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("movr-local-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    #[allow(clippy::disallowed_methods, reason = "the machine's own PATH, as main reads it")]
    fn options(&self) -> Options {
        let mut options = Options::new(&self.0, |name| std::env::var(name).ok());
        options.durable = false;
        options
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn ask(server: &PrivatePostgres, sql: &str) -> String {
    let url = server.url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one(sql, &[]).await.unwrap();
    row.try_get(0).unwrap()
}

#[tokio::test]
async fn starts_keeps_its_data_and_stops() {
    let scratch = Scratch::new();
    let server = PrivatePostgres::start(scratch.options()).await.unwrap();
    assert!(!server.is_reused());
    assert_eq!(ask(&server, "SHOW server_encoding").await, "UTF8");
    assert_eq!(ask(&server, "SHOW listen_addresses").await, "127.0.0.1");
    assert_eq!(ask(&server, "SHOW unix_socket_directories").await, "");
    assert_eq!(ask(&server, "SHOW fsync").await, "off");
    let datctype = "SELECT datctype::TEXT FROM pg_database WHERE datname = 'postgres'";
    assert_eq!(ask(&server, datctype).await, "C");
    let password = scratch.0.join("postgres/password");
    let mode = fs::metadata(&password).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = fs::read_to_string(&password).unwrap();
    let port = server.port();
    server.stop().await.unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());

    let mut options = scratch.options();
    options.durable = true;
    let again = PrivatePostgres::start(options).await.unwrap();
    assert_eq!(ask(&again, "SHOW fsync").await, "on");
    assert_eq!(fs::read_to_string(&password).unwrap(), first);
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_outlived_us_is_used_again() {
    let scratch = Scratch::new();
    let server = PrivatePostgres::start(scratch.options()).await.unwrap();
    let port = server.port();
    server.abandon();
    let again = PrivatePostgres::start(scratch.options()).await.unwrap();
    assert!(again.is_reused());
    assert_eq!(again.port(), port);
    again.stop().await.unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn a_dropped_server_is_stopped_and_its_data_started_again() {
    let scratch = Scratch::new();
    drop(PrivatePostgres::start(scratch.options()).await.unwrap());
    let again = PrivatePostgres::start(scratch.options()).await.unwrap();
    assert_eq!(ask(&again, "SELECT 'here'").await, "here");
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_another_process_is_ignored() {
    let scratch = Scratch::new();
    let server = PrivatePostgres::start(scratch.options()).await.unwrap();
    server.stop().await.unwrap();
    let cluster = scratch.0.join("postgres/cluster");
    let lie = format!("{}\n{}\n1\n5432\n", std::process::id(), cluster.display());
    fs::write(cluster.join("postmaster.pid"), lie).unwrap();
    let again = PrivatePostgres::start(scratch.options()).await.unwrap();
    assert!(!again.is_reused());
    again.stop().await.unwrap();
}

/// While a server starts, its file is there before it is whole; taking it away ends that server.
#[tokio::test]
async fn looking_never_removes_the_file_of_a_starting_server() {
    let scratch = Scratch::new();
    let server = PrivatePostgres::start(scratch.options()).await.unwrap();
    let cluster = scratch.0.join("postgres/cluster");
    let file = cluster.join("postmaster.pid");
    let whole = fs::read_to_string(&file).unwrap();
    let half: Vec<&str> = whole.lines().take(2).collect();
    fs::write(&file, half.join("\n")).unwrap();
    assert_eq!(orphan::running(&cluster), None);
    assert!(orphan::holder(&cluster).is_some());
    orphan::remove_stale(&cluster).unwrap();
    assert!(file.exists());
    fs::write(&file, whole).unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_user_is_refused_unless_both_share() {
    let scratch = Scratch::new();
    let server = PrivatePostgres::start(scratch.options()).await.unwrap();
    let second = PrivatePostgres::start(scratch.options()).await;
    assert!(matches!(second, Err(LocalError::InUse(_))));
    server.stop().await.unwrap();

    let mut options = scratch.options();
    options.shared = true;
    let (one, two) = tokio::join!(PrivatePostgres::start(options.clone()), PrivatePostgres::start(options.clone()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.port(), two.port());
    one.stop().await.unwrap();
    assert_eq!(ask(&two, "SELECT 'still here'").await, "still here");
    let port = two.port();
    two.stop().await.unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[tokio::test]
async fn fresh_begins_anew() {
    let scratch = Scratch::new();
    let server = PrivatePostgres::start(scratch.options()).await.unwrap();
    let before = server.url("postgres");
    server.abandon();
    let mut options = scratch.options();
    options.fresh = true;
    let server = PrivatePostgres::start(options).await.unwrap();
    assert!(!server.is_reused());
    assert_ne!(server.url("postgres"), before);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn settings_and_files_reach_the_server_and_its_refusal_is_shown() {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.max_connections = 33;
    options.files = vec![("marker".to_owned(), b"seen".to_vec())];
    let server = PrivatePostgres::start(options.clone()).await.unwrap();
    assert_eq!(ask(&server, "SHOW max_connections").await, "33");
    assert_eq!(ask(&server, "SELECT pg_read_file('marker')").await, "seen");
    server.stop().await.unwrap();

    options.settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let refused = PrivatePostgres::start(options).await.unwrap_err();
    assert!(refused.to_string().contains("no_such_setting"), "{refused}");
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_with_the_package_to_install() {
    let scratch = Scratch::new();
    let server = PrivatePostgres::start(scratch.options()).await.unwrap();
    server.stop().await.unwrap();
    fs::write(scratch.0.join("postgres/cluster/PG_VERSION"), "8\n").unwrap();
    let refused = PrivatePostgres::start(scratch.options()).await.unwrap_err();
    assert!(refused.to_string().contains("postgresql-8"), "{refused}");
}

#[tokio::test]
async fn a_closed_folder_on_the_way_is_named_to_root() {
    if !geteuid().is_root() {
        return; // Another user's server runs as that user, who made the folder.
    }
    let scratch = Scratch::new();
    fs::create_dir(&scratch.0).unwrap();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).unwrap();
    let mut options = scratch.options();
    options.data = scratch.0.join("below");
    let refused = PrivatePostgres::start(options).await.unwrap_err();
    assert!(matches!(&refused, LocalError::Closed { folder, .. } if *folder == scratch.0));
}

#[test]
fn state_home_prefers_xdg_and_ignores_relative_paths() {
    let home = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
    assert_eq!(state_home(home), PathBuf::from("/home/ada/.local/state"));
    let both = |name: &str| match name {
        "XDG_STATE_HOME" => Some("/state".to_owned()),
        _ => home(name),
    };
    assert_eq!(state_home(both), PathBuf::from("/state"));
    let relative = |name: &str| match name {
        "XDG_STATE_HOME" => Some("state".to_owned()),
        _ => home(name),
    };
    assert_eq!(state_home(relative), PathBuf::from("/home/ada/.local/state"));
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_told_with_the_log() {
    let scratch = Scratch::new();
    for abandoned in [false, true] {
        let mut server = PrivatePostgres::start(scratch.options()).await.unwrap();
        if abandoned {
            server.abandon();
            server = PrivatePostgres::start(scratch.options()).await.unwrap();
        }
        let early = tokio::time::timeout(std::time::Duration::from_millis(500), server.ended()).await;
        assert!(early.is_err(), "it runs");
        let file = fs::read_to_string(scratch.0.join("postgres/cluster/postmaster.pid")).unwrap();
        let pid = nix::unistd::Pid::from_raw(file.lines().next().unwrap().parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT).unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), server.ended()).await.unwrap();
        assert!(ended.to_string().contains("received immediate shutdown request"), "{ended}");
        server.stop().await.unwrap();
    }
}
