//! `movr doctor`: checks a deployment from where it stands, with the settings of the instance that
//! runs there: prints what is wrong and what to do. Exit code 1 on a fault; a warning is none.
//! One check is one function that returns what it found.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    fmt::Display,
    sync::atomic::Ordering,
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use chrono::DateTime;
use serde::Serialize;
use serde_json::json;

use super::Outcome;
use crate::{
    clock::Clock,
    config::{Config, Database, Vars},
    db::{
        self, Db,
        connect::Endpoint,
        doctor::{Node, misplaced},
        migrate,
    },
    domain::{Catalogue, RegionCode},
    telemetry,
    web::{
        filters::counted,
        region::{forwarded, named_city},
    },
};

/// A clock that is off by more ends sessions and reservations at the wrong time; CockroachDB's own
/// nodes stop at half a second between them.
const CLOCK_WARNING_MS: i64 = 500;
const CLOCK_FAULT_MS: i64 = 5_000;
/// As the alerts of deploy/prometheus have it.
const CERTIFICATE_WARNING_DAYS: i64 = 14;
const CERTIFICATE_FAULT_DAYS: i64 = 2;
const LICENCE_WARNING_DAYS: i64 = 30;
/// No two machines of one region are that far apart.
const FAR_MS: f64 = 20.0;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// A header of a request as the load balancer sends it, `X-Client-City: Paris`: what it would mean. May be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("it is `Name: value`")?;
    let name = name.trim().parse().map_err(|_name| "that is no name of a header".to_owned())?;
    // Names of cities have letters beyond ASCII.
    let value = HeaderValue::from_bytes(value.trim().as_bytes());
    Ok((name, value.map_err(|_value| "that is no value of a header".to_owned())?))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Fault,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Diagnosis {
    level: Level,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    /// A region, mostly.
    about: String,
    #[serde(flatten)]
    diagnosis: Diagnosis,
}

impl Diagnosis {
    fn of(self, check: &'static str, about: impl Display) -> Finding {
        Finding { check, about: about.to_string(), diagnosis: self }
    }
}

fn ok(text: impl Into<String>) -> Diagnosis {
    Diagnosis { level: Level::Ok, text: text.into(), advice: None }
}

fn warning(text: impl Into<String>, advice: impl Into<String>) -> Diagnosis {
    Diagnosis { level: Level::Warning, text: text.into(), advice: Some(advice.into()) }
}

fn fault(text: impl Into<String>, advice: impl Into<String>) -> Diagnosis {
    Diagnosis { level: Level::Fault, ..warning(text, advice) }
}

/// What could not be asked.
fn unanswered(error: &impl Display) -> Diagnosis {
    fault(error.to_string(), "see the findings before this one, then the database's log")
}

pub async fn run(vars: Vars, args: &Args) -> Outcome {
    let findings = match Config::from_vars(vars) {
        Ok(config) => {
            telemetry::init(&config.log, None);
            check(&config, &args.headers).await
        }
        Err(error) => {
            let advice = "set it; `movr serve --help` says what it means";
            let faults = error.problems.into_iter();
            faults.map(|(name, problem)| fault(problem, advice).of("configuration", name)).collect()
        }
    };
    let count = |level| findings.iter().filter(|finding| finding.diagnosis.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    if args.json {
        println!("{:#}", json!({ "faults": faults, "warnings": warnings, "findings": findings }));
    } else {
        findings.iter().for_each(print);
        println!("\n{} findings: {warnings} warnings, {faults} faults", findings.len());
    }
    if faults == 0 { Ok(()) } else { Err(format!("{faults} of {} findings are faults", findings.len()).into()) }
}

fn print(Finding { check, about, diagnosis }: &Finding) {
    let level = match diagnosis.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Fault => "FAULT",
    };
    println!("{level:<8} {check:<14} {about:<14} {}", diagnosis.text);
    if let Some(advice) = &diagnosis.advice {
        println!("{:<38} -> {advice}", "");
    }
}

