//! The log: on standard error, on disk, or on both.

mod json;
mod lines;
mod mosquitto;

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use flexi_logger::writers::{FileLogWriter, FileLogWriterBuilder};
use flexi_logger::{Duplicate, FileSpec, LogSpecification, Logger, LoggerHandle};
use log::{LevelFilter, error, info};
use sol::config::{Console, Process};
use sol::hub::{CONNECTIONS, TRACE};

use super::Failure;

/// The log, written as long as this is held.
pub(super) struct Log {
    handle: LoggerHandle,
    is_on_disk: bool,
    to_stderr: bool,
}

impl Log {
    pub(super) fn start(settings: &Process, to_stderr: bool) -> Result<Self, Failure> {
        lines::set(&settings.log_lines);
        let mut logger = Logger::with(specification(settings))
            .format(lines::write)
            .filter(Box::new(lines::Told))
            // A log that nobody reads any more is no reason to end.
            .panic_if_error_channel_is_broken(false);
        let Console { stderr, stdout } = console(settings, to_stderr);
        logger = match &settings.log_path {
            Some(path) => {
                let failed = |error| Failure::run(&format!("cannot write the log {}", path.display()), error);
                let file = file(path).map_err(failed)?;
                let logger = logger.log_to_file(file).append();
                logger.duplicate_to_stderr(also(stderr)).duplicate_to_stdout(also(stdout))
            }
            None if stdout && stderr => {
                logger.do_not_log().duplicate_to_stderr(Duplicate::All).duplicate_to_stdout(Duplicate::All)
            }
            None if stdout => logger.log_to_stdout(),
            None if stderr => logger.log_to_stderr(),
            None => logger.do_not_log(),
        };
        let handle = logger.start().map_err(|error| Failure::run("cannot start the log", error))?;
        Ok(Self { handle, is_on_disk: settings.log_path.is_some(), to_stderr })
    }

    /// Begins the file anew, at its path, after somebody moved it away.
    pub(super) fn reopen(&self) {
        match self.handle.reopen_output() {
            Ok(()) if !self.is_on_disk => {}
            Ok(()) => info!("opened the log anew"),
            Err(error) => error!("cannot open the log anew, the old one stays in use: {error}"),
        }
    }

    /// Makes sure that a file can be written, before anything is changed for it.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    pub(super) fn prepare(settings: &Process) -> Result<Option<FileLogWriterBuilder>, String> {
        let Some(path) = &settings.log_path else { return Ok(None) };
        let failed = |error| format!("cannot write the log {}: {error}", path.display());
        let file = file(path).map_err(failed)?;
        Ok(Some(FileLogWriter::builder(file).append().format(lines::write)))
    }

    /// From now on it is as the settings say, but for what [`Settings::keep_fixed`](sol::config::Settings::keep_fixed) kept.
    pub(super) fn change(&self, before: &Process, now: &Process, file: Option<FileLogWriterBuilder>) {
        lines::set(&now.log_lines);
        self.handle.set_new_spec(specification(now));
        if before.log_path == now.log_path && before.console == now.console {
            return;
        }
        let Some(file) = file else { return };
        let Console { stderr, stdout } = console(now, self.to_stderr);
        let mut handle = self.handle.clone();
        let changed = handle.reset_flw(&file);
        let changed = changed.and_then(|()| handle.adapt_duplication_to_stderr(also(stderr)));
        let changed = changed.and_then(|()| handle.adapt_duplication_to_stdout(also(stdout)));
        if let Err(error) = changed {
            error!("the log stays where it was: {error}");
        }
    }
}

/// The log on disk, once it is certain that it can be written.
fn file(path: &Path) -> io::Result<FileSpec> {
    OpenOptions::new().create(true).append(true).open(path)?;
    FileSpec::try_from(path).map_err(io::Error::other)
}

fn console(settings: &Process, to_stderr: bool) -> Console {
    settings.console.unwrap_or(Console { stderr: to_stderr, stdout: false })
}

fn also(is_on: bool) -> Duplicate {
    if is_on { Duplicate::All } else { Duplicate::None }
}

fn specification(Process { log_level, log_lines, .. }: &Process) -> LogSpecification {
    let mut specification = LogSpecification::builder();
    // Who has a client traced wants to see it.
    specification.default(*log_level).module(TRACE, LevelFilter::Info.max(*log_level));
    if *log_level >= LevelFilter::Info && log_lines.tells_of_connections() {
        specification.module(CONNECTIONS, LevelFilter::Debug);
    }
    specification.build()
}
