//! CockroachDB's plans: the tree that EXPLAIN prints. Pure, and tested on recorded
//! outputs only. What counts are the leading values of every span: `regions:` of EXPLAIN
//! ANALYZE says where a step ran, not where the rows are. The surprise: a line that names
//! a regional table in a way of which there is no recording makes the plan unparsed.

use super::{Access, How, Schema};

/// Every access to a table in `plan`, which was made for rows of `region` alone.
#[must_use]
pub fn accesses(plan: &str, region: &str, schema: &Schema) -> Vec<Access> {
    let mut found = Vec::new();
    let nodes = nodes(plan);
    if nodes.is_empty() {
        found.push(Access::unparsed(plan));
    }
    for (name, lines) in nodes {
        let value = |key: &str| lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        for line in std::iter::once(&name).chain(&lines) {
            let (key, said) = line.split_once(": ").unwrap_or((line, ""));
            let target = said.split(['@', '(']).next().unwrap_or_default();
            match (name, key) {
                ("scan", "table") => {
                    found.push(scan(target, said, value("spans").unwrap_or_default(), region));
                }
                // Rows that the nodes below it found, and that are written or looked up where they are.
                ("index join" | "update", "table") => {
                    found.push(Access::new(target, How::Kept, format!("{said} input")));
                }
                (join, "table") if join.starts_with("lookup join") => {
                    found.push(lookup(target, said, value("equality").unwrap_or_default()));
                }
                // The region of a new row is told by the statement's text.
                ("insert" | "insert fast path", "into") => {
                    let first = said.split_once('(').is_some_and(|(_, columns)| columns.starts_with("region,"));
                    let how = if first { How::Kept } else { How::Free };
                    found.push(Access::new(target, how, format!("{target} insert")));
                }
                ("insert fast path", "FK check") => {
                    let index = said.split_once('@').and_then(|(_, index)| schema.indexes.get(index));
                    let how = match index.and_then(|index| index.columns.first()) {
                        Some(first) if first == "region" => How::Kept,
                        Some(_) => How::Free,
                        None => How::Unparsed,
                    };
                    found.push(Access::new(target, how, (*line).to_owned()));
                }
                ("fk-cascade", "fk") => found.push(Access::new("", How::Cascade, (*line).to_owned())),
                _ if names_regional(line, schema) => found.push(Access::unparsed(format!("{name}: {line}"))),
                _ => {}
            }
        }
    }
    found
}

/// Name and lines of every node of the tree, and of whatever stands behind it.
fn nodes(plan: &str) -> Vec<(&str, Vec<&str>)> {
    let mut nodes: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in plan.lines() {
        if line.starts_with("index recommendations: ") {
            break;
        }
        let said = line.trim_start_matches(['│', '├', '└', '─', ' ']).trim_end();
        if let Some(name) = said.strip_prefix("• ") {
            nodes.push((name, Vec::new()));
        } else if let Some((_, lines)) = nodes.last_mut()
            && !said.is_empty()
        {
            lines.push(said);
        }
    }
    nodes
}

fn scan(table: &str, at: &str, spans: &str, region: &str) -> Access {
    if spans.starts_with("FULL SCAN") {
        return Access::new(table, How::Free, format!("{at} FULL SCAN"));
    }
    match leading(spans) {
        Some(mut values) => {
            let how = if values.iter().all(|value| *value == region) { How::Kept } else { How::Free };
            values.dedup();
            Access::new(table, how, format!("{at} {}", values.join(" - ")))
        }
        None => Access::new(table, How::Unparsed, format!("{at} spans: {spans}")),
    }
}

/// The first value of both ends of every span in `[/'a'/1 - /'a'/2] [/'a'/5 - /'a'/5]`.
fn leading(spans: &str) -> Option<Vec<&str>> {
    // Escaped quotes would have to be counted.
    if spans.is_empty() || spans.contains('\\') {
        return None;
    }
    let (mut values, mut rest) = (Vec::new(), spans);
    while !rest.is_empty() {
        let (first, behind) = key(rest.strip_prefix('[')?, " - ")?;
        let (last, behind) = key(behind, "]")?;
        values.extend([first, last]);
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    Some(values)
}

/// The first value of a key that ends at `end`, and what is behind.
fn key<'a>(text: &'a str, end: &str) -> Option<(&'a str, &'a str)> {
    let (value, mut rest) = text.strip_prefix("/'")?.split_once('\'')?;
    loop {
        if let Some(behind) = rest.strip_prefix(end) {
            return Some((value, behind));
        }
        let mut chars = rest.chars();
        rest = match chars.next()? {
            '\'' => chars.as_str().split_once('\'')?.1,
            _ => chars.as_str(),
        };
    }
}

/// `equality: (region_new, city_new) = (region,slug)`: the region is that of the input.
fn lookup(table: &str, at: &str, equality: &str) -> Access {
    let columns = |side: &'_ str| -> Option<Vec<String>> {
        let inside = side.strip_prefix('(')?.strip_suffix(')')?;
        Some(inside.split(',').map(|column| column.trim().to_owned()).collect())
    };
    let how = equality.split_once(" = ").and_then(|(left, right)| {
        let (left, right) = (columns(left)?, columns(right)?);
        let Some(place) = right.iter().position(|column| column == "region") else {
            return Some(How::Free);
        };
        left.get(place)?.starts_with("region").then_some(How::Kept)
    });
    Access::new(table, how.unwrap_or(How::Unparsed), format!("{at} {equality}"))
}

fn names_regional(line: &str, schema: &Schema) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| schema.regional.get(word) == Some(&true))
}
