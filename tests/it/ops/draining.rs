//! A region that drains begins nothing and lets everything end; a planned closing comes by itself; time in which no ride
//! could end is not charged; and people at home in a closed region sign in to read.

use chrono::{DateTime, Duration, Utc};
use movr::{
    db::gates::{Change, Plan},
    domain::{
        refusal::Refusal,
        region::{GateState, RegionCode},
    },
    ops::{self, Service, verify},
};
use reqwest::StatusCode;
use uuid::Uuid;

use super::{
    jobs,
    races::{Arena, NEW_YORK},
};
use crate::support::{
    app::PASSWORD,
    crowd::{END, bikes, count, redirect, street},
    world,
};

async fn set(service: &Service, region: &str, state: GateState, plan: Plan) {
    let region: RegionCode = region.parse().unwrap();
    let reason = (state != GateState::Writable || plan != Plan::default()).then(|| "new disks".to_owned());
    let change = Change { region: region.clone(), state, epoch: None, reason, until: None, plan };
    ops::gates::change(&service.db, &change, &service.here, None).await.unwrap();
    service.gates.reload(&service.db.at(&region).await.unwrap(), &region).await.unwrap();
}

#[actix_web::test]
async fn a_draining_region_begins_nothing_and_lets_everything_end() {
    let arena = Arena::new(3, 4).await;
    let (ann, bob, cat) = (arena.browser(0), arena.browser(1), arena.browser(2));
    let service = &arena.instances[0].running.state.service;
    let paris = arena.instances[0].person("paris").await;
    for city in [NEW_YORK, "paris"] {
        ops::accounts::grant(&service.db, &cat.name, "operator", city).await.unwrap();
    }
    let (here, there) = (arena.bikes().await, bikes(&arena.sql, "paris").await);
    let ride = arena.redirect(&ann.start(&here[0], Uuid::new_v4(), "").await).location;
    assert!(arena.redirect(&bob.reserve(&here[1]).await).good);
    let job = jobs::ask(&cat, NEW_YORK, "transfer", &[("to_city", "paris")]).await;
    assert_eq!(ann.get("/vehicles").await.texts(".paused"), [] as [String; 0]);
    set(service, "us-east1", GateState::Draining, Plan::default()).await;

    // The other instance has heard of nothing; and the region of the vehicle counts as that of the person.
    let before = arena.world.rows().await;
    let message = "The region US East (South Carolina) is draining (new disks), so nothing new can start there. Nothing was changed";
    let registration = [
        ("id", &*Uuid::new_v4().to_string()),
        ("city", "boston"),
        ("first_name", "Pat"),
        ("last_name", "Roe"),
        ("email", "pat@example.com"),
        ("username", "newcomer"),
        ("password", PASSWORD),
    ];
    for page in [
        cat.start(&here[2], Uuid::new_v4(), "").await,
        paris.start(&here[2], Uuid::new_v4(), "").await,
        cat.start(&there[0], Uuid::new_v4(), "").await,
        cat.reserve(&here[2]).await,
        cat.reserve(&there[0]).await,
        cat.post(&format!("{job}/confirm"), &[]).await,
    ] {
        let refused = arena.redirect(&page);
        assert!(!refused.good && refused.text.starts_with(message), "{refused:?}");
    }
    let home = paris.post("/profile/home", &[("city", NEW_YORK), ("password", PASSWORD)]).await;
    assert!(home.text().contains(message), "{}", home.text());
    let page = arena.instances[1].browser().post("/register", &registration).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text().contains(message), "{}", page.text());
    assert_eq!((page.field("first_name"), page.field("username")), ("Pat".to_owned(), "newcomer".to_owned()));
    assert_eq!(arena.world.rows().await, before, "nothing began");
    let page = cat.get("/vehicles").await;
    let notice = "New York will soon be paused for new disks. No new rides can start; please end yours.";
    assert_eq!(page.texts(".paused"), [notice]);
    assert!(page.attributes("button[disabled]", "aria-label").contains(&"Ride 1".to_owned()), "{}", page.body);

    assert!(arena.redirect(&ann.end(&ride).await).good);
    assert!(arena.redirect(&bob.post("/reservation/cancel", &here[1].cancel()).await).good);
    assert!(arena.redirect(&cat.post(&format!("{job}/cancel"), &[]).await).good);
    let again = arena.instances[1].browser();
    again.sign_in(&bob.name, PASSWORD).await;
    let profile = [("first_name", "Bo"), ("last_name", "Roe"), ("email", "bo@example.com")];
    assert!(arena.redirect(&again.post("/profile", &profile).await).good, "an ordinary session");
    assert!(arena.redirect(&again.post("/profile/home", &[("city", "boston"), ("password", PASSWORD)]).await).good);
    set(service, "us-east1", GateState::Writable, Plan::default()).await;
    assert!(arena.redirect(&cat.start(&here[2], Uuid::new_v4(), "").await).good);
    assert_eq!(arena.count("SELECT count(*) FROM region_closures").await, 0, "it was never closed");
    arena.end().await;
}

