//! Serving: bind, answer, drain. The socket is bound before the application exists. Returns the
//! actual port, so that tests use the same call.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    App as Actix, HttpResponse, HttpServer,
    dev::ServerHandle,
    middleware::{Compress, from_fn},
    web::{self, Data, PayloadConfig},
};

use crate::{
    config::Config,
    ops::{Service, measure, watch},
    telemetry::metrics,
    web::{
        connections::{self, Connections},
        middleware, routes,
        startup::{self, StartupGate},
        state::State,
    },
    worker,
};

/// Prometheus needs one, and maybe a person who looks.
const METRICS_CONNECTIONS: usize = 16;
const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

pub struct RunningServer {
    pub address: SocketAddr,
    /// Where Prometheus is answered.
    pub metrics: Option<SocketAddr>,
    pub state: Arc<State>,
    connections: Arc<Connections>,
    handle: ServerHandle,
    metrics_handle: Option<ServerHandle>,
    background: Vec<tokio::task::JoinHandle<()>>,
}

pub struct Open {
    pub address: SocketAddr,
    metrics: Option<(SocketAddr, ServerHandle)>,
    pub startup: Arc<StartupGate>,
    connections: Arc<Connections>,
    handle: ServerHandle,
    sweep: tokio::task::JoinHandle<()>,
}

/// Binds; the returned future serves and ends when the server has stopped.
pub fn open(config: &Config) -> std::io::Result<(Open, actix_web::dev::Server)> {
    let startup = Arc::<StartupGate>::default();
    let metrics = config.metrics_listen.map(|listen| serve_metrics(listen, Arc::clone(&startup))).transpose()?;
    let (shared, body) = (Data::from(Arc::clone(&startup)), config.max_body_bytes);
    let connections = Connections::new(config);
    let connected = Arc::clone(&connections);
    let server = HttpServer::new(move || {
        Actix::new()
            .app_data(shared.clone())
            .app_data(PayloadConfig::new(body))
            .wrap(from_fn(middleware::request))
            .wrap(from_fn(startup::enter))
            .wrap(Compress::default())
            .wrap(from_fn(connections::bound))
            .configure(routes::configure)
    })
    .workers(config.workers)
    .max_connections(config.max_connections.div_ceil(config.workers))
    .on_connect(move |stream, data| connected.connected(stream, data))
    .keep_alive(config.keep_alive)
    .client_request_timeout(config.request_timeout)
    // Time to read why a body was not.
    .client_disconnect_timeout(config.request_timeout.min(LINGER))
    // A page is written at once; its last packet need not wait until the others have arrived.
    .tcp_nodelay(true)
    .shutdown_timeout(config.shutdown_timeout.as_secs())
    .disable_signals()
    .bind(config.listen)?;
    let address = server.addrs().first().copied().unwrap_or(config.listen);
    let server = server.run();
    let sweep = actix_web::rt::spawn(Arc::clone(&connections).sweep());
    Ok((Open { address, metrics, startup, connections, handle: server.handle(), sweep }, server))
}

/// Answers Prometheus on a listener of its own, so that no client of the application reaches it.
fn serve_metrics(listen: SocketAddr, startup: Arc<StartupGate>) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let startup = Data::from(startup);
    let scrape = async |startup: Data<StartupGate>| {
        let Some(state) = startup.state() else {
            return HttpResponse::ServiceUnavailable().body(format!("warming: {}\n", startup.waiting_for()));
        };
        measure::measure(&state.service);
        match state.service.db.metrics().text() {
            Ok(text) => HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(text),
            Err(_formatter) => HttpResponse::InternalServerError().finish(),
        }
    };
    let server =
        HttpServer::new(move || Actix::new().app_data(startup.clone()).route("/metrics", web::get().to(scrape)))
            .workers(1)
            .max_connections(METRICS_CONNECTIONS)
            .disable_signals()
            .bind(listen)?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok((address, handle))
}

impl Open {
    /// From now on requests go to `service`.
    pub fn ready(self, service: Service) -> RunningServer {
        let service = Arc::new(service);
        let state = Arc::new(State::new(Arc::clone(&service)));
        self.startup.open(Data::from(Arc::clone(&state)));
        let background = vec![
            actix_web::rt::spawn(Arc::clone(&service).keep_catalogue()),
            actix_web::rt::spawn(forget(Arc::clone(&state))),
            actix_web::rt::spawn(watch::watch(Arc::clone(&service))),
            self.sweep,
            actix_web::rt::spawn(worker::work(service)),
        ];
        let (metrics, metrics_handle) = self.metrics.unzip();
        let Self { address, connections, handle, .. } = self;
        RunningServer { address, metrics, state, connections, handle, metrics_handle, background }
    }
}

pub fn start(service: Service) -> std::io::Result<(RunningServer, actix_web::dev::Server)> {
    let (open, server) = open(&service.config)?;
    Ok((open.ready(service), server))
}

/// Regularly removes clients from the throttles who have stopped trying.
async fn forget(state: Arc<State>) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_mins(1));
    loop {
        ticks.tick().await;
        state.limits.forget();
    }
}

impl RunningServer {
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// Reports not ready at once; after the drain delay, finishes the open requests and stops,
    /// within the shutdown timeout.
    pub async fn stop(self) {
        self.stop_hurried_by(std::future::pending()).await;
    }

    /// Like [`Self::stop`]; the drain delay ends early when `hurry` does.
    pub async fn stop_hurried_by(self, hurry: impl Future<Output = ()>) {
        self.state.service.drain();
        tokio::select! {
            () = tokio::time::sleep(self.state.service.config.drain_delay) => {}
            () = hurry => {}
        }
        // The server looks once a second whether its connections have ended, and may be late.
        let stopped = tokio::time::timeout(self.state.service.config.shutdown_timeout, self.handle.stop(true)).await;
        if stopped.is_err() {
            tracing::warn!("stopping before every connection has ended");
        }
        // Before the pools: whoever still waits is not told that the database is away.
        self.connections.shut_all();
        self.background.iter().for_each(tokio::task::JoinHandle::abort);
        if let Some(metrics) = self.metrics_handle {
            metrics.stop(false).await;
        }
        self.state.service.db.close();
    }
}
