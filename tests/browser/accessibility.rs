//! Every page and every state of it that a person can come to, in a narrow and a wide
//! window, light and dark, under axe-core with no rule disabled. The order is a journey,
//! so that each page is reached as a person reaches it.

use serde_json::json;

use crate::support::{PASSWORD, Stage, audit::Audit};

#[tokio::test]
async fn no_page_has_an_accessibility_violation_at_320_pixels() {
    if let Some(audit) = Audit::new("no_page_has_an_accessibility_violation_at_320_pixels", 320) {
        every_page(audit, 320).await;
    }
}

#[tokio::test]
async fn no_page_has_an_accessibility_violation_at_1280_pixels() {
    if let Some(audit) = Audit::new("no_page_has_an_accessibility_violation_at_1280_pixels", 1280) {
        every_page(audit, 1280).await;
    }
}

async fn every_page(mut audit: Audit, width: u32) {
    let stage = Stage::set().await;
    stage.browser.resize(width, 800).await;
    anonymous(&mut audit, &stage).await;
    throttled(&mut audit, &stage).await;
    riding(&mut audit, &stage).await;
    account(&mut audit, &stage).await;
    owning(&mut audit, &stage).await;
    leaving(&mut audit, &stage).await;
    let pages = audit.end();
    assert!(pages >= 115, "{pages} pages");
    stage.end().await;
}

async fn anonymous(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    let page = |path: &str| format!("{url}{path}");
    // No vehicle of Rome is full, so that a filter finds none.
    let empty = "UPDATE vehicles SET battery = 99 WHERE city = 'rome' AND battery = 100";
    stage.folder.sql().await.execute(empty, &[]).await.unwrap();
    for (name, path, selector, text) in [
        ("home", "/", "h1", "Get around New York."),
        ("vehicles", "/vehicles?city=new-york", "h1", "Vehicles in New York"),
        ("vehicles near", "/vehicles?city=paris&lat=48.8566&lon=2.3522&type=bike", ".list", "closest to you"),
        ("vehicles none", "/vehicles?city=rome&battery=100", ".empty", "No vehicles match"),
        ("register", "/register", "h1", "Sign up"),
        ("login", "/login?next=/rides", "h1", "Sign in"),
        ("recover", "/recover", "h1", "Set a new password"),
        ("status", "/status", "h1", "Status"),
        ("help", "/help", "h1", "Help"),
    ] {
        browser.go(&page(path)).await;
        browser.reads(selector, text).await;
        audit.look(browser, name, 200).await;
    }
    browser.go(&page("/vehicles?city=rome&battery=101&type=bike")).await;
    browser.css("[role=alert]").await;
    audit.look(browser, "vehicles filter error", 422).await;
    browser.go(&page("/vehicles?city=new-york")).await;
    browser.press_css("#v1 h2 a").await;
    browser.heading("Vehicle in New York").await;
    audit.look(browser, "vehicle", 200).await;
    browser.go(&page("/vehicles/us-east1/00000000-0000-4000-8000-000000000000")).await;
    browser.css(".oops").await;
    audit.look(browser, "vehicle gone", 404).await;
    browser.go(&page("/nowhere")).await;
    browser.heading("Not found").await;
    audit.look(browser, "not found", 404).await;
    let wrong = "const form = document.createElement('form'); form.method = 'post'; form.action = '/status';
                 document.body.append(form); form.submit();";
    browser.script(wrong, Vec::new()).await;
    browser.heading("That does not work here").await;
    audit.look(browser, "method", 405).await;
    browser.go(&page("/")).await;
    browser.press_css(".city-switch summary").await;
    browser.css(".city-switch[open] button").await;
    audit.look(browser, "city switch open", 200).await;

    // Forms that come back with what is wrong. The browser's own checks are stepped over.
    for (name, path, fields) in [
        ("register errors", "/register", &[("username", "x"), ("password", "short"), ("email", "nobody")][..]),
        ("login error", "/login", &[("username", "nobody-here"), ("password", "wrong")]),
        ("recover error", "/recover", &[("username", "nobody-here"), ("code", "aaaa"), ("password", PASSWORD)]),
    ] {
        browser.go(&page(path)).await;
        for (field, value) in fields {
            browser.fill(&format!("main [name={field}]"), value).await;
        }
        send(stage, "main form").await;
        browser.css("main .error").await;
        audit.look(browser, name, 422).await;
    }
}

