//! The watch of an instance: looks at every region, whether its rows answer and what
//! its gate says; and tends the connections. A region that answers is looked at every
//! `MOVR_WATCH_MS` and when somebody doubts it, a silent one once a second, so that
//! people find it back without having to wait for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::watch::Receiver;

use crate::{
    app::App,
    db::error::{DbError, DbErrorKind},
    domain::region::RegionCode,
};

/// Between two looks at a silent region, or tries of nodes that are not reached.
const TROUBLED: Duration = Duration::from_secs(1);
/// Longest time of tending: a cold node takes seconds to prepare its first statements.
const TEND: Duration = Duration::from_secs(30);

/// Watches for ever.
pub async fn watch(app: Arc<App>) {
    tokio::join!(regions(&app), nodes(&app));
}

async fn regions(app: &App) {
    let mut doubts = app.db.health().doubts();
    loop {
        let catalogue = app.catalogue();
        join_all(catalogue.regions.iter().map(|region| look(app, &region.code))).await;
        let silent = catalogue.regions.iter().any(|region| app.db.health().silent(&region.code).is_some());
        pause(app, !silent, &mut doubts).await;
    }
}

async fn nodes(app: &App) {
    let mut doubts = app.db.health().doubts();
    loop {
        let reached = tokio::time::timeout(TEND, app.db.tend()).await.unwrap_or(false);
        pause(app, reached, &mut doubts).await;
    }
}

/// While all is well until somebody doubts it, else for a second.
async fn pause(app: &App, well: bool, doubts: &mut Receiver<u64>) {
    if well {
        let _doubted = tokio::time::timeout(app.config.watch, doubts.changed()).await;
    } else {
        tokio::time::sleep(TROUBLED).await;
    }
}

/// Asks `region` for its gate, which every write of it needs anyway. A connection that
/// was lost meanwhile says nothing, so there are two tries.
async fn look(app: &App, region: &RegionCode) {
    for last in [false, true] {
        let looked = async {
            let conn = app.db.probe(region).await?;
            let began = Instant::now();
            app.gates.reload_by(&conn, region).await?;
            Ok(began.elapsed())
        };
        match looked.await {
            Ok(round_trip) => return app.db.health().answered(region, round_trip),
            Err(DbError { kind: DbErrorKind::Bug, .. }) => return,
            Err(error) if last || error.kind == DbErrorKind::Timeout => return app.db.health().failed(region),
            Err(_) => {}
        }
    }
}
