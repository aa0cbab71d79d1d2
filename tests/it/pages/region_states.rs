//! The administrators' page of regions: closing and opening, what its form carries, and
//! that *fenced* is said when it is true. Who may use it at all is tried in `routes.rs`.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{
    Browser, World,
    app::Instance,
    crowd::{bikes, street},
    html::Page,
    rows::pairs,
    world,
};

const PATH: &str = "/admin/regions";

async fn scene(region: &str) -> (World, Instance, Browser) {
    let world = world().await;
    let instance = world.instance_with(region, &[("MOVR_WRITE_TIMEOUT_MS", "1000")]).await;
    let admin = instance.person("new-york").await;
    movr::ops::accounts::grant(&instance.running.state.service.db, &admin.name, "administrator", "").await.unwrap();
    (world, instance, admin)
}

async fn end(world: World, instance: Instance) {
    instance.running.stop().await;
    world.end().await;
}

/// What a person reads of one region.
fn section(page: &Page, region: &str) -> String {
    page.texts(&format!("section[aria-labelledby=\"{region}\"]")).remove(0)
}

/// Sends the form of a region as the page drew it, with the button that leads to `state`.
async fn send(admin: &Browser, page: &Page, region: &str, state: &str, reason: &str, until: &str) -> Page {
    let form = format!("form[action=\"{PATH}/{region}\"]");
    let epoch = page.attributes(&format!("{form} [name=\"epoch\"]"), "value").remove(0);
    assert!(page.attributes(&format!("{form} button"), "value").contains(&state.to_owned()), "{}", page.body);
    let fields = [("state", state), ("epoch", &epoch), ("reason", reason), ("until", until)];
    let page = admin.post(&format!("{PATH}/{region}"), &fields).await;
    if page.status == StatusCode::OK { confirm(admin, &page).await } else { page }
}

/// Presses the button of the page that asks.
async fn confirm(admin: &Browser, page: &Page) -> Page {
    let hidden = page.attributes("main form input", "name").into_iter().map(|name| (name.clone(), page.field(&name)));
    let fields: Vec<_> = hidden.chain([("confirmed".to_owned(), "yes".to_owned())]).collect();
    admin.post(&page.attributes("main form", "action").remove(0), &pairs(&fields)).await
}

