//! What the demo is about: a page at home takes milliseconds, the same page abroad one crossing,
//! and both say so; without localities everybody but the first region crosses. With `--no-capture`
//! this prints the README's table.

use std::collections::BTreeMap;

use thirtyfour::By;

use crate::support::{Browser, Demo, Folder};

const PAGES: [&str; 4] = ["/", "/vehicles?city=paris", "/rides", "/profile"];
/// Of each page; the best of them is without what a busy machine adds.
const LOOKS: usize = 3;

/// Milliseconds of the answer as the browser was told them, and the words of the footer.
async fn look(browser: &Browser, url: &str) -> (f64, String) {
    browser.go(url).await;
    let timing = "const [page] = performance.getEntriesByType('navigation');
        return page.serverTiming.find((entry) => entry.name === 'total').duration";
    let told = browser.script(timing, Vec::new()).await.as_f64().unwrap();
    let waited = "const [page] = performance.getEntriesByType('navigation');
        return page.responseStart - page.requestStart";
    let waited = browser.script(waited, Vec::new()).await.as_f64().unwrap();
    assert!(waited > told - 1.0, "{url}: the browser waited {waited} ms, and was told {told}");
    let footer = browser.script("return document.querySelector('footer.bottom').textContent", Vec::new()).await;
    (told, footer.as_str().unwrap().to_owned())
}

/// The best times of somebody at home in Paris, by page and region.
async fn times(folder: &Folder, arguments: &[&str], said: &str) -> BTreeMap<(&'static str, usize), f64> {
    let demo = Demo::start_with(folder, arguments).await;
    let first = &demo.output[0];
    assert!(first.contains("distances between the three regions are simulated"), "{first}");
    let browser = Browser::start(folder).await;
    let home = &demo.urls[2];
    browser.register(home, &format!("paris{}", arguments.len()), "paris").await;
    let mut best = BTreeMap::new();
    for (region, url) in demo.urls.iter().enumerate() {
        for page in PAGES {
            let mut all = Vec::new();
            for _ in 0..LOOKS {
                let (ms, footer) = look(&browser, &format!("{url}{page}")).await;
                assert!(footer.contains("1 wait, ") && footer.contains(said), "{url}{page}: {footer}");
                all.push(ms);
            }
            best.insert((page, region), all.into_iter().fold(f64::MAX, f64::min));
        }
        browser.go(&format!("{url}/status")).await;
        assert!(browser.text().await.contains("The distances between the regions are simulated."));
        let drawn = browser.driver().find_all(By::Css(".region-map .trip")).await.unwrap();
        assert_eq!(drawn.len(), 2, "the two other regions");
    }
    browser.go(&format!("{}/status", demo.urls[0])).await;
    let trips =
        "return [...document.querySelectorAll('.region-map .trip')].map((trip) => parseFloat(trip.textContent))";
    let trips: Vec<f64> = serde_json::from_value(browser.script(trips, Vec::new()).await).unwrap();
    let expected: [f64; 2] = if arguments.is_empty() { [66.0, 64.0] } else { [0.0, 0.0] };
    for (trip, expected) in trips.iter().zip(expected) {
        assert!((expected..expected + 30.0).contains(trip), "{trips:?}");
    }
    browser.quit().await;
    demo.stop(folder).await;
    best
}

#[tokio::test]
async fn a_page_at_home_is_near_abroad_it_crosses_and_without_localities_nearly_all_cross() {
    let folder = Folder::new().await;
    let with = times(&folder, &[], "kept: ").await;
    let without = times(&folder, &["--locality", "off"], "none without localities: all rows are in us-east1").await;
    println!("\n| page | with localities | without |\n|---|---|---|");
    let abroad = [(PAGES[1], 0, "us-east1"), (PAGES[1], 1, "us-west1")];
    for (page, region, place) in PAGES.map(|page| (page, 2, "europe-west1, at home")).into_iter().chain(abroad) {
        let [one, other] = [&with, &without].map(|times| times[&(page, region)]);
        println!("| `{}` in {place} | {one:.0} ms | {other:.0} ms |", page.split('?').next().unwrap());
    }
    let crossing = |times: &BTreeMap<_, f64>, region, ms: f64| {
        for page in PAGES {
            let found = times[&(page, region)];
            assert!((ms..ms + 40.0).contains(&found), "{page} in region {region}: {found} ms, expected {ms}");
        }
    };
    crossing(&with, 2, 0.0);
    crossing(&with, 0, 64.0);
    crossing(&with, 1, 146.0);
    crossing(&without, 2, 64.0);
    crossing(&without, 0, 0.0);
    crossing(&without, 1, 66.0);
}
