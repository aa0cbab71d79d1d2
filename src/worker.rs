//! The background work of an instance: its region's jobs, each under a lease, so that another
//! worker continues when one dies; rides that are open too long; reported vehicles whose
//! reservation has lapsed; and planned closings. Doing something twice does no harm: each item is done
//! together with its change.

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
        Conn, DbError,
        jobs::{self, Job},
    },
    domain::Refusal,
    ops::{self, Done, OpError, Service, gated_write, jobs::JobContext},
};

/// After this a job that cannot continue now is retried.
const PAUSE: Duration = Duration::from_secs(5);
/// For this long an interrupted selection is continued.
const SELECTED_FOR: TimeDelta = TimeDelta::days(1);

/// How often jobs are counted for the metrics.
const MEASURE: Duration = Duration::from_secs(15);

/// How often rides that have been open too long, and vehicles that many reported, are looked for.
const OVERDUE: Duration = Duration::from_mins(1);

/// Works until the instance drains. Without work it checks every `MOVR_WORKER_MS`, and when it is
/// woken.
pub async fn work(service: Arc<Service>) {
    let mut worker =
        Worker { id: Uuid::new_v4(), paused: HashMap::new(), looked: Instant::now(), measured: None, service };
    while !worker.service.config.worker.is_zero() && !worker.service.draining() {
        // A bug in one batch must not end the work of the region's only instance.
        let busy = AssertUnwindSafe(worker.batches()).catch_unwind().await.unwrap_or_else(|_panic| {
            tracing::error!("a batch of a job panicked");
            false
        });
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
    /// When both were last looked for.
    looked: Instant,
    measured: Option<Instant>,
}

impl Worker {
    /// Ends what has lasted too long when that is due, then does a batch of each of the oldest jobs; returns whether
    /// anything was done.
    async fn batches(&mut self) -> bool {
        if self.looked.elapsed() >= OVERDUE {
            self.looked = Instant::now();
            match ops::rides::end_overdue(&self.service).await {
                Ok(0) => {}
                Ok(ended) => tracing::info!(ended, "rides were ended automatically"),
                Err(error) => tracing::warn!(%error, "rides that are open too long were not looked for"),
            }
            // A closed region takes no change, and shows that by itself.
            if let Err(OpError::Db(error)) = ops::vehicles::withdraw_reported(&self.service).await {
                tracing::warn!(%error, "vehicles that riders reported were not looked for");
            }
        }
        if let Err(error) = ops::gates::keep_plan(&self.service).await {
            tracing::warn!(?error, "the region is not closed as planned yet");
        }
        if self.measured.is_none_or(|at| at.elapsed() >= MEASURE) {
            self.measured = Some(Instant::now());
            if let Err(error) = self.measure().await {
                tracing::warn!(%error, "jobs were not counted");
                let metrics = self.service.db.metrics();
                metrics.jobs.clear();
                metrics.job_age.clear();
            }
        }
        self.jobs().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the worker could not look for jobs");
            false
        })
    }

    async fn measure(&self) -> Result<(), DbError> {
        let Service { db, here, .. } = &*self.service;
        for (state, jobs, age) in jobs::measure(&db.at(here).await?, here).await? {
            db.metrics().jobs.of([state]).set(jobs);
            db.metrics().job_age.of([state]).set(age.unwrap_or(0.0));
        }
        Ok(())
    }

    /// Returns whether any job was worked on.
    async fn jobs(&mut self) -> Result<bool, DbError> {
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

    /// Takes or renews the lease and does the next batch; returns whether there is another.
    async fn batch(&self, job: &Job) -> Result<bool, OpError> {
        let service = &self.service;
        let lease = async |conn: &Conn, epoch| jobs::lease(conn, &job.job, epoch, self.id).await;
        if gated_write(&service.db, &service.gates, &service.here, lease).await? == Done::Before {
            return Ok(false);
        }
        let catalogue = service.catalogue();
        ops::jobs::batch(JobContext::for_requester(service, &catalogue, job), job).await?;
        // What was compared and is not the same may be put right by people, but not at once.
        Ok(job.parameters.get("compared").is_none())
    }

    /// Tells the job's page why it pauses, unless the page can see that by itself.
    async fn explain(&self, job: &Job, error: &OpError) {
        let service = &self.service;
        if let OpError::Db(error) = error {
            tracing::warn!(job = %job.job.id, %error, "a job does not go on just now");
        }
        if let OpError::Refused(Refusal::NotOperator) = error {
            let pause = async |conn: &Conn, epoch| jobs::pause(conn, &job.job, epoch, self.id, "not_operator").await;
            if let Err(error) = gated_write(&service.db, &service.gates, &service.here, pause).await {
                tracing::warn!(job = %job.job.id, ?error, "the reason could not be written down");
            }
        }
    }
}
