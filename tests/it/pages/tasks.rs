//! Riders' reports and what operators do about them: a report is one task however often it is
//! sent, the third person takes the vehicle off the street, and after an erasure nobody is named.

use chrono::Duration;
use movr::db::tasks;
use reqwest::StatusCode;
use serde_json::Value;

use super::rides;
use crate::{
    ops::jobs,
    support::{
        Browser, World,
        app::{Instance, PASSWORD},
        crowd::{Bike, END, bikes, crowd, redirect},
        html::Page,
        rows::pairs,
        world,
    },
};

async fn scene() -> (World, Instance, Vec<Bike>) {
    let world = world().await;
    world.sample(&["new-york"], 0, 12).await;
    let instance = world.instance("us-east1").await;
    let bikes = bikes(&world.sql().await, "new-york").await;
    (world, instance, bikes)
}

fn page_of(bike: &Bike) -> String {
    format!("/vehicles/{}/{}", bike.region, bike.public_id)
}

/// Sends a report about the page of a vehicle or ride; its form carries `task`.
async fn send(rider: &Browser, about: &str, task: &str, problem: &str) -> Page {
    let form = [("task", task), ("problem", problem), ("note", "left side")];
    rider.post(&format!("{about}/report"), &form).await
}

async fn report(rider: &Browser, about: &str, problem: &str) -> Page {
    send(rider, about, &uuid::Uuid::new_v4().to_string(), problem).await
}

/// What the next page tells of it.
async fn told(rider: &Browser, sent: &Page) -> String {
    rider.get(&sent.location()).await.flash()
}

const OPEN: &str = "SELECT count(*) FROM tasks WHERE state = 'open'";

