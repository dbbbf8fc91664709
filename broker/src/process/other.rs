//! The process on systems other than UNIX: what they do not have is refused.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use async_signal::Signal;
use sol::config::Process;

/// Those that mean something to the broker.
pub(super) const SIGNALS: [Signal; 1] = [Signal::Int];

pub(crate) fn raise_open_files() {}

/// Whoever started the process.
pub(crate) struct Starter;

impl Starter {
    pub(crate) fn foreground() -> Self {
        Self
    }

    pub(crate) fn detach() -> io::Result<Self> {
        Err(io::Error::other("this system has no such thing: leave out `-d`"))
    }

    pub(crate) fn ready(&mut self) {}

    pub(crate) fn failed(&mut self, code: u8) -> ExitCode {
        code.into()
    }
}

/// There is none.
pub(super) struct PidFile(Infallible);

impl PidFile {
    pub(super) fn create(_: &Path) -> Result<Self, String> {
        Err("`pid_file` is not known on this system: leave it out".to_owned())
    }
}

/// There is none.
#[derive(Debug)]
pub(super) struct Identity(Infallible);

impl std::fmt::Display for Identity {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {}
    }
}

impl Identity {
    pub(super) fn find(settings: &Process) -> Result<Option<Self>, (&'static str, String)> {
        match settings.user {
            Some(_) => Err(("user", "not known on this system: leave it out".to_owned())),
            None => Ok(None),
        }
    }

    pub(super) fn own(&self, _: &Path) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn own_directory(&self, _: &Path) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn is_within_reach(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn assume(&self) -> Result<(), String> {
        match self.0 {}
    }
}

/// Nobody wants to hear it.
pub(super) mod service {
    use std::io;
    use std::time::Duration;

    use sol::Inherited;

    pub(crate) fn sockets() -> io::Result<Inherited> {
        Ok(Inherited::default())
    }
    pub(crate) fn ready() {}
    pub(crate) fn reloading() {}
    pub(crate) fn stopping() {}
    pub(crate) fn alive() {}
    pub(crate) fn watchdog() -> Option<Duration> {
        None
    }
}
