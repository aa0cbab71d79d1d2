//! `movr healthcheck`: asks the instance on this machine how it is, for containers without a shell.
//! Exit code 0 when the answer is 200, 1 otherwise.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

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
}

pub fn run(args: &Args, vars: &Vars) -> Outcome {
    let (address, path) = (reachable(config::listen(vars)?), if args.ready { "/readyz" } else { "/healthz" });
    let answer = ask(address, path).map_err(|error| format!("{address}{path}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if status == "200" { Ok(()) } else { Err(format!("{address}{path}: {status} {}", body.trim()).into()) }
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

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    // The end may be within a letter.
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
