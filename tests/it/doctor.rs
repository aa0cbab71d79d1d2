//! `movr doctor`: nothing to say about a healthy deployment, and of each broken one what is broken,
//! and nothing else.

use chrono::{Datelike, Days};
use movr::db;
use serde_json::Value;

use crate::{
    rights::{drop_role, role},
    support::{
        World,
        process::movr,
        standin::{Answer, StandIn, stands_before},
        world,
    },
    tls,
};

/// What only a real cluster with regions has.
const OF_CLUSTERS: [&str; 2] = ["licence", "survival"];

/// The findings of one run: level, check, and all of its words.
struct Report(Vec<[String; 3]>);

impl Report {
    /// The checks with a finding of this level, but for those that the engine decides.
    fn of(&self, level: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|[found, check, _]| found == level && !OF_CLUSTERS.contains(&check.as_str()));
        found.map(|[_, check, _]| check.as_str()).collect()
    }

    #[track_caller]
    fn says(&self, level: &str, check: &str, words: &[&str]) {
        let found = self.0.iter().filter(|[l, c, _]| l == level && c == check).map(|[.., text]| text);
        let all: Vec<&String> = found.collect();
        assert!(all.iter().any(|text| words.iter().all(|word| text.contains(word))), "{words:?} in {all:?}");
    }
}

/// Settings of an instance behind a load balancer.
const BEHIND: [(&str, &str); 3] = [
    ("MOVR_PUBLIC_URL", "https://movr.test"),
    ("MOVR_TRUSTED_PROXIES", "10.0.0.0/8"),
    ("MOVR_CLIENT_CITY_HEADER", "X-Client-City"),
];

async fn doctor(world: &World, settings: &[(&str, &str)], arguments: &[&str]) -> Report {
    let vars = world.vars("us-east1", &[&BEHIND, settings].concat());
    let vars: Vec<_> = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ended = movr(&[&["doctor", "--json"], arguments].concat(), &vars).await;
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
    let found = report["findings"].as_array().unwrap().iter().map(|finding| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let (level, advice) = (text("level"), text("advice"));
        assert_eq!(level == "ok", advice.is_empty(), "whatever is wrong comes with advice: {finding}");
        [level, text("check"), format!("{} {} {advice}", text("about"), text("text"))]
    });
    let found: Vec<_> = found.collect();
    let faults = found.iter().filter(|[level, ..]| level == "fault").count();
    assert_eq!(report["faults"], faults);
    assert_eq!(ended.code, Some(i32::from(faults > 0)), "{ended:?}");
    assert!(!ended.out.contains("a%20walk") && !ended.err.contains("a%20walk"), "the password");
    Report(found)
}

#[actix_web::test]
async fn a_healthy_deployment_and_one_whose_role_lacks_a_privilege() {
    let world = world().await;
    let (role, url) = role(&world).await;
    let all =
        ["DATABASE_URL", "MOVR_DATABASE_URL_US_WEST1", "MOVR_DATABASE_URL_EUROPE_WEST1"].map(|name| (name, &*url));
    let headers = ["--header", "X-Client-City: Boston", "--header", "X-Forwarded-For: 203.0.113.9, 10.1.2.3"];
    let report = doctor(&world, &all, &headers).await;
    assert_eq!((report.of("fault"), report.of("warning")), (vec![], vec![]), "{:?}", report.0);
    report.says("ok", "nodes", &["us-east1", "answers in"]);
    report.says("ok", "nodes", &["us-west1", "answers in"]);
    report.says("ok", "schema", &[&format!("at version {}", db::migrate::newest())]);
    report.says("ok", "privileges", &["events"]);
    report.says("ok", "headers", &["203.0.113.9"]);
    report.says("ok", "headers", &["Boston", "in this region"]);

    // Somebody in Paris should not be here.
    let report = doctor(&world, &all, &["--header", "X-Client-City: Paris", "--header", "X-Forwarded-For: ?"]).await;
    assert_eq!(report.of("fault"), ["headers"], "{:?}", report.0);
    report.says("warning", "headers", &["Paris is in europe-west1", "http://localhost:8082"]);
    report.says("fault", "headers", &["holds what is no address"]);

    world.sql().await.batch_execute(&format!("REVOKE INSERT ON rides FROM {role}")).await.unwrap();
    world.sql().await.batch_execute(&format!("GRANT DELETE ON events TO {role}")).await.unwrap();
    let report = doctor(&world, &all, &[]).await;
    assert_eq!(report.of("fault"), ["privileges"], "{:?}", report.0);
    report.says("fault", "privileges", &["rides INSERT", "movr migrate --roles"]);
    world.sql().await.batch_execute(&format!("GRANT INSERT ON rides TO {role}")).await.unwrap();
    doctor(&world, &all, &[]).await.says("warning", "privileges", &["more than", "events DELETE"]);
    world.sql().await.batch_execute(&format!("REVOKE DELETE ON events FROM {role}")).await.unwrap();
    world.sql().await.batch_execute(&format!("GRANT CREATE ON SCHEMA public TO {role}")).await.unwrap();
    doctor(&world, &all, &[]).await.says("warning", "privileges", &["more than", "public CREATE"]);
    drop_role(&world, &role).await;
    world.end().await;
}

