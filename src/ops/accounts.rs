//! Accounts: registering, signing in and out, profile, password, recovery codes. Hashes are
//! computed outside the write, which checks that what they were computed against has not changed.

use chrono::{DateTime, Duration, Utc};
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Done, OpError, Result, Service, all_or_nothing, gated, gated_write, gates::Gates, passwords, signed_write,
};
use crate::{
    clock::Clock,
    db::{
        Actor, Conn, Db, DbError, SessionAuth, Verdict, Write, home,
        roles::{self, Role},
        sessions::{self, NewSession},
        users::{self, Login, Profile},
    },
    domain::{Refusal, RegionCode, UserRef, people::Registration},
};

/// A session ends this long after its last use.
pub const IDLE: Duration = Duration::minutes(30);
/// A session ends this long after it began, used or not.
pub const ABSOLUTE: Duration = Duration::days(14);
/// A session that home could not store, because it is read-only, ends this long after it began.
const UNSTORED: Duration = Duration::minutes(15);
const RECOVERY_CODES: usize = 8;

#[derive(Debug, Clone)]
pub struct SessionStart {
    pub user: UserRef,
    pub session: Uuid,
    /// Never stored.
    pub token: String,
    pub city: String,
    pub expires_at: DateTime<Utc>,
    /// As in [`SessionAuth`].
    pub unstored: Option<i64>,
}

impl SessionStart {
    pub(super) fn new(user: UserRef, city: String, (token, session): (String, NewSession)) -> Self {
        Self { user, session: session.id, token, city, expires_at: session.expires_at, unstored: None }
    }
}

pub(super) fn new_session(service: &Service, device: &str) -> (String, NewSession) {
    let token = passwords::new_token();
    let token_hash = passwords::token_hash(&token);
    let expires_at = service.clock.now() + ABSOLUTE;
    (token, NewSession { id: Uuid::new_v4(), token_hash, device: device.to_owned(), expires_at })
}

/// A person with these recovery codes, signed in.
pub async fn register(service: &Service, new: Registration, codes: &[String], device: &str) -> Result<SessionStart> {
    let codes = recovery_hashes(codes);
    let id = service.ids.row("user", &new.region, None, new.id);
    let hash = service.hasher.hash(&new.password).await?;
    let session = new_session(service, device);
    let now = service.clock.now();
    gated_write(&service.db, &service.gates, &new.region, async |conn, epoch| {
        users::insert(conn, id, &new, (&hash, &codes), epoch, &session.1, now).await
    })
    .await?;
    Ok(SessionStart::new(UserRef { region: new.region, id }, new.city, session))
}

/// Finds a person by username: here first, then in the other regions side by side. Finding somebody
/// needs only their region; "nobody" needs all of them.
pub async fn find_login(service: &Service, username: &str) -> Result<Option<Login>> {
    search(service, username, true).await
}

async fn search(service: &Service, username: &str, until_found: bool) -> Result<Option<Login>> {
    let ask =
        async |region: &RegionCode| users::find_login(&service.db.at(region).await?, Some(region), username).await;
    let catalogue = service.catalogue();
    let others = catalogue.regions.iter().map(|region| &region.code).filter(|region| **region != service.here);
    let first = ask(&service.here).await;
    let mut answers = stream::iter([first]).chain(others.map(ask).collect::<FuturesUnordered<_>>());
    let mut unknown = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(Some(found)) if until_found => return Ok(Some(found)),
            Ok(_) => {}
            Err(error) => unknown = Some(error),
        }
    }
    unknown.map_or(Ok(None), |error| Err(error.into()))
}

/// The answer to a wrong password or code: the same as for an unknown name. While a region is away
/// it is that trouble instead, so nobody learns which names exist.
async fn no_match(service: &Service, username: &str) -> OpError {
    search(service, username, false).await.err().unwrap_or_else(|| Refusal::NoMatch.into())
}

