//! Roles given and taken in the browser. They lie with the person, so the write names the
//! person's home and the administrator's, and holds for the person's very next write. Nobody
//! takes their own administration away, so the last one stays.

use uuid::Uuid;

use super::{Done, OpError, gated_write};
use crate::{
    db::{
        roles::{self, Role},
        verdict::{SessionAuth, Write},
    },
    domain::{people::UserRef, refusal::Refusal},
    ops::service::Service,
};

/// Gives a role to a person, or (`grant` false) takes it.
pub async fn set(
    service: &Service,
    by: &SessionAuth,
    person: &UserRef,
    role: &Role,
    grant: bool,
) -> Result<Done, OpError> {
    if !grant && role.city.is_empty() && person.id == by.user.id {
        return Err(Refusal::OwnRole.into());
    }
    let command = Uuid::new_v4();
    gated_write(&service.db, &service.gates, &person.region, async |conn, epoch| {
        let write = Write::signed(by, by.epoch, (&person.region, command), epoch);
        roles::set(conn, &write, person.id, role, grant).await
    })
    .await
}
