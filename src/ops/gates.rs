//! The gates as this instance last saw them. Every write carries the epoch held here; when the
//! database disagrees the gate is read again, so a stale instance cannot write. Closing a region
//! has two phases: changing the gate, and waiting until every write that saw it open must have
//! ended.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use uuid::Uuid;

use super::{Done, OpError, Result, Service};
use crate::{
    db::{
        Conn, Db, DbError, SessionAuth, Verdict,
        gates::{self, Change, Gate},
    },
    domain::{Refusal, RegionCode, people, region::GateState},
};

/// It has to fit inside one sentence.
pub const REASON_MAX: usize = 120;

#[derive(Debug, Default)]
pub struct Gates {
    known: RwLock<HashMap<RegionCode, Gate>>,
}

impl Gates {
    /// Read once and then from memory.
    pub async fn get(&self, db: &Db, region: &RegionCode) -> Result<Gate, DbError> {
        match self.last_seen(region) {
            Some(gate) => Ok(gate),
            None => self.reload(&db.at(region).await?, region).await,
        }
    }

    pub async fn reload(&self, conn: &Conn, region: &RegionCode) -> Result<Gate, DbError> {
        let gate = gates::find(conn, region).await?;
        self.known.write().insert(region.clone(), gate.clone());
        Ok(gate)
    }

    pub fn last_seen(&self, region: &RegionCode) -> Option<Gate> {
        self.known.read().get(region).cloned()
    }

    /// Reads the gate again. What would begin something, is refused by a draining region, too.
    pub async fn refuse_if_closed(&self, db: &Db, region: &RegionCode, begins: bool) -> Result<()> {
        let gate = self.reload(&db.at(region).await?, region).await?;
        if begins && gate.state == GateState::Draining {
            let Gate { region, reason, until, .. } = gate;
            return Err(Refusal::RegionDraining { region, reason, until }.into());
        }
        Ok(open_epoch(gate).map(drop)?)
    }
}

/// The epoch under which the region takes writes.
pub fn open_epoch(gate: Gate) -> Result<i64, Refusal> {
    let Gate { region, state, epoch, reason, until, .. } = gate;
    if state == GateState::ReadOnly { Err(Refusal::RegionReadOnly { region, reason, until }) } else { Ok(epoch) }
}

pub async fn find(db: &Db, region: &RegionCode) -> Result<Gate, DbError> {
    gates::find(&db.at(region).await?, region).await
}

pub fn reason(text: &str) -> Result<String, String> {
    people::line(text, REASON_MAX, "the reason")
}

/// The first phase: the gate is as asked, by this call or before. Refused when its epoch is not the
/// one given, with its current state.
pub async fn change(db: &Db, change: &Change, here: &RegionCode, by: Option<&SessionAuth>) -> Result<Done> {
    let command = Uuid::new_v4();
    match db.write_with_retry(&change.region, async |conn| gates::change(conn, change, here, command, by).await).await?
    {
        Verdict::Done => Ok(Done::Now),
        Verdict::Already => Ok(Done::Before),
        Verdict::Refused(Refusal::Changed) | Verdict::Gate | Verdict::Draining => {
            let Gate { region, state, epoch, .. } = find(db, &change.region).await?;
            Err(Refusal::GateChanged { region, state, epoch }.into())
        }
        Verdict::Refused(refusal) => Err(refusal.into()),
    }
}

/// Drains or closes this instance's region when its plan says so. The watch reads the gate often; that another instance was
/// faster, or that the plan has changed since, is seen by the epoch.
pub async fn keep_plan(service: &Service) -> Result<()> {
    let due = service.gates.last_seen(&service.here).and_then(|gate| gate.due(service.clock.now()));
    let Some(due) = due else { return Ok(()) };
    match change(&service.db, &due, &service.here, None).await {
        Ok(_) => tracing::warn!(region = %due.region, state = due.state.code(), "the region is closed as planned"),
        Err(OpError::Refused(_)) => {}
        Err(error) => return Err(error),
    }
    service.gates.reload(&service.db.at(&service.here).await?, &service.here).await?;
    Ok(())
}

/// The second phase: waits until `region` is fenced and returns since when, by the server's clock;
/// none as soon as it is open.
pub async fn wait_until_fenced(db: &Db, region: &RegionCode) -> Result<Option<DateTime<Utc>>, DbError> {
    loop {
        let gate = find(db, region).await?;
        let Some(at) = gate.fenced_at(db.fence()) else {
            return Ok(None);
        };
        // What is left by the server's clock; a step of our own cannot shorten it.
        match (at - gate.read_at).to_std() {
            Ok(left) if !left.is_zero() => tokio::time::sleep(left).await,
            _ => return Ok(Some(at)),
        }
    }
}
