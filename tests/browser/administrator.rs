//! An administrator's day: somebody is blocked while they are signed in, and let in again; a promo code is shared out, used
//! and accounted for; a city is paused, renamed, and given another area: drawn with the mouse, and typed without scripts.

use serde_json::json;
use thirtyfour::{By, action_chain::ActionChain};

use crate::support::{Browser, PASSWORD, Stage, until};

#[tokio::test]
async fn an_administrator_blocks_somebody_shares_out_a_code_and_draws_an_area() {
    let stage = Stage::set().await;
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.resize(1280, 860).await;
    browser.register(url, "troubled", "boston").await;
    let rider = browser.session().await;
    browser.sign_in(url, "administrator", &stage.demo.password).await;
    browser.heading("Vehicles in").await;
    let administrator = browser.session().await;

    // Found by username everywhere, by name in one city; blocked, and out at once.
    browser.go(&format!("{url}/admin/people")).await;
    for (who, city, found) in [
        ("troubled", "seattle", "Robin Keller troubled"),
        ("keller", "seattle", "Nobody found."),
        ("keller", "boston", "Robin Keller troubled"),
    ] {
        browser.fill("#who", who).await;
        browser.choose("#city", city).await;
        browser.press("Find").await;
        browser.reads("ul.rows, .empty", found).await;
    }
    browser.press_css("ul.rows a").await;
    browser.heading("Robin Keller").await;
    let person = browser.driver().current_url().await.unwrap();
    browser.press("Block").await;
    browser.choose("#reason", "misuse").await;
    browser.press("Block account").await;
    browser.reads(".flashes", "The account is blocked and signed out everywhere.").await;
    browser.reads("mark", "Blocked").await;
    browser.be(&rider).await;
    browser.go(&format!("{url}/rides")).await;
    browser.heading("Sign in").await;
    browser.fill("#username", "troubled").await;
    browser.fill("#password", PASSWORD).await;
    browser.press("Sign in").await;
    browser.reads("main [role=alert]", "This account is blocked.").await;
    browser.be(&administrator).await;
    browser.go(person.as_str()).await;
    browser.press("Unblock").await;
    browser.reads(".flashes", "The account is no longer blocked.").await;
    browser.sign_in(url, "troubled", PASSWORD).await;
    browser.heading("Vehicles in Boston").await;
    let rider = browser.session().await;

    // One total for the cities that are ticked; a ride takes one of it, and the file names the ride and nobody.
    browser.be(&administrator).await;
    browser.go(&format!("{url}/admin/promo-codes")).await;
    browser.press("Add a code").await;
    for (field, value) in [("code", "spring"), ("value", "20"), ("total", "9")] {
        browser.fill(&format!("#{field}"), value).await;
    }
    for city in ["boston", "seattle"] {
        browser.press_css(&format!("[name=cities][value={city}]")).await;
    }
    browser.press("Add code").await;
    browser.reads(".flashes", "SPRING is added.").await;
    let uses = "[aria-labelledby=SPRING] .facts";
    browser.reads(uses, "Boston, Seattle").await;
    browser.reads(uses, "9 in all, 1 per rider").await;
    let shares = browser.css(uses).await.text().await.unwrap();
    let shares: Vec<u32> =
        shares.lines().filter_map(|line| line.strip_prefix("0 of ")?.split(' ').next()?.parse().ok()).collect();
    assert!(shares.len() == 2 && shares.iter().sum::<u32>() == 9 && !shares.contains(&0), "{shares:?}");
    browser.be(&rider).await;
    for (city, answer) in
        [("new-york", "This promo code is not valid here and now."), ("boston", "Your ride has started")]
    {
        browser.go(&format!("{url}/vehicles?city={city}")).await;
        browser.press_css("#v1 summary").await;
        browser.fill("#v1 [name=promo]", "spring").await;
        browser.press("Ride 1").await;
        browser.reads(".flashes", answer).await;
    }
    browser.fill("#lat", "42.3601").await;
    browser.fill("#lon", "-71.0589").await;
    browser.press("End ride").await;
    browser.reads(".receipt", "Promo code SPRING").await;
    browser.be(&administrator).await;
    browser.go(&format!("{url}/admin/promo-codes")).await;
    browser.reads(uses, "1 of").await;
    let file = browser.download("[aria-labelledby=SPRING] a[href$='.csv']").await;
    let lines: Vec<&str> = file.lines().skip(1).collect();
    assert!(matches!(lines[..], [ride] if ride.starts_with("SPRING,us-east1,boston,")), "{file}");
    assert!(!file.contains("troubled") && !file.contains("Keller"), "{file}");

    // Nobody can ride in a paused city.
    browser.go(&format!("{url}/admin/cities")).await;
    browser.press("Boston").await;
    browser.fill("#reason", "roadworks").await;
    browser.press("Pause Boston").await;
    browser.reads(".flashes", "Boston is paused.").await;
    browser.be(&rider).await;
    browser.go(&format!("{url}/vehicles?city=boston")).await;
    browser.reads(".list", "Boston is paused (roadworks).").await;
    browser.css("button[disabled][aria-label='Ride 1']").await;
    browser.be(&administrator).await;
    browser.go(&format!("{url}/admin/cities/boston")).await;
    browser.press("Open Boston").await;
    browser.reads(".flashes", "Boston is open again.").await;

    draw_an_area(browser).await;
    type_an_area(browser, url).await;
    assert_eq!(browser.faults().await, Vec::<String>::new(), "the console");
    stage.end().await;
}

