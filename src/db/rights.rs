//! What the application's own database role may do: read every table, and change those
//! that some statement changes, in that way. Nothing changes or removes events, so the
//! role cannot either. Written in the words that both engines have. The surprise: what is
//! missing is granted before what is too much is taken, since instances may be running.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::error::SqlState;

use super::{
    all_statements,
    connect::Endpoint,
    connect_beside, connect_once,
    engine::text,
    error::{DbError, DbErrorKind, NO_DATABASE},
    locality::changes::{Verb, changes},
    migrate,
};

/// Where the versions of the schema are noted; `movr serve` reads it.
const HISTORY: &str = "refinery_schema_history";

/// Makes `role` if it is missing, and gives it exactly the rights that the statements of
/// this program need. Safe to run again. Returns the SQL that it sent, or with `plan`
/// would send. Fails on a name that would need quotes.
pub async fn grant(endpoint: &Endpoint, role: &str, plan: bool) -> Result<Vec<String>, DbError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if role.len() > 63 || !role.starts_with(|c: char| c.is_ascii_lowercase()) || !role.chars().all(fits) {
        return Err(DbError::new(DbErrorKind::BadValue, "migrate.roles", format!("{role:?} is no name for a role")));
    }
    let mut done = Vec::new();
    let client = match connect_once(endpoint).await {
        // Only a plan gets here without a database.
        Err(error) if plan && error.kind == NO_DATABASE => connect_beside(endpoint).await?,
        connected => connected?,
    };
    let known = text(&client, &format!("SELECT count(*)::TEXT FROM pg_roles WHERE rolname = '{role}'")).await?;
    let create = (known == "0").then(|| format!("CREATE ROLE {role} LOGIN"));
    let database = endpoint.config.get_dbname().unwrap_or("movr");
    for step in create.into_iter().chain(steps(database, role)) {
        if !plan && let Err(error) = client.batch_execute(&step).await {
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
                let words = format!("this user may not do `{step}`: it needs CREATEROLE, or the role made beforehand");
                return Err(DbError::new(DbErrorKind::Bug, "migrate.roles", words));
            }
            migrate::tolerate(error, "migrate.roles")?;
        }
        done.push(step);
    }
    Ok(done)
}

fn steps(database: &str, role: &str) -> Vec<String> {
    let mut steps = vec![
        // Older versions let everybody make tables there.
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
        format!("GRANT CONNECT ON DATABASE \"{database}\" TO {role}"),
        format!("GRANT USAGE ON SCHEMA public TO {role}"),
        format!("GRANT SELECT ON TABLE {HISTORY} TO {role}"),
        format!("REVOKE INSERT, UPDATE, DELETE ON TABLE {HISTORY} FROM {role}"),
    ];
    let changed = changed();
    for (table, _) in migrate::localities() {
        let does = changed.get(table.as_str()).cloned().unwrap_or_default();
        let (may, may_not): (Vec<&str>, Vec<&str>) =
            ["INSERT", "UPDATE", "DELETE"].into_iter().partition(|right| does.contains(right));
        let may = [&["SELECT"][..], &may].concat().join(", ");
        steps.push(format!("GRANT {may} ON TABLE {table} TO {role}"));
        if !may_not.is_empty() {
            steps.push(format!("REVOKE {} ON TABLE {table} FROM {role}", may_not.join(", ")));
        }
    }
    steps
}

/// What the statements do to each table.
fn changed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut changed: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for change in all_statements().into_iter().flat_map(|statement| changes(statement.text)) {
        changed.entry(change.table).or_default().insert(match change.verb {
            Verb::Insert => "INSERT",
            Verb::Update => "UPDATE",
            Verb::Delete => "DELETE",
        });
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_added_and_read_and_nothing_else() {
        let steps = steps("movr", "app");
        assert!(steps.contains(&"GRANT SELECT, INSERT ON TABLE events TO app".to_owned()), "{steps:#?}");
        assert!(steps.contains(&"REVOKE UPDATE, DELETE ON TABLE events FROM app".to_owned()));
        for (table, _) in migrate::localities() {
            assert_eq!(
                steps.iter().filter(|step| step.starts_with("GRANT") && step.contains(&format!(" {table} "))).count(),
                1
            );
        }
    }
}
