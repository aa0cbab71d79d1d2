//! The log of this process, kept.

use std::sync::{Arc, Mutex};

use movr::{
    config::{Log, LogFormat},
    telemetry,
};
use serde_json::Value;

#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// From now on the log is kept as JSON. It is one for the process: a second call keeps nothing.
    pub fn keep(filter: &str) -> Self {
        let lines = Self::default();
        let kept = lines.clone();
        telemetry::init_to(&Log { format: LogFormat::Json, filter: filter.to_owned() }, None, move || kept.clone());
        lines
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines with this message.
    pub fn with(&self, message: &str) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["message"] == message).collect()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
