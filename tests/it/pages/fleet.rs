//! `/fleet` and a vehicle's page for its operators: filters, orders and pages find every
//! vehicle once; each step leaves one event and a version; a ride that an operator ends
//! is ended for its rider, who is told. With `MOVR_MEASURE=1`, `fleet_cost` prints what a
//! page of the list costs in cities of 1,000 to 100,000 vehicles.

use reqwest::StatusCode;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    app::{Instance, PASSWORD},
    crowd::{bikes, count, crowd, redirect, street},
    html::Page,
    world,
};

/// New York with a fleet, and its operator, who operates Boston too.
struct Scene {
    world: World,
    instance: Instance,
    operator: Browser,
    sql: Client,
}

impl Scene {
    async fn new(vehicles: usize) -> Self {
        let world = world().await;
        street(&world, &["new-york"], vehicles).await;
        let instance = world.instance("us-east1").await;
        let operator = instance.person("new-york").await;
        for city in ["new-york", "boston"] {
            movr::ops::accounts::grant(&instance.running.state.service.db, &operator.name, "operator", city)
                .await
                .unwrap();
        }
        operator.get("/profile").await;
        Self { sql: world.sql().await, world, instance, operator }
    }

    async fn end(self) {
        drop(self.sql);
        self.instance.running.stop().await;
        self.world.end().await;
    }

    /// The codes of the list, page by page.
    async fn all(&self, query: &str) -> Vec<String> {
        let (mut path, mut codes) = (format!("/fleet?city=new-york{query}"), Vec::new());
        for _ in 0..100 {
            let page = self.operator.get(&path).await;
            assert_eq!((page.status, page.timing().1), (StatusCode::OK, 1), "{path}: {}", page.text());
            let rows = page.texts("table tbody th");
            assert!(rows.len() <= 100);
            codes.extend(rows);
            match page.attributes("nav.pages a[rel=next]", "href").pop() {
                Some(next) => path = next,
                None => return codes,
            }
        }
        panic!("{path} never ends");
    }

    async fn codes(&self, condition: &str, order: &str) -> Vec<String> {
        let text = format!(
            "SELECT coalesce(code, retired_code, substr(id::TEXT, 1, 8)) FROM vehicles WHERE city = 'new-york' AND {condition} ORDER BY {order}, id"
        );
        self.sql.query(&text, &[]).await.unwrap().iter().map(|row| row.try_get(0).unwrap()).collect()
    }
}

