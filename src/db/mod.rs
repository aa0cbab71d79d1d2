//! The database: pools to each region's nodes (here's own, and small ones to the others
//! when their URLs are given), and the tables, one file a family. `Db::at` picks the
//! gateway by the region a statement names, and the next nearest nodes when that one
//! cannot be reached. May use `domain`; nothing here decides anything.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

use crate::{
    config::{self, Database},
    domain::region::RegionCode,
};
use connect::Endpoint;
use engine::Engine;
use error::{DbError, DbErrorKind, NO_DATABASE};
use health::{Faults, Health};
pub use nodes::PROBES;
use nodes::{NoConnection, Nodes, Use};
use statement::{Conn, Statement};
use tokio::sync::OwnedSemaphorePermit;

pub mod audit;
pub mod bulk;
pub mod catalogue;
pub mod connect;
pub mod distance;
pub mod engine;
pub mod error;
pub mod exports;
pub mod feeds;
pub mod fleet;
pub mod gates;
pub mod health;
pub mod home;
pub mod imports;
pub mod jobs;
mod literal;
pub mod locality;
pub mod meter;
pub mod migrate;
mod nodes;
pub mod overview;
pub mod reservations;
mod retry;
pub mod rides;
pub mod rights;
pub mod roles;
pub mod row;
pub mod sample;
pub mod sessions;
pub mod stale;
pub mod statement;
pub mod transfers;
pub mod txn;
pub mod users;
pub mod vehicles;
pub mod verdict;
pub mod verify;

/// Every statement by file, and whether the server sends those of that file: these are
/// prepared on a connection before a page needs them. The others are the commands'.
const STATEMENTS: [(&[&Statement], bool); 20] = [
    (catalogue::ALL, true),
    (gates::ALL, true),
    (sessions::ALL, true),
    (users::ALL, true),
    (vehicles::ALL, true),
    (reservations::ALL, true),
    (rides::ALL, true),
    (fleet::ALL, true),
    (feeds::ALL, true),
    (audit::ALL, true),
    (roles::ALL, true),
    (overview::ALL, true),
    (home::ALL, true),
    (jobs::ALL, true),
    (bulk::ALL, true),
    (transfers::ALL, true),
    (exports::ALL, true),
    (imports::ALL, true),
    (sample::ALL, false),
    (verify::ALL, false),
];

/// Every statement of the program, so that checks can prepare, explain and count them.
pub fn all_statements() -> Vec<&'static Statement> {
    STATEMENTS.iter().flat_map(|(all, _)| all.iter().copied()).collect()
}

/// The statements that the server sends.
pub fn served_statements() -> impl Iterator<Item = &'static Statement> {
    STATEMENTS.iter().filter(|(_, served)| *served).flat_map(|(all, _)| all.iter().copied())
}

/// Connections that are kept prepared in each pool.
const WARM: usize = 2;

/// How long an instance waits at its start for the nodes of other regions: the first
/// prepares on a cold node take 7 to 9 s. What is not done by then the watch does.
const OTHERS: Duration = Duration::from_secs(15);

/// Longest time of tending: a cold node takes seconds to prepare its first statements.
const TEND: Duration = Duration::from_secs(30);

/// The pools of one instance.
pub struct Db {
    nodes: Vec<Nodes>,
    engine: Engine,
    health: Arc<Health>,
    read_deadline: Duration,
    write_deadline: Duration,
    probe_timeout: Duration,
    here: Option<RegionCode>,
}

impl Db {
    /// Connects once to learn the engine, then builds the pools. Fails, with words,
    /// when no node answers.
    pub async fn open(config: &Database) -> Result<Self, DbError> {
        Self::open_with(config, None).await
    }

    /// The same for tests that lose regions.
    pub async fn open_with(config: &Database, faults: Option<Arc<Faults>>) -> Result<Self, DbError> {
        let mut endpoints = vec![(None, endpoint(config, config.url.expose())?)];
        for (region, url) in config.region_urls() {
            endpoints.push((Some(region), endpoint(config, url)?));
        }
        let engine = ask(&endpoints, config.connect_timeout).await?;
        let mut nodes = Vec::with_capacity(endpoints.len());
        for (region, endpoint) in endpoints {
            // Few connections to the others: they carry only what names another region.
            let size = if region.is_none() { config.pool_size } else { (config.pool_size / 4).max(2) };
            nodes.push(Nodes::new(config, region, &endpoint, &engine, size)?);
        }
        let (read_deadline, write_deadline) = (config.statement_timeout, config.write_timeout);
        let health = Arc::new(Health::new(config.probe_failures, (config.pool_size / 4).max(1), faults));
        let (probe_timeout, here) = (config.probe_timeout(), config.here.clone());
        Ok(Self { nodes, engine, health, read_deadline, write_deadline, probe_timeout, here })
    }

    /// What the server is and can do.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Where the own nodes say that they are, if that is not `here`: every statement crosses.
    pub fn foreign_gateway(&self, here: &RegionCode) -> Option<&str> {
        self.engine.gateway.as_deref().filter(|gateway| *gateway != here.as_str())
    }

