//! Becoming known: registering, signing in and out, recovering. Mistakes come back with
//! words; who guesses, waits; a session is new at each sign-in and ends when it should,
//! wherever its cookie has been copied to.

use std::time::{Duration, Instant};

use chrono::Duration as Span;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{Browser, app::PASSWORD, html::Page, world};

const NEW_PASSWORD: &str = "another road to the sea";

type Fields = Vec<(&'static str, String)>;

/// A good registration.
fn registration(username: &str) -> Fields {
    let fields = [
        ("city", "boston"),
        ("first_name", "Pat"),
        ("last_name", "Doe"),
        ("email", "pat@example.com"),
        ("username", username),
        ("password", PASSWORD),
    ];
    let fields = fields.map(|(name, value)| (name, value.to_owned()));
    [("id", Uuid::new_v4().to_string())].into_iter().chain(fields).collect()
}

async fn register(browser: &Browser, fields: &Fields) -> Page {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.post("/register", &fields).await
}

#[actix_web::test]
async fn trouble_with_the_second_click_of_a_registration_is_no_taken_name() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let fields = registration("pat.doe");
    assert_eq!(register(&instance.browser(), &fields).await.status, StatusCode::SEE_OTHER);
    // It finds the person and begins a session, which this database refuses.
    world.set("ALTER TABLE sessions ADD CONSTRAINT known CHECK (device <> 'Unknown browser') NOT VALID").await;
    let trouble = register(&instance.browser(), &fields).await;
    assert_eq!(trouble.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", trouble.text());
    world.set("ALTER TABLE sessions DROP CONSTRAINT known").await;
    assert_eq!(register(&instance.browser(), &fields).await.status, StatusCode::SEE_OTHER, "the same person");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn what_is_wrong_with_a_registration_is_said_and_the_rest_is_kept() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let before = world.rows().await;
    let long = |n: usize| "x".repeat(n);
    for (field, value, words) in [
        ("first_name", String::new(), "Please enter your first name."),
        ("first_name", long(61), "at most 60 characters"),
        ("first_name", "a\u{202e}nn".to_owned(), "Invisible characters"),
        ("first_name", "\u{3164}".to_owned(), "Invisible characters"),
        ("first_name", "...".to_owned(), "in letters"),
        ("last_name", "\u{301}doe".to_owned(), "An accent needs a letter"),
        ("username", "\u{430}dministrator".to_owned(), "the letters of one alphabet"),
        ("username", "ann\u{200d}doe".to_owned(), "3 to 30 letters"),
        ("email", "pat.example.com".to_owned(), "does not look like an e-mail address"),
        ("email", format!("{}@b.example", long(250)), "at most 254 characters"),
        ("username", "ab".to_owned(), "3 to 30 letters"),
        ("username", "pat doe".to_owned(), "3 to 30 letters"),
        ("username", long(31), "3 to 30 letters"),
        ("password", "sh0r!t7".to_owned(), "At least 8 characters"),
        ("password", "qwertyuiop".to_owned(), "too easy to guess"),
        ("password", "Pat.Doe.77".to_owned(), "too easy to guess"),
        ("password", long(129), "at most 128 characters"),
        ("city", "atlantis".to_owned(), "Please choose a city."),
    ] {
        let mut form = registration("pat.doe.77");
        form.iter_mut().find(|(name, _)| *name == field).unwrap().1.clone_from(&value);
        let page = register(&instance.browser(), &form).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}={value}");
        assert!(page.texts(&format!("#{field}-error")).join("").contains(words), "{field}={value}: {}", page.text());
        assert_eq!(page.texts("small.error").len(), 1, "only {field} is wrong");
        assert_eq!(page.texts("[role=alert][autofocus]"), ["Please correct 1 field below."]);
        assert_eq!(page.attributes("[role=alert] a", "href"), [format!("#{field}")]);
        for (name, typed) in form.iter().filter(|(name, _)| !["id", "city", "password"].contains(name)) {
            assert_eq!(page.field(name), *typed, "{name} is kept");
        }
        let password = &form.last().unwrap().1;
        assert!(!page.body.contains(password.as_str()), "the password comes back");
        assert!(!page.set_cookies().iter().any(|cookie| cookie.contains("movr_session")));
    }
    assert_eq!(world.rows().await, before);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_username_is_taken_once_over_all_regions_however_it_is_written() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    for name in ["Zoë.Q", "administrator", "coco", "Straße", "İstanbul", "οδός"] {
        let mut form = registration(name);
        // Not everybody has one.
        form[3].1.clear();
        assert_eq!(register(&instance.browser(), &form).await.status, StatusCode::SEE_OTHER, "{name}");
    }
    let before = world.rows().await;
    for (username, city) in [
        ("zOË.q", "boston"),
        ("zoë.q", "paris"),
        (" zoë.q ", "seattle"),
        ("zoe\u{308}.q", "boston"),
        ("ａｄｍｉｎｉｓｔｒａｔｏｒ", "paris"),
        ("𝐚𝐝𝐦𝐢𝐧𝐢𝐬𝐭𝐫𝐚𝐭𝐨𝐫", "boston"),
        ("\u{441}\u{43e}\u{441}\u{43e}", "paris"),
        ("STRASSE", "boston"),
        ("ISTANBUL", "seattle"),
        ("ΟΔΌΣ", "boston"),
    ] {
        let mut form = registration(username);
        city.clone_into(&mut form[1].1);
        let page = register(&instance.browser(), &form).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{username}");
        assert!(page.texts("#username-error").join("").contains("This username is taken"), "{}", page.text());
        assert_ne!(page.field("id"), form[0].1, "the form has a new id");
    }
    assert_eq!(world.rows().await, before);
    for name in ["zoe\u{308}.q", "STRASSE", "ａｄｍｉｎｉｓｔｒａｔｏｒ", "istanbul", "ΟΔΌΣ"] {
        assert_eq!(instance.browser().sign_in(name, PASSWORD).await.status, StatusCode::SEE_OTHER, "{name}");
    }
    let alike = instance.browser().sign_in("\u{441}\u{43e}\u{441}\u{43e}", PASSWORD).await;
    assert_eq!(alike.status, StatusCode::UNPROCESSABLE_ENTITY, "who looks like somebody is not them");
    // Earlier versions knew lower case only.
    let (name, key) = ("\u{421}\u{43e}\u{441}\u{43e}", "\u{441}\u{43e}\u{441}\u{43e}");
    world.set(&format!("UPDATE users SET username = '{name}', username_key = '{key}' WHERE username = 'coco'")).await;
    assert_eq!(instance.browser().sign_in(name, PASSWORD).await.status, StatusCode::SEE_OTHER);
    let page = register(&instance.browser(), &registration(name)).await;
    assert!(page.texts("#username-error").join("").contains("This username is taken"), "{}", page.text());
    for name in ["हिन्दी", "ไทยนี้", "தமிழ்"] {
        assert_eq!(register(&instance.browser(), &registration(name)).await.status, StatusCode::SEE_OTHER, "{name}");
    }
    instance.running.stop().await;
    world.end().await;
}

