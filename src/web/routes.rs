//! The route table: method, path, access, handler. Everything a browser can ask for is here, and a
//! test walks it. Start reading here.

use std::collections::HashSet;

use actix_web::{
    Error, HttpRequest, HttpResponse, Route as ActixRoute,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    guard,
    http::{Method, header},
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};

use super::{
    RequestContext, abroad,
    contract::RegionScope,
    gbfs, middleware,
    pages::{
        account, audit, cities, city, erasure, exports, fleet, fleet_add, fleet_qr, fleet_ride, fleet_rides,
        fleet_search, fleet_vehicle, health, home, imports, job, jobs, move_home, overview, own_pages, owner_vehicle,
        owner_vehicles, people, price_credits, profile, promo_codes, region_states, revenue, riders, rides, roles,
        status, tariffs, tasks, unlock, vehicle, vehicles,
    },
    site,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    /// With a session; what is touched is checked against the row.
    SignedIn,
    /// With a session, as operator of the city concerned; the handler's own statements check it.
    Operator,
    /// With a session and a role, which decides what can be seen or changed.
    Staff,
    /// With a session, as administrator; the handler's own statements check it.
    Administrator,
}

impl Access {
    pub fn words(self) -> &'static str {
        match self {
            Self::Public => "everybody",
            Self::SignedIn => "signed in",
            Self::Operator => "operators of the city",
            Self::Staff => "operators and administrators",
            Self::Administrator => "administrators",
        }
    }
}

pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    pub scope: RegionScope,
    /// Not a page, nor a form that only looks something up.
    pub writes: bool,
    handler: fn() -> ActixRoute,
}

impl Route {
    /// By method and pattern; HEAD counts as GET.
    pub fn of(method: &Method, pattern: &str) -> Option<&'static Self> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        ROUTES.iter().find(|route| route.method == *method && route.path == pattern)
    }
}

const fn get(path: &'static str, access: Access, scope: RegionScope, handler: fn() -> ActixRoute) -> Route {
    Route { method: Method::GET, path, access, scope, writes: false, handler }
}

const fn post(path: &'static str, access: Access, scope: RegionScope, handler: fn() -> ActixRoute) -> Route {
    Route { method: Method::POST, path, access, scope, writes: true, handler }
}

/// A look-up that is posted because what is typed is no part of an address.
const fn look_up(path: &'static str, access: Access, scope: RegionScope, handler: fn() -> ActixRoute) -> Route {
    Route { method: Method::POST, path, access, scope, writes: false, handler }
}

