//! The local clusters: what `movr demo --engine cockroach` asks of the binary and says when
//! it cannot, on recorded outputs and with a binary that is a shell script; the scripts of
//! deploy/local, with the same; migrations and the demo on a stand-in for CockroachDB, as far
//! as that goes; and the whole demo where there is a real `cockroach`.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use movr::{
    cli::migrate,
    config::Config,
    db::{
        engine::Engine,
        error::{DbError, DbErrorKind},
        migrate::Layout,
    },
    domain::catalogue::Catalogue,
    local::{
        cockroach::{VERSION, address, download, too_old},
        find_cockroach,
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::StatusCode;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::support::{
    engine,
    process::{CommandOutput, movr},
    standin::{Answer, StandIn, sample},
};

/// A folder that is also a PATH; it goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("movr-cluster-{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// A program of this name.
    fn program(&self, name: &str, script: &str) {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn recorded_outputs_are_understood() {
    assert_eq!(address(&sample("listening-url-file.txt")).unwrap(), ("127.146.60.113".to_owned(), 26257));
    assert!(address("nothing of the kind").is_err());
    let version = sample("version.txt");
    let tag = version.split_whitespace().find(|word| word.starts_with('v')).unwrap();
    assert!(!too_old(tag), "{tag}");
    for (tag, old) in [("v21.2.17\n", true), ("v22.1.0", false), ("v9.9.9", true), (VERSION, false), ("mine", false)] {
        assert_eq!(too_old(tag), old, "{tag}");
    }
    let shipped = Catalogue::parse(migrate::SHIPPED).unwrap();
    let gateway = sample("gateway-region.txt");
    let gateway = gateway.lines().last().unwrap();
    assert!(shipped.regions.iter().any(|region| region.code.as_str() == gateway), "{gateway}");
}

#[test]
fn the_download_is_the_one_of_the_script() {
    let script = fs::read_to_string("deploy/install.sh").unwrap();
    assert!(script.contains(&format!("\ncockroach_version={VERSION}\n")));
    for (os, machine, platform) in [
        ("linux", "x86_64", "linux-amd64"),
        ("linux", "aarch64", "linux-arm64"),
        ("macos", "x86_64", "darwin-10.9-amd64"),
        ("macos", "aarch64", "darwin-11.0-arm64"),
    ] {
        let archive = format!("https://binaries.cockroachdb.com/cockroach-{VERSION}.{platform}.tgz ");
        assert!(download(os, machine).contains(&archive), "{}", download(os, machine));
        assert!(script.contains(&format!("platform={platform} ;;")), "{platform}");
    }
    assert!(download("plan9", "mips").contains("no archive"));
}

/// CockroachDB for one test: a stand-in before the tests' own PostgreSQL.
struct Cluster {
    /// PostgreSQL's own database there.
    postgres: String,
    stand_in: StandIn,
    database: String,
}

impl Cluster {
    async fn new(regions: &[&str]) -> Self {
        let postgres = engine::private_server().await;
        let stand_in = StandIn::cockroach(&postgres, regions).await;
        Self { postgres, stand_in, database: format!("t{}", Uuid::new_v4().simple()) }
    }

    /// `movr` with `arguments` on its database.
    async fn movr(&self, arguments: &[&str]) -> CommandOutput {
        movr(arguments, &[("DATABASE_URL", &self.stand_in.url(&self.database))]).await
    }

    /// Whether PostgreSQL has the database.
    async fn exists(&self) -> bool {
        let sql = engine::client(&self.postgres).await;
        let known = "SELECT 1 FROM pg_database WHERE datname = $1";
        !sql.query(known, &[&self.database]).await.unwrap().is_empty()
    }

    async fn drop_database(&self) {
        let sql = engine::client(&self.postgres).await;
        sql.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database)).await.unwrap();
    }

    async fn end(self) {
        self.drop_database().await;
        drop(self.stand_in);
    }
}

