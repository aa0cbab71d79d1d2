//! The watch of an instance: looks at every region, whether its rows answer and what
//! its gate says; and tends the connections. A region that answers is looked at every
//! `MOVR_WATCH_MS` and when somebody doubts it, a silent one once a second, so that
//! people find it back without having to wait for it. Each region has a watch of its
//! own: one that hangs says nothing of the others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{sync::watch::Receiver, time::timeout};

use crate::{
    app::App,
    db::error::{DbError, DbErrorKind},
    domain::region::RegionCode,
};

/// Between two looks at a silent region, or tries of nodes that are not reached.
const TROUBLED: Duration = Duration::from_secs(1);
/// Between two looks at anything, however many doubt.
const LEAST: Duration = Duration::from_millis(250);
/// Longest time of a look, connecting included.
const LOOK: Duration = Duration::from_secs(2);

/// Watches for ever.
pub async fn watch(app: Arc<App>) {
    let catalogue = app.catalogue();
    let regions = catalogue.regions.iter().map(|of| region(&app, &of.code));
    tokio::join!(join_all(regions), nodes(&app));
}

async fn region(app: &App, region: &RegionCode) {
    let mut doubts = app.db.health().doubts();
    loop {
        let began = Instant::now();
        match timeout(LOOK, look(app, region)).await {
            Ok(Ok(round_trip)) => app.db.health().answered(region, round_trip),
            // No gate yet, or a mistake of ours: it says nothing of the region.
            Ok(Err(error)) if error.kind == DbErrorKind::Bug => tracing::warn!(%region, %error, "not looked at"),
            Ok(Err(error)) => app.db.health().failed(region, error.kind == DbErrorKind::Timeout),
            Err(_late) => app.db.health().failed(region, true),
        }
        pause(app, app.db.health().of(region).silent_since.is_none(), began, &mut doubts).await;
    }
}

/// Asks `region` for its gate, which every write of it needs anyway. A connection that
/// was lost meanwhile says nothing, so there are two tries.
async fn look(app: &App, region: &RegionCode) -> Result<Duration, DbError> {
    let once = async || {
        let conn = app.db.probe(region).await?;
        let began = Instant::now();
        app.gates.reload_by(&conn, region).await?;
        Ok(began.elapsed())
    };
    match once().await {
        Err(DbError { kind: DbErrorKind::Unavailable, .. }) => once().await,
        looked => looked,
    }
}

async fn nodes(app: &App) {
    let mut doubts = app.db.health().doubts();
    loop {
        let began = Instant::now();
        let reached = app.db.tend().await;
        pause(app, reached, began, &mut doubts).await;
    }
}

/// While all is well until somebody doubts it, else for a second.
async fn pause(app: &App, well: bool, began: Instant, doubts: &mut Receiver<u64>) {
    if well {
        let _doubted = timeout(app.config.watch, doubts.changed()).await;
    } else {
        tokio::time::sleep(TROUBLED.saturating_sub(began.elapsed())).await;
    }
    tokio::time::sleep(LEAST.saturating_sub(began.elapsed())).await;
}
