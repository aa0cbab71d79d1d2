//! What a residency policy forbids: refused with the rule's name, recorded as an event in the home
//! region of whoever asked, and counted in memory.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use uuid::Uuid;

use super::{OpError, Result, Service, signed_write};
use crate::{
    db::{SessionAuth, home},
    domain::{Refusal, RegionCode},
};

#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<&'static str, u64>>);

impl Refusals {
    pub(super) fn count(&self, rule: &'static str, n: u64) {
        *self.0.lock().entry(rule).or_default() += n;
    }

    pub fn by_rule(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().clone()
    }
}

/// Counts and records that `rule` kept the person from using the data of `target`; `action` is the
/// event's. Returns the refusal, or why it was not recorded.
pub async fn refuse(
    service: &Service,
    auth: &SessionAuth,
    (action, rule): (&str, &'static str),
    target: &RegionCode,
) -> OpError {
    let (home, refusal) = (&auth.user.region, Uuid::new_v4());
    tracing::warn!(rule, action, %home, %target, "a residency policy refused something");
    service.residency_refusals.count(rule, 1);
    service.db.metrics().residency_refusals.of([]).inc();
    let noted = signed_write(service, auth, (home, refusal), async |conn, write| {
        home::note_refusal(conn, write, (action, rule), target).await
    });
    noted.await.err().unwrap_or_else(|| Refusal::Residency(rule).into())
}

/// Refuses, and records it, unless personal data of people of `region` may be shown here.
pub async fn require_same_law(service: &Service, auth: &SessionAuth, action: &str, region: &RegionCode) -> Result<()> {
    if service.catalogue().same_law(&service.here, region) {
        return Ok(());
    }
    Err(refuse(service, auth, (action, "jurisdiction"), region).await)
}
