//! An administrator drains a region and closes it while somebody rides there: nothing new begins, the page says why, the
//! ride ends well afterwards, and the closed time is not charged.

use thirtyfour::By;

use crate::support::{Browser, Stage};

const EUROPE: &str = "Europe West (Belgium)";

/// Presses what changes the region's state, and confirms it.
async fn change(browser: &Browser, url: &str, button: &str, done: &str) {
    browser.go(&format!("{url}/admin/regions")).await;
    let offered = if button == "Close" { "Close at once:" } else { button };
    browser.press(&format!("{offered} {EUROPE}")).await;
    if button != "Open" {
        browser.heading(&format!("{button} {EUROPE} now?")).await;
        browser.reads("main", "Rides\n1").await;
        browser.press(&format!("{button} {EUROPE}")).await;
    }
    browser.reads(".flashes", &format!("{EUROPE} is {done}.")).await;
}

#[tokio::test]
async fn a_region_drains_and_closes_while_somebody_rides() {
    let stage = Stage::set().await;
    let (browser, url) = (&stage.browser, stage.demo.urls[2].as_str());
    browser.resize(390, 800).await;
    browser.register(url, "paused", "paris").await;
    browser.press("Ride 1").await;
    browser.reads(".flashes", "Your ride has started").await;
    let ride = browser.driver().current_url().await.unwrap();
    let rider = browser.session().await;
    browser.sign_in(url, "administrator", &stage.demo.password).await;
    browser.heading("Vehicles in").await;
    let administrator = browser.session().await;

    change(browser, url, "Drain", "draining").await;
    browser.go(&format!("{url}/vehicles?city=paris")).await;
    browser.reads(".paused", "Paris will soon be paused for maintenance. No new rides can start").await;
    browser.css("button[disabled][aria-label='Ride 2']").await;
    change(browser, url, "Close", "closed").await;

    browser.be(&rider).await;
    browser.go(ride.as_str()).await;
    browser.reads(".paused", "Paris is paused for maintenance. If you are riding, this time is not charged.").await;
    browser.fill("#lat", "48.8570").await;
    browser.fill("#lon", "2.3500").await;
    browser.press("End ride").await;
    browser.reads(".flashes", "Your ride cannot end just now").await;
    // As if that had lasted for twenty minutes.
    let longer = "UPDATE region_gates SET closed_at = closed_at - '20 min'::INTERVAL WHERE region = 'europe-west1'";
    let sql = stage.folder.sql().await;
    sql.batch_execute("UPDATE rides SET started_at = started_at - '21 min'::INTERVAL WHERE ended_at IS NULL")
        .await
        .unwrap();
    sql.batch_execute(longer).await.unwrap();

    browser.be(&administrator).await;
    change(browser, url, "Open", "open").await;
    browser.be(&rider).await;
    browser.go(ride.as_str()).await;
    browser.fill("#lat", "48.8570").await;
    browser.fill("#lon", "2.3500").await;
    browser.press("End ride").await;
    browser.heading("Receipt").await;
    browser.reads(".receipt", "21 min while rides could not end not charged").await;
    let charged = "SELECT minutes FROM rides JOIN users ON users.id = rides.rider_id WHERE username_key = 'paused'";
    let minutes: i64 = sql.query_one(charged, &[]).await.unwrap().try_get(0).unwrap();
    assert!(minutes <= 3, "{minutes}");
    assert_eq!(browser.driver().find_all(By::Css(".paused")).await.unwrap().len(), 0);
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "the console");
    stage.end().await;
}
