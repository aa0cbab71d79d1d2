//! Roles granted and revoked in the browser. They are stored with the person, so the write names
//! the person's home and the administrator's, and the person's next write already obeys it.
//! Administrators cannot revoke their own role, so the last one stays.

use uuid::Uuid;

use super::{Done, Result, Service, gated_write};
use crate::{
    db::{
        Actor, SessionAuth, Write,
        roles::{self, Role},
    },
    domain::{Refusal, UserRef},
};

pub async fn set(service: &Service, by: &SessionAuth, person: &UserRef, role: &Role, grant: bool) -> Result<Done> {
    if !grant && role.city.is_empty() && person.id == by.user.id {
        return Err(Refusal::OwnRole.into());
    }
    let command = Uuid::new_v4();
    gated_write(&service.db, &service.gates, &person.region, async |conn, epoch| {
        let write = Write::new(Actor::Session(by), by.now, (&person.region, command), [0, epoch]);
        roles::set(conn, &write, person.id, role, grant).await
    })
    .await
}
