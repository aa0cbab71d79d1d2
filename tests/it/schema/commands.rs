//! What the commands say when they cannot: missing and wrong settings, an older schema,
//! a catalogue that does not hold together; and the first administrator. Each is a
//! process that ends with words on stderr and exit code 1, and without secrets.

use base64::{Engine, engine::general_purpose::STANDARD};
use movr::{domain::people::Registration, ops::accounts};
use uuid::Uuid;

use super::{changed, number, step_by_step};
use crate::support::{
    engine,
    process::{CommandOutput, movr},
    world,
};

#[track_caller]
fn assert_words(ended: &CommandOutput, words: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "{word:?} is not in {}", ended.err);
    }
    assert!(ended.err.starts_with("movr: ") && !ended.err.contains("panicked"), "{}", ended.err);
}

#[actix_web::test]
async fn missing_and_wrong_settings_are_told_in_words() {
    let none = movr(&["serve"], &[]).await;
    assert_words(&none, &["MOVR_REGION", "DATABASE_URL", "MOVR_PUBLIC_URL", "MOVR_SECRET_KEYS"]);
    for command in
        [&["migrate"][..], &["verify-data"], &["load", "--password", "x"], &["operator", "grant", "a", "administrator"]]
    {
        assert_words(&movr(command, &[]).await, &["DATABASE_URL"]);
        let wrong = [("DATABASE_URL", "mysql://ada:hidden@h/movr"), ("MOVR_POOL_SIZE", "many")];
        let wrong = movr(command, &wrong).await;
        assert_words(&wrong, &["DATABASE_URL", "postgresql://", "MOVR_POOL_SIZE", "whole number"]);
        assert!(!wrong.err.contains("hidden"), "{}", wrong.err);
    }
    let nobody = [("DATABASE_URL", "postgresql://ada:hidden@127.0.0.1:1/movr?sslmode=disable")];
    let nobody = movr(&["migrate"], &nobody).await;
    assert_words(&nobody, &["127.0.0.1", "nothing listens"]);
    assert!(!nobody.err.contains("hidden"), "{}", nobody.err);
    let flags = ["migrate", "--database-url", "mysql://ada:hidden@h/movr", "--pool-size", "many"];
    let flags = movr(&flags, &[("DATABASE_URL", "postgresql://b/c"), ("MOVR_POOL_SIZE", "8")]).await;
    assert_words(&flags, &["DATABASE_URL", "postgresql://", "MOVR_POOL_SIZE", "whole number"]);
    assert!(!flags.err.contains("hidden"), "{}", flags.err);
    let unknown = movr(&["fly"], &[]).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

#[actix_web::test]
async fn help_has_every_setting_and_no_secret() {
    let env = [("DATABASE_URL", "postgresql://ada:hidden@h/movr"), ("MOVR_SECRET_KEYS", "hidden")];
    let help = movr(&["serve", "--help"], &env).await;
    assert!(help.code == Some(0) && !help.out.contains("hidden"), "{help:?}");
    for setting in movr::config::settings().get_arguments() {
        let variable = setting.get_env().unwrap().to_str().unwrap();
        let default = setting.get_default_values().iter().all(|value| help.out.contains(value.to_str().unwrap()));
        assert!(help.out.contains(variable) && default, "{variable}: {}", help.out);
        assert!(help.out.contains(&setting.get_help().unwrap().to_string()), "{variable}: {}", help.out);
    }
    assert!(help.out.contains("MOVR_DATABASE_URL_<REGION>"), "{}", help.out);
}

#[actix_web::test]
async fn serving_an_older_schema_is_refused_in_words() {
    let world = world().await;
    let key = STANDARD.encode([7_u8; 64]);
    let newest = movr::db::migrate::newest();
    for count in [0, 5] {
        let url = step_by_step(&world, count).await;
        let env = [
            ("MOVR_REGION", "us-east1"),
            ("DATABASE_URL", &url),
            ("MOVR_LISTEN", "127.0.0.1:0"),
            ("MOVR_PUBLIC_URL", "http://movr.test"),
            ("MOVR_SECRET_KEYS", &key),
            // Trying again is no use, so it ends before this.
            ("MOVR_WARM_UP_TIMEOUT_S", "3600"),
            ("RUST_LOG", "error"),
        ];
        let ended = movr(&["serve"], &env).await;
        let found = format!("version {count}");
        assert_words(&ended, &[&found, &format!("needs {newest}"), "movr migrate"]);
        assert!(!ended.err.contains(&key), "{}", ended.err);
        world.database.drop_another(&url).await;
    }
    world.end().await;
}

#[actix_web::test]
async fn a_city_whose_region_is_missing_is_refused_with_both_names() {
    let world = world().await;
    let url = world.database.another();
    let file = std::env::temp_dir().join(format!("movr-catalog-{}.toml", Uuid::new_v4().simple()));
    let boston = "name = \"Boston\"\ncountry = \"United States\"\nregion = \"us-east1\"";
    let text = changed(boston, &boston.replace("us-east1", "mars-north1"));
    std::fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    let refused = movr(&["migrate", "--catalog", &path], &[("DATABASE_URL", &url)]).await;
    assert_words(&refused, &["boston", "mars-north1"]);
    let admin = world.sql().await;
    let name = url.split(['/', '?']).nth(3).unwrap();
    assert_eq!(number(&admin, &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")).await, 0);
    std::fs::remove_file(&file).unwrap();
    let missing = movr(&["migrate", "--catalog", &path], &[("DATABASE_URL", &url)]).await;
    assert_words(&missing, &[&path]);
    drop(admin);
    world.end().await;
}

#[actix_web::test]
async fn the_first_administrator_is_made_on_the_command_line() {
    let world = world().await;
    let service = world.service("us-east1").await;
    let registration = Registration {
        id: Uuid::new_v4(),
        city: "paris".to_owned(),
        region: "europe-west1".parse().unwrap(),
        username: "Renée".to_owned(),
        first_name: "Renée".to_owned(),
        last_name: "Roy".to_owned(),
        email: "renee@example.com".to_owned(),
        password: "a long walk to the tram".to_owned(),
    };
    accounts::register(&service, registration, &[], "x").await.unwrap();
    let env = [("DATABASE_URL", world.database.url.as_str())];
    let grant = async |rest: &[&str]| movr(&[&["operator", "grant"], rest].concat(), &env).await;
    let client = world.sql().await;
    let grants = async || {
        let rows = number(&client, "SELECT count(*) FROM role_grants").await;
        (rows, number(&client, "SELECT count(*) FROM events WHERE action = 'user.role_granted'").await)
    };

    for refused in [
        (&["nobody", "administrator"][..], &["nobody", "username"][..]),
        (&["Renée", "operator", "--city", "atlantis"], &["atlantis"]),
        (&["Renée", "operator"], &["--city"]),
        (&["Renée", "administrator", "--city", "paris"], &["no city"]),
    ] {
        assert_words(&grant(refused.0).await, refused.1);
    }
    assert_eq!(grants().await, (0, 0), "a refusal granted something");

    let now = grant(&["RENÉE", "administrator"]).await;
    assert_eq!(now.code, Some(0), "{now:?}");
    assert!(now.out.contains("is now administrator"), "{}", now.out);
    let again = grant(&["renée", "administrator"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.out.contains("already"), "{}", again.out);
    assert_eq!(grants().await, (1, 1));
    let operator = grant(&["renée", "operator", "--city", "paris"]).await;
    assert!(operator.out.contains("operator of paris"), "{operator:?}");
    let again = grant(&["renée", "operator", "--city", "paris"]).await;
    assert!(again.code == Some(0) && again.out.contains("operator of paris already"), "{again:?}");
    assert_eq!(grants().await, (2, 2));
    let held = "SELECT concat_ws(' ', region::TEXT, role, city) FROM role_grants ORDER BY 1";
    assert_eq!(super::column(&client, held).await, ["europe-west1 administrator ", "europe-west1 operator paris"]);
    service.db.close();
    drop(client);
    world.end().await;
}

/// The database of a test is reached by these too, so that a failure here is not theirs.
#[actix_web::test]
async fn migrate_says_what_it_did() {
    let world = world().await;
    let url = world.database.another();
    let first = movr(&["migrate"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.out.contains(&format!("schema at version {}", movr::db::migrate::newest())), "{}", first.out);
    let again = movr(&["migrate"], &[("DATABASE_URL", &url)]).await;
    assert!(again.code == Some(0) && again.out.contains("0 steps done; catalogue: stays as it is"), "{again:?}");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/catalog.toml");
    let loaded = movr(&["migrate", "--catalog", shipped], &[("DATABASE_URL", &url)]).await;
    assert!(loaded.out.contains("catalogue: 0 entries changed"), "{loaded:?}");
    let both = ["migrate", "--survive", "region", "--placement", "restricted"];
    let refused = movr(&both, &[("DATABASE_URL", &url)]).await;
    assert!(refused.code == Some(1) && refused.err.contains("--placement restricted forbids"), "{refused:?}");
    let client = engine::client(&url).await;
    assert_eq!(number(&client, "SELECT version FROM catalogue").await, 1);
    drop(client);
    world.database.drop_another(&url).await;
    world.end().await;
}

#[actix_web::test]
async fn a_catalogue_that_is_loaded_stays_unless_another_is_named() {
    let world = world().await;
    let url = world.database.another();
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/catalog.toml")).unwrap();
    let own = example.replace("http://localhost:", "https://movr.example.com/").replace("us-east1", "us-east4");
    let file = std::env::temp_dir().join(format!("{}.toml", Uuid::new_v4()));
    std::fs::write(&file, own).unwrap();
    let env = [("DATABASE_URL", url.as_str())];
    let first = movr(&["migrate", "--locality", "off", "--catalog", file.to_str().unwrap()], &env).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    std::fs::remove_file(&file).unwrap();
    let client = engine::client(&url).await;
    // As an interrupted first load leaves it.
    client.batch_execute("DELETE FROM region_gates WHERE region = 'us-west1'").await.unwrap();
    let own =
        "SELECT count(*) FROM regions WHERE base_url LIKE 'https://movr.example.com/%' AND code::TEXT <> 'us-east1'";
    for command in [&["migrate", "--locality", "off", "--plan"][..], &["migrate", "--locality", "off"]] {
        let again = movr(command, &env).await;
        assert!(again.code == Some(0) && !again.out.contains("us-east1"), "{again:?}");
        assert!(again.out.contains("stays as it is"), "{again:?}");
        assert_eq!((number(&client, own).await, number(&client, "SELECT count(*) FROM regions").await), (3, 3));
    }
    assert_eq!(number(&client, "SELECT count(*) FROM region_gates").await, 3);
    drop(client);
    world.database.drop_another(&url).await;
    world.end().await;
}

#[actix_web::test]
async fn the_plan_of_the_catalogue_is_sql_that_does_the_same() {
    let world = world().await;
    let before = world.rows().await;
    world
        .set("UPDATE cities SET name = 'x''x', lat = 0, service_area = '[]'; UPDATE tariffs SET unlock_minor = 1")
        .await;
    world.set("UPDATE residency_policies SET move_to = '[]', analytics = NOT analytics").await;
    world
        .set("UPDATE promo_codes SET per_rider_limit = 7, valid_until = now(); UPDATE regions SET base_url = ''")
        .await;
    let env = [("DATABASE_URL", &*world.database.url)];
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/catalog.toml");
    let planned = movr(&["migrate", "--plan", "--catalog", shipped], &env).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert_ne!(world.rows().await, before, "a plan changes nothing");
    world.set(&planned.out).await;
    let (mut after, mut before) = (world.rows().await, before);
    assert_ne!(after.remove("catalogue"), before.remove("catalogue"), "the version is raised");
    assert_eq!(after, before);
    world.end().await;
}
