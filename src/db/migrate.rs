//! Creates the database, its regions and survival goal, then runs refinery's migrations. Safe to
//! repeat, and to run twice at once: whoever loses a race waits and checks again. A wrapper
//! replaces the LOCALITY line where the engine has no regions, so the stored checksum is the
//! file's.

use std::time::{Duration, Instant};

use refinery::{AsyncMigrate, Migration, Target};
use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    DbError, DbErrorKind, Result,
    connect::Endpoint,
    connect_beside, connect_once,
    engine::{Engine, text, text_if_any},
    error::NO_DATABASE,
    retry,
};
use crate::domain::RegionCode;

mod embedded {
    refinery::embed_migrations!("migrations");
}

#[derive(Debug, Clone)]
pub struct Layout {
    pub regions: Vec<RegionCode>,
    pub survive_region: bool,
    /// Keep no replicas outside the home region (no stale reads elsewhere).
    pub placement_restricted: bool,
    pub locality: bool,
}

/// Brings the schema up to this program's version and returns the SQL that it sent. With `plan` it
/// changes nothing and returns the SQL that it would send.
pub async fn run(endpoint: &Endpoint, layout: &Layout, plan: bool) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let mut client = match connect_once(endpoint).await {
        Err(error) if error.kind == NO_DATABASE => {
            let beside = connect_beside(endpoint).await?;
            let step = format!("CREATE DATABASE \"{}\"", name_of(endpoint).replace('"', "\"\""));
            if !plan && let Err(error) = beside.batch_execute(&step).await {
                tolerate(error, "migrate.database")?;
            }
            done.push(step);
            // A plan goes on beside it, where it is as empty as the new one would be.
            if plan { beside } else { connect_once(endpoint).await? }
        }
        connected => connected?,
    };
    // The first two only where they exist: a group of files is one transaction, and a
    // new table must still take its indexes inside it.
    for setting in ["autocommit_before_ddl = off", "create_table_with_schema_locked = off", "statement_timeout = 0"] {
        let _ = client.batch_execute(&format!("SET {setting}")).await;
    }
    for step in region_steps(&client, &name_of(endpoint), layout).await? {
        if !plan && let Err(error) = client.batch_execute(&step).await {
            tolerate(error, "migrate.regions")?;
        }
        done.push(step);
    }
    let engine = Engine::ask(&client).await?;
    let cockroach = engine.cockroach;
    let localities = engine.regions || (plan && layout.locality && has_regions(&client).await?);
    if !plan && layout.locality && !localities && has_regions(&client).await? {
        let detail = "the cluster has regions, but the database did not get them";
        return Err(DbError::new(DbErrorKind::Bug, "migrate.regions", detail));
    }
    let before = version_of(&client).await?;
    let migrations = in_order();
    let pending = migrations.iter().filter(|m| m.version() > before);
    done.extend(pending.map(|m| sent(m.sql(), localities, cockroach)));
    if !plan {
        mend(&client, before).await?;
        apply(&mut LocalisedClient { client: &mut client, localities, cockroach }).await?;
    }
    Ok(done)
}

/// The regions of the catalogue that was loaded into the database; none when there is no database yet.
pub async fn loaded_regions(endpoint: &Endpoint) -> Result<Vec<RegionCode>> {
    let client = match connect_once(endpoint).await {
        Err(error) if error.kind == NO_DATABASE => return Ok(Vec::new()),
        connected => connected?,
    };
    // A name without a database finds nothing, where asking for its tables is an error.
    let created =
        "SELECT count(*)::TEXT FROM information_schema.tables WHERE table_schema = 'public' AND table_name = 'regions'";
    if text(&client, created).await? == "0" {
        return Ok(Vec::new());
    }
    let codes = text(&client, "SELECT coalesce(string_agg(code::TEXT, ',' ORDER BY code), '') FROM regions").await?;
    let code =
        |code: &str| code.parse().map_err(|error| DbError::new(DbErrorKind::Bug, "migrate.loaded", format!("{error}")));
    codes.split(',').filter(|code| !code.is_empty()).map(code).collect()
}

/// Keeps all rows, and those who answer for them, in one region of the cluster: without localities
/// it spreads them over all.
pub async fn keep_in(endpoint: &Endpoint, region: &RegionCode) -> Result<(), DbError> {
    let name = name_of(endpoint);
    let zone = format!(
        "ALTER DATABASE \"{name}\" CONFIGURE ZONE USING num_replicas = 3, constraints = '[+region={region}]', \
         lease_preferences = '[[+region={region}]]'"
    );
    let configured = connect_once(endpoint).await?.batch_execute(&zone).await;
    configured.map_err(|error| DbError::from_driver(error, "migrate.zone", true))
}

