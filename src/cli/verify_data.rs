//! `movr verify-data`: reads the whole database and says which invariants hold. Exit
//! code 1 when one does not.

#![allow(clippy::print_stdout, reason = "commands print")]

use super::Outcome;
use crate::{
    clock::Clock,
    config::Tools,
    db::{self, Db},
    domain::region::RegionCode,
    ops::verify,
};

/// Runs it.
pub async fn run(tools: &Tools) -> Outcome {
    let db = Db::open(&tools.database).await?;
    let catalogue = db::catalogue::load(&db.here().await?).await?.ok_or("no catalogue yet: run movr migrate first")?;
    let regions: Vec<RegionCode> = catalogue.regions.iter().map(|region| region.code.clone()).collect();
    let report = verify::run(&db, &regions, &catalogue, Clock::default().now()).await?;
    println!("{:>9}  {:>8}  check", "rows", "findings");
    for (check, meaning) in &verify::CHECKS {
        let rows = report.looked_at.get(check).copied().unwrap_or(0);
        let found = report.findings.iter().filter(|finding| finding.check == *check).count();
        println!("{rows:>9}  {found:>8}  {check}: {meaning}");
    }
    for finding in &report.findings {
        let region = finding.region.as_ref().map_or("all regions", |region| region.as_str());
        println!("{} in {region}: {}", finding.check, finding.what);
    }
    if report.findings.is_empty() { Ok(()) } else { Err(format!("{} findings", report.findings.len()).into()) }
}
