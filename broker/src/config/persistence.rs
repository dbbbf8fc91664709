//! What survives the broker, where, and how surely.

use std::path::PathBuf;

use crate::store::SyncPolicy;

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
