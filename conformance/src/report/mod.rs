//! A run as data, and the forms in which it is reported.
//!
//! [`Report`] holds everything; each form is a function of it. JSON is the complete one, from which [`html`] can be made
//! again later, also for several brokers beside each other.

mod chart;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod summary;
pub mod tap;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Version;
use crate::baseline::Expected;
use crate::probe::Findings;
use crate::select::{Item, section_of};
use crate::statements::{Statement, Statements, why_unproven};
use crate::trace::{Direction, Entry};
use crate::verdict::{Grade, Outcome, Verdict};

/// The kit's name and version, as it stands in reports.
pub const KIT: &str = concat!("conformance ", env!("CARGO_PKG_VERSION"));

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`KIT`].
    pub kit: String,
    /// When it began: RFC 3339, UTC.
    pub date: String,
    /// Against whom.
    pub broker: Broker,
    /// How long it took.
    pub seconds: f64,
    /// Whether warnings count as failures.
    pub strict: bool,
    /// Scenarios by verdict.
    pub counts: BTreeMap<Grade, usize>,
    /// Every scenario, in each version it ran in.
    pub scenarios: Vec<Case>,
    /// Every statement of these versions.
    pub statements: Vec<Row>,
}

/// The broker under test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broker {
    /// Its URL, without password.
    pub url: String,
    /// What it can do.
    pub found: Findings,
    /// The words of `needs` that hold, found and given.
    pub capabilities: BTreeSet<String>,
}

/// One scenario in one version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// `3.1.1/4.3-qos/qos1-is-acknowledged`
    pub name: String,
    /// `3.1.1`
    pub version: String,
    /// The directory: `4.3-qos`.
    pub section: String,
    /// What it shows, in words.
    pub about: String,
    /// The ids it cites.
    pub statements: Vec<String>,
    /// How it went.
    pub verdict: Grade,
    /// How long it took.
    pub seconds: f64,
    /// Why it was skipped or is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failed>,
    /// What the baseline says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Known>,
    /// What went over the wire.
    pub trace: Vec<Line>,
}

/// A line of the baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Known {
    /// Why it is expected to fail.
    pub reason: String,
    /// Whether it sometimes passes.
    pub sometimes: bool,
}

/// Where and why a scenario failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// Its file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What stands there.
    pub step: String,
    /// What should have happened.
    pub expected: String,
    /// What did.
    pub actual: String,
    /// The place of the entry in which it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<usize>,
}

/// One entry of a trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// How many were before it, also of those that are left out.
    pub place: usize,
    /// Milliseconds since the scenario began.
    pub ms: f64,
    /// On whose connection.
    pub actor: String,
    /// Which way.
    pub way: Way,
    /// The packet, decoded, or what else happened.
    pub what: String,
    /// The first bytes.
    pub hex: String,
    /// How many bytes there were.
    pub length: usize,
}

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// To the broker.
    Sent,
    /// From the broker.
    Came,
    /// A remark.
    Note,
}

/// A statement and what the scenarios say of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// `3.1.1`
    pub version: String,
    /// `MQTT-4.3.3-2`
    pub id: String,
    /// What it says.
    #[serde(flatten)]
    pub statement: Statement,
    /// The worst verdict of the scenarios that cite it. None: no scenario that ran does.
    pub verdict: Option<Grade>,
    /// Their names.
    pub scenarios: Vec<String>,
    /// Why no scenario does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Report {
    /// The report on a run of `judged` scenarios. `all` are those there are, whether they ran or not.
    pub fn new(head: Head, judged: &[(Item, Verdict, Option<Expected>)], all: &[Item]) -> Self {
        let scenarios: Vec<Case> = judged.iter().map(case).collect();
        let mut counts = BTreeMap::new();
        for case in &scenarios {
            *counts.entry(case.verdict).or_default() += 1;
        }
        let versions: BTreeSet<Version> = judged.iter().map(|(item, ..)| item.version).collect();
        let statements = versions.into_iter().flat_map(|version| rows(version, &scenarios, all)).collect();
        let Head { date, broker, seconds, strict } = head;
        Report { kit: KIT.to_owned(), date, broker, seconds, strict, counts, scenarios, statements }
    }

    /// How many scenarios have this verdict.
    pub fn count(&self, grade: Grade) -> usize {
        self.counts.get(&grade).copied().unwrap_or(0)
    }

    /// Whether a verdict counts as a failure.
    pub fn is_failing(&self, case: &Case) -> bool {
        case.verdict == Grade::Fail || self.strict && case.verdict == Grade::Warning
    }

    /// Failures that no baseline expects.
    pub fn unexpected_failures(&self) -> impl Iterator<Item = &Case> {
        self.scenarios.iter().filter(|case| self.is_failing(case) && case.baseline.is_none())
    }

    /// What the baseline says would fail, and passes.
    pub fn unexpected_passes(&self) -> impl Iterator<Item = &Case> {
        let fails = |case: &&Case| case.baseline.as_ref().is_some_and(|known| !known.sometimes);
        self.scenarios.iter().filter(|case| case.verdict == Grade::Pass).filter(fails)
    }

    /// The directories of its scenarios, in the order of the standard, with their scenarios; of one version after the
    /// other, which is said where there are several.
    pub fn sections(&self) -> Vec<(String, Vec<&Case>)> {
        let mut sections: BTreeMap<Section<'_>, Vec<&Case>> = BTreeMap::new();
        for case in &self.scenarios {
            sections.entry(case.place()).or_default().push(case);
        }
        let with_version = sections.keys().map(|section| section.version).collect::<BTreeSet<_>>().len() > 1;
        sections.into_iter().map(|(section, cases)| (section.label(with_version), cases)).collect()
    }
}

