//! The program as people run it: a process with exactly the environment that is given.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Client, StatusCode};
use tokio::process::{Child, Command};

/// How a process ended and what it said.
#[derive(Debug)]
pub struct CommandOutput {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs `movr` to its end, a minute at most.
pub async fn movr(args: &[&str], env: &[(&str, &str)]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_movr"));
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_mins(1), command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("movr {args:?} did not end")).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    CommandOutput { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A port that is free now. Below those that the system gives to outgoing connections,
/// so that it is free again after the process on it has ended.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(20_000..30_000)).find(free).unwrap()
}

/// `movr serve` as a process; killed when dropped.
pub struct Serving {
    child: Child,
    pid: Pid,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
}

impl Serving {
    /// Starts it on `port`. It may not listen yet.
    pub fn start(port: u16, vars: &BTreeMap<String, String>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_movr"));
        command.arg("serve").env_clear().envs(vars).env("RUST_LOG", "error");
        command.env("MOVR_LISTEN", format!("127.0.0.1:{port}"));
        let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        Self { child, pid, base: format!("http://127.0.0.1:{port}") }
    }

    /// The most memory that it has had so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        kill(self.pid, Signal::SIGTERM).unwrap();
    }

    /// SIGKILL: nothing of it runs any more.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Its exit code, and how long it took from now.
    pub async fn ended(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let status = tokio::time::timeout(Duration::from_mins(1), self.child.wait()).await;
        (status.expect("it does not end").unwrap().code(), began.elapsed())
    }

    /// Status and text of one answer; none when nobody answers.
    pub async fn ask(&self, client: &Client, path: &str) -> Option<(StatusCode, String)> {
        let answer = client.get(format!("{}{path}", self.base)).send().await.ok()?;
        Some((answer.status(), answer.text().await.ok()?.trim_end().to_owned()))
    }

    /// Waits until `/readyz` says `wanted`; what it said until then, without repetitions.
    pub async fn until(&self, client: &Client, expected: &str) -> Vec<String> {
        let (began, mut said) = (Instant::now(), Vec::new());
        while said.last().is_none_or(|last| last != expected) {
            assert!(began.elapsed() < Duration::from_secs(30), "never {expected}: {said:?}");
            if let Some((status, text)) = self.ask(client, "/readyz").await {
                assert_eq!(status == StatusCode::OK, text == "ready", "{status} {text}");
                if said.last() != Some(&text) {
                    said.push(text);
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        said
    }
}
