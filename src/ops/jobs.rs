//! Jobs of operators: asked for, confirmed, done batch by batch, cancelled. A batch is at most
//! 200 items and about a second; the worker of an instance does them (`worker`), and so does
//! the command. Two at once do no harm. A transfer ends only when what left and what
//! arrived have been compared.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Done, OpError, erasure, gated, gates::Gates, residency::Refusals};
use crate::{
    db::{
        Db,
        acting::{Acting, By},
        bulk::{self, Selection},
        error::{DbError, DbErrorKind},
        imports,
        jobs::{self, Job},
        statement::Conn,
        transfers::{self, Item},
        verdict::{SessionAuth, Verdict},
    },
    domain::{
        catalogue::Catalogue,
        job::{JobKind, JobRef},
        refusal::Refusal,
        region::RegionCode,
    },
    ops::service::Service,
};

/// Items of one turn.
const TURN: i64 = 200;
/// After this time a turn begins no other vehicle.
const TURN_TIME: Duration = Duration::from_millis(900);
/// Vehicles that a transfer moves side by side.
const SIDE_BY_SIDE: usize = 4;
/// Vehicles that are compared in one go.
const COMPARED: i64 = 1_000;
/// Where every selection begins.
const NOTHING_YET: Uuid = Uuid::nil();

/// Who acts, and with what.
#[derive(Clone, Copy)]
pub struct JobContext<'a> {
    pub db: &'a Db,
    pub gates: &'a Gates,
    pub catalogue: &'a Catalogue,
    pub by: By<'a>,
    /// What policies forbid is counted here; a command counts nothing.
    pub refusals: Option<&'a Refusals>,
    pub now: DateTime<Utc>,
}

impl<'a> JobContext<'a> {
    /// A person's hand.
    pub fn of(service: &'a Service, catalogue: &'a Catalogue, auth: &'a SessionAuth) -> Self {
        Self {
            db: &service.db,
            gates: &service.gates,
            catalogue,
            by: By::Session(auth),
            refusals: Some(&service.residency_refusals),
            now: auth.now,
        }
    }

    /// The hand of a worker of this instance, for whoever answers for the job.
    pub fn for_requester(service: &'a Service, catalogue: &'a Catalogue, job: &'a Job) -> Self {
        let by = if job.requested_by.id.is_nil() { By::Shell } else { By::Person(&job.requested_by) };
        Self {
            db: &service.db,
            gates: &service.gates,
            catalogue,
            by,
            refusals: Some(&service.residency_refusals),
            now: service.clock.now(),
        }
    }

    /// Runs a statement on a job at a gateway of its region, under the gates of the person's
    /// home, of the job's region and of the region that its vehicles go to.
    pub async fn act(
        &self,
        job: &JobRef,
        city: &str,
        to: (&RegionCode, &str),
        op: impl AsyncFn(&Conn, &Acting) -> Result<Verdict, DbError>,
    ) -> Result<Done, OpError> {
        let home = self.by.home(&job.region);
        gated(self.db, self.gates, &[home, &job.region, to.0], async |epochs| {
            let [home, there, target] = epochs else {
                return Ok(Verdict::Gate);
            };
            let acting = Acting::new(self.by, self.now, job, (city, to), [*home, *there, *target]);
            self.db.write(&job.region, async |conn| op(conn, &acting).await).await
        })
        .await
    }

    async fn act_on(
        &self,
        job: &Job,
        op: impl AsyncFn(&Conn, &Acting) -> Result<Verdict, DbError>,
    ) -> Result<Done, OpError> {
        let (region, city) = job.target();
        self.act(&job.job, &job.city, (&region, &city), op).await
    }
}

/// A job that is asked for.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The id that the form carried, in the region of `city`.
    pub job: JobRef,
    pub kind: JobKind,
    /// Slug of the city whose vehicles it is about.
    pub city: String,
    /// Where they go, for those that go somewhere.
    pub to_city: Option<String>,
    pub note: Option<String>,
    pub selection: Selection,
}

