//! Serving: bind, frame, warm-up, drain. Returns the port it got, so that tests use the
//! same call; stops when told to, after the open requests.

use std::{net::SocketAddr, sync::Arc};

use actix_web::{
    App as Actix, HttpServer,
    dev::ServerHandle,
    middleware::{Compress, from_fn},
    web::{Data, PayloadConfig},
};

use crate::{
    app::App,
    ops::watch,
    web::{frame, routes},
};

/// A running instance.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it holds.
    pub app: Arc<App>,
    handle: ServerHandle,
    background: Vec<tokio::task::JoinHandle<()>>,
}

/// Binds and serves; the returned future ends when the server has stopped.
pub fn start(app: App) -> std::io::Result<(Running, actix_web::dev::Server)> {
    let (workers, listen) = (app.config.workers, app.config.listen);
    let (deadline, body) = (app.config.shutdown_timeout, app.config.max_body_bytes);
    let data = Data::new(app);
    let shared = data.clone();
    let server = HttpServer::new(move || {
        Actix::new()
            .app_data(shared.clone())
            .app_data(PayloadConfig::new(body))
            .wrap(from_fn(frame::frame))
            .wrap(Compress::default())
            .configure(routes::configure)
    })
    .workers(workers)
    .shutdown_timeout(deadline.as_secs())
    .disable_signals()
    .bind(listen)?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    let server = server.run();
    let app = data.into_inner();
    let background = vec![
        actix_web::rt::spawn(Arc::clone(&app).keep_catalogue()),
        actix_web::rt::spawn(forget(Arc::clone(&app))),
        actix_web::rt::spawn(watch::watch(Arc::clone(&app))),
    ];
    Ok((Running { address, app, handle: server.handle(), background }, server))
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
    /// Not ready at once; after the drain delay, finishes the open requests and stops.
    pub async fn stop(self) {
        self.app.drain();
        tokio::time::sleep(self.app.config.drain_delay).await;
        self.handle.stop(true).await;
        self.background.iter().for_each(tokio::task::JoinHandle::abort);
        self.app.db.close();
    }
}
