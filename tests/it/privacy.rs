//! A marked person does everything that can be done here, with the log at its most
//! detailed and the database refusing now and then. Afterwards the marks are in the
//! person's own rows at home, in their own pages and export, and nowhere else: no log,
//! no GLOBAL table, no event, no other region's row, no URL, no response header, no metric.

use reqwest::StatusCode;

use crate::{
    pages::rides,
    support::{Browser, app::Instance, html::Page, log::Lines, rows::pairs, world},
};

const PASSWORD: &str = "umbrellamark of the walrus";
const NEXT_PASSWORD: &str = "parasolmark of the walrus";
/// Parts of first and last name, e-mail address, username and passwords.
const MARKS: [&str; 7] =
    ["xanthippemark", "quillonmark", "zephyrmark", "quietmark", "vesperusermark", "umbrellamark", "parasolmark"];
const DETAILS: [(&str, &str); 3] =
    [("first_name", "Xanthippemark"), ("last_name", "Quillonmark"), ("email", "zephyrmark@quietmark.example")];

/// The mark that a text carries.
fn mark_in(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    MARKS.into_iter().find(|mark| text.contains(mark))
}

/// Everything that the server answered.
struct Journey {
    browser: Browser,
    pages: Vec<(String, Page)>,
}

impl Journey {
    fn keep(&mut self, path: &str, page: Page) -> Page {
        self.pages.push((path.to_owned(), page.clone()));
        page
    }

    async fn get(&mut self, path: &str) -> Page {
        let page = self.browser.get(path).await;
        self.keep(path, page)
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.browser.post(path, fields).await;
        self.keep(path, page)
    }

    /// Registers, with mistakes before and a second try of the same name behind.
    async fn register(&mut self) {
        let id = self.get("/register").await.field("id");
        let mut form = vec![
            ("id", id.as_str()),
            ("city", "new-york"),
            ("username", "vesperusermark"),
            ("password", "vesperusermark"),
        ];
        form.extend(DETAILS);
        assert_eq!(self.post("/register", &form).await.status, StatusCode::UNPROCESSABLE_ENTITY, "no password");
        form.retain(|(name, _)| *name != "password");
        form.push(("password", PASSWORD));
        assert_eq!(self.post("/register", &form).await.status, StatusCode::SEE_OTHER);
        let id = uuid::Uuid::new_v4().to_string();
        form.retain(|(name, _)| *name != "id");
        form.push(("id", &id));
        assert!(self.post("/register", &form).await.text().contains("taken"));
        self.post("/login", &[("username", "vesperusermark"), ("password", NEXT_PASSWORD)]).await;
    }

