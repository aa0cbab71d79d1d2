//! Erasing a person. The request closes the account at once; the worker of the home region erases
//! the data of the regions batch by batch, home last. Each batch may be done twice. A region that
//! does not answer is retried later, and at the end the job's row no longer names the person.

use std::cell::Cell;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Result, Service, accounts::home_write, gated_write, home::current_user, jobs::JobContext};
use crate::{
    db::{
        DbError, DbErrorKind, SessionAuth,
        home::{self, LeaveCommand},
        jobs::Job,
    },
    domain::{JobRef, Refusal, RegionCode},
};

/// The returned job erases the rest. Refused while the person rides, holds a reservation, or owns
/// vehicles that are not retired, as far as their regions can be asked.
pub async fn close_account(service: &Service, auth: &SessionAuth, password_hash: &str) -> Result<JobRef> {
    let home = &auth.user.region;
    let current_user = current_user(service, auth).await?;
    let present_in = json!(current_user.present_in);
    let mut regions: Vec<&RegionCode> = current_user.present_in.iter().filter(|region| *region != home).collect();
    let owned = regions.iter().map(async |region| {
        let conn = service.db.at(region).await?;
        home::list_vehicles(&conn, region, &auth.user, Uuid::nil()).await
    });
    for owned in futures_util::future::join_all(owned).await {
        match owned {
            Ok(owned) if owned.iter().any(|(_, vehicle)| vehicle.get("status") != Some(&json!("retired"))) => {
                return Err(Refusal::StillOwner.into());
            }
            // The worker takes the person out of what is there when the region is back.
            Err(error) => tracing::warn!(%error, "a region was not asked before an erasure"),
            Ok(_) => {}
        }
    }
    let reserved = current_user.reservation.as_ref().map(|reservation| &reservation.region);
    regions.extend(reserved.filter(|region| *region != home && !current_user.present_in.contains(region)));
    regions.push(home);
    let leaving = LeaveCommand { password_hash, present_in: &present_in };
    let (parameters, id) = (json!({ "regions": regions, "rides": 0 }), Uuid::new_v4());
    home_write(service, auth, id, async |conn, write| home::erase(conn, write, &leaving, &parameters).await).await?;
    service.work.notify_one();
    Ok(JobRef { region: home.clone(), id })
}

/// The regions still to erase, home last, and the number of rides unlinked so far.
pub fn progress(parameters: &Value) -> (Vec<RegionCode>, i64) {
    let regions = parameters.get("regions").and_then(Value::as_array).into_iter().flatten();
    let regions = regions.filter_map(|region| region.as_str()?.parse().ok()).collect();
    (regions, parameters.get("rides").and_then(Value::as_i64).unwrap_or(0))
}

/// The next batch: of the first region that answers, home only when it is the last.
pub async fn batch(context: JobContext<'_>, job: &Job) -> Result<()> {
    let (regions, rides) = progress(&job.parameters);
    let mut failed = None;
    for region in &regions {
        if *region == job.job.region && failed.is_some() {
            break;
        }
        match erase(context, job, region).await {
            Ok(unlinked) => {
                let left: Vec<_> = regions.iter().filter(|other| unlinked.is_some() || *other != region).collect();
                let is = json!({ "regions": left, "rides": rides + unlinked.unwrap_or(0) });
                return note(context, job, &is, left.is_empty()).await;
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) => Err(error),
        None => note(context, job, &json!({ "regions": [], "rides": rides }), true).await,
    }
}

/// Erases the next rides and vehicles; returns how many rides, or none when nothing is left.
async fn erase(context: JobContext<'_>, job: &Job, region: &RegionCode) -> Result<Option<i64>> {
    let person = &job.requested_by;
    if person.id.is_nil() {
        return Err(DbError::new(DbErrorKind::Bug, "erasure", "of nobody").into());
    }
    let next = home::list_erasable(&context.db.at(region).await?, region, person, context.now).await?;
    if next.is_empty() {
        return Ok(None);
    }
    let rides = Cell::new(0);
    gated_write(context.db, context.gates, region, async |conn, epoch| {
        let (verdict, unlinked) =
            home::erase_region(conn, (region, epoch), (person, job.job.id), &next, context.now).await?;
        rides.set(unlinked);
        Ok(verdict)
    })
    .await?;
    Ok(Some(rides.get()))
}

async fn note(context: JobContext<'_>, job: &Job, is: &Value, over: bool) -> Result<()> {
    let home = &job.job.region;
    gated_write(context.db, context.gates, home, async |conn, epoch| {
        home::note_erased(conn, &job.job, epoch, (&job.parameters, is), over, context.now).await
    })
    .await
    .map(drop)
}
