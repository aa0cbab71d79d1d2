//! Jobs of operators: what one does before and after it is confirmed, what is refused and
//! why, two looking at it at once, an operator who loses the role in the middle, a lost
//! reply, cancelling, and the report.

use std::time::Duration;

use movr::{
    db::{jobs, verdict::Verdict},
    domain::job::JobRef,
    ops::{self, jobs::JobContext},
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    app::Instance,
    crowd::{bikes, crowd},
    faults::Proxy,
    html::Page,
    process::movr,
    world,
};

/// Asks for a job by the form, for the vehicles in `more` or for all that it filters; its page.
pub async fn ask(operator: &Browser, city: &str, job_kind: &str, more: &[(&str, &str)]) -> String {
    let page = operator.get(&format!("/fleet/jobs?city={city}")).await;
    let (id, drawn) = (page.field("id"), page.field("drawn"));
    let mut fields = vec![("id", id.as_str()), ("city", city), ("kind", job_kind)];
    let given = |name: &str| more.iter().any(|(known, _)| *known == name);
    if !given("vehicle") {
        fields.push(("all", "1"));
        fields.extend((!given("drawn")).then_some(("drawn", drawn.as_str())));
    }
    operator.post("/fleet/jobs", &[&fields, more].concat()).await.location()
}

