//! Closing a region while people write: what was under way is in the old epoch or was
//! refused, nothing of the old epoch becomes visible after *fenced*, an instance that
//! has not heard of it cannot write; and the bounds of a write that the fence waits for.
//! And `movr operator region-state`, which prints when the fence holds.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use movr::{
    db::{
        error::DbErrorKind,
        gates::{Change, Plan},
        sessions,
        statement::{Reach, Statement},
        txn::Outcome,
        verdict::{Actor, Verdict, Write},
    },
    domain::{
        refusal::Refusal,
        region::{GateState, RegionCode},
    },
    ops::{self, Done, OpError},
};
use reqwest::StatusCode;
use tokio_postgres::Client;
use uuid::Uuid;

use super::races::{Arena, NEW_YORK};
use crate::support::{
    World,
    app::Instance,
    crowd::{bikes, count, crowd, street},
    html::Page,
    process::{CommandOutput, movr},
    world,
};

fn home() -> RegionCode {
    "us-east1".parse().unwrap()
}

/// Changes the gate of us-east1 through one instance.
async fn change(instance: &Instance, writable: bool) {
    let reason = (!writable).then(|| "moving house".to_owned());
    let state = if writable { GateState::Writable } else { GateState::ReadOnly };
    let change = Change { region: home(), state, epoch: None, reason, until: None, plan: Plan::default() };
    let service = &instance.running.state.service;
    assert_eq!(ops::gates::change(&service.db, &change, &service.here, None).await.unwrap(), Done::Now);
}

async fn epochs(sql: &Client, action: &str) -> Vec<i64> {
    let text = "SELECT DISTINCT epoch FROM events WHERE action = $1 ORDER BY epoch";
    sql.query(text, &[&action]).await.unwrap().iter().map(|row| row.try_get(0).unwrap()).collect()
}

/// One form: what it was for, when it was sent and answered, and whether it was done.
struct Try {
    start: bool,
    sent: Instant,
    answered: Instant,
    done: bool,
}

const ENDS_LATER: &str = "Your ride cannot end just now. Until it can, time is not charged.";

/// Done, or refused with the region's message; nothing else.
fn done(arena: &Arena, page: &Page) -> bool {
    let message = "The region US East (South Carolina) is read-only (moving house). Nothing was changed";
    if page.status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(page.text().contains(message), "{}", page.text());
        return false;
    }
    let redirect = arena.redirect(page);
    assert!(redirect.good || redirect.text.starts_with(message) || redirect.text == ENDS_LATER, "{redirect:?}");
    redirect.good
}

/// Rides the `n`th vehicle until somebody is told that the region is closed, and then tries
/// to start once more.
async fn ride_on(arena: &Arena, n: usize) -> Vec<Try> {
    let mut tries = Vec::new();
    loop {
        let (bike, ride) = (&arena.bikes().await[n], Uuid::new_v4());
        for start in [true, false] {
            let sent = Instant::now();
            let page = if start {
                arena.browser(n).start(bike, ride, "").await
            } else {
                arena.browser(n).end(&format!("/rides/us-east1/{}", arena.riders[n].ride(ride))).await
            };
            let done = done(arena, &page);
            tries.push(Try { start, sent, answered: Instant::now(), done });
            if !done {
                let sent = Instant::now();
                let again = self::done(arena, &arena.browser(n).start(bike, Uuid::new_v4(), "").await);
                tries.push(Try { start: true, sent, answered: Instant::now(), done: again });
                return tries;
            }
        }
    }
}

