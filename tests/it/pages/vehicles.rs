//! The list of vehicles: filters, distances, where a visitor is taken to be, one's own
//! reservation; and that nobody can follow a vehicle by what public pages show of it.

use chrono::Duration;
use reqwest::StatusCode;

use super::rides;
use crate::support::{Browser, app::Instance, html::Page, rows::pairs, world};

/// Type and battery of each card, in order.
fn cards(page: &Page) -> Vec<(String, i64)> {
    let types = page.attributes(".cards input[name=type]", "value");
    let batteries = page.texts(".cards .bat").into_iter().map(|text| text.split_once('%').unwrap().0.parse().unwrap());
    types.into_iter().zip(batteries).collect()
}

/// The distances of the list, in metres.
fn distances(page: &Page) -> Vec<f64> {
    let read = |text: String| {
        let (number, unit) = text.split_once(' ').unwrap();
        number.parse::<f64>().unwrap()
            * [("mi", 1609.344), ("ft", 0.3048), ("km", 1000.0), ("m", 1.0)].iter().find(|of| of.0 == unit).unwrap().1
    };
    page.texts(".cards .what p:first-of-type b").into_iter().map(read).collect()
}

fn vehicle_of(card: &[(String, String)]) -> String {
    card.iter().find(|(name, _)| name == "vehicle").unwrap().1.clone()
}

async fn reserve(browser: &Browser, card: &[(String, String)]) -> String {
    let path = format!("/vehicles/us-east1/{}/reserve", vehicle_of(card));
    let back = browser.post(&path, &pairs(card)).await.location();
    browser.get(&back).await.flash()
}

async fn stop<const N: usize>(instances: [Instance; N]) {
    for instance in instances {
        instance.running.stop().await;
    }
}

#[actix_web::test]
async fn the_list_is_filtered_by_type_and_battery() {
    let world = world().await;
    world.sample(&["new-york"], 0, 200).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let all = "SELECT count(*) FROM vehicles WHERE status = 'available'";
    assert!(world.count(all).await > 100);
    for vehicle_type in ["", "bike", "scooter", "skateboard"] {
        for battery in ["", "25", "50", "75", "95"] {
            let page = ann.get(&format!("/vehicles?city=new-york&type={vehicle_type}&battery={battery}")).await;
            let shown = cards(&page);
            // What cards show and filters compare is charge in steps of ten.
            let least = (battery.parse().unwrap_or(0) + 9) / 10 * 10;
            assert!(
                shown.iter().all(|(k, b)| (vehicle_type.is_empty() || k == vehicle_type) && *b >= least),
                "{vehicle_type} {battery}: {shown:?}"
            );
            let of_type = if vehicle_type.is_empty() { String::new() } else { format!(" AND type = '{vehicle_type}'") };
            let there = world.count(&format!("{all} AND battery >= {least}{of_type}")).await;
            assert_eq!(i64::try_from(shown.len()).unwrap(), there.min(25), "{vehicle_type} {battery}");
            assert_eq!(page.attributes("select[name=type] option[selected]", "value"), [vehicle_type]);
        }
    }
    stop([instance]).await;
    world.end().await;
}

#[actix_web::test]
async fn the_list_begins_with_the_closest_to_where_one_is() {
    let world = world().await;
    world.sample(&["new-york"], 0, 200).await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    let (mut firsts, mut closest) = (Vec::new(), Vec::new());
    for (point, to) in
        [("", "the city centre"), ("&lat=40.7300&lon=-73.9900", "you"), ("&lat=40.7600&lon=-73.9900", "you")]
    {
        let page = browser.get(&format!("/vehicles?city=new-york{point}")).await;
        let shown = distances(&page);
        assert!(shown.len() == 25 && shown.is_sorted(), "{shown:?}");
        assert!(page.text().contains(&format!("25 vehicles, closest to {to} first")));
        assert!(page.texts(".price b")[0].starts_with('$'), "price of ten minutes");
        firsts.push(page.texts("#v1 .what").join(""));
        closest.push(shown[0]);
    }
    assert!(firsts[0] != firsts[1] && firsts[1] != firsts[2], "{firsts:?}");
    assert!(closest.iter().all(|metres| *metres < 2_000.0), "{closest:?}");
    stop([instance]).await;
    world.end().await;
}

