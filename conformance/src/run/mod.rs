//! Plays a scenario against a target.

mod aftermath;
mod compare;
mod expect;
mod quiet;
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
use crate::trace::Entry;
use crate::verdict::{Failure, Outcome, Verdict};
use stage::Run;

/// The name under which a scenario runs in a version: `3.1.1/4.3-qos/qos1-is-acknowledged`.
pub fn name(scenario: &Scenario, version: Version) -> String {
    format!("{version}/{}", scenario.name)
}

/// Why this target does not run this scenario, if so.
pub fn skipped(scenario: &Scenario, target: &Target) -> Option<String> {
    if let Some(word) = scenario.needs.iter().find(|word| !target.capabilities.contains(*word)) {
        let known = CAPABILITIES.iter().find(|capability| capability.name == word);
        let why = known.map(|capability| format!(": {}", capability.absent));
        return Some(format!("needs {word}{}", why.unwrap_or_default()));
    }
    match scenario.promises.as_slice() {
        [word, ..] if !target.promises => Some(format!("promises {word}, which is beyond the standard")),
        _ => None,
    }
}

/// Plays the scenario in this version, and clears away what it leaves in the broker.
pub fn run(scenario: &Scenario, version: Version, target: &Target) -> Verdict {
    let mut start = Instant::now();
    let silent = (!version.is_spoken()).then(|| format!("the kit does not speak {version}"));
    let outcome = match silent.or_else(|| skipped(scenario, target)) {
        Some(reason) => Outcome::Skipped(reason),
        None => {
            let _turn = quiet::turn(scenario);
            start = Instant::now();
            let mut run = Run::new(scenario, version, target);
            let played = run.play();
            // How everybody leaves is no part of what led to a failure.
            let trace = run.trace.entries();
            let left = run.end();
            let shown = played.and_then(|()| left.check(scenario, target));
            left.sweep(target);
            match shown {
                Ok(()) => Outcome::Passed,
                Err(stop) => failed(scenario, version, stop, trace),
            }
        }
    };
    Verdict { name: name(scenario, version), outcome, elapsed: start.elapsed() }
}

fn failed(scenario: &Scenario, version: Version, stop: Stop, trace: Vec<Entry>) -> Outcome {
    let known = Statements::of(version);
    let cited = scenario.proves.iter().filter(|proof| proof.version == version).flat_map(|proof| &proof.ids);
    let words = |id: &str| known.get(id).map(|statement| statement.paraphrase.clone()).unwrap_or_default();
    let failure = Failure {
        file: scenario.file.clone(),
        line: stop.line,
        version,
        step: stop.step,
        expected: stop.expected,
        actual: stop.actual,
        statements: cited.map(|cited| (cited.id.clone(), words(&cited.id))).collect(),
        trace,
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