#[actix_web::test]
async fn every_filter_and_order_finds_each_vehicle_once() {
    let scene = Scene::new(720).await;
    scene
        .world
        .set("UPDATE vehicles SET seen_at = created_at, code = CASE WHEN left(id::TEXT, 1) IN ('0', 'a') THEN NULL
            ELSE CASE WHEN battery < 50 THEN 'NY-' ELSE 'X' END || upper(left(id::TEXT, 8)) END,
            retired_code = CASE WHEN left(id::TEXT, 1) = 'a' THEN upper(left(id::TEXT, 3)) END,
            status = CASE WHEN left(id::TEXT, 1) = 'a' THEN 'retired' WHEN left(id::TEXT, 1) = 'b' THEN 'lost' ELSE status END")
        .await;
    let fleet = "status <> 'retired'";
    let code = "coalesce(code, '')";
    for (query, condition, order) in [
        ("", fleet.to_owned(), code),
        ("&sort=battery", fleet.to_owned(), "battery"),
        ("&sort=seen", fleet.to_owned(), "seen_at"),
        ("&status=lost", "status = 'lost'".to_owned(), code),
        ("&status=retired&sort=battery", "status = 'retired'".to_owned(), "battery"),
        ("&type=bike", format!("{fleet} AND type = 'bike'"), code),
        // As the form sends it: the order follows the filter.
        ("&sort=&battery=20", format!("{fleet} AND battery < 20"), "battery"),
        ("&battery=20&sort=code&type=scooter", format!("{fleet} AND battery < 20 AND type = 'scooter'"), code),
        ("&code=ny-", format!("{fleet} AND code LIKE '%NY-%'"), code),
        ("&code=1&status=lost&type=bike", "status = 'lost' AND type = 'bike' AND code LIKE '%1%'".to_owned(), code),
        ("&code=y-1&sort=seen", format!("{fleet} AND code LIKE '%Y-1%'"), "seen_at"),
        ("&code=a1&status=retired", "status = 'retired' AND retired_code LIKE '%A1%'".to_owned(), code),
        ("&code=nothing", "FALSE".to_owned(), code),
    ] {
        let expected = scene.codes(&condition, order).await;
        assert!(query.contains("nothing") || !expected.is_empty(), "{query} has nothing to find");
        assert_eq!(scene.all(query).await, expected, "{query}");
    }
    let now = scene.world.clock.now();
    let text =
        "SELECT coalesce(code, substr(id::TEXT, 1, 8)) FROM vehicles WHERE city = 'new-york' AND status <> 'retired'
        AND seen_at < $1 ORDER BY seen_at, id";
    let idle = scene.sql.query(text, &[&(now - chrono::Duration::hours(720))]).await.unwrap();
    let idle: Vec<String> = idle.iter().map(|row| row.try_get(0).unwrap()).collect();
    assert_eq!(scene.all("&idle=720").await, idle);
    let all = scene.codes(fleet, code).await.len();
    for wrong in ["&battery=0", "&battery=x", "&status=gone", "&type=tank", "&sort=up", "&idle=-1"] {
        let page = scene.operator.get(&format!("/fleet?city=new-york{wrong}")).await;
        assert_eq!((page.status, page.texts("[role=alert]").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1), "{wrong}");
        let typed = usize::from(wrong.starts_with("&battery"));
        assert_eq!(page.attributes("[role=alert] a[href='#battery']", "href").len(), typed, "{wrong}");
        assert_eq!(page.field("battery").len(), typed, "{wrong}: what was typed is kept, and sent no further");
        let (field, _) = wrong[1..].split_once('=').unwrap();
        assert_eq!(page.attributes(&format!(".fleet [type=hidden][name={field}]"), "value"), [""; 0], "{wrong}");
        let links = page.attributes("main a[href]", "href");
        assert!(links.iter().all(|href| !href.contains(wrong)), "{links:?}");
        assert_eq!(page.texts("button[name=all]"), [format!("Apply to all {all}")], "{wrong}");
        let next = page.attributes("a[rel=next]", "href").remove(0);
        assert_eq!(scene.operator.get(&next).await.status, StatusCode::OK, "{next}");
    }
    assert_eq!(scene.operator.get("/fleet?city=atlantis").await.status, StatusCode::NOT_FOUND);
    let numbers = scene.operator.get("/fleet").await.texts(".counts b");
    let retired = scene.codes("status = 'retired'", code).await.len().to_string();
    assert_eq!(numbers.last(), Some(&retired));
    scene.end().await;
}

/// Ten thousand codes are searched at once; what is after them is found too, by going on.
#[actix_web::test]
async fn any_part_of_a_code_finds_its_vehicle_in_a_large_city() {
    let scene = Scene::new(1).await;
    let many = "INSERT INTO vehicles (region, id, public_id, city, type, status, code, brand, colour, battery, lat, lon,
            cell, place, version, created_at, changed_at, seen_at)
        SELECT region, gen_random_uuid(), gen_random_uuid(), city, type, 'available', 'NY-' || n, brand, colour, battery,
            lat, lon, cell, place, 1, now(), now(), now()
        FROM generate_series(10000, 21000) n, (SELECT * FROM vehicles WHERE city = 'new-york' LIMIT 1) v";
    scene.world.set(&format!("{many}; ANALYZE vehicles")).await;
    assert_eq!(scene.all("&code=y-2100").await, ["NY-21000"], "after ten thousand others");
    assert_eq!(scene.all("&code=345").await.len(), 21);
    let page = scene.operator.get("/fleet?city=new-york&code=ny-20999").await;
    assert_eq!(page.texts("table tbody th"), ["NY-20999"], "a whole code is found at once");
    assert_eq!(page.texts("nav.pages a"), ["Keep searching"]);
    assert_eq!(scene.all("&code=ny-20999").await, ["NY-20999"], "and once");
    let exact = scene.operator.get("/fleet?city=new-york&code=NY-10&status=lost").await;
    assert!(exact.text().contains("No matches so far"), "{}", exact.text());
    // They have no events, as every vehicle has.
    scene.world.set("DELETE FROM vehicles WHERE code LIKE 'NY-%'").await;
    scene.end().await;
}

