//! `/admin/people`: somebody found by username in the regions of this jurisdiction, or by name or
//! e-mail address in one city of it; their account, blocking it, and signing them out. What is typed
//! is personal, so it is posted and never part of an address.

use askama::Template;
use chrono_tz::Tz;
use serde::Deserialize;
use uuid::Uuid;

use super::{administrator, ask_each, city_of_form};
use crate::{
    db::{
        Conn,
        people::{self, Account, Change, Found, Match},
    },
    domain::{Catalogue, City, Region, RegionCode, UserRef, event::RESIDENCY_PERSON_REFUSED, people::line},
    ops::{self, Done, residency},
    web::{
        BadRequest, Form, FormState, FormWithState, Id, Layout, PageError, PageResult, RequestContext, RowPath,
        Section,
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
    city: &'a City,
    cities: Vec<&'a City>,
    found: Option<Vec<Match>>,
    /// After whom the search goes on.
    searched_to: Option<Uuid>,
    unreachable: Vec<RegionCode>,
    /// Of other jurisdictions, which only their own instances show.
    elsewhere: Vec<&'a Region>,
}

pub async fn form(context: RequestContext) -> PageResult {
    page(context, FormState::default(), None).await
}

#[derive(Deserialize)]
pub struct Search {
    who: String,
    /// Where names and addresses are looked for.
    #[serde(default)]
    city: String,
    /// The last person who was looked at.
    after: Option<Id>,
}

pub async fn search(context: RequestContext, FormWithState(form, mut state): FormWithState<Search>) -> PageResult {
    if !form.city.is_empty() {
        city_of_form(&context, &form.city)?;
    }
    let who = state.check("who", line(&form.who, 254, "a username, an e-mail address or a name"));
    page(context, state, who.map(|who| (who, form.after.map(|Id(id)| id)))).await
}

async fn page(mut context: RequestContext, form: FormState, search: Option<(String, Option<Uuid>)>) -> PageResult {
    // Checked first: nobody else may make us search several regions.
    administrator(&mut context).await?;
    let (catalogue, here) = (&context.catalogue, &context.service.here);
    let here_too = |region: &RegionCode| catalogue.same_law(here, region);
    let (within, elsewhere): (Vec<&Region>, Vec<&Region>) =
        catalogue.regions.iter().partition(|region| here_too(&region.code));
    let cities: Vec<&City> = catalogue.cities.iter().filter(|city| here_too(&city.region)).collect();
    let in_use = || Some(context.city()).filter(|city| here_too(&city.region)).or_else(|| cities.first().copied());
    let city = catalogue.city(form.value("city")).or_else(in_use).unwrap_or_else(|| context.city());
    let (mut found, mut searched_to, mut unreachable) = (None, None, Vec::new());
    if let Some((who, after)) = search {
        let auth = context.auth()?;
        residency::require_same_law(&context.service, &auth, RESIDENCY_PERSON_REFUSED, &city.region).await?;
        if after.is_none() {
            context.state.limits.search_everywhere(context.client_address())?;
        }
        let ask = async |conn: &Conn, region: &RegionCode| {
            let named =
                async { if after.is_none() { people::list_named(conn, region, &who).await } else { Ok(vec![]) } };
            if *region != city.region {
                return Ok((named.await?, Found::default()));
            }
            let search = people::search(conn, (region, &city.slug), &who, after.unwrap_or_default());
            let (named, found) = tokio::join!(named, search);
            Ok((named?, found?))
        };
        // Usernames are found in the first round.
        let mut asked: Vec<RegionCode> = within.iter().map(|region| region.code.clone()).collect();
        asked.retain(|code| after.is_none() || *code == city.region);
        for region in &asked {
            context.may_touch(region);
        }
        let answers = ask_each(&context.service, asked, ask);
        // Nothing is shown that was not recorded.
        let (noted, answers) = tokio::join!(ops::people::note_search(&context.service, &auth, city), answers);
        noted?;
        let mut all = Vec::new();
        for (region, answer) in answers {
            match answer {
                Ok((named, found)) => {
                    all.extend(named);
                    all.extend(found.matches);
                    searched_to = searched_to.or(found.searched_to);
                }
                Err(error) => {
                    tracing::warn!(request = context.ids.request, %error, %region, "a region was not searched");
                    unreachable.push(region);
                }
            }
        }
        all.sort_by_cached_key(|it| (it.name.to_lowercase(), it.person.id));
        all.dedup_by_key(|it| it.person.id);
        found = Some(all);
    }
    context.ok_or_invalid(
        form.has_errors(),
        &PeoplePage {
            layout: context.layout("People", Section::Fleet, context.city()),
            catalogue,
            form: form.with("city", &city.slug),
            city,
            cities,
            found,
            searched_to,
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

pub async fn show(mut context: RequestContext, RowPath(person): RowPath<UserRef>) -> PageResult {
    // Checked first: what may not be shown is not read.
    administrator(&mut context).await?;
    let auth = context.auth()?;
    residency::require_same_law(&context.service, &auth, RESIDENCY_PERSON_REFUSED, &person.region).await?;
    let conn = context.service.db.at(&person.region).await?;
    let account = people::find(&conn, &person, auth.now, auth.idle_since).await?.ok_or(PageError::NotFound)?;
    drop(conn);
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
    RowPath(person): RowPath<UserRef>,
    Form(form): Form<NewState>,
) -> PageResult {
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
