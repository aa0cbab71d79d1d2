//! The nodes of one region: the pools to them, and whether they can be reached. Nodes
//! that cannot be reached rest, so that nobody waits for them: requests go to the next
//! region's nodes at once, and only the watch (`ops::watch`) tries them again. The
//! surprise: to rest is about connections; that a region's *rows* do not answer is
//! another matter (`health`), since rows may live on behind other nodes.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::error::SqlState;

use super::{
    WARM,
    connect::{self, Endpoint},
    engine::Engine,
    error::{DbError, DbErrorKind},
};
use crate::{config::Database, domain::region::RegionCode};

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Statements that only read.
    Read,
    /// Writes and transactions. The same pool on CockroachDB. On PostgreSQL readers are
    /// read-only sessions at repeatable read: each of their statements is a transaction
    /// of its own and sees one snapshot either way, but a serializable one leaves a lock
    /// for each row it read, and may be cancelled for a writer's sake.
    Write,
    /// Looking whether a region answers, beside all that waits for the others.
    Probe,
}

/// Probes under way at once, of all regions that are reached through these nodes.
const PROBES: usize = 12;
/// The watch tries resting nodes every second; where nothing watches, they are tried again
/// after this. Longer than any try takes, so that nobody is sent to them meanwhile.
const REST: Duration = Duration::from_mins(1);

/// The nodes that one URL names.
pub(super) struct Nodes {
    /// Whose nodes; none for the instance's own, `DATABASE_URL`.
    pub region: Option<RegionCode>,
    readers: Pool,
    writers: Pool,
    probes: Pool,
    lifetime: Duration,
    rested: Mutex<Option<Instant>>,
    /// Times in a row that a connection of theirs did not answer.
    mute: AtomicU32,
    probe_timeout: Duration,
    probe_failures: u32,
}

/// Why there is no connection.
pub(super) enum NoConnection {
    /// The nodes cannot be reached, or do not want us: others may.
    Nodes(DbError),
    /// All connections are in use; elsewhere it would only be slower.
    Busy(DbError),
}

impl Nodes {
    /// `size` connections altogether: shared on CockroachDB, divided on PostgreSQL.
    pub(super) fn new(
        config: &Database,
        region: Option<RegionCode>,
        endpoint: &Endpoint,
        engine: &Engine,
        size: usize,
    ) -> Result<Self, DbError> {
        let mut reading = endpoint.clone();
        let (readers, writers) = if engine.cockroach {
            let both = pool(config, endpoint, engine, size)?;
            (both.clone(), both)
        } else {
            let half = (size / 2).max(2);
            reading.with_session(&[
                ("default_transaction_read_only", "on"),
                ("default_transaction_isolation", "repeatable read"),
            ]);
            (pool(config, &reading, engine, size.saturating_sub(half).max(2))?, pool(config, endpoint, engine, half)?)
        };
        let probes = pool(config, &reading, engine, PROBES)?;
        let (rested, mute) = (Mutex::default(), AtomicU32::new(0));
        Ok(Self {
            region,
            readers,
            writers,
            probes,
            lifetime: config.pool_lifetime,
            rested,
            mute,
            probe_timeout: config.probe_timeout,
            probe_failures: config.probe_failures,
        })
    }

    /// For logs.
    pub(super) fn name(&self) -> &str {
        self.region.as_ref().map_or("own", RegionCode::as_str)
    }

    fn pool(&self, wanted: Use) -> &Pool {
        match wanted {
            Use::Read => &self.readers,
            Use::Write => &self.writers,
            Use::Probe => &self.probes,
        }
    }

