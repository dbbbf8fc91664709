//! What is shown while scenarios run: a bar on a terminal, a line for each verdict otherwise.

use std::io::{self, Write};
use std::time::Duration;

use conformance::report::summary::style;
use conformance::verdict::{Grade, Outcome, Verdict};
use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;

/// How much is said of each scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Talk {
    /// Only failures and the summary.
    Quiet,
    /// What is not simply good; away from a terminal, everything.
    Usual,
    /// Everything.
    Verbose,
}

pub(super) struct Progress<'a> {
    output: &'a mut Output,
    bar: Option<ProgressBar>,
    least: Grade,
    /// The first error of writing; the run goes on.
    error: Option<io::Error>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(output: &'a mut Output, scenarios: usize, talk: Talk) -> Self {
        let bar = output.is_terminal().then(|| {
            let bar = ProgressBar::new(scenarios as u64);
            let style = ProgressStyle::with_template("{bar:30.green} {pos}/{len} {elapsed} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let least = match talk {
            Talk::Quiet => Grade::Fail,
            Talk::Usual if bar.is_some() => Grade::Note,
            Talk::Usual | Talk::Verbose => Grade::Skipped,
        };
        Progress { output, bar, least, error: None }
    }

    /// Takes note of a verdict; `expected` by the baseline, if it is a failure.
    pub(super) fn told(&mut self, verdict: &Verdict, expected: Option<&str>) {
        let grade = verdict.grade();
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(verdict.name.clone());
        }
        if grade < self.least {
            return;
        }
        let line = line(verdict, expected);
        let output = &mut *self.output;
        let written = match &self.bar {
            Some(bar) => bar.suspend(|| writeln!(output, "{line}")),
            None => writeln!(output, "{line}"),
        };
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
    }

    pub(super) fn end(self) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.error.map_or(Ok(()), Err)
    }
}

/// A count of what was played, of which nobody knows how much there will be. Shown on a terminal only.
pub(super) struct Trials(ProgressBar);

impl Trials {
    pub(super) fn new() -> Self {
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{pos} trials {elapsed} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Trials(bar)
    }

    pub(super) fn told(&self, scenario: &str) {
        self.0.inc(1);
        self.0.set_message(scenario.to_owned());
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn line(verdict: &Verdict, expected: Option<&str>) -> String {
    let grade = verdict.grade();
    let style = style(grade);
    let mut line = format!("{style}{grade:<12}{style:#} {}", verdict.name);
    match &verdict.outcome {
        Outcome::Passed => line.push_str(&format!("  ({} ms)", verdict.elapsed.as_millis())),
        Outcome::Skipped(reason) | Outcome::Inconclusive(reason) => line.push_str(&format!("  ({reason})")),
        Outcome::Failed(_, failure) => {
            line.push_str(&format!("  (expected {}, but {})", failure.expected, failure.actual))
        }
    }
    if let Some(reason) = expected {
        line.push_str(&format!("  known: {reason}"));
    }
    line
}
