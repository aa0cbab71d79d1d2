//! `movr doctor`: checks a deployment from where it stands, with the settings of the instance that
//! runs there: prints what is wrong and what to do. Exit code 1 on a fault; a warning is none.
//! One check is one function that returns what it found.

use std::{fmt::Display, sync::atomic::Ordering};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use chrono::DateTime;
use serde::Serialize;
use serde_json::json;

use super::Outcome;
use crate::{
    clock::Clock,
    config::{Config, ConfigError, Database, Vars},
    db::{
        self, Db,
        connect::Endpoint,
        doctor::{Node, misplaced},
        error::DbError,
        migrate,
    },
    domain::{catalogue::Catalogue, region::RegionCode},
    telemetry,
    web::region::{forwarded, named_city},
};

/// A clock that is off by more ends sessions and reservations at the wrong time; CockroachDB's own
/// nodes stop at half a second between them.
const CLOCK_WARNING_MS: i64 = 500;
const CLOCK_FAULT_MS: i64 = 5_000;
/// As the alerts of deploy/prometheus have it.
const CERTIFICATE_WARNING_DAYS: i64 = 14;
const CERTIFICATE_FAULT_DAYS: i64 = 2;
const LICENCE_WARNING_DAYS: i64 = 30;

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

#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    check: &'static str,
    /// A region, mostly.
    about: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, about: impl Display, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, about: about.to_string(), text: text.into(), advice: None }
    }

    fn warning(check: &'static str, about: impl Display, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, advice: Some(advice.into()), ..Self::ok(check, about, text) }
    }

    fn fault(check: &'static str, about: impl Display, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fault, ..Self::warning(check, about, text, advice) }
    }

    /// What could not be asked.
    fn unanswered(check: &'static str, about: impl Display, error: &DbError) -> Self {
        Self::fault(check, about, error.to_string(), "see what the checks before this one say; then the database's log")
    }
}

pub async fn run(vars: Vars, args: &Args) -> Outcome {
    let findings = match Config::from_vars(vars) {
        Ok(config) => {
            telemetry::init(&config.log, None);
            check(&config, &args.headers).await
        }
        Err(error) => configuration_faults(error),
    };
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    if args.json {
        println!("{:#}", json!({ "faults": faults, "warnings": warnings, "findings": findings }));
    } else {
        findings.iter().for_each(print);
        println!("\n{} findings: {warnings} warnings, {faults} faults", findings.len());
    }
    if faults == 0 { Ok(()) } else { Err(format!("{faults} of {} findings are faults", findings.len()).into()) }
}

fn print(finding: &Finding) {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Fault => "FAULT",
    };
    println!("{level:<8} {:<14} {:<14} {}", finding.check, finding.about, finding.text);
    if let Some(advice) = &finding.advice {
        println!("{:<38} -> {advice}", "");
    }
}

async fn check(config: &Config, headers: &[(HeaderName, HeaderValue)]) -> Vec<Finding> {
    let (here, database) = (&config.region, &config.database);
    let mut findings = configuration(config);
    let urls = std::iter::once((here.clone(), database.url.expose().as_str())).chain(database.region_urls());
    let mut own = None;
    for (region, url) in urls {
        let endpoint = match db::endpoint(database, url) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let advice = format!("correct {}", variable(here, &region));
                findings.push(Finding::fault("url", &region, error.to_string(), advice));
                continue;
            }
        };
        findings.extend(encryption(&region, &endpoint));
        let all = endpoint.nodes();
        for endpoint in &all {
            match Node::ask(endpoint, database).await {
                Ok(node) => {
                    findings.push(reached(here, &region, endpoint, &node));
                    findings.extend(placed(here, &region, &node));
                    findings.extend(certificate(&region, endpoint));
                    findings.push(clock(&region, &node));
                    findings.push(session(&region, &node));
                    if region == *here {
                        own.get_or_insert((endpoint.clone(), node));
                    }
                }
                Err(error) => findings.push(unreached(here, &region, all.len(), &error)),
            }
        }
    }
    let Some((endpoint, node)) = own else {
        let text = "no node of this region answers: schema, privileges and localities were not checked";
        findings.push(Finding::fault("nodes", here, text, "see the findings about its nodes"));
        return findings;
    };
    let schema = schema(here, &node).await;
    let current = schema.level != Level::Fault;
    findings.push(schema);
    if current {
        findings.push(privileges(here, &node).await);
    }
    if node.engine.cockroach {
        findings.push(licence(&node).await);
        findings.push(survival(&node).await);
    }
    if node.engine.regions && current {
        findings.push(localities(&endpoint).await);
    }
    match catalogue(database).await {
        Ok(catalogue) => {
            findings.extend(regions(config, &catalogue, &node).await);
            findings.extend(balancer(config, &catalogue, headers));
        }
        Err(finding) if current => findings.push(finding),
        Err(_finding) => {}
    }
    findings
}

