//! Reports of riders, and the tasks of operators that they become.

use uuid::Uuid;

use super::{Done, Result, Service, signed_write, vehicle_write};
use crate::{
    db::{SessionAuth, tasks},
    domain::{
        RegionCode,
        task::{TaskRef, TaskStep},
    },
};

/// `about` is the vehicle's region with its public id, or with the id of the person's own ride.
pub async fn report(
    service: &Service,
    auth: &SessionAuth,
    about: (&RegionCode, Uuid),
    task: Uuid,
    (problem, note): (&str, Option<&str>),
) -> Result<Done> {
    vehicle_write(service, auth, about, async |conn, write| tasks::report(conn, write, task, problem, note).await).await
}

pub async fn change(
    service: &Service,
    auth: &SessionAuth,
    TaskRef { region, id }: &TaskRef,
    (version, command): (i64, Uuid),
    step: TaskStep,
) -> Result<Done> {
    signed_write(service, auth, (region, *id), async |conn, write| {
        tasks::change(conn, write, version, command, step).await
    })
    .await
}
