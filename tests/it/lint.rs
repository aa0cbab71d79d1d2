//! What a real CockroachDB refused is refused here without one: rules over the parsed text
//! of every statement and migration. PostgreSQL accepts all of it, so no other test can
//! notice. Each rule is shown to fire on a text that the server refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use movr::db::{all_statements, migrate::MENDS};
use sqlparser::{
    ast::{
        AlterTableOperation, BinaryOperator, DataType, Expr, FromTable, Function, FunctionArg, FunctionArgExpr,
        FunctionArguments, NonBlock, Query, Select, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins,
        UpdateTableFromKind, Value, Visit, Visitor,
    },
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// The rules: name, the SQLSTATE with which the server refuses, and texts that it refuses.
const RULES: [(&str, &str, &[&str]); 8] = [
    (
        "a correlated subquery inside CASE, COALESCE or IF",
        "XXUUU",
        &[
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM events e WHERE e.aggregate_id = v.id) THEN 1 END FROM vehicles v",
            "SELECT CASE WHEN v.version = 1 THEN 1 ELSE (SELECT max(version) FROM events WHERE aggregate_id = v.id) END
             FROM vehicles v",
            "SELECT coalesce((SELECT version FROM events WHERE aggregate_id = v.id LIMIT 1), 0) FROM vehicles v",
            "SELECT if(true, (SELECT version FROM events WHERE aggregate_id = v.id LIMIT 1), 0) FROM vehicles v",
            // No name of a table: only the schema says that `battery` is the outer row's.
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM events WHERE version > battery) THEN 1 END FROM vehicles",
            "WITH v AS (SELECT id AS vehicle FROM vehicles)
             SELECT CASE WHEN EXISTS (SELECT 1 FROM events WHERE aggregate_id = vehicle) THEN 1 END FROM v",
            // Deeper, in a write, and in the order.
            "SELECT CASE WHEN (SELECT count(*) FROM (SELECT 1 FROM events e WHERE e.aggregate_id = v.id) AS n) > 1
             THEN 1 END FROM vehicles v",
            "UPDATE vehicles SET note = CASE WHEN EXISTS (SELECT 1 FROM events e WHERE e.aggregate_id = vehicles.id)
             THEN 'x' END WHERE id = $1",
            "SELECT v.id FROM vehicles v ORDER BY coalesce((SELECT max(e.version) FROM events e
             WHERE e.aggregate_id = v.id), 0)",
        ],
    ),
    (
        "DO, functions, triggers, LISTEN and NOTIFY",
        "0A000",
        &[
            "DO $$ BEGIN END $$",
            "CREATE FUNCTION f() RETURNS INT LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$",
            "CREATE TRIGGER t AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()",
            "LISTEN rides",
            "NOTIFY rides",
        ],
    ),
    (
        "DELETE with USING",
        "0A000",
        &[
            "DELETE FROM sessions USING users WHERE sessions.user_id = users.id",
            "WITH d AS (DELETE FROM sessions USING users WHERE sessions.user_id = users.id RETURNING 1) SELECT 1 FROM d",
        ],
    ),
    (
        "FOR UPDATE SKIP LOCKED",
        "0A000",
        &[
            "SELECT id FROM jobs FOR UPDATE SKIP LOCKED",
            "WITH j AS (SELECT id FROM jobs LIMIT 1 FOR UPDATE SKIP LOCKED) UPDATE jobs SET state = 'x' FROM j WHERE jobs.id = j.id",
        ],
    ),
    (
        "concat_ws or string_agg of what is no text",
        "42883",
        &[
            "SELECT concat_ws('|', brand, battery) FROM vehicles",
            "SELECT concat_ws('|', brand, 1) FROM vehicles",
            "SELECT string_agg(version, ',') FROM vehicles",
            "SELECT concat_ws('|', brand, version + 1) FROM vehicles",
        ],
    ),
    (
        "a division of integers",
        "42804",
        &["SELECT battery / 2 FROM vehicles", "SELECT version / battery FROM vehicles"],
    ),
    (
        "one table modified twice",
        "0A000",
        &["WITH a AS (UPDATE users SET city = 'x' WHERE id = $1 RETURNING 1 AS ok) DELETE FROM users WHERE id = $2"],
    ),
    ("what cannot be parsed", "42601", &["SELEKT 1"]),
];

