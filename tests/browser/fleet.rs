//! An operator's day: 500 vehicles come from a spreadsheet, 20 go to the workshop, a price
//! changes, a ride earns something, its rider reports a problem, 50 vehicles go to another
//! region, and the audit knows all of it. Once with the mouse, once with the keyboard alone,
//! and once in a narrow window that runs no scripts.

use std::{fmt::Write, path::PathBuf};

use serde_json::json;
use thirtyfour::prelude::*;

use crate::support::{Browser, Stage, until};

/// How the operator uses a page.
#[derive(Clone, Copy, PartialEq)]
enum Hand {
    Mouse,
    Keys,
}

/// More stops than the longest list has.
const STOPS: usize = 400;

struct Operator<'a> {
    browser: &'a Browser,
    hand: Hand,
    /// Whether the browser runs them.
    scripts: bool,
}

impl Operator<'_> {
    async fn keys(&self, keys: impl Into<TypingData>) {
        let text = keys.into().to_string();
        self.browser.driver().action_chain().send_keys(text).perform().await.unwrap();
    }

    /// With the keyboard: Tab until what the selector means has the focus.
    async fn tab_to(&self, selector: &str) {
        let there = "const e = document.activeElement; return !!e && e.matches(arguments[0])";
        for _ in 0..STOPS {
            if self.browser.script(there, vec![selector.into()]).await == true {
                return;
            }
            self.keys(Key::Tab).await;
        }
        panic!("no way to {selector} with Tab");
    }

    /// Presses a button, opens a detail, follows a link.
    async fn press(&self, selector: &str) {
        self.browser.css(selector).await;
        match self.hand {
            Hand::Mouse => self.browser.press_css(selector).await,
            Hand::Keys => {
                self.tab_to(selector).await;
                self.keys(Key::Enter).await;
            }
        }
    }

    /// Ticks a box.
    async fn tick(&self, selector: &str) {
        match self.hand {
            Hand::Mouse => self.browser.press_css(selector).await,
            Hand::Keys => {
                self.tab_to(selector).await;
                self.keys(Key::Space).await;
            }
        }
    }

    async fn fill(&self, selector: &str, text: &str) {
        match self.hand {
            Hand::Mouse => self.browser.fill(selector, text).await,
            Hand::Keys => {
                self.tab_to(selector).await;
                let chain = self.browser.driver().action_chain();
                chain.key_down(Key::Control).send_keys("a").key_up(Key::Control).perform().await.unwrap();
                self.keys(text).await;
            }
        }
    }

    /// Empties a field of date and time: each of its parts.
    async fn empty_time(&self, selector: &str) {
        if self.hand == Hand::Mouse {
            return self.browser.css(selector).await.clear().await.unwrap();
        }
        self.tab_to(selector).await;
        for _ in 0..6 {
            self.keys(Key::Backspace).await;
            self.keys(Key::Right).await;
        }
        let value =
            self.browser.script("return document.querySelector(arguments[0]).value", vec![selector.into()]).await;
        assert_eq!(value, "");
    }

    async fn choose(&self, selector: &str, value: &str) {
        if self.hand == Hand::Mouse {
            return self.browser.choose(selector, value).await;
        }
        self.tab_to(selector).await;
        until("the option is chosen", async || {
            let now =
                self.browser.script("return document.querySelector(arguments[0]).value", vec![selector.into()]).await;
            if now == value {
                return Ok(());
            }
            let last = "const s = document.querySelector(arguments[0]); return s.selectedIndex === s.length - 1";
            let last = self.browser.script(last, vec![selector.into()]).await == true;
            self.keys(if last { Key::Home } else { Key::Down }).await;
            Err(now.to_string())
        })
        .await;
    }

    async fn sign_in(&self, url: &str, username: &str, password: &str) {
        self.browser.go(&format!("{url}/login")).await;
        self.fill("#username", username).await;
        self.fill("#password", password).await;
        self.press("main form button:not(.reveal)").await;
        self.browser.css(".sign-out button").await;
    }

    async fn sign_out(&self) {
        self.press(".sign-out button").await;
        self.browser.css(".top .cta").await;
    }

    /// Confirms the job whose page is shown, and waits until it is done.
    async fn confirm(&self, done: &str) {
        self.waits("the job is looked through", |text| text.contains("Needs confirmation")).await;
        self.press("form[action$='/confirm'] button").await;
        let over = |text: &str| text.contains("Done") && text.contains(done) && !text.contains("Running");
        self.waits("the job is done", over).await;
    }

    /// Waits until the page says so: by itself, or without scripts by its link.
    async fn waits(&self, what: &str, said: impl Fn(&str) -> bool) {
        until(what, async || {
            let text = self.browser.script("return document.querySelector('main')?.innerText || ''", Vec::new()).await;
            let text = text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            if said(&text) {
                return Ok(());
            }
            if !self.scripts && text.contains("Refresh") {
                self.press("a[data-refresh]").await;
            }
            Err(text)
        })
        .await;
    }
}

