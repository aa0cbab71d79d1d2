//! A person's own vehicles: added in the home city, seen with their status, removed
//! with the version that was shown; nothing of it while somebody rides.

use reqwest::StatusCode;

use super::rides;
use crate::{
    ops::jobs,
    support::{Browser, app::PASSWORD, html::Page, rows::pairs, world},
};

const FORM: [(&str, &str); 7] = [
    ("type", "scooter"),
    ("brand", "Niu"),
    ("colour", "red"),
    ("code", "S-1"),
    ("place", "Main St"),
    ("lat", "40.7130"),
    ("lon", "-74.0050"),
];

/// Adds a vehicle; `changed` goes over a good form.
async fn add(owner: &Browser, changed: &[(&str, &str)]) -> Page {
    let id = owner.get("/my/vehicles").await.field("id");
    let mut form = vec![("id", id.as_str())];
    form.extend(FORM);
    for (name, value) in changed {
        form.retain(|(known, _)| known != name);
        form.push((name, value));
    }
    owner.post("/my/vehicles", &form).await
}

fn addresses(page: &Page) -> Vec<String> {
    page.attributes("ul.rows b a", "href")
}

/// The forms that remove vehicles of the list, on their pages.
async fn removals(owner: &Browser, list: &Page) -> Vec<String> {
    let mut forms = Vec::new();
    for vehicle in addresses(list) {
        forms.extend(owner.get(&vehicle).await.attributes("form[action$=\"/remove\"]", "action"));
    }
    forms
}

/// Sends a form of a vehicle's page with the version and id that the page has, and says what came
/// of it.
async fn act(browser: &Browser, page: &str, form: &str, more: &[(&str, &str)]) -> String {
    let seen = browser.get(page).await;
    let fields = ["version", "command"].map(|name| (name, seen.field(name)));
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = browser.post(&format!("{page}/{form}"), &[&fields[..], more].concat()).await;
    browser.get(&answer.location()).await.flash()
}

