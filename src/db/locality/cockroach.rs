//! CockroachDB's plans, as EXPLAIN and EXPLAIN (VERBOSE) print them; tested on recordings. The
//! plain form has the values of every span; the verbose one shows which column a look-up or an
//! inserted region comes from, which is followed down to the bound constant. A node or line about a
//! regional table that no recording covers makes the plan unparsed.

use std::collections::BTreeSet;

use super::{Access, How, Schema};

const PASSING: [&str; 29] = [
    "root", "subquery", "constraint-check", "error if rows", "buffer", "scan buffer", "render", "project",
    "project set", "filter", "limit", "distinct", "sort", "top-k", "window", "group", "cross join", "hash join",
    "merge join", "union", "union all", "intersect", "intersect all", "except", "except all", "values", "emptyrow",
    "norows", "max1row",
];

/// Lines that reach no table, whatever they name.
const HARMLESS: [&str; 13] = [
    "original sql", "columns", "filter", "pred", "set", "label", "order", "ordering", "group by", "distinct on",
    "equality", "arbiter indexes", "merge ordering",
];

/// Every access to a table in a plan made for rows of `region` alone: `plain` from EXPLAIN,
/// `verbose` from EXPLAIN (VERBOSE), or empty.
pub fn accesses(plain: &str, verbose: &str, region: &str, schema: &Schema) -> Vec<Access> {
    let readable: Vec<(&str, &str)> = nodes(plain).iter().filter_map(Node::spans).collect();
    let mut nodes = nodes(if verbose.is_empty() { plain } else { verbose });
    let scanned = nodes.iter().filter_map(|node| Some(node.spans()?.0));
    if nodes.is_empty() || !readable.iter().map(|(table, _)| *table).eq(scanned) {
        // The verbose form that does not fit is another plan.
        return vec![Access::unparsed(format!("{plain}\n{verbose}"))];
    }
    for (node, (_, spans)) in nodes.iter_mut().filter(|node| node.spans().is_some()).zip(readable) {
        node.readable = Some(spans);
    }
    let tree = Plan { nodes, region };
    (0..tree.nodes.len()).flat_map(|at| tree.accesses(at, schema)).collect()
}

struct Node<'a> {
    kind: &'a str,
    lines: Vec<&'a str>,
    children: Vec<usize>,
    /// The spans of a scan in the plain form.
    readable: Option<&'a str>,
}

impl<'a> Node<'a> {
    fn value(&self, key: &str) -> Option<&'a str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    }

    /// Table and spans of a scan. A `spans` line without any has a condition that no row can meet.
    fn spans(&self) -> Option<(&'a str, &'a str)> {
        let spans = self.value("spans").or_else(|| self.lines.contains(&"spans").then_some(""))?;
        Some((self.value("table")?, spans))
    }

    fn columns(&self) -> Vec<&'a str> {
        self.value("columns").map(list).unwrap_or_default()
    }
}

fn list(text: &str) -> Vec<&str> {
    let inside = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(inside, _)| inside);
    inside.split(',').map(|name| name.trim().trim_matches('"')).collect()
}

fn nodes(plan: &str) -> Vec<Node<'_>> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut above: Vec<(usize, usize)> = Vec::new();
    for line in plan.lines().take_while(|line| !line.starts_with("index recommendations: ")) {
        let text = line.trim_start_matches(['│', '├', '└', '─', ' ']);
        let depth = line.chars().count() - text.chars().count();
        if let Some(name) = text.strip_prefix("• ") {
            let (at, kind) = (nodes.len(), name.split(" (").next().unwrap_or(name).trim_end());
            above.retain(|(_, other)| *other < depth);
            if let Some(parent) = above.last().and_then(|(parent, _)| nodes.get_mut(*parent)) {
                parent.children.push(at);
            }
            above.push((at, depth));
            nodes.push(Node { kind, lines: Vec::new(), children: Vec::new(), readable: None });
        } else if let Some(node) = nodes.last_mut()
            && !text.trim_end().is_empty()
        {
            node.lines.push(text.trim_end());
        }
    }
    nodes
}