/// What a person sees who mistypes too often.
async fn throttled(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    let client = reqwest::Client::new();
    let form = [("username", "mistyper"), ("password", "wrong"), ("next", "/")];
    let tries = (0..6).map(|_| client.post(format!("{url}/login")).form(&form).send());
    let answers = futures_util::future::join_all(tries).await;
    assert!(answers.into_iter().any(|answer| answer.unwrap().status() == 429));
    browser.sign_in(url, "mistyper", "wrong").await;
    browser.heading("Too many attempts").await;
    audit.look(browser, "too many", 429).await;
}

/// Sends the form as a browser without the attributes for checking would.
async fn send(stage: &Stage, selector: &str) {
    let script = "const form = document.querySelector(arguments[0]); form.noValidate = true; form.requestSubmit();";
    stage.browser.script(script, vec![json!(selector)]).await;
}

async fn riding(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.register(url, "auditor", "new-york").await;
    audit.look(browser, "vehicles welcome", 200).await;
    browser.go(&format!("{url}/rides")).await;
    browser.heading("My rides").await;
    audit.look(browser, "rides none", 200).await;
    let found = "SELECT code, lat::TEXT, lon::TEXT FROM vehicles
        WHERE city = 'new-york' AND status = 'available' AND code IS NOT NULL LIMIT 1";
    let found = stage.folder.sql().await.query_one(found, &[]).await.unwrap();
    let found = [0, 1, 2].map(|column| found.try_get::<_, String>(column).unwrap());
    let wrong = ["none-such", "40.7", "-74"].map(str::to_owned);
    for (name, typed, status) in
        [("unlock", None, 200), ("unlock wrong", Some(wrong), 422), ("unlock found", Some(found), 200)]
    {
        browser.go(&format!("{url}/v")).await;
        if let Some(typed) = typed {
            for (field, value) in ["code", "lat", "lon"].iter().zip(typed) {
                browser.fill(&format!("#{field}"), &value).await;
            }
            browser.press("Unlock").await;
            browser.css(if status == 422 { "#code-error" } else { "[action='/rides']" }).await;
        }
        browser.heading("Unlock a vehicle").await;
        audit.look(browser, name, status).await;
    }
    browser.go(&format!("{url}/vehicles")).await;
    browser.press_css("#v1 h2 a").await;
    browser.press("Report a problem").await;
    audit.look(browser, "vehicle report open", 200).await;
    browser.go(&format!("{url}/vehicles")).await;
    browser.press("Reserve 1").await;
    browser.css(".card .held").await;
    browser.press_css(".card:has(.held) summary").await;
    audit.look(browser, "vehicles reserved", 200).await;
    browser.fill(".card:has(.held) [name=promo]", "NOSUCHCODE").await;
    browser.press_css(".card:has(.held) button:not(.outline)").await;
    browser.css(".flashes .error").await;
    audit.look(browser, "vehicles refused", 200).await;
    // What was typed is there again.
    browser.fill(".card:has(.held) [name=promo]", "WELCOME").await;
    browser.press_css(".card:has(.held) button:not(.outline)").await;
    browser.reads(".flashes", "Your ride has started").await;
    audit.look(browser, "ride open", 200).await;
    let ride = browser.driver().current_url().await.unwrap();
    for (name, path, heading) in [
        ("vehicles while riding", "/vehicles", "Vehicles in"),
        ("rides open", "/rides", "My rides"),
        ("home while riding", "/", "Get around"),
        ("unlock while riding", "/v", "Unlock a vehicle"),
    ] {
        browser.go(&format!("{url}{path}")).await;
        browser.heading(heading).await;
        audit.look(browser, name, 200).await;
    }
    browser.go(ride.as_str()).await;
    browser.fill("#lat", "95").await;
    browser.fill("#lon", "-74").await;
    browser.press("End ride").await;
    browser.css("main [role=alert]").await;
    audit.look(browser, "ride end error", 422).await;
    browser.go(ride.as_str()).await;
    browser.fill("#lat", "40.7295").await;
    browser.fill("#lon", "-74.0005").await;
    browser.press("End ride").await;
    browser.heading("Receipt").await;
    audit.look(browser, "receipt", 200).await;
    // What is reported here becomes a task of the operator below.
    browser.press("Report a problem").await;
    browser.choose("#problem", "brakes").await;
    browser.fill("#report-note", "The left one squeals").await;
    audit.look(browser, "report open", 200).await;
    browser.press("Send report").await;
    browser.reads(".flashes", "Thank you for telling us").await;
    browser.go(&format!("{url}/rides")).await;
    browser.css(".rows").await;
    audit.look(browser, "rides history", 200).await;
    browser.go(&format!("{url}/riders")).await;
    browser.heading("Riders in New York").await;
    audit.look(browser, "riders", 200).await;
}