/// Whoever shares a position sees the vehicles there, whichever city was shown, or which city is the
/// nearest.
#[actix_web::test]
async fn the_list_is_of_the_city_where_one_is() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 60).await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    let here = browser.get("/vehicles?city=new-york&lat=48.8566&lon=2.3522").await;
    assert_eq!(here.texts("h1"), ["Vehicles in Paris"]);
    assert!(here.text().contains("25 vehicles, closest to you first"), "{}", here.text());
    assert_eq!(browser.get("/vehicles").await.texts("h1"), ["Vehicles in Paris"], "and it is the chosen one");
    let far = browser.get("/vehicles?city=new-york&lat=45.76&lon=4.83").await;
    assert_eq!(far.texts("h1"), ["Vehicles in New York"]);
    let words = "You are more than 50 km from every MovR city. The nearest is Paris .";
    assert_eq!(far.texts("main .note")[0], words);
    assert_eq!(far.attributes("main .note a", "href")[0], "/vehicles?city=paris");
    assert!(far.text().contains("closest to the city centre first"), "{}", far.text());
    stop([instance]).await;
    world.end().await;
}

/// Addresses are kept by browsers and proxies: those of ours tell a position to a hundred metres.
#[actix_web::test]
async fn no_address_of_ours_tells_where_exactly_somebody_is() {
    let world = world().await;
    world.sample(&["new-york"], 0, 60).await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let exact = "/vehicles?city=new-york&battery=20&lat=40.730512&lon=-73.990499";
    let page = ann.get(exact).await;
    assert_eq!(page.attributes("form.filters [name=lat]", "value"), ["40.731"]);
    assert_eq!(page.attributes("form.filters [name=lon]", "value"), ["-73.990"]);
    let next = page.attributes("a[rel=next]", "href").remove(0);
    assert!(next.starts_with("/vehicles?city=new-york&battery=20&lat=40%2E731&lon=%2D73%2E990&after="), "{next}");
    for page in [&page, &instance.browser().get(exact).await] {
        for place in ["40.7305", "40%2E7305", "73.9904", "73%2E9904"] {
            assert!(!page.body.contains(place), "{place} in {}", page.body);
        }
    }
    let next = ann.get(&next).await;
    assert!(next.text().contains("farther from you"), "{}", next.text());
    stop([instance]).await;
    world.end().await;
}

/// Nothing leads to itself, and no number is where none is.
#[actix_web::test]
async fn a_city_without_a_vehicle_says_so() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    let out = "are out right now. Please check back in a few minutes.";
    assert!(browser.get("/").await.texts(".pitch p")[0].contains(out));
    let empty = browser.get("/vehicles?city=boston").await;
    assert_eq!(
        (empty.texts(".empty"), empty.attributes(".empty a", "href").len()),
        (vec![format!("All vehicles in Boston {out}")], 0)
    );
    let none = browser.get("/vehicles?city=boston&type=bike").await;
    assert_eq!(none.attributes(".empty a", "href"), ["/vehicles?city=boston"]);
    world.sample(&["boston"], 0, 1).await;
    world.set("UPDATE vehicles SET status = 'available'").await;
    instance.running.stop().await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    assert!(browser.get("/?city=boston").await.texts(".pitch p")[0].starts_with("1 vehicle is ready right now."));
    assert!(browser.get("/vehicles").await.text().contains("1 vehicle, closest to the city centre first"));
    stop([instance]).await;
    world.end().await;
}

