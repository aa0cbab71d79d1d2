//! Prices: from when on one holds, and withdrawing one.

use const_format::formatcp;
use serde_json::json;

use super::{CHANGES_IT, catalogue_change_sql, change};
use crate::{
    db::{
        Conn, EVENT, Param, Reach, Result, Statement, Verdict, Write,
        verdict::{BY_ADMINISTRATOR, operates_sql},
    },
    domain::{
        Tariff,
        event::{TARIFF_SET, TARIFF_WITHDRAWN},
    },
};

pub const ALL: &[&Statement] = &[&SET_TARIFF, &WITHDRAW_TARIFF];

pub(super) fn tariff_params(t: &Tariff) -> [Param<'_>; 7] {
    [
        &t.city, &t.vehicle_type, &t.valid_from, &t.unlock_minor, &t.per_minute_minor, &t.out_of_area_fee_minor,
        &t.max_charge_minor,
    ]
}

pub(super) fn tariff_key(tariff: &Tariff) -> String {
    format!("{}/{}/{}", tariff.city, tariff.vehicle_type, tariff.valid_from.timestamp())
}

/// By an administrator, or an operator of city $12.
const BY_STAFF: &str = formatcp!(
    "{BY_ADMINISTRATOR},
             operates AS ({})",
    operates_sql!("$12")
);
const NOT_STAFF: &str = "WHEN NOT EXISTS (SELECT 1 FROM administers) AND NOT EXISTS (SELECT 1 FROM operates)
                   THEN 'not_operator'";

// $12 to $18 as in `tariff_params`; $19 what the form is based on.
const SET_TARIFF: Statement = Statement::write(
    "catalogue.set_tariff",
    Reach::Named,
    catalogue_change_sql!(
        BY_STAFF,
        NOT_STAFF,
        "EXISTS (SELECT 1 FROM (SELECT unlock_minor, per_minute_minor, out_of_area_minor, max_charge_minor FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from <= $14::TIMESTAMPTZ
                     ORDER BY valid_from DESC LIMIT 1) AS held
                   WHERE held.unlock_minor = $15::INT8 AND held.per_minute_minor = $16::INT8
                     AND held.out_of_area_minor = $17::INT8
                     AND held.max_charge_minor IS NOT DISTINCT FROM $18::INT8)",
        "WHEN $19::JSONB <> (SELECT coalesce(jsonb_agg(jsonb_build_array(extract(EPOCH FROM valid_from)::INT8,
                     unlock_minor, per_minute_minor, out_of_area_minor, max_charge_minor) ORDER BY valid_from), '[]'::JSONB)
                   FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT) THEN 'changed'",
        "INSERT INTO tariffs (city, vehicle_type, valid_from, unlock_minor, per_minute_minor, out_of_area_minor,
               max_charge_minor)
             SELECT $12::TEXT, $13::TEXT, $14::TIMESTAMPTZ, $15::INT8, $16::INT8, $17::INT8, $18::INT8
             FROM verdict WHERE code = 'ok'
             ON CONFLICT (city, vehicle_type, valid_from) DO UPDATE SET unlock_minor = excluded.unlock_minor,
               per_minute_minor = excluded.per_minute_minor, out_of_area_minor = excluded.out_of_area_minor,
               max_charge_minor = excluded.max_charge_minor",
        "tariff",
        TARIFF_SET,
        "jsonb_build_object('city', $12::TEXT, 'vehicle_type', $13::TEXT, 'valid_from', $14::TIMESTAMPTZ,
               'unlock_minor', $15::INT8, 'per_minute_minor', $16::INT8, 'out_of_area_minor', $17::INT8,
               'max_charge_minor', $18::INT8)"
    ),
)
.reading_global(CHANGES_IT);

/// The state that a tariff form is based on, all tariffs of a vehicle type in a city: from when (in
/// seconds), unlocking, a minute, the fee outside the area, the most.
pub type SeenTariffs = Vec<(i64, i64, i64, i64, Option<i64>)>;

pub fn seen<'a>(tariffs: impl Iterator<Item = &'a Tariff>) -> SeenTariffs {
    let mut rows: SeenTariffs = tariffs
        .map(|t| {
            let at = t.valid_from.timestamp();
            (at, t.unlock_minor, t.per_minute_minor, t.out_of_area_fee_minor, t.max_charge_minor)
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// Sets a price from a time on, if the tariffs are still those `seen`.
pub async fn set_tariff(conn: &Conn, write: &Write<'_>, tariff: &Tariff, seen: &SeenTariffs) -> Result<Verdict> {
    let seen = json!(seen);
    let rest = [&tariff_params(tariff)[..], &[&seen]].concat();
    change(conn, &SET_TARIFF, write, &tariff_key(tariff), &rest).await
}

// $12 to $18 as in `tariff_params`.
const WITHDRAW_TARIFF: Statement = Statement::write(
    "catalogue.withdraw_tariff",
    Reach::Named,
    catalogue_change_sql!(
        BY_STAFF,
        NOT_STAFF,
        "NOT EXISTS (SELECT 1 FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT
                     AND valid_from = $14::TIMESTAMPTZ)",
        "WHEN $14::TIMESTAMPTZ <= $5::TIMESTAMPTZ AND (NOT EXISTS (SELECT 1 FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from < $14::TIMESTAMPTZ)
                   OR EXISTS (SELECT 1 FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT
                     AND valid_from > $14::TIMESTAMPTZ AND valid_from <= $5::TIMESTAMPTZ))
                   OR NOT EXISTS (SELECT 1 FROM tariffs
                     WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from = $14::TIMESTAMPTZ
                       AND unlock_minor = $15::INT8 AND per_minute_minor = $16::INT8
                       AND out_of_area_minor = $17::INT8
                       AND max_charge_minor IS NOT DISTINCT FROM $18::INT8) THEN 'changed'",
        "DELETE FROM tariffs WHERE city = $12::TEXT AND vehicle_type = $13::TEXT AND valid_from = $14::TIMESTAMPTZ
               AND EXISTS (SELECT 1 FROM verdict WHERE code = 'ok')",
        "tariff",
        TARIFF_WITHDRAWN,
        "jsonb_build_object('city', $12::TEXT, 'vehicle_type', $13::TEXT, 'valid_from', $14::TIMESTAMPTZ)"
    ),
)
.reading_global(CHANGES_IT);

/// Takes back a price that is to come, or the one in force if there is one before it.
pub async fn withdraw_tariff(conn: &Conn, write: &Write<'_>, tariff: &Tariff) -> Result<Verdict> {
    change(conn, &WITHDRAW_TARIFF, write, &tariff_key(tariff), &tariff_params(tariff)).await
}