async fn account(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    // A second session of the same person, so that the list has something to end.
    let other = [("username", "auditor"), ("password", PASSWORD), ("next", "/")];
    let answer = reqwest::Client::new().post(format!("{url}/login")).form(&other).send().await.unwrap();
    assert!(answer.status().is_success());
    browser.go(&format!("{url}/profile")).await;
    browser.heading("Profile").await;
    audit.look(browser, "profile", 200).await;
    for (name, path, form, fields) in [
        (
            "profile details errors",
            "/profile",
            "form[action='/profile']",
            &[("email", "nobody"), ("first_name", " ")][..],
        ),
        (
            "profile password errors",
            "/profile",
            "form[action='/profile/password']",
            &[("current", "wrong"), ("password", "short")],
        ),
        ("recovery codes error", "/profile", "form[action='/profile/recovery-codes']", &[("current", "wrong")]),
    ] {
        browser.go(&format!("{url}{path}")).await;
        for (field, value) in fields {
            browser.fill(&format!("{form} [name={field}]"), value).await;
        }
        send(stage, form).await;
        browser.css("main .error").await;
        audit.look(browser, name, 422).await;
    }
    browser.go(&format!("{url}/profile")).await;
    browser.fill("form[action='/profile']  [name=last_name]", "Keller-Baumgartner").await;
    browser.press("Save details").await;
    browser.css(".flashes .success").await;
    audit.look(browser, "profile saved", 200).await;
    browser.fill("#current-codes", PASSWORD).await;
    browser.press("Make new codes").await;
    browser.heading("Your recovery codes").await;
    audit.look(browser, "recovery codes", 200).await;
}

async fn owning(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.go(&format!("{url}/my/vehicles")).await;
    browser.heading("My vehicles").await;
    audit.look(browser, "my vehicles none", 200).await;
    for (field, value) in [("brand", "Gazelle"), ("colour", "red"), ("lat", "0"), ("lon", "0")] {
        browser.fill(&format!("main [name={field}]"), value).await;
    }
    send(stage, ".add form").await;
    browser.css("main .error").await;
    audit.look(browser, "my vehicles errors", 422).await;
    for (field, value) in [("lat", "40.7420"), ("lon", "-73.9890"), ("code", "G-17"), ("place", "Bleecker Street 12")] {
        browser.fill(&format!("main [name={field}]"), value).await;
    }
    browser.press_css(".add form button").await;
    browser.reads(".rows", "Gazelle").await;
    audit.look(browser, "my vehicles added", 200).await;
    browser.press("Gazelle, red bike").await;
    browser.heading("Gazelle, red bike").await;
    audit.look(browser, "my vehicle", 200).await;
    browser.script("document.querySelectorAll('main details').forEach(it => it.open = true)", Vec::new()).await;
    audit.look(browser, "my vehicle forms open", 200).await;
    browser.fill("#battery", "?").await;
    send(stage, "form[action$='/edit']").await;
    browser.css("main .error").await;
    audit.look(browser, "my vehicle errors", 422).await;
    browser.go(&format!("{url}/my/vehicles")).await;
    browser.press_css(".add summary").await;
    browser.css(".add form").await;
    audit.look(browser, "my vehicles form open", 200).await;
}

