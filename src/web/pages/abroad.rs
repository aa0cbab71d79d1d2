//! `POST /abroad`: whether a visitor whose home is elsewhere goes there or stays. The
//! answer is a cookie; where "there" is comes from the catalogue, never from the form.

use actix_web::HttpResponse;
use serde::Deserialize;

use crate::web::{abroad, context::RequestContext, error::PageError, form::Form, paths, session};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Go,
    Stay,
}

/// What the note above the page asks.
#[derive(Debug, Deserialize)]
pub struct Answered {
    answer: Answer,
    #[serde(default)]
    next: String,
}

/// Remembers the answer; leads to the same page, at home or here.
pub async fn answer(context: RequestContext, Form(form): Form<Answered>) -> Result<HttpResponse, PageError> {
    let next = paths::own_path(&form.next, "/");
    let there = match form.answer {
        Answer::Go => {
            context.remember(session::ABROAD, abroad::GO);
            abroad::home(&context)
        }
        Answer::Stay => {
            context.remember(session::ABROAD, abroad::STAY);
            None
        }
    };
    let base = there.map_or("", |home| home.base_url.as_str());
    Ok(context.done(&format!("{base}{next}"), ""))
}