#[actix_web::test]
async fn an_administrator_closes_a_region_sees_the_fence_and_opens_it() {
    let (world, instance, admin) = scene("us-east1").await;
    let page = admin.get(PATH).await;
    for (region, name) in [("us-east1", "US East"), ("us-west1", "US West"), ("europe-west1", "Europe West")] {
        let words = section(&page, region);
        assert!(words.contains(name) && words.contains("Open") && words.contains("Epoch 1"), "{words}");
    }
    assert!(!page.body.contains("data-refresh"), "nothing to wait for");
    let closed = send(&admin, &page, "europe-west1", "read-only", "a <b> storm", "2999-12-01T08:30").await;
    assert_eq!(closed.location(), PATH);
    let page = admin.get(PATH).await;
    assert!(page.flash().ends_with("is closed."), "{}", page.flash());
    let words = section(&page, "europe-west1");
    assert!(
        words.contains("Closing") && words.contains("Will be fully closed") && words.contains("Epoch 2"),
        "{words}"
    );
    assert!(words.contains("Expected to open"), "{words}");
    let refresh: u64 = page.attributes("a[href='/admin/regions']", "data-refresh").remove(0).parse().unwrap();
    assert!((1..=6).contains(&refresh), "{refresh}");
    assert_eq!(page.attributes("#reason-europe-west1", "value"), ["a <b> storm"]);
    assert_eq!(page.attributes("#until-europe-west1", "value"), ["2999-12-01T08:30"]);
    assert!(section(&page, "us-east1").contains("Epoch 1"), "the others are as they were");
    let event = "SELECT count(*) FROM events WHERE action = 'region.closed' AND region = 'us-east1'
        AND actor_region = 'us-east1' AND actor_id = (SELECT user_id FROM role_grants)
        AND metadata->>'region' = 'europe-west1' AND metadata->>'reason' = 'a <b> storm'";
    assert_eq!(world.count(event).await, 1, "where the acting instance runs");

    let began = Instant::now();
    let sql = world.sql().await;
    let page = loop {
        let page = admin.get(PATH).await;
        if section(&page, "europe-west1").contains("Fully closed") {
            break page;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never fenced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let text = "SELECT changed_at, clock_timestamp() FROM region_gates WHERE region = 'europe-west1'";
    let row = sql.query_one(text, &[]).await.unwrap();
    let [changed, now]: [DateTime<Utc>; 2] = [0, 1].map(|column| row.try_get(column).unwrap());
    let at: DateTime<Utc> =
        page.attributes("section[aria-labelledby=\"europe-west1\"] dd time", "datetime")[1].parse().unwrap();
    let fence = chrono::Duration::milliseconds(4500);
    assert!(changed + fence <= at && at <= now, "closed {changed}, said {at}, seen {now}");
    assert!(!page.body.contains("data-refresh"), "nothing to wait for any more");

    assert_eq!(send(&admin, &page, "europe-west1", "writable", "", "").await.location(), PATH);
    let page = admin.get(PATH).await;
    let words = section(&page, "europe-west1");
    assert!(words.contains("Open") && words.contains("Epoch 3") && !words.contains("Closing"), "{words}");
    assert_eq!(page.attributes("#until-europe-west1", "value"), [""]);
    drop(sql);
    end(world, instance).await;
}

#[actix_web::test]
async fn a_form_of_an_older_epoch_changes_nothing_and_says_what_is_now() {
    let (world, instance, admin) = scene("europe-west1").await;
    let old = admin.get(PATH).await;
    // From abroad, and of the administrator's own home: it can be opened while it is closed.
    assert_eq!(send(&admin, &old, "us-east1", "read-only", "first", "").await.location(), PATH);
    let place = "SELECT count(*) FROM events WHERE aggregate_type = 'region' AND region = 'europe-west1'";
    assert_eq!(world.count(place).await, 1);
    let before = world.rows().await;
    let again = send(&admin, &old, "us-east1", "read-only", "first", "").await;
    assert_eq!(again.location(), PATH);
    let page = admin.get(PATH).await;
    assert!(page.flash().ends_with("is already closed."), "{}", page.flash());
    assert_eq!(send(&admin, &old, "us-east1", "read-only", "second", "").await.location(), PATH);
    let refusal = "The region US East (South Carolina) was changed in the meantime: it is closed now, at epoch 2.";
    assert!(admin.get(PATH).await.flash().starts_with(refusal));
    assert_eq!(world.rows().await, before, "neither changed anything");
    assert_eq!(send(&admin, &page, "us-east1", "writable", "", "").await.location(), PATH);
    assert_eq!(send(&admin, &page, "us-east1", "read-only", "third", "").await.location(), PATH);
    assert!(admin.get(PATH).await.flash().contains("it is open now, at epoch 3."));
    end(world, instance).await;
}

#[actix_web::test]
async fn what_is_open_is_shown_before_a_region_drains_or_closes() {
    let (world, instance, admin) = scene("us-east1").await;
    street(&world, &["new-york"], 3).await;
    let sql = world.sql().await;
    let (rider, bikes) = (instance.person("new-york").await, bikes(&sql, "new-york").await);
    rider.start(&bikes[0], Uuid::new_v4(), "").await;
    admin.reserve(&bikes[1]).await;
    let before = world.rows().await;
    let page = admin.get(PATH).await;
    let path = format!("{PATH}/us-east1");
    // What pressing Enter in a field sends: the form with its first button.
    let first = page.attributes(&format!("form[action=\"{path}\"] button"), "value").remove(0);
    let plan = [
        ("state", &*first),
        ("epoch", "1"),
        ("reason", "new disks"),
        ("drain", "2999-05-01T10:00"),
        ("close", "2999-05-01T11:00"),
        ("until", "2999-05-01T12:30"),
    ];
    for (state, heading, button) in [
        ("draining", "Plan the closing of US East (South Carolina)?", "Plan the closing of US East (South Carolina)"),
        ("draining", "Drain US East (South Carolina) now?", "Drain US East (South Carolina)"),
        ("read-only", "Close US East (South Carolina) now?", "Close US East (South Carolina)"),
    ] {
        let planned = heading.starts_with("Plan");
        let fields: Vec<_> = plan.iter().filter(|(name, _)| planned || !["drain", "close"].contains(name)).collect();
        let fields: Vec<_> = fields.iter().map(|(n, v)| if *n == "state" { (*n, state) } else { (*n, *v) }).collect();
        let page = admin.post(&path, &fields).await;
        assert_eq!((page.status, &*page.texts("h1")[0]), (StatusCode::OK, heading));
        let words = page.texts("main").concat();
        for said in
            ["Rides 1", "Reservations 1", "Jobs 0", "New York", "Expected to open Wed 1 May 2999, 12:30 UTC", button]
        {
            assert!(words.contains(said), "{said}: {words}");
        }
        assert_eq!(words.contains("cannot end their rides"), state == "read-only");
        assert_eq!(words.contains("Your own account lives here"), state == "read-only");
        if !planned {
            assert!(words.contains("People will read: New York "), "{words}");
        }
    }
    assert_eq!(world.rows().await, before, "nothing is done before it is confirmed");
    let confirmed = confirm(&admin, &admin.post(&path, &plan).await).await;
    assert_eq!(confirmed.location(), PATH);
    let page = admin.get(PATH).await;
    assert_eq!(page.flash(), "US East (South Carolina) is planned to close.");
    assert!(section(&page, "us-east1").contains("Open, closing planned"));
    for (field, at) in [("drain", "10:00"), ("close", "11:00"), ("until", "12:30")] {
        assert_eq!(page.attributes(&format!("#{field}-us-east1"), "value"), [format!("2999-05-01T{at}")]);
    }
    // In the wrong order, or with "at once".
    for (name, value, state) in [
        ("close", "2999-05-01T09:00", "draining"),
        ("until", "2999-05-01T10:30", "draining"),
        ("drain", "2999-05-01T10:00", "read-only"),
    ] {
        let changed = |n: &str| {
            if n == name {
                value
            } else if n == "state" {
                state
            } else {
                ""
            }
        };
        let fields = plan.map(|(n, v)| if changed(n).is_empty() { (n, v) } else { (n, changed(n)) });
        let page = admin.post(&path, &fields).await;
        assert_eq!(page.texts(&format!("#{name}-us-east1-error")).len(), 1, "{name} {value}: {}", page.body);
    }
    assert_eq!(send(&admin, &page, "us-east1", "writable", "", "").await.location(), PATH);
    drop(sql);
    end(world, instance).await;
}

#[actix_web::test]
async fn mistakes_come_back_with_what_was_typed() {
    let (world, instance, admin) = scene("us-east1").await;
    let page = admin.get(PATH).await;
    let before = world.rows().await;
    let long = "x".repeat(121);
    for (reason, until, wrong) in [
        ("why", "2020-01-01T00:00", "until-us-west1"),
        ("why", "tomorrow", "until-us-west1"),
        (&long, "2999-01-01T00:00:30", "reason-us-west1"),
    ] {
        let page = send(&admin, &page, "us-west1", "read-only", reason, until).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(page.texts("small.error").len(), 1);
        assert_eq!(page.texts(&format!("#{wrong}-error")).len(), 1, "{wrong}");
        assert_eq!(page.attributes("#reason-us-west1", "value"), [reason]);
        assert_eq!(page.attributes("#until-us-west1", "value"), [until]);
    }
    for (path, fields, status) in [
        ("mars-north1", &[("state", "read-only"), ("epoch", "1")][..], StatusCode::NOT_FOUND),
        ("us-west1", &[("state", "shut"), ("epoch", "1")], StatusCode::BAD_REQUEST),
        ("us-west1", &[("state", "read-only")], StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(admin.post(&format!("{PATH}/{path}"), fields).await.status, status);
    }
    assert_eq!(world.rows().await, before);
    end(world, instance).await;
}
