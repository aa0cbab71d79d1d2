//! A database server as our child. Its output goes to a log, whose end is part of messages, because
//! only there does a server say why it ended.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::LocalError;

#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    pub(super) child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it in a process group of its own, so that Ctrl-C at the terminal reaches only us.
    pub(super) fn spawn(name: &'static str, command: &mut Command, log: &Path) -> Result<Self, LocalError> {
        let output = File::create(log).and_then(|file| Ok((file.try_clone()?, file)));
        let (stdout, stderr) = output.map_err(LocalError::io("write", log))?;
        let child = command.stdout(stdout).stderr(stderr).process_group(0).spawn();
        Ok(Self { name, child: child.map_err(LocalError::io("run", Path::new(name)))?, log: log.to_owned() })
    }

    pub(super) async fn ready<T>(
        &mut self,
        patience: Duration,
        mut probe: impl AsyncFnMut() -> Result<Option<T>, LocalError>,
    ) -> Result<T, LocalError> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = probe().await? {
                return Ok(found);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.ended_with("at once", status));
            }
            if Instant::now() > deadline {
                return Err(LocalError::Late { what: "answer", name: self.name, patience, log: tail(&self.log) });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) async fn ended(&mut self) -> LocalError {
        match self.child.wait().await {
            Ok(status) => self.ended_with("while the demo ran on it", status),
            Err(error) => LocalError::io("wait for", Path::new(self.name))(error),
        }
    }

    pub(super) fn ended_with(&self, when: &'static str, status: ExitStatus) -> LocalError {
        LocalError::Ended { name: self.name, when, status, log: tail(&self.log) }
    }
}

/// The last lines of a log, indented.
pub(super) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default();
    format!("  {}", last.join("\n  "))
}
