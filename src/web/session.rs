//! The session cookie: authenticated, without personal data. It names session and person by
//! (region, id) and copies home city, regions, roles, ride, reservation and times, so that pages
//! can be rendered while the database is away. The row at home is the truth.

use std::borrow::Cow;

use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time};
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::site::Site;
use crate::{
    db::{
        sessions::{CurrentUser, Reservation},
        verdict::SessionAuth,
    },
    domain::{RegionCode, RideRef, Roles, UserRef},
    ops::{
        accounts::{IDLE, SessionStart},
        passwords,
    },
};

pub const COPY_COUNTS: Duration = Duration::minutes(5);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionCookie {
    pub region: RegionCode,
    pub user: Uuid,
    pub session: Uuid,
    pub token: String,
    pub city: String,
    pub present_in: Vec<RegionCode>,
    pub roles: Roles,
    #[serde(default)]
    pub open_ride: Option<RideRef>,
    #[serde(default)]
    pub reservation: Option<Reservation>,
    pub checked_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// As in [`SessionAuth`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unstored: Option<i64>,
}

impl SessionCookie {
    /// For a new session, whose copied values are not known yet.
    pub fn new(started: SessionStart, now: DateTime<Utc>) -> Self {
        Self {
            region: started.user.region,
            user: started.user.id,
            session: started.session,
            token: started.token,
            city: started.city,
            present_in: Vec::new(),
            roles: Roles::default(),
            open_ride: None,
            reservation: None,
            checked_at: now - COPY_COUNTS,
            expires_at: started.expires_at,
            unstored: started.unstored,
        }
    }

    pub fn auth(&self, now: DateTime<Utc>) -> SessionAuth {
        SessionAuth {
            user: UserRef { region: self.region.clone(), id: self.user },
            session: self.session,
            token_hash: passwords::token_hash(&self.token),
            now,
            idle_since: now - IDLE,
            unstored: self.unstored,
        }
    }

    /// After ride or reservation may have changed: the next page asks home.
    pub fn outdated(self, now: DateTime<Utc>) -> Self {
        Self { open_ride: None, reservation: None, checked_at: now - COPY_COUNTS, ..self }
    }

    /// Renewed from the row, if it differs or is a minute old.
    pub fn renewed(&self, current_user: &CurrentUser, now: DateTime<Utc>) -> Option<Self> {
        let renewed = Self {
            city: current_user.city.clone(),
            roles: current_user.roles.clone(),
            present_in: current_user.present_in.clone(),
            open_ride: current_user.open_ride.clone(),
            reservation: current_user.reservation.clone(),
            ..self.clone()
        };
        let fresh = now - self.checked_at < Duration::seconds(60);
        (renewed != *self || !fresh).then_some(Self { checked_at: now, ..renewed })
    }
}

/// Over TLS `__Host-` binds a cookie to this host; plain http cannot set that.
fn name(site: &Site, base: &str) -> String {
    if site.https { format!("__Host-{base}") } else { base.to_owned() }
}

pub const SESSION: &str = "movr_session";
pub const FLASH: &str = "movr_flash";
pub const CODES: &str = "movr_codes";
const DEVICE: &str = "movr_device";
pub const CITY: &str = "movr_city";
pub const ABROAD: &str = "movr_abroad";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flash {
    pub good: bool,
    pub text: String,
    /// The vehicle for which a promo code was refused, and the code as typed.
    #[serde(default)]
    pub promo: Option<(Uuid, String)>,
}

fn open<T: for<'de> Deserialize<'de>>(site: &Site, cookies: &[Cookie<'static>], base: &str) -> Option<T> {
    let name = name(site, base);
    let cookie = cookies.iter().find(|cookie| cookie.name() == name)?;
    let mut jar = CookieJar::new();
    jar.add_original(cookie.clone());
    let value = site.keys.iter().find_map(|key| jar.signed(key).get(&name))?;
    let sealed: SealedValue<'_, T> = serde_json::from_str(value.value()).ok()?;
    (sealed.purpose == base).then_some(sealed.value)
}

/// What is signed says its purpose: the signature covers the value, not the cookie's name.
#[derive(Serialize, Deserialize)]
struct SealedValue<'a, T> {
    #[serde(rename = "for")]
    purpose: Cow<'a, str>,
    #[serde(flatten)]
    value: T,
}

fn seal<T: Serialize>(site: &Site, base: &str, value: &T, age: Option<time::Duration>) -> Cookie<'static> {
    let text = serde_json::to_string(&SealedValue { purpose: base.into(), value }).unwrap_or_default();
    let mut cookie = plain(site, base, text);
    cookie.set_max_age(age);
    let mut jar = CookieJar::new();
    let key = site.keys.first().cloned().unwrap_or_else(Key::generate);
    jar.signed_mut(&key).add(cookie);
    jar.delta().next().cloned().unwrap_or_else(|| plain(site, base, String::new()))
}

/// Recovery codes on their way to the page that shows them, and where that page leads.
#[derive(Serialize, Deserialize)]
pub struct NewCodes {
    pub user: Uuid,
    pub codes: Vec<String>,
    pub next: String,
}

/// Encrypted, as nothing else is: whoever reads this cookie could take over the account.
pub fn write_codes(site: &Site, codes: &NewCodes) -> Cookie<'static> {
    let mut cookie = plain(site, CODES, serde_json::to_string(codes).unwrap_or_default());
    cookie.set_max_age(time::Duration::minutes(5));
    let mut jar = CookieJar::new();
    let key = site.keys.first().cloned().unwrap_or_else(Key::generate);
    jar.private_mut(&key).add(cookie);
    jar.delta().next().cloned().unwrap_or_else(|| forget(site, CODES))
}

