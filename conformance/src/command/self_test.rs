//! `conformance self-test URL`

use std::io::Write;

use clap::Args;
use conformance::injector::{self, self_test};
use conformance::select::{Pattern, select};

use super::connect::Connect;
use super::output::Output;
use super::progress::Trials;
use super::{Error, Found, Source};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connect: Connect,
    /// Only these scenarios: a section (4.3), a statement (MQTT-4.3.3-2), a name or a glob (*qos2*)
    #[arg(value_name = "PATTERN")]
    patterns: Vec<Pattern>,
    /// Only faults of this name: a name or a glob (may be repeated)
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<glob::Pattern>,
    /// Play every fault against every scenario that cites one of its statements, not only what is needed
    #[arg(long)]
    full: bool,
    /// How many scenarios run at once
    #[arg(long, short, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=512))]
    jobs: u16,
    #[command(flatten)]
    source: Source,
}

pub(super) fn main(options: &Options) -> Result<Found, Error> {
    let items = options.source.items()?;
    let mut items = select(&items, &options.patterns, &[]).map_err(Error::Usage)?;
    let (target, _) = options.connect.target()?;
    items.retain(|item| target.versions.contains(&item.version));
    let usual = injector::Options::default();
    let mut how = injector::Options {
        threads: options.jobs.into(),
        deadline: usual.deadline.mul_f64(options.connect.timeout_scale),
        full: options.full,
        ..usual
    };
    if !options.faults.is_empty() {
        how.faults.retain(|fault| options.faults.iter().any(|pattern| pattern.matches(fault.name)));
    }
    if how.faults.is_empty() {
        return Err(Error::Usage("no fault has this name".to_owned()));
    }
    let trials = Trials::new();
    let report = self_test(&items, &[target], &how, |trial| trials.told(&trial.scenario));
    trials.end();
    write!(Output::stdout(), "{report}")?;
    let is_unseen = !report.unseen().is_empty() || !report.statements().missing.is_empty();
    let is_disturbed = report.disturbed().next().is_some();
    Ok(match (is_unseen || is_disturbed, report.uncaught().is_empty()) {
        (false, true) => Found::Good,
        // The scenario that notices may need what this broker lacks.
        (false, false) if report.skipped().next().is_some() => Found::Unknown,
        _ => Found::Bad,
    })
}