    /// Whether they could not be reached when last tried.
    pub(super) fn resting(&self) -> bool {
        self.rested.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|since| since.elapsed() < REST)
    }

    fn rest(&self, rests: bool) {
        *self.rested.lock().unwrap_or_else(PoisonError::into_inner) = rests.then(Instant::now);
    }

    /// A connection. Nodes that cannot be reached rest from then on.
    pub(super) async fn take(&self, wanted: Use) -> Result<Object, NoConnection> {
        let error = match self.pool(wanted).get().await {
            Ok(object) => return Ok(object),
            Err(error) => error,
        };
        let unavailable = |detail: String| DbError::new(DbErrorKind::Unavailable, "connect", detail);
        match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                Err(NoConnection::Busy(unavailable("no free connection in time".to_owned())))
            }
            PoolError::Backend(error) => {
                // One more than the server takes says nothing of those that it took before.
                self.rest(error.code() != Some(&SqlState::TOO_MANY_CONNECTIONS));
                Err(NoConnection::Nodes(unavailable(connect::explain(&error))))
            }
            other => {
                self.rest(true);
                Err(NoConnection::Nodes(unavailable(other.to_string())))
            }
        }
    }

    /// Makes sure that each pool has prepared connections, and that they answer; nodes
    /// that do rest no more. Connections in use are left alone.
    pub(super) async fn warm(&self) -> Result<(), DbError> {
        for wanted in [Use::Probe, Use::Read, Use::Write] {
            let mut held = Vec::with_capacity(WARM);
            for _ in 0..WARM {
                let pool = self.pool(wanted).status();
                if pool.available == 0 && pool.size == pool.max_size {
                    break;
                }
                let object = match self.take(wanted).await {
                    Ok(object) => object,
                    Err(NoConnection::Busy(_)) => break,
                    Err(NoConnection::Nodes(error)) => return Err(error),
                };
                if let Err(error) = self.ready(&object, wanted).await {
                    drop(Object::take(object));
                    // Once may be chance. Several times, and whoever waits on their other
                    // connections may wait for ever.
                    if error.unreachable() && self.mute.fetch_add(1, Ordering::Relaxed) + 1 >= self.probe_failures {
                        self.rest(true);
                        self.forget_idle();
                    }
                    return Err(error);
                }
                self.mute.store(0, Ordering::Relaxed);
                self.rest(false);
                // Held only while the pool grows, so that nobody waits for it; later the
                // pool hands out another one each time.
                if pool.size < WARM {
                    held.push(object);
                }
            }
        }
        Ok(())
    }

    /// The connection answers, and every statement of the pages is prepared on it.
    async fn ready(&self, object: &Object, wanted: Use) -> Result<(), DbError> {
        let answer = tokio::time::timeout(self.probe_timeout, object.simple_query("SELECT 1")).await;
        let answer = answer.map_err(|_late| DbError::new(DbErrorKind::Timeout, "connect", "no answer"))?;
        answer.map_err(|error| DbError::from_driver(error, "connect", false))?;
        if wanted != Use::Probe {
            let prepared = super::served_statements().map(async |statement| {
                let prepared = object.prepare_cached(statement.text).await;
                prepared.map(drop).map_err(|error| DbError::from_driver(error, statement.name, false))
            });
            futures_util::future::try_join_all(prepared).await?;
        }
        Ok(())
    }

    fn forget_idle(&self) {
        for pool in [&self.readers, &self.writers, &self.probes] {
            drop(pool.retain(|_, _| false));
        }
    }

    /// Closes idle connections that have reached their age, a few at a time.
    pub(super) fn retire(&self) {
        for pool in [&self.readers, &self.writers, &self.probes] {
            // Up to ten per cent early, so that connections made together do not leave together.
            drop(pool.retain(|_, metrics| metrics.age() < self.lifetime.mul_f64(rand::random_range(0.9..=1.0))));
        }
    }

    pub(super) fn close(&self) {
        for pool in [&self.readers, &self.writers, &self.probes] {
            pool.close();
        }
    }
}

fn pool(config: &Database, endpoint: &Endpoint, engine: &Engine, size: usize) -> Result<Pool, DbError> {
    let mut endpoint = endpoint.clone();
    // The server itself ends what we have lost: a fence counts on it (`Db::longest_write`).
    let idle = config.write_timeout.as_millis().to_string();
    endpoint.with_session(&[("idle_in_transaction_session_timeout", &idle)]);
    let manager = Manager::from_config(
        endpoint.config.clone(),
        endpoint.tls.clone(),
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let (settings, patience) = (engine.session_settings(), config.connect_timeout);
    let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            let set = async {
                for setting in settings {
                    match client.batch_execute(setting).await {
                        Err(error) if error.code().is_none() => return Err(HookError::Backend(error)),
                        // Done, or a setting that this version does not know.
                        _ => {}
                    }
                }
                Ok(())
            };
            let late = |_late| HookError::message("a new connection did not answer");
            tokio::time::timeout(patience, set).await.map_err(late)?
        })
    });
    // The watch retires idle connections before this; it holds where nothing watches, or all are busy.
    let lifetime = config.pool_lifetime.mul_f64(1.1);
    let retire = Hook::sync_fn(move |_, metrics: &deadpool_postgres::Metrics| {
        if metrics.age() > lifetime {
            return Err(HookError::message("connection reached its lifetime"));
        }
        Ok(())
    });
    // Each host has its own connect timeout; the first of several may not use up that of all.
    let hosts = u32::try_from(endpoint.hosts()).unwrap_or(1);
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(config.statement_timeout))
        .create_timeout(Some(config.connect_timeout * hosts))
        .post_create(prepare)
        .pre_recycle(retire)
        .build()
        .map_err(|error| DbError::new(DbErrorKind::Bug, "connect", error.to_string()))
}
