//! Many people at once, for races and faults: registered without forms (the throttle
//! sees one address), each with a browser that keeps only its session; and the forms of
//! riding, sent as a page would have filled them in.

use movr::{
    db::verdict::SessionAuth,
    domain::people::{Registration, UserRef},
    ops::{
        accounts::{self, SessionStart},
        ids::Ids,
    },
    web::session::{self, SessionCookie},
};
use reqwest::{StatusCode, header};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    app::{Browser, Instance, PASSWORD, World},
    html::Page,
};

/// A person with a browser.
#[derive(Clone)]
pub struct Rider {
    pub browser: Browser,
    /// What a write of theirs carries.
    pub auth: SessionAuth,
}

/// What the form `form` of a person makes in New York's region, such as a `ride`.
pub fn made(purpose: &str, person: &UserRef, form: Uuid) -> Uuid {
    Ids::new(&[vec![7; 64]]).row(purpose, &"us-east1".parse().unwrap(), Some(person), form)
}

impl Rider {
    /// The person of a session that was just begun.
    pub fn signed_in(instance: &Instance, started: SessionStart, name: String) -> Self {
        let service = &instance.running.state.service;
        let cookie = SessionCookie::new(started, service.clock.now());
        let header = session::write(&instance.running.state.site, &cookie).stripped().encoded().to_string();
        let browser = Browser { name, ..instance.replaying(&header) };
        Self { browser, auth: cookie.auth(service.clock.now()) }
    }

    /// The ride that the form `form` of this rider starts in New York.
    pub fn ride(&self, form: Uuid) -> Uuid {
        made("ride", &self.auth.user, form)
    }
}

/// `n` people at home in New York, signed in at `instance`.
pub async fn crowd(instance: &Instance, n: usize) -> Vec<Rider> {
    let service = &instance.running.state.service;
    let mut riders = Vec::with_capacity(n);
    for _ in 0..n {
        let id = Uuid::new_v4();
        let username = format!("c{}", &id.simple().to_string()[..12]);
        let registration = Registration {
            id,
            city: "new-york".to_owned(),
            region: "us-east1".parse().unwrap(),
            username: username.clone(),
            first_name: "Pat".to_owned(),
            last_name: "Doe".to_owned(),
            email: "pat@example.com".to_owned(),
            password: PASSWORD.to_owned(),
        };
        let started = accounts::register(service, registration, &[], "Test").await.unwrap();
        riders.push(Rider::signed_in(instance, started, username));
    }
    riders
}

/// At least so many vehicles on the streets of `cities` that can be ridden: some of the
/// sample are in the workshop.
pub async fn street(world: &World, cities: &[&str], vehicles: usize) {
    world.sample(cities, 0, vehicles + vehicles / 4 + 4).await;
}

/// What a page says of a vehicle.
#[derive(Clone)]
pub struct Bike {
    pub region: String,
    pub id: Uuid,
    pub public_id: String,
    pub city: String,
    pub vehicle_type: String,
}

/// The vehicles of a city that can be ridden or are, always in the same order.
pub async fn bikes(sql: &Client, city: &str) -> Vec<Bike> {
    let text = "SELECT region::TEXT, id, public_id, city, type FROM vehicles
        WHERE city = $1 AND status IN ('available', 'in_use') ORDER BY id";
    let rows = sql.query(text, &[&city]).await.unwrap();
    let bike = |row: &tokio_postgres::Row| Bike {
        region: row.try_get(0).unwrap(),
        id: row.try_get(1).unwrap(),
        public_id: row.try_get::<_, Uuid>(2).unwrap().to_string(),
        city: row.try_get(3).unwrap(),
        vehicle_type: row.try_get(4).unwrap(),
    };
    rows.iter().map(bike).collect()
}

impl Bike {
    /// What reserving posts.
    pub fn reserve(&self) -> (String, Vec<(&str, &str)>) {
        let path = format!("/vehicles/{}/{}/reserve", self.region, self.public_id);
        (path, vec![("city", &self.city), ("type", &self.vehicle_type)])
    }

    /// What giving the reservation up posts.
    pub fn cancel(&self) -> Vec<(&str, &str)> {
        vec![("region", &self.region), ("vehicle", &self.public_id), ("city", &self.city)]
    }

    /// What starting the ride `id` posts.
    pub fn start<'a>(&'a self, ride: &'a str, promo: &'a str) -> Vec<(&'a str, &'a str)> {
        let vehicle = [("region", &*self.region), ("vehicle", &self.public_id), ("city", &self.city)];
        [&vehicle[..], &[("type", &*self.vehicle_type), ("ride", ride), ("promo", promo)]].concat()
    }
}

/// What ending a ride in New York posts.
pub const END: [(&str, &str); 4] = [("city", "new-york"), ("place", "Corner"), ("lat", "40.7580"), ("lon", "-73.9855")];

impl Browser {
    pub async fn start(&self, bike: &Bike, ride: Uuid, promo: &str) -> Page {
        self.post("/rides", &bike.start(&ride.to_string(), promo)).await
    }

    pub async fn reserve(&self, bike: &Bike) -> Page {
        let (path, fields) = bike.reserve();
        self.post(&path, &fields).await
    }

    /// Ends the ride whose page is `ride`.
    pub async fn end(&self, ride: &str) -> Page {
        self.post(&format!("{ride}/end"), &END).await
    }
}

/// Where a form leads, and the message that it leaves for the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub good: bool,
    pub text: String,
    pub location: String,
}

/// Reads a redirect. Without a message it is neither good nor bad: no text.
pub fn redirect(instance: &Instance, page: &Page) -> Redirect {
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text());
    let cookies = page.headers.get_all(header::SET_COOKIE).iter();
    let cookies = cookies.map(|cookie| cookie.to_str().unwrap().to_owned());
    let cookies: Vec<_> = cookies.map(|cookie| actix_web::cookie::Cookie::parse_encoded(cookie).unwrap()).collect();
    let flash = session::read_flash(&instance.running.state.site, &cookies);
    let (good, text) = flash.map_or((false, String::new()), |flash| (flash.good, flash.text));
    Redirect { good, text, location: page.location() }
}

/// One number out of the database.
pub async fn count(sql: &Client, text: &str) -> i64 {
    sql.query_one(text, &[]).await.unwrap().try_get(0).unwrap()
}
