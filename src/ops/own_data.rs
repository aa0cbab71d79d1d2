//! Everything about a person, as JSON, written as it is read: at most a page of rows is held, and
//! no connection while the receiver is slow. Each region is read as of one time (`Db::read_at`),
//! home first. A region that does not answer is named in the file.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use uuid::Uuid;

use super::{Result, Service};
use crate::{
    db::{
        Conn, DbError, SessionAuth,
        home::{self, PAGE, Page, RIDES},
        sessions,
    },
    domain::{Refusal, RegionCode, event::USER_HOME_MOVED},
};

const CHUNK: usize = 64 * 1024;

pub struct Export {
    auth: SessionAuth,
    person: Value,
    regions: Vec<RegionCode>,
}

/// Checks the session, and reads the data at home.
pub async fn begin(service: &Service, auth: &SessionAuth) -> Result<Export> {
    let conn = service.db.at(&auth.user.region).await?;
    sessions::check(&conn, auth).await?.ok_or(Refusal::SignedOut)?;
    let (person, present_in) = home::find_person(&conn, &auth.user).await?.ok_or(Refusal::SignedOut)?;
    let mut regions = vec![auth.user.region.clone()];
    regions.extend(present_in.into_iter().filter(|region| *region != auth.user.region));
    Ok(Export { auth: auth.clone(), person, regions })
}

struct Writer<'a> {
    text: String,
    to: &'a Sender<String>,
}

impl Writer<'_> {
    async fn write(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() >= CHUNK {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        // When nobody receives it any more, all of this is dropped.
        let _ = self.to.send(std::mem::take(&mut self.text)).await;
    }
}

struct Reader<'a> {
    service: &'a Service,
    auth: &'a SessionAuth,
    region: &'a RegionCode,
    at: DateTime<Utc>,
}

impl Reader<'_> {
    async fn read<T>(&self, page: impl AsyncFn(&Conn) -> Result<T, DbError>) -> Result<T, DbError> {
        self.service.db.read_at(self.region, self.at, page).await
    }
}

impl Export {
    /// Writes all of it; ends early when nobody receives it.
    pub async fn write(mut self, service: &Service, to: &Sender<String>) {
        tokio::select! {
            () = self.document(service, Writer { text: String::new(), to }) => {}
            () = to.closed() => tracing::info!("an export was not received to its end"),
        }
    }

    async fn document(&mut self, service: &Service, mut out: Writer<'_>) {
        let now = service.clock.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        out.write(&format!("{{\"exported_at\":\"{now}\",\n\"person\":{},\n\"regions\":{{", self.person)).await;
        let (mut missing, mut next) = (Vec::new(), 0);
        while let Some(region) = self.regions.get(next).cloned() {
            let comma = if next == 0 { "" } else { "," };
            out.write(&format!("{comma}\n\"{region}\":{{")).await;
            if let Err(error) = self.region(service, &region, &mut out).await {
                tracing::warn!(%region, %error, "a region is missing in an export");
                let why = "This region does not answer just now: please export again later.";
                out.write(&format!(",\n\"incomplete\":{}", json!(why))).await;
                missing.push(region);
            }
            out.write("}").await;
            next += 1;
        }
        out.write(&format!("}},\n\"missing\":{}}}\n", json!(missing))).await;
        out.flush().await;
    }

