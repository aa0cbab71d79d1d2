//! URLs that several places emit; templates write the others out.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::{JobRef, PublicVehicle, RideRef, UserRef, VehicleRef};

pub fn vehicles(city: &str) -> String {
    format!("/vehicles?city={city}")
}

pub fn vehicle(vehicle: &PublicVehicle) -> String {
    format!("/vehicles/{}/{}", vehicle.region, vehicle.public_id)
}

pub const RECOVERY_CODES: &str = "/profile/recovery-codes";

pub const GBFS_MANIFEST: &str = "/gbfs/3/manifest.json";

pub fn gbfs(city: &str, feed: &str) -> String {
    format!("/gbfs/3/{city}/{feed}.json")
}

pub fn ride(ride: &RideRef) -> String {
    format!("/rides/{}/{}", ride.region, ride.id)
}

pub fn own_vehicle(vehicle: &VehicleRef) -> String {
    format!("/my/vehicles/{}/{}", vehicle.region, vehicle.id)
}

/// What a sticker on the vehicle leads to; it names no city, which a vehicle may leave.
pub fn sticker(code: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    format!("/v/{}", utf8_percent_encode(code, KEPT))
}

pub fn fleet(city: &str) -> String {
    format!("/fleet?city={city}")
}

pub fn fleet_vehicle(vehicle: &VehicleRef) -> String {
    format!("/fleet/vehicles/{}/{}", vehicle.region, vehicle.id)
}

pub fn fleet_rides(city: &str) -> String {
    format!("/fleet/rides?city={city}")
}

pub fn fleet_ride(ride: &RideRef) -> String {
    format!("/fleet/rides/{}/{}", ride.region, ride.id)
}

pub fn tariffs(city: &str) -> String {
    format!("/fleet/tariffs?city={city}")
}

pub fn admin_city(city: &str) -> String {
    format!("/admin/cities/{city}")
}

pub fn admin_person(person: &UserRef) -> String {
    format!("/admin/people/{}/{}", person.region, person.id)
}

/// `show` is a part of the list, or empty for all of it.
pub fn jobs(city: &str, show: &str) -> String {
    with(&format!("/fleet/jobs?city={city}"), [("show", show)])
}

pub fn tasks(city: &str, show: &str) -> String {
    with(&format!("/fleet/tasks?city={city}"), [("show", show)])
}

pub fn job(job: &JobRef) -> String {
    format!("/fleet/jobs/{}/{}", job.region, job.id)
}

/// The progress of an erasure; its id is secret and names nobody.
pub fn erasure(job: &JobRef) -> String {
    format!("/erasure/{}/{}", job.region, job.id)
}

pub fn login(next: &str) -> String {
    format!("/login{}", next_query(next))
}

/// What carries the page to come back to from one form to the next.
pub fn next_query(next: &str) -> String {
    if next.is_empty() { String::new() } else { format!("?next={}", encode(next)) }
}

/// Adds to an address those parameters that are not empty.
pub fn with<'a>(url: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    given.fold(url.to_owned(), |url, (name, value)| {
        let sign = if url.contains('?') { "&" } else { "?" };
        url + sign + name + "=" + &encode(value)
    })
}

pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `next` if it is a path of our own, otherwise `fallback`: never `//host` or `/\host`.
pub fn own_path<'a>(next: &'a str, fallback: &'a str) -> &'a str {
    let own = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        // Anything else would not be a header value.
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if own { next } else { fallback }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_stays_here() {
        for bad in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "/caf\u{e9}", "javascript:x"]
        {
            assert_eq!(own_path(bad, "/"), "/", "{bad:?}");
        }
        assert_eq!(own_path("/rides?before=1", "/"), "/rides?before=1");
    }
}