#[actix_web::test]
async fn the_list_goes_on_page_by_page_from_where_the_map_is() {
    let world = world().await;
    world.sample(&["new-york"], 0, 90).await;
    // Many at one spot, so that a page ends among them.
    world
        .set(
            "UPDATE vehicles SET (lat, lon, cell) = (SELECT lat, lon, cell FROM vehicles ORDER BY id LIMIT 1)
        WHERE battery > 50",
        )
        .await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    let (mut seen, mut far) = (Vec::new(), 0.0);
    let mut next = Some("/vehicles?city=new-york&map=40.7300,-73.9900".to_owned());
    while let Some(path) = next {
        let page = browser.get(&path).await;
        assert!(page.text().contains("the middle of the map"), "{}", page.text());
        assert!(page.texts(".map .me").is_empty(), "nobody stands there");
        let shown = distances(&page);
        assert!(shown.is_sorted() && shown[0] >= far, "{far} {shown:?}");
        far = *shown.last().unwrap();
        let ids = page.attributes(".cards h2 a", "href");
        assert_eq!(page.attributes("nav.pages a:not([rel])", "href").len(), usize::from(!seen.is_empty()));
        assert_eq!(page.attributes(".map", "data-search"), ["/vehicles?city=new-york"]);
        seen.extend(ids);
        next = page.attributes("a[rel=next]", "href").pop();
        assert!(next.is_none() || seen.len() % 25 == 0, "{} of a page that is not the last", seen.len());
    }
    let all = world.count("SELECT count(*) FROM vehicles WHERE status = 'available'").await;
    assert_eq!(i64::try_from(seen.len()).unwrap(), all);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(i64::try_from(seen.len()).unwrap(), all, "each vehicle once");
    // What no page of ours wrote is ignored, not an error.
    for after in ["x", "1", "-1~x", "NaN~00000000-0000-4000-8000-000000000000"] {
        let page = browser.get(&format!("/vehicles?city=new-york&after={after}")).await;
        assert_eq!((page.status, page.texts(".cards > li").len()), (StatusCode::OK, 25), "{after}");
    }
    stop([instance]).await;
    world.end().await;
}

#[actix_web::test]
async fn wrong_filters_are_said_and_the_list_is_still_there() {
    let world = world().await;
    world.sample(&["new-york"], 0, 60).await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    let point = "Latitude must be from -90 to 90, longitude from -180 to 180.";
    for (query, words) in [
        ("lat=91&lon=0", point),
        ("lat=0&lon=180.1", point),
        ("lat=NaN&lon=0", point),
        ("lat=1e400&lon=0", point),
        ("lat=40.7", point),
        ("lat=forty&lon=0", point),
        ("map=91,0", point),
        ("battery=101", "Please enter a battery level from 0 to 100."),
        ("battery=-1", "Please enter a battery level from 0 to 100."),
        ("battery=99999999999999999999", "Please enter a battery level from 0 to 100."),
        ("type=rocket", "There is no such type of vehicle."),
    ] {
        let page = browser.get(&format!("/vehicles?city=new-york&{query}")).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(page.texts("[role=alert]"), [words], "{query}");
        assert_eq!(page.texts(".cards > li").len(), 25, "{query}");
        assert_eq!(page.attributes("form.filters [type=hidden][value]", "name"), ["city"], "{query}");
        let next = page.attributes("a[rel=next]", "href").remove(0);
        assert_eq!(browser.get(&next).await.status, StatusCode::OK, "{next}");
    }
    assert_eq!(browser.get("/vehicles?city=gotham").await.status, StatusCode::NOT_FOUND);
    stop([instance]).await;
    world.end().await;
}

