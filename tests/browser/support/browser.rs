//! Chromium through chromedriver, both children of the test, with an empty profile in
//! the test's folder. Speaks as a person does: fill in, press, read the heading; every
//! look waits with a deadline, since pages come when they come.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use thirtyfour::{LoggingPrefsLogLevel, RequestData, SessionId, common::command::FormatRequestData, prelude::*};

use super::{Folder, until};

const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    // Scrollbars would take a part of the width that is asked for.
    "--hide-scrollbars",
    "--lang=en-US",
    // No name is looked up: whatever wants the network fails at once.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const SESSION: &str = "movr_session";

pub struct Browser {
    driver: Option<WebDriver>,
    server: Child,
}

/// A command of the browser's own protocol.
#[derive(Debug)]
struct Cdp(&'static str, Value);

impl FormatRequestData for Cdp {
    fn format_request(&self, session: &SessionId) -> RequestData {
        RequestData::new(reqwest::Method::POST, format!("/session/{session}/goog/cdp/execute"))
            .add_body(json!({ "cmd": self.0, "params": self.1 }))
    }
}

/// A control as a person knows it, by its text or label, in a part of the page.
fn control(part: &str, text: &str) -> By {
    let any = "self::button or self::summary or self::a";
    By::XPath(format!("//{part}//*[{any}][normalize-space(.)='{text}' or @aria-label='{text}']"))
}

impl Browser {
    pub async fn start(folder: &Folder) -> Self {
        let mut server = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver on the PATH");
        let mut stdout = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut browser = Self { driver: None, server };
        let port = tokio::task::spawn_blocking(move || {
            let told = |line: &String| line.contains("started successfully on port");
            let line = stdout.by_ref().map_while(Result::ok).find(told).expect("chromedriver starts");
            std::thread::spawn(move || stdout.for_each(drop));
            line.trim_end_matches('.').rsplit(' ').next().unwrap().to_owned()
        });
        let port = port.await.unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        let profile = folder.path.join("profile");
        capabilities.add_arg(&format!("--user-data-dir={}", profile.to_str().unwrap())).unwrap();
        // A person who does not tell where they are; a journey may allow it.
        let preferences = json!({ "profile.default_content_setting_values.geolocation": 2 });
        capabilities.add_experimental_option("prefs", preferences).unwrap();
        capabilities.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        browser.driver = Some(WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await.unwrap());
        browser
    }

    pub fn driver(&self) -> &WebDriver {
        self.driver.as_ref().unwrap()
    }

    pub async fn quit(mut self) {
        self.driver.take().unwrap().quit().await.unwrap();
    }

    pub async fn cdp(&self, command: &'static str, parameters: Value) -> Value {
        self.driver().handle().cmd(Cdp(command, parameters)).await.unwrap().value().unwrap()
    }

    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.driver().execute(script, arguments).await.unwrap().json().clone()
    }

    /// A window of that many CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub async fn go(&self, url: &str) {
        self.driver().goto(url).await.unwrap();
    }

    /// The first displayed element that matches.
    pub async fn find(&self, by: By) -> WebElement {
        until(&format!("{by:?}"), async || {
            for element in self.driver().find_all(by.clone()).await.map_err(|e| e.to_string())? {
                if element.is_displayed().await.map_err(|e| e.to_string())? {
                    return Ok(element);
                }
            }
            let text = self.driver().find(By::Tag("body")).await.map_err(|e| e.to_string())?;
            Err(text.text().await.unwrap_or_default())
        })
        .await
    }

    pub async fn css(&self, selector: &str) -> WebElement {
        self.find(By::Css(selector)).await
    }

    /// Empties the field and types.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.css(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Scrolls there, as a person does before pressing, and presses.
    pub async fn click(&self, element: WebElement) {
        element.scroll_into_view().await.unwrap();
        element.click().await.unwrap();
    }

    /// Presses the first displayed element that matches.
    pub async fn press_css(&self, selector: &str) {
        self.click(self.css(selector).await).await;
    }

    /// Chooses an option of a `<select>`.
    pub async fn choose(&self, selector: &str, value: &str) {
        self.css(&format!("{selector} option[value=\"{value}\"]")).await.click().await.unwrap();
    }

    /// Presses the button or follows the link of that text or label.
    pub async fn press(&self, text: &str) {
        self.click(self.find(control("main", text)).await).await;
    }

    /// The same, in the header with the navigation.
    pub async fn press_above(&self, text: &str) {
        self.click(self.find(control("header", text)).await).await;
    }

    /// Waits for the page with that heading.
    pub async fn heading(&self, text: &str) {
        self.reads("h1", text).await;
    }

    /// Waits until the first displayed element that matches contains the text.
    pub async fn reads(&self, selector: &str, text: &str) {
        until(&format!("{text:?} in {selector}"), async || {
            let found = self.driver().find(By::Css(selector)).await.map_err(|error| error.to_string())?;
            let seen = found.text().await.map_err(|error| error.to_string())?;
            if seen.contains(text) { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// Everything that can be read in `main`.
    pub async fn text(&self) -> String {
        self.css("main").await.text().await.unwrap()
    }

    /// Fills in the form of sign-up and sends it.
    pub async fn register(&self, url: &str, username: &str, city: &str) {
        self.forget_session(url).await;
        self.go(&format!("{url}/register")).await;
        self.heading("Sign up").await;
        for (name, value) in [
            ("first_name", "Robin"),
            ("last_name", "Keller"),
            ("email", "robin@example.com"),
            ("username", username),
            ("password", super::PASSWORD),
        ] {
            self.fill(&format!("[name={name}]"), value).await;
        }
        self.choose("#city", city).await;
        self.press("Create account").await;
        self.reads(".flashes", "Welcome to MovR").await;
    }

    /// Whoever is signed in is led past the forms for signing in and up.
    async fn forget_session(&self, url: &str) {
        // A cookie is deleted on a page of its host only.
        self.go(&format!("{url}/status")).await;
        let _none = self.driver().delete_cookie(SESSION).await;
    }

    /// The session of whoever is signed in, to be them again with `be`.
    pub async fn session(&self) -> Cookie {
        self.driver().get_named_cookie(SESSION).await.unwrap()
    }

    pub async fn be(&self, session: &Cookie) {
        self.driver().add_cookie(session.clone()).await.unwrap();
    }

    /// The file to which that link leads, as whoever is signed in gets it.
    pub async fn download(&self, selector: &str) -> String {
        let href = self.css(selector).await.prop("href").await.unwrap().unwrap();
        let cookie = format!("{SESSION}={}", self.session().await.value);
        let answer = reqwest::Client::new().get(href).header("Cookie", cookie).send().await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    }

    pub async fn sign_in(&self, url: &str, username: &str, password: &str) {
        self.forget_session(url).await;
        self.go(&format!("{url}/login")).await;
        self.fill("#username", username).await;
        self.fill("#password", password).await;
        self.press("Sign in").await;
    }

    /// Errors of the console since the last look: scripts, policy violations, what did
    /// not load.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver().browser_log().await.unwrap();
        log.into_iter().filter(|entry| entry.level == "SEVERE").map(|entry| entry.message).collect()
    }

    /// The same without the answers that ask a person to look again.
    pub async fn faults(&self) -> Vec<String> {
        self.complaints().await.into_iter().filter(|complaint| !complaint.contains("status of 422")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let _ = driver.leak(); // the folder ends Chromium, which would have to be asked here
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