#[actix_web::test]
async fn the_start_page_counts_now_and_then_and_soon_after_what_the_visitor_did() {
    let scene = Scene::new(5).await;
    let (path, street) = ("/?city=new-york", bikes(&scene.sql, "new-york").await);
    let (rider, nobody) = (&scene.operator, scene.instance.browser());
    let ready = |page: &Page| page.texts("b.big").concat().parse().unwrap_or(0_usize);
    let now = |seconds: i64| scene.world.clock.advance(chrono::Duration::seconds(seconds));
    let first = nobody.get(path).await;
    assert_eq!((ready(&first), first.timing()), (street.len(), (2, 1)));
    now(5);
    assert_eq!(nobody.get(path).await.timing(), (1, 1), "not counted again");
    let mut left = street.len();
    // What this instance does is seen within a second; what happens elsewhere within ten.
    let ride = rider.start(&street[0], Uuid::new_v4(), "").await.location();
    left -= 1;
    assert_eq!(ready(&rider.get(path).await), left);
    scene.world.set("UPDATE vehicles SET status = 'lost' WHERE status = 'available'").await;
    assert_eq!((ready(&rider.get(path).await), rider.get(path).await.timing()), (left, (2, 1)));
    now(10);
    assert_eq!(ready(&nobody.get(path).await), 0);
    now(2);
    rider.end(&ride).await.location();
    assert_eq!((ready(&rider.get(path).await), ready(&nobody.get(path).await)), (0, 0), "no sooner than the list");
    now(120);
    assert_eq!((ready(&rider.get(path).await), ready(&nobody.get(path).await)), (1, 1));
    scene.end().await;
}

#[actix_web::test]
async fn numbers_are_counted_at_most_every_ten_seconds() {
    let scene = Scene::new(5).await;
    let first = scene.operator.get("/fleet?city=new-york").await;
    assert_eq!(first.timing(), (3, 1), "session, list, numbers");
    assert_eq!(scene.operator.get("/fleet?city=new-york").await.timing(), (2, 1));
    scene.world.clock.advance(chrono::Duration::seconds(11));
    assert_eq!(scene.operator.get("/fleet?city=new-york").await.timing(), (3, 1));
    scene.end().await;
}

