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
    /// CockroachDB, of any version.
    pub cockroach: bool,
    /// The database has regions, so tables have localities.
    pub regions: bool,
    /// Region of the node that answered, where nodes have one.
    pub gateway: Option<String>,
}

impl Engine {
    /// Asks the server. On CockroachDB also whether this database has regions.
    pub async fn ask(client: &Client) -> Result<Self, DbError> {
        let version = text(client, "SELECT version()").await?;
        let cockroach = version.starts_with("CockroachDB");
        let regions = cockroach && {
            let of_database = "SELECT count(*)::TEXT FROM [SHOW REGIONS FROM DATABASE]";
            text(client, of_database).await.is_ok_and(|count| count != "0")
        };
        let gateway = if cockroach { text(client, "SELECT gateway_region()::TEXT").await.ok() } else { None };
        Ok(Self { version, cockroach, regions, gateway: gateway.filter(|region| !region.is_empty()) })
    }

    /// Statements that every new session runs, each by itself; those marked optional
    /// may fail on versions that do not know the setting.
    #[must_use]
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