/// In the order of versions; embedded ones are sorted by name.
fn in_order() -> Vec<Migration> {
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort_by_key(Migration::version);
    migrations
}

pub fn newest() -> i32 {
    in_order().last().map_or(0, Migration::version)
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pub name: String,
    pub locality: String,
    /// The columns of each foreign key, and the table it refers to.
    pub references: Vec<(String, String)>,
}

pub(super) fn tables() -> Vec<Table> {
    let (migrations, mut tables) = (in_order(), Vec::<Table>::new());
    for line in migrations.iter().filter_map(Migration::sql).flat_map(str::lines) {
        if let Some(dropped) = line.strip_prefix("DROP TABLE IF EXISTS ") {
            tables.retain(|table| table.name != dropped.trim_end_matches(';'));
        }
        if let Some(name) = line.strip_prefix("CREATE TABLE ").and_then(|rest| rest.strip_suffix(" (")) {
            tables.push(Table { name: name.to_owned(), ..Table::default() });
        }
        let Some(table) = tables.last_mut() else { continue };
        if let Some(locality) = line.strip_prefix("LOCALITY ") {
            locality.trim_end_matches(';').clone_into(&mut table.locality);
        }
        let key = line.split_once("FOREIGN KEY (").and_then(|(_, key)| key.split_once(") REFERENCES "));
        if let Some((columns, to)) = key {
            let to = to.split(' ').next().unwrap_or_default();
            table.references.extend(columns.split(", ").map(|column| (column.to_owned(), to.to_owned())));
        }
    }
    tables
}

pub async fn version_of(client: &Client) -> Result<i32> {
    let known = "SELECT count(*)::TEXT FROM information_schema.tables WHERE table_name = 'refinery_schema_history'";
    if text(client, known).await? == "0" {
        return Ok(0);
    }
    let version = text(client, "SELECT coalesce(max(version), 0)::TEXT FROM refinery_schema_history").await?;
    version.parse().map_err(|error| DbError::new(DbErrorKind::Bug, "migrate.version", format!("{version}: {error}")))
}

fn name_of(endpoint: &Endpoint) -> String {
    endpoint.config.get_dbname().unwrap_or("movr").to_owned()
}

async fn has_regions(client: &Client) -> Result<bool> {
    let regions = "SELECT count(*)::TEXT FROM [SHOW REGIONS FROM CLUSTER]";
    Ok(Engine::ask(client).await?.cockroach && text(client, regions).await? != "0")
}

/// What is missing of regions, survival goal and placement, or of the region type.
async fn region_steps(client: &Client, name: &str, layout: &Layout) -> Result<Vec<String>> {
    if layout.locality && has_regions(client).await? {
        return cluster_steps(client, name, layout).await;
    }
    let of_type = "SELECT coalesce(string_agg(e.enumlabel, ','), '') FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid \
                   WHERE t.typname = 'crdb_internal_region'";
    let known = text(client, of_type).await?;
    if known.is_empty() {
        let list: Vec<_> = layout.regions.iter().map(|r| format!("'{r}'")).collect();
        return Ok(vec![format!("CREATE TYPE crdb_internal_region AS ENUM ({})", list.join(", "))]);
    }
    let missing = layout.regions.iter().filter(|r| !known.split(',').any(|k| k == r.as_str()));
    Ok(missing.map(|r| format!("ALTER TYPE crdb_internal_region ADD VALUE IF NOT EXISTS '{r}'")).collect())
}

async fn cluster_steps(client: &Client, name: &str, layout: &Layout) -> Result<Vec<String>> {
    let primary = "SELECT coalesce(max(region), '') FROM [SHOW REGIONS FROM DATABASE] WHERE \"primary\"";
    let primary = text_if_any(client, primary).await?.unwrap_or_default();
    let mut steps = Vec::new();
    if primary.is_empty()
        && let Some(first) = layout.regions.first()
    {
        steps.push(format!("ALTER DATABASE \"{name}\" PRIMARY REGION \"{first}\""));
    }
    let first = layout.regions.first().filter(|_| primary.is_empty());
    for region in layout.regions.iter().filter(|r| r.as_str() != primary && Some(*r) != first) {
        steps.push(format!("ALTER DATABASE \"{name}\" ADD REGION IF NOT EXISTS \"{region}\""));
    }
    let goal = if layout.survive_region { "REGION" } else { "ZONE" };
    // Asked for, or a new database: a release without the option does not lower the goal.
    if layout.survive_region || primary.is_empty() {
        steps.push(format!("ALTER DATABASE \"{name}\" SURVIVE {goal} FAILURE"));
    }
    if layout.placement_restricted {
        steps.push("SET enable_multiregion_placement_policy = on".to_owned());
        steps.push(format!("ALTER DATABASE \"{name}\" PLACEMENT RESTRICTED"));
    }
    Ok(steps)
}

