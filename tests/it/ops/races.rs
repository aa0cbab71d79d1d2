//! Races over real connections: two instances of one region with pools large enough
//! that everybody is at the database at once. A race has exactly the winners it may
//! have, the others are told exactly why, nobody sees an error page, the rows agree
//! afterwards. And the rules that races lean on: form ids, promo codes, lapsing
//! reservations, sessions.

use chrono::Duration;
use futures_util::future::join_all;
use movr::domain::refusal::Refusal;
use reqwest::StatusCode;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    app::{Instance, PASSWORD},
    crowd::{Bike, END, Redirect, Rider, bikes, count, crowd, redirect, street},
    html::Page,
    world,
};

const ROUNDS: usize = 50;
pub const NEW_YORK: &str = "new-york";

/// Two instances, people, vehicles in New York (and as many in Paris).
pub struct Arena {
    pub world: World,
    pub instances: [Instance; 2],
    pub riders: Vec<Rider>,
    pub sql: Client,
}

impl Arena {
    pub async fn new(riders: usize, vehicles: usize) -> Self {
        let world = world().await;
        street(&world, &[NEW_YORK, "paris"], vehicles).await;
        let pool = [("MOVR_POOL_SIZE", "24")];
        let instances = [world.instance_with("us-east1", &pool).await, world.instance_with("us-east1", &pool).await];
        let riders = crowd(&instances[0], riders).await;
        let sql = world.sql().await;
        // Looking takes no part in the races of those who write.
        sql.batch_execute("SET default_transaction_isolation = 'read committed'").await.unwrap();
        Self { world, instances, riders, sql }
    }

    /// The `n`th browser: riders in turn, each at both instances.
    pub fn browser(&self, n: usize) -> Browser {
        self.riders[n % self.riders.len()].browser.at(&self.instances[n % 2])
    }

    pub async fn bikes(&self) -> Vec<Bike> {
        bikes(&self.sql, NEW_YORK).await
    }

    pub fn redirect(&self, page: &Page) -> Redirect {
        redirect(&self.instances[0], page)
    }

    /// All at once; everybody gets a redirect.
    pub async fn race(&self, tries: impl IntoIterator<Item = impl Future<Output = Page>>) -> Vec<Redirect> {
        join_all(tries).await.iter().map(|page| self.redirect(page)).collect()
    }

    pub async fn count(&self, text: &str) -> i64 {
        count(&self.sql, text).await
    }

    pub async fn events(&self, action: &str) -> i64 {
        self.count(&format!("SELECT count(*) FROM events WHERE action = '{action}'")).await
    }

    pub async fn end(self) {
        drop(self.sql);
        for instance in self.instances {
            instance.running.stop().await;
        }
        self.world.end().await;
    }
}

/// The one winner; all others were told exactly `refusal` and are back at the list.
fn one_winner(redirects: &[Redirect], refusal: &Refusal) -> usize {
    let winners: Vec<_> = redirects.iter().enumerate().filter(|(_, one)| one.good).collect();
    assert_eq!(winners.len(), 1, "{redirects:#?}");
    let lost = Redirect { good: false, text: refusal.message(), location: format!("/vehicles?city={NEW_YORK}") };
    for other in redirects.iter().filter(|one| !one.good) {
        assert_eq!(*other, lost);
    }
    winners[0].0
}

