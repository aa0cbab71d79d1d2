//! One vehicle's page: for everybody, until the end of its next ride; and the links that
//! are older than that, or name a region that the vehicle has left.

use chrono::Duration;
use reqwest::StatusCode;

use super::rides;
use crate::support::{Browser, rows::pairs, world};

const LIST: &str = "/vehicles?city=new-york";

/// The address of the `n`th vehicle of a list, as its title links to it.
async fn address(browser: &Browser, list: &str, n: usize) -> String {
    browser.get(list).await.attributes(&format!("#v{n} h2 a"), "href").remove(0)
}

#[actix_web::test]
async fn a_vehicle_has_a_page_until_the_end_of_its_next_ride() {
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob, nobody) = (instance.person("new-york").await, instance.person("new-york").await, instance.browser());
    let path = address(&nobody, LIST, 1).await;
    assert!(path.starts_with("/vehicles/us-east1/"), "{path}");
    let list = nobody.get(LIST).await;
    let page = nobody.get(&path).await;
    assert_eq!((page.status, page.timing()), (StatusCode::OK, (1, 1)));
    assert_eq!(page.texts("h1"), ["Vehicle in New York"]);
    for part in ["#v1 h2", "#v1 .bat", "#v1 .price"] {
        assert_eq!(page.texts(part), list.texts(part), "as on the list");
    }
    assert!(page.texts("#v1 .what p").concat().contains("from the city centre"));
    assert_eq!(page.attributes(".card form", "action"), [""; 0]);
    let login = format!("/login?next={}", movr::web::paths::encode(&path));
    assert_eq!(page.attributes("main .note a", "href"), [login.clone(), login.replace("/login", "/register")]);
    assert_eq!(page.attributes("main > .list > p:not(.note) > a", "href"), [LIST]);
    assert_eq!(page.texts(".map svg .pin").len(), 1);

    ann.get(&path).await;
    let hers = ann.get(&path).await;
    assert_eq!(hers.timing(), (2, 1), "the session is checked in the same wait");
    let card = hers.card(1);
    assert_eq!(ann.post(&format!("{path}/reserve"), &pairs(&card)).await.location(), LIST);
    assert!(ann.get(&path).await.texts(".card .held").concat().starts_with("Reserved by you until"));
    for browser in [&bob, &nobody] {
        let his = browser.get(&path).await;
        assert!(his.text().contains("Someone else has reserved this vehicle."), "{}", his.text());
    }
    assert_eq!(bob.get(&path).await.attributes(".card form button[disabled]", "aria-label"), ["Ride 1", "Reserve 1"]);
    world.clock.advance(Duration::minutes(10));
    assert!(!bob.get(&path).await.text().contains("reserved this vehicle"), "it has lapsed");

    let ride = ann.post("/rides", &pairs(&card)).await.location();
    let unknown = format!("/vehicles/us-east1/{}", uuid::Uuid::from_u128(7));
    for browser in [&bob, &nobody] {
        let (taken, unknown) = (browser.get(&path).await, browser.get(&unknown).await);
        let said =
            [&taken, &unknown].map(|page| page.texts("main").concat().split(" Request ").next().map(str::to_owned));
        assert_eq!((taken.status, &said[0]), (StatusCode::NOT_FOUND, &said[1]), "as any id");
    }
    assert!(ann.get(&path).await.text().contains("You are already riding."), "hers");
    rides::end(&ann, &ride).await;
    let gone = nobody.get(&path).await;
    assert_eq!((gone.status, gone.timing().0), (StatusCode::NOT_FOUND, 2), "asked for there, then everywhere");
    let words = "This link has expired: vehicle links change after every ride.";
    assert!(gone.text().contains(words) && gone.text().contains("Vehicles in New York"), "{}", gone.text());
    assert!(gone.attributes("main a", "href").contains(&LIST.to_owned()));

    let next = address(&bob, LIST, 2).await;
    let inner = next.rsplit('/').next().unwrap();
    for status in ["maintenance", "lost", "retired"] {
        world.set(&format!("UPDATE vehicles SET status = '{status}' WHERE public_id = '{inner}'")).await;
        assert_eq!(bob.get(&next).await.status, StatusCode::NOT_FOUND, "{status}: nor anywhere else");
    }
    world.set(&format!("UPDATE vehicles SET status = 'available' WHERE public_id = '{inner}'")).await;
    for path in ["/vehicles/us-east1/x", &next.replace("us-east1", "atlantis"), &format!("{next}/x")] {
        assert_eq!(bob.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_link_to_a_vehicle_that_has_moved_finds_it_in_whatever_region() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 30).await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let (ann, nobody) = (east.person("new-york").await, europe.browser());
    let path = address(&nobody, LIST, 1).await;
    let id = path.rsplit('/').next().unwrap();
    let moved = |region: &str| format!("/vehicles/{region}/{id}");
    assert_eq!(nobody.get(&path).await.status, StatusCode::OK, "from another region");
    world.set(&format!("UPDATE vehicles SET city = 'boston' WHERE public_id = '{id}'")).await;
    assert_eq!(ann.get(&path).await.texts("h1"), ["Vehicle in Boston"], "within a region the link holds");
    world.set(&format!("UPDATE vehicles SET region = 'europe-west1', city = 'paris' WHERE public_id = '{id}'")).await;
    for browser in [&ann, &nobody] {
        for region in ["us-east1", "us-west1"] {
            assert_eq!(browser.get(&moved(region)).await.location(), moved("europe-west1"), "{region}");
        }
        let page = browser.get(&moved("europe-west1")).await;
        assert_eq!((page.status, page.texts("h1").remove(0).as_str()), (StatusCode::OK, "Vehicle in Paris"));
    }
    assert_eq!(nobody.get(&path).await.timing().0, 2, "where it was, then everywhere, once");
    world.set(&format!("UPDATE vehicles SET region = 'us-east1', city = 'new-york' WHERE public_id = '{id}'")).await;
    assert_eq!(ann.get(&moved("europe-west1")).await.location(), path, "and back: nothing was kept for ever");
    east.running.stop().await;
    europe.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn who_asks_for_nothing_again_and_again_is_slowed_down_and_others_are_not() {
    let world = world().await;
    world.sample(&["new-york"], 0, 10).await;
    let proxy = [("MOVR_TRUSTED_PROXIES", "127.0.0.1")];
    let instance = world.instance_with("us-east1", &proxy).await;
    let ann = instance.person("new-york").await;
    let path = address(&ann, LIST, 1).await;
    let ask = async |address: &str, path: &str| ann.get_with(path, &[("x-forwarded-for", address)]).await;
    let mut statuses = Vec::new();
    for n in 0..40_u128 {
        let page = ask("192.0.2.1", &format!("/vehicles/us-east1/{}", uuid::Uuid::from_u128(n))).await;
        if page.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(page.headers.contains_key("retry-after") && page.text().contains("Please wait"));
            assert_eq!(page.timing(), (2, 1), "nobody is asked then but the region it names, and the session");
        }
        statuses.push(page.status);
    }
    assert_eq!(statuses[..30], [StatusCode::NOT_FOUND; 30]);
    assert!(statuses[30..].contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    assert_eq!(ask("192.0.2.1", &path).await.status, StatusCode::OK, "what is there is shown");
    let missing = format!("/vehicles/us-east1/{}", uuid::Uuid::nil());
    assert_eq!(ask("192.0.2.2", &missing).await.status, StatusCode::NOT_FOUND, "somebody else");
    instance.running.stop().await;
    world.end().await;
}
