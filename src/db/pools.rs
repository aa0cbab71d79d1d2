//! `Db`: pools to this region's nodes, and small ones to the other regions' when their URLs are
//! configured. `Db::at` picks the gateway by the region a statement names, and the next nearest
//! nodes when that one cannot be reached.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    Conn, DbError, DbErrorKind, Result,
    connect::{Endpoint, connect_once, endpoint},
    engine::Engine,
    gates,
    health::{Faults, Health},
    migrate,
    nodes::{NoConnection, Nodes, Use},
};
use crate::{config::Database, domain::RegionCode, telemetry::metrics::Metrics};

/// How long startup waits for the nodes of other regions: the first prepares on a cold node take 7
/// to 9 s. The watch does what is not done by then.
const OTHERS: Duration = Duration::from_secs(15);

/// Longest time for `tend`: a cold node takes seconds to prepare its first statements.
const TEND: Duration = Duration::from_secs(30);

pub struct Db {
    nodes: Vec<Nodes>,
    pub(super) engine: Engine,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: Arc<Database>,
}

impl Db {
    /// Connects once to detect the engine, then builds the pools. Fails when no node answers.
    pub async fn open(config: &Database) -> Result<Self> {
        Self::open_with(config, None).await
    }

    /// Like [`Self::open`], for tests that lose regions.
    pub async fn open_with(config: &Database, faults: Option<Arc<Faults>>) -> Result<Self> {
        let mut endpoints = vec![(None, endpoint(config, config.url.expose())?)];
        for (region, url) in config.region_urls() {
            endpoints.push((Some(region), endpoint(config, url)?));
        }
        let engine = ask(&endpoints).await?;
        let (config, quarter) = (Arc::new(config.clone()), config.pool_size / 4);
        let metrics = Arc::new(Metrics::new(config.here.as_ref().map_or("none", RegionCode::as_str)));
        let nodes = endpoints.into_iter().map(|(region, endpoint)| {
            // Few connections to the others: they carry only what names another region.
            let size = if region.is_none() { config.pool_size } else { quarter.max(2) };
            Nodes::new((Arc::clone(&config), Arc::clone(&metrics)), region, &endpoint, &engine, size)
        });
        let nodes = nodes.collect::<Result<_, _>>()?;
        let health = Arc::new(Health::new(config.probe_failures, quarter.max(1), faults));
        Ok(Self { nodes, engine, health, metrics, config })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The region of this instance's own nodes, if it is not `here`: then every statement crosses.
    pub fn foreign_gateway(&self, here: &RegionCode) -> Option<&str> {
        self.engine.gateway.as_deref().filter(|gateway| *gateway != here.as_str())
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn regions_with_nodes(&self) -> impl Iterator<Item = &RegionCode> {
        self.nodes.iter().filter_map(|nodes| nodes.region.as_ref())
    }

    /// A connection for reading at a gateway of `region`: its own nodes if configured, else this
    /// instance's; if those cannot be reached, the nearest of the others.
    pub async fn at(&self, region: &RegionCode) -> Result<Conn> {
        self.checkout(Some(region), Use::Read).await
    }

    /// A connection for reading GLOBAL tables at this instance's own nodes.
    pub async fn here(&self) -> Result<Conn> {
        self.checkout(None, Use::Read).await
    }

    /// A connection for writing; only `write` and `txn` use it.
    pub(super) async fn writer(&self, region: &RegionCode) -> Result<Conn> {
        self.checkout(Some(region), Use::Write).await
    }

    /// A connection for probing `region`, whatever its circuit says.
    pub async fn probe(&self, region: &RegionCode) -> Result<Conn> {
        let conn = self.checkout(Some(region), Use::Probe).await?.ignoring_circuits(self.config.probe_timeout());
        conn.prepare(&gates::FIND).await?;
        Ok(conn)
    }

    /// Nodes for statements about `region`, best first.
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

    async fn checkout(&self, region: Option<&RegionCode>, purpose: Use) -> Result<Conn> {
        if let Some(region) = region.filter(|_| purpose != Use::Probe)
            && let Some(since) = self.health.refused(region)
        {
            return Err(DbError::region_unreachable("connect", (region.clone(), since)));
        }
        let mut refused = None;
        let mut route = self.route(region);
        let preferred = route.first().map(|nodes| nodes.label);
        if route.iter().any(|nodes| nodes.reachable()) {
            route.retain(|nodes| nodes.reachable());
        }
        for nodes in route {
            let permit = self.permit(nodes, region, purpose).await?;
            match nodes.take(purpose).await {
                Ok(object) => {
                    if let Some(preferred) = preferred.filter(|label| *label != nodes.label && purpose != Use::Probe) {
                        self.metrics.failovers.of([preferred]).inc();
                    }
                    let shared = (Arc::clone(&self.health), Arc::clone(&self.metrics));
                    return Ok(Conn::new(object, permit, &self.config, shared));
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

    /// The permit that a statement for another region needs on this instance's nodes, so that
    /// waiting for that region does not take all of their connections.
    async fn permit(
        &self,
        nodes: &Nodes,
        region: Option<&RegionCode>,
        purpose: Use,
    ) -> Result<Option<OwnedSemaphorePermit>> {
        let (None, Some(here), Some(region)) = (&nodes.region, &self.config.here, region) else {
            return Ok(None);
        };
        if purpose == Use::Probe || region == here {
            return Ok(None);
        }
        let permit = timeout(self.config.statement_timeout, self.health.permit(region)).await;
        permit.map_err(|_late| {
            self.health.suspect();
            DbError::new(DbErrorKind::Unavailable, "connect", format!("too many already wait for {region}"))
        })
    }

    pub async fn schema_version(&self) -> Result<i32> {
        migrate::version_of(self.here().await?.client()).await
    }

    /// Opens two connections to each pool and prepares every statement of the pages on them: the
    /// first statement on a cold node costs seconds. Fails when no nodes can be reached, or when
    /// our own refuse us for good.
    pub async fn warm(&self) -> Result<()> {
        let late = || DbError::new(DbErrorKind::Timeout, "connect", "not ready in time; the watch goes on");
        let warm = async |nodes: &Nodes| match &nodes.region {
            None => nodes.warm().await,
            Some(_) => timeout(OTHERS, nodes.warm()).await.unwrap_or_else(|_late| Err(late())),
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

    /// Retries unreachable nodes, and keeps connections to the others fresh and prepared. Returns
    /// whether all nodes are reached.
    pub async fn tend(&self) -> bool {
        let tend = async |nodes: &Nodes| {
            let before = nodes.reachable();
            nodes.retire();
            let warmed = nodes.warm().await;
            match &warmed {
                Ok(()) if !before => tracing::warn!(region = nodes.name(), "the nodes are reached again"),
                Err(error) if before => tracing::warn!(region = nodes.name(), %error, "the nodes cannot be reached"),
                _ => {}
            }
            warmed.is_ok()
        };
        let tended = self.nodes.iter().map(|nodes| timeout(TEND, tend(nodes)));
        futures_util::future::join_all(tended).await.iter().all(|tended| matches!(tended, Ok(true)))
    }

    /// The regions whose nodes cannot be reached; `None` for this instance's own.
    pub fn unreached(&self) -> impl Iterator<Item = Option<&RegionCode>> {
        self.nodes.iter().filter(|nodes| !nodes.reachable()).map(|nodes| nodes.region.as_ref())
    }

    /// Whether any node was reached when it was last tried.
    pub fn reached(&self) -> bool {
        self.nodes.iter().any(Nodes::reachable)
    }

    /// Whether any node answers, whatever the regions' circuits say.
    pub async fn answers(&self) -> Result<()> {
        let conn = self.checkout(None, Use::Probe).await?.ignoring_circuits(self.config.probe_timeout());
        conn.control("probe", "SELECT 1").await
    }

    /// Whether statements for both regions currently go through the same nodes.
    pub fn same_nodes(&self, one: &RegionCode, other: &RegionCode) -> bool {
        let nodes = |region| self.route(Some(region)).into_iter().find(|nodes| nodes.reachable()).map(Nodes::name);
        nodes(one) == nodes(other)
    }

    /// Sets what is measured of the pools now.
    pub fn measure(&self) {
        self.nodes.iter().for_each(Nodes::measure);
    }

    pub fn close(&self) {
        self.nodes.iter().for_each(Nodes::close);
    }
}

async fn ask(endpoints: &[(Option<RegionCode>, Endpoint)]) -> Result<Engine> {
    let mut first = None;
    for (region, endpoint) in endpoints {
        let answer = async { Engine::ask(&connect_once(endpoint).await?).await };
        match answer.await {
            // Other nodes may do where ours do not answer, not where their URL is wrong.
            Err(error) if region.is_none() && matches!(error.kind, DbErrorKind::Setup(_)) => return Err(error),
            // Where another region's node stands says nothing of ours.
            Ok(engine) => return Ok(Engine { gateway: engine.gateway.filter(|_| region.is_none()), ..engine }),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| DbError::new(DbErrorKind::Bug, "connect", "no URL")))
}
