//! The watch of an instance: probes every region, whether its rows answer and what its
//! gate says; and tends the connections. A region that answers is probed every
//! `MOVR_WATCH_MS` and when a statement makes it suspect, another one twice a second, so
//! that people find it back without having to wait for it. A probe does not wait for the
//! one before: one that hangs says nothing of the region as it is now.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::{
    sync::watch::Receiver,
    time::{sleep, timeout},
};

use crate::{
    app::App,
    db::{
        PROBES,
        error::{DbError, DbErrorKind},
        health::{Circuit, Failure},
    },
    domain::region::RegionCode,
};

/// Between two probes of a region, or tries of nodes, that do not answer.
const TROUBLED: Duration = Duration::from_millis(500);
/// Between two of anything, however many suspect it.
const LEAST: Duration = Duration::from_millis(250);

/// Watches for ever.
pub async fn watch(app: Arc<App>) {
    let catalogue = app.catalogue();
    let regions = catalogue.regions.iter().map(|of| region(&app, &of.code));
    tokio::join!(join_all(regions), nodes(&app));
}

async fn region(app: &App, region: &RegionCode) {
    let mut suspicions = app.db.health().suspicions();
    let mut probes = FuturesUnordered::new();
    loop {
        // More would only hold connections: they fail one after the other. No region takes
        // those that the others' probes need.
        let most = (app.config.database.probe_failures as usize).min(PROBES / app.catalogue().regions.len().max(1));
        if probes.len() < most.max(1) {
            probes.push(probe(app, region));
        }
        let began = Instant::now();
        loop {
            let known = app.db.health().of(region);
            let well = known.circuit == Circuit::Closed && known.unreachable_since.is_none();
            let wait = if well { app.config.watch } else { TROUBLED };
            tokio::select! {
                // What it found out decides how long to wait for the next one.
                Some(()) = probes.next() => {}
                () = sleep(wait.saturating_sub(began.elapsed())) => break,
                () = suspected(&mut suspicions, began), if well => break,
            }
        }
    }
}

async fn suspected(suspicions: &mut Receiver<u64>, began: Instant) {
    if suspicions.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(LEAST.saturating_sub(began.elapsed())).await;
}

/// Asks `region` for its gate, which every write of it needs anyway, and notes the outcome.
async fn probe(app: &App, region: &RegionCode) {
    let (health, began) = (app.db.health(), Instant::now());
    match timeout(app.config.database.probe_timeout, ask(app, region)).await {
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
async fn ask(app: &App, region: &RegionCode) -> Result<Duration, DbError> {
    let once = async || {
        let conn = app.db.probe(region).await?;
        let began = Instant::now();
        app.gates.reload_by(&conn, region).await?;
        Ok(began.elapsed())
    };
    match once().await {
        Err(DbError { kind: DbErrorKind::Unavailable, .. }) => once().await,
        asked => asked,
    }
}

async fn nodes(app: &App) {
    let mut suspicions = app.db.health().suspicions();
    loop {
        let began = Instant::now();
        let reached = app.db.tend().await;
        pause(app, reached, began, &mut suspicions).await;
    }
}

/// While all are reached until somebody suspects them, else shortly.
async fn pause(app: &App, reached: bool, began: Instant, suspicions: &mut Receiver<u64>) {
    if reached {
        let _suspected = timeout(app.config.watch, suspicions.changed()).await;
    } else {
        sleep((TROUBLED * 2).saturating_sub(began.elapsed())).await;
    }
    sleep(LEAST.saturating_sub(began.elapsed())).await;
}