/// 500 vehicles as a spreadsheet in Europe saves them, 50 of them with codes that begin with `GO-`.
fn file(stage: &Stage) -> PathBuf {
    let path = stage.folder.path.join("fleet.csv");
    let mut text = "\u{feff}code;type;brand;colour;battery;lat;lon;place\n".to_owned();
    for n in 0..500 {
        let (prefix, vehicle_type) = (if n < 50 { "GO" } else { "IN" }, ["bike", "scooter", "skateboard"][n % 3]);
        writeln!(text, "{prefix}-{n:03};{vehicle_type};Gazelle;green;{};42,3601;-71,0589;Depot", 20 + n % 80).unwrap();
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// What the overview says that Boston has earned today, in cents.
async fn earned_today(browser: &Browser, url: &str) -> i64 {
    browser.go(&format!("{url}/fleet/overview")).await;
    browser.reads("[aria-labelledby=us-east1] table", "Boston").await;
    let today =
        "const row = [...document.querySelectorAll('tbody tr')].find((row) => row.cells[0].innerText === 'Boston');
        return row.cells[row.cells.length - 3].querySelector('small')?.innerText || '$0.00'";
    let today = browser.script(today, Vec::new()).await;
    today.as_str().unwrap().replace(['$', '.', ','], "").parse().unwrap()
}

async fn day(hand: Hand, width: u32, scripts: bool) {
    let stage = Stage::set().await;
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    let (password, file) = (stage.demo.password.clone(), file(&stage));
    let it = Operator { browser, hand, scripts };
    browser.resize(width, 860).await;
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": !scripts })).await;

    // An administrator gives the operator two more cities.
    it.sign_in(url, "administrator", &password).await;
    for city in ["boston", "amsterdam"] {
        browser.go(&format!("{url}/admin/roles")).await;
        it.fill("#username", "operator").await;
        it.choose("#city", city).await;
        it.press("section form button").await;
        browser.css(".flashes .success").await;
    }
    it.sign_out().await;

    // 500 vehicles from a file, which the preview has understood. The dialog of the system is none of ours: the path is given.
    it.sign_in(url, "operator", &password).await;
    browser.go(&format!("{url}/fleet/import?city=boston")).await;
    browser.css("#file").await.send_keys(file.to_str().unwrap()).await.unwrap();
    it.press("form[enctype] button").await;
    browser.reads("main", "500 will be added and 0 changed").await;
    browser.reads("main", "Read as: semicolons, UTF-8, decimal commas.").await;
    it.tick("[name=new_status][value=available]").await;
    it.confirm("Done 500").await;

    // Those with that in their code; the first 20 to the workshop.
    browser.go(&format!("{url}/fleet?city=boston")).await;
    it.fill("#code", "IN-").await;
    it.press(".fleet-filters button").await;
    browser.reads("tbody", "IN-050").await;
    for n in 1..=20 {
        it.tick(&format!("#v{n} input[type=checkbox]")).await;
    }
    it.choose("#kind", "maintenance").await;
    it.fill("#note", "spring check").await;
    it.press(".several .actions button:not([name])").await;
    it.confirm("Done 20").await;
    browser.go(&format!("{url}/fleet?city=boston&status=maintenance&code=IN-")).await;
    let rows = browser.script("return document.querySelectorAll('tbody tr').length", Vec::new()).await;
    assert_eq!(rows, 20);

    // A new price, and a ride that pays it.
    browser.go(&format!("{url}/fleet/tariffs?city=boston")).await;
    it.press("[aria-labelledby=bike] summary").await;
    it.empty_time("#from-bike").await;
    for (field, price) in [("unlock", "7.50"), ("minute", "0.50"), ("fee", "9.00")] {
        it.fill(&format!("#{field}-bike"), price).await;
    }
    it.press("[aria-labelledby=bike] details form button").await;
    browser.reads("tbody", "10-minute ride").await;
    it.tick("[name=sure]").await;
    it.press("form[action='/fleet/tariffs'] button").await;
    browser.reads(".flashes", "New bike price from").await;
    let before = earned_today(browser, url).await;
    it.sign_out().await;
    it.sign_in(url, "rider", &password).await;
    browser.go(&format!("{url}/vehicles?city=boston&type=bike")).await;
    browser.reads("#v1 .price", "$7.50 + $0.50/min").await;
    it.press("#v1 form > button:not(.outline)").await;
    browser.reads("main", "End the ride").await;
    it.fill("#lat", "42.3601").await;
    it.fill("#lon", "-71.0589").await;
    it.press("button[form=end]").await;
    browser.reads(".receipt .total", "$8.00").await;
    it.press("details.panel summary").await;
    it.choose("#problem", "brakes").await;
    it.fill("#report-note", "The left one squeals").await;
    it.press("form[action$='/report'] button").await;
    browser.reads(".flashes", "Thank you for telling us.").await;
    it.sign_out().await;
    it.sign_in(url, "operator", &password).await;
    let after = earned_today(browser, url).await;
    assert_eq!(after - before, 800, "cents: the ride stands in the overview");

    // What the rider reported is a task: somebody's, and done.
    browser.go(&format!("{url}/fleet/tasks?city=boston")).await;
    browser.reads(".rows.plain", "The left one squeals").await;
    it.press("[value=take]").await;
    browser.reads(".rows.plain", "yours").await;
    it.press("[value=finish]").await;
    browser.reads(".flashes", "This task is done.").await;
    browser.reads(".empty", "No tasks.").await;

    // The vehicle had broken down: a part is credited, and the month's file says so.
    browser.go(&format!("{url}/fleet/rides?city=boston&state=ended")).await;
    it.press("tbody tr:first-child th a").await;
    it.fill("#amount", "3.00").await;
    it.choose("#reason", "fault").await;
    it.press("form[action$='/credit'] button").await;
    browser.reads(".flashes", "$3.00 credited").await;
    browser.go(&format!("{url}/fleet/revenue?city=boston")).await;
    browser.reads("tfoot td:nth-last-child(2)", "$3.00").await;
    let file = browser.download("a[download]").await;
    assert!(file.lines().any(|line| line.split(',').nth(7) == Some("3.00")), "{file}");

    // 50 vehicles cross the ocean.
    browser.go(&format!("{url}/fleet?city=boston&code=GO-")).await;
    it.choose("#kind", "move").await;
    it.choose("#to_city", "amsterdam").await;
    it.press(".several button[name=all]").await;
    browser.heading("Move from Boston to Amsterdam").await;
    it.confirm("Done 50").await;
    browser.go(&format!("{url}/fleet?city=amsterdam&code=GO-")).await;
    browser.reads("tbody", "GO-049").await;

    // All of it stands in the audit.
    for (action, region, least) in [
        ("vehicle.added", "us-east1", 50),
        ("vehicle.maintenance", "us-east1", 20),
        ("vehicle.sent", "us-east1", 50),
        ("vehicle.received", "europe-west1", 50),
        ("ride.ended", "us-east1", 1),
    ] {
        browser.go(&format!("{url}/fleet/audit?region={region}&action={action}")).await;
        let rows = browser.script("return document.querySelectorAll('tbody tr').length", Vec::new()).await;
        assert!(rows.as_u64().unwrap() >= least, "{action}: {rows} rows");
    }
    it.sign_out().await;
    // Who sees prices, roles and regions in it is an administrator.
    it.sign_in(url, "administrator", &password).await;
    for action in ["tariff.", "user.role_granted"] {
        browser.go(&format!("{url}/fleet/audit?region=us-east1&action={action}")).await;
        browser.css("tbody tr").await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "the console");
    stage.end().await;
}

#[tokio::test]
async fn an_operators_day_from_the_file_to_the_audit() {
    day(Hand::Mouse, 1280, true).await;
}

#[tokio::test]
async fn an_operators_day_needs_no_mouse() {
    day(Hand::Keys, 1280, true).await;
}

#[tokio::test]
async fn an_operators_day_needs_no_scripts_and_no_width() {
    day(Hand::Mouse, 360, false).await;
}

/// On a telephone: a vehicle is added where it stands, found from another page by a part of its code,
/// and retired in two steps; the list is cards, and a whole page is chosen at once.
#[tokio::test]
async fn an_operator_adds_finds_and_retires_a_vehicle_on_a_telephone() {
    let stage = Stage::set().await;
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.resize(390, 844).await;
    browser.sign_in(url, "operator", &stage.demo.password).await;
    browser.css(".sign-out button").await;
    browser.go(&format!("{url}/fleet/add?city=new-york")).await;
    for (field, value) in [("code", "ZZ-Phone-1"), ("brand", "Gazelle"), ("colour", "green")] {
        browser.fill(&format!("main [name={field}]"), value).await;
    }
    browser.press("Add vehicle").await;
    browser.reads(".flashes", "The vehicle is added.").await;
    browser.go(&format!("{url}/fleet/overview")).await;
    browser.fill("#find", "z-phone").await;
    browser.press_css(".find button").await;
    browser.heading("ZZ-Phone-1").await;
    // What a file would change is shown before it does.
    let file = stage.folder.path.join("phone.csv");
    std::fs::write(&file, "code;battery\nZZ-Phone-1;55\n").unwrap();
    browser.go(&format!("{url}/fleet/import?city=new-york")).await;
    browser.css("#file").await.send_keys(file.to_str().unwrap()).await.unwrap();
    browser.press("Upload and preview").await;
    browser.reads("ul.rows", "battery 100 → 55").await;
    browser.press("Confirm").await;
    browser.reads("ul.rows mark", "Changed").await;
    browser.go(&format!("{url}/fleet/search?q=z-phone")).await;
    browser.reads(".facts", "55%").await;
    browser.press("Retire").await;
    browser.press("Retire for good").await;
    browser.reads(".flashes", "The vehicle is retired.").await;
    browser.heading("ZZ-Phone-1").await;

    browser.go(&format!("{url}/fleet?city=new-york")).await;
    browser.heading("Fleet of New York").await;
    let shown = "const row = document.querySelector('#v1'), seen = (n) => {
            const box = row.cells[n].getBoundingClientRect();
            return box.width > 0 && box.left >= 0 && box.right <= innerWidth;
        };
        return [document.documentElement.scrollWidth <= innerWidth, seen(1), seen(3), seen(4)].join()";
    assert_eq!(
        browser.script(shown, Vec::new()).await,
        "true,true,true,true",
        "code, status, battery; nothing sideways"
    );
    browser.press_css("[data-all]").await;
    let chosen = browser.script("return document.querySelectorAll('tbody :checked').length", Vec::new()).await;
    assert!(chosen.as_u64().unwrap() > 20, "{chosen}");
    browser.reads(".several button", &format!("Apply to selected ({chosen})")).await;
    browser.press_css("#v2 input").await;
    browser.reads(".several button", &format!("Apply to selected ({})", chosen.as_u64().unwrap() - 1)).await;

    browser.go(&format!("{url}/fleet/qr?city=new-york")).await;
    browser.css(".sheet g path").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "the console");
    stage.end().await;
}