async fn check(config: &Config, headers: &[(HeaderName, HeaderValue)]) -> Vec<Finding> {
    let (here, database) = (&config.region, &config.database);
    let (mut findings, mut own) = (configuration(config), None);
    let urls = std::iter::once((here.clone(), database.url.expose().as_str())).chain(database.region_urls());
    for (region, url) in urls {
        let variable = if region == *here { "DATABASE_URL".to_owned() } else { Database::region_variable(&region) };
        let endpoint = match db::endpoint(database, url) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                findings.push(fault(error.to_string(), format!("correct {variable}")).of("nodes", &region));
                continue;
            }
        };
        findings.extend(encryption(&endpoint).map(|diagnosis| diagnosis.of("tls", &region)));
        let (all, mut answered) = (endpoint.nodes(), false);
        for endpoint in &all {
            let node = match Node::ask(endpoint, database).await {
                Ok(node) => node,
                Err(error) => {
                    let advice = format!("look at the node, the way to it, and {variable}");
                    let level = if all.len() > 1 { warning } else { fault };
                    findings.push(level(error.to_string(), advice).of("nodes", &region));
                    continue;
                }
            };
            answered = true;
            findings.push(reached(region == *here, endpoint, &node).of("nodes", &region));
            findings.extend(placed(&region, &variable, &node).map(|diagnosis| diagnosis.of("region", &region)));
            findings.extend(certificate(endpoint).map(|diagnosis| diagnosis.of("tls", &region)));
            findings.push(clock(&node).of("clock", &region));
            findings.push(session(&node).of("session", &region));
            if region == *here {
                own.get_or_insert((endpoint.clone(), node));
            }
        }
        if !answered && all.len() > 1 {
            let text = format!("none of its {} nodes answers", all.len());
            findings.push(fault(text, format!("see the findings about them, and {variable}")).of("nodes", &region));
        }
    }
    let Some((endpoint, node)) = own else {
        let text = "no node of this region answers: schema, privileges and localities were not checked";
        findings.push(fault(text, "see the findings about its nodes").of("nodes", here));
        return findings;
    };
    let schema = schema(&node).await;
    let current = schema.level != Level::Fault;
    findings.push(schema.of("schema", "database"));
    if node.engine.cockroach {
        findings.push(licence(&node).await.of("licence", "cluster"));
        findings.push(survival(&node).await.of("survival", "database"));
    }
    if !current {
        return findings;
    }
    findings.push(privileges(&node).await.of("privileges", "database"));
    if node.engine.regions {
        findings.push(localities(&endpoint).await.of("localities", "database"));
    }
    match catalogue(database).await {
        Ok(catalogue) => {
            findings.extend(regions(config, &catalogue, &node).await);
            findings.extend(balancer(config, &catalogue, headers));
        }
        Err(error) => findings.push(unanswered(&error).of("catalogue", "database")),
    }
    findings
}

fn configuration(config: &Config) -> Vec<Finding> {
    let origin = config.public_url.origin();
    let local = ["http://localhost", "http://127.", "http://[::1]"].iter().any(|local| origin.starts_with(local));
    let mut diagnoses =
        vec![ok(format!("complete, with nodes of {} other regions", config.database.region_urls().count()))];
    if origin.starts_with("https://") && config.proxy.trusted.is_empty() {
        diagnoses.push(warning(
            "no proxy is trusted: all clients behind the load balancer count as one, and their city is not known",
            "set MOVR_TRUSTED_PROXIES to the load balancer's addresses",
        ));
    } else if origin.starts_with("http://") && !local {
        diagnoses.push(warning(
            format!("{origin} is not https: cookies are sent in the clear"),
            "let the load balancer speak TLS, and set MOVR_PUBLIC_URL to the https address",
        ));
    }
    diagnoses.into_iter().map(|diagnosis| diagnosis.of("configuration", &config.region)).collect()
}

fn encryption(endpoint: &Endpoint) -> Option<Diagnosis> {
    let text = || format!("{}: password and rows cross the network in the clear", endpoint.describe());
    let advice = "turn TLS on at the nodes, and put sslmode=verify-full into the URL";
    endpoint.is_readable().then(|| fault(text(), advice))
}

fn reached(home: bool, endpoint: &Endpoint, node: &Node) -> Diagnosis {
    let version = node.engine.version.split(" (").next().unwrap_or_default();
    let ms = node.round_trip.as_secs_f64() * 1000.0;
    let text = format!("{} answers in {ms:.1} ms ({version})", endpoint.describe());
    if home && ms > FAR_MS {
        let advice = "run the instance where its nodes are, or name nearer ones in DATABASE_URL";
        return warning(format!("{text}: far for nodes of this region"), advice);
    }
    ok(text)
}

