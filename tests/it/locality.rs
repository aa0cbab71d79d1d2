//! `movr verify-locality`: on PostgreSQL every statement keeps its reach, and none does
//! any more with a region condition cut out, a cascade beside it, or another reach
//! declared. The reader of CockroachDB's plans is tested on recorded outputs
//! (`crdb-samples`), and on what they become when one word is changed.

use movr::{
    cli::verify_locality::outcome,
    db::{
        self, all_statements,
        locality::{Access, Gateway, How, Index, PlanVerdict, Schema, StatementCheck, cockroach, judge, region_of},
        statement::{CITY_CHECKED, Reach, Statement},
    },
};
use serde_json::Value;

use crate::support::{World, engine, process, world};

async fn gateway(world: &World) -> Gateway {
    gateway_with(world, "").await
}

/// Whose sessions have these further settings.
async fn gateway_with(world: &World, options: &str) -> Gateway {
    let url = &world.database.url;
    let url = if options.is_empty() { url.clone() } else { format!("{url}&options={}", options.replace(' ', "%20")) };
    Gateway::open(&db::endpoint(&engine::tools(&url).database, &url).unwrap()).await.unwrap()
}

/// Whether the server makes PostgreSQL's plans; says so if not.
fn tells_plans(gateway: &Gateway, name: &str) -> bool {
    if gateway.engine.cockroach {
        eprintln!("SKIPPED {name}: needs PostgreSQL");
    }
    !gateway.engine.cockroach
}

async fn check_all(gateway: &mut Gateway) -> Vec<StatementCheck> {
    let mut all = Vec::new();
    for statement in all_statements() {
        all.push(gateway.check(statement).await.unwrap());
    }
    all
}

fn broken(all: &[StatementCheck]) -> Vec<&'static str> {
    all.iter().filter(|checked| checked.verdict == PlanVerdict::Breach).map(|checked| checked.statement).collect()
}

fn registered(name: &str) -> &'static Statement {
    all_statements().into_iter().find(|statement| statement.name == name).unwrap()
}

/// The same statement with another text.
fn rewritten(statement: &Statement, text: String) -> Statement {
    let text = text.leak();
    let make = if statement.writes { Statement::write } else { Statement::read };
    let new = make(statement.name, statement.reach, text);
    if let Some(why) = statement.reads_global { new.reading_global(why) } else { new }
}

#[actix_web::test]
async fn every_statement_keeps_its_reach() {
    let world = world().await;
    let mut gateway = gateway(&world).await;
    let all = check_all(&mut gateway).await;
    assert_eq!(all.len(), all_statements().len());
    assert_eq!(broken(&all), [""; 0], "{all:#?}");
    outcome(&all.iter().collect::<Vec<_>>()).unwrap();
    if tells_plans(&gateway, "every_statement_keeps_its_reach, of unknown plans") {
        for checked in &all {
            assert_eq!(checked.verdict, PlanVerdict::Ok, "{checked:#?}");
            assert!(!checked.plan.is_empty(), "{} touches nothing", checked.statement);
        }
    }
    drop(gateway);
    world.end().await;
}

/// As the planner reads larger tables, where a filter stands above the scan of the index.
#[actix_web::test]
async fn every_statement_keeps_its_reach_by_bitmaps_too() {
    let world = world().await;
    world.sample(&["boston"], 200, 200).await;
    world.set("ANALYZE users; ANALYZE vehicles").await;
    let mut gateway = gateway_with(&world, "-c enable_indexscan=off -c enable_indexonlyscan=off").await;
    if tells_plans(&gateway, "every_statement_keeps_its_reach_by_bitmaps_too") {
        let login = registered("users.find_login");
        let checked = gateway.check(login).await.unwrap();
        assert!(checked.plan.iter().any(|scan| scan == "users_username_key filter $1"), "{checked:#?}");
        let all = check_all(&mut gateway).await;
        assert_eq!(broken(&all), [""; 0], "{all:#?}");
        let anywhere = login.text.replace("region = $1::TEXT::crdb_internal_region AND ", "$1::TEXT <> '' AND ");
        assert_eq!(gateway.check(&rewritten(login, anywhere)).await.unwrap().verdict, PlanVerdict::Breach);
    }
    drop(gateway);
    world.end().await;
}

