//! Moving home, erasing an account, exporting one's data. Each asks first which regions
//! keep something of the person; moving and erasing are then one transaction over them,
//! all or nothing, and the password has been confirmed by the caller. The surprise: the
//! statements of a transaction are sent together and each says what it did, so a
//! refusal that comes after changes rolls them back (`all_or_nothing`).

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    OpError,
    accounts::{ABSOLUTE, Started},
    all_or_nothing, gated, passwords, residency,
};
use crate::{
    app::App,
    db::{
        error::DbError,
        home::{self, Leaving, PAGE, Page},
        sessions::{self, NewSession},
        statement::Conn,
        verdict::{Signed, Verdict},
    },
    domain::{people::UserRef, refusal::Refusal, region::RegionCode},
};

/// Moves the person's home to `city`, also into another region if the policy of the old
/// one allows it: details, roles and redemptions go along, rides and vehicles stay. All
/// sessions end; the returned one begins.
pub async fn move_home(
    app: &App,
    signed: &Signed,
    password_hash: &str,
    city: &str,
    device: &str,
) -> Result<Started, OpError> {
    let catalogue = app.catalogue();
    let city = catalogue.city(city).ok_or(Refusal::Changed)?;
    let (old, target) = (&signed.user.region, &city.region);
    if target != old && !catalogue.policy(old).is_some_and(|policy| policy.allows_move_to(target)) {
        return Err(residency::refuse(app, signed, ("residency.move_refused", "move_to"), target).await);
    }
    let present_in = present_in(app, signed).await?;
    let token = passwords::new_token();
    let session = NewSession {
        id: Uuid::new_v4(),
        token_hash: passwords::token_hash(&token),
        device: device.to_owned(),
        expires_at: signed.now + ABSOLUTE,
    };
    let user = UserRef { region: target.clone(), id: signed.user.id };
    let kept = json!(present_in);
    let leaving = Leaving { password_hash, present_in: &kept, command: Uuid::new_v4() };
    // Inside one region they point at the right home already.
    let owned_in = if target == old { &[] } else { present_in.as_slice() };
    let regions: Vec<_> = [old, target].into_iter().chain(owned_in).collect();
    gated(&app.db, &app.gates, &regions, async |epochs| {
        let [epoch, epoch_there, of_owned @ ..] = epochs else {
            return Ok(Verdict::Gate);
        };
        let signed = Signed { epoch: *epoch, ..signed.clone() };
        let moved = async |conn: &Conn| {
            let vehicles = owned_in.iter().zip(of_owned);
            let vehicles = vehicles.map(|(r, epoch)| home::set_owner_region(conn, r, *epoch, &signed.user, target));
            let moved = home::set_home(conn, &signed, &leaving, (target, &city.slug), *epoch_there);
            let done = together(vehicles, moved).await?;
            if done != Verdict::Done {
                return Ok(done);
            }
            sessions::start(conn, &user, *epoch_there, &session, password_hash, signed.now).await
        };
        all_or_nothing(app, old, moved, async |conn| home::find_command(conn, &user, leaving.command).await).await
    })
    .await?;
    Ok(Started { user, session: session.id, token, city: city.slug.clone(), expires_at: session.expires_at })
}

/// Erases the person: account, sessions, roles, positions. Their rides stay without a
/// rider, the vehicles that they retired without an owner; other vehicles are a refusal.
pub async fn erase(app: &App, signed: &Signed, password_hash: &str) -> Result<(), OpError> {
    let present_in = present_in(app, signed).await?;
    let kept = json!(present_in);
    let leaving = Leaving { password_hash, present_in: &kept, command: Uuid::new_v4() };
    let user = &signed.user;
    let regions: Vec<_> = std::iter::once(&user.region).chain(&present_in).collect();
    gated(&app.db, &app.gates, &regions, async |epochs| {
        let Some((epoch, of_regions)) = epochs.split_first() else {
            return Ok(Verdict::Gate);
        };
        let signed = Signed { epoch: *epoch, ..signed.clone() };
        let erased = async |conn: &Conn| {
            let regions = present_in.iter().zip(of_regions);
            let regions = regions.map(|(region, epoch)| home::erase_region(conn, region, *epoch, user));
            together(regions, home::erase(conn, &signed, &leaving)).await
        };
        all_or_nothing(app, &user.region, erased, async |conn| home::find_command(conn, user, leaving.command).await)
            .await
    })
    .await
    .map(drop)
}

/// The regions that keep rides or vehicles of the person, if the session is good.
async fn present_in(app: &App, signed: &Signed) -> Result<Vec<RegionCode>, OpError> {
    let conn = app.db.at(&signed.user.region).await?;
    Ok(sessions::check(&conn, signed).await?.ok_or(Refusal::SignedOut)?.present_in)
}

/// Statements of one transaction, sent in one go: `Done`, or what the first of them
/// objected to; `home` speaks first.
async fn together(
    regions: impl Iterator<Item = impl Future<Output = Result<Verdict, DbError>>>,
    home: impl Future<Output = Result<Verdict, DbError>>,
) -> Result<Verdict, DbError> {
    let (home, regions) = tokio::join!(home, futures_util::future::join_all(regions));
    let verdicts = all_answers(std::iter::once(home).chain(regions))?;
    Ok(verdicts.into_iter().find(|verdict| *verdict != Verdict::Done).unwrap_or(Verdict::Done))
}