#[actix_web::test]
async fn the_city_is_the_chosen_one_then_the_proxys_then_home_then_the_regions_first() {
    let world = world().await;
    let headers = [("MOVR_CLIENT_CITY_HEADER", "X-City"), ("MOVR_CLIENT_COORDINATES_HEADER", "X-Point")];
    let trusting = [headers.as_slice(), &[("MOVR_TRUSTED_PROXIES", "127.0.0.1")]].concat();
    let elsewhere = [headers.as_slice(), &[("MOVR_TRUSTED_PROXIES", "192.0.2.0/24")]].concat();
    let (behind, direct, other) = (
        world.instance_with("us-east1", &trusting).await,
        world.instance_with("us-east1", &headers).await,
        world.instance_with("us-east1", &elsewhere).await,
    );
    let city = async |browser: &Browser, path: &str, headers: &[(&str, &str)]| {
        browser.get_with(path, headers).await.texts("h1").remove(0)
    };
    for (sent, landing) in [
        (vec![("X-City", "Paris")], "Paris"),
        (vec![("X-City", "SAN FRANCISCO")], "San Francisco"),
        (vec![("X-City", ""), ("X-Point", "41.9,12.5")], "Rome"),
        (vec![("X-City", "Springfield"), ("X-Point", "47.6, -122.3")], "Seattle"),
        (vec![("X-City", "")], "New York"),
        (vec![("X-City", "Springfield")], "New York"),
        (vec![("X-Point", "91,0")], "New York"),
        (vec![("X-Point", "nowhere")], "New York"),
        (vec![], "New York"),
    ] {
        let browser = behind.browser();
        assert_eq!(city(&browser, "/", &sent).await, format!("Get around {landing}."), "{sent:?}");
        assert_eq!(city(&browser, "/vehicles", &sent).await, format!("Vehicles in {landing}"), "{sent:?}");
        for untrusted in [&direct, &other] {
            let shown = city(&untrusted.browser(), "/", &sent).await;
            assert_eq!(shown, "Get around New York.", "{sent:?} from anybody");
        }
    }
    let ann = behind.person("boston").await;
    let paris = [("X-City", "Paris")];
    assert_eq!(city(&ann, "/", &paris).await, "Get around Boston.", "chosen, wherever one is");
    assert_eq!(city(&ann, "/vehicles", &paris).await, "Vehicles in Boston");
    let fresh = behind.browser();
    let signed_in = fresh.sign_in(&ann.name, crate::support::app::PASSWORD).await;
    assert_eq!(signed_in.location(), "/vehicles?city=boston");
    assert_eq!(city(&fresh, "/vehicles", &[]).await, "Vehicles in Boston", "home");
    let chosen = fresh.post("/city", &[("city", "rome"), ("next", "/riders")]).await;
    assert_eq!(chosen.location(), "/vehicles?city=rome");
    assert_eq!(city(&fresh, "/vehicles", &[]).await, "Vehicles in Rome");
    assert_eq!(city(&fresh, "/vehicles?city=paris", &[]).await, "Vehicles in Paris", "asked for");
    // One city in the header of every page, whatever the page is about, until another is chosen.
    for path in ["/vehicles", "/", "/profile", "/riders", "/nothing"] {
        assert_eq!(fresh.get(path).await.texts(".city-switch summary"), ["City: Paris"], "{path}");
    }
    fresh.post("/logout", &[]).await;
    let again = fresh.sign_in(&ann.name, crate::support::app::PASSWORD).await;
    assert_eq!(again.location(), "/vehicles?city=paris", "signing in chooses no city");
    assert_eq!(city(&fresh, "/?city=rome", &[]).await, "Get around Rome.");
    assert_eq!(city(&fresh, "/vehicles", &[]).await, "Vehicles in Rome", "and remembered");
    stop([behind, direct, other]).await;
    world.end().await;
}