#[actix_web::test]
async fn an_old_schema_and_a_pooler_that_drops_settings() {
    let world = world().await;
    if !stands_before(&world.database.url, "an_old_schema_and_a_pooler_that_drops_settings") {
        return world.end().await;
    }
    let stand_in = StandIn::postgres(&world.database.url).await;
    let name = world.database.url.split('?').next().unwrap().rsplit('/').next().unwrap();
    let url = stand_in.url(name);
    let settings = [("DATABASE_URL", &*url)];
    assert_eq!(doctor(&world, &settings, &[]).await.of("fault"), Vec::<&str>::new(), "as it is");

    stand_in.drop_options(Some("statement_timeout"));
    let report = doctor(&world, &settings, &[]).await;
    // The pages' connections are refused for the same reason.
    assert_eq!(report.of("fault"), ["session", "catalogue"], "{:?}", report.0);
    report.says("fault", "session", &["statement_timeout", "PgBouncer"]);
    stand_in.drop_options(None);

    stand_in.answer("FROM refinery_schema_history", Answer::Rows(vec!["5".to_owned()]));
    let report = doctor(&world, &settings, &[]).await;
    assert_eq!(report.of("fault"), ["schema"], "{:?}", report.0);
    report.says("fault", "schema", &["at version 5", "run `movr migrate`"]);
    stand_in.answer("FROM refinery_schema_history", Answer::Rows(vec!["1000000".to_owned()]));
    doctor(&world, &settings, &[]).await.says("warning", "schema", &["roll-back"]);
    drop(stand_in);
    world.end().await;
}

#[actix_web::test]
async fn nodes_of_another_region_and_a_cluster_whose_licence_ends() {
    let world = world().await;
    if !stands_before(&world.database.url, "nodes_of_another_region_and_a_cluster_whose_licence_ends") {
        return world.end().await;
    }
    let stand_in = StandIn::cockroach(&world.database.url, &["europe-west1", "us-west1"]).await;
    let name = world.database.url.split('?').next().unwrap().rsplit('/').next().unwrap();
    let (url, licence) = (stand_in.url(name), "seconds_until_enterprise_license_expiry");
    let west = url.replace(&format!(":{}/", stand_in.port), &format!(":{}/", stand_in.port + 1));
    let settings = [("DATABASE_URL", &*url), ("MOVR_DATABASE_URL_US_WEST1", &*west)];
    let rows = |text: &str| Answer::Rows(vec![text.to_owned()]);
    stand_in.answer("SHOW SURVIVAL GOAL", rows("zone"));
    stand_in.answer(licence, rows("7776000"));
    let report = doctor(&world, &settings, &[]).await;
    assert_eq!(report.of("fault"), ["region"], "{:?}", report.0);
    report.says("fault", "region", &["us-east1", "it is in europe-west1", "--locality=region=us-east1"]);
    report.says("warning", "nodes", &["europe-west1", "MOVR_DATABASE_URL_EUROPE_WEST1"]);
    report.says("ok", "licence", &["until 20"]);
    report.says("ok", "survival", &["failure of a zone"]);

    for (seconds, level, words) in [
        ("0", "warning", "none: after seven days"),
        ("864000", "warning", "in 9 days"),
        ("-90000", "fault", "it ended on"),
        ("-18000", "fault", "it ended on"),
    ] {
        stand_in.answer(licence, rows(seconds));
        doctor(&world, &settings, &[]).await.says(level, "licence", &[words, "enterprise.license"]);
    }
    stand_in.answer(licence, Answer::Error("42501", "no".to_owned()));
    stand_in.answer("SHOW SURVIVAL GOAL", Answer::Error("42P16", "no".to_owned()));
    let report = doctor(&world, &settings, &[]).await;
    report.says("warning", "licence", &["does not tell this user"]);
    report.says("fault", "survival", &["single-region schema", "movr migrate"]);
    // A database with regions, but without that of the instance, and whose tables are not known.
    stand_in.answer("count(*)::TEXT FROM [SHOW REGIONS FROM DATABASE]", rows("2"));
    stand_in.answer("string_agg(region, ',')", rows("us-west1,europe-west1"));
    stand_in.answer("SHOW TABLES", rows("nothing"));
    let report = doctor(&world, &settings, &[]).await;
    report.says("fault", "catalogue", &["us-east1 is not a region of the database"]);
    report.says("fault", "localities", &["rides: missing"]);
    // A clock that is ten minutes ahead.
    let ahead = (world.clock.now().timestamp_millis() + 600_000).to_string();
    stand_in.answer("clock_timestamp()", rows(&ahead));
    doctor(&world, &settings, &[]).await.says("fault", "clock", &["ahead of ours", "chrony"]);
    drop(stand_in);
    world.end().await;
}