fn variable(here: &RegionCode, region: &RegionCode) -> String {
    if here == region { "DATABASE_URL".to_owned() } else { Database::region_variable(region) }
}

fn configuration_faults(error: ConfigError) -> Vec<Finding> {
    let fault = |(name, problem): (String, String)| {
        Finding::fault("configuration", name, problem, "set it; `movr serve --help` says what it means")
    };
    error.problems.into_iter().map(fault).collect()
}

fn configuration(config: &Config) -> Vec<Finding> {
    let others = config.database.region_urls().count();
    let text = format!("complete; nodes of {others} other regions are named");
    let mut findings = vec![Finding::ok("configuration", &config.region, text)];
    let origin = config.public_url.origin();
    if origin.starts_with("https://") && config.proxy.trusted.is_empty() {
        findings.push(Finding::warning(
            "configuration",
            "proxies",
            "no proxy is trusted: all clients behind the load balancer count as one, and their city is not known",
            "set MOVR_TRUSTED_PROXIES to the load balancer's addresses",
        ));
    }
    let local = ["http://localhost", "http://127.", "http://[::1]"].iter().any(|local| origin.starts_with(local));
    if origin.starts_with("http://") && !local {
        findings.push(Finding::warning(
            "configuration",
            "address",
            format!("{origin} is not https: cookies are sent in the clear"),
            "let the load balancer speak TLS, and set MOVR_PUBLIC_URL to the https address",
        ));
    }
    findings
}

fn encryption(region: &RegionCode, endpoint: &Endpoint) -> Option<Finding> {
    let text = || format!("{}: password and rows cross the network in the clear", endpoint.describe());
    let advice = "turn TLS on at the nodes, and put sslmode=verify-full into the URL";
    endpoint.is_readable().then(|| Finding::fault("tls", region, text(), advice))
}

fn reached(here: &RegionCode, region: &RegionCode, endpoint: &Endpoint, node: &Node) -> Finding {
    let version = node.engine.version.split(" (").next().unwrap_or_default();
    let ms = node.round_trip.as_secs_f64() * 1000.0;
    let text = format!("{} answers in {ms:.1} ms ({version})", endpoint.describe());
    if region == here && ms > 20.0 {
        let advice = "run the instance in the region of its nodes, or name nearer ones in DATABASE_URL";
        return Finding::warning("nodes", region, format!("{text}: far for nodes of this region"), advice);
    }
    Finding::ok("nodes", region, text)
}

fn unreached(here: &RegionCode, region: &RegionCode, nodes: usize, error: &DbError) -> Finding {
    let advice = format!("look at the node, the way to it, and {}", variable(here, region));
    if nodes > 1 {
        return Finding::warning("nodes", region, error.to_string(), advice);
    }
    Finding::fault("nodes", region, error.to_string(), advice)
}

/// Whether the node is in the region whose URL leads to it.
fn placed(here: &RegionCode, region: &RegionCode, node: &Node) -> Option<Finding> {
    let gateway = node.engine.gateway.as_deref().filter(|gateway| *gateway != region.as_str())?;
    let text = format!("the node says that it is in {gateway}: every statement crosses");
    let advice =
        format!("let {} lead to nodes that were started with --locality=region={region}", variable(here, region));
    Some(Finding::fault("region", region, text, advice))
}

fn certificate(region: &RegionCode, endpoint: &Endpoint) -> Option<Finding> {
    let end = endpoint.certificate_expiry.load(Ordering::Relaxed);
    let end = DateTime::from_timestamp(end, 0).filter(|_| end > 0)?;
    let days = (end - Clock::default().now()).num_days();
    let text = format!("{}: the certificate ends on {}, in {days} days", endpoint.describe(), end.format("%Y-%m-%d"));
    let advice = "renew it on the node; the runbook has the steps";
    Some(match days {
        ..CERTIFICATE_FAULT_DAYS => Finding::fault("tls", region, text, advice),
        CERTIFICATE_FAULT_DAYS..CERTIFICATE_WARNING_DAYS => Finding::warning("tls", region, text, advice),
        _ => Finding::ok("tls", region, text),
    })
}

