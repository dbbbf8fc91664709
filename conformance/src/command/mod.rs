//! The command line: one file a subcommand.

mod compare;
mod connect;
mod explain;
mod list;
mod output;
mod play;
mod progress;
mod run;
mod self_test;
mod show;
mod time;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use conformance::Version;
use conformance::scenario::{Scenario, embedded, load};
use conformance::select::{Item, items};

/// Holds an MQTT broker to the numbered statements of the standard.
///
/// Exit codes: 0 conforms, 1 failures, 2 usage, 3 could not run (also: some verdicts could not be found out).
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios against a broker
    Run(run::Options),
    /// List scenarios, or the statements of the standard
    List(list::Options),
    /// Say what a statement demands, and what proves it
    Explain(explain::Options),
    /// Print the text of a scenario
    Show(show::Options),
    /// Run a single file against a broker
    Play(play::Options),
    /// Prove the kit itself: play the scenarios through faults, on a broker that is correct
    SelfTest(self_test::Options),
    /// Put the JSON reports of several brokers side by side
    Compare(compare::Options),
}

/// Where scenarios come from, and in which versions.
#[derive(Debug, Args)]
struct Source {
    /// Only scenarios of this version of MQTT: 3.1.1 or 5.0 (may be repeated)
    #[arg(long = "version", value_name = "VERSION", value_parser = version)]
    versions: Vec<Version>,
    /// Use the scenarios in this directory instead of those built in
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
}

impl Source {
    /// Every scenario in every version asked for.
    fn items(&self) -> Result<Vec<Item>, Error> {
        Ok(items(self.all()?, &self.versions()))
    }

    /// The versions asked for; without one, all.
    fn versions(&self) -> Vec<Version> {
        if self.versions.is_empty() { Version::ALL.to_vec() } else { self.versions.clone() }
    }

    fn all(&self) -> Result<Vec<Scenario>, Error> {
        let found = match &self.scenarios {
            Some(directory) => load(directory),
            None => embedded(),
        };
        match found {
            Ok(scenarios) if scenarios.is_empty() => {
                let place = self.scenarios.as_deref().unwrap_or(Path::new("the kit"));
                Err(Error::Usage(format!("{}: no *.scenario in it", place.display())))
            }
            Ok(scenarios) => Ok(scenarios),
            Err(error) => Err(Error::Usage(error.to_string())),
        }
    }
}

fn version(text: &str) -> Result<Version, String> {
    Version::ALL
        .into_iter()
        .find(|version| version.name() == text || version.name().strip_suffix(".0") == Some(text))
        .ok_or_else(|| "3.1.1 or 5.0".to_owned())
}

/// Why a command ends early.
#[derive(Debug)]
enum Error {
    /// It was asked for what cannot be.
    Usage(String),
    /// There is no broker to run against, or a file cannot be written.
    CouldNotRun(String),
    /// Standard output is gone.
    Output(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Output(error)
    }
}

/// What a command found, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The broker conforms, or nothing was to be judged.
    Good = 0,
    /// It does not.
    Bad = 1,
    /// It could not be found out.
    Unknown = 3,
}

pub(crate) fn main() -> ExitCode {
    let found = match Cli::parse().command {
        Command::Run(options) => run::main(options),
        Command::List(options) => list::main(&options),
        Command::Explain(options) => explain::main(&options),
        Command::Show(options) => show::main(&options),
        Command::Play(options) => play::main(&options),
        Command::SelfTest(options) => self_test::main(&options),
        Command::Compare(options) => compare::main(&options),
    };
    match found {
        Ok(found) => ExitCode::from(found as u8),
        Err(Error::Usage(message)) => fail(&message, 2),
        Err(Error::CouldNotRun(message)) => fail(&message, 3),
        // Whoever read has seen enough: `conformance list | head`.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Error::Output(error)) => fail(&format!("cannot write the output: {error}"), 3),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    anstream::eprintln!("conformance: {message}");
    ExitCode::from(code)
}

/// Writes a file, and the directories above it.
fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |error| Error::CouldNotRun(format!("cannot write {}: {error}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
