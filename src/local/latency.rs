//! Distance on one machine: a TCP proxy on which bytes are under way for half a round trip in each
//! direction. A long line and not a narrow one: chunks follow each other as fast as they are read.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

/// Bytes under way in one direction of a connection; then the sender has to wait. It is the window
/// of TCP on such a line: 100 MB/s at 73 ms.
pub const WINDOW: usize = 8 << 20;
const CHUNK: usize = 1 << 16;

/// A way to one server. It and its connections end when it is dropped.
#[derive(Debug)]
pub struct Link {
    pub port: u16,
    one_way_us: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Link {
    /// Listens on a free port of this machine. Without a distance until [`Self::set_round_trip`].
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, one_way_us) = (listener.local_addr()?.port(), Arc::<AtomicU64>::default());
        let accepting = tokio::spawn(accept(listener, server, Arc::clone(&one_way_us)));
        Ok(Self { port, one_way_us, accepting })
    }

    /// Also of connections that are open.
    pub fn set_round_trip(&self, round_trip: Duration) {
        let one_way = u64::try_from(round_trip.as_micros() / 2).unwrap_or(u64::MAX);
        self.one_way_us.store(one_way, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, one_way_us: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(connections.spawn(connection(client, server, Arc::clone(&one_way_us)))),
            // No file is free, for one.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut client: TcpStream, server: SocketAddr, one_way_us: Arc<AtomicU64>) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let due = |_: &[u8]| Some(Instant::now() + Duration::from_micros(one_way_us.load(Ordering::Relaxed)));
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    tokio::try_join!(carry(from_client, to_server, due), carry(from_server, to_client, due)).map(drop)
}

/// Passes on what it reads, each chunk when it is due, and at last the end. `due` is asked about
/// each chunk as it is read; without an answer everything breaks off.
pub async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut due: impl FnMut(&[u8]) -> Option<Instant>,
) -> io::Result<()> {
    let window = Semaphore::new(WINDOW);
    let (enter, mut leave) = mpsc::unbounded_channel();
    let read = async {
        let mut buffer = Vec::with_capacity(CHUNK);
        loop {
            buffer.clear();
            from.read_buf(&mut buffer).await?;
            let due = due(&buffer).ok_or(io::ErrorKind::ConnectionAborted)?;
            let length = u32::try_from(buffer.len()).map_err(io::Error::other)?;
            let place = window.acquire_many(length).await.map_err(io::Error::other)?;
            let last = buffer.is_empty();
            // A copy is as long as the chunk, so what waits is bounded. Nobody takes it: the other half has failed.
            if enter.send((due, buffer.clone(), place)).is_err() || last {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, chunk, _place)) = leave.recv().await {
            sleep_until(due).await;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await?;
            to.flush().await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}
