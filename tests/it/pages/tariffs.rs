//! Tariffs of a city: set, planned and withdrawn by its operators and by administrators,
//! by nobody else, and not over somebody else's change; a ride keeps the one it began with.

use movr::{cli, domain::catalogue::Catalogue};
use reqwest::StatusCode;

use super::rides;
use crate::support::{Browser, World, app::Instance, crowd::redirect, engine, html::Page, rows::pairs, world};

const PATH: &str = "/fleet/tariffs";

pub async fn with_role(instance: &Instance, home: &str, role: &str, city: &str) -> Browser {
    let person = instance.person(home).await;
    movr::ops::accounts::grant(&instance.running.state.service.db, &person.name, role, city).await.unwrap();
    person
}

async fn scene() -> (World, Instance, Browser) {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let operator = with_role(&instance, "boston", "operator", "new-york").await;
    (world, instance, operator)
}

async fn end(world: World, instance: Instance) {
    instance.running.stop().await;
    world.end().await;
}

/// What the confirmation of a new price in New York is based on.
async fn seen(browser: &Browser, vehicle_type: &str) -> String {
    let price = "unlock=1&minute=1&fee=1";
    browser.get(&format!("{PATH}/new?city=new-york&type={vehicle_type}&{price}")).await.field("seen")
}

/// Confirms a new price of bikes in New York.
async fn set(browser: &Browser, seen: &str, from: &str, prices: [&str; 3]) -> Page {
    let [unlock, minute, fee] = prices;
    let fields = [("city", "new-york"), ("type", "bike"), ("seen", seen), ("from", from), ("unlock", unlock)];
    browser.post(PATH, &[&fields[..], &[("minute", minute), ("fee", fee), ("sure", "1")]].concat()).await
}

/// State and prices of the bikes' tariffs, newest first.
fn bikes(page: &Page) -> Vec<String> {
    page.texts("[aria-labelledby=bike] tbody tr")
}

