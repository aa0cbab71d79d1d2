//! Asks a server about statements: their plans (on CockroachDB with keys of sample rows), the
//! outcome under `enforce_home_region`, and where tables live. One connection outside the pools,
//! because its settings are not those of the pages. A checked write may run, in a transaction that
//! is always rolled back.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{
    Client, SimpleQueryMessage,
    types::{Format, IsNull, Kind, ToSql, Type, private::BytesMut, to_sql_checked},
};

use super::{Access, PlanVerdict, Schema, StatementCheck, changes, cockroach, judge, postgres};
use crate::db::{
    DbError, DbErrorKind, Param, Reach, Result, Statement,
    connect::Endpoint,
    connect_once,
    engine::{self, Engine, text},
};

pub struct Gateway {
    client: Client,
    schema: Schema,
    pub engine: Engine,
    /// The gateway's region, which statements are checked with; on PostgreSQL no single one.
    pub region: String,
    samples: HashMap<String, Option<String>>,
}

type Explained = Result<(Vec<Access>, Option<String>), tokio_postgres::Error>;

#[derive(Debug, Clone, Serialize)]
pub struct Placement {
    pub table: String,
    pub locality: String,
    /// Ranges by leaseholder region, or why that is not known.
    pub leaseholders: Result<BTreeMap<String, u32>, String>,
}

const ANY_REGION: &str = "SELECT coalesce(min(region::TEXT), '') FROM region_gates";

impl Gateway {
    /// Connects, detects the engine and reads the schema.
    pub async fn open(endpoint: &Endpoint) -> Result<Self> {
        let client = connect_once(endpoint).await?;
        let engine = Engine::ask(&client).await?;
        let plans = if engine.cockroach {
            // Recommendations made for a large statement crashed a v22.1 server.
            ("index_recommendations_enabled", "off")
        } else {
            ("plan_cache_mode", "force_generic_plan")
        };
        let lost = |error| DbError::from_driver(error, "locality.settings", false);
        engine::prefer(&client, engine.session_settings().into_iter().chain([plans])).await.map_err(lost)?;
        let region = match (engine.cockroach, engine.regions) {
            (true, true) => text(&client, "SELECT gateway_region()").await?,
            (true, false) => text(&client, ANY_REGION).await?,
            _ => "any region".to_owned(),
        };
        let schema = Schema::read(&client).await?;
        Ok(Self { client, schema, engine, region, samples: HashMap::new() })
    }

    pub async fn check(&mut self, statement: &Statement) -> Result<StatementCheck> {
        let plan = if self.engine.cockroach { self.cockroach(statement).await } else { self.postgres(statement).await };
        let (accesses, home_region) = match plan.map_err(|error| DbError::from_driver(error, "locality.plan", false)) {
            Ok(explained) => explained,
            Err(error) if error.kind == DbErrorKind::Unavailable => return Err(error),
            Err(error) => (vec![Access::unparsed(error.to_string())], None),
        };
        let mut checked = judge(statement, &self.schema, &accesses);
        checked.home_region = home_region;
        // Some good statements are refused, so spans that are known to be right count more.
        if let Some(refused) = checked.home_region.as_ref().filter(|outcome| outcome.contains("home region"))
            && statement.reach == Reach::Named
            && checked.verdict == PlanVerdict::Unknown
        {
            checked.verdict = PlanVerdict::Breach;
            checked.findings.push(refused.clone());
        }
        Ok(checked)
    }

    /// The generic plan, which does not look at the values.
    async fn postgres(&self, statement: &Statement) -> Explained {
        let parameters = self.client.prepare(statement.text).await?.params().len();
        let nulls = vec!["NULL"; parameters].join(", ");
        let nulls = if nulls.is_empty() { nulls } else { format!("({nulls})") };
        self.client.batch_execute(&format!("PREPARE movr_locality AS {}", statement.text)).await?;
        let explain = format!("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE movr_locality{nulls}");
        let plan = self.client.query_one(&explain, &[]).await;
        self.client.batch_execute("DEALLOCATE movr_locality").await?;
        let plan: Value = plan?.try_get(0)?;
        Ok((postgres::accesses(&plan, &self.schema, &changes::changes(statement.text)), None))
    }