/// Makes the job with its items. It waits to be confirmed.
pub async fn create(context: JobContext<'_>, new: &NewJob) -> Result<Done, OpError> {
    let target = new.to_city.as_deref().unwrap_or(&new.city);
    let region = &context.catalogue.city(target).ok_or(Refusal::Changed)?.region;
    let parameters = json!({
        "selecting": NOTHING_YET.to_string(),
        "to_region": new.to_city.as_ref().map(|_| region),
        "to_city": new.to_city,
        "note": new.note,
        "selection": stored(&new.selection),
    });
    let done = context
        .act(&new.job, &new.city, (region, target), async |conn, acting| {
            jobs::insert(conn, acting, new.kind, &parameters).await
        })
        .await?;
    // The first vehicles at once, so that a small job is ready when it is seen; a worker goes on.
    let job = find(context.db, &new.job).await?;
    if job.selecting() {
        select(context, &job).await?;
    }
    Ok(done)
}

/// The selection as the job keeps it.
fn stored(selection: &Selection) -> Value {
    match selection {
        Selection::List(list) => json!({ "list": list }),
        Selection::Filter(filter, drawn) => json!({ "filter": filter, "drawn": drawn }),
    }
}

/// The same back.
fn selection(job: &Job) -> Result<Selection, DbError> {
    let bug = |error: serde_json::Error| DbError::new(DbErrorKind::Bug, "jobs", format!("selection: {error}"));
    let Some(stored) = job.parameters.get("selection") else {
        return Ok(Selection::List(Vec::new()));
    };
    if let Some(list) = stored.get("list") {
        return serde_json::from_value(list.clone()).map(Selection::List).map_err(bug);
    }
    let part = |key: &str| stored.get(key).cloned().unwrap_or_default();
    let filter = serde_json::from_value(part("filter")).map_err(bug)?;
    serde_json::from_value(part("drawn")).map(|drawn| Selection::Filter(filter, drawn)).map_err(bug)
}

/// Adds the next items to a job that is still being selected. A vehicle of a person leaves
/// its region only if the policy lets the person themselves leave.
pub async fn select(context: JobContext<'_>, job: &Job) -> Result<(), OpError> {
    let (selection, target) = (selection(job)?, job.target().0);
    let selecting = job.text("selecting").unwrap_or_default();
    let policy = context.catalogue.policy(&job.job.region);
    let owners_stay = target != job.job.region && !policy.is_some_and(|policy| policy.allows_move_to(&target));
    let kept = AtomicI64::new(0);
    context
        .act_on(job, async |conn, acting| {
            let (verdict, refused) = bulk::select(conn, acting, selecting, owners_stay, &selection).await?;
            kept.store(refused, Ordering::Relaxed);
            Ok(verdict)
        })
        .await?;
    let vehicles = kept.into_inner();
    if vehicles > 0 {
        if let Some(refusals) = context.refusals {
            refusals.count("move_to", u64::try_from(vehicles).unwrap_or(0));
        }
        tracing::warn!(rule = "move_to", from = %job.job.region, to = %target, vehicles, "residency policy refused a transfer");
    }
    Ok(())
}

/// Lets the job begin.
pub async fn confirm(context: JobContext<'_>, job: &Job) -> Result<Done, OpError> {
    context.act_on(job, async |conn, acting| jobs::confirm(conn, acting).await).await
}

/// Ends the job: what waits is not done any more. Nothing is asked of the region that its
/// vehicles would have gone to.
pub async fn cancel(context: JobContext<'_>, job: &Job) -> Result<Done, OpError> {
    let here = (&job.job.region, job.city.as_str());
    context.act(&job.job, &job.city, here, async |conn, acting| jobs::cancel(conn, acting).await).await
}

/// Does what comes next: more items to select, or the next of a confirmed job. Nothing for
/// others.
pub async fn turn(context: JobContext<'_>, job: &Job) -> Result<(), OpError> {
    match job.kind {
        _ if !job.running => Ok(()),
        // Its items come with the rest of the file, or never.
        JobKind::Import if job.selecting() => Ok(()),
        _ if job.selecting() => select(context, job).await,
        _ if job.confirmed_at.is_none() => Ok(()),
        JobKind::Import => import(context, job).await,
        JobKind::Erasure => erasure::batch(context, job).await,
        JobKind::Transfer => transfer(context, job).await,
        JobKind::Maintenance | JobKind::Back | JobKind::Lost | JobKind::Found | JobKind::Retire | JobKind::Move => {
            change(context, job).await
        }
    }
}

