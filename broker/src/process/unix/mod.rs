//! The process as UNIX has it.

mod detach;
mod pid_file;
mod privileges;
pub(super) mod service;

use async_signal::Signal;
use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use detach::Starter;
pub(super) use pid_file::PidFile;
pub(super) use privileges::Identity;

/// Those that mean something to the broker.
pub(super) const SIGNALS: [Signal; 5] = [Signal::Int, Signal::Term, Signal::Hup, Signal::Usr1, Signal::Usr2];

/// Each connection is an open file, and the usual limit of a thousand is meant for other programs.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!("cannot raise the limit of open files from {:?}: {error}", limit.current);
    }
}
