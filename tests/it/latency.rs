//! The simulated distances of `movr demo`: bytes arrive in order, half a round trip later in each
//! direction, as fast as they were sent, and what waits is bounded.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use movr::local::latency::{Link, WINDOW};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

const ROUND_TRIP: Duration = Duration::from_millis(100);
const ONE_WAY: Duration = Duration::from_millis(50);
/// What a busy machine adds.
const SLACK: Duration = Duration::from_millis(40);

/// Both ends of one connection through a link of that round trip.
async fn ends(round_trip: Duration) -> (Link, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = Link::to(listener.local_addr().unwrap()).await.unwrap();
    link.set_round_trip(round_trip);
    let client = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], link.port))).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    (link, client, server)
}

#[tokio::test]
async fn each_message_arrives_half_a_round_trip_later_and_in_order() {
    let (_link, client, server) = ends(ROUND_TRIP).await;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let began = Instant::now();
    // Both directions at once, with gaps, several on the way at the same time.
    let write = async |to: &mut tokio::net::tcp::OwnedWriteHalf| {
        for number in 0..40_u64 {
            to.write_u64(number).await.unwrap();
            to.write_u64(u64::try_from(began.elapsed().as_micros()).unwrap()).await.unwrap();
            sleep(Duration::from_millis(number % 4)).await;
        }
    };
    let read = async |from: &mut tokio::net::tcp::OwnedReadHalf| {
        let mut late = Duration::ZERO;
        for number in 0..40_u64 {
            assert_eq!(from.read_u64().await.unwrap(), number);
            let sent = Duration::from_micros(from.read_u64().await.unwrap());
            let took = began.elapsed().saturating_sub(sent);
            assert!(took >= ONE_WAY, "{number}: {took:?}");
            late = late.max(took);
        }
        late
    };
    let ((), (), there, back) =
        tokio::join!(write(&mut to_client), write(&mut to_server), read(&mut from_server), read(&mut from_client));
    assert!(there.max(back) < ONE_WAY + SLACK, "{there:?} {back:?}");
}

#[tokio::test]
async fn a_transfer_is_not_slower_for_being_far() {
    const LENGTH: usize = 64 << 20;
    let (_link, mut client, mut server) = ends(ROUND_TRIP).await;
    let began = Instant::now();
    let send = async {
        let chunk = vec![7; 1 << 16];
        for _ in 0..LENGTH / chunk.len() {
            client.write_all(&chunk).await.unwrap();
        }
        client.shutdown().await.unwrap();
    };
    let receive = async {
        let (mut buffer, mut length) = (vec![0; 1 << 16], 0);
        while let n @ 1.. = server.read(&mut buffer).await.unwrap() {
            length += n;
        }
        length
    };
    let ((), received) = timeout(Duration::from_secs(20), async { tokio::join!(send, receive) }).await.unwrap();
    let took = began.elapsed();
    eprintln!("64 MiB over {ONE_WAY:?} one way in {took:?}");
    assert_eq!(received, LENGTH);
    // A window at a time; one chunk at a time would take 51 s.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer() {
    let (_link, mut client, mut server) = ends(ROUND_TRIP).await;
    let (chunk, mut sent) = (vec![7; 1 << 16], 0);
    while let Ok(written) = timeout(Duration::from_millis(500), client.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "nothing stops it");
    }
    assert!(sent > WINDOW, "{sent} bytes");
    // Nothing was lost meanwhile.
    client.shutdown().await.unwrap();
    let mut all = Vec::new();
    server.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), sent);
}

#[tokio::test]
async fn an_end_that_has_said_all_still_hears_the_answer() {
    let (_link, mut client, mut server) = ends(ROUND_TRIP).await;
    let began = Instant::now();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    timeout(Duration::from_secs(5), server.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(began.elapsed() >= ONE_WAY);
    server.write_all(format!("answer to {text}").as_bytes()).await.unwrap();
    drop(server);
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "answer to question");
    assert!(began.elapsed() >= ROUND_TRIP);
}

#[tokio::test]
async fn a_distance_can_change_under_open_connections_and_its_end_ends_them() {
    let (link, mut client, mut server) = ends(Duration::ZERO).await;
    let pass = async |client: &mut TcpStream, server: &mut TcpStream| {
        let began = Instant::now();
        client.write_u8(1).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), 1);
        began.elapsed()
    };
    assert!(pass(&mut client, &mut server).await < ONE_WAY);
    link.set_round_trip(ROUND_TRIP);
    assert!(pass(&mut client, &mut server).await >= ONE_WAY);
    drop(link);
    let end = timeout(Duration::from_secs(5), server.read_u8()).await.expect("the connection outlives the link");
    assert!(end.is_err());
}