fn read() -> ActixRoute {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

use Access::{Administrator, Operator, Public, SignedIn, Staff};
use RegionScope::{All, Here, Named, Present};

#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    get("/healthz", Public, Here, || read().to(health::live)),
    get("/readyz", Public, Here, || read().to(health::ready)),
    get("/status", Public, Here, || read().to(status::show)),
    get("/status.json", Public, Here, || read().to(status::json)),
    get("/static/{file:.*}", Public, Here, || read().to(site::file)),
    get("/favicon.ico", Public, Here, || read().to(site::at_root)),
    get("/robots.txt", Public, Here, || read().to(site::at_root)),
    get("/help", Public, Here, || read().to(own_pages::show)),
    get("/terms", Public, Here, || read().to(own_pages::show)),
    get("/privacy", Public, Here, || read().to(own_pages::show)),
    get("/imprint", Public, Here, || read().to(own_pages::show)),
    get("/", Public, Named, || read().to(home::show)),
    post("/city", Public, Here, || web::post().to(city::choose)),
    post("/abroad", Public, Here, || web::post().to(abroad::answer)),
    get("/vehicles", Public, Named, || read().to(vehicles::list)),
    get("/vehicles/{region}/{public_id}", Public, All, || read().to(vehicle::show)),
    post("/vehicles/{region}/{public_id}/reserve", SignedIn, Named, || web::post().to(vehicles::reserve)),
    post("/vehicles/{region}/{public_id}/report", SignedIn, Named, || web::post().to(tasks::report_vehicle)),
    get("/v", SignedIn, Named, || read().to(unlock::form)),
    look_up("/v", SignedIn, All, || web::post().to(unlock::find)),
    get("/v/{code}", SignedIn, Named, || read().to(unlock::form)),
    post("/reservation/cancel", SignedIn, Named, || web::post().to(vehicles::cancel_reservation)),
    get("/gbfs/3/manifest.json", Public, Here, || read().to(gbfs::manifest)),
    get("/gbfs/3/{city}/{feed}.json", Public, Named, || read().to(gbfs::feed)),
    get("/register", Public, All, || read().to(account::register_form)),
    post("/register", Public, All, || web::post().to(account::register)),
    get("/login", Public, All, || read().to(account::login_form)),
    post("/login", Public, All, || web::post().to(account::login)),
    post("/logout", Public, Named, || web::post().to(account::logout)),
    get("/recover", Public, All, || read().to(account::recover_form)),
    post("/recover", Public, All, || web::post().to(account::recover)),
    get("/rides", SignedIn, Present, || read().to(rides::list)),
    post("/rides", SignedIn, Present, || web::post().to(rides::start)),
    get("/rides/{region}/{id}", SignedIn, Named, || read().to(rides::show)),
    post("/rides/{region}/{id}/end", SignedIn, Named, || web::post().to(rides::end)),
    post("/rides/{region}/{id}/positions", SignedIn, Named, || web::post().to(rides::positions)),
    post("/rides/{region}/{id}/report", SignedIn, Named, || web::post().to(tasks::report_ride)),
    get("/riders", SignedIn, Named, || read().to(riders::list)),
    get("/profile", SignedIn, Named, || read().to(profile::show)),
    post("/profile", SignedIn, Named, || web::post().to(profile::save)),
    post("/profile/password", SignedIn, Named, || web::post().to(profile::set_password)),
    get("/profile/recovery-codes", SignedIn, Named, || read().to(profile::recovery_codes)),
    post("/profile/recovery-codes", SignedIn, Named, || web::post().to(profile::make_recovery_codes)),
    post("/profile/sessions/end", SignedIn, Named, || web::post().to(profile::end_session)),
    post("/profile/sessions/end-others", SignedIn, Named, || web::post().to(profile::end_other_sessions)),
    get("/profile/export", SignedIn, Present, || read().to(profile::export)),
    get("/profile/home", SignedIn, Present, || read().to(move_home::form)),
    post("/profile/home", SignedIn, Present, || web::post().to(move_home::submit)),
    get("/profile/delete", SignedIn, Present, || read().to(profile::delete_form)),
    post("/profile/delete", SignedIn, Present, || web::post().to(profile::delete)),
    get("/erasure/{region}/{id}", Public, Named, || read().to(erasure::show)),
    get("/my/vehicles", SignedIn, Present, || read().to(owner_vehicles::list)),
    post("/my/vehicles", SignedIn, Present, || web::post().to(owner_vehicles::add)),
    get("/my/vehicles/{region}/{id}", SignedIn, Named, || read().to(owner_vehicle::show)),
    post("/my/vehicles/{region}/{id}/pause", SignedIn, Named, || web::post().to(owner_vehicle::set_paused)),
    post("/my/vehicles/{region}/{id}/edit", SignedIn, Named, || web::post().to(owner_vehicle::edit)),
    post("/my/vehicles/{region}/{id}/remove", SignedIn, Named, || web::post().to(owner_vehicles::remove)),
    get("/fleet", Operator, Named, || read().to(fleet::list)),
    get("/fleet/add", Operator, Named, || read().to(fleet_add::form)),
    post("/fleet/add", Operator, Named, || web::post().to(fleet_add::add)),
    get("/fleet/search", Operator, Named, || read().to(fleet_search::show)),
    get("/fleet/qr", Operator, Named, || read().to(fleet_qr::show)),
    get("/fleet/vehicles/{region}/{id}", Operator, Named, || read().to(fleet_vehicle::show)),
    post("/fleet/vehicles/{region}/{id}/status", Operator, Named, || web::post().to(fleet_vehicle::set_status)),
    post("/fleet/vehicles/{region}/{id}/approval", Operator, Named, || web::post().to(fleet_vehicle::approve)),
    post("/fleet/vehicles/{region}/{id}/edit", Operator, Named, || web::post().to(fleet_vehicle::edit)),
    post("/fleet/vehicles/{region}/{id}/move", Operator, Named, || web::post().to(fleet_vehicle::move_to)),
    get("/fleet/rides", Operator, Named, || read().to(fleet_rides::list)),
    get("/fleet/rides/{region}/{id}", Operator, Named, || read().to(fleet_ride::show)),
    post("/fleet/rides/{region}/{id}/end", Operator, All, || web::post().to(fleet_ride::end)),
    post("/fleet/rides/{region}/{id}/credit", Operator, Named, || web::post().to(fleet_ride::credit)),
    get("/fleet/rides/{region}/{id}/rider", Operator, All, || read().to(fleet_ride::rider)),
    post("/fleet/rides/{region}/{id}/rider", Operator, All, || web::post().to(fleet_ride::ask_rider)),
    get("/fleet/overview", Staff, All, || read().to(overview::show)),
    get("/fleet/tariffs", Staff, Named, || read().to(tariffs::list)),
    get("/fleet/revenue", Staff, Named, || read().to(revenue::show)),
    get("/fleet/revenue.csv", Staff, Named, || read().to(revenue::export)),
    get("/fleet/tariffs/new", Staff, Named, || read().to(tariffs::confirm)),
    post("/fleet/tariffs", Staff, Named, || web::post().to(tariffs::set)),
    get("/fleet/tariffs/credit", Staff, Named, || read().to(price_credits::show)),
    post("/fleet/tariffs/credit", Staff, Named, || web::post().to(price_credits::credit)),
    post("/fleet/tariffs/withdraw", Staff, Named, || web::post().to(tariffs::withdraw)),
    get("/admin/promo-codes", Administrator, All, || read().to(promo_codes::list)),
    post("/admin/promo-codes", Administrator, All, || web::post().to(promo_codes::add)),
    post("/admin/promo-codes/{code}", Administrator, All, || web::post().to(promo_codes::change)),
    get("/admin/promo-codes/{code}/rides.csv", Administrator, All, || read().to(promo_codes::rides)),
    get("/admin/cities", Administrator, Named, || read().to(cities::list)),
    post("/admin/cities", Administrator, Named, || web::post().to(cities::add)),
    get("/admin/cities/{city}", Administrator, Named, || read().to(cities::show)),
    post("/admin/cities/{city}", Administrator, Named, || web::post().to(cities::save)),
    post("/admin/cities/{city}/pause", Administrator, Named, || web::post().to(cities::pause)),
    get("/admin/people", Administrator, Named, || read().to(people::form)),
    post("/admin/people", Administrator, Named, || web::post().to(people::search)),
    get("/admin/people/{region}/{id}", Administrator, Named, || read().to(people::show)),
    post("/admin/people/{region}/{id}", Administrator, Named, || web::post().to(people::change)),
    get("/admin/roles", Administrator, All, || read().to(roles::list)),
    post("/admin/roles", Administrator, All, || web::post().to(roles::grant)),
    post("/admin/roles/revoke", Administrator, All, || web::post().to(roles::revoke)),
    get("/fleet/tasks", Operator, Named, || read().to(tasks::list)),
    post("/fleet/tasks/{region}/{id}", Operator, Named, || web::post().to(tasks::change)),
    get("/fleet/jobs", Operator, Named, || read().to(jobs::list)),
    post("/fleet/jobs", Operator, Named, || web::post().to(jobs::create)),
    get("/fleet/jobs/{region}/{id}", Operator, Named, || read().to(job::show)),
    post("/fleet/jobs/{region}/{id}/confirm", Operator, Named, || web::post().to(job::confirm)),
    post("/fleet/jobs/{region}/{id}/cancel", Operator, Named, || web::post().to(job::cancel)),
    get("/fleet/jobs/{region}/{id}/report.csv", Operator, Named, || read().to(job::report)),
    get("/fleet/audit", Staff, Named, || read().to(audit::list)),
    get("/fleet/audit.csv", Staff, Named, || read().to(audit::export)),
    get("/fleet/import", Operator, Named, || read().to(imports::form)),
    post("/fleet/import", Operator, Named, || web::post().to(imports::submit)),
    get("/fleet/export.csv", Operator, Named, || read().to(exports::vehicles)),
    get("/fleet/riders.csv", Operator, Named, || read().to(exports::riders)),
    get("/admin/regions", Administrator, All, || read().to(region_states::list)),
    post("/admin/regions/{region}", Administrator, All, || web::post().to(region_states::change)),
];