fn argon2_of(password: &str) -> String {
    use argon2::password_hash::PasswordHasher;
    argon2::Argon2::default().hash_password(password.as_bytes()).unwrap().to_string()
}

#[actix_web::test]
async fn a_password_is_the_same_however_a_keyboard_composes_it() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (composed, decomposed) = ("caf\u{e9} au lait demain", "cafe\u{301} au lait demain");
    for (name, set) in [("one", composed), ("two", decomposed)] {
        let mut form = registration(name);
        set.clone_into(&mut form.last_mut().unwrap().1);
        register(&instance.browser(), &form).await.location();
        for typed in [composed, decomposed] {
            let page = instance.browser().sign_in(name, typed).await;
            assert_eq!(page.status, StatusCode::SEE_OTHER, "{name} {typed:?}");
        }
    }
    // A hash of the decomposed form, as earlier versions made it.
    let raw = argon2_of(decomposed);
    world.set(&format!("UPDATE users SET password_hash = '{raw}' WHERE username = 'two'")).await;
    assert_eq!(instance.browser().sign_in("two", decomposed).await.status, StatusCode::SEE_OTHER);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_form_that_is_sent_twice_at_once_makes_one_person() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    for round in 0..5 {
        let form = registration(&format!("double{round}"));
        let (one, other) = (instance.browser(), instance.browser());
        let (one, other) = tokio::join!(register(&one, &form), register(&other, &form));
        for answer in [&one, &other] {
            assert_eq!(answer.location(), "/vehicles?city=boston", "whichever reply arrives, one is signed in");
            assert!(instance.replaying(&answer.session_cookie()).signed_in().await);
        }
        assert_eq!(world.count("SELECT count(*) FROM users").await, round + 1);
        // Who knows the form but not the password gets nothing.
        let mut thief = form.clone();
        NEW_PASSWORD.clone_into(&mut thief.last_mut().unwrap().1);
        let page = register(&instance.browser(), &thief).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", page.text());
        assert!(!page.set_cookies().iter().any(|cookie| cookie.contains("movr_session")));
    }
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_failed_sign_in_tells_nothing_in_words_or_time() {
    let world = world().await;
    let instance = world.instance_with("us-east1", &[("MOVR_SIGN_IN_FLOOR_MS", "600")]).await;
    let ann = instance.person("new-york").await;
    let mut answers = Vec::new();
    for (username, password) in [
        (ann.name.as_str(), "wrong password here"),
        ("nobody.knows.me", "wrong password here"),
        (&ann.name, &"x".repeat(200)),
    ] {
        let began = Instant::now();
        let page = instance.browser().sign_in(username, password).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(600), "{username}: {took:?}");
        assert_eq!((page.status, page.set_cookies().len()), (StatusCode::UNPROCESSABLE_ENTITY, 0));
        assert!(!page.headers.contains_key("server-timing"));
        assert!(!page.body.contains(password) && page.field("username") == username);
        answers.push(page.text());
    }
    assert!(answers[0].contains("Wrong username or password."), "{}", answers[0]);
    assert!(answers.iter().all(|text| *text == answers[0]), "{answers:?}");
    let began = Instant::now();
    let form = [("username", ann.name.as_str()), ("code", "abcde-fghjk"), ("password", NEW_PASSWORD)];
    let page = instance.browser().post("/recover", &form).await;
    assert!(page.text().contains("Wrong username or recovery code.") && !page.headers.contains_key("server-timing"));
    assert!(began.elapsed() >= Duration::from_millis(600), "recovering takes as long");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn who_guesses_is_slowed_down_and_others_are_not() {
    let world = world().await;
    let instance = world.instance_with("us-east1", &[("MOVR_SIGN_IN_FLOOR_MS", "0")]).await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let mut tries = 0;
    let refused = loop {
        let page = instance.browser().sign_in(&ann.name.to_uppercase(), "wrong password here").await;
        if page.status != StatusCode::UNPROCESSABLE_ENTITY || tries > 10 {
            break page;
        }
        tries += 1;
    };
    assert_eq!((tries, refused.status), (5, StatusCode::TOO_MANY_REQUESTS));
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds) && refused.text().contains(&format!("wait {seconds} second")));
    let right = instance.browser().sign_in(&ann.name, PASSWORD).await;
    assert_eq!(right.status, StatusCode::TOO_MANY_REQUESTS, "the right password does not show either");
    assert!(ann.signed_in().await, "who is signed in stays so");
    assert_eq!(instance.browser().sign_in(&bob.name, PASSWORD).await.status, StatusCode::SEE_OTHER);
    // Guessing the current password of a session counts as well.
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let form = [("current", "wrong password here"), ("password", NEW_PASSWORD)];
        statuses.push(bob.post("/profile/password", &form).await.status.as_u16());
    }
    assert_eq!(statuses, [422, 422, 422, 422, 422, 429]);
    instance.running.stop().await;
    world.end().await;
}