#[actix_web::test]
async fn of_sixteen_writers_each_is_before_the_change_or_refused() {
    let arena = Arena::new(16, 16).await;
    let closing = async {
        arena.world.until("SELECT least(count(*), 64) FROM events WHERE action = 'ride.ended'", 64).await;
        change(&arena.instances[0], false).await;
    };
    let (tries, ()) = tokio::join!(join_all((0..16).map(|n| ride_on(&arena, n))), closing);
    let tries: Vec<Try> = tries.into_iter().flatten().collect();
    let first_refusal = tries.iter().filter(|one| !one.done).map(|one| one.answered).min().unwrap();
    for one in tries.iter().filter(|one| one.done) {
        assert!(one.sent < first_refusal, "sent after somebody was refused, and done");
    }
    let of = |start| i64::try_from(tries.iter().filter(|one| one.start == start && one.done).count()).unwrap();
    assert_eq!(tries.iter().filter(|one| !one.done).count(), 32, "everybody was told, twice");
    let rides = [
        arena.count("SELECT count(*) FROM rides").await,
        arena.count("SELECT count(*) FROM rides WHERE ended_at IS NOT NULL").await,
    ];
    assert_eq!(rides, [of(true), of(false)], "what was answered is what is stored");
    assert_eq!([arena.events("ride.started").await, arena.events("ride.ended").await], rides, "one event each");
    for action in ["ride.started", "ride.ended"] {
        assert_eq!(epochs(&arena.sql, action).await, [1]);
    }
    assert_eq!((arena.events("region.closed").await, epochs(&arena.sql, "region.closed").await), (1, vec![2]));

    // Open again, everybody goes on, under the epoch that the opening gave.
    change(&arena.instances[1], true).await;
    for n in 0..16 {
        let text = "SELECT open_ride_id FROM users WHERE id = $1";
        let row = arena.sql.query_one(text, &[&arena.riders[n].auth.user.id]).await.unwrap();
        let page = match row.try_get::<_, Option<Uuid>>(0).unwrap() {
            Some(ride) => arena.browser(n).end(&format!("/rides/us-east1/{ride}")).await,
            None => arena.browser(n).start(&arena.bikes().await[n], Uuid::new_v4(), "").await,
        };
        assert!(done(&arena, &page));
    }
    let after = "SELECT count(*) FROM events WHERE action IN ('ride.started', 'ride.ended') AND epoch = 3";
    assert_eq!(arena.count(after).await, 16);
    arena.end().await;
}

/// One instance whose writes take at most a second, so that a fence is soon there.
async fn brief() -> (World, Instance) {
    let world = world().await;
    street(&world, &[NEW_YORK], 1).await;
    let instance = world.instance_with("us-east1", &[("MOVR_WRITE_TIMEOUT_MS", "1000")]).await;
    (world, instance)
}

#[actix_web::test]
async fn a_write_held_on_a_lock_does_not_appear_after_the_fence() {
    let (world, instance) = brief().await;
    let locks = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'cluster_locks'";
    if instance.running.state.service.db.engine().cockroach && world.count(locks).await == 0 {
        eprintln!("SKIPPED a_write_held_on_a_lock_does_not_appear_after_the_fence: needs v22.2 (cluster_locks)");
        instance.running.stop().await;
        return world.end().await;
    }
    let (rider, service) = (crowd(&instance, 1).await.remove(0), &instance.running.state.service);
    let (holder, sql) = (world.sql().await, world.sql().await);
    let bike = bikes(&sql, NEW_YORK).await.remove(0);
    // Not changed, but locked: whoever waits goes on when the lock is given back.
    holder.batch_execute("BEGIN").await.unwrap();
    holder.execute("UPDATE vehicles SET brand = brand WHERE id = $1", &[&bike.id]).await.unwrap();
    let waiting = if service.db.engine().cockroach {
        "SELECT least(count(*), 1) FROM crdb_internal.cluster_locks WHERE NOT granted"
    } else {
        "SELECT least(count(*), 1) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    };
    let closing = async {
        world.until(waiting, 1).await;
        let closed = Instant::now();
        change(&instance, false).await;
        let at = ops::gates::wait_until_fenced(&service.db, &home()).await.unwrap().unwrap();
        let waited = closed.elapsed();
        let now: DateTime<Utc> = sql.query_one("SELECT clock_timestamp()", &[]).await.unwrap().try_get(0).unwrap();
        let before = world.rows().await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        world.until(waiting, 0).await;
        (before, waited, at, now)
    };
    let (page, (before, waited, at, now)) = tokio::join!(rider.browser.start(&bike, Uuid::new_v4(), ""), closing);
    // The start's reply was lost with it, so the person is told to look.
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text());
    assert_eq!(world.rows().await, before, "nothing became visible");
    assert_eq!(count(&sql, "SELECT count(*) FROM rides").await, 0);
    assert!(waited >= service.db.longest_write(), "fenced after {waited:?}");
    assert!(now >= at, "said at {now} to be fenced at {at}");
    instance.running.stop().await;
    drop((holder, sql));
    world.end().await;
}