/// While home is read-only the session has no row there: the cookie alone says it, for a while and for reading only. The
/// caller makes failures take the same time, whatever the reason. With `made_by` only the person whom that registration
/// form made is signed in.
pub async fn sign_in(
    service: &Service,
    username: &str,
    password: &str,
    device: &str,
    made_by: Option<Uuid>,
) -> Result<SessionStart> {
    let is_made = |login: &Login, form| login.user.id == service.ids.row("user", &login.user.region, None, form);
    let may = |login: &Login| made_by.is_none_or(|form| is_made(login, form));
    let login = find_login(service, username).await?.filter(may);
    let hash = login.as_ref().map(|login| login.password_hash.as_str());
    let matches = service.hasher.verify(password, hash).await?;
    let Some(login) = login.filter(|_| matches) else {
        return Err(no_match(service, username).await);
    };
    if login.blocked {
        return Err(Refusal::Blocked.into());
    }
    let session = new_session(service, device);
    let now = service.clock.now();
    let stored = gated_write(&service.db, &service.gates, &login.user.region, async |conn, epoch| {
        let start = sessions::start(conn, &login.user, epoch, &session.1, &login.password_hash, now);
        let prune = sessions::prune(conn, &login.user, epoch, now, now - IDLE);
        let (verdict, pruned) = tokio::join!(start, prune);
        if let Err(error) = pruned {
            tracing::warn!(%error, "old sessions were not forgotten");
        }
        verdict
    })
    .await;
    let version = login.version;
    let start = SessionStart::new(login.user, login.city, session);
    match stored {
        Ok(_) => Ok(start),
        Err(OpError::Refused(Refusal::RegionReadOnly { .. })) => {
            Ok(SessionStart { expires_at: now + UNSTORED, unstored: Some(version), ..start })
        }
        Err(error) => Err(error),
    }
}