    /// What is known of the regions.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The regions whose own nodes are known.
    pub fn regions_with_nodes(&self) -> impl Iterator<Item = &RegionCode> {
        self.nodes.iter().filter_map(|nodes| nodes.region.as_ref())
    }

    /// A connection for reading at a gateway of `region`: its own nodes when their URL is
    /// configured, otherwise the nodes of this instance; when they cannot be reached,
    /// the nearest of the others.
    pub async fn at(&self, region: &RegionCode) -> Result<Conn, DbError> {
        self.checkout(Some(region), Use::Read).await
    }

    /// A connection for reading at this instance's own nodes, for GLOBAL tables.
    pub async fn here(&self) -> Result<Conn, DbError> {
        self.checkout(None, Use::Read).await
    }

    /// A connection for writing; only `write` and `txn` use it.
    async fn writer(&self, region: &RegionCode) -> Result<Conn, DbError> {
        self.checkout(Some(region), Use::Write).await
    }

    /// A connection for asking whether `region` answers, whatever is known of it.
    pub async fn probe(&self, region: &RegionCode) -> Result<Conn, DbError> {
        let conn = self.checkout(Some(region), Use::Probe).await?.asking_silent(self.probe_timeout);
        for statement in gates::ALL.iter().filter(|statement| !statement.writes) {
            conn.prepare(statement).await?;
        }
        Ok(conn)
    }

    /// Where statements for `region` go, best first.
    fn route(&self, region: Option<&RegionCode>) -> Vec<&Nodes> {
        let mut route: Vec<&Nodes> = self.nodes.iter().collect();
        // Stable: own nodes stay before those whose distance is not known yet.
        route.sort_by_key(|nodes| match &nodes.region {
            of if of.is_some() && of.as_ref() == region => (0, Duration::ZERO),
            None => (1, Duration::ZERO),
            Some(other) => (2, self.health.of(other).round_trip.unwrap_or(Duration::MAX)),
        });
        route
    }

    async fn checkout(&self, region: Option<&RegionCode>, wanted: Use) -> Result<Conn, DbError> {
        if let Some(region) = region.filter(|_| wanted != Use::Probe)
            && let Some(since) = self.health.refused(region)
        {
            let silent = DbError::new(DbErrorKind::Unavailable, "connect", format!("{region} is unreachable"));
            return Err(silent.with_silent((region.clone(), since)));
        }
        let mut refused = None;
        let mut route = self.route(region);
        if route.iter().any(|nodes| !nodes.resting()) {
            route.retain(|nodes| !nodes.resting());
        }
        for nodes in route {
            let place = self.place(nodes, region, wanted).await?;
            match nodes.take(wanted).await {
                Ok(object) => {
                    let deadlines = (self.read_deadline, self.write_deadline);
                    return Ok(Conn::new(object, place, deadlines, Arc::clone(&self.health)));
                }
                Err(NoConnection::Busy(error)) => return Err(error),
                Err(NoConnection::Nodes(error)) => {
                    self.health.suspect();
                    refused = refused.or(Some(error));
                }
            }
        }
        Err(refused.unwrap_or_else(|| DbError::new(DbErrorKind::Unavailable, "connect", "no nodes")))
    }

    /// The place that a statement for another region needs at this instance's own nodes, so
    /// that what waits for that region does not take all of their connections.
    async fn place(
        &self,
        nodes: &Nodes,
        region: Option<&RegionCode>,
        wanted: Use,
    ) -> Result<Option<OwnedSemaphorePermit>, DbError> {
        let (None, Some(here), Some(region)) = (&nodes.region, &self.here, region) else {
            return Ok(None);
        };
        if wanted == Use::Probe || region == here {
            return Ok(None);
        }
        let place = tokio::time::timeout(self.read_deadline, self.health.place(region)).await;
        place.map_err(|_late| {
            self.health.suspect();
            DbError::new(DbErrorKind::Unavailable, "connect", format!("too many already wait for {region}"))
        })
    }

    /// Version of the schema that the database has.
    pub async fn schema_version(&self) -> Result<i32, DbError> {
        migrate::version_of(self.here().await?.client()?).await
    }

    /// Opens two connections to each pool and prepares every statement of the pages on
    /// them: the first statement on a cold node costs seconds. Nodes that cannot be
    /// reached rest; fails when none can, or when our own refuse us for good.
    pub async fn warm(&self) -> Result<(), DbError> {
        let late = || DbError::new(DbErrorKind::Timeout, "connect", "not ready in time; the watch goes on");
        let warm = async |nodes: &Nodes| match &nodes.region {
            None => nodes.warm().await,
            Some(_) => tokio::time::timeout(OTHERS, nodes.warm()).await.unwrap_or_else(|_late| Err(late())),
        };
        let warmed = futures_util::future::join_all(self.nodes.iter().map(warm)).await;
        let mut failures = Vec::new();
        for (nodes, warmed) in self.nodes.iter().zip(warmed) {
            if let Err(error) = warmed {
                if nodes.region.is_none() && matches!(error.kind, DbErrorKind::Setup(_)) {
                    return Err(error);
                }
                tracing::warn!(%error, region = nodes.name(), "nodes could not be made ready");
                failures.push(error);
            }
        }
        if failures.len() < self.nodes.len() { Ok(()) } else { failures.pop().map_or(Ok(()), Err) }
    }

