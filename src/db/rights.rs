//! Rights of the application's database role: read every table, and change those that some
//! statement changes, in that way. Nothing changes or removes events, so the role cannot either.

use tokio_postgres::{Client, error::SqlState};

use super::{
    DbError, DbErrorKind, Result, connect::Endpoint, connect_beside, connect_once, engine::text, error::NO_DATABASE,
    migrate,
};

/// Every table, and what the role may do to it besides reading. A test compares this with the
/// statements and the migrations.
const RIGHTS: [(&str, &[&str]); 22] = [
    ("catalogue", &["INSERT", "UPDATE"]),
    ("catalogue_edits", &["INSERT", "UPDATE"]),
    ("cities", &["INSERT", "UPDATE"]),
    ("events", &["INSERT"]),
    ("job_items", &["INSERT", "UPDATE"]),
    ("jobs", &["INSERT", "UPDATE"]),
    ("promo_codes", &["INSERT", "UPDATE"]),
    ("promo_quotas", &["INSERT", "UPDATE"]),
    ("promo_redemptions", &["INSERT", "UPDATE", "DELETE"]),
    ("region_closures", &["INSERT"]),
    ("region_gates", &["INSERT", "UPDATE"]),
    ("regions", &["INSERT", "UPDATE"]),
    ("residency_policies", &["INSERT", "UPDATE"]),
    ("ride_positions", &["INSERT", "DELETE"]),
    ("rides", &["INSERT", "UPDATE"]),
    ("role_grants", &["INSERT", "UPDATE", "DELETE"]),
    ("sessions", &["INSERT", "UPDATE", "DELETE"]),
    ("tariffs", &["INSERT", "UPDATE", "DELETE"]),
    ("tasks", &["INSERT", "UPDATE"]),
    ("users", &["INSERT", "UPDATE", "DELETE"]),
    ("vehicle_types", &["INSERT", "UPDATE"]),
    ("vehicles", &["INSERT", "UPDATE"]),
];

/// What the connected user lacks of what the statements need, as in `rides INSERT`; and what it may
/// do that none does: to events, and to the schema.
pub(super) async fn of_user(client: &Client) -> Result<(Vec<String>, Vec<String>), DbError> {
    let reading = RIGHTS.iter().map(|(table, _)| *table).chain([HISTORY]).map(|table| (table, "SELECT"));
    let changing = RIGHTS.iter().flat_map(|(table, may)| may.iter().map(move |right| (*table, *right)));
    let needed: Vec<String> = reading.chain(changing).map(|(table, right)| format!("('{table}', '{right}')")).collect();
    let ask = async |wanted: &str, has: &str| {
        let rows = format!(
            "SELECT coalesce(string_agg(t.tab || ' ' || t.may, ', '), '') FROM (VALUES {wanted}) AS t (tab, may) \
             WHERE {has} has_table_privilege(t.tab, t.may)"
        );
        let found = text(client, &rows).await?;
        Ok::<Vec<String>, DbError>(found.split(", ").filter(|found| !found.is_empty()).map(str::to_owned).collect())
    };
    let lacks = ask(&needed.join(", "), "NOT").await?;
    let mut beyond = ask("('events', 'UPDATE'), ('events', 'DELETE')", "").await?;
    if text(client, "SELECT has_schema_privilege('public', 'CREATE')::TEXT").await? == "true" {
        beyond.push("public CREATE".to_owned());
    }
    Ok((lacks, beyond))
}

/// CockroachDB has codes of its own for GRANT and REVOKE.
const REFUSED: [SqlState; 3] = [
    SqlState::INSUFFICIENT_PRIVILEGE,
    SqlState::WARNING_PRIVILEGE_NOT_GRANTED,
    SqlState::WARNING_PRIVILEGE_NOT_REVOKED,
];

const HISTORY: &str = "refinery_schema_history";