#[actix_web::test]
async fn a_database_that_is_missing_is_planned_told_and_made() {
    let cluster = Cluster::new(&["us-east1"]).await;
    let create = format!("CREATE DATABASE \"{}\"", cluster.database);

    let plan = cluster.movr(&["migrate", "--plan"]).await;
    assert_eq!(plan.code, Some(0), "{plan:?}");
    let primary = format!("ALTER DATABASE \"{}\" PRIMARY REGION \"us-east1\"", cluster.database);
    for step in [&create, &primary, "LOCALITY REGIONAL BY ROW AS region;"] {
        assert!(plan.out.contains(step), "{step}: {}", plan.out);
    }
    let roles = cluster.movr(&["migrate", "--plan", "--roles", "--locality", "off"]).await;
    assert!(roles.out.contains("CREATE TYPE crdb_internal_region") && roles.out.contains("GRANT "), "{roles:?}");
    assert!(!cluster.exists().await, "a plan makes nothing");

    let url = cluster.stand_in.url(&cluster.database);
    let key = "AAAA".repeat(22);
    let serving = [
        ("DATABASE_URL", url.as_str()),
        ("MOVR_REGION", "us-east1"),
        ("MOVR_LISTEN", "127.0.0.1:0"),
        ("MOVR_PUBLIC_URL", "http://movr.test"),
        ("MOVR_SECRET_KEYS", &key),
    ];
    let began = Instant::now();
    let served = movr(&["serve"], &serving).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it is not waited for what waiting does not cure");
    let mut runs = vec![served];
    for command in [
        &["operator", "grant", "ada", "administrator"][..],
        &["load"],
        &["verify-data"],
        &["verify-locality"],
        &["migrate", "--roles", "no;name"],
    ] {
        runs.push(cluster.movr(command).await);
    }
    for ended in &runs[..5] {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains("does not exist: `movr migrate` creates it"), "{ended:?}");
    }

    // The server's own refusal, with its code and words, as it was recorded.
    let recorded = sample("error-licence.txt");
    let (_, words) = recorded.lines().nth(1).unwrap().split_once("XXC02: ").unwrap();
    cluster.stand_in.answer("PRIMARY REGION", Answer::Error("XXC02", words.to_owned()));
    let refused = cluster.movr(&["migrate"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for words in ["for want of a licence (SQLSTATE XXC02)", "enterprise.license", "--locality off", migrate::LOST] {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    let other = DbError::new(DbErrorKind::Unavailable, "connect", "nobody");
    assert!(!migrate::explain(other).to_string().contains("licence"));

    cluster.drop_database().await;
    for made in [true, false] {
        let before = cluster.stand_in.executed().len();
        let migrated = cluster.movr(&["migrate", "--locality", "off"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        assert!(migrated.out.contains("(CockroachDB "), "{}", migrated.out);
        assert!(cluster.exists().await);
        assert_eq!(cluster.stand_in.executed()[before..].contains(&create), made, "once");
    }
    cluster.end().await;
}

#[actix_web::test]
async fn only_a_server_that_says_so_has_no_regions() {
    let cluster = Cluster::new(&["us-east1"]).await;
    let url = cluster.stand_in.url("postgres");
    let ask = async |statement: &str, code: &'static str| {
        cluster.stand_in.answer_times(statement, Answer::Error(code, "no".to_owned()), 1);
        Engine::ask(&engine::client(&url).await).await
    };
    let whole = Engine::ask(&engine::client(&url).await).await.unwrap();
    assert_eq!((whole.regions, whole.gateway.as_deref()), (false, Some("us-east1")));
    assert_eq!(ask("gateway_region()", "F0000").await.unwrap().gateway, None);
    assert!(!ask("[SHOW REGIONS FROM DATABASE]", "42P16").await.unwrap().regions);
    for (code, kind) in
        [("57014", DbErrorKind::Timeout), ("58C00", DbErrorKind::Unavailable), ("XX000", DbErrorKind::Bug)]
    {
        for statement in ["gateway_region()", "[SHOW REGIONS FROM DATABASE]", "SELECT version()"] {
            let error = ask(statement, code).await.unwrap_err();
            assert_eq!((&error.kind, error.sqlstate()), (&kind, Some(code)), "{statement}");
        }
    }
    let tools = engine::tools(&url);
    cluster.stand_in.answer("gateway_region()", Answer::Error("58C00", "no".to_owned()));
    assert!(movr::db::Db::open(&tools.database).await.is_err(), "an instance does not start on what it did not learn");
    let endpoint = movr::db::endpoint(&tools.database, &url).unwrap();
    let layout = Layout {
        regions: vec!["us-east1".parse().unwrap()],
        survive_region: false,
        placement_restricted: false,
        locality: true,
    };
    cluster.stand_in.answer("gateway_region()", Answer::Rows(vec!["us-east1".to_owned()]));
    for statement in ["max(region), '') FROM [SHOW REGIONS FROM DATABASE]", "[SHOW REGIONS FROM CLUSTER]"] {
        cluster.stand_in.answer_times(statement, Answer::Error("58C00", "no".to_owned()), 1);
        let planned = movr::db::migrate::run(&endpoint, &layout, true).await;
        assert_eq!(planned.unwrap_err().kind, DbErrorKind::Unavailable, "{statement}");
    }
    cluster.end().await;
}

/// `movr demo` as a process, and what it has printed.
struct Demo {
    child: tokio::process::Child,
    lines: Vec<String>,
}

impl Demo {
    /// Waits until it serves.
    async fn start(folder: &Folder, path: &str, more: &[&str], patience: Duration) -> Self {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_movr"));
        command
            .args(["demo", "--engine", "cockroach", "--data", &format!("{}/data", folder.path())])
            .args(more)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = Vec::new();
        let serves = async {
            while let Some(line) = out.next_line().await.unwrap() {
                lines.push(line);
                if lines.last().unwrap().starts_with("Press Ctrl-C") {
                    return true;
                }
            }
            false
        };
        let serves = tokio::time::timeout(patience, serves).await.expect("it does not come up");
        assert!(serves, "it ended: {lines:?} {:?}", child.wait_with_output().await.unwrap());
        // Nobody reads on, but nobody closes it either.
        tokio::spawn(async move { while let Ok(Some(_)) = out.next_line().await {} });
        Self { child, lines }
    }

    /// The addresses of its instances.
    fn urls(&self) -> Vec<String> {
        let urls = self.lines.iter().filter(|line| !line.contains("console"));
        let urls = urls.filter_map(|line| Some(line.split_once(" http://")?.1.split_whitespace().next()?.to_owned()));
        urls.map(|url| format!("http://{url}")).collect()
    }

    /// Every instance answers.
    async fn serves(&self) {
        assert_eq!(self.urls().len(), 3, "{:?}", self.lines);
        for url in self.urls() {
            for path in ["/readyz", "/vehicles", "/login"] {
                let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK, "{url}{path}");
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap())
    }

    /// How it ended and what it said.
    async fn ended(self) -> (Option<i32>, String) {
        let output = tokio::time::timeout(Duration::from_mins(1), self.child.wait_with_output()).await;
        let output = output.expect("it does not end").unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// The whole demo, but for the cluster: `cockroach` is a script, and where it says it listens
/// a stand-in does. Without regions of the database: PostgreSQL knows no LOCALITY.
#[actix_web::test]
async fn the_demo_serves_on_a_cluster_and_notices_its_end() {
    const REGIONS: [&str; 3] = ["us-east1", "us-west1", "europe-west1"];
    let nodes: Vec<&str> = REGIONS.iter().flat_map(|region| [*region; 3]).collect();
    let mut cluster = Cluster::new(&nodes).await;
    cluster.database = "movr_demo".to_owned();
    cluster.drop_database().await;
    // Others may listen there already, which is as good.
    let _taken = [8080, 8180, 8185, 26257].map(|port| TcpListener::bind(("127.0.0.1", port)));
    let folder = Folder::new();
    let url = sample("listening-url-file.txt")
        .replace("127.146.60.113:26257", &format!("127.0.0.1:{}", cluster.stand_in.port));
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = version ] && {{ echo {VERSION}; exit; }}\necho \"$*\" >{0}/arguments\necho $$ >{0}/pid\n\
         echo '{1}' >{0}/data/listening-url\nread -r line\necho stdin closed >{0}/end\n",
        folder.path(),
        url.lines().last().unwrap(),
    );
    folder.program("cockroach", &script);
    let patience = Duration::from_mins(2);
    cluster.stand_in.answer("CONFIGURE ZONE", Answer::Rows(Vec::new()));
    let demo = Demo::start(&folder, folder.path(), &["--locality", "off"], patience).await;
    demo.serves().await;
    let settings = folder.read("data/us-west1.env");
    for name in ["MOVR_REGION='us-west1'", "DATABASE_URL='postgresql://", "MOVR_SECRET_KEYS='"] {
        assert!(settings.contains(&format!("export {name}")), "{settings}");
    }
    let mode = fs::metadata(format!("{}/data/us-west1.env", folder.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "it has a password in it");
    let zones: Vec<_> = cluster.stand_in.executed().into_iter().filter(|sql| sql.contains("CONFIGURE ZONE")).collect();
    let zone = "ALTER DATABASE \"movr_demo\" CONFIGURE ZONE USING num_replicas = 3, \
        constraints = '[+region=us-east1]', lease_preferences = '[[+region=us-east1]]'";
    assert_eq!(zones, [zone], "all rows in the first region");

    let arguments = folder.read("arguments");
    let port = |option: &str| -> u16 {
        let mut words = arguments.split_whitespace().skip_while(|word| *word != option);
        words.nth(1).unwrap_or_else(|| panic!("no {option}: {arguments}")).parse().unwrap()
    };
    let (sql, console) = (port("--sql-port"), port("--http-port"));
    for taken in (sql..sql + 9).chain(console..console + 9) {
        assert!(![8080, 8180, 8185, 26257].contains(&taken), "{arguments}");
        assert!(!demo.urls().iter().any(|url| url.ends_with(&format!(":{taken}"))), "{arguments}: {:?}", demo.lines);
    }
    assert!(demo.lines.iter().any(|line| line.ends_with(&format!("http://127.0.0.1:{console}"))), "{:?}", demo.lines);

    kill(demo.pid(), Signal::SIGTERM).unwrap();
    let (code, err) = demo.ended().await;
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(folder.read("end"), "stdin closed\n", "the cluster ends with it");

    let demo = Demo::start(&folder, folder.path(), &["--locality", "off"], patience).await;
    kill(Pid::from_raw(folder.read("pid").trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    let (code, err) = demo.ended().await;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("movr: cockroach demo ended while the demo ran on it (signal: 9"), "{err}");
    cluster.end().await;
}

/// `movr demo --engine cockroach` with nothing but `folder` on the PATH: what it prints
/// and what it says in the end.
async fn demo(folder: &Folder, more: &[&str]) -> (String, String) {
    let data = format!("{}/data", folder.path());
    let arguments = [&["demo", "--engine", "cockroach", "--data", &data], more].concat();
    let ended = movr(&arguments, &[("PATH", folder.path())]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.starts_with("movr: "), "{}", ended.err);
    (ended.out, ended.err)
}

#[actix_web::test]
async fn a_binary_that_is_missing_old_or_broken_is_told_with_what_helps() {
    let folder = Folder::new();
    let fetch = download(std::env::consts::OS, std::env::consts::ARCH);
    let (_, err) = demo(&folder, &[]).await;
    assert!(err.contains("not on the PATH") && err.contains(&fetch) && err.contains("--engine postgres"), "{err}");

    folder.program("cockroach", "#!/bin/sh\n[ \"$*\" = 'version --build-tag' ] && echo v21.2.17\n");
    let (_, err) = demo(&folder, &[]).await;
    assert!(err.contains("v21.2.17, and v22.1 or newer") && err.contains(&fetch), "{err}");
    assert!(!Path::new(&format!("{}/data", folder.path())).exists(), "an old one is not even started");

    folder.program("cockroach", "#!/bin/sh\necho no room on this machine >&2\nexit 3\n");
    let (_, err) = demo(&folder, &[]).await;
    assert!(err.contains("ended at once (exit status: 3)") && err.contains("no room on this machine"), "{err}");
}

#[actix_web::test]
async fn the_cluster_is_asked_for_with_these_arguments_and_an_open_stdin() {
    let folder = Folder::new();
    // It ends when its stdin does; only a while later it writes an address.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = version ] && {{ echo {VERSION}; exit; }}\necho \"$*\" >{0}/arguments\n\
         (/bin/sleep 0.5; echo nonsense >{0}/data/listening-url) </dev/null &\nread -r line\necho stdin closed\nexit 3\n",
        folder.path()
    );
    folder.program("cockroach", &script);
    let (out, err) = demo(&folder, &[]).await;
    assert!(err.contains("listening URL") && err.contains("nonsense"), "{err}");
    let arguments = folder.read("arguments");
    let (before, ports) = arguments.trim().split_once(" --sql-port ").unwrap();
    assert_eq!(before, "demo --global --nodes 9 --no-example-database --insecure");
    assert!(ports.ends_with(&format!(" --listening-url-file {}/data/listening-url", folder.path())), "{arguments}");
    assert!(out.lines().next().unwrap().contains("nine nodes in three regions"), "{out}");
    assert!(out.lines().next().unwrap().contains("simulated"), "{out}");
    assert!(!out.contains("Localities are off"), "{out}");
    let (out, _) = demo(&folder, &["--locality", "off"]).await;
    assert!(out.lines().nth(1).unwrap().starts_with("Localities are off: all rows are in us-east1"), "{out}");
    let (_, err) = demo(&folder, &["--latency", "off"]).await;
    assert!(err.contains("simulates its own distances"), "{err}");
}

/// The scripts of deploy/local, with `cockroach` and `curl` of our own.
struct Nodes(Folder);

impl Nodes {
    fn new() -> Self {
        let folder = Folder::new();
        folder.program(
            "cockroach",
            "#!/bin/bash\necho \"$*\" >>\"$(dirname \"$0\")/calls\"\ncase \"$1\" in\n\
             init) [ -e \"$(dirname \"$0\")/asked\" ] || { touch \"$(dirname \"$0\")/asked\"; echo not yet >&2; exit 1; } ;;\n\
             start) trap '[ -e \"$(dirname \"$0\")/stubborn\" ] || exit 0' TERM; while :; do sleep 0.05; done ;;\nesac\n",
        );
        folder.program("curl", "#!/bin/sh\nexit 0\n");
        Self(folder)
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(format!("deploy/local/{name}.sh"));
        command.args(arguments).stdin(Stdio::null()).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.0.path()));
        command.env("MOVR_LOCAL_HOME", format!("{}/home", self.0.path())).env("MOVR_LOCAL_PATIENCE_S", "2");
        command.env("CARGO_TARGET_DIR", self.0.path()).output().unwrap()
    }

    /// What it prints; it ends well.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.script("three-nodes", arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it refuses.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.script("three-nodes", arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn pid(&self, region: &str) -> Pid {
        Pid::from_raw(self.0.read(&format!("home/{region}.pid")).trim().parse().unwrap())
    }

    fn calls(&self, verb: &str) -> Vec<String> {
        self.0.read("calls").lines().filter(|call| call.starts_with(verb)).map(str::to_owned).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.script("three-nodes", &["stop"]);
    }
}

/// Whether the process runs; one that has ended and that nobody has waited for does not.
fn lives(pid: Pid) -> bool {
    if Path::new("/proc/self/cmdline").exists() {
        return fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty());
    }
    kill(pid, None).is_ok()
}

