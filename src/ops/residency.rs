//! What a residency policy forbids: refused with the rule's name, recorded as an event in
//! the home region of whoever asked, and counted in this instance's memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use uuid::Uuid;

use super::{OpError, signed_write};
use crate::{
    app::App,
    db::{home, verdict::Signed},
    domain::{refusal::Refusal, region::RegionCode},
};

/// How often each rule has refused something since the instance started.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<&'static str, u64>>);

impl Refusals {
    /// Counts `n` refusals by `rule`.
    pub(super) fn count(&self, rule: &'static str, n: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(rule).or_default() += n;
    }

    /// The counts by rule.
    pub fn by_rule(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts and records that `rule` did not let the person do something with the data of
/// `target`; `action` is the event's. Returns the refusal, or why it was not recorded.
pub async fn refuse(app: &App, signed: &Signed, (action, rule): (&str, &'static str), target: &RegionCode) -> OpError {
    let (home, refusal) = (&signed.user.region, Uuid::new_v4());
    tracing::warn!(rule, action, %home, %target, "a residency policy refused something");
    app.residency_refusals.count(rule, 1);
    let noted = signed_write(app, signed, home, async |signed, _| {
        app.db.write(home, async |conn| home::note_refusal(conn, signed, refusal, (action, rule), target).await).await
    });
    noted.await.err().unwrap_or_else(|| Refusal::Residency(rule).into())
}
