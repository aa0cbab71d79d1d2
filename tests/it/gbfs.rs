//! GBFS: every feed of every city against the canonical schemas (`gbfs-schemas/`), and
//! what schemas cannot say: who appears, under which id, how old it is, what it costs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
};

use futures_util::future::join_all;
use jsonschema::Validator;
use movr::db::health::{Fault, Faults};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Browser, World,
    crowd::{bikes, crowd, redirect, street},
    html::Page,
    world,
};

/// A little longer than a feed of vehicles holds.
const TTL: chrono::Duration = chrono::Duration::seconds(16);

/// The canonical schemas, by feed.
struct Schemas(HashMap<&'static str, Validator>);

impl Schemas {
    fn new() -> Self {
        let schema = |name, text: &str| {
            let schema: Value = serde_json::from_str(text).unwrap();
            (name, jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
        };
        Self(HashMap::from([
            schema("manifest", include_str!("gbfs-schemas/manifest.json")),
            schema("gbfs", include_str!("gbfs-schemas/gbfs.json")),
            schema("gbfs_versions", include_str!("gbfs-schemas/gbfs_versions.json")),
            schema("system_information", include_str!("gbfs-schemas/system_information.json")),
            schema("system_regions", include_str!("gbfs-schemas/system_regions.json")),
            schema("vehicle_types", include_str!("gbfs-schemas/vehicle_types.json")),
            schema("vehicle_status", include_str!("gbfs-schemas/vehicle_status.json")),
            schema("system_pricing_plans", include_str!("gbfs-schemas/system_pricing_plans.json")),
            schema("geofencing_zones", include_str!("gbfs-schemas/geofencing_zones.json")),
        ]))
    }

    fn mistakes(&self, feed: &str, json: &Value) -> Vec<String> {
        self.0[feed].iter_errors(json).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// The feed at an address, which must be valid.
    async fn get(&self, browser: &Browser, feed: &str, path: &str) -> Value {
        let page = browser.get(path).await;
        assert_eq!(
            (page.status, &page.headers["content-type"]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
        let json = serde_json::from_str(&page.body).unwrap();
        assert_eq!(self.mistakes(feed, &json), [""; 0], "{path}");
        json
    }
}

fn status(city: &str) -> String {
    format!("/gbfs/3/{city}/vehicle_status.json")
}

fn list<'a>(json: &'a Value, of: &str) -> &'a Vec<Value> {
    json["data"][of].as_array().unwrap()
}

fn texts<'a>(items: &'a [Value], key: &str) -> BTreeSet<&'a str> {
    items.iter().filter_map(|item| item[key].as_str()).collect()
}

/// The vehicles of a city once the feed of before has run out, by public id.
async fn vehicles(world: &World, browser: &Browser, city: &str) -> HashMap<String, Value> {
    world.clock.advance(TTL);
    let feed: Value = serde_json::from_str(&browser.get(&status(city)).await.body).unwrap();
    let all = list(&feed, "vehicles");
    let by_id: HashMap<_, _> =
        all.iter().map(|vehicle| (vehicle["vehicle_id"].as_str().unwrap().to_owned(), vehicle.clone())).collect();
    assert_eq!(by_id.len(), all.len(), "no id twice");
    by_id
}

#[actix_web::test]
async fn every_feed_of_every_city_is_valid() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 3, 300).await;
    let instance = world.instance("us-east1").await;
    let (nobody, schemas) = (instance.browser(), Schemas::new());
    let landing = nobody.get("/").await;
    let link = landing.attributes("head link[rel=\"gbfs\"]", "href").remove(0);
    let manifest = schemas.get(&nobody, "manifest", &link).await;
    let catalogue = instance.running.state.service.catalogue();
    assert_eq!(list(&manifest, "datasets").len(), catalogue.cities.len());
    let mut seen = BTreeSet::new();
    for city in &catalogue.cities {
        let base = &catalogue.region(&city.region).unwrap().base_url;
        let root = format!("{base}/gbfs/3/{}/gbfs.json", city.slug);
        let dataset = list(&manifest, "datasets").iter().find(|set| set["versions"][0]["url"] == *root).unwrap();
        let root = schemas.get(&nobody, "gbfs", root.strip_prefix(base).unwrap()).await;
        let mut feeds = HashMap::new();
        for feed in list(&root, "feeds") {
            let (name, url) = (feed["name"].as_str().unwrap(), feed["url"].as_str().unwrap());
            feeds.insert(name, schemas.get(&nobody, name, url.strip_prefix(base).unwrap()).await);
        }
        assert_eq!(feeds.len(), schemas.0.len() - 2, "all but the manifest and gbfs.json itself");
        let information = &feeds["system_information"]["data"];
        assert_eq!(information["system_id"], dataset["system_id"]);
        assert_eq!(information["manifest_url"], json!(format!("{base}{link}")));
        assert!(seen.insert(information["system_id"].as_str().unwrap().to_owned()), "one id a city");

        let vehicle_types = list(&feeds["vehicle_types"], "vehicle_types");
        let plans = texts(list(&feeds["system_pricing_plans"], "plans"), "plan_id");
        assert_eq!(texts(vehicle_types, "default_pricing_plan_id"), plans);
        let known = texts(vehicle_types, "vehicle_type_id");
        let all = list(&feeds["vehicle_status"], "vehicles");
        let query = format!("SELECT count(*) FROM vehicles WHERE city = '{}' AND status <> 'retired'", city.slug);
        assert_eq!(i64::try_from(all.len()).unwrap(), world.count(&query).await, "{}", city.slug);
        for vehicle in all {
            assert!(known.contains(vehicle["vehicle_type_id"].as_str().unwrap()));
            assert!(vehicle["current_range_meters"].is_i64(), "all of ours have a motor");
            let decimals = |of: &Value| of.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
            assert!(decimals(&vehicle["lat"]) <= 5 && decimals(&vehicle["lon"]) <= 5, "{vehicle}");
            let full = vehicle_types
                .iter()
                .find(|vehicle_type| vehicle_type["vehicle_type_id"] == vehicle["vehicle_type_id"])
                .unwrap();
            let tenth = full["max_range_meters"].as_i64().unwrap() / 10;
            assert_eq!(vehicle["current_range_meters"].as_i64().unwrap() % tenth, 0, "{vehicle}");
            let reported = vehicle["last_reported"].as_str().unwrap();
            assert!(["0:00Z", "5:00Z"].contains(&&reported[15..]), "{reported}");
            let page = vehicle["rental_uris"]["web"].as_str().map(|url| url.strip_prefix(base).unwrap());
            assert_eq!(page.is_none(), vehicle["is_disabled"].as_bool().unwrap());
        }
    }
    let full = schemas.get(&nobody, "vehicle_status", &status("new-york")).await;
    let free = list(&full, "vehicles").iter().find(|vehicle| vehicle["is_disabled"] == json!(false)).unwrap();
    let page = free["rental_uris"]["web"].as_str().unwrap().strip_prefix("http://localhost:8080").unwrap();
    assert_eq!(nobody.get(page).await.status, StatusCode::OK);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_broken_feed_is_found() {
    let world = world().await;
    street(&world, &["new-york"], 5).await;
    let instance = world.instance("us-east1").await;
    let (nobody, schemas) = (instance.browser(), Schemas::new());
    let good = schemas.get(&nobody, "vehicle_status", &status("new-york")).await;
    let breaks: [(&str, Value); 7] = [
        ("/data/vehicles/0/vehicle_id", Value::Null),
        ("/data/vehicles/0/lat", json!(91)),
        ("/data/vehicles/0/is_reserved", json!("no")),
        ("/data/vehicles/0/last_reported", json!("yesterday")),
        ("/last_updated", json!(1_700_000_000)),
        ("/version", json!("2.3")),
        ("/ttl", json!(-1)),
    ];
    for (at, wrong) in breaks {
        let mut broken = good.clone();
        *broken.pointer_mut(at).unwrap() = wrong;
        assert_eq!(schemas.mistakes("vehicle_status", &broken).len(), 1, "{at}");
    }
    for (feed, at) in [
        ("gbfs", "/data/feeds"),
        ("system_information", "/data/feed_contact_email"),
        ("geofencing_zones", "/data/global_rules"),
        ("system_pricing_plans", "/data/plans/0/currency"),
        ("vehicle_types", "/data/vehicle_types/0/max_range_meters"),
    ] {
        let mut broken = schemas.get(&nobody, feed, &format!("/gbfs/3/new-york/{feed}.json")).await;
        let (parent, key) = at.rsplit_once('/').unwrap();
        assert!(broken.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).is_some(), "{at}");
        assert_ne!(schemas.mistakes(feed, &broken), [""; 0], "{feed} without {at}");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn the_feed_is_valid_and_whole_while_people_ride() {
    let world = world().await;
    street(&world, &["new-york"], 40).await;
    let instance = world.instance("us-east1").await;
    let riders = crowd(&instance, 6).await;
    let free = bikes(&world.sql().await, "new-york").await;
    let total = usize::try_from(world.count("SELECT count(*) FROM vehicles").await).unwrap();
    let (schemas, done) = (Schemas::new(), Arc::new(AtomicBool::new(false)));
    let writers = join_all(riders.iter().zip(&free).map(|(rider, bike)| async {
        let mut bike = bike.clone();
        for _ in 0..5 {
            let ride = rider.browser.start(&bike, Uuid::new_v4(), "").await.location();
            rider.browser.end(&ride).await;
            let id = format!("SELECT public_id::TEXT FROM vehicles WHERE id = '{}'", bike.id);
            bike.public_id = world.sql().await.query_one(&id, &[]).await.unwrap().try_get(0).unwrap();
        }
    }));
    let finished = Arc::clone(&done);
    let writers = async {
        writers.await;
        finished.store(true, Ordering::Relaxed);
    };
    let reader = async {
        let (nobody, mut sizes) = (instance.browser(), BTreeSet::new());
        while !done.load(Ordering::Relaxed) {
            world.clock.advance(TTL);
            let feed = schemas.get(&nobody, "vehicle_status", &status("new-york")).await;
            let ids = texts(list(&feed, "vehicles"), "vehicle_id").len();
            assert_eq!(ids, list(&feed, "vehicles").len(), "no id twice");
            assert!((total - riders.len()..=total).contains(&ids), "{ids} of {total}");
            sizes.insert(ids);
        }
        sizes
    };
    let ((), sizes) = tokio::join!(writers, reader);
    assert!(sizes.len() > 1, "never seen while somebody rode: {sizes:?}");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn who_appears_and_under_which_id() {
    let world = world().await;
    street(&world, &["new-york"], 12).await;
    let instance = world.instance("us-east1").await;
    let (ann, nobody) = (crowd(&instance, 1).await.remove(0).browser, instance.browser());
    let bike = bikes(&world.sql().await, "new-york").await.remove(0);
    let shown = async || vehicles(&world, &nobody, "new-york").await;
    let before = shown().await;
    assert_eq!(before[&bike.public_id]["is_reserved"], json!(false));
    assert!(before.values().any(|vehicle| vehicle["is_disabled"] == json!(true)), "some are in the workshop");
    assert!(!before.contains_key(&bike.id.to_string()), "never the inner id");

    assert!(redirect(&instance, &ann.reserve(&bike).await).good);
    assert_eq!(shown().await[&bike.public_id]["is_reserved"], json!(true));
    world.clock.advance(chrono::Duration::minutes(11));
    assert_eq!(shown().await[&bike.public_id]["is_reserved"], json!(false), "lapsed");

    let ride = ann.start(&bike, Uuid::new_v4(), "").await.location();
    let during = shown().await;
    assert!(!during.contains_key(&bike.public_id) && during.len() == before.len() - 1, "on a ride");
    ann.end(&ride).await;
    world.clock.advance(chrono::Duration::minutes(2));
    let after = shown().await;
    let ids = |all: &HashMap<String, Value>| all.keys().cloned().collect::<BTreeSet<_>>();
    let new: Vec<_> = ids(&after).difference(&ids(&before)).cloned().collect();
    assert!(new.len() == 1 && !after.contains_key(&bike.public_id), "back under another id");
    assert_eq!((after[&new[0]]["lat"].as_f64(), after[&new[0]]["lon"].as_f64()), (Some(40.758), Some(-73.9855)));

    for (status, listed) in [("maintenance", true), ("lost", false), ("retired", false), ("available", true)] {
        world.set(&format!("UPDATE vehicles SET status = '{status}' WHERE id = '{}'", bike.id)).await;
        let vehicle = shown().await.get(&new[0]).map(|vehicle| vehicle["is_disabled"].clone());
        assert_eq!(vehicle, listed.then(|| json!(status == "maintenance")), "{status}");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_feed_is_built_once_a_ttl_and_sent_once_to_each() {
    let world = world().await;
    street(&world, &["new-york"], 20).await;
    let instance = world.instance("us-east1").await;
    let (nobody, ann) = (instance.browser(), instance.person("new-york").await);
    let path = status("new-york");
    let first = nobody.get(&path).await;
    let tag = |page: &Page| page.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(first.timing(), (1, 1), "one statement");
    assert_eq!(first.headers["cache-control"], "public, max-age=15");
    assert_eq!(first.headers["access-control-allow-origin"], "*");
    assert_eq!((ann.get(&path).await.timing(), ann.get(&path).await.set_cookies()), ((0, 0), vec![]));
    assert_eq!(ann.get(&path).await.body, first.body, "no session changes it");
    let head = nobody.method(Method::HEAD, &path).await;
    assert_eq!((head.status, tag(&head), head.body.as_str()), (StatusCode::OK, tag(&first), ""));
    let packed = nobody.get_with(&path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    for known in [tag(&first), format!("W/{}", tag(&first)), format!("\"x\", {}", tag(&first)), "*".to_owned()] {
        let same = nobody.get_with(&path, &[("if-none-match", &known)]).await;
        assert_eq!(
            (same.status, tag(&same), same.body.as_str()),
            (StatusCode::NOT_MODIFIED, tag(&first), ""),
            "{known}"
        );
    }
    assert_eq!(nobody.get_with(&path, &[("if-none-match", "\"x\"")]).await.status, StatusCode::OK);

    world.clock.advance(TTL);
    let crowd = join_all((0..20).map(|_| nobody.get_with(&path, &[("if-none-match", "\"x\"")]))).await;
    assert_eq!(crowd.iter().map(|page| page.timing().0).sum::<u32>(), 1, "one of them asks the database");
    assert!(crowd.iter().all(|page| page.status == StatusCode::OK && tag(page) == tag(&crowd[0])));
    assert_ne!(tag(&crowd[0]), tag(&first), "another time is another feed");
    let information = nobody.get("/gbfs/3/new-york/system_information.json").await;
    assert_eq!(
        (information.timing(), &information.headers["cache-control"]),
        ((0, 0), &"public, max-age=60".parse().unwrap())
    );
    for wrong in ["/gbfs/3/atlantis/gbfs.json", "/gbfs/3/new-york/station_status.json"] {
        let page = nobody.get(wrong).await;
        assert_eq!(
            (page.status, &page.headers["content-type"]),
            (StatusCode::NOT_FOUND, &"application/json".parse().unwrap())
        );
        assert!(serde_json::from_str::<Value>(&page.body).unwrap()["error"].is_string());
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_silent_region_keeps_its_last_feed_and_its_time() {
    let world = world().await;
    street(&world, &["paris"], 20).await;
    let faults: Arc<Faults> = Arc::default();
    let settings = [("MOVR_STATEMENT_TIMEOUT_MS", "2000"), ("MOVR_WATCH_MS", "500")];
    let instance = world.instance_losing("us-east1", &settings, Arc::clone(&faults)).await;
    let (nobody, schemas) = (instance.browser(), Schemas::new());
    let updated =
        |feed: &Value| feed["last_updated"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let before = world.clock.now();
    let fresh = schemas.get(&nobody, "vehicle_status", &status("paris")).await;
    assert!((-1..=1).contains(&(updated(&fresh) - before).num_seconds()), "{before}: {}", fresh["last_updated"]);

    let europe: movr::domain::region::RegionCode = "europe-west1".parse().unwrap();
    faults.write().insert(europe.clone(), Fault::Unreachable);
    nobody.until_status("europe-west1", false).await;
    world.clock.advance(chrono::Duration::minutes(7));
    let last = schemas.get(&nobody, "vehicle_status", &status("paris")).await;
    assert_eq!(last, fresh, "the last one, which says from when it is");
    // What was never read cannot be shown; what the catalogue says can.
    let rome = nobody.get(&status("rome")).await;
    assert_eq!((rome.status, &rome.headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap()));
    assert!(rome.body.contains("does not answer"));
    schemas.get(&nobody, "vehicle_types", "/gbfs/3/rome/vehicle_types.json").await;

    faults.write().remove(&europe);
    nobody.until_status("europe-west1", true).await;
    world.clock.advance(chrono::Duration::seconds(3));
    let again = schemas.get(&nobody, "vehicle_status", &status("paris")).await;
    assert!(updated(&again) - before >= chrono::Duration::minutes(7));
    instance.running.stop().await;
    world.end().await;
}
