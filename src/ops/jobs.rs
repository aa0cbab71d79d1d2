//! Operators' jobs: requested, confirmed, done batch by batch, cancelled. A batch is at most 200
//! items and about a second, done by an instance's `worker` or by a command; two at once do no
//! harm. A transfer ends only when departures and arrivals have been compared.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Done, OpError, Result, Service, erasure, gated, gates::Gates, imports, residency::Refusals};
use crate::{
    db::{
        Actor, Conn, Db, DbError, DbErrorKind, SessionAuth, Verdict, Write,
        bulk::{self, Selection},
        job_write::JobWrite,
        jobs::{self, Job},
        transfers::{self, Item},
    },
    domain::{Catalogue, JobKind, JobRef, Refusal, RegionCode},
};

/// After this time a batch begins no other vehicle.
const BATCH_TIME: Duration = Duration::from_millis(900);
/// Vehicles that a transfer moves concurrently.
const SIDE_BY_SIDE: usize = 4;
/// Vehicles compared per statement.
const COMPARED: i64 = 1_000;
const NOTHING_YET: Uuid = Uuid::nil();

#[derive(Clone, Copy)]
pub struct JobContext<'a> {
    pub db: &'a Db,
    pub gates: &'a Gates,
    pub catalogue: &'a Catalogue,
    pub actor: Actor<'a>,
    /// Counts policy refusals; commands have none.
    pub refusals: Option<&'a Refusals>,
    pub now: DateTime<Utc>,
}

impl<'a> JobContext<'a> {
    pub fn of(service: &'a Service, catalogue: &'a Catalogue, auth: &'a SessionAuth) -> Self {
        let refusals = Some(&service.residency_refusals);
        let (db, gates) = (&service.db, &service.gates);
        Self { db, gates, catalogue, actor: Actor::Session(auth), refusals, now: auth.now }
    }

    /// A worker's, on behalf of whoever is responsible for the job.
    pub fn for_requester(service: &'a Service, catalogue: &'a Catalogue, job: &'a Job) -> Self {
        let actor = if job.requested_by.id.is_nil() { Actor::Shell } else { Actor::Person(&job.requested_by) };
        let refusals = Some(&service.residency_refusals);
        Self { db: &service.db, gates: &service.gates, catalogue, actor, refusals, now: service.clock.now() }
    }

    /// A command's.
    pub fn of_shell(db: &'a Db, gates: &'a Gates, catalogue: &'a Catalogue, now: DateTime<Utc>) -> Self {
        Self { db, gates, catalogue, actor: Actor::Shell, refusals: None, now }
    }