#[actix_web::test]
async fn no_tls_where_it_is_asked_for_and_none_on_the_way_to_another_machine() {
    let world = world().await;
    let (server, authority, folder) = tls::serve(tls::FAR).await;
    let root = folder.file("root.crt", &authority.pem());
    let report =
        doctor(&world, &[("DATABASE_URL", "postgresql://movr:a%20walk@db.invalid/movr?sslmode=disable")], &[]).await;
    assert_eq!(report.of("fault"), ["tls", "nodes", "nodes"], "{:?}", report.0);
    report.says("fault", "tls", &["in the clear", "sslmode=verify-full"]);

    let encrypted = tls::by_name(&server, "postgres", &format!("sslmode=verify-full&sslrootcert={root}"));
    let report = doctor(&world, &[("DATABASE_URL", &encrypted)], &[]).await;
    report.says("ok", "tls", &["the certificate ends on 2099-01-01"]);
    report.says("fault", "schema", &["at version 0"]);
    assert_eq!(report.of("fault"), ["schema"], "{:?}", report.0);

    let asked = world.database.url.replace("sslmode=disable", &format!("sslmode=verify-full&sslrootcert={root}"));
    if asked != world.database.url {
        let report = doctor(&world, &[("DATABASE_URL", &asked)], &[]).await;
        assert_eq!(report.of("fault"), ["nodes", "nodes"], "{:?}", report.0);
        report.says("fault", "nodes", &["does not speak TLS"]);
    }
    server.stop().await.unwrap();

    let end = world.clock.now().date_naive() + Days::new(1);
    let day = [end.month(), end.day()].map(|part| u8::try_from(part).unwrap());
    let (server, authority, folder) = tls::serve((end.year(), day[0], day[1])).await;
    let root = folder.file("root.crt", &authority.pem());
    let ends = tls::by_name(&server, "postgres", &format!("sslmode=verify-full&sslrootcert={root}"));
    doctor(&world, &[("DATABASE_URL", &ends)], &[]).await.says("fault", "tls", &["in 0 days", "renew it"]);
    server.stop().await.unwrap();
    world.end().await;
}

#[actix_web::test]
async fn settings_that_are_missing_or_wrong_and_regions_that_do_not_exist() {
    let world = world().await;
    let report = doctor(&world, &[("MOVR_SECRET_KEYS", ""), ("MOVR_POOL_SIZE", "many")], &[]).await;
    assert_eq!(report.of("fault"), ["configuration", "configuration"], "{:?}", report.0);
    report.says("fault", "configuration", &["MOVR_SECRET_KEYS", "is not set"]);
    let mars = [("MOVR_DATABASE_URL_MARS_NORTH1", &*world.database.url), ("MOVR_TRUSTED_PROXIES", "")];
    let report = doctor(&world, &mars, &["--header", "X-Client-City: Paris"]).await;
    assert_eq!(report.of("fault"), ["catalogue", "headers"], "{:?}", report.0);
    report.says("fault", "catalogue", &["mars-north1 is not in the catalogue", "MOVR_DATABASE_URL_MARS_NORTH1"]);
    report.says("warning", "configuration", &["all clients behind the load balancer count as one"]);
    let http = doctor(&world, &[("MOVR_PUBLIC_URL", "http://movr.test")], &[]).await;
    http.says("warning", "configuration", &["cookies are sent in the clear"]);
    world.end().await;
}

/// The kernel accepts connections for a listener that nobody asks for them.
#[actix_web::test]
async fn nodes_that_say_nothing_do_not_hold_it_and_a_region_without_nodes_is_a_fault() {
    let world = world().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let west = format!("postgresql://movr@127.0.0.1:{port},127.0.0.1:{port}/movr?sslmode=disable");
    let settings =
        [("MOVR_DATABASE_URL_US_WEST1", &*west), ("MOVR_CONNECT_TIMEOUT_MS", "300"), ("MOVR_WRITE_TIMEOUT_MS", "500")];
    let began = std::time::Instant::now();
    let report = doctor(&world, &settings, &[]).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(report.of("fault"), ["nodes"], "{:?}", report.0);
    report.says("warning", "nodes", &["us-west1", "does not answer"]);
    report.says("fault", "nodes", &["us-west1", "none of its 2 nodes answers"]);
    world.end().await;
}