struct Plan<'a> {
    nodes: Vec<Node<'a>>,
    region: &'a str,
}

impl Plan<'_> {
    fn node(&self, at: usize) -> &Node<'_> {
        static NONE: Node<'static> = Node { kind: "", lines: Vec::new(), children: Vec::new(), readable: None };
        self.nodes.get(at).unwrap_or(&NONE)
    }

    fn accesses(&self, at: usize, schema: &Schema) -> Vec<Access> {
        let (node, mut found) = (self.node(at), Vec::new());
        for line in &node.lines {
            let (key, text) = line.split_once(": ").unwrap_or((line, ""));
            let table = text.split(['@', '(']).next().unwrap_or_default();
            let access = match (node.kind, key) {
                ("scan" | "revscan", "table") => {
                    let (how, shown) = self.scan(at);
                    let implied = how == How::Free && self.implied(at, text, schema);
                    Access::new(table, if implied { How::Kept } else { how }, format!("{text} {shown}"))
                }
                // Rows that the nodes below found, and that are read or changed where they are.
                ("index join" | "update" | "delete", "table" | "from") => {
                    Access::new(table, How::Kept, format!("{text} input"))
                }
                ("lookup join", "table") => {
                    let condition = ["equality", "lookup condition"].iter().find_map(|key| node.value(key));
                    Access::new(table, self.lookup(at), format!("{text} {}", condition.unwrap_or_default()))
                }
                ("insert" | "insert fast path" | "upsert", "into") => {
                    Access::new(table, self.inserted(at), format!("{table} {}", node.kind.replace(" fast path", "")))
                }
                ("insert fast path", "FK check") => {
                    let index = text.split_once('@').and_then(|(_, index)| schema.indexes.get(index));
                    let how = match index.and_then(|index| index.columns.first()) {
                        Some(first) if first == "region" => How::Kept,
                        Some(_) => How::Free,
                        None => How::Unparsed,
                    };
                    Access::new(table, how, (*line).to_owned())
                }
                ("fk-cascade", "fk") => Access::new("", How::Cascade, (*line).to_owned()),
                ("scan" | "revscan", "spans") => continue,
                _ if is_harmless(key) => continue,
                _ if names_regional(line, schema) => Access::unparsed(format!("{}: {line}", node.kind)),
                _ => continue,
            };
            found.push(access);
        }
        if found.is_empty() && !PASSING.contains(&node.kind) {
            found.push(Access::unparsed(format!("{}: {}", node.kind, node.lines.join(", "))));
        }
        found
    }

    /// Where the spans of a scan lie, and their first values.
    fn scan(&self, at: usize) -> (How, String) {
        let Some(spans) = self.node(at).readable else { return (How::Unparsed, "no spans".to_owned()) };
        if spans.is_empty() {
            return (How::Kept, "nothing".to_owned());
        }
        if spans.starts_with("FULL SCAN") {
            return (How::Free, "FULL SCAN".to_owned());
        }
        let (shown, hidden) = spans.split_once(" … ").map_or((spans, false), |(shown, _)| (shown, true));
        // Of the many spans that are left out, the verbose form shows the encoded values.
        let alike = || self.node(at).value("spans").and_then(encoded).is_some_and(|values| values.len() == 1);
        match leading(shown).filter(|_| !hidden || alike()) {
            Some(mut values) => {
                let how = if values.iter().all(|value| *value == self.region) { How::Kept } else { How::Free };
                values.dedup();
                (how, values.join(" - "))
            }
            None => (How::Unparsed, format!("spans: {spans}")),
        }
    }

    /// Whether an index without a region is filtered by it: in a database with regions it begins
    /// with the region implicitly.
    fn implied(&self, at: usize, table: &str, schema: &Schema) -> bool {
        let index = table.split_once('@').and_then(|(_, name)| schema.indexes.get(name.split(' ').next()?));
        if index.is_none_or(|index| index.columns.iter().any(|column| column == "region")) {
            return false;
        }
        let only = format!("region = '{}'", self.region);
        let mut above = self.nodes.iter().enumerate().rev().filter(|(parent, _)| *parent < at);
        let mut below = at;
        above.any(|(parent, node)| {
            let passes = node.children == [below] && ["filter", "index join", "project"].contains(&node.kind);
            if passes {
                below = parent;
            }
            passes && node.value("filter").is_some_and(|filter| filter.contains(&only) && !filter.contains(" OR "))
        })
    }

    /// Whether looked-up rows lie in the region: `(a, b) = (region,id)`, or a condition that names
    /// it.
    fn lookup(&self, at: usize) -> How {
        let node = self.node(at);
        if let Some((inner, table)) = node.value("equality").and_then(|equality| equality.split_once(" = ")) {
            let place = list(table).iter().position(|column| *column == "region");
            return place
                .and_then(|place| list(inner).get(place).copied())
                .map_or(How::Free, |column| self.below(at, column));
        }
        let Some(condition) = node.value("lookup condition") else { return How::Unparsed };
        if node.value("remote lookup condition").is_some() {
            return How::Free;
        }
        let named = condition.split(" AND ").find_map(|part| {
            let (left, right) = part.trim_matches(['(', ')']).split_once(" = ")?;
            if left == "region" { Some(right) } else { (right == "region").then_some(left) }
        });
        named.map_or(How::Free, |value| self.constant(at, value))
    }

    /// Whether the inserted region is the bound one.
    fn inserted(&self, at: usize) -> How {
        let node = self.node(at);
        let into = node.value("into").map(list).unwrap_or_default();
        let Some(place) = into.iter().position(|column| *column == "region") else { return How::Free };
        let source = node.children.first().map(|child| (*child, self.node(*child).columns()));
        match source.and_then(|(child, columns)| Some((child, *columns.get(place)?))) {
            Some((child, column)) => self.column(child, column),
            None if node.lines.iter().any(|line| line.starts_with("row ")) => self.rows(at, &[place]),
            // The plain form: what goes into the first column is in the statement's text.
            None if place == 0 => How::Kept,
            None => How::Free,
        }
    }

    /// The values at these places in `row 0, expr 1: 'a'`.
    fn rows(&self, at: usize, places: &[usize]) -> How {
        let ends: Vec<String> = places.iter().map(|place| format!(", expr {place}: ")).collect();
        let rows = self.node(at).lines.iter().filter(|line| line.starts_with("row "));
        let values = rows.filter_map(|line| ends.iter().find_map(|end| Some(line.split_once(end)?.1)));
        worst(values.map(|value| self.constant(at, value)))
    }

    /// Whether the values of `column` from the nodes below `at` are the region.
    fn below(&self, at: usize, column: &str) -> How {
        let children = self.node(at).children.iter();
        let giving = children.filter(|child| self.node(**child).columns().contains(&column));
        worst(giving.map(|child| self.column(*child, column)))
    }

    /// Whether the values of `column` from node `at` itself are the region.
    fn column(&self, at: usize, column: &str) -> How {
        let node = self.node(at);
        let places = |columns: &[&str]| -> Vec<usize> {
            columns.iter().enumerate().filter(|(_, name)| **name == column).map(|(place, _)| place).collect()
        };
        match node.kind {
            "render" => {
                let key = format!("render {column}");
                let rendered = node.lines.iter().filter_map(|line| line.strip_prefix(&key)?.strip_prefix(": "));
                worst(rendered.map(|value| self.constant(at, value)))
            }
            "values" => self.rows(at, &places(&node.columns())),
            "scan buffer" => {
                let label = node.value("label").unwrap_or_default();
                let filled = |other: &Node| other.kind == "buffer" && other.value("label") == Some(label);
                let Some(buffer) = self.nodes.iter().position(filled) else { return How::Unparsed };
                let names = self.node(buffer).columns();
                let places = places(&node.columns());
                worst(places.iter().filter_map(|place| names.get(*place)).map(|name| self.below(buffer, name)))
            }
            "union" | "union all" | "intersect" | "intersect all" | "except" | "except all" => {
                let places = places(&node.columns());
                let each = node.children.iter().flat_map(|child| {
                    let names = self.node(*child).columns();
                    places
                        .iter()
                        .map(move |place| names.get(*place).map_or(How::Unparsed, |name| self.column(*child, name)))
                });
                worst(each)
            }
            "insert" | "insert fast path" | "upsert" if column == "region" => self.inserted(at),
            // What a row was found by; any other region in it is data.
            "scan" | "revscan" if column == "region" => self.scan(at).0,
            "lookup join" if column == "region" && self.below(at, column) == How::Unparsed => self.lookup(at),
            "scan" | "revscan" => How::Free,
            "norows" => How::Kept,
            _ => self.below(at, column),
        }
    }

    /// Whether an expression of node `at` is the region: the constant itself, a column that is it,
    /// or either of two such, as in an upsert.
    fn constant(&self, at: usize, value: &str) -> How {
        if let Some(text) = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            return if text == self.region { How::Kept } else { How::Free };
        }
        if let Some((_, rest)) = value.strip_prefix("CASE WHEN ").and_then(|rest| rest.split_once(" THEN ")) {
            let either = rest.strip_suffix(" END").and_then(|rest| rest.split_once(" ELSE "));
            return either.map_or(How::Unparsed, |(one, other)| {
                worst([self.constant(at, one), self.constant(at, other)].into_iter())
            });
        }
        self.below(at, value.trim_matches('"'))
    }
}

