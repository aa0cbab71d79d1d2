//! The application's own database role: everything that the program does works under it,
//! and events can be added, but neither changed nor removed.

use movr::db::{
    self, all_statements,
    locality::{Gateway, PlanVerdict},
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::{
    pages::rides,
    schema::column,
    support::{World, engine, process::movr, world},
};

/// What `movr migrate --roles` does.
async fn migrate(world: &World, role: &str) {
    let ended = movr(&["migrate", "--roles", role], &[("DATABASE_URL", &world.database.url)]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains(&format!("role {role}: may")), "{}", ended.out);
}

/// A role for the application, and the database's URL for it.
pub async fn role(world: &World) -> (String, String) {
    // Roles belong to the server, which other tests use at the same time.
    let role = format!("app_{}", Uuid::new_v4().simple());
    migrate(world, &role).await;
    if let Err(refused) = world.sql().await.batch_execute(&format!("ALTER ROLE {role} PASSWORD 'a walk'")).await {
        // An insecure server of CockroachDB takes none, and lets everybody in.
        assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD), "{refused:?}");
    }
    let (head, tail) = world.database.url.split_once('@').unwrap();
    let url = format!("{}://{role}:a%20walk@{tail}", head.split_once("://").unwrap().0);
    (role, url)
}

pub async fn drop_role(world: &World, role: &str) {
    let owner = world.sql().await;
    // Who made a role need not be one of its members, as who drops what it owns must be.
    let drop = if column(&owner, "SELECT version()").await[0].starts_with("CockroachDB") {
        format!(
            "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}; REVOKE ALL ON SCHEMA public FROM {role};
             REVOKE ALL ON DATABASE {} FROM {role}; DROP ROLE {role}",
            column(&owner, "SELECT current_database()::TEXT").await[0]
        )
    } else {
        format!("GRANT {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")
    };
    owner.batch_execute(&drop).await.unwrap();
}

#[actix_web::test]
async fn the_role_can_do_everything_but_rewrite_history() {
    let world = world().await;
    let owner = world.sql().await;
    let (role, url) = role(&world).await;
    owner.batch_execute(&format!("GRANT UPDATE, DELETE ON events TO {role}")).await.unwrap();
    migrate(&world, &role).await; // Again, and what was too much is taken.

    let mut gateway = Gateway::open(&db::endpoint(&engine::tools(&url).database, &url).unwrap()).await.unwrap();
    for statement in all_statements() {
        // What the role may not do has no plan.
        let checked = gateway.check(statement).await.unwrap();
        assert_eq!((checked.verdict, checked.findings), (PlanVerdict::Ok, vec![]), "{}", statement.name);
    }
    rides::street(&world, 20).await;
    let settings = [("DATABASE_URL", &*url)];
    let instance = world.instance_with("us-east1", &settings).await;
    let ann = instance.person("new-york").await;
    let ride = rides::start(&ann, "new-york").await;
    assert!(ann.get(&rides::end(&ann, &ride).await.location()).await.text().contains("You owe"));
    let cockroach = instance.running.state.service.db.engine().cockroach;
    let who = if cockroach {
        format!("SELECT count(*) FROM crdb_internal.cluster_sessions WHERE user_name = '{role}'")
    } else {
        format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'")
    };
    assert!(world.count(&who).await > 0, "it was the role");

    let service = engine::client(&url).await;
    service.batch_execute("SELECT count(*) FROM events").await.unwrap();
    for refused in [
        "UPDATE events SET action = 'x'",
        "DELETE FROM events",
        "TRUNCATE events",
        "INSERT INTO events (SELECT * FROM events) ON CONFLICT (region, aggregate_type, aggregate_id, version) DO UPDATE SET action = 'x'",
        "ALTER TABLE events ADD COLUMN x TEXT",
        "DROP TABLE events",
        "CREATE TABLE more (id INT8)",
        "DELETE FROM cities",
        "DELETE FROM refinery_schema_history",
    ] {
        let error = service.batch_execute(refused).await.unwrap_err();
        assert_eq!(error.code().map(SqlState::code), Some("42501"), "{refused}: {error:?}");
    }
    let wrong = movr(&["migrate", "--roles", "x; DROP"], &[("DATABASE_URL", &world.database.url)]).await;
    assert!(wrong.code == Some(1) && wrong.err.contains("no name for a role"), "{wrong:?}");
    instance.running.stop().await;
    drop((service, gateway));
    drop_role(&world, &role).await;
    world.end().await;
}
