//! The route table, walked: every route has a case here, and each case is tried by
//! somebody who is not signed in, by somebody whose session has ended, from another
//! site, and with every other method; then what each page costs the database. A route
//! without a case fails the first test.

use std::collections::BTreeSet;

use movr::web::{
    paths,
    routes::{Access, ROUTES},
};
use reqwest::{Method, StatusCode};
use uuid::Uuid;

use crate::{
    ops::jobs,
    pages::rides,
    support::{
        Browser, World,
        app::{Instance, PASSWORD},
        rows::pairs,
        world,
    },
};

/// A request that would do something if it were allowed to.
struct Case {
    method: Method,
    pattern: &'static str,
    path: String,
    fields: Vec<(String, String)>,
}

/// A world with a vehicle on the street, and a person who has ridden, rides and owns one.
struct Scene {
    world: World,
    instance: Instance,
    ann: Browser,
    cases: Vec<Case>,
}

async fn scene() -> Scene {
    let world = world().await;
    world.sample(&["new-york"], 3, 30).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let form = ann.get("/my/vehicles").await.field("id");
    let own = [
        ("id", form.as_str()),
        ("type", "bike"),
        ("brand", "Trek"),
        ("colour", "blue"),
        ("code", ""),
        ("lat", ""),
        ("lon", ""),
    ];
    assert_eq!(ann.post("/my/vehicles", &own).await.location(), "/my/vehicles");
    let remove = ann.get("/my/vehicles").await.attributes("form[action$=\"/remove\"]", "action").remove(0);
    let ride = rides::start(&ann, "new-york").await;
    let card = ann.get("/vehicles?city=new-york").await.card(2);
    let vehicle = card.iter().find(|(name, _)| name == "vehicle").unwrap().1.clone();
    let operator = instance.person("new-york").await;
    movr::ops::accounts::grant(&instance.running.app.db, &operator.name, "operator", "new-york").await.unwrap();
    let job = jobs::ask(&operator, "new-york", "lost", &[]).await.rsplit_once('/').unwrap().1.to_owned();
    let cases = cases(&ann.name, &ride, &remove, &vehicle, &job, &card);
    Scene { world, instance, ann, cases }
}

