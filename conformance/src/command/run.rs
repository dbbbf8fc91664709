//! `conformance run URL [PATTERN]…`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use clap::Args;
use conformance::baseline::{self, Baseline, Expected};
use conformance::report::{Broker, Head, Report, html, json, junit, markdown, summary, tap};
use conformance::runner::{Plan, run_all};
use conformance::select::{Item, Pattern, select};
use conformance::verdict::{Grade, Verdict};

use super::connect::Connect;
use super::output::Output;
use super::progress::{Progress, Talk};
use super::time::time;
use super::{Error, Found, Source, write_file};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connect: Connect,
    /// Only these: a section (4.3), a statement (MQTT-4.3.3-2), a name or a glob (*qos2*)
    #[arg(value_name = "PATTERN")]
    patterns: Vec<Pattern>,
    /// Leave these out
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<Pattern>,
    #[command(flatten)]
    source: Source,
    /// Let warnings (SHOULD) count as failures
    #[arg(long)]
    strict: bool,
    /// How many scenarios run at once
    #[arg(long, short, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=512))]
    jobs: u16,
    /// How long one scenario may take
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time, help_heading = "Time limits")]
    scenario_limit: Duration,
    /// How long the whole run may take
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = time, help_heading = "Time limits")]
    run_limit: Duration,
    /// Write a report: html, junit, json, tap or markdown; `-` as PATH is standard output (may be repeated)
    #[arg(long, value_name = "FORMAT=PATH", help_heading = "Reports")]
    report: Vec<Target>,
    /// Write each failing scenario into this directory, for `conformance play`
    #[arg(long, value_name = "DIR", help_heading = "Reports")]
    repro: Option<PathBuf>,
    /// Expected failures: lines of NAME # REASON
    #[arg(long, value_name = "FILE", help_heading = "Baseline")]
    baseline: Option<PathBuf>,
    /// Write what fails now as a baseline
    #[arg(long, value_name = "FILE", help_heading = "Baseline")]
    write_baseline: Option<PathBuf>,
    /// Say only what fails
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Say everything
    #[arg(long, short)]
    verbose: bool,
}

/// `--report html=PATH`
#[derive(Clone, Debug)]
struct Target {
    format: Format,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Html,
    Junit,
    Json,
    Tap,
    Markdown,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let formats = "html=PATH, junit=PATH, json=PATH, tap=PATH or markdown=PATH";
        let (format, path) = text.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or(formats)?;
        let format = match format {
            "html" => Format::Html,
            "junit" => Format::Junit,
            "json" => Format::Json,
            "tap" => Format::Tap,
            "markdown" | "md" => Format::Markdown,
            _ => return Err(formats.to_owned()),
        };
        Ok(Target { format, path: path.into() })
    }
}

impl Target {
    fn is_stdout(&self) -> bool {
        self.path == Path::new("-")
    }

    fn write(&self, report: &Report) -> Result<(), Error> {
        let text = match self.format {
            Format::Html => Ok(html::page(std::slice::from_ref(report))),
            Format::Junit => junit::write(report),
            Format::Json => json::write(report),
            Format::Tap => Ok(tap::write(report)),
            Format::Markdown => Ok(markdown::write(report)),
        }
        .map_err(Error::CouldNotRun)?;
        if self.is_stdout() {
            return Ok(std::io::stdout().write_all(text.as_bytes())?);
        }
        write_file(&self.path, &text)
    }
}

