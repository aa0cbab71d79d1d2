//! What the server is and can do. The only place that asks, and the only place where
//! text differs by engine: which settings a session gets, whether LOCALITY clauses
//! mean anything, how a stale read is written.

use tokio_postgres::Client;

use super::error::DbError;

/// The database server's kind and abilities, asked once when connecting first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// `PostgreSQL 15.18 ...` or `CockroachDB CCL v25.4.11 ...`, as the server says.
    pub version: String,
    pub cockroach: bool,
    pub regions: bool,
    /// Region of the node that answered, where nodes have one.
    pub gateway: Option<String>,
}

impl Engine {
    /// Asks the server. On CockroachDB also whether this database has regions.
    pub async fn ask(client: &Client) -> Result<Self, DbError> {
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

    /// Statements that every new session runs, each by itself; those marked optional
    /// may fail on versions that do not know the setting.
    pub fn session_settings(&self) -> &'static [&'static str] {
        if self.cockroach {
            // A generic plan has no constant region, and may read a whole city where nine
            // ranges would do; a small table may look cheap enough to scan in all regions.
            &["SET plan_cache_mode = force_custom_plan", "SET prefer_lookup_joins_for_fks = on"]
        } else {
            // Small predicate locks: a sequential scan under SERIALIZABLE locks the whole
            // table and makes independent riders conflict. A scan that must be costs so much
            // then, on paper, that PostgreSQL would compile it first, for a second or more.
            &["SET enable_seqscan = off", "SET jit = off"]
        }
    }
}

/// As `text`, for what a node without a region, or a database without any, has not.
pub(super) async fn text_if_any(client: &Client, sql: &str) -> Result<Option<String>, DbError> {
    match text(client, sql).await {
        // `config_file_error`: the node was started without a region. `invalid_table_definition`:
        // the database is not multi-region.
        Err(error) if matches!(error.sqlstate(), Some("F0000" | "42P16")) => Ok(None),
        asked => Ok(Some(asked?).filter(|text| !text.is_empty())),
    }
}

/// The first column of the first row of a parameterless query, as text.
pub(super) async fn text(client: &Client, sql: &str) -> Result<String, DbError> {
    let rows = client.simple_query(sql).await.map_err(|error| DbError::from_driver(error, "engine.ask", false))?;
    for message in rows {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).unwrap_or_default().to_owned());
        }
    }
    Ok(String::new())
}
