//! `/help`, `/terms`, `/privacy`, `/imprint`: what the deployment brings (`MOVR_PAGES`), word for
//! word; whoever runs it owes these texts to its riders, and only they know them.

use askama::Template;

use crate::web::{Layout, PageError, PageResult, RequestContext, Section};

#[derive(Template)]
#[template(path = "pages/own_page.html")]
struct OwnPage<'a> {
    layout: Layout,
    html: &'a str,
}

pub async fn show(context: RequestContext) -> PageResult {
    let name = context.request().path().trim_start_matches('/');
    let page = context.service.config.pages.iter().find(|page| page.name == name).ok_or(PageError::NotFound)?;
    let layout = context.layout(page.title, Section::None, context.city());
    context.ok(&OwnPage { layout, html: &page.html })
}
