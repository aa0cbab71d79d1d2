//! What the writes of jobs share: parameters, the beginning of the text, conditions and events.

use const_format::formatcp;

use super::{Conn, Param, Result, Row, SIGNED_THERE, Statement, Write, verdict::operates_sql};
use crate::domain::{RegionCode, event::JOB_DONE};

#[derive(Debug, Clone, Copy)]
pub struct JobWrite<'a> {
    pub on_job: Write<'a>,
    pub city: &'a str,
    /// Region and city of the target, and that region's epoch; the job's own for jobs that move
    /// nothing.
    pub to: (&'a RegionCode, &'a str),
    pub to_epoch: i64,
}

impl JobWrite<'_> {
    /// Sends a statement that begins with [`ON_JOB`]; `rest` begins at $15.
    pub(super) async fn row(&self, conn: &Conn, statement: &'static Statement, rest: &[Param<'_>]) -> Result<Row> {
        let own: [Param<'_>; 4] = [self.to.0, &self.to_epoch, &self.city, &self.to.1];
        self.on_job.row(conn, statement, &[&own[..], rest].concat()).await
    }
}

/// Begins a write on job ($8, $9): `target_gate` has a row when target region $11 is writable at
/// epoch $12, `operates` and `operates_target` when the person operates the job's city $13 and the
/// target city $14. For a worker, which has no session, only roles and gates count; for the shell
/// only the gates.
pub(super) const ON_JOB: &str = formatcp!(
    "{SIGNED_THERE},
     target_gate AS (SELECT draining FROM region_gates
       WHERE region = $11::TEXT::crdb_internal_region AND write_state = 'writable' AND epoch = $12::INT8),
     operates AS ({operates}),
     operates_target AS ({target})",
    operates = operates_sql!("$13"),
    target = operates_sql!("$14")
);

/// The first conditions of a verdict: permission.
pub(super) const WHO: &str = "WHEN $2::UUID IS NOT NULL AND NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out'
             WHEN $3::UUID IS NOT NULL AND NOT (EXISTS (SELECT 1 FROM operates) AND EXISTS (SELECT 1 FROM operates_target))
               THEN 'not_operator'";

pub(super) const GATES: &str = "WHEN NOT EXISTS (SELECT 1 FROM g) OR NOT EXISTS (SELECT 1 FROM there)
               OR NOT EXISTS (SELECT 1 FROM target_gate) THEN 'gate'";

/// Of a step that begins a job: a transfer, which alone has another region as its target.
pub(super) const BEGINS: &str = formatcp!(
    "{GATES}
             WHEN $11::TEXT <> $8::TEXT AND (EXISTS (SELECT 1 FROM there WHERE draining)
               OR EXISTS (SELECT 1 FROM target_gate WHERE draining)) THEN 'draining'"
);

/// The job while it is confirmed and not over.
pub(super) const RUNNING: &str = "SELECT id FROM jobs WHERE region = $8::TEXT::crdb_internal_region AND id = $9::UUID
               AND city = $13::TEXT AND state = 'running' AND confirmed_at IS NOT NULL";

/// For events that a job causes: actor, command, correlation and time.
pub(super) const BY_JOB: &str =
    "CASE WHEN $3::UUID IS NOT NULL THEN $1::TEXT END, $3::UUID, $9::UUID, $9::UUID, $5::TIMESTAMPTZ";

/// How many items of the job that ends have ended how, for its `progress`: with them a finished job is
/// listed without reading its items. What waits is being cancelled.
pub(super) const COUNTED: &str = "SELECT jsonb_build_object('waiting', 0,
                 'done', count(*) FILTER (WHERE state = 'done'), 'refused', count(*) FILTER (WHERE state = 'refused'),
                 'cancelled', count(*) FILTER (WHERE state IN ('waiting', 'cancelled')))";

pub(super) const ITEMS: &str = "FROM job_items WHERE region = $8::TEXT::crdb_internal_region AND job_id = $9::UUID";

/// Ends the job with the batch that is its `last`, and counts; it does not see what it writes itself:
/// the items of `decided`. CockroachDB runs a subquery before it knows whether it needs it, so the
/// items are joined to `last`: without it none is read.
pub(super) const OVER: &str = formatcp!(
    "UPDATE jobs SET state = 'done', finished_at = $5::TIMESTAMPTZ, progress = ({COUNTED} FROM (
                   SELECT job_items.state FROM last JOIN job_items ON job_items.region = $8::TEXT::crdb_internal_region
                     AND job_items.job_id = last.id WHERE job_items.state <> 'waiting'
                   UNION ALL SELECT CASE WHEN reason IS NULL THEN 'done' ELSE 'refused' END FROM decided) AS ended)
                 FROM last, verdict WHERE jobs.region = $8::TEXT::crdb_internal_region AND jobs.id = $9::UUID AND code = 'ok'
                 RETURNING 1 AS ok"
);

pub(super) const JOB_DONE_EVENT: &str = formatcp!(
    "SELECT $8::TEXT::crdb_internal_region, 'job', $9::UUID, 3, '{JOB_DONE}', {BY_JOB}, $10::INT8,
               NULL::FLOAT8, NULL::FLOAT8, '{{}}'::JSONB FROM over"
);