    async fn cockroach(&mut self, statement: &Statement) -> Explained {
        let prepared = self.client.prepare(statement.text).await?;
        let mut values = Vec::new();
        for (at, ty) in prepared.params().iter().enumerate() {
            values.push(AsText(self.value(statement, at, ty).await));
        }
        let values: Vec<Param<'_>> = values.iter().map(|value| value as Param<'_>).collect();
        let mut plans = [String::new(), String::new()];
        for (plan, form) in plans.iter_mut().zip(["EXPLAIN", "EXPLAIN (VERBOSE)"]) {
            let rows = self.client.query(&format!("{form} {}", statement.text), &values).await?;
            let lines: Result<Vec<&str>, _> = rows.iter().map(|row| row.try_get(0)).collect();
            *plan = lines?.join("\n");
        }
        let [plain, verbose] = &plans;
        let accesses = cockroach::accesses(plain, verbose, &self.region, &self.schema);
        // Not Db::txn: nothing of this is ever to be committed.
        self.client.batch_execute("BEGIN").await?;
        let mut outcome = None;
        if self.client.batch_execute("SET LOCAL enforce_home_region = on").await.is_ok() {
            let end = self.client.query(&prepared, &values).await;
            outcome = Some(end.map_or_else(|error| refused(&error), |_| "ok".to_owned()));
        }
        self.client.batch_execute("ROLLBACK").await?;
        Ok((accesses, outcome))
    }

    /// A value for the parameter `at`: the gateway's region for every region, a key of a sample row
    /// where there is one, otherwise a made-up one.
    async fn value(&mut self, statement: &Statement, at: usize, ty: &Type) -> String {
        if statement.binds_region(at) {
            return self.region.clone();
        }
        let compared = changes::compared(statement.text, at + 1);
        // Ids and cities only: names, usernames and hashes stay where they are.
        if let Some((table, column)) = compared.filter(|(_, column)| *ty == Type::UUID || *column == "city")
            && let Some(found) = self.sample(table, column).await
        {
            return found;
        }
        let (element, array) = if let Kind::Array(element) = ty.kind() { (element, true) } else { (ty, false) };
        let made_up = match element.name() {
            "uuid" => "00000000-0000-0000-0000-000000000000",
            // A condition that no row can meet would give a plan that reads nothing.
            "timestamptz" if changes::is_upper(statement.text, at + 1) => "2027-01-01T00:00:00Z",
            "timestamptz" => "2026-01-01T00:00:00Z",
            "bool" => "true",
            "jsonb" => "[]",
            // No gate has it, so that a write which is tried finds the region closed.
            "int8" if compared.is_some_and(|(_, column)| column == "epoch") => "0",
            "int8" if changes::is_upper(statement.text, at + 1) => "1000",
            _ => "1",
        };
        if array { format!("{{{made_up}}}") } else { made_up.to_owned() }
    }

    /// The column's value in some row of the region, if the table has that column and a row;
    /// cached.
    async fn sample(&mut self, table: &str, column: &str) -> Option<String> {
        let key = format!("{column}::TEXT FROM {table}");
        if !self.samples.contains_key(&key) {
            let query = format!("SELECT {key} WHERE region = '{}' AND {column} IS NOT NULL LIMIT 1", self.region);
            let found = self.client.query_one(&query, &[]).await.and_then(|row| row.try_get(0)).ok();
            self.samples.insert(key.clone(), found);
        }
        self.samples.get(&key).cloned().flatten()
    }

    /// Empty on a server without regions.
    pub async fn placement(&self) -> Vec<Placement> {
        if !self.engine.regions {
            return Vec::new();
        }
        let mut all = Vec::new();
        for row in rows(&self.client, "SHOW TABLES").await.unwrap_or_default() {
            let value = |column: &str| row.try_get(column).ok().flatten().unwrap_or_default().to_owned();
            let table = value("table_name");
            if self.schema.regional.contains_key(&table) {
                let leaseholders = self.leaseholders(&table).await;
                all.push(Placement { table, locality: value("locality"), leaseholders });
            }
        }
        all
    }

    async fn leaseholders(&self, table: &str) -> Result<BTreeMap<String, u32>, String> {
        let plain = format!("SHOW RANGES FROM TABLE {table}");
        // From v23.1 on the leaseholders are details; before, the word is a mistake (42601).
        let ranges = match rows(&self.client, &format!("{plain} WITH DETAILS")).await {
            Err(code) if code == "42601" => rows(&self.client, &plain).await,
            ranges => ranges,
        };
        let mut regions = BTreeMap::new();
        for row in ranges.map_err(|code| format!("not told ({code})"))? {
            let locality = row.try_get("lease_holder_locality").ok().flatten().unwrap_or_default();
            *regions.entry(region_of(locality).to_owned()).or_insert(0) += 1;
        }
        Ok(regions)
    }
}

/// The region in a node's locality, `region=us-east1,az=b`.
pub fn region_of(locality: &str) -> &str {
    locality.split(',').find_map(|tier| tier.strip_prefix("region=")).unwrap_or("unknown")
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<tokio_postgres::SimpleQueryRow>, String> {
    let code = |error: tokio_postgres::Error| error.code().map_or("no answer", |code| code.code()).to_owned();
    let messages = client.simple_query(sql).await.map_err(code)?;
    let row = |message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None };
    Ok(messages.into_iter().filter_map(row).collect())
}

/// The SQLSTATE, and whether the error is about the home region; the rest may contain values.
fn refused(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else {
        return "no answer".to_owned();
    };
    let home = if error.message().contains("home region") { "refused: home region" } else { "failed" };
    format!("{home} ({})", error.code().code())
}

#[derive(Debug)]
struct AsText(String);

impl ToSql for AsText {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
