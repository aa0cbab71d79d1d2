//! Draws plausible people, vehicles and rides, each from its own generator, seeded by seed, city
//! and number, so that it does not depend on how many there are. No database, no clock.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::SamplePlan;
use crate::{
    db::sample::{Ended, Position, Ride, Street, User, Vehicle},
    domain::{
        Catalogue, City, Point, Tariff,
        catalogue::fold,
        event::{VEHICLE_LOST, VEHICLE_RESERVED},
        fare::{Fare, minutes_started},
        geo,
        place::{moved, offset, place},
        vehicle::RESERVATION_MINUTES,
    },
};

/// Rides began within so many days, more of them lately.
const DAYS: i64 = 30;

const FIRST: [&str; 40] = [
    "Ada", "Amina", "André", "Anneke", "Ben", "Carla", "Chiara", "Daan", "Deepa", "Elif", "Emma", "Fatou", "Femke",
    "Giulia", "Grace", "Hassan", "Hugo", "Ines", "Jamal", "Jürgen", "Kenji", "Lars", "Léa", "Lin", "Lucia", "Malik",
    "Marta", "Mei", "Nadia", "Noah", "Olu", "Pablo", "Priya", "Rosa", "Sam", "Sofia", "Tariq", "Tess", "Yara", "Zoë",
];
const LAST: [&str; 40] = [
    "Adeyemi", "Ahmed", "Bakker", "Bernard", "Bianchi", "Brown", "Chen", "Costa", "Davis", "De Luca", "De Vries",
    "Diallo", "Dubois", "Evans", "Fontana", "Garcia", "Greco", "Haddad", "Ito", "Jansen", "Johnson", "Kaya", "Kim",
    "Laurent", "López", "Martin", "Miller", "Moreau", "Nguyen", "Okafor", "Patel", "Ricci", "Rossi", "Santos", "Singh",
    "Smit", "Tanaka", "Visser", "Wilson", "Yılmaz",
];
const COLOURS: [&str; 10] =
    ["black", "white", "red", "blue", "green", "yellow", "orange", "grey", "silver", "turquoise"];
const BRANDS: [&str; 8] = ["Veloria", "Kestrel", "Northwind", "Gazelia", "Piccolo", "Tramontane", "Bluejay", "Cascade"];

const AMERICAN: [&str; 12] = [
    "Maple Street", "Oak Avenue", "Washington Street", "Park Avenue", "2nd Street", "Elm Street", "Cedar Street",
    "Lincoln Avenue", "Main Street", "Franklin Street", "Pine Street", "Highland Avenue",
];
const FRENCH: [&str; 12] = [
    "rue des Lilas", "rue Voltaire", "avenue Victor Hugo", "rue du Marché", "boulevard Pasteur", "rue Jean Jaurès",
    "quai des Fleurs", "rue de la Gare", "rue Pasteur", "avenue Foch", "rue des Écoles", "place Carnot",
];
const DUTCH: [&str; 12] = [
    "Kerkstraat", "Prinsenstraat", "Molenweg", "Stationsplein", "Dorpsstraat", "Julianalaan", "Lindenlaan",
    "Oranjekade", "Schoolstraat", "Parklaan", "Marktplein", "Nieuwstraat",
];
const ITALIAN: [&str; 12] = [
    "Via Garibaldi", "Via Roma", "Via Mazzini", "Corso Cavour", "Via Verdi", "Piazza Dante", "Via Marconi",
    "Viale Europa", "Via Manzoni", "Via Matteotti", "Corso Italia", "Via Nazionale",
];

/// The people that sample rides are drawn for.
#[derive(Debug, Default)]
pub(super) struct People<'a> {
    /// By city.
    pub at_home: HashMap<&'a str, Vec<Uuid>>,
    /// Of this load: they may be under way now.
    pub new: HashSet<Uuid>,
}

/// What a vehicle does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    Stands,
    IsRidden,
    IsReserved,
    IsLost,
}

/// A point and its address.
type Stop = (Point, String);

fn generator(seed: u64, city: &City, what: &str, number: usize) -> StdRng {
    StdRng::from_seed(Sha256::digest(format!("{seed}/{}/{what}/{number}", city.slug)).into())
}

