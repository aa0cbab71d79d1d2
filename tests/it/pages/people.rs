//! People as administrators meet them: found within the jurisdiction only, blocked so that no way
//! in is left, and signed out everywhere.

use movr::{
    db::{people::Change, sessions, statement::Conn, users, verdict::Verdict},
    domain::refusal::Refusal,
    ops::{self, OpError, accounts},
};
use reqwest::StatusCode;
use uuid::Uuid;

use super::tariffs::with_role;
use crate::support::{
    Browser, World,
    app::{Instance, PASSWORD},
    crowd::crowd,
    html::Page,
    world,
};

const PATH: &str = "/admin/people";

async fn named(instance: &Instance, city: &str, [first, last, email]: [&str; 3]) -> Browser {
    let person = instance.person(city).await;
    let form = [("first_name", first), ("last_name", last), ("email", email)];
    assert_eq!(person.post("/profile", &form).await.status, StatusCode::SEE_OTHER);
    person
}

/// The page of a person.
async fn page_of(world: &World, person: &Browser) -> String {
    let key = "SELECT region::TEXT || '/' || id::TEXT FROM users WHERE username = $1";
    let key: String = world.sql().await.query_one(key, &[&person.name]).await.unwrap().try_get(0).unwrap();
    format!("{PATH}/{key}")
}

/// The regions that the answer says were asked.
fn asked(page: &Page) -> &str {
    page.headers["server-timing"].to_str().unwrap().split_once("regions ").unwrap().1.split_once('"').unwrap().0
}

