//! `/fleet/qr`: the codes in the fleet's list as QR codes to print and stick on the vehicles, on
//! sheets of 24 labels of 70 by 37 millimetres. Each leads to the page that unlocks its vehicle.

use askama::Template;

use super::{
    city_of,
    fleet::{self, FleetQuery, after},
    read_operated,
};
use crate::{
    db::{self, Conn},
    domain::{City, qr},
    web::{Layout, PageResult, Pagination, Query, RequestContext, Section, paths},
};

const COLUMNS: usize = 3;
const ROWS: usize = 8;
/// Two sheets.
const PAGE: usize = 2 * COLUMNS * ROWS;

#[derive(Template)]
#[template(path = "pages/fleet_qr.html")]
struct QrPage<'a> {
    layout: Layout,
    city: &'a City,
    sheets: Vec<&'a [Label<'a>]>,
    pagination: Pagination,
}

struct Label<'a> {
    code: &'a str,
    size: usize,
    path: String,
    /// On its sheet, in millimetres.
    corner: (usize, usize),
}

/// With wrong filters: their page.
pub async fn show(mut context: RequestContext, Query(query): Query<FleetQuery>) -> PageResult {
    let Ok((filter, sort)) = query.parse(&context.catalogue, context.now) else {
        return fleet::list(context, Query(query)).await;
    };
    let city = city_of(&context, &query.city)?;
    let cursor = query.cursor(sort);
    let list =
        async |conn: &Conn| db::fleet::list(conn, (&city.region, &city.slug), &filter, sort, cursor.clone()).await;
    let (_, mut page) = read_operated(&mut context, &city, list).await?;
    if page.vehicles.len() > PAGE {
        page.vehicles.truncate(PAGE);
        page.next = page.vehicles.last().map(|vehicle| vehicle.cursor(sort));
    }
    let origin = context.service.config.public_url.origin();
    let codes = page.vehicles.iter().filter(|vehicle| vehicle.status != "retired");
    let drawn = codes.filter_map(|vehicle| {
        let code = vehicle.code.as_deref()?;
        Some((code, qr::path(&format!("{origin}{}", paths::sticker(code)))?))
    });
    let label = |(number, (code, (size, path)))| {
        let place: usize = number % (COLUMNS * ROWS);
        Label { code, size, path, corner: (place % COLUMNS * 70, place / COLUMNS * 37) }
    };
    let labels: Vec<Label<'_>> = drawn.enumerate().map(label).collect();
    let here = format!("/fleet/qr?city={}{}", city.slug, query.with_status(&query.status));
    let older = page.next.as_ref().map(|(key, id)| format!("{here}&after={}", after(key, *id)));
    context.ok(&QrPage {
        layout: context.layout(&format!("QR codes for {}", city.name), Section::Fleet, &city),
        city: &city,
        sheets: labels.chunks(COLUMNS * ROWS).collect(),
        pagination: Pagination { newest: cursor.is_some().then_some(here), older, sparse: false },
    })
}
