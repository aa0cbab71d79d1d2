//! The database: a pool for each region (here's own nodes, and small ones for the
//! others when their URLs are given), and the tables, one file a family. `Db::at`
//! picks the gateway by the region a statement names. May use `domain`; nothing here
//! decides anything. What may be said in SQL stands in the README.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

use crate::{
    config::{self, Database},
    domain::region::RegionCode,
};
use connect::Endpoint;
use engine::Engine;
use error::{DbError, DbErrorKind};
use statement::{Conn, Statement};

pub mod catalogue;
pub mod connect;
pub mod engine;
pub mod error;
pub mod gates;
pub mod home;
pub mod migrate;
pub mod positions;
pub mod reservations;
pub mod rides;
pub mod roles;
pub mod row;
pub mod sample;
pub mod sessions;
pub mod statement;
mod txn;
pub mod users;
pub mod vehicles;
pub mod verdict;
pub mod verify;

/// Every statement of the program, so that checks can prepare, explain and count them.
#[must_use]
pub fn all_statements() -> Vec<&'static Statement> {
    [
        catalogue::ALL,
        gates::ALL,
        sessions::ALL,
        users::ALL,
        vehicles::ALL,
        reservations::ALL,
        rides::ALL,
        positions::ALL,
        roles::ALL,
        home::ALL,
        sample::ALL,
        verify::ALL,
    ]
    .concat()
}

/// The connections to one region's nodes.
struct Pools {
    /// For statements that only read.
    readers: Pool,
    /// For writes and transactions. The same pool on CockroachDB. On PostgreSQL readers
    /// are read-only sessions at repeatable read: each of their statements is a
    /// transaction of its own and sees one snapshot either way, but a serializable one
    /// leaves a lock for each row it read, and may be cancelled for a writer's sake.
    writers: Pool,
}

/// The pools of one instance.
pub struct Db {
    here: Pools,
    others: HashMap<RegionCode, Pools>,
    engine: Engine,
    read_deadline: Duration,
    write_deadline: Duration,
}

impl Db {
    /// Connects once to learn the engine, then builds the pools. Fails, with words,
    /// when no node answers.
    pub async fn open(config: &Database) -> Result<Self, DbError> {
        let endpoint = endpoint(config, config.url.expose())?;
        let engine = Engine::ask(&connect_once(&endpoint).await?).await?;
        let here = pools(config, &endpoint, &engine, config.pool_size)?;
        let mut others = HashMap::new();
        for (region, url) in config.region_urls() {
            // Few connections: they carry only what names another region.
            let size = (config.pool_size / 4).max(2);
            others.insert(region, pools(config, &self::endpoint(config, url)?, &engine, size)?);
        }
        Ok(Self { here, others, engine, read_deadline: config.statement_timeout, write_deadline: config.write_timeout })
    }

    /// What the server is and can do.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A connection for reading at a gateway of `region`: its own nodes when their URL is
    /// configured, otherwise the nodes of this instance.
    pub async fn at(&self, region: &RegionCode) -> Result<Conn, DbError> {
        self.checkout(&self.pools(region).readers).await
    }

    /// A connection for reading at this instance's own nodes, for GLOBAL tables.
    pub async fn here(&self) -> Result<Conn, DbError> {
        self.checkout(&self.here.readers).await
    }

    /// A connection for writing; only `write` and `txn` use it.
    async fn writer(&self, region: &RegionCode) -> Result<Conn, DbError> {
        self.checkout(&self.pools(region).writers).await
    }

    fn pools(&self, region: &RegionCode) -> &Pools {
        self.others.get(region).unwrap_or(&self.here)
    }

    async fn checkout(&self, pool: &Pool) -> Result<Conn, DbError> {
        let object = pool.get().await.map_err(|error| {
            let detail = match error {
                deadpool_postgres::PoolError::Backend(error) => connect::explain(&error),
                deadpool_postgres::PoolError::Timeout(_) => "no free connection in time".to_owned(),
                other => other.to_string(),
            };
            DbError::new(DbErrorKind::Unavailable, "connect", detail)
        })?;
        Ok(Conn::new(object, self.read_deadline, self.write_deadline))
    }

