//! Plays a scenario against a target.

mod aftermath;
mod compare;
mod expect;
mod quiet;
mod restart;
mod send;
mod silence;
mod stage;
mod token;

use std::time::{Duration, Instant};

use crate::Version;
use crate::actor::{Came, Event};
use crate::scenario::{CAPABILITIES, Duty, Scenario};
use crate::statements::Statements;
use crate::target::Target;
use crate::trace::{Direction, Entry};
use crate::verdict::{Failure, Outcome, Verdict};
use stage::Run;
pub use token::token;

/// The name under which a scenario runs in a version: `3.1.1/4.3-qos/qos1-is-acknowledged`.
pub fn name(scenario: &Scenario, version: Version) -> String {
    format!("{version}/{}", scenario.name)
}

/// Why this target does not run this scenario in this version, if so.
pub fn skipped(scenario: &Scenario, version: Version, target: &Target) -> Option<String> {
    if !target.versions.contains(&version) {
        return Some(format!("the broker does not take clients of {version}"));
    }
    if let Some(word) = scenario.all_needs(version).find(|word| !target.capabilities.contains(*word)) {
        let known = CAPABILITIES.iter().find(|capability| capability.name == word);
        let why = known.map(|capability| format!(": {}", capability.absent));
        return Some(format!("needs {word}{}", why.unwrap_or_default()));
    }
    if scenario.restarts() && target.restarts.is_none() {
        return Some("needs a broker that the kit can restart: see --broker-command".to_owned());
    }
    match scenario.promises.as_slice() {
        [word, ..] if !target.promises => Some(format!("promises {word}, which is beyond the standard")),
        _ => None,
    }
}

/// How long a scenario may take unless told otherwise.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Plays the scenario in this version, and clears away what it leaves in the broker.
pub fn run(scenario: &Scenario, version: Version, target: &Target) -> Verdict {
    run_within(scenario, version, target, LIMIT)
}

/// As [`run`], but begins no step when `limit` is over: then it is inconclusive.
pub fn run_within(scenario: &Scenario, version: Version, target: &Target, limit: Duration) -> Verdict {
    let mut start = Instant::now();
    let owned = match skipped(scenario, version, target) {
        Some(reason) => Err(Outcome::Skipped(reason)),
        None => target.owned(scenario).map_err(|error| Outcome::Inconclusive(error.to_string())),
    };
    let (outcome, trace) = match &owned {
        Err(outcome) => (outcome.clone(), Vec::new()),
        Ok(owned) => {
            let target = owned.as_ref().unwrap_or(target);
            let _turns = (quiet::turn(scenario), target.turn(scenario));
            start = Instant::now();
            let mut run = Run::new(scenario, version, target);
            let played = run.play(limit);
            // How everybody leaves is no part of what led to a failure.
            let trace = run.trace.entries();
            let left = run.end();
            let shown = played.and_then(|()| left.check(scenario, target));
            left.sweep(target);
            let outcome = match shown {
                Ok(()) => Outcome::Passed,
                Err(stop) if stop.is_inconclusive(&trace) => {
                    Outcome::Inconclusive(format!("{} ({}:{})", stop.actual, scenario.file, stop.line))
                }
                Err(stop) => failed(scenario, version, stop),
            };
            (outcome, trace)
        }
    };
    Verdict { name: name(scenario, version), outcome, trace, elapsed: start.elapsed() }
}

fn failed(scenario: &Scenario, version: Version, stop: Stop) -> Outcome {
    let known = Statements::of(version);
    let words = |id: &str| known.get(id).map(|statement| statement.paraphrase.clone()).unwrap_or_default();
    let failure = Failure {
        file: scenario.file.clone(),
        line: stop.line,
        version,
        step: stop.step,
        expected: stop.expected,
        actual: stop.actual,
        statements: scenario.cited(version).map(|id| (id.to_owned(), words(id))).collect(),
        here: stop.here,
    };
    Outcome::Failed(stop.duty, Box::new(failure))
}

/// Where and why a run stops.
#[derive(Debug)]
struct Stop {
    line: usize,
    step: String,
    duty: Duty,
    expected: String,
    actual: String,
    here: Option<usize>,
    blame: Blame,
}

/// What a stop says of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// It did what it must not, or did not do what it must.
    Broker,
    /// A `>` step could not be done: its fault if it was there before.
    Unsent,
    /// Nothing: the time was over.
    Clock,
}

impl Stop {
    fn is_inconclusive(&self, trace: &[Entry]) -> bool {
        let came = || trace.iter().any(|entry| entry.direction == Direction::Came);
        match self.blame {
            Blame::Broker => false,
            Blame::Unsent => !came(),
            Blame::Clock => true,
        }
    }
}

/// Why a step fails; where, [`Run::play`] knows.
#[derive(Debug)]
struct Fault {
    expected: String,
    actual: String,
    here: Option<usize>,
}

impl Fault {
    fn new(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Fault { expected: expected.into(), actual: actual.into(), here: None }
    }

    fn at(self, event: &Event) -> Self {
        Fault { here: Some(event.place), ..self }
    }
}

/// An event in words that follow "but".
fn came(what: &Came) -> String {
    match what {
        Came::Packet(packet) => format!("{packet} came"),
        Came::Malformed(reason) => format!("a malformed packet came: {reason}"),
        Came::Closed(how) => format!("the connection was closed ({how})"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