/// The text without one of its conditions on a region, for each of them: the comparison
/// becomes one that is always true and keeps the parameter.
fn cuts(text: &str) -> Vec<String> {
    let mark = "::TEXT::crdb_internal_region";
    let cut = |(at, _): (usize, &str)| {
        let parameter = text[..at].rfind('$').unwrap();
        let column = text[..parameter].strip_suffix("region = ")?;
        if column.ends_with('_') || column.trim_end().ends_with("SET") {
            return None;
        }
        let begin = column.rfind(|c: char| !c.is_alphanumeric() && c != '.' && c != '_').map_or(0, |at| at + 1);
        let (before, behind) = (&text[..begin], &text[at + mark.len()..]);
        Some(format!("{before}{}::TEXT IS NOT NULL{behind}", &text[parameter..at]))
    };
    text.match_indices(mark).filter_map(cut).collect()
}

#[actix_web::test]
async fn without_any_one_of_its_region_conditions_a_statement_is_in_breach() {
    let world = world().await;
    let mut gateway = gateway(&world).await;
    if tells_plans(&gateway, "without_any_one_of_its_region_conditions_a_statement_is_in_breach") {
        let (mut tried, mut spare) = (0, Vec::new());
        for statement in all_statements().into_iter().filter(|statement| statement.reach == Reach::Named) {
            let texts = cuts(statement.text);
            assert!(!texts.is_empty() || statement.text.starts_with("INSERT"), "{} has no condition", statement.name);
            for text in texts {
                let cut = rewritten(statement, text);
                let checked = gateway.check(&cut).await.unwrap();
                tried += 1;
                if checked.verdict == PlanVerdict::Ok {
                    spare.push(statement.name);
                    continue;
                }
                assert_eq!(checked.verdict, PlanVerdict::Breach, "{}\n{checked:#?}", cut.text);
                assert!(checked.findings[0].starts_with("any region: "), "{checked:#?}");
                let error = outcome(&[&checked]).unwrap_err().to_string();
                assert_eq!(error, format!("beyond the declared reach: {}", statement.name));
            }
        }
        // Their two tables are joined by region, so that either condition implies the other.
        let unstored = ["sessions.check_unstored"; 2];
        assert_eq!(spare, [["sessions.check"; 2], unstored].concat());
        assert!(tried > 100, "{tried} conditions");
        eprintln!("{tried} conditions cut out, {} of them spare", spare.len());
    }
    drop(gateway);
    world.end().await;
}

#[actix_web::test]
async fn a_region_that_is_no_parameter_and_a_wider_reach_are_breaches() {
    let world = world().await;
    let mut gateway = gateway(&world).await;
    if tells_plans(&gateway, "a_region_that_is_no_parameter_and_a_wider_reach_are_breaches") {
        let region = "$1::TEXT::crdb_internal_region";
        let (gate, find) = (registered("gates.open"), registered("gates.find"));
        let set = registered("home.set_home");
        let anywhere = registered("users.find_login_anywhere");
        let made = registered("users.insert");
        let read = format!("(SELECT region::TEXT FROM regions_of_it WHERE {region} IS NOT NULL)::crdb_internal_region");
        let with = "WITH regions_of_it AS (SELECT 'us-east1' AS region) ";
        let either = "SELECT id FROM users WHERE username_key = $2
            AND (region = $1::TEXT::crdb_internal_region OR city = 'boston')";
        for (statement, finding) in [
            (rewritten(find, either.to_owned()), "any region: users_username_key"),
            (rewritten(gate, gate.text.replace(region, "least($1::TEXT, 'x')::crdb_internal_region")), "no parameter"),
            (rewritten(find, format!("{with}{}", find.text.replace(region, &read))), "otherwise than by a parameter"),
            (
                rewritten(
                    set,
                    set.text.replace("SET region = $11::TEXT::crdb_internal_region", "SET region = users.region"),
                ),
                "no parameter",
            ),
            (
                rewritten(
                    gate,
                    gate.text.replace("region_gates (region, write_state", "region_gates (write_state, region"),
                ),
                "first column",
            ),
            (Statement::read(anywhere.name, Reach::Named, anywhere.text), "any region"),
            (Statement::read(find.name, Reach::Global, find.text), "not GLOBAL"),
            (Statement::write(gate.name, Reach::Global, gate.text), "not GLOBAL"),
            (Statement::write(made.name, Reach::Named, made.text), "users_username_key does not begin with region"),
        ] {
            let checked = gateway.check(&statement).await.unwrap();
            assert_eq!(checked.verdict, PlanVerdict::Breach, "{checked:#?}");
            assert!(checked.findings.iter().any(|found| found.contains(finding)), "{finding}: {checked:#?}");
        }
        // Neither what the server refuses, nor another's table, nor a write that was not read, is known to be right.
        let read = |text| Statement::read("sample.read", Reach::Named, text);
        for statement in [
            read("SELECT nothing FROM nowhere"),
            read("SELECT version FROM refinery_schema_history WHERE version = 1"),
            rewritten(gate, gate.text.replace("INSERT INTO", "insert into")),
        ] {
            let checked = gateway.check(&statement).await.unwrap();
            assert_eq!(checked.verdict, PlanVerdict::Unknown, "{checked:#?}");
        }
    }
    drop(gateway);
    world.end().await;
}

