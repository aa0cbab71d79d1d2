//! Open connections and how long each may last. actix bounds the first head and idle time, but no
//! later head, unread body, or client that does not read its answer. So each connection has a
//! deadline, moved as its requests begin and end.

use parking_lot::Mutex;
use std::{
    any::Any,
    collections::HashMap,
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::{
    Error,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Extensions, ServiceRequest, ServiceResponse},
    http::{ConnectionType, header::TRANSFER_ENCODING},
    middleware::Next,
    web::Bytes,
};

use super::middleware::FILE_TIMES;
use crate::config::Config;

const SWEEP: Duration = Duration::from_millis(250);

pub struct Connections {
    began: Instant,
    request: Duration,
    keep_alive: Duration,
    lifetime: Duration,
    open: Mutex<HashMap<u64, Weak<Connection>>>,
    next: AtomicU64,
}

/// Its own handle of the socket can shut it while actix waits on the other.
pub struct Connection {
    id: u64,
    socket: TcpStream,
    born: Instant,
    /// Milliseconds after `began` at which it is shut.
    due: AtomicU64,
    all: Arc<Connections>,
}

impl Connections {
    pub fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            request: config.request_timeout,
            keep_alive: config.keep_alive,
            lifetime: config.connection_lifetime,
            open: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// For `HttpServer::on_connect`. A connection for which there is no second handle is served
    /// without one: the process is out of files, and accepts no other either.
    pub fn connected(self: &Arc<Self>, stream: &dyn Any, data: &mut Extensions) {
        let stream = stream.downcast_ref::<actix_web::rt::net::TcpStream>();
        let Some(Ok(socket)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) else {
            return;
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let connection =
            Arc::new(Connection { id, socket: socket.into(), born: Instant::now(), due: 0.into(), all: self.clone() });
        connection.due_in(self.request * 2);
        self.open.lock().insert(id, Arc::downgrade(&connection));
        data.insert(connection);
    }

    pub fn open(&self) -> usize {
        self.open.lock().len()
    }

    /// Shuts expired ones, for ever.
    pub async fn sweep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            let now = self.began.elapsed().as_millis();
            self.shut(|connection| u128::from(connection.due.load(Ordering::Relaxed)) <= now);
        }
    }

    /// Nobody is answered any more.
    pub fn shut_all(&self) {
        self.shut(|_| true);
    }

    fn shut(&self, which: impl Fn(&Connection) -> bool) {
        // Collected first: a connection whose last handle goes here takes the lock.
        let open: Vec<_> = self.open.lock().values().filter_map(Weak::upgrade).collect();
        for connection in open.iter().filter(|connection| which(connection)) {
            // The client may have closed it already.
            drop(connection.socket.shutdown(Shutdown::Both));
        }
    }

    /// Longest time from a request's head to the last byte of its answer.
    fn exchange(&self) -> Duration {
        self.request * (FILE_TIMES + 2)
    }
}

impl Connection {
    fn due_in(&self, time: Duration) {
        let longest = self.born.duration_since(self.all.began) + self.all.lifetime + self.all.exchange();
        let due = (self.all.began.elapsed() + time).min(longest);
        self.due.store(u64::try_from(due.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open.lock().remove(&self.id);
    }
}

/// Bounds a request and its answer; inside all other middleware.
pub async fn bound(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Sent>, Error> {
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    if let Some(connection) = &connection {
        connection.due_in(connection.all.exchange());
    }
    // Of unknown length: what of it was not read is not waited for.
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = next.call(request).await?;
    let head = response.response_mut().head_mut();
    let old = connection.as_ref().is_some_and(|connection| connection.born.elapsed() > connection.all.lifetime);
    if old || chunked {
        head.set_connection_type(ConnectionType::Close);
    }
    let closes = head.connection_type() == ConnectionType::Close;
    Ok(response.map_body(|_, body| Sent { body: body.boxed(), connection, closes }))
}

/// An answer's body, dropped when its last byte is on the way.
pub struct Sent {
    body: BoxBody,
    connection: Option<Arc<Connection>>,
    closes: bool,
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            let idle = if self.closes { Duration::ZERO } else { connection.all.keep_alive };
            connection.due_in(idle + connection.all.request);
        }
    }
}

impl MessageBody for Sent {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let part = Pin::new(&mut self.body).poll_next(context);
        if let Poll::Ready(Some(Err(error))) = &part {
            tracing::error!(%error, "an answer broke off");
        }
        part
    }
}
