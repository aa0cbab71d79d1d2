//! A world with one App, and people who do things without a browser.

use chrono::Duration;
use movr::{
    db::{
        Conn, Write,
        vehicles::{self, NewVehicle, Search},
        verdict::SessionAuth,
    },
    domain::{
        catalogue::City, geo::Point, job::JobRef, people::Registration, refusal::Refusal, ride::RideRef,
        vehicle::PublicVehicle,
    },
    ops::service::Service,
    ops::{
        self, OpError,
        accounts::{self, SessionStart},
        erasure, home,
        jobs::{self, JobContext},
        own_data, passwords, rides, vehicle_write,
    },
};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{World, world};

pub const PASSWORD: &str = "a long walk to the tram";

/// A world of its own, an App in us-east1, and a connection to look at rows.
pub struct Scene {
    pub world: World,
    pub service: Service,
    sql: tokio_postgres::Client,
}

/// A person with a session, and the hash that their password was checked against.
#[derive(Clone)]
pub struct Person {
    pub start: SessionStart,
    pub hash: String,
}

impl Scene {
    pub async fn new() -> Self {
        let world = world().await;
        let (service, sql) = (world.service("us-east1").await, world.sql().await);
        Self { world, service, sql }
    }

    pub async fn end(self) {
        self.service.db.close();
        drop(self.sql);
        self.world.end().await;
    }

    /// The rows of a query, columns by `|`, rows by `;`.
    pub async fn one(&self, sql: &str) -> String {
        use tokio_postgres::SimpleQueryMessage::Row;
        let mut rows = Vec::new();
        for message in self.sql.simple_query(sql).await.unwrap() {
            if let Row(row) = message {
                let columns = (0..row.len()).map(|n| row.get(n).unwrap_or("NULL"));
                rows.push(columns.collect::<Vec<_>>().join("|"));
            }
        }
        rows.join(";")
    }

    pub fn city(&self, slug: &str) -> City {
        self.service.catalogue().city(slug).unwrap().clone()
    }

    pub async fn person(&self, city: &str, name: &str) -> Person {
        let city = self.city(city);
        let registration = Registration {
            id: Uuid::new_v4(),
            city: city.slug,
            region: city.region,
            username: name.to_owned(),
            first_name: "Ann".to_owned(),
            last_name: "Lee".to_owned(),
            email: "ann@example.com".to_owned(),
            password: PASSWORD.to_owned(),
        };
        let start = accounts::register(&self.service, registration, &[], "Firefox").await.unwrap();
        let hash = accounts::confirm_password(&self.service, &self.auth(&start), PASSWORD).await.unwrap();
        Person { start, hash }
    }

    pub fn auth(&self, start: &SessionStart) -> SessionAuth {
        let now = self.service.clock.now();
        SessionAuth {
            user: start.user.clone(),
            session: start.session,
            token_hash: passwords::token_hash(&start.token),
            now,
            idle_since: now - accounts::IDLE,
            unstored: start.unstored,
        }
    }

    pub async fn sign_in(&self, name: &str, hash: &str) -> Person {
        let start = accounts::sign_in(&self.service, name, PASSWORD, "Phone", None).await.unwrap();
        Person { start, hash: hash.to_owned() }
    }

    pub async fn move_to(&self, person: &Person, city: &str) -> Result<Person, OpError> {
        let auth = self.auth(&person.start);
        let start = home::move_home(&self.service, &auth, &person.hash, city, "Firefox").await?;
        Ok(Person { start, hash: person.hash.clone() })
    }

    pub async fn erase(&self, person: &Person) -> Result<(), OpError> {
        let erasure = erasure::close_account(&self.service, &self.auth(&person.start), &person.hash).await?;
        self.go_on(&erasure).await
    }

    /// Does what a worker does for an erasure, until it is over.
    pub async fn go_on(&self, erasure: &JobRef) -> Result<(), OpError> {
        let catalogue = self.service.catalogue();
        loop {
            let job = jobs::find(&self.service.db, erasure).await?;
            if !job.running {
                return Ok(());
            }
            jobs::batch(JobContext::for_requester(&self.service, &catalogue, &job), &job).await?;
        }
    }

