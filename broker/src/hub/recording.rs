//! What is written down of sessions, so that they survive the broker. Their messages are written down where they change:
//! in the session itself.
//!
//! A client that was answered finds after a crash what the answer says. DISCONNECT has no answer: in the moment before it
//! is written down, a crash counts as a broken connection, and the will goes out.
//!
//! Answers wait for the last change that they promise, and for no later one: while the store cannot be written, whoever
//! changes nothing need not wait.

use super::{Client, Hub};
use crate::session::{Expiry, Session, SessionLog};
use crate::store::{Record, SessionRecord};

impl Hub {
    /// A session begins. It survives the broker if it is to outlive its connection; of one that is not, only the will is
    /// written down, so that a crash does not swallow that.
    pub(super) fn record_begin(&self, client: &Client, session: &mut Session) {
        let Some(journal) = &self.journal else { return };
        if session.expiry != Expiry::AT_ONCE {
            session.set_log(SessionLog::new(journal.clone(), client.key));
        }
        session.is_recorded = session.log().is_some() || session.will().is_some();
        self.record_session(client, session);
    }

    /// A session changed, but for its subscriptions and messages. To be called under its lock.
    pub(super) fn record_session(&self, client: &Client, session: &Session) {
        let Some(journal) = self.journal.as_deref().filter(|_| session.is_recorded) else { return };
        journal.record(&Record::Session(SessionRecord {
            session: client.key,
            client_id: client.id(),
            expiry_seconds: session.expiry.seconds(),
            absent_since: session.absence.since().map(|since| journal.unix_ms(since)),
            will: session.will().map(|will| will.record(journal)),
        }));
    }

    /// A session is over. To be called under its lock, last.
    pub(super) fn record_end(&self, client: &Client, session: &mut Session) {
        if let Some(journal) = &self.journal
            && std::mem::take(&mut session.is_recorded)
        {
            journal.record(&Record::SessionEnd { session: client.key });
        }
    }

    /// Whether nothing new that is to survive can be promised: the store cannot be written.
    pub(super) fn cannot_store(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_failing())
    }
}