const PAUSE: Statement = Statement::read("test.pause", Reach::Global, "SELECT pg_sleep(0.6)");

#[actix_web::test]
async fn a_transaction_commits_within_a_write_timeout_or_not_at_all() {
    let (world, instance) = brief().await;
    let (db, began) = (&instance.running.state.service.db, Instant::now());
    let pauses = async |conn: &movr::db::statement::Conn| {
        for _ in 0..3 {
            conn.rows(&PAUSE, &[]).await?;
        }
        Ok(Outcome::Commit(()))
    };
    let error = db.txn(&home(), pauses, async |_| Ok(None)).await.unwrap_err();
    assert_eq!((error.kind, error.statement), (DbErrorKind::Timeout, "transaction"));
    assert!(began.elapsed() < Duration::from_millis(1600), "{:?}", began.elapsed());

    // What we have lost, the server ends: nothing is heard for longer than a write timeout.
    let silence = async |conn: &movr::db::statement::Conn| {
        conn.rows(&PAUSE, &[]).await?;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        Ok(Outcome::Commit(()))
    };
    let error = db.txn_within(Duration::from_secs(9), &home(), silence, async |_| Ok(None)).await.unwrap_err();
    assert!(matches!(error.kind, DbErrorKind::Ambiguous | DbErrorKind::Unavailable), "{error}");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_instance_with_an_old_epoch_cannot_write() {
    let arena = Arena::new(2, 2).await;
    let (first, second) = (&arena.instances[0], &arena.instances[1].running.state.service);
    // The second instance knows epoch 1, and does not hear of what happens at the first.
    assert_eq!(second.gates.get(&second.db, &home()).await.unwrap().epoch, 1);
    change(first, false).await;
    change(first, true).await;
    let (auth, region) = (&arena.riders[0].auth, home());
    let end = async |epoch| {
        let write = Write::new(Actor::Session(auth), auth.now, (&region, Uuid::new_v4()), [epoch, epoch]);
        second
            .db
            .write_with_retry(&region, async |conn| sessions::end(conn, &write, Uuid::new_v4()).await)
            .await
            .unwrap()
    };
    for epoch in [1, 2, 4] {
        assert_eq!(end(epoch).await, Verdict::Gate, "epoch {epoch}");
    }
    assert_eq!(end(3).await, Verdict::Done);
    assert_eq!(second.gates.get(&second.db, &home()).await.unwrap().epoch, 1, "still not heard of it");
    assert!(arena.redirect(&arena.browser(1).start(&arena.bikes().await[0], Uuid::new_v4(), "").await).good);
    assert_eq!(epochs(&arena.sql, "ride.started").await, [3], "it goes on under the new epoch");
    assert_eq!(second.gates.get(&second.db, &home()).await.unwrap().epoch, 3);

    change(first, false).await;
    let before = arena.world.rows().await;
    let rider = &arena.riders[1].browser.at(&arena.instances[1]);
    assert!(!done(&arena, &rider.start(&arena.bikes().await[1], Uuid::new_v4(), "").await));
    assert_eq!(arena.world.rows().await, before);
    change(first, true).await;
    arena.end().await;
}

#[actix_web::test]
async fn of_changes_at_once_one_is_made_of_the_epoch_that_all_saw() {
    let arena = Arena::new(1, 1).await;
    let change = |n: usize| Change {
        region: home(),
        state: GateState::ReadOnly,
        epoch: Some(1),
        reason: Some(format!("reason {n}")),
        until: None,
        plan: Plan::default(),
    };
    let change = async |n: usize| {
        let service = &arena.instances[n % 2].running.state.service;
        ops::gates::change(&service.db, &change(n), &service.here, None).await
    };
    let answers = join_all((0..8).map(change)).await;
    let won: Vec<_> = answers.iter().filter(|answer| matches!(answer, Ok(Done::Now))).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.is_err()) {
        let Err(OpError::Refused(refusal)) = answer else { panic!("{answer:?}") };
        assert_eq!(*refusal, Refusal::GateChanged { region: home(), state: GateState::ReadOnly, epoch: 2 });
    }
    let events = "SELECT count(*) FROM events WHERE aggregate_type = 'region' AND version = 2 AND epoch = 2
        AND region = 'us-east1' AND metadata->>'epoch' = '2' AND metadata->>'state' = 'read_only'
        AND metadata->>'reason' = (SELECT reason FROM region_gates WHERE region = 'us-east1')";
    assert_eq!((arena.count(events).await, arena.events("region.closed").await), (1, 1));
    arena.end().await;
}

