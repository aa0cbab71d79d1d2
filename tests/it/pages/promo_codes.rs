//! Promo codes: one made in the browser is never used more often than its regions allow;
//! its end and limits can be changed; a closed region keeps a code from being added.

use movr::domain::refusal::Refusal;
use reqwest::StatusCode;
use uuid::Uuid;

use super::tariffs::with_role;
use crate::{
    ops::races::Arena,
    support::{Browser, crowd, html::Page, world},
};

const PATH: &str = "/admin/promo-codes";

/// Posts a good form, with `changed` over it.
async fn add(admin: &Browser, changed: &[(&str, &str)]) -> Page {
    let mut form = vec![
        ("code", "spring"),
        ("kind", "percent"),
        ("value", "20"),
        ("cities", "new-york"),
        ("cities", "paris"),
        ("from", "2024-01-01T00:00"),
        ("until", "2999-01-01T00:00"),
        ("per_rider", "1"),
        ("total", "10"),
    ];
    form.retain(|(name, _)| changed.iter().all(|(other, _)| name != other));
    form.extend(changed);
    admin.post(PATH, &form).await
}

/// Posts the form of SPRING as `page` drew it, with `changed` over it.
async fn change(admin: &Browser, page: &Page, changed: &[(&str, &str)]) -> Page {
    let of = |name: &str| page.attributes(&format!("[aria-labelledby=SPRING] [name={name}]"), "value").remove(0);
    let names = ["seen", "until", "per_rider", "total"];
    let drawn = names.map(|name| (name, of(name)));
    let mut form: Vec<_> = drawn.iter().map(|(name, value)| (*name, value.as_str())).collect();
    form.retain(|(name, _)| changed.iter().all(|(other, _)| name != other));
    form.extend(changed);
    admin.post("/admin/promo-codes/SPRING", &form).await
}

#[actix_web::test]
async fn sixty_four_riders_in_two_regions_use_a_code_as_often_as_it_allows() {
    let arena = Arena::new(64, 32).await;
    let admin = with_role(&arena.instances[0], "boston", "administrator", "").await;
    assert_eq!(add(&admin, &[]).await.location(), PATH);
    arena.instances[1].running.state.service.reload_catalogue().await.unwrap();
    let (here, there) = (arena.bikes().await, crowd::bikes(&arena.sql, "paris").await);
    let try_it = async |n: usize| {
        let bike = if n.is_multiple_of(2) { &here[n / 2] } else { &there[n / 2] };
        arena.browser(n).start(bike, Uuid::new_v4(), "Spring").await
    };
    let redirects = arena.race((0..64).map(try_it)).await;
    let (good, lost): (Vec<_>, Vec<_>) = redirects.iter().partition(|one| one.good);
    assert_eq!((good.len(), lost.len()), (10, 54));
    assert!(lost.iter().all(|one| one.text == Refusal::PromoExhausted.message()), "{lost:#?}");
    let in_region = |region| format!("SELECT count(*) FROM rides WHERE promo_percent = 20 AND region = '{region}'");
    assert_eq!(arena.count(&in_region("us-east1")).await, 5);
    assert_eq!(arena.count(&in_region("europe-west1")).await, 5);

    // More of them: the next two of a region are its last two.
    let page = admin.get(PATH).await;
    let words = page.texts("[aria-labelledby=SPRING]").remove(0);
    for text in ["20% off", "Valid", "New York, Paris", "10 in all, 1 per rider", "5 of 5 used"] {
        assert!(words.contains(text), "{text}: {words}");
    }
    assert_eq!(change(&admin, &page, &[("total", "14")]).await.location(), PATH);
    let lost: Vec<usize> = (0..64).step_by(2).filter(|n: &usize| !redirects[*n].good).collect();
    let again = arena.race(lost.iter().map(|n| try_it(*n))).await;
    assert_eq!(again.iter().filter(|one| one.good).count(), 2);
    assert!(admin.get(PATH).await.texts("[aria-labelledby=SPRING]").remove(0).contains("7 of 7 used"));

    // As a file: one line a ride, of both regions, and nobody's name or id; the total is without a credit.
    let end = [("city", "new-york"), ("place", "Corner"), ("lat", "40.7128"), ("lon", "-74.006")];
    let (n, ride) = (0..64).step_by(2).find(|n| redirects[*n].good).map(|n| (n, &redirects[n].location)).unwrap();
    assert!(arena.redirect(&arena.browser(n).post(&format!("{ride}/end"), &end).await).good);
    arena.world.set("UPDATE rides SET credited_minor = 7, credit_reason = 'goodwill' WHERE ended_at IS NOT NULL").await;
    let owed = arena.count("SELECT total_minor - 7 FROM rides WHERE ended_at IS NOT NULL").await;
    let path = format!("{PATH}/SPRING/rides.csv");
    let file = admin.get(&path).await.body;
    let total = format!(",{}.{:02}", owed / 100, owed % 100);
    assert_eq!(file.lines().filter(|line| line.ends_with(&total)).count(), 1, "{total}: {file}");
    arena.world.set("UPDATE rides SET credited_minor = 0, credit_reason = NULL").await;
    let lines: Vec<&str> = file.lines().collect();
    assert_eq!(lines.len(), 13, "{file}");
    assert!(lines[0].ends_with("code,region,city,type,started,ended,currency,discount,total"), "{}", lines[0]);
    let of = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((of("SPRING,us-east1,new-york,"), of("SPRING,europe-west1,paris,")), (7, 5));
    assert_eq!(arena.browser(0).get(&path).await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.get(&format!("{PATH}/NONE/rides.csv")).await.status, StatusCode::NOT_FOUND);
    arena.end().await;
}

