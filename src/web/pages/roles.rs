//! `/admin/roles`: who operates which city and who administers, over all regions; granting a role
//! by username, and revoking one. Only usernames are shown: others may see nothing else of a
//! person.

use askama::Template;
use chrono_tz::Tz;
use serde::Deserialize;
use uuid::Uuid;

use super::{administrator, city_of_form, each_region, region_of_form};
use crate::{
    db::roles::{self, Role, RoleGrant},
    domain::{Catalogue, RegionCode, UserRef},
    ops::{self, Done, accounts},
    web::{
        Form, FormState, FormWithState, Id, Layout, PageResult, Pagination, Query, RequestContext, Section, filters,
    },
};

const PATH: &str = "/admin/roles";
const PAGE: i64 = 100;

#[derive(Template)]
#[template(path = "pages/roles.html")]
struct RolesPage<'a> {
    layout: Layout,
    catalogue: &'a Catalogue,
    granted: Vec<RoleGrant>,
    me: UserRef,
    unreachable: Vec<&'a RegionCode>,
    pagination: Pagination,
    form: FormState,
}

impl RolesPage<'_> {
    fn name_of(&self, role: &Role) -> String {
        match self.catalogue.city_name(&role.city) {
            "" => "Administrator".to_owned(),
            city => format!("Operator of {city}"),
        }
    }
}

/// The cursor: person and city of the last role.
#[derive(Debug, Default, Deserialize)]
pub struct Parameters {
    #[serde(default)]
    after: Uuid,
    #[serde(default)]
    city: String,
}

pub async fn list(context: RequestContext, Query(query): Query<Parameters>) -> PageResult {
    let form = FormState::default().with("city", &context.city().slug);
    page(context, query, form).await
}

async fn page(mut context: RequestContext, query: Parameters, form: FormState) -> PageResult {
    administrator(&mut context).await?;
    let catalogue = &context.catalogue;
    let newest = (!query.after.is_nil()).then(|| PATH.to_owned());
    let after = (query.after, role_of(query.city));
    let db = &context.service.db;
    let list = async |region: &RegionCode| roles::list(&db.at(region).await?, region, &after, PAGE + 1).await;
    let lists = each_region(&context, list).await;
    let unreachable = lists.iter().filter(|(_, list)| list.is_none()).map(|(region, _)| &region.code).collect();
    let mut granted: Vec<RoleGrant> = lists.into_iter().filter_map(|(_, list)| list).flatten().collect();
    // The regions are one list by the ids of people, of which this page is the next part.
    granted.sort_by(|a, b| (a.person.id, &a.role.role, &a.role.city).cmp(&(b.person.id, &b.role.role, &b.role.city)));
    let next = |last: &RoleGrant| format!("{PATH}?after={}&city={}", last.person.id, last.role.city);
    let pagination = Pagination::cut(&mut granted, PAGE, newest, next);
    granted.sort_by(|a, b| (&a.username, &a.role.city).cmp(&(&b.username, &b.role.city)));
    let page = RolesPage {
        layout: context.layout("Roles", Section::Fleet, context.city()),
        catalogue,
        granted,
        me: context.auth()?.user,
        unreachable,
        pagination,
        form,
    };
    context.ok_or_invalid(page.form.has_errors(), &page)
}

#[derive(Debug, Deserialize)]
pub struct Grant {
    username: String,
    /// Slug of the city for operators, nothing for administrators.
    city: String,
}

/// An administrator's role if `city` is empty.
fn role_of(city: String) -> Role {
    Role { role: if city.is_empty() { "administrator" } else { "operator" }.to_owned(), city }
}

pub async fn grant(mut context: RequestContext, FormWithState(form, mut state): FormWithState<Grant>) -> PageResult {
    if !form.city.is_empty() {
        city_of_form(&context, &form.city)?;
    }
    let role = role_of(form.city);
    // First who asks: nobody else makes us look a person up in all regions.
    administrator(&mut context).await?;
    context.state.limits.search_everywhere(context.client_address())?;
    let Some(found) = accounts::find_login(&context.service, &form.username).await? else {
        state.reject("username", "Nobody has this username.".to_owned());
        return page(context, Parameters::default(), state).await;
    };
    context.may_touch(&found.user.region);
    ops::people::set_role(&context.service, &context.auth()?, &found.user, &role, true).await?;
    Ok(context.done(PATH, &format!("{} has the role now, and sees it on the next page.", form.username.trim())))
}

#[derive(Debug, Deserialize)]
pub struct Revoke {
    region: RegionCode,
    id: Id,
    city: String,
}

pub async fn revoke(context: RequestContext, Form(form): Form<Revoke>) -> PageResult {
    region_of_form(&context, &form.region)?;
    // Not `city_of_form`: what is taken away need not be in the catalogue any more.
    let role = role_of(form.city);
    let person = UserRef { region: form.region, id: form.id.0 };
    let outcome = ops::people::set_role(&context.service, &context.auth()?, &person, &role, false).await;
    let done = "The role is revoked. This takes effect with the person's next change.";
    context.respond(outcome.map(|_| Done::Now), PATH, done)
}