#[rustfmt::skip]
fn cases(name: &str, ride: &str, remove: &str, vehicle: &str, job: &str, card: &[(String, String)]) -> Vec<Case> {
    let case = |method, pattern, path: &str, fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Case { method, pattern, path: path.to_owned(), fields }
    };
    let get = |pattern, path: &str| case(Method::GET, pattern, path, &[]);
    let post = |pattern, path: &str, fields: &[(&str, &str)]| case(Method::POST, pattern, path, fields);
    let password = PASSWORD;
    let id = Uuid::new_v4().to_string();
    // The person's own vehicle, which its city's operators look after too.
    let fleet = remove.replace("/my/", "/fleet/").replace("/remove", "");
    let (seen, command) = (("version", "1"), ("command", &*id));
    vec![
        get("/healthz", "/healthz"),
        get("/readyz", "/readyz"),
        get("/status", "/status"),
        get("/status.json", "/status.json"),
        get("/static/{file:.*}", "/static/app.css"),
        get("/", "/"),
        post("/city", "/city", &[("city", "paris")]),
        post("/abroad", "/abroad", &[("answer", "stay"), ("next", "/")]),
        get("/vehicles", "/vehicles?city=new-york"),
        get("/vehicles/{region}/{public_id}", &format!("/vehicles/us-east1/{vehicle}")),
        post("/vehicles/{region}/{public_id}/reserve", &format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(card)),
        post("/reservation/cancel", "/reservation/cancel", &pairs(card)),
        get("/gbfs/3/manifest.json", "/gbfs/3/manifest.json"),
        get("/gbfs/3/{city}/{feed}.json", "/gbfs/3/new-york/vehicle_status.json"),
        get("/register", "/register"),
        post("/register", "/register", &[("id", &id), ("city", "boston"), ("first_name", "A"), ("last_name", "B"),
            ("email", "a@b.example"), ("username", "cross.site"), ("password", password)]),
        get("/login", "/login"),
        post("/login", "/login", &[("username", "cross.site"), ("password", password)]),
        post("/logout", "/logout", &[]),
        get("/recover", "/recover"),
        post("/recover", "/recover", &[("username", "cross.site"), ("code", "x"), ("password", password)]),
        get("/rides", "/rides"),
        post("/rides", "/rides", &pairs(card)),
        get("/rides/{region}/{id}", ride),
        post("/rides/{region}/{id}/end", &format!("{ride}/end"),
            &[("city", "new-york"), ("place", "Corner"), ("lat", "40.72"), ("lon", "-74.0")]),
        post("/rides/{region}/{id}/positions", &format!("{ride}/positions"), &[("positions", "")]),
        get("/riders", "/riders"),
        get("/profile", "/profile"),
        post("/profile", "/profile", &[("first_name", "Eve"), ("last_name", "Evil"), ("email", "e@v.example")]),
        post("/profile/password", "/profile/password", &[("current", password), ("password", "another walk to work")]),
        post("/profile/recovery-codes", "/profile/recovery-codes", &[("current", password)]),
        post("/profile/sessions/end", "/profile/sessions/end", &[("session", &id)]),
        post("/profile/sessions/end-others", "/profile/sessions/end-others", &[]),
        get("/profile/export", "/profile/export"),
        get("/profile/home", "/profile/home"),
        post("/profile/home", "/profile/home", &[("city", "paris"), ("password", password)]),
        get("/profile/delete", "/profile/delete"),
        post("/profile/delete", "/profile/delete", &[("password", password)]),
        get("/my/vehicles", "/my/vehicles"),
        post("/my/vehicles", "/my/vehicles", &[("id", &id), ("type", "bike"), ("brand", "B"), ("colour", "red"),
            ("code", ""), ("lat", ""), ("lon", "")]),
        post("/my/vehicles/{region}/{id}/remove", remove, &[("version", "1")]),
        get("/fleet", "/fleet?city=new-york"),
        get("/fleet/vehicles/{region}/{id}", &fleet),
        post("/fleet/vehicles/{region}/{id}/status", &format!("{fleet}/status"), &[seen, command, ("action", "maintenance")]),
        post("/fleet/vehicles/{region}/{id}/edit", &format!("{fleet}/edit"), &[seen, command, ("brand", "B"),
            ("colour", "red"), ("battery", "50"), ("place", "Here"), ("lat", "40.72"), ("lon", "-74.0")]),
        post("/fleet/vehicles/{region}/{id}/move", &format!("{fleet}/move"), &[seen, command, ("city", "boston")]),
        post("/fleet/rides/{region}/{id}/end", &format!("/fleet{ride}/end"), &[("vehicle", &id), ("place", "Corner"),
            ("lat", "40.72"), ("lon", "-74.0")]),
        get("/fleet/tariffs", "/fleet/tariffs?city=new-york"),
        post("/fleet/tariffs", "/fleet/tariffs", &[("city", "new-york"), ("type", "bike"), ("seen", "[]"), ("from", ""),
            ("unlock", "1"), ("minute", "1"), ("fee", "1")]),
        post("/fleet/tariffs/withdraw", "/fleet/tariffs/withdraw", &[("city", "new-york"), ("type", "bike"), ("from", "0"),
            ("unlock", "1"), ("minute", "1"), ("fee", "1")]),
        get("/admin/promo-codes", "/admin/promo-codes"),
        post("/admin/promo-codes", "/admin/promo-codes", &[("code", "WALK"), ("kind", "percent"), ("value", "5"),
            ("from", "2024-01-01T00:00"), ("until", "2999-01-01T00:00"), ("per_rider", "1"), ("quota-us-east1", "2")]),
        post("/admin/promo-codes/{code}", "/admin/promo-codes/WELCOME", &[("seen", "[0,1,{}]"), ("until", ""),
            ("per_rider", "1"), ("end", "now")]),
        get("/admin/cities", "/admin/cities"),
        post("/admin/cities", "/admin/cities", &[("name", "Walkville"), ("region", "us-east1"), ("lat", "41"),
            ("lon", "-75"), ("zone", "America/New_York"), ("currency", "USD"), ("radius", "3"), ("unlock-bike", "1"),
            ("minute-bike", "1"), ("fee-bike", "1"), ("unlock-scooter", "1"), ("minute-scooter", "1"),
            ("fee-scooter", "1"), ("unlock-skateboard", "1"), ("minute-skateboard", "1"), ("fee-skateboard", "1")]),
        get("/admin/roles", "/admin/roles"),
        post("/admin/roles", "/admin/roles", &[("username", name), ("city", "boston")]),
        post("/admin/roles/revoke", "/admin/roles/revoke", &[("region", "us-east1"), ("id", &id), ("city", "boston")]),
        get("/fleet/jobs", "/fleet/jobs?city=new-york"),
        post("/fleet/jobs", "/fleet/jobs", &[("id", &id), ("city", "new-york"), ("kind", "retire"), ("all", "1"),
            ("drawn", "2999-01-01T00:00:00Z")]),
        get("/fleet/jobs/{region}/{id}", &format!("/fleet/jobs/us-east1/{job}")),
        post("/fleet/jobs/{region}/{id}/confirm", &format!("/fleet/jobs/us-east1/{job}/confirm"), &[]),
        post("/fleet/jobs/{region}/{id}/cancel", &format!("/fleet/jobs/us-east1/{job}/cancel"), &[]),
        get("/fleet/jobs/{region}/{id}/report.csv", &format!("/fleet/jobs/us-east1/{job}/report.csv")),
        get("/fleet/overview", "/fleet/overview"),
        get("/fleet/audit", "/fleet/audit"),
        get("/fleet/audit.csv", "/fleet/audit.csv"),
        get("/fleet/import", "/fleet/import?city=new-york"),
        post("/fleet/import", "/fleet/import?city=new-york", &[("file", "code")]),
        get("/fleet/export.csv", "/fleet/export.csv?city=new-york"),
        get("/fleet/riders.csv", "/fleet/riders.csv?city=new-york"),
        get("/admin/regions", "/admin/regions"),
        post("/admin/regions/{region}", "/admin/regions/europe-west1", &[("state", "read-only"), ("epoch", "1"),
            ("reason", "test"), ("until", "")]),
    ]
}