#[actix_web::test]
async fn a_code_is_added_changed_and_ended_and_mistakes_come_back() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let before = world.rows().await;
    for (field, value, error) in [
        ("code", "a b", "code"),
        ("value", "0", "value"),
        ("value", "101", "value"),
        ("from", "", "from"),
        ("until", "2023-01-01T00:00", "until"),
        ("until", "2024-06-01T00:00", "until"),
        ("per_rider", "11", "per_rider"),
        ("total", "-1", "total"),
        ("total", "1", "total"),
    ] {
        let page = add(&admin, &[(field, value)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
        assert_eq!(page.texts(&format!("#{error}-error")).len(), 1, "{field} {value}");
        assert_eq!(page.attributes(&format!("#{field}"), "value"), [value]);
    }
    let dollars = add(&admin, &[("kind", "USD")]).await;
    assert_eq!(dollars.texts("#value-error"), ["Rides in Paris are paid in EUR."]);
    assert_eq!(dollars.attributes("[name=cities][checked]", "value"), ["new-york", "paris"], "ticks are kept");
    assert_eq!(add(&admin, &[("cities", "atlantis")]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.rows().await, before);

    world
        .set("UPDATE region_gates SET write_state = 'read_only', reason = 'storm' WHERE region = 'europe-west1'")
        .await;
    world.set("UPDATE region_gates SET epoch = 2 WHERE region = 'europe-west1'").await;
    let before = world.rows().await;
    let closed = add(&admin, &[]).await;
    assert_eq!(closed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(closed.text().contains("The region Europe West (Belgium) is read-only (storm)"), "{}", closed.text());
    assert_eq!(world.rows().await, before, "all of it or nothing");
    world.set("UPDATE region_gates SET write_state = 'writable', epoch = 3 WHERE region = 'europe-west1'").await;

    assert_eq!(add(&admin, &[]).await.location(), PATH);
    assert_eq!(add(&admin, &[]).await.location(), PATH, "a double click");
    let taken = add(&admin, &[("value", "30")]).await;
    assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(taken.texts("#code-error")[0].contains("already"));
    let page = admin.get(PATH).await;
    for (field, value) in [("total", "9"), ("per_rider", "0"), ("until", "2020-01-01T00:00")] {
        let wrong = change(&admin, &page, &[(field, value)]).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        assert_eq!(wrong.texts(&format!("#{field}-SPRING-error")).len(), 1, "{field}: {}", wrong.body);
    }
    // Numbers of uses that nobody was shown.
    for parts in [[i64::MAX, 1], [i64::MIN, -1]] {
        let seen = format!("[0,1,{{\"us-east1\":{},\"us-west1\":{}}}]", parts[0], parts[1]);
        for end in ["", "now"] {
            assert_eq!(change(&admin, &page, &[("seen", &seen), ("end", end)]).await.status, StatusCode::BAD_REQUEST);
        }
    }
    assert_eq!(change(&admin, &page, &[("per_rider", "3"), ("until", "2998-01-01T00:00")]).await.location(), PATH);
    change(&admin, &page, &[("per_rider", "4")]).await;
    assert!(admin.get(PATH).await.flash().starts_with("This was changed since"), "the page was old");
    let row = "SELECT count(*) FROM promo_codes WHERE code = 'SPRING' AND per_rider_limit = 3 AND total_limit = 10
        AND valid_until = '2998-01-01'";
    assert_eq!(world.count(row).await, 1);
    change(&admin, &admin.get(PATH).await, &[("end", "now")]).await;
    let page = admin.get(PATH).await;
    assert!(page.texts("[aria-labelledby=SPRING]").remove(0).contains("Ended"));
    assert!(page.attributes("[aria-labelledby=SPRING] [name=end]", "value").is_empty());
    let events = "SELECT count(*) FROM events WHERE aggregate_type = 'catalogue'";
    assert_eq!(world.count(events).await, 3, "added, changed, ended");
    instance.running.stop().await;
    world.end().await;
}

/// By another instance, whose catalogue is older, or in a form that had a mistake.
#[actix_web::test]
async fn what_another_administrator_changed_stays() {
    let world = world().await;
    let (instance, old) = (world.instance("us-east1").await, world.instance("us-east1").await);
    let admin = with_role(&instance, "boston", "administrator", "").await;
    assert_eq!(add(&admin, &[]).await.location(), PATH);
    old.running.state.service.reload_catalogue().await.unwrap();
    let before = admin.get(PATH).await;
    assert_eq!(change(&admin, &before, &[("total", "20")]).await.location(), PATH);
    let wrong = change(&admin, &before, &[("per_rider", "0")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    change(&admin, &wrong, &[("per_rider", "2")]).await.location();
    assert!(admin.get(PATH).await.flash().starts_with("This was changed since"), "the form was based on the old terms");
    change(&admin.at(&old), &admin.get(PATH).await, &[("end", "now")]).await.location();
    let row = "SELECT count(*) FROM promo_codes WHERE code = 'SPRING' AND total_limit = 20 AND per_rider_limit = 1
        AND quotas = '{\"us-east1\": 10, \"europe-west1\": 10}' AND valid_until < '2998-01-01'";
    assert_eq!(world.count(row).await, 1);
    for instance in [instance, old] {
        instance.running.stop().await;
    }
    world.end().await;
}

/// Whoever tries one code after the other is told to wait; riding goes on without one.
#[actix_web::test]
async fn codes_are_not_found_by_trying() {
    let arena = Arena::new(2, 2).await;
    let (guesser, other) = (arena.browser(0), arena.browser(1));
    let mut unknown = 0;
    let refused = loop {
        let code = format!("GUESS{unknown}");
        let refused = arena.redirect(&guesser.start(&arena.bikes().await[0], Uuid::new_v4(), &code).await);
        if refused.text != Refusal::PromoUnknown.message() || unknown > 50 {
            break refused;
        }
        unknown += 1;
    };
    assert!(refused.text.starts_with("Too many promo codes. Please wait "), "{refused:?}");
    assert!((10..=12).contains(&unknown), "after {unknown} codes");
    let unlucky = arena.redirect(&guesser.start(&arena.bikes().await[0], Uuid::new_v4(), "WELCOME").await);
    assert_eq!(unlucky.text, refused.text, "a good code does not show either");
    assert!(arena.redirect(&guesser.start(&arena.bikes().await[0], Uuid::new_v4(), "").await).good);
    assert!(
        arena.redirect(&other.start(&arena.bikes().await[1], Uuid::new_v4(), "WELCOME").await).good,
        "nobody else waits"
    );
    arena.end().await;
}

#[actix_web::test]
async fn codes_and_roles_beyond_a_page_are_behind_a_link() {
    let world = world().await;
    world.sample(&["boston", "paris"], 160, 1).await;
    world
        .set(
            "INSERT INTO promo_codes (code, percent, valid_from, valid_until, per_rider_limit, total_limit, cities, quotas)
             SELECT 'PAGE' || lpad(n::TEXT, 4, '0'), 10, '2024-01-01', '2999-01-01', 1, 9, '[]', '{\"us-east1\": 9}'
             FROM generate_series(1, 2100) AS n;
             INSERT INTO promo_quotas (region, code, granted, remaining)
             SELECT 'us-east1', 'PAGE' || lpad(n::TEXT, 4, '0'), 9, 9 FROM generate_series(1, 2100) AS n;
             INSERT INTO role_grants (region, user_id, role, city, granted_at)
             SELECT region, id, 'operator', slug, now() FROM users
             CROSS JOIN (VALUES ('boston'), ('paris')) AS cities (slug);
             UPDATE catalogue SET version = version + 1",
        )
        .await;
    let instance = world.instance("us-east1").await;
    let admin = with_role(&instance, "boston", "administrator", "").await;
    let walk = async |first: &str, item: &str| -> Vec<Page> {
        let (mut path, mut pages) = (first.to_owned(), Vec::new());
        loop {
            let page = admin.get(&path).await;
            assert!((1..=100).contains(&page.texts(item).len()), "{path} leads nowhere: {}", page.text());
            let next = page.attributes("nav.pages a[rel=next]", "href").pop();
            pages.push(page);
            match next {
                Some(next) => path = next,
                None => return pages,
            }
        }
    };
    let pages = walk(PATH, "section h2").await;
    let panels = pages.iter().flat_map(|page| page.texts("section.panel[aria-labelledby]"));
    let mut mine: Vec<String> = panels.filter(|text| text.starts_with("PAGE")).collect();
    mine.sort();
    assert_eq!(mine.len(), 2_100);
    for (n, text) in (1..).zip(&mine) {
        assert!(text.starts_with(&format!("PAGE{n:04}")) && text.contains("0 of 9 used"), "{text}");
    }
    // A mistake in a code far behind comes back on a page that has it.
    let form = [("seen", pages[40].field("seen")), ("until", String::new()), ("per_rider", "x".to_owned())];
    let form = [&form[..], &[("total", "9".to_owned())]].concat();
    let code = pages[40].texts("section h2").remove(0).split(' ').next().unwrap().to_owned();
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let wrong = admin.post(&format!("{PATH}/{code}"), &form).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(wrong.texts(&format!("#per_rider-{code}-error")).len(), 1, "{code}");

    let roles = walk("/admin/roles", "ul.rows li").await;
    let buttons = "[action$=revoke] button";
    let mut all: Vec<String> = roles.iter().flat_map(|page| page.attributes(buttons, "aria-label")).collect();
    let count = world.count("SELECT count(*) FROM role_grants").await;
    assert!(count > 600, "{count}");
    all.sort();
    all.dedup();
    // All but the administrator's own, which nobody takes.
    assert_eq!(i64::try_from(all.len()).unwrap(), count - 1);
    instance.running.stop().await;
    world.end().await;
}
