//! Plays scenarios against faults: every scenario has to be seen failing in each of its versions, every fault has to be
//! noticed.
//!
//! Not every fault is played against every scenario. A pair makes sense where the scenario cites a statement that the
//! fault breaks; `faults.tsv` says which pairs are known to end in a failure, and from it comes a short selection that
//! has each fault once, and each scenario and each statement once in each version. What that leaves open is searched for.

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
use crate::select::Item;
use crate::statements::Statements;
use crate::target::Target;
use crate::verdict::{Outcome, Verdict};

/// The pairs of fault and scenario that ended in a failure when last all were played.
const TABLE: &str = include_str!("faults.tsv");

/// How to test.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many scenarios are played at once. They mostly wait.
    pub threads: usize,
    /// How long a step waits for what a fault keeps back.
    pub deadline: Duration,
    /// Every fault against every scenario that cites one of its statements, not only what is needed. Then a fault has to
    /// be noticed in each version in which it is one.
    pub full: bool,
    /// Which faults.
    pub faults: Vec<&'static Fault>,
}

impl Default for Options {
    fn default() -> Self {
        let faults = FAULTS.iter().copied().flatten().collect();
        Options { threads: 32, deadline: Duration::from_millis(700), full: false, faults }
    }
}

/// One scenario played once.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The fault, or none: the man in the middle does nothing.
    pub fault: Option<&'static Fault>,
    /// The scenario's name with its version: `5.0/4.3-qos/qos1-is-acknowledged`.
    pub scenario: String,
    /// The version.
    pub version: Version,
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
    /// What each scenario cites, by its name with its version.
    cited: BTreeMap<String, Cited>,
    faults: Vec<&'static Fault>,
    full: bool,
}

/// A scenario's version, and the statements of it that it cites.
#[derive(Clone, Debug)]
struct Cited {
    version: Version,
    ids: BTreeSet<String>,
}

/// Plays the scenarios against a correct broker, through the faults. Each scenario is played against the first of the
/// targets that does not skip it; WebSocket they need not have, the man in the middle speaks it for them. `each` sees
/// every trial when it is over.
pub fn self_test(
    items: &[Item],
    targets: &[Target],
    options: &Options,
    each: impl Fn(&Trial) + Sync,
) -> Report {
    let with_websocket = |target: &Target| {
        let mut target = target.clone();
        target.capabilities.insert(WEBSOCKET.to_owned());
        target
    };
    let targets: &[Target] = &targets.iter().map(with_websocket).collect::<Vec<_>>();
    let mut search = Search {
        report: Report {
            trials: Vec::new(),
            cited: items.iter().map(|item| (item.name(), cited(item))).collect(),
            faults: options.faults.clone(),
            full: options.full,
        },
        played: BTreeSet::new(),
    };
    let undisturbed: Vec<_> = items.iter().map(|item| (None, item)).collect();
    search.report.trials = play(&undisturbed, targets, options, &each);
    let skipped: BTreeSet<String> = search.report.skipped().map(|(name, _)| name.to_owned()).collect();
    let played: BTreeMap<String, &Item> =
        items.iter().map(|item| (item.name(), item)).filter(|(name, _)| !skipped.contains(name)).collect();

    let mut pairs = if options.full { search.all() } else { search.selection() };
    if pairs.is_empty() {
        pairs = search.open();
    }
    while !pairs.is_empty() {
        let by_name = |name: &str| played.get(name).copied();
        let jobs: Vec<_> =
            pairs.iter().filter_map(|(fault, name)| Some((Some(*fault), by_name(name)?))).collect();
        search.played.extend(pairs.iter().map(|(fault, name)| (fault.name, name.clone())));
        search.report.trials.extend(play(&jobs, targets, options, &each));
        pairs = search.open();
    }
    search.report
}

