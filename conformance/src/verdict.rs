//! What a run showed, and the report of a failure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// What went over the wire, and when: what led to a failure, or else the whole conversation.
    pub trace: Vec<Entry>,
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
    /// It did not come to the point: nobody could be reached, or the time was over. Says nothing of the broker.
    Inconclusive(String),
}

/// How a scenario went, in one word. From the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Not run.
    Skipped,
    /// As the standard says.
    Pass,
    /// Otherwise than the standard allows for (MAY).
    Note,
    /// Otherwise than the standard recommends (SHOULD).
    Warning,
    /// It could not be found out.
    Inconclusive,
    /// Otherwise than the standard demands.
    Fail,
}

impl Grade {
    /// All of them, in the order of summaries.
    pub const ALL: [Grade; 6] =
        [Grade::Pass, Grade::Fail, Grade::Warning, Grade::Note, Grade::Skipped, Grade::Inconclusive];

    /// As written in reports.
    pub fn word(self) -> &'static str {
        match self {
            Grade::Pass => "pass",
            Grade::Fail => "fail",
            Grade::Warning => "warning",
            Grade::Note => "note",
            Grade::Skipped => "skipped",
            Grade::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
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
    /// The place of the entry of the trace in which the failure shows.
    pub here: Option<usize>,
}

impl Verdict {
    /// Whether the broker broke a rule it is bound to.
    pub fn is_failure(&self) -> bool {
        self.grade() == Grade::Fail
    }

    /// The outcome in one word.
    pub fn grade(&self) -> Grade {
        match &self.outcome {
            Outcome::Passed => Grade::Pass,
            Outcome::Skipped(_) => Grade::Skipped,
            Outcome::Failed(Duty::Must, _) => Grade::Fail,
            Outcome::Failed(Duty::Should, _) => Grade::Warning,
            Outcome::Failed(Duty::May, _) => Grade::Note,
            Outcome::Inconclusive(_) => Grade::Inconclusive,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.outcome {
            Outcome::Passed => write!(f, "{name} passed"),
            Outcome::Skipped(reason) => write!(f, "{name} skipped: {reason}"),
            Outcome::Inconclusive(reason) => write!(f, "{name} inconclusive: {reason}"),
            Outcome::Failed(duty, failure) => {
                let word = match duty {
                    Duty::Must => "FAILED",
                    Duty::Should => "WARNING (the standard says SHOULD)",
                    Duty::May => "NOTE (the standard says MAY)",
                };
                failure.report(f, word, &self.trace)
            }
        }
    }
}

impl Failure {
    fn report(&self, f: &mut fmt::Formatter<'_>, word: &str, trace: &[Entry]) -> fmt::Result {
        let Failure { file, line, version, step, expected, actual, .. } = self;
        writeln!(f, "{file}:{line} ({version}) {word}")?;
        writeln!(f, "  {step}\n  expected {expected}, but {actual}")?;
        for (index, (id, words)) in self.statements.iter().enumerate() {
            let head = if index == 0 { "at stake:" } else { "" };
            writeln!(f, "  {head:<9} [{id}] {words}")?;
        }
        writeln!(f, "  trace (ms since the start):")?;
        let mut next = 0;
        for entry in trace {
            if entry.place > next {
                writeln!(f, "       …  {} left out", entry.place - next)?;
            }
            next = entry.place + 1;
            let mark = if self.here == Some(entry.place) { "   ◀ here" } else { "" };
            writeln!(f, "  {entry}{mark}")?;
        }
        Ok(())
    }
}