#[actix_web::test]
async fn a_report_becomes_a_task_that_an_operator_takes_and_finishes() {
    let (world, instance, bikes) = scene().await;
    let ann = instance.person("new-york").await;
    let (one, two) = (
        jobs::operator(&instance, "new-york", &["new-york"]).await,
        jobs::operator(&instance, "new-york", &["new-york"]).await,
    );
    let about = page_of(&bikes[0]);
    assert_eq!(instance.browser().get(&about).await.texts("form[action$=\"/report\"]"), [""; 0], "signed in only");
    let form = ann.get(&about).await;
    let task = form.field("task");
    let sent = send(&ann, &about, &task, "brakes").await;
    assert_eq!(sent.timing(), (1, 1), "one statement");
    assert!(told(&ann, &sent).await.contains("Thank you for telling us"));
    assert!(told(&ann, &send(&ann, &about, &task, "brakes").await).await.contains("Thank you"), "a double click");
    assert_eq!(world.count(OPEN).await, 1);
    assert!(told(&ann, &report(&ann, &about, "lock").await).await.contains("You have already reported this vehicle."));
    for wrong in ["", "rocket"] {
        assert!(told(&ann, &report(&ann, &about, wrong).await).await.contains("Please choose what is wrong."));
    }
    assert_eq!(world.count(OPEN).await, 1);

    let list = one.get("/fleet/tasks").await;
    assert_eq!(list.timing(), (3, 1), "session, tasks, vehicles to approve");
    let line = list.texts("ul.rows li").join("");
    for word in ["The brakes don't work properly", "“left side”", "Available"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(!list.body.contains(&ann.name), "nobody sees who reported");
    let action = list.attributes("ul.rows form", "action").remove(0);
    let step = |page: &Page, step: &str| {
        let mut fields = ["version", "command", "vehicle"].map(|name| (name.to_owned(), page.field(name))).to_vec();
        fields.push(("step".to_owned(), step.to_owned()));
        fields
    };
    let elsewhere = jobs::operator(&instance, "new-york", &["boston"]).await;
    let before = world.rows().await;
    assert_eq!(elsewhere.post(&action, &pairs(&step(&list, "take"))).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ann.post(&action, &pairs(&step(&list, "take"))).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.rows().await, before);
    let taken = one.post(&action, &pairs(&step(&list, "take"))).await;
    assert!(told(&one, &taken).await.contains("This task is yours now."));
    let again = one.post(&action, &pairs(&step(&list, "take"))).await;
    assert!(told(&one, &again).await.contains("That was done already."), "a double click");
    let late = two.post(&action, &pairs(&step(&list, "take"))).await;
    assert!(told(&two, &late).await.contains("This was changed since the page was loaded."), "one of them has it");
    assert!(two.get("/fleet/tasks").await.text().contains(&one.name), "and the other sees who");
    assert_eq!(two.get("/fleet/tasks?show=mine").await.texts("ul.rows li").len(), 0);
    let wrong = two.get("/fleet/tasks?show=x").await;
    assert_eq!((wrong.status, wrong.texts("[role=alert]").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    assert!(wrong.text().contains(&one.name), "the list without it: {}", wrong.text());
    let vehicle = one.get(&one.get("/fleet/tasks?show=mine").await.attributes("ul.rows li a", "href")[0]).await;
    assert!(vehicle.texts("[aria-labelledby=tasks] li").join("").contains("yours"), "{}", vehicle.text());
    let mine = one.get("/fleet/tasks?show=mine").await;
    one.post(&action, &pairs(&step(&mine, "finish"))).await;
    assert_eq!(world.count(OPEN).await, 0);
    assert!(one.get("/fleet/tasks?show=done").await.texts("ul.rows li").join("").contains("yours"));
    assert!(one.get("/fleet/audit?type=task").await.text().contains("task.finished"), "its operators see its events");
    assert!(told(&ann, &report(&ann, &about, "lock").await).await.contains("Thank you"), "it can be reported again");
    // At the same time.
    let (list, other) = (one.get("/fleet/tasks").await, two.get("/fleet/tasks").await);
    let action = list.attributes("ul.rows form", "action").remove(0);
    let steps = [step(&list, "take"), step(&other, "take")];
    let steps = [pairs(&steps[0]), pairs(&steps[1])];
    let both = futures_util::join!(one.post(&action, &steps[0]), two.post(&action, &steps[1]));
    let mut said = [told(&one, &both.0).await, told(&two, &both.1).await];
    said.sort();
    assert!(said[0].contains("This task is yours now.") && said[1].contains("This was changed since"), "{said:?}");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn operators_are_named_only_under_their_own_law() {
    let world = world().await;
    world.sample(&["paris"], 0, 3).await;
    let (here, there) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let renee = jobs::operator(&there, "paris", &["paris"]).await;
    let sam = jobs::operator(&here, "new-york", &["paris"]).await;
    let bike = &bikes(&world.sql().await, "paris").await[0];
    report(&there.person("paris").await, &page_of(bike), "brakes").await.location();
    let list = renee.get("/fleet/tasks").await;
    let mut take = ["version", "command", "vehicle"].map(|name| (name.to_owned(), list.field(name))).to_vec();
    take.push(("step".to_owned(), "take".to_owned()));
    renee.post(&list.attributes("ul.rows form", "action")[0], &pairs(&take)).await.location();
    for path in ["/fleet/tasks?city=paris", &format!("/fleet/vehicles/{}/{}", bike.region, bike.id)] {
        let page = sam.get(path).await;
        assert!(page.text().contains("another operator") && !page.body.contains(&renee.name), "{}", page.text());
        let page = sam.at(&there).get(path).await;
        assert!(page.text().contains(&renee.name), "{}", page.text());
    }
    jobs::ask(&renee, "paris", "lost", &[("status", "available")]).await;
    let asked = sam.get("/fleet/jobs?city=paris").await;
    assert!(asked.text().contains("by an operator from") && !asked.body.contains(&renee.name), "{}", asked.text());
    assert!(sam.at(&there).get("/fleet/jobs?city=paris").await.text().contains(&format!("by {}", renee.name)));
    for (instance, named) in [(&here, false), (&there, true)] {
        let (conn, region) = (instance.running.state.service.db.here().await.unwrap(), bike.region.parse().unwrap());
        let cursor = (world.clock.now() + Duration::days(1), uuid::Uuid::nil());
        let read = tasks::list(&conn, (&region, "paris"), ("open", None), cursor, 9, named).await.unwrap();
        assert_eq!(read[0].username.is_some(), named, "what may not be shown is not read");
    }
    for instance in [here, there] {
        instance.running.stop().await;
    }
    world.end().await;
}

#[actix_web::test]
async fn three_people_put_a_vehicle_into_maintenance_and_one_person_never_does() {
    let (world, instance, bikes) = scene().await;
    let people: Vec<Browser> = crowd(&instance, 4).await.into_iter().map(|rider| rider.browser).collect();
    let status = async |bike: &Bike| {
        let of = format!("SELECT count(*) FROM vehicles WHERE id = '{}' AND status = 'maintenance'", bike.id);
        world.count(&of).await
    };
    for rider in [0, 0, 1, 0] {
        report(&people[rider], &page_of(&bikes[0]), "brakes").await.location();
    }
    assert_eq!((world.count(OPEN).await, status(&bikes[0]).await), (2, 0), "two people");
    // The third one has reserved it: with the vehicle the reservation goes.
    people[2].reserve(&bikes[0]).await.location();
    let third = report(&people[2], &page_of(&bikes[0]), "wheels").await;
    assert_eq!(third.timing(), (1, 1));
    assert_eq!((world.count(OPEN).await, status(&bikes[0]).await), (3, 1));
    assert_eq!(world.count("SELECT count(*) FROM users WHERE reserved_until IS NOT NULL").await, 0);
    assert_eq!(people[3].get(&page_of(&bikes[0])).await.status, StatusCode::NOT_FOUND);
    let gone = report(&people[3], &page_of(&bikes[0]), "wheels").await;
    let gone = redirect(&instance, &gone);
    assert!(!gone.good && gone.text.contains("nothing left to report"), "{gone:?}");
    let event = "SELECT count(*) FROM events WHERE action = 'vehicle.maintenance' AND actor_id IS NULL";
    assert_eq!(world.count(event).await, 1);
    // What was done about counts no longer.
    world.set("UPDATE tasks SET state = 'done', done_at = created_at; UPDATE vehicles SET status = 'available'").await;
    people[3].reserve(&bikes[0]).await.location();
    let ride = redirect(&instance, &people[3].start(&bikes[0], uuid::Uuid::new_v4(), "").await);
    assert!(ride.good, "{ride:?}");
    assert!(redirect(&instance, &rides::end(&people[3], &ride.location).await).good);
    assert_eq!(status(&bikes[0]).await, 0);
    let again = &self::bikes(&world.sql().await, "new-york").await[0];
    let ride = redirect(&instance, &people[3].start(again, uuid::Uuid::new_v4(), "").await);
    assert!(ride.good && again.id == bikes[0].id, "without a reservation: {ride:?}");
    rides::end(&people[3], &ride.location).await.location();
    // Nobody loses a reservation by what others say.
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    for bike in [&bikes[1], &bikes[4]] {
        people[3].reserve(bike).await.location();
        for rider in &people[..3] {
            report(rider, &page_of(bike), "missing").await.location();
        }
        assert_eq!(status(bike).await, 0);
        let ride = redirect(&instance, &people[3].start(bike, uuid::Uuid::new_v4(), "").await).location;
        let ended = if bike.id == bikes[1].id {
            rides::end(&people[3], &ride).await
        } else {
            operator.post(&format!("/fleet{ride}/end"), &[&END[..], &[("reason", "fault")]].concat()).await
        };
        assert!(redirect(&instance, &ended).good);
        assert_eq!(status(bike).await, 1, "but after their ride it is taken off the street");
    }
    let history = operator.get(&format!("/fleet/vehicles/{}/{}", bikes[1].region, bikes[1].id)).await.text();
    assert_eq!(history.matches("“3 riders reported a problem”").count(), 1, "and its history says why: {history}");
    // Nor does anybody ride it when the reservation is cancelled or lapses.
    for bike in &bikes[2..4] {
        people[3].reserve(bike).await.location();
        for rider in &people[..3] {
            report(rider, &page_of(bike), "missing").await.location();
        }
        if bike.id == bikes[2].id {
            people[3].post("/reservation/cancel", &bike.cancel()).await.location();
        } else {
            world.clock.advance(Duration::minutes(11));
        }
        let before = world.rows().await;
        for page in [people[0].reserve(bike).await, people[3].start(bike, uuid::Uuid::new_v4(), "").await] {
            let refused = redirect(&instance, &page);
            assert!(!refused.good && refused.text.contains("This vehicle is out of service."), "{refused:?}");
        }
        assert_eq!(world.rows().await, before);
        movr::ops::vehicles::withdraw_reported(&instance.running.state.service).await.unwrap();
        assert_eq!(status(bike).await, 1, "as every list and feed shows it");
    }
    assert_eq!(world.count(event).await, 5, "one for each");
    // Nor one that the release before let back by the end of a reservation.
    let set = async |status: &str| {
        world.set(&format!("UPDATE vehicles SET status = '{status}' WHERE id = '{}'", bikes[2].id)).await;
    };
    set("available").await;
    for page in [people[0].reserve(&bikes[2]).await, people[0].start(&bikes[2], uuid::Uuid::new_v4(), "").await] {
        let refused = redirect(&instance, &page);
        assert!(!refused.good && refused.text.contains("This vehicle is out of service."), "{refused:?}");
    }
    set("maintenance").await;
    // What its operators return to service, one or many, is ridden until it is reported anew.
    let open = world.count(OPEN).await;
    let fleet = format!("/fleet/vehicles/{}/{}", bikes[2].region, bikes[2].id);
    let seen = operator.get(&fleet).await;
    let field =
        |name: &str| seen.attributes(&format!("form[action$=\"/status\"] input[name={name}]"), "value").remove(0);
    let (version, command) = (field("version"), field("command"));
    let form = [("version", version.as_str()), ("command", &command), ("action", "back")];
    assert!(redirect(&instance, &operator.post(&format!("{fleet}/status"), &form).await).good);
    assert_eq!(world.count(OPEN).await, open - 3, "its tasks are done with that, and no others");
    people[0].reserve(&bikes[2]).await.location();
    people[0].post("/reservation/cancel", &bikes[2].cancel()).await.location();
    let back = jobs::ask(&operator, "new-york", "back", &[("status", "maintenance")]).await;
    jobs::done(&operator, &back).await;
    let finished = "SELECT count(*) FROM tasks JOIN events ON aggregate_id = id AND events.version = tasks.version
        WHERE action = 'task.finished' AND actor_id IS NOT NULL";
    assert_eq!((world.count(OPEN).await, world.count(finished).await), (0, 12));
    let ride = redirect(&instance, &people[0].start(&bikes[3], uuid::Uuid::new_v4(), "").await);
    assert!(ride.good && redirect(&instance, &rides::end(&people[0], &ride.location).await).good);
    assert_eq!(world.count("SELECT count(*) FROM vehicles WHERE status = 'maintenance'").await, 0);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn after_a_ride_its_rider_can_report_the_vehicle_for_a_day_and_ten_in_all() {
    let (world, instance, bikes) = scene().await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let ride = rides::start(&ann, "new-york").await;
    assert_eq!(ann.get(&ride).await.texts("form[action$=\"/report\"]"), [""; 0], "not while it goes on");
    assert!(told(&ann, &report(&ann, &ride, "brakes").await).await.contains("nothing left to report"));
    rides::end(&ann, &ride).await;
    assert_eq!(ann.get(&ride).await.attributes("form[action$=\"/report\"]", "action"), [format!("{ride}/report")]);
    let foreign = redirect(&instance, &report(&bob, &ride, "brakes").await);
    assert!(!foreign.good && foreign.text.contains("nothing left to report"), "{foreign:?}");
    assert_eq!(world.count(OPEN).await, 0);
    assert!(told(&ann, &report(&ann, &ride, "brakes").await).await.contains("Thank you"));
    let ridden = "SELECT count(*) FROM tasks JOIN rides ON rides.vehicle_id = tasks.vehicle_id";
    assert_eq!(world.count(ridden).await, 1);
    world.clock.advance(Duration::hours(25));
    ann.sign_in(&ann.name, PASSWORD).await;
    assert_eq!(ann.get(&ride).await.texts("form[action$=\"/report\"]"), [""; 0]);
    assert!(told(&ann, &report(&ann, &ride, "brakes").await).await.contains("nothing left to report"));
    for bike in bikes.iter().chain(&bikes) {
        report(&ann, &page_of(bike), "parking").await.location();
        world.set("UPDATE tasks SET state = 'done', done_at = created_at").await;
    }
    assert_eq!(world.count("SELECT count(*) FROM tasks").await, 11, "ten a day, and the one before");
    // With the public id that it has now.
    let bike = &crate::support::crowd::bikes(&world.sql().await, "new-york").await[0];
    let eleventh = redirect(&instance, &report(&ann, &page_of(bike), "lock").await);
    assert!(!eleventh.good && eleventh.text.contains("10 problems within a day"), "{eleventh:?}");
    // Of a vehicle that they reported, too: by another answer they would know it again wherever it is left.
    world.set("UPDATE tasks SET state = 'open', done_at = NULL").await;
    assert_eq!(redirect(&instance, &report(&ann, &page_of(bike), "lock").await).text, eleventh.text);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_disputed_charge_leads_to_its_ride_and_leaves_the_vehicle_on_the_street() {
    let (world, instance, bikes) = scene().await;
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    let people: Vec<Browser> = crowd(&instance, 4).await.into_iter().map(|rider| rider.browser).collect();
    let (ann, same) = (&people[0], async |rider: &Browser| {
        let all = self::bikes(&world.sql().await, "new-york").await;
        let bike = all.iter().find(|bike| bike.id == bikes[0].id).unwrap();
        let ride = redirect(&instance, &rider.start(bike, uuid::Uuid::new_v4(), "").await);
        assert!(ride.good, "{ride:?}");
        ride.location
    });
    let page = page_of(&bikes[0]);
    assert_eq!(ann.get(&page).await.texts("option[value=charge]"), [""; 0], "a vehicle costs nothing yet");
    let said = async |rider: &Browser, about: &str, problem: &str| {
        redirect(&instance, &report(rider, about, problem).await).text
    };
    assert!(said(ann, &page, "charge").await.contains("Please choose what is wrong."));
    let ride = same(ann).await;
    let outside = [("city", "new-york"), ("lat", "40.60"), ("lon", "-74.0"), ("outside", "1")];
    ann.post(&format!("{ride}/end"), &outside).await.location();
    assert_eq!(ann.get(&ride).await.texts("option[value=charge]"), ["I was charged too much"]);
    for (problem, words) in [("brakes", "Thank you"), ("charge", "Thank you"), ("charge", "You have already reported")]
    {
        assert!(said(ann, &ride, problem).await.contains(words), "{problem}");
    }
    for rider in &people[1..3] {
        let ride = same(rider).await;
        rides::end(rider, &ride).await.location();
        assert!(said(rider, &ride, "charge").await.contains("Thank you"));
    }
    // Three people say something, one of them of the vehicle: it is ridden again and again. Each charge can be disputed.
    for _ in 0..2 {
        let ride = same(&people[3]).await;
        rides::end(&people[3], &ride).await.location();
        assert!(said(&people[3], &ride, "charge").await.contains("Thank you"));
    }
    let charges = format!("{OPEN} AND problem = 'charge'");
    assert_eq!((world.count(OPEN).await, world.count(&charges).await), (6, 5));

    let list = operator.get("/fleet/tasks").await;
    let lines = list.texts("ul.rows li");
    let charged = lines.iter().filter(|line| line.contains("I was charged too much “left side” Ride"));
    assert_eq!(charged.count(), 5, "{lines:?}");
    let href = format!("/fleet{ride}");
    assert!(list.attributes("ul.rows li a", "href").contains(&href), "{}", list.body);
    assert!(operator.get(&href).await.text().contains("Out-of-area fee $15.00"));
    // What is done to the vehicle does not answer them.
    let set = format!("UPDATE vehicles SET status = 'maintenance' WHERE id = '{}'", bikes[0].id);
    world.set(&set).await;
    let back = jobs::ask(&operator, "new-york", "back", &[("status", "maintenance")]).await;
    jobs::done(&operator, &back).await;
    assert_eq!((world.count(OPEN).await, world.count(&charges).await), (5, 5));
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_export_has_what_one_reported_and_an_erasure_leaves_no_name_at_a_task() {
    let (world, instance, bikes) = scene().await;
    let ann = instance.person("new-york").await;
    let bob = jobs::operator(&instance, "new-york", &["new-york"]).await;
    report(&ann, &page_of(&bikes[0]), "brakes").await.location();
    report(&bob, &page_of(&bikes[1]), "lock").await.location();
    // Each is at what the other one reported.
    let at = "UPDATE tasks SET assignee_id = u.person FROM (SELECT id AS person FROM users) AS u WHERE u.person <> reporter_id;
        UPDATE users SET present_in = '[\"us-east1\"]'";
    world.set(at).await;
    let export: Value = serde_json::from_str(&ann.get("/profile/export").await.body).unwrap();
    let tasks = export["regions"]["us-east1"]["tasks"].as_array().unwrap();
    let told = |problem: &str| {
        let task = tasks.iter().find(|task| task["problem"] == problem).unwrap();
        ["reported_by_you", "assigned_to_you", "note"].map(|name| task[name].clone())
    };
    assert_eq!(tasks.len(), 2);
    assert_eq!(told("brakes"), [Value::from(true), Value::from(false), Value::from("left side")]);
    assert_eq!(told("lock"), [Value::from(false), Value::from(true), Value::Null], "somebody else's words");
    let name = format!("SELECT id::TEXT FROM users WHERE username = '{}'", ann.name);
    let name: String = world.sql().await.query_one(&name, &[]).await.unwrap().try_get(0).unwrap();
    ann.post("/profile/delete", &[("password", PASSWORD)]).await.location();
    world.until("SELECT count(*) FROM jobs WHERE state = 'done'", 1).await;
    assert!(!world.rows().await["tasks"].iter().any(|task| task.contains(&name)));
    let left = "SELECT count(*) FROM tasks WHERE problem = 'brakes' AND reporter_id IS NULL AND note IS NULL
        AND assignee_id IS NOT NULL OR problem = 'lock' AND reporter_id IS NOT NULL AND note IS NOT NULL";
    assert_eq!((world.count(left).await, world.count(OPEN).await), (2, 2), "and bob's are as they were");
    instance.running.stop().await;
    world.end().await;
}
