//! Plays scenarios against faults: every scenario has to be seen failing, every fault has to be noticed.
//!
//! Not every fault is played against every scenario. A pair makes sense where the scenario cites a statement that the
//! fault breaks; `faults.tsv` says which pairs are known to end in a failure, and from it comes a short selection that
//! has each fault, each scenario and each statement once. What that leaves open is searched for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{FAULTS, Face, Fault, Proxy};
use crate::Version;
use crate::run;
use crate::scenario::{Action, Duty, Expect, Expected, Scenario, Step, WEBSOCKET};
use crate::statements::Statements;
use crate::target::Target;
use crate::verdict::{Outcome, Verdict};

/// The pairs of fault and scenario that ended in a failure when last all were played.
const TABLE: &str = include_str!("faults.tsv");
const VERSION: Version = Version::V3_1_1;

/// How to test.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many scenarios are played at once. They mostly wait.
    pub threads: usize,
    /// How long a step waits for what a fault keeps back.
    pub deadline: Duration,
    /// Every fault against every scenario that cites one of its statements, not only what is needed.
    pub full: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { threads: 32, deadline: Duration::from_millis(700), full: false }
    }
}

/// One scenario played once.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The fault, or none: the man in the middle does nothing.
    pub fault: Option<&'static Fault>,
    /// The scenario's name.
    pub scenario: String,
    /// How often the fault did something.
    pub acted: u64,
    /// How it went.
    pub verdict: Verdict,
}

impl Trial {
    /// What the failure means, if the scenario failed because of the fault.
    pub fn failed(&self) -> Option<Duty> {
        match self.verdict.outcome {
            Outcome::Failed(duty, _) if self.acted > 0 => Some(duty),
            _ => None,
        }
    }
}

/// What was shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// Everything that was played.
    pub trials: Vec<Trial>,
    /// The statements each scenario cites, by its name.
    cited: BTreeMap<String, BTreeSet<String>>,
}

/// All faults.
fn faults() -> impl Iterator<Item = &'static Fault> {
    FAULTS.iter().copied().flatten()
}

/// Plays the scenarios against a correct broker, through the faults. Each scenario is played against the first of the
/// targets that does not skip it; WebSocket they need not have, the man in the middle speaks it for them. `each` sees
/// every trial when it is over.
pub fn self_test(
    scenarios: &[Scenario],
    targets: &[Target],
    options: Options,
    each: impl Fn(&Trial) + Sync,
) -> Report {
    let with_websocket = |target: &Target| {
        let mut target = target.clone();
        target.capabilities.insert(WEBSOCKET.to_owned());
        target
    };
    let targets: &[Target] = &targets.iter().map(with_websocket).collect::<Vec<_>>();
    let scenarios: Vec<&Scenario> = scenarios
        .iter()
        .filter(|scenario| scenario.proves.iter().any(|proof| proof.version == VERSION))
        .collect();
    let mut search = Search {
        report: Report {
            trials: Vec::new(),
            cited: scenarios.iter().map(|scenario| (scenario.name.clone(), cited(scenario))).collect(),
        },
        played: BTreeSet::new(),
    };
    let undisturbed: Vec<_> = scenarios.iter().map(|scenario| (None, *scenario)).collect();
    search.report.trials = play(&undisturbed, targets, options, &each);
    let skipped: BTreeSet<String> = search.report.skipped().map(|(name, _)| name.to_owned()).collect();
    let played: Vec<&Scenario> =
        scenarios.into_iter().filter(|scenario| !skipped.contains(&scenario.name)).collect();

    let mut pairs = if options.full { search.all() } else { search.selection() };
    if pairs.is_empty() {
        pairs = search.open();
    }
    while !pairs.is_empty() {
        let by_name = |name: &str| played.iter().find(|scenario| scenario.name == name).copied();
        let jobs: Vec<_> =
            pairs.iter().filter_map(|(fault, name)| Some((Some(*fault), by_name(name)?))).collect();
        search.played.extend(pairs.iter().map(|(fault, name)| (fault.name, name.clone())));
        search.report.trials.extend(play(&jobs, targets, options, &each));
        pairs = search.open();
    }
    search.report
}

