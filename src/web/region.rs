//! Where the client is: from the headers of a trusted proxy, then the user's earlier choice, then
//! the region's first city. Without the database.

use parking_lot::Mutex;
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, http::header::HeaderMap};
use ipnet::IpNet;

use crate::{
    config::Proxy,
    domain::{Catalogue, City, Point},
    web::state::State,
};

/// The peer's address, or what trusted proxies say.
pub fn client_address(request: &HttpRequest, state: &State) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let Some(proxy) = trusted_proxy(request.peer_addr(), state) else { return Some(peer) };
    let client = forwarded(proxy, request.headers()).unwrap_or_else(|Unreadable| {
        unreadable(peer, &proxy.address_header);
        None
    });
    Some(client.unwrap_or(peer))
}

/// What we know of proxies, when the peer is one of ours: nobody else's headers are believed.
pub fn trusted_proxy(peer: Option<SocketAddr>, state: &State) -> Option<&Proxy> {
    Some(&state.service.config.proxy).filter(|proxy| peer.is_some_and(|peer| proxy.trusts(peer.ip())))
}

/// The header holds something that is no address.
pub struct Unreadable;

/// The client's address in the headers of a trusted proxy; none where all addresses are ours.
pub fn forwarded(proxy: &Proxy, headers: &HeaderMap) -> Result<Option<IpAddr>, Unreadable> {
    // Each proxy appends the address it saw; the last one that is not ours is the client.
    // What stands before something that is no address was written by anybody.
    let listed = headers.get_all(&proxy.address_header).map(|value| value.to_str().unwrap_or("?"));
    let listed: Vec<&str> = listed.flat_map(|value| value.split(',')).collect();
    let forwarded = proxy.address_header.eq_ignore_ascii_case("forwarded");
    for part in listed.into_iter().rev().filter(|part| !part.trim().is_empty()) {
        let found = if forwarded { forwarded_for(part).and_then(address) } else { address(part) };
        let found = found.ok_or(Unreadable)?;
        if !proxy.trusts(found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// One proxy's entry in a `Forwarded` header (RFC 7239).
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value)
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// Warns, once a minute, that everybody behind a proxy counts as one client.
fn unreadable(proxy: IpAddr, header: &str) {
    static WARNED: Mutex<Option<Instant>> = Mutex::new(None);
    let mut warned = WARNED.lock();
    if warned.is_none_or(|at| at.elapsed() >= Duration::from_mins(1)) {
        *warned = Some(Instant::now());
        tracing::warn!(%proxy, header, "a trusted proxy's header names no address: its clients count as one");
    }
}

/// The network of an address, by the length of its prefix in IPv4 and in IPv6.
fn prefix(address: IpAddr, v4: u8, v6: u8) -> Option<IpNet> {
    let address = address.to_canonical();
    IpNet::new(address, if address.is_ipv4() { v4 } else { v6 }).map(|network| network.trunc()).ok()
}

/// For logs.
pub fn network(address: IpAddr) -> String {
    prefix(address, 24, 48).map_or_else(String::new, |network| network.to_string())
}

/// What one subscriber has: an address of IPv4, 64 bits of IPv6.
pub fn subscriber(address: IpAddr) -> Option<IpNet> {
    prefix(address, 32, 64)
}

/// About what one provider has.
pub fn provider(address: IpAddr) -> Option<IpNet> {
    prefix(address, 16, 32)
}

pub fn city_of_proxy<'a>(request: &HttpRequest, state: &State, catalogue: &'a Catalogue) -> Option<&'a City> {
    named_city(trusted_proxy(request.peer_addr(), state)?, request.headers(), catalogue)
}

/// By the headers of a trusted proxy: the city of that name, else the nearest.
pub fn named_city<'a>(proxy: &Proxy, headers: &HeaderMap, catalogue: &'a Catalogue) -> Option<&'a City> {
    let header = |name: &Option<String>| {
        let value = headers.get(name.as_deref()?)?;
        // `to_str` knows ASCII only; names have other letters.
        std::str::from_utf8(value.as_bytes()).ok()
    };
    let named = header(&proxy.city_header).filter(|name| !name.trim().is_empty());
    named.and_then(|name| catalogue.city_by_name(name)).or_else(|| {
        let (lat, lon) = header(&proxy.coordinates_header)?.split_once(',')?;
        let point = Point::new(lat.trim().parse().ok()?, lon.trim().parse().ok()?).ok()?;
        catalogue.nearest_city(point)
    })
}

/// For the list of sessions: no version, no fingerprint.
pub fn device(request: &HttpRequest) -> String {
    let agent = request.headers().get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or("");
    let first =
        |known: &[(&str, &'static str)]| known.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    let browser = first(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Unknown browser".to_owned(),
    }
}
