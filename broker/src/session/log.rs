//! What becomes of a session's messages, written down for the next life of the broker.

use std::sync::Arc;

use crate::store::{Journal, Record, SessionNumber};

/// A session that survives the broker: where its changes are recorded.
#[derive(Clone)]
pub struct SessionLog {
    journal: Arc<Journal>,
    number: SessionNumber,
}

impl SessionLog {
    /// Of the session with that number.
    pub fn new(journal: Arc<Journal>, number: SessionNumber) -> Self {
        Self { journal, number }
    }

    /// The session's number.
    pub fn number(&self) -> SessionNumber {
        self.number
    }

    /// Where everything is recorded.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Records a change.
    pub fn record<'r>(&self, record: impl FnOnce(SessionNumber) -> Record<'r>) {
        self.journal.record(&record(self.number));
    }
}

impl std::fmt::Debug for SessionLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionLog({})", self.number)
    }
}
