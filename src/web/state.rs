//! What the pages of one instance share: the use cases, limits, cookie keys, feeds.

use std::sync::Arc;

use actix_web::{HttpRequest, web::Data};

use super::{PageError, PageResult, gbfs, limits::Limits, site::Site};
use crate::ops::Service;

pub struct State {
    pub service: Arc<Service>,
    pub limits: Limits,
    pub site: Site,
    pub feeds: gbfs::FeedCache,
}

impl State {
    pub fn of(request: &HttpRequest) -> PageResult<Data<Self>> {
        request.app_data::<Data<Self>>().cloned().ok_or_else(|| PageError::Bug("no application".to_owned()))
    }

    pub fn new(service: Arc<Service>) -> Self {
        Self { limits: Limits::default(), site: Site::new(&service.config), feeds: gbfs::FeedCache::default(), service }
    }
}
