//! The background work of an instance: the jobs of its region, each under a lease, so that one
//! worker at a time does it and another goes on when that one dies. What is done twice all the
//! same (a batch that outlived its lease) does no harm: each item is done together with its change.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use futures_util::FutureExt;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    db::{
        error::DbError,
        jobs::{self, Job},
    },
    domain::refusal::Refusal,
    ops::service::Service,
    ops::{self, Done, OpError, gated_in, jobs::JobContext},
};

/// A job that cannot go on just now is tried again after this.
const PAUSE: Duration = Duration::from_secs(5);
/// An interrupted selection is gone on with for this long.
const SELECTED_FOR: TimeDelta = TimeDelta::days(1);

/// Works until the instance drains. Without work it reads once every `MOVR_WORKER_MS`, and when
/// somebody wakes it.
pub async fn work(service: Arc<Service>) {
    let mut worker = Worker { id: Uuid::new_v4(), paused: HashMap::new(), service };
    while !worker.service.config.worker.is_zero() && !worker.service.draining() {
        // A bug in one batch must not end the work of the region's only instance.
        let busy = match AssertUnwindSafe(worker.batches()).catch_unwind().await {
            Ok(Ok(busy)) => busy,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the worker could not look for jobs");
                false
            }
            Err(_panic) => {
                tracing::error!("a batch of a job panicked");
                false
            }
        };
        if !busy {
            let _woken = timeout(worker.service.config.worker, worker.service.work.notified()).await;
        }
    }
}

struct Worker {
    service: Arc<Service>,
    id: Uuid,
    /// Jobs that are not to be tried before then.
    paused: HashMap<Uuid, Instant>,
}

impl Worker {
    /// A batch of each of the oldest jobs; whether anything was done.
    async fn batches(&mut self) -> Result<bool, DbError> {
        let service = Arc::clone(&self.service);
        self.paused.retain(|_, until| *until > Instant::now());
        let paused: Vec<Uuid> = self.paused.keys().copied().collect();
        let since = service.clock.now() - SELECTED_FOR;
        let found =
            jobs::list_next(&service.db.at(&service.here).await?, &service.here, self.id, &paused, since).await?;
        let mut worked = false;
        for job in found {
            match self.batch(&job).await {
                Ok(goes_on) => {
                    worked = true;
                    if !goes_on {
                        self.pause(&job);
                    }
                }
                Err(error) => {
                    self.pause(&job);
                    self.explain(&job, &error).await;
                }
            }
        }
        Ok(worked)
    }

    fn pause(&mut self, job: &Job) {
        self.paused.insert(job.job.id, Instant::now() + PAUSE);
    }

    /// The next batch of a job, whose lease is taken or renewed first; whether there is another.
    async fn batch(&self, job: &Job) -> Result<bool, OpError> {
        let service = &self.service;
        let lease = async |epoch| {
            service.db.write(&service.here, async |conn| jobs::lease(conn, &job.job, epoch, self.id).await).await
        };
        if gated_in(&service.db, &service.gates, &service.here, lease).await? == Done::Before {
            return Ok(false);
        }
        let catalogue = service.catalogue();
        ops::jobs::turn(JobContext::for_requester(service, &catalogue, job), job).await?;
        // What was compared and is not the same may be put right by people, but not at once.
        Ok(job.parameters.get("compared").is_none())
    }

    /// Tells the job's page why it does not go on, as far as it cannot see that by itself.
    async fn explain(&self, job: &Job, error: &OpError) {
        let service = &self.service;
        if let OpError::Db(error) = error {
            tracing::warn!(job = %job.job.id, %error, "a job does not go on just now");
        }
        if let OpError::Refused(Refusal::NotOperator) = error {
            let pause = async |epoch| {
                let pause = async |conn: &_| jobs::pause(conn, &job.job, epoch, self.id, "not_operator").await;
                service.db.write(&service.here, pause).await
            };
            if let Err(error) = gated_in(&service.db, &service.gates, &service.here, pause).await {
                tracing::warn!(job = %job.job.id, ?error, "the reason could not be written down");
            }
        }
    }
}