#[actix_web::test]
async fn a_planned_closing_comes_by_itself_once() {
    let world = world().await;
    let (one, other) = (world.service("us-east1").await, world.service("us-east1").await);
    let minutes = |n| Some(world.clock.now() + Duration::minutes(n));
    let state = async |service: &Service| {
        ops::gates::keep_plan(service).await.unwrap();
        let gate = ops::gates::find(&service.db, &service.here).await.unwrap();
        (gate.state, gate.epoch)
    };
    let plan = Plan { drain_at: minutes(10), close_at: minutes(20) };
    set(&one, "us-east1", GateState::Writable, plan).await;
    other.gates.reload(&other.db.here().await.unwrap(), &other.here).await.unwrap();
    assert_eq!(state(&one).await, (GateState::Writable, 2));
    world.clock.advance(Duration::minutes(10));
    assert_eq!(state(&one).await, (GateState::Draining, 3));
    assert_eq!(state(&other).await, (GateState::Draining, 3), "another instance has heard of nothing");
    world.clock.advance(Duration::minutes(10));
    assert_eq!(state(&other).await, (GateState::ReadOnly, 4));
    assert_eq!(state(&one).await, (GateState::ReadOnly, 4));
    let sql = world.sql().await;
    for action in ["region.closing_planned", "region.draining", "region.closed"] {
        let events = format!("SELECT count(*) FROM events WHERE action = '{action}' AND actor_id IS NULL");
        assert_eq!(count(&sql, &events).await, 1, "{action}");
    }
    let kept =
        "SELECT count(*) FROM region_gates WHERE region = 'us-east1' AND reason = 'new disks' AND close_at IS NULL
        AND closed_at IS NOT NULL";
    assert_eq!(count(&sql, kept).await, 1);

    // A plan that was taken back meanwhile.
    set(&one, "us-east1", GateState::Writable, Plan { drain_at: None, close_at: minutes(5) }).await;
    assert_eq!(count(&sql, "SELECT count(*) FROM region_closures WHERE closed_at < opened_at").await, 1);
    set(&other, "us-east1", GateState::Writable, Plan::default()).await;
    world.clock.advance(Duration::minutes(6));
    assert_eq!(state(&one).await, (GateState::Writable, 6));
    drop(sql);
    one.db.close();
    other.db.close();
    world.end().await;
}

