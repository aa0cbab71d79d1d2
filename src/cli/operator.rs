//! `movr operator`: what needs no browser. The first administrator is made here, and a
//! region can be closed and opened while no administrator can sign in.

#![allow(clippy::print_stdout, reason = "commands print")]

use chrono::{DateTime, Utc};
use clap::Subcommand;
use uuid::Uuid;

use super::{
    Outcome,
    files::{self, ExportArgs, ImportArgs},
};
use crate::{
    clock::Clock,
    config::Tools,
    db::{Db, acting::By, gates::Change, jobs},
    domain::{catalogue::Catalogue, job::JobRef, refusal::Refusal, region::RegionCode},
    ops::{self, Done, OpError, gates::Gates, jobs::JobContext},
};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give a role to a person: administrator, or operator of a city.
    Grant {
        /// The person's username.
        username: String,
        /// `administrator` or `operator`.
        #[arg(value_parser = ["administrator", "operator"])]
        role: String,
        /// The city, for operators.
        #[arg(long)]
        city: Option<String>,
    },
    /// Close a region for writes, or open it again.
    RegionState(RegionState),
    /// Do a confirmed job to its end, with the rights of the shell; beside the worker that has it, if one does.
    Job {
        /// The job's region.
        region: RegionCode,
        /// The job's id, as its page's address has it.
        id: Uuid,
    },
    /// Add and change vehicles of a city from a CSV file.
    Import(ImportArgs),
    /// Write the vehicles of a city as a CSV file to the standard output.
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct RegionState {
    /// The region, as in the catalogue.
    region: RegionCode,
    /// `read-only` or `writable`.
    #[arg(value_parser = ["read-only", "writable"])]
    state: String,
    /// Why it is closed, for everybody to read: no names of people.
    #[arg(long)]
    reason: Option<String>,
    /// When it is expected to open, as in 2026-11-21T15:00:00Z. It does not open by itself.
    #[arg(long)]
    until: Option<DateTime<Utc>>,
    /// Refuse when the gate has another epoch by now.
    #[arg(long)]
    epoch: Option<i64>,
    /// Do not wait until the closed region is fenced: until no write of before becomes visible.
    #[arg(long)]
    no_wait: bool,
}

/// Runs it.
pub async fn run(tools: &Tools, args: &Args) -> Outcome {
    let db = Db::open(&tools.database).await?;
    // A cold node takes seconds to prepare a statement, which is longer than one may take.
    db.warm().await?;
    let catalogue =
        crate::db::catalogue::load(&db.here().await?).await?.ok_or("no catalogue yet: run movr migrate first")?;
    match &args.what {
        What::Grant { username, role, city } => grant(&db, &catalogue, username, role, city.as_ref()).await,
        What::RegionState(wish) => region_state(&db, &catalogue, wish).await,
        What::Job { region, id } => job(&db, &catalogue, &JobRef { region: region.clone(), id: *id }).await,
        What::Import(args) => files::import(&db, &catalogue, args).await,
        What::Export(args) => files::export(&db, &catalogue, args).await,
    }
}

async fn region_state(db: &Db, catalogue: &Catalogue, wish: &RegionState) -> Outcome {
    let RegionState { region, reason, until, epoch, .. } = wish;
    if catalogue.region(region).is_none() {
        return Err(format!("there is no region {region} in the catalogue").into());
    }
    let writable = wish.state == "writable";
    let reason = reason.as_deref().map(ops::gates::reason).transpose()?;
    if writable && (reason.is_some() || until.is_some()) {
        return Err("an open region has no --reason and no --until".into());
    }
    if until.is_some_and(|until| until <= Clock::default().now()) {
        return Err("--until has passed".into());
    }
    let change = Change { region: region.clone(), writable, epoch: *epoch, reason, until: *until };
    // A command acts from nowhere: the region itself keeps the event.
    let done = ops::gates::change(db, &change, region, None).await?;
    let gate = ops::gates::find(db, region).await?;
    let was = if done == Done::Now { "is" } else { "was already" };
    println!("{region} {was} {}, epoch {}", wish.state, gate.epoch);
    let fenced_at = if wish.no_wait { gate.fenced_at(db.fence()) } else { ops::gates::fenced(db, region).await? };
    if let Some(at) = fenced_at {
        let word = if wish.no_wait { "not before" } else { "at" };
        println!("fenced {word} {}", at.format("%Y-%m-%dT%H:%M:%SZ"));
    }
    Ok(())
}

async fn job(db: &Db, catalogue: &Catalogue, which: &JobRef) -> Outcome {
    let gates = Gates::default();
    loop {
        let job = match ops::jobs::find(db, which).await {
            Err(OpError::Refused(Refusal::NoSuchJob)) => return Err(format!("there is no job {}", which.id).into()),
            found => found?,
        };
        let counts = jobs::count_items(&db.at(&which.region).await?, which).await?;
        println!("{} done, {} refused, {} waiting", counts.done, counts.refused, counts.waiting);
        if !job.running {
            let end = if job.cancelled { "cancelled" } else { "done" };
            println!("the job is {end}");
            return Ok(());
        }
        if job.confirmed_at.is_none() && !job.selecting() {
            return Err("the job waits to be confirmed".into());
        }
        if let Some(compared) = job.parameters.get("compared") {
            return Err(format!("what left and what arrived is not the same: {compared}").into());
        }
        let context =
            JobContext { db, gates: &gates, catalogue, by: By::Shell, refusals: None, now: Clock::default().now() };
        ops::jobs::turn(context, &job).await?;
    }
}

async fn grant(db: &Db, catalogue: &Catalogue, username: &str, role: &str, city: Option<&String>) -> Outcome {
    let city = match (role, city) {
        ("administrator", None) => "",
        ("operator", Some(city)) => &files::city_of(catalogue, city)?.slug,
        ("operator", None) => return Err("an operator needs --city".into()),
        _ => return Err("an administrator has no city".into()),
    };
    let granted = match ops::accounts::grant(db, username, role, city).await {
        Err(OpError::Refused(Refusal::NoMatch)) => return Err(format!("nobody has the username {username}").into()),
        granted => granted?,
    };
    let role = if city.is_empty() { role.to_owned() } else { format!("{role} of {city}") };
    match granted {
        Done::Now => println!("{username} is now {role}"),
        Done::Before => println!("{username} was {role} already"),
    }
    Ok(())
}