/// The next lines of a file that has been read to its end.
async fn import(context: JobContext<'_>, job: &Job) -> Result<(), OpError> {
    let lines = imports::list_waiting(&context.db.at(&job.job.region).await?, &job.job).await?;
    match context.act_on(job, async |conn, acting| imports::turn(conn, acting, &lines).await).await {
        // Somebody added one of these codes in that moment; the next turn sees it.
        Err(OpError::Refused(Refusal::CodeTaken)) => Ok(()),
        turned => turned.map(drop),
    }
}

async fn change(context: JobContext<'_>, job: &Job) -> Result<(), OpError> {
    let depot = match job.kind {
        JobKind::Move => Some(context.catalogue.city(&job.target().1).ok_or(Refusal::Changed)?.centre),
        _ => None,
    };
    let note = note(context, job);
    let mut turned = once(context, job, note.as_deref(), depot).await;
    if let Err(OpError::Refused(Refusal::CodeTaken)) = turned {
        // Somebody took the code in that moment; now the statement sees it.
        turned = once(context, job, note.as_deref(), depot).await;
    }
    turned
}

async fn once(
    context: JobContext<'_>,
    job: &Job,
    note: Option<&str>,
    depot: Option<crate::domain::geo::Point>,
) -> Result<(), OpError> {
    context.act_on(job, async |conn, acting| bulk::turn(conn, acting, job.kind, note, depot).await).await.map(drop)
}

/// The note that the vehicles get: none leaves the one they have, an empty one takes it away.
fn note(context: JobContext<'_>, job: &Job) -> Option<String> {
    let from = context.catalogue.city_name(&job.city);
    match job.kind {
        JobKind::Maintenance => job.text("note").map(str::to_owned),
        JobKind::Back => Some(String::new()),
        JobKind::Move => Some(format!("Moved from {from}")),
        JobKind::Transfer => Some(format!("Transferred from {from}")),
        JobKind::Lost | JobKind::Found | JobKind::Retire | JobKind::Import | JobKind::Erasure => None,
    }
}

/// One transaction a vehicle, a few side by side, for about a second; then the comparison.
async fn transfer(context: JobContext<'_>, job: &Job) -> Result<(), OpError> {
    let began = Instant::now();
    let depot = context.catalogue.city(&job.target().1).ok_or(Refusal::Changed)?.centre;
    let note = note(context, job).unwrap_or_default();
    let waiting = transfers::list(&context.db.at(&job.job.region).await?, &job.job, "waiting", 0, TURN).await?;
    if waiting.is_empty() {
        return complete(context, job).await;
    }
    let move_one = async |item: &Item| {
        context.act_on(job, async |conn, acting| transfers::move_one(conn, acting, item, depot, &note).await).await
    };
    stream::iter(&waiting)
        .take_while(|_| std::future::ready(began.elapsed() < TURN_TIME))
        .map(|item| async {
            match move_one(item).await {
                // Somebody took the code in that moment; now the statement sees it.
                Err(OpError::Refused(Refusal::CodeTaken)) => move_one(item).await,
                moved => moved,
            }
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
}

/// Compares what left with what arrived, item by item, and ends the job if all is there.
async fn complete(context: JobContext<'_>, job: &Job) -> Result<(), OpError> {
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
            sent = (sent.0 + 1, sent.1.chain_update(&item.mark));
            match arrived.iter().find(|(id, ..)| *id == item.vehicle) {
                Some((_, mark, true)) => received = (received.0 + 1, received.1.chain_update(mark)),
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
    context.act_on(job, async |conn, acting| transfers::finish(conn, acting, &compared, good).await).await.map(drop)
}

/// A job; refused when it is not there.
pub async fn find(db: &Db, which: &JobRef) -> Result<Job, OpError> {
    Ok(jobs::find(&db.at(&which.region).await?, which).await?.ok_or(Refusal::NoSuchJob)?)
}
