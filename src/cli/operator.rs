//! `movr operator`: what needs no browser. The first administrator is made here, a region can be closed and opened while
//! no administrator can sign in, and vehicles come from and go to files.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::Outcome;
use crate::{
    clock::Clock,
    config::Tools,
    db::{
        Db, exports,
        gates::{Change, Plan},
        jobs,
    },
    domain::{
        Catalogue, City, JobRef, Refusal, RegionCode,
        fleet::Filter,
        job::{self},
        region::GateState,
    },
    ops::{self, Done, OpError, gates::Gates, imports::Import, jobs::JobContext},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Grant a role to a person: administrator, or operator of a city.
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
    /// Drain a region, close it for writes, or open it again.
    RegionState(RegionState),
    /// Do a confirmed job to its end, with the rights of the shell; beside the worker that has it, if one does.
    Job {
        /// The job's region.
        region: RegionCode,
        /// The job's id, as its page's address has it.
        id: Uuid,
    },
    /// Add and change vehicles of a city from a CSV file. Without `--yes` it ends with the preview, and the job waits for
    /// somebody to confirm it in the browser.
    Import {
        /// The city whose vehicles they are.
        #[arg(long)]
        city: String,
        /// The file, as `/fleet/import` describes it.
        file: PathBuf,
        /// Do it after the preview.
        #[arg(long)]
        yes: bool,
    },
    /// Write the vehicles of a city as a CSV file to the standard output.
    Export {
        /// The city whose vehicles they are.
        #[arg(long)]
        city: String,
    },
}