/// Kept if all are, and there are some.
fn worst(all: impl Iterator<Item = How>) -> How {
    all.max().unwrap_or(How::Unparsed)
}

/// The first value of both ends of every span in `[/'a'/1 - /'a'/2] (/'a'/e'\x00' - /'a']`.
fn leading(spans: &str) -> Option<Vec<&str>> {
    let (mut values, mut rest) = (Vec::new(), spans);
    while !rest.is_empty() {
        let (first, after) = key(rest.strip_prefix(['[', '('])?, &[" - "])?;
        let (last, after) = key(after, &["]", ")"])?;
        values.extend([first, last]);
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    (!values.is_empty()).then_some(values)
}

fn key<'a>(text: &'a str, ends: &[&str]) -> Option<(&'a str, &'a str)> {
    let text = text.strip_prefix('/')?;
    let (first, mut rest) = match text.strip_prefix('\'') {
        Some(text) => quoted(text, '\'')?,
        // A number, so no region.
        None => text.split_at(text.find(['/', ' ', ']', ')'])?),
    };
    loop {
        if let Some(after) = ends.iter().find_map(|end| rest.strip_prefix(end)) {
            return Some((first, after));
        }
        let mut chars = rest.chars();
        rest = match chars.next()? {
            '\'' => quoted(chars.as_str(), '\'')?.1,
            _ => chars.as_str(),
        };
    }
}

/// What precedes the closing quote, past escaped ones, and what follows it.
fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    Some((text.get(..end)?, text.get(end + quote.len_utf8()..)?))
}

/// The distinct first values of `/"\xc0"/1-/"\xc0"/2 /"\xc0"/5/0`.
fn encoded(spans: &str) -> Option<BTreeSet<&str>> {
    let (mut values, mut rest, mut begins) = (BTreeSet::new(), spans, true);
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..)?;
        rest = if begins {
            let (value, after) = quoted(after.strip_prefix('"').filter(|_| first == '/')?, '"')?;
            values.insert(value);
            after
        } else if first == '"' {
            quoted(after, '"')?.1
        } else {
            after
        };
        begins = !begins && (first == ' ' || first == '-' && rest.starts_with('/'));
    }
    Some(values)
}

fn is_harmless(key: &str) -> bool {
    HARMLESS.contains(&key) || ["render ", "row ", "aggregate ", "window "].iter().any(|begin| key.starts_with(begin))
}

fn names_regional(line: &str, schema: &Schema) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| schema.regional.get(word) == Some(&true))
}