pub async fn sign_out(service: &Service, auth: &SessionAuth) -> Result<()> {
    match end_session(service, auth, auth.session).await {
        Err(OpError::Refused(Refusal::SignedOut)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

pub async fn end_session(service: &Service, auth: &SessionAuth, session: Uuid) -> Result<Done> {
    home_write(service, auth, Uuid::new_v4(), async |conn, write| sessions::end(conn, write, session).await).await
}

pub async fn end_other_sessions(service: &Service, auth: &SessionAuth) -> Result<Done> {
    home_write(service, auth, Uuid::new_v4(), sessions::end_others).await
}

pub async fn set_profile(service: &Service, auth: &SessionAuth, names: [&str; 3]) -> Result<Done> {
    home_write(service, auth, Uuid::new_v4(), async |conn, write| users::set_profile(conn, write, names).await).await
}

/// Records that the session is in use.
pub async fn touch(service: &Service, auth: &SessionAuth) -> Result<Done> {
    home_write(service, auth, Uuid::new_v4(), sessions::touch).await
}

/// The hash that `current` was checked against, or a refusal.
pub async fn confirm_password(service: &Service, auth: &SessionAuth, current: &str) -> Result<String> {
    Ok(confirmed(service, auth, current).await?.password_hash)
}

async fn confirmed(service: &Service, auth: &SessionAuth, current: &str) -> Result<Profile> {
    let conn = service.db.at(&auth.user.region).await?;
    let (current_user, profile) = tokio::join!(sessions::check(&conn, auth), users::find_profile(&conn, &auth.user));
    let (Some(_), Some(profile)) = (current_user?, profile?) else {
        return Err(Refusal::SignedOut.into());
    };
    drop(conn);
    if !service.hasher.verify(current, Some(&profile.password_hash)).await? {
        return Err(Refusal::WrongPassword.into());
    }
    Ok(profile)
}

/// Makes a change that ends all of the person's sessions, and begins a new one for this browser: a
/// cookie that was copied before is worthless.
async fn change_and_begin(
    service: &Service,
    auth: &SessionAuth,
    device: &str,
    profile: Profile,
    change: impl AsyncFn(&Conn, &Write<'_>) -> Result<Verdict, DbError>,
) -> Result<SessionStart> {
    let (session, command) = (new_session(service, device), Uuid::new_v4());
    let user = &auth.user;
    gated(&service.db, &service.gates, [&user.region], async |[epoch]| {
        let write = Write::new(Actor::Session(auth), auth.now, (&user.region, command), [epoch, epoch]);
        let both = async |conn: &Conn| match change(conn, &write).await? {
            Verdict::Done => sessions::start(conn, user, epoch, &session.1, &profile.password_hash, auth.now).await,
            verdict => Ok(verdict),
        };
        all_or_nothing(service, &user.region, both, async |conn| home::find_command(conn, user, command).await).await
    })
    .await?;
    Ok(SessionStart::new(user.clone(), profile.city, session))
}

/// Of the person's sessions only the returned one is left.
pub async fn set_password(
    service: &Service,
    auth: &SessionAuth,
    current: &str,
    new: &str,
    device: &str,
) -> Result<SessionStart> {
    let mut profile = confirmed(service, auth, current).await?;
    let new = service.hasher.hash(new).await?;
    let old = std::mem::replace(&mut profile.password_hash, new.clone());
    let change = async |conn: &Conn, write: &Write<'_>| users::set_password(conn, write, &old, &new).await;
    change_and_begin(service, auth, device, profile, change).await
}

/// Shown once, and stored as hashes.
pub fn new_recovery_codes() -> Vec<String> {
    std::iter::repeat_with(passwords::new_recovery_code).take(RECOVERY_CODES).collect()
}

fn recovery_hashes(codes: &[String]) -> Value {
    json!(codes.iter().map(|code| passwords::recovery_hash(code)).collect::<Vec<_>>())
}

/// Replaces the recovery codes. Of the person's sessions
/// only the returned one is left.
pub async fn make_recovery_codes(
    service: &Service,
    auth: &SessionAuth,
    current: &str,
    device: &str,
) -> Result<(Vec<String>, SessionStart)> {
    let profile = confirmed(service, auth, current).await?;
    let codes = new_recovery_codes();
    let hashes = recovery_hashes(&codes);
    let change = async |conn: &Conn, write: &Write<'_>| users::set_recovery(conn, write, &hashes).await;
    Ok((codes, change_and_begin(service, auth, device, profile, change).await?))
}

/// Uses up the recovery code; all sessions end.
pub async fn recover(service: &Service, username: &str, code: &str, password: &str) -> Result<()> {
    let hash = passwords::recovery_hash(code);
    let Some(login) = find_login(service, username).await?.filter(|login| login.recovery_hashes.contains(&hash)) else {
        return Err(no_match(service, username).await);
    };
    let left = json!(login.recovery_hashes.iter().filter(|known| **known != hash).collect::<Vec<_>>());
    let new = service.hasher.hash(password).await?;
    let (command, now) = (Uuid::new_v4(), service.clock.now());
    gated_write(&service.db, &service.gates, &login.user.region, async |conn, epoch| {
        users::recover(conn, &login, epoch, &left, &new, command, now).await
    })
    .await
    .map(drop)
}

pub async fn grant(db: &Db, username: &str, role: &str, city: &str) -> Result<Done> {
    let (now, role) = (Clock::default().now(), Role { role: role.to_owned(), city: city.to_owned() });
    let login = users::find_login(&db.here().await?, None, username).await?.ok_or(Refusal::NoMatch)?;
    let UserRef { region, id } = login.user;
    gated_write(db, &Gates::default(), &region, async |conn, epoch| {
        let write = Write::new(Actor::Shell, now, (&region, Uuid::new_v4()), [0, epoch]);
        roles::set(conn, &write, id, &role, true).await
    })
    .await
}

/// A person's write about themselves, as `command`.
pub(super) async fn home_write(
    service: &Service,
    auth: &SessionAuth,
    command: Uuid,
    op: impl AsyncFn(&Conn, &Write<'_>) -> Result<Verdict, DbError>,
) -> Result<Done> {
    signed_write(service, auth, (&auth.user.region, command), op).await
}