impl Case {
    async fn ask(&self, browser: &Browser, headers: &[(&str, &str)]) -> crate::support::html::Page {
        if self.method == Method::GET {
            return browser.get_with(&self.path, headers).await;
        }
        if self.pattern == "/fleet/import" && headers.is_empty() {
            return browser.upload(&self.path, b"code,type,brand,colour\nB-1,bike,Own,red\n").await;
        }
        browser.post_with(&self.path, headers, &pairs(&self.fields)).await
    }
}

fn access(case: &Case) -> Access {
    let route = ROUTES.iter().find(|route| route.method.as_str() == case.method.as_str() && route.path == case.pattern);
    route.unwrap_or_else(|| panic!("{} {} is no route", case.method, case.pattern)).access
}

impl Scene {
    async fn end(self) {
        self.instance.running.stop().await;
        self.world.end().await;
    }
}

#[test]
fn every_route_has_a_case() {
    let cases = cases("x", "/rides/us-east1/x", "/my/vehicles/us-east1/x/remove", "x", "x", &[]);
    let tried: BTreeSet<_> = cases.iter().map(|case| (case.method.to_string(), case.pattern)).collect();
    let table: BTreeSet<_> = ROUTES.iter().map(|route| (route.method.to_string(), route.path)).collect();
    assert_eq!(tried, table);
    assert_eq!((cases.len(), ROUTES.len()), (tried.len(), table.len()), "none twice");
}

#[actix_web::test]
async fn without_a_good_session_every_signed_in_route_leads_to_sign_in() {
    let scene = scene().await;
    let second = scene.instance.browser();
    let ended = second.sign_in(&scene.ann.name, PASSWORD).await.session_cookie();
    second.post("/logout", &[]).await;
    let (nobody, replayed) = (scene.instance.browser(), scene.instance.replaying(&ended));
    let before = scene.world.rows().await;
    let mut tried = 0;
    for case in scene.cases.iter().filter(|case| access(case) != Access::Public) {
        let next = if case.method == Method::GET { case.path.as_str() } else { "/vehicles" };
        let anonymous = case.ask(&nobody, &[]).await;
        assert_eq!(anonymous.location(), paths::login(next), "{} {}", case.method, case.path);
        let late = case.ask(&replayed, &[]).await;
        // What a route objects to before it looks at the session changes nothing either.
        if case.pattern.ends_with("/positions") {
            assert_eq!(late.status, StatusCode::BAD_REQUEST);
        } else {
            assert!(late.location().starts_with("/login?next="), "{} {}", case.method, case.path);
        }
        tried += 1;
    }
    assert!(tried >= 20, "{tried} routes");
    assert_eq!(scene.world.rows().await, before);
    scene.end().await;
}

