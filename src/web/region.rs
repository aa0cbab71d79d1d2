//! Where the client is: from the headers of a trusted proxy only, then from what the
//! visitor chose before, then the region's first city. Nothing here asks the database.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;

use crate::{
    app::App,
    domain::{
        catalogue::{Catalogue, City},
        geo::Point,
    },
};

/// The address of the client: the peer's, or what trusted proxies say of it.
#[must_use]
pub fn client_address(request: &HttpRequest, app: &App) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let proxy = &app.config.proxy;
    if !proxy.trusts(peer) {
        return Some(peer);
    }
    // Each proxy appends the address it saw; the last one that is not ours is the client.
    // What stands before something that is no address was written by anybody.
    let listed = request.headers().get_all(&proxy.address_header).filter_map(|value| value.to_str().ok());
    let listed: Vec<&str> = listed.flat_map(|value| value.split(',')).collect();
    for part in listed.into_iter().rev() {
        match address(part.trim()) {
            None => return Some(peer),
            Some(address) if !proxy.trusts(address) => return Some(address),
            Some(_) => {}
        }
    }
    Some(peer)
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// The part of an address that one subscriber has: all of IPv4, 64 bits of IPv6.
#[must_use]
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}

/// The city that a trusted proxy's headers name, if any.
#[must_use]
pub fn city_of_headers<'a>(request: &HttpRequest, app: &App, catalogue: &'a Catalogue) -> Option<&'a City> {
    let proxy = &app.config.proxy;
    if !proxy.trusts(request.peer_addr()?.ip()) {
        return None;
    }
    let header = |name: &Option<String>| {
        let value = request.headers().get(name.as_deref()?)?;
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

/// A browser and system by name, for the list of sessions: no version, no fingerprint.
#[must_use]
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
