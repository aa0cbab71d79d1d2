//! `movr operator import` and `export`: a city's vehicles as a CSV file, the same as in the
//! browser. Without `--yes` an import ends with the preview, and the job waits for somebody
//! to confirm it there.

#![allow(clippy::print_stdout, reason = "commands print")]

use std::{io::Write, path::PathBuf};

use tokio::io::AsyncReadExt;

use super::Outcome;
use crate::{
    clock::Clock,
    db::{Db, acting::By, imports::Preview, jobs},
    domain::{
        catalogue::{Catalogue, City},
        fleet::Filter,
        job::{self, JobRef},
    },
    ops::{
        self,
        gates::Gates,
        imports::{Import, ImportError},
        jobs::JobContext,
    },
};

/// Options of `movr operator import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The city whose vehicles they are.
    #[arg(long)]
    city: String,
    /// The file, as `/fleet/import` describes it.
    file: PathBuf,
    /// Do it after the preview.
    #[arg(long)]
    yes: bool,
}

/// Options of `movr operator export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The city whose vehicles they are.
    #[arg(long)]
    city: String,
}

/// The city of that slug, or words.
pub(super) fn city_of<'a>(catalogue: &'a Catalogue, slug: &str) -> Result<&'a City, String> {
    catalogue.city(slug).ok_or_else(|| format!("there is no city {slug} in the catalogue"))
}

impl From<ImportError> for Box<dyn std::error::Error> {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::File(wrong) => wrong.into(),
            ImportError::Op(error) => error.into(),
        }
    }
}

/// Prints what the file would do, and with `--yes` does it.
pub async fn import(db: &Db, catalogue: &Catalogue, args: &ImportArgs) -> Outcome {
    let city = city_of(catalogue, &args.city)?;
    let gates = Gates::default();
    let context =
        JobContext { db, gates: &gates, catalogue, by: By::Shell, refusals: None, now: Clock::default().now() };
    let named = |error: std::io::Error| format!("{}: {error}", args.file.display());
    let mut file = tokio::fs::File::open(&args.file).await.map_err(named)?;
    let (mut import, mut buffer) = (Import::new(context, city), vec![0; 64 * 1024]);
    while let read @ 1.. = file.read(&mut buffer).await.map_err(named)? {
        import.feed(buffer.get(..read).unwrap_or_default()).await?;
    }
    let (which, preview) = import.end().await?;
    let Preview { new, changed, same, refused } = preview;
    println!("{}: {new} new, {changed} changed, {same} unchanged, {refused} refused", city.name);
    let job = ops::jobs::find(db, &which).await?;
    println!("read as: {}", job.text("read_as").unwrap_or_default());
    print_refused(db, &which).await?;
    if !args.yes {
        println!("nothing was changed; confirm job {} at {}", which.id, crate::web::paths::job(&which));
        return Ok(());
    }
    println!("job {} in {}", which.id, which.region);
    ops::jobs::confirm(context, &job).await?;
    loop {
        let job = ops::jobs::find(db, &which).await?;
        if !job.running {
            break;
        }
        ops::jobs::turn(context, &job).await?;
    }
    let counts = jobs::count_items(&db.at(&which.region).await?, &which).await?;
    println!("done: {} of {} lines, {} refused", counts.done, counts.all(), counts.refused);
    if counts.refused > refused { print_refused(db, &which).await } else { Ok(()) }
}

/// Every refused line, with its reason.
async fn print_refused(db: &Db, which: &JobRef) -> Outcome {
    let (mut after, limit) = (0, 500);
    loop {
        let items = jobs::list_items(&db.at(&which.region).await?, which, after, Some("refused"), limit).await?;
        for item in &items {
            println!("line {}: {}", item.position, job::reason(item.reason.as_deref().unwrap_or_default()));
        }
        match items.last() {
            Some(last) => after = last.position,
            None => return Ok(()),
        }
    }
}

/// Writes the vehicles of a city to the standard output.
pub async fn export(db: &Db, catalogue: &Catalogue, args: &ExportArgs) -> Outcome {
    let city = city_of(catalogue, &args.city)?;
    let (mut after, mut out) = (None, std::io::stdout());
    loop {
        let conn = db.at(&city.region).await?;
        let (text, next) = ops::exports::vehicles(&conn, (&city.region, &city.slug), &Filter::default(), after).await?;
        out.write_all(text.as_bytes())?;
        if next.is_none() {
            return Ok(out.flush()?);
        }
        after = next;
    }
}
