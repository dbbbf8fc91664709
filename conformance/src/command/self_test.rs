//! `conformance self-test URL`

use std::io::Write;

use clap::Args;
use conformance::Version;
use conformance::injector::{self, self_test};

use super::connect::Connect;
use super::output::Output;
use super::progress::Trials;
use super::{Error, Found, Source};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connect: Connect,
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
    if options.source.versions.iter().any(|version| *version != Version::V3_1_1) {
        return Err(Error::Usage("there are faults for 3.1.1 only".to_owned()));
    }
    let scenarios = options.source.all()?;
    let (target, _) = options.connect.target()?;
    let usual = injector::Options::default();
    let how = injector::Options {
        threads: options.jobs.into(),
        deadline: usual.deadline.mul_f64(options.connect.timeout_scale),
        full: options.full,
    };
    let trials = Trials::new();
    let report = self_test(&scenarios, &[target], how, |trial| trials.told(&trial.scenario));
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
