//! Whether a statement's plan keeps within its declared `reach`. `gateway` asks a server,
//! `postgres` and `cockroach` read plans, `changes` reads the statement's text; the verdict is made
//! here. Which tables are GLOBAL comes from the migrations, because PostgreSQL does not know.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::{DbError, Reach, Result, Statement, migrate};
use changes::{Change, Verb, changes, is_region, only_parameters};

pub mod changes;
pub mod cockroach;
mod gateway;
pub mod postgres;

pub use gateway::{Gateway, Placement, region_of};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub table: String,
    pub how: How,
    pub shown: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It does, or it reaches rows that another access found.
    Kept,
    /// It may read rows of any region.
    Free,
    /// A foreign key that changes rows by itself, in every region.
    Cascade,
    /// The plan contains something that no recording covers.
    Unparsed,
}

impl Access {
    fn new(table: &str, how: How, shown: String) -> Self {
        Self { table: table.to_owned(), how, shown }
    }

    fn unparsed(shown: impl Into<String>) -> Self {
        Self { table: String::new(), how: How::Unparsed, shown: shown.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanVerdict {
    Ok,
    Breach,
    Unknown,
}

#[derive(Debug, Clone, Serialize)]
pub struct StatementCheck {
    pub statement: &'static str,
    pub reach: &'static str,
    pub why: Option<&'static str>,
    /// Spans (CockroachDB) or index conditions (PostgreSQL), in short.
    pub plan: BTreeSet<String>,
    pub verdict: PlanVerdict,
    pub findings: Vec<String>,
    /// The outcome under `enforce_home_region`, where the server has that.
    pub home_region: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Index {
    pub table: String,
    pub unique: bool,
    pub columns: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Cascade {
    pub table: String,
    pub column: String,
    pub on_delete: bool,
    pub on_update: bool,
    pub name: String,
}

#[derive(Debug, Clone, Default)]
pub struct Schema {
    pub regional: BTreeMap<String, bool>,
    /// Columns of regional tables that are part of a foreign key to a GLOBAL one.
    pub global_keys: Vec<(String, String)>,
    pub indexes: BTreeMap<String, Index>,
    pub cascades: Vec<Cascade>,
}

const INDEXES: &str = "SELECT i.relname::TEXT, t.relname::TEXT, x.indisunique, a.attname::TEXT
     FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
     JOIN pg_namespace AS n ON n.oid = t.relnamespace
     JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)
     WHERE n.nspname = current_schema() ORDER BY a.attnum <> x.indkey[0]";

const CASCADES: &str = "SELECT c.conname::TEXT, r.relname::TEXT, t.relname::TEXT, a.attname::TEXT,
        c.confdeltype IN ('c', 'n', 'd'), c.confupdtype IN ('c', 'n', 'd')
     FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.confrelid JOIN pg_class AS t ON t.oid = c.conrelid
     JOIN pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = ANY (c.confkey)
     WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))";

impl Schema {
    /// From the migrations, without a database's indexes and foreign keys.
    pub fn of_migrations() -> Self {
        let mut schema = Self::default();
        for table in migrate::tables() {
            let regional = table.locality != "GLOBAL";
            for (column, to) in table.references {
                // A table is made after those that it refers to.
                if regional && schema.regional.get(&to) == Some(&false) {
                    schema.global_keys.push((table.name.clone(), column));
                }
            }
            schema.regional.insert(table.name, regional);
        }
        schema
    }

    pub async fn read(client: &Client) -> Result<Self> {
        let driver = |error| DbError::from_driver(error, "locality.schema", false);
        let text = |row: &Row, column: usize| row.try_get::<_, String>(column).map_err(driver);
        let mut schema = Self::of_migrations();
        for row in client.query(INDEXES, &[]).await.map_err(driver)? {
            let unique = row.try_get(2).map_err(driver)?;
            let new = Index { table: text(&row, 1)?, unique, columns: Vec::new() };
            schema.indexes.entry(text(&row, 0)?).or_insert(new).columns.push(text(&row, 3)?);
        }
        for row in client.query(CASCADES, &[]).await.map_err(driver)? {
            if schema.regional.get(&text(&row, 2)?) == Some(&false) {
                continue; // GLOBAL rows are read where the statement runs
            }
            schema.cascades.push(Cascade {
                name: text(&row, 0)?,
                table: text(&row, 1)?,
                column: text(&row, 3)?,
                on_delete: row.try_get(4).map_err(driver)?,
                on_update: row.try_get(5).map_err(driver)?,
            });
        }
        Ok(schema)
    }

    /// Whether a change has a foreign key to a GLOBAL table checked: CockroachDB does so wherever
    /// one of its columns is set, even to the same value.
    fn checks_global(&self, change: &Change<'_>) -> bool {
        self.global_keys.iter().any(|(of, column)| of == change.table && change.sets(column))
    }

    /// What a change breaks whatever its plan looks like.
    fn breaks(&self, reach: Reach, change: &Change<'_>) -> Vec<String> {
        let Change { verb, table, columns, values } = change;
        let mut broken = Vec::new();
        if reach == Reach::Named && self.regional.get(*table) == Some(&true) {
            if *verb == Verb::Insert && columns.first() != Some(&"region") {
                broken.push(format!("inserts into {table} without region as the first column"));
            }
            // A value is listed only where it goes into the region.
            if *verb == Verb::Insert && values.is_empty() || values.iter().any(|value| !is_region(value)) {
                broken.push(format!("writes a region into {table} that is no parameter"));
            }
            for (name, index) in self.indexes.iter().filter(|(_, index)| index.unique && index.table == **table) {
                let touched = index.columns.iter().any(|column| change.sets(column));
                if touched && index.columns.first().is_none_or(|first| first != "region") {
                    broken.push(format!("{name} does not begin with region: every region is looked into"));
                }
            }
        }
        let acts = |cascade: &&Cascade| {
            cascade.table == **table
                && (cascade.on_delete && *verb == Verb::Delete
                    || cascade.on_update && *verb == Verb::Update && change.sets(&cascade.column))
        };
        if let Some(cascade) = self.cascades.iter().find(acts) {
            broken.push(format!("{} cascades, which reads every region", cascade.name));
        }
        broken
    }
}

/// Compares the accesses of a plan, and the changes in the text, with the reach.
pub fn judge(statement: &Statement, schema: &Schema, accesses: &[Access]) -> StatementCheck {
    let (mut broken, mut unread) = (BTreeSet::new(), BTreeSet::new());
    let riding = statement.reach == Reach::Named && statement.reads_global.is_none();
    for access in accesses {
        if riding && schema.regional.get(&access.table) == Some(&false) {
            broken.insert(format!("reads GLOBAL {}", access.table));
        }
        match (schema.regional.get(&access.table), access.how, statement.reach) {
            (Some(false), ..) => {}
            (_, How::Cascade, _) => drop(broken.insert(format!("{} over a regional table", access.shown))),
            // It may read every region, whichever these are.
            (Some(true), How::Unparsed, Reach::AllRegions { .. }) if !statement.writes => {}
            (_, How::Unparsed, _) => drop(unread.insert(format!("not understood: {}", access.shown))),
            (None, ..) => drop(unread.insert(format!("no migration makes the table of {}", access.shown))),
            (_, _, Reach::Global) => drop(broken.insert(format!("{} is not GLOBAL", access.table))),
            // A stale read may be answered anywhere; it still asks for one region's rows.
            (_, How::Free, Reach::Named | Reach::Stale) => drop(broken.insert(format!("any region: {}", access.shown))),
            _ => {}
        }
    }
    if statement.reach == Reach::Named && !only_parameters(statement.text) {
        broken.insert("names a region otherwise than by a parameter".to_owned());
    }
    let changes = changes(statement.text);
    for change in changes.iter().filter(|change| riding && schema.checks_global(change)) {
        broken.insert(format!("has {} checked against a GLOBAL table", change.table));
    }
    broken.extend(changes.iter().flat_map(|change| schema.breaks(statement.reach, change)));
    let verdict = match (broken.is_empty(), unread.is_empty()) {
        (false, _) => PlanVerdict::Breach,
        (true, false) => PlanVerdict::Unknown,
        (true, true) => PlanVerdict::Ok,
    };
    let (reach, why) = match statement.reach {
        Reach::Named => ("named", None),
        Reach::Global => ("global", None),
        Reach::Stale => ("stale", None),
        Reach::AllRegions { why } => ("all regions", Some(why)),
    };
    StatementCheck {
        statement: statement.name,
        reach,
        why,
        plan: accesses.iter().map(|access| access.shown.clone()).collect(),
        verdict,
        findings: broken.into_iter().chain(unread).collect(),
        home_region: None,
    }
}