/// Texts like those above that the server takes.
const TAKEN: [&str; 6] = [
    "WITH s AS (SELECT 1 AS ok) SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM s) THEN 'signed_out' ELSE 'ok' END",
    "SELECT v.id, EXISTS (SELECT 1 FROM events e WHERE e.aggregate_id = v.id) FROM vehicles v",
    "SELECT coalesce((SELECT jsonb_agg(code) FROM (SELECT code FROM vehicles) AS v), '[]')",
    "SELECT CASE WHEN e.version IS NULL THEN 1 END FROM vehicles v LEFT JOIN events e ON e.aggregate_id = v.id",
    "SELECT concat_ws('|', brand, battery::TEXT, coalesce(note, '')), string_agg(city, ','), battery / 2.0 FROM vehicles",
    "SELECT id FROM jobs FOR UPDATE NOWAIT",
];

/// A table in a FROM: what it is called, and its columns where they are known.
type Relation = (String, Option<BTreeSet<String>>);

struct Lint<'a> {
    /// Tables of the migrations: columns, and whether they are texts.
    schema: &'a BTreeMap<String, BTreeMap<String, bool>>,
    /// Outputs of the parts of WITH.
    parts: BTreeMap<String, Option<BTreeSet<String>>>,
    /// The tables of each SELECT or change around the place that is looked at.
    scopes: Vec<Vec<Relation>>,
    /// How many scopes there were where each CASE, COALESCE and IF around it began.
    conditions: Vec<usize>,
    modified: Vec<String>,
    found: BTreeSet<&'static str>,
}

impl Lint<'_> {
    fn relations(&self, tables: &[TableWithJoins]) -> Vec<Relation> {
        let factors =
            tables.iter().flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)));
        factors.map(|factor| self.relation(factor)).collect()
    }

    fn relation(&self, factor: &TableFactor) -> Relation {
        let (alias, known) = match factor {
            TableFactor::Table { name, alias, .. } => (alias, self.columns(&name.to_string())),
            TableFactor::Derived { subquery, alias, .. } => (alias, (String::new(), outputs(&subquery.body))),
            TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => (alias, (String::new(), None)),
            _ => return (String::new(), None),
        };
        let (mut name, mut columns) = known;
        if let Some(alias) = alias {
            name.clone_from(&alias.name.value);
            if !alias.columns.is_empty() {
                columns = Some(alias.columns.iter().map(|column| column.name.value.clone()).collect());
            }
        }
        (name, columns)
    }

    fn columns(&self, table: &str) -> (String, Option<BTreeSet<String>>) {
        let of_schema = || self.schema.get(table).map(|columns| columns.keys().cloned().collect());
        let columns = self.parts.get(table).cloned().unwrap_or_else(of_schema);
        (table.to_owned(), columns)
    }

    /// Notes a column that a subquery inside a condition takes from around that condition.
    fn reference(&mut self, table: Option<&str>, column: &str) {
        let has = |(name, columns): &Relation| match table {
            Some(table) => name == table,
            None => columns.as_ref().is_none_or(|columns| columns.contains(column)),
        };
        let at = self.scopes.iter().rposition(|scope| scope.iter().any(has));
        let depth = self.scopes.len();
        if self.conditions.iter().any(|began| *began < depth && at.is_none_or(|at| at < *began)) {
            self.found.insert(RULES[0].0);
        }
    }

    fn is_text(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Value(value) => matches!(value.value, Value::SingleQuotedString(_) | Value::Null),
            Expr::Cast { data_type, .. } => matches!(data_type, DataType::Text),
            Expr::Nested(inner) => self.is_text(inner),
            Expr::Identifier(name) => self.is_text_column(&name.value),
            Expr::CompoundIdentifier(names) => names.last().is_some_and(|name| self.is_text_column(&name.value)),
            Expr::BinaryOp { op: BinaryOperator::LongArrow, .. } => true,
            Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
                self.is_text(left) && self.is_text(right)
            }
            Expr::Function(function) => {
                let name = function.name.to_string().to_lowercase();
                match name.as_str() {
                    "coalesce" | "concat_ws" => arguments(function).into_iter().all(|argument| self.is_text(argument)),
                    _ => ["lower", "upper", "left", "md5"].contains(&name.as_str()),
                }
            }
            _ => false,
        }
    }

    fn is_text_column(&self, column: &str) -> bool {
        let mut kinds = self.schema.values().filter_map(|columns| columns.get(column)).peekable();
        kinds.peek().is_some() && kinds.all(|text| *text)
    }
}

fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let expr = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    list.args.iter().filter_map(expr).collect()
}

/// The names of what a query gives; none where a star hides them.
fn outputs(body: &SetExpr) -> Option<BTreeSet<String>> {
    let items = match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::Query(query) => return outputs(&query.body),
        SetExpr::SetOperation { left, .. } => return outputs(left),
        SetExpr::Insert(Statement::Insert(insert)) => insert.returning.as_ref(),
        SetExpr::Update(Statement::Update(update)) => update.returning.as_ref(),
        SetExpr::Delete(Statement::Delete(delete)) => delete.returning.as_ref(),
        _ => return None,
    };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(expr) => Some(output(expr)),
        _ => None,
    };
    items.map_or_else(|| Some(BTreeSet::new()), |items| items.iter().map(name).collect())
}

fn output(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(names) => names.last().map_or_else(String::new, |name| name.value.clone()),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => output(expr),
        Expr::Function(function) => function.name.to_string().to_lowercase(),
        _ => String::new(),
    }
}

fn is_condition(expr: &Expr) -> bool {
    match expr {
        Expr::Case { .. } => true,
        Expr::Function(function) => {
            ["coalesce", "if", "ifnull", "nullif"].contains(&function.name.to_string().to_lowercase().as_str())
        }
        _ => false,
    }
}

/// Whether a side of a division makes it one of decimals or floats.
fn is_decimal(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(number, _) if number.contains('.')),
        Expr::Cast { data_type, .. } => {
            !matches!(data_type, DataType::Int8(_) | DataType::BigInt(_) | DataType::Int(_))
        }
        Expr::Nested(inner) => is_decimal(inner),
        Expr::BinaryOp { left, right, .. } => is_decimal(left) || is_decimal(right),
        _ => false,
    }
}

impl Visitor for Lint<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for part in query.with.iter().flat_map(|with| &with.cte_tables) {
            let named = part.alias.columns.iter().map(|column| column.name.value.clone());
            let columns = if part.alias.columns.is_empty() { outputs(&part.query.body) } else { Some(named.collect()) };
            self.parts.insert(part.alias.name.value.clone(), columns);
        }
        if query.locks.iter().any(|lock| matches!(lock.nonblock, Some(NonBlock::SkipLocked))) {
            self.found.insert(RULES[3].0);
        }
        // The order is outside of the SELECT but sees its tables.
        let select = query.order_by.as_ref().and(query.body.as_select());
        self.scopes.push(select.map_or_else(Vec::new, |select| self.relations(&select.from)));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.scopes.push(self.relations(&select.from));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let mut scope = Vec::new();
        let modified = match statement {
            Statement::Insert(insert) => Some((insert.table.to_string(), None)),
            Statement::Update(update) => {
                if let Some(UpdateTableFromKind::AfterSet(tables) | UpdateTableFromKind::BeforeSet(tables)) =
                    &update.from
                {
                    scope = self.relations(tables);
                }
                Some((update.table.relation.to_string(), Some(self.relation(&update.table.relation))))
            }
            Statement::Delete(delete) => {
                if delete.using.is_some() {
                    self.found.insert(RULES[2].0);
                }
                let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
                tables.first().map(|table| (table.relation.to_string(), Some(self.relation(&table.relation))))
            }
            Statement::CreateFunction(_)
            | Statement::CreateTrigger(_)
            | Statement::LISTEN { .. }
            | Statement::NOTIFY { .. } => {
                self.found.insert(RULES[1].0);
                None
            }
            _ => None,
        };
        if let Some((table, relation)) = modified {
            let table = table.split(' ').next().unwrap_or_default().to_owned();
            // What an INSERT names is the row that is in the way, and the new one.
            let own = relation.unwrap_or_else(|| self.columns(&table));
            scope.extend([own, ("excluded".to_owned(), Some(BTreeSet::new()))]);
            if self.modified.contains(&table) {
                self.found.insert(RULES[6].0);
            }
            self.modified.push(table);
        }
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_condition(expr) {
            self.conditions.push(self.scopes.len());
        }
        match expr {
            Expr::Identifier(name) => self.reference(None, &name.value),
            Expr::CompoundIdentifier(names) if names.len() == 2 => {
                self.reference(Some(&names[0].value), &names[1].value);
            }
            Expr::Function(function)
                if ["concat_ws", "string_agg"].contains(&function.name.to_string().to_lowercase().as_str())
                    && !arguments(function).into_iter().all(|argument| self.is_text(argument)) =>
            {
                self.found.insert(RULES[4].0);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Divide, right } if !is_decimal(left) && !is_decimal(right) => {
                self.found.insert(RULES[5].0);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_condition(expr) {
            self.conditions.pop();
        }
        ControlFlow::Continue(())
    }
}