#[actix_web::test]
async fn ones_own_reservation_is_shown_and_hides_the_vehicle_from_others_for_ten_minutes() {
    let world = world().await;
    world.sample(&["new-york", "paris"], 0, 30).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let list = "/vehicles?city=new-york";
    let (card, second) = (ann.get(list).await.card(1), ann.get(list).await.card(2));
    let lapses = || {
        let at = world.clock.now() + Duration::minutes(10);
        at.with_timezone(&chrono_tz::America::New_York).format("%-I:%M %p %Z").to_string()
    };
    let earliest = lapses();
    assert_eq!(reserve(&ann, &card).await, "Reserved for ten minutes.");
    let page = ann.get(list).await;
    let held = page.texts(".cards .held").concat();
    let until = if held.contains(&earliest) { earliest } else { lapses() };
    let code =
        world.sql().await.query_one("SELECT code FROM vehicles WHERE reserved_by IS NOT NULL", &[]).await.unwrap();
    let code: String = code.try_get(0).unwrap();
    assert_eq!(held, format!("Reserved by you until {until} · Code {code}"));
    let all = ["/vehicles?city=new-york", "/vehicles?city=paris", "/"];
    for (path, codes) in all.map(|path| (path, usize::from(path == list))) {
        assert_eq!(ann.get(path).await.body.matches("NEW-").count(), codes, "{path}: no code but of what is reserved");
    }
    assert!(page.attributes("#v1 button[formaction]", "formaction").contains(&"/reservation/cancel".to_owned()));
    let kind = &card.iter().find(|(name, _)| name == "type").unwrap().1;
    for path in ["/", list, "/rides", "/profile", "/vehicles?city=paris"] {
        let page = ann.get(path).await;
        let bar = page.texts("aside.held").join("");
        // The vehicle's own zone, whatever city the page is about.
        let words = format!("Your {kind} is reserved for 10 min , until {until}. Ride Cancel the reservation");
        assert_eq!(bar, words, "{path}");
        let link = format!("/vehicles/us-east1/{}", vehicle_of(&card));
        assert_eq!(page.attributes("aside.held a", "href"), [link], "{path}");
    }
    let abroad = ann.get("/vehicles?city=paris").await.card(1);
    let back = ann.post("/rides", &pairs(&abroad)).await.location();
    assert!(ann.get(&back).await.flash().contains("You have reserved another vehicle."), "in whatever region");
    assert_eq!(reserve(&ann, &second).await, "You have reserved another vehicle. Cancel that reservation first.");

    let his = bob.get(list).await;
    assert!(!his.attributes("input[name=vehicle]", "value").contains(&vehicle_of(&card)), "hidden from others");
    assert_eq!(reserve(&bob, &card).await, "Someone else has reserved this vehicle. Please choose another one.");
    let back = bob.post("/rides", &pairs(&card)).await.location();
    assert!(bob.get(&back).await.flash().contains("Someone else has reserved this vehicle."));
    let back = bob.post("/reservation/cancel", &pairs(&card)).await.location();
    assert!(bob.get(&back).await.flash().contains("There is no reservation to cancel"), "not somebody else's");

    let back = ann.post("/reservation/cancel", &pairs(&card)).await.location();
    assert_eq!(ann.get(&back).await.flash(), "The reservation is cancelled.");
    assert_eq!(reserve(&ann, &card).await, "Reserved for ten minutes.");
    world.clock.advance(Duration::minutes(10));
    assert!(ann.get(list).await.texts(".held").is_empty(), "it lapses by time alone");
    let his = bob.get(list).await;
    assert!(his.attributes("input[name=vehicle]", "value").contains(&vehicle_of(&card)), "and is listed again");
    assert_eq!(reserve(&bob, &card).await, "Reserved for ten minutes.");
    stop([instance]).await;
    world.end().await;
}

#[actix_web::test]
async fn a_vehicle_cannot_be_followed_from_ride_to_ride() {
    let world = world().await;
    world.sample(&["new-york"], 0, 3).await;
    world.set("UPDATE vehicles SET status = 'available' WHERE status <> 'retired'").await;
    let instance = world.instance("us-east1").await;
    let (ann, nobody) = (instance.person("new-york").await, instance.browser());
    let list = "/vehicles?city=new-york";
    let old = ann.get(list).await.card(1);
    let ride = rides::start(&ann, "new-york").await;
    let riding = ann.get(&ride).await;
    rides::end(&ann, &ride).await;
    world.clock.advance(Duration::minutes(2));
    let now = ann.get(list).await.attributes("input[name=vehicle]", "value");
    assert!(now.len() == 3 && !now.contains(&vehicle_of(&old)), "it has a new public id");
    assert_eq!(reserve(&ann, &old).await, "Someone else has just taken this vehicle. Please choose another one.");
    let mut pages = vec![riding];
    for path in ["/", list, "/rides", ride.as_str(), "/riders"] {
        pages.push(ann.get(path).await);
        pages.push(nobody.get(path).await);
    }
    let sql = world.sql().await;
    for row in sql.query("SELECT id::TEXT FROM vehicles", &[]).await.unwrap() {
        let inner: String = row.try_get(0).unwrap();
        for page in &pages {
            assert!(!page.body.contains(&inner), "the inner id is on a page");
            assert!(!format!("{:?}", page.headers).contains(&inner), "or in its headers");
        }
    }
    assert!(
        nobody.get(list).await.attributes("input[name=vehicle]", "value").is_empty(),
        "no form for who cannot ride"
    );
    stop([instance]).await;
    world.end().await;
}

