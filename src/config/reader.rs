//! Reads variable after variable and collects what is wrong, so that one start tells everything.
//! It takes defaults from `vars` and forms from `values`.
//! The surprise: a wrong variable yields some value instead of an early return;
//! [`Reader::finish`] keeps such values from getting out.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ConfigError, values,
    vars::{Default, VARS},
};

/// The environment, and what was found wrong with it so far.
pub(super) struct Reader {
    pub(super) vars: BTreeMap<String, String>,
    pub(super) problems: Vec<(String, String)>,
}

impl Reader {
    pub(super) fn new<N: Into<String>, V: Into<String>>(vars: impl IntoIterator<Item = (N, V)>) -> Self {
        let vars = vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { vars, problems: Vec::new() }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(value) } else { Err(ConfigError { problems: self.problems }) }
    }

    pub(super) fn problem(&mut self, name: &str, problem: impl Into<String>) {
        self.problems.push((name.to_owned(), problem.into()));
    }

    /// The variable's value, else its default, parsed; `None` when off, missing or wrong.
    pub(super) fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let set = self.vars.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let default = VARS.iter().find(|var| var.name == name).map(|var| var.default);
        let text = match (set, default) {
            (_, None) => return self.wrong(name, "is not in the table of variables".to_owned()),
            (Some(text), _) | (None, Some(Default::Value(text))) => text,
            (None, Some(Default::Off)) => return None,
            (None, Some(Default::Required)) => {
                return self.wrong(name, "is not set, and has no default".to_owned());
            }
        };
        parse(text).map_or_else(|problem| self.wrong(name, problem), Some)
    }

    fn wrong<T>(&mut self, name: &str, problem: String) -> Option<T> {
        self.problem(name, problem);
        None
    }

    pub(super) fn number(&mut self, name: &str, least: u32, most: u32) -> u32 {
        self.read(name, |text| values::number(text, least..=most)).unwrap_or_default()
    }

    pub(super) fn cores(&mut self, name: &str) -> usize {
        self.read(name, |text| values::number_or_cores(text, 1..=1024)).unwrap_or_default() as usize
    }

    /// At most an hour: a larger number was meant in another unit.
    pub(super) fn milliseconds(&mut self, name: &str, least: u32) -> Duration {
        self.read(name, |text| values::milliseconds(text, least..=3_600_000)).unwrap_or_default()
    }

    /// At most a day.
    pub(super) fn seconds(&mut self, name: &str) -> Duration {
        self.read(name, |text| values::seconds(text, 1..=86_400)).unwrap_or_default()
    }
}