/// `movr operator region-state`, with write timeouts of two seconds, for a busy machine: a fence takes 8.5 s.
async fn region_state(world: &World, args: &[&str]) -> CommandOutput {
    let env = [("DATABASE_URL", world.database.url.as_str()), ("MOVR_WRITE_TIMEOUT_MS", "2000")];
    movr(&[&["operator", "region-state"], args].concat(), &env).await
}

#[actix_web::test]
async fn the_command_closes_waits_for_the_fence_and_opens() {
    let world = world().await;
    let refused = async |args: &[&str], words: &str| {
        let before = world.rows().await;
        let ended = region_state(&world, args).await;
        assert!(ended.code != Some(0) && ended.err.contains(words), "{ended:?}");
        assert_eq!(world.rows().await, before, "{args:?}");
    };
    refused(&["mars-north1", "read-only"], "there is no region mars-north1").await;
    refused(&["us-east1", "closed"], "read-only").await;
    refused(&["us-east1", "read-only", "--until", "2020-01-01T00:00:00Z"], "has passed").await;
    refused(&["us-east1", "read-only", "--reason", &"x".repeat(121)], "120 characters").await;
    refused(&["us-east1", "writable", "--reason", "x"], "no --reason").await;
    refused(&["us-east1", "read-only", "--epoch", "2"], "it is open now, at epoch 1").await;

    let close = ["us-east1", "read-only", "--epoch", "1", "--reason", "new disks", "--until", "2999-01-01T10:00:00Z"];
    let ended = region_state(&world, &close).await;
    let now: DateTime<Utc> =
        world.sql().await.query_one("SELECT clock_timestamp()", &[]).await.unwrap().try_get(0).unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (first, fenced) = ended.out.trim_end().split_once('\n').unwrap();
    assert_eq!(first, "us-east1 is read-only, epoch 2");
    let fenced: DateTime<Utc> = fenced.strip_prefix("fenced at ").unwrap().parse().unwrap();
    assert!(fenced <= now, "{now}: {}", ended.out);
    let sql = world.sql().await;
    let changed: DateTime<Utc> = sql
        .query_one("SELECT changed_at FROM region_gates WHERE region = 'us-east1'", &[])
        .await
        .unwrap()
        .try_get(0)
        .unwrap();
    assert!((fenced - changed).num_milliseconds() >= 8500, "closed at {changed}, fenced at {fenced}");
    let events = "SELECT count(*) FROM events WHERE action = 'region.closed' AND region = 'us-east1'
        AND actor_id IS NULL AND metadata->>'reason' = 'new disks' AND metadata->>'until' LIKE '2999-01-01T10:00:00%'";
    assert_eq!(world.count(events).await, 1);

    let before = world.rows().await;
    let again = region_state(&world, &close).await;
    assert!(again.code == Some(0) && again.out.starts_with("us-east1 was already read-only, epoch 2\nfenced at "));
    assert_eq!(world.rows().await, before, "nothing twice");
    refused(&["us-east1", "writable", "--epoch", "1"], "it is closed now, at epoch 2").await;
    let longer = region_state(&world, &["us-east1", "read-only", "--reason", "more disks", "--no-wait"]).await;
    assert!(longer.out.starts_with("us-east1 is read-only, epoch 3\nfenced not before "), "{longer:?}");
    let open = region_state(&world, &["us-east1", "writable", "--epoch", "3"]).await;
    assert_eq!((open.code, open.out.as_str()), (Some(0), "us-east1 is writable, epoch 4\n"));
    let gate = "SELECT count(*) FROM region_gates WHERE region = 'us-east1' AND reason IS NULL AND until_at IS NULL";
    assert_eq!(world.count(gate).await, 1);
    drop(sql);
    world.end().await;
}
