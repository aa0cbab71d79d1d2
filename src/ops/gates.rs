//! The gates as this instance last saw them. Every write carries the epoch held here;
//! when the database disagrees the gate is read again, so a stale instance cannot write.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use super::OpError;
use crate::{
    db::{
        Db,
        error::{DbError, DbErrorKind},
        gates::{self, Gate},
        statement::Conn,
    },
    domain::{refusal::Refusal, region::RegionCode},
};

/// The last known gate of each region.
#[derive(Debug, Default)]
pub struct Gates {
    known: RwLock<HashMap<RegionCode, Gate>>,
}

impl Gates {
    /// The gate of `region`, read once and then from memory.
    pub async fn get(&self, db: &Db, region: &RegionCode) -> Result<Gate, DbError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(region).cloned();
        match known {
            Some(gate) => Ok(gate),
            None => self.reload(db, region).await,
        }
    }

    /// The gate of `region` as the database has it now.
    pub async fn reload(&self, db: &Db, region: &RegionCode) -> Result<Gate, DbError> {
        self.reload_by(&db.at(region).await?, region).await
    }

    /// The same over a connection that is there already.
    pub async fn reload_by(&self, conn: &Conn, region: &RegionCode) -> Result<Gate, DbError> {
        let missing =
            || DbError::new(DbErrorKind::Bug, "gates.find", format!("region {region} has no gate: run movr migrate"));
        let gate = gates::find(conn, region).await?.ok_or_else(missing)?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(region.clone(), gate.clone());
        Ok(gate)
    }

    /// The gate of `region` as last seen, without asking.
    #[must_use]
    pub fn last_seen(&self, region: &RegionCode) -> Option<Gate> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(region).cloned()
    }

    /// Reads the gates again and refuses if one of them is closed.
    pub async fn refuse_if_closed(&self, db: &Db, regions: &[&RegionCode]) -> Result<(), OpError> {
        for region in regions {
            let gate = self.reload(db, region).await?;
            if !gate.writable {
                return Err(
                    Refusal::RegionReadOnly { region: gate.region, reason: gate.reason, until: gate.until }.into()
                );
            }
        }
        Ok(())
    }
}