/// A fault and a scenario's name with its version.
type Pair = (&'static Fault, String);

fn cited(Item { scenario, version }: &Item) -> Cited {
    Cited { version: *version, ids: scenario.cited(*version).map(str::to_owned).collect() }
}

/// Plays them all, so many at once.
fn play(
    jobs: &[(Option<&'static Fault>, &Item)],
    targets: &[Target],
    options: &Options,
    each: &(impl Fn(&Trial) + Sync),
) -> Vec<Trial> {
    // What takes long begins first, so that nothing is waited for at the end.
    let mut jobs = jobs.to_vec();
    jobs.sort_by_key(|(_, item)| std::cmp::Reverse(waits(&item.scenario)));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..options.threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                while let Some((fault, item)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let skips = |target: &&Target| run::skipped(&item.scenario, item.version, target);
                    let fitting = targets.iter().find(|target| skips(target).is_none());
                    let Some(target) = fitting.or(targets.first()) else { continue };
                    let trial = try_one(*fault, item, target, options);
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

fn try_one(fault: Option<&'static Fault>, item: &Item, target: &Target, options: &Options) -> Trial {
    let Item { scenario, version } = item;
    // Looking at a password takes its time, and so does much on its way.
    let needs = |word: &str| scenario.needs.iter().any(|need| need.word == word);
    let deadline = match fault {
        _ if needs("passwords") => target.deadline * 3,
        Some(_) if !needs("large-packets") => options.deadline.min(target.deadline),
        _ => target.deadline,
    };
    let trial = |acted, verdict| Trial { fault, scenario: item.name(), version: *version, acted, verdict };
    let face = if needs(WEBSOCKET) { Face::WebSocket } else { Face::Tcp };
    let owned =
        if run::skipped(scenario, *version, target).is_none() { target.owned(scenario) } else { Ok(None) };
    let target = match &owned {
        Ok(owned) => owned.as_ref().unwrap_or(target),
        // Playing it says why.
        Err(_) => return trial(0, run::run(scenario, *version, target)),
    };
    match Proxy::start(target, face, fault) {
        Ok(proxy) => {
            let behind = Target { endpoint: proxy.endpoint(), deadline, ..target.clone() };
            let verdict = run::run(scenario, *version, &behind);
            if fault.is_some() {
                proxy.clear();
            }
            trial(proxy.acted(), verdict)
        }
        // Without a port there is no man in the middle, and nothing that the fault could have done.
        Err(_) => trial(0, run::run(scenario, *version, target)),
    }
}

/// What was played so far, and what to play next.
struct Search {
    report: Report,
    played: BTreeSet<(&'static str, String)>,
}

impl Search {
    /// Every pair that makes sense.
    fn all(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for fault in &self.report.faults {
            let breaks = Version::ALL.map(|version| (version, fault.statements(version)));
            for (name, cited) in &self.report.cited {
                let mut breaks = breaks.iter().filter(|(version, _)| *version == cited.version);
                if breaks.any(|(_, ids)| !ids.is_disjoint(&cited.ids)) {
                    pairs.push((*fault, name.clone()));
                }
            }
        }
        pairs
    }

    /// From the table: each fault once, each scenario and each statement once in each version.
    fn selection(&self) -> Vec<Pair> {
        let known = self.report.known();
        let mut rarest = known.clone();
        let often = |name: &str| known.iter().filter(|(_, other)| other == name).count();
        rarest.sort_by_key(|(_, name)| often(name));
        let (mut faults, mut names, mut ids) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut pairs = Vec::new();
        for (fault, name) in rarest {
            let shared = self.report.shared(fault, &name);
            let is_needed = !faults.contains(fault.name) && !shared.is_empty()
                || !names.contains(&name)
                || !shared.is_subset(&ids);
            if is_needed {
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
            fitting.sort_by_key(|(fault, name)| std::cmp::Reverse(self.report.shared(fault, name).len()));
            for (fault, name) in fitting.into_iter().take(AT_ONCE) {
                pairs.insert((fault.name, name.clone()), fault);
            }
        };
        let version_of = |name: &str| self.report.cited.get(name).map(|cited| cited.version);
        for (uncaught, version) in self.report.uncaught() {
            add(&|(fault, name)| fault.name == uncaught.name && version_of(name) == Some(version));
        }
        for unseen in self.report.unseen() {
            add(&|(_, name)| name == unseen);
        }
        for missing in self.report.statements().missing {
            add(&|(fault, name)| self.report.shared(fault, name).contains(&missing));
        }
        pairs.into_iter().map(|((_, name), fault)| (fault, name)).collect()
    }
}

/// A statement of a version.
type Id = (Version, String);

/// The observable statements that bind a server and that a scenario cites.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Those that a scenario which cites them saw broken.
    pub caught: Vec<Id>,
    /// The others.
    pub missing: Vec<Id>,
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
            (is_failure && !self.shared(fault, &trial.scenario).is_empty()).then_some((fault, trial))
        })
    }

    /// The statements that this fault breaks and this scenario cites.
    fn shared(&self, fault: &Fault, scenario: &str) -> BTreeSet<Id> {
        let Some(Cited { version, ids }) = self.cited.get(scenario) else { return BTreeSet::new() };
        fault.statements(*version).intersection(ids).map(|id| (*version, id.clone())).collect()
    }

    /// The versions that were played.
    fn versions(&self) -> Vec<Version> {
        let is_played = |version: &Version| self.cited.values().any(|cited| cited.version == *version);
        Version::ALL.into_iter().filter(is_played).collect()
    }

    /// Faults that no scenario noticed, not even by a note: in a full test in this version, and else in none.
    pub fn uncaught(&self) -> Vec<(&'static Fault, Version)> {
        let noticed = self.trials.iter().filter(|trial| trial.failed().is_some()).filter_map(|trial| {
            let fault = trial.fault?;
            (!self.shared(fault, &trial.scenario).is_empty()).then_some((fault.name, trial.version))
        });
        let noticed: BTreeSet<_> = noticed.collect();
        let mut uncaught = Vec::new();
        for fault in &self.faults {
            let versions = self.versions();
            let is_fault = |version: &Version| !fault.statements(*version).is_empty();
            let (mut seen, mut unseen) = (false, Vec::new());
            for version in versions.into_iter().filter(is_fault) {
                if noticed.contains(&(fault.name, version)) {
                    seen = true;
                } else {
                    unseen.push((*fault, version));
                }
            }
            if self.full || !seen {
                uncaught.extend(unseen);
            }
        }
        uncaught
    }

    /// Whether the fault never came to do anything in this version: no scenario that was played gives it an occasion.
    fn is_idle(&self, fault: &Fault, version: Version) -> bool {
        let its = |trial: &&Trial| {
            trial.version == version && trial.fault.is_some_and(|other| other.name == fault.name)
        };
        self.trials.iter().filter(its).all(|trial| trial.acted == 0)
    }

    /// The pairs of the table whose fault and scenario there still are.
    fn known(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for row in TABLE.lines().skip(1) {
            let mut cells = row.split('\t');
            let fault = cells.next().and_then(|name| self.faults.iter().find(|fault| fault.name == name));
            if let (Some(fault), Some(version), Some(names)) = (fault, cells.next(), cells.nth(1)) {
                let names = names.split_whitespace().map(|name| format!("{version}/{name}"));
                let names = names.filter(|name| self.cited.contains_key(name));
                pairs.extend(names.map(|name| (*fault, name)));
            }
        }
        pairs
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
        let known = self.known();
        let passed = self.trials.iter().filter(|trial| trial.failed().is_none());
        let pairs = passed.filter_map(|trial| Some((trial.fault?.name, trial.scenario.as_str())));
        pairs
            .filter(|(fault, name)| known.iter().any(|(other, known)| other.name == *fault && known == name))
            .collect()
    }

    /// Which statements a scenario that cites them saw broken.
    pub fn statements(&self) -> Coverage {
        let seen: BTreeSet<Id> =
            self.caught().flat_map(|(fault, trial)| self.shared(fault, &trial.scenario)).collect();
        let mut coverage = Coverage::default();
        for version in self.versions() {
            let cited = || self.cited.values().filter(|cited| cited.version == version);
            for (id, statement) in Statements::of(version).iter() {
                let counts = statement.duty != "client" && statement.observable == "yes";
                if counts && cited().any(|cited| cited.ids.contains(id)) {
                    let id = (version, id.to_owned());
                    let side = if seen.contains(&id) { &mut coverage.caught } else { &mut coverage.missing };
                    side.push(id);
                }
            }
        }
        coverage
    }

    /// `faults.tsv`: each fault in each version in which it is one, what it breaks, and which scenarios noticed, this time or,
    /// as the table says, before.
    pub fn table(&self) -> String {
        let mut table = "fault\tversion\tstatements\tscenarios\n".to_owned();
        let (known, stale) = (self.known(), self.stale());
        for fault in &self.faults {
            for version in Version::ALL {
                let breaks = fault.statements(version);
                if breaks.is_empty() {
                    continue;
                }
                let noticed = self.trials.iter().filter(|trial| {
                    trial.version == version
                        && trial.fault.is_some_and(|other| other.name == fault.name)
                        && trial.failed().is_some()
                });
                let noticed = noticed.map(|trial| trial.scenario.as_str());
                let before = known.iter().filter(|(other, name)| {
                    other.name == fault.name && !stale.contains(&(other.name, name.as_str()))
                });
                let names = noticed.chain(before.map(|(_, name)| name.as_str()));
                let of_version = |name| str::strip_prefix(name, version.name())?.strip_prefix('/');
                let names: BTreeSet<&str> = names.filter_map(of_version).collect();
                if names.is_empty() {
                    continue;
                }
                let names: Vec<_> = names.into_iter().collect();
                let breaks: Vec<_> = breaks.iter().filter_map(|id| id.strip_prefix("MQTT-")).collect();
                let (breaks, names) = (breaks.join(" "), names.join(" "));
                table.push_str(&format!("{}\t{version}\t{breaks}\t{names}\n", fault.name));
            }
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{:<40} {}", fault.name, fault.wrong)?;
            for version in self.versions() {
                let breaks: Vec<_> = fault.statements(version).into_iter().collect();
                let of_it = |trial: &&Trial| {
                    trial.version == version && trial.fault.is_some_and(|other| other.name == fault.name)
                };
                let played: Vec<_> = self.trials.iter().filter(of_it).collect();
                if breaks.is_empty() || played.is_empty() {
                    continue;
                }
                let noticed = played.iter().filter(|trial| trial.failed().is_some());
                let names: Vec<_> = noticed.map(|trial| trial.scenario.as_str()).collect();
                let by = match names.as_slice() {
                    [] if self.is_idle(fault, version) => "nobody: it had no occasion".to_owned(),
                    [] => "NOBODY".to_owned(),
                    [name] => (*name).to_owned(),
                    [name, rest @ ..] => format!("{name} and {} more", rest.len()),
                };
                writeln!(f, "{:<40} in {version} breaks {}; noticed by {by}", "", breaks.join(" "))?;
            }
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
        for (version, id) in &missing {
            writeln!(f, "no scenario that cites it saw it broken: {version} {id}")?;
        }
        for (fault, version) in self.uncaught() {
            writeln!(f, "noticed by nobody: {} in {version}", fault.name)?;
        }
        let uncaught: BTreeSet<_> = self.uncaught().iter().map(|(fault, _)| fault.name).collect();
        let (faults, uncaught) = (self.faults.len(), uncaught.len());
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

    /// `SELF_TEST=write cargo test -p conformance --test self_test` writes it anew. What is new need not be in it yet.
    #[test]
    fn the_table_has_faults_with_what_they_break_and_who_notices() {
        let faults = Options::default().faults;
        for row in TABLE.lines().skip(1) {
            let [name, version, breaks, scenarios] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            let Some(fault) = faults.iter().find(|fault| fault.name == name) else {
                panic!("{name}: there is no such fault")
            };
            let version = Version::ALL.into_iter().find(|known| known.name() == version).expect(version);
            let breaks: BTreeSet<_> = breaks.split(' ').map(|id| format!("MQTT-{id}")).collect();
            assert_eq!(breaks, fault.statements(version), "{name} {version}");
            assert!(!scenarios.is_empty(), "{name} is noticed by nobody in {version}");
        }
    }
}