    /// Opens two connections to each pool and prepares every statement of the pages on
    /// them: the first statement on a cold node costs seconds.
    pub async fn warm(&self) -> Result<(), DbError> {
        let hot = [
            catalogue::ALL,
            sessions::ALL,
            users::ALL,
            vehicles::ALL,
            rides::ALL,
            reservations::ALL,
            positions::ALL,
            gates::ALL,
            home::ALL,
        ]
        .concat();
        for pools in std::iter::once(&self.here).chain(self.others.values()) {
            for pool in [&pools.readers, &pools.writers] {
                let conns = [self.checkout(pool).await?, self.checkout(pool).await?];
                for conn in &conns {
                    futures_util::future::try_join_all(hot.iter().map(|statement| conn.prepare(statement))).await?;
                }
            }
        }
        Ok(())
    }

    /// Closes the pools: no new connection is handed out.
    pub fn close(&self) {
        for pools in std::iter::once(&self.here).chain(self.others.values()) {
            pools.readers.close();
            pools.writers.close();
        }
    }
}

/// `size` connections altogether: shared on CockroachDB, divided on PostgreSQL.
fn pools(config: &Database, endpoint: &Endpoint, engine: &Engine, size: usize) -> Result<Pools, DbError> {
    if engine.cockroach {
        let both = pool(config, endpoint, engine, size)?;
        return Ok(Pools { readers: both.clone(), writers: both });
    }
    let half = (size / 2).max(2);
    let mut reading = endpoint.clone();
    reading
        .with_session(&[("default_transaction_read_only", "on"), ("default_transaction_isolation", "repeatable read")]);
    let readers = pool(config, &reading, engine, size.saturating_sub(half).max(2))?;
    Ok(Pools { readers, writers: pool(config, endpoint, engine, half)? })
}

/// The nodes of `url` with the session settings every connection of ours has.
pub fn endpoint(config: &Database, url: &str) -> Result<Endpoint, DbError> {
    // libpq's place for certificates is below the home folder.
    let home = config::env("HOME").map(PathBuf::from);
    let bad = |error: connect::ConnectError| DbError::new(DbErrorKind::Unavailable, "connect", error.to_string());
    let mut endpoint = Endpoint::parse(url, home.as_deref()).map_err(bad)?;
    endpoint.with_connect_timeout(config.connect_timeout);
    let timeout = config.write_timeout.as_millis().to_string();
    endpoint.with_session(&[("default_transaction_isolation", "serializable"), ("statement_timeout", &timeout)]);
    Ok(endpoint)
}

/// One connection outside the pools, for migrations and questions about the server.
pub async fn connect_once(endpoint: &Endpoint) -> Result<tokio_postgres::Client, DbError> {
    endpoint.connect().await.map_err(|error| {
        let detail = format!("{}: {}", endpoint.describe(), connect::explain(&error));
        DbError::new(DbErrorKind::Unavailable, "connect", detail)
    })
}

fn pool(config: &Database, endpoint: &Endpoint, engine: &Engine, size: usize) -> Result<Pool, DbError> {
    let manager = Manager::from_config(
        endpoint.config.clone(),
        endpoint.tls.clone(),
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let settings = engine.session_settings();
    let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            for setting in settings {
                match client.batch_execute(setting).await {
                    Err(error) if error.code().is_none() => return Err(HookError::Backend(error)),
                    // Done, or a setting that this version does not know.
                    _ => {}
                }
            }
            Ok(())
        })
    });
    let lifetime = config.pool_lifetime;
    let retire = Hook::sync_fn(move |_, metrics: &deadpool_postgres::Metrics| {
        // Up to ten per cent early, so that connections made together do not leave together.
        if metrics.age() > lifetime.mul_f64(rand::random_range(0.9..=1.0)) {
            return Err(HookError::message("connection reached its lifetime"));
        }
        Ok(())
    });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(config.statement_timeout))
        .create_timeout(Some(config.connect_timeout))
        .post_create(prepare)
        .pre_recycle(retire)
        .build()
        .map_err(|error| DbError::new(DbErrorKind::Bug, "connect", error.to_string()))
}

impl ToSql for RegionCode {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.as_str().to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&str as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}
