//! What the server is and can do, asked once on the first connection.

use futures_util::future::join_all;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{DbError, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// `PostgreSQL 15.18 ...` or `CockroachDB CCL v25.4.11 ...`, as the server says.
    pub version: String,
    pub cockroach: bool,
    pub regions: bool,
    pub gateway: Option<String>,
}

impl Engine {
    pub async fn ask(client: &Client) -> Result<Self> {
        let version = text(client, "SELECT version()").await?;
        let cockroach = version.starts_with("CockroachDB");
        let (mut regions, mut gateway) = (false, None);
        if cockroach {
            let of_database = "SELECT count(*)::TEXT FROM [SHOW REGIONS FROM DATABASE]";
            regions = text_if_any(client, of_database).await?.is_some_and(|count| count != "0");
            gateway = text_if_any(client, "SELECT gateway_region()::TEXT").await?;
        }
        Ok(Self { version, cockroach, regions, gateway })
    }

    /// Settings of every session, besides deadlines and isolation.
    pub fn session_settings(&self) -> [(&'static str, &'static str); 2] {
        if self.cockroach {
            // A generic plan has no constant region, and may read a whole city where nine
            // ranges would do; a small table may look cheap enough to scan in all regions.
            [("plan_cache_mode", "force_custom_plan"), ("prefer_lookup_joins_for_fks", "on")]
        } else {
            // Small predicate locks: a sequential scan under SERIALIZABLE locks the whole
            // table and makes independent riders conflict. A scan that must be costs so much
            // then, on paper, that PostgreSQL would compile it first, for a second or more.
            [("enable_seqscan", "off"), ("jit", "off")]
        }
    }
}

/// Sets what makes plans better, each by itself and all on the way at once: not every version knows
/// every setting.
pub(super) async fn prefer(
    client: &Client,
    settings: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Result<(), tokio_postgres::Error> {
    let set = |(name, value)| async move { client.batch_execute(&format!("SET {name} = {value}")).await };
    let failed = join_all(settings.into_iter().map(set)).await.into_iter().filter_map(Result::err);
    // The server's refusals have a code, a lost connection has none.
    failed.into_iter().find(|error| error.code().is_none()).map_or(Ok(()), Err)
}

pub(super) async fn text_if_any(client: &Client, sql: &str) -> Result<Option<String>> {
    match text(client, sql).await {
        // `config_file_error`: the node was started without a region. `invalid_table_definition`:
        // the database is not multi-region.
        Err(error) if matches!(error.sqlstate(), Some("F0000" | "42P16")) => Ok(None),
        answer => Ok(Some(answer?).filter(|text| !text.is_empty())),
    }
}

/// The first column of the first row of a query without parameters.
pub(super) async fn text(client: &Client, sql: &str) -> Result<String> {
    let messages = client.simple_query(sql).await.map_err(|error| DbError::from_driver(error, "engine.ask", false))?;
    let first = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(first.unwrap_or_default().to_owned())
}
