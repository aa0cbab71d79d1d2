//! Importing vehicles: through the page and by the command, ten thousand lines and more in
//! bounded memory, with every mistake by its line, done once however often it is tried,
//! and going on after a kill.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use encoding_rs::WINDOWS_1252;
use movr::{
    db::jobs::{Counts, Job},
    domain::job::{JobRef, reason},
    ops::jobs::{self, JobContext},
    ops::service::Service,
    web::paths,
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{
    World,
    app::Instance,
    crowd::{Rider, bikes, crowd, redirect},
    html::Page,
    process::{self, Serving},
    world,
};

const PATH: &str = "/fleet/import?city=new-york";
const HEADER: &str = "code,type,brand,colour,battery,lat,lon,place,note";

struct Scene {
    world: World,
    instance: Instance,
    rider: Rider,
}

impl Scene {
    async fn new() -> Self {
        let world = world().await;
        // Jobs are done by the tests themselves.
        let instance = world.instance_with("us-east1", &[("MOVR_WORKER_MS", "0")]).await;
        let rider = crowd(&instance, 1).await.remove(0);
        movr::ops::accounts::grant(&instance.running.state.service.db, &rider.browser.name, "operator", "new-york")
            .await
            .unwrap();
        Self { world, instance, rider }
    }

    fn service(&self) -> &Service {
        &self.instance.running.state.service
    }

    /// Sends a file; the job that it made.
    async fn import(&self, file: &str) -> JobRef {
        job_of(&self.rider.browser.upload(PATH, file.as_bytes()).await)
    }

    async fn find(&self, job: &JobRef) -> (Job, Counts) {
        let db = &self.service().db;
        let counts = movr::db::jobs::count_items(&db.at(&job.region).await.unwrap(), job).await.unwrap();
        (jobs::find(db, job).await.unwrap(), counts)
    }

    /// What the job would do: new, changed, unchanged, refused.
    async fn preview(&self, job: &JobRef) -> [i64; 4] {
        let parameters = self.find(job).await.0.parameters;
        ["new", "changed", "same", "refused"].map(|key| parameters[key].as_i64().unwrap())
    }

    /// Confirms the job and does all of it; in how many turns.
    async fn carry_out(&self, job: &JobRef) -> (Counts, usize) {
        let catalogue = self.service().catalogue();
        let context = JobContext::of(self.service(), &catalogue, &self.rider.auth);
        jobs::confirm(context, &self.find(job).await.0, None).await.unwrap();
        let mut turns = 0;
        loop {
            let (found, counts) = self.find(job).await;
            if !found.running {
                return (counts, turns);
            }
            jobs::batch(context, &found).await.unwrap();
            turns += 1;
        }
    }

    /// The refused lines with their reasons, in words.
    async fn refused(&self, job: &JobRef) -> Vec<(i64, String)> {
        let conn = self.service().db.at(&job.region).await.unwrap();
        let items = movr::db::jobs::list_items(&conn, job, 0, Some("refused"), 500).await.unwrap();
        items.into_iter().map(|item| (item.position, reason(&item.reason.unwrap()))).collect()
    }

    async fn end(self) {
        self.instance.running.stop().await;
        self.world.end().await;
    }
}

/// The job that a file made.
fn job_of(page: &Page) -> JobRef {
    let location = page.location();
    let (region, id) = location.strip_prefix("/fleet/jobs/").unwrap().split_once('/').unwrap();
    JobRef { region: region.parse().unwrap(), id: id.parse().unwrap() }
}

/// An exported file as it was imported: without the mark in front and the ids.
fn without_ids(export: &str) -> String {
    let rest = export.strip_prefix('\u{feff}').expect("a byte order mark");
    let line = |line: &str| line.rsplit_once(',').unwrap().0.to_owned() + "\r\n";
    rest.split_terminator("\r\n").map(line).collect()
}

/// A file of `n` vehicles, `with` in the last column.
fn file(n: usize, with: &str) -> String {
    let mut text = format!("{HEADER}\r\n");
    for number in 0..n {
        let place = f64::from(40_700 + u32::try_from(number % 100).unwrap()) / 1000.0;
        writeln!(text, "N-{number:06},bike,Trek,blue,{},{place},-74.001,\"Pier, {number}\",{with}\r", number % 101)
            .unwrap();
    }
    text
}

#[actix_web::test]
async fn ten_thousand_lines_are_imported_once_and_come_back_unchanged() {
    let scene = Scene::new().await;
    let began = Instant::now();
    let job = scene.import(&file(10_000, "")).await;
    let staged = began.elapsed();
    assert_eq!(scene.preview(&job).await, [10_000, 0, 0, 0]);
    assert_eq!(scene.world.count("SELECT count(*) FROM vehicles").await, 0, "a preview changes nothing");
    let (counts, turns) = scene.carry_out(&job).await;
    assert_eq!((counts.done, counts.all()), (10_000, 10_000));
    eprintln!("10,000 lines: staged in {staged:?}, done after {:?}, in {turns} turns", began.elapsed());
    assert!(turns > 2, "a turn ends in time for the lease to be renewed");
    let events = "SELECT count(*) FROM events WHERE action = 'vehicle.added' AND version = 1";
    assert_eq!(scene.world.count(events).await, 10_000);
    let jobs_own = "SELECT string_agg(action, ' ' ORDER BY version) = 'job.requested job.confirmed job.done'
        FROM events WHERE aggregate_type = 'job'";
    assert!(scene.world.sql().await.query_one(jobs_own, &[]).await.unwrap().try_get::<_, bool>(0).unwrap());

    let again = scene.import(&file(10_000, "")).await;
    assert_eq!(scene.preview(&again).await, [0, 0, 10_000, 0]);
    let before = (scene.world.rows().await["vehicles"].clone(), scene.world.count("SELECT count(*) FROM events").await);
    assert_eq!(scene.carry_out(&again).await.0.done, 10_000);
    let export = scene.rider.browser.get("/fleet/export.csv?city=new-york").await;
    assert_eq!(without_ids(&export.body), file(10_000, ""));
    let third = scene.import(&export.body).await;
    assert_eq!(scene.preview(&third).await, [0, 0, 10_000, 0]);
    let after = (scene.world.rows().await["vehicles"].clone(), scene.world.count("SELECT count(*) FROM events").await);
    // Requested, confirmed and done, and requested: of the jobs, none of a vehicle.
    assert_eq!((after.0, after.1), (before.0, before.1 + 3));
    scene.end().await;
}

#[actix_web::test]
async fn each_line_says_what_is_wrong_with_it_and_the_others_are_done() {
    let scene = Scene::new().await;
    let kept = scene.import("code,type,brand,colour,note\nOLD,bike,Trek,red,keep me\nSAME,bike,Trek,red,\n").await;
    scene.carry_out(&kept).await;
    let mut text = b"note,code,battery,type,brand,colour\n".to_vec();
    text.extend(
        b",GOOD,50,scooter,\"two, words\",bl\xc3\xbce\n,,5,bike,B,red\n\n,LATE,101,tr\0am,,red\n,BAD,1,bike,caf\xe9,red\n",
    );
    text.extend(b",GOOD,51,bike,B,red\n'=1+1,OLD,20,bike,Trek,red\n,SAME,100,bike,Trek,red\n");
    for number in 0..600 {
        text.extend(format!(",F-{number},1,bike,B,red\n").into_bytes());
    }
    text.extend(b",GOOD,52,bike,B,red\n,ONE,1,bike\n,F-1,1,bike,B,red");
    let job = job_of(&scene.rider.browser.upload(PATH, &text).await);
    assert_eq!(scene.preview(&job).await, [601, 1, 1, 7]);
    let wrong = [
        (3, "code: is empty"),
        (5, "brand: is empty; type: there is no type “tram”; battery: must be a whole number from 0 to 100"),
        (6, "it is not UTF-8"),
        (7, "code: the same as in line 2"),
        (610, "code: the same as in line 2"),
        (611, "There are 4 cells where the header has 6."),
        (612, "code: the same as in line 11"),
    ];
    assert_eq!(scene.refused(&job).await, wrong.map(|(line, why)| (line, why.to_owned())));
    // Confirmed on its page, which is the preview, and done by looking at it.
    let (browser, path) = (&scene.rider.browser, paths::job(&job));
    let page = browser.get(&path).await;
    let will = "Vehicles of New York: 601 will be added and 1 changed; 1 stay as they are. Rejected lines: 7.";
    assert!(page.text().contains(will) && page.text().contains("code: is empty"), "{}", page.text());
    assert!(!page.body.contains("data-refresh"), "it waits to be confirmed");
    // What would change, with old and new; nothing looks done.
    let rows = page.texts("ul.rows li");
    let row = |text: &str| rows.iter().filter(|row| row.contains(text)).count();
    assert_eq!(row("OLD Trek bike battery 100 → 20, note keep me → =1+1 Will change"), 1, "{rows:#?}");
    assert!(row("Will be added") > 30 && row("Rejected") == 7 && row("Done") == 0, "{rows:#?}");
    // Where the new ones go is asked.
    let asked = redirect(&scene.instance, &browser.post(&format!("{path}/confirm"), &[]).await);
    assert_eq!(asked.text, "Please choose where the new vehicles go.");
    let street = [("new_status", "available")];
    assert_eq!(browser.post(&format!("{path}/confirm"), &street).await.location(), path);
    assert!(browser.get(&path).await.body.contains("data-refresh"), "it waits for a worker");
    let working = scene.world.instance("us-east1").await;
    scene.world.until("SELECT count(*) FROM jobs WHERE state = 'running'", 0).await;
    assert!(!browser.get(&path).await.body.contains("data-refresh"));
    working.running.stop().await;
    let counts = scene.find(&job).await.1;
    assert_eq!((counts.done, counts.refused, counts.waiting), (603, 7, 0));
    let report = browser.get(&format!("{path}/report.csv")).await.body;
    assert!(report.contains("\r\n611,,ONE,,Rejected,There are 4 cells where the header has 6.,\r\n"), "{report}");
    let good =
        "SELECT count(*) FROM vehicles WHERE code = 'GOOD' AND battery = 50 AND brand = 'two, words' AND version = 1
        AND status = 'available' AND note IS NULL AND place = 'On the street' AND owner_id IS NULL";
    assert_eq!(scene.world.count(good).await, 1);
    let old = "SELECT count(*) FROM vehicles WHERE code = 'OLD' AND battery = 20 AND note = '=1+1' AND version = 2";
    assert_eq!(scene.world.count(old).await, 1, "the quote that a spreadsheet needs is taken away");
    let events = "SELECT count(*) FROM events e JOIN vehicles v ON v.id = e.aggregate_id WHERE v.code = 'OLD'
        AND e.action = 'vehicle.edited' AND e.version = 2 AND e.actor_id IS NOT NULL AND e.metadata->>'line' = '8'";
    assert_eq!(scene.world.count(events).await, 1);
    assert!(report.contains(",OLD,Trek bike,Changed,,\"battery 100 → 20, note keep me → =1+1\""), "{report}");
    assert!(
        report.contains(",SAME,Trek bike,Unchanged,,\r\n") && report.contains(",F-7,B bike,Added,,\r\n"),
        "{report}"
    );
    let depot = scene.import("code,type,brand,colour\nDEPOT,bike,B,red\n").await;
    let catalogue = scene.service().catalogue();
    let context = JobContext::of(scene.service(), &catalogue, &scene.rider.auth);
    jobs::confirm(context, &scene.find(&depot).await.0, Some("maintenance")).await.unwrap();
    jobs::batch(context, &scene.find(&depot).await.0).await.unwrap();
    let there = "SELECT count(*) FROM vehicles WHERE code = 'DEPOT' AND status = 'maintenance'";
    assert_eq!(scene.world.count(there).await, 1);
    // A new vehicle cannot be made of a code and a battery, an old one can be changed by them.
    let few = scene.import("code,battery\nOLD,19\nNEW,5\n").await;
    assert_eq!(scene.preview(&few).await, [0, 1, 0, 1]);
    assert_eq!(scene.refused(&few).await, [(3, "a new vehicle needs type, brand and colour".to_owned())]);
    scene.carry_out(&few).await;
    let kept = "SELECT count(*) FROM vehicles WHERE code = 'OLD' AND battery = 19 AND note = '=1+1' AND brand = 'Trek'";
    assert_eq!(scene.world.count(kept).await, 1, "a column that is missing stays as it is");
    scene.end().await;
}

#[actix_web::test]
async fn a_file_that_is_none_is_refused_as_a_whole() {
    let scene = Scene::new().await;
    let browser = &scene.rider.browser;
    let utf16: Vec<u8> = "code,type\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (file, why) in [
        (&b""[..], "Please choose a file."),
        (b"code,type\n", "There is no line below a header."),
        (b"type,brand\nbike,B\n", "The column “code” is missing"),
        (b"code,owner\nA,B\n", "Unknown columns: “owner”."),
        (b"PK\x03\x04 sheet.xml", "This is a workbook."),
        (b"\xff\xfec\0o\0d\0e", "The file is broken"),
        (b"\"code\ntype\n", "The quote (\") that opens in line 1 is not closed."),
        (&utf16, "The file is not UTF-8."),
        (b"c\xf6de\nA\n", "Unknown columns: “cöde”."),
        (&[b"code\n\"".as_slice(), &vec![b'x'; 30_000]].concat(), "Line 2 is too long"),
    ] {
        let page = browser.upload(PATH, file).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{why}: {}", page.text());
        assert!(page.texts("[role=alert]").concat().starts_with(why), "{}", page.text());
    }
    let large = browser.upload(PATH, &vec![b'\n'; 21 * 1024 * 1024]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(browser.post(PATH, &[("file", "code")]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.world.count("SELECT count(*) FROM jobs").await, 0);

    // Half a file was staged before its end turned out to be none: nobody can confirm it.
    let half = [file(700, "").as_bytes(), b"\"", &vec![b'x'; 30_000]].concat();
    let page = browser.upload(PATH, &half).await;
    assert!(page.texts("[role=alert]").concat().starts_with("Line 702 is too long"), "{}", page.text());
    let id: Uuid = scene.world.sql().await.query_one("SELECT id FROM jobs", &[]).await.unwrap().try_get(0).unwrap();
    let job = JobRef { region: "us-east1".parse().unwrap(), id };
    let (found, counts) = scene.find(&job).await;
    assert_eq!((found.selecting(), counts.waiting), (true, 500));
    let catalogue = scene.service().catalogue();
    let context = JobContext::of(scene.service(), &catalogue, &scene.rider.auth);
    assert!(jobs::confirm(context, &found, None).await.is_err());
    // Fewer items than lines were sent is an error, not a smaller number.
    let ready = async |lines| {
        let to = (&job.region, "new-york");
        context
            .write(&job, "new-york", to, async |conn, acting| movr::db::imports::ready(conn, acting, lines, "").await)
            .await
    };
    assert!(format!("{:?}", ready(700).await).contains("unknown verdict incomplete"));
    assert!(scene.find(&job).await.0.selecting());
    let page = browser.get(&paths::job(&job)).await;
    assert!(page.text().contains("The file was not read completely."), "{}", page.text());
    assert_eq!(page.attributes("form[action$=\"/confirm\"]", "action"), [""; 0]);
    let open = file(1, "") + "X,bike,\"Trek,red\r\nY,bike,Trek,red\r\n";
    let alert = browser.upload(PATH, open.as_bytes()).await.texts("[role=alert]").concat();
    assert!(alert.starts_with("The quote (\") that opens in line 3 is not closed."), "{alert}");
    assert_eq!(scene.world.count("SELECT count(*) FROM vehicles").await, 0);
    scene.end().await;
}

/// The rows of an export as a spreadsheet of another country saves them.
fn resaved(export: &str, separator: u8) -> String {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(export.as_bytes());
    let mut out = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
    for (number, row) in rows.records().enumerate() {
        let cell = |(at, cell): (usize, &str)| match (number, at) {
            (0, _) => cell.replace("battery", "Battery (%)").replace("lat", "Latitude").replace("colour", "Color"),
            (_, 1) => cell.to_uppercase(),
            (_, 4) => format!("{cell} %"),
            (_, 5 | 6) => cell.replace('.', ","),
            _ => cell.to_owned(),
        };
        let cells: Vec<String> = row.unwrap().iter().enumerate().map(cell).collect();
        // Two columns in which there once was something.
        out.write_record(cells.iter().map(String::as_str).chain(["", ""])).unwrap();
    }
    let empty = vec![separator; 11];
    String::from_utf8(["\u{feff}".into(), out.into_inner().unwrap(), empty, b"\n".to_vec()].concat()).unwrap()
}

#[actix_web::test]
async fn an_export_changes_nothing_also_after_a_spreadsheet_has_saved_it() {
    let scene = Scene::new().await;
    scene.world.sample(&["new-york"], 2, 60).await;
    // Without codes, and with all that a spreadsheet would run, divide or drop.
    scene.world.set("UPDATE vehicles SET code = NULL WHERE id IN (SELECT id FROM vehicles ORDER BY id LIMIT 20)").await;
    let odd = "UPDATE vehicles SET brand = '+x', colour = '-1;=2', place = '5 Ave, \"N\"; @1', note = '''s; é, =1',
        lat = lat + 0.000000001 WHERE id IN (SELECT id FROM vehicles ORDER BY id LIMIT 7)";
    scene.world.set(odd).await;
    let export = scene.rider.browser.get("/fleet/export.csv?city=new-york").await.body;
    let count = scene.world.count("SELECT count(*) FROM vehicles WHERE status <> 'retired'").await;
    let marked = resaved(&export, b';');
    let plain = marked.trim_start_matches('\u{feff}');
    let before = scene.world.rows().await["vehicles"].clone();
    let files: [(Vec<u8>, &str); 5] = [
        (export.clone().into_bytes(), "commas, UTF-8, decimal points."),
        (marked.clone().into_bytes(), "semicolons, UTF-8, decimal commas."),
        (WINDOWS_1252.encode(plain).0.into_owned(), "semicolons, Windows-1252, decimal commas."),
        (
            resaved(&export, b'\t').encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "tabs, UTF-16LE, decimal commas.",
        ),
        (plain.replace('\n', "\r").into_bytes(), "semicolons, UTF-8, decimal commas."),
    ];
    for (file, read_as) in files {
        let job = job_of(&scene.rider.browser.upload(PATH, &file).await);
        assert_eq!(scene.preview(&job).await, [0, 0, count, 0], "{read_as} {:?}", scene.refused(&job).await);
        let page = scene.rider.browser.get(&paths::job(&job)).await.text();
        assert!(page.contains(&format!("Read as: {read_as}")), "{page}");
        assert_eq!(scene.carry_out(&job).await.0.done, count);
    }
    assert_eq!(scene.world.rows().await["vehicles"], before);
    scene.end().await;
}

#[actix_web::test]
async fn every_row_is_an_item_and_an_id_is_the_vehicle_itself() {
    let scene = Scene::new().await;
    // Three rows, whatever ends them; the last one has no end.
    for (number, ends) in ["\r", "\n", "\r\n"].into_iter().enumerate() {
        let text = format!("code;type;brand;colour\nA{number};bike;T;red\nB{number};tram;T;red\nC{number};bike;T;red");
        let job = scene.import(&text.replace('\n', ends)).await;
        assert_eq!(scene.preview(&job).await, [2, 0, 0, 1], "{ends:?}");
        assert_eq!(scene.refused(&job).await, [(3, "type: there is no type “tram”".to_owned())]);
        let page = scene.rider.browser.get(&paths::job(&job)).await.text();
        assert!(page.contains("semicolons, UTF-8. The last line ends without a line break"), "{page}");
        scene.carry_out(&job).await;
    }
    // A quote that takes two rows with it is told with the row where it stands.
    let swallowed = scene.import("code,type,brand,colour\nD,bike,\"T,red\nE,bike,T,red\nF,bike,T\",red\n").await;
    let alert = "brand: Control characters and line breaks are not allowed; \
        its quotes (\") hold 2 line breaks, is one not closed?";
    assert_eq!(scene.refused(&swallowed).await, [(2, alert.to_owned())]);

    scene.world.set("UPDATE vehicles SET code = NULL WHERE code = 'A1'").await;
    scene.world.set("UPDATE vehicles SET code = NULL, status = 'retired' WHERE code = 'A2'").await;
    let id = async |condition: &str| -> String {
        let text = format!("SELECT id::TEXT FROM vehicles WHERE {condition}");
        scene.world.sql().await.query_one(&text, &[]).await.unwrap().try_get(0).unwrap()
    };
    let (plain, retired) = (id("code IS NULL AND status <> 'retired'").await, id("status = 'retired'").await);
    let (a0, c0, c1) = (id("code = 'A0'").await, id("code = 'C0'").await, id("code = 'C1'").await);
    let file = format!(
        "id,code,battery\n{plain},,11\n{a0},A0,12\n{a0},C2,13\n{},,14\n{c0},X,15\n,C1,16\n{retired},,17\n{c1},,18\n",
        Uuid::new_v4(),
    );
    let job = scene.import(&file).await;
    let mut refused = vec![
        (4, "id: the same as in line 3".to_owned()),
        (5, "It is not in this city any more.".to_owned()),
        (6, "code: it is not that of the vehicle with this id".to_owned()),
        (9, "code: it is not that of the vehicle with this id".to_owned()),
    ];
    assert_eq!((scene.preview(&job).await, scene.refused(&job).await), ([0, 4, 0, 4], refused.clone()));
    assert_eq!(scene.carry_out(&job).await.0.done, 3);
    refused.insert(3, (8, "Its state does not allow this: retired.".to_owned()));
    assert_eq!(scene.refused(&job).await, refused);
    assert_eq!(scene.world.count("SELECT sum(battery)::INT8 FROM vehicles WHERE battery < 20").await, 11 + 12 + 16);
    scene.end().await;
}

#[actix_web::test]
async fn what_has_changed_since_the_file_was_read_is_refused_by_its_line() {
    let scene = Scene::new().await;
    scene.carry_out(&scene.import(&file(6, "")).await).await;
    let job = scene.import(&format!("{}N-000007,bike,B,red,5,40.7,-74.0,x,\r\n", file(6, "new"))).await;
    assert_eq!(scene.preview(&job).await, [1, 6, 0, 0]);
    let street = bikes(&scene.world.sql().await, "new-york").await;
    let of = async |code: &str| {
        let sql = scene.world.sql().await;
        let id: Uuid =
            sql.query_one("SELECT id FROM vehicles WHERE code = $1", &[&code]).await.unwrap().try_get(0).unwrap();
        street.iter().find(|bike| bike.id == id).unwrap().clone()
    };
    let browser = &scene.rider.browser;
    // One is ridden and comes back elsewhere, one is being ridden, one is reserved.
    let ride = browser.start(&of("N-000000").await, Uuid::new_v4(), "").await.location();
    assert_eq!(browser.end(&ride).await.status, StatusCode::SEE_OTHER);
    browser.start(&of("N-000001").await, Uuid::new_v4(), "").await.location();
    let other = crowd(&scene.instance, 1).await.remove(0).browser;
    other.reserve(&of("N-000002").await).await.location();
    // One leaves its code, and somebody else adds the new one.
    scene.carry_out(&scene.import("code,type,brand,colour\nN-000007,bike,A,red\n").await).await;
    let bump = "UPDATE vehicles SET code = 'GONE' WHERE code = 'N-000003'";
    scene.world.set(bump).await;
    let (counts, _) = scene.carry_out(&job).await;
    assert_eq!((counts.done, counts.refused), (2, 5));
    let refused = scene.refused(&job).await;
    let heads: Vec<_> = refused.iter().map(|(line, why)| (*line, why.split(" at ").next().unwrap())).collect();
    let expected = [
        (2, "Changed since the page was drawn: ride.ended"),
        (3, "It is reserved or being ridden."),
        (4, "It is reserved or being ridden."),
        (5, "It is not in this city any more."),
        (8, "code: a vehicle with it was added since the file was read"),
    ];
    assert_eq!(heads, expected);
    assert_eq!(scene.world.count("SELECT count(*) FROM vehicles WHERE note = 'new'").await, 2);
    let place = "SELECT count(*) FROM vehicles WHERE code = 'N-000000' AND lat = 40.758 AND note IS NULL";
    assert_eq!(scene.world.count(place).await, 1, "it stays where the ride left it");
    scene.end().await;
}

#[actix_web::test]
async fn several_who_carry_out_one_import_do_each_line_once() {
    let scene = Scene::new().await;
    scene.carry_out(&scene.import(&file(300, "")).await).await;
    let job = scene.import(&file(900, "x")).await;
    assert_eq!(scene.preview(&job).await, [600, 300, 0, 0]);
    let catalogue = scene.service().catalogue();
    let context = JobContext::of(scene.service(), &catalogue, &scene.rider.auth);
    jobs::confirm(context, &scene.find(&job).await.0, None).await.unwrap();
    let found = scene.find(&job).await.0;
    for _ in 0..6 {
        let batches = (0..8).map(|_| jobs::batch(context, &found));
        futures_util::future::join_all(batches).await.into_iter().for_each(Result::unwrap);
    }
    let (over, counts) = scene.find(&job).await;
    assert_eq!((over.running, counts.done, counts.refused), (false, 900, 0));
    assert_eq!(scene.world.count("SELECT count(*) FROM vehicles WHERE note = 'x'").await, 900);
    let doubled =
        format!("SELECT count(*) FROM events WHERE correlation_id = '{}' AND aggregate_type = 'vehicle'", job.id);
    assert_eq!(scene.world.count(&doubled).await, 900);
    scene.end().await;
}

#[actix_web::test]
async fn the_command_previews_imports_and_exports_and_goes_on_after_a_kill() {
    let scene = Scene::new().await;
    let path = std::env::temp_dir().join(format!("movr-{}.csv", Uuid::new_v4()));
    std::fs::write(&path, file(3_000, "") + "X,tram,B,red,5,40.7,-74.0,x,\r\n").unwrap();
    let (url, file_path) = (scene.world.database.url.clone(), path.to_str().unwrap());
    let env = [("DATABASE_URL", url.as_str()), ("RUST_LOG", "warn")];
    let import = ["operator", "import", "--city", "new-york", file_path];
    let said = process::movr(&import, &env).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.starts_with(
            "New York: 3000 new, 0 changed, 0 unchanged, 1 refused\nread as: commas, UTF-8, decimal points.\n\
             line 3002: type: there is"
        ),
        "{}",
        said.out
    );
    assert!(said.out.contains("nothing was changed"), "{}", said.out);
    assert_eq!(scene.world.count("SELECT count(*) FROM vehicles").await, 0);

    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_movr"));
    command.args(import).arg("--yes").env_clear().envs(env).stdout(std::process::Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while scene.world.count("SELECT count(*) FROM vehicles").await < 400 {
        assert!(began.elapsed() < Duration::from_secs(30), "it does nothing");
    }
    child.kill().await.unwrap();
    let half = scene.world.count("SELECT count(*) FROM vehicles").await;
    assert!((400..3_000).contains(&half), "killed in the middle: {half}");
    let confirmed = "SELECT id FROM jobs WHERE confirmed_at IS NOT NULL";
    let id: Uuid = scene.world.sql().await.query_one(confirmed, &[]).await.unwrap().try_get(0).unwrap();
    let job = JobRef { region: "us-east1".parse().unwrap(), id };
    // The server may still be carrying out what the killed process had sent.
    assert_eq!(scene.carry_out(&job).await.0.done, 3_000);
    assert_eq!(scene.world.count("SELECT count(*) FROM vehicles").await, 3_000);
    let events = "SELECT count(*) FROM events WHERE action = 'vehicle.added' AND actor_id IS NULL";
    assert!(scene.world.count(events).await >= half, "the shell's");

    let said = process::movr(&[&import[..], &["--yes"]].concat(), &env).await;
    let end = "0 new, 0 changed, 3000 unchanged, 1 refused";
    assert!(said.out.contains(end) && said.out.contains("done: 3000 of 3001 lines, 1 refused"), "{}", said.out);
    let export = process::movr(&["operator", "export", "--city", "new-york"], &env).await;
    assert_eq!(without_ids(&export.out), file(3_000, ""));
    let unknown = process::movr(&["operator", "export", "--city", "atlantis"], &env).await;
    assert_eq!((unknown.code, unknown.err.contains("there is no city atlantis")), (Some(1), true));
    std::fs::remove_file(&path).unwrap();
    scene.end().await;
}

#[actix_web::test]
async fn a_large_file_is_never_held_as_a_whole() {
    let scene = Scene::new().await;
    let port = process::free_port();
    let serving = Serving::start(port, &scene.world.vars("us-east1", &[]));
    serving.until(&reqwest::Client::new(), "ready").await;
    let browser = crate::support::Browser { base: serving.base.clone(), ..scene.rider.browser.clone() };
    // A file of some batches takes what any file takes; one of nine times that takes no more, but
    // for what the allocator keeps.
    let mut peaks = Vec::new();
    for lines in [2_300, 21_000] {
        let file = file(lines, &"🛴".repeat(200));
        let job = job_of(&browser.upload(PATH, file.as_bytes()).await);
        assert_eq!(scene.preview(&job).await, [i64::try_from(lines).unwrap(), 0, 0, 0]);
        peaks.push((file.len() / 1024, serving.peak_kib()));
    }
    eprintln!("KiB of file and peak of memory: {peaks:?}");
    let [(_, before), (size, after)] = peaks[..] else { panic!("{peaks:?}") };
    assert!(size > 17 * 1024 && after < before + size as u64 / 2, "{peaks:?}");
    let export = browser.get("/fleet/export.csv?city=new-york").await;
    assert_eq!(export.body.lines().count(), 1, "nothing was confirmed");
    serving.terminate();
    serving.ended().await;
    scene.end().await;
}
