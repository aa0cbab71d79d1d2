//! `movr verify-data`: reads the whole database and says which invariants hold. Exit
//! code 1 when one does not.

use std::time::Duration;

use super::Outcome;
use crate::{
    clock::Clock,
    config::Tools,
    db::{Db, verify::SHOWN},
    domain::RegionCode,
    ops::verify,
};

/// A check reads whole tables in one statement.
const PATIENCE: Duration = Duration::from_hours(1);

pub async fn run(tools: &Tools) -> Outcome {
    let mut database = tools.database.clone();
    (database.statement_timeout, database.write_timeout) = (PATIENCE, PATIENCE);
    let db = Db::open(&database).await?;
    let regions: Vec<RegionCode> =
        super::catalogue(&db).await?.regions.iter().map(|region| region.code.clone()).collect();
    let findings = verify::run(&db, &regions, Clock::default().now()).await?;
    println!("findings  check");
    for (check, meaning) in &verify::CHECKS {
        let found = findings.iter().filter(|finding| finding.check == *check).count();
        let found = if found < SHOWN { found.to_string() } else { format!("{found} or more") };
        println!("{found:>8}  {check}: {meaning}");
    }
    for finding in &findings {
        println!("{} in {}: {}", finding.check, finding.region.as_str(), finding.what);
    }
    if findings.is_empty() { Ok(()) } else { Err(format!("{} findings", findings.len()).into()) }
}
