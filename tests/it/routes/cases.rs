//! A case for each route: the path and the fields of a request that would do something if
//! whoever sends it were allowed to.

use reqwest::Method;
use uuid::Uuid;

use crate::support::{Browser, app::PASSWORD, html::Page, rows::pairs};

/// A request that would do something if it were allowed to.
#[derive(Clone)]
pub struct Case {
    pub method: Method,
    pub pattern: &'static str,
    pub path: String,
    pub fields: Vec<(String, String)>,
}

impl Case {
    pub async fn ask(&self, browser: &Browser, headers: &[(&str, &str)]) -> Page {
        if self.method == Method::GET {
            return browser.get_with(&self.path, headers).await;
        }
        if self.pattern == "/fleet/import" && headers.is_empty() {
            return browser.upload(&self.path, b"code,type,brand,colour\nB-1,bike,Own,red\n").await;
        }
        browser.post_with(&self.path, headers, &pairs(&self.fields)).await
    }
}

/// Of a person with a ride, an own vehicle that can be removed, a vehicle on the street with
/// its card, a job, an erasure, and a task.
#[rustfmt::skip]
#[allow(clippy::too_many_arguments, reason = "one for each thing that an address names")]
pub fn cases((name, person): (&str, &str), ride: &str, remove: &str, vehicle: &str, job: &str, card: &[(String, String)], erasure: &str, task: &str) -> Vec<Case> {
    let case = |method, pattern, path: &str, fields: &[(&str, &str)]| {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Case { method, pattern, path: path.to_owned(), fields }
    };
    let get = |pattern, path: &str| case(Method::GET, pattern, path, &[]);
    let post = |pattern, path: &str, fields: &[(&str, &str)]| case(Method::POST, pattern, path, fields);
    let password = PASSWORD;
    let id = Uuid::new_v4().to_string();
    // The person's own vehicle, which its city's operators look after too.
    let fleet = remove.replace("/my/", "/fleet/").replace("/remove", "");
    let (seen, command) = (("version", "1"), ("command", &*id));
    // A price that no ride was charged by.
    let wrong = [("city", "new-york"), ("type", "bike"), ("from", "4102444800"), ("unlock", "1"), ("minute", "1"), ("fee", "1")];
    let priced = wrong.map(|(name, value)| format!("{name}={value}")).join("&");
    let last = format!("4102444800000000~{id}");
    vec![
        get("/healthz", "/healthz"),
        get("/readyz", "/readyz"),
        get("/status", "/status"),
        get("/status.json", "/status.json"),
        get("/static/{file:.*}", "/static/app.css"),
        get("/favicon.ico", "/favicon.ico"),
        get("/robots.txt", "/robots.txt"),
        get("/help", "/help"),
        get("/terms", "/terms"),
        get("/privacy", "/privacy"),
        get("/imprint", "/imprint"),
        get("/", "/"),
        post("/city", "/city", &[("city", "paris")]),
        post("/abroad", "/abroad", &[("answer", "stay"), ("next", "/")]),
        get("/vehicles", "/vehicles?city=new-york"),
        get("/vehicles/{region}/{public_id}", &format!("/vehicles/us-east1/{vehicle}")),
        post("/vehicles/{region}/{public_id}/reserve", &format!("/vehicles/us-east1/{vehicle}/reserve"), &pairs(card)),
        post("/vehicles/{region}/{public_id}/report", &format!("/vehicles/us-east1/{vehicle}/report"),
            &[("task", &id), ("problem", "lock"), ("note", "")]),
        get("/v", "/v"),
        post("/v", "/v", &[("code", "NEW-1-0005"), ("lat", "40.7128"), ("lon", "-74.006")]),
        get("/v/{code}", "/v/NEW-1-0005"),
        post("/reservation/cancel", "/reservation/cancel", &pairs(card)),
        get("/gbfs/3/manifest.json", "/gbfs/3/manifest.json"),
        get("/gbfs/3/{city}/{feed}.json", "/gbfs/3/new-york/vehicle_status.json"),
        get("/register", "/register"),
        post("/register", "/register", &[("id", &id), ("city", "boston"), ("first_name", "A"), ("last_name", "B"),
            ("email", "a@b.example"), ("username", "cross.site"), ("password", password)]),
        get("/login", "/login"),
        post("/login", "/login", &[("username", "cross.site"), ("password", password)]),
        post("/logout", "/logout", &[]),
        get("/recover", "/recover"),
        post("/recover", "/recover", &[("username", "cross.site"), ("code", "x"), ("password", password)]),
        get("/rides", "/rides"),
        post("/rides", "/rides", &pairs(card)),
        get("/rides/{region}/{id}", ride),
        post("/rides/{region}/{id}/end", &format!("{ride}/end"),
            &[("city", "new-york"), ("place", "Corner"), ("lat", "40.72"), ("lon", "-74.0")]),
        post("/rides/{region}/{id}/positions", &format!("{ride}/positions"), &[("positions", "")]),
        post("/rides/{region}/{id}/report", &format!("{ride}/report"), &[("task", &id), ("problem", "lock"), ("note", "")]),
        get("/riders", "/riders"),
        get("/profile", "/profile"),
        post("/profile", "/profile", &[("first_name", "Eve"), ("last_name", "Evil"), ("email", "e@v.example")]),
        post("/profile/password", "/profile/password", &[("current", password), ("password", "another walk to work")]),
        get("/profile/recovery-codes", "/profile/recovery-codes"),
        post("/profile/recovery-codes", "/profile/recovery-codes", &[("current", password)]),
        post("/profile/sessions/end", "/profile/sessions/end", &[("session", &id)]),
        post("/profile/sessions/end-others", "/profile/sessions/end-others", &[]),
        get("/profile/export", "/profile/export"),
        get("/profile/home", "/profile/home"),
        post("/profile/home", "/profile/home", &[("city", "paris"), ("password", password)]),
        get("/profile/delete", "/profile/delete"),
        post("/profile/delete", "/profile/delete", &[("password", password)]),
        get("/erasure/{region}/{id}", erasure),
        get("/my/vehicles", "/my/vehicles"),
        post("/my/vehicles", "/my/vehicles", &[("id", &id), ("type", "bike"), ("brand", "B"), ("colour", "red"),
            ("code", ""), ("lat", ""), ("lon", "")]),
        get("/my/vehicles/{region}/{id}", remove.trim_end_matches("/remove")),
        post("/my/vehicles/{region}/{id}/pause", &remove.replace("/remove", "/pause"), &[seen, command, ("answer", "yes")]),
        post("/my/vehicles/{region}/{id}/edit", &remove.replace("/remove", "/edit"), &[seen, command, ("brand", "B"),
            ("colour", "red"), ("battery", "50"), ("place", "Here"), ("lat", "40.72"), ("lon", "-74.0")]),
        post("/my/vehicles/{region}/{id}/remove", remove, &[("version", "1")]),
        get("/fleet", "/fleet?city=new-york"),
        get("/fleet/add", "/fleet/add?city=new-york"),
        post("/fleet/add", "/fleet/add", &[("id", &id), ("city", "new-york"), ("type", "bike"), ("status", "maintenance"),
            ("brand", "B"), ("colour", "red"), ("battery", "50"), ("place", "Here"), ("lat", "40.72"), ("lon", "-74.0")]),
        get("/fleet/search", "/fleet/search?q=nothing"),
        get("/fleet/qr", "/fleet/qr?city=new-york"),
        get("/fleet/vehicles/{region}/{id}", &fleet),
        post("/fleet/vehicles/{region}/{id}/status", &format!("{fleet}/status"), &[seen, command, ("action", "maintenance")]),
        post("/fleet/vehicles/{region}/{id}/approval", &format!("{fleet}/approval"), &[seen, command, ("answer", "no"),
            ("reason", "Loose")]),
        post("/fleet/vehicles/{region}/{id}/edit", &format!("{fleet}/edit"), &[seen, command, ("brand", "B"),
            ("colour", "red"), ("battery", "50"), ("place", "Here"), ("lat", "40.72"), ("lon", "-74.0")]),
        post("/fleet/vehicles/{region}/{id}/move", &format!("{fleet}/move"), &[seen, command, ("city", "boston")]),
        post("/fleet/rides/{region}/{id}/end", &format!("/fleet{ride}/end"), &[("city", "new-york"), ("reason", "lost"),
            ("place", "Corner"), ("lat", "40.72"), ("lon", "-74.0")]),
        get("/fleet/rides", "/fleet/rides?city=new-york"),
        get("/fleet/rides/{region}/{id}", &format!("/fleet{ride}")),
        post("/fleet/rides/{region}/{id}/credit", &format!("/fleet{ride}/credit"), &[command, ("city", "new-york"),
            ("seen", "0"), ("amount", "0.01"), ("reason", "fault")]),
        get("/fleet/rides/{region}/{id}/rider", &format!("/fleet{ride}/rider")),
        post("/fleet/rides/{region}/{id}/rider", &format!("/fleet{ride}/rider"), &[command, ("reason", "police")]),
        get("/fleet/tariffs", "/fleet/tariffs?city=new-york"),
        post("/fleet/tariffs", "/fleet/tariffs", &[("city", "new-york"), ("type", "bike"), ("seen", "[]"), ("from", ""),
            ("unlock", "1"), ("minute", "1"), ("fee", "1")]),
        get("/fleet/tariffs/new", "/fleet/tariffs/new?city=new-york&type=bike&unlock=1&minute=1&fee=1"),
        get("/fleet/tariffs/credit", &format!("/fleet/tariffs/credit?{priced}")),
        post("/fleet/tariffs/credit", "/fleet/tariffs/credit", &[&wrong[..], &[command, ("last", &last)]].concat()),
        get("/fleet/revenue", "/fleet/revenue?city=new-york"),
        get("/fleet/revenue.csv", "/fleet/revenue.csv?city=new-york"),
        post("/fleet/tariffs/withdraw", "/fleet/tariffs/withdraw", &[("city", "new-york"), ("type", "bike"), ("from", "0"),
            ("unlock", "1"), ("minute", "1"), ("fee", "1")]),
        get("/admin/promo-codes", "/admin/promo-codes"),
        post("/admin/promo-codes", "/admin/promo-codes", &[("code", "WALK"), ("kind", "percent"), ("value", "5"),
            ("from", "2024-01-01T00:00"), ("until", "2999-01-01T00:00"), ("per_rider", "1"), ("total", "3")]),
        post("/admin/promo-codes/{code}", "/admin/promo-codes/WELCOME", &[("seen", "[0,1,{}]"), ("until", ""),
            ("per_rider", "1"), ("total", "1"), ("end", "now")]),
        get("/admin/promo-codes/{code}/rides.csv", "/admin/promo-codes/WELCOME/rides.csv"),
        get("/admin/cities", "/admin/cities"),
        post("/admin/cities", "/admin/cities", &[("name", "Walkville"), ("country", "Utopia"), ("region", "us-east1"), ("lat", "41"),
            ("lon", "-75"), ("zone", "America/New_York"), ("currency", "USD"), ("radius", "3"), ("unlock-bike", "1"),
            ("minute-bike", "1"), ("fee-bike", "1"), ("unlock-scooter", "1"), ("minute-scooter", "1"),
            ("fee-scooter", "1"), ("unlock-skateboard", "1"), ("minute-skateboard", "1"), ("fee-skateboard", "1")]),
        get("/admin/cities/{city}", "/admin/cities/boston"),
        post("/admin/cities/{city}", "/admin/cities/boston", &[("seen", "1"), ("name", "Boston Bay"), ("lat", "42.36"),
            ("lon", "-71.06"), ("zone", "America/New_York"), ("area", "[[-71.2,42.2],[-70.9,42.2],[-70.9,42.5],[-71.2,42.5]]")]),
        post("/admin/cities/{city}/pause", "/admin/cities/boston/pause", &[("seen", "1"), ("reason", "ice")]),
        get("/admin/people", "/admin/people"),
        post("/admin/people", "/admin/people", &[("who", name)]),
        get("/admin/people/{region}/{id}", &format!("/admin/people/us-east1/{person}")),
        post("/admin/people/{region}/{id}", &format!("/admin/people/us-east1/{person}"), &[("action", "sign-out")]),
        get("/admin/roles", "/admin/roles"),
        post("/admin/roles", "/admin/roles", &[("username", name), ("city", "boston")]),
        post("/admin/roles/revoke", "/admin/roles/revoke", &[("region", "us-east1"), ("id", &id), ("city", "boston")]),
        get("/fleet/tasks", "/fleet/tasks?city=new-york"),
        post("/fleet/tasks/{region}/{id}", task, &[seen, command, ("vehicle", &id), ("step", "take")]),
        get("/fleet/jobs", "/fleet/jobs?city=new-york"),
        post("/fleet/jobs", "/fleet/jobs", &[("id", &id), ("city", "new-york"), ("kind", "retire"), ("all", "1"),
            ("drawn", "2999-01-01T00:00:00Z")]),
        get("/fleet/jobs/{region}/{id}", &format!("/fleet/jobs/us-east1/{job}")),
        post("/fleet/jobs/{region}/{id}/confirm", &format!("/fleet/jobs/us-east1/{job}/confirm"), &[]),
        post("/fleet/jobs/{region}/{id}/cancel", &format!("/fleet/jobs/us-east1/{job}/cancel"), &[]),
        get("/fleet/jobs/{region}/{id}/report.csv", &format!("/fleet/jobs/us-east1/{job}/report.csv")),
        get("/fleet/overview", "/fleet/overview"),
        get("/fleet/audit", "/fleet/audit"),
        get("/fleet/audit.csv", "/fleet/audit.csv"),
        get("/fleet/import", "/fleet/import?city=new-york"),
        post("/fleet/import", "/fleet/import?city=new-york", &[("file", "code")]),
        get("/fleet/export.csv", "/fleet/export.csv?city=new-york"),
        get("/fleet/riders.csv", "/fleet/riders.csv?city=new-york"),
        get("/admin/regions", "/admin/regions"),
        post("/admin/regions/{region}", "/admin/regions/europe-west1", &[("state", "read-only"), ("epoch", "1"),
            ("reason", "test"), ("until", "")]),
    ]
}
