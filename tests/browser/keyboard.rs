//! A ride without a mouse: only Tab, Shift+Tab, Enter, Space, the arrow keys and typing.
//! At every step the control that has the focus is in sight, not hidden behind another,
//! and marked by an outline or a shadow.

use serde_json::Value;
use thirtyfour::prelude::*;

use crate::support::{Browser, Stage, until};

/// What has the focus, and what is wrong with how it shows.
const FOCUS: &str = "
    const e = document.activeElement;
    if (!e || e === document.body) return { who: 'body', wrong: '' };
    const style = getComputedStyle(e);
    const visible = (colour) => !/^rgba\\(.*, 0\\)$|^transparent$/.test(colour);
    const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1 && visible(style.outlineColor);
    const shadow = style.boxShadow !== 'none' && !style.boxShadow.startsWith('rgba(0, 0, 0, 0)');
    const box = e.getBoundingClientRect();
    const points = [[.5, .5], [.1, .5], [.9, .5], [.5, .1], [.5, .9]];
    const seen = points.some(([x, y]) => {
        const top = document.elementFromPoint(box.left + box.width * x, box.top + box.height * y);
        return top && (e.contains(top) || top.contains(e) || top.closest('label')?.control === e);
    });
    const wrong = (outline || shadow ? '' : 'no focus mark ') + (seen ? '' : 'out of sight or covered');
    const who = [e.tagName.toLowerCase(), e.name || e.id, e.getAttribute('aria-label') || (e.tagName === 'SELECT' ? '' : e.innerText)];
    return { who: who.join(' ').replace(/\\s+/g, ' ').trim(), wrong, href: e.getAttribute('href') || '' };";

/// More stops than any page has.
const STOPS: usize = 150;

struct Keys<'a>(&'a Browser);

impl Keys<'_> {
    async fn press(&self, keys: impl Into<TypingData>) {
        let chain = self.0.driver().action_chain();
        let text: String = keys.into().to_string();
        chain.send_keys(text).perform().await.unwrap();
    }

    /// Shift+Tab.
    async fn back(&self) {
        let chain = self.0.driver().action_chain();
        chain.key_down(Key::Shift).send_keys(Key::Tab).key_up(Key::Shift).perform().await.unwrap();
    }

    /// What has the focus now, once its mark shows (it fades in).
    async fn focus(&self) -> String {
        until("a visible focus", async || {
            let found = self.0.script(FOCUS, Vec::new()).await;
            let word = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
            if word("wrong").is_empty() { Ok(word("who")) } else { Err(format!("{}: {}", word("who"), word("wrong"))) }
        })
        .await
    }

    /// Tabs until the control that is called so has the focus; says over how many others.
    async fn tab_to(&self, who: &str) -> usize {
        let mut passed = Vec::new();
        for _ in 0..STOPS {
            self.press(Key::Tab).await;
            let focus = self.focus().await;
            if focus == who {
                return passed.len();
            }
            passed.push(focus);
        }
        panic!("no {who} among {passed:#?}");
    }
}

