//! `conformance compare A.json B.json …`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use conformance::report::html::{self, letter};
use conformance::report::summary::{style, verdict_line};
use conformance::report::{Report, json};
use conformance::verdict::Grade;

use super::output::Output;
use super::{Error, Found, write_file};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Reports that `conformance run --report json=PATH` wrote
    #[arg(required = true, value_name = "JSON")]
    reports: Vec<PathBuf>,
    /// Write them as one page
    #[arg(long, value_name = "PATH")]
    html: Option<PathBuf>,
}

pub(super) fn main(options: &Options) -> Result<Found, Error> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let report = text.and_then(|text| json::read(&text));
        report.map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
    };
    let reports = options.reports.iter().map(read).collect::<Result<Vec<Report>, Error>>()?;
    if let Some(path) = &options.html {
        write_file(path, &html::page(&reports))?;
    }

    let mut output = Output::stdout();
    for (place, report) in reports.iter().enumerate() {
        writeln!(output, "{}  {}: {}", letter(place), report.broker.url, verdict_line(report))?;
    }
    writeln!(output)?;
    let mut alike = 0;
    for (name, grades) in by_name(&reports) {
        let ran: BTreeSet<_> = grades.iter().flatten().filter(|grade| **grade != Grade::Skipped).collect();
        if ran.len() < 2 {
            alike += 1;
            continue;
        }
        for (place, grade) in grades.iter().enumerate() {
            let style = grade.map(style).unwrap_or_default();
            let word = grade.map_or("–", Grade::word);
            write!(output, "{} {style}{word:<12}{style:#}  ", letter(place))?;
        }
        writeln!(output, "{name}")?;
    }
    writeln!(output, "{alike} scenarios have the same verdict wherever they ran")?;
    Ok(Found::Good)
}

/// Every scenario, with its verdict in each report.
fn by_name(reports: &[Report]) -> BTreeMap<&str, Vec<Option<Grade>>> {
    let mut all: BTreeMap<&str, Vec<Option<Grade>>> = BTreeMap::new();
    for (place, report) in reports.iter().enumerate() {
        for case in &report.scenarios {
            let grades = all.entry(&case.name).or_insert_with(|| vec![None; reports.len()]);
            if let Some(grade) = grades.get_mut(place) {
                *grade = Some(case.verdict);
            }
        }
    }
    all
}
