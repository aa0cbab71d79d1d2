//! An owner in a narrow window without scripts: their vehicle is added, approved, labelled, paused, ridden by somebody else,
//! earned with, changed and removed. Then what a person finds in their profile and at the foot of every page, up to an
//! erased account.

use serde_json::{Value, json};

use crate::support::{PASSWORD, Stage, until};

#[tokio::test]
async fn an_owner_earns_pauses_and_leaves_in_a_narrow_window_without_scripts() {
    let stage = Stage::set().await;
    let (browser, url) = (&stage.browser, stage.demo.urls[0].as_str());
    browser.resize(360, 740).await;
    browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    browser.register(url, "lender", "new-york").await;
    browser.press_above("My vehicles").await;
    for (field, value) in
        [("brand", "Kalkhoff"), ("colour", "red"), ("code", "LEND-1"), ("lat", "40.7130"), ("lon", "-74.0050")]
    {
        browser.fill(&format!("main [name={field}]"), value).await;
    }
    browser.press("List vehicle in New York").await;
    browser.reads(".rows", "Waiting for approval").await;
    browser.reads(".rows", "No rides in the last 30 days").await;
    let lender = browser.session().await;

    // An operator approves it, and prints its label.
    browser.sign_in(url, "operator", &stage.demo.password).await;
    browser.heading("Vehicles in").await;
    browser.go(&format!("{url}/fleet/tasks?city=new-york")).await;
    browser.press_css("[aria-labelledby=waiting] a").await;
    browser.press("Approve").await;
    browser.reads(".flashes", "The vehicle is on the street").await;
    browser.go(&format!("{url}/fleet?city=new-york&code=lend-")).await;
    browser.press("Print QR codes").await;
    browser.heading("QR codes").await;
    browser.reads(".sheet g text", "LEND-1").await;

    // While it is paused, nobody who stands beside it can unlock it.
    browser.register(url, "guest", "new-york").await;
    let guest = browser.session().await;
    for (step, done, seen) in [
        (
            "Pause",
            "Your vehicle is paused. Nobody can ride it.",
            "We can't unlock a vehicle with this code in New York",
        ),
        ("Resume", "Your vehicle is no longer paused.", "Kalkhoff, red bike"),
    ] {
        browser.be(&lender).await;
        browser.go(&format!("{url}/my/vehicles")).await;
        browser.press(&format!("{step} Kalkhoff, red bike")).await;
        browser.reads(".flashes", done).await;
        browser.be(&guest).await;
        browser.go(&format!("{url}/v")).await;
        for (field, value) in [("#code", "lend-1"), ("#lat", "40.7130"), ("#lon", "-74.0050")] {
            browser.fill(field, value).await;
        }
        browser.press("Unlock").await;
        browser.reads("#code-error, .panel h2", seen).await;
    }

    // They ride it and leave it where it was: the owner sees what that brought, and changes the vehicle.
    browser.press("Ride").await;
    browser.reads(".flashes", "Your ride has started").await;
    browser.fill("#lat", "40.7130").await;
    browser.fill("#lon", "-74.0050").await;
    browser.press("End ride").await;
    browser.reads(".receipt", "Kalkhoff bike LEND-1").await;
    let earned = format!("1 ride in the last 30 days, {}", browser.css(".receipt .total").await.text().await.unwrap());
    browser.be(&lender).await;
    browser.go(&format!("{url}/my/vehicles")).await;
    browser.reads(".rows", &earned).await;
    browser.press("Kalkhoff, red bike").await;
    browser.reads("[aria-labelledby=known]", &earned).await;
    browser.press("Edit").await;
    browser.fill("#colour", "blue").await;
    browser.press("Save").await;
    browser.reads(".flashes", "Saved.").await;
    browser.heading("Kalkhoff, blue bike").await;

    // What the deployment says of itself stands at the foot of the page.
    for page in ["Help", "Terms", "Privacy", "Imprint"] {
        browser.press_css(&format!(".bottom a[href='/{}']", page.to_lowercase())).await;
        browser.heading(page).await;
        browser.reads(".prose", "says").await;
    }

    // Another device is signed out, the password is new, and the file has all that is theirs.
    browser.sign_in(url, "lender", PASSWORD).await;
    browser.heading("Vehicles in").await;
    browser.press_above("Profile").await;
    browser.press("Sign out other devices").await;
    browser.reads(".flashes", "All other sessions have ended.").await;
    let here = browser.session().await;
    browser.be(&lender).await;
    browser.go(&format!("{url}/profile")).await;
    browser.heading("Sign in").await;
    browser.be(&here).await;
    browser.go(&format!("{url}/profile")).await;
    browser.fill("#current", PASSWORD).await;
    browser.fill("#password", "another walk to the tram").await;
    browser.press("Change password").await;
    browser.reads(".flashes", "Your password is changed.").await;
    let file: Value = serde_json::from_str(&browser.download("a[href='/profile/export']").await).unwrap();
    let file = file.to_string();
    for words in ["lender", "robin@example.com", "LEND-1", "blue"] {
        assert!(file.contains(words), "{words} in {file}");
    }
    assert!(!file.contains("guest"), "{file}");

    browser.press_above("My vehicles").await;
    browser.press("Kalkhoff, blue bike").await;
    browser.press("Remove").await;
    browser.press("Remove for good").await;
    browser.reads(".flashes", "Your vehicle has been removed.").await;
    browser.press_above("Profile").await;
    browser.press("Delete my account").await;
    browser.heading("Delete my account").await;
    browser.fill("#password", "another walk to the tram").await;
    browser.press("Delete my account").await;
    browser.reads(".flashes", "Your account is deleted.").await;
    until("the data is erased", async || {
        let heading = browser.css("h1").await.text().await.map_err(|error| error.to_string())?;
        if heading == "Your data is erased" {
            return Ok(());
        }
        browser.press("Check again").await;
        Err(heading)
    })
    .await;
    browser.sign_in(url, "lender", "another walk to the tram").await;
    browser.reads("main [role=alert]", "Wrong username or password.").await;
    assert_eq!(browser.faults().await, Vec::<String>::new(), "the console");
    stage.end().await;
}
