//! The demo's data outlives the demo: a second start is quick and loads nothing again,
//! also after kill -9, which ends the database too.

use std::time::Duration;

use reqwest::{StatusCode, redirect::Policy};

use crate::support::{Demo, Folder, until};

/// What the issue allows from the command to the first page.
const SECOND_START: Duration = Duration::from_secs(3);

/// Rows of the sample data; sessions come and go.
async fn rows(folder: &Folder) -> Vec<(&'static str, i64)> {
    let sql = folder.sql().await;
    let mut rows = Vec::new();
    for table in ["users", "vehicles", "rides", "role_grants", "tariffs", "promo_codes", "events"] {
        let query = format!("SELECT count(*) FROM {table}");
        rows.push((table, sql.query_one(&query, &[]).await.unwrap().try_get(0).unwrap()));
    }
    rows
}

/// Asks for the page; how long it took since the start of the process.
async fn first_page(demo: &Demo) -> Duration {
    let page = reqwest::get(format!("{}/vehicles", demo.urls[0])).await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("Vehicles in New York"));
    demo.began.elapsed()
}

async fn sign_in(demo: &Demo) {
    let client = reqwest::Client::builder().redirect(Policy::none()).cookie_store(true).build().unwrap();
    let form = [("username", "rider"), ("password", demo.password.as_str()), ("next", "/rides")];
    let answer = client.post(format!("{}/login", demo.urls[0])).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"], "/rides");
    let rides = client.get(format!("{}/rides", demo.urls[0])).send().await.unwrap();
    assert_eq!(rides.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_second_start_shows_a_page_in_three_seconds_and_loads_nothing_again() {
    let folder = Folder::new().await;
    let first = Demo::start(&folder).await;
    println!("first start to first page: {:.2?}", first_page(&first).await);
    sign_in(&first).await;
    let loaded = rows(&folder).await;
    let own = "SELECT count(*) FROM regions WHERE base_url = ANY($1)";
    let own = folder.sql().await.query_one(own, &[&first.urls]).await.unwrap();
    assert_eq!(own.try_get::<_, i64>(0).unwrap(), 3, "the catalogue names the instances that it serves");
    assert!(loaded.iter().all(|(_, count)| *count > 0), "{loaded:?}");
    first.stop(&folder).await;

    let second = Demo::start(&folder).await;
    let took = first_page(&second).await;
    println!("second start to first page: {took:.2?}");
    assert!(took < SECOND_START, "{took:?}");
    sign_in(&second).await;
    let again = rows(&folder).await;
    let quiet = |rows: &[(&'static str, i64)]| -> Vec<_> {
        rows.iter().filter(|(table, _)| *table != "events").copied().collect()
    };
    assert_eq!(quiet(&again), quiet(&loaded), "loaded again");
    // The only thing that happened is that the rider signed in.
    assert!(again[6].1 - loaded[6].1 <= 1, "{again:?} after {loaded:?}");
    second.stop(&folder).await;
}

#[tokio::test]
async fn after_kill_9_no_database_is_left_and_the_data_is_found_again() {
    let folder = Folder::new().await;
    let killed = Demo::start(&folder).await;
    let (loaded, database) = (rows(&folder).await, folder.postmaster());
    let second = Demo::refused(&folder).await;
    assert!(second.contains("another `movr` uses the database in"), "{second}");
    killed.kill();
    if cfg!(target_os = "linux") {
        nothing_runs(&folder).await;
    }

    let next = Demo::start(&folder).await;
    first_page(&next).await;
    let another = folder.postmaster();
    assert_ne!(another, database, "another server process");
    sign_in(&next).await;
    assert_eq!(rows(&folder).await[..3], loaded[..3], "loaded again");

    // The machine fails: program and database are gone at once, the data is recovered.
    nix::sys::signal::kill(another.unwrap(), nix::sys::signal::Signal::SIGKILL).unwrap();
    next.kill();
    nothing_runs(&folder).await;
    let recovered = Demo::start(&folder).await;
    first_page(&recovered).await;
    assert_ne!(folder.postmaster(), another, "another server process");
    assert_eq!(rows(&folder).await[..3], loaded[..3], "recovered");
    sign_in(&recovered).await;
    recovered.stop(&folder).await;
}

async fn nothing_runs(folder: &Folder) {
    until("the end of the database", async || {
        let left = folder.processes();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}
