//! The nodes of one region: their pools, and whether they can be reached. Nobody waits for nodes
//! that cannot: requests go to the next region's nodes, and only the watch (`ops::watch`) retries.
//! This is about connections; whether a region's *rows* answer is tracked in `health`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Metrics, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType,
};
use futures_util::future;
use parking_lot::Mutex;
use tokio_postgres::{SimpleQueryMessage, error::SqlState};

use super::{
    DbError, DbErrorKind, Result,
    connect::Endpoint,
    engine::{self, Engine},
};
use crate::{config::Database, domain::RegionCode, telemetry::metrics};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    /// Writes and transactions. The same pool on CockroachDB. On PostgreSQL readers are read-only
    /// sessions at repeatable read: each statement sees one snapshot either way, but a serializable
    /// one leaves a lock for each row it read, and may be cancelled for a writer.
    Write,
    Probe,
}

/// Concurrent probes, of all regions that are reached through these nodes.
pub const PROBES: usize = 12;
/// Connections that are kept prepared in each pool.
const WARM: usize = 2;
/// The watch retries unreachable nodes every second; without a watch, they are retried after this
/// time. Longer than any try takes, so that nobody is sent to them meanwhile.
const UNWATCHED: Duration = Duration::from_mins(1);
/// Back-off for nodes that refuse us: the first, doubled each time, and the longest.
const BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// From a pooler that ignores startup parameters, or a server that overrules them.
const NOT_KEPT: &str = "does not keep the session settings that we ask for when we connect";

pub(super) struct Nodes {
    /// None for the instance's own, `DATABASE_URL`.
    pub region: Option<RegionCode>,
    /// Its region in metrics.
    pub label: &'static str,
    readers: Pool,
    writers: Pool,
    probes: Pool,
    config: Arc<Database>,
    metrics: Arc<metrics::Metrics>,
    certificate_expiry: Arc<AtomicI64>,
    unreachable_since: Mutex<Option<Instant>>,
    /// Consecutive connections that did not answer.
    unanswered: AtomicU32,
    refusal: Mutex<Option<Refusal>>,
}

/// The nodes refuse us for a reason that no retry cures. Many tries could get our address locked
/// out, so new connections are tried ever more rarely.
struct Refusal {
    words: &'static str,
    tries: u32,
    next: Instant,
}

pub(super) enum NoConnection {
    /// The nodes cannot be reached, or refuse us: others may work.
    Nodes(DbError),
    /// All connections are in use; other nodes would only be slower.
    Busy(DbError),
}