/// Confirms the job and looks at it until it is over.
pub async fn done(operator: &Browser, job: &str) -> Page {
    assert_eq!(operator.post(&format!("{job}/confirm"), &[]).await.location(), job);
    for _ in 0..1500 {
        let page = operator.get(job).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        if page.attributes("a[data-refresh]", "href").is_empty() {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the job does not end: {}", operator.get(job).await.text());
}

/// A person who operates `cities`.
pub async fn operator(instance: &Instance, home: &str, cities: &[&str]) -> Browser {
    let person = instance.person(home).await;
    for city in cities {
        ops::accounts::grant(&instance.running.state.service.db, &person.name, "operator", city).await.unwrap();
    }
    // The cookie learns the roles.
    person.get("/profile").await;
    person
}

/// A vehicle as a list's checkbox names it.
pub async fn chosen(world: &World, condition: &str) -> Vec<String> {
    let text = format!("SELECT id, version FROM vehicles WHERE {condition} ORDER BY id");
    let rows = world.sql().await.query(&text, &[]).await.unwrap();
    let name = |row: &tokio_postgres::Row| {
        format!("{}:{}", row.try_get::<_, Uuid>(0).unwrap(), row.try_get::<_, i64>(1).unwrap())
    };
    rows.iter().map(name).collect()
}

fn list(vehicles: &[String]) -> Vec<(&str, &str)> {
    vehicles.iter().map(|vehicle| ("vehicle", vehicle.as_str())).collect()
}

async fn scene(vehicles: usize) -> (World, Instance, Browser) {
    scene_with(vehicles, &[]).await
}

/// An instance that does no jobs: the test does, or another instance.
async fn idle_scene(vehicles: usize) -> (World, Instance, Browser) {
    scene_with(vehicles, &IDLE).await
}

/// The setting of an instance without a worker.
pub const IDLE: [(&str, &str); 1] = [("MOVR_WORKER_MS", "0")];

async fn scene_with(vehicles: usize, settings: &[(&str, &str)]) -> (World, Instance, Browser) {
    let world = world().await;
    world.sample(&["new-york", "boston"], 0, vehicles).await;
    let instance = world.instance_with("us-east1", settings).await;
    let operator = operator(&instance, "boston", &["new-york", "boston"]).await;
    (world, instance, operator)
}

/// What a worker of the instance does with the job at `path` in one batch.
pub async fn batch(instance: &Instance, path: &str) -> Result<(), ops::OpError> {
    let service = &instance.running.state.service;
    let which = JobRef { region: "us-east1".parse().unwrap(), id: path.rsplit_once('/').unwrap().1.parse().unwrap() };
    let (catalogue, job) = (service.catalogue(), ops::jobs::find(&service.db, &which).await.unwrap());
    ops::jobs::batch(JobContext::for_requester(service, &catalogue, &job), &job).await
}

async fn end(world: World, instance: Instance) {
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_job_does_nothing_until_it_is_confirmed_and_then_each_vehicle_once() {
    let (world, instance, operator) = scene(300).await;
    let available = world.count("SELECT count(*) FROM vehicles WHERE city = 'new-york' AND status = 'available'").await;
    let job = ask(&operator, "new-york", "maintenance", &[("status", "available"), ("note", "Winter")]).await;
    // As a worker leaves it that looked while the vehicles were selected.
    world.set(r#"UPDATE jobs SET progress = '{"waiting": 0, "done": 0, "refused": 0}'"#).await;
    let page = operator.get(&job).await;
    assert!(page.text().contains("Needs confirmation"), "{}", page.text());
    assert!(
        page.text().contains(&format!("{available} vehicles of New York will go into maintenance.")),
        "{}",
        page.text()
    );
    assert!(!page.body.contains("data-refresh"), "nothing goes on");
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE note = 'Winter'").await, 0);
    let page = done(&operator, &job).await;
    assert!(page.text().contains("Done") && page.text().contains("Finished"), "{}", page.text());
    let changed = "SELECT count(*) FROM vehicles v JOIN events e ON e.region = v.region AND e.aggregate_id = v.id
          AND e.version = v.version AND e.action = 'vehicle.maintenance' AND e.actor_id IS NOT NULL
          AND e.correlation_id = (SELECT id FROM jobs)
        WHERE v.city = 'new-york' AND v.status = 'maintenance' AND v.note = 'Winter'";
    assert_eq!(world.count(changed).await, available);
    let items = "SELECT count(*) FROM job_items WHERE state = 'done'";
    assert_eq!(world.count(items).await, available);
    let own = "SELECT count(*) FROM events WHERE aggregate_type = 'job' AND actor_id IS NOT NULL
        AND (version, action) IN ((1, 'job.requested'), (2, 'job.confirmed'), (3, 'job.done'))";
    assert_eq!(world.count(own).await, 3);
    // The same again: nobody is on the street.
    let again = ask(&operator, "new-york", "back", &[("status", "maintenance")]).await;
    done(&operator, &again).await;
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE note = 'Winter'").await, 0, "the note is taken away");
    let listed = operator.get("/fleet/jobs?city=new-york").await;
    assert_eq!(listed.attributes("ul.rows a", "href"), [again, job]);
    end(world, instance).await;
}

#[actix_web::test]
async fn every_kind_changes_what_it_says() {
    let (world, instance, operator) = scene(40).await;
    let pick = "city = 'new-york' AND status = 'available' AND code IS NOT NULL ORDER BY id LIMIT 1";
    world.set("UPDATE vehicles SET code = 'NY-' || substr(id::TEXT, 1, 8) WHERE city = 'new-york'").await;
    let id = chosen(&world, &format!("id IN (SELECT id FROM vehicles WHERE {pick})")).await.remove(0);
    let (id, _) = id.split_once(':').unwrap();
    let is = async |condition: &str| {
        let text = format!("SELECT count(*) FROM vehicles WHERE id = '{id}' AND {condition}");
        assert_eq!(world.count(&text).await, 1, "{condition}");
    };
    let change = async |job_kind: &str, more: &[(&str, &str)]| {
        let vehicle = chosen(&world, &format!("id = '{id}'")).await;
        let job = ask(&operator, "new-york", job_kind, &[&list(&vehicle)[..], more].concat()).await;
        done(&operator, &job).await.text()
    };
    change("lost", &[]).await;
    is("status = 'lost'").await;
    assert!(change("back", &[]).await.contains("Its state does not allow this: lost."));
    change("found", &[]).await;
    is("status = 'maintenance'").await;
    change("back", &[]).await;
    is("status = 'available' AND note IS NULL").await;
    change("maintenance", &[("note", "Brakes")]).await;
    is("status = 'maintenance' AND note = 'Brakes'").await;
    // In the other city somebody has its code.
    world
        .set(&format!(
            "UPDATE vehicles SET code = (SELECT code FROM vehicles WHERE id = '{id}')
         WHERE id = (SELECT id FROM vehicles WHERE city = 'boston' ORDER BY id LIMIT 1)"
        ))
        .await;
    assert!(change("move", &[("to_city", "boston")]).await.contains("Another vehicle of that city has its code."));
    world.set("UPDATE vehicles SET code = NULL WHERE city = 'boston'").await;
    change("move", &[("to_city", "boston")]).await;
    is("city = 'boston' AND status = 'maintenance' AND place = 'Depot' AND note = 'Brakes' AND code LIKE 'NY-%'").await;
    let told = "SELECT count(*) FROM events WHERE action = 'vehicle.moved' AND metadata->>'city' = 'boston'";
    assert_eq!(world.count(told).await, 1, "the history says where to");
    let vehicle = chosen(&world, &format!("id = '{id}'")).await;
    let job = ask(&operator, "boston", "retire", &list(&vehicle)).await;
    done(&operator, &job).await;
    is("status = 'retired' AND code IS NULL AND retired_code LIKE 'NY-%'").await;
    end(world, instance).await;
}

/// The page of a job that was refused is the list it is about, with all that was chosen.
#[actix_web::test]
async fn a_refused_job_keeps_what_was_chosen() {
    let (world, instance, operator) = scene(40).await;
    let vehicles = chosen(&world, "city = 'new-york' AND status = 'available'").await;
    let (id, drawn) = (Uuid::new_v4().to_string(), "2999-01-01T00:00:00Z");
    let job = [("id", &*id), ("city", "new-york"), ("kind", "move"), ("drawn", drawn), ("note", "Spring")];
    let before = world.rows().await;
    for (more, words) in [
        ([("to_city", ""), ("status", "available")], "Please choose a destination city."),
        ([("to_city", "new-york"), ("status", "available")], "The vehicles are already in this city."),
    ] {
        let page = operator.post("/fleet/jobs", &[&job, &more[..], &list(&vehicles[3..6])].concat()).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", page.text());
        assert_eq!((page.texts(".note.error"), page.timing().1), (vec![words.to_owned()], 1));
        let mut ticked = page.attributes("tbody input[checked]", "value");
        ticked.sort();
        assert_eq!(ticked, vehicles[3..6], "and no other");
        assert_eq!(page.attributes("#kind [selected]", "value"), ["move"]);
        assert_eq!(page.field("note"), "Spring");
        assert_eq!(page.attributes("select[name=status] [selected]", "value"), ["available"]);
    }
    let none = operator.post("/fleet/jobs", &[&job[..], &[("to_city", "boston")]].concat()).await;
    assert_eq!(none.texts(".note.error"), ["Please choose vehicles first."]);
    assert_eq!(none.attributes("#to_city [selected]", "value"), ["boston"]);
    assert_eq!(world.rows().await, before);
    end(world, instance).await;
}

#[actix_web::test]
async fn what_somebody_else_changed_is_refused_with_what_changed() {
    let (world, instance, operator) = scene(60).await;
    let sql = world.sql().await;
    let riders = crowd(&instance, 3).await;
    let bikes = bikes(&sql, "new-york").await;
    // Seen before a rider took one of them.
    let seen = chosen(&world, "city = 'new-york' AND status = 'available'").await;
    let drawn = world.clock.now().to_rfc3339();
    riders[0].browser.start(&bikes[0], Uuid::new_v4(), "").await.location();
    let by_list = ask(&operator, "new-york", "lost", &list(&seen[..20])).await;
    let by_filter = ask(&operator, "new-york", "retire", &[("drawn", &drawn)]).await;
    // And after the job was asked for, before it is confirmed.
    riders[1].browser.start(&bikes[1], Uuid::new_v4(), "").await.location();
    riders[2].browser.reserve(&bikes[2]).await.location();
    for job in [&by_list, &by_filter] {
        let page = operator.get(job).await;
        assert!(page.text().contains("Changed since the page was drawn: ride.started at 20"), "{}", page.text());
    }
    let text = done(&operator, &by_list).await.text();
    assert_eq!(text.matches("ride.started at 20").count(), 2, "{text}");
    assert_eq!(text.matches("vehicle.reserved at 20").count(), 1, "{text}");
    done(&operator, &by_filter).await;
    let lost = "SELECT count(*) FROM vehicles WHERE status = 'lost'";
    // Everything but those that the first job had changed, and the riders.
    assert_eq!(world.count(lost).await, 17);
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE status = 'in_use'").await, 2);
    let reasons = "SELECT count(*) FROM job_items WHERE reason LIKE 'changed: vehicle.lost at %'";
    assert_eq!(world.count(reasons).await, 17);
    // One that is being ridden when the page is drawn is no change.
    let ridden = chosen(&world, "status = 'in_use'").await;
    let text = done(&operator, &ask(&operator, "new-york", "lost", &list(&ridden)).await).await.text();
    assert_eq!(text.matches("It is reserved or being ridden.").count(), 2, "{text}");
    drop(sql);
    end(world, instance).await;
}

#[actix_web::test]
async fn two_who_turn_at_once_do_each_vehicle_once() {
    let (world, instance, operator) = idle_scene(900).await;
    let other = world.instance_with("us-east1", &IDLE).await;
    let job = ask(&operator, "new-york", "maintenance", &[("status", "available")]).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    // As if leases had run out: the items themselves hold.
    for _ in 0..4 {
        let both = (0..8).map(|n| batch(if n % 2 == 0 { &instance } else { &other }, &job));
        futures_util::future::join_all(both).await.into_iter().for_each(Result::unwrap);
    }
    assert_eq!(world.count("SELECT count(*) FROM jobs WHERE state = 'done'").await, 1);
    let items = world.count("SELECT count(*) FROM job_items WHERE state = 'done'").await;
    assert!(items > 400, "{items}");
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'vehicle.maintenance'").await, items);
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'job.done'").await, 1);
    other.running.stop().await;
    end(world, instance).await;
}

#[actix_web::test]
async fn a_page_of_a_running_job_only_looks_and_a_worker_does_it_with_one_lease() {
    let (world, instance, operator) = idle_scene(500).await;
    let job = ask(&operator, "new-york", "maintenance", &[("status", "available")]).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    let before = world.rows().await;
    for _ in 0..3 {
        let page = operator.get(&job).await;
        assert_eq!(page.attributes(&format!("a[href='{job}']"), "data-refresh"), ["2"]);
    }
    assert_eq!(world.rows().await, before, "looking changes nothing");
    // One has the lease until it ends by the server's clock, and the page shows how far it is.
    let (service, which) = (&instance.running.state.service, "us-east1".parse().unwrap());
    let which = JobRef { region: which, id: job.rsplit_once('/').unwrap().1.parse().unwrap() };
    let [one, two] = [Uuid::new_v4(), Uuid::new_v4()];
    let lease = async |worker| {
        service.db.write_with_retry(&which.region, async |conn| jobs::lease(conn, &which, 1, worker).await).await
    };
    let next = async |worker: Uuid| {
        let conn = service.db.at(&which.region).await.unwrap();
        jobs::list_next(&conn, &which.region, worker, &[], world.clock.now()).await.unwrap().len()
    };
    assert_eq!((next(one).await, next(two).await), (1, 1));
    assert_eq!(lease(one).await.unwrap(), Verdict::Done);
    assert_eq!((lease(two).await.unwrap(), lease(one).await.unwrap()), (Verdict::Already, Verdict::Done));
    assert_eq!((next(one).await, next(two).await), (1, 0));
    batch(&instance, &job).await.unwrap();
    assert!(operator.get(&job).await.text().contains("Done 0"), "as of the last lease");
    lease(one).await.unwrap();
    assert!(operator.get(&job).await.text().contains("Done 200"), "{}", operator.get(&job).await.text());
    world.set("UPDATE jobs SET lease_until = now() - '1 s'::INTERVAL").await;
    assert_eq!((lease(two).await.unwrap(), lease(one).await.unwrap()), (Verdict::Done, Verdict::Already));
    let gate = "UPDATE region_gates SET write_state = 'read_only', epoch = 2 WHERE region = 'us-east1'";
    world.set(gate).await;
    assert_eq!(lease(two).await.unwrap(), Verdict::Gate);
    world.set("UPDATE region_gates SET write_state = 'writable', epoch = 1 WHERE region = 'us-east1'").await;
    end(world, instance).await;
}

#[actix_web::test]
async fn an_operator_who_loses_the_role_goes_no_further() {
    let (world, instance, operator) = idle_scene(500).await;
    let second = self::operator(&instance, "new-york", &["new-york"]).await;
    let job = ask(&operator, "new-york", "maintenance", &[("status", "available")]).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    batch(&instance, &job).await.unwrap();
    let done_by = "SELECT count(*) FROM job_items WHERE state = 'done'";
    assert_eq!(world.count(done_by).await, 200, "one batch");
    let taken =
        "DELETE FROM role_grants WHERE user_id = (SELECT id FROM users WHERE username = '{}') AND city = 'new-york'";
    world.set(&taken.replace("{}", &operator.name)).await;
    for path in [job.clone(), format!("{job}/report.csv")] {
        assert_eq!(operator.get(&path).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(operator.post(&format!("{job}/cancel"), &[]).await.status, StatusCode::FORBIDDEN);
    // The statement itself says so, whatever the worker has checked before.
    let turned = batch(&instance, &job).await;
    assert!(matches!(turned, Err(ops::OpError::Refused(movr::domain::refusal::Refusal::NotOperator))), "{turned:?}");
    let working = world.instance("us-east1").await;
    world.until("SELECT count(*) FROM jobs WHERE progress->>'paused' = 'not_operator'", 1).await;
    let text = second.get(&job).await.text();
    assert!(text.contains("no longer operates its cities"), "{text}");
    assert_eq!(world.count(done_by).await, 200);
    // With the role it goes on.
    ops::accounts::grant(&instance.running.state.service.db, &operator.name, "operator", "new-york").await.unwrap();
    world.until("SELECT count(*) FROM jobs WHERE state = 'done'", 1).await;
    assert_eq!(world.count(done_by).await, world.count("SELECT count(*) FROM job_items").await);
    working.running.stop().await;
    end(world, instance).await;
}

#[actix_web::test]
async fn a_lost_reply_to_a_turn_doubles_nothing() {
    let (world, past, operator) = idle_scene(150).await;
    let proxy = Proxy::before(&world.database.url).await;
    let instance = world.instance_with("us-east1", &[("DATABASE_URL", &proxy.url)]).await;
    let operator = operator.at(&instance);
    let job = ask(&operator, "new-york", "lost", &[("status", "available")]).await;
    // The batch's statement carries the action's name.
    proxy.lose_reply_to(b"vehicle.lost", 0);
    let page = done(&operator, &job).await;
    assert_eq!((page.status, proxy.lost()), (StatusCode::OK, 1), "{}", page.text());
    let items = world.count("SELECT count(*) FROM job_items WHERE state = 'done'").await;
    assert_eq!(items, world.count("SELECT count(*) FROM vehicles WHERE status = 'lost'").await);
    assert!(page.text().contains("Done"), "{}", page.text());
    instance.running.stop().await;
    drop(proxy);
    end(world, past).await;
}

#[actix_web::test]
async fn a_cancelled_job_goes_no_further_and_its_report_says_what_was_done() {
    let (world, instance, operator) = idle_scene(500).await;
    world.set("UPDATE vehicles SET code = '=SUM(' || substr(id::TEXT, 1, 8) || ')' WHERE city = 'new-york'").await;
    let job = ask(&operator, "new-york", "maintenance", &[("status", "available")]).await;
    let id = job.rsplit_once('/').unwrap().1.to_owned();
    let env = [("DATABASE_URL", world.database.url.as_str())];
    let early = movr(&["operator", "job", "us-east1", &id], &env).await;
    assert!(early.code == Some(1) && early.err.contains("waits to be confirmed"), "{early:?}");
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    batch(&instance, &job).await.unwrap();
    assert_eq!(operator.post(&format!("{job}/cancel"), &[]).await.location(), job);
    let page = operator.get(&job).await;
    assert!(page.flash().contains("What was done stays.") && page.text().contains("Cancelled"), "{}", page.text());
    let items = world.count("SELECT count(*) FROM job_items").await;
    assert_eq!(world.count("SELECT count(*) FROM job_items WHERE state = 'done'").await, 200);
    assert_eq!(world.count("SELECT count(*) FROM job_items WHERE state = 'cancelled'").await, items - 200);
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE status = 'maintenance' AND version > 1").await, 200);
    let over = movr(&["operator", "job", "us-east1", &id], &env).await;
    assert!(over.code == Some(0) && over.out.contains("the job is cancelled"), "{over:?}");
    let report = operator.get(&format!("{job}/report.csv")).await;
    let lines: Vec<&str> = report.body.lines().collect();
    assert_eq!(i64::try_from(lines.len()).unwrap(), items + 1);
    assert_eq!(lines[0], "\u{feff}position,vehicle,code,what,state,reason,changes");
    assert!(lines[1].contains(",'=SUM(") && lines[1].ends_with(",Done,,"), "{}", lines[1]);
    assert!(lines[201].contains(",Cancelled,"), "{}", lines[201]);
    end(world, instance).await;
}

#[actix_web::test]
async fn the_command_does_a_job_to_its_end_under_the_gates() {
    let (world, instance, operator) = idle_scene(500).await;
    let job = ask(&operator, "new-york", "maintenance", &[("status", "available")]).await;
    operator.post(&format!("{job}/confirm"), &[]).await.location();
    let id = job.rsplit_once('/').unwrap().1.to_owned();
    let env = [("DATABASE_URL", world.database.url.as_str())];
    world.set("UPDATE region_gates SET write_state = 'read_only', epoch = 2 WHERE region = 'us-east1'").await;
    let closed = movr(&["operator", "job", "us-east1", &id], &env).await;
    assert!(closed.code == Some(1) && closed.err.contains("read-only"), "{closed:?}");
    world.set("UPDATE region_gates SET write_state = 'writable', epoch = 3 WHERE region = 'us-east1'").await;
    let ended = movr(&["operator", "job", "us-east1", &id], &env).await;
    assert!(ended.code == Some(0) && ended.out.ends_with("the job is done\n"), "{ended:?}");
    let items = world.count("SELECT count(*) FROM job_items").await;
    let events = "SELECT count(*) FROM events WHERE action = 'vehicle.maintenance' AND actor_id IS NULL AND epoch = 3";
    assert_eq!(world.count(events).await, items);
    let unknown = movr(&["operator", "job", "us-east1", &Uuid::nil().to_string()], &env).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("there is no job"), "{unknown:?}");
    end(world, instance).await;
}

#[actix_web::test]
async fn a_form_sent_eight_times_at_once_makes_one_job() {
    let (world, instance, operator) = scene(400).await;
    let page = operator.get("/fleet/jobs?city=new-york").await;
    let (id, drawn) = (page.field("id"), page.field("drawn"));
    let fields = [("id", &*id), ("city", "new-york"), ("kind", "lost"), ("all", "1"), ("drawn", &*drawn)];
    let pages = futures_util::future::join_all((0..8).map(|_| operator.post("/fleet/jobs", &fields))).await;
    let made = pages[0].location();
    assert!(made.starts_with("/fleet/jobs/us-east1/") && !made.ends_with(&id), "{made}");
    for page in pages {
        assert_eq!(page.location(), made);
    }
    assert_eq!(world.count("SELECT count(*) FROM jobs WHERE NOT parameters ? 'selecting'").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM job_items").await, 400);
    // The same form of another person makes their own.
    let other = self::operator(&instance, "new-york", &["new-york"]).await;
    let others = other.post("/fleet/jobs", &fields).await.location();
    assert!(others.starts_with("/fleet/jobs/us-east1/") && others != made, "{others}");
    // What no page of ours sends.
    let chosen = chosen(&world, "city = 'new-york'").await;
    let form = |vehicles: &[String]| {
        let form = format!("id={}&city=new-york&kind=lost", Uuid::new_v4());
        let list = vehicles.iter().map(|vehicle| format!("vehicle={vehicle}"));
        std::iter::once(form).chain(list).collect::<Vec<_>>().join("&")
    };
    let send = async |text: String| operator.post_raw("/fleet/jobs", "application/x-www-form-urlencoded", text).await;
    assert_eq!(send(form(&chosen[..201])).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(send(form(&chosen[..1]) + "&city=boston").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(send(form(&[])).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.count("SELECT count(*) FROM jobs").await, 2);
    let job = send(form(&chosen[..200])).await.location();
    assert!(operator.get(&job).await.text().contains("200 vehicles of New York will be marked as lost."));
    end(world, instance).await;
}

#[actix_web::test]
async fn the_list_says_how_far_a_job_is_and_whose_and_can_be_filtered() {
    let (world, instance, ann) = scene(20).await;
    let bob = operator(&instance, "boston", &["new-york"]).await;
    let renee = operator(&instance, "paris", &["new-york"]).await;
    let n = world.count("SELECT count(*) FROM vehicles WHERE city = 'new-york' AND status = 'available'").await;
    let street = [("status", "available")];
    let asked = ask(&bob, "new-york", "lost", &street).await;
    let abroad = ask(&renee, "new-york", "lost", &street).await;
    assert!(renee.post(&format!("{abroad}/cancel"), &[]).await.location().ends_with(&abroad));
    let over = ask(&ann, "new-york", "maintenance", &street).await;
    done(&ann, &over).await;
    let page = ann.get("/fleet/jobs?city=new-york").await;
    assert_eq!(page.timing().1, 1, "one wait");
    let rows = page.texts("ul.rows li");
    for (row, words) in rows.iter().zip([
        [
            "Put into maintenance in New York".to_owned(),
            format!("{n} of {n} done"),
            "by you".to_owned(),
            "Done".to_owned(),
        ],
        [
            "Mark as lost in New York".to_owned(),
            format!("{n} vehicles, {n} cancelled"),
            "by an operator from Europe West (Belgium)".to_owned(),
            "Cancelled".to_owned(),
        ],
        [
            "Mark as lost in New York".to_owned(),
            format!("{n} vehicles"),
            format!("by {}", bob.name),
            "Needs confirmation".to_owned(),
        ],
    ]) {
        assert!(words.iter().all(|words| row.contains(words)), "{words:?}: {row}");
    }
    for (show, jobs) in [
        ("", vec![&over, &abroad, &asked]),
        ("mine", vec![&over]),
        ("confirm", vec![&asked]),
        ("running", vec![]),
        ("done", vec![&over]),
        ("cancelled", vec![&abroad]),
    ] {
        let page = ann.get(&format!("/fleet/jobs?city=new-york&show={show}")).await;
        assert_eq!(page.attributes("ul.rows a", "href"), jobs.into_iter().cloned().collect::<Vec<_>>(), "{show}");
    }
    let whole = ann.get("/fleet/jobs?city=new-york").await.attributes("ul.rows a", "href");
    let wrong = ann.get("/fleet/jobs?city=new-york&show=x").await;
    assert_eq!((wrong.status, wrong.texts("[role=alert]").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    assert_eq!(wrong.attributes("ul.rows a", "href"), whole, "the list without it");
    end(world, instance).await;
}

/// Whatever a list is filtered by, it reads as much; and a job with many items costs the others nothing.
#[actix_web::test]
async fn a_search_of_the_jobs_is_bounded_and_so_is_what_it_counts() {
    let (world, instance, operator) = idle_scene(30).await;
    let available = chosen(&world, "city = 'new-york' AND status = 'available'").await;
    let mine = ask(&operator, "new-york", "lost", &list(&available[..2])).await;
    world
        .set(
            "INSERT INTO jobs (region, id, kind, city, state, requested_region, requested_by, parameters, created_at)
             SELECT region, gen_random_uuid(), kind, city, state, requested_region, gen_random_uuid(), parameters,
               created_at + n * '1 ms'::INTERVAL FROM jobs, generate_series(1, 1000) AS n",
        )
        .await;
    world.clock.advance(chrono::Duration::seconds(10));
    for (show, pages) in [("mine", 2), ("confirm", 41), ("cancelled", 2)] {
        let (mut path, mut found, mut seen) = (format!("/fleet/jobs?city=new-york&show={show}"), Vec::new(), 0);
        loop {
            let page = operator.get(&path).await;
            let rows = page.attributes("ul.rows a", "href");
            assert_eq!(page.text().contains("No matches so far"), show != "confirm" && seen == 0, "{}", page.text());
            (seen, found) = (seen + 1, [found, rows].concat());
            match page.attributes("nav.pages a[rel=next]", "href").pop() {
                Some(next) => path = next,
                None => break,
            }
        }
        found.sort();
        found.dedup();
        let (jobs, last) = (found.len(), found.contains(&mine));
        let expected = match show {
            "mine" => (1, true),
            "confirm" => (1001, true),
            _ => (0, false),
        };
        assert_eq!((jobs, last, seen), (expected.0, expected.1, pages), "{show}");
    }
    world.set("DELETE FROM jobs WHERE NOT EXISTS (SELECT 1 FROM job_items WHERE job_id = jobs.id)").await;

    let file = "code,type,brand,colour\nN-1,bike,Trek,red\nN-2,bike,Trek,red\nN-3,tank,Trek,red\n";
    let imported = operator.upload("/fleet/import?city=new-york", file.as_bytes()).await.location();
    let large = ask(&operator, "new-york", "retire", &list(&available[2..3])).await;
    let id = |job: &str| job.rsplit_once('/').unwrap().1.to_owned();
    let fill = |from: i32, to: i32| {
        let columns = "region, job_id, position, input, state";
        let items =
            format!("SELECT 'us-east1', '{}', n, '{{}}', 'waiting' FROM generate_series({from}, {to}) n", id(&large));
        format!("INSERT INTO job_items ({columns}) {items}")
    };
    // What a file holds is said by its job, not counted.
    world.set(&format!("DELETE FROM job_items WHERE job_id = '{}'", id(&imported))).await;
    for (filled, words) in [(fill(2, 10_000), "10,000 vehicles"), (fill(10_001, 10_001), "more than 10,000 vehicles")] {
        world.set(&filled).await;
        let rows = operator.get("/fleet/jobs?city=new-york").await.texts("ul.rows li");
        assert_eq!(rows.len(), 3);
        for (row, words) in rows.iter().zip([words, "3 lines, 1 refused", "2 vehicles"]) {
            assert!(row.contains(&format!("New York {words}")), "{words}: {row}");
        }
    }
    end(world, instance).await;
}

/// However a job ends, its own row says how: the list and its page count nothing again.
#[actix_web::test]
async fn a_job_that_is_over_is_listed_without_its_items() {
    let (world, instance, _) = idle_scene(230).await;
    let operator = operator(&instance, "boston", &["new-york", "amsterdam"]).await;
    let confirm = async |job: &str| operator.post(&format!("{job}/confirm"), &[]).await.location();
    let available = chosen(&world, "city = 'new-york' AND status = 'available'").await;
    let (lost, sent) = (&available[..20], &available[20..25]);
    // Each with something that is refused.
    let changed = ask(&operator, "new-york", "lost", &list(lost)).await;
    let moved = ask(&operator, "new-york", "move", &[&list(sent)[..], &[("to_city", "amsterdam")]].concat()).await;
    for vehicle in [&lost[0], &sent[0]] {
        let (id, _) = vehicle.split_once(':').unwrap();
        world.set(&format!("UPDATE vehicles SET status = 'lost' WHERE id = '{id}'")).await;
    }
    let file = "code,type,brand,colour\nN-1,bike,Trek,red\nN-2,bike,Trek,red\nN-3,tank,Trek,red\n";
    let imported = operator.upload("/fleet/import?city=new-york", file.as_bytes()).await.location();
    let new = [("new_status", "maintenance")];
    assert_eq!(operator.post(&format!("{imported}/confirm"), &new).await.location(), imported);
    for job in [&changed, &moved] {
        confirm(job).await;
    }
    for job in [&changed, &moved, &moved, &imported] {
        batch(&instance, job).await.unwrap();
    }
    let all = ask(&operator, "new-york", "maintenance", &[("status", "available")]).await;
    // More than one statement cancels, after a batch that did some.
    let id = all.rsplit_once('/').unwrap().1;
    let more = "INSERT INTO job_items (region, job_id, position, input, state)
        SELECT 'us-east1', '{}', n, '{}', 'waiting' FROM generate_series(1001, 6501) n";
    world.set(&more.replacen("{}", id, 1)).await;
    confirm(&all).await;
    batch(&instance, &all).await.unwrap();
    operator.post(&format!("{all}/cancel"), &[]).await.location();
    let stays = chosen(&world, "city = 'new-york' AND status = 'maintenance'").await;
    let waits = ask(&operator, "new-york", "retire", &list(&stays[..1])).await;

    let differ = "SELECT count(*) FROM jobs WHERE state <> 'running' AND progress IS DISTINCT FROM (
        SELECT jsonb_build_object('waiting', 0, 'done', count(*) FILTER (WHERE i.state = 'done'),
          'refused', count(*) FILTER (WHERE i.state = 'refused'),
          'cancelled', count(*) FILTER (WHERE i.state = 'cancelled')) FROM job_items i WHERE i.job_id = jobs.id)";
    assert_eq!(world.count("SELECT count(*) FROM jobs WHERE state <> 'running'").await, 4);
    assert_eq!(world.count(differ).await, 0);
    let listed = async || operator.get("/fleet/jobs?city=new-york").await.texts("ul.rows li");
    let rows = listed().await;
    for (row, words) in rows.iter().zip([
        "1 vehicle ", "refused, 5,49", "2 of 3 done, 1 refused", "4 of 5 done, 1 refused", "19 of 20 done, 1 refused",
    ]) {
        assert!(row.contains(words), "{words}: {row}");
    }
    let pages = async || {
        let mut facts = Vec::new();
        for job in [&changed, &moved, &imported, &all] {
            facts.push(operator.get(job).await.texts("dl.facts"));
        }
        facts
    };
    let facts = pages().await;
    // As an older release has left one: it is counted.
    world
        .set(&format!(
            "UPDATE jobs SET progress = '{{\"waiting\": 20, \"done\": 0, \"refused\": 0}}' WHERE id = '{}'",
            changed.rsplit_once('/').unwrap().1
        ))
        .await;
    assert_eq!((listed().await, pages().await), (rows.clone(), facts.clone()));
    let others = "DELETE FROM job_items WHERE job_id IN (SELECT id FROM jobs WHERE progress ? 'cancelled')";
    world.set(others).await;
    assert_eq!((listed().await, pages().await), (rows, facts));
    assert!(operator.get(&waits).await.text().contains("1 vehicle of New York will be retired"));
    end(world, instance).await;
}
