//! Revenue of a city by day, month, type and vehicle, on the page and as a file: the same numbers as
//! the rides', for operators of the city and for administrators.

use reqwest::StatusCode;
use serde_json::json;

use super::{rides, tariffs::with_role};
use crate::support::{rows::pairs, world};

const PATH: &str = "/fleet/revenue?city=new-york";

#[actix_web::test]
async fn revenue_is_grouped_on_the_page_and_in_the_file_and_adds_up() {
    let world = world().await;
    world.sample(&["new-york"], 0, 20).await;
    let instance = world.instance("us-east1").await;
    let operator = with_role(&instance, "boston", "operator", "new-york").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let other = with_role(&instance, "boston", "operator", "boston").await;
    operator.get("/profile").await;
    let ann = instance.person("new-york").await;
    assert!(operator.get(PATH).await.text().contains("No rides ended in this period."));
    for _ in 0..4 {
        rides::end(&ann, &rides::start(&ann, "new-york").await).await;
        // Another vehicle for the next ride.
        world.set("UPDATE vehicles SET status = 'lost' WHERE id IN (SELECT vehicle_id FROM rides)").await;
    }
    let wrong = operator.get(&format!("{PATH}&from=2026-03-02&to=2026-03-01&by=type&after=zzz&currency=ZZZ")).await;
    assert_eq!((wrong.status, wrong.texts("tbody tr").len()), (StatusCode::UNPROCESSABLE_ENTITY, 1), "this month's");
    assert_eq!(wrong.attributes("a[download]", "href"), ["/fleet/revenue.csv?city=new-york"]);
    assert_eq!(wrong.attributes("nav.pages a", "href"), [""; 0]);
    assert_eq!([wrong.field("from"), wrong.field("to")], ["2026-03-02", "2026-03-01"], "what was typed is kept");
    assert_eq!(wrong.attributes("[name=by] [selected]", "value"), ["type"]);
    // Half an hour before midnight in New York, half an hour after it, a month before; and half an hour after
    // midnight in summer, by another currency.
    let ends = ["2026-03-02T04:30:00Z", "2026-03-02T05:30:00Z", "2026-02-10T12:00:00Z", "2026-03-09T04:30:00Z"];
    for (n, at) in ends.iter().enumerate() {
        let id = "(SELECT id FROM rides WHERE ended_at > '2026-06-01' ORDER BY id LIMIT 1)";
        let currency = if n == 3 { "EUR" } else { "USD" };
        world
            .set(&format!(
                "UPDATE rides SET started_at = '{at}'::TIMESTAMPTZ - '1 minute'::INTERVAL, ended_at = '{at}',
               currency = '{currency}' WHERE id = {id}"
            ))
            .await;
    }
    let ride = "SELECT id::TEXT FROM rides WHERE ended_at = '2026-03-02T05:30:00Z'";
    let ride: String = world.sql().await.query_one(ride, &[]).await.unwrap().try_get(0).unwrap();
    let form = [("command", &*ride), ("city", "new-york"), ("seen", "0"), ("amount", "0.50"), ("reason", "goodwill")];
    operator.post(&format!("/fleet/rides/us-east1/{ride}/credit"), &form).await.location();

    let period = "from=2026-02-01&to=2026-03-31";
    let total = async |currency: &str| {
        world
            .count(&format!("SELECT sum(total_minor - credited_minor)::INT8 FROM rides WHERE currency = '{currency}'"))
            .await
    };
    let (usd, eur) = (total("USD").await, total("EUR").await);
    for (by, keys) in [
        ("day", &["Tue, Feb 10, 2026", "Sun, Mar 1, 2026", "Mon, Mar 2, 2026", "Mon, Mar 9, 2026"][..]),
        ("month", &["February 2026", "March 2026", "March 2026"]),
        ("type", &[]),
        ("vehicle", &[]),
    ] {
        let page = operator.get(&format!("{PATH}&{period}&by={by}")).await;
        assert_eq!((page.status, page.timing()), (StatusCode::OK, (2, 1)), "{}", page.text());
        let shown = page.texts("tbody th");
        assert!(keys.is_empty() || shown == keys, "{shown:?}");
        let totals = page.texts("tfoot tr");
        let amount = |minor: i64, sign: &str| format!("{sign}{}.{:02}", minor / 100, minor % 100);
        assert!(totals[0].starts_with("Total 1 ") && totals[0].ends_with(&amount(eur, "€")), "{totals:?}");
        assert!(totals[1].starts_with("Total 3 ") && totals[1].ends_with(&amount(usd, "$")), "{totals:?}");
        assert!(totals[1].contains("$0.50"), "the credit: {totals:?}");
        let file = operator.get(&page.attributes("a[download]", "href").remove(0)).await;
        assert_eq!(file.headers["content-type"], "text/csv; charset=utf-8");
        assert_eq!(
            file.headers["content-disposition"],
            "attachment; filename=\"movr-new-york-revenue-2026-02-01-2026-03-31.csv\""
        );
        let mut lines = file.body.split_terminator("\r\n");
        let head = format!("\u{feff}{by},vehicle_code,currency,rides,fares,discounts,fees,credits,revenue");
        assert_eq!(lines.next(), Some(&*head));
        let cells: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert_eq!(cells.len(), shown.len(), "{by}");
        let sum = |currency: &str| -> i64 {
            let of = cells.iter().filter(|line| line[2] == currency);
            of.map(|line| line[8].replace('.', "").parse::<i64>().unwrap()).sum()
        };
        assert_eq!((sum("USD"), sum("EUR")), (usd, eur), "{by}");
    }
    // The last day is included, and the days are New York's.
    let day = operator.get(&format!("{PATH}&from=2026-03-01&to=2026-03-01")).await;
    assert_eq!(day.texts("tbody th"), ["Sun, Mar 1, 2026"]);
    for wrong in ["from=2026-03-02&to=2026-03-01", "from=2020-01-01&to=2026-01-01", "from=soon", "by=rider"] {
        for path in [PATH, "/fleet/revenue.csv?city=new-york"] {
            let page = operator.get(&format!("{path}&{wrong}")).await;
            let alerts = page.texts("[role=alert]").len();
            assert_eq!((page.status, alerts), (StatusCode::UNPROCESSABLE_ENTITY, 1), "{path}&{wrong}");
            assert!(!page.headers.contains_key("content-disposition"), "{path}: a page, not a file");
        }
    }
    assert_eq!(admin.get(PATH).await.status, StatusCode::OK);
    let many = "INSERT INTO rides (region, id, city, vehicle_id, vehicle_type, started_at, start_lat, start_lon, start_place, currency,
            unlock_minor, per_minute_minor, out_of_area_minor, ended_at, end_lat, end_lon, end_place, outside_area, distance_m,
            minutes, charge_minor, discount_minor, fee_minor, total_minor, version)
        SELECT r.region, gen_random_uuid(), r.city, gen_random_uuid(), r.vehicle_type, '2025-05-05', r.start_lat, r.start_lon, '',
            r.currency, 1, 1, 0, '2025-05-05 00:01:00', r.end_lat, r.end_lon, '', FALSE, 0, 1, 2, 0, 0, 2, 1
        FROM generate_series(1, 20003) AS n, (SELECT * FROM rides LIMIT 1) AS r";
    world.set(many).await;
    let period = "from=2025-05-01&to=2025-05-31&by=vehicle";
    let file = operator.get(&format!("/fleet/revenue.csv?city=new-york&{period}")).await.body;
    let keys: Vec<&str> = file.split_terminator("\r\n").skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert!(keys.len() == 20_003 && keys.is_sorted() && keys[19_999] < keys[20_000], "more than is sent at once");
    let first = operator.get(&format!("{PATH}&{period}")).await;
    let next = operator.get(&first.attributes("nav.pages a[rel=next]", "href")[0]).await;
    assert_eq!([&first, &next].map(|page| page.texts("tbody th").len()), [50, 50]);
    assert_ne!(first.attributes("tbody a", "href"), next.attributes("tbody a", "href"));
    assert_eq!(first.texts("tfoot tr"), next.texts("tfoot tr"), "of all vehicles");
    assert!(next.texts("tfoot tr")[0].contains("20,003"), "{:?}", next.texts("tfoot tr"));
    world.set("DELETE FROM rides WHERE ended_at < '2026-01-01'").await;
    for page in ["/fleet/revenue", "/fleet/revenue.csv"] {
        for browser in [&ann, &other] {
            assert_eq!(browser.get(&format!("{page}?city=new-york")).await.status, StatusCode::FORBIDDEN);
        }
    }
    world.set("UPDATE vehicles SET status = 'available' WHERE id IN (SELECT vehicle_id FROM rides)").await;
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn figures_that_a_policy_keeps_at_home_are_refused_with_the_rule() {
    let world = world().await;
    world.sample(&["paris"], 0, 10).await;
    world.set("UPDATE residency_policies SET analytics = false; UPDATE catalogue SET version = version + 1").await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let operator = with_role(&east, "boston", "operator", "paris").await;
    let admin = with_role(&east, "boston", "administrator", "").await;
    let rider = east.person("boston").await;
    let noted = "SELECT count(*) FROM events WHERE action = 'residency.figures_refused' AND region = 'us-east1'";
    for (n, page) in (1..).zip(["/fleet/revenue?city=paris", "/fleet/revenue.csv?city=paris"]) {
        let refused = operator.get(page).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
        assert!(refused.text().contains("(rule analytics)"), "{}", refused.text());
        assert_eq!(world.count(noted).await, n);
        assert_eq!(rider.get(page).await.status, StatusCode::FORBIDDEN);
        assert_eq!(operator.at(&europe).get(page).await.status, StatusCode::OK, "in its own jurisdiction");
        assert_eq!(admin.get(&page.replace("paris", "seattle")).await.status, StatusCode::OK, "the same law");
    }
    assert_eq!(world.count(noted).await, 2, "riders leave no trace");
    let status: serde_json::Value = serde_json::from_str(&operator.get("/status.json").await.body).unwrap();
    assert_eq!(status["residencyRefusals"], json!({ "analytics": 2 }));
    let codes = admin.get("/admin/promo-codes").await;
    let words = codes.texts("[aria-labelledby=WELCOME]").remove(0);
    let card = rider.get("/vehicles?city=paris").await.card(1);
    let started = rider.post("/rides", &[&pairs(&card)[..], &[("promo", "WELCOME")]].concat()).await;
    assert!(started.location().starts_with("/rides/europe-west1/"), "{}", started.location());
    for (instance, rides) in [(&east, 0), (&europe, 1)] {
        let file = admin.at(instance).get("/admin/promo-codes/WELCOME/rides.csv").await.body;
        assert_eq!(file.matches("WELCOME,europe-west1,paris,").count(), rides, "{file}");
    }
    assert!(words.contains("not known") && words.contains(" used"), "{words}");
    assert!(codes.text().contains("in EU (rule analytics)"), "{}", codes.text());
    for instance in [east, europe] {
        instance.running.stop().await;
    }
    world.end().await;
}
