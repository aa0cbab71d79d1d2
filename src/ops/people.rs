//! People whom administrators search, accounts that they block and sign out, and the roles they grant
//! and revoke. The write names the person's home and the administrator's, and the person's next write
//! already obeys it.

use uuid::Uuid;

use super::{Done, Result, Service, gated_write, residency};
use crate::{
    db::{
        Actor, Conn, DbError, SessionAuth, Verdict, Write,
        people::{self, Change},
        roles::{self, Role},
    },
    domain::{City, Refusal, RegionCode, UserRef, event::RESIDENCY_PERSON_REFUSED},
};

/// Accounts are people's data, so only an instance in the same jurisdiction changes them.
pub async fn change(service: &Service, by: &SessionAuth, person: &UserRef, change: Change) -> Result<Done> {
    residency::require_same_law(service, by, RESIDENCY_PERSON_REFUSED, &person.region).await?;
    if person.id == by.user.id {
        return Err(Refusal::OwnAccount.into());
    }
    write(service, by, &person.region, async |conn, write| people::change(conn, write, person.id, change).await).await
}

/// Administrators cannot revoke their own role, so the last one stays.
pub async fn set_role(service: &Service, by: &SessionAuth, person: &UserRef, role: &Role, grant: bool) -> Result<Done> {
    if !grant && role.city.is_empty() && person.id == by.user.id {
        return Err(Refusal::OwnRole.into());
    }
    write(service, by, &person.region, async |conn, write| roles::set(conn, write, person.id, role, grant).await).await
}

/// Records a search of the people of `city`: whoever looks at personal data can be asked why. At the
/// administrator's home, so that usernames are found while the region of `city` is closed.
pub async fn note_search(service: &Service, by: &SessionAuth, city: &City) -> Result<Done> {
    write(service, by, &by.user.region, async |conn, write| people::note_search(conn, write, &city.slug).await).await
}

async fn write(
    service: &Service,
    by: &SessionAuth,
    region: &RegionCode,
    op: impl AsyncFn(&Conn, &Write<'_>) -> Result<Verdict, DbError>,
) -> Result<Done> {
    let command = Uuid::new_v4();
    gated_write(&service.db, &service.gates, region, async |conn, epoch| {
        op(conn, &Write::new(Actor::Session(by), by.now, (region, command), [0, epoch])).await
    })
    .await
}
