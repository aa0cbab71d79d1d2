//! No page holds a connection while it waits for another one of the same pool: with few
//! connections and many visitors all of them would wait for each other.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::support::world;

#[actix_web::test]
async fn with_two_connections_eight_visitors_are_served_on_every_page() {
    let world = world().await;
    world.sample(&["new-york", "paris", "seattle"], 2, 12).await;
    let instance = world.instance_with("us-east1", &[("MOVR_POOL_SIZE", "2")]).await;
    let ann = instance.person("new-york").await;
    let db = &instance.running.state.service.db;
    movr::ops::accounts::grant(db, &ann.name, "administrator", "").await.unwrap();
    movr::ops::accounts::grant(db, &ann.name, "operator", "new-york").await.unwrap();
    let sql = world.sql().await;
    let everywhere = r#"'["us-east1", "us-west1", "europe-west1"]'::JSONB"#;
    sql.batch_execute(&format!("UPDATE users SET present_in = {everywhere} WHERE region = 'us-east1'")).await.unwrap();
    drop(sql);
    // The cookie takes the row's word for where something of hers lies.
    ann.get("/").await;
    for path in [
        "/", "/vehicles", "/vehicles?city=paris", "/rides", "/my/vehicles", "/riders", "/profile", "/profile/home",
        "/profile/delete", "/profile/export", "/fleet", "/fleet/overview", "/fleet/tariffs", "/fleet/jobs",
        "/fleet/audit", "/fleet/export.csv?city=new-york", "/fleet/import", "/admin/promo-codes", "/admin/cities",
        "/admin/roles", "/admin/regions", "/gbfs/3/paris/vehicle_status.json",
    ] {
        let began = Instant::now();
        let pages = join_all((0..8).map(|_| ann.get(path))).await;
        for page in &pages {
            assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text());
            assert!(!page.text().contains("does not answer"), "{path}: {}", page.text());
        }
        // Whoever waits in vain for a connection waits for eight seconds.
        assert!(began.elapsed() < Duration::from_secs(6), "{path}: {:?}", began.elapsed());
    }
    instance.running.stop().await;
    world.end().await;
}
