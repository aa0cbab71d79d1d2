//! The database under a test. On PostgreSQL each test gets a copy of a migrated
//! template; on CockroachDB, where a database costs seconds, tests borrow one of four
//! and empty it. Files under the test folder are the locks between test processes.
//!
//! A private server serves a whole run. With nextest each test is a process of its own, so the first starts
//! another one, which owns the server and ends when the run does.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use movr::{
    clock::Clock,
    config::Tools,
    db::{self, Db, migrate::Layout},
    domain::catalogue::Catalogue,
    local::{Options, PrivatePostgres},
    ops,
};
use nix::{
    errno::Errno,
    sys::signal::kill,
    unistd::{Pid, getppid},
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// A server, and a database on it for one test.
pub struct Database {
    /// Where it is.
    pub url: String,
    private: bool,
    _borrowed: Option<File>,
}

fn folder() -> PathBuf {
    let folder =
        movr::config::env("MOVR_TEST_DATA").map_or_else(|| std::env::temp_dir().join("movr-tests"), PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn lock(name: &str) -> Option<File> {
    let file = File::create(folder().join(name)).unwrap();
    file.try_lock().ok().map(|()| file)
}

async fn lock_soon(name: &str) -> File {
    loop {
        if let Some(file) = lock(name) {
            return file;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The URL of the database `name` on the same server as `url`.
pub fn with_database(url: &str, name: &str) -> String {
    let (head, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = head.rsplit_once('/').unwrap();
    format!("{server}/{name}?{query}")
}

/// Settings for commands against `url`, with cheap passwords.
pub fn tools(url: &str) -> Tools {
    Tools::from_vars([
        ("DATABASE_URL", url),
        ("MOVR_PASSWORD_MEMORY_KIB", "8"),
        ("MOVR_PASSWORD_ITERATIONS", "1"),
        ("MOVR_STATEMENT_TIMEOUT_MS", "8000"),
        ("MOVR_WRITE_TIMEOUT_MS", "8000"),
    ])
    .unwrap()
}

/// For what a test does by itself, which takes CockroachDB as long as it takes.
pub async fn client(url: &str) -> tokio_postgres::Client {
    let endpoint = db::endpoint(&tools(url).database, url).unwrap();
    let client = db::connect_once(&endpoint).await.unwrap();
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    client
}

/// Schema and catalogue, as `movr migrate` makes them.
pub async fn migrate(url: &str) {
    schema(url).await;
    catalogue(url).await;
}

async fn schema(url: &str) {
    let tools = tools(url);
    let file = Catalogue::parse(movr::cli::migrate::SHIPPED).unwrap();
    let layout = Layout {
        regions: file.regions.iter().map(|region| region.code.clone()).collect(),
        survive_region: false,
        placement_restricted: false,
        locality: true,
    };
    let endpoint = db::endpoint(&tools.database, url).unwrap();
    db::migrate::run(&endpoint, &layout, false).await.unwrap();
}

async fn catalogue(url: &str) {
    let tools = tools(url);
    let file = Catalogue::parse(movr::cli::migrate::SHIPPED).unwrap();
    let database = Db::open(&tools.database).await.unwrap();
    ops::catalogue::load(&database, &file, &Clock::default()).await.unwrap();
    database.close();
}

/// The private server of this run, as the URL of its database `postgres`.
pub async fn private_server() -> String {
    static RUN: LazyLock<(String, Pid)> = LazyLock::new(|| match movr::config::env("NEXTEST_RUN_ID") {
        Some(id) => (id, getppid()),
        None => (Uuid::new_v4().to_string(), Pid::this()),
    });
    let (run, runner) = &*RUN;
    server_of(&folder().join(run), *runner).await
}

/// The server of the run that `home` belongs to, started by whoever comes first.
async fn server_of(home: &Path, runner: Pid) -> String {
    let url = home.join("url");
    let _starting = lock_soon("server.lock").await;
    let mut owner = if url.exists() { None } else { Some(start_owner(home, runner)) };
    loop {
        if let Ok(url) = fs::read_to_string(&url) {
            return url;
        }
        let ended = owner.as_mut().is_none_or(|owner| owner.try_wait().unwrap().is_some());
        assert!(!ended, "no server: {}", fs::read_to_string(home.join("log")).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn start_owner(home: &Path, runner: Pid) -> Child {
    fs::create_dir_all(home).unwrap();
    let log = File::create(home.join("log")).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "support::engine::owner", "--ignored", "--nocapture"])
        .env("MOVR_TEST_SERVER", home)
        .env("MOVR_TEST_RUNNER", runner.to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "no test, but the process that owns the server of a run"]
async fn owner() {
    let Some(home) = movr::config::env("MOVR_TEST_SERVER").map(PathBuf::from) else { return };
    let runner = Pid::from_raw(movr::config::env("MOVR_TEST_RUNNER").unwrap().parse().unwrap());
    let settings = vec![("max_connections".to_owned(), "400".to_owned())];
    let options = Options { data: home.clone(), volatile: true, settings, ..Default::default() };
    let server = PrivatePostgres::start(options).await.unwrap();
    fs::write(home.join("url.new"), server.url("postgres")).unwrap();
    fs::rename(home.join("url.new"), home.join("url")).unwrap();
    while kill(runner, None) != Err(Errno::ESRCH) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await.unwrap();
    fs::remove_dir_all(home).unwrap();
}

#[tokio::test]
async fn the_server_of_a_run_is_shared_and_ends_with_it() {
    let home = folder().join(Uuid::new_v4().to_string());
    let mut runner = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(runner.id()).unwrap());
    let (one, two) = tokio::join!(server_of(&home, pid), server_of(&home, pid));
    assert_eq!(one, two);
    drop(client(&one).await);
    client(&two).await.simple_query("SELECT 'still here'").await.unwrap();
    runner.kill().unwrap();
    runner.wait().unwrap();
    let ends = async {
        while home.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ends).await.expect("the server's folder goes with it");
    let endpoint = db::endpoint(&tools(&one).database, &one).unwrap();
    assert!(db::connect_once(&endpoint).await.is_err());
}

/// A database with schema and catalogue, for this test alone.
pub async fn database() -> Database {
    let named = movr::config::env("TEST_DATABASE_URL");
    let private = named.is_none();
    let url = match named {
        Some(url) => url,
        None => private_server().await,
    };
    // The database of the URL need not be there.
    let admin = client(&with_database(&url, "postgres")).await;
    let version: String = admin.query_one("SELECT version()", &[]).await.unwrap().try_get(0).unwrap();
    if version.starts_with("CockroachDB") {
        return borrowed(&url).await;
    }
    // The name tells the migrations apart, so that a server outlives a change of them.
    let template = format!("movr_template_{}", fingerprint());
    let guard = lock_soon("template.lock").await;
    let known = admin.query("SELECT 1 FROM pg_database WHERE datname = $1", &[&template]).await.unwrap();
    if known.is_empty() {
        let making = format!("{template}_making");
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)")).await.unwrap();
        migrate(&with_database(&url, &making)).await;
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        admin.query(others, &[&making]).await.unwrap();
        admin.batch_execute(&format!("ALTER DATABASE {making} RENAME TO {template}")).await.unwrap();
    }
    drop(guard);
    let name = format!("t{}", Uuid::new_v4().simple());
    admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
    Database { url: with_database(&url, &name), private, _borrowed: None }
}

fn fingerprint() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    movr::cli::migrate::SHIPPED.hash(&mut hasher);
    let mut files: Vec<_> = fs::read_dir("migrations").unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        fs::read_to_string(file).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

async fn borrowed(url: &str) -> Database {
    let mut number = 0;
    let guard = loop {
        match lock(&format!("database-{number}.lock")) {
            Some(guard) => break guard,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        number = (number + 1) % 4;
    };
    let url = with_database(url, &format!("movr_test_{number}"));
    // Whatever the last test has left, such as a region that is closed, goes before the catalogue is loaded.
    schema(&url).await;
    let client = client(&url).await;
    let tables = "SELECT table_name::TEXT FROM information_schema.tables WHERE table_schema = 'public'
        AND table_type = 'BASE TABLE' AND table_name <> 'refinery_schema_history'";
    let tables = client.query(tables, &[]).await.unwrap();
    let mut left: Vec<String> = tables.iter().map(|table| table.try_get(0).unwrap()).collect();
    // What is no migration's was made by a test that failed.
    let files = fs::read_dir("migrations").unwrap().map(|file| file.unwrap().path());
    let made: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    for table in left.extract_if(.., |table| !made.contains(&format!("CREATE TABLE {table} ("))) {
        client.batch_execute(&format!("DROP TABLE {table} CASCADE")).await.unwrap();
    }
    // A table can be emptied when those are empty that refer to it.
    while !left.is_empty() {
        let (before, mut refused) = (left.len(), Vec::new());
        for table in left {
            match client.batch_execute(&format!("DELETE FROM {table} WHERE true")).await {
                Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => refused.push(table),
                emptied => emptied.unwrap(),
            }
        }
        assert!(refused.len() < before, "cannot be emptied: {refused:?}");
        left = refused;
    }
    drop(client);
    catalogue(&url).await;
    Database { url, private: false, _borrowed: Some(guard) }
}

impl Database {
    /// The URL of a database on the same server that does not exist yet.
    pub fn another(&self) -> String {
        with_database(&self.url, &format!("t{}", Uuid::new_v4().simple()))
    }

    /// Drops a database that was made under such a URL, if it was.
    pub async fn drop_another(&self, url: &str) {
        let admin = client(&with_database(url, "postgres")).await;
        let (head, _) = url.split_once('?').unwrap();
        let drop = format!("DROP DATABASE IF EXISTS {}", head.rsplit_once('/').unwrap().1);
        for tries in 1.. {
            match admin.batch_execute(&format!("{drop} WITH (FORCE)")).await {
                Ok(()) => return,
                // CockroachDB says it otherwise.
                Err(error) if error.code() == Some(&SqlState::SYNTAX_ERROR) => break,
                // Who is no superuser cannot end the server's own vacuum; it ends by itself.
                Err(error) => assert!(tries < 100, "{drop}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        admin.batch_execute(&format!("{drop} CASCADE")).await.unwrap();
    }

    /// Drops the database, if it is on the server of this run.
    pub async fn leave(self) {
        if self.private {
            let (head, _) = self.url.split_once('?').unwrap();
            let name = head.rsplit_once('/').unwrap().1;
            let admin = client(&with_database(&self.url, "postgres")).await;
            let _ = admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        }
    }
}