/// A path with several methods is one resource, so that other methods get 405. The address of a form
/// without a page leads to the page above it.
pub fn configure(config: &mut ServiceConfig) {
    for path in paths(ROUTES) {
        let mut resource = web::resource(path);
        for route in ROUTES.iter().filter(|route| route.path == path) {
            let handler = (route.handler)();
            resource = match route.access {
                Public => resource.route(handler),
                SignedIn | Operator | Staff | Administrator => resource.route(handler.wrap(from_fn(require_session))),
            };
        }
        let mut allow = vec!["GET", "HEAD"];
        if ROUTES.iter().any(|route| route.path == path && route.method == Method::POST) {
            allow.push("POST");
        }
        if !has_page(path) {
            let parts = parts_of_page(path);
            resource = resource.route(read().to(move |request| std::future::ready(to_page(&request, parts))));
        }
        if path.starts_with("/gbfs/") {
            resource = resource.route(web::method(Method::OPTIONS).to(gbfs::preflight));
            allow.push("OPTIONS");
        }
        let allow = allow.join(", ");
        let other = web::to(move || {
            std::future::ready(HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, allow.as_str())).finish())
        });
        config.service(resource.default_service(other).wrap(from_fn(middleware::deadline)));
    }
    config.default_service(web::to(async || HttpResponse::NotFound().finish()));
}

