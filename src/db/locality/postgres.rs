//! PostgreSQL's plans as JSON. It has no regions; but a plan that reaches every regional table by
//! the region, in an index condition, is one that CockroachDB can keep inside that region. An index
//! without `region` passes when the region is in the filter, because on CockroachDB every index of
//! a REGIONAL BY ROW table begins with it.

use serde_json::Value;

use super::{
    Access, How, Schema,
    changes::{Change, Verb},
};

/// Every read of a table in `plan`, from EXPLAIN (VERBOSE, FORMAT JSON) of a generic plan, and
/// every write; a write that is not among `changes` is unparsed.
pub fn accesses(plan: &Value, schema: &Schema, changes: &[Change<'_>]) -> Vec<Access> {
    let mut found = Vec::new();
    match plan.pointer("/0/Plan") {
        Some(node) => walk(node, node, schema, changes, &mut found),
        None => found.push(Access::unparsed(plan.to_string())),
    }
    found
}

fn word<'a>(node: &'a Value, name: &str) -> &'a str {
    node.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `heap` filters what a Bitmap Index Scan below it finds.
fn walk(node: &Value, heap: &Value, schema: &Schema, changes: &[Change<'_>], found: &mut Vec<Access>) {
    let text = |name: &str| word(node, name);
    let (kind, table) = (text("Node Type"), text("Relation Name"));
    match kind {
        "ModifyTable" => {
            let verb = match text("Operation") {
                "Insert" => Some(Verb::Insert),
                "Update" => Some(Verb::Update),
                "Delete" => Some(Verb::Delete),
                _ => None,
            };
            let known = changes.iter().any(|change| Some(change.verb) == verb && change.table == table);
            let shown = format!("{table} {}", text("Operation").to_lowercase());
            found.push(if known { Access::new(table, How::Kept, shown) } else { Access::unparsed(shown) });
        }
        "Seq Scan" => found.push(Access::new(table, How::Free, format!("{table} Seq Scan"))),
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" => {
            let name = text("Index Name");
            let index = schema.indexes.get(name);
            let of = if kind == "Bitmap Index Scan" { heap } else { node };
            let filter = word(of, "Filter");
            let by_filter = || {
                let implied = index.is_some_and(|index| !index.columns.iter().any(|column| column == "region"));
                let region = parameter(filter, &format!("{}.region", word(of, "Alias")));
                region.filter(|_| implied && !filter.contains(" OR "))
            };
            let table = index.map_or(table, |index| index.table.as_str());
            let shown = |place: &str, region: &str| (How::Kept, format!("{name} {place}{region}"));
            let (how, shown) = parameter(text("Index Cond"), ".region")
                .map(|region| shown("", region))
                .or_else(|| by_filter().map(|region| shown("filter ", region)))
                .unwrap_or_else(|| (How::Free, format!("{name} {}", text("Index Cond"))));
            found.push(Access::new(table, how, shown));
        }
        // Its rows come from the Bitmap Index Scans below it.
        "Bitmap Heap Scan" => {}
        _ if !table.is_empty() => found.push(Access::unparsed(format!("{kind} {table}"))),
        _ => {}
    }
    let heap = if kind == "Bitmap Heap Scan" { node } else { heap };
    for child in node.get("Plans").and_then(Value::as_array).into_iter().flatten() {
        walk(child, heap, schema, changes, found);
    }
}

/// The parameter that `column` is compared with.
fn parameter<'a>(condition: &'a str, column: &str) -> Option<&'a str> {
    condition.split(&format!("{column} = (")).skip(1).find_map(|rest| {
        let (value, after) = rest.split_once(')')?;
        (value.starts_with('$') && after.starts_with("::crdb_internal_region)")).then_some(value)
    })
}
