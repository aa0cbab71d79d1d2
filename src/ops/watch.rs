//! The watch of an instance: probes every region, and tends the connections. A region that answers
//! is probed every `MOVR_WATCH_MS` and when a statement makes it suspect, another one twice a
//! second. A probe does not wait for the one before: one that hangs says nothing about the region
//! now.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::{
    sync::watch::Receiver,
    time::{sleep, timeout},
};

use super::Service;
use crate::{
    db::{
        DbError, DbErrorKind, PROBES,
        health::{Circuit, Failure},
    },
    domain::RegionCode,
};

/// Between two probes of a region that does not answer.
const TROUBLED: Duration = Duration::from_millis(500);
/// Between two tries of nodes that cannot be reached.
const UNREACHED: Duration = Duration::from_secs(1);
/// Minimum pause, however many suspicions there are.
const LEAST: Duration = Duration::from_millis(250);

pub async fn watch(service: Arc<Service>) {
    let catalogue = service.catalogue();
    // At once for a region; more would only hold connections: they fail one after the other.
    // No region takes those that the others' probes need.
    let most = (service.config.database.probe_failures as usize).min(PROBES / catalogue.regions.len().max(1)).max(1);
    let regions = catalogue.regions.iter().map(|of| region(&service, &of.code, most));
    tokio::join!(join_all(regions), nodes(&service));
}

async fn region(service: &Service, region: &RegionCode, most: usize) {
    let mut suspicions = service.db.health().suspicions();
    let mut probes = FuturesUnordered::new();
    loop {
        if probes.len() < most {
            probes.push(probe(service, region));
        }
        let began = Instant::now();
        loop {
            let known = service.db.health().of(region);
            let well = known.circuit == Circuit::Closed && known.unreachable_since.is_none();
            let retry = (!well).then_some(TROUBLED);
            tokio::select! {
                // What it found out decides how long to wait for the next one.
                Some(()) = probes.next() => {}
                () = pause(service, retry, began, &mut suspicions) => break,
            }
        }
    }
}

async fn nodes(service: &Service) {
    let mut suspicions = service.db.health().suspicions();
    loop {
        let began = Instant::now();
        let retry = (!service.db.tend().await).then_some(UNREACHED);
        pause(service, retry, began, &mut suspicions).await;
    }
}

/// Until something is suspected while all is well, else until it is time to `retry`.
async fn pause(service: &Service, retry: Option<Duration>, began: Instant, suspicions: &mut Receiver<u64>) {
    let wait = retry.unwrap_or(service.config.watch).saturating_sub(began.elapsed());
    match retry {
        Some(_) => sleep(wait).await,
        None => drop(timeout(wait, suspicions.changed()).await),
    }
    sleep(LEAST.saturating_sub(began.elapsed())).await;
}

/// Reads the gate of `region`, which every write needs anyway, and records the outcome.
async fn probe(service: &Service, region: &RegionCode) {
    let (health, began) = (service.db.health(), Instant::now());
    match timeout(service.config.database.probe_timeout(), ask(service, region)).await {
        Ok(Ok(round_trip)) => health.probed(region, round_trip),
        // No gate yet, or a mistake of ours: it says nothing of the region.
        Ok(Err(error)) if error.kind == DbErrorKind::Bug => tracing::warn!(%region, %error, "not probed"),
        Ok(Err(error))
            if matches!(error.kind, DbErrorKind::Unavailable | DbErrorKind::Setup(_)) && began.elapsed() < TROUBLED =>
        {
            health.failed(region, began, Failure::Cut);
        }
        Ok(Err(_)) | Err(_) => health.failed(region, began, Failure::Late),
    }
}

/// A connection that was lost meanwhile says nothing, so there are two tries.
async fn ask(service: &Service, region: &RegionCode) -> Result<Duration, DbError> {
    let once = async || {
        let conn = service.db.probe(region).await?;
        let began = Instant::now();
        service.gates.reload(&conn, region).await?;
        Ok(began.elapsed())
    };
    match once().await {
        Err(DbError { kind: DbErrorKind::Unavailable, .. }) => once().await,
        answer => answer,
    }
}