/// The rules that `text` breaks.
fn broken(text: &str, schema: &BTreeMap<String, BTreeMap<String, bool>>) -> BTreeSet<&'static str> {
    // The parser does not know DO at all.
    if text.trim_start().starts_with("DO ") {
        return BTreeSet::from([RULES[1].0]);
    }
    let Ok(statements) = Parser::parse_sql(&PostgreSqlDialect {}, text) else {
        return BTreeSet::from([RULES[7].0]);
    };
    let mut found = BTreeSet::new();
    for statement in statements {
        let mut lint = Lint {
            schema,
            parts: BTreeMap::new(),
            scopes: Vec::new(),
            conditions: Vec::new(),
            modified: Vec::new(),
            found: BTreeSet::new(),
        };
        let _ = statement.visit(&mut lint);
        assert!(lint.scopes.is_empty() && lint.conditions.is_empty(), "{text}");
        found.extend(lint.found);
    }
    found
}

/// Name and text of every migration, as an engine without regions gets it.
fn migrations() -> Vec<(String, String)> {
    let files = std::fs::read_dir("migrations").unwrap().map(|file| file.unwrap().path());
    let text = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| if line.starts_with("LOCALITY ") { ";" } else { line });
        (path.display().to_string(), lines.collect::<Vec<_>>().join("\n"))
    };
    files.map(text).collect()
}

/// The columns of every table, and which of them are texts.
fn schema(migrations: &[(String, String)]) -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut schema: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for (name, text) in migrations {
        for statement in
            Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap_or_else(|error| panic!("{name}: {error}"))
        {
            match statement {
                Statement::CreateTable(table) => {
                    let of = schema.entry(table.name.to_string()).or_default();
                    of.extend(table.columns.into_iter().map(|c| (c.name.value, c.data_type == DataType::Text)));
                }
                Statement::AlterTable(table) => {
                    for operation in table.operations {
                        if let AlterTableOperation::AddColumn { column_def, .. } = operation {
                            let of = schema.entry(table.name.to_string()).or_default();
                            of.insert(column_def.name.value, column_def.data_type == DataType::Text);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    schema
}

#[test]
fn no_statement_is_one_that_cockroachdb_refuses() {
    let migrations = migrations();
    let schema = schema(&migrations);
    assert!(schema["vehicles"]["code"] && !schema["vehicles"]["battery"], "{schema:?}");
    let mut refused = Vec::new();
    let statements =
        all_statements().into_iter().map(|statement| (statement.name.to_owned(), statement.text.to_owned()));
    let mends = MENDS.map(|(name, text)| (name.to_owned(), text.to_owned()));
    for (name, text) in statements.chain(migrations).chain(mends) {
        for rule in broken(&text, &schema) {
            let state = RULES.iter().find(|(name, ..)| *name == rule).map(|(_, state, _)| *state).unwrap();
            refused.push(format!("{name}: {rule} ({state})"));
        }
    }
    assert_eq!(refused, [""; 0], "{refused:#?}");
}

#[test]
fn every_rule_refuses_what_the_server_refused_and_no_more() {
    let schema = schema(&migrations());
    for (rule, state, texts) in RULES {
        assert_eq!(state.len(), 5, "{rule}");
        for text in texts {
            assert_eq!(broken(text, &schema), BTreeSet::from([rule]), "{text}");
        }
    }
    for text in TAKEN {
        assert_eq!(broken(text, &schema), BTreeSet::new(), "{text}");
    }
}