/// Signing up remembers where one came from, as signing in does, from one form to the other; whoever
/// is signed in is led there at once.
#[actix_web::test]
async fn signing_up_or_in_leads_back_to_where_one_came_from() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    let list = browser.get("/vehicles?city=boston&type=bike").await;
    let links: Vec<_> = list.attributes("a", "href").into_iter().filter(|href| href.starts_with("/register")).collect();
    assert_eq!(links.len(), 2, "in the header and on the page");
    for link in links {
        let sign_in = browser.get(&link).await.attributes("main .after a", "href").remove(0);
        let sign_up = browser.get(&sign_in).await.attributes("main .after a", "href").remove(1);
        assert_eq!(sign_up, link);
        let mut fields = registration("someone");
        fields[5].1 = format!("back.{}", &Uuid::new_v4().simple().to_string()[..8]);
        fields.push(("next", browser.get(&link).await.field("next")));
        let newcomer = instance.browser();
        assert_eq!(register(&newcomer, &fields).await.location(), "/vehicles?city=boston&type=bike");
        assert_eq!(newcomer.get(&link).await.location(), "/vehicles?city=boston&type=bike", "signed in already");
        assert_eq!(newcomer.get("/login?next=//evil.example").await.location(), "/vehicles");
    }
    let mut fields = registration("elsewhere");
    fields.push(("next", "//evil.example".to_owned()));
    assert_eq!(register(&instance.browser(), &fields).await.location(), "/vehicles?city=boston");
    assert_eq!(browser.get("/").await.attributes("a.cta", "href"), ["/register"]);
    instance.running.stop().await;
    world.end().await;
}

