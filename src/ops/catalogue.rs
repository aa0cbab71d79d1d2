//! Loading a catalogue file: GLOBAL tables first, in one transaction that changes only
//! what differs, then each region's gate and promo quotas at its own gateway. What people
//! change in the browser is in `changes`, and stays as they made it.

pub mod changes;

use std::time::Duration;

use super::{OpError, gated_write, gates::Gates};
use crate::{
    clock::Clock,
    db::{Db, catalogue, gates, statement::Conn, txn::Outcome::Commit},
    domain::catalogue::CatalogueFile,
};

/// A catalogue is some hundred statements, maybe from a region far away. Its tables are
/// under no gate, so no fence waits for it.
const CATALOGUE: Duration = Duration::from_mins(1);

/// Makes the database hold what `file` says; returns how many catalogue entries changed.
pub async fn load(db: &Db, file: &CatalogueFile, clock: &Clock) -> Result<usize, OpError> {
    let Some(first) = file.regions.first() else {
        return Ok(0);
    };
    let now = clock.now();
    let put = async |conn: &Conn| Ok(Commit(catalogue::put(conn, file, now).await?));
    // Loading is idempotent, so after a lost COMMIT it is simply done again.
    let put = db.txn_within(CATALOGUE, &first.code, put, async |_| Ok(None)).await?;
    let gates_seen = Gates::default();
    for region in &file.regions {
        db.write(&region.code, async |conn| gates::open(conn, &region.code, now).await).await?;
        for promo in &put.promo_codes {
            let granted = promo.quota(&region.code);
            gated_write(db, &gates_seen, &region.code, async |conn, epoch| {
                catalogue::put_quota(conn, &region.code, &promo.code, granted, epoch).await
            })
            .await?;
        }
    }
    Ok(put.changed)
}