/// `riders` people and `vehicles` vehicles, one of which is one: 32 try to start.
async fn start_races(riders: usize, vehicles: usize, refusal: Refusal) {
    let arena = Arena::new(riders, vehicles).await;
    for round in 1..=ROUNDS {
        let bikes = arena.bikes().await;
        let forms: Vec<_> = (0..32).map(|_| Uuid::new_v4()).collect();
        let try_it = async |n: usize| arena.browser(n).start(&bikes[n % vehicles], forms[n], "").await;
        let redirects = arena.race((0..32).map(try_it)).await;
        let winner = one_winner(&redirects, &refusal);
        let rider = &arena.riders[winner % riders];
        let (ride, rider) = (rider.ride(forms[winner]), rider.auth.user.id);
        assert_eq!(redirects[winner].location, format!("/rides/us-east1/{ride}"));
        let open = "SELECT r.id, r.rider_id, v.id FROM rides r
            JOIN vehicles v ON v.open_ride_id = r.id AND v.id = r.vehicle_id AND v.status = 'in_use'
            JOIN users u ON u.open_ride_id = r.id AND u.id = r.rider_id WHERE r.ended_at IS NULL";
        let open = arena.sql.query(open, &[]).await.unwrap();
        let open: Vec<[Uuid; 3]> = open.iter().map(|row| [0, 1, 2].map(|n| row.try_get(n).unwrap())).collect();
        assert_eq!(open, [[ride, rider, bikes[winner % vehicles].id]], "round {round}");
        let taken = "SELECT (SELECT count(*) FROM vehicles WHERE status = 'in_use')
            + (SELECT count(*) FROM users WHERE open_ride_id IS NOT NULL)";
        assert_eq!(arena.count(taken).await, 2, "round {round}: one vehicle, one rider");
        let ended = arena.browser(winner).end(&redirects[winner].location).await;
        assert!(arena.redirect(&ended).good);
    }
    let rounds = i64::try_from(ROUNDS).unwrap();
    assert_eq!(arena.count("SELECT count(*) FROM rides").await, rounds);
    assert_eq!((arena.events("ride.started").await, arena.events("ride.ended").await), (rounds, rounds));
    arena.end().await;
}

#[actix_web::test]
async fn of_32_riders_at_one_vehicle_one_rides() {
    start_races(32, 1, Refusal::VehicleTaken).await;
}

#[actix_web::test]
async fn one_rider_at_32_vehicles_rides_one() {
    start_races(1, 32, Refusal::AlreadyRiding).await;
}

async fn reserve_races(riders: usize, vehicles: usize, refusal: Refusal) {
    let arena = Arena::new(riders, vehicles).await;
    for round in 1..=ROUNDS {
        // As if it were another day: how often one may reserve is shown elsewhere.
        arena.sql.execute("UPDATE users SET reservations = 0", &[]).await.unwrap();
        let bikes = arena.bikes().await;
        let try_it = async |n: usize| arena.browser(n).reserve(&bikes[n % vehicles]).await;
        let winner = one_winner(&arena.race((0..32).map(try_it)).await, &refusal);
        let held = "SELECT v.id, u.id FROM vehicles v FULL JOIN users u ON u.reserved_public_id = v.public_id
              AND u.id = v.reserved_by AND u.reserved_until = v.reserved_until
            WHERE v.reserved_by IS NOT NULL OR u.reserved_public_id IS NOT NULL";
        let held = arena.sql.query(held, &[]).await.unwrap();
        let held: Vec<[Option<Uuid>; 2]> = held.iter().map(|row| [0, 1].map(|n| row.try_get(n).unwrap())).collect();
        let bike = &bikes[winner % vehicles];
        let rider = arena.riders[winner % riders].auth.user.id;
        assert_eq!(held, [[Some(bike.id), Some(rider)]], "round {round}");
        let cancelled = arena.browser(winner).post("/reservation/cancel", &bike.cancel()).await;
        assert!(arena.redirect(&cancelled).good);
    }
    let rounds = i64::try_from(ROUNDS).unwrap();
    assert_eq!(arena.events("vehicle.reserved").await, rounds);
    assert_eq!(arena.events("vehicle.reservation_cancelled").await, rounds);
    arena.end().await;
}

#[actix_web::test]
async fn of_32_riders_at_one_vehicle_one_reserves() {
    reserve_races(32, 1, Refusal::VehicleReserved).await;
}

#[actix_web::test]
async fn one_rider_at_32_vehicles_reserves_one() {
    reserve_races(1, 32, Refusal::AlreadyReserved).await;
}

#[actix_web::test]
async fn reserving_against_starting_has_one_winner() {
    let arena = Arena::new(16, 1).await;
    for round in 1..=ROUNDS {
        let bike = &arena.bikes().await[0];
        let try_it = async |n: usize| {
            let browser = arena.browser(n);
            // Who is first in line changes from round to round.
            if (n + round).is_multiple_of(2) {
                browser.reserve(bike).await
            } else {
                browser.start(bike, Uuid::new_v4(), "").await
            }
        };
        let redirects = arena.race((0..16).map(try_it)).await;
        let rides = redirects.iter().find(|one| one.good).is_some_and(|one| one.location.starts_with("/rides/"));
        let refusal = if rides { Refusal::VehicleTaken } else { Refusal::VehicleReserved };
        let winner = one_winner(&redirects, &refusal);
        let undone = if rides {
            arena.browser(winner).end(&redirects[winner].location).await
        } else {
            arena.browser(winner).post("/reservation/cancel", &bike.cancel()).await
        };
        assert!(arena.redirect(&undone).good);
    }
    let won = arena.events("ride.started").await + arena.events("vehicle.reserved").await;
    assert_eq!(won, i64::try_from(ROUNDS).unwrap());
    arena.end().await;
}

