//! `conformance play FILE URL`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use conformance::report::summary::trace_text;
use conformance::runner::{Plan, run_all};
use conformance::scenario::read;
use conformance::select::items;
use conformance::verdict::Grade;
use conformance::{Version, report};

use super::connect::Connect;
use super::output::Output;
use super::time::time;
use super::{Error, Found, version};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file: a scenario
    file: PathBuf,
    #[command(flatten)]
    connect: Connect,
    /// Only in this version of MQTT
    #[arg(long = "version", value_name = "VERSION", value_parser = version)]
    versions: Vec<Version>,
    /// How long it may take
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time, help_heading = "Time limits")]
    scenario_limit: Duration,
}

pub(super) fn main(options: &Options) -> Result<Found, Error> {
    let scenario = read(&options.file).map_err(|error| Error::Usage(error.to_string()))?;
    let versions = if options.versions.is_empty() { Version::ALL.to_vec() } else { options.versions.clone() };
    let items = items(vec![scenario], &versions);
    if items.is_empty() {
        return Err(Error::Usage(format!("{} proves nothing in these versions", options.file.display())));
    }
    let (target, _) = options.connect.target()?;
    let limit = options.scenario_limit.mul_f64(options.connect.timeout_scale);
    let plan = Plan { jobs: 1, scenario_limit: limit, run_limit: limit * 4 };
    let mut output = Output::stdout();
    let verdicts = run_all(&items, &target, plan, |_, _| ());
    for verdict in &verdicts {
        writeln!(output, "{}", verdict.to_string().trim_end())?;
        if verdict.grade() == Grade::Pass {
            write!(output, "{}", trace_text(&report::lines(&verdict.trace), None))?;
        }
    }
    let worst = verdicts.iter().map(|verdict| verdict.grade()).max();
    Ok(match worst {
        Some(Grade::Fail) => Found::Bad,
        Some(Grade::Inconclusive | Grade::Skipped) | None => Found::Unknown,
        Some(Grade::Pass | Grade::Note | Grade::Warning) => Found::Good,
    })
}
