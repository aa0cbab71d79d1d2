//! Roles given and taken in the browser: by administrators, over regions, in one event
//! each; the loss holds for the very next write.

use reqwest::StatusCode;

use super::tariffs::with_role;
use crate::support::{Browser, world};

const PATH: &str = "/admin/roles";

/// Presses the button that takes the `n`th role of the list away.
async fn take(admin: &Browser, username: &str) -> String {
    let page = admin.get(PATH).await;
    // The button that does it is behind another one.
    let buttons = page.attributes("details:not([open]) > [action$=revoke] button", "aria-label");
    let n = buttons.iter().position(|label| label.starts_with(&format!("Revoke role of {username}:"))).unwrap();
    let of = |name: &str| page.attributes(&format!("[action$=revoke] [name={name}]"), "value").remove(n);
    let fields = [("region", of("region")), ("id", of("id")), ("city", of("city"))];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    admin.post(&format!("{PATH}/revoke"), &fields).await.location();
    admin.get(PATH).await.flash()
}

#[actix_web::test]
async fn an_administrator_gives_and_takes_roles_over_regions() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let renee = instance.person("paris").await;
    let page = admin.get(PATH).await;
    assert_eq!(page.texts("ul.rows li").len(), 1);
    assert!(page.texts("ul.rows li")[0].ends_with("you"), "nobody takes their own away");
    for (username, status) in
        [("nobody.here", StatusCode::UNPROCESSABLE_ENTITY), (&*renee.name.to_uppercase(), StatusCode::SEE_OTHER)]
    {
        let answer = admin.post(PATH, &[("username", username), ("city", "rome")]).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            assert_eq!(answer.attributes("#username", "value"), [username]);
            assert_eq!(answer.attributes("#city [selected]", "value"), ["rome"]);
        }
    }
    admin.post(PATH, &[("username", &renee.name), ("city", "rome")]).await;
    let granted = "SELECT count(*) FROM events WHERE action = 'user.role_granted' AND region = 'europe-west1'
        AND actor_region = 'us-east1' AND metadata->>'city' = 'rome'
        AND actor_id = (SELECT user_id FROM role_grants WHERE role = 'administrator')";
    assert_eq!(world.count(granted).await, 1, "one event, though it was given twice");

    let tariffs = renee.get("/fleet/tariffs").await;
    assert_eq!(tariffs.texts("h1"), ["Tariffs in Rome"], "it holds at once");
    let price = "city=rome&type=bike&unlock=5&minute=1&fee=1";
    let seen = renee.get(&format!("/fleet/tariffs/new?{price}")).await.field("seen");
    let set = async |unlock: &str| {
        let form = [("city", "rome"), ("type", "bike"), ("seen", &seen), ("from", ""), ("unlock", unlock)];
        renee
            .post("/fleet/tariffs", &[&form[..], &[("minute", "1"), ("fee", "1"), ("sure", "1")]].concat())
            .await
            .status
    };
    assert!(take(&admin, &renee.name).await.contains("next change"));
    let before = world.rows().await;
    assert_eq!(set("5").await, StatusCode::FORBIDDEN, "and so does its loss");
    assert_eq!(world.rows().await, before);
    let revoked = "SELECT count(*) FROM events WHERE action = 'user.role_revoked' AND region = 'europe-west1'";
    assert_eq!(world.count(revoked).await, 1);

    // Of two administrators each can take the other's, and nobody their own.
    admin.post(PATH, &[("username", &renee.name), ("city", "")]).await;
    let page = renee.get(PATH).await;
    let own = page.texts("ul.rows li").into_iter().filter(|row| row.ends_with("you")).count();
    assert_eq!((page.texts("ul.rows li").len(), own), (2, 1));
    assert!(page.text().contains("at home in Europe West (Belgium)"), "{}", page.text());
    let me = "SELECT user_id::TEXT FROM role_grants WHERE region = 'europe-west1'";
    let me: String = world.sql().await.query_one(me, &[]).await.unwrap().try_get(0).unwrap();
    renee.post(&format!("{PATH}/revoke"), &[("region", "europe-west1"), ("id", &me), ("city", "")]).await;
    assert!(renee.get(PATH).await.flash().contains("your own administrator role"));
    take(&renee, &admin.name).await;
    assert_eq!(admin.get(PATH).await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.post(PATH, &[("username", &admin.name), ("city", "")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.count("SELECT count(*) FROM role_grants").await, 1);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_closed_home_keeps_its_peoples_roles_as_they_are() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let renee = instance.person("paris").await;
    world.set("UPDATE region_gates SET write_state = 'read_only', epoch = 2 WHERE region = 'europe-west1'").await;
    let before = world.rows().await;
    let refused = admin.post(PATH, &[("username", &renee.name), ("city", "rome")]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().contains("The region Europe West (Belgium) is read-only"), "{}", refused.text());
    assert_eq!(world.rows().await, before);
    instance.running.stop().await;
    world.end().await;
}