    pub async fn export(&self, person: &Person) -> Result<Value, OpError> {
        let export = own_data::begin(&self.service, &self.auth(&person.start)).await?;
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let write = async move { export.write(&self.service, &sender).await };
        let read = async {
            let mut text = String::new();
            while let Some(more) = receiver.recv().await {
                text += &more;
            }
            text
        };
        let ((), text) = tokio::join!(write, read);
        Ok(serde_json::from_str(&text).unwrap())
    }

    pub async fn add_vehicle(&self, owner: &Person) -> Uuid {
        let (city, id) = (self.city(&owner.start.city), Uuid::new_v4());
        let new = NewVehicle {
            id,
            at: city.centre,
            city: city.slug,
            vehicle_type: "bike".to_owned(),
            code: None,
            brand: "X".to_owned(),
            colour: "red".to_owned(),
            place: "Main St".to_owned(),
        };
        let (auth, public_id) = (self.auth(&owner.start), Uuid::new_v4());
        let insert = async |conn: &Conn, write: &Write<'_>| vehicles::insert(conn, write, &new, public_id).await;
        vehicle_write(&self.service, &auth, (&auth.user.region, id), insert).await.unwrap();
        self.world.approve().await;
        id
    }

    /// The first vehicle of a city, and its type.
    pub async fn vehicle(&self, city: &City) -> (PublicVehicle, String) {
        let search = Search {
            region: &city.region,
            city: &city.slug,
            point: city.centre,
            vehicle_type: None,
            battery: 0,
            after: None,
            rider: None,
            now: self.service.clock.now(),
        };
        let conn = self.service.db.here().await.unwrap();
        let found = ops::vehicles::nearest(&self.service, &conn, &search).await.unwrap().remove(0);
        (PublicVehicle { region: city.region.clone(), public_id: found.public_id }, found.vehicle_type)
    }

    pub async fn start(&self, rider: &Person, city: &str, promo: &str) -> Result<RideRef, OpError> {
        let city = self.city(city);
        let (vehicle, vehicle_type) = self.vehicle(&city).await;
        let ride = RideRef { region: city.region, id: Uuid::new_v4() };
        let start = rides::Start {
            ride: ride.clone(),
            vehicle,
            code: None,
            city: city.slug,
            vehicle_type,
            price: None,
            promo: promo.to_owned(),
        };
        rides::start(&self.service, &self.auth(&rider.start), start).await.map(|_| ride)
    }

    /// A ride with three positions, ended in the middle of the city.
    pub async fn ride(&self, rider: &Person, city: &str, promo: &str) -> RideRef {
        let ride = self.start(rider, city, promo).await.unwrap();
        self.service.clock.advance(Duration::seconds(25));
        let (city, now) = (self.city(city), self.service.clock.now());
        let track = [1_i32, 2, 3].map(|n| {
            let point = Point::new(city.centre.lat() + 0.0001 * f64::from(n), city.centre.lon()).unwrap();
            (now - Duration::seconds(i64::from(n) * 6), point)
        });
        rides::add_positions(&self.service, &self.auth(&rider.start), &ride, &city.slug, &track).await.unwrap();
        self.end_ride(rider, &ride, &city).await;
        ride
    }

    pub async fn end_ride(&self, rider: &Person, ride: &RideRef, city: &City) {
        let auth = self.auth(&rider.start);
        rides::end(&self.service, &auth, ride, &city.slug, city.centre).await.unwrap();
        // What a ride leaves appears within two minutes.
        self.service.clock.advance(Duration::minutes(2));
    }

    /// Everything that a refusal must leave as it is.
    pub async fn personal(&self) -> String {
        let mut rows = String::new();
        for table in ["users", "sessions", "role_grants", "promo_redemptions", "vehicles", "rides", "ride_positions"] {
            rows += &self.one(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).await;
        }
        rows
    }
}

#[track_caller]
pub fn refused<T>(result: Result<T, OpError>) -> Refusal {
    match result {
        Err(OpError::Refused(refusal)) => refusal,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was done"),
    }
}
