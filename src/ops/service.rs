//! What every use case needs, built once and shared: pools, the catalogue, gates, keys, hasher,
//! clock, caches. Keeps no row of a person's data.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::{
    counts::CountCache,
    gates::Gates,
    ids::Ids,
    overview::FiguresCache,
    passwords::Hasher,
    residency::Refusals,
    vehicles::{Levels, ListCache},
};
use crate::{
    clock::Clock,
    config::{Config, Database},
    db::{
        Db, catalogue as catalogue_rows,
        error::{DbError, DbErrorKind},
        health::Faults,
        migrate,
    },
    domain::{catalogue::Catalogue, region::RegionCode},
};

pub struct Service {
    pub config: Arc<Config>,
    /// `config.region`: where this instance runs.
    pub here: RegionCode,
    pub db: Db,
    pub gates: Gates,
    /// Runs a bounded number of hashes at once.
    pub hasher: Hasher,
    pub ids: Ids,
    pub clock: Clock,
    pub levels: Levels,
    pub lists: ListCache,
    pub counts: CountCache<Vec<(String, i64)>>,
    pub available: CountCache<i64>,
    pub figures: FiguresCache,
    pub residency_refusals: Refusals,
    pub schema_version: i32,
    /// Wakes the worker.
    pub work: Notify,
    catalogue: RwLock<Arc<Catalogue>>,
    draining: AtomicBool,
    catalogue_seen: Mutex<DateTime<Utc>>,
}

impl Service {
    /// Connects and loads the catalogue and the gates. Fails when the database cannot be reached or
    /// has not been migrated.
    pub async fn start(config: Config, clock: Clock) -> Result<Self, DbError> {
        Self::warm_up(config, clock, None, |_step| ()).await
    }

    /// Like [`Self::start`]; `step` is told the progress. `faults` are for tests that lose regions.
    pub async fn warm_up(
        config: Config,
        clock: Clock,
        faults: Option<Arc<Faults>>,
        step: impl Fn(&'static str),
    ) -> Result<Self, DbError> {
        let bug = |detail: String| DbError::new(DbErrorKind::Bug, "start", detail);
        let here = config.region.clone();
        step("connecting");
        let db = Db::open_with(&config.database, faults).await?;
        let (schema_version, newest) = (db.schema_version().await?, migrate::newest());
        if schema_version < newest {
            let words = format!("the schema is at version {schema_version}, this program needs {newest}");
            return Err(bug(format!("{words}: run movr migrate")));
        }
        if schema_version > newest {
            tracing::warn!(schema_version, newest, "the schema is newer; a rolling release or a roll-back");
        }
        step("preparing statements");
        // First: a cold node takes seconds to prepare, and preparing has no deadline.
        db.warm().await?;
        step("loading the catalogue");
        let catalogue = catalogue_rows::load(&db.here().await?).await?;
        let catalogue = catalogue.ok_or_else(|| bug("no catalogue yet: run movr migrate first".to_owned()))?;
        if catalogue.region(&here).is_none() {
            return Err(bug(format!("MOVR_REGION={here} is not a region of the catalogue")));
        }
        for region in &catalogue.regions {
            db.metrics().know(&region.code);
            drop(db.metrics().stale_reads.of([db.metrics().region(&region.code)]));
        }
        if let Some(unknown) = db.regions_with_nodes().find(|region| catalogue.region(region).is_none()) {
            let variable = Database::region_variable(unknown);
            return Err(bug(format!("{variable}: there is no region {unknown} in the catalogue")));
        }
        if let Some(gateway) = db.foreign_gateway(&here) {
            tracing::warn!(%here, gateway, "DATABASE_URL leads to a node of another region: every statement will cross");
        }
        let service = Self {
            hasher: Hasher::new(config.passwords),
            gates: Gates::default(),
            ids: Ids::new(config.secret_keys.expose()),
            levels: Levels::default(),
            lists: ListCache::default(),
            counts: CountCache::default(),
            available: CountCache::default(),
            figures: FiguresCache::default(),
            residency_refusals: Refusals::default(),
            work: Notify::new(),
            catalogue_seen: Mutex::new(clock.now()),
            catalogue: RwLock::new(Arc::new(catalogue)),
            draining: AtomicBool::new(false),
            schema_version,
            here,
            db,
            clock,
            config: Arc::new(config),
        };
        service.gates.get(&service.db, &service.here).await?;
        Ok(service)
    }

    pub fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.read())
    }

    /// Reads the catalogue again if its version differs. If GLOBAL tables cannot be read the copy
    /// in memory stays in use.
    pub async fn reload_catalogue(&self) -> Result<(), DbError> {
        let conn = self.db.here().await?;
        if catalogue_rows::version(&conn).await? != self.catalogue().version
            && let Some(fresh) = catalogue_rows::load(&conn).await?
        {
            *self.catalogue.write() = Arc::new(fresh);
        }
        *self.catalogue_seen.lock() = self.clock.now();
        Ok(())
    }

    /// When the copy in memory was last known to be that of the database.
    pub fn catalogue_seen(&self) -> DateTime<Utc> {
        *self.catalogue_seen.lock()
    }

    /// Reloads the catalogue every `MOVR_CATALOGUE_RELOAD_S`.
    pub async fn keep_catalogue(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.config.catalogue_reload.max(Duration::from_secs(1)));
        loop {
            ticks.tick().await;
            if let Err(error) = self.reload_catalogue().await {
                tracing::warn!(%error, "the catalogue was not reloaded; the copy in memory goes on serving");
            }
        }
    }

    /// Notes that counts of the region's vehicles are out of date.
    pub fn vehicles_changed(&self, region: &RegionCode) {
        let now = self.clock.now();
        self.counts.changed(region, now);
        self.available.changed(region, now);
    }

    /// Older rows were shown, because the region did not answer.
    pub fn stale_read(&self, region: &RegionCode) {
        let metrics = self.db.metrics();
        metrics.stale_reads.of([metrics.region(region)]).inc();
    }

    /// From now on the instance says that it is not ready, and begins no background work.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
