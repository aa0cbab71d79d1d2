//! Moving home: finds the regions with data of the person, then runs one transaction over them; the
//! caller has confirmed the password. Its statements are sent together and each says what it did,
//! so a late refusal rolls all of them back (`all_or_nothing`).

use serde_json::json;
use uuid::Uuid;

use super::{
    Result, Service,
    accounts::{SessionStart, new_session},
    all_or_nothing, gated_all, residency,
};
use crate::{
    db::{
        Actor, Conn, DbError, SessionAuth, Verdict, Write,
        home::{self, LeaveCommand},
        sessions::{self, CurrentUser},
    },
    domain::{Refusal, UserRef, event::RESIDENCY_MOVE_REFUSED},
};

/// Moves the person's home to `city`, in another region only if the old one's policy allows it:
/// details, roles and redemptions move, rides and vehicles stay. All sessions end; the returned one
/// begins.
pub async fn move_home(
    service: &Service,
    auth: &SessionAuth,
    password_hash: &str,
    city: &str,
    device: &str,
) -> Result<SessionStart> {
    let catalogue = service.catalogue();
    let city = catalogue.city(city).ok_or(Refusal::Changed)?;
    let (old, target) = (&auth.user.region, &city.region);
    if target != old && !catalogue.policy(old).is_some_and(|policy| policy.allows_move_to(target)) {
        return Err(residency::refuse(service, auth, (RESIDENCY_MOVE_REFUSED, "move_to"), target).await);
    }
    let present_in = current_user(service, auth).await?.present_in;
    let session = new_session(service, device);
    let user = UserRef { region: target.clone(), id: auth.user.id };
    let present = json!(present_in);
    let (leaving, command) = (LeaveCommand { password_hash, present_in: &present }, Uuid::new_v4());
    // Inside one region they point at the right home already.
    let owned_in: Vec<_> = present_in.iter().filter(|_| target != old).collect();
    gated_all(&service.db, &service.gates, [old, target], &owned_in, async |epochs, of_owned| {
        let write = Write::new(Actor::Session(auth), auth.now, (target, command), epochs);
        let moved = async |conn: &Conn| {
            let vehicles = owned_in.iter().zip(of_owned);
            let vehicles = vehicles.map(|(r, epoch)| home::set_owner_region(conn, r, *epoch, &auth.user, target));
            let moved = home::set_home(conn, &write, &leaving, &city.slug);
            let done = together(vehicles, moved).await?;
            if done != Verdict::Done {
                return Ok(done);
            }
            sessions::start(conn, &user, write.epoch, &session.1, password_hash, auth.now).await
        };
        all_or_nothing(service, old, moved, async |conn| home::find_command(conn, &user, command).await).await
    })
    .await?;
    Ok(SessionStart::new(user, city.slug.clone(), session))
}

pub(super) async fn current_user(service: &Service, auth: &SessionAuth) -> Result<CurrentUser> {
    let conn = service.db.at(&auth.user.region).await?;
    Ok(sessions::check(&conn, auth).await?.ok_or(Refusal::SignedOut)?)
}

/// Sends the statements of one transaction together: `Done`, or the first objection; that of `home`
/// has priority.
async fn together(
    regions: impl Iterator<Item = impl Future<Output = Result<Verdict, DbError>>>,
    home: impl Future<Output = Result<Verdict, DbError>>,
) -> Result<Verdict, DbError> {
    let (home, regions) = tokio::join!(home, futures_util::future::join_all(regions));
    let (mut objection, mut failed) = (Verdict::Done, None);
    for answer in std::iter::once(home).chain(regions) {
        match answer {
            Ok(verdict) if objection == Verdict::Done => objection = verdict,
            // After the first failure the server answers the others with 25P02, which would
            // hide whether to try again.
            Err(error) if failed.is_none() || error.sqlstate() != Some("25P02") => failed = Some(error),
            _ => {}
        }
    }
    failed.map_or(Ok(objection), Err)
}