    /// A region's data, with all JSON closed again; or why it is not complete.
    async fn region(&mut self, service: &Service, region: &RegionCode, out: &mut Writer<'_>) -> Result<(), DbError> {
        let at = match service.db.time_at(region).await {
            Ok(at) => at,
            Err(error) => {
                out.write("\"as_of\":null").await;
                return Err(error);
            }
        };
        let (auth, id) = (self.auth.clone(), self.auth.user.id);
        let reader = Reader { service, auth: &auth, region, at };
        out.write(&format!("\"as_of\":{},\n\"rides\":[", json!(at))).await;
        let rides = rides(&reader, out).await;
        out.write("]").await;
        let page = async |conn: &Conn, after| home::list_vehicles(conn, region, &auth.user, after).await;
        let vehicles = list(&reader, out, "vehicles", Uuid::nil(), page, |_| ()).await;
        let page = async |conn: &Conn, after| home::list_tasks(conn, region, id, after).await;
        let tasks = list(&reader, out, "tasks", Uuid::nil(), page, |_| ()).await;
        let page = async |conn: &Conn, after| home::list_events_about(conn, region, id, after).await;
        let former_home = |event: &Value| {
            // Former homes keep the events of that time.
            let moved = event.get("action") == Some(&json!(USER_HOME_MOVED));
            let from = event.pointer("/metadata/from").filter(|_| moved).and_then(|from| from.as_str()?.parse().ok());
            self.regions.extend(from.filter(|from| !self.regions.contains(from)));
        };
        let about = list(&reader, out, "events_about_you", 0, page, former_home).await;
        let page = async |conn: &Conn, after| home::list_events_by(conn, region, id, after).await;
        let by = list(&reader, out, "events_by_you", (String::new(), Uuid::nil(), 0), page, |_| ()).await;
        rides.and(vehicles).and(tasks).and(about).and(by)
    }
}

async fn list<K: Clone>(
    reader: &Reader<'_>,
    out: &mut Writer<'_>,
    name: &str,
    mut after: K,
    page: impl AsyncFn(&Conn, K) -> Page<K>,
    mut each: impl FnMut(&Value),
) -> Result<(), DbError> {
    out.write(&format!(",\n\"{name}\":[")).await;
    let mut comma = "";
    let read = loop {
        let rows = match reader.read(async |conn| page(conn, after.clone()).await).await {
            Ok(rows) => rows,
            Err(error) => break Err(error),
        };
        let full = rows.len() == PAGE;
        for (key, item) in rows {
            out.write(&format!("{comma}\n{item}")).await;
            each(&item);
            (after, comma) = (key, ",");
        }
        if !full {
            break Ok(());
        }
    };
    out.write("]").await;
    read
}

/// Newest pages first, each ride with its positions.
async fn rides(reader: &Reader<'_>, out: &mut Writer<'_>) -> Result<(), DbError> {
    let (region, person) = (reader.region, &reader.auth.user);
    // A day of tolerance for rides begun by an instance whose clock is ahead.
    let mut after = (reader.auth.now + chrono::Duration::days(1), Uuid::nil());
    let mut comma = "";
    loop {
        let mut rides = reader.read(async |conn| home::list_rides(conn, region, person, after).await).await?;
        let Some((last, _)) = rides.last() else { return Ok(()) };
        after = *last;
        let full = rides.len() == RIDES;
        // Positions come ride by ride in this order.
        rides.sort_by_key(|((_, id), _)| *id);
        let ids: Vec<Uuid> = rides.iter().map(|((_, id), _)| *id).collect();
        let after = (Uuid::nil(), DateTime::UNIX_EPOCH);
        let mut positions = Positions { reader, rides: ids, after, page: Vec::new(), more: true };
        for ((_, id), ride) in rides {
            let ride = ride.to_string();
            let open = ride.strip_suffix('}').unwrap_or(&ride);
            out.write(&format!("{comma}\n{open},\"positions\":[")).await;
            comma = ",";
            let written = positions.write_of(id, out).await;
            out.write("]}").await;
            written?;
        }
        if !full {
            return Ok(());
        }
    }
}

struct Positions<'a> {
    reader: &'a Reader<'a>,
    rides: Vec<Uuid>,
    after: (Uuid, DateTime<Utc>),
    /// Read and not yet written, last first.
    page: Vec<((Uuid, DateTime<Utc>), Value)>,
    more: bool,
}

impl Positions<'_> {
    async fn write_of(&mut self, ride: Uuid, out: &mut Writer<'_>) -> Result<(), DbError> {
        let mut comma = "";
        loop {
            if self.page.is_empty() && self.more {
                let (region, rides, after) = (self.reader.region, &self.rides, self.after);
                let page = async |conn: &Conn| home::list_positions(conn, region, rides, after).await;
                self.page = self.reader.read(page).await?;
                self.more = self.page.len() == PAGE;
                self.page.reverse();
            }
            let Some((key, position)) = self.page.pop_if(|((of, _), _)| *of == ride) else {
                return Ok(());
            };
            self.after = key;
            out.write(&format!("{comma}{position}")).await;
            comma = ",";
        }
    }
}
