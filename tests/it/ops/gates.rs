//! Region gates: a closed region refuses every form of the site with its message and
//! changes nothing, goes on reading, and takes writes again under the next epoch without
//! a restart; people of other regions are refused there too, and ride on at home.

use std::collections::BTreeSet;

use movr::web::routes::ROUTES;
use reqwest::StatusCode;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    jobs,
    races::{Arena, NEW_YORK},
};
use crate::support::{
    Browser,
    app::PASSWORD,
    crowd::{self, END},
    html::Page,
};

/// A form: its pattern in the table of routes, who sends it, where to, and what.
type Case<'a> = (&'a str, &'a Browser, &'a str, Vec<(&'a str, &'a str)>);

async fn gate(sql: &Client, region: &str, state: &str) {
    let set = "UPDATE region_gates SET write_state = $2, epoch = epoch + 1, reason = 'moving house'
        WHERE region::TEXT = $1";
    assert_eq!(sql.execute(set, &[&region, &state]).await.unwrap(), 1);
}

#[actix_web::test]
async fn a_closed_region_refuses_every_write_and_goes_on_reading() {
    let arena = Arena::new(3, 3).await;
    let (ann, bob, cat) = (arena.browser(0), arena.browser(1), arena.browser(2));
    let bikes = arena.bikes().await;
    let past = arena.redirect(&ann.start(&bikes[0], Uuid::new_v4(), "").await).location;
    assert!(arena.redirect(&ann.end(&past).await).good);
    let bikes = arena.bikes().await;
    let ride = arena.redirect(&ann.start(&bikes[0], Uuid::new_v4(), "").await).location;
    assert!(arena.redirect(&bob.reserve(&bikes[1]).await).good);
    let own = Uuid::new_v4();
    let form = own.to_string();
    let add = |id| vec![("id", id), ("type", "bike"), ("brand", "Own"), ("colour", "red")];
    assert!(arena.redirect(&cat.post("/my/vehicles", &add(&form)).await).good);
    let own = crowd::made("vehicle", &arena.riders[2].auth.user, own).to_string();
    let service = &arena.instances[0].running.state.service;
    let auth = &arena.riders[2].auth;
    let (codes, started) = movr::ops::accounts::make_recovery_codes(service, auth, PASSWORD, "Test").await.unwrap();
    assert!(!cat.signed_in().await, "a new session, and the old one is over");
    let rider = crowd::Rider::signed_in(&arena.instances[0], started, cat.name.clone());
    let cat = rider.browser;

    for city in [NEW_YORK, "boston"] {
        movr::ops::accounts::grant(&service.db, &cat.name, "operator", city).await.unwrap();
    }
    // What an administrator can take back: a role, a tariff that has not begun.
    let db = &service.db;
    movr::ops::accounts::grant(db, &cat.name, "administrator", "").await.unwrap();
    movr::ops::accounts::grant(db, &bob.name, "operator", "boston").await.unwrap();
    let planned = "INSERT INTO tariffs VALUES ('boston', 'bike', '2999-01-01T00:00:00Z', 1, 1, 1)";
    arena.sql.batch_execute(planned).await.unwrap();
    let page = cat.get("/fleet/tariffs/new?city=paris&type=bike&unlock=1&minute=1&fee=1").await;
    let (seen, bob_id) = (page.field("seen"), arena.riders[1].auth.user.id.to_string());
    let promo_seen = cat.get("/admin/promo-codes").await.attributes("[aria-labelledby=WELCOME] [name=seen]", "value");
    let job = jobs::ask(&cat, NEW_YORK, "lost", &[]).await;
    let reported = format!("{}/report", bikes[1].reserve().0.replace("/reserve", ""));
    bob.post(&reported, &[("task", &*Uuid::new_v4().to_string()), ("problem", "lock")]).await.location();
    let task = cat.get("/fleet/tasks?city=new-york").await.attributes("ul.rows form", "action").remove(0);

    movr::ops::accounts::grant(&service.db, &cat.name, "operator", NEW_YORK).await.unwrap();
    gate(&arena.sql, "us-east1", "read_only").await;
    let before = arena.world.rows().await;
    let [id, ride_id, session] =
        [Uuid::new_v4().to_string(), Uuid::new_v4().to_string(), rider.auth.session.to_string()];
    let nobody = arena.instances[0].browser();
    let (reserve, reserve_fields) = bikes[2].reserve();
    let (end, positions) = (format!("{ride}/end"), format!("{ride}/positions"));
    let remove = format!("/my/vehicles/us-east1/{own}/remove");
    let password = ("password", PASSWORD);
    let new = ("password", "another walk to the tram");
    let person = [("first_name", "Pat"), ("last_name", "Roe"), ("email", "roe@example.com")];
    let promo = [
        ("code", "GATE"),
        ("kind", "percent"),
        ("value", "5"),
        ("from", "2024-01-01T00:00"),
        ("until", "2999-01-01T00:00"),
        ("per_rider", "1"),
        ("total", "3"),
    ];
    let city = [("name", "Gateville"), ("region", "us-west1"), ("lat", "41"), ("lon", "-75")];
    let more = [("country", "Utopia"), ("zone", "America/New_York"), ("currency", "USD"), ("radius", "3")];
    let tariffs = ["bike", "scooter", "skateboard"]
        .map(|vehicle_type| ["unlock", "minute", "fee"].map(|w| format!("{w}-{vehicle_type}")));
    let city = city.iter().chain(&more).map(|(name, value)| ((*name).to_owned(), *value));
    let city: Vec<_> = city.chain(tariffs.concat().into_iter().map(|name| (name, "1"))).collect();
    let area = "[[-71.2,42.2],[-70.9,42.2],[-70.9,42.5],[-71.2,42.5]]";
    let changed =
        vec![("seen", "1"), ("name", "Boston Bay"), ("lat", "42.36"), ("lon", "-71.06"), more[1], ("area", area)];
    let bob_page = format!("/admin/people/us-east1/{bob_id}");
    let prices = [("type", "bike"), ("unlock", "1"), ("minute", "1"), ("fee", "1")];
    let (confirm, cancel) = (format!("{job}/confirm"), format!("{job}/cancel"));
    let retire =
        vec![("id", &*id), ("city", NEW_YORK), ("kind", "retire"), ("all", "1"), ("drawn", "2026-11-21T10:00:00Z")];
    let report = |about: &str| format!("{about}/report");
    let (vehicle_report, ride_report) = (report(&reserve.replace("/reserve", "")), report(&past));
    let problem = vec![("task", &*id), ("problem", "brakes")];
    let cases: [Case<'_>; 34] = [
        ("/vehicles/{region}/{public_id}/report", &cat, &vehicle_report, problem.clone()),
        ("/rides/{region}/{id}/report", &ann, &ride_report, problem),
        (
            "/fleet/tasks/{region}/{id}",
            &cat,
            &task,
            vec![("version", "1"), ("command", &id), ("vehicle", &id), ("step", "finish")],
        ),
        ("/vehicles/{region}/{public_id}/reserve", &cat, &reserve, reserve_fields),
        ("/reservation/cancel", &bob, "/reservation/cancel", bikes[1].cancel()),
        (
            "/register",
            &nobody,
            "/register",
            [&person[..], &[("id", &id), ("city", NEW_YORK), ("username", "newcomer"), password]].concat(),
        ),
        ("/logout", &bob, "/logout", vec![]),
        ("/recover", &nobody, "/recover", vec![("username", &cat.name), ("code", &codes[0]), new]),
        ("/rides", &cat, "/rides", bikes[2].start(&ride_id, "")),
        ("/rides/{region}/{id}/end", &ann, &end, END.to_vec()),
        ("/rides/{region}/{id}/positions", &ann, &positions, vec![]),
        ("/profile", &cat, "/profile", person.to_vec()),
        ("/profile/password", &cat, "/profile/password", vec![("current", PASSWORD), new]),
        ("/profile/recovery-codes", &cat, "/profile/recovery-codes", vec![("current", PASSWORD)]),
        ("/profile/sessions/end", &cat, "/profile/sessions/end", vec![("session", &session)]),
        ("/profile/sessions/end-others", &cat, "/profile/sessions/end-others", vec![]),
        ("/profile/home", &bob, "/profile/home", vec![("city", "paris"), password]),
        ("/profile/delete", &bob, "/profile/delete", vec![("current", PASSWORD)]),
        ("/my/vehicles", &cat, "/my/vehicles", add(&id)),
        (
            "/fleet/tariffs",
            &cat,
            "/fleet/tariffs",
            [&prices[..], &[("city", "paris"), ("seen", &seen), ("from", ""), ("sure", "1")]].concat(),
        ),
        (
            "/fleet/tariffs/withdraw",
            &cat,
            "/fleet/tariffs/withdraw",
            vec![
                ("city", "boston"),
                ("type", "bike"),
                ("from", "32472144000"),
                ("unlock", "1"),
                ("minute", "1"),
                ("fee", "1"),
            ],
        ),
        ("/admin/promo-codes", &cat, "/admin/promo-codes", promo.to_vec()),
        (
            "/admin/promo-codes/{code}",
            &cat,
            "/admin/promo-codes/WELCOME",
            vec![("seen", &promo_seen[0]), ("until", ""), ("per_rider", ""), ("total", ""), ("end", "now")],
        ),
        ("/admin/cities", &cat, "/admin/cities", city.iter().map(|(name, value)| (&**name, *value)).collect()),
        ("/admin/cities/{city}", &cat, "/admin/cities/boston", changed),
        ("/admin/cities/{city}/pause", &cat, "/admin/cities/boston/pause", vec![("seen", "1"), ("reason", "ice")]),
        // A search of people is in the audit, or is not made.
        ("/admin/people", &cat, "/admin/people", vec![("who", "nobody"), ("city", NEW_YORK)]),
        ("/admin/people/{region}/{id}", &cat, &bob_page, vec![("action", "block"), ("reason", "other")]),
        ("/admin/roles", &cat, "/admin/roles", vec![("username", &ann.name), ("city", "boston")]),
        (
            "/admin/roles/revoke",
            &cat,
            "/admin/roles/revoke",
            vec![("region", "us-east1"), ("id", &bob_id), ("city", "boston")],
        ),
        ("/fleet/jobs", &cat, "/fleet/jobs", retire),
        ("/fleet/jobs/{region}/{id}/confirm", &cat, &confirm, vec![]),
        ("/fleet/jobs/{region}/{id}/cancel", &cat, &cancel, vec![]),
        ("/fleet/import", &cat, "/fleet/import?city=new-york", vec![]),
    ];
    let mut seen: BTreeSet<&str> = cases.iter().map(|case| case.0).collect();
    for (pattern, browser, path, fields) in &cases {
        let page = match *pattern {
            "/rides/{region}/{id}/positions" => browser.post_raw(path, "application/json", r#"{"positions":[]}"#).await,
            "/fleet/import" => browser.upload(path, b"code,type,brand,colour\nB-1,bike,Own,red\n").await,
            _ => browser.post(path, fields).await,
        };
        if *pattern == "/logout" {
            // The browser forgets the session; that it goes on at home is said.
            assert!(arena.redirect(&page).text.starts_with("You are signed out here."));
            continue;
        }
        refused_by_the_gate(&arena, pattern, &page, "us-east1");
    }
    refused_by_the_gate(&arena, "remove", &cat.post(&remove, &[("version", "1")]).await, "us-east1");
    let fleet = format!("/fleet/vehicles/us-east1/{own}");
    let mut fleet_forms = Vec::new();
    let (version, command) = (("version", "1"), ("command", &*id));
    let place = [("place", "Corner"), ("lat", "40.72"), ("lon", "-74.0")];
    let edit = [&place[..], &[version, command, ("brand", "B"), ("colour", "red"), ("battery", "50")]].concat();
    let add_one =
        [&place[..], &[("id", &*id), ("city", NEW_YORK), ("type", "bike"), ("status", "maintenance")]].concat();
    let add_one = [&add_one[..], &[("brand", "B"), ("colour", "red"), ("battery", "50")]].concat();
    let ended = [&place[..], &[("city", "new-york"), ("reason", "lost")]].concat();
    let credit = vec![command, ("city", "new-york"), ("seen", "0"), ("amount", "0.01"), ("reason", "fault")];
    for (pattern, path, fields) in [
        ("/fleet/vehicles/{region}/{id}/status", format!("{fleet}/status"), vec![version, command, ("action", "lost")]),
        ("/fleet/vehicles/{region}/{id}/edit", format!("{fleet}/edit"), edit.clone()),
        ("/fleet/add", "/fleet/add".to_owned(), add_one),
        (
            "/fleet/vehicles/{region}/{id}/approval",
            format!("{fleet}/approval"),
            vec![version, command, ("answer", "yes")],
        ),
        (
            "/my/vehicles/{region}/{id}/pause",
            remove.replace("remove", "pause"),
            vec![version, command, ("answer", "yes")],
        ),
        ("/my/vehicles/{region}/{id}/edit", remove.replace("remove", "edit"), edit),
        ("/fleet/vehicles/{region}/{id}/move", format!("{fleet}/move"), vec![version, command, ("city", "boston")]),
        ("/fleet/rides/{region}/{id}/end", format!("/fleet{ride}/end"), ended),
        ("/fleet/rides/{region}/{id}/credit", format!("/fleet{ride}/credit"), credit),
        ("/fleet/rides/{region}/{id}/rider", format!("/fleet{ride}/rider"), vec![command, ("reason", "police")]),
    ] {
        fleet_forms.push(pattern);
        refused_by_the_gate(&arena, pattern, &cat.post(&path, &fields).await, "us-east1");
    }
    seen.extend(fleet_forms);
    // The city of a visitor, and whether they want to go home, are cookies and no rows.
    seen.extend(["/my/vehicles/{region}/{id}/remove", "/city", "/abroad"]);
    // The statement that credits one ride credits these, too.
    seen.extend(["/fleet/tariffs/credit"]);
    // A session that cannot be stored: `draining`.
    seen.extend(["/login"]);
    // It must be possible to open a region from inside: `pages/region_states.rs`.
    seen.extend(["/admin/regions/{region}"]);
    let all: BTreeSet<&str> = ROUTES.iter().filter(|route| route.writes).map(|route| route.path).collect();
    assert_eq!(seen, all, "every form has its case");
    assert_eq!(arena.world.rows().await, before, "nothing was changed");

    for path in ["/", "/vehicles", "/rides", &ride, "/profile", "/my/vehicles", "/riders", "/readyz"] {
        assert_eq!(ann.get(path).await.status, StatusCode::OK, "{path} is read");
    }
    gate(&arena.sql, "us-east1", "writable").await;
    assert!(arena.redirect(&cat.start(&bikes[2], Uuid::new_v4(), "").await).good, "open again, without a restart");
    assert!(arena.redirect(&ann.end(&ride).await).good);
    let epochs = "SELECT count(*) FROM events WHERE epoch = 3 AND action IN ('ride.started', 'ride.ended')";
    assert_eq!(arena.count(epochs).await, 2, "written under the new epoch");

    // A region is closed for people of other regions too, and they go on at home.
    assert!(arena.redirect(&bob.post("/reservation/cancel", &bikes[1].cancel()).await).good);
    let abroad = &crowd::bikes(&arena.sql, "paris").await[0];
    gate(&arena.sql, "europe-west1", "read_only").await;
    for page in [bob.reserve(abroad).await, bob.start(abroad, Uuid::new_v4(), "").await] {
        refused_by_the_gate(&arena, "abroad", &page, "europe-west1");
    }
    assert!(arena.redirect(&bob.start(&bikes[1], Uuid::new_v4(), "").await).good);
    arena.end().await;
}

/// The region's message: on a page to come back to, or above the page that the form came from.
fn refused_by_the_gate(arena: &Arena, case: &str, page: &Page, region: &str) {
    let catalogue = arena.instances[0].running.state.service.catalogue();
    let name = catalogue.region_name(&region.parse().unwrap()).to_owned();
    let message = format!("The region {name} is read-only (moving house). Nothing was changed");
    if page.status == StatusCode::SEE_OTHER {
        let redirect = arena.redirect(page);
        let closed = redirect.text.starts_with(&message) || redirect.text.starts_with("Your ride cannot end just now");
        assert!(!redirect.good && closed, "{case}: {redirect:?}");
    } else if page.status == StatusCode::UNPROCESSABLE_ENTITY {
        assert!(page.text().contains(&message), "{case}: {}", page.text());
    } else {
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{case}: {}", page.text());
        assert!(page.text().contains(&message), "{case}: {}", page.text());
        assert!(page.headers["retry-after"].to_str().unwrap().parse::<u32>().is_ok(), "{case}");
    }
}