fn has_page(path: &str) -> bool {
    ROUTES.iter().any(|route| route.path == path && route.method == Method::GET)
}

/// How many parts of a form's address the page above it has: 2 of `/profile/password`, with the one
/// before the first slash.
fn parts_of_page(path: &str) -> usize {
    let parts: Vec<&str> = path.split('/').collect();
    (1..parts.len())
        .rev()
        .find(|n| has_page(&parts.iter().take(*n).copied().collect::<Vec<_>>().join("/")))
        .unwrap_or(1)
}

/// The answer to a form that has mistakes is shown under the form's address; whoever reloads that is
/// led to the page with the form.
fn to_page(request: &HttpRequest, parts: usize) -> HttpResponse {
    let page = request.uri().path().split('/').take(parts).collect::<Vec<_>>().join("/");
    let page = if page.is_empty() { "/" } else { page.as_str() };
    HttpResponse::SeeOther().insert_header((header::LOCATION, page)).finish()
}

fn paths(routes: &[Route]) -> Vec<&'static str> {
    let mut seen = HashSet::new();
    routes.iter().map(|route| route.path).filter(|path| seen.insert(*path)).collect()
}

/// Redirects requests without a session cookie to sign in, before the handler reads anything; a session without a row sends
/// no forms. Whether the session is valid is checked with the page's own statements.
async fn require_session(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let may = match request.extract::<RequestContext>().await {
        Ok(context) => context.may_send().await,
        Err(error) => Err(error),
    };
    match may {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(error) => Ok(request.error_response(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_resource_wherever_its_methods_stand_in_the_table() {
        const APART: [Route; 3] = [
            get("/a", Public, Here, web::route),
            get("/b", Public, Here, web::route),
            post("/a", Public, Here, web::route),
        ];
        assert_eq!(paths(&APART), ["/a", "/b"]);
    }

    #[test]
    fn the_address_of_a_form_leads_to_its_page() {
        for (path, parts) in [
            ("/city", 1),
            ("/reservation/cancel", 1),
            ("/profile/sessions/end", 2),
            ("/rides/{region}/{id}/end", 4),
            ("/fleet/rides/{region}/{id}/end", 5),
            ("/fleet/tariffs/withdraw", 3),
            ("/admin/promo-codes/{code}", 3),
        ] {
            assert_eq!(parts_of_page(path), parts, "{path}");
        }
    }

    #[test]
    fn what_a_request_may_touch_depends_on_its_method() {
        for route in ROUTES {
            assert_eq!(RegionScope::of(&route.method, route.path), route.scope, "{} {}", route.method, route.path);
        }
        assert_eq!(RegionScope::of(&Method::HEAD, "/fleet/overview"), All);
        assert_eq!(RegionScope::of(&Method::POST, "/fleet/overview"), Named);
    }
}