impl Nodes {
    /// `size` connections altogether: shared on CockroachDB, divided on PostgreSQL.
    pub(super) fn new(
        (config, metrics): (Arc<Database>, Arc<metrics::Metrics>),
        region: Option<RegionCode>,
        endpoint: &Endpoint,
        engine: &Engine,
        size: usize,
    ) -> Result<Self> {
        let pool = |size, transactions| pool(&config, endpoint, engine, size, transactions);
        let (readers, writers, probes) = if engine.cockroach {
            let both = pool(size, WRITERS)?;
            (both.clone(), both, pool(PROBES, WRITERS)?)
        } else {
            let half = (size / 2).max(2);
            let readers = pool(size.saturating_sub(half).max(2), READERS)?;
            (readers, pool(half, WRITERS)?, pool(PROBES, READERS)?)
        };
        let label = region.as_ref().or(config.here.as_ref()).map_or("none", |region| metrics.know(region));
        // There from the start, so that the first of each counts as an increase.
        drop((metrics.failovers.of([label]), metrics.connects.of([label, "ok"])));
        drop(metrics.connects.of([label, "error"]));
        Ok(Self {
            label,
            region,
            readers,
            writers,
            probes,
            config,
            metrics,
            certificate_expiry: Arc::clone(&endpoint.certificate_expiry),
            unreachable_since: Mutex::default(),
            unanswered: AtomicU32::new(0),
            refusal: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        self.region.as_ref().map_or("own", RegionCode::as_str)
    }

    fn pool(&self, purpose: Use) -> &Pool {
        match purpose {
            Use::Read => &self.readers,
            Use::Write => &self.writers,
            Use::Probe => &self.probes,
        }
    }

    /// Closes idle connections unless `good`.
    fn retain(&self, good: impl Fn(Metrics) -> bool) {
        for pool in [&self.readers, &self.writers, &self.probes] {
            drop(pool.retain(|_, metrics| good(metrics)));
        }
    }

    pub(super) fn reachable(&self) -> bool {
        self.unreachable_since.lock().is_none_or(|since| since.elapsed() >= UNWATCHED)
    }

    fn set_reachable(&self, reachable: bool) {
        *self.unreachable_since.lock() = (!reachable).then(Instant::now);
    }

    /// On failure the nodes count as unreachable from then on.
    pub(super) async fn take(&self, purpose: Use) -> Result<Object, NoConnection> {
        let pool = self.pool(purpose);
        if let Some(words) = self.backing_off() {
            // What still works may be used; nothing new is tried.
            drop(pool.retain(|client, metrics| !client.is_closed() && metrics.age() < self.config.pool_lifetime));
            if pool.status().available == 0 {
                self.set_reachable(false);
                return Err(NoConnection::Nodes(DbError::new(DbErrorKind::Setup(words), "connect", words)));
            }
        }
        let unavailable = |detail: String| DbError::new(DbErrorKind::Unavailable, "connect", detail);
        let mut full = false;
        let began = Instant::now();
        let taken = pool.get().await;
        if purpose != Use::Probe {
            self.metrics.pool_wait_seconds.took([self.label], began.elapsed());
        }
        let connected = |outcome| self.metrics.connects.of([self.label, outcome]).inc();
        let error = match taken {
            Ok(object) => {
                if Object::metrics(&object).recycle_count == 0 {
                    connected("ok");
                    *self.refusal.lock() = None;
                }
                return Ok(object);
            }
            Err(PoolError::Timeout(TimeoutType::Wait)) => {
                return Err(NoConnection::Busy(unavailable("no free connection in time".to_owned())));
            }
            Err(PoolError::PostCreateHook(HookError::Message(words))) if words == NOT_KEPT => {
                DbError::new(DbErrorKind::Setup(NOT_KEPT), "connect", words)
            }
            Err(PoolError::Backend(error)) => {
                full = error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS);
                DbError::connecting(&error, self.name())
            }
            Err(other) => unavailable(other.to_string()),
        };
        connected("error");
        // One more than the server takes says nothing of those that it took before.
        self.set_reachable(full);
        if let DbErrorKind::Setup(words) = error.kind {
            let first = Refusal { words, tries: 0, next: Instant::now() + BACK_OFF };
            self.refusal.lock().get_or_insert(first).words = words;
        }
        Err(NoConnection::Nodes(error))
    }

    /// Why no new connection is tried just now. After the pause the next caller is the one who
    /// tries.
    fn backing_off(&self) -> Option<&'static str> {
        let mut refusal = self.refusal.lock();
        let refusal = refusal.as_mut()?;
        if Instant::now() < refusal.next {
            return Some(refusal.words);
        }
        refusal.tries += 1;
        refusal.next = Instant::now() + (BACK_OFF * (1 << refusal.tries.min(5))).min(LONGEST_BACK_OFF);
        None
    }

    /// Makes sure that each pool has prepared connections that answer, and so that the nodes count
    /// as reachable. Connections in use are left alone.
    pub(super) async fn warm(&self) -> Result<()> {
        for purpose in [Use::Probe, Use::Read, Use::Write] {
            let mut held = Vec::with_capacity(WARM);
            for _ in 0..WARM {
                let pool = self.pool(purpose).status();
                if pool.available == 0 && pool.size == pool.max_size {
                    break;
                }
                let object = match self.take(purpose).await {
                    Ok(object) => object,
                    Err(NoConnection::Busy(_)) => break,
                    Err(NoConnection::Nodes(error)) => return Err(error),
                };
                if let Err(error) = self.ready(&object, purpose).await {
                    drop(Object::take(object));
                    // Once may be chance. Several times, and whoever waits on their other
                    // connections may wait for ever.
                    if error.unreachable()
                        && self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= self.config.probe_failures
                    {
                        self.set_reachable(false);
                        self.retain(|_| false);
                    }
                    return Err(error);
                }
                self.unanswered.store(0, Ordering::Relaxed);
                self.set_reachable(true);
                // Held only while the pool grows, so that nobody waits for it; later the
                // pool hands out another one each time.
                if pool.size < WARM {
                    held.push(object);
                }
            }
        }
        Ok(())
    }

    /// Checks that the connection answers, and prepares every statement of the pages on it.
    async fn ready(&self, object: &Object, purpose: Use) -> Result<()> {
        let answer = tokio::time::timeout(self.config.probe_timeout(), object.simple_query("SELECT 1")).await;
        let answer = answer.map_err(|_late| DbError::new(DbErrorKind::Timeout, "connect", "no answer"))?;
        answer.map_err(|error| DbError::from_driver(error, "connect", false))?;
        if purpose != Use::Probe {
            let prepared = super::served_statements().map(async |statement| {
                let prepared = object.prepare_cached(statement.text).await;
                prepared.map(drop).map_err(|error| DbError::from_driver(error, statement.name, false))
            });
            future::try_join_all(prepared).await?;
        }
        Ok(())
    }