/// Somebody else's node; ended with the test.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn three_nodes_start_are_killed_come_back_and_stop_and_nothing_else_is_touched() {
    const REGIONS: [&str; 3] = ["us-east1", "us-west1", "europe-west1"];
    let nodes = Nodes::new();
    let home = format!("{}/home", nodes.0.path());
    let other = Other(Command::new(nodes.0.0.join("cockroach")).args(["start", "--store=/elsewhere"]).spawn().unwrap());
    let other_pid = Pid::from_raw(i32::try_from(other.0.id()).unwrap());

    let started = nodes.run(&["start"]);
    for (n, region) in REGIONS.iter().enumerate() {
        assert!(started.contains(&format!("{region}: ready, pid {}", nodes.pid(region))), "{started}");
        let expected = format!(
            "start --insecure --store={home}/{region} --locality=region={region},zone=a \
             --listen-addr=127.0.0.1:{} --http-addr=127.0.0.1:{} \
             --join=127.0.0.1:26357,127.0.0.1:26358,127.0.0.1:26359 --cache=256MiB --max-sql-memory=256MiB",
            26357 + n,
            8181 + n
        );
        assert!(nodes.calls("start").contains(&expected), "{expected}\n{:?}", nodes.calls("start"));
    }
    let init = ["init --insecure --host=127.0.0.1:26357"; 2];
    assert_eq!(nodes.calls("init"), init, "asked again until the nodes answered");

    let pids = REGIONS.map(|region| nodes.pid(region));
    nodes.run(&["start"]);
    assert_eq!(REGIONS.map(|region| nodes.pid(region)), pids, "what runs is left alone");
    assert_eq!((nodes.calls("start --insecure").len(), nodes.calls("init").len()), (3, 2));

    let killed = nodes.run(&["kill", "us-west1"]);
    assert!(killed.contains("us-west1: stopped") && killed.matches(": ready").count() == 2, "{killed}");
    assert_eq!(pids.map(lives), [true, false, true]);
    // A pid that has become another program's is not ours to end.
    fs::write(format!("{home}/us-west1.pid"), other_pid.to_string()).unwrap();
    assert!(nodes.refused(&["kill", "us-west1"]).contains("does not run"));
    assert!(nodes.refused(&["kill", "mars-north1"]).contains("one of: us-east1 us-west1 europe-west1"));
    assert!(nodes.refused(&["kill"]).contains("the region is missing"));
    assert!(nodes.refused(&["fly"]).contains("usage:"));
    let back = nodes.run(&["restart", "us-west1"]);
    assert!(back.matches(": ready").count() == 3 && lives(nodes.pid("us-west1")), "{back}");

    let pids = REGIONS.map(|region| nodes.pid(region));
    let stopped = nodes.run(&["stop"]);
    assert_eq!(stopped.matches(": stopped").count(), 3, "{stopped}");
    assert_eq!(pids.map(lives), [false; 3]);
    assert!(lives(other_pid), "somebody else's node was ended");

    // Nodes that drain for ever, as those without a quorum do.
    nodes.run(&["start"]);
    let pids = REGIONS.map(|region| nodes.pid(region));
    fs::write(nodes.0.0.join("stubborn"), "").unwrap();
    let stopped = nodes.run(&["stop"]);
    assert_eq!((pids.map(lives), stopped.matches(": stopped").count()), ([false; 3], 3), "{stopped}");
    for (region, pid) in REGIONS.iter().zip(pids) {
        let said = format!("{region}: still runs 2 s after SIGTERM; SIGKILL to pid {pid}");
        assert!(stopped.contains(&said), "{stopped}");
    }
    assert!(lives(other_pid), "somebody else's node was ended");
}