#[actix_web::test]
async fn an_operator_sets_plans_and_withdraws_prices_and_a_ride_keeps_its_own() {
    let (world, instance, operator) = scene().await;
    world.sample(&["new-york"], 0, 12).await;
    // Whoever operates one city only is led there, from wherever they are at home.
    let page = operator.get(PATH).await;
    assert_eq!(page.texts("h1"), ["Tariffs in New York"]);
    assert!(page.text().contains("can take up to a minute"));
    let old = bikes(&page);
    assert!(old.len() == 1 && old[0].contains("Now"), "{old:?}");
    let ann = instance.person("new-york").await;
    let ride = rides::start(&ann, "new-york").await;
    let began = "SELECT unlock_minor * 1000 + per_minute_minor FROM rides";
    let before = world.count(began).await;

    for vehicle_type in ["bike", "scooter", "skateboard"] {
        let seen = seen(&operator, vehicle_type).await;
        let form = [("city", "new-york"), ("type", vehicle_type), ("seen", &seen), ("from", ""), ("unlock", "7.77")];
        let set = operator.post(PATH, &[&form[..], &[("minute", "0,9"), ("fee", "3"), ("sure", "1")]].concat()).await;
        assert_eq!(set.location(), "/fleet/tariffs?city=new-york");
    }
    let page = operator.get(PATH).await;
    assert!(page.flash().contains("price from") && page.flash().contains("up to a minute"), "{}", page.flash());
    let rows = bikes(&page);
    assert!(rows[0].contains("$7.77 $0.90 $3.00 – Now") && rows[1].ends_with("Past"), "{rows:?}");
    assert_eq!(world.count(began).await, before, "the ride under way keeps its tariff");
    assert_eq!(rides::end(&ann, &ride).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.count(began).await, before);
    rides::start(&ann, "new-york").await;
    let now = "SELECT count(*) FROM rides WHERE unlock_minor = 777 AND per_minute_minor = 90 AND ended_at IS NULL";
    assert_eq!(world.count(now).await, 1, "the next ride has the new one");

    // A price to come, in the city's zone; it can be replaced and withdrawn.
    let first = seen(&operator, "bike").await;
    assert_eq!(set(&operator, &first, "2036-07-01T10:00", ["1", "2", "3"]).await.status, StatusCode::SEE_OTHER);
    let planned = "SELECT count(*) FROM tariffs WHERE valid_from = '2036-07-01T14:00:00Z' AND per_minute_minor = ";
    assert_eq!(world.count(&format!("{planned} 200")).await, 1, "ten o'clock in New York");
    let page = operator.get(PATH).await;
    assert!(bikes(&page)[0].contains("Jul 1, 2036, 10:00 AM $1.00 $2.00 $3.00 – Scheduled"), "{:?}", bikes(&page));
    set(&operator, &seen(&operator, "bike").await, "2036-07-01T10:00", ["1", "4", "3"]).await;
    assert_eq!(world.count(&format!("{planned} 400")).await, 1, "replaced");
    let old = page;
    let page = operator.get(PATH).await;
    // The first of them: what is to come stands on top.
    let withdraw = async |page: &Page| {
        let form = "[aria-labelledby=bike] tbody tr:first-child [action$=withdraw] [type=hidden]";
        let (names, values) = (page.attributes(form, "name"), page.attributes(form, "value"));
        let fields: Vec<_> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
        operator.post("/fleet/tariffs/withdraw", &fields).await
    };
    withdraw(&old).await;
    assert!(operator.get(PATH).await.flash().contains("was changed since the page was loaded"), "the page was old");
    withdraw(&page).await;
    assert_eq!(bikes(&operator.get(PATH).await).len(), 2);
    withdraw(&page).await;
    let events = "SELECT count(*) * 1000 + count(DISTINCT version) FROM events WHERE aggregate_type = 'catalogue'
        AND region = 'us-east1' AND actor_id = (SELECT user_id FROM role_grants) AND actor_region = 'us-east1'";
    assert_eq!(world.count(events).await, 6006, "three set at once, one planned, replaced and withdrawn");
    end(world, instance).await;
}

/// By a page that was drawn before the price rose.
#[actix_web::test]
async fn nobody_rides_at_another_price_than_they_were_shown() {
    let (world, instance, operator) = scene().await;
    rides::street(&world, 10).await;
    world.set("UPDATE vehicles SET type = 'bike', code = 'B-' || substr(id::TEXT, 1, 8)").await;
    let ann = instance.person("new-york").await;
    let list = ann.get("/vehicles?city=new-york").await;
    let row = "SELECT code, lat::TEXT, lon::TEXT FROM vehicles WHERE status = 'available' LIMIT 1";
    let row = world.sql().await.query_one(row, &[]).await.unwrap();
    let [code, lat, lon]: [String; 3] = [0, 1, 2].map(|column| row.try_get(column).unwrap());
    let unlock = ann.post("/v", &[("code", &code), ("lat", &lat), ("lon", &lon)]).await;
    let names = ["region", "code", "city", "type", "ride", "price", "lat", "lon"];
    let by_code = names.map(|name| (name, unlock.attributes(&format!("main [name={name}]"), "value").remove(0)));
    let by_code: Vec<_> = by_code.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        set(&operator, &seen(&operator, "bike").await, "", ["1.50", "0.60", "15"]).await.location(),
        "/fleet/tariffs?city=new-york"
    );
    let before = world.rows().await;
    for old in [&pairs(&list.card(1)), &by_code] {
        let refused = redirect(&instance, &ann.post("/rides", old).await);
        assert!(!refused.good && refused.text.contains("The price has changed"), "{refused:?}");
    }
    assert_eq!(world.rows().await, before);
    assert!(ann.get("/vehicles?city=new-york").await.texts("#v1 .price").concat().contains("$0.60/min"));
    rides::start(&ann, "new-york").await;
    assert_eq!(world.count("SELECT per_minute_minor FROM rides").await, 60);
    end(world, instance).await;
}