const AREA: &str = "return document.querySelector('#area').value";

/// The mouse on the map, so many pixels from its middle.
async fn mouse(browser: &Browser, x: i64, y: i64) -> ActionChain {
    let map = browser.css(".map .leaflet-container").await;
    map.scroll_into_view().await.unwrap();
    browser.driver().action_chain().move_to_element_with_offset(&map, x, y)
}

/// The corners in the text field.
async fn corners(browser: &Browser) -> Vec<[f64; 2]> {
    let text = browser.script(AREA, Vec::new()).await;
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// How many corners the drawn shape has.
async fn drawn(browser: &Browser, expected: usize) {
    let shape = "const shapes = document.querySelectorAll('path.area');
        return [shapes[shapes.length - 1].getAttribute('d').match(/[ML]/g)?.length ?? 0, document.querySelectorAll('.me-icon').length]";
    until("the shape on the map", async || {
        let seen = browser.script(shape, Vec::new()).await;
        // A shape of no corners is `M0 0`.
        if seen == json!([expected.max(1), expected]) { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
}

/// With the mouse: corners are set, moved and taken back, and the text field follows; with the keyboard the field is typed
/// into, and the map follows.
async fn draw_an_area(browser: &Browser) {
    let stored = browser.script(AREA, Vec::new()).await;
    for (x, y) in [(-150, -150), (150, -150), (150, 150), (-150, 150), (-160, 0)] {
        mouse(browser, x, y).await.click().perform().await.unwrap();
    }
    drawn(browser, 5).await;
    let set = corners(browser).await;
    let (west, east) = (set[0][0] + set[3][0], set[1][0] + set[2][0]);
    assert!(set.len() == 5 && west < east && set[0][1] > set[2][1], "longitude first, as on the map: {set:?}");

    browser.press("Remove last corner").await;
    drawn(browser, 4).await;
    assert_eq!(corners(browser).await, set[..4]);

    mouse(browser, 150, 150)
        .await
        .click_and_hold()
        .move_by_offset(20, 5)
        .move_by_offset(10, 3)
        .release()
        .perform()
        .await
        .unwrap();
    drawn(browser, 4).await;
    let moved = corners(browser).await;
    assert!(moved[2][0] > set[2][0] && moved[2][1] < set[2][1], "to the south-east: {moved:?} {set:?}");
    assert_eq!([moved[0], moved[1], moved[3]], [set[0], set[1], set[3]]);

    // Typed: the map follows, what is half typed changes nothing, and the mouse goes on from there.
    browser.fill("#area", &json!(moved[..3]).to_string()).await;
    drawn(browser, 3).await;
    browser.css("#area").await.send_keys("]").await.unwrap();
    drawn(browser, 3).await;
    mouse(browser, -150, 150).await.click().perform().await.unwrap();
    drawn(browser, 4).await;

    // By the keyboard alone, back to what is stored.
    let button = "document.querySelector('[data-area] .actions button').focus()";
    browser.script(button, Vec::new()).await;
    for left in (0..4).rev() {
        browser.driver().action_chain().send_keys(" ").perform().await.unwrap();
        drawn(browser, left).await;
    }
    assert_eq!(browser.script(AREA, Vec::new()).await, stored);

    // An outline that crosses itself is refused, and can be mended where it was drawn.
    for (x, y) in [(-150, -150), (150, 150), (150, -150), (-150, 150)] {
        mouse(browser, x, y).await.click().perform().await.unwrap();
    }
    let crossed = browser.script(AREA, Vec::new()).await;
    browser.press("Save").await;
    browser.reads("#area-error", "crosses itself").await;
    assert_eq!(browser.script(AREA, Vec::new()).await, crossed);
    drawn(browser, 4).await;
    let mut ring = corners(browser).await;
    ring.swap(1, 2);
    browser.fill("#area", &json!(ring).to_string()).await;
    browser.fill("#name", "Boston Harbor").await;
    browser.press("Save").await;
    browser.reads(".flashes", "Boston Harbor is saved.").await;
    browser.heading("Boston Harbor").await;
    assert_eq!(corners(browser).await, ring);
}

/// Without scripts the text field is enough, and the server draws what it says.
async fn type_an_area(browser: &Browser, url: &str) {
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    browser.go(&format!("{url}/admin/cities/boston")).await;
    let outline = async || browser.css(".map > svg .area").await.attr("points").await.unwrap().unwrap();
    let before = outline().await;
    let hidden = browser.driver().find(By::Css("[data-area] .actions")).await.unwrap();
    assert!(!hidden.is_displayed().await.unwrap(), "what needs scripts is not offered");
    let ring = json!([[-71.1, 42.3], [-71.0, 42.3], [-71.0, 42.4], [-71.1, 42.4]]).to_string();
    browser.fill("#area", &ring).await;
    browser.press("Save").await;
    browser.reads(".flashes", "Boston Harbor is saved.").await;
    assert_eq!(browser.css("#area").await.attr("value").await.unwrap().unwrap(), ring);
    assert_ne!(outline().await, before);
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": false })).await;
}
