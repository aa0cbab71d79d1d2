//! The catalogue. Loading a file: GLOBAL tables first, in one transaction, then each region's gate
//! and promo quotas at its own gateway. A change in the browser is one transaction at this
//! instance's region, over GLOBAL tables and, for promo codes, all regions' quotas. The changing
//! instance reloads the catalogue at once, the others by its version.

use std::time::Duration;

use uuid::Uuid;

use super::{Done, OpError, Result, Service, all_or_nothing, gated_all, gated_write, gates::Gates};
use crate::{
    clock::Clock,
    db::{Actor, Conn, Db, DbError, SessionAuth, Verdict, Write, catalogue, gates, txn::Outcome::Commit},
    domain::{
        Catalogue, City, Refusal, RegionCode, Tariff,
        catalogue::{PromoCode, Region},
    },
};

/// A catalogue is about a hundred statements, maybe from a region far away. Its tables are under no
/// gate, so no fence waits for it.
const LOAD_TIMEOUT: Duration = Duration::from_mins(1);

/// Returns how many catalogue entries changed.
pub async fn load(db: &Db, file: &Catalogue, clock: &Clock) -> Result<usize> {
    let Some(first) = file.regions.first() else {
        return Ok(0);
    };
    let now = clock.now();
    let put = async |conn: &Conn| Ok(Commit(catalogue::put(conn, file, now).await?));
    // Loading is idempotent, so after a lost COMMIT it is simply done again.
    let put = db.txn_within(LOAD_TIMEOUT, &first.code, put, async |_| Ok(None)).await?;
    complete(db, &file.regions, &put.promo_codes, clock).await?;
    Ok(put.changed)
}

/// Makes what is missing of each region's gate and promo quotas, which are not in the catalogue's transaction.
pub async fn complete(db: &Db, regions: &[Region], promo_codes: &[PromoCode], clock: &Clock) -> Result<()> {
    let (now, gates_seen) = (clock.now(), Gates::default());
    for region in regions {
        db.write_with_retry(&region.code, async |conn| gates::create(conn, &region.code, now).await).await?;
        for promo in promo_codes {
            let granted = promo.quota(&region.code);
            gated_write(db, &gates_seen, &region.code, async |conn, epoch| {
                catalogue::put_quota(conn, &region.code, &promo.code, granted, epoch).await
            })
            .await?;
        }
    }
    Ok(())
}

/// Changes a promo code's end and raises its limits, if it is still as `seen`.
pub async fn set_promo_code(service: &Service, by: &SessionAuth, seen: &PromoCode, new: &PromoCode) -> Result<Done> {
    // An end alone concerns no quota, and so no region but this one.
    let quotas = (seen.quotas != new.quotas).then_some(new);
    change(service, by, quotas, async |conn, write| catalogue::set_promo_code(conn, write, seen, new).await).await
}

pub async fn add_city(service: &Service, by: &SessionAuth, new: &City, tariffs: &[Tariff]) -> Result<Done> {
    change(service, by, None, async |conn, write| {
        let verdict = catalogue::add_city(conn, write, new).await?;
        if verdict == Verdict::Done {
            for tariff in tariffs {
                catalogue::put_tariff(conn, tariff).await?;
            }
        }
        Ok(verdict)
    })
    .await
}

/// Runs the change and, with `quotas`, those of the promo code in each region, all or nothing: refused whole
/// when one of them is closed or does not answer.
pub async fn change(
    service: &Service,
    by: &SessionAuth,
    quotas: Option<&PromoCode>,
    op: impl AsyncFn(&Conn, &Write<'_>) -> Result<Verdict, DbError>,
) -> Result<Done> {
    let (command, current) = (Uuid::new_v4(), service.catalogue());
    let code = quotas.map_or("", |promo| &promo.code);
    let granted = current.regions.iter().filter_map(|region| Some((&region.code, quotas?.quota(&region.code))));
    let granted: Vec<(&RegionCode, i64)> = granted.collect();
    let regions: Vec<_> = granted.iter().map(|(region, _)| *region).collect();
    let done = gated_all(&service.db, &service.gates, [&service.here], &regions, async |[epoch], of_granted| {
        let write = Write::new(Actor::Session(by), by.now, (&service.here, command), [0, epoch]);
        let all = async |conn: &Conn| {
            let verdict = op(conn, &write).await?;
            if verdict != Verdict::Done {
                return Ok(verdict);
            }
            for ((region, granted), epoch) in granted.iter().zip(of_granted) {
                let put = catalogue::put_quota(conn, region, code, *granted, *epoch).await?;
                if put != Verdict::Done {
                    return Ok(put);
                }
            }
            Ok(Verdict::Done)
        };
        // After a lost COMMIT the next try finds the entry as asked, and says so.
        all_or_nothing(service, &service.here, all, async |_| Ok(false)).await
    })
    .await;
    let changed = matches!(done, Ok(_) | Err(OpError::Refused(Refusal::Changed)));
    if changed && let Err(error) = service.reload_catalogue().await {
        tracing::warn!(%error, "the catalogue was changed and could not be read again");
    }
    done.map_err(|error| match error {
        OpError::Db(error) if error.unreachable() && error.open_circuit.is_none() => {
            tracing::warn!(%error, "the catalogue could not be changed");
            Refusal::CatalogueAway.into()
        }
        error => error,
    })
}
