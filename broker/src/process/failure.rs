//! How the command fails.

use log::error;
use sol::config::Problem;

/// A configuration that cannot be followed: EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;
const FAILED: u8 = 1;

/// Why the command does not go on.
pub(crate) enum Failure {
    /// The configuration is wrong.
    Configuration(Vec<Problem>),
    /// Something else is.
    Run(String),
    /// The same, and the log on standard error has told of it.
    Told,
}

impl Failure {
    pub(crate) fn run(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Run(format!("{what}: {error}"))
    }

    /// Tells the log. Where that is not standard error, standard error is still to be told.
    pub(super) fn log(self, is_background: bool) -> Self {
        match self {
            Self::Run(what) => {
                error!("{what}");
                if is_background { Self::Run(what) } else { Self::Told }
            }
            other => other,
        }
    }

    /// Tells standard error, and gives the exit code.
    pub(crate) fn tell(&self) -> u8 {
        match self {
            Self::Configuration(problems) => {
                problems.iter().for_each(|problem| eprintln!("{problem}"));
                BAD_CONFIGURATION
            }
            Self::Run(what) => {
                eprintln!("sol: {what}");
                FAILED
            }
            Self::Told => FAILED,
        }
    }
}