pub fn read_codes(site: &Site, cookies: &[Cookie<'static>]) -> Option<NewCodes> {
    let name = name(site, CODES);
    let mut jar = CookieJar::new();
    jar.add_original(cookies.iter().find(|cookie| cookie.name() == name)?.clone());
    let value = site.keys.iter().find_map(|key| jar.private(key).get(&name))?;
    serde_json::from_str(value.value()).ok()
}

fn plain(site: &Site, base: &str, value: String) -> Cookie<'static> {
    Cookie::build(name(site, base), value)
        .path("/")
        .http_only(true)
        .secure(site.https)
        .same_site(SameSite::Lax)
        .finish()
}

pub fn forget(site: &Site, base: &str) -> Cookie<'static> {
    let mut cookie = plain(site, base, String::new());
    cookie.make_removal();
    cookie
}

/// None if it is not ours or has expired.
pub fn read(site: &Site, cookies: &[Cookie<'static>], now: DateTime<Utc>) -> Option<SessionCookie> {
    open::<SessionCookie>(site, cookies, SESSION).filter(|cookie| cookie.expires_at > now)
}

pub fn write(site: &Site, cookie: &SessionCookie) -> Cookie<'static> {
    let seconds = (cookie.expires_at - cookie.checked_at).num_seconds();
    seal(site, SESSION, cookie, Some(time::Duration::seconds(seconds)))
}

pub fn read_flash(site: &Site, cookies: &[Cookie<'static>]) -> Option<Flash> {
    open(site, cookies, FLASH)
}

pub fn write_flash(site: &Site, flash: &Flash) -> Cookie<'static> {
    seal(site, FLASH, flash, Some(time::Duration::minutes(5)))
}

/// A browser that has signed in to an account: a random id, and a hash of it with the account, so
/// that the cookie names nobody.
#[derive(Serialize, Deserialize)]
struct Device(String, String);

#[derive(Default, Serialize, Deserialize)]
struct Devices {
    known: Vec<Device>,
}

/// As many accounts as a household's browser serves.
const DEVICES: usize = 4;

impl Device {
    fn new(account: &str) -> Self {
        let id = passwords::new_token();
        Self(id.clone(), passwords::token_hash(&(id + account)))
    }

    fn knows(&self, account: &str) -> bool {
        passwords::token_hash(&format!("{}{account}", self.0)) == self.1
    }
}

fn devices(site: &Site, cookies: &[Cookie<'static>]) -> Vec<Device> {
    open::<Devices>(site, cookies, DEVICE).unwrap_or_default().known
}

/// The id of this browser for an account that it has signed in to before.
pub fn read_device(site: &Site, cookies: &[Cookie<'static>], account: &str) -> Option<String> {
    devices(site, cookies).into_iter().find(|device| device.knows(account)).map(|Device(id, _)| id)
}

/// Remembers for a year that this browser has signed in to an account; none if it does already.
pub fn write_device(site: &Site, cookies: &[Cookie<'static>], account: &str) -> Option<Cookie<'static>> {
    let mut devices = devices(site, cookies);
    if devices.iter().any(|device| device.knows(account)) {
        return None;
    }
    devices.insert(0, Device::new(account));
    devices.truncate(DEVICES);
    Some(seal(site, DEVICE, &Devices { known: devices }, Some(time::Duration::days(365))))
}

/// Unchecked.
pub fn read_choice(site: &Site, cookies: &[Cookie<'static>], base: &str) -> Option<String> {
    let name = name(site, base);
    cookies.iter().find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}

pub fn write_choice(site: &Site, base: &str, choice: &str) -> Cookie<'static> {
    let mut cookie = plain(site, base, choice.to_owned());
    cookie.set_max_age(time::Duration::days(365));
    cookie
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::config::Config;

    fn site(keys: &[u8]) -> Site {
        let keys: Vec<_> = keys.iter().map(|byte| STANDARD.encode([*byte; 64])).collect();
        let vars = HashMap::from([
            ("MOVR_REGION", "us-east1".to_owned()),
            ("DATABASE_URL", "postgresql://a@b/c".to_owned()),
            ("MOVR_PUBLIC_URL", "https://movr.example".to_owned()),
            ("MOVR_SECRET_KEYS", keys.join(",")),
        ]);
        Site::new(&Config::from_vars(vars).unwrap())
    }

    #[test]
    fn a_cookie_counts_only_under_our_keys_old_or_new() {
        let flash = Flash { good: true, text: "hello".to_owned(), promo: None };
        let cookie = write_flash(&site(&[1]), &flash);
        assert!(cookie.name().starts_with("__Host-"));
        assert!(cookie.secure().unwrap() && cookie.http_only().unwrap());
        let sent = [Cookie::new(cookie.name().to_owned(), cookie.value().to_owned())];
        assert!(read_flash(&site(&[2, 1]), &sent).is_some(), "rotated");
        assert!(read_flash(&site(&[2]), &sent).is_none(), "another key");
        // A value of one cookie is none of another, whatever it looks like.
        let other = seal(&site(&[1]), SESSION, &flash, None);
        assert!(read_flash(&site(&[1]), &[Cookie::new(cookie.name().to_owned(), other.value().to_owned())]).is_none());
        let forged = [Cookie::new(cookie.name().to_owned(), cookie.value().replace("hello", "jello"))];
        assert!(read_flash(&site(&[1]), &forged).is_none(), "forged");
    }
}