/// A vehicle's page, and the fields that its forms share.
async fn vehicle_page(operator: &Browser, path: &str) -> (Page, [(&'static str, String); 2]) {
    let page = operator.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let version =
        page.texts("dl.facts div").into_iter().find_map(|text| text.strip_prefix("Version ").map(str::to_owned));
    (page, [("version", version.unwrap()), ("command", Uuid::new_v4().to_string())])
}

async fn step(operator: &Browser, path: &str, what: &str, fields: &[(&str, &str)]) -> Page {
    let (_, common) = vehicle_page(operator, path).await;
    let common = common.iter().map(|(name, value)| (*name, value.as_str()));
    operator.post(&format!("{path}/{what}"), &common.chain(fields.iter().copied()).collect::<Vec<_>>()).await
}

#[actix_web::test]
async fn each_step_is_one_version_and_one_event_and_is_told_in_the_history() {
    let scene = Scene::new(3).await;
    let bike = bikes(&scene.sql, "new-york").await.remove(0);
    let path = format!("/fleet/vehicles/us-east1/{}", bike.id);
    let operator = &scene.operator;
    let facts = |page: &Page| page.texts("dl.facts div").join("; ");
    for (action, note, status) in [
        ("maintenance", "flat tyre", "In maintenance"),
        ("back", "", "Available"),
        ("lost", "", "Lost"),
        ("found", "", "In maintenance"),
    ] {
        let answer = step(operator, &path, "status", &[("action", action), ("note", note)]).await;
        assert!(redirect(&scene.instance, &answer).good, "{action}: {}", answer.text());
        let (page, _) = vehicle_page(operator, &path).await;
        assert_eq!(page.texts("main .row mark"), [status]);
    }
    let (page, _) = vehicle_page(operator, &path).await;
    assert!(facts(&page).contains("Note flat tyre"));
    let edit = [
        ("code", "NY-77"),
        ("brand", "Gazelle"),
        ("colour", "green"),
        ("battery", "41"),
        ("place", "Union Square"),
        ("lat", "40.7359"),
        ("lon", "-73.9911"),
        ("note", ""),
    ];
    assert!(redirect(&scene.instance, &step(operator, &path, "edit", &edit).await).good);
    let (page, common) = vehicle_page(operator, &path).await;
    assert!(facts(&page).contains("41%") && facts(&page).contains("Union Square"), "{}", facts(&page));
    // What was typed comes back with what is wrong; another vehicle's code is taken.
    let wrong = step(operator, &path, "edit", &[&edit[..3], &[("battery", "101")], &edit[4..]].concat()).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!((wrong.field("battery"), wrong.texts("small.error").len()), ("101".to_owned(), 1));
    let other = format!("/fleet/vehicles/us-east1/{}", bikes(&scene.sql, "new-york").await[1].id);
    let taken = step(operator, &other, "edit", &edit).await;
    assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(taken.text().contains("Another vehicle in this city has this code"), "{}", taken.text());
    // The form sent twice is done once; one that is older changes nothing.
    let common: Vec<_> = common.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let back = [&common[..], &[("action", "back")]].concat();
    let (first, second) =
        (operator.post(&format!("{path}/status"), &back).await, operator.post(&format!("{path}/status"), &back).await);
    assert_eq!(redirect(&scene.instance, &first).text, "The vehicle is back in service.");
    assert_eq!(redirect(&scene.instance, &second).text, "That was done already.");
    let id = Uuid::new_v4().to_string();
    let old = [common[0], ("command", &id), ("action", "maintenance")];
    assert!(
        redirect(&scene.instance, &operator.post(&format!("{path}/status"), &old).await).text.contains("changed since")
    );
    // To another region by a job; to another city of this one at once; and out of the fleet, in two steps.
    let auth = &scene.instance.running.state.service.db;
    movr::ops::accounts::grant(auth, &operator.name, "operator", "amsterdam").await.unwrap();
    let far = step(operator, &path, "move", &[("city", "amsterdam"), ("from", "new-york")]).await.location();
    let confirm = operator.get(&far).await.text();
    assert!(confirm.contains("1 vehicle will move to the depot of Amsterdam, into maintenance."), "{confirm}");
    assert!(page.texts("details:not([open]) button").contains(&"Retire for good".to_owned()));
    assert!(!page.texts("section button").contains(&"Retire".to_owned()));
    assert!(redirect(&scene.instance, &step(operator, &path, "move", &[("city", "boston")]).await).good);
    assert!(facts(&vehicle_page(operator, &path).await.0).contains("City Boston"));
    assert!(redirect(&scene.instance, &step(operator, &path, "status", &[("action", "retire")]).await).good);
    let (page, _) = vehicle_page(operator, &path).await;
    assert!(page.attributes("form[action^=\"/fleet/vehicles\"]", "action").is_empty(), "nothing is left to do");
    assert!(page.texts("h1")[0].starts_with("NY-77"), "it keeps its code");
    let steps: Vec<String> = page.texts("ol.timeline b");
    assert_eq!(
        steps,
        [
            "Retired", "Moved to another city", "Returned to service", "Edited", "Found", "Marked as lost",
            "Returned to service", "Put into maintenance", "Added to the fleet"
        ]
    );
    let events = "SELECT count(DISTINCT version) * 100 + max(version) FROM events WHERE aggregate_id::TEXT = ";
    assert_eq!(count(&scene.sql, &format!("{events}'{}'", bike.id)).await, 909);
    scene.end().await;
}

#[actix_web::test]
async fn a_ride_that_an_operator_ends_is_ended_for_its_rider_who_is_told() {
    let scene = Scene::new(3).await;
    let rider = scene.instance.person("new-york").await;
    let bike = bikes(&scene.sql, "new-york").await.remove(0);
    let ride = rider.start(&bike, Uuid::new_v4(), "").await.location();
    rider.get("/vehicles").await;
    scene.world.clock.advance(chrono::Duration::minutes(5));
    let path = format!("/fleet/vehicles/us-east1/{}", bike.id);
    let (page, _) = vehicle_page(&scene.operator, &path).await;
    assert!(page.text().contains("Ride under way") && !page.text().contains("Pat"), "no name of the rider");
    let end = [("city", "new-york"), ("reason", "lost"), ("place", "Depot"), ("lat", "40.73"), ("lon", "-73.99")];
    let refused = step(&scene.operator, &path, "status", &[("action", "maintenance")]).await;
    assert!(redirect(&scene.instance, &refused).text.contains("reserved or being ridden"));
    let action = format!("/fleet{ride}/end");
    assert!(redirect(&scene.instance, &scene.operator.post(&action, &end).await).good);
    assert_eq!(redirect(&scene.instance, &scene.operator.post(&action, &end).await).text, "That was done already.");
    let next = rider.get("/vehicles").await;
    assert!(next.flash().contains("an operator of the city did"), "{}", next.flash());
    assert!(!rider.get("/vehicles").await.flash().contains("operator"), "told once");
    let receipt = rider.get(&ride).await;
    assert!(receipt.text().contains("An operator of the city ended this ride for you"), "{}", receipt.text());
    assert!(receipt.text().contains("You owe"));
    // The history has what is owed after a credit.
    scene.world.set("UPDATE rides SET credited_minor = 7, credit_reason = 'goodwill' WHERE ended_at IS NOT NULL").await;
    let owed = count(&scene.sql, "SELECT total_minor - 7 FROM rides WHERE credited_minor = 7").await;
    let steps = vehicle_page(&scene.operator, &path).await.0.texts("ol.timeline li").join("; ");
    assert!(steps.contains(&format!(", ${}.{:02}", owed / 100, owed % 100)), "{owed}: {steps}");
    scene.world.set("UPDATE rides SET credited_minor = 0, credit_reason = NULL").await;
    // Free again, under another public id.
    let after = bikes(&scene.sql, "new-york").await.into_iter().find(|b| b.id == bike.id).unwrap();
    assert_ne!(after.public_id, bike.public_id);
    assert!(redirect(&scene.instance, &rider.start(&after, Uuid::new_v4(), "").await).good);
    let ended = "SELECT count(*) FROM events WHERE action = 'ride.ended_by_operator'";
    assert_eq!(count(&scene.sql, ended).await, 1);
    scene.end().await;
}

#[actix_web::test]
async fn operator_and_rider_at_once_end_a_ride_once() {
    let scene = Scene::new(6).await;
    let riders = crowd(&scene.instance, 6).await;
    let all = bikes(&scene.sql, "new-york").await;
    let race = async |n: usize| {
        let (bike, rider) = (&all[n], &riders[n].browser);
        let started = redirect(&scene.instance, &rider.start(bike, Uuid::new_v4(), "").await);
        assert!(started.good, "{started:?}");
        let ride = &started.location;
        let end = [("city", "new-york"), ("reason", "lost"), ("place", "Depot"), ("lat", "40.73"), ("lon", "-73.99")];
        let action = format!("/fleet{ride}/end");
        let (theirs, ours) = futures_util::join!(rider.end(&started.location), scene.operator.post(&action, &end));
        assert!(redirect(&scene.instance, &theirs).good, "{}", theirs.text());
        // The operator learns it when the rider was first.
        let ours = redirect(&scene.instance, &ours);
        assert!(ours.good || ours.text.contains("This ride has already ended."), "{ours:?}");
    };
    futures_util::future::join_all((0..6).map(race)).await;
    let ended = "SELECT count(*) FROM events WHERE action IN ('ride.ended', 'ride.ended_by_operator')";
    assert_eq!(count(&scene.sql, ended).await, 6);
    assert_eq!(count(&scene.sql, "SELECT count(*) FROM rides WHERE version = 2").await, 6);
    scene.end().await;
}

#[actix_web::test]
async fn a_code_is_searched_in_all_cities_of_the_operator_at_once() {
    let scene = Scene::new(5).await;
    scene.world.sample(&["boston", "amsterdam", "paris"], 0, 20).await;
    let db = &scene.instance.running.state.service.db;
    movr::ops::accounts::grant(db, &scene.operator.name, "operator", "amsterdam").await.unwrap();
    scene.operator.get("/profile").await;
    scene.world.set("UPDATE vehicles SET code = upper(left(city, 3)) || '-' || left(id::TEXT, 18)").await;
    for city in ["boston", "amsterdam", "paris"] {
        let one = format!("id = (SELECT min(id::TEXT)::UUID FROM vehicles WHERE city = '{city}')");
        scene.world.set(&format!("UPDATE vehicles SET code = 'Find-Me-{}' WHERE {one}", &city[..1])).await;
    }
    let search = async |q: &str| scene.operator.get(&format!("/fleet/search?q={q}")).await;
    let page = search("ND-ME").await;
    assert_eq!((page.texts("h2"), page.timing().1), (vec!["Boston".to_owned(), "Amsterdam".to_owned()], 1));
    assert_eq!(page.texts("ul.rows b"), ["Find-Me-b", "Find-Me-a"], "not Paris: another operator's");
    let only = search("find-me-a").await.location();
    assert!(only.starts_with("/fleet/vehicles/europe-west1/"), "{only}");
    assert!(scene.operator.get(&only).await.texts("h1")[0].starts_with("Find-Me-a"));
    // Right after signing in the cookie knows no city yet.
    let new = scene.instance.browser();
    new.sign_in(&scene.operator.name, PASSWORD).await.location();
    assert_eq!(new.get("/fleet/search?q=nd-me").await.location(), "/fleet/search?q=nd-me");
    assert_eq!(new.get("/fleet/search?q=nd-me").await.texts("ul.rows b"), ["Find-Me-b", "Find-Me-a"]);
    assert!(search("no+such").await.text().contains("has “no such” in its code"));
    assert_eq!(search("").await.texts("ul.rows b"), [""; 0]);
    let many = search("os-").await;
    assert_eq!(many.texts("ul.rows b").len(), 19);
    // From every page of a fleet.
    for path in ["/fleet?city=boston", "/fleet/jobs?city=boston", "/fleet/overview", &only] {
        let page = scene.operator.get(path).await;
        assert_eq!(page.attributes("form.find", "action"), ["/fleet/search"], "{path}");
    }
    scene.end().await;
}

#[actix_web::test]
async fn an_operator_adds_a_vehicle_once_where_they_say() {
    let scene = Scene::new(3).await;
    let form = scene.operator.get("/fleet/add?city=new-york").await;
    let id = form.field("id");
    let good = [
        ("id", &*id),
        ("city", "new-york"),
        ("type", "scooter"),
        ("status", "available"),
        ("code", "NY-NEW"),
        ("brand", "Gazelle"),
        ("colour", "green"),
        ("battery", "80"),
        ("place", "Union Square"),
        ("lat", &form.field("lat")),
        ("lon", &form.field("lon")),
        ("note", ""),
    ];
    let with = |name: &str, value: &'static str| {
        let mut fields = good.to_vec();
        fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
        fields
    };
    let before = scene.world.rows().await;
    for (name, value) in
        [("type", "tank"), ("status", "in_use"), ("brand", " "), ("battery", "101"), ("lat", "0"), ("place", "")]
    {
        let page = scene.operator.post("/fleet/add", &with(name, value)).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
        assert_eq!(page.texts(&format!("#{name}-error")).len(), 1, "{name}: {}", page.text());
        assert_eq!(page.field("code"), "NY-NEW");
    }
    let elsewhere = scene.operator.post("/fleet/add", &with("city", "paris")).await;
    assert_eq!(elsewhere.status, StatusCode::FORBIDDEN, "another operator's city");
    assert_eq!(scene.world.rows().await, before);
    let added = scene.operator.post("/fleet/add", &good).await;
    assert_eq!(redirect(&scene.instance, &added).text, "The vehicle is added.");
    let page = scene.operator.get(&added.location()).await;
    assert_eq!(
        (page.texts("main .row mark"), page.texts("ol.timeline b")),
        (vec!["Available".to_owned()], vec!["Added to the fleet".to_owned()])
    );
    let again = scene.operator.post("/fleet/add", &good).await;
    assert_eq!(again.location(), added.location());
    assert_eq!(redirect(&scene.instance, &again).text, "That was done already.");
    let other = Uuid::new_v4().to_string();
    let mut taken = good;
    taken[0].1 = &other;
    assert_eq!(scene.operator.post("/fleet/add", &taken).await.texts("#code-error").len(), 1);
    let rider = scene.instance.person("new-york").await;
    taken[4].1 = "NY-FREE";
    assert_eq!(rider.post("/fleet/add", &taken).await.status, StatusCode::FORBIDDEN);
    let stored = "SELECT count(*) FROM vehicles v JOIN events e ON e.aggregate_id = v.id AND e.action = 'vehicle.added'
        WHERE v.code = 'NY-NEW' AND v.type = 'scooter' AND v.owner_id IS NULL AND e.actor_id IS NOT NULL";
    assert_eq!(count(&scene.sql, stored).await, 1);
    scene.end().await;
}

#[actix_web::test]
async fn a_sheet_has_a_qr_code_for_each_code_of_the_list() {
    let scene = Scene::new(60).await;
    scene
        .world
        .set("UPDATE vehicles SET code = CASE WHEN left(id::TEXT, 1) <> '0' THEN 'Q ' || left(id::TEXT, 8) END")
        .await;
    let expected = scene.codes("status <> 'retired' AND code IS NOT NULL", "code").await;
    let (mut path, mut codes) = ("/fleet/qr?city=new-york".to_owned(), Vec::new());
    loop {
        let page = scene.operator.get(&path).await;
        assert_eq!((page.status, page.timing()), (StatusCode::OK, (2, 1)), "{}", page.text());
        assert!(page.texts("svg.sheet").len() <= 2);
        let labels = page.texts("svg.sheet g > text:not(.hint)");
        assert_eq!(page.attributes("svg.sheet g > svg > path", "d").len(), labels.len());
        codes.extend(labels);
        match page.attributes("nav.pages a[rel=next]", "href").pop() {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(codes, expected);
    let one =
        scene.operator.get(&format!("/fleet/qr?city=new-york&code={}", movr::web::paths::encode(&codes[7]))).await;
    let drawn = movr::domain::qr::path(&format!("http://movr.test/v/{}", codes[7].replace(' ', "%20"))).unwrap().1;
    assert_eq!(one.attributes("svg.sheet g > svg > path", "d"), [drawn]);
    scene.end().await;
}

/// A page of the list reads a bounded number of rows, however many there are.
#[actix_web::test]
#[allow(clippy::print_stdout, reason = "a measurement is asked for to be read")]
async fn fleet_cost() {
    let scene = Scene::new(1).await;
    let measure = movr::config::env("MOVR_MEASURE").as_deref() == Some("1");
    let sizes = [("boston", 1_000), ("chicago", 10_000), ("new-york", 100_000)];
    for (city, vehicles) in &sizes[..if measure { 3 } else { 1 }] {
        movr::ops::accounts::grant(&scene.instance.running.state.service.db, &scene.operator.name, "operator", city)
            .await
            .unwrap();
        scene.world.sample(&[city], 0, *vehicles).await;
        scene.world.set("ANALYZE vehicles; UPDATE vehicles SET seen_at = created_at").await;
        scene.operator.get(&format!("/fleet?city={city}")).await;
        for query in [
            "", "&sort=battery", "&sort=seen", "&code=NEW-1-09", "&code=1-09&sort=seen", "&status=lost",
            "&battery=5&sort=code", "&type=bike&idle=720&sort=battery",
        ] {
            let mut times = Vec::new();
            for _ in 0..if measure { 41 } else { 1 } {
                let page = scene.operator.get(&format!("/fleet?city={city}{query}")).await;
                assert_eq!((page.status, page.timing().1), (StatusCode::OK, 1), "{query}");
                assert!(page.texts("table tbody th").len() <= 100);
                times.push(page.milliseconds());
            }
            times.sort_by(f64::total_cmp);
            if measure {
                println!("{vehicles:>7} {query:<40} p50 {:>6.1} ms  p95 {:>6.1} ms", times[20], times[38]);
            }
        }
    }
    scene.end().await;
}

#[actix_web::test]
async fn a_swapped_battery_is_one_click_and_changes_nothing_else() {
    let scene = Scene::new(12).await;
    let vehicle = "UPDATE vehicles SET battery = 7, note = 'bell is loose' WHERE id =
        (SELECT id FROM vehicles WHERE city = 'new-york' AND status = 'available' ORDER BY id LIMIT 1) RETURNING id";
    let id: Uuid = scene.sql.query_one(vehicle, &[]).await.unwrap().try_get(0).unwrap();
    let page = format!("/fleet/vehicles/us-east1/{id}");
    let row = async || -> (i64, String) {
        let text =
            "SELECT battery, concat_ws('|', code, brand, colour, place, round(lat::NUMERIC, 5), round(lon::NUMERIC, 5),
            note, status, hold, seen_at) FROM vehicles WHERE id = $1";
        let row = scene.sql.query_one(text, &[&id]).await.unwrap();
        (row.try_get(0).unwrap(), row.try_get(1).unwrap())
    };
    let (before, seen) = (row().await, scene.operator.get(&page).await);
    let form = "[aria-labelledby=steps] form[action$=\"/edit\"]";
    let [names, values] = ["name", "value"].map(|of| seen.attributes(&format!("{form} input"), of));
    let fields: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    let done = scene.operator.post(&seen.attributes(form, "action")[0], &fields).await;
    let after = scene.operator.get(&done.location()).await;
    assert_eq!((row().await, after.flash().as_str()), ((100, before.1), "Saved."));
    assert_eq!(after.texts(form), [""; 0], "it is full");
    scene.end().await;
}

#[actix_web::test]
async fn a_move_is_offered_to_whoever_has_another_city() {
    let scene = Scene::new(3).await;
    let one = crate::ops::jobs::operator(&scene.instance, "new-york", &["new-york"]).await;
    for (person, moves) in [(&scene.operator, 1), (&one, 0)] {
        let kinds = person.get("/fleet").await.attributes("#kind option", "value");
        assert_eq!(kinds.iter().filter(|kind| *kind == "move").count(), moves, "{kinds:?}");
    }
    scene.end().await;
}