/// Guesses from many addresses do not keep a person from their account: not from an address of
/// their own while the guesses are few, and never in a browser that they have signed in with.
#[actix_web::test]
async fn others_guesses_keep_nobody_out() {
    let world = world().await;
    let behind = [("MOVR_SIGN_IN_FLOOR_MS", "0"), ("MOVR_TRUSTED_PROXIES", "127.0.0.1")];
    let instance = world.instance_with("us-east1", &behind).await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let codes = ann.recovery_codes(PASSWORD).await;
    let sign_in = async |browser: &Browser, password: &str, address: &str| {
        let form = [("username", ann.name.as_str()), ("password", password)];
        browser.post_with("/login", &[("x-forwarded-for", address)], &form).await.status.as_u16()
    };
    let nobody = instance.browser();
    for n in 0..4 {
        let address = format!("203.0.113.{n}");
        while sign_in(&nobody, "wrong password here", &address).await != 429 {}
    }
    assert_eq!(sign_in(&instance.browser(), PASSWORD, "192.0.2.1").await, 303, "from an address of their own");
    // As many as it takes.
    let mut n = 0;
    while sign_in(&nobody, "wrong password here", &format!("198.51.100.{n}")).await != 429 {
        n += 1;
    }
    assert!((50..100).contains(&n), "after {n} more guesses");
    assert_eq!(sign_in(&instance.browser(), PASSWORD, "192.0.2.2").await, 429, "a new browser waits");
    assert_eq!(sign_in(&bob, PASSWORD, "192.0.2.3").await, 429, "so does one that knows another account");
    ann.post("/logout", &[]).await;
    assert_eq!(sign_in(&ann, PASSWORD, "198.51.100.1").await, 303, "the browser that signed in before does not");
    let form = [("username", ann.name.as_str()), ("code", codes[0].as_str()), ("password", NEW_PASSWORD)];
    assert_eq!(ann.post("/recover", &form).await.location(), "/login", "nor does it for recovering");
    // What it was told is signed, names nobody, and has a budget too.
    let cookies = instance.browser().sign_in(&bob.name, PASSWORD).await.set_cookies();
    let device = cookies.iter().find(|cookie| cookie.starts_with("movr_device=")).unwrap();
    assert!(!device.contains(&bob.name) && device.contains("HttpOnly"), "{device}");
    let forged = instance.replaying(&device.split(';').next().unwrap().replace("%22%5D", "x%22%5D"));
    assert_eq!(sign_in(&forged, NEW_PASSWORD, "192.0.2.4").await, 429);
    let mut tries = 0;
    while sign_in(&ann, "wrong password here", "192.0.2.5").await != 429 {
        tries += 1;
    }
    assert!(tries <= 5, "{tries} guesses from a browser that was stolen");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn an_address_is_slowed_down_as_its_trusted_proxy_tells_it() {
    let world = world().await;
    let behind = [("MOVR_SIGN_IN_FLOOR_MS", "0"), ("MOVR_TRUSTED_PROXIES", "127.0.0.1")];
    let (instance, bare) = (world.instance_with("us-east1", &behind).await, world.instance("us-east1").await);
    let tries = async |base: &Browser, address: &dyn Fn(u32) -> String| {
        for n in 0..50 {
            let name = format!("nobody{n}");
            let form = [("username", name.as_str()), ("password", "wrong password here")];
            if base.post_with("/login", &[("x-forwarded-for", &address(n))], &form).await.status.as_u16() == 429 {
                return n;
            }
        }
        50
    };
    let browser = instance.browser();
    let same = tries(&browser, &|_| "192.0.2.7".to_owned()).await;
    assert!((30..=40).contains(&same), "after {same} tries");
    // What the client itself wrote stands further left and is not believed.
    assert_eq!(tries(&browser, &|n| format!("203.0.113.{n}, 192.0.2.7")).await, 0);
    assert_eq!(tries(&browser, &|n| format!("192.0.2.7, 198.51.100.{n}")).await, 50, "other addresses");
    let mut registered = 0;
    while registered < 30
        && bare
            .browser()
            .post(
                "/register",
                &[
                    ("id", &Uuid::new_v4().to_string()),
                    ("city", ""),
                    ("first_name", ""),
                    ("last_name", ""),
                    ("email", ""),
                    ("username", ""),
                    ("password", ""),
                ],
            )
            .await
            .status
            .as_u16()
            == 422
    {
        registered += 1;
    }
    assert!((20..=22).contains(&registered), "after {registered} registrations");
    instance.running.stop().await;
    bare.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn after_signing_in_one_lands_on_own_paths_only() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let browser = instance.browser();
    for next in
        ["//evil.example", "/\\evil.example", "https://evil.example/", "javascript:x", "rides", "/caf\u{e9}", "/a b"]
    {
        let chosen = browser.post("/city", &[("city", "boston"), ("next", next)]).await;
        assert_eq!(chosen.location(), "/vehicles?city=boston", "{next}");
        let ann = instance.person("new-york").await;
        let fields = [("username", ann.name.as_str()), ("password", PASSWORD), ("next", next)];
        assert_eq!(instance.browser().post("/login", &fields).await.location(), "/vehicles?city=new-york", "{next}");
        let form = browser.get(&format!("/login?next={}", movr::web::paths::encode(next))).await;
        assert_eq!(form.attributes("main [name=next]", "value"), [""], "{next}");
    }
    let ann = instance.person("new-york").await;
    let fields = [("username", ann.name.as_str()), ("password", PASSWORD), ("next", "/rides?before=")];
    assert_eq!(instance.browser().post("/login", &fields).await.location(), "/rides?before=");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn signing_in_makes_a_new_session_and_ends_the_browsers_old_one() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let browser = instance.browser();
    let first = browser.sign_in(&ann.name, PASSWORD).await.session_cookie();
    let second = browser.sign_in(&ann.name, PASSWORD).await.session_cookie();
    assert_ne!(first, second);
    assert!(!instance.replaying(&first).signed_in().await, "the old cookie no longer works");
    assert!(instance.replaying(&second).signed_in().await && ann.signed_in().await, "the others do");
    assert!(!instance.replaying(&second.replace("us-east1", "us-west1")).signed_in().await, "a forged one");
    instance.running.stop().await;
    world.end().await;
}

/// Whoever proves again who they are goes on alone: a copied cookie is worth nothing any more.
#[actix_web::test]
async fn a_copied_cookie_ends_with_the_next_proof_of_who_one_is() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let (old, new) = (PASSWORD, NEW_PASSWORD);
    let ways: [(&str, &[(&str, &str)]); 4] = [
        ("/profile/password", &[("current", old), ("password", new)]),
        ("/profile/recovery-codes", &[("current", new)]),
        ("/profile/home", &[("city", "boston"), ("password", new)]),
        ("/profile/home", &[("city", "paris"), ("password", new)]),
    ];
    let elsewhere = instance.browser().sign_in(&ann.name, old).await.session_cookie();
    let browser = instance.browser();
    let mut current = browser.sign_in(&ann.name, old).await.session_cookie();
    for (path, form) in ways {
        let answer = browser.post(path, form).await;
        for cookie in [&elsewhere, &current] {
            let thief = instance.replaying(cookie);
            assert!(!thief.signed_in().await, "{path}");
            let fields = [("first_name", "Eve"), ("last_name", "Evil"), ("email", "e@v.example")];
            assert!(thief.post("/profile", &fields).await.location().starts_with("/login"), "{path}");
        }
        current = answer.session_cookie();
        assert!(browser.signed_in().await && instance.replaying(&current).signed_in().await, "{path}");
        assert_eq!(world.count("SELECT count(*) FROM sessions").await, 1, "{path}");
    }
    // Another person in the same browser: the session before is over.
    assert_eq!(register(&browser, &registration("another.person")).await.status, StatusCode::SEE_OTHER);
    assert!(!instance.replaying(&current).signed_in().await);
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn signing_out_ends_the_session_on_the_server() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let browser = instance.browser();
    let copied = browser.sign_in(&ann.name, PASSWORD).await.session_cookie();
    let answer = browser.post("/logout", &[]).await;
    assert_eq!(
        (answer.location().as_str(), answer.headers["clear-site-data"].to_str().unwrap()),
        ("/", "\"cache\", \"storage\"")
    );
    assert!(
        answer.set_cookies().iter().any(|cookie| cookie.starts_with("movr_session=;") && cookie.contains("Max-Age=0"))
    );
    let thief = instance.replaying(&copied);
    assert!(!thief.signed_in().await);
    let fields = [("first_name", "Eve"), ("last_name", "Evil"), ("email", "e@v.example")];
    assert!(thief.post("/profile", &fields).await.location().starts_with("/login"));
    assert_eq!(ann.get("/profile").await.field("first_name"), "Pat", "the other browser is signed in");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_session_ends_half_an_hour_after_its_last_use_and_two_weeks_after_its_beginning() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let used = format!(
        "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.username = '{}' AND s.seen_at > s.created_at",
        ann.name
    );
    world.clock.advance(Span::minutes(29));
    assert!(ann.signed_in().await);
    // Use is noted behind the answer.
    world.until(&used, 1).await;
    world.clock.advance(Span::minutes(29));
    assert!(ann.signed_in().await, "it was used half an hour ago");
    assert!(!bob.signed_in().await, "this one was not");
    assert!(bob.post("/profile/sessions/end-others", &[]).await.location().starts_with("/login"));
    let seen_now = format!("UPDATE sessions SET seen_at = '{}'", (world.clock.now() + Span::days(15)).to_rfc3339());
    world.set(&seen_now).await;
    world.clock.advance(Span::days(13));
    let copied = instance.browser().sign_in(&ann.name, PASSWORD).await.session_cookie();
    assert!(ann.signed_in().await);
    world.clock.advance(Span::days(1));
    assert!(!ann.signed_in().await, "two weeks are over");
    world.set(&seen_now).await;
    world.set("UPDATE sessions SET expires_at = created_at").await;
    assert!(!instance.replaying(&copied).signed_in().await, "the row decides, not the cookie");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn cookies_are_bound_to_the_host_over_tls_and_never_readable_by_scripts() {
    let world = world().await;
    let (plain, tls) = (
        world.instance("us-east1").await,
        world.instance_with("us-east1", &[("MOVR_PUBLIC_URL", "https://movr.test")]).await,
    );
    for (instance, secure) in [(&plain, false), (&tls, true)] {
        let page = register(&instance.browser(), &registration(&format!("cookie{secure}"))).await;
        let cookies = page.set_cookies();
        assert_eq!(cookies.len(), 4, "session, browser, city, message: {cookies:?}");
        for cookie in &cookies {
            assert_eq!(cookie.starts_with("__Host-movr_"), secure, "{cookie}");
            assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
            assert!(
                ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age="].iter().all(|mark| cookie.contains(mark))
            );
            assert!(!cookie.contains("Domain="), "{cookie}");
        }
        assert_eq!(page.headers.contains_key("strict-transport-security"), secure);
        assert!(instance.replaying(&page.session_cookie()).signed_in().await);
    }
    plain.running.stop().await;
    tls.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_recovery_code_sets_a_new_password_once_and_ends_all_sessions() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let ann = instance.person("new-york").await;
    let wrong = ann.post("/profile/recovery-codes", &[("current", "wrong password here")]).await;
    assert_eq!(wrong.texts("#current-codes-error").join(""), "That is not your current password. Nothing was changed.");
    let old = ann.recovery_codes(PASSWORD).await;
    let codes = ann.recovery_codes(PASSWORD).await;
    assert!(codes.len() == 8 && ann.get("/profile").await.text().contains("8 left"), "{codes:?}");
    let browser = instance.browser();
    let recover = async |code: &str, password: &str| {
        browser.post("/recover", &[("username", &ann.name), ("code", code), ("password", password)]).await
    };
    let void = recover(&old[0], NEW_PASSWORD).await;
    assert!(
        void.text().contains("Wrong username or recovery code.") && ann.signed_in().await,
        "replaced codes are void"
    );
    assert_eq!(recover(&codes[0].to_uppercase().replace('-', " "), NEW_PASSWORD).await.location(), "/login");
    assert!(!ann.signed_in().await, "all sessions have ended");
    assert_eq!(world.count("SELECT count(*) FROM sessions").await, 0);
    assert_eq!(recover(&codes[0], "a third way to the lake").await.status, StatusCode::UNPROCESSABLE_ENTITY, "once");
    assert_eq!(browser.sign_in(&ann.name, PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(browser.sign_in(&ann.name, NEW_PASSWORD).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/profile").await.text().contains("7 left"));
    for row in world.rows().await.values().flatten() {
        assert!(!codes.iter().any(|code| row.contains(code.as_str())), "codes are stored as hashes only");
    }
    instance.running.stop().await;
    world.end().await;
}

/// They are on one page, once: reloading it makes none, and shows none.
#[actix_web::test]
async fn recovery_codes_are_shown_once_after_they_were_made() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let made = ann.post("/profile/recovery-codes", &[("current", PASSWORD)]).await;
    let cookie = made.set_cookies().into_iter().find(|cookie| cookie.starts_with("movr_codes=")).unwrap();
    let stored = world.rows().await;
    let page = ann.get(&made.location()).await;
    let codes = page.texts(".codes code");
    assert_eq!((codes.len(), page.attributes("main a[role=button]", "href")), (8, vec!["/profile".to_owned()]));
    assert!(!codes.iter().any(|code| made.set_cookies().concat().contains(code.as_str())), "nobody reads the cookie");
    let again = ann.get(&made.location()).await;
    assert_eq!(again.location(), "/profile");
    assert!(ann.get("/profile").await.text().contains("8 left. New ones replace them."));
    assert_eq!(world.rows().await, stored);
    // A cookie that was copied shows them to nobody else.
    let value = cookie.split(';').next().unwrap();
    let theirs = instance.browser().sign_in(&bob.name, PASSWORD).await.session_cookie();
    let both = format!("{theirs}; {value}");
    assert_eq!(instance.replaying(&both).get(&made.location()).await.location(), "/profile");
    let form = [("username", &*ann.name), ("code", &*codes[7]), ("password", NEW_PASSWORD)];
    assert_eq!(instance.browser().post("/recover", &form).await.location(), "/login");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn recovery_codes_can_be_had_at_sign_up() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let mut fields = registration("pat.codes");
    fields.extend([("codes", "1".to_owned()), ("next", "/rides".to_owned())]);
    let browser = instance.browser();
    let page = browser.get(&register(&browser, &fields).await.location()).await;
    let codes = page.texts(".codes code");
    assert_eq!((codes.len(), page.attributes("main a[role=button]", "href")), (8, vec!["/rides".to_owned()]));
    assert!(browser.get("/profile").await.text().contains("8 left"));
    assert_eq!(register(&instance.browser(), &fields).await.location(), "/rides", "the second click signs in");
    let form = [("username", "pat.codes"), ("code", &*codes[0]), ("password", NEW_PASSWORD)];
    assert_eq!(instance.browser().post("/recover", &form).await.location(), "/login");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn recovering_in_a_browser_that_is_signed_in_as_somebody_ends_their_session_there() {
    let world = world().await;
    let instance = world.instance("us-east1").await;
    let (ann, bob) = (instance.person("new-york").await, instance.person("new-york").await);
    let codes = ann.recovery_codes(PASSWORD).await;
    let form = [("username", &*ann.name), ("code", &*codes[0]), ("password", NEW_PASSWORD)];
    assert_eq!(bob.post("/recover", &form).await.location(), "/login");
    assert_eq!(world.count("SELECT count(*) FROM sessions").await, 0, "of both");
    instance.running.stop().await;
    world.end().await;
}

#[actix_web::test]
async fn a_person_abroad_signs_in_and_their_session_lives_at_home() {
    let world = world().await;
    world.sample(&["paris"], 0, 30).await;
    let (east, europe) = (world.instance("us-east1").await, world.instance("europe-west1").await);
    let ann = east.person("new-york").await;
    let abroad = europe.browser();
    assert_eq!(abroad.sign_in(&ann.name, PASSWORD).await.location(), "/vehicles?city=new-york");
    assert_eq!(world.count("SELECT count(*) FROM sessions WHERE region = 'us-east1'").await, 2);
    let ride = crate::pages::rides::start(&abroad, "paris").await;
    assert!(ride.starts_with("/rides/europe-west1/"), "{ride}");
    assert_eq!(ann.get("/rides").await.attributes(".open a[role]", "href"), [ride.as_str()], "home knows of it");
    let form = [("city", "paris"), ("place", "Quai"), ("lat", "48.8566"), ("lon", "2.3522")];
    assert_eq!(abroad.post(&format!("{ride}/end"), &form).await.location(), ride);
    ann.post("/profile/sessions/end-others", &[]).await;
    assert!(!abroad.signed_in().await, "home has ended it");
    east.running.stop().await;
    europe.running.stop().await;
    world.end().await;
}
