//! The database under a test. On PostgreSQL each test gets a copy of a migrated
//! template; on CockroachDB, where a database costs seconds, tests borrow one of four
//! and empty it. Files under the test folder are the locks between test processes.

use std::{fs::File, path::PathBuf};

use movr::{
    clock::Clock,
    config::Tools,
    db::{self, Db, migrate::Layout},
    domain::catalogue::CatalogueFile,
    local::{Options, PrivatePostgres},
    ops,
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// A server, and a database on it for one test.
pub struct Database {
    /// Where it is.
    pub url: String,
    server: Option<PrivatePostgres>,
    _borrowed: Option<File>,
}

fn folder() -> PathBuf {
    let folder =
        movr::config::env("MOVR_TEST_DATA").map_or_else(|| std::env::temp_dir().join("movr-tests"), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
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
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
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

pub async fn client(url: &str) -> tokio_postgres::Client {
    let endpoint = db::endpoint(&tools(url).database, url).unwrap();
    db::connect_once(&endpoint).await.unwrap()
}

/// Schema and catalogue, as `movr migrate` makes them.
pub async fn migrate(url: &str) {
    schema(url).await;
    catalogue(url).await;
}

async fn schema(url: &str) {
    let tools = tools(url);
    let file = CatalogueFile::parse(movr::cli::migrate::SHIPPED).unwrap();
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
    let file = CatalogueFile::parse(movr::cli::migrate::SHIPPED).unwrap();
    let database = Db::open(&tools.database).await.unwrap();
    ops::catalogue::load(&database, &file, &Clock::default()).await.unwrap();
    database.close();
}

/// A server of our own, shared by all test processes of a run.
pub async fn private_server() -> PrivatePostgres {
    let mut options = Options::new(folder(), movr::config::env);
    (options.durable, options.shared, options.max_connections) = (false, true, 400);
    PrivatePostgres::start(options).await.unwrap()
}

/// A database with schema and catalogue, for this test alone.
pub async fn database() -> Database {
    let (url, server) = if let Some(url) = movr::config::env("TEST_DATABASE_URL") {
        (url, None)
    } else {
        let server = private_server().await;
        (server.url("postgres"), Some(server))
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
    Database { url: with_database(&url, &name), server, _borrowed: None }
}

fn fingerprint() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    movr::cli::migrate::SHIPPED.hash(&mut hasher);
    let mut files: Vec<_> = std::fs::read_dir("migrations").unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        std::fs::read_to_string(file).unwrap().hash(&mut hasher);
    }
    hasher.finish()
}

async fn borrowed(url: &str) -> Database {
    let mut number = 0;
    let guard = loop {
        match lock(&format!("database-{number}.lock")) {
            Some(guard) => break guard,
            None => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
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
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    // What is no migration's was made by a test that failed.
    let files = std::fs::read_dir("migrations").unwrap().map(|file| file.unwrap().path());
    let made: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
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
    Database { url, server: None, _borrowed: Some(guard) }
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
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        admin.batch_execute(&format!("{drop} CASCADE")).await.unwrap();
    }

    /// Leaves the server to the others, or stops it when this was the last test.
    pub async fn leave(&mut self) {
        if let Some(server) = self.server.take() {
            let (head, _) = self.url.split_once('?').unwrap();
            let name = head.rsplit_once('/').unwrap().1.to_owned();
            let admin = client(&server.url("postgres")).await;
            let _ = admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            drop(admin);
            let _ = server.stop().await;
        }
    }
}