#[actix_web::test]
async fn prices_are_set_by_those_who_may_and_not_over_somebody_elses_change() {
    let (world, instance, operator) = scene().await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let other = with_role(&instance, "boston", "operator", "paris").await;
    let rider = instance.person("new-york").await;
    let page = seen(&operator, "bike").await;
    let before = world.rows().await;
    for browser in [&rider, &other] {
        for answer in [
            browser.get("/fleet/tariffs?city=new-york").await,
            browser.get("/fleet/tariffs/new?city=new-york&type=bike&unlock=1&minute=1&fee=1").await,
            set(browser, &page, "", ["1", "1", "1"]).await,
            set(browser, &page, "2999-01-01T10:00", ["1", "1", "1"]).await,
        ] {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
            assert!(answer.text().contains("Only operators of this city"), "{}", answer.text());
        }
    }
    assert_eq!(rider.get(PATH).await.status, StatusCode::FORBIDDEN);
    assert_eq!(other.get(PATH).await.texts("h1"), ["Tariffs in Paris"]);
    let wrong = [
        ("2020-01-01T10:00", ["1", "1", "1"], "from-bike"),
        ("soon", ["1", "1", "1"], "from-bike"),
        ("2036-03-09T02:30", ["1", "1", "1"], "from-bike"),
        ("", ["-1", "1", "1"], "unlock-bike"),
        ("", ["1", "1.234", "1"], "minute-bike"),
        ("", ["1", "1", "much"], "fee-bike"),
    ];
    for (from, prices, field) in wrong {
        let answer = set(&operator, &page, from, prices).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{from} {prices:?}");
        assert_eq!(answer.texts(&format!("#{field}-error")).len(), 1, "{field}: {}", answer.text());
        assert_eq!(answer.attributes("#unlock-bike", "value"), [prices[0]], "kept as typed");
    }
    assert_eq!(world.rows().await, before, "none of it changed anything");

    assert_eq!(set(&admin, &seen(&admin, "bike").await, "", ["9", "1", "1"]).await.status, 303);
    let before = world.rows().await;
    set(&operator, &page, "", ["8", "1", "1"]).await;
    assert!(operator.get(PATH).await.flash().starts_with("This was changed since"));
    // The same price again is no change.
    set(&operator, &seen(&operator, "bike").await, "", ["9", "1", "1"]).await;
    assert_eq!(world.rows().await, before);

    // Without the role the very next write is refused, whatever the cookie says.
    let page = seen(&operator, "bike").await;
    world.set("DELETE FROM role_grants WHERE role = 'operator'").await;
    let before = world.rows().await;
    assert_eq!(set(&operator, &page, "", ["2", "2", "2"]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.rows().await, before);
    end(world, instance).await;
}

#[actix_web::test]
async fn what_the_browser_changed_the_catalogue_file_leaves_alone() {
    let (world, instance, operator) = scene().await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    // The file plans a tariff, which is withdrawn, and has a code, which is ended.
    let shipped = cli::migrate::SHIPPED;
    let planned = "tariffs = [\n  { city = \"new-york\", vehicle_type = \"bike\", unlock_minor = 1, per_minute_minor = 1, \
        out_of_area_fee_minor = 1, valid_from = \"2999-01-01T00:00:00Z\" },";
    assert!(shipped.contains("tariffs = [\n"));
    let file = Catalogue::parse(&shipped.replacen("tariffs = [", planned, 1)).unwrap();
    let db = movr::db::Db::open(&engine::tools(&world.database.url).database).await.unwrap();
    let clock = movr::clock::Clock::default();
    assert_eq!(movr::ops::catalogue::load(&db, &file, &clock).await.unwrap(), 1);
    instance.running.state.service.reload_catalogue().await.unwrap();
    let page = operator.get(PATH).await;
    let form = "[action$=withdraw] [type=hidden]";
    let (names, values) = (page.attributes(form, "name"), page.attributes(form, "value"));
    let fields: Vec<_> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    assert_eq!(operator.post("/fleet/tariffs/withdraw", &fields).await.status, StatusCode::SEE_OTHER);
    let page = admin.get("/admin/promo-codes").await;
    let seen = page.attributes("[aria-labelledby=WELCOME] [name=seen]", "value").remove(0);
    let end_now = [("seen", &*seen), ("until", ""), ("per_rider", ""), ("total", ""), ("end", "now")];
    assert_eq!(admin.post("/admin/promo-codes/WELCOME", &end_now).await.location(), "/admin/promo-codes");
    let before = world.rows().await;
    assert_eq!(movr::ops::catalogue::load(&db, &file, &clock).await.unwrap(), 0, "the next release");
    assert_eq!(world.rows().await, before);
    db.close();
    end(world, instance).await;
}

#[actix_web::test]
async fn while_the_catalogue_cannot_be_written_a_change_is_refused_with_that_reason() {
    let world = world().await;
    let instance = world.instance_with("us-east1", &[("MOVR_WRITE_TIMEOUT_MS", "1000")]).await;
    let operator = with_role(&instance, "boston", "operator", "new-york").await;
    let (page, holder) = (seen(&operator, "bike").await, world.sql().await);
    if instance.running.state.service.db.engine().cockroach {
        eprintln!("SKIPPED while_the_catalogue_cannot_be_written_a_change_is_refused: needs PostgreSQL (LOCK TABLE)");
    } else {
        holder.batch_execute("BEGIN; LOCK TABLE tariffs IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let answer = set(&operator, &page, "", ["1", "1", "1"]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
        assert!(answer.text().contains("The catalogue cannot be changed just now"), "{}", answer.text());
        assert!(answer.headers.contains_key("retry-after"));
        holder.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(bikes(&operator.get(PATH).await).len(), 1);
    }
    drop(holder);
    end(world, instance).await;
}

/// The lines of the confirmation.
fn lines(page: &Page) -> Vec<String> {
    page.texts("tbody tr")
}

#[actix_web::test]
async fn a_new_price_is_shown_beside_the_one_before_and_a_steep_one_takes_a_tick() {
    let (world, instance, operator) = scene().await;
    let form = operator.get(PATH).await;
    assert_eq!(form.attributes("[aria-labelledby=bike] details form", "action"), ["/fleet/tariffs/new"]);
    let before = world.rows().await;
    let ask = async |price: &str| operator.get(&format!("{PATH}/new?city=new-york&type=bike&from=&{price}")).await;
    let mild = ask("unlock=1.50&minute=0.33&fee=15&most=").await;
    let expected = [
        "Unlock $1.50 $1.50 no change",
        "Per minute $0.30 $0.33 +10%",
        "Outside the area $15.00 $15.00 no change",
        "Maximum per ride",
        "10-minute ride $4.50 $4.80 +6%",
    ];
    for (line, expected) in lines(&mild).iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert_eq!(mild.texts("[name=sure]").len(), 0);
    let steep = ask("unlock=1.50&minute=33.00&fee=15&most=").await;
    assert!(lines(&steep)[1].ends_with("$33.00 +10,900%"), "{:?}", lines(&steep));
    assert_eq!(steep.texts("[name=sure]").len(), 1, "{}", steep.text());
    assert_eq!(ask("unlock=1.50&minute=0.30&fee=50").await.texts("[name=sure]").len(), 1, "the fee as well");
    let wrong = ask("unlock=x&minute=0.30&fee=15").await;
    assert_eq!((wrong.status, wrong.texts("#unlock-bike-error").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));

    let seen = steep.field("seen");
    let fields = [("city", "new-york"), ("type", "bike"), ("seen", &*seen), ("from", ""), ("unlock", "1.50")];
    let fields = [&fields[..], &[("minute", "33.00"), ("fee", "15"), ("most", "")]].concat();
    let unsure = operator.post(PATH, &fields).await;
    assert_eq!(unsure.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", unsure.text());
    assert!(unsure.text().contains("confirm that you mean this price"), "{}", unsure.text());
    assert_eq!(world.rows().await, before, "nothing of it set a price");
    let sure = operator.post(PATH, &[&fields[..], &[("sure", "1")]].concat()).await;
    assert_eq!(sure.location(), "/fleet/tariffs?city=new-york");
    assert!(bikes(&operator.get(PATH).await)[0].contains("$33.00"));
    end(world, instance).await;
}

/// What was confirmed decides, not what the instance that gets the form remembers.
#[actix_web::test]
async fn an_instance_that_knows_an_older_price_lets_no_steep_one_pass() {
    let (world, instance, operator) = scene().await;
    let old = world.instance_with("us-east1", &[("MOVR_CATALOGUE_RELOAD_S", "3600")]).await;
    set(&operator, &seen(&operator, "bike").await, "", ["0.10", "0.05", "15"]).await;
    world.clock.advance(chrono::Duration::seconds(5));
    // As it was before, and as the other instance still knows it.
    let price = [("city", "new-york"), ("type", "bike"), ("from", ""), ("unlock", "1.50"), ("minute", "0.30")];
    let query: Vec<String> = price.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let steep = operator.get(&format!("{PATH}/new?{}&fee=15", query.join("&"))).await;
    assert_eq!(steep.texts("[name=sure]").len(), 1, "{}", steep.text());
    let before = world.rows().await;
    let seen = steep.field("seen");
    let fields = [&price[..], &[("fee", "15"), ("most", ""), ("seen", &*seen)]].concat();
    let unsure = operator.at(&old).post(PATH, &fields).await;
    assert_eq!((unsure.status, unsure.texts("[name=sure]").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1));
    assert!(lines(&unsure)[1].contains("$0.05"), "{:?}", lines(&unsure));
    assert_eq!(world.rows().await, before);
    assert_eq!(operator.at(&old).post(PATH, &[&fields[..], &[("sure", "1")]].concat()).await.status, 303);
    assert_ne!(world.rows().await, before);
    old.running.stop().await;
    end(world, instance).await;
}

#[actix_web::test]
async fn a_wrong_price_is_withdrawn_and_the_rides_that_it_charged_are_credited() {
    let (world, instance, operator) = scene().await;
    world.sample(&["new-york"], 0, 30).await;
    // One type only, so that every vehicle has the price.
    world.set("UPDATE vehicles SET type = 'bike'").await;
    let people =
        [instance.person("new-york").await, instance.person("new-york").await, instance.person("boston").await];
    rides::end(&people[0], &rides::start(&people[0], "new-york").await).await;
    world.clock.advance(chrono::Duration::seconds(5));
    assert_eq!(set(&operator, &seen(&operator, "bike").await, "", ["1.50", "33", "15"]).await.status, 303);
    world.clock.advance(chrono::Duration::seconds(5));
    let charged: Vec<String> = {
        let start = async |person: &Browser| rides::start(person, "new-york").await;
        vec![start(&people[0]).await, start(&people[1]).await, start(&people[2]).await]
    };
    rides::end(&people[0], &charged[0]).await;
    rides::end(&people[1], &charged[1]).await;

    let form = "[aria-labelledby=bike] [action$=withdraw] [type=hidden]";
    let page = operator.get(PATH).await;
    assert_eq!(page.texts("[aria-labelledby=bike] [action$=withdraw] button").len(), 1, "not the first price");
    let (names, values) = (page.attributes(form, "name"), page.attributes(form, "value"));
    let fields: Vec<_> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    let other = with_role(&instance, "boston", "operator", "boston").await;
    assert_eq!(other.post("/fleet/tariffs/withdraw", &fields).await.status, StatusCode::FORBIDDEN);
    let path = operator.post("/fleet/tariffs/withdraw", &fields).await.location();
    assert!(path.starts_with("/fleet/tariffs/credit?city=new-york&type=bike&"), "{path}");
    let page = operator.get(PATH).await;
    assert!(bikes(&page).len() == 1 && bikes(&page)[0].contains("$0.30") && bikes(&page)[0].contains("Now"));
    let again = operator.get(&operator.post("/fleet/tariffs/withdraw", &fields).await.location()).await;
    assert!(again.flash().contains("done already"), "{}", again.flash());

    // The only price there is stays.
    let only = [("city", "new-york"), ("type", "bike"), ("from", "1704067200"), ("unlock", "150"), ("minute", "30")];
    operator.post("/fleet/tariffs/withdraw", &[&only[..], &[("fee", "1500")]].concat()).await.location();
    let page = operator.get(PATH).await;
    assert!(page.flash().starts_with("This was changed since") && bikes(&page).len() == 1, "{}", page.flash());

    // Others differ in where, on what or when they began, in a part of the price, or cost nothing.
    for differs in [
        "city = 'boston'",
        "vehicle_type = 'scooter'",
        "started_at = started_at - '20 s'::INTERVAL",
        "unlock_minor = 151",
        "per_minute_minor = 3301",
        "out_of_area_minor = 1501",
        "max_charge_minor = 9999",
        "promo_code = 'WELCOME', promo_percent = 100",
    ] {
        world
            .set(&format!(
                "CREATE TABLE other AS SELECT * FROM rides WHERE per_minute_minor = 3300 AND ended_at IS NOT NULL LIMIT 1;
                 UPDATE other SET id = gen_random_uuid(), rider_region = NULL, rider_id = NULL, {differs};
                 UPDATE other SET charge_minor = unlock_minor + per_minute_minor,
                   discount_minor = CASE WHEN promo_percent IS NULL THEN 0 ELSE unlock_minor + per_minute_minor END;
                 UPDATE other SET total_minor = charge_minor - discount_minor;
                 INSERT INTO rides SELECT * FROM other; DROP TABLE other"
            ))
            .await;
    }
    world.set("UPDATE promo_quotas SET remaining = remaining - 1 WHERE region = 'us-east1' AND code = 'WELCOME'").await;
    // Two have ended: each cost 32.70 more for its minute. The one before the wrong price is none of them.
    let page = operator.get(&path).await;
    assert!(page.text().contains("2 rides cost $65.40 more"), "{}", page.text());
    let hidden = "form[action$=credit] [type=hidden]";
    let (names, values) = (page.attributes(hidden, "name"), page.attributes(hidden, "value"));
    let fields: Vec<_> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    // One that ends now was not among those that were confirmed.
    rides::end(&people[2], &charged[2]).await;
    assert_eq!(other.get(&path).await.status, StatusCode::FORBIDDEN);
    let before = world.rows().await;
    assert_eq!(other.post("/fleet/tariffs/credit", &fields).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.rows().await, before);
    let next = operator.post("/fleet/tariffs/credit", &fields).await.location();
    assert!(next.starts_with(&format!("{path}&after=")), "{next}");
    assert_eq!(operator.get(&next).await.flash(), "2 rides credited, $65.40 in all.");
    operator.post("/fleet/tariffs/credit", &fields).await;
    let page = operator.get(&path).await;
    assert_eq!(page.flash(), "That was done already.");
    assert!(page.text().contains("1 ride cost $32.70 more"), "{}", page.text());
    // However many others ended before it, a page reads a bounded number.
    world
        .set(
            "CREATE TABLE others AS SELECT rides.* FROM rides, generate_series(1, 1000)
               WHERE per_minute_minor = 3300 AND ended_at IS NOT NULL AND credited_minor = 0 AND vehicle_type = 'bike'
                 AND city = 'new-york' AND rider_id IS NOT NULL;
             UPDATE others SET id = gen_random_uuid(), rider_region = NULL, rider_id = NULL, vehicle_type = 'scooter',
               ended_at = ended_at - '1 ms'::INTERVAL;
             INSERT INTO rides SELECT * FROM others; DROP TABLE others",
        )
        .await;
    let page = operator.get(&path).await;
    assert!(page.text().contains("None of these rides cost more than before."), "{}", page.text());
    let page = operator.get(&page.attributes("nav.pages a[rel=next]", "href")[0]).await;
    assert!(page.text().contains("1 ride cost $32.70 more"), "{}", page.text());
    let receipt = people[1].get(&charged[1]).await;
    assert!(receipt.text().contains("Credit (The price was wrong) −$32.70"), "{}", receipt.text());
    assert_eq!(receipt.texts(".total"), ["$1.80"]);
    assert_eq!(world.count("SELECT count(*) FROM events WHERE action = 'ride.credited'").await, 2);
    end(world, instance).await;
}

#[actix_web::test]
async fn a_price_set_too_early_and_again_later_is_credited_only_for_before() {
    let (world, instance, operator) = scene().await;
    world.sample(&["new-york"], 0, 30).await;
    world.set("UPDATE vehicles SET type = 'bike'").await;
    let ride = async || {
        let ann = instance.person("new-york").await;
        let ride = rides::start(&ann, "new-york").await;
        world.clock.advance(chrono::Duration::seconds(5));
        (ann, ride)
    };
    let price = async |minute: &str| {
        let page = set(&operator, &seen(&operator, "bike").await, "", ["1.50", minute, "15"]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
        world.clock.advance(chrono::Duration::seconds(5));
    };
    price("33").await;
    let (ann, early) = ride().await;
    rides::end(&ann, &early).await;
    let form = "[aria-labelledby=bike] [action$=withdraw] [type=hidden]";
    let page = operator.get(PATH).await;
    let (names, values) = (page.attributes(form, "name"), page.attributes(form, "value"));
    let fields: Vec<_> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    let path = operator.post("/fleet/tariffs/withdraw", &fields).await.location();
    world.clock.advance(chrono::Duration::seconds(5));
    price("0.50").await;
    let (ann, unlearned) = ride().await;
    // By an instance that had not learned of it.
    world.set("UPDATE rides SET per_minute_minor = 3300 WHERE ended_at IS NULL").await;
    rides::end(&ann, &unlearned).await;
    price("33").await;
    let (ann, rightly) = ride().await;
    rides::end(&ann, &rightly).await;
    let before = async || operator.get(&path).await.text();
    assert!(before().await.contains("2 rides cost $65.40 more"), "{}", before().await);

    // Nor after everybody has learned of another price.
    let rightly = rightly.rsplit_once('/').unwrap().1;
    let move_on = "UPDATE rides SET started_at = started_at + '2 minutes', ended_at = ended_at + '2 minutes'";
    world.set(&format!("{move_on} WHERE id = '{rightly}'")).await;
    world.set("DELETE FROM tariffs WHERE per_minute_minor = 3300; UPDATE catalogue SET version = version + 1").await;
    instance.running.state.service.reload_catalogue().await.unwrap();
    assert!(before().await.contains("2 rides cost $65.40 more"), "{}", before().await);

    // What ended before the price began, or so late that it began after it, is not read at all.
    let late = unlearned.rsplit_once('/').unwrap().1;
    world.set(&format!("UPDATE rides SET ended_at = '2096-01-01T00:00:00Z' WHERE id = '{late}'")).await;
    assert!(before().await.contains("1 ride cost $32.70 more"), "{}", before().await);
    world.set(&format!("UPDATE rides SET ended_at = started_at + '5 seconds' WHERE id = '{late}'")).await;
    let early = early.rsplit_once('/').unwrap().1;
    world.set(&format!("UPDATE rides SET ended_at = '2026-01-01T00:00:00Z' WHERE id = '{early}'")).await;
    let from = format!("{path}&after=1577836800000000~{}", uuid::Uuid::max());
    for page in [operator.get(&path).await, operator.get(&from).await] {
        assert!(page.text().contains("1 ride cost $32.70 more"), "{}", page.text());
    }
    world.set("UPDATE rides SET ended_at = started_at + '5 seconds'").await;
    end(world, instance).await;
}