/// A section in one version, in the order in which they are reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Section<'a> {
    version: &'a str,
    key: Vec<u32>,
    name: &'a str,
}

impl Section<'_> {
    /// `3.1-connect`, or `5.0 3.1-connect`.
    fn label(&self, with_version: bool) -> String {
        if with_version { format!("{} {}", self.version, self.name) } else { self.name.to_owned() }
    }
}

impl Case {
    fn place(&self) -> Section<'_> {
        Section { version: &self.version, key: section_key(&self.section), name: &self.section }
    }
}

/// What a report says before its scenarios.
#[derive(Clone, Debug)]
pub struct Head {
    /// When it began: RFC 3339, UTC.
    pub date: String,
    /// Against whom.
    pub broker: Broker,
    /// How long it took.
    pub seconds: f64,
    /// Whether warnings count as failures.
    pub strict: bool,
}

/// The numbers of a section, so that 3.8 comes before 3.10.
pub fn section_key(section: &str) -> Vec<u32> {
    let number = section.split('-').next().unwrap_or_default();
    number.split('.').map(|part| part.parse().unwrap_or(u32::MAX)).collect()
}

fn case((item, verdict, expected): &(Item, Verdict, Option<Expected>)) -> Case {
    let Item { scenario, version } = item;
    let (reason, failure) = match &verdict.outcome {
        Outcome::Passed => (None, None),
        Outcome::Skipped(reason) | Outcome::Inconclusive(reason) => (Some(reason.clone()), None),
        Outcome::Failed(_, failure) => {
            let failed = Failed {
                file: failure.file.clone(),
                line: failure.line,
                step: failure.step.clone(),
                expected: failure.expected.clone(),
                actual: failure.actual.clone(),
                here: failure.here,
            };
            (None, Some(failed))
        }
    };
    Case {
        name: verdict.name.clone(),
        version: version.to_string(),
        section: scenario.directory().to_owned(),
        about: scenario.about.clone(),
        statements: scenario.cited(*version).map(str::to_owned).collect(),
        verdict: verdict.grade(),
        seconds: verdict.elapsed.as_secs_f64(),
        reason,
        failure,
        baseline: expected
            .as_ref()
            .map(|expected| Known { reason: expected.reason.clone(), sometimes: expected.sometimes }),
        trace: lines(&verdict.trace),
    }
}

/// A trace as it stands in reports.
pub fn lines(trace: &[Entry]) -> Vec<Line> {
    trace.iter().map(line).collect()
}

fn line(entry: &Entry) -> Line {
    Line {
        place: entry.place,
        ms: (entry.at.as_secs_f64() * 10_000.0).round() / 10.0,
        actor: entry.actor.clone(),
        way: match entry.direction {
            Direction::Sent => Way::Sent,
            Direction::Came => Way::Came,
            Direction::Note => Way::Note,
        },
        what: entry.what.clone(),
        hex: entry.hex(),
        length: entry.length,
    }
}

fn rows(version: Version, cases: &[Case], all: &[Item]) -> Vec<Row> {
    let row = |(id, statement): (&str, &Statement)| {
        let cites =
            |case: &&Case| case.version == version.name() && case.statements.iter().any(|cited| cited == id);
        let citing: Vec<&Case> = cases.iter().filter(cites).collect();
        let elsewhere = all
            .iter()
            .any(|item| item.version == version && item.scenario.cited(version).any(|cited| cited == id));
        let reason = match citing.is_empty() {
            true if elsewhere => Some("its scenarios were not selected".to_owned()),
            true => Some(why_unproven(version, id, statement)),
            false => None,
        };
        Row {
            version: version.to_string(),
            id: id.to_owned(),
            statement: statement.clone(),
            verdict: citing.iter().map(|case| case.verdict).max(),
            scenarios: citing.iter().map(|case| case.name.clone()).collect(),
            reason,
        }
    };
    let statements = Statements::of(version);
    let mut rows: Vec<Row> = statements.iter().map(row).collect();
    rows.sort_by_cached_key(|row| statement_key(&row.id));
    rows
}

/// The order of the standard.
pub fn statement_key(id: &str) -> (Vec<u32>, u32) {
    let number = id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(u32::MAX);
    (section_key(section_of(id)), number)
}