pub(super) fn main(options: Options) -> Result<Found, Error> {
    let all = options.source.items()?;
    let selected = select(&all, &options.patterns, &options.skip).map_err(Error::Usage)?;
    if selected.is_empty() {
        return Err(Error::Usage("nothing is selected".to_owned()));
    }
    let baseline =
        options.baseline.as_deref().map(|path| read_baseline(path, &options.source)).transpose()?;
    let baseline = baseline.unwrap_or_default();
    let piped = options.report.iter().any(Target::is_stdout);
    let mut output = if piped { Output::stderr() } else { Output::stdout() };

    let date = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let start = Instant::now();
    let (target, found) = options.connect.target()?;
    let url = options.connect.shown_url();
    writeln!(output, "{url} {found}")?;

    let scale = options.connect.timeout_scale;
    let plan = Plan {
        jobs: options.jobs.into(),
        scenario_limit: options.scenario_limit.mul_f64(scale),
        run_limit: options.run_limit.mul_f64(scale),
    };
    let talk = match (options.quiet, options.verbose) {
        (true, _) => Talk::Quiet,
        (_, true) => Talk::Verbose,
        _ => Talk::Usual,
    };
    let mut progress = Progress::new(&mut output, selected.len(), talk);
    let reason = |item: &Item, verdict: &Verdict| {
        let failing = verdict.is_failure() || options.strict && verdict.grade() == Grade::Warning;
        baseline.get(item).filter(|_| failing).map(|expected| expected.reason.as_str())
    };
    let verdicts =
        run_all(&selected, &target, plan, |item, verdict| progress.told(verdict, reason(item, verdict)));
    progress.end()?;

    let judged: Vec<_> = selected
        .into_iter()
        .zip(verdicts)
        .map(|(item, verdict)| {
            let expected = baseline.get(&item).cloned();
            (item, verdict, expected)
        })
        .collect();
    let broker = Broker { url, found, capabilities: target.capabilities.iter().cloned().collect() };
    let head = Head { date, broker, seconds: start.elapsed().as_secs_f64(), strict: options.strict };
    let report = Report::new(head, &judged, &all);

    tell(&mut output, &report, &judged, options.quiet)?;
    for target in &options.report {
        target.write(&report)?;
    }
    if let Some(directory) = &options.repro {
        write_failing(directory, &report, &judged)?;
    }
    if let Some(path) = &options.write_baseline {
        write_file(path, &new_baseline(&report))?;
    }
    Ok(found_by(&report))
}

/// What the whole run says of the broker.
fn found_by(report: &Report) -> Found {
    let ran = report.scenarios.iter().any(|case| case.verdict != Grade::Skipped);
    if report.unexpected_failures().next().is_some() || report.unexpected_passes().next().is_some() {
        Found::Bad
    } else if !ran || report.count(Grade::Inconclusive) > 0 {
        Found::Unknown
    } else {
        Found::Good
    }
}

/// A name may be of any version, so that one baseline serves runs of each.
fn read_baseline(path: &Path, source: &Source) -> Result<Baseline, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::Usage(format!("cannot read {}: {error}", path.display())))?;
    let known = conformance::select::items(source.all()?, &conformance::Version::ALL);
    Baseline::parse(&path.to_string_lossy(), &text, &known).map_err(Error::Usage)
}

/// The failures in full, and the summary.
fn tell(
    output: &mut Output,
    report: &Report,
    judged: &[(Item, Verdict, Option<Expected>)],
    quiet: bool,
) -> Result<(), Error> {
    let failing = report.scenarios.iter().zip(judged).filter(|(case, _)| report.is_failing(case));
    for (_, (_, verdict, _)) in failing.filter(|(case, _)| case.baseline.is_none()) {
        write!(output, "\n{verdict}")?;
    }
    for case in report.unexpected_passes() {
        let reason = case.baseline.as_ref().map(|known| known.reason.as_str()).unwrap_or_default();
        writeln!(output, "\n{} passes, though the baseline says: {reason}", case.name)?;
    }
    if !quiet {
        write!(output, "\n{}", summary::table(report))?;
    }
    writeln!(output, "\n{} in {:.1} s", summary::verdict_line(report), report.seconds)?;
    Ok(output.flush()?)
}

fn new_baseline(report: &Report) -> String {
    let failing = report.scenarios.iter().filter(|case| report.is_failing(case));
    let expected: Vec<Expected> = failing
        .map(|case| {
            let known = case.baseline.as_ref();
            let failure = case.failure.as_ref();
            let told = failure.map(|failure| format!("{}: {}", case.statements.join(" "), failure.actual));
            Expected {
                name: case.name.clone(),
                reason: known.map(|known| known.reason.clone()).or(told).unwrap_or_default(),
                sometimes: known.is_some_and(|known| known.sometimes),
            }
        })
        .collect();
    baseline::write(&format!("Expected failures of {}, {}", report.broker.url, report.date), &expected)
}

/// Each failing scenario as a file that stands alone.
fn write_failing(
    directory: &Path,
    report: &Report,
    judged: &[(Item, Verdict, Option<Expected>)],
) -> Result<(), Error> {
    for (case, (item, ..)) in report.scenarios.iter().zip(judged).filter(|(case, _)| report.is_failing(case))
    {
        let path = directory.join(format!("{}.scenario", case.name.replace('/', "-")));
        let Some(failure) = &case.failure else { continue };
        let text = format!(
            "{}\n# {}, line {}: failed on {} against {}:\n# expected {}, but {}\n# Again: conformance play --version {} {} URL\n",
            item.scenario.text.trim_end(),
            case.name,
            failure.line,
            report.date,
            report.broker.url,
            failure.expected.replace('\n', " "),
            failure.actual.replace('\n', " "),
            case.version,
            path.display(),
        );
        write_file(&path, &text)?;
    }
    Ok(())
}