fn clock(region: &RegionCode, node: &Node) -> Finding {
    let ahead = node.clock_ahead_ms;
    let text = format!("the node's clock is {} ms {} ours", ahead.abs(), if ahead < 0 { "behind" } else { "ahead of" });
    let advice = "synchronise both machines with the same source (chrony, or the cloud's time service)";
    match ahead.abs() {
        ..CLOCK_WARNING_MS => Finding::ok("clock", region, text),
        CLOCK_WARNING_MS..CLOCK_FAULT_MS => Finding::warning("clock", region, text, advice),
        _ => Finding::fault("clock", region, text, advice),
    }
}

fn session(region: &RegionCode, node: &Node) -> Finding {
    if node.not_kept.is_empty() {
        return Finding::ok("session", region, "the settings that we ask for are in force");
    }
    let text = format!("settings that we ask for when we connect are not in force: {}", node.not_kept.join(", "));
    let advice = "connect past the pooler, or let it pass startup parameters on (PgBouncer: not in \
         ignore_startup_parameters); look for ALTER ROLE ... SET";
    Finding::fault("session", region, text, advice)
}

async fn schema(here: &RegionCode, node: &Node) -> Finding {
    let newest = migrate::newest();
    match node.schema_version().await {
        Ok(version) if version < newest => {
            let text = format!("the schema is at version {version}, this program needs {newest}");
            Finding::fault("schema", here, text, "run `movr migrate` of this release before `movr serve`")
        }
        Ok(version) if version > newest => {
            let text = format!("the schema is at version {version}, this program knows {newest}");
            Finding::warning("schema", here, text, "good during a release or a roll-back; else update this program")
        }
        Ok(version) => Finding::ok("schema", here, format!("at version {version}")),
        Err(error) => Finding::unanswered("schema", here, &error),
    }
}

async fn privileges(here: &RegionCode, node: &Node) -> Finding {
    let advice = "run `movr migrate --roles ROLE` as the owner, and connect as that role";
    match node.rights().await {
        Ok((lacks, _)) if !lacks.is_empty() => {
            let text = format!("the user may not do what the application does: {}", lacks.join(", "));
            Finding::fault("privileges", here, text, advice)
        }
        Ok((_, beyond)) if !beyond.is_empty() => {
            let text = format!("the user may do more than the application does: {}", beyond.join(", "));
            Finding::warning("privileges", here, text, advice)
        }
        Ok(_) => Finding::ok("privileges", here, "what the application does, and events can neither change nor go"),
        Err(error) => Finding::unanswered("privileges", here, &error),
    }
}

async fn licence(node: &Node) -> Finding {
    let advice = "install one: SET CLUSTER SETTING enterprise.license = ...";
    let finding = |level: fn(_, _, String, _) -> Finding, text: String| level("licence", "cluster", text, advice);
    let Some(end) = node.licence_end().await else {
        return finding(
            Finding::warning,
            "the node does not tell this user; its metric \
            seconds_until_enterprise_license_expiry does"
                .to_owned(),
        );
    };
    if end == DateTime::UNIX_EPOCH {
        let text = "none: after seven days the cluster limits itself to five open transactions";
        return finding(Finding::warning, text.to_owned());
    }
    let (day, days) = (end.format("%Y-%m-%d"), (end - Clock::default().now()).num_days());
    match days {
        ..0 => finding(Finding::fault, format!("it ended on {day}: the cluster limits itself, or will")),
        0..LICENCE_WARNING_DAYS => finding(Finding::warning, format!("it ends on {day}, in {days} days")),
        _ => Finding::ok("licence", "cluster", format!("until {day}")),
    }
}

async fn survival(node: &Node) -> Finding {
    match node.survival_goal().await {
        Ok(Some(goal)) => Finding::ok("survival", "database", format!("it survives the failure of a {goal}")),
        Ok(None) => Finding::fault(
            "survival",
            "database",
            "a single-region schema: no row lives in its region, and none survives a region by rule",
            "start the nodes with --locality=region=..., then run `movr migrate`",
        ),
        Err(error) => Finding::unanswered("survival", "database", &error),
    }
}