#[actix_web::test]
async fn a_ride_ended_many_times_at_once_ends_once() {
    let arena = Arena::new(1, 1).await;
    for round in 1..=ROUNDS {
        let bike = &arena.bikes().await[0];
        let ride = arena.redirect(&arena.browser(0).start(bike, Uuid::new_v4(), "").await).location;
        let try_it = async |n: usize| {
            let place = format!("Corner {n}");
            let fields = [END[0], ("place", &place), END[2], END[3]];
            arena.browser(n).post(&format!("{ride}/end"), &fields).await
        };
        for redirect in arena.race((0..8).map(try_it)).await {
            assert_eq!((redirect.good, &redirect.location), (true, &ride), "everybody sees the receipt: {redirect:?}");
        }
        let right = "SELECT count(*) FROM rides r JOIN vehicles v ON v.id = r.vehicle_id AND v.place = r.end_place
            WHERE r.id = $1 AND r.version = 2 AND r.total_minor = r.unlock_minor + r.per_minute_minor";
        let right = right.replace("$1", &format!("'{}'", ride.rsplit('/').next().unwrap()));
        assert_eq!(arena.count(&right).await, 1, "one end, one fare, one place");
        assert_eq!(arena.events("ride.ended").await, i64::try_from(round).unwrap());
    }
    arena.end().await;
}

#[actix_web::test]
async fn those_who_only_look_at_a_busy_street_get_their_pages() {
    let arena = Arena::new(16, 8).await;
    let riding = std::cell::Cell::new(16);
    let ride = async |n: usize| {
        for round in 0..20 {
            // Neighbours want the same vehicle now and then.
            let (bike, ride) = (&arena.bikes().await[(n + round * (n % 3)) % 8], Uuid::new_v4());
            let started = arena.redirect(&arena.browser(n).start(bike, ride, "").await);
            if started.good {
                assert!(arena.redirect(&arena.browser(n).end(&started.location).await).good);
            }
        }
        riding.set(riding.get() - 1);
    };
    let look = async |n: usize| {
        while riding.get() > 0 {
            for path in ["/vehicles?city=new-york", "/profile", "/rides"] {
                let page = arena.browser(n).get(path).await;
                assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text());
            }
        }
    };
    tokio::join!(join_all((0..16).map(ride)), join_all((0..8).map(look)));
    arena.end().await;
}

#[actix_web::test]
async fn sixty_four_starts_with_a_promo_code_for_ten_are_ten_rides() {
    let arena = Arena::new(64, 64).await;
    let quota = "UPDATE promo_quotas SET granted = 10, remaining = 10 WHERE region = 'us-east1' AND code = 'WELCOME'";
    arena.sql.execute(quota, &[]).await.unwrap();
    let bikes = arena.bikes().await;
    let try_it = async |n: usize| arena.browser(n).start(&bikes[n], Uuid::new_v4(), "WELCOME").await;
    let redirects = arena.race((0..64).map(try_it)).await;
    let (good, lost): (Vec<_>, Vec<_>) = redirects.iter().partition(|one| one.good);
    assert_eq!((good.len(), lost.len()), (10, 54));
    assert!(lost.iter().all(|one| one.text == Refusal::PromoExhausted.message()), "{lost:#?}");
    let rows = "SELECT (SELECT count(*) FROM rides WHERE promo_code = 'WELCOME') * 1000000
          + (SELECT count(*) FROM promo_redemptions) * 10000 + (SELECT count(*) FROM rides) * 100
          + (SELECT remaining FROM promo_quotas WHERE region = 'us-east1' AND code = 'WELCOME')";
    assert_eq!(arena.count(rows).await, 10_101_000, "ten rides, ten redemptions, no other ride, nothing left");
    assert_eq!(arena.count("SELECT count(*) FROM users WHERE open_ride_id IS NOT NULL").await, 10);
    arena.end().await;
}

