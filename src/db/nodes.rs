//! The nodes of one region: the pools to them, and whether they can be reached. Nodes
//! that cannot be reached rest, so that nobody waits for them: requests go to the next
//! region's nodes at once, and only the watch (`ops::watch`) tries them again. The
//! surprise: to rest is about connections; that a region's *rows* do not answer is
//! another matter (`health`), since rows may live on behind other nodes.

use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::{SimpleQueryMessage, error::SqlState};

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
pub const PROBES: usize = 12;
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
    refused: Mutex<Option<Refused>>,
}

/// The nodes refuse us for a reason that no retry cures. Many tries would get our address
/// locked out, so new connections are tried ever more seldom.
struct Refused {
    words: &'static str,
    tries: u32,
    next: Instant,
}

/// Before the first further try, doubled each time, and the longest.
const REFUSED: Duration = Duration::from_secs(10);
const REFUSED_LONG: Duration = Duration::from_mins(1);
/// A pooler that ignores startup parameters, as can be configured, or a server that overrules them.
const NOT_KEPT: &str = "does not keep the session settings that we ask for when we connect";

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
            let both = pool(config, endpoint, engine, size, WRITERS)?;
            (both.clone(), both)
        } else {
            let half = (size / 2).max(2);
            let [isolation, read_only] = READERS;
            reading.with_session(&[
                ("default_transaction_isolation", isolation),
                ("default_transaction_read_only", read_only),
            ]);
            (
                pool(config, &reading, engine, size.saturating_sub(half).max(2), READERS)?,
                pool(config, endpoint, engine, half, WRITERS)?,
            )
        };
        let probes = pool(config, &reading, engine, PROBES, if engine.cockroach { WRITERS } else { READERS })?;
        Ok(Self {
            region,
            readers,
            writers,
            probes,
            lifetime: config.pool_lifetime,
            rested: Mutex::default(),
            mute: AtomicU32::new(0),
            probe_timeout: config.probe_timeout(),
            probe_failures: config.probe_failures,
            refused: Mutex::default(),
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
        self.rested.lock().is_some_and(|since| since.elapsed() < REST)
    }

    fn rest(&self, rests: bool) {
        *self.rested.lock() = rests.then(Instant::now);
    }

    /// A connection. Nodes that cannot be reached rest from then on.
    pub(super) async fn take(&self, wanted: Use) -> Result<Object, NoConnection> {
        let (pool, held_back) = (self.pool(wanted), self.held_back());
        if let Some(words) = held_back {
            // What still works may be used; nothing new is tried.
            drop(pool.retain(|client, metrics| !client.is_closed() && metrics.age() < self.lifetime));
            if pool.status().available == 0 {
                self.rest(true);
                return Err(NoConnection::Nodes(DbError::new(DbErrorKind::Setup(words), "connect", words)));
            }
        }
        let error = match pool.get().await {
            Ok(object) => {
                if Object::metrics(&object).recycle_count == 0 {
                    *self.refused.lock() = None;
                }
                return Ok(object);
            }
            Err(error) => error,
        };
        let error = match error {
            PoolError::PostCreateHook(HookError::Message(words)) if words == NOT_KEPT => {
                DbError::new(DbErrorKind::Setup(NOT_KEPT), "connect", words)
            }
            PoolError::Backend(error) if connect::incurable(&error).is_some() => {
                DbError::connecting(&error, self.name())
            }
            error => return Err(self.without(error)),
        };
        self.rest(true);
        if let DbErrorKind::Setup(words) = error.kind {
            let mut refused = self.refused.lock();
            refused.get_or_insert(Refused { words, tries: 0, next: Instant::now() + REFUSED }).words = words;
        }
        Err(NoConnection::Nodes(error))
    }

    /// Why no new connection is tried just now. Whoever comes when it is time is the one who tries.
    fn held_back(&self) -> Option<&'static str> {
        let mut refused = self.refused.lock();
        let refused = refused.as_mut()?;
        if Instant::now() < refused.next {
            return Some(refused.words);
        }
        refused.tries += 1;
        refused.next = Instant::now() + (REFUSED * (1 << refused.tries.min(5))).min(REFUSED_LONG);
        None
    }

    fn without(&self, error: PoolError) -> NoConnection {
        let unavailable = |detail: String| DbError::new(DbErrorKind::Unavailable, "connect", detail);
        match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                NoConnection::Busy(unavailable("no free connection in time".to_owned()))
            }
            PoolError::Backend(error) => {
                // One more than the server takes says nothing of those that it took before.
                self.rest(error.code() != Some(&SqlState::TOO_MANY_CONNECTIONS));
                NoConnection::Nodes(DbError::connecting(&error, self.name()))
            }
            other => {
                self.rest(true);
                NoConnection::Nodes(unavailable(other.to_string()))
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

/// `default_transaction_isolation` and `default_transaction_read_only`.
type Transactions = [&'static str; 2];
const READERS: Transactions = ["repeatable read", "on"];
const WRITERS: Transactions = ["serializable", "off"];

/// Whether a new session is as it was asked for.
async fn kept(
    client: &tokio_postgres::Client,
    [isolation, read_only]: Transactions,
    timeout: u128,
) -> Result<bool, tokio_postgres::Error> {
    let timeout = timeout.to_string();
    let wanted = [
        ("default_transaction_isolation", isolation),
        ("default_transaction_read_only", read_only),
        ("statement_timeout", &timeout),
        ("idle_in_transaction_session_timeout", &timeout),
    ];
    let columns = wanted.map(|(name, _)| format!("current_setting('{name}')")).join(", ");
    let mut all = true;
    for message in client.simple_query(&format!("SELECT {columns}")).await? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        for (column, (name, wanted)) in wanted.into_iter().enumerate() {
            let found = row.get(column).unwrap_or_default().to_ascii_lowercase();
            if found != wanted && milliseconds(&found).is_none_or(|found| found.to_string() != wanted) {
                tracing::error!(name, wanted, found, "the database does not keep a session setting");
                all = false;
            }
        }
    }
    Ok(all)
}

/// CockroachDB says `4000`, PostgreSQL `4s`.
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
) -> Result<Pool, DbError> {
    let mut endpoint = endpoint.clone();
    // The server itself ends what we have lost: a fence counts on it (`Db::longest_write`).
    let idle = config.write_timeout.as_millis();
    endpoint.with_session(&[("idle_in_transaction_session_timeout", &idle.to_string())]);
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
                let kept = kept(client, transactions, idle).await.map_err(HookError::Backend)?;
                if kept { Ok(()) } else { Err(HookError::message(NOT_KEPT)) }
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
