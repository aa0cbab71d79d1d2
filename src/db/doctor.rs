//! What only `movr doctor` asks a node, over one connection outside the pools. These are facts; what
//! is wrong with them, and what to do, is said in `cli::doctor`.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_postgres::Client;

use super::{
    DbError,
    connect::Endpoint,
    connect_once,
    engine::{Engine, text, text_if_any},
    locality::Gateway,
    migrate,
    nodes::{WRITERS, not_kept, required},
    rights,
};
use crate::{clock::Clock, config::Database};

pub struct Node {
    client: Client,
    pub engine: Engine,
    /// The shortest of three.
    pub round_trip: Duration,
    /// Session settings that were asked for and do not hold.
    pub not_kept: Vec<&'static str>,
    /// How far its clock is ahead of ours, in milliseconds.
    pub clock_ahead_ms: i64,
}

impl Node {
    /// Connects with the session settings of the pages, and asks what every node is asked.
    pub async fn ask(endpoint: &Endpoint, config: &Database) -> Result<Self, DbError> {
        let timeout = config.write_timeout.as_millis().to_string();
        let mut endpoint = endpoint.clone();
        endpoint.with_session(&required(WRITERS, &timeout));
        let client = connect_once(&endpoint).await?;
        let engine = Engine::ask(&client).await?;
        let lost = |error| DbError::from_driver(error, "doctor.settings", false);
        let not_kept = not_kept(&client, WRITERS, &timeout).await.map_err(lost)?;
        let (mut round_trip, mut clock_ahead_ms) = (Duration::MAX, 0);
        for _ in 0..3 {
            let began = Instant::now();
            let there = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::INT8::TEXT";
            let there: i64 = text(&client, there).await?.parse().unwrap_or_default();
            let took = began.elapsed();
            if took < round_trip {
                let half = i64::try_from(took.as_millis() / 2).unwrap_or_default();
                (round_trip, clock_ahead_ms) = (took, there - (Clock::default().now().timestamp_millis() - half));
            }
        }
        Ok(Self { client, engine, round_trip, not_kept, clock_ahead_ms })
    }

    pub async fn schema_version(&self) -> Result<i32, DbError> {
        migrate::version_of(&self.client).await
    }

    /// What the user lacks, and what it may do to events beyond its need.
    pub async fn rights(&self) -> Result<(Vec<String>, Vec<String>), DbError> {
        rights::of_user(&self.client).await
    }

    /// When the licence of the cluster ends: the epoch where there is none. None where the node does
    /// not tell.
    pub async fn licence_end(&self) -> Option<DateTime<Utc>> {
        let left = "SELECT value::INT8::TEXT FROM crdb_internal.node_metrics \
             WHERE name = 'seconds_until_enterprise_license_expiry'";
        let left: i64 = text(&self.client, left).await.ok()?.parse().ok()?;
        if left == 0 {
            return Some(DateTime::UNIX_EPOCH);
        }
        Some(Clock::default().now() + chrono::Duration::seconds(left))
    }

    /// `zone` or `region`; none of a database without regions.
    pub async fn survival_goal(&self) -> Result<Option<String>, DbError> {
        text_if_any(&self.client, "SELECT survival_goal FROM [SHOW SURVIVAL GOAL FROM DATABASE]").await
    }

    /// Of the database.
    pub async fn regions(&self) -> Result<Vec<String>, DbError> {
        let all = "SELECT coalesce(string_agg(region, ','), '') FROM [SHOW REGIONS FROM DATABASE]";
        Ok(text(&self.client, all).await?.split(',').map(str::to_owned).collect())
    }
}

/// Tables whose locality is not that of the migrations, as in `rides: GLOBAL`.
pub async fn misplaced(endpoint: &Endpoint) -> Result<Vec<String>, DbError> {
    let placed = Gateway::open(endpoint).await?.placement().await;
    let expected = migrate::tables();
    let wrong = expected.iter().filter_map(|table| match placed.iter().find(|placed| placed.table == table.name) {
        Some(placed) if placed.locality.replace('"', "") == table.locality => None,
        placed => Some(format!("{}: {}", table.name, placed.map_or("missing", |placed| &placed.locality))),
    });
    Ok(wrong.collect())
}
