//! What a person asks for, when more than its statement decides: one file a subject, one function a
//! command. Each runs one statement (or one short transaction) and maps its verdict to done, refused, or a
//! database error; `signed_write` and `vehicle_write` do that for pages with a statement that decides alone. No HTTP
//! and no SQL here.

use uuid::Uuid;

use crate::{
    db::{
        Actor, Conn, Db, DbError, DbErrorKind, SessionAuth, Verdict, Write,
        txn::Outcome::{Commit, Rollback},
    },
    domain::{Refusal, RegionCode},
};
use gates::Gates;
pub use service::Service;

pub mod accounts;
pub mod catalogue;
pub mod counts;
pub mod erasure;
pub mod fleet;
pub mod gates;
pub mod home;
pub mod ids;
pub mod imports;
pub mod jobs;
pub mod measure;
pub mod overview;
pub mod own_data;
pub mod passwords;
pub mod people;
pub mod residency;
pub mod rides;
pub mod sample;
pub mod service;
pub mod vehicles;
pub mod verify;
pub mod watch;

#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// A rule says no; the person is told why, and nothing was changed.
    #[error("{}", .0.message())]
    Refused(Refusal),
    #[error(transparent)]
    Db(DbError),
}

pub type Result<T, E = OpError> = std::result::Result<T, E>;

impl From<DbError> for OpError {
    fn from(error: DbError) -> Self {
        // What a person can run into by choosing a name or a code.
        match error.kind {
            DbErrorKind::Unique(ref name) if name == "users_username_key" => Refusal::UsernameTaken.into(),
            DbErrorKind::Unique(ref name) if name == "vehicles_code_key" => Refusal::CodeTaken.into(),
            _ => Self::Db(error),
        }
    }
}

impl From<Refusal> for OpError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// It was done: now, or by the same command before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Now,
    /// By an earlier try of the same form.
    Before,
}

/// Runs a write with the epochs of the gates of `regions`, in their order. If an epoch is outdated,
/// the gate is read again, once; a closed region is a refusal.
pub async fn gated<const N: usize>(
    db: &Db,
    gates: &Gates,
    regions: [&RegionCode; N],
    op: impl AsyncFn([i64; N]) -> Result<Verdict, DbError>,
) -> Result<Done> {
    gated_all(db, gates, regions, &[], async |epochs, _| op(epochs).await).await
}

/// Like [`gated`], with `more` regions, as many as there are.
pub async fn gated_all<const N: usize>(
    db: &Db,
    gates: &Gates,
    regions: [&RegionCode; N],
    more: &[&RegionCode],
    op: impl AsyncFn([i64; N], &[i64]) -> Result<Verdict, DbError>,
) -> Result<Done> {
    let mut reread = false;
    loop {
        let (mut epochs, mut more_epochs) = ([0; N], vec![0; more.len()]);
        for (epoch, region) in epochs.iter_mut().zip(&regions).chain(more_epochs.iter_mut().zip(more)) {
            *epoch = gates.get(db, region).await?.epoch;
        }
        match op(epochs, &more_epochs).await? {
            Verdict::Done => return Ok(Done::Now),
            Verdict::Already => return Ok(Done::Before),
            Verdict::Refused(refusal) => return Err(refusal.into()),
            verdict @ (Verdict::Gate | Verdict::Draining) => {
                for region in regions.iter().chain(more) {
                    gates.refuse_if_closed(db, region, verdict == Verdict::Draining).await?;
                }
            }
        }
        if reread {
            let moving = DbError::new(DbErrorKind::Contention, "gates", "the gate changed twice during one write");
            return Err(moving.into());
        }
        reread = true;
    }
}

/// One write statement in `region`, with the epoch of its gate.
pub async fn gated_write(
    db: &Db,
    gates: &Gates,
    region: &RegionCode,
    op: impl AsyncFn(&Conn, i64) -> Result<Verdict, DbError>,
) -> Result<Done> {
    gated(db, gates, [region], async |[epoch]| db.write_with_retry(region, async |conn| op(conn, epoch).await).await)
        .await
}

/// One write statement of a signed-in person about row or command `id` of region `there`, under the
/// gates of their home and of that region.
pub async fn signed_write(
    service: &Service,
    auth: &SessionAuth,
    (there, id): (&RegionCode, Uuid),
    op: impl AsyncFn(&Conn, &Write<'_>) -> Result<Verdict, DbError>,
) -> Result<Done> {
    gated(&service.db, &service.gates, [&auth.user.region, there], async |epochs| {
        let write = Write::new(Actor::Session(auth), auth.now, (there, id), epochs);
        service.db.write_with_retry(there, async |conn| op(conn, &write).await).await
    })
    .await
}

/// Like [`signed_write`], for changes of vehicles: invalidates the counts from before.
pub async fn vehicle_write(
    service: &Service,
    auth: &SessionAuth,
    (there, id): (&RegionCode, Uuid),
    op: impl AsyncFn(&Conn, &Write<'_>) -> Result<Verdict, DbError>,
) -> Result<Done> {
    let done = signed_write(service, auth, (there, id), op).await?;
    if done == Done::Now {
        service.vehicles_changed(there);
    }
    Ok(done)
}

/// A transaction that is rolled back unless `op` ends with `Done`; the verdict is returned either
/// way. `committed` says, after a lost COMMIT, whether it happened.
async fn all_or_nothing(
    service: &Service,
    region: &RegionCode,
    op: impl AsyncFn(&Conn) -> Result<Verdict, DbError>,
    committed: impl AsyncFn(&Conn) -> Result<bool, DbError>,
) -> Result<Verdict, DbError> {
    let transaction = service.db.txn(
        region,
        async |conn| match op(conn).await? {
            Verdict::Done => Ok(Commit(Verdict::Done)),
            verdict => Ok(Rollback(verdict)),
        },
        async |conn| Ok(committed(conn).await?.then_some(Verdict::Done)),
    );
    match transaction.await? {
        // An attempt whose reply was lost may be what ended the session.
        Verdict::Refused(Refusal::SignedOut) if committed(&service.db.at(region).await?).await? => Ok(Verdict::Done),
        verdict => Ok(verdict),
    }
}
