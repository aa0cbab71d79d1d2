//! What tests share: a database server (private, or named by `TEST_DATABASE_URL`), an
//! instance of the application on it, people with browsers, HTML as a person sees it.

pub mod app;
pub mod engine;
pub mod html;

pub use app::{Browser, World, world};