#[actix_web::test]
async fn every_parameter_gets_a_value_of_a_row_or_a_made_up_one() {
    let world = world().await;
    world.sample(&["boston"], 2, 2).await;
    let mut gateway = gateway(&world).await;
    if tells_plans(&gateway, "every_parameter_gets_a_value_of_a_row_or_a_made_up_one") {
        // PostgreSQL explains with parameters too; only its words are not CockroachDB's.
        gateway.engine.cockroach = true;
        gateway.region = "us-east1".to_owned();
        let before = world.rows().await;
        for checked in check_all(&mut gateway).await {
            assert_eq!(checked.verdict, PlanVerdict::Unknown, "{checked:#?}");
            assert!(checked.findings.iter().any(|found| found.contains("(cost=")), "{checked:#?}");
            assert_eq!(checked.home_region, None);
        }
        let login = gateway.check(registered("users.find_profile")).await.unwrap();
        let sql = world.sql().await;
        let ids = "SELECT id::TEXT FROM users WHERE region = 'us-east1'";
        let ids: Vec<String> = sql.query(ids, &[]).await.unwrap().iter().map(|row| row.try_get(0).unwrap()).collect();
        assert!(ids.iter().any(|id| login.findings[0].contains(id)), "{ids:?}: {login:#?}");
        assert_eq!(world.rows().await, before);
    }
    drop(gateway);
    world.end().await;
}

#[actix_web::test]
async fn a_cascade_makes_the_statements_that_set_it_off_breaches() {
    let world = world().await;
    let env = [("DATABASE_URL", world.database.url.as_str())];
    // Others update people too, but not the columns of the key.
    for (action, statement) in [("DELETE", "home.erase"), ("UPDATE", "home.set_home")] {
        let table = format!(
            "CREATE TABLE cards (region crdb_internal_region NOT NULL, user_id UUID NOT NULL,
               PRIMARY KEY (region, user_id), CONSTRAINT cards_user_fkey
               FOREIGN KEY (region, user_id) REFERENCES users (region, id) ON {action} CASCADE)"
        );
        world.set(&table).await;
        assert_eq!(broken(&check_all(&mut gateway(&world).await).await), [statement]);
        let ended = process::movr(&["verify-locality"], &env).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let last = format!("movr: beyond the declared reach: {statement}");
        assert_eq!(ended.err.trim_end().lines().last(), Some(last.as_str()));
        assert!(ended.out.contains("cards_user_fkey cascades"), "{ended:?}");
        world.set("DROP TABLE cards").await;
    }
    world.end().await;
}

#[actix_web::test]
async fn the_command_prints_a_table_and_json() {
    let world = world().await;
    let env = [("DATABASE_URL", world.database.url.as_str())];
    let ended = process::movr(&["verify-locality"], &env).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = all_statements().len();
    assert!(ended.out.contains(&format!("\n{expected} checks: ")), "{}", ended.out);
    assert!(ended.out.contains(" 0 in breach"), "{}", ended.out);
    assert!(ended.out.contains("a link to a row that has moved"), "{}", ended.out);
    let ended = process::movr(&["verify-locality", "--json"], &env).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let statements = report["gateways"][0]["statements"].as_array().unwrap();
    assert_eq!(statements.len(), expected);
    assert!(statements.iter().all(|one| one["verdict"] != "breach" && one["plan"].is_array()), "{report:#}");
    let counts: u64 = report["counts"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counts, expected as u64);
    world.end().await;
}

/// The migrations' tables, and the two indexes that the recordings check foreign keys by.
fn schema() -> Schema {
    let mut schema = Schema::of_migrations();
    for table in ["users", "vehicles"] {
        let columns = vec!["region".to_owned(), "id".to_owned()];
        schema.indexes.insert(format!("{table}_pkey"), Index { table: table.to_owned(), unique: true, columns });
    }
    schema
}