async fn leaving(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    // Another person: the tries of one account are counted.
    browser.press_above("Sign out").await;
    browser.css(".top .cta").await;
    browser.register(url, "leaver", "boston").await;
    for (name, path, heading) in
        [("move home", "/profile/home", "Change home city"), ("delete account", "/profile/delete", "Delete my account")]
    {
        browser.go(&format!("{url}{path}")).await;
        browser.heading(heading).await;
        audit.look(browser, name, 200).await;
        browser.fill("main [name=password]", "wrong").await;
        send(stage, "main form").await;
        browser.css("main .error").await;
        audit.look(browser, &format!("{name} error"), 422).await;
    }
    browser.go(&format!("{url}/profile/home")).await;
    browser.choose("#city", "paris").await;
    browser.fill("#password", PASSWORD).await;
    browser.press("Change home city").await;
    browser.reads("[aria-labelledby=home]", "Paris").await;
    audit.look(browser, "profile moved", 200).await;
    browser.go(&format!("{url}/profile/delete")).await;
    browser.fill("#password", PASSWORD).await;
    browser.press_css("main button.danger").await;
    browser.css(".top .cta").await;
    audit.look(browser, "after deletion", 200).await;
    // The sample owner, whose list is long.
    browser.sign_in(url, "owner", &stage.demo.password).await;
    browser.heading("Vehicles in").await;
    browser.go(&format!("{url}/my/vehicles")).await;
    browser.heading("My vehicles").await;
    audit.look(browser, "my vehicles many", 200).await;
    browser.press_css(".rows [value=yes]").await;
    browser.reads(".flashes", "Your vehicle is paused").await;
    browser.press_css(".rows [value=no]").await;
    browser.reads(".flashes", "is no longer paused").await;
    // Abroad, the way home is offered.
    browser.go(&format!("{}/vehicles", stage.demo.urls[2])).await;
    browser.css(".abroad").await;
    audit.look(browser, "vehicles abroad", 200).await;
    administering(audit, stage).await;
}