#[tokio::test]
async fn a_ride_from_sign_in_to_sign_out_needs_no_mouse() {
    let stage = Stage::set().await;
    let (browser, keys) = (&stage.browser, Keys(&stage.browser));
    browser.resize(1280, 860).await;
    browser.go(&stage.demo.urls[0]).await;
    browser.heading("Get around").await;

    // The first stop leads past the navigation; from there to the content.
    keys.press(Key::Tab).await;
    assert_eq!(keys.focus().await, "a Skip to content");
    keys.press(Key::Enter).await;
    assert_eq!(browser.script("return location.hash", Vec::new()).await, Value::from("#main"));

    // The city switch opens, and Escape closes it.
    browser.go(&stage.demo.urls[0]).await;
    keys.tab_to("summary City: New York").await;
    keys.press(Key::Space).await;
    browser.css(".city-switch[open] button").await;
    keys.press(Key::Escape).await;
    let open = browser.script("return document.querySelector('.city-switch').open", Vec::new()).await;
    assert_eq!(open, Value::from(false));
    assert_eq!(keys.focus().await, "summary City: New York");

    // Sign in.
    keys.tab_to("a Sign in").await;
    keys.press(Key::Enter).await;
    browser.heading("Sign in").await;
    keys.tab_to("input username").await;
    keys.press("rider").await;
    keys.press(Key::Tab).await;
    assert_eq!(keys.focus().await, "input password");
    keys.press(stage.demo.password.as_str()).await;
    let kind = async || browser.script("return document.querySelector('#password').type", Vec::new()).await;
    assert_eq!(kind().await, Value::from("password"));
    keys.press(Key::Tab).await;
    assert_eq!(keys.focus().await, "button Show password");
    keys.press(Key::Space).await;
    assert_eq!((kind().await, keys.focus().await), (Value::from("text"), "button Hide password".to_owned()));
    keys.back().await;
    keys.press(Key::Enter).await;
    browser.heading("Vehicles in New York").await;

    // The filter, by arrow keys: scooters only.
    keys.tab_to("select type").await;
    until("scooters are chosen", async || {
        let script = "return document.querySelector('[name=type]').value";
        let now = browser.script(script, Vec::new()).await;
        if now == "scooter" {
            return Ok(());
        }
        keys.press(Key::Down).await;
        Err(now.to_string())
    })
    .await;
    keys.tab_to("button Show").await;
    keys.press(Key::Enter).await;
    until("the filtered list", async || {
        let at = browser.driver().current_url().await.map_err(|error| error.to_string())?;
        let titles = browser.driver().find(By::Css(".cards")).await.map_err(|error| error.to_string())?;
        let titles = titles.text().await.map_err(|error| error.to_string())?;
        let only = titles.contains("scooter") && !titles.contains("bike");
        if only && at.as_str().contains("type=scooter") { Ok(()) } else { Err(format!("{at} {titles}")) }
    })
    .await;

    // The second card: reserve and cancel by Space.
    let passed = keys.tab_to("button Reserve 2").await;
    assert!(passed < 40, "{passed} stops before the second card");
    keys.press(Key::Space).await;
    browser.reads(".flashes", "Reserved for ten minutes").await;
    let held = browser.css(".card:has(.held)").await.id().await.unwrap().unwrap().replace('v', "");
    keys.tab_to(&format!("button Cancel reservation of {held}")).await;
    keys.press(Key::Space).await;
    browser.reads(".flashes", "The reservation is cancelled").await;

    // The ride: by the code on a vehicle, where it stands.
    let stands = "SELECT code, lat::TEXT, lon::TEXT FROM vehicles WHERE city = 'new-york' AND status = 'available'
        AND code IS NOT NULL ORDER BY code LIMIT 1";
    let row = stage.folder.sql().await.query_one(stands, &[]).await.unwrap();
    let [code, lat, lon] = [0, 1, 2].map(|column| row.try_get::<_, String>(column).unwrap());
    keys.tab_to("a Unlock with the code on the vehicle").await;
    keys.press(Key::Enter).await;
    browser.heading("Unlock a vehicle").await;
    for (field, value) in [("code", &code), ("lat", &lat), ("lon", &lon)] {
        keys.tab_to(&format!("input {field}")).await;
        keys.press(value.as_str()).await;
    }
    keys.press(Key::Enter).await;
    browser.reads(".panel", &format!("Code {code}")).await;
    keys.tab_to("button Ride").await;
    keys.press(Key::Enter).await;
    browser.reads(".flashes", "Your ride has started").await;

    // End it outside, which is asked for once more; read the receipt.
    keys.tab_to("input lat").await;
    keys.press("40.7290").await;
    keys.tab_to("input lon").await;
    keys.press("-74.0110").await;
    keys.tab_to("button End ride").await;
    keys.press(Key::Space).await;
    browser.reads("[role=alert]:focus", "ending the ride here costs an extra $15.00").await;
    keys.tab_to("button End ride here").await;
    keys.press(Key::Space).await;
    browser.heading("Receipt").await;
    browser.reads(".receipt", "1.1 mi north of the centre").await;
    browser.reads(".receipt", &code).await;
    keys.tab_to("a All my rides").await;
    keys.press(Key::Enter).await;
    browser.heading("My rides").await;

    keys.tab_to("button Sign out").await;
    keys.press(Key::Enter).await;
    browser.css(".top .cta").await;
    assert_eq!(browser.faults().await, Vec::<String>::new(), "the console");
    stage.end().await;
}

#[tokio::test]
async fn in_a_narrow_window_no_focus_hides_behind_the_bars() {
    let stage = Stage::set().await;
    let (browser, keys, url) = (&stage.browser, Keys(&stage.browser), stage.demo.urls[0].as_str());
    browser.resize(360, 640).await;
    browser.sign_in(url, "rider", &stage.demo.password).await;
    browser.heading("Vehicles in New York").await;
    for (path, heading, least) in [
        ("/", "Get around", 20),
        ("/vehicles", "Vehicles in", 85),
        ("/profile", "Profile", 20),
        ("/my/vehicles", "My vehicles", 15),
        ("/rides", "My rides", 10),
    ] {
        browser.go(&format!("{url}{path}")).await;
        browser.heading(heading).await;
        // Down the page and out of it, then up again.
        let mut down = Vec::new();
        loop {
            keys.press(Key::Tab).await;
            let focus = keys.focus().await;
            if focus == "body" {
                break;
            }
            down.push(focus);
            assert!(down.len() < STOPS, "{path} has no end: {down:#?}");
        }
        let stops = down.len();
        assert!(stops >= least, "{path}: {down:#?}");
        let mut seen = Vec::new();
        for _ in 0..stops {
            keys.back().await;
            seen.push(keys.focus().await);
        }
        assert_eq!(seen.last().unwrap(), "a Skip to content", "{path}: {seen:#?}");
    }
    stage.end().await;
}