/// Creates `role` if needed and gives it exactly the rights that this program's statements need.
/// Safe to repeat. Returns the SQL that it has not sent: with `plan` all of it, else what only an
/// administrator of the database may do. Fails on a name that would need quotes.
pub async fn grant(endpoint: &Endpoint, role: &str, plan: bool) -> Result<Vec<String>> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if role.len() > 63 || !role.starts_with(|c: char| c.is_ascii_lowercase()) || !role.chars().all(fits) {
        return Err(DbError::new(DbErrorKind::BadValue, "migrate.roles", format!("{role:?} is no name for a role")));
    }
    let mut left = Vec::new();
    let client = match connect_once(endpoint).await {
        // Only a plan gets here without a database.
        Err(error) if plan && error.kind == NO_DATABASE => connect_beside(endpoint).await?,
        connected => connected?,
    };
    let known = text(&client, &format!("SELECT count(*)::TEXT FROM pg_roles WHERE rolname = '{role}'")).await?;
    let create = (known == "0").then(|| format!("CREATE ROLE {role} LOGIN"));
    let database = endpoint.config.get_dbname().unwrap_or("movr");
    for step in create.into_iter().chain(steps(database, role)) {
        if plan {
            left.push(step);
        } else if let Err(error) = client.batch_execute(&step).await {
            let refused = error.code().is_some_and(|code| REFUSED.contains(code));
            // Until v24 of CockroachDB that schema is the administrators', whoever made the database.
            if refused && step.contains("ON SCHEMA public") {
                left.push(step);
                continue;
            }
            if refused {
                let words = format!(
                    "this user may not do `{step}`: it needs CREATEROLE, on CockroachDB CREATELOGIN too, or the role made \
                     beforehand"
                );
                return Err(DbError::new(DbErrorKind::Bug, "migrate.roles", words));
            }
            migrate::tolerate(error, "migrate.roles")?;
        }
    }
    Ok(left)
}

fn steps(database: &str, role: &str) -> Vec<String> {
    let mut steps = vec![
        // CockroachDB, and PostgreSQL before 15, let everybody make tables there.
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
        format!("GRANT CONNECT ON DATABASE \"{database}\" TO {role}"),
        format!("GRANT USAGE ON SCHEMA public TO {role}"),
        format!("GRANT SELECT ON TABLE {HISTORY} TO {role}"),
        format!("REVOKE INSERT, UPDATE, DELETE ON TABLE {HISTORY} FROM {role}"),
    ];
    for (table, may) in RIGHTS {
        let may_not: Vec<&str> =
            ["INSERT", "UPDATE", "DELETE"].into_iter().filter(|right| !may.contains(right)).collect();
        // Instances may be running: what is missing is granted before what is too much is taken.
        steps.push(format!("GRANT {} ON TABLE {table} TO {role}", [&["SELECT"][..], may].concat().join(", ")));
        if !may_not.is_empty() {
            steps.push(format!("REVOKE {} ON TABLE {table} FROM {role}", may_not.join(", ")));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::db::{
        all_statements,
        locality::changes::{Verb, changes},
    };

    #[test]
    fn the_role_may_do_what_the_statements_do_and_no_more() {
        let tables = migrate::tables();
        let mut expected: BTreeMap<&str, BTreeSet<&str>> =
            tables.iter().map(|table| (table.name.as_str(), BTreeSet::new())).collect();
        for change in all_statements().into_iter().flat_map(|statement| changes(statement.text)) {
            expected.get_mut(change.table).unwrap().insert(match change.verb {
                Verb::Insert => "INSERT",
                Verb::Update => "UPDATE",
                Verb::Delete => "DELETE",
            });
        }
        let given: BTreeMap<_, _> = RIGHTS.map(|(table, may)| (table, may.iter().copied().collect())).into();
        assert_eq!(given, expected);
        let steps = steps("movr", "app");
        assert!(steps.contains(&"GRANT SELECT, INSERT ON TABLE events TO app".to_owned()), "{steps:#?}");
        assert!(steps.contains(&"REVOKE UPDATE, DELETE ON TABLE events FROM app".to_owned()));
    }
}