/// Whether the node is in the region whose URL leads to it.
fn placed(region: &RegionCode, variable: &str, node: &Node) -> Option<Diagnosis> {
    let gateway = node.engine.gateway.as_deref().filter(|gateway| *gateway != region.as_str())?;
    let text = format!("the node says that it is in {gateway}: every statement crosses");
    Some(fault(text, format!("let {variable} lead to nodes that were started with --locality=region={region}")))
}

fn certificate(endpoint: &Endpoint) -> Option<Diagnosis> {
    let end = endpoint.certificate_expiry.load(Ordering::Relaxed);
    let end = DateTime::from_timestamp(end, 0).filter(|_| end > 0)?;
    let days = (end - Clock::default().now()).num_days();
    let text = format!(
        "{}: the certificate ends on {}, in {}",
        endpoint.describe(),
        end.format("%Y-%m-%d"),
        counted(days, "day")
    );
    let advice = "renew it on the node";
    Some(match days {
        ..CERTIFICATE_FAULT_DAYS => fault(text, advice),
        CERTIFICATE_FAULT_DAYS..CERTIFICATE_WARNING_DAYS => warning(text, advice),
        _ => ok(text),
    })
}

fn clock(node: &Node) -> Diagnosis {
    let ahead = node.clock_ahead_ms;
    let text = format!("the node's clock is {} ms {} ours", ahead.abs(), if ahead < 0 { "behind" } else { "ahead of" });
    let advice = "synchronise both machines with the same source (chrony, or the cloud's time service)";
    match ahead.abs() {
        ..CLOCK_WARNING_MS => ok(text),
        CLOCK_WARNING_MS..CLOCK_FAULT_MS => warning(text, advice),
        _ => fault(text, advice),
    }
}

fn session(node: &Node) -> Diagnosis {
    if node.not_kept.is_empty() {
        return ok("the settings that we ask for are in force");
    }
    let text = format!("settings that we ask for when we connect are not in force: {}", node.not_kept.join(", "));
    let advice = "connect past the pooler, or take options out of its ignore_startup_parameters (PgBouncer); look for \
         ALTER ROLE ... SET";
    fault(text, advice)
}

async fn schema(node: &Node) -> Diagnosis {
    let newest = migrate::newest();
    match node.schema_version().await {
        Ok(version) => {
            let text = format!("at version {version}, this program needs {newest}");
            match version.cmp(&newest) {
                Less => fault(text, "run `movr migrate` of this release before `movr serve`"),
                Equal => ok(text),
                Greater => warning(text, "right during a release or a roll-back; else update this program"),
            }
        }
        Err(error) => unanswered(&error),
    }
}

async fn privileges(node: &Node) -> Diagnosis {
    let advice = "run `movr migrate --roles ROLE` as the owner, and connect as that role";
    match node.rights().await {
        Ok((lacks, _)) if !lacks.is_empty() => {
            fault(format!("the user may not do what the application does: {}", lacks.join(", ")), advice)
        }
        Ok((_, beyond)) if !beyond.is_empty() => {
            warning(format!("the user may do more than the application does: {}", beyond.join(", ")), advice)
        }
        Ok(_) => ok("what the application does; events can be added, and neither changed nor deleted"),
        Err(error) => unanswered(&error),
    }
}

async fn licence(node: &Node) -> Diagnosis {
    let advice = "install one: SET CLUSTER SETTING enterprise.license = ...";
    let Some(end) = node.licence_end().await else {
        let text = "the node does not tell this user";
        return warning(text, "look at its metric seconds_until_enterprise_license_expiry");
    };
    let now = Clock::default().now();
    let (day, days) = (end.format("%Y-%m-%d"), (end - now).num_days());
    match days {
        _ if end == DateTime::UNIX_EPOCH => {
            warning("none: after seven days the cluster limits itself to five open transactions", advice)
        }
        _ if end < now => fault(format!("it ended on {day}: the cluster limits itself, or will"), advice),
        ..LICENCE_WARNING_DAYS => warning(format!("it ends on {day}, in {}", counted(days, "day")), advice),
        _ => ok(format!("until {day}")),
    }
}

async fn survival(node: &Node) -> Diagnosis {
    match node.survival_goal().await {
        Ok(Some(goal)) => ok(format!("it survives the failure of a {goal}")),
        Ok(None) => fault(
            "a single-region schema: no row lives in its region, and none survives a region by rule",
            "start the nodes with --locality=region=..., then run `movr migrate`",
        ),
        Err(error) => unanswered(&error),
    }
}