#[actix_web::test]
async fn time_in_which_a_ride_could_not_end_is_not_charged() {
    let world = world().await;
    street(&world, &[NEW_YORK], 4).await;
    let east = world.instance("us-east1").await;
    let service = &east.running.state.service;
    let local = async || east.person(NEW_YORK).await;
    let riders = [east.person("paris").await, local().await, local().await, local().await];
    let operator = local().await;
    ops::accounts::grant(&service.db, &operator.name, "operator", NEW_YORK).await.unwrap();
    let sql = world.sql().await;
    let mut rides = Vec::new();
    for (rider, bike) in riders.iter().zip(&bikes(&sql, NEW_YORK).await) {
        rides.push(redirect(&east, &rider.start(bike, Uuid::new_v4(), "").await).location);
    }
    world.set("UPDATE rides SET started_at = (SELECT min(started_at) FROM rides)").await;
    world.set("UPDATE sessions SET seen_at = now() + '1 day'::INTERVAL").await;
    world.clock.advance(Duration::minutes(30));
    // Seconds of half an hour, to which clocks that differ add what is before and after. New York was closed for 120.25 of
    // its beginning and from 300 to 900, Paris from 600 to 1200, for a minute later and at its end.
    for (region, closed, opened) in [
        ("us-east1", -600.0, -300.0),
        ("us-east1", -180.0, 120.25),
        ("us-east1", 300.0, 900.0),
        ("europe-west1", 600.0, 1200.0),
        ("europe-west1", 1500.0, 1560.0),
        ("europe-west1", 1680.0, 2100.0),
        ("us-west1", 60.0, 1740.0),
        ("us-east1", 2400.0, 3000.0),
    ] {
        let insert = format!(
            "INSERT INTO region_closures (region, epoch, closed_at, opened_at) SELECT '{region}', 1000 + {opened}::INT8,
               min(started_at) + {closed} * '1 s'::INTERVAL, min(started_at) + {opened} * '1 s'::INTERVAL FROM rides"
        );
        world.set(&insert).await;
    }
    for region in ["us-east1", "europe-west1"] {
        let region = region.parse().unwrap();
        service.gates.reload(&service.db.at(&region).await.unwrap(), &region).await.unwrap();
    }
    let uncharged = async |n: usize| {
        let id = rides[n].rsplit_once('/').unwrap().1;
        let seconds = count(&sql, &format!("SELECT uncharged_s FROM rides WHERE id = '{id}'")).await;
        let words = format!("{} min while rides could not end not charged", (seconds + 59) / 60);
        let receipt = riders[n].get(&rides[n]).await.texts(".receipt").concat();
        assert!(receipt.contains(&words), "{words}: {receipt}");
        seconds
    };
    // Until the closing in which the first ride ends, 599.75 s of it are left.
    for (n, left) in [(0, 599), (1, 1079)] {
        let elapsed: i64 =
            riders[n].get(&rides[n]).await.attributes("[data-timer]", "data-elapsed")[0].parse().unwrap();
        assert!((-1..60).contains(&(elapsed - left)), "{elapsed}");
        assert!(redirect(&east, &riders[n].end(&rides[n]).await).good);
    }
    let first = "SELECT minutes FROM rides WHERE rider_region = 'europe-west1'";
    assert_eq!((count(&sql, first).await, uncharged(1).await), (10, 721));
    let left = "SELECT (extract(epoch FROM ended_at - started_at))::INT8 - uncharged_s FROM rides
        WHERE rider_region = 'europe-west1'";
    assert!((598..=600).contains(&count(&sql, left).await));
    let forced = [&END[..], &[("reason", "left_running")]].concat();
    assert!(redirect(&east, &operator.post(&format!("/fleet{}/end", rides[2]), &forced).await).good);
    assert_eq!(uncharged(2).await, 721);
    world.clock.advance(Duration::hours(24));
    assert_eq!(ops::rides::end_overdue(service).await.unwrap(), 1);
    world.set("UPDATE sessions SET seen_at = now() + '2 days'::INTERVAL").await;
    assert_eq!(uncharged(3).await, 1321);

    let regions: Vec<_> = service.catalogue().regions.iter().map(|region| region.code.clone()).collect();
    let check = async || verify::run(&service.db, &regions, world.clock.now()).await.unwrap();
    assert_eq!(check().await, []);
    let stored = count(&sql, "SELECT uncharged_s FROM rides WHERE rider_region = 'europe-west1'").await;
    for (wrong, found) in [(720, 1), (721, 0), (30 * 60, 0), (31 * 60, 1), (stored, 0)] {
        world.set(&format!("UPDATE rides SET uncharged_s = {wrong} WHERE rider_region = 'europe-west1'")).await;
        assert_eq!(check().await.iter().filter(|of| of.check == "uncharged").count(), found, "{wrong}");
    }
    drop(sql);
    east.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_closing_and_opening_is_remembered_and_a_longer_reason_is_not_another_one() {
    let world = world().await;
    let service = world.service("us-east1").await;
    let sql = world.sql().await;
    let time = async |text: &str| -> DateTime<Utc> { sql.query_one(text, &[]).await.unwrap().try_get(0).unwrap() };
    set(&service, "us-east1", GateState::ReadOnly, Plan::default()).await;
    let closed = time("SELECT changed_at FROM region_gates WHERE region = 'us-east1'").await;
    let region = "us-east1".parse().unwrap();
    let longer =
        Change { region, state: GateState::ReadOnly, epoch: None, reason: None, until: None, plan: Plan::default() };
    ops::gates::change(&service.db, &longer, &service.here, None).await.unwrap();
    let gate = ops::gates::find(&service.db, &service.here).await.unwrap();
    assert_eq!(gate.closures, [(closed, gate.read_at)], "the one under way");
    // Rides can end from then on.
    set(&service, "us-east1", GateState::Draining, Plan::default()).await;
    let opened = time("SELECT changed_at FROM region_gates WHERE region = 'us-east1'").await;
    set(&service, "us-east1", GateState::Writable, Plan::default()).await;
    let gate = ops::gates::find(&service.db, &service.here).await.unwrap();
    assert_eq!(gate.closures, [(closed, opened)]);
    drop(sql);
    service.db.close();
    world.end().await;
}

#[actix_web::test]
async fn people_at_home_in_a_closed_region_sign_in_to_read() {
    let world = world().await;
    street(&world, &[NEW_YORK, "paris"], 2).await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let service = &east.running.state.service;
    let name = east.person(NEW_YORK).await.name;
    let sql = world.sql().await;
    let (here, there) = (bikes(&sql, NEW_YORK).await, bikes(&sql, "paris").await);
    set(service, "us-east1", GateState::ReadOnly, Plan::default()).await;
    let before = world.rows().await;

    let wrong = east.browser().sign_in(&name, "a wrong guess").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    world.set("UPDATE users SET blocked_at = now()").await;
    let blocked = east.browser().sign_in(&name, PASSWORD).await;
    assert!(blocked.text().contains(&Refusal::Blocked.message()), "{}", blocked.text());
    world.set("UPDATE users SET blocked_at = NULL").await;
    for instance in [&east, &europe] {
        let ann = instance.browser();
        let welcome = redirect(instance, &ann.sign_in(&name, PASSWORD).await);
        assert!(welcome.good && welcome.text.starts_with("You can look around"), "{welcome:?}");
        for path in ["/", "/vehicles", "/rides", "/profile", "/profile/export", "/my/vehicles", "/riders"] {
            assert_eq!(ann.get(path).await.status, StatusCode::OK, "{path}");
        }
        let notice = "New York is paused for new disks. If you are riding, this time is not charged.";
        assert_eq!(ann.get("/profile").await.texts(".paused"), [notice]);
        let message = "The region US East (South Carolina) is read-only (new disks). Nothing was changed";
        let profile = [("first_name", "Bo"), ("last_name", "Roe"), ("email", "bo@example.com")];
        for page in [
            ann.post("/profile", &profile).await,
            ann.start(&here[0], Uuid::new_v4(), "").await,
            ann.start(&there[0], Uuid::new_v4(), "").await,
        ] {
            assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(page.text().contains(message), "{}", page.text());
        }
    }
    assert_eq!(world.rows().await, before, "no session, nothing");

    // It ends after a while, with the closing, and with what it was signed for.
    let ann = east.browser();
    ann.sign_in(&name, PASSWORD).await;
    world.clock.advance(Duration::minutes(14));
    assert_eq!(ann.get("/profile").await.status, StatusCode::OK);
    world.clock.advance(Duration::minutes(2));
    assert_eq!(ann.get("/profile").await.location(), "/login?next=%2Fprofile");
    let ann = east.replaying(&east.browser().sign_in(&name, PASSWORD).await.session_cookie());
    world.set("UPDATE users SET version = version + 1").await;
    assert_eq!(ann.get("/profile").await.location(), "/login?next=%2Fprofile");
    world.set("UPDATE users SET version = version - 1").await;
    assert_eq!(ann.get("/profile").await.status, StatusCode::OK);
    set(service, "us-east1", GateState::Writable, Plan::default()).await;
    let ended = ann.post("/profile", &[("first_name", "Bo")]).await;
    assert!(ended.location().starts_with("/login"), "{}", ended.location());
    assert_eq!(ann.get("/rides").await.location(), "/login?next=%2Frides");
    drop(sql);
    east.running.stop().await;
    europe.running.stop().await;
    world.end().await;
}