/// The last version of the initial schema, which runs as one group.
const INITIAL: i32 = 6;

/// Runs what is pending: the initial schema in one group (one by one it takes minutes on a cluster
/// that spans oceans), later migrations one by one, since a schema change may build on the one
/// before.
async fn apply(client: &mut LocalisedClient<'_>) -> Result<()> {
    let mut attempt = 0;
    loop {
        let initial = version_of(client.client).await? == 0;
        let ran = async {
            if initial {
                let runner = embedded::migrations::runner().set_grouped(true);
                runner.set_target(Target::Version(INITIAL)).run_async(client).await?;
            }
            embedded::migrations::runner().run_async(client).await
        };
        match ran.await {
            Ok(_) => return Ok(()),
            Err(error) if attempt < 20 && driver_error(&error).is_some_and(is_race) => {
                tracing::info!("another migration is under way; waiting");
                let _ = client.client.batch_execute("ROLLBACK").await;
                tokio::time::sleep(Duration::from_millis(100 + 100 * attempt)).await;
                attempt += 1;
            }
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// What migrations of these names correct in old rows, in batches. A migration is one transaction,
/// which a large cluster may restart for ever, so this comes first and leaves it nothing to do; and
/// it runs every time, since older instances may have written such rows during a release. Each
/// takes a region and the last key, and returns the last key of its batch.
pub const MENDS: [(&str, &str); 2] = [
    (
        "ride_events_without_riders",
        "WITH old AS (SELECT aggregate_id, version FROM events
             WHERE region = $1::TEXT::crdb_internal_region AND aggregate_type = 'vehicle'
               AND (aggregate_id, version) > ($2::UUID, $3::INT8)
               AND action IN ('ride.started', 'ride.ended', 'ride.ended_by_operator', 'vehicle.reserved',
                 'vehicle.reservation_cancelled')
               AND (lat IS NOT NULL OR (actor_id IS NOT NULL AND action <> 'ride.ended_by_operator'))
             ORDER BY aggregate_id, version LIMIT 1000),
           new AS (UPDATE events SET lat = NULL, lon = NULL,
               actor_region = CASE WHEN action = 'ride.ended_by_operator' THEN actor_region END,
               actor_id = CASE WHEN action = 'ride.ended_by_operator' THEN actor_id END
             FROM old WHERE events.region = $1::TEXT::crdb_internal_region AND events.aggregate_type = 'vehicle'
               AND events.aggregate_id = old.aggregate_id AND events.version = old.version RETURNING 1 AS ok)
         SELECT aggregate_id AS id, version FROM old ORDER BY aggregate_id DESC, version DESC LIMIT 1",
    ),
    (
        "rides_follow_their_riders",
        "WITH home AS (SELECT id, max(region::TEXT) AS region FROM users GROUP BY id HAVING count(*) = 1),
           old AS (SELECT rides.id, rides.version, home.region FROM rides JOIN home ON home.id = rides.rider_id
             WHERE rides.region = $1::TEXT::crdb_internal_region AND (rides.id, rides.version) > ($2::UUID, $3::INT8)
               AND rides.rider_region::TEXT <> home.region
             ORDER BY rides.id, rides.version LIMIT 1000),
           new AS (UPDATE rides SET rider_region = old.region::crdb_internal_region
             FROM old WHERE rides.region = $1::TEXT::crdb_internal_region AND rides.id = old.id RETURNING 1 AS ok)
         SELECT id, version FROM old ORDER BY id DESC, version DESC LIMIT 1",
    ),
];

/// How long a batch is tried again that collides with the writes of instances.
const MEND_RETRIED: Duration = Duration::from_mins(1);

async fn mend(client: &Client, schema: i32) -> Result<()> {
    // Before that one there is no table of them.
    if schema < INITIAL {
        return Ok(());
    }
    let driver = |error| DbError::from_driver(error, "migrate.mend", true);
    let regions = client.query("SELECT region::TEXT FROM region_gates", &[]).await.map_err(driver)?;
    for (name, sql) in MENDS {
        let statement = client.prepare(sql).await.map_err(driver)?;
        for region in &regions {
            let region: String = region.try_get(0).map_err(driver)?;
            let (mut last, mut batches) = ((Uuid::nil(), 0_i64), 0);
            let (mut collisions, mut since) = (0, Instant::now());
            loop {
                match client.query_opt(&statement, &[&region, &last.0, &last.1]).await.map_err(driver) {
                    Ok(None) => break,
                    Ok(Some(row)) => {
                        last = (row.try_get(0).map_err(driver)?, row.try_get(1).map_err(driver)?);
                        (batches, collisions, since) = (batches + 1, 0, Instant::now());
                    }
                    // Instances are at work; the same batch again.
                    Err(error) if error.kind == DbErrorKind::Contention && since.elapsed() < MEND_RETRIED => {
                        collisions += 1;
                        retry::pause(collisions, &error).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            if batches > 0 {
                tracing::info!(name, region, batches, "old rows mended");
            }
        }
    }
    Ok(())
}

fn failed(error: &refinery::Error) -> DbError {
    let driver = driver_error(error).and_then(|e| e.as_db_error());
    let cause = driver.map_or_else(String::new, |e| format!(": {} {}", e.code().code(), e.message()));
    DbError::new(DbErrorKind::Bug, "migrate", format!("{error}{cause}"))
}

fn driver_error(error: &refinery::Error) -> Option<&tokio_postgres::Error> {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// Somebody else made the same thing at the same time.
fn is_race(error: &tokio_postgres::Error) -> bool {
    // Serialization, deadlock, unique violation, and duplicate database, object, table, type.
    let races = ["40001", "40P01", "23505", "42P04", "42710", "42P07", "55006"];
    error.code().is_some_and(|code| races.contains(&code.code()))
}

pub(super) fn tolerate(error: tokio_postgres::Error, step: &'static str) -> Result<()> {
    if is_race(&error) { Ok(()) } else { Err(DbError::from_driver(error, step, false)) }
}

/// The text of a migration as it is sent: LOCALITY lines become `;` without regions, and on
/// CockroachDB a UNIQUE constraint is dropped as the index that it is.
fn sent(sql: Option<&str>, localities: bool, cockroach: bool) -> String {
    let unique = |line: &str| {
        let (table, name) = line.strip_prefix("ALTER TABLE ")?.split_once(" DROP CONSTRAINT IF EXISTS ")?;
        let name = name.strip_suffix(';').filter(|name| name.ends_with("_key"))?;
        Some(format!("DROP INDEX IF EXISTS {table}@{name} CASCADE;"))
    };
    let line = |line: &str| {
        if line.starts_with("LOCALITY ") && !localities {
            return ";".to_owned();
        }
        unique(line).filter(|_| cockroach).unwrap_or_else(|| line.to_owned())
    };
    sql.unwrap_or_default().lines().map(line).collect::<Vec<_>>().join("\n")
}

struct LocalisedClient<'a> {
    client: &'a mut Client,
    localities: bool,
    cockroach: bool,
}

impl AsyncTransaction for LocalisedClient<'_> {
    type Error = tokio_postgres::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let queries: Vec<String> = queries.map(|q| sent(Some(q), self.localities, self.cockroach)).collect();
        AsyncTransaction::execute(self.client, queries.iter().map(String::as_str)).await
    }
}

impl AsyncQuery<Vec<Migration>> for LocalisedClient<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Self::Error> {
        AsyncQuery::query(self.client, query).await
    }
}

impl AsyncMigrate for LocalisedClient<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_where_every_table_lives() {
        let readme = include_str!("../../README.md");
        let said = |table: &Table| {
            let row = |line: &&str| line.starts_with('|') && line.contains(&format!("`{}`", table.name));
            readme.lines().find(row).is_some_and(|line| line.contains(&format!("| `{}` |", table.locality)))
        };
        let missing: Vec<_> = tables().into_iter().filter(|table| !said(table)).map(|table| table.name).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_table_says_where_it_lives_and_the_line_goes_without_regions() {
        for migration in embedded::migrations::runner().get_migrations() {
            let sql = migration.sql().unwrap();
            let tables = sql.lines().filter(|l| l.starts_with("CREATE TABLE")).count();
            let here = sent(Some(sql), false, false);
            assert_eq!(sql.lines().filter(|l| l.starts_with("LOCALITY ")).count(), tables, "{migration}");
            assert_eq!(here.lines().filter(|l| *l == ";").count(), tables, "{migration}");
            assert_eq!(sent(Some(sql), true, false), sql.trim_end_matches('\n'), "{migration}");
        }
        let dropped =
            "ALTER TABLE users DROP CONSTRAINT IF EXISTS users_a_key;\nALTER TABLE users DROP CONSTRAINT users_a_fkey;";
        let as_index =
            "DROP INDEX IF EXISTS users@users_a_key CASCADE;\nALTER TABLE users DROP CONSTRAINT users_a_fkey;";
        assert_eq!([false, true].map(|cockroach| sent(Some(dropped), true, cockroach)), [dropped, as_index]);
        let known = |table: &Table| {
            !table.name.contains(' ') && ["GLOBAL", "REGIONAL BY ROW AS region"].contains(&table.locality.as_str())
        };
        assert!(tables().iter().all(known), "{:?}", tables());
    }
}
