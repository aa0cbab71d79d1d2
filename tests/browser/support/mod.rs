//! What the journeys share: a folder that ends what runs in it, the demo as a child
//! process, a browser with its driver, and waiting with a deadline.

pub mod audit;
pub mod browser;
pub mod demo;
pub mod folder;

use std::time::{Duration, Instant};

pub use browser::Browser;
pub use demo::Demo;
pub use folder::Folder;

/// The password of the people that tests register.
pub const PASSWORD: &str = "a long walk to the tram";

/// Longest wait for something that a page should do; far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `look` finds something; panics with what it saw last.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "waited for {what}, saw {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A folder, the demo on it and a browser: what most journeys need. Dropped in this
/// order, so that the folder goes last.
pub struct Stage {
    pub browser: Browser,
    pub demo: Demo,
    pub folder: Folder,
}

impl Stage {
    pub async fn set() -> Self {
        let folder = Folder::new().await;
        let demo = Demo::start(&folder).await;
        let browser = Browser::start(&folder).await;
        Self { browser, demo, folder }
    }

    /// Closes the browser; ends the demo with SIGTERM and checks that it left nothing.
    pub async fn end(self) {
        self.browser.quit().await;
        self.demo.stop(&self.folder).await;
    }
}