#[actix_web::test]
async fn an_owner_adds_sees_and_removes_a_vehicle() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    assert!(ann.get("/my/vehicles").await.text().contains("No vehicles yet."));
    assert_eq!(add(&ann, &[]).await.location(), "/my/vehicles");
    let page = ann.get("/my/vehicles").await;
    assert!(page.flash().contains("as soon as an operator has approved it"), "{}", page.flash());
    assert!(page.texts("ul.rows li").join("").contains("Waiting for approval"), "{}", page.text());
    let street = async || bob.get("/vehicles?city=new-york&lat=40.7130&lon=-74.0050").await.texts("#v1").join("");
    assert_eq!(street().await, "", "nobody sees it yet");
    let feed = bob.get("/gbfs/3/new-york/vehicle_status.json").await;
    assert!(feed.body.contains(r#""vehicles":[]"#), "nor does anybody by the feed: {}", feed.body);
    // Its operators find it in their list and among their tasks, and approve it.
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    let fleet = operator.get("/fleet?city=new-york&status=maintenance").await;
    assert!(fleet.texts("tbody tr").join("").contains("Waiting for approval"), "{}", fleet.text());
    let vehicle = operator.get(&fleet.attributes("tbody th a", "href").remove(0)).await;
    assert_eq!(vehicle.attributes("button[value=back]", "name"), [""; 0], "not by the usual step");
    let waiting = operator.get("/fleet/tasks?city=new-york").await.attributes("[aria-labelledby=waiting] a", "href");
    let [page] = waiting.try_into().unwrap();
    assert!(act(&operator, &page, "status", &[("action", "back")]).await.contains("once it is approved"));
    assert!(act(&operator, &page, "approval", &[("answer", "yes")]).await.contains("The vehicle is on the street"));
    assert!(operator.get("/fleet/tasks?city=new-york").await.texts("[aria-labelledby=waiting] a").is_empty());
    let page = ann.get("/my/vehicles").await;
    let line = page.texts("ul.rows li").join("");
    assert!(!line.contains("Waits") && !operator.get("/fleet?city=new-york").await.text().contains("Waits"));
    for word in ["Niu, red scooter", "Available", "New York", "Main St", "100% battery", "S-1"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(street().await.contains("0 ft"));
    assert!(!bob.get("/my/vehicles").await.text().contains("Niu"), "others see their own only");
    let [remove] = removals(&ann, &page).await.try_into().unwrap();
    let done = ann.post(&remove, &[("version", &page.field("version"))]).await;
    assert_eq!(done.location(), "/my/vehicles");
    assert!(ann.get("/my/vehicles").await.text().contains("No vehicles yet."));
    assert_eq!(ann.get("/vehicles?city=new-york").await.texts(".cards > li").len(), 0);
    assert_eq!(ann.post(&remove, &[("version", "1")]).await.location(), "/my/vehicles", "a double click does no harm");
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'vehicle.retired'").await, 1);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn what_is_wrong_with_a_new_vehicle_is_said_and_nothing_is_added() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let before = world.rows().await;
    let long = "x".repeat(121);
    for (field, value, wrong) in [
        ("type", "rocket", "type"),
        ("brand", "a\u{202e}b", "brand"),
        ("colour", "\u{3164}", "colour"),
        ("place", "a\u{200b}b", "place"),
        ("brand", "", "brand"),
        ("brand", &long, "brand"),
        ("colour", " ", "colour"),
        ("colour", &long, "colour"),
        ("code", &long, "code"),
        ("place", &long, "place"),
        ("lat", "91", "lat"),
        ("lat", "NaN", "lat"),
        ("lon", "-181", "lat"),
        ("lon", "", "lat"),
        // In the home city only: this is in Boston.
        ("lat", "42.36", "lat"),
    ] {
        let page = add(&ann, &[(field, value)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}={value}");
        assert_eq!(page.texts(&format!("#{wrong}-error")).len(), 1, "{field}={value}: {}", page.text());
        assert!(field == "brand" || page.field("brand") == "Niu", "the rest is kept");
    }
    assert_eq!(world.rows().await, before);
    // What a form does not have is not believed: owner, status, battery, city, region.
    let more =
        [("owner_id", "x"), ("status", "in_use"), ("battery", "1"), ("city", "paris"), ("region", "europe-west1")];
    assert_eq!(add(&ann, &more).await.location(), "/my/vehicles");
    let good = "SELECT count(*) FROM vehicles WHERE region = 'us-east1' AND city = 'new-york' AND status = 'maintenance' AND battery = 100";
    assert_eq!(world.count(good).await, 1);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_code_is_used_once_in_a_city_and_a_form_once() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let boston = instance.person("boston").await;
    let id = uuid::Uuid::new_v4().to_string();
    assert_eq!(add(&ann, &[("id", &id)]).await.location(), "/my/vehicles");
    assert_eq!(add(&ann, &[("id", &id)]).await.location(), "/my/vehicles", "a double click adds one");
    let before = world.rows().await;
    let taken = add(&bob, &[]).await;
    assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(taken.text().contains("Another vehicle in this city has this code."), "{}", taken.text());
    assert_eq!(world.rows().await, before);
    assert_eq!(add(&bob, &[("id", &id), ("code", "S-2")]).await.location(), "/my/vehicles", "the same form of another");
    let own = format!("SELECT count(DISTINCT owner_id) FROM vehicles WHERE id <> '{id}'");
    assert_eq!(world.count(&own).await, 2, "each has one, under an id that nobody chose");
    assert_eq!(add(&boston, &[("lat", ""), ("lon", "")]).await.location(), "/my/vehicles", "another city");
    for _ in 0..2 {
        assert_eq!(add(&bob, &[("code", "")]).await.location(), "/my/vehicles", "without a code there is no clash");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn nobody_adds_more_than_ten_vehicles_a_day_and_no_job_approves_them() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    for n in 0..10 {
        assert_eq!(add(&ann, &[("code", &format!("S-{n}"))]).await.location(), "/my/vehicles");
    }
    // Removing one makes no room.
    let page = ann.get("/my/vehicles").await;
    ann.post(&removals(&ann, &page).await[0], &[("version", "1")]).await.location();
    let refused = add(&ann, &[("code", "")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("You have added 10 vehicles within a day"), "{}", refused.text());
    assert_eq!(world.count("SELECT count(*) FROM vehicles").await, 10);
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    let done = jobs::done(&operator, &jobs::ask(&operator, "new-york", "back", &[]).await).await;
    assert!(done.text().contains("once it is approved"), "{}", done.text());
    assert_eq!(
        world.count("SELECT count(*) FROM vehicles WHERE status = 'maintenance' AND hold = 'approval'").await,
        9
    );
    world.clock.advance(chrono::Duration::hours(25));
    ann.sign_in(&ann.name, PASSWORD).await;
    assert_eq!(add(&ann, &[("code", "")]).await.location(), "/my/vehicles", "the next day");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_vehicle_is_removed_only_as_it_was_seen_and_never_under_its_rider() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    add(&ann, &[]).await;
    world.approve().await;
    let seen = ann.get("/my/vehicles").await;
    let [remove] = removals(&ann, &seen).await.try_into().unwrap();
    let shown = seen.field("version");
    let card = bob.get("/vehicles?city=new-york").await.card(1);
    let vehicle = &card.iter().find(|(name, _)| name == "vehicle").unwrap().1;

    bob.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await;
    let (before, page) = (world.rows().await, ann.get("/my/vehicles").await);
    assert!(
        page.text().contains("Reserved") && removals(&ann, &page).await.is_empty(),
        "no button while it is reserved"
    );
    ann.post(&remove, &[("version", &shown)]).await;
    assert!(ann.get("/my/vehicles").await.flash().contains("reserved or being ridden"));
    assert_eq!(world.rows().await, before);

    bob.post("/rides", &pairs(&card)).await;
    let (before, page) = (world.rows().await, ann.get("/my/vehicles").await);
    assert!(page.text().contains("Being ridden") && removals(&ann, &page).await.is_empty());
    ann.post(&remove, &[("version", &shown)]).await;
    assert!(ann.get("/my/vehicles").await.flash().contains("reserved or being ridden"));
    assert_eq!(world.rows().await, before);

    let ride = bob.get("/rides").await.attributes(".open a[role]", "href").remove(0);
    rides::end(&bob, &ride).await;
    let before = world.rows().await;
    ann.post(&remove, &[("version", &shown)]).await;
    let page = ann.get("/my/vehicles").await;
    assert!(page.flash().contains("This was changed since the page was loaded."), "{}", page.flash());
    assert_eq!(world.rows().await, before);
    assert_eq!(ann.post(&remove, &[("version", "x")]).await.status, StatusCode::BAD_REQUEST);
    ann.post(&remove, &[("version", &page.field("version"))]).await;
    assert!(ann.get("/my/vehicles").await.text().contains("No vehicles yet."));
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_vehicle_that_was_declined_says_why_and_waits_again_once_it_is_edited() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    add(&ann, &[]).await;
    let own = addresses(&ann.get("/my/vehicles").await).remove(0);
    let fleet = own.replace("/my/", "/fleet/");
    let no = [("answer", "no"), ("reason", "The brakes are missing")];
    assert!(act(&operator, &fleet, "approval", &no[..1]).await.contains("a reason"), "not without one");
    assert!(act(&operator, &fleet, "approval", &no).await.contains("Declined. The owner will see your reason."));
    let page = ann.get(&own).await;
    assert!(
        page.text().contains("Not approved") && page.text().contains("“The brakes are missing”"),
        "{}",
        page.text()
    );
    assert!(act(&operator, &fleet, "approval", &[("answer", "yes")]).await.contains("This was changed"), "decided");
    let edit = [("code", "S-9"), ("brand", "Niu"), ("colour", "green"), ("battery", "80"), ("place", "Side St")];
    let edit = [&edit[..], &[("lat", "40.7131"), ("lon", "-74.0051")]].concat();
    let (before, foreign) = (world.rows().await, bob.get(&own).await);
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    for form in ["edit", "pause"] {
        let fields =
            [&edit[..], &[("version", "2"), ("command", &*uuid::Uuid::new_v4().to_string()), ("answer", "yes")]];
        assert_eq!(bob.post(&format!("{own}/{form}"), &fields.concat()).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.rows().await, before);
    assert!(act(&ann, &own, "edit", &edit).await.contains("Saved."));
    let page = ann.get(&own).await;
    for word in ["Niu, green scooter", "Waiting for approval", "80%", "Side St", "S-9"] {
        assert!(page.text().contains(word), "{word} in {}", page.text());
    }
    assert!(!page.text().contains("brakes"));
    assert!(act(&operator, &fleet, "approval", &[("answer", "yes")]).await.contains("on the street"));
    // What everybody reads needs another approval, also by way of a pause; the rest does not. What is wrong is said.
    for (field, value, status) in [
        ("battery", "70", "Available"),
        ("brand", "Call me", "Waiting for approval"),
        ("colour", "any", "Waiting for approval"),
        ("place", "My shop", "Waiting for approval"),
    ] {
        for paused in [false, true] {
            if paused {
                act(&ann, &own, "pause", &[("answer", "yes")]).await;
            }
            let changed: Vec<_> =
                edit.iter().map(|(name, old)| (*name, if *name == field { value } else { *old })).collect();
            assert!(act(&ann, &own, "edit", &changed).await.contains("Saved."));
            let status = if paused && status == "Available" { "Paused" } else { status };
            let page = ann.get(&own).await;
            assert!(page.text().contains(status), "{field}, {status}: {}", page.text());
            if status == "Waiting for approval" {
                assert!(act(&operator, &fleet, "approval", &[("answer", "yes")]).await.contains("on the street"));
            }
            act(&ann, &own, "edit", &edit).await;
            act(&operator, &fleet, "approval", &[("answer", "yes")]).await;
            act(&ann, &own, "pause", &[("answer", "no")]).await;
            assert!(ann.get(&own).await.text().contains("Available"), "{field}");
        }
    }
    // Nor does a change in maintenance reach the street with all that come back from there.
    act(&operator, &fleet, "status", &[("action", "maintenance"), ("note", "Loose brakes")]).await;
    let changed: Vec<_> =
        edit.iter().map(|(name, old)| (*name, if *name == "brand" { "Call me" } else { *old })).collect();
    act(&ann, &own, "edit", &changed).await;
    let page = operator.get(&fleet).await.text();
    assert!(page.contains("Waiting for approval") && page.contains("Loose brakes"), "{page}");
    let back = act(&operator, &fleet, "status", &[("action", "back")]).await;
    assert!(back.contains("once it is approved"), "{back}");
    let seen = ann.get(&own).await;
    let [version, command] = ["version", "command"].map(|name| seen.field(name));
    let boston = [&edit[..5], &[("version", &*version), ("command", &*command)]].concat();
    let wrong = ann.post(&format!("{own}/edit"), &[&boston[..], &[("lat", "42.36"), ("lon", "-71.06")]].concat()).await;
    assert_eq!((wrong.status, wrong.texts("#lat-error").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_operator_does_not_approve_their_own_vehicle() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = jobs::operator(&instance, "new-york", &["new-york"]).await;
    let colleague = jobs::operator(&instance, "new-york", &["new-york"]).await;
    add(&ann, &[]).await;
    let fleet = addresses(&ann.get("/my/vehicles").await).remove(0).replace("/my/", "/fleet/");
    let before = world.rows().await;
    assert!(act(&ann, &fleet, "approval", &[("answer", "yes")]).await.contains("Please ask another operator"));
    assert_eq!(world.rows().await, before);
    assert!(act(&colleague, &fleet, "approval", &[("answer", "yes")]).await.contains("on the street"));
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_owner_pauses_a_vehicle_and_only_they_bring_it_back() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    add(&ann, &[]).await;
    world.approve().await;
    let own = addresses(&ann.get("/my/vehicles").await).remove(0);
    let fleet = own.replace("/my/", "/fleet/");
    let street = async || bob.get("/vehicles?city=new-york").await.texts(".cards > li").len();
    assert_eq!(street().await, 1);
    assert!(act(&ann, &own, "pause", &[("answer", "yes")]).await.contains("Nobody can ride it."));
    assert_eq!(street().await, 0);
    assert!(ann.get("/my/vehicles").await.texts("mark") == ["Paused"]);
    let feed = bob.get("/gbfs/3/new-york/vehicle_status.json").await;
    assert!(feed.body.contains(r#""vehicles":[]"#), "{}", feed.body);
    assert!(act(&operator, &fleet, "status", &[("action", "back")]).await.contains("its owner resumes it"));
    assert_eq!(street().await, 0);
    assert!(act(&ann, &own, "pause", &[("answer", "no")]).await.contains("is no longer paused"));
    assert_eq!(street().await, 1);
    // Nor does it come back while three people say that it is broken.
    act(&ann, &own, "pause", &[("answer", "yes")]).await;
    world
        .set(
            "INSERT INTO tasks (region, id, city, vehicle_id, problem, reporter_id, state, created_at, version)
        SELECT v.region, gen_random_uuid(), v.city, v.id, 'brakes', gen_random_uuid(), 'open', now(), 1
        FROM vehicles AS v, generate_series(1, 3)",
        )
        .await;
    assert!(act(&ann, &own, "pause", &[("answer", "no")]).await.contains("is no longer paused"));
    assert_eq!(street().await, 0);
    assert!(ann.get(&own).await.text().contains("In maintenance"));
    assert!(operator.get(&fleet).await.text().contains("“3 riders reported a problem”"), "and its history says why");
    world.set("DELETE FROM tasks").await;
    assert!(act(&operator, &fleet, "status", &[("action", "back")]).await.contains("back in service"));
    assert_eq!(street().await, 1);
    // What operators took off the street stays there.
    assert!(act(&operator, &fleet, "status", &[("action", "maintenance")]).await.contains("in maintenance"));
    assert!(act(&ann, &own, "pause", &[("answer", "no")]).await.contains("This was changed"));
    assert!(act(&operator, &fleet, "status", &[("action", "back")]).await.contains("back in service"));
    // Nor does a pause end anybody's reservation.
    let card = bob.get("/vehicles?city=new-york").await.card(1);
    let vehicle = &card.iter().find(|(name, _)| name == "vehicle").unwrap().1;
    bob.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await.location();
    let before = world.rows().await;
    let fields = [("version", "9"), ("command", &*uuid::Uuid::new_v4().to_string()), ("answer", "yes")];
    ann.post(&format!("{own}/pause"), &fields).await.location();
    assert!(ann.get(&own).await.flash().contains("reserved or being ridden"));
    assert_eq!(world.rows().await, before);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_owner_sees_what_a_vehicle_earned_in_thirty_days() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    add(&ann, &[]).await;
    world.approve().await;
    let own = addresses(&ann.get("/my/vehicles").await).remove(0);
    assert!(ann.get(&own).await.text().contains("No rides in the last 30 days"));
    let mut owed = 0;
    for seconds in [50, 130] {
        let ride = rides::start(&bob, "new-york").await;
        world.clock.advance(chrono::Duration::seconds(seconds));
        rides::end(&bob, &ride).await.location();
        // Until it is shown to the public again.
        world.clock.advance(chrono::Duration::minutes(3));
        owed = world.count("SELECT sum(total_minor)::INT8 FROM rides").await;
    }
    let expected = format!("2 rides in the last 30 days, ${}.{:02}", owed / 100, owed % 100);
    let (list, page) = (ann.get("/my/vehicles").await, ann.get(&own).await);
    assert!(
        owed > 0 && list.text().contains(&expected) && page.text().contains(&expected),
        "{expected}: {}",
        list.text()
    );
    assert_eq!((list.timing(), page.timing()), ((3, 1), (3, 1)), "session, vehicles, earnings");
    world.set("UPDATE rides SET credited_minor = total_minor, credit_reason = 'other'").await;
    assert!(ann.get(&own).await.text().contains("2 rides in the last 30 days, $0.00"));
    world.set("UPDATE rides SET credited_minor = 0, credit_reason = NULL").await;
    world.clock.advance(chrono::Duration::days(31));
    ann.sign_in(&ann.name, PASSWORD).await;
    assert!(ann.get(&own).await.text().contains("No rides in the last 30 days"));
    instance.running.stop().await;
    world.end().await;
}

/// While instances of the release before run, which say by the note alone that a vehicle waits.
#[actix_web::test]
async fn the_release_before_and_this_one_agree_on_what_waits_for_approval() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let operator = jobs::operator(&instance, "new-york", &["new-york"]).await;
    let held = async |condition: &str, expected: i64| {
        let count = format!("SELECT count(*) FROM vehicles WHERE {condition}");
        assert_eq!(world.count(&count).await, expected, "{condition}");
    };
    add(&ann, &[]).await;
    held("hold = 'approval' AND note = 'Waits for approval'", 1).await;
    // What the migration finds, it holds, and leaves the note to the others.
    world.set("UPDATE vehicles SET hold = NULL").await;
    world.set(include_str!("../../../migrations/V45__vehicles_waiting.sql")).await;
    held("hold = 'approval' AND note = 'Waits for approval'", 1).await;

    // As one of them adds it.
    world.set("UPDATE vehicles SET hold = NULL").await;
    let feed = ann.get("/gbfs/3/new-york/vehicle_status.json").await;
    assert!(feed.body.contains(r#""vehicles":[]"#), "{}", feed.body);
    for (browser, path) in [(&ann, "/my/vehicles"), (&operator, "/fleet?city=new-york&status=maintenance")] {
        let text = browser.get(path).await.text();
        assert!(text.contains("Waiting for approval"), "{path}: {text}");
    }
    let done = jobs::done(&operator, &jobs::ask(&operator, "new-york", "back", &[]).await).await;
    assert!(done.text().contains("once it is approved"), "{}", done.text());
    let waiting = operator.get("/fleet/tasks?city=new-york").await.attributes("[aria-labelledby=waiting] a", "href");
    let [page] = waiting.try_into().unwrap();
    assert!(act(&operator, &page, "status", &[("action", "back")]).await.contains("once it is approved"));
    act(&operator, &page, "approval", &[("answer", "no"), ("reason", "no lights")]).await;
    held("hold = 'declined' AND note = 'no lights'", 1).await;
    world.set("UPDATE vehicles SET hold = NULL, note = 'Waits for approval'").await;
    assert!(act(&operator, &page, "approval", &[("answer", "yes")]).await.contains("The vehicle is on the street"));
    held("hold IS NULL AND note IS NULL AND status = 'available'", 1).await;

    // As one of them approves it: the hold is nothing that it knows.
    world.set("UPDATE vehicles SET hold = 'approval'").await;
    act(&operator, &page, "status", &[("action", "maintenance")]).await;
    act(&operator, &page, "status", &[("action", "back")]).await;
    held("hold IS NULL AND status = 'available'", 1).await;
    instance.running.stop().await;
    world.end().await;
}