#[actix_web::test]
async fn nobody_uses_a_promo_code_more_often_than_it_allows() {
    let arena = Arena::new(1, 1).await;
    for (code, limit) in [("WELCOME", 1), ("CITY2", 3)] {
        for time in 0..=limit {
            let started =
                arena.redirect(&arena.browser(time).start(&arena.bikes().await[0], Uuid::new_v4(), code).await);
            if time < limit {
                assert!(started.good, "{code} {time}: {started:?}");
                assert!(arena.redirect(&arena.browser(0).end(&started.location).await).good);
            } else {
                assert_eq!((started.good, started.text), (false, Refusal::PromoUsed.message()), "{code}");
            }
        }
    }
    assert_eq!(arena.count("SELECT count(*) FROM rides").await, 4);
    arena.end().await;
}

#[actix_web::test]
async fn a_form_of_one_rider_starts_nothing_for_another() {
    let arena = Arena::new(2, 2).await;
    for _ in 0..10 {
        let (bikes, form) = (arena.bikes().await, Uuid::new_v4());
        let try_it = async |n: usize| arena.browser(n).start(&bikes[n % 2], form, "").await;
        // Both click twice.
        let redirects = arena.race((0..4).map(try_it)).await;
        for (rider, clicks) in [(0, [0, 2]), (1, [1, 3])] {
            let [first, second] = clicks.map(|n| &redirects[n]);
            assert_eq!(first.location, format!("/rides/us-east1/{}", arena.riders[rider].ride(form)));
            assert_eq!((second.location.as_str(), first.good), (first.location.as_str(), !second.good));
        }
        assert_eq!(arena.count("SELECT count(*) FROM rides WHERE ended_at IS NULL").await, 2);
        let none = format!("SELECT count(*) FROM rides WHERE id = '{form}'");
        assert_eq!(arena.count(&none).await, 0, "nobody chooses an id");
        assert_eq!(arena.browser(1).get(&redirects[0].location).await.status, StatusCode::NOT_FOUND, "not theirs");
        assert_eq!(arena.browser(1).end(&redirects[0].location).await.status, StatusCode::NOT_FOUND, "nor to end");
        for (n, ride) in redirects.iter().enumerate().take(2) {
            assert!(arena.redirect(&arena.browser(n).end(&ride.location).await).good);
            let again = arena.redirect(&arena.browser(n).start(&arena.bikes().await[0], form, "").await);
            assert_eq!(again.location, ride.location, "the old form leads to the old ride");
        }
    }
    assert_eq!(arena.count("SELECT count(*) FROM rides").await, 20);
    arena.end().await;
}

#[actix_web::test]
async fn a_reservation_keeps_others_away_and_lapses_by_the_clock() {
    let arena = Arena::new(3, 1).await;
    let (ann, bob, cat) = (arena.browser(0), arena.browser(1), arena.browser(2));
    let bike = &arena.bikes().await[0];
    assert!(arena.redirect(&ann.reserve(bike).await).good);
    for _ in 0..2 {
        for page in [bob.start(bike, Uuid::new_v4(), "").await, cat.reserve(bike).await] {
            assert_eq!(arena.redirect(&page).text, Refusal::VehicleReserved.message());
        }
        arena.world.clock.advance(Duration::minutes(5) - Duration::seconds(5));
    }
    arena.world.clock.advance(Duration::seconds(15));
    assert_eq!(arena.count("SELECT count(*) FROM rides").await, 0);
    assert!(arena.redirect(&cat.reserve(bike).await).good, "lapsed without a job");
    assert_eq!(arena.redirect(&ann.start(bike, Uuid::new_v4(), "").await).text, Refusal::VehicleReserved.message());
    let cancelled = arena.redirect(&ann.post("/reservation/cancel", &bike.cancel()).await);
    assert_eq!(cancelled.text, Refusal::NoReservation.message(), "a lapsed one is not somebody else's");
    arena.world.clock.advance(Duration::seconds(601));
    assert!(arena.redirect(&bob.start(bike, Uuid::new_v4(), "").await).good);
    assert_eq!(arena.redirect(&cat.start(bike, Uuid::new_v4(), "").await).text, Refusal::VehicleTaken.message());
    arena.end().await;
}