#[test]
fn serving_a_region_of_them_takes_its_nodes_first_and_the_others_as_fallback() {
    let nodes = Nodes::new();
    nodes.0.program("release/movr", "#!/bin/sh\necho \"command=$*\"\nenv\n");
    let mut keys = Vec::new();
    for (region, port, own) in [("us-east1", 8080, 26357), ("europe-west1", 8082, 26359)] {
        let output = nodes.script("serve", &[region]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let vars: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
        assert_eq!(vars["command"], "serve");
        let url = |port: u16| format!("postgresql://root@127.0.0.1:{port}/movr?sslmode=disable");
        assert_eq!(vars["DATABASE_URL"], url(own));
        let config = Config::from_vars(vars.clone()).unwrap();
        assert_eq!((config.region.as_str(), config.listen.port()), (region, port));
        let shipped = Catalogue::parse(migrate::SHIPPED).unwrap();
        let shipped = shipped.regions.iter().find(|r| r.code.as_str() == region).unwrap();
        assert_eq!(config.public_url.origin(), shipped.base_url, "links between regions lead here");
        let others: Vec<_> =
            config.database.region_urls().map(|(code, url)| (code.to_string(), url.to_owned())).collect();
        let ports = [("europe-west1", 26359), ("us-east1", 26357), ("us-west1", 26358)];
        let expected = ports.iter().filter(|(code, _)| *code != region);
        assert_eq!(others, expected.map(|(code, port)| ((*code).to_owned(), url(*port))).collect::<Vec<_>>());
        keys.push(vars["MOVR_SECRET_KEYS"].to_owned());
    }
    assert_eq!(keys[0], keys[1], "one session for all regions");
    let migrate = nodes.script("serve", &["us-west1", "migrate", "--plan"]);
    assert!(String::from_utf8(migrate.stdout).unwrap().starts_with("command=migrate --plan\n"));
    assert_eq!(nodes.script("serve", &["mars-north1"]).status.code(), Some(1));
    nodes.0.program("demo/movr", "#!/bin/sh\necho demo\n");
    assert_eq!(nodes.script("serve", &["us-west1"]).stdout, b"demo\n", "what was built last");
}

#[actix_web::test]
async fn the_nine_node_demo_serves_three_regions() {
    let path = movr::config::env("PATH");
    let Some(binary) = find_cockroach(path.as_deref()) else {
        eprintln!("SKIPPED the_nine_node_demo_serves_three_regions: needs cockroach on the PATH");
        return;
    };
    eprintln!("with {}", binary.display());
    let folder = Folder::new();
    let demo = Demo::start(&folder, &path.unwrap(), &[], Duration::from_mins(8)).await;
    demo.serves().await;
    kill(demo.pid(), Signal::SIGTERM).unwrap();
    let (code, err) = demo.ended().await;
    assert_eq!(code, Some(0), "{err}");
    let (host, port) = address(&folder.read("data/listening-url")).unwrap();
    assert!(std::net::TcpStream::connect((host, port)).is_err(), "the cluster outlives the demo");
}
