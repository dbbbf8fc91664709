//! A file of mosquitto, written anew as one of Sol.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::{Overrides, Problem, Settings, include, parse};

/// What a file of mosquitto says, in Sol's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The text of a configuration file that says the same: what is the default is left out, and what could not be said
    /// stands in comments.
    pub text: String,
    /// What Sol does not do, each with its line and what to do instead.
    pub left_out: Vec<Problem>,
}

impl Import {
    /// Reads a file, and those that it includes.
    ///
    /// # Errors
    ///
    /// All that is wrong in it, as of [`Settings::read`], but for what is only left out.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = include::text_of(path).map_err(|problem| vec![problem])?;
        let (settings, mut problems, mut left_out) = parse::read(&text, Some(path), Overrides::default());
        if !problems.is_empty() {
            problems.sort();
            problems.dedup();
            return Err(problems);
        }
        left_out.sort();
        Ok(Self { text: written(path, &settings, &left_out), left_out })
    }
}

fn written(path: &Path, settings: &Settings, left_out: &[Problem]) -> String {
    let mut text = format!("# From {}. What is not here is the default.\n", path.display());
    for (problems, what) in [(left_out, "left out"), (settings.warnings(), "not needed")] {
        for problem in problems {
            _ = writeln!(text, "# {what}: {problem}");
        }
    }
    let usual = Settings {
        broker: crate::Config { listeners: Vec::new(), ..Default::default() },
        ..Default::default()
    };
    let usual = usual.to_string();
    let usual: BTreeSet<_> = usual.lines().filter(|line| !line.starts_with("per_listener")).collect();
    let mut is_of_a_listener = false;
    for line in settings.to_string().lines() {
        is_of_a_listener |= line.starts_with("listener ");
        if is_of_a_listener || !usual.contains(line) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
