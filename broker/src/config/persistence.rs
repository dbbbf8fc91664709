//! What survives the broker, where, and how surely.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::value::Time;

/// Sessions with their messages, and what is retained, survive the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Where they are stored. It is made if it is not there; one broker at a time uses it.
    pub directory: PathBuf,
    /// What an acknowledgement waits for.
    pub sync: SyncPolicy,
    /// Bytes that may wait to be written before no more is read from clients that wait for the store.
    pub max_backlog_bytes: usize,
}

/// When what is written goes to stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before anything is acknowledged: nothing is lost, whatever happens.
    Always,
    /// So often, in whole seconds from 1 on: a power cut may lose what was acknowledged meanwhile, a crash of the broker
    /// nothing.
    Interval(Duration),
    /// When the system sees fit: a power cut may lose what it still held, a crash of the broker nothing.
    Os,
}

impl Persistence {
    /// In that directory, with the defaults for the rest.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), ..Self::default() }
    }
}

impl Default for Persistence {
    fn default() -> Self {
        Self { directory: "/var/lib/sol".into(), sync: SyncPolicy::Always, max_backlog_bytes: 64 << 20 }
    }
}

/// As a file writes it.
impl fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval(time) => write!(f, "interval {}", Time(time.as_secs())),
            Self::Os => f.write_str("os"),
        }
    }
}
