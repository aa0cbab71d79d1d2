//! Abroad: the current user's home is another region, whose instances have another address. Shows a
//! note with a link there, from the cookie and the catalogue in memory only, so error pages have it
//! too. A browser that asked for home's own host (a balancer sent it here) is never redirected, so
//! that there is no loop.

use serde::Deserialize;
use url::Url;

use super::{Form, PageResult, RequestContext, paths, session};
use crate::domain::{Catalogue, Region};

/// The home region, if it is another one and its address is not that of this page.
fn home(context: &RequestContext) -> Option<&Region> {
    let region = &context.cookie.as_ref()?.region;
    let home = context.catalogue.region(region).filter(|home| home.code != context.service.here)?;
    let here = &context.catalogue.region(&context.service.here)?.base_url;
    let requested_host = context.host().filter(|host| !host.is_empty())?;
    let own = [here, context.service.config.public_url.origin()].map(origin);
    let at_home = answers(&home.base_url, requested_host) || own.contains(&origin(&home.base_url));
    (!at_home).then_some(home)
}

#[derive(Debug, Clone)]
pub struct Offer {
    pub region: String,
    pub url: String,
    pub next: String,
}

/// The note above every page, until the user chooses to stay.
pub fn offer(context: &RequestContext) -> Option<Offer> {
    let home = home(context)?;
    (context.chosen(session::ABROAD).as_deref() != Some(STAY)).then(|| Offer {
        region: home.name.clone(),
        url: home.base_url.clone(),
        next: context.next().to_owned(),
    })
}

/// The remembered answers: to go home, and to stay.
const GO: &str = "go";
const STAY: &str = "stay";

/// This page at home, for users who chose to go there.
pub fn url_at_home(context: &RequestContext) -> Option<String> {
    let home = home(context)?;
    // Nobody is sent to a home that does not answer.
    let healthy = context.service.db.health().refused(&home.code).is_none();
    (healthy && context.chosen(session::ABROAD).as_deref() == Some(GO))
        .then(|| format!("{}{}", home.base_url, context.path))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Go,
    Stay,
}

#[derive(Debug, Deserialize)]
pub struct Choice {
    answer: Answer,
    #[serde(default)]
    next: String,
}

/// `POST /abroad`: remembers the answer; redirects to the same page, at home or here.
pub async fn answer(context: RequestContext, Form(form): Form<Choice>) -> PageResult {
    let next = paths::own_path(&form.next, "/");
    let there = match form.answer {
        Answer::Go => {
            context.remember(session::ABROAD, GO);
            home(&context)
        }
        Answer::Stay => {
            context.remember(session::ABROAD, STAY);
            None
        }
    };
    let base = there.map_or("", |home| home.base_url.as_str());
    Ok(context.done(&format!("{base}{next}"), ""))
}

/// Other origins that forms may lead to, for the Content-Security-Policy: browsers check the
/// redirect after a form as well.
pub fn form_targets(catalogue: &Catalogue) -> String {
    catalogue.regions.iter().filter_map(|region| Some(format!(" {}", origin(&region.base_url)?))).collect()
}

/// Scheme, host and port of a base URL, which may have a path.
fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|url| url.origin().ascii_serialization())
}

/// Whether `url` is an address of `host`, with the scheme's own port or without.
fn answers(url: &str, host: &str) -> bool {
    let scheme = url.split_inclusive("://").next().unwrap_or_default();
    origin(&format!("{scheme}{host}")).is_some_and(|asked| origin(url) == Some(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_in_any_case_and_with_its_schemes_port() {
        for (url, host, same) in [
            ("https://eu.movr.example", "EU.movr.example", true),
            ("https://eu.movr.example", "eu.movr.example:443", true),
            ("https://eu.movr.example:443/app", "eu.movr.example", true),
            ("http://eu.movr.example", "eu.movr.example:80", true),
            ("http://localhost:8082", "localhost:8082", true),
            ("http://localhost:8082", "localhost:8080", false),
            ("https://eu.movr.example", "eu.movr.example:80", false),
            ("https://eu.movr.example", "us.movr.example", false),
        ] {
            assert_eq!(answers(url, host), same, "{url} {host}");
        }
        assert_eq!(origin("https://eu.movr.example:8443/app").unwrap(), "https://eu.movr.example:8443");
        assert_eq!(origin("http://localhost:8082").unwrap(), "http://localhost:8082");
    }
}
