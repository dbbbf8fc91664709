//! The settings that hold: the file's, and above them the command line's.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use sol::config::{Overrides, Problem, Settings};

use super::Arguments;
use super::system::Identity;

/// Read when the command line names no file.
const DEFAULT_PATH: &str = "/etc/sol/sol.conf";

/// Where the settings come from, to be read at the start and on SIGHUP.
pub(crate) struct Source<'a> {
    pub(super) arguments: &'a Arguments,
    /// Where relative paths begin, for a process that will go elsewhere.
    directory: Option<PathBuf>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(arguments: &'a Arguments) -> Self {
        // Without a current directory, relative paths lead nowhere, and their files are told of one by one.
        let directory = env::current_dir().ok().filter(|_| arguments.daemon);
        Self { arguments, directory }
    }

    /// Reads them, and looks at the files they name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub(crate) fn read(&self) -> Result<Settings, Vec<Problem>> {
        let Arguments { address, port, verbose, quiet, .. } = *self.arguments;
        let overrides = Overrides { address, port };
        let mut settings = match self.file() {
            Some(path) => Settings::read(&path, overrides)?,
            None => Settings::parse("", None, overrides)?,
        };
        if verbose {
            settings.process.log_level = LevelFilter::Debug;
        } else if quiet {
            settings.process.log_level = LevelFilter::Warn;
        }
        if let Some(directory) = &self.directory {
            settings.anchor(directory);
        }
        let problems = check(&settings);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    fn file(&self) -> Option<PathBuf> {
        match (&self.arguments.config, &self.directory) {
            (Some(path), Some(directory)) => Some(directory.join(path)),
            (Some(path), None) => Some(path.clone()),
            // One that is there and cannot be read is told of when it is read.
            (None, _) => match fs::metadata(DEFAULT_PATH) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                _ => Some(DEFAULT_PATH.into()),
            },
        }
    }
}

/// Looks at everything that settings name outside their file.
fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (listener, key, path) in settings.files() {
        if let Err(error) = readable(path) {
            let what = format!("`{key}`: cannot read {}: {error}", path.display());
            problems.push(settings.problem(Some(listener), key, what));
        }
    }
    if let Err((key, what)) = Identity::find(&settings.process) {
        problems.push(settings.problem(None, key, format!("`{key}`: {what}")));
    }
    problems.sort();
    problems
}

fn readable(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => Err("it is a directory".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
