//! The whole journey of a rider in one browser: sign up in New York, reserve, ride, get
//! a receipt, move home to Paris, and find the old ride at the European instance. The
//! browser tells its position, as a telephone does.

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
    browser.press("End ride").await;

    browser.heading("Receipt").await;
    let receipt = browser.text().await;
    for words in ["of the centre", "Promo code WELCOME", "You owe", "nothing has been charged"] {
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
    for words in ["New York", number.as_str(), total.as_str()] {
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
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "the console");
    stage.end().await;
}