async fn localities(endpoint: &Endpoint) -> Diagnosis {
    match misplaced(endpoint).await {
        Ok(wrong) if wrong.is_empty() => ok("every table has its locality"),
        Ok(wrong) => fault(
            format!("tables are not where they belong: {}", wrong.join(", ")),
            "ALTER TABLE ... SET LOCALITY as in migrations/; then `movr verify-locality`",
        ),
        Err(error) => unanswered(&error),
    }
}

async fn catalogue(database: &Database) -> Outcome<Catalogue> {
    let db = Db::open(database).await?;
    let catalogue = super::catalogue(&db).await;
    db.close();
    catalogue
}

/// The regions of catalogue, configuration and database.
async fn regions(config: &Config, catalogue: &Catalogue, node: &Node) -> Vec<Finding> {
    let (mut findings, here) = (Vec::new(), &config.region);
    let named: Vec<RegionCode> = config.database.region_urls().map(|(region, _)| region).collect();
    for region in named.iter().chain([here]).filter(|region| catalogue.region(region).is_none()) {
        let variable = if region == here { "MOVR_REGION".to_owned() } else { Database::region_variable(region) };
        let known = catalogue.regions.iter().map(|region| region.code.as_str()).collect::<Vec<_>>().join(", ");
        findings.push(fault("is not in the catalogue", format!("{variable}: one of {known}")).of("catalogue", region));
    }
    let known = if node.engine.regions { node.regions().await.unwrap_or_default() } else { Vec::new() };
    for region in catalogue.regions.iter().map(|region| &region.code) {
        if node.engine.regions && !known.iter().any(|known| known == region.as_str()) {
            let text = "is not a region of the database: its rows have no home";
            findings.push(fault(text, "start nodes there, then run `movr migrate`").of("catalogue", region));
        }
        if node.engine.cockroach && region != here && !named.contains(region) {
            let text = "none of its nodes is named: from here every step of a statement about it is a crossing";
            findings.push(warning(text, format!("set {}", Database::region_variable(region))).of("nodes", region));
        }
    }
    findings
}

/// What the headers of a request mean, if a trusted proxy sends them.
fn balancer(config: &Config, catalogue: &Catalogue, given: &[(HeaderName, HeaderValue)]) -> Vec<Finding> {
    if given.is_empty() {
        return Vec::new();
    }
    let (mut headers, proxy) = (HeaderMap::new(), &config.proxy);
    for (name, value) in given {
        headers.append(name.clone(), value.clone());
    }
    let mut findings = Vec::new();
    if proxy.trusted.is_empty() {
        let advice = "set MOVR_TRUSTED_PROXIES to the load balancer's addresses";
        findings.push(fault("nobody's headers are believed", advice).of("headers", "proxies"));
    }
    let name = &proxy.address_header;
    let client = match forwarded(proxy, &headers) {
        Ok(Some(client)) => ok(format!("comes from {client}")),
        Ok(None) => warning(
            format!("{name} names no address but ours: the client counts as the load balancer"),
            "let the load balancer append the client's address",
        ),
        Err(_unreadable) => fault(
            format!("{name} holds what is no address: the client counts as the load balancer"),
            "let the load balancer write addresses only",
        ),
    };
    let names: Vec<&str> =
        [&proxy.city_header, &proxy.coordinates_header].into_iter().flatten().map(|name| &**name).collect();
    let city = match named_city(proxy, &headers, catalogue) {
        Some(city) if city.region == config.region => ok(format!("{}, which is in this region", city.name)),
        Some(city) => {
            let url = catalogue.region(&city.region).map_or("", |region| &region.base_url);
            let text = format!("{} is in {}: its people cross from here", city.name, city.region);
            warning(text, format!("let the load balancer send them to {url}"))
        }
        None if names.is_empty() => {
            warning("is not looked for", "set MOVR_CLIENT_CITY_HEADER or MOVR_CLIENT_COORDINATES_HEADER")
        }
        None => warning(
            format!("{} names no city of the catalogue", names.join(" or ")),
            "compare it with the names in the catalogue",
        ),
    };
    findings.extend([client.of("headers", "client"), city.of("headers", "city")]);
    findings
}
