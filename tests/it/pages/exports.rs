//! Files that operators take away: whole, in the order of codes, neutral to spreadsheets;
//! for operators of the city alone; and riders only where their region's law and policy
//! allow it, each refusal with its rule, an event and a count.

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Browser, World, app::Instance, html::Page, rows::Rows, world};

/// A person at home in Boston who operates the fleets of `cities`.
async fn operator(instance: &Instance, cities: &[&str]) -> Browser {
    let person = instance.person("boston").await;
    for city in cities {
        movr::ops::accounts::grant(&instance.running.state.service.db, &person.name, "operator", city).await.unwrap();
    }
    person
}

async fn end(world: World, instances: Vec<Instance>) {
    for instance in instances {
        instance.running.stop().await;
    }
    world.end().await;
}

fn is_file(page: &Page, name: &str) {
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert_eq!(page.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(page.headers["content-disposition"], format!("attachment; filename=\"{name}\"").as_str());
    assert_eq!(page.headers["cache-control"], "no-store");
}

#[actix_web::test]
async fn an_export_has_every_vehicle_once_in_the_order_of_codes() {
    let world = world().await;
    world.sample(&["boston"], 2, 1_300).await;
    world.set("UPDATE vehicles SET code = 'Z-' || left(id::TEXT, 8) WHERE code IS NULL AND status <> 'retired'").await;
    world.set("UPDATE vehicles SET code = NULL WHERE id IN (SELECT id FROM vehicles ORDER BY id LIMIT 3)").await;
    let text = "UPDATE vehicles SET code = '=cmd|''/c calc''!A1', note = '@SUM(1)', brand = '+x', place = E'\\t-1'
        WHERE id = (SELECT max(id::TEXT)::UUID FROM vehicles)";
    world.set(text).await;
    let instance = world.instance("us-east1").await;
    let person = operator(&instance, &["boston"]).await;
    let file = person.get("/fleet/export.csv?city=boston").await;
    is_file(&file, "movr-boston-vehicles.csv");
    let mut lines = file.body.split_terminator("\r\n");
    assert_eq!(lines.next(), Some("\u{feff}code,type,brand,colour,battery,lat,lon,place,note,id"));
    let codes: Vec<&str> = lines.clone().map(|line| line.split(',').next().unwrap()).collect();
    let all = world.count("SELECT count(*) FROM vehicles WHERE city = 'boston' AND status <> 'retired'").await;
    assert_eq!(codes.len(), usize::try_from(all).unwrap());
    assert!(all > 1_000, "several chunks: {all}");
    assert_eq!(codes[..4].iter().filter(|code| code.is_empty()).count(), 3, "those without a code come first");
    let mut seen: Vec<&&str> = codes[3..].iter().collect();
    seen.dedup();
    assert_eq!(seen.len(), codes.len() - 3, "none twice");
    let line = lines.clone().find(|line| line.contains("cmd")).unwrap();
    let cells: Vec<&str> = line.split(',').collect();
    assert_eq!((cells[0], cells[2], cells[7], cells[8]), ("'=cmd|'/c calc'!A1", "'+x", "'\t'-1", "'@SUM(1)"));
    assert!(cells[6].starts_with("-7"), "a number stays one: {}", cells[6]);

    // The filters of the list; each number is the database's.
    world.set("UPDATE vehicles SET battery = 7, seen_at = seen_at - '3 days'::INTERVAL WHERE code < 'Z-8'").await;
    for (query, condition) in [
        ("status=maintenance", "status = 'maintenance'"),
        ("status=retired", "status = 'retired'"),
        ("type=bike&battery=50", "type = 'bike' AND battery < 50 AND status <> 'retired'"),
        ("idle=60", "seen_at <= now() - '60 hours'::INTERVAL AND status <> 'retired'"),
        ("code=z-1", "code LIKE '%Z-1%' AND status <> 'retired'"),
        ("code=%25&status=&battery=", "code LIKE '%$%%' ESCAPE '$'"),
    ] {
        let expected =
            world.count(&format!("SELECT count(*) FROM vehicles WHERE city = 'boston' AND {condition}")).await;
        let file = person.get(&format!("/fleet/export.csv?city=boston&{query}")).await;
        assert_eq!(file.body.lines().count(), usize::try_from(expected).unwrap() + 1, "{query}");
    }
    for path in ["/fleet/export.csv", "/fleet/qr"] {
        let page = person.get(&format!("{path}?city=boston&battery=x")).await;
        assert_eq!(
            (page.status, page.texts("h1")),
            (StatusCode::UNPROCESSABLE_ENTITY, vec!["Fleet of Boston".to_owned()])
        );
        assert_eq!(page.texts("#battery-error"), ["Please enter a whole number from 1 to 100."], "{path}");
        assert!(!page.headers.contains_key("content-disposition"), "{path}: a page, not a file");
    }
    assert_eq!(person.get("/fleet/export.csv?city=atlantis").await.status, StatusCode::NOT_FOUND);
    end(world, vec![instance]).await;
}

#[actix_web::test]
async fn files_are_for_operators_of_the_city_alone() {
    let world = world().await;
    world.sample(&["boston"], 2, 10).await;
    let instance = world.instance("us-east1").await;
    let (rider, other) = (operator(&instance, &[]).await, operator(&instance, &["new-york"]).await);
    let before = world.rows().await;
    let file = b"code,type,brand,colour\nB-1,bike,Own,red\n";
    for person in [&rider, &other] {
        let import = "/fleet/import?city=boston";
        let mut answers = vec![person.upload(import, file).await, person.get(import).await];
        for file in ["riders", "export", "revenue"] {
            let refused = person.get(&format!("/fleet/{file}.csv?city=boston")).await;
            assert_eq!(refused.timing(), (1, 1), "{file}: the session alone");
            answers.push(refused);
        }
        for answer in answers {
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            assert!(answer.text().contains("Only operators of this city may do this."), "{}", answer.text());
        }
    }
    let refused = rider.get("/fleet/audit.csv").await;
    assert_eq!((refused.status, refused.timing()), (StatusCode::FORBIDDEN, (1, 1)));
    assert_eq!(rider.get("/fleet/import").await.status, StatusCode::FORBIDDEN);
    assert!(other.get("/fleet/import").await.text().contains("Import and export: New York"));
    let events = |rows: &Rows| (rows["vehicles"].clone(), rows["jobs"].clone(), rows["events"].clone());
    assert_eq!(events(&world.rows().await), events(&before));
    end(world, vec![instance]).await;
}

#[actix_web::test]
async fn riders_are_exported_only_where_their_law_and_policy_allow_it() {
    let world = world().await;
    world.sample(&["boston", "paris"], 700, 3).await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let person = operator(&east, &["boston", "paris"]).await;
    let file = person.get("/fleet/riders.csv?city=boston").await;
    is_file(&file, "movr-boston-riders.csv");
    let at_home = world.count("SELECT count(*) FROM users WHERE city = 'boston'").await;
    assert_eq!(file.body.lines().count(), usize::try_from(at_home).unwrap() + 1);
    assert!(file.body.starts_with("\u{feff}username,first_name,last_name,since\r\n"), "{}", &file.body[..60]);
    assert!(file.body.contains(&format!("\r\n{},Pat,Doe,2", person.name)));

    let paris = "/fleet/riders.csv?city=paris";
    let abroad = person.at(&europe);
    for (browser, rule) in [(&person, "jurisdiction"), (&abroad, "operator_export")] {
        let page = browser.get(paris).await;
        assert_eq!(page.status, StatusCode::CONFLICT, "{}", page.text());
        assert!(page.text().contains(&format!("(rule {rule})")), "{}", page.text());
        assert!(!page.body.contains("Doe"), "no name of anybody");
        let noted = format!(
            "SELECT count(*) FROM events WHERE aggregate_type = 'residency_refusal' AND region = 'us-east1'
               AND action = 'residency.export_refused' AND metadata = '{}'
               AND actor_id = (SELECT id FROM users WHERE username = '{}')",
            json!({ "rule": rule, "to": "europe-west1" }),
            person.name,
        );
        assert_eq!(world.count(&noted).await, 1, "{rule}");
        let status: serde_json::Value = serde_json::from_str(&browser.get("/status.json").await.body).unwrap();
        assert_eq!(status["residencyRefusals"], json!({ rule: 1 }));
    }
    let page = person.get("/fleet/import?city=paris").await;
    assert!(page.text().contains("(rule jurisdiction)"), "{}", page.text());
    assert_eq!(page.attributes("a[href^=\"/fleet/riders.csv\"]", "href"), [""; 0]);

    // Whoever is no operator learns nothing of rules, and leaves no trace.
    let rider = east.person("boston").await;
    assert_eq!(rider.get(paris).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.count("SELECT count(*) FROM events WHERE aggregate_type = 'residency_refusal'").await, 2);
    // Where the policy allows it, an instance of that law may.
    world.set("UPDATE residency_policies SET operator_export = TRUE WHERE region = 'europe-west1'").await;
    world.set("UPDATE catalogue SET version = version + 1").await;
    for instance in [&east, &europe] {
        instance.running.state.service.reload_catalogue().await.unwrap();
    }
    is_file(&abroad.get(paris).await, "movr-paris-riders.csv");
    assert!(person.get(paris).await.text().contains("(rule jurisdiction)"));
    end(world, vec![east, europe]).await;
}