async fn localities(endpoint: &Endpoint) -> Finding {
    match misplaced(endpoint).await {
        Ok(wrong) if wrong.is_empty() => Finding::ok("localities", "tables", "every table has its locality"),
        Ok(wrong) => {
            let text = format!("not where they belong: {}", wrong.join(", "));
            let advice = "ALTER TABLE ... SET LOCALITY as in migrations/; then `movr verify-locality`";
            Finding::fault("localities", "tables", text, advice)
        }
        Err(error) => Finding::unanswered("localities", "tables", &error),
    }
}

async fn catalogue(database: &Database) -> Result<Catalogue, Finding> {
    let load = async {
        let db = Db::open(database).await?;
        let catalogue = db::catalogue::load(&db.here().await?).await;
        db.close();
        catalogue
    };
    let loaded = load.await.map_err(|error| Finding::unanswered("catalogue", "database", &error))?;
    loaded.ok_or_else(|| Finding::fault("catalogue", "database", "there is none", "run `movr migrate`"))
}

/// The regions of catalogue, configuration and database.
async fn regions(config: &Config, catalogue: &Catalogue, node: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    let named: Vec<RegionCode> = config.database.region_urls().map(|(region, _)| region).collect();
    for region in named.iter().chain([&config.region]).filter(|region| catalogue.region(region).is_none()) {
        let known = catalogue.regions.iter().map(|region| region.code.as_str()).collect::<Vec<_>>().join(", ");
        let variable =
            if *region == config.region { "MOVR_REGION".to_owned() } else { Database::region_variable(region) };
        findings.push(Finding::fault(
            "catalogue",
            region,
            "is not in the catalogue",
            format!("{variable}: one of {known}"),
        ));
    }
    let known = if node.engine.regions { node.regions().await.unwrap_or_default() } else { Vec::new() };
    for region in catalogue.regions.iter().map(|region| &region.code) {
        if node.engine.regions && !known.iter().any(|known| known == region.as_str()) {
            let text = "is not a region of the database: its rows have no home";
            findings.push(Finding::fault("catalogue", region, text, "start nodes there, then run `movr migrate`"));
        }
        if node.engine.cockroach && *region != config.region && !named.contains(region) {
            let text = "none of its nodes is named: from here every step of a statement about it is a crossing";
            let advice = format!("set {}", Database::region_variable(region));
            findings.push(Finding::warning("nodes", region, text, advice));
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
        let text = "nobody's headers are believed";
        findings.push(Finding::fault(
            "headers",
            "proxies",
            text,
            "set MOVR_TRUSTED_PROXIES to the load balancer's addresses",
        ));
    }
    findings.push(match forwarded(proxy, &headers) {
        Ok(Some(client)) => Finding::ok("headers", "client", format!("comes from {client}")),
        Ok(None) => {
            let advice = format!("let the load balancer append the client's address to {}", proxy.address_header);
            Finding::warning(
                "headers",
                "client",
                "counts as the load balancer itself: no address but ours is named",
                advice,
            )
        }
        Err(_unreadable) => {
            let text =
                format!("{} holds what is no address: the client counts as the load balancer", proxy.address_header);
            Finding::fault("headers", "client", text, "let the load balancer write addresses only")
        }
    });
    findings.push(match named_city(proxy, &headers, catalogue) {
        Some(city) if city.region == config.region => {
            Finding::ok("headers", "city", format!("{}, which is in this region", city.name))
        }
        Some(city) => {
            let url = catalogue.region(&city.region).map_or("", |region| &region.base_url);
            let text = format!("{} is in {}: its people cross from here", city.name, city.region);
            Finding::warning("headers", "city", text, format!("let the load balancer send them to {url}"))
        }
        None => {
            let names = [&proxy.city_header, &proxy.coordinates_header].into_iter().flatten();
            let names = names.map(String::as_str).collect::<Vec<_>>().join(" or ");
            let (text, advice) = if names.is_empty() {
                (
                    "is not looked for".to_owned(),
                    "set MOVR_CLIENT_CITY_HEADER or MOVR_CLIENT_COORDINATES_HEADER".to_owned(),
                )
            } else {
                (format!("{names} names no city of the catalogue"), "compare it with the catalogue's names".to_owned())
            };
            Finding::warning("headers", "city", text, advice)
        }
    });
    findings
}
