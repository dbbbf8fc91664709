//! The log: on standard error, on disk, or on both.

use std::fs::OpenOptions;
use std::io;

use flexi_logger::{DeferredNow, Duplicate, FileSpec, LogSpecification, Logger, LoggerHandle};
use log::{LevelFilter, Record, error, info};
use sol::config::{Console, Process};

use super::Failure;

/// The log, written as long as this is held.
pub(super) struct Log {
    handle: LoggerHandle,
    is_on_disk: bool,
}

impl Log {
    pub(super) fn start(settings: &Process, to_stderr: bool) -> Result<Self, Failure> {
        let mut logger = Logger::with(LogSpecification::from(settings.log_level))
            .format(line)
            // A log that nobody reads any more is no reason to end.
            .panic_if_error_channel_is_broken(false);
        let Console { stderr, stdout } =
            settings.console.unwrap_or(Console { stderr: to_stderr, stdout: false });
        let also = |is_on| if is_on { Duplicate::All } else { Duplicate::None };
        logger = match &settings.log_path {
            Some(path) => {
                let failed = |error| Failure::run(&format!("cannot write the log {}", path.display()), error);
                OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
                let file = FileSpec::try_from(path).map_err(|error| failed(io::Error::other(error)))?;
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
        Ok(Self { handle, is_on_disk: settings.log_path.is_some() })
    }

    /// Begins the file anew, at its path, after somebody moved it away.
    pub(super) fn reopen(&self) {
        match self.handle.reopen_output() {
            Ok(()) if !self.is_on_disk => {}
            Ok(()) => info!("opened the log anew"),
            Err(error) => error!("cannot open the log anew, the old one stays in use: {error}"),
        }
    }

    pub(super) fn set_level(&self, level: LevelFilter) {
        self.handle.set_new_spec(LogSpecification::from(level));
    }
}

/// `2026-01-31T12:00:00.000Z INFO  what happened`
fn line(to: &mut dyn io::Write, now: &mut DeferredNow, record: &Record<'_>) -> io::Result<()> {
    write!(
        to,
        "{} {:<5} {}",
        now.now_utc_owned().format("%Y-%m-%dT%H:%M:%S%.3fZ"),
        record.level(),
        record.args()
    )
}