#[actix_web::test]
async fn people_are_found_by_username_or_in_a_city_by_name_or_address() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let anna = named(&instance, "seattle", ["Anna Maria", "van Dyk", "Anna@Example.org"]).await;
    let cher = named(&instance, "boston", ["Cher", "", "cher@example.org"]).await;
    let renee = named(&instance, "paris", ["Anna", "Doe", "anna@example.fr"]).await;
    named(&instance, "boston", ["Élodie", "Őry", "elodie@example.org"]).await;
    let find = async |who: &str, city: &str| admin.post(PATH, &[("who", who), ("city", city)]).await;
    for (who, city, names) in [
        (&*anna.name.to_uppercase(), "boston", &["Anna Maria van Dyk"][..]),
        (" anna@example.ORG ", "seattle", &["Anna Maria van Dyk"]),
        (" anna@example.ORG ", "boston", &[]),
        ("VAN  DYK", "seattle", &["Anna Maria van Dyk"]),
        ("anna maria van dyk", "seattle", &["Anna Maria van Dyk"]),
        ("anna", "seattle", &["Anna Maria van Dyk"]),
        ("maria van", "seattle", &["Anna Maria van Dyk"]),
        ("Cher", "boston", &["Cher"]),
        ("Cher", "new-york", &[]),
        ("Élodie", "boston", &["Élodie Őry"]),
        ("Őry", "boston", &["Élodie Őry"]),
        ("lodie", "boston", &[]),
        ("nna", "seattle", &[]),
        ("example.org", "seattle", &[]),
        ("%", "seattle", &[]),
        // At home in Europe.
        (&*renee.name, "boston", &[]),
        ("anna@example.fr", "seattle", &[]),
    ] {
        let page = find(who, city).await;
        assert_eq!(
            (page.status, page.texts("ul.rows b")),
            (StatusCode::OK, names.iter().map(ToString::to_string).collect()),
            "{who} in {city}"
        );
        assert_eq!(
            (page.field("who").as_str(), page.attributes("option[selected]", "value")),
            (who, vec![city.to_owned()])
        );
        assert_eq!(page.attributes("main form:not([method=post])", "action"), [""; 0], "in no address");
        assert!(!page.text().contains("Not everybody"), "{}", page.text());
        assert!(page.text().contains("To find people in Europe West (Belgium), search there"), "{}", page.text());
        assert!(!page.body.contains("example.fr\">") && !page.text().contains("Anna Doe"));
        assert!(!asked(&page).contains("europe"), "{}", asked(&page));
    }
    let empty = admin.get(PATH).await;
    assert_eq!(empty.attributes("option[selected]", "value"), ["boston"], "the city in use");
    assert_eq!(empty.attributes("option[value=paris]", "value"), [""; 0]);
    let found = find("cher", "").await.attributes("ul.rows a", "href");
    assert_eq!(found, [page_of(&world, &cher).await]);
    assert_eq!(find("", "seattle").await.texts("#who-error").len(), 1);
    let abroad = find("anna", "paris").await;
    assert_eq!((abroad.status, asked(&abroad)), (StatusCode::CONFLICT, "us-east1"), "{}", abroad.text());
    let noted = async |city: &str| {
        let search = "aggregate_type = 'people_search' AND action = 'user.searched' AND actor_region = 'us-east1'";
        let text = format!("SELECT count(*) FROM events WHERE {search} AND metadata = '{{\"city\": \"{city}\"}}'");
        world.count(&text).await
    };
    assert_eq!(
        (noted("seattle").await, noted("boston").await),
        (9, 8),
        "each search is in the audit, but not for whom"
    );
    assert!(admin.get("/fleet/audit?region=us-east1&type=people_search").await.text().contains("user.searched"));
    assert_eq!(anna.post(PATH, &[("who", "cher")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(noted("seattle").await, 9);
    world.set("UPDATE region_gates SET write_state = 'read_only', epoch = epoch + 1 WHERE region = 'us-west1'").await;
    assert_eq!(find(&anna.name, "seattle").await.texts("ul.rows b"), ["Anna Maria van Dyk"], "a closed region is read");
    let gate = async |state: &str| {
        let text =
            format!("UPDATE region_gates SET write_state = '{state}', epoch = epoch + 1 WHERE region = 'us-east1'");
        world.set(&text).await;
    };
    gate("read_only").await;
    let unrecorded = find(&anna.name, "seattle").await;
    assert_eq!(unrecorded.status, StatusCode::SERVICE_UNAVAILABLE, "nothing is shown that cannot be recorded");
    assert!(!unrecorded.text().contains("Anna"), "{}", unrecorded.text());
    gate("writable").await;
    let mut searches = 0;
    let refused = loop {
        match find("cher", "boston").await {
            page if page.status == StatusCode::OK => searches += 1,
            page => break page.status,
        }
        assert!(searches < 40, "whoever tries name after name would have a list of people");
    };
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    instance.running.stop().await;
    world.end().await;
}

/// Puts `count` people beside `like`, whose ids begin with `digit`.
async fn beside(world: &World, like: &Browser, [digit, name]: [&str; 2], count: usize) {
    let ids = format!("('{digit}0000000-0000-4000-8000-' || lpad(n::TEXT, 12, '0'))::UUID");
    world
        .set(&format!(
            "INSERT INTO users (region, id, city, username, username_key, first_name, last_name, email, password_hash,
               recovery_hashes, present_in, version, created_at)
             SELECT region, {ids}, city, '{name}' || n, '{name}' || n, 'Sam', '{name}', 'x', 'x', '[]', '[]', 1, created_at
             FROM users, generate_series(1, {count}) AS n WHERE username = '{}';
             INSERT INTO events (region, aggregate_type, aggregate_id, version, action, actor_region, actor_id, command_id,
               correlation_id, occurred_at, epoch, metadata)
             SELECT region, 'user', id, 1, 'user.registered', region::TEXT, id, id, id, created_at, 1, '{{}}'
             FROM users WHERE last_name = '{name}'",
            like.name
        ))
        .await;
}

#[actix_web::test]
async fn a_search_of_people_stops_and_goes_on() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let anna = named(&instance, "seattle", ["Anna", "Dyk", "anna@example.org"]).await;
    beside(&world, &anna, ["0", "Many"], 30).await;
    beside(&world, &anna, ["1", "Other"], 4_990).await;
    let ids = "UPDATE users SET last_name = 'Last' WHERE id = '10000000-0000-4000-8000-000000004990'";
    world.set(ids).await;
    let on = async |page: &Page| {
        let field = |name: &str| page.attributes(&format!("form [type=hidden][name={name}]"), "value").remove(0);
        let (who, city, after) = (field("who"), field("city"), field("after"));
        admin.post(PATH, &[("who", &who), ("city", &city), ("after", &after)]).await
    };
    let seen = |page: &Page| (page.texts("ul.rows a").len(), page.text().contains("Not everybody in Seattle"));
    // More than a page shows.
    let many = admin.post(PATH, &[("who", "many"), ("city", "seattle")]).await;
    assert_eq!(seen(&many), (25, true));
    let rest = on(&many).await;
    assert_eq!(seen(&rest), (5, false), "and that is everybody");
    assert_eq!((rest.timing(), asked(&rest)), ((3, 2), "us-east1 us-west1"), "administrator, then the city alone");
    let shown = |page: &Page| page.attributes("ul.rows a", "href");
    assert!(shown(&many).iter().all(|person| !shown(&rest).contains(person)));
    assert_eq!(rest.field("who"), "many");
    // More than is looked at, which is 5,000.
    let nobody = admin.post(PATH, &[("who", "LAST"), ("city", "seattle")]).await;
    assert_eq!(seen(&nobody), (0, true));
    assert!(nobody.text().contains("Nobody so far."), "{}", nobody.text());
    assert_eq!(seen(&on(&nobody).await), (1, false));
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_blocked_person_is_out_and_stays_out() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let ann = instance.person("seattle").await;
    let made = ann.post("/profile/recovery-codes", &[("current", PASSWORD)]).await;
    let code = made.texts(".codes code").into_iter().next();
    let code =
        if let Some(code) = code { code } else { ann.get(&made.location()).await.texts(".codes code").remove(0) };
    let path = page_of(&world, &ann).await;
    let page = admin.get(&path).await;
    for words in ["Pat Doe", "pat@example.com", "Seattle", "Signed in on 1 device", "Roles None"] {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }
    assert_eq!(ann.get(&path).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ann.post(&path, &[("action", "unblock")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.post(&path, &[("action", "block"), ("reason", "dislike")]).await.status, StatusCode::BAD_REQUEST);
    // Wherever they are signed in.
    let europe = world.instance("europe-west1").await;
    let abroad = europe.browser();
    abroad.sign_in(&ann.name, PASSWORD).await.location();
    assert!(abroad.signed_in().await);
    let block = [("action", "block"), ("reason", "misuse")];
    for _ in 0..2 {
        assert_eq!(admin.post(&path, &block).await.location(), path);
    }
    assert!(admin.get(&path).await.flash().starts_with("The account is blocked"));
    assert!(!ann.signed_in().await, "the session is over");
    let profile = [("first_name", "Pat"), ("last_name", "Roe"), ("email", "roe@example.com")];
    let before = world.rows().await;
    for page in [abroad.post("/profile", &profile).await, abroad.get("/profile").await] {
        assert!(page.location().starts_with("/login"), "{}", page.location());
    }
    assert_eq!(world.rows().await, before);
    europe.running.stop().await;
    let again = ann.sign_in(&ann.name, PASSWORD).await;
    assert_eq!(
        (again.status, again.texts("[role=alert]")),
        (StatusCode::UNPROCESSABLE_ENTITY, vec![Refusal::Blocked.message()])
    );
    let wrong = ann.sign_in(&ann.name, "a short walk to the tram").await;
    assert_eq!(wrong.texts("[role=alert]"), ["Wrong username or password."], "only who knows the password is told");
    let recover = [("username", &*ann.name), ("code", &code), ("password", "another walk to the tram")];
    assert!(ann.post("/recover", &recover).await.text().contains(&Refusal::Blocked.message()));
    // Whoever was just signing in when it happened.
    let db = &instance.running.state.service.db;
    let (conn, west) = (db.here().await.unwrap(), "us-west1".parse().unwrap());
    let login = users::find_login(&conn, Some(&west), &ann.name).await.unwrap().unwrap();
    let now = world.clock.now();
    let new = sessions::NewSession {
        id: Uuid::new_v4(),
        token_hash: "x".to_owned(),
        device: "x".to_owned(),
        expires_at: now + accounts::ABSOLUTE,
    };
    drop(conn);
    for (hash, refusal) in [(&*login.password_hash, Refusal::Blocked), ("that of another password", Refusal::Changed)] {
        let start = async |conn: &Conn| sessions::start(conn, &login.user, 1, &new, hash, now).await;
        assert_eq!(db.write_with_retry(&west, start).await.unwrap(), Verdict::Refused(refusal));
    }
    let event = "SELECT count(*) FROM events WHERE action = 'user.blocked' AND region = 'us-west1'
        AND actor_region = 'us-east1' AND metadata = '{\"reason\": \"misuse\"}'";
    assert_eq!(world.count(event).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM sessions WHERE region = 'us-west1'").await, 0);

    admin.post(&path, &[("action", "unblock")]).await.location();
    assert_eq!(ann.sign_in(&ann.name, PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert!(ann.signed_in().await);
    admin.post(&path, &[("action", "sign-out")]).await.location();
    assert!(!ann.signed_in().await);
    assert!(admin.get(&path).await.text().contains("Signed in on No device"));
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn nobody_changes_their_own_account_or_one_of_another_jurisdiction() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let renee = instance.person("paris").await;
    let own = page_of(&world, &admin).await;
    assert!(admin.get(&own).await.attributes("main button", "name").is_empty());
    let before = world.rows().await;
    admin.post(&own, &[("action", "block"), ("reason", "other")]).await.location();
    assert_eq!(admin.get(&own).await.flash(), Refusal::OwnAccount.message());
    assert_eq!(world.rows().await, before);
    let theirs = page_of(&world, &renee).await;
    let seen = admin.get(&theirs).await;
    assert_eq!((seen.status, asked(&seen)), (StatusCode::CONFLICT, "us-east1"), "nothing was asked there");
    // Whose role was taken away since the page was asked for.
    let (crowd, service) = (crowd(&instance, 2).await, &instance.running.state.service);
    let before = world.rows().await;
    for change in [Change::Block("misuse"), Change::Unblock, Change::EndSessions] {
        let outcome = ops::people::change(service, &crowd[0].auth, &crowd[1].auth.user, change).await;
        assert!(matches!(outcome, Err(OpError::Refused(Refusal::NotAdministrator))), "{change:?}: {outcome:?}");
    }
    assert_eq!(world.rows().await, before);
    let bob = instance.person("boston").await;
    let refused = bob.get(&theirs).await;
    assert_eq!((refused.status, refused.timing(), asked(&refused)), (StatusCode::FORBIDDEN, (1, 1), "us-east1"));
    assert!(seen.text().contains("(rule jurisdiction)") && !seen.text().contains("Pat Doe"), "{}", seen.text());
    admin.post(&theirs, &[("action", "block"), ("reason", "other")]).await.location();
    assert!(renee.signed_in().await);
    let noted =
        "SELECT count(*) FROM events WHERE action = 'residency.person_refused' AND metadata->>'to' = 'europe-west1'";
    assert_eq!(world.count(noted).await, 2);
    let of_europe = world.instance("europe-west1").await;
    assert!(admin.at(&of_europe).get(&theirs).await.text().contains("Pat Doe"));
    assert_eq!(admin.get(&format!("{PATH}/us-east1/{}", Uuid::new_v4())).await.status, StatusCode::NOT_FOUND);
    for instance in [instance, of_europe] {
        instance.running.stop().await;
    }
    world.end().await;
}
