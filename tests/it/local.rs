//! Private servers on this machine's PostgreSQL: start, refuse, stop, and what a killed process leaves.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use movr::local::{LocalError, Options, PrivatePostgres};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use tokio_postgres::NoTls;
use uuid::Uuid;

/// A folder that the server's user may enter and that is removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("movr-local-{}", Uuid::new_v4().simple())))
    }

    fn options(&self) -> Options {
        Options { data: self.0.clone(), volatile: true, ..Default::default() }
    }

    async fn start(&self) -> PrivatePostgres {
        PrivatePostgres::start(self.options()).await.unwrap()
    }

    fn cluster(&self) -> PathBuf {
        self.0.join("postgres/cluster")
    }

    fn pid(&self) -> Pid {
        let file = fs::read_to_string(self.cluster().join("postmaster.pid")).unwrap();
        Pid::from_raw(file.lines().next().unwrap().parse().unwrap())
    }

    /// What kill -9 leaves where the kernel does not stop the server with us: it runs as it did, and nobody
    /// holds the lock.
    async fn leave_running(&self) -> (Child, u16) {
        let command = fs::read_to_string(self.cluster().join("postmaster.opts")).unwrap();
        let (_, port) = command.split_once("\"port=").unwrap();
        let port = port.split_once('"').unwrap().0.parse().unwrap();
        let user = fs::metadata(self.cluster()).unwrap();
        let mut server = Command::new("sh");
        server.args(["-c", &format!("exec {command}")]).uid(user.uid()).gid(user.gid()).kill_on_drop(true);
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("it listens", || listens(port)).await;
        (server, port)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn ask(server: &PrivatePostgres, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().try_get(0).unwrap()
}

fn port(server: &PrivatePostgres) -> u16 {
    server.url("postgres").split([':', '/']).nth(5).unwrap().parse().unwrap()
}

async fn ended_well(server: &mut Child) {
    let status = timeout(Duration::from_secs(5), server.wait()).await.expect("it still runs").unwrap();
    assert!(status.success(), "{status}");
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let found = async {
        while !look() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), found).await.expect(what);
}

#[tokio::test]
async fn starts_keeps_its_data_and_stops() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    assert_eq!(ask(&server, "SHOW server_encoding").await, "UTF8");
    assert_eq!(ask(&server, "SHOW listen_addresses").await, "127.0.0.1");
    assert_eq!(ask(&server, "SHOW unix_socket_directories").await, "");
    assert_eq!(ask(&server, "SHOW fsync").await, "off");
    let datctype = "SELECT datctype::TEXT FROM pg_database WHERE datname = 'postgres'";
    assert_eq!(ask(&server, datctype).await, "C");
    let password = scratch.0.join("postgres/password");
    assert_eq!(fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    let first = fs::read_to_string(&password).unwrap();
    let port = port(&server);
    server.stop().await.unwrap();
    assert!(!listens(port));

    let again = PrivatePostgres::start(Options { volatile: false, ..scratch.options() }).await.unwrap();
    assert_eq!(ask(&again, "SHOW fsync").await, "on");
    assert_eq!(fs::read_to_string(&password).unwrap(), first);
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_outlived_us_is_stopped_and_its_data_kept_unless_it_starts_fresh() {
    const COUNT: &str = "SELECT count(*)::TEXT FROM pg_roles WHERE rolname = 'kept'";
    let scratch = Scratch::new();
    let server = scratch.start().await;
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE ROLE kept").await.unwrap();
    server.stop().await.unwrap();
    for fresh in [false, true] {
        let (mut leftover, port) = scratch.leave_running().await;
        let password = fs::read_to_string(scratch.0.join("postgres/password")).unwrap();
        let server = PrivatePostgres::start(Options { fresh, ..scratch.options() }).await.unwrap();
        ended_well(&mut leftover).await;
        assert!(!listens(port));
        assert_eq!(ask(&server, COUNT).await, if fresh { "0" } else { "1" });
        assert_eq!(server.url("postgres").contains(&password), !fresh);
        server.stop().await.unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_ends_with_the_thread_that_started_it() {
    let scratch = Scratch::new();
    let options = scratch.options();
    let started = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = runtime.block_on(PrivatePostgres::start(options)).unwrap();
        let port = port(&server);
        assert!(listens(port));
        std::mem::forget(server); // kill -9 drops nothing
        port
    });
    let port = started.join().unwrap();
    until("its end", || !listens(port) && !scratch.cluster().join("postmaster.pid").exists()).await;
}

#[tokio::test]
async fn a_dropped_server_is_stopped_and_its_data_started_again() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    let port = port(&server);
    drop(server);
    let again = scratch.start().await;
    assert!(!listens(port));
    assert_eq!(ask(&again, "SELECT 'here'").await, "here");
    again.stop().await.unwrap();
}

/// A process id alone proves nothing; a signal to 0 or below would reach a whole group.
#[tokio::test]
async fn a_pid_file_that_names_no_server_is_ignored() {
    let scratch = Scratch::new();
    scratch.start().await.stop().await.unwrap();
    let ours = format!("{}\n{}\n1\n5432\n", std::process::id(), scratch.cluster().display());
    for text in ["", "\n", "0\n", "1\n", "-4711\n", "many\n", &ours] {
        fs::write(scratch.cluster().join("postmaster.pid"), text).unwrap();
        let server = scratch.start().await;
        assert_eq!(ask(&server, "SELECT 'here'").await, "here", "{text:?}");
        server.stop().await.unwrap();
    }
}

/// While a server starts, its file is there before it is whole.
#[tokio::test]
async fn a_leftover_whose_file_is_half_written_is_stopped_too() {
    let scratch = Scratch::new();
    scratch.start().await.stop().await.unwrap();
    let (mut leftover, port) = scratch.leave_running().await;
    let file = scratch.cluster().join("postmaster.pid");
    let whole = fs::read_to_string(&file).unwrap();
    let half: Vec<&str> = whole.lines().take(2).collect();
    fs::write(&file, half.join("\n")).unwrap();
    let server = scratch.start().await;
    ended_well(&mut leftover).await;
    assert!(!listens(port));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_user_is_refused() {
    let scratch = Scratch::new();
    let server = scratch.start().await;
    let second = PrivatePostgres::start(scratch.options()).await;
    assert!(matches!(second, Err(LocalError::InUse(folder)) if folder == scratch.0.canonicalize().unwrap()));
    assert_eq!(ask(&server, "SELECT 'still here'").await, "still here");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn settings_and_files_reach_the_server_and_its_refusal_is_shown() {
    let scratch = Scratch::new();
    let mut options = scratch.options();
    options.settings = vec![("max_connections".to_owned(), "33".to_owned())];
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
    scratch.start().await.stop().await.unwrap();
    fs::write(scratch.cluster().join("PG_VERSION"), "8\n").unwrap();
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
    let options = Options { data: scratch.0.join("below"), ..scratch.options() };
    let refused = PrivatePostgres::start(options).await.unwrap_err();
    assert!(matches!(&refused, LocalError::Closed { folder, .. } if *folder == scratch.0));
}

#[tokio::test]
async fn an_end_that_nobody_asked_for_is_told_with_the_log() {
    let scratch = Scratch::new();
    let mut server = scratch.start().await;
    assert!(timeout(Duration::from_millis(500), server.ended()).await.is_err(), "it runs");
    kill(scratch.pid(), Signal::SIGQUIT).unwrap();
    let ended = timeout(Duration::from_secs(10), server.ended()).await.unwrap();
    assert!(ended.to_string().contains("received immediate shutdown request"), "{ended}");
    server.stop().await.unwrap();
}