#[actix_web::test]
async fn what_somebody_writes_is_text_on_everybody_elses_page() {
    let world = world().await;
    world.sample(&["new-york"], 0, 2).await;
    let evil = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    world.set(&format!("UPDATE vehicles SET status = 'available', place = '{}'", evil.replace('\'', "''"))).await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let ride = rides::start(&ann, "new-york").await;
    let form = [("city", "new-york"), ("lat", "40.7128"), ("lon", "-74.0060")];
    assert_eq!(ann.post(&format!("{ride}/end"), &form).await.location(), ride);
    for page in [bob.get("/vehicles?city=new-york").await, ann.get(&ride).await] {
        assert!(page.text().contains(evil), "{}", page.text());
        assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "it is escaped");
        assert!(page.attributes("[onerror]", "onerror").is_empty());
    }
    stop([instance]).await;
    world.end().await;
}

#[actix_web::test]
async fn what_a_ride_leaves_appears_some_time_later_and_says_nothing_of_it() {
    let world = world().await;
    world.sample(&["new-york"], 0, 12).await;
    let instance = world.instance("us-east1").await;
    let service = &instance.running.state.service;
    let (ann, bob, nobody) = (instance.person("new-york").await, instance.person("new-york").await, instance.browser());
    let operator = instance.person("new-york").await;
    movr::ops::accounts::grant(&service.db, &operator.name, "operator", "new-york").await.unwrap();
    operator.get("/profile").await;
    let list = "/vehicles?city=new-york";
    let card = ann.get(list).await.card(1);
    let ride = ann.post("/rides", &pairs(&card)).await.location();

    // During the ride its old id is any id, whatever is asked with it.
    let unknown: Vec<_> = card
        .iter()
        .map(|(name, value)| {
            (name.clone(), if name == "vehicle" { uuid::Uuid::new_v4().to_string() } else { value.clone() })
        })
        .collect();
    assert_eq!(reserve(&bob, &card).await, reserve(&bob, &unknown).await);
    let said = async |card: &[(String, String)]| {
        let mut form = pairs(card);
        let id = uuid::Uuid::new_v4().to_string();
        form.retain(|(name, _)| *name != "ride");
        form.push(("ride", &id));
        bob.get(&bob.post("/rides", &form).await.location()).await.flash()
    };
    assert_eq!(said(&card).await, said(&unknown).await);

    rides::end(&ann, &ride).await;
    let sql = world.sql().await;
    let text =
        "SELECT id::TEXT, public_id::TEXT FROM vehicles WHERE seen_at > created_at ORDER BY seen_at DESC LIMIT 1";
    let row = sql.query_one(text, &[]).await.unwrap();
    let (inner, public): (String, String) = (row.try_get(0).unwrap(), row.try_get(1).unwrap());
    let last = u32::from_str_radix(&inner[35..], 16).unwrap();
    let delay = Duration::milliseconds(7_500 * i64::from(last + 1));
    let shown = async || {
        let in_list = nobody.get("/vehicles?city=new-york&lat=40.7128&lon=-74.006").await.body.contains(&public);
        let page = nobody.get(&format!("/vehicles/us-east1/{public}")).await.status;
        let feed = nobody.get("/gbfs/3/new-york/vehicle_status.json").await.body.contains(&public);
        assert_eq!((page == StatusCode::OK, feed), (in_list, in_list), "list, page and feed agree");
        in_list
    };
    // Its rider and its operators need not wait.
    assert!(ann.get(&ride).await.text().contains("You owe"));
    let facts = operator.get(&format!("/fleet/vehicles/us-east1/{inner}")).await;
    assert!(facts.text().contains(&public) && facts.texts("main .row mark") == ["Available"], "{}", facts.text());
    world.clock.advance(delay - Duration::seconds(2));
    assert!(!shown().await, "{delay} have not gone by");
    // The feed of a moment ago holds for a while.
    world.clock.advance(Duration::seconds(20));
    assert!(shown().await, "{delay} have gone by");

    // Charge is told in steps, by cards and by asking for it.
    sql.execute("UPDATE vehicles SET battery = 57", &[]).await.unwrap();
    for (least, found) in [("50", true), ("51", false), ("57", false), ("60", false)] {
        let shown = cards(&bob.get(&format!("{list}&battery={least}")).await);
        assert_eq!(!shown.is_empty(), found, "{least}");
        assert!(shown.iter().all(|(_, battery)| *battery == 50));
    }
    drop(sql);
    stop([instance]).await;
    world.end().await;
}
