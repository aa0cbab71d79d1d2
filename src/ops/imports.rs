//! Importing a file of vehicles: lines are checked and staged as items of a job, five hundred a
//! statement, so memory is bounded. Nothing is done until the job is confirmed; then `batch`
//! does it. A file that breaks off leaves a job that cannot be confirmed, because only `end` makes it ready.

use std::collections::HashMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Done, OpError, Result, jobs::JobContext};
use crate::{
    db::{
        Conn, DbError, Verdict,
        imports::{self, StagedLine},
        job_write::JobWrite,
        jobs::{self, Job},
    },
    domain::{
        City, JobKind, JobRef, Point, Refusal,
        csv::{Decimals, Header, Line, Reader, Record},
        geo::{self},
    },
};

/// Lines per statement, and the most held in memory.
pub const BATCH: usize = 500;
/// Most lines of one file.
pub const LINES_MAX: i64 = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The whole file is unusable, in words.
    #[error("{0}")]
    File(String),
    #[error(transparent)]
    Op(#[from] OpError),
}

pub struct Import<'a> {
    context: JobContext<'a>,
    city: &'a City,
    job: JobRef,
    reader: Reader,
    header: Option<Header>,
    lines: i64,
    batch: Vec<StagedLine>,
    /// Line numbers by vehicle id, or by the `new_id` of a code: the only thing that grows with the
    /// file.
    seen: HashMap<Uuid, i64>,
    decimals: Decimals,
}

impl<'a> Import<'a> {
    pub fn new(context: JobContext<'a>, city: &'a City) -> Self {
        let job = JobRef { region: city.region.clone(), id: Uuid::new_v4() };
        let (reader, batch) = (Reader::default(), Vec::with_capacity(BATCH));
        let (seen, decimals) = (HashMap::new(), Decimals::default());
        Self { context, city, job, reader, header: None, lines: 0, batch, seen, decimals }
    }

    pub async fn feed(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        self.reader.feed(bytes).map_err(ImportError::File)?;
        self.records().await
    }

    async fn records(&mut self) -> Result<(), ImportError> {
        while let Some(record) = self.reader.read().map_err(ImportError::File)? {
            self.record(record).await?;
        }
        Ok(())
    }

    /// The file has ended: returns the job, which can be confirmed now.
    pub async fn end(mut self) -> Result<JobRef, ImportError> {
        self.reader.end().map_err(ImportError::File)?;
        self.records().await?;
        if self.lines == 0 {
            return Err(ImportError::File("There is no line below a header.".to_owned()));
        }
        self.stage().await?;
        let read_as = self.read_as();
        self.write(async |conn, write| imports::ready(conn, write, self.lines, &read_as).await).await?;
        Ok(self.job)
    }

    fn read_as(&self) -> String {
        let Decimals { commas, points } = self.decimals;
        let decimals = match (commas, points) {
            (true, true) => ", decimal commas and points",
            (true, false) => ", decimal commas",
            (false, true) => ", decimal points",
            (false, false) => "",
        };
        let [separator, encoding] = self.reader.recognised();
        let cut = if self.reader.unfinished() {
            " The last line ends without a line break: please check that the file is whole."
        } else {
            ""
        };
        format!("{separator}, {encoding}{decimals}.{cut}")
    }

    async fn record(&mut self, record: Record) -> Result<(), ImportError> {
        let Some(header) = &self.header else {
            let cells = record.cells.filter(|cells| cells.iter().all(|cell| !cell.contains('\0')));
            let cells = cells.ok_or_else(|| ImportError::File("The file is not UTF-8.".to_owned()))?;
            self.header = Some(Header::read(&cells).map_err(ImportError::File)?);
            return Ok(());
        };
        if self.lines == 0 {
            let parameters = json!({ "selecting": "import" });
            self.write(async |conn, write| jobs::insert(conn, write, JobKind::Import, &parameters).await).await?;
        }
        if self.lines == LINES_MAX {
            return Err(ImportError::File(format!("At most {LINES_MAX} lines, please: divide the file.")));
        }
        let cells = &record.cells;
        let line = match cells {
            Some(cells) => header.line(cells, self.city, self.context.catalogue),
            None => Err("it is not UTF-8".to_owned()),
        };
        let staged = match line {
            Ok(line) => self.staged(record.line, &line),
            Err(why) => {
                let why = match record.breaks {
                    0 => why,
                    breaks => format!("{why}; its quotes (\") hold {breaks} line breaks, is one not closed?"),
                };
                // Something to know it by; what is no text that can be stored is left out.
                let code = cells.as_ref().map(|cells| header.code(cells)).filter(|code| !code.contains('\0'));
                let input = json!({ "code": code.unwrap_or_default().chars().take(60).collect::<String>() });
                let reason = Some(why.replace('\0', ""));
                StagedLine { line: record.line, input, new_id: Uuid::nil(), known_id: None, reason }
            }
        };
        self.batch.push(staged);
        self.lines += 1;
        if self.batch.len() == BATCH { self.stage().await } else { Ok(()) }
    }

