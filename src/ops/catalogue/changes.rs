//! Changes of the catalogue by operators and administrators: each is one transaction at
//! this instance's own region, over GLOBAL tables and, for promo codes, the quota rows of
//! all regions. The instance that changed something reads the catalogue again at once,
//! the others follow by its version.

use uuid::Uuid;

use crate::{
    db::{
        catalogue::{self, changes},
        error::DbError,
        statement::Conn,
        verdict::{Acting, SessionAuth, Verdict},
    },
    domain::{
        catalogue::{City, PromoCode, Tariff},
        refusal::Refusal,
    },
    ops::service::Service,
    ops::{Done, OpError, all_or_nothing, gated},
};

/// Sets the price of a vehicle type in a city from a time on, if its tariffs are those `seen`.
pub async fn set_tariff(
    service: &Service,
    by: &SessionAuth,
    new: &Tariff,
    seen: &serde_json::Value,
) -> Result<Done, OpError> {
    change(service, by, None, async |conn, acting| changes::set_tariff(conn, acting, new, seen).await).await
}

/// Takes back a tariff that does not hold yet.
pub async fn withdraw_tariff(service: &Service, by: &SessionAuth, tariff: &Tariff) -> Result<Done, OpError> {
    change(service, by, None, async |conn, acting| changes::withdraw_tariff(conn, acting, tariff).await).await
}

/// Adds a promo code with its quota in each region: refused whole when one of them is
/// closed or does not answer.
pub async fn add_promo_code(service: &Service, by: &SessionAuth, new: &PromoCode) -> Result<Done, OpError> {
    change(service, by, Some(new), async |conn, acting| changes::add_promo_code(conn, acting, new).await).await
}

/// Gives a promo code another end and higher limits, if it is as `seen`.
pub async fn set_promo_code(
    service: &Service,
    by: &SessionAuth,
    seen: &PromoCode,
    new: &PromoCode,
) -> Result<Done, OpError> {
    // An end alone concerns no quota, and so no region but this one.
    let quotas = (seen.quotas != new.quotas).then_some(new);
    change(service, by, quotas, async |conn, acting| changes::set_promo_code(conn, acting, seen, new).await).await
}

/// Adds a city with its first tariffs.
pub async fn add_city(service: &Service, by: &SessionAuth, new: &City, tariffs: &[Tariff]) -> Result<Done, OpError> {
    change(service, by, None, async |conn, acting| {
        let verdict = changes::add_city(conn, acting, new).await?;
        if verdict == Verdict::Done {
            for tariff in tariffs {
                catalogue::put_tariff(conn, tariff).await?;
            }
        }
        Ok(verdict)
    })
    .await
}

/// Runs the change, and the quotas of a promo code, all or nothing.
async fn change(
    service: &Service,
    by: &SessionAuth,
    quotas: Option<&PromoCode>,
    op: impl AsyncFn(&Conn, &Acting<'_>) -> Result<Verdict, DbError>,
) -> Result<Done, OpError> {
    let (command, current) = (Uuid::new_v4(), service.catalogue());
    let granted: Vec<_> = current.regions.iter().filter_map(|r| Some((&r.code, quotas?))).collect();
    let regions: Vec<_> = std::iter::once(&service.here).chain(granted.iter().map(|(region, _)| *region)).collect();
    let done = gated(&service.db, &service.gates, &regions, async |epochs| {
        let Some((epoch, of_granted)) = epochs.split_first() else {
            return Ok(Verdict::Gate);
        };
        let acting = Acting { auth: by, region: &service.here, epoch: *epoch, command };
        let all = async |conn: &Conn| {
            let verdict = op(conn, &acting).await?;
            if verdict != Verdict::Done {
                return Ok(verdict);
            }
            for ((region, promo), epoch) in granted.iter().zip(of_granted) {
                let put = catalogue::put_quota(conn, region, &promo.code, promo.quota(region), *epoch).await?;
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
        OpError::Db(error) if error.unreachable() && error.silent.is_none() => {
            tracing::warn!(%error, "the catalogue could not be changed");
            Refusal::CatalogueAway.into()
        }
        error => error,
    })
}
