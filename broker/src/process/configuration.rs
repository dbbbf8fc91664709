//! The settings that hold: the file's, and above them the command line's.

use std::env;
use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use sol::auth::{FileError, Table, acl};
use sol::config::{BridgeTls, Overrides, Persistence, Problem, Settings, Tls};
use sol::{TlsError, check_bridge_tls, check_http, check_tls};

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

    /// Reads them, and looks at everything they name outside their file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub(crate) fn read_and_check(&self) -> Result<Settings, Vec<Problem>> {
        let settings = self.read()?;
        let mut problems = check(&settings);
        if problems.is_empty() {
            return Ok(settings);
        }
        // Listeners may share a file.
        problems.sort();
        problems.dedup();
        Err(problems)
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub(super) fn read(&self) -> Result<Settings, Vec<Problem>> {
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
        Ok(settings)
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

fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, listener) in settings.broker.listeners.iter().enumerate() {
        let at =
            |key: &str, error: &dyn Display| settings.problem(Some(number), key, format!("`{key}`: {error}"));
        if let Some(tls) = &listener.tls
            && let Err(errors) = check_tls(tls)
        {
            problems.extend(errors.iter().map(|error| at(key_of(error.file(), tls), error)));
        }
        if let Some(path) = &listener.password_file
            && let Err(errors) = Table::load(path)
        {
            problems.extend(in_file(errors, |error| at("password_file", error)));
        }
        if let Some(path) = &listener.acl_file
            && let Err(errors) = acl::Table::load(path)
        {
            problems.extend(in_file(errors, |error| at("acl_file", error)));
        }
    }
    problems.extend(http_problems(settings));
    for bridge in &settings.broker.bridges {
        if let Some(tls) = &bridge.tls
            && let Err(errors) = check_bridge_tls(tls)
        {
            let problem = |error: &TlsError| {
                let key = bridge_key_of(error.file(), tls);
                settings.bridge_problem(&bridge.name, key, format!("`{key}`: {error}"))
            };
            problems.extend(errors.iter().map(problem));
        }
    }
    if let Some(Persistence { directory, .. }) = &settings.broker.persistence
        && fs::metadata(directory).is_ok_and(|metadata| !metadata.is_dir())
    {
        let what = format!("`persistence_location`: {} is no directory: name one", directory.display());
        problems.push(settings.problem(None, "persistence_location", what));
    }
    if let Err((key, what)) = Identity::find(&settings.process) {
        problems.push(settings.problem(None, key, format!("`{key}`: {what}")));
    }
    problems
}

/// In the file where one of its lines is wrong, and otherwise at the key that names it.
fn in_file<P: Display>(
    errors: Vec<FileError<P>>,
    at: impl Fn(&FileError<P>) -> Problem,
) -> impl Iterator<Item = Problem> {
    errors.into_iter().map(move |error| match error.line {
        Some(_) => {
            let what = error.problem.to_string();
            Problem { file: Some(error.path), line: error.line, column: None, what }
        }
        None => at(&error),
    })
}

/// What is wrong with the files of the HTTP side.
fn http_problems(settings: &Settings) -> Vec<Problem> {
    let http = &settings.broker.http;
    let at = |key: &str, error: &dyn Display| settings.problem(None, key, format!("`{key}`: {error}"));
    let mut problems: Vec<_> = check_http(http).iter().map(|(key, error)| at(key, error)).collect();
    if let Some(tls) = &http.tls
        && let Err(errors) = check_tls(tls)
    {
        let key =
            |file: Option<&Path>| if file == Some(&tls.keyfile) { "http_keyfile" } else { "http_certfile" };
        problems.extend(errors.iter().map(|error| at(key(error.file()), error)));
    }
    if let Some(path) = &http.password_file
        && let Err(errors) = Table::load(path)
    {
        problems.extend(in_file(errors, |error| at("http_password_file", error)));
    }
    problems
}

/// The key of a bridge whose value names the file.
fn bridge_key_of(file: Option<&Path>, tls: &BridgeTls) -> &'static str {
    match (file, &tls.identity) {
        (Some(file), Some((certfile, _))) if file == certfile => "bridge_certfile",
        (Some(file), Some((_, keyfile))) if file == keyfile => "bridge_keyfile",
        _ => "bridge_cafile",
    }
}

/// The key whose value names the file.
fn key_of(file: Option<&Path>, tls: &Tls) -> &'static str {
    match file {
        Some(file) if file == tls.keyfile => "keyfile",
        Some(file) if Some(file) == tls.cafile.as_deref() => "cafile",
        _ => "certfile",
    }
}
