//! `sol import-mosquitto`: a file of mosquitto, as one of Sol.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sol::config::Import;

use crate::process::Failure;

/// Print a configuration file of mosquitto, with those that it includes, as one of Sol
///
/// `sol -c` reads mosquitto's files as they are; this is for who wants to go on with Sol's own. What Sol does not do is
/// left out, and told of in comments and on standard error, with what to do instead.
///
/// Exit codes: 0 if the file printed says the same, 1 if something had to be left out, 78 if the file is wrong.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The file of mosquitto
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match Import::read(&arguments.file) {
        Ok(Import { text, left_out }) => {
            print!("{text}");
            left_out.iter().for_each(|problem| eprintln!("{problem}"));
            if left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problems) => Failure::Configuration(problems).tell().into(),
    }
}
