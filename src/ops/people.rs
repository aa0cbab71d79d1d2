//! Accounts that administrators block and sign out. They are people's data, so only an instance in
//! the same jurisdiction does it; the write names the person's home and the administrator's.

use uuid::Uuid;

use super::{Done, Result, Service, gated_write};
use crate::{
    db::{
        Actor, SessionAuth, Write,
        people::{self, Change},
    },
    domain::{Refusal, RegionCode, UserRef, event::RESIDENCY_PERSON_REFUSED},
    ops::residency,
};

pub async fn change(service: &Service, by: &SessionAuth, person: &UserRef, change: Change) -> Result<Done> {
    allowed(service, by, &person.region).await?;
    if person.id == by.user.id {
        return Err(Refusal::OwnAccount.into());
    }
    let command = Uuid::new_v4();
    gated_write(&service.db, &service.gates, &person.region, async |conn, epoch| {
        let write = Write::new(Actor::Session(by), by.now, (&person.region, command), [0, epoch]);
        people::change(conn, &write, person.id, change).await
    })
    .await
}

/// Refuses, and records it, unless people of `region` may be shown here.
pub async fn allowed(service: &Service, by: &SessionAuth, region: &RegionCode) -> Result<()> {
    if service.catalogue().same_law(&service.here, region) {
        return Ok(());
    }
    Err(residency::refuse(service, by, (RESIDENCY_PERSON_REFUSED, "jurisdiction"), region).await)
}