#[derive(Debug, clap::Args)]
struct RegionState {
    /// The region, as in the catalogue.
    region: RegionCode,
    /// `draining` (nothing new begins, rides can end), `read-only` or `writable`.
    #[arg(value_parser = ["draining", "read-only", "writable"])]
    state: String,
    /// When a draining region becomes read-only by itself, as in 2026-11-21T14:00:00Z. Without it: by hand.
    #[arg(long)]
    close_at: Option<DateTime<Utc>>,
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

pub async fn run(tools: &Tools, args: &Args) -> Outcome {
    let db = Db::open(&tools.database).await?;
    // A cold node takes seconds to prepare a statement, which is longer than one may take.
    db.warm().await?;
    let catalogue = super::catalogue(&db).await?;
    let city_of = |slug: &str| catalogue.city(slug).ok_or_else(|| format!("there is no city {slug} in the catalogue"));
    let (gates, now) = (Gates::default(), Clock::default().now());
    let context = JobContext::of_shell(&db, &gates, &catalogue, now);
    match &args.command {
        Command::Grant { username, role, city } => {
            let city = city.as_deref().map(city_of).transpose()?;
            grant(&db, username, role, city).await
        }
        Command::RegionState(command) => region_state(&db, &catalogue, command).await,
        Command::Job { region, id } => job(context, &JobRef { region: region.clone(), id: *id }).await,
        Command::Import { city, file, yes } => import(context, city_of(city)?, file, *yes).await,
        Command::Export { city } => export(&db, city_of(city)?).await,
    }
}

async fn region_state(db: &Db, catalogue: &Catalogue, command: &RegionState) -> Outcome {
    let RegionState { region, reason, until, epoch, close_at, .. } = command;
    if catalogue.region(region).is_none() {
        return Err(format!("there is no region {region} in the catalogue").into());
    }
    let state = match command.state.as_str() {
        "writable" => GateState::Writable,
        "draining" => GateState::Draining,
        _ => GateState::ReadOnly,
    };
    let reason = reason.as_deref().map(ops::gates::reason).transpose()?;
    if state == GateState::Writable && (reason.is_some() || until.is_some()) {
        return Err("an open region has no --reason and no --until".into());
    }
    let now = Clock::default().now();
    if until.is_some_and(|until| until <= now) {
        return Err("--until has passed".into());
    }
    if close_at.is_some() && state != GateState::Draining {
        return Err("only a draining region has --close-at".into());
    }
    let plan = Plan { drain_at: None, close_at: *close_at };
    let change = Change { region: region.clone(), state, epoch: *epoch, reason, until: *until, plan };
    // A command acts from nowhere: the region itself keeps the event.
    let done = ops::gates::change(db, &change, region, None).await?;
    let gate = ops::gates::find(db, region).await?;
    let was = if done == Done::Now { "is" } else { "was already" };
    println!("{region} {was} {}, epoch {}", command.state, gate.epoch);
    let fenced_at =
        if command.no_wait { gate.fenced_at(db.fence()) } else { ops::gates::wait_until_fenced(db, region).await? };
    if let Some(at) = fenced_at {
        let word = if command.no_wait { "not before" } else { "at" };
        println!("fenced {word} {}", at.format("%Y-%m-%dT%H:%M:%SZ"));
    }
    Ok(())
}

async fn job(context: JobContext<'_>, which: &JobRef) -> Outcome {
    loop {
        let job = match ops::jobs::find(context.db, which).await {
            Err(OpError::Refused(Refusal::NoSuchJob)) => return Err(format!("there is no job {}", which.id).into()),
            found => found?,
        };
        let counts = jobs::count_items(&context.db.at(&which.region).await?, which).await?;
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
        ops::jobs::batch(JobContext { now: Clock::default().now(), ..context }, &job).await?;
    }
}

async fn grant(db: &Db, username: &str, role: &str, city: Option<&City>) -> Outcome {
    let city = match (role, city) {
        ("administrator", None) => "",
        ("operator", Some(city)) => &city.slug,
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

/// Prints what the file would do, and does it if `confirmed`.
async fn import(context: JobContext<'_>, city: &City, path: &Path, confirmed: bool) -> Outcome {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = tokio::fs::File::open(path).await.map_err(named)?;
    let (mut import, mut buffer) = (Import::new(context, city), vec![0; 64 * 1024]);
    while let read @ 1.. = file.read(&mut buffer).await.map_err(named)? {
        import.feed(buffer.get(..read).unwrap_or_default()).await?;
    }
    let which = import.end().await?;
    let job = ops::jobs::find(context.db, &which).await?;
    let [new, changed, same, refused] = ["new", "changed", "same", "refused"].map(|key| job.number(key));
    println!("{}: {new} new, {changed} changed, {same} unchanged, {refused} refused", city.name);
    println!("read as: {}", job.text("read_as").unwrap_or_default());
    print_refused(context.db, &which).await?;
    if !confirmed {
        println!("nothing was changed; confirm job {} at {}", which.id, crate::web::paths::job(&which));
        return Ok(());
    }
    println!("job {} in {}", which.id, which.region);
    ops::jobs::confirm(context, &job, None).await?;
    self::job(context, &which).await?;
    let counts = jobs::count_items(&context.db.at(&which.region).await?, &which).await?;
    println!("done: {} of {} lines, {} refused", counts.done, counts.all(), counts.refused);
    if counts.refused > refused { print_refused(context.db, &which).await } else { Ok(()) }
}

async fn print_refused(db: &Db, which: &JobRef) -> Outcome {
    let (mut after, limit) = (0, 500);
    loop {
        let items = jobs::list_items(&db.at(&which.region).await?, which, after, Some("refused"), limit).await?;
        for item in &items {
            println!("line {}: {}", item.position, job::reason(item.reason.as_deref().unwrap_or_default()));
        }
        match items.last() {
            Some(last) => after = last.position,
            None => return Ok(()),
        }
    }
}

async fn export(db: &Db, city: &City) -> Outcome {
    let (mut after, mut out) = (None, std::io::stdout());
    loop {
        let conn = db.at(&city.region).await?;
        let (text, next) = exports::vehicles(&conn, (&city.region, &city.slug), &Filter::default(), after).await?;
        out.write_all(text.as_bytes())?;
        if next.is_none() {
            return Ok(out.flush()?);
        }
        after = next;
    }
}
