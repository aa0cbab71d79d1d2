//! The consistency contract of pages: which regions a request may touch, and whether it kept to
//! them. Touched regions come from the bound parameters, allowed ones from the route, the person's
//! home, and the rows and cities that the request names. `Server-Timing` and the log have the
//! verdict.

use std::fmt::Write;

use actix_web::{HttpMessage, http::Method};

use super::{
    RequestContext,
    routes::{ROUTES, Route},
};
use crate::{
    db::{all_statements, meter::Figures, statement::Reach},
    domain::RegionCode,
    ops::Service,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionScope {
    /// None: answered from memory, or by asking whether this instance's nodes answer.
    Here,
    /// The person's home and the regions of the rows and cities that the request names.
    Named,
    /// Those, and the regions with data of the person.
    Present,
    /// All, deliberately: a username is unique everywhere, a moved row may be anywhere.
    All,
}

impl RegionScope {
    /// For the route with this method and pattern; nothing but home where there is none.
    pub fn of(method: &Method, pattern: &str) -> Self {
        Route::of(method, pattern).map_or(Self::Named, |route| route.scope)
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Here => "none, or here",
            Self::Named => "home, and what the request names",
            Self::Present => "home, and where something of the person lies",
            Self::All => "all regions if needed",
        }
    }
}

pub fn markdown() -> String {
    let mut text = String::from("| route | who | regions it may touch |\n|---|---|---|\n");
    for route in ROUTES {
        let scope = route.scope.words();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{} {}` | {} | {scope} |", route.method, route.path, route.access.words());
    }
    text.push_str("\n<details><summary>Every statement</summary>\n\n| statement | kind | reach |\n|---|---|---|\n");
    for statement in all_statements() {
        let kind = if statement.writes { "write" } else { "read" };
        let reach = match statement.reach {
            Reach::Named => "the regions bound to its parameters".to_owned(),
            Reach::Global => "GLOBAL tables".to_owned(),
            Reach::Stale => "the nearest replica".to_owned(),
            Reach::AllRegions { why } => format!("all regions: {why}"),
        };
        let _ = writeln!(text, "| `{}` | {kind} | {reach} |", statement.name);
    }
    text + "\n</details>\n"
}

/// Regions that a form names beyond its address, and those with data of the person as the row at
/// home says; recorded during the request.
#[derive(Default)]
struct RequestRegions {
    named: Vec<RegionCode>,
    present: Vec<RegionCode>,
}

impl RequestContext {
    /// For a region that the request names elsewhere than in its address.
    pub fn may_touch(&self, region: &RegionCode) {
        self.note(|noted| noted.named.push(region.clone()));
    }

    pub fn may_touch_all(&self) {
        self.catalogue.regions.iter().for_each(|region| self.may_touch(&region.code));
    }

    /// For regions with data of the person.
    pub fn is_present_in(&self, regions: &[RegionCode]) {
        self.note(|noted| noted.present.extend_from_slice(regions));
    }

    fn note(&self, add: impl FnOnce(&mut RequestRegions)) {
        add(self.request().extensions_mut().get_or_insert_with(RequestRegions::default));
    }

    fn named(&self, scope: RegionScope) -> Vec<RegionCode> {
        let request = self.request();
        let mut named: Vec<RegionCode> = self.cookie.iter().map(|cookie| cookie.region.clone()).collect();
        named.extend(request.match_info().get("region").and_then(|region| region.parse().ok()));
        named.extend(request.match_info().get("city").and_then(|slug| Some(self.catalogue.city(slug)?.region.clone())));
        named.extend(Some(self.city().region.clone()));
        let region_of = |pair: &str| self.catalogue.city(pair.strip_prefix("city=")?).map(|city| city.region.clone());
        named.extend(request.query_string().split('&').filter_map(region_of));
        let present = scope == RegionScope::Present;
        if let Some(regions) = request.extensions().get::<RequestRegions>() {
            named.extend(regions.named.iter().chain(regions.present.iter().filter(|_| present)).cloned());
        }
        if present {
            named.extend(self.cookie.iter().flat_map(|cookie| cookie.present_in.clone()));
        }
        named
    }
}

/// The verdict in a few words, and whether the contract was kept. `context` is only needed when
/// something beyond here was touched.
pub fn verdict(
    service: &Service,
    scope: RegionScope,
    figures: &Figures,
    context: impl FnOnce() -> Option<RequestContext>,
) -> (bool, String) {
    if let Some(region) = &service.config.all_rows_in {
        return (true, format!("none without localities: all rows are in {region}"));
    }
    let away: Vec<&str> =
        figures.regions.iter().filter(|region| **region != service.here).map(RegionCode::as_str).collect();
    if figures.everywhere {
        let kept = scope == RegionScope::All;
        return (kept, if kept { "kept: asks all regions" } else { "broken: asks all regions" }.to_owned());
    }
    if away.is_empty() {
        return (true, "kept: here only".to_owned());
    }
    let named = match scope {
        RegionScope::Here => Vec::new(),
        RegionScope::Named | RegionScope::Present => context().map(|context| context.named(scope)).unwrap_or_default(),
        RegionScope::All => figures.regions.clone(),
    };
    let unnamed: Vec<&str> =
        away.iter().filter(|region| !named.iter().any(|named| named.as_str() == **region)).copied().collect();
    if unnamed.is_empty() {
        (true, format!("kept: crosses to {}", away.join(" ")))
    } else {
        (false, format!("broken: touched {}", unnamed.join(" ")))
    }
}