fn new_id(rng: &mut impl Rng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

fn pick(rng: &mut impl Rng, from: &[&'static str]) -> &'static str {
    from.choose(rng).copied().unwrap_or_default()
}

/// Registered long before any ride.
pub(super) fn user(seed: u64, city: &City, number: usize, now: DateTime<Utc>) -> User {
    let mut rng = generator(seed, city, "user", number);
    let (id, first_name, last_name) = (new_id(&mut rng), pick(&mut rng, &FIRST), pick(&mut rng, &LAST));
    User {
        id,
        city: city.slug.clone(),
        username: format!("{}.{}.{}", fold(first_name), city.slug, number + 1),
        first_name,
        last_name,
        created_at: long_ago(&mut rng, now),
        role: None,
        role_city: String::new(),
    }
}

type Span = (DateTime<Utc>, DateTime<Utc>);

/// When each rider was under way: nobody is in two places at once.
#[derive(Debug, Default)]
pub(super) struct Busy(HashMap<Uuid, Vec<Span>>);

impl Busy {
    fn take(&mut self, rider: Uuid, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let times = self.0.entry(rider).or_default();
        let free = times.iter().all(|(start, end)| *end < from || to < *start);
        if free {
            times.push((from, to));
        }
        free
    }
}

pub(super) struct Drawn<'a> {
    catalogue: &'a Catalogue,
    city: &'a City,
    seed: u64,
    now: DateTime<Utc>,
    locals: Vec<Uuid>,
    new: Vec<Uuid>,
    /// From other cities of the region.
    guests: Vec<Uuid>,
    /// How many rides each vehicle has had.
    rides: Vec<i32>,
    /// From the centre to the farthest corner of the service area, in metres.
    radius: f64,
}

impl<'a> Drawn<'a> {
    pub(super) fn new(
        catalogue: &'a Catalogue,
        city: &'a City,
        plan: &SamplePlan,
        cities: &[&City],
        people: &People<'_>,
        now: DateTime<Utc>,
    ) -> Self {
        let of = |other: &City| people.at_home.get(other.slug.as_str()).cloned().unwrap_or_default();
        let others = cities.iter().filter(|other| other.region == city.region && other.slug != city.slug);
        let corners = city.service_area.points().iter().map(|corner| city.centre.distance_m(*corner));
        let (mut rides, mut rng) = (vec![0; plan.vehicles], generator(plan.seed, city, "rides", 0));
        let working: Vec<usize> = (0..plan.vehicles).filter(|n| !in_maintenance(*n)).collect();
        for _ in 0..plan.rides {
            if let Some(count) = working.choose(&mut rng).and_then(|n| rides.get_mut(*n)) {
                *count += 1;
            }
        }
        Self {
            catalogue,
            city,
            seed: plan.seed,
            now,
            new: of(city).into_iter().filter(|rider| people.new.contains(rider)).collect(),
            locals: of(city),
            guests: others.flat_map(|other| of(other)).collect(),
            rides,
            radius: corners.fold(0.0, f64::max),
        }
    }

    /// Adds a vehicle with its rides, one in each of as many parts of the month, and what it does now.
    pub(super) fn vehicle(&self, number: usize, busy: &mut Busy, street: &mut Street) {
        let rng = &mut generator(self.seed, self.city, "vehicle", number);
        let (id, public_id) = (new_id(rng), new_id(rng));
        let vehicle_type =
            self.catalogue.vehicle_types.choose(rng).map(|vehicle_type| vehicle_type.slug.clone()).unwrap_or_default();
        let owner = if rng.random_bool(0.1) { self.locals.choose(rng).copied() } else { None };
        // Unique over all cities, and different for the next seed.
        let city = self.city.slug.get(..3).unwrap_or("mov").to_uppercase();
        let code = owner.is_none().then(|| format!("{city}-{}-{:04}", self.seed % 10_000, number + 1));
        let (brand, colour) = (pick(rng, &BRANDS), pick(rng, &COLOURS));
        let (first, mut at_place) = self.stop(rng, true);
        let created_at = long_ago(rng, self.now);
        let battery = rng.random_range(15..=100);

        let rides = self.rides.get(number).copied().unwrap_or_default();
        let ridden = self.rides.iter().any(|rides| *rides > 0);
        let does = if self.new.is_empty() || !ridden { Now::Stands } else { what_it_does(number) };
        let until = match does {
            Now::Stands => self.now - TimeDelta::minutes(3),
            Now::IsRidden | Now::IsReserved => self.now - TimeDelta::minutes(45),
            Now::IsLost => self.now - TimeDelta::days(6),
        };
        // The parts become shorter towards the end.
        let part_at = |nth: i32| {
            let left = 1.0 - f64::from(nth) / f64::from(rides.max(1));
            later(until, -TimeDelta::days(DAYS).as_seconds_f64() * left * left)
        };
        let (mut at, mut changed_at, mut version) = (first, created_at, 1);
        for nth in 0..rides {
            let begin = part_at(nth);
            let Some(tariff) = self.catalogue.tariff(&self.city.slug, &vehicle_type, begin) else { break };
            // The last one brings it back into the service area.
            let outside = nth + 1 < rides && rng.random_bool(0.03);
            let part = (begin, part_at(nth + 1) - begin);
            let (ride, positions) = self.ride(id, tariff, (at, at_place.clone()), part, outside, rng, busy);
            street.rides.push(Ride { version: version + 1, ..ride });
            street.positions.extend(positions);
            if let Some(Ride { ended: Some(end), .. }) = street.rides.last() {
                (at, at_place, changed_at, version) = (end.point, end.place.clone(), end.at, version + 2);
            }
        }
        let mut vehicle = Vehicle {
            id,
            public_id,
            vehicle_type,
            status: if in_maintenance(number) { "maintenance" } else { "available" },
            code,
            brand,
            colour,
            battery,
            first,
            at,
            cell: geo::cell(at),
            place: at_place,
            owner,
            open_ride: None,
            reserved_by: None,
            reserved_until: None,
            version,
            last_event: None,
            created_at,
            changed_at,
            seen_at: changed_at,
        };
        self.make(does, &mut vehicle, rng, busy, street);
        street.vehicles.push(vehicle);
    }

    /// Makes it do that, if somebody is free for it.
    fn make(&self, does: Now, vehicle: &mut Vehicle, rng: &mut StdRng, busy: &mut Busy, street: &mut Street) {
        let minutes = |rng: &mut StdRng, most: i64| TimeDelta::seconds(rng.random_range(60..60 * most));
        let since = match does {
            Now::Stands => return,
            Now::IsRidden => self.now - minutes(rng, 35),
            Now::IsReserved => self.now - minutes(rng, RESERVATION_MINUTES),
            Now::IsLost => self.now - TimeDelta::seconds(rng.random_range(86_400..5 * 86_400)),
        };
        let tomorrow = self.now + TimeDelta::days(1);
        let free = |busy: &mut Busy| self.new.iter().copied().find(|rider| busy.take(*rider, since, tomorrow));
        let tariff = self.catalogue.tariff(&self.city.slug, &vehicle.vehicle_type, since);
        match (does, if does == Now::IsLost { None } else { free(busy) }, tariff) {
            (Now::IsRidden, Some(rider), Some(tariff)) => {
                let id = new_id(rng);
                (vehicle.status, vehicle.open_ride) = ("in_use", Some(id));
                street.rides.push(Ride {
                    id,
                    vehicle: vehicle.id,
                    version: vehicle.version + 1,
                    rider: Some(rider),
                    started_at: since,
                    start: vehicle.at,
                    start_place: vehicle.place.clone(),
                    rate: tariff.rate(),
                    out_of_area_minor: tariff.out_of_area_fee_minor,
                    ended: None,
                });
            }
            (Now::IsReserved, Some(rider), _) => {
                let until = since + TimeDelta::minutes(RESERVATION_MINUTES);
                (vehicle.reserved_by, vehicle.reserved_until) = (Some(rider), Some(until));
                vehicle.last_event = Some(VEHICLE_RESERVED);
            }
            (Now::IsLost, ..) => (vehicle.status, vehicle.last_event) = ("lost", Some(VEHICLE_LOST)),
            _ => return,
        }
        (vehicle.version, vehicle.changed_at) = (vehicle.version + 1, since);
    }

    /// A ride within `part` of the month from `begin` on, and its positions.
    #[allow(clippy::too_many_arguments, reason = "all that a ride depends on")]
    fn ride(
        &self,
        vehicle: Uuid,
        tariff: &Tariff,
        (start, start_place): Stop,
        (begin, part): (DateTime<Utc>, TimeDelta),
        outside_area: bool,
        rng: &mut StdRng,
        busy: &mut Busy,
    ) -> (Ride, Vec<Position>) {
        let (id, (end, end_place)) = (new_id(rng), self.stop(rng, !outside_area));
        // 2.5 to 5 m/s as the crow flies, and a few minutes of standing about.
        let duration = start.distance_m(end) / rng.random_range(2.5..5.0) + rng.random_range(60.0..600.0);
        let seconds = duration.min(part.as_seconds_f64() * 0.6);
        let early = rng.random::<f64>().powi(2);
        let started_at = later(begin, (part.as_seconds_f64() - seconds) * (1.0 - early));
        let ended_at = later(started_at, seconds);
        let rider = (0..10).find_map(|_| {
            let from_elsewhere = self.locals.is_empty() || rng.random_bool(0.15);
            let rider = if from_elsewhere { self.guests.choose(rng) } else { self.locals.choose(rng) };
            rider.copied().filter(|rider| busy.take(*rider, started_at, ended_at))
        });
        let noted = if rng.random_bool(0.3) { rng.random_range(3..=8_u8) } else { 0 };
        let (north, east) = offset(start, end);
        let (mut positions, mut distance, mut last) = (Vec::new(), 0.0, start);
        for n in 1..=noted {
            let share = f64::from(n) / f64::from(noted + 1);
            let (aside_n, aside_e) = (rng.random_range(-80.0..80.0), rng.random_range(-80.0..80.0));
            let at = moved(start, north * share + aside_n, east * share + aside_e);
            positions.push(Position { ride: id, noted_at: later(started_at, seconds * share), at });
            distance += last.distance_m(at);
            last = at;
        }
        let fee = if outside_area { tariff.out_of_area_fee_minor } else { 0 };
        let ended = Ended {
            at: ended_at,
            point: end,
            place: end_place,
            outside_area,
            distance_m: whole(distance + last.distance_m(end)),
            fare: Fare::new(tariff.rate(), minutes_started(ended_at - started_at), None, fee),
        };
        let ride = Ride {
            id,
            vehicle,
            version: 0,
            rider,
            started_at,
            start,
            start_place,
            rate: tariff.rate(),
            out_of_area_minor: tariff.out_of_area_fee_minor,
            ended: Some(ended),
        };
        (ride, positions)
    }

    /// A point inside (or outside) the service area, denser towards the centre.
    fn stop(&self, rng: &mut StdRng, inside: bool) -> Stop {
        let reach = if inside { self.radius } else { self.radius * 1.3 };
        let mut points = std::iter::repeat_with(|| {
            let (metres, angle) = (reach * rng.random::<f64>(), std::f64::consts::TAU * rng.random::<f64>());
            moved(self.city.centre, metres * angle.cos(), metres * angle.sin())
        });
        // The service area contains its centre, so a hit is only a matter of tries.
        let hit = points.by_ref().take(200).find(|point| self.city.service_area.contains(*point) == inside);
        let at = hit.unwrap_or(self.city.centre);
        let (before, streets) = match self.city.country.as_str() {
            "United States" => (true, &AMERICAN),
            "France" => (true, &FRENCH),
            "Netherlands" => (false, &DUTCH),
            "Italy" => (false, &ITALIAN),
            _ => return (at, place(self.city.units, self.city.centre, at)),
        };
        let (street, number) = (pick(rng, streets), rng.random_range(1..180));
        (at, if before { format!("{number} {street}") } else { format!("{street} {number}") })
    }
}

fn what_it_does(number: usize) -> Now {
    match number % 25 {
        3 => Now::IsRidden,
        8 => Now::IsReserved,
        12 if number % 50 == 12 => Now::IsLost,
        _ => Now::Stands,
    }
}

/// One in 25 is in maintenance and has had no rides.
fn in_maintenance(number: usize) -> bool {
    number % 25 == 17
}

/// Up to 400 days before any ride.
fn long_ago(rng: &mut StdRng, now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::days(DAYS + 1) - TimeDelta::seconds(rng.random_range(0..400 * 86_400))
}

fn later(time: DateTime<Utc>, seconds: f64) -> DateTime<Utc> {
    (time + TimeDelta::milliseconds(whole(seconds * 1000.0))).trunc_subsecs(3)
}

#[allow(clippy::cast_possible_truncation, reason = "metres within a city, milliseconds within a month")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}
