//! `/admin/roles`: who operates which city and who administers, over all regions, each
//! asked at its own gateway; giving a role to a person by username, and taking one. Only
//! usernames are shown: they are the one thing that others may see of a person.

use std::sync::Arc;

use actix_web::HttpResponse;
use chrono_tz::Tz;
use futures_util::future::join_all;
use serde::Deserialize;
use uuid::Uuid;

use super::{administrator, region_of_form};
use crate::{
    db::roles::{self, Granted, Role},
    domain::{people::UserRef, refusal::Refusal, region::RegionCode},
    ops::{self, OpError, accounts},
    web::{
        context::RequestContext,
        error::PageError,
        form::{Form, Id, Query},
        layout::{city_options, layout, time},
        limits::TooMany,
        views::{FieldView, GrantedView, PaginationView, RolesPage, Section},
    },
};

const PATH: &str = "/admin/roles";
/// Roles on one page.
const PAGE: usize = 100;

/// Where the list goes on: the id of the person of the last role before, and its city.
#[derive(Debug, Default, Deserialize)]
pub struct After {
    #[serde(default)]
    after: Uuid,
    #[serde(default)]
    city: String,
}

/// `GET /admin/roles`.
pub async fn list(mut context: RequestContext, Query(query): Query<After>) -> Result<HttpResponse, PageError> {
    let city = context.city().slug.clone();
    let page = page(&mut context, FieldView::default(), &city, query).await?;
    context.ok(&page)
}

/// The page, with the form as it was typed.
async fn page(
    context: &mut RequestContext,
    username: FieldView,
    city: &str,
    query: After,
) -> Result<RolesPage, PageError> {
    let current_user = administrator(context).await?;
    let me = context.auth()?.user;
    let (service, catalogue) = (Arc::clone(&context.service), context.catalogue.clone());
    let newest = (!query.after.is_nil()).then(|| PATH.to_owned());
    let after = (query.after, role_of(query.city));
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let asked = catalogue.regions.iter().map(async |region| {
        context.names(&region.code);
        roles::list(&service.db.at(&region.code).await?, &region.code, &after, limit).await
    });
    let (mut granted, mut notes) = (Vec::new(), Vec::new());
    for (answer, region) in join_all(asked).await.into_iter().zip(&catalogue.regions) {
        match answer {
            Ok(some) => granted.extend(some),
            Err(error) => {
                tracing::warn!(%error, region = %region.code, "roles were not read");
                notes.push(format!("The region {} does not answer; the roles of its people are missing.", region.code));
            }
        }
    }
    // The regions are one list by the ids of people, of which this page is the next part.
    granted.sort_by(|a, b| (a.person.id, &a.role.role, &a.role.city).cmp(&(b.person.id, &b.role.role, &b.role.city)));
    let more = granted.len() > PAGE;
    granted.truncate(PAGE);
    let older =
        granted.last().filter(|_| more).map(|it| format!("{PATH}?after={}&city={}", it.person.id, it.role.city));
    granted.sort_by(|a, b| (&a.username, &a.role.city).cmp(&(&b.username, &b.role.city)));
    let view = |it: &Granted| {
        let name = catalogue.city_name(&it.role.city);
        GrantedView {
            username: it.username.clone(),
            region: it.person.region.to_string(),
            id: it.person.id.to_string(),
            text: if name.is_empty() { "Administrator".to_owned() } else { format!("Operator of {name}") },
            since: time(it.granted_at, Tz::UTC),
            own: it.role.city.is_empty() && it.person == me,
            role: it.role.role.clone(),
            city: it.role.city.clone(),
        }
    };
    Ok(RolesPage {
        granted: granted.iter().map(view).collect(),
        notes,
        pagination: PaginationView { newest, older },
        cities: city_options(&catalogue, city),
        administrator: city.is_empty(),
        username,
        layout: layout(context, Some(&current_user), "Roles", Section::Fleet, context.city()),
    })
}

/// A role for a person.
#[derive(Debug, Deserialize)]
pub struct Grant {
    username: String,
    /// Slug of the city for operators, nothing for administrators.
    city: String,
}

/// An operator's role in a city, or without one an administrator's.
fn role_of(city: String) -> Role {
    Role { role: if city.is_empty() { "administrator" } else { "operator" }.to_owned(), city }
}

/// The role that a form names: a city of the catalogue, or none for administrators.
fn role(context: &RequestContext, city: &str) -> Result<Role, PageError> {
    let known = city.is_empty() || context.catalogue.city(city).is_some();
    known.then(|| role_of(city.to_owned())).ok_or(PageError::BadRequest("There is no such city."))
}

/// `POST /admin/roles`.
pub async fn grant(mut context: RequestContext, Form(form): Form<Grant>) -> Result<HttpResponse, PageError> {
    let role = role(&context, &form.city)?;
    // First who asks: nobody else makes us look a person up in all regions.
    administrator(&mut context).await?;
    context.state.limits.look_everywhere(&context.address()).map_err(|TooMany(wait)| PageError::TooMany(wait))?;
    let Some(found) = accounts::find_login(&context.service, &form.username).await? else {
        let field = FieldView { value: form.username, error: Some("Nobody has this username.".to_owned()) };
        let page = page(&mut context, field, &form.city, After::default()).await?;
        return context.wrong(&page);
    };
    context.names(&found.user.region);
    ops::roles::set(&context.service, &context.auth()?, &found.user, &role, true).await?;
    Ok(context.done(PATH, &format!("{} has the role now, and sees it on the next page.", form.username.trim())))
}

/// The role of a person, as the page showed it.
#[derive(Debug, Deserialize)]
pub struct Revoke {
    region: RegionCode,
    id: Id,
    city: String,
}

/// `POST /admin/roles/revoke`.
pub async fn revoke(context: RequestContext, Form(form): Form<Revoke>) -> Result<HttpResponse, PageError> {
    region_of_form(&context, &form.region)?;
    // Not `role`: what is taken away need not be in the catalogue any more.
    let role = role_of(form.city);
    let person = UserRef { region: form.region, id: form.id.0 };
    match ops::roles::set(&context.service, &context.auth()?, &person, &role, false).await {
        Ok(_) => Ok(context.done(PATH, "The role is taken away. It holds for the person's very next change.")),
        Err(OpError::Refused(refusal @ Refusal::OwnRole)) => Ok(context.refused(PATH, &refusal.message())),
        Err(error) => Err(error.into()),
    }
}
