//! What every page must stand up to, in narrow and wide windows, light and dark, with letters
//! of twice the size: axe-core without a violation, no horizontal scrolling, no complaint in
//! the console.
//! Findings are collected, so that one run tells all. Also takes the pictures that are
//! looked at by people, into `target/screenshots`.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::Browser;

const TAGS: &[&str] = &["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"];
/// Rules that every page has something for; axe leaves the newest ones out unless asked.
const MUST_RUN: &[&str] = &["color-contrast", "target-size", "document-title"];
/// All that darkness changes.
const COLOURS: &[&str] = &["color-contrast"];

const RUN: &str = "
    const [only, done] = arguments;
    const brief = (rule) => rule.id + ' (' + rule.impact + '): '
        + rule.nodes.map((node) => node.target.join(' ') + ' ' + node.failureSummary.replace(/\\s+/g, ' ')).join(' | ');
    axe.run(document, { runOnly: only }).then(
        (found) => done({ ran: [...found.passes, ...found.violations].map((rule) => rule.id), wrong: found.violations.map(brief) }),
        (error) => done({ ran: [], wrong: [String(error)] }));";

const MISFITS: &str = "
    const broken = [...document.querySelectorAll('h1, h2')].filter((title) => title.offsetParent
        && title.offsetWidth < 3 * parseFloat(getComputedStyle(title).fontSize)).map((title) => title.innerText);
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return broken;
    const inside = (e) => e === document.body || getComputedStyle(e).overflowX === 'visible' && inside(e.parentElement);
    const beyond = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > width + 1
        && inside(e.parentElement));
    return [...broken, ...beyond.slice(0, 8).map((e) => e.outerHTML.slice(0, 120))];";

/// Windows by the size of their letters; 16 is usual.
pub const WINDOWS: [(u32, u32); 4] = [(1280, 32), (360, 32), (390, 16), (320, 16)];

/// What does not fit into such a window: what has to be scrolled sideways to, and titles that stand
/// one letter a line.
pub async fn misfits(browser: &Browser, (width, letters): (u32, u32)) -> Vec<String> {
    browser.resize(width, 740).await;
    browser.cdp("Page.setFontSizes", json!({ "fontSizes": { "standard": letters } })).await;
    serde_json::from_value(browser.script(MISFITS, Vec::new()).await).unwrap()
}

pub struct Audit {
    axe: String,
    width: u32,
    pictures: PathBuf,
    findings: Vec<String>,
    pages: Vec<String>,
}

impl Audit {
    /// With the axe-core that `MOVR_AXE` names; without one the test is skipped, except in CI.
    pub fn new(test: &str, width: u32) -> Option<Self> {
        let Some(file) = movr::config::env("MOVR_AXE") else {
            assert_ne!(movr::config::env("CI").as_deref(), Some("true"), "CI needs MOVR_AXE");
            println!("SKIPPED {test}: needs MOVR_AXE");
            return None;
        };
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&pictures).unwrap();
        let axe = std::fs::read_to_string(&file).expect("the file that MOVR_AXE names");
        Some(Self { axe, width, pictures, findings: Vec::new(), pages: Vec::new() })
    }

    /// Looks at the page as it is now. `expected` is the HTTP status that the console may mention.
    pub async fn look(&mut self, browser: &Browser, name: &str, expected: u16) {
        self.pages.push(name.to_owned());
        let height = if self.width < 600 { 740 } else { 860 };
        browser.resize(self.width, height).await;
        let all = json!({ "type": "tag", "values": TAGS });
        let colours = json!({ "type": "rule", "values": COLOURS });
        for (scheme, only, must) in [("light", all, MUST_RUN), ("dark", colours, COLOURS)] {
            let at = format!("{name} {} {scheme}", self.width);
            let features = json!([{ "name": "prefers-color-scheme", "value": scheme },
                                  { "name": "prefers-reduced-motion", "value": "reduce" }]);
            browser.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
            self.picture(browser, &at).await;
            self.axe(browser, &at, only, must).await;
        }
        let at = format!("{name} {}", self.width);
        // The other windows come beside the narrow one, which is their last.
        let usual = [(self.width, 16)];
        for window in if WINDOWS.ends_with(&usual) { &WINDOWS[..] } else { &usual[..] } {
            let found = misfits(browser, *window).await;
            self.findings.extend(found.iter().map(|part| format!("{name} {window:?}: does not fit: {part}")));
        }
        let known = format!("status of {expected} ");
        let complaints = browser.complaints().await;
        self.findings.extend(complaints.iter().filter(|c| !c.contains(&known)).map(|c| format!("{at}: {c}")));
    }

    async fn axe(&mut self, browser: &Browser, at: &str, only: Value, must: &[&str]) {
        if browser.script("return typeof axe", Vec::new()).await == json!("undefined") {
            browser.script(&self.axe, Vec::new()).await;
        }
        let found = browser.driver().execute_async(RUN, vec![only]).await.unwrap().json().clone();
        let words = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
        let ran = words(&found["ran"]);
        let missing = must.iter().filter(|rule| !ran.iter().any(|id| id == *rule));
        self.findings.extend(missing.map(|rule| format!("{at}: the rule {rule} did not run")));
        self.findings.extend(words(&found["wrong"]).into_iter().map(|wrong| format!("{at}: {wrong}")));
    }

    async fn picture(&self, browser: &Browser, at: &str) {
        let size = "scrollTo(0, 0); return Math.min(document.documentElement.scrollHeight, 1600)";
        let height = browser.script(size, Vec::new()).await;
        let clip = json!({ "x": 0, "y": 0, "width": self.width, "height": height, "scale": 1 });
        let options = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let shot = browser.cdp("Page.captureScreenshot", options).await;
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(self.pictures.join(format!("{}.png", at.replace(' ', "-"))), bytes).unwrap();
    }

    /// How many pages were looked at; panics with all that was found.
    pub fn end(self) -> usize {
        assert!(self.findings.is_empty(), "{} findings:\n{}", self.findings.len(), self.findings.join("\n"));
        self.pages.len()
    }
}