/// A fleet's page is for the operators of the very city that it is about: not for riders,
/// not for administrators, not for the operators of the city next door.
#[actix_web::test]
async fn the_routes_of_operators_are_for_those_of_the_city() {
    let scene = scene().await;
    let (db, sql) = (&scene.instance.running.app.db, scene.world.sql().await);
    let mut people = Vec::new();
    for (role, city) in [("operator", "boston"), ("administrator", ""), ("operator", "new-york")] {
        let person = scene.instance.person("new-york").await;
        movr::ops::accounts::grant(db, &person.name, role, city).await.unwrap();
        // The cookie learns the role; it is the row that counts.
        assert_eq!(person.get("/profile").await.status, StatusCode::OK);
        people.push(person);
    }
    let fleet = [Access::Operator, Access::Staff];
    let theirs: Vec<_> = scene.cases.iter().filter(|case| fleet.contains(&access(case))).collect();
    assert!(theirs.len() >= 20, "{} routes", theirs.len());
    let (operator, others) = people.split_last().unwrap();
    // Figures and the audit are for every role; prices for administrators too.
    let may = |name: &str, case: &Case| {
        let role = people.iter().take(2).position(|person| person.name == name);
        let any = ["/fleet/overview", "/fleet/audit", "/fleet/audit.csv"].contains(&case.pattern);
        role.is_some() && any || role == Some(1) && case.pattern.starts_with("/fleet/tariffs")
    };
    let refused_to = async |browser: &Browser| {
        let before = scene.world.rows().await;
        for case in theirs.iter().filter(|case| !may(&browser.name, case)) {
            let page = case.ask(browser, &[]).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{} {}: {}", case.method, case.path, page.text());
            assert!(page.text().contains("Only operators of this city may"), "{}", page.text());
        }
        assert_eq!(scene.world.rows().await, before);
    };
    refused_to(&scene.ann).await;
    for browser in others {
        refused_to(browser).await;
    }
    let stolen =
        scene.instance.replaying(&scene.instance.browser().sign_in(&operator.name, PASSWORD).await.session_cookie());
    for case in &theirs {
        let page = case.ask(operator, &[]).await;
        let wanted = if case.method == Method::GET { StatusCode::OK } else { StatusCode::SEE_OTHER };
        assert_eq!(page.status, wanted, "{} {}: {}", case.method, case.path, page.text());
    }
    sql.batch_execute("DELETE FROM role_grants WHERE city = 'new-york'").await.unwrap();
    refused_to(operator).await;
    refused_to(&stolen).await;
    drop(sql);
    scene.end().await;
}

#[actix_web::test]
async fn the_routes_of_administrators_are_for_them_alone() {
    let scene = scene().await;
    let operator = scene.instance.person("new-york").await;
    let admin = scene.instance.person("new-york").await;
    let db = &scene.instance.running.app.db;
    movr::ops::accounts::grant(db, &operator.name, "operator", "new-york").await.unwrap();
    movr::ops::accounts::grant(db, &admin.name, "administrator", "").await.unwrap();
    let theirs: Vec<_> = scene.cases.iter().filter(|case| access(case) == Access::Administrator).collect();
    let refused_to = async |browser: &Browser| {
        // The cookie knows the roles; it is the row that counts.
        assert_eq!(browser.get("/profile").await.status, StatusCode::OK);
        let before = scene.world.rows().await;
        for case in &theirs {
            let page = case.ask(browser, &[]).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{} {}", case.method, case.path);
            assert!(page.text().contains("Only administrators may use this page."), "{}", page.text());
            assert_eq!(page.texts("form[action^=\"/admin\"]"), [""; 0]);
        }
        assert_eq!(scene.world.rows().await, before);
    };
    refused_to(&scene.ann).await;
    refused_to(&operator).await;
    let offered = |page: &crate::support::html::Page| !page.attributes("a[href=\"/admin/regions\"]", "href").is_empty();
    assert!(!offered(&operator.get("/profile").await) && offered(&admin.get("/profile").await));
    for case in &theirs {
        let page = case.ask(&admin, &[]).await;
        let wanted = if case.method == Method::GET { StatusCode::OK } else { StatusCode::SEE_OTHER };
        assert_eq!(page.status, wanted, "{} {}: {}", case.method, case.path, page.text());
    }
    let stolen =
        scene.instance.replaying(&scene.instance.browser().sign_in(&admin.name, PASSWORD).await.session_cookie());
    scene.world.set("DELETE FROM role_grants WHERE role = 'administrator'").await;
    refused_to(&admin).await;
    refused_to(&stolen).await;
    assert!(theirs.len() >= 2, "{} routes", theirs.len());
    scene.end().await;
}