    /// Tries resting nodes again, and keeps the connections to the others young and
    /// prepared. Whether all nodes are reached.
    pub async fn tend(&self) -> bool {
        let tend = async |nodes: &Nodes| {
            let was = nodes.resting();
            nodes.retire();
            let warmed = nodes.warm().await;
            match &warmed {
                Ok(()) if was => tracing::warn!(region = nodes.name(), "the nodes are reached again"),
                Err(error) if !was => tracing::warn!(region = nodes.name(), %error, "the nodes cannot be reached"),
                _ => {}
            }
            warmed.is_ok()
        };
        let tended = self.nodes.iter().map(|nodes| tokio::time::timeout(TEND, tend(nodes)));
        futures_util::future::join_all(tended).await.iter().all(|tended| matches!(tended, Ok(true)))
    }

    /// The regions whose own nodes cannot be reached, and none for the instance's own.
    pub fn unreached(&self) -> impl Iterator<Item = Option<&RegionCode>> {
        self.nodes.iter().filter(|nodes| nodes.resting()).map(|nodes| nodes.region.as_ref())
    }

    /// Whether any node answers, whatever is known of the regions' rows.
    pub async fn answers(&self) -> Result<(), DbError> {
        let conn = self.checkout(None, Use::Probe).await?.asking_silent(self.probe_timeout);
        conn.control("look", "SELECT 1").await
    }

    /// Whether statements for both regions go through the same nodes just now.
    pub fn same_way(&self, one: &RegionCode, other: &RegionCode) -> bool {
        let way = |region| self.route(Some(region)).into_iter().find(|nodes| !nodes.resting()).map(Nodes::name);
        way(one) == way(other)
    }

    /// Closes the pools: no new connection is handed out.
    pub fn close(&self) {
        self.nodes.iter().for_each(Nodes::close);
    }
}

/// The engine, asked of the first nodes that answer.
async fn ask(endpoints: &[(Option<RegionCode>, Endpoint)], patience: Duration) -> Result<Engine, DbError> {
    let mut first = None;
    for (region, endpoint) in endpoints {
        let asked = async { Engine::ask(&connect_once(endpoint).await?).await };
        // The hosts in turn, and then the questions.
        let hosts = u32::try_from(endpoint.hosts()).unwrap_or(1);
        let late = || DbError::new(DbErrorKind::Unavailable, "connect", "the server does not answer");
        let asked = tokio::time::timeout(patience * (hosts + 1), asked).await;
        match asked.unwrap_or_else(|_late| Err(late())) {
            // Other nodes may do where ours do not answer, not where their URL is wrong.
            Err(error) if region.is_none() && matches!(error.kind, DbErrorKind::Setup(_)) => return Err(error),
            // Where another region's node stands says nothing of ours.
            Ok(engine) => return Ok(Engine { gateway: engine.gateway.filter(|_| region.is_none()), ..engine }),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| DbError::new(DbErrorKind::Bug, "connect", "no URL")))
}

/// The nodes of `url` with the session settings every connection of ours has.
pub fn endpoint(config: &Database, url: &str) -> Result<Endpoint, DbError> {
    // libpq's place for certificates is below the home folder.
    let home = config::env("HOME").map(PathBuf::from);
    let wrong = DbErrorKind::Setup("cannot be reached: its URL, or a file that the URL names, is not right");
    let bad = |error: connect::ConnectError| DbError::new(wrong, "connect", error.to_string());
    let mut endpoint = Endpoint::parse(url, home.as_deref()).map_err(bad)?;
    endpoint.with_connect_timeout(config.connect_timeout);
    let timeout = config.write_timeout.as_millis().to_string();
    endpoint.with_session(&[("default_transaction_isolation", "serializable"), ("statement_timeout", &timeout)]);
    Ok(endpoint)
}

/// One connection outside the pools, for migrations and questions about the server.
pub async fn connect_once(endpoint: &Endpoint) -> Result<tokio_postgres::Client, DbError> {
    let client = endpoint.connect().await.map_err(|error| DbError::connecting(&error, &endpoint.describe()))?;
    // On CockroachDB a missing database shows at the first statement that looks something up.
    match engine::text(&client, "SELECT count(*)::TEXT FROM pg_database").await {
        Err(error) if error.kind == NO_DATABASE => {
            Err(DbError::new(NO_DATABASE, "connect", format!("{}: {}", endpoint.describe(), error.detail)))
        }
        asked => asked.map(|_| client),
    }
}

/// The same to a database that is there from the start: `postgres` on both engines, unless
/// somebody dropped it; on CockroachDB and at some providers also `defaultdb`.
async fn connect_beside(endpoint: &Endpoint) -> Result<tokio_postgres::Client, DbError> {
    match connect_once(&endpoint.with_database("postgres")).await {
        Err(error) if error.kind == NO_DATABASE => connect_once(&endpoint.with_database("defaultdb")).await,
        connected => connected,
    }
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