    fn staged(&mut self, number: i64, line: &Line) -> StagedLine {
        self.decimals.commas |= line.decimals.commas;
        self.decimals.points |= line.decimals.points;
        let code = line.code.as_ref().filter(|code| !code.is_empty());
        let new_id = code.map(|code| new_id(&self.job, code));
        let mut first = |key: Uuid| *self.seen.entry(key).or_insert(number);
        let of_code = new_id.map_or(number, &mut first);
        let of_id = line.id.map_or(number, first);
        let reason = match (of_code == number, of_id == number) {
            (false, _) => Some(format!("code: the same as in line {of_code}")),
            (true, false) => Some(format!("id: the same as in line {of_id}")),
            _ => None,
        };
        StagedLine { line: number, input: input(line), new_id: new_id.unwrap_or_default(), known_id: line.id, reason }
    }

    async fn write(&self, op: impl AsyncFn(&Conn, &JobWrite<'_>) -> Result<Verdict, DbError>) -> Result<Done> {
        let City { region, slug, .. } = self.city;
        self.context.write(&self.job, slug, (region, slug), op).await
    }

    async fn stage(&mut self) -> Result<(), ImportError> {
        let defaults = defaults(self.city);
        self.write(async |conn, write| imports::stage(conn, write, &self.batch, &defaults).await).await?;
        self.batch.clear();
        Ok(())
    }
}

/// The next lines of a confirmed import. Called by [`jobs::batch`](super::jobs::batch) in the worker, under a lease.
pub async fn batch(context: JobContext<'_>, job: &Job) -> Result<()> {
    let lines = imports::list_waiting(&context.db.at(&job.job.region).await?, &job.job).await?;
    match context.write_on(job, async |conn, write| imports::batch(conn, write, &lines).await).await {
        // Somebody added one of these codes in that moment; the next batch sees it.
        Err(OpError::Refused(Refusal::CodeTaken)) => Ok(()),
        done => done.map(drop),
    }
}

/// A line's values for the row, without those it leaves out; an empty code removes the vehicle's.
fn input(line: &Line) -> Value {
    let Line { code, vehicle_type, brand, colour, battery, at, place, note, .. } = line;
    let (lat, lon, cell) = (at.map(Point::lat), at.map(Point::lon), at.map(geo::cell));
    let mut input = json!({
        "code": code, "type": vehicle_type, "brand": brand, "colour": colour, "battery": battery,
        "lat": lat, "lon": lon, "cell": cell, "place": place, "note": note,
    });
    if let Some(fields) = input.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        if code.as_deref() == Some("") {
            fields.insert("code".to_owned(), Value::Null);
        }
    }
    input
}

fn defaults(city: &City) -> Value {
    let (at, place) = (city.centre, "On the street");
    json!({ "battery": 100, "lat": at.lat(), "lon": at.lon(), "cell": geo::cell(at), "place": place, "note": "" })
}

/// The same code of the same file is the same vehicle, in whatever batch it comes.
fn new_id(job: &JobRef, code: &str) -> Uuid {
    let digest = Sha256::new().chain_update(job.id.as_bytes()).chain_update(code.as_bytes()).finalize();
    let mut bytes = uuid::Bytes::default();
    bytes.iter_mut().zip(digest).for_each(|(byte, digest)| *byte = digest);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
