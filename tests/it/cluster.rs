//! The local clusters: what `movr demo --engine cockroach` asks of the binary and says when
//! it cannot, on recorded outputs and with a binary that is a shell script; the scripts of
//! deploy/local, with the same; and the whole demo where there is a real `cockroach`.
//! The surprise: without that binary nothing here shows that a cluster comes up.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use movr::{
    cli::migrate,
    config::Config,
    db::error::{DbError, DbErrorKind},
    domain::catalogue::CatalogueFile,
    local::{
        cockroach::{VERSION, address, download, too_old},
        find_cockroach,
    },
};
use nix::{sys::signal::kill, unistd::Pid};
use reqwest::StatusCode;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::support::{process::movr, world};

/// An output of a real server, as it was recorded.
fn sample(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/crdb-samples");
    fs::read_to_string(folder.join(name)).unwrap()
}

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
    let shipped = CatalogueFile::parse(migrate::SHIPPED).unwrap();
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

/// The server's own refusal, with its code and words, sent by the server of the test.
#[actix_web::test]
async fn a_cluster_without_a_licence_is_told_with_the_way_on() {
    let world = world().await;
    let recorded = sample("error-licence.txt");
    let (_, words) = recorded.lines().nth(1).unwrap().split_once("XXC02: ").unwrap();
    let raise = format!("DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = '{words}', ERRCODE = 'XXC02'; END $$");
    let refused = world.sql().await.batch_execute(&raise).await.unwrap_err();
    let error = DbError::from_driver(refused, "migrate.regions", false);
    assert_eq!(error.kind, DbErrorKind::Licence);
    let told = migrate::explain(error).to_string();
    for words in ["for want of a licence (SQLSTATE XXC02)", "enterprise.license", "--locality off", migrate::LOST] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let other = DbError::new(DbErrorKind::Unavailable, "connect", "nobody");
    assert!(!migrate::explain(other).to_string().contains("licence"));
    world.end().await;
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
    let wanted = "demo --global --nodes 9 --no-example-database --insecure --listening-url-file";
    assert_eq!(folder.read("arguments").trim(), format!("{wanted} {}/data/listening-url", folder.path()));
    assert!(out.lines().next().unwrap().contains("nine nodes in three regions"), "{out}");
    assert!(!out.contains(migrate::LOST), "{out}");
    let (out, _) = demo(&folder, &["--locality", "off"]).await;
    assert!(out.lines().nth(1).unwrap().contains(migrate::LOST), "{out}");
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
             start) trap 'exit 0' TERM; while :; do sleep 0.05; done ;;\nesac\n",
        );
        folder.program("curl", "#!/bin/sh\nexit 0\n");
        Self(folder)
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(format!("deploy/local/{name}.sh"));
        command.args(arguments).stdin(Stdio::null()).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.0.path()));
        command.env("MOVR_LOCAL_HOME", format!("{}/home", self.0.path()));
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
        let wanted = format!(
            "start --insecure --store={home}/{region} --locality=region={region},zone=a \
             --listen-addr=127.0.0.1:{} --http-addr=127.0.0.1:{} \
             --join=127.0.0.1:26357,127.0.0.1:26358,127.0.0.1:26359 --cache=256MiB --max-sql-memory=256MiB",
            26357 + n,
            8181 + n
        );
        assert!(nodes.calls("start").contains(&wanted), "{wanted}\n{:?}", nodes.calls("start"));
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
        let shipped = CatalogueFile::parse(migrate::SHIPPED).unwrap();
        let shipped = shipped.regions.iter().find(|r| r.code.as_str() == region).unwrap();
        assert_eq!(config.public_url.origin(), shipped.base_url, "links between regions lead here");
        let others: Vec<_> =
            config.database.region_urls().map(|(code, url)| (code.to_string(), url.to_owned())).collect();
        let ports = [("europe-west1", 26359), ("us-east1", 26357), ("us-west1", 26358)];
        let wanted = ports.iter().filter(|(code, _)| *code != region);
        assert_eq!(others, wanted.map(|(code, port)| ((*code).to_owned(), url(*port))).collect::<Vec<_>>());
        keys.push(vars["MOVR_SECRET_KEYS"].to_owned());
    }
    assert_eq!(keys[0], keys[1], "one session for all regions");
    let migrate = nodes.script("serve", &["us-west1", "migrate", "--plan"]);
    assert!(String::from_utf8(migrate.stdout).unwrap().starts_with("command=migrate --plan\n"));
    assert_eq!(nodes.script("serve", &["mars-north1"]).status.code(), Some(1));
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
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_movr"));
    command
        .args(["demo", "--engine", "cockroach", "--data", folder.path()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut urls = Vec::new();
    let announced = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, url)) = line.split_once(" http://") {
                urls.push(format!("http://{}", url.split_whitespace().next().unwrap()));
            }
            if line.contains("password: ") {
                return;
            }
        }
        panic!("it ended");
    };
    tokio::time::timeout(Duration::from_mins(8), announced).await.expect("it does not come up");
    assert_eq!(urls.len(), 3);
    for url in &urls {
        for path in ["/readyz", "/vehicles", "/login"] {
            let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{url}{path}");
        }
    }
    kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(Duration::from_mins(1), child.wait()).await.expect("it does not end").unwrap();
    assert!(status.success(), "{status}");
    let (host, port) = address(&folder.read("listening-url")).unwrap();
    assert!(std::net::TcpStream::connect((host, port)).is_err(), "the cluster outlives the demo");
}
