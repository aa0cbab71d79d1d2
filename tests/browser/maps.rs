//! Maps as hands use them: a finger scrolls the page and two move the map; pins lead to vehicles, on
//! the start page, beside the list and in the fleet; what lies elsewhere is searched there, and the
//! list goes on beyond 25. And the longest name makes no page wider than its window.

use serde_json::{Value, json};

use crate::support::{Browser, Stage, until};

/// Where something stands in the window.
async fn middle(browser: &Browser, selector: &str) -> (f64, f64) {
    let script = "const box = document.querySelector(arguments[0]).getBoundingClientRect();
        return [box.left + box.width / 2, box.top + box.height / 2]";
    let point = browser.script(script, vec![json!(selector)]).await;
    (point[0].as_f64().unwrap(), point[1].as_f64().unwrap())
}

async fn number(browser: &Browser, script: &str) -> f64 {
    browser.script(&format!("return {script}"), Vec::new()).await.as_f64().unwrap()
}

async fn mouse(browser: &Browser, kind: &str, (x, y): (f64, f64)) {
    let button = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1 });
    browser.cdp("Input.dispatchMouseEvent", button).await;
}

/// Moves with fingers, each from one point to another.
async fn fingers(browser: &Browser, ways: &[[(f64, f64); 2]]) {
    let send = async |kind: &str, share: f64| {
        let at = |n: usize, [from, to]: [(f64, f64); 2]| json!({ "x": from.0 + (to.0 - from.0) * share, "y": from.1 + (to.1 - from.1) * share, "id": n });
        let points = ways.iter().enumerate().map(|(n, way)| at(n, *way));
        let points: Vec<Value> = if kind == "touchEnd" { vec![] } else { points.collect() };
        browser.cdp("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points })).await;
    };
    send("touchStart", 0.0).await;
    for step in 1..=10 {
        send("touchMove", f64::from(step) / 10.0).await;
    }
    send("touchEnd", 1.0).await;
}

#[tokio::test]
async fn maps_are_moved_searched_and_lead_to_vehicles() {
    let stage = Stage::set().await;
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.resize(1280, 860).await;

    // A pin of the start page is a link.
    browser.go(url).await;
    browser.css(".leaflet-marker-icon a.pin").await;
    let href = browser.script("return document.querySelector('a.pin').getAttribute('href')", Vec::new()).await;
    assert!(href.as_str().unwrap().starts_with("/vehicles/us-east1/"), "{href}");
    browser.script("document.querySelector('a.pin').dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }))", Vec::new()).await;
    browser.heading("Vehicle in New York").await;

    // Beside the list a pin marks its card, and the card its pin.
    browser.go(&format!("{url}/vehicles?city=new-york")).await;
    browser.css(".leaflet-marker-icon a.pin[href='#v3']").await;
    browser.script("document.querySelector(\"a.pin[href='#v3']\").dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }))", Vec::new()).await;
    browser.css("#v3.on").await;
    assert_eq!(browser.script("return location.hash", Vec::new()).await, "");

    // Moved away, the map offers to search there, and there the list is measured from.
    let hidden = browser.script("return document.querySelector('.search-here').hidden", Vec::new()).await;
    assert_eq!(hidden, true, "nothing was moved yet");
    let (x, y) = (900.0, 780.0);
    mouse(browser, "mousePressed", (x, y)).await;
    for step in 1..=5 {
        mouse(browser, "mouseMoved", (x - 40.0 * f64::from(step), y - 60.0 * f64::from(step))).await;
    }
    mouse(browser, "mouseReleased", (x - 200.0, y - 300.0)).await;
    browser.reads(".search-here", "Search this area").await;
    browser.press_css(".search-here").await;
    browser.reads("main", "closest to the middle of the map").await;

    // More than 25: the list goes on.
    browser.press("Next page").await;
    browser.reads("main", "25 more vehicles, farther from the middle of the map").await;
    browser.press("Back to the first").await;
    browser.reads("main", "closest to the middle of the map first").await;

    // A finger on the map scrolls the page, two move the map.
    browser.resize(390, 844).await;
    browser.cdp("Emulation.setTouchEmulationEnabled", json!({ "enabled": true })).await;
    browser.go(&format!("{url}/vehicles?city=new-york")).await;
    browser.css(".leaflet-marker-icon").await;
    let (x, y) = middle(browser, ".map").await;
    let shift = "(() => { const box = document.querySelector('.leaflet-marker-icon').getBoundingClientRect(); return box.top; })()";
    let before = number(browser, shift).await;
    fingers(browser, &[[(x - 60.0, y), (x - 60.0, y - 80.0)], [(x + 60.0, y), (x + 60.0, y - 80.0)]]).await;
    until("two fingers move the map", async || {
        let now = number(browser, shift).await;
        if before - now > 40.0 { Ok(()) } else { Err(format!("{before} {now}")) }
    })
    .await;
    assert!(number(browser, "scrollY").await < 1.0, "and not the page");
    fingers(browser, &[[(x, y + 60.0), (x, y - 100.0)]]).await;
    until("a finger scrolls the page", async || {
        let now = number(browser, "scrollY").await;
        if now > 60.0 { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    browser.cdp("Emulation.setTouchEmulationEnabled", json!({ "enabled": false })).await;

    // The fleet: colours by status and charge; a row and its pin mark each other; a pin opens the vehicle.
    let sql = stage.folder.sql().await;
    let low = "UPDATE vehicles SET battery = 12 WHERE city = 'new-york' AND status = 'maintenance'";
    sql.execute(low, &[]).await.unwrap();
    browser.resize(1280, 860).await;
    browser.sign_in(url, "operator", &stage.demo.password).await;
    browser.heading("Vehicles in").await;
    browser.go(&format!("{url}/fleet?city=new-york&status=maintenance")).await;
    browser.css(".leaflet-marker-icon .pin.maintenance .charge.low").await;
    let row = browser.css("#v1").await;
    browser.driver().action_chain().move_to_element_center(&row).perform().await.unwrap();
    browser.css("#v1.on").await;
    browser.css(".leaflet-marker-icon.on").await;
    browser.script("document.querySelector('a.pin').dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }))", Vec::new()).await;
    browser.reads("mark", "In maintenance").await;

    // No name is too long for a telephone, nor for text of twice the size.
    let name = "UPDATE users SET first_name = repeat('Wolfeschlegelstein', 3), last_name = repeat('Hausenberg', 4)";
    sql.execute(name, &[]).await.unwrap();
    let code = "UPDATE vehicles SET brand = repeat('Fahrradmanufaktur', 3), place = repeat('Lange', 20)";
    sql.execute(code, &[]).await.unwrap();
    for width in [320, 1280] {
        browser.resize(width, 800).await;
        for path in ["/riders", "/vehicles", "/profile", "/fleet", "/my/vehicles"] {
            browser.go(&format!("{url}{path}")).await;
            browser.css("h1").await;
            for size in ["100%", "200%"] {
                browser.script("document.documentElement.style.fontSize = arguments[0]", vec![json!(size)]).await;
                // What is in main: the header has a test of its own.
                let over = number(browser, "Math.max(...[...document.querySelectorAll('main, main > *, main li, main p')].map((e) => e.getBoundingClientRect().right)) - innerWidth").await;
                assert!(over < 1.0, "{path} at {width} px and {size}: {over} px too wide");
            }
        }
    }
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|complaint| complaint.contains("tile.openstreetmap.org")), "{complaints:?}");
    stage.end().await;
}
