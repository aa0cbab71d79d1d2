//! `/admin/people`: somebody found by username, e-mail address or name in the regions of this
//! jurisdiction; their account, blocking it, and signing them out. What is typed is personal, so it
//! is posted and never part of an address.

use askama::Template;
use chrono_tz::Tz;
use futures_util::future::join_all;
use serde::Deserialize;

use super::administrator;
use crate::{
    db::people::{self, Account, Change, Match, SHOWN},
    domain::{Catalogue, Refusal, Region, RegionCode, UserRef, people::line},
    ops::{self, Done},
    web::{
        BadRequest, Form, FormState, FormWithState, Layout, PageError, PageResult, RequestContext, RowPath, Section,
        filters::{self, counted},
        paths,
    },
};

/// Why an account is blocked: the code in the event, and the label.
const REASONS: [(&str, &str); 5] = [
    ("misuse", "Damage or misuse"),
    ("fraud", "Fraud"),
    ("unpaid", "Unpaid rides"),
    ("request", "At their own request"),
    ("other", "Something else"),
];

#[derive(Template)]
#[template(path = "pages/people.html")]
struct PeoplePage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    form: FormState,
    found: Option<Vec<Match>>,
    unreachable: Vec<&'a RegionCode>,
    /// Of other jurisdictions, which only their own instances show.
    elsewhere: Vec<&'a Region>,
}

pub async fn form(context: RequestContext) -> PageResult {
    page(context, FormState::default(), None).await
}

#[derive(Deserialize)]
pub struct Search {
    who: String,
}

pub async fn search(context: RequestContext, FormWithState(form, mut state): FormWithState<Search>) -> PageResult {
    let who = state.check("who", line(&form.who, 254, "a username, an e-mail address or a name"));
    page(context, state, who).await
}

async fn page(mut context: RequestContext, form: FormState, who: Option<String>) -> PageResult {
    // Checked first: nobody else may make us search several regions.
    administrator(&mut context).await?;
    let catalogue = &context.catalogue;
    let (within, elsewhere): (Vec<&Region>, Vec<&Region>) =
        catalogue.regions.iter().partition(|region| catalogue.same_law(&context.service.here, &region.code));
    let (mut found, mut unreachable) = (None, Vec::new());
    if let Some(who) = who {
        context.state.limits.search_everywhere(context.client_address())?;
        let db = &context.service.db;
        let ask =
            async |region| (region, async { people::list_matches(&db.at(region).await?, region, &who).await }.await);
        let answers = join_all(within.iter().map(|region| {
            context.may_touch(&region.code);
            ask(&region.code)
        }));
        let mut all = Vec::new();
        for (region, answer) in answers.await {
            match answer {
                Ok(matches) => all.extend(matches),
                Err(error) => {
                    tracing::warn!(request = context.ids.request, %error, %region, "a region was not searched");
                    unreachable.push(region);
                }
            }
        }
        found = Some(all);
    }
    context.ok_or_invalid(
        form.has_errors(),
        &PeoplePage {
            layout: context.layout("People", Section::Fleet, context.city()),
            catalogue,
            form,
            found,
            unreachable,
            elsewhere,
        },
    )
}

#[derive(Template)]
#[template(path = "pages/person.html")]
struct PersonPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    action: String,
    account: Account,
    me: bool,
}

pub async fn show(mut context: RequestContext, RowPath { region, id }: RowPath) -> PageResult {
    let (auth, person) = (context.auth()?, UserRef { region, id });
    let read = async |conn: &crate::db::Conn| people::find(conn, &person, auth.now, auth.idle_since).await;
    let (current_user, account) = context.read_signed_in(&person.region, read).await?;
    if !current_user.roles.administers() {
        return Err(Refusal::NotAdministrator.into());
    }
    ops::people::allowed(&context.service, &auth, &person.region).await?;
    let account = account.ok_or(PageError::NotFound)?;
    context.ok(&PersonPage {
        layout: context.layout(&account.name, Section::Fleet, context.city()),
        catalogue: &context.catalogue,
        action: paths::admin_person(&person),
        account,
        me: person == auth.user,
    })
}

#[derive(Debug, Deserialize)]
pub struct NewState {
    action: String,
    #[serde(default)]
    reason: String,
}

pub async fn change(
    mut context: RequestContext,
    RowPath { region, id }: RowPath,
    Form(form): Form<NewState>,
) -> PageResult {
    let person = UserRef { region, id };
    let reason = || REASONS.iter().map(|(code, _)| *code).find(|code| *code == form.reason).ok_or(BadRequest::Field);
    let (change, done) = match form.action.as_str() {
        "block" => (Change::Block(reason()?), "The account is blocked and signed out everywhere."),
        "unblock" => (Change::Unblock, "The account is no longer blocked."),
        "sign-out" => (Change::EndSessions, "They are signed out everywhere."),
        _ => return Err(BadRequest::Field.into()),
    };
    // Checked first: nobody else may learn whose account it is.
    administrator(&mut context).await?;
    let outcome = ops::people::change(&context.service, &context.auth()?, &person, change).await;
    context.respond(outcome.map(|_| Done::Now), &paths::admin_person(&person), done)
}