fn access(table: &str, how: How, shown: &str) -> Access {
    Access { table: table.to_owned(), how, shown: shown.to_owned() }
}

const NAMED: Statement = Statement::read("sample.named", Reach::Named, "SELECT 1");

fn verdict(plan: &str, region: &str) -> PlanVerdict {
    let schema = schema();
    judge(&NAMED, &schema, &cockroach::accesses(plan, "", region, &schema)).verdict
}

const HOME: &str = include_str!("crdb-samples/explain-home-index.txt");
const FULL: &str = include_str!("crdb-samples/explain-full-scan.txt");
const INSERT: &str = include_str!("crdb-samples/explain-insert-fk.txt");
const CASCADE: &str = include_str!("crdb-samples/explain-update-cascade.txt");
const ANALYZE_HOME: &str = include_str!("crdb-samples/explain-analyze-home.txt");
const ANALYZE_ABROAD: &str = include_str!("crdb-samples/explain-analyze-from-another-region.txt");

#[test]
fn recorded_scans_tell_the_regions_of_their_spans() {
    let schema = schema();
    for plan in [HOME, ANALYZE_HOME, ANALYZE_ABROAD] {
        let kept = access("vehicles", How::Kept, "vehicles@vehicles_by_city us-east1");
        assert_eq!(cockroach::accesses(plan, "", "us-east1", &schema), [kept]);
        assert_eq!(verdict(plan, "us-east1"), PlanVerdict::Ok);
        // Also where the plan says that it ran in europe-west1: its rows are not there.
        assert_eq!(verdict(plan, "europe-west1"), PlanVerdict::Breach, "{plan}");
    }
    let free = access("vehicles", How::Free, "vehicles@vehicles_pkey us-east1 - europe-west1");
    assert_eq!(cockroach::accesses(FULL, "", "us-east1", &schema), [free]);
    assert_eq!(verdict(FULL, "us-east1"), PlanVerdict::Breach);
    assert_eq!(verdict(FULL, "europe-west1"), PlanVerdict::Breach);
}

#[test]
fn recorded_writes_tell_checks_and_cascades() {
    let mut schema = schema();
    let insert = [
        access("rides", How::Kept, "rides insert"),
        access("vehicles", How::Kept, "FK check: vehicles@vehicles_pkey"),
        access("users", How::Kept, "FK check: users@users_pkey"),
    ];
    assert_eq!(cockroach::accesses(INSERT, "", "us-east1", &schema), insert);
    assert_eq!(verdict(INSERT, "us-east1"), PlanVerdict::Ok);
    assert_eq!(verdict(&INSERT.replace("rides(region, id", "rides(id, region"), "us-east1"), PlanVerdict::Breach);
    assert_eq!(verdict(&INSERT.replace("users@users_pkey", "users@another"), "us-east1"), PlanVerdict::Unknown);
    let cascade = [
        access("users", How::Kept, "users input"),
        access("users", How::Kept, "users@users_pkey input"),
        access("users", How::Free, "users@users_username_key u9"),
        access("", How::Cascade, "fk: vehicles_owner_region_owner_id_fkey"),
        access("", How::Cascade, "fk: rides_rider_region_rider_id_fkey"),
        access("cities", How::Unparsed, "cities@cities_region_slug_key (region_new, city_new) = (region,slug)"),
    ];
    let found = cockroach::accesses(CASCADE, "", "us-east1", &schema);
    assert_eq!(found, cascade);
    // The cascades alone are enough, whatever the reach.
    schema.regional.insert("users".to_owned(), false);
    let why = "a test";
    let anywhere = Statement::write("sample.anywhere", Reach::AllRegions { why }, "SELECT 1");
    assert_eq!(judge(&anywhere, &schema, &found).verdict, PlanVerdict::Breach);
    assert_eq!(judge(&anywhere, &schema, &found[..3]).verdict, PlanVerdict::Ok);
}

