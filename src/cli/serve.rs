//! `movr serve`: one region's instance, until SIGTERM or Ctrl-C.

use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;
use crate::{app::App, clock::Clock, config::Config, db, server};

/// Serves until told to stop; refuses to start on an older schema.
pub async fn run(config: Config) -> Outcome {
    check_schema(&config).await?;
    let app = App::start(config, Clock::default()).await?;
    let (running, server) = server::start(app)?;
    tracing::info!(address = %running.address, region = %running.app.here, engine = running.app.db.engine().version, "serving");
    let serving = actix_web::rt::spawn(server);
    stop_signal().await?;
    tracing::info!("draining");
    running.stop().await;
    serving.await??;
    Ok(())
}

/// Waits for SIGTERM or Ctrl-C.
pub async fn stop_signal() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn check_schema(config: &Config) -> Outcome {
    let endpoint = db::endpoint(&config.database, config.database.url.expose())?;
    let found = db::migrate::version_of(&db::connect_once(&endpoint).await?).await?;
    let wanted = db::migrate::newest();
    if found < wanted {
        return Err(format!("the schema is at version {found}, this program needs {wanted}: run movr migrate").into());
    }
    if found > wanted {
        tracing::warn!(found, wanted, "the schema is newer than this program; a rolling release or a roll-back");
    }
    Ok(())
}