async fn administering(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.go(&format!("{url}/admin/regions")).await;
    browser.css(".oops").await;
    audit.look(browser, "not an administrator", 403).await;
    browser.press_above("Sign out").await;
    browser.css(".top .cta").await;
    browser.sign_in(url, "administrator", &stage.demo.password).await;
    browser.heading("Vehicles in").await;
    browser.go(&format!("{url}/admin/regions")).await;
    browser.heading("Regions").await;
    audit.look(browser, "regions", 200).await;
    browser.press_css("section:last-of-type button[value=draining]").await;
    browser.css("[name=confirmed]").await;
    audit.look(browser, "region drain", 200).await;
    browser.press_css("[name=confirmed]").await;
    browser.reads("main", "Draining").await;
    audit.look(browser, "regions draining", 200).await;
    browser.go(&format!("{url}/vehicles?city=paris")).await;
    browser.reads(".paused", "No new rides can start").await;
    audit.look(browser, "vehicles draining", 200).await;
    browser.go(&format!("{url}/admin/regions")).await;
    browser.press_css("section:last-of-type button[value=read-only]").await;
    browser.heading("Close ").await;
    audit.look(browser, "region close", 200).await;
    browser.press_css("[name=confirmed]").await;
    browser.reads(".flashes", "is closed.").await;
    browser.go(&format!("{url}/vehicles?city=paris")).await;
    browser.reads(".paused", "Paris is paused for").await;
    audit.look(browser, "vehicles closed", 200).await;
    // For as long as it is looked at, the region is closing.
    let sql = stage.folder.sql().await;
    let closes =
        "UPDATE region_gates SET changed_at = now() + $1::INT8 * '1 h'::INTERVAL WHERE write_state = 'read_only'";
    sql.execute(closes, &[&1_i64]).await.unwrap();
    browser.go(&format!("{url}/admin/regions")).await;
    browser.reads("main", "Closing").await;
    audit.look(browser, "region closing", 200).await;
    sql.execute(closes, &[&-1_i64]).await.unwrap();
    browser.go(&format!("{url}/admin/regions")).await;
    browser.reads("main", "Fully closed").await;
    audit.look(browser, "regions closed", 200).await;
    browser.press_css("section:last-of-type button[value=writable]").await;
    browser.reads(".flashes", "is open.").await;
    browser.go(&format!("{url}/fleet/audit")).await;
    browser.css(".scroll.audit tbody tr").await;
    audit.look(browser, "audit", 200).await;
    browser.go(&format!("{url}/fleet/audit?action=nothing")).await;
    browser.reads("main", "Searched back to").await;
    audit.look(browser, "audit none", 200).await;
    browser.go(&format!("{url}/fleet/audit?id=x")).await;
    browser.css("main [role=alert]").await;
    audit.look(browser, "audit error", 422).await;
    for (name, path, heading, form, field) in [
        ("tariffs", "/fleet/tariffs?city=boston", "Tariffs in Boston", "form:has(#from-bike)", "#unlock-bike"),
        ("promo codes", "/admin/promo-codes", "Promo codes", "form[action='/admin/promo-codes']", "#code"),
        ("cities", "/admin/cities", "Cities", "form[action='/admin/cities']", "#name"),
        ("city settings", "/admin/cities/boston", "Boston", "form[data-area]", "#lat"),
        ("roles", "/admin/roles", "Roles", "form[action='/admin/roles']", "#username"),
    ] {
        browser.go(&format!("{url}{path}")).await;
        browser.heading(heading).await;
        audit.look(browser, name, 200).await;
        browser.script("document.querySelectorAll('main details').forEach(it => it.open = true)", Vec::new()).await;
        browser.fill(field, "?").await;
        send(stage, form).await;
        browser.css("main .error").await;
        audit.look(browser, &format!("{name} error"), 422).await;
    }
    browser.go(&format!("{url}/admin/promo-codes")).await;
    browser.press("Change WELCOME").await;
    browser.fill("#total-WELCOME", "?").await;
    send(stage, "form[action$='/WELCOME']").await;
    browser.css("#total-WELCOME-error").await;
    audit.look(browser, "promo code change error", 422).await;
    browser.go(&format!("{url}/admin/cities/boston")).await;
    browser.fill("#reason", "roadworks until Friday").await;
    browser.press("Pause Boston").await;
    browser.reads(".flashes", "Boston is paused.").await;
    audit.look(browser, "city paused", 200).await;
    browser.go(&format!("{url}/vehicles?city=boston")).await;
    browser.reads(".list", "Boston is paused (roadworks until Friday).").await;
    audit.look(browser, "vehicles of a paused city", 200).await;
    browser.go(&format!("{url}/admin/cities/boston")).await;
    browser.press("Open Boston").await;
    browser.reads(".flashes", "Boston is open again.").await;
    browser.go(&format!("{url}/admin/people")).await;
    browser.heading("People").await;
    audit.look(browser, "people", 200).await;
    send(stage, "main form").await;
    browser.css("main .error").await;
    audit.look(browser, "people error", 422).await;
    browser.fill("#who", "rider").await;
    browser.press("Find").await;
    browser.css("ul.rows a").await;
    audit.look(browser, "people found", 200).await;
    browser.press_css("ul.rows a").await;
    browser.css("[aria-label=Account]").await;
    browser.press_css(".add summary").await;
    audit.look(browser, "person", 200).await;
    browser.press("Block account").await;
    browser.reads(".flashes", "The account is blocked").await;
    audit.look(browser, "person blocked", 200).await;
    browser.press("Unblock").await;
    browser.reads(".flashes", "The account is no longer blocked").await;
    browser.go(&format!("{url}/fleet/overview")).await;
    browser.heading("Overview").await;
    audit.look(browser, "overview", 200).await;
    browser.script("document.querySelectorAll('main details').forEach(it => it.open = true)", Vec::new()).await;
    audit.look(browser, "overview tables", 200).await;
    operating(audit, stage).await;
}

