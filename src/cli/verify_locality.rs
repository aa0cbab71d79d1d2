//! `movr verify-locality`: whether the plan of every statement keeps its declared reach,
//! from a gateway of each region that can be reached. Exit code 1 when one does not, or when
//! its plan cannot be read, and its name on stderr. `--json` prints the same for programs, and nothing else.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use super::Outcome;
use crate::{
    config::Tools,
    db::{
        self,
        locality::{Gateway, Placement, PlanVerdict, StatementCheck},
    },
};

#[derive(Debug, Serialize)]
struct Seen {
    region: String,
    statements: Vec<StatementCheck>,
}

pub async fn run(tools: &Tools, json: bool) -> Outcome {
    let database = &tools.database;
    let mut here = Gateway::open(&db::endpoint(database, database.url.expose())?).await?;
    let placement = here.placement().await;
    let mut seen = vec![check(&mut here).await?];
    let mut unreachable = Vec::new();
    // On PostgreSQL a plan is the same wherever it is made.
    for (region, url) in database.region_urls().filter(|_| here.engine.cockroach) {
        match Gateway::open(&db::endpoint(database, url)?).await {
            Ok(mut there) => seen.push(check(&mut there).await?),
            Err(error) => unreachable.push(format!("{region}: {error}")),
        }
    }
    let all: Vec<&StatementCheck> = seen.iter().flat_map(|seen| &seen.statements).collect();
    let count = |verdict| all.iter().filter(|checked| checked.verdict == verdict).count();
    let [ok, breach, unknown] = [PlanVerdict::Ok, PlanVerdict::Breach, PlanVerdict::Unknown].map(count);
    if json {
        let counts = json!({ "ok": ok, "breach": breach, "unknown": unknown });
        let report = json!({ "server": here.engine.version, "gateways": seen, "unreachable": unreachable,
            "placement": placement, "counts": counts });
        println!("{report:#}");
    } else {
        println!("{}", here.engine.version);
        seen.iter().for_each(table);
        placement.iter().for_each(place);
        for line in &unreachable {
            println!("not reached: {line}");
        }
        println!("\n{} checks: {ok} ok, {breach} in breach, {unknown} unknown", all.len());
    }
    outcome(&all)?;
    if unreachable.is_empty() { Ok(()) } else { Err(format!("not reached: {}", unreachable.join("; ")).into()) }
}

async fn check(gateway: &mut Gateway) -> Result<Seen, db::error::DbError> {
    let mut statements = Vec::new();
    for statement in db::all_statements() {
        statements.push(gateway.check(statement).await?);
    }
    Ok(Seen { region: gateway.region.clone(), statements })
}

/// Fails with the names of the statements that break their reach, or whose plan could not
/// be read: what is not understood proves nothing.
pub fn outcome(checked: &[&StatementCheck]) -> Outcome {
    let named = |verdict| {
        let found: BTreeSet<&str> = checked.iter().filter(|c| c.verdict == verdict).map(|c| c.statement).collect();
        found.into_iter().collect::<Vec<_>>().join(", ")
    };
    let (broken, unread) = (named(PlanVerdict::Breach), named(PlanVerdict::Unknown));
    if !broken.is_empty() {
        return Err(format!("beyond the declared reach: {broken}").into());
    }
    if !unread.is_empty() {
        return Err(format!("not understood, so not proved: {unread}").into());
    }
    if checked.is_empty() { Err("nothing was checked".into()) } else { Ok(()) }
}

fn table(seen: &Seen) {
    let homes = seen.statements.iter().any(|checked| checked.home_region.is_some());
    let home = |text: &str| if homes { format!("{text:<30} ") } else { String::new() };
    println!("\nasked for {}", seen.region);
    println!("{:<28} {:<11} {:<7} {}spans or index conditions", "statement", "reach", "verdict", home("home region"));
    for checked in &seen.statements {
        let verdict = match checked.verdict {
            PlanVerdict::Ok => "ok",
            PlanVerdict::Breach => "BREACH",
            PlanVerdict::Unknown => "unknown",
        };
        let plan = checked.plan.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let enforced = home(checked.home_region.as_deref().unwrap_or("-"));
        println!("{:<28} {:<11} {verdict:<7} {enforced}{plan}", checked.statement, checked.reach);
        for line in checked.why.iter().copied().chain(checked.findings.iter().map(String::as_str)) {
            println!("{:<28}   {line}", "");
        }
    }
}

fn place(placement: &Placement) {
    let leaseholders = match &placement.leaseholders {
        Ok(regions) => regions.iter().map(|(region, n)| format!("{n} {region}")).collect::<Vec<_>>().join(", "),
        Err(reason) => reason.clone(),
    };
    println!("{:<20} {:<28} leaseholders: {leaseholders}", placement.table, placement.locality);
}
