//! The web: the route table, middleware, sessions and forms, and a file a page. Handlers call `ops`
//! for writes that decide something and `db` for rows to show; they never open a transaction.

pub mod abroad;
pub mod connections;
pub mod context;
pub mod contract;
pub mod error;
pub mod filters;
pub mod form;
pub mod gbfs;
pub mod headers;
pub mod layout;
pub mod limits;
pub mod middleware;
pub mod notice;
pub mod origin;
pub mod pages;
pub mod paths;
pub mod region;
pub mod request_log;
pub mod respond;
pub mod routes;
pub mod session;
pub mod site;
pub mod startup;
pub mod state;

pub use context::RequestContext;
pub use error::{BadRequest, PageError, PageResult};
pub use form::{Cursor, Form, FormState, FormWithState, Id, ListForm, Query, RowPath};
pub use layout::{Layout, Pagination, Section};