#[test]
fn what_reads_a_global_row_says_so_and_riding_and_maintenance_read_none() {
    let schema = schema();
    let breaks = |statement: &Statement| {
        let said = judge(statement, &schema, &[]).findings;
        said.iter().any(|finding| finding.ends_with("checked against a GLOBAL table"))
    };
    for statement in all_statements().into_iter().filter(|statement| statement.reach == Reach::Named) {
        // Those that say so need it, and the others do without.
        let bare = Statement::write(statement.name, statement.reach, statement.text);
        assert_eq!(breaks(&bare), statement.reads_global == Some(CITY_CHECKED), "{}", statement.name);
        let rides = ["rides.", "reservations.", "ride_ends.", "home.erase"];
        assert!(!rides.iter().any(|of| statement.name.starts_with(of)) || statement.reads_global.is_none());
    }
    for (name, from, to) in [
        ("bulk.turn", "SET status = ", "SET city = $13::TEXT, status = "),
        ("imports.change", "SET type = ", "SET city = $13::TEXT, type = "),
        ("fleet.set_status", "SET status = ", "SET city = vehicles.city, status = "),
        ("rides.start", "UPDATE users SET ", "UPDATE users SET region = $1::TEXT::crdb_internal_region, "),
    ] {
        let statement = registered(name);
        assert!(statement.reads_global.is_none() && statement.text.contains(from), "{name}");
        assert!(breaks(&rewritten(statement, statement.text.replacen(from, to, 1))), "{name}");
    }
    let check = access("cities", How::Kept, "FK check: cities@cities_region_slug_key");
    assert_eq!(judge(&NAMED, &schema, std::slice::from_ref(&check)).verdict, PlanVerdict::Breach);
    let says = Statement::read("sample.says", Reach::Named, "SELECT 1").reading_global("a test");
    assert_eq!(judge(&says, &schema, &[check]).verdict, PlanVerdict::Ok);
}

#[test]
fn what_was_never_recorded_is_unknown() {
    for (old, new) in [
        // Another kind of node, and other words about a regional table.
        ("• scan", "• zigzag join"),
        ("table: vehicles", "left table: vehicles"),
        ("limit: 25", "from: vehicles"),
        // Spans in another form.
        ("spans: [/", "spans: {/"),
        ("spans: [/'us-east1'/'new-york'/'available' - ", "spans: [ - "),
        ("'available']", "'available'"),
        ("'available' - ", "'avail\\' - "),
        ("spans: ", "stretches: "),
        // No plan at all.
        ("•", "*"),
    ] {
        let plan = HOME.replacen(old, new, 1);
        assert_ne!(plan, HOME, "{old}");
        assert_eq!(verdict(&plan, "us-east1"), PlanVerdict::Unknown, "{plan}");
    }
    assert_eq!(verdict(&HOME.replace("spans: ", "spans: FULL SCAN "), "us-east1"), PlanVerdict::Breach);
    assert_eq!(verdict(&HOME.replace("[/'us-east1'/", "[/1/"), "us-east1"), PlanVerdict::Breach);
    // Without one of its ends.
    let open = HOME.replace("spans: [", "spans: (").replace("'available']", "'available')");
    assert_eq!([verdict(&open, "us-east1"), verdict(&open, "us-west1")], [PlanVerdict::Ok, PlanVerdict::Breach]);
    // A second span elsewhere, and ends of spans inside of a value.
    let spans = "'available'] [/'us-west1'/1 - /'us-west1'/2]";
    assert_eq!(verdict(&HOME.replace("'available']", spans), "us-east1"), PlanVerdict::Breach);
    assert_eq!(verdict(&HOME.replace("new-york", "new] - york"), "us-east1"), PlanVerdict::Ok);
    // What a generated column holds is told by the verbose form alone.
    let lookup = CASCADE.replace("cities@cities_region_slug_key", "users@users_city_key");
    for (old, new, how) in [
        ("region_new, city_new", "region_new, city_new", How::Unparsed),
        ("(region,slug)", "(id,slug)", How::Free),
        ("equality: ", "condition: ", How::Unparsed),
    ] {
        let found = cockroach::accesses(&lookup.replace(old, new), "", "us-east1", &schema());
        let join = found.iter().find(|access| access.shown.starts_with("users@users_city_key")).unwrap();
        assert_eq!(join.how, how, "{join:?}");
    }
    for sample in std::fs::read_dir("tests/it/crdb-samples").unwrap() {
        let path = sample.unwrap().path();
        if path.is_file() && !path.file_name().unwrap().to_str().unwrap().starts_with("explain-") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(verdict(&text, "us-east1"), PlanVerdict::Unknown, "{}", path.display());
        }
    }
}

#[test]
fn a_nodes_region_is_read_from_its_locality() {
    assert_eq!(region_of(include_str!("crdb-samples/show-locality.txt").lines().nth(1).unwrap()), "us-east1");
    let ranges = include_str!("crdb-samples/show-ranges-from-table.txt");
    assert_eq!(region_of(ranges.lines().nth(1).unwrap().split('|').nth(5).unwrap()), "us-east1");
    assert_eq!(region_of("rack=1"), "unknown");
}
