//! The whole journey of a rider in one browser: sign up in New York, reserve, ride, get
//! a receipt, move home to Paris, and find the old ride at the European instance. The
//! browser tells its position, as a telephone does.

use chrono::Datelike;
use serde_json::json;

use crate::support::{Browser, PASSWORD, Stage, until};

async fn stand(browser: &Browser, (latitude, longitude): (f64, f64)) {
    let position = json!({ "latitude": latitude, "longitude": longitude, "accuracy": 5 });
    browser.cdp("Emulation.setGeolocationOverride", position).await;
}

#[tokio::test]
async fn from_sign_up_in_new_york_to_the_old_ride_seen_in_europe() {
    let stage = Stage::set().await;
    let (browser, urls) = (&stage.browser, &stage.demo.urls);
    let (new_york, europe) = (urls[0].as_str(), urls[2].as_str());
    browser.resize(1280, 860).await;
    let may = json!({ "origin": new_york, "permissions": ["geolocation"] });
    browser.cdp("Browser.grantPermissions", may).await;
    stand(browser, (40.7130, -74.0050)).await;

    browser.go(new_york).await;
    browser.heading("Get around New York.").await;
    browser.press("Sign up").await;
    browser.heading("Sign up").await;
    browser.register(new_york, "journey", "new-york").await;
    browser.heading("Vehicles in New York").await;

    // Near me: the list is measured from where the browser is.
    browser.press("Near me").await;
    browser.reads("main", "closest to you").await;
    let tells = "return ['lat', 'lon'].every((name) => /^-?\\d+\\.\\d{3}$/.test(new URLSearchParams(location.search).get(name)))";
    assert_eq!(browser.script(tells, Vec::new()).await, json!(true), "to a hundred metres");

    browser.press("Reserve 2").await;
    browser.reads(".flashes", "Reserved for ten minutes").await;
    browser.reads(".card .held", "Reserved by you until").await;

    // The card that is held, with a promo code.
    let held = browser.css(".card:has(.held)").await;
    let number = held.id().await.unwrap().unwrap().replace('v', "");
    browser.press_css(".card:has(.held) summary").await;
    browser.fill(".card:has(.held) [name=promo]", "WELCOME").await;
    browser.press(&format!("Ride {number}")).await;
    browser.reads(".flashes", "Your ride has started").await;

    // Every other page leads back to the ride.
    browser.press_above("Vehicles").await;
    browser.reads(".riding", "You are riding").await;
    browser.press_css(".riding a").await;
    browser.reads("main", "End the ride").await;

    // The way is recorded; the clock runs.
    browser.reads(".reporting", "Your route is being recorded").await;
    let clock = browser.css("[data-clock]").await;
    let before = clock.text().await.unwrap();
    until("the clock runs", async || {
        let now = clock.text().await.map_err(|error| error.to_string())?;
        if now == before { Err(now) } else { Ok(()) }
    })
    .await;
    stand(browser, (40.7150, -74.0030)).await;
    until("the new position", async || {
        let script = "return document.querySelector('form[data-position] [name=lat]').value";
        let seen = browser.script(script, Vec::new()).await;
        if seen == json!("40.715000") { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    // The own dot has left its way behind; ending here is priced, and asked for once more outside.
    browser.css(".me-icon").await;
    let way = "return document.querySelector('path.route').getAttribute('d').split(/[ML]/).length > 2";
    until("the way grows", async || {
        let grown = browser.script(way, Vec::new()).await;
        if grown == json!(true) { Ok(()) } else { Err(grown.to_string()) }
    })
    .await;
    browser.reads("[data-fee]", "Inside the service area: ending here costs $").await;
    browser.reads(".list", "Promo code WELCOME: 50% off").await;
    let code = browser.css(".code b").await.text().await.unwrap();
    browser.fill("#lat", "40.7290").await;
    browser.fill("#lon", "-74.0110").await;
    browser.reads("[data-fee]", "Outside the service area: ending here costs $").await;
    browser.press("End ride").await;
    browser.reads("[role=alert]", "ending the ride here costs an extra $15.00").await;
    browser.press("End ride here").await;

    browser.heading("Receipt").await;
    let receipt = browser.text().await;
    let year = format!(", {}, ", movr::clock::Clock::default().now().year());
    for words in
        ["of the centre", "Promo code WELCOME", "You owe", "nothing has been charged", &code, &year, "Sold by MovR"]
    {
        assert!(receipt.contains(words), "{words} in {receipt}");
    }
    assert!(!receipt.contains("straight line"), "positions were recorded: {receipt}");
    let number = browser.css(".receipt .muted").await.text().await.unwrap();
    let total = browser.css(".receipt .total").await.text().await.unwrap();
    assert!(number.starts_with("USE1-"), "{number}");

    browser.press_above("Profile").await;
    browser.heading("Profile").await;
    browser.reads("[aria-labelledby=home]", "New York").await;
    browser.press("Change home city").await;
    browser.heading("Change home city").await;
    browser.choose("#city", "paris").await;
    browser.fill("#password", PASSWORD).await;
    browser.press("Change home city").await;
    browser.heading("Profile").await;
    browser.reads("[aria-labelledby=home]", "Paris").await;
    browser.press_above("Sign out").await;
    browser.css(".top .cta").await;

    browser.sign_in(europe, "journey", PASSWORD).await;
    browser.heading("Vehicles in Paris").await;
    browser.reads(".bottom", "europe-west1").await;
    browser.press_above("My rides").await;
    browser.heading("My rides").await;
    let ride = browser.css(".rows a").await;
    let row = ride.text().await.unwrap();
    for words in ["New York", total.as_str()] {
        assert!(row.contains(words), "{words} in {row}");
    }
    browser.click(ride).await;
    browser.heading("Receipt").await;
    assert_eq!(browser.css(".receipt .muted").await.text().await.unwrap(), number);
    browser.reads("main", "of the centre").await;

    // The home has moved, the ride has not, and the server's own check finds nothing wrong.
    let sql = stage.folder.sql().await;
    let row = sql
        .query_one(
            "SELECT u.region::TEXT, r.region::TEXT FROM users u JOIN rides r ON r.rider_id = u.id \
             WHERE u.username_key = 'journey'",
            &[],
        )
        .await
        .unwrap();
    let regions: (&str, &str) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
    assert_eq!(regions, ("europe-west1", "us-east1"));
    assert_eq!(browser.faults().await, Vec::<String>::new(), "the console");
    stage.end().await;
}

#[tokio::test]
async fn a_vehicle_is_unlocked_by_the_code_on_it_in_a_narrow_window() {
    let stage = Stage::set().await;
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.resize(360, 740).await;
    let code =
        "SELECT code, lat, lon FROM vehicles WHERE region = 'us-east1' AND status = 'available' AND code IS NOT NULL
        AND city = 'boston' ORDER BY code LIMIT 1";
    let row = stage.folder.sql().await.query_one(code, &[]).await.unwrap();
    let code: String = row.try_get(0).unwrap();
    let there: (f64, f64) = (row.try_get(1).unwrap(), row.try_get(2).unwrap());
    let may = json!({ "origin": url, "permissions": ["geolocation"] });
    browser.cdp("Browser.grantPermissions", may).await;

    // Scanned by somebody who is not signed in, whose city is another one.
    browser.go(&format!("{url}/v/{code}")).await;
    browser.heading("Sign in").await;
    browser.fill("#username", "rider").await;
    browser.fill("#password", &stage.demo.password).await;
    browser.press_css("main form button:not(.reveal)").await;
    browser.heading("Unlock a vehicle").await;
    let refused = "We can't unlock a vehicle with this code in Boston";
    stand(browser, (there.0 + 0.003, there.1)).await;
    browser.press("Unlock where I am").await;
    browser.reads("#code-error", refused).await;
    stand(browser, (there.0 + 0.001, there.1)).await;
    browser.press("Unlock where I am").await;
    browser.reads(".panel", &code).await;
    browser.reads(".city-switch summary", "Boston").await;

    // Typed, in whatever case, and the position too.
    browser.press("Use another code").await;
    browser.fill("#code", "nothing-like-it").await;
    browser.fill("#lat", &there.0.to_string()).await;
    browser.fill("#lon", &there.1.to_string()).await;
    browser.press("Unlock").await;
    browser.reads("#code-error", refused).await;
    browser.fill("#code", &code.to_lowercase()).await;
    browser.press("Unlock").await;
    browser.reads(".panel", &code).await;
    browser.press("Ride").await;
    browser.reads(".flashes", "Your ride has started").await;
    assert_eq!(browser.css(".code b").await.text().await.unwrap(), code);
    // Under the thumb, however long the page is.
    let seen = "const button = document.querySelector('.thumb button'), box = button.getBoundingClientRect();
        return box.top > innerHeight / 2 && document.elementFromPoint(180, (box.top + box.bottom) / 2) === button;";
    assert_eq!(browser.script(seen, Vec::new()).await, json!(true));
    let wide = "return document.documentElement.scrollWidth";
    assert_eq!(browser.script(wide, Vec::new()).await, json!(360));
    assert_eq!(browser.faults().await, Vec::<String>::new(), "the console");
    stage.end().await;
}