    /// Runs a statement on a job at a gateway of its region, under the gates of the actor's home,
    /// the job's region and the target region.
    pub async fn write(
        &self,
        job: &JobRef,
        city: &str,
        to: (&RegionCode, &str),
        op: impl AsyncFn(&Conn, &JobWrite<'_>) -> Result<Verdict, DbError>,
    ) -> Result<Done> {
        let (actor, now, region) = (self.actor, self.now, &job.region);
        let regions = [actor.home(region), region, to.0];
        gated(self.db, self.gates, regions, async |[home_epoch, epoch, to_epoch]| {
            let on_job = Write::new(actor, now, (region, job.id), [home_epoch, epoch]);
            let write = JobWrite { on_job, city, to, to_epoch };
            self.db.write_with_retry(region, async |conn| op(conn, &write).await).await
        })
        .await
    }

    pub(super) async fn write_on(
        &self,
        job: &Job,
        op: impl AsyncFn(&Conn, &JobWrite<'_>) -> Result<Verdict, DbError>,
    ) -> Result<Done> {
        let (region, city) = job.target();
        self.write(&job.job, &job.city, (&region, &city), op).await
    }
}

#[derive(Debug, Clone)]
pub struct NewJob {
    pub job: JobRef,
    pub job_kind: JobKind,
    pub city: String,
    /// Only for jobs with a target.
    pub to_city: Option<String>,
    pub note: Option<String>,
    pub selection: Selection,
}

pub async fn create(context: JobContext<'_>, new: &NewJob) -> Result<Done> {
    let target = new.to_city.as_deref().unwrap_or(&new.city);
    let region = &context.catalogue.city(target).ok_or(Refusal::Changed)?.region;
    let parameters = json!({
        "selecting": NOTHING_YET.to_string(),
        "to_region": new.to_city.as_ref().map(|_| region),
        "to_city": new.to_city,
        "note": new.note,
        "selection": new.selection,
    });
    let done = context
        .write(&new.job, &new.city, (region, target), async |conn, write| {
            jobs::insert(conn, write, new.job_kind, &parameters).await
        })
        .await?;
    // The first vehicles at once, so that a small job is ready when it is seen; a worker goes on.
    let job = find(context.db, &new.job).await?;
    if job.selecting() {
        select(context, &job).await?;
    }
    Ok(done)
}

/// Selects the next items of a job. An owner's vehicle leaves its region only if the policy lets
/// the owner move, too.
pub async fn select(context: JobContext<'_>, job: &Job) -> Result<()> {
    let stored = job.parameters.get("selection").cloned().unwrap_or_else(|| json!({ "list": [] }));
    let bug = |error: serde_json::Error| DbError::new(DbErrorKind::Bug, "jobs", format!("selection: {error}"));
    let (selection, target) = (serde_json::from_value(stored).map_err(bug)?, job.target().0);
    let selecting = job.text("selecting").unwrap_or_default();
    let policy = context.catalogue.policy(&job.job.region);
    let owners_stay = target != job.job.region && !policy.is_some_and(|policy| policy.allows_move_to(&target));
    let kept = Cell::new(0);
    context
        .write_on(job, async |conn, write| {
            let (verdict, refused) = bulk::select(conn, write, selecting, owners_stay, &selection).await?;
            kept.set(refused);
            Ok(verdict)
        })
        .await?;
    let vehicles = kept.get();
    if vehicles > 0 {
        if let Some(refusals) = context.refusals {
            let vehicles = u64::try_from(vehicles).unwrap_or(0);
            refusals.count("move_to", vehicles);
            context.db.metrics().residency_refusals.of([]).inc_by(vehicles);
        }
        tracing::warn!(rule = "move_to", from = %job.job.region, to = %target, vehicles, "residency policy refused a transfer");
    }
    Ok(())
}

/// From now on a worker may take the job and do it, as whoever has confirmed it. An import's new
/// vehicles get `new_status`, or come onto the street.
pub async fn confirm(context: JobContext<'_>, job: &Job, new_status: Option<&str>) -> Result<Done> {
    context.write_on(job, async |conn, write| jobs::confirm(conn, write, new_status).await).await
}

/// Ends the job: waiting items are not done any more. The target region is not needed.
pub async fn cancel(context: JobContext<'_>, job: &Job) -> Result<Done> {
    let here = (&job.job.region, job.city.as_str());
    context.write(&job.job, &job.city, here, async |conn, write| jobs::cancel(conn, write).await).await
}

/// The next step: more items to select, or the next ones of a confirmed job. Does nothing for other
/// jobs.
pub async fn batch(context: JobContext<'_>, job: &Job) -> Result<()> {
    match job.job_kind {
        _ if !job.running => Ok(()),
        // Its items come with the rest of the file, or never.
        JobKind::Import if job.selecting() => Ok(()),
        _ if job.selecting() => select(context, job).await,
        _ if job.confirmed_at.is_none() => Ok(()),
        JobKind::Import => imports::batch(context, job).await,
        JobKind::Erasure => erasure::batch(context, job).await,
        JobKind::Transfer => transfer(context, job).await,
        JobKind::Maintenance
        | JobKind::BackToStreet
        | JobKind::Lost
        | JobKind::Found
        | JobKind::Retire
        | JobKind::Move => change(context, job).await,
    }
}

/// Retries once when a code was just taken: now the statement sees it.
async fn retry_code_taken(op: impl AsyncFn() -> Result<Done>) -> Result<()> {
    match op().await {
        Err(OpError::Refused(Refusal::CodeTaken)) => op().await.map(drop),
        done => done.map(drop),
    }
}

async fn change(context: JobContext<'_>, job: &Job) -> Result<()> {
    let depot = match job.job_kind {
        JobKind::Move => Some(context.catalogue.city(&job.target().1).ok_or(Refusal::Changed)?.centre),
        _ => None,
    };
    let batch =
        async |conn: &Conn, write: &JobWrite<'_>| bulk::batch(conn, write, job.job_kind, note(job), depot).await;
    retry_code_taken(async || context.write_on(job, batch).await).await
}

/// The vehicles' new note: none keeps the current one, an empty one removes it.
fn note(job: &Job) -> Option<&str> {
    match job.job_kind {
        JobKind::Maintenance => job.text("note"),
        JobKind::BackToStreet => Some(""),
        _ => None,
    }
}

/// One statement a vehicle, a few concurrently, for about a second; then the comparison.
async fn transfer(context: JobContext<'_>, job: &Job) -> Result<()> {
    let began = Instant::now();
    let depot = context.catalogue.city(&job.target().1).ok_or(Refusal::Changed)?.centre;
    let waiting = transfers::list(&context.db.at(&job.job.region).await?, &job.job, "waiting", 0, bulk::BATCH).await?;
    if waiting.is_empty() {
        return complete(context, job).await;
    }
    let move_one = async |item: &Item| {
        context.write_on(job, async |conn, write| transfers::move_one(conn, write, item, depot).await).await
    };
    stream::iter(&waiting)
        .take_while(|_| std::future::ready(began.elapsed() < BATCH_TIME))
        .map(|item| retry_code_taken(async || move_one(item).await))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await
}

/// Compares departures with arrivals, item by item, and ends the job if all match.
async fn complete(context: JobContext<'_>, job: &Job) -> Result<()> {
    let (target, mut after) = (job.target().0, 0);
    let (mut sent, mut received) = ((0_i64, Sha256::new()), (0_i64, Sha256::new()));
    let mut missing = Vec::new();
    loop {
        let left = transfers::list(&context.db.at(&job.job.region).await?, &job.job, "done", after, COMPARED).await?;
        let Some(last) = left.last() else { break };
        after = last.position;
        let ids: Vec<Uuid> = left.iter().map(|item| item.vehicle).collect();
        let arrived = transfers::list_arrived(&context.db.at(&target).await?, &target, job.job.id, &ids).await?;
        for item in &left {
            sent = (sent.0 + 1, sent.1.chain_update(&item.checksum));
            match arrived.iter().find(|(id, ..)| *id == item.vehicle) {
                Some((_, checksum, true)) => received = (received.0 + 1, received.1.chain_update(checksum)),
                _ => missing.push(item.vehicle),
            }
        }
    }
    // As people compare them: the first ten digits.
    let digits = |sum: Sha256| {
        format!("{:010x}", sum.finalize().iter().take(5).fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (of_sent, of_received) = (digits(sent.1), digits(received.1));
    let good = sent.0 == received.0 && of_sent == of_received;
    missing.truncate(20);
    let compared = json!({
        "sent": sent.0, "received": received.0, "sent_sum": of_sent, "received_sum": of_received, "missing": missing,
    });
    if !good {
        tracing::error!(job = %job.job.id, %compared, "a transfer is not complete");
    }
    context.write_on(job, async |conn, write| transfers::finish(conn, write, &compared, good).await).await.map(drop)
}

pub async fn find(db: &Db, which: &JobRef) -> Result<Job> {
    Ok(jobs::find(&db.at(&which.region).await?, which).await?.ok_or(Refusal::NoSuchJob)?)
}
