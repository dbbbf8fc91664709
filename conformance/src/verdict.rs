//! What a run showed, and the report of a failure.

use std::fmt;
use std::time::Duration;

use crate::Version;
use crate::scenario::Duty;
use crate::trace::Entry;

/// The result of one scenario in one version.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// `3.1.1/4.3-qos/qos1-is-acknowledged`
    pub name: String,
    /// How it went.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
}

/// How a scenario went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As the scenario says.
    Passed,
    /// Not run, and why.
    Skipped(String),
    /// Otherwise than the scenario says. With [`Duty::Should`] this is a warning, with [`Duty::May`] a note.
    Failed(Duty, Box<Failure>),
}

/// Everything that is known about a failure.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The scenario's file.
    pub file: String,
    /// The line that failed, from 1.
    pub line: usize,
    /// In which version.
    pub version: Version,
    /// The line itself.
    pub step: String,
    /// What it wants.
    pub expected: String,
    /// What happened.
    pub actual: String,
    /// The scenario's statements: id and words.
    pub statements: Vec<(String, String)>,
    /// What led there.
    pub trace: Vec<Entry>,
    /// The place of the entry in which the failure shows.
    pub here: Option<usize>,
}

impl Verdict {
    /// Whether the broker broke a rule it is bound to.
    pub fn is_failure(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(Duty::Must, _))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Passed => write!(f, "{} passed", self.name),
            Outcome::Skipped(reason) => write!(f, "{} skipped: {reason}", self.name),
            Outcome::Failed(Duty::Must, failure) => write!(f, "{}", failure.headed("FAILED")),
            Outcome::Failed(Duty::Should, failure) => {
                write!(f, "{}", failure.headed("WARNING (the standard says SHOULD)"))
            }
            Outcome::Failed(Duty::May, failure) => {
                write!(f, "{}", failure.headed("NOTE (the standard says MAY)"))
            }
        }
    }
}

impl Failure {
    fn headed(&self, word: &str) -> String {
        let Failure { file, line, version, step, expected, actual, .. } = self;
        let mut report =
            format!("{file}:{line} ({version}) {word}\n  {step}\n  expected {expected}, but {actual}\n");
        for (index, (id, words)) in self.statements.iter().enumerate() {
            let head = if index == 0 { "at stake:" } else { "" };
            report.push_str(&format!("  {head:<9} [{id}] {words}\n"));
        }
        report.push_str("  trace (ms since the start):\n");
        let mut next = 0;
        for entry in &self.trace {
            if entry.place > next {
                report.push_str(&format!("       …  {} left out\n", entry.place - next));
            }
            next = entry.place + 1;
            let mark = if self.here == Some(entry.place) { "   ◀ here" } else { "" };
            report.push_str(&format!("  {entry}{mark}\n"));
        }
        report
    }
}