async fn operating(audit: &mut Audit, stage: &Stage) {
    importing(audit, stage).await;
    earning(audit, stage).await;
}

/// Rides, prices and revenue, as the operator of New York.
async fn earning(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    let page = |path: &str| format!("{url}/fleet/{path}");
    let price = "city=new-york&type=bike&unlock=1&minute=33&fee=15";
    let wrong = "city=new-york&type=bike&unlock=x&minute=33&fee=15";
    for (name, path, heading, status) in [
        ("rides under way", "rides?city=new-york", "Rides in New York", 200),
        ("rides error", "rides?city=new-york&longer=7", "Rides in New York", 422),
        ("rides none", "rides?city=new-york&q=nothing", "Rides in New York", 200),
        ("new price", &format!("tariffs/new?{price}"), "Bike: new price", 200),
        ("new price error", &format!("tariffs/new?{wrong}"), "Tariffs in New York", 422),
        ("price credits", &format!("tariffs/credit?{price}&from=4102444800"), "Credit rides", 200),
        ("revenue", "revenue?city=new-york", "Revenue in New York", 200),
        ("revenue error", "revenue?city=new-york&from=x", "Revenue in New York", 422),
        ("rides ended", "rides?city=new-york&state=ended", "Rides in New York", 200),
    ] {
        browser.go(&page(path)).await;
        browser.heading(heading).await;
        audit.look(browser, name, status).await;
    }
    browser.press_css("tbody tr:first-child th a").await;
    browser.heading("Ride ").await;
    audit.look(browser, "ride of the fleet", 200).await;
    browser.fill("#amount", "?").await;
    send(stage, "form[action$='/credit']").await;
    browser.css("main .error").await;
    audit.look(browser, "ride of the fleet error", 422).await;
    browser.press_css("a[href$='/rider']").await;
    browser.heading("Who rode?").await;
    audit.look(browser, "who rode", 200).await;
    send(stage, "main form").await;
    browser.css("main .error").await;
    audit.look(browser, "who rode error", 422).await;
    browser.choose("#reason", "accident").await;
    browser.press("Show the rider").await;
    browser.css("[aria-labelledby=rider]").await;
    audit.look(browser, "who rode, answered", 200).await;
    browser.go(&page("rides?city=new-york")).await;
    browser.press_css("tbody tr:first-child th a").await;
    browser.reads("main", "End this ride").await;
    audit.look(browser, "ride of the fleet under way", 200).await;
    send(stage, "form[action$='/end']").await;
    browser.css("main .error").await;
    audit.look(browser, "ride of the fleet under way error", 422).await;
}

