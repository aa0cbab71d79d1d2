//! What the pages of one instance share: the use cases, limits, cookie keys, feeds.

use std::sync::Arc;

use super::{gbfs, limits::Limits, site::Site};
use crate::ops::service::Service;

pub struct State {
    pub service: Arc<Service>,
    pub limits: Limits,
    pub site: Site,
    pub feeds: gbfs::FeedCache,
}

impl State {
    pub fn new(service: Arc<Service>) -> Self {
        Self { limits: Limits::default(), site: Site::new(&service.config), feeds: gbfs::FeedCache::default(), service }
    }
}
