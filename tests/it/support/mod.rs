//! What tests share: a database server (private, or named by `TEST_DATABASE_URL`), an
//! instance of the application on it, people with browsers, HTML as a person sees it.

pub mod app;
pub mod crowd;
pub mod engine;
pub mod faults;
pub mod html;
pub mod log;
pub mod process;
pub mod rows;
pub mod standin;

pub use app::{Browser, World, world};
