//! The real program, `movr demo`, as a child process in its own process group: what it
//! printed, where it serves, and how it ends.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Folder;

/// Making a database and filling it, in a build without optimisation, on a busy machine.
const START: Duration = Duration::from_mins(2);
/// What SIGTERM may take with a database and three instances.
const STOP: Duration = Duration::from_secs(15);

pub struct Demo {
    child: Child,
    /// The instances, in the order of the catalogue: us-east1, us-west1, europe-west1.
    pub urls: Vec<String>,
    /// The password of the sample accounts, as printed.
    pub password: String,
    /// Everything printed until it served.
    pub output: Vec<String>,
    /// When the process was made.
    pub began: Instant,
}

fn command(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_movr"));
    command.args(["demo", "--engine", "postgres", "--data"]).arg(folder.data());
    command.env("MOVR_PAGES", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/own-pages"));
    command.env("MOVR_TILES_URL", "").process_group(0).stdin(Stdio::null());
    command
}

impl Demo {
    /// Starts it and waits until it has told its addresses and accounts.
    pub async fn start(folder: &Folder) -> Self {
        Self::start_with(folder, &[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(folder: &Folder, arguments: &[&str]) -> Self {
        let began = Instant::now();
        let mut child = command(folder).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // Reads on after the start, so that the program never waits for us.
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line); // nobody listens after the start
            }
        });
        let mut demo = Self { child, urls: Vec::new(), password: String::new(), output: Vec::new(), began };
        let started = tokio::task::spawn_blocking(move || demo.listen(&lines).map(|()| demo));
        started.await.unwrap().unwrap()
    }

    /// What it says when it does not start.
    pub async fn refused(folder: &Folder) -> String {
        let mut command = command(folder);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn listen(&mut self, lines: &Receiver<String>) -> Result<(), String> {
        loop {
            let left = START.saturating_sub(self.began.elapsed());
            let line = lines.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => format!("no accounts after {START:?}: {:?}", self.output),
                RecvTimeoutError::Disconnected => format!("ended instead of serving: {:?}", self.output),
            })?;
            if let Some((_, url)) = line.split_once(" http://") {
                let address = url.split_whitespace().next().unwrap_or_default();
                self.urls.push(format!("http://{address}"));
            }
            let password = line.split_once("password: ").map(|(_, password)| password.trim().to_owned());
            self.output.push(line);
            if let Some(password) = password {
                self.password = password;
                assert_eq!(self.urls.len(), 3, "{:?}", self.output);
                return Ok(());
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// SIGTERM: ends with 0 in time, and no process of the folder outlives it.
    pub async fn stop(mut self, folder: &Folder) {
        let postmaster = folder.postmaster().expect("a running database");
        assert!(folder.processes().contains(&postmaster), "a test that cannot see the database proves nothing");
        let asked = Instant::now();
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(asked.elapsed() < STOP, "still running {STOP:?} after SIGTERM");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "ended with {status}");
        assert_eq!(folder.processes(), [], "left behind");
        assert_eq!(folder.postmaster(), None, "the database was not shut down cleanly");
    }

    /// kill -9: nothing is cleaned up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Demo {
    /// After a panic: asks it to stop, so that it stops its database; then forces it.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill(self.pid(), Signal::SIGTERM);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < STOP {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