async fn importing(audit: &mut Audit, stage: &Stage) {
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.press_above("Sign out").await;
    browser.css(".top .cta").await;
    browser.sign_in(url, "operator", &stage.demo.password).await;
    browser.heading("Vehicles in").await;
    browser.go(&format!("{url}/fleet/tasks?city=new-york")).await;
    browser.reads("[aria-labelledby=waiting]", "Gazelle").await;
    browser.reads(".rows.plain", "The left one squeals").await;
    audit.look(browser, "tasks", 200).await;
    browser.press_css("[value=take]").await;
    browser.reads(".rows.plain", "yours").await;
    browser.press_css("[value=finish]").await;
    browser.reads(".flashes", "This task is done.").await;
    browser.press_css("[aria-labelledby=waiting] a").await;
    browser.reads("main", "Approve this vehicle").await;
    audit.look(browser, "vehicle to approve", 200).await;
    browser.press("Approve").await;
    browser.reads(".flashes", "The vehicle is on the street").await;
    browser.go(&format!("{url}/fleet?city=new-york")).await;
    browser.heading("Fleet of New York").await;
    audit.look(browser, "fleet", 200).await;
    browser.go(&format!("{url}/fleet?city=new-york&battery=0")).await;
    browser.css(".fleet-filters .error").await;
    audit.look(browser, "fleet filter error", 422).await;
    browser.go(&format!("{url}/fleet?city=new-york&code=nothing")).await;
    browser.css(".empty").await;
    audit.look(browser, "fleet none", 200).await;
    browser.go(&format!("{url}/fleet?city=new-york")).await;
    browser.press_css("#v1 th a").await;
    browser.css(".timeline").await;
    audit.look(browser, "fleet vehicle", 200).await;
    browser.press_css("details.panel summary").await;
    browser.fill("#brand", "").await;
    send(stage, "details.panel form").await;
    browser.css("main .error").await;
    audit.look(browser, "fleet vehicle errors", 422).await;
    browser.go(&format!("{url}/fleet/add?city=new-york")).await;
    browser.heading("Add a vehicle").await;
    audit.look(browser, "fleet add", 200).await;
    send(stage, "form[action='/fleet/add']").await;
    browser.css("main .error").await;
    audit.look(browser, "fleet add errors", 422).await;
    for (name, path, selector) in [
        ("fleet search", "/fleet/search?q=1", "ul.rows"),
        ("fleet search none", "/fleet/search?q=nothing", ".empty"),
        ("fleet qr", "/fleet/qr?city=new-york", ".sheet"),
    ] {
        browser.go(&format!("{url}{path}")).await;
        browser.css(selector).await;
        audit.look(browser, name, 200).await;
    }
    browser.go(&format!("{url}/fleet/jobs")).await;
    browser.heading("Jobs in").await;
    audit.look(browser, "jobs none", 200).await;
    browser.press_css(".add summary").await;
    browser.fill("#battery", "5").await;
    audit.look(browser, "jobs form open", 200).await;
    browser.press("Create job").await;
    browser.reads("main .actions", "Cancel the job").await;
    audit.look(browser, "job to confirm", 200).await;
    // For as long as it is looked at, nobody works on it; then the page changes by itself.
    let sql = stage.folder.sql().await;
    let lease = "UPDATE jobs SET lease_owner = id, lease_until = now() + $1::INT8 * '1 h'::INTERVAL
        WHERE state = 'running' AND kind <> 'erasure'";
    sql.execute(lease, &[&1_i64]).await.unwrap();
    browser.press("Confirm").await;
    browser.reads("main mark", "Running").await;
    audit.look(browser, "job running", 200).await;
    browser.script("document.querySelector('main h1').seen = true", Vec::new()).await;
    sql.execute(lease, &[&-1_i64]).await.unwrap();
    browser.reads("main mark", "Done").await;
    let stayed = "if (!document.querySelector('main h1').seen) throw new Error('it was loaded anew')";
    browser.script(stayed, Vec::new()).await;
    audit.look(browser, "job done", 200).await;
    browser.go(&format!("{url}/fleet/jobs")).await;
    browser.css("ul.rows").await;
    audit.look(browser, "jobs", 200).await;
    browser.go(&format!("{url}/fleet/import")).await;
    browser.heading("Import and export").await;
    audit.look(browser, "import", 200).await;
    send(stage, "main form[method=post]").await;
    browser.css("main .error").await;
    audit.look(browser, "import error", 422).await;
    let file = stage.folder.path.join("fleet.csv");
    std::fs::write(&file, "code,type,brand,colour\nAX-1,bike,Gazelle,red\nAX-2,rocket,Gazelle,red\n").unwrap();
    browser.css("#file").await.send_keys(file.to_str().unwrap()).await.unwrap();
    browser.press("Upload and preview").await;
    browser.reads("main", "Needs confirmation").await;
    browser.reads("ul.rows", "Rejected").await;
    audit.look(browser, "import preview", 200).await;
    browser.go(&format!("{url}/fleet/tasks?city=new-york&show=done")).await;
    browser.reads(".rows.plain", "The left one squeals").await;
    audit.look(browser, "tasks done", 200).await;
}
