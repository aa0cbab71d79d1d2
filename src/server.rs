//! Serving: bind, frame, drain. The socket is there before the application is. Returns
//! the port it got, so that tests use the same call; stops when told to, after the open
//! requests.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    App as Actix, HttpServer,
    dev::ServerHandle,
    middleware::{Compress, from_fn},
    web::{Data, PayloadConfig},
};

use crate::{
    app::App,
    config::Config,
    ops::{rides, watch},
    web::{
        connections::{self, Connections},
        frame,
        lobby::{self, Lobby},
        routes,
    },
    worker,
};

const LINGER: std::time::Duration = std::time::Duration::from_secs(2);

/// A running instance.
pub struct Running {
    pub address: SocketAddr,
    pub app: Arc<App>,
    connections: Arc<Connections>,
    handle: ServerHandle,
    background: Vec<tokio::task::JoinHandle<()>>,
}

/// A server that listens and has no application yet.
pub struct Open {
    pub address: SocketAddr,
    pub lobby: Arc<Lobby>,
    connections: Arc<Connections>,
    handle: ServerHandle,
    sweep: tokio::task::JoinHandle<()>,
}

/// Binds; the returned future serves and ends when the server has stopped.
pub fn open(config: &Config) -> std::io::Result<(Open, actix_web::dev::Server)> {
    let lobby = Arc::<Lobby>::default();
    let (shared, body) = (Data::from(Arc::clone(&lobby)), config.max_body_bytes);
    let connections = Connections::new(config);
    let connected = Arc::clone(&connections);
    let server = HttpServer::new(move || {
        Actix::new()
            .app_data(shared.clone())
            .app_data(PayloadConfig::new(body))
            .wrap(from_fn(frame::frame))
            .wrap(from_fn(lobby::enter))
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
    Ok((Open { address, lobby, connections, handle: server.handle(), sweep }, server))
}

impl Open {
    /// From now on `app` answers.
    pub fn ready(self, app: App) -> Running {
        let app = Arc::new(app);
        self.lobby.open(Data::from(Arc::clone(&app)));
        let background = vec![
            actix_web::rt::spawn(Arc::clone(&app).keep_catalogue()),
            actix_web::rt::spawn(forget(Arc::clone(&app))),
            actix_web::rt::spawn(watch::watch(Arc::clone(&app))),
            actix_web::rt::spawn(rides::keep_ending(Arc::clone(&app))),
            self.sweep,
            actix_web::rt::spawn(worker::work(Arc::clone(&app))),
        ];
        Running { address: self.address, app, connections: self.connections, handle: self.handle, background }
    }
}

/// Binds and serves `app`; the returned future ends when the server has stopped.
pub fn start(app: App) -> std::io::Result<(Running, actix_web::dev::Server)> {
    let (open, server) = open(&app.config)?;
    Ok((open.ready(app), server))
}

/// Throttles forget those who stopped trying.
async fn forget(app: Arc<App>) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_mins(1));
    loop {
        ticks.tick().await;
        app.limits.forget();
    }
}

impl Running {
    /// How many clients are connected.
    pub fn open_connections(&self) -> usize {
        self.connections.open()
    }

    /// Not ready at once; after the drain delay, finishes the open requests and stops.
    /// Takes the drain delay and the shutdown timeout at most.
    pub async fn stop(self) {
        self.stop_hurried_by(std::future::pending()).await;
    }

    /// The same; the drain delay ends early when `hurry` does.
    pub async fn stop_hurried_by(self, hurry: impl Future<Output = ()>) {
        self.app.drain();
        tokio::select! {
            () = tokio::time::sleep(self.app.config.drain_delay) => {}
            () = hurry => {}
        }
        // The server looks once a second whether its connections have ended, and may be late.
        let stopped = tokio::time::timeout(self.app.config.shutdown_timeout, self.handle.stop(true)).await;
        if stopped.is_err() {
            tracing::warn!("stopping before every connection has ended");
        }
        // Before the pools: whoever still waits is not told that the database is away.
        self.connections.shut_all();
        self.background.iter().for_each(tokio::task::JoinHandle::abort);
        self.app.db.close();
    }
}