/// The answers to statements of one transaction, or why it failed. After the first
/// failure the server answers the others with 25P02, which would hide whether to try again.
fn all_answers<T>(answers: impl IntoIterator<Item = Result<T, DbError>>) -> Result<Vec<T>, DbError> {
    let (mut good, mut failed) = (Vec::new(), None);
    for answer in answers {
        match answer {
            Ok(value) => good.push(value),
            Err(error) if failed.is_none() || error.sqlstate() != Some("25P02") => failed = Some(error),
            Err(_) => {}
        }
    }
    failed.map_or(Ok(good), Err)
}

/// Everything about the person, as JSON: each region asked at its own gateway, home last.
/// Refused whole when one of them does not answer.
pub async fn export(app: &App, signed: &Signed) -> Result<Value, OpError> {
    let home = &signed.user.region;
    let mut missing = present_in(app, signed).await?;
    let mut regions = BTreeMap::new();
    loop {
        let abroad = missing.iter().filter(|region| *region != home);
        let asked = abroad.map(async |region| {
            let answer = app.db.txn(region, async |conn| held_in(conn, region, signed).await, async |_| Ok(None));
            Ok::<_, DbError>((region.clone(), answer.await?))
        });
        regions.extend(futures_util::future::try_join_all(asked).await?);
        let answer = app.db.txn(home, async |conn| held_at_home(conn, signed).await, async |_| Ok(None)).await?;
        let (person, present_in, here) = answer.ok_or(Refusal::SignedOut)?;
        regions.insert(home.clone(), here);
        // A region may have come since, and former homes keep the events of that time.
        let former = regions.values().flat_map(former_homes);
        missing = present_in.into_iter().chain(former).filter(|region| !regions.contains_key(region)).collect();
        missing.sort();
        missing.dedup();
        if missing.is_empty() {
            let exported_at = app.clock.now().to_rfc3339_opts(SecondsFormat::Micros, true);
            let regions: Map<_, _> = regions.into_iter().map(|(region, held)| (region.into(), held)).collect();
            return Ok(json!({ "exported_at": exported_at, "person": person, "regions": regions }));
        }
    }
}

/// The regions from which the person moved, as far as the events in `held` tell.
fn former_homes(held: &Value) -> Vec<RegionCode> {
    let events = held.get("events_about_you").and_then(Value::as_array);
    let moved = events.into_iter().flatten().filter(|event| event.get("action") == Some(&json!("user.home_moved")));
    moved.filter_map(|event| event.pointer("/metadata/from")?.as_str()?.parse().ok()).collect()
}

type AtHome = (Value, Vec<RegionCode>, Value);

async fn held_at_home(conn: &Conn, signed: &Signed) -> Result<Option<AtHome>, DbError> {
    if sessions::check(conn, signed).await?.is_none() {
        return Ok(None);
    }
    let Some((person, present_in)) = home::find_person(conn, &signed.user).await? else {
        return Ok(None);
    };
    Ok(Some((person, present_in, held_in(conn, &signed.user.region, signed).await?)))
}

async fn held_in(conn: &Conn, region: &RegionCode, signed: &Signed) -> Result<Value, DbError> {
    let id = signed.user.id;
    let (rides, vehicles, about, by) = tokio::join!(
        rides(conn, region, signed),
        all_pages(Uuid::nil(), async |behind| home::list_vehicles(conn, region, &signed.user, behind).await),
        all_pages(0, async |behind| home::list_events_about(conn, region, id, behind).await),
        all_pages((String::new(), Uuid::nil(), 0), async |behind| {
            home::list_events_by(conn, region, id, behind).await
        }),
    );
    let keys = ["rides", "vehicles", "events_about_you", "events_by_you"];
    let lists = all_answers([rides, vehicles, about, by])?;
    Ok(keys.into_iter().zip(lists).map(|(key, list)| (key.to_owned(), Value::from(list))).collect())
}

/// The person's rides in `region`, each with its positions.
async fn rides(conn: &Conn, region: &RegionCode, signed: &Signed) -> Result<Vec<Value>, DbError> {
    // A day of tolerance for rides begun by an instance whose clock is ahead.
    let mut behind = (signed.now + Duration::days(1), Uuid::nil());
    let mut found = Vec::new();
    loop {
        let rides = home::list_rides(conn, region, &signed.user, behind).await?;
        let ids: Vec<Uuid> = rides.iter().map(|((_, id), _)| *id).collect();
        let Some(last) = rides.last().map(|(key, _)| *key) else {
            return Ok(found);
        };
        let mut ways = positions(conn, region, &ids).await?;
        let full = rides.len() == PAGE;
        found.extend(rides.into_iter().map(|((_, id), mut ride)| {
            if let Some(ride) = ride.as_object_mut() {
                ride.insert("positions".to_owned(), ways.remove(&id).unwrap_or_default().into());
            }
            ride
        }));
        if !full {
            return Ok(found);
        }
        behind = last;
    }
}

async fn positions(conn: &Conn, region: &RegionCode, rides: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<Value>>, DbError> {
    let mut ways = BTreeMap::<_, Vec<_>>::new();
    let mut behind = (Uuid::nil(), DateTime::<Utc>::UNIX_EPOCH);
    loop {
        let rows = home::list_positions(conn, region, rides, behind).await?;
        let full = rows.len() == PAGE;
        for (key, position) in rows {
            behind = key;
            ways.entry(key.0).or_default().push(position);
        }
        if !full {
            return Ok(ways);
        }
    }
}

/// Asks for pages until one is not full.
async fn all_pages<K: Clone>(mut behind: K, page: impl AsyncFn(K) -> Page<K>) -> Result<Vec<Value>, DbError> {
    let mut found = Vec::new();
    loop {
        let rows = page(behind.clone()).await?;
        let full = rows.len() == PAGE;
        for (key, item) in rows {
            behind = key;
            found.push(item);
        }
        if !full {
            return Ok(found);
        }
    }
}
