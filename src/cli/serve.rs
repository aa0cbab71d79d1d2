//! `movr serve`: one region's instance, until SIGTERM or Ctrl-C. It listens first, then
//! warms up (connect, schema version, statements, catalogue), trying again while the
//! database does not answer, until the warm-up deadline. It refuses an older schema.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep, timeout_at},
};

use super::Outcome;
use crate::{
    clock::Clock,
    config::Config,
    db::DbErrorKind,
    ops::Service,
    server,
    web::{pages::health, startup::StartupGate},
};

/// Between two tries to warm up: a database that has just come up is noticed soon, and
/// one that is down is not hammered.
const PAUSE: Duration = Duration::from_millis(250);

pub async fn run(config: Config) -> Outcome {
    let mut stop = StopSignals::listen()?;
    // A connection takes two files, and many systems begin with 1,024.
    let (_, files) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    let (open, server) = server::open(&config)?;
    tracing::info!(address = %open.address, region = %config.region, "listening; warming up");
    actix_web::rt::spawn(server);
    let service = tokio::select! {
        service = warm_up(&config, &open.startup) => service?,
        // Nothing was promised to anybody yet.
        () = stop.next() => return Ok(()),
    };
    let running = open.ready(service);
    tracing::info!(address = %running.address, region = %running.state.service.here, engine = running.state.service.db.engine().version, "serving");
    stop.next().await;
    tracing::info!("draining; a second signal ends the drain delay");
    running.stop_hurried_by(stop.next()).await;
    Ok(())
}

/// SIGTERM and Ctrl-C, from the moment this is made; before that they end the process.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes both signals over from the system.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tries until it has an application, the deadline passes, or trying again is no use.
async fn warm_up(config: &Config, startup: &StartupGate) -> Outcome<Service> {
    let deadline = Instant::now() + config.warm_up_timeout;
    let mut last = String::new();
    while let Ok(tried) =
        timeout_at(deadline, Service::warm_up(config.clone(), Clock::default(), None, |step| startup.step(step))).await
    {
        let error = match tried {
            Ok(service) => return Ok(service),
            Err(error) => error,
        };
        let (DbErrorKind::Unavailable | DbErrorKind::Timeout | DbErrorKind::Contention | DbErrorKind::Ambiguous) =
            &error.kind
        else {
            return Err(error.into());
        };
        startup.failed(health::trouble(&error.kind));
        tracing::warn!(%error, "not warm yet; trying again");
        last = format!("; last error: {error}");
        if timeout_at(deadline, sleep(PAUSE)).await.is_err() {
            break;
        }
    }
    let (waited, step) = (config.warm_up_timeout.as_secs(), startup.waiting_for());
    Err(format!("not ready within {waited} s (MOVR_WARM_UP_TIMEOUT_S), while {step}{last}").into())
}