#[actix_web::test]
async fn writes_from_another_site_are_refused_and_change_nothing() {
    let scene = scene().await;
    let host = scene.instance.base.strip_prefix("http://").unwrap().to_owned();
    let lookalike = format!("http://{host}.evil.example");
    let before = scene.world.rows().await;
    for case in scene.cases.iter().filter(|case| case.method == Method::POST) {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "nonsense"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", lookalike.as_str()),
        ] {
            let answer = case.ask(&scene.ann, &[(name, value)]).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{} with {name}: {value}", case.path);
            assert!(answer.text().contains("came from another site"), "{}", answer.text());
            assert_eq!(answer.set_cookies(), [""; 0], "{} sets a cookie", case.path);
        }
    }
    assert_eq!(scene.world.rows().await, before);
    assert!(scene.ann.signed_in().await);
    // The same from our own pages is done.
    for (name, value) in
        [("sec-fetch-site", "same-origin"), ("origin", scene.instance.base.as_str()), ("origin", "http://movr.test")]
    {
        let answer = scene.ann.post_with("/city", &[(name, value)], &[("city", "boston")]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}: {value}");
    }
    scene.end().await;
}

#[actix_web::test]
async fn other_methods_are_refused_in_the_pages_own_words() {
    let scene = scene().await;
    let before = scene.world.rows().await;
    for case in &scene.cases {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if ROUTES.iter().any(|route| route.path == case.pattern && route.method.as_str() == method.as_str()) {
                continue;
            }
            let answer = scene.ann.method(method.clone(), &case.path).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {}", case.path);
            assert!(
                answer.text().contains("not for that kind of request"),
                "{method} {}: {}",
                case.path,
                answer.text()
            );
        }
    }
    assert_eq!(scene.world.rows().await, before);
    scene.end().await;
}

/// Statements and waits of each page, for a person at home (issue 2, show 4). One page
/// needs at most two statements in one wait; the two that take three say why.
#[actix_web::test]
async fn a_page_at_home_waits_once() {
    let scene = scene().await;
    let ann = &scene.ann;
    let ride = scene.cases.iter().find(|case| case.pattern == "/rides/{region}/{id}").unwrap().path.clone();
    let vehicle =
        scene.cases.iter().find(|case| case.pattern == "/vehicles/{region}/{public_id}").unwrap().path.clone();
    // The cookie learns where the person has ridden.
    ann.get("/profile").await;
    let nobody = scene.instance.browser();
    for (path, signed_in, anonymous) in [
        // Session, number of vehicles, the nearest ones.
        ("/", (3, 1), Some((2, 1))),
        ("/vehicles?city=new-york", (2, 1), Some((1, 1))),
        (vehicle.as_str(), (2, 1), Some((1, 1))),
        ("/rides", (2, 1), None),
        (ride.as_str(), (2, 1), None),
        ("/riders", (2, 1), None),
        // Session, details, sessions.
        ("/profile", (3, 1), None),
        ("/profile/home", (1, 1), None),
        ("/profile/delete", (1, 1), None),
        ("/my/vehicles", (2, 1), None),
        ("/status", (0, 0), Some((0, 0))),
        ("/healthz", (0, 0), Some((0, 0))),
        ("/static/app.css", (0, 0), Some((0, 0))),
    ] {
        // The first visit learns how dense the vehicles stand.
        ann.get(path).await;
        assert_eq!(ann.get(path).await.timing(), signed_in, "{path}");
        if let Some(wanted) = anonymous {
            assert_eq!(nobody.get(path).await.timing(), wanted, "{path}, not signed in");
        }
    }
    for path in ["/register", "/login", "/recover"] {
        assert!(!nobody.get(path).await.headers.contains_key("server-timing"), "{path}");
    }
    let ended = rides::end(ann, &ride).await;
    assert_eq!(ended.timing(), (1, 1), "end");
    let card = ann.get("/vehicles?city=new-york").await.card(1);
    let vehicle = card.iter().find(|(name, _)| name == "vehicle").unwrap().1.clone();
    let reserved = ann.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await;
    assert_eq!(reserved.timing(), (1, 1), "reserve");
    assert_eq!(ann.post("/reservation/cancel", &pairs(&card)).await.timing(), (1, 1), "cancel");
    assert_eq!(ann.post("/rides", &pairs(&card)).await.timing(), (1, 1), "start");
    scene.end().await;
}
