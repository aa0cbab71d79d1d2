//! A TCP proxy between application and database: passes, delays, cuts, refuses, and
//! swallows the reply to one write, so that it happened and nobody was told.
//! The surprise: a server that wants TLS gets it from the proxy; the application sends
//! its bytes in the clear, so that they can be read here.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use movr::{db, local::latency};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};
use tokio_postgres::{
    config::{Host, SslMode},
    tls::{MakeTlsConnect, TlsConnect},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::engine;

#[derive(Default)]
struct State {
    refusing: bool,
    delay: Duration,
    /// Raised to cut all connections that were made before.
    cut: watch::Sender<u64>,
    /// The reply to a message with these bytes is to be lost, after so many of them.
    lose: Option<(Vec<u8>, usize)>,
    /// What comes behind these bytes on the same connection counts too.
    all_behind: bool,
    /// With that reply everything is lost.
    last: bool,
    lost: usize,
    severed: usize,
    carried: usize,
}

/// The proxy; it ends when dropped.
pub struct Proxy {
    /// The same database, through the proxy.
    pub url: String,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// Where the server is, and how to speak TLS with it, if it wants that.
#[derive(Clone)]
struct Node {
    host: String,
    port: u16,
    tls: Option<MakeRustlsConnect>,
}

impl Proxy {
    /// A proxy in front of the (first) node of `url`.
    pub async fn before(url: &str) -> Self {
        let endpoint = db::endpoint(&engine::tools(url).database, url).unwrap();
        let config = &endpoint.config;
        let Host::Tcp(host) = &config.get_hosts()[0] else { panic!("a proxy needs TCP") };
        let tls = (config.get_ssl_mode() != SslMode::Disable).then_some(endpoint.tls);
        let node = Node { host: host.clone(), port: config.get_ports().first().copied().unwrap_or(5432), tls };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (head, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let user = authority.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
        let port = listener.local_addr().unwrap().port();
        let (database, query) = path.split_once('?').unwrap_or((path, ""));
        let mut query: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("ssl")).collect();
        query.push("sslmode=disable");
        let url = format!("{head}://{user}127.0.0.1:{port}/{database}?{}", query.join("&"));
        let state = Arc::<Mutex<State>>::default();
        let accepting = tokio::spawn(accept(listener, node, Arc::clone(&state)));
        Self { url, state, accepting }
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// Everything passes again.
    pub fn pass(&self) {
        self.set(|state| (state.refusing, state.delay) = (false, Duration::ZERO));
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.set(|state| state.cut.send_modify(|cut| *cut += 1));
    }

    /// New connections are closed at once.
    pub fn refuse(&self) {
        self.set(|state| state.refusing = true);
    }

    /// The server's bytes arrive this much later.
    pub fn delay(&self, delay: Duration) {
        self.set(|state| state.delay = delay);
    }

    /// The next message but `skip` that holds `bytes` (such as an id, as parameters carry
    /// it) is passed on, and when the server has answered, its connection is cut instead.
    pub fn lose_reply_to(&self, bytes: &[u8], skip: usize) {
        self.set(|state| state.lose = Some((bytes.to_owned(), skip)));
    }

    /// The same, and with the reply all connections are lost and new ones refused.
    pub fn lose_all_after(&self, bytes: &[u8]) {
        self.set(|state| (state.lose, state.last) = (Some((bytes.to_owned(), 0)), true));
    }

    /// Of the transaction that begins next, the reply to its message number `skip`.
    pub fn lose_reply_in_transaction(&self, skip: usize) {
        self.set(|state| (state.lose, state.all_behind) = (Some((b"BEGIN".to_vec(), skip)), true));
    }

    /// Takes that back, if it has not happened.
    pub fn lose_no_reply(&self) {
        self.set(|state| (state.lose, state.all_behind) = (None, false));
    }

    /// How many replies were lost.
    pub fn lost(&self) -> usize {
        self.state.lock().unwrap().lost
    }

    /// How many messages the application has sent through it.
    pub fn carried(&self) -> usize {
        self.state.lock().unwrap().carried
    }

    /// How many connections were cut.
    pub fn severed(&self) -> usize {
        self.state.lock().unwrap().severed
    }
}

async fn accept(listener: TcpListener, node: Node, state: Arc<Mutex<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.lock().unwrap().refusing {
            continue;
        }
        tokio::spawn(connection(client, node.clone(), Arc::clone(&state)));
    }
}

async fn connection(client: TcpStream, node: Node, state: Arc<Mutex<State>>) {
    let cut = state.lock().unwrap().cut.subscribe();
    let Ok(mut server) = TcpStream::connect((&*node.host, node.port)).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let Some(mut tls) = node.tls else { return carry(client, server, &state, cut).await };
    // The request for TLS, as PostgreSQL's protocol has it, and its one-byte answer.
    let asked = server.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.is_ok();
    if asked && matches!(server.read_u8().await, Ok(b'S')) {
        let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &node.host).unwrap();
        if let Ok(server) = connect.connect(server).await {
            carry(client, server, &state, cut).await;
        }
    }
}

async fn carry(
    client: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    state: &Mutex<State>,
    mut cut: watch::Receiver<u64>,
) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    let doomed = AtomicBool::new(false);
    let mut behind = false;
    let up = latency::carry(from_client, to_server, |sent| {
        state.lock().unwrap().sent(sent, &mut behind, &doomed);
        Some(Instant::now())
    });
    let down = latency::carry(from_server, to_client, |chunk| state.lock().unwrap().answered(chunk, &doomed));
    // Dropping both directions closes both sockets.
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = cut.changed() => state.lock().unwrap().severed += 1,
    }
}

impl State {
    fn sent(&mut self, sent: &[u8], behind: &mut bool, doomed: &AtomicBool) {
        self.carried += usize::from(!sent.is_empty());
        *behind &= self.all_behind;
        let mut meant = |bytes: &[u8]| {
            let found = *behind || bytes.is_empty() || sent.windows(bytes.len()).any(|window| window == bytes);
            *behind = found && self.all_behind;
            found
        };
        match &mut self.lose {
            Some((bytes, 0)) if meant(bytes) => {
                self.lose = None;
                doomed.store(true, Ordering::Relaxed);
            }
            Some((bytes, skip)) if meant(bytes) => *skip -= 1,
            _ => {}
        }
    }

    /// When what the server said arrives; none where it is lost.
    fn answered(&mut self, chunk: &[u8], doomed: &AtomicBool) -> Option<Instant> {
        if doomed.load(Ordering::Relaxed) && !chunk.is_empty() {
            self.lost += 1;
            if std::mem::take(&mut self.last) {
                self.refusing = true;
                self.cut.send_modify(|cut| *cut += 1);
            }
            return None;
        }
        Some(Instant::now() + self.delay)
    }
}
