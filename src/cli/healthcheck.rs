//! `movr healthcheck`: asks the instance on this machine how it is, for containers without a shell.
//! Exit code 0 when the answer is 200, 1 otherwise.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use url::{Position, Url};

use super::Outcome;
use crate::config::{self, Vars};

/// For connecting, and for each part of the answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The answers have a few words.
const LONGEST: u64 = 4096;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask whether it is ready for requests (`/readyz`), not only whether it is alive (`/healthz`).
    #[arg(long)]
    ready: bool,
    /// Ask there, such as `http://127.0.0.1:8080/readyz`. Without it, the port of `MOVR_LISTEN` on this machine.
    #[arg(long, conflicts_with = "ready")]
    url: Option<Url>,
}

pub fn run(args: &Args, vars: &Vars) -> Outcome {
    let url = if let Some(url) = &args.url {
        url.clone()
    } else {
        let path = if args.ready { "readyz" } else { "healthz" };
        Url::parse(&format!("http://{}/{path}", reachable(config::listen(vars)?)))?
    };
    if url.scheme() != "http" {
        return Err("--url: only http:// can be asked".into());
    }
    let answer = ask(&url).map_err(|error| format!("{url}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if status == "200" { Ok(()) } else { Err(format!("{url}: {status} {}", body.trim()).into()) }
}

/// An address on which all listen is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(url: &Url) -> std::io::Result<String> {
    let mut reached = Err(std::io::Error::other("no such host"));
    // `localhost` has two, of which an instance may listen on one.
    for address in url.socket_addrs(|| None)? {
        reached = TcpStream::connect_timeout(&address, TIMEOUT);
        if reached.is_ok() {
            break;
        }
    }
    let mut stream = reached?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let host = &url[Position::BeforeHost..Position::AfterPort];
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
