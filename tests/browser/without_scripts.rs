//! Pages work without JavaScript: a person signs up, chooses a vehicle on a drawn map,
//! rides, ends the ride and reads the receipt, in a browser that runs no scripts.

use serde_json::json;
use thirtyfour::By;

use crate::support::{
    Browser, PASSWORD, Stage,
    audit::{WINDOWS, misfits},
};

async fn fits(browser: &Browser, url: &str, paths: &[&str]) {
    for window in WINDOWS {
        for path in paths {
            browser.go(&if path.starts_with("http") { (*path).to_owned() } else { format!("{url}{path}") }).await;
            assert_eq!(misfits(browser, window).await, Vec::<String>::new(), "{path} {window:?}");
        }
    }
}

#[tokio::test]
async fn signing_up_riding_and_the_receipt_need_no_scripts() {
    let stage = Stage::set().await;
    let (browser, new_york) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.resize(360, 740).await;
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;

    browser.go(new_york).await;
    browser.heading("Get around New York.").await;
    // Nothing ran: the map is the server's drawing, and what needs scripts is not offered.
    browser.css(".map > svg").await;
    assert_eq!(browser.text().await.matches("Use my position").count(), 0);

    // A mistake is said at the top, with the focus; what was typed is still there.
    browser.go(&format!("{new_york}/register")).await;
    for (name, value) in
        [("first_name", "Robin"), ("email", "robin@example.com"), ("username", "pencil"), ("password", "short")]
    {
        browser.fill(&format!("[name={name}]"), value).await;
    }
    browser.press_css("[name=codes]").await;
    browser.press("Create account").await;
    browser.reads(".note.error:focus", "Please correct 1 field below.").await;
    browser.fill("[name=password]", PASSWORD).await;
    browser.press("Create account").await;
    // The codes that were asked for are shown once.
    browser.heading("Your recovery codes").await;
    assert_eq!(browser.driver().find_all(By::Css(".codes code")).await.unwrap().len(), 8);
    browser.driver().refresh().await.unwrap();
    browser.heading("Profile").await;
    browser.reads("[aria-labelledby=codes]", "8 left").await;

    browser.register(new_york, "paper", "boston").await;
    browser.heading("Vehicles in Boston").await;
    browser.css(".map > svg .pin").await;
    browser.choose("[name=battery]", "50").await;
    browser.press("Show").await;
    browser.reads("main", "closest to the city centre").await;

    // The city switch opens and switches.
    browser.press_css(".city-switch summary").await;
    browser.press_css(".city-switch [value=new-york]").await;
    browser.reads(".city-switch summary", "New York").await;
    browser.go(&format!("{new_york}/vehicles?city=new-york")).await;
    browser.heading("Vehicles in New York").await;

    browser.press("Ride 1").await;
    browser.reads(".flashes", "Your ride has started").await;
    browser.reads("[data-clock]", "min").await;
    browser.reads(".reporting", "Location is off, so distance is measured in a straight line").await;
    // Nothing that looks like a measurement stands there: the person says where it is.
    browser.press("End ride").await;
    browser.reads("main", "End the ride").await;
    browser.fill("#lat", "40.7290").await;
    browser.fill("#lon", "-74.0110").await;
    browser.press("End ride").await;
    browser
        .reads("[role=alert]", "This is outside the service area: ending the ride here costs an extra $15.00.")
        .await;
    browser.press("End ride here").await;
    browser.heading("Receipt").await;
    let receipt = browser.text().await;
    for words in [
        "1.1 mi north of the centre", "Left outside the service area", "You owe", "straight line",
        "nothing has been charged",
    ] {
        assert!(receipt.contains(words), "{words} in {receipt}");
    }
    browser.css(".map > svg .pin").await;
    browser.press("All my rides").await;
    browser.reads(".rows", "New York").await;

    browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": false })).await;
    let receipt = browser.driver().current_url().await.unwrap().to_string();
    fits(browser, new_york, &["/", "/vehicles", "/rides", "/my/vehicles", "/profile", "/status", &receipt]).await;
    browser.press_above("Sign out").await;
    browser.css(".top .cta").await;
    fits(browser, new_york, &["/", "/vehicles", "/register", "/login"]).await;
    stage.end().await;
}