    pub(super) fn measure(&self) {
        // One pool on CockroachDB.
        let same = std::ptr::eq(self.readers.manager(), self.writers.manager());
        let pools = std::iter::once(&self.readers).chain((!same).then_some(&self.writers)).map(Pool::status);
        let (mut limit, mut open, mut idle, mut waiting) = (0, 0, 0, 0);
        for pool in pools {
            limit += pool.max_size;
            open += pool.size;
            idle += pool.available;
            waiting += pool.waiting;
        }
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.pool_size.of([self.label]).set(gauge(limit));
        self.metrics.pool_connections.of([self.label, "idle"]).set(gauge(idle));
        self.metrics.pool_connections.of([self.label, "in_use"]).set(gauge(open.saturating_sub(idle)));
        self.metrics.pool_waiting.of([self.label]).set(gauge(waiting));
        let expiry = self.certificate_expiry.load(Ordering::Relaxed);
        if expiry > 0 {
            self.metrics.certificate_expiry.of([self.label]).set(expiry);
        }
    }

    /// Closes idle connections that have reached their age, a few at a time.
    pub(super) fn retire(&self) {
        // Up to ten per cent early, so that connections made together do not leave together.
        self.retain(|metrics| metrics.age() < self.config.pool_lifetime.mul_f64(rand::random_range(0.9..=1.0)));
    }

    pub(super) fn close(&self) {
        for pool in [&self.readers, &self.writers, &self.probes] {
            pool.close();
        }
    }
}

/// `default_transaction_isolation` and `default_transaction_read_only`.
pub(super) type Transactions = [&'static str; 2];
const READERS: Transactions = ["repeatable read", "on"];
pub(super) const WRITERS: Transactions = ["serializable", "off"];

/// Settings that a session must have; `timeout` in milliseconds.
pub(super) fn required([isolation, read_only]: Transactions, timeout: &str) -> [(&'static str, &str); 4] {
    [
        ("default_transaction_isolation", isolation),
        ("default_transaction_read_only", read_only),
        ("statement_timeout", timeout),
        // The server itself ends what we have lost: a fence counts on it (`Db::longest_write`).
        ("idle_in_transaction_session_timeout", timeout),
    ]
}

/// The settings in which a new session is not as it was asked for.
pub(super) async fn not_kept(
    client: &tokio_postgres::Client,
    transactions: Transactions,
    timeout: &str,
) -> Result<Vec<&'static str>, tokio_postgres::Error> {
    let required = required(transactions, timeout);
    let columns = required.map(|(name, _)| format!("current_setting('{name}')")).join(", ");
    let mut lost = Vec::new();
    for message in client.simple_query(&format!("SELECT {columns}")).await? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        for (column, (name, required)) in required.into_iter().enumerate() {
            let found = row.get(column).unwrap_or_default().to_ascii_lowercase();
            if found != required && milliseconds(&found).is_none_or(|found| found.to_string() != required) {
                tracing::error!(name, required, found, "the database does not keep a session setting");
                lost.push(name);
            }
        }
    }
    Ok(lost)
}

fn milliseconds(text: &str) -> Option<u128> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let factor = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let (_, factor) = factor.into_iter().find(|(name, _)| *name == unit)?;
    Some(text.strip_suffix(unit)?.parse::<u128>().ok()? * factor)
}

fn pool(
    config: &Database,
    endpoint: &Endpoint,
    engine: &Engine,
    size: usize,
    transactions: Transactions,
) -> Result<Pool> {
    let (timeout, patience) = (config.write_timeout.as_millis().to_string(), config.connect_timeout);
    let mut endpoint = endpoint.clone();
    endpoint.with_session(&required(transactions, &timeout));
    let preferred = engine.session_settings();
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(endpoint.config.clone(), endpoint.tls.clone(), recycling);
    let check = Hook::async_fn(move |client: &mut ClientWrapper, _| {
        let timeout = timeout.clone();
        Box::pin(async move {
            // Both on the way at once.
            let made = future::try_join(engine::prefer(client, preferred), not_kept(client, transactions, &timeout));
            match tokio::time::timeout(patience, made).await {
                Ok(Ok(((), lost))) if lost.is_empty() => Ok(()),
                Ok(Ok(((), _lost))) => Err(HookError::message(NOT_KEPT)),
                Ok(Err(error)) => Err(HookError::Backend(error)),
                Err(_late) => Err(HookError::message("a new connection did not answer")),
            }
        })
    });
    // The watch retires idle connections before this; it holds where nothing watches, or all are busy.
    let lifetime = config.pool_lifetime.mul_f64(1.1);
    let retire = Hook::sync_fn(move |_, metrics: &Metrics| {
        let old = metrics.age() > lifetime;
        if old { Err(HookError::message("connection reached its lifetime")) } else { Ok(()) }
    });
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(config.statement_timeout))
        // Each host has its own connect timeout; the first of several may not use up that of all.
        .create_timeout(Some(config.connect_timeout * endpoint.hosts()))
        .post_create(check)
        .pre_recycle(retire)
        .build()
        .map_err(|error| DbError::new(DbErrorKind::Bug, "connect", error.to_string()))
}