#[actix_web::test]
async fn a_session_ended_elsewhere_changes_nothing_any_more() {
    let arena = Arena::new(1, 1).await;
    let (old, bike) = (arena.browser(0), &arena.bikes().await[0]);
    let new = arena.instances[0].browser();
    let page = new.post("/login", &[("username", &old.name), ("password", PASSWORD)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert!(arena.redirect(&new.post("/profile/sessions/end-others", &[]).await).good);
    let before = arena.world.rows().await;
    for page in [old.start(bike, Uuid::new_v4(), "").await, old.reserve(bike).await] {
        assert!(page.location().starts_with("/login"), "{}", page.location());
    }
    assert_eq!(arena.world.rows().await, before);
    assert!(arena.redirect(&new.start(bike, Uuid::new_v4(), "").await).good, "the other device rides");
    arena.end().await;
}

/// By a page that was drawn before.
#[actix_web::test]
async fn what_is_not_offered_any_more_is_neither_ridden_nor_reserved() {
    let arena = Arena::new(2, 4).await;
    let (ann, bob) = (arena.browser(0), arena.browser(1));
    let bikes = arena.bikes().await;
    let code = "UPDATE vehicles SET code = 'NY-7' WHERE id = ";
    arena.world.set(&format!("{code} '{}'", bikes[0].id)).await;
    let row = arena.sql.query_one("SELECT lat::TEXT, lon::TEXT FROM vehicles WHERE code = 'NY-7'", &[]).await.unwrap();
    let (lat, lon): (String, String) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
    let by_code = async |vehicle_type: &str| {
        let ride = Uuid::new_v4().to_string();
        let place = [("region", "us-east1"), ("code", "NY-7"), ("city", NEW_YORK), ("lat", &*lat), ("lon", &*lon)];
        ann.post("/rides", &[&place[..], &[("type", vehicle_type), ("ride", &*ride)]].concat()).await
    };
    let unchanged = async |pages: Vec<Page>, before: &crate::support::rows::Rows, refusal: Refusal| {
        for page in pages {
            let refused = arena.redirect(&page);
            assert_eq!((refused.good, refused.text), (false, refusal.message()));
        }
        assert_eq!(arena.world.rows().await, *before, "{refusal:?}");
    };
    for status in ["maintenance", "lost", "retired"] {
        arena.world.set(&format!("UPDATE vehicles SET status = '{status}' WHERE id = '{}'", bikes[0].id)).await;
        let before = arena.world.rows().await;
        let ride = ann.start(&bikes[0], Uuid::new_v4(), "").await;
        let pages = vec![ride, ann.reserve(&bikes[0]).await, by_code(&bikes[0].vehicle_type).await];
        unchanged(pages, &before, Refusal::VehicleOutOfService).await;
    }
    arena.world.set(&format!("UPDATE vehicles SET status = 'available' WHERE id = '{}'", bikes[0].id)).await;
    let before = arena.world.rows().await;
    let other = if bikes[0].vehicle_type == "bike" { "scooter" } else { "bike" };
    for moved in [
        Bike { vehicle_type: other.to_owned(), ..bikes[0].clone() },
        Bike { city: "boston".to_owned(), ..bikes[0].clone() },
    ] {
        let pages = vec![ann.start(&moved, Uuid::new_v4(), "").await, ann.reserve(&moved).await];
        unchanged(pages, &before, Refusal::VehicleMoved).await;
    }
    // At the price of another type.
    unchanged(vec![by_code(other).await], &before, Refusal::VehicleMoved).await;
    assert!(arena.redirect(&bob.reserve(&bikes[0]).await).good);
    assert!(arena.redirect(&ann.reserve(&bikes[1]).await).good);
    let before = arena.world.rows().await;
    let pages = vec![ann.start(&bikes[2], Uuid::new_v4(), "").await, ann.reserve(&bikes[2]).await];
    unchanged(pages, &before, Refusal::AlreadyReserved).await;
    let pages = vec![ann.start(&bikes[0], Uuid::new_v4(), "").await, by_code(&bikes[0].vehicle_type).await];
    unchanged(pages, &before, Refusal::VehicleReserved).await;
    assert!(arena.redirect(&ann.start(&bikes[1], Uuid::new_v4(), "").await).good, "their own");
    arena.end().await;
}