/// A fault and a scenario's name.
type Pair = (&'static Fault, String);

/// The statements that a scenario cites.
fn cited(scenario: &Scenario) -> BTreeSet<String> {
    let proofs = scenario.proves.iter().filter(|proof| proof.version == VERSION);
    proofs.flat_map(|proof| &proof.ids).map(|cited| cited.id.clone()).collect()
}

/// Plays them all, so many at once.
fn play(
    jobs: &[(Option<&'static Fault>, &Scenario)],
    targets: &[Target],
    options: Options,
    each: &(impl Fn(&Trial) + Sync),
) -> Vec<Trial> {
    // What takes long begins first, so that nothing is waited for at the end.
    let mut jobs = jobs.to_vec();
    jobs.sort_by_key(|(_, scenario)| std::cmp::Reverse(waits(scenario)));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                while let Some((fault, scenario)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let fitting =
                        targets.iter().find(|target| run::skipped(scenario, VERSION, target).is_none());
                    let Some(target) = fitting.or(targets.first()) else { continue };
                    let trial = try_one(*fault, scenario, target, options);
                    each(&trial);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(trial);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// How long a scenario takes at least, because it says so.
fn waits(scenario: &Scenario) -> Duration {
    let of_step = |step: &Step| match &step.action {
        Action::Expect(Expect { what: Expected::Silence(Some(time)), .. }) => *time,
        Action::Expect(Expect { within: Some((_, most)), .. }) => *most,
        _ => Duration::ZERO,
    };
    scenario.steps.iter().flat_map(Step::with_inner).map(of_step).sum()
}

fn try_one(fault: Option<&'static Fault>, scenario: &Scenario, target: &Target, options: Options) -> Trial {
    // Looking at a password takes its time, and so does much on its way.
    let is_slow = |word: &str| matches!(word, "passwords" | "large-packets");
    let is_quick = fault.is_some() && !scenario.needs.iter().any(|need| is_slow(&need.word));
    let deadline = if is_quick { options.deadline.min(target.deadline) } else { target.deadline };
    let trial = |acted, verdict| Trial { fault, scenario: scenario.name.clone(), acted, verdict };
    let face =
        if scenario.needs.iter().any(|need| need.word == WEBSOCKET) { Face::WebSocket } else { Face::Tcp };
    match Proxy::start(target, face, fault) {
        Ok(proxy) => {
            let behind = Target { endpoint: proxy.endpoint(), deadline, ..target.clone() };
            let verdict = run::run(scenario, VERSION, &behind);
            if fault.is_some() {
                proxy.clear();
            }
            trial(proxy.acted(), verdict)
        }
        // Without a port there is no man in the middle, and nothing that the fault could have done.
        Err(_) => trial(0, run::run(scenario, VERSION, target)),
    }
}

/// What was played so far, and what to play next.
struct Search {
    report: Report,
    played: BTreeSet<(&'static str, String)>,
}

impl Search {
    /// The statements that this fault breaks and this scenario cites.
    fn shared(&self, fault: &Fault, scenario: &str) -> BTreeSet<String> {
        let cited = self.report.cited.get(scenario);
        fault.statements().filter(|id| cited.is_some_and(|cited| cited.contains(id))).collect()
    }

    /// Every pair that makes sense.
    fn all(&self) -> Vec<Pair> {
        let names = || self.report.cited.keys();
        faults()
            .flat_map(|fault| names().map(move |name| (fault, name.clone())))
            .filter(|(fault, name)| !self.shared(fault, name).is_empty())
            .collect()
    }

    /// From the table: each fault, each scenario and each statement once.
    fn selection(&self) -> Vec<Pair> {
        let known = known();
        let mut rarest = known.clone();
        let often = |name: &str| known.iter().filter(|(_, other)| other == name).count();
        rarest.sort_by_key(|(_, name)| often(name));
        let (mut faults, mut names, mut ids) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut pairs = Vec::new();
        for (fault, name) in rarest {
            let shared = self.shared(fault, &name);
            let is_needed = !faults.contains(fault.name) && !shared.is_empty()
                || !names.contains(&name)
                || !shared.is_subset(&ids);
            if is_needed && self.report.cited.contains_key(&name) {
                faults.insert(fault.name);
                ids.extend(shared);
                names.insert(name.clone());
                pairs.push((fault, name));
            }
        }
        pairs
    }

    /// For everything that is not shown yet some pairs that may show it and were not played.
    fn open(&self) -> Vec<Pair> {
        const AT_ONCE: usize = 4;
        let mut pairs: BTreeMap<(&str, String), &'static Fault> = BTreeMap::new();
        let all: Vec<Pair> = self
            .all()
            .into_iter()
            .filter(|(fault, name)| !self.played.contains(&(fault.name, name.clone())))
            .collect();
        let mut add = |which: &dyn Fn(&Pair) -> bool| {
            let mut fitting: Vec<&Pair> = all.iter().filter(|pair| which(pair)).collect();
            fitting.sort_by_key(|(fault, name)| std::cmp::Reverse(self.shared(fault, name).len()));
            for (fault, name) in fitting.into_iter().take(AT_ONCE) {
                pairs.insert((fault.name, name.clone()), fault);
            }
        };
        for uncaught in self.report.uncaught() {
            add(&|(fault, _)| fault.name == uncaught.name);
        }
        for unseen in self.report.unseen() {
            add(&|(_, name)| name == unseen);
        }
        for missing in self.report.statements().missing {
            add(&|(fault, name)| self.shared(fault, name).contains(&missing));
        }
        pairs.into_iter().map(|((_, name), fault)| (fault, name)).collect()
    }
}

/// The pairs of the table whose fault there still is.
fn known() -> Vec<Pair> {
    let mut pairs = Vec::new();
    for row in TABLE.lines().skip(1) {
        let mut cells = row.split('\t');
        let fault = cells.next().and_then(|name| faults().find(|fault| fault.name == name));
        if let (Some(fault), Some(names)) = (fault, cells.nth(1)) {
            pairs.extend(names.split_whitespace().map(|name| (fault, name.to_owned())));
        }
    }
    pairs
}

/// The observable statements that bind a server.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Those that a scenario which cites them saw broken.
    pub caught: Vec<String>,
    /// The others.
    pub missing: Vec<String>,
}

impl Report {
    /// Scenarios that the target does not run, and why.
    pub fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.trials.iter().filter_map(|trial| match (&trial.fault, &trial.verdict.outcome) {
            (None, Outcome::Skipped(reason)) => Some((trial.scenario.as_str(), reason.as_str())),
            _ => None,
        })
    }

    /// Scenarios that do not pass although nothing is wrong: the broker is not correct, or the man in the middle is not.
    pub fn disturbed(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| {
            trial.fault.is_none()
                && matches!(trial.verdict.outcome, Outcome::Failed(..) | Outcome::Inconclusive(_))
        })
    }

    /// Trials in which the fault was noticed by a scenario that cites a statement it breaks.
    pub fn caught(&self) -> impl Iterator<Item = (&'static Fault, &Trial)> {
        self.trials.iter().filter_map(|trial| {
            let fault = trial.fault?;
            let is_failure = matches!(trial.failed(), Some(Duty::Must | Duty::Should));
            (is_failure && !self.shared(fault, trial).is_empty()).then_some((fault, trial))
        })
    }

    fn shared(&self, fault: &Fault, trial: &Trial) -> Vec<String> {
        let cited = self.cited.get(&trial.scenario);
        fault.statements().filter(|id| cited.is_some_and(|cited| cited.contains(id))).collect()
    }

    /// Faults that no scenario noticed, not even by a note.
    pub fn uncaught(&self) -> Vec<&'static Fault> {
        let noticed = self.trials.iter().filter(|trial| trial.failed().is_some()).filter_map(|trial| {
            let fault = trial.fault?;
            (!self.shared(fault, trial).is_empty()).then_some(fault.name)
        });
        let noticed: BTreeSet<_> = noticed.collect();
        faults().filter(|fault| !noticed.contains(fault.name)).collect()
    }

    /// Those of them that never came to do anything: no scenario that was played gives them an occasion.
    pub fn idle(&self) -> Vec<&'static Fault> {
        let acted = self.trials.iter().filter(|trial| trial.acted > 0);
        let acted: BTreeSet<_> = acted.filter_map(|trial| Some(trial.fault?.name)).collect();
        self.uncaught().into_iter().filter(|fault| !acted.contains(fault.name)).collect()
    }

    /// Scenarios that never failed, without those that were skipped.
    pub fn unseen(&self) -> Vec<&str> {
        let failed = self.trials.iter().filter(|trial| trial.fault.is_some() && trial.failed().is_some());
        let failed: BTreeSet<_> = failed.map(|trial| trial.scenario.as_str()).collect();
        let skipped: BTreeSet<_> = self.skipped().map(|(name, _)| name).collect();
        let names = self.cited.keys().map(String::as_str);
        names.filter(|name| !failed.contains(name) && !skipped.contains(name)).collect()
    }

    /// Pairs of the table that were played and did not end in a failure this time.
    pub fn stale(&self) -> Vec<(&'static str, &str)> {
        let known = known();
        let passed = self.trials.iter().filter(|trial| trial.failed().is_none());
        let pairs = passed.filter_map(|trial| Some((trial.fault?.name, trial.scenario.as_str())));
        pairs
            .filter(|(fault, name)| known.iter().any(|(other, known)| other.name == *fault && known == name))
            .collect()
    }

    /// Which statements a scenario that cites them saw broken.
    pub fn statements(&self) -> Coverage {
        let seen: BTreeSet<String> =
            self.caught().flat_map(|(fault, trial)| self.shared(fault, trial)).collect();
        let mut coverage = Coverage::default();
        for (id, statement) in Statements::of(VERSION).iter() {
            if statement.duty != "client" && statement.observable == "yes" {
                let side = if seen.contains(id) { &mut coverage.caught } else { &mut coverage.missing };
                side.push(id.to_owned());
            }
        }
        coverage
    }

    /// `faults.tsv`: each fault, what it breaks, and which scenarios noticed.
    pub fn table(&self) -> String {
        let mut table = "fault\tstatements\tscenarios\n".to_owned();
        for fault in faults() {
            let noticed = self.trials.iter().filter(|trial| {
                trial.fault.is_some_and(|other| other.name == fault.name) && trial.failed().is_some()
            });
            let names: BTreeSet<_> = noticed.map(|trial| trial.scenario.as_str()).collect();
            let names: Vec<_> = names.into_iter().collect();
            table.push_str(&format!("{}\t{}\t{}\n", fault.name, fault.breaks, names.join(" ")));
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle: Vec<_> = self.idle().iter().map(|fault| fault.name).collect();
        for fault in faults() {
            let of_it = |trial: &&Trial| trial.fault.is_some_and(|other| other.name == fault.name);
            let noticed = self.trials.iter().filter(of_it).filter(|trial| trial.failed().is_some());
            let names: Vec<_> = noticed.map(|trial| trial.scenario.as_str()).collect();
            let by = match names.as_slice() {
                [] if idle.contains(&fault.name) => "nobody: it had no occasion".to_owned(),
                [] => "NOBODY".to_owned(),
                [name] => (*name).to_owned(),
                [name, rest @ ..] => format!("{name} and {} more", rest.len()),
            };
            writeln!(
                f,
                "{:<40} {}\n{:<40} breaks {}; noticed by {by}",
                fault.name, fault.wrong, "", fault.breaks
            )?;
        }
        for trial in self.disturbed() {
            writeln!(f, "without any fault: {}", trial.verdict)?;
        }
        for (fault, name) in self.stale() {
            writeln!(f, "not this time, though the table says so: {fault} noticed by {name}")?;
        }
        for name in self.unseen() {
            writeln!(f, "never seen failing: {name}")?;
        }
        for (name, reason) in self.skipped() {
            writeln!(f, "not played: {name}: {reason}")?;
        }
        let Coverage { caught, missing } = self.statements();
        for id in &missing {
            writeln!(f, "no scenario that cites it saw it broken: {id}")?;
        }
        let (faults, uncaught) = (faults().count(), self.uncaught().len());
        let (skipped, unseen) = (self.skipped().count(), self.unseen().len());
        let scenarios = self.cited.len() - skipped;
        writeln!(
            f,
            "{} of {faults} faults noticed; {} of {scenarios} scenarios seen failing ({skipped} not played); \
             {} of {} observable statements seen broken; {} trials",
            faults - uncaught,
            scenarios - unseen,
            caught.len(),
            caught.len() + missing.len(),
            self.trials.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SELF_TEST=write cargo test -p conformance --test self_test` writes it anew.
    #[test]
    fn the_table_has_every_fault_with_what_it_breaks_and_who_notices() {
        let rows: BTreeMap<&str, (&str, &str)> = TABLE
            .lines()
            .skip(1)
            .filter_map(|row| {
                let mut cells = row.split('\t');
                Some((cells.next()?, (cells.next()?, cells.next()?)))
            })
            .collect();
        assert_eq!(rows.len(), faults().count());
        for fault in faults() {
            let (breaks, scenarios) =
                rows.get(fault.name).unwrap_or_else(|| panic!("{} has no row", fault.name));
            assert_eq!(*breaks, fault.breaks, "{}", fault.name);
            assert!(!scenarios.is_empty(), "{} is noticed by nobody", fault.name);
        }
    }
}