    /// Reserves, rides with positions, ends, looks at the receipt.
    async fn ride(&mut self, now: impl Fn() -> String) {
        let card = self.get("/vehicles?city=new-york").await.card(1);
        let vehicle = &card.iter().find(|(name, _)| name == "vehicle").unwrap().1;
        self.post(&format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(&card)).await;
        let ride = self.post("/rides", &pairs(&card)).await.location();
        let batch = format!(r#"{{"positions":[{{"at":"{}","lat":40.72,"lon":-74.0}}]}}"#, now());
        let path = format!("{ride}/positions");
        let page = self.browser.post_raw(&path, "application/json", batch).await;
        self.keep(&path, page);
        self.get(&ride).await;
        let ended = rides::end(&self.browser, &ride).await;
        self.keep(&ride, ended);
        self.get(&ride).await;
        self.get("/rides").await;
    }

    /// Changes everything about the account that can be changed; returns the codes.
    async fn account(&mut self) -> Vec<String> {
        self.post("/profile", &DETAILS).await;
        self.post("/profile", &[DETAILS[0], DETAILS[1], ("email", "zephyrmark")]).await;
        let wrong = [("current", NEXT_PASSWORD), ("password", NEXT_PASSWORD), ("username", "vesperusermark")];
        self.post("/profile/password", &wrong).await;
        self.post("/profile/password", &[("current", PASSWORD), ("password", NEXT_PASSWORD)]).await;
        for path in ["/", "/profile", "/riders", "/my/vehicles", "/profile/home", "/profile/delete", "/nothing"] {
            self.get(path).await;
        }
        let made = self.post("/profile/recovery-codes", &[("current", NEXT_PASSWORD)]).await.location();
        let codes = self.get(&made).await.texts(".codes code");
        assert_eq!(codes.len(), 8);
        codes
    }
}

async fn abroad(journey: &mut Journey, europe: &Instance) -> String {
    journey.browser = europe.browser();
    let page = journey.browser.sign_in("vesperusermark", NEXT_PASSWORD).await;
    let cookie = page.session_cookie();
    journey.keep("/login", page);
    for path in ["/rides", "/profile", "/riders"] {
        journey.get(path).await;
    }
    cookie
}

#[actix_web::test]
async fn a_marked_name_and_e_mail_are_found_nowhere_but_at_home() {
    let lines = Lines::keep("trace");
    let world = world().await;
    world.sample(&["new-york"], 0, 30).await;
    let listen = ("MOVR_METRICS_LISTEN", "127.0.0.1:0");
    let (east, europe) = (world.instance_with("us-east1", &[listen]).await, world.instance("europe-west1").await);
    let mut journey = Journey { browser: east.browser(), pages: Vec::new() };
    journey.register().await;
    world.clock.advance(chrono::Duration::seconds(60));
    let now = || world.clock.now().to_rfc3339();
    journey.ride(now).await;
    let codes = journey.account().await;

    // The database refuses a row and says so with all of the row's values.
    world.set("ALTER TABLE users ADD CONSTRAINT users_test_check CHECK (last_name <> 'Quillonmarkbis')").await;
    let page = journey.post("/profile", &[DETAILS[0], ("last_name", "Quillonmarkbis"), DETAILS[2]]).await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(mark_in(&page.body), None, "on the error page");
    world.set("ALTER TABLE users DROP CONSTRAINT users_test_check").await;

    let moved = journey.post("/profile/home", &[("city", "paris"), ("password", NEXT_PASSWORD)]).await;
    assert_eq!(moved.location(), "/profile");
    let export = journey.get("/profile/export").await;
    assert_eq!(mark_in(&export.body), Some(MARKS[0]), "one's own export has it");
    let cookie = abroad(&mut journey, &europe).await;

    for (table, rows) in world.rows().await {
        for row in rows {
            let of: serde_json::Value = serde_json::from_str(&row).unwrap();
            let at_home = table == "users" && of["region"] == "europe-west1";
            assert_eq!(mark_in(&row).is_some(), at_home, "{table}: {row}");
        }
    }
    for (path, page) in &journey.pages {
        assert_eq!(mark_in(&format!("{:?}", page.headers)), None, "in a header of {path}: {:?}", page.headers);
        for name in ["href", "src", "action", "formaction"] {
            for url in page.attributes(&format!("[{name}]"), name) {
                assert_eq!(mark_in(&url), None, "in {name} on {path}");
            }
        }
    }
    journey.post("/profile/delete", &[("password", NEXT_PASSWORD)]).await;
    for (table, rows) in world.rows().await {
        assert!(rows.iter().all(|row| mark_in(row).is_none()), "after deleting, in {table}");
    }
    let metrics = reqwest::get(format!("http://{}/metrics", east.running.metrics.unwrap())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("movr_http_requests_total{"), "{metrics}");
    assert_eq!(mark_in(&metrics), None, "in the metrics");
    east.running.stop().await;
    europe.running.stop().await;
    world.end().await;

    let text = lines.text();
    assert!(text.lines().filter(|line| line.contains("answered")).count() >= journey.pages.len(), "the log is written");
    let token = cookie.split("token%22%3A%22").nth(1).and_then(|rest| rest.split("%22").next()).unwrap();
    let secrets = codes.iter().map(String::as_str).chain([token, "$argon2"]);
    for line in text.lines() {
        assert_eq!(mark_in(line), None, "in the log: {line}");
        assert!(!secrets.clone().any(|secret| line.contains(secret)), "a secret in the log: {line}");
    }
}
