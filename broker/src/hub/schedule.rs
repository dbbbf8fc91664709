//! What is to be done for clients that are away, and when: sessions end, wills whose delay is over go out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::{Batch, Client, ClientKey, Hub};
use crate::session::{Expiry, Session, Will};

/// Clients that are attended to before others may use what is locked for it.
const AT_A_TIME: usize = 256;

/// The clients for whom there is something to be done, by its time. Each stands in it at most once, at what its
/// [`Absence::due`](crate::session::Absence::due) says, so that there are never more of them than sessions.
#[derive(Default)]
pub(super) struct Schedule {
    clients: BTreeMap<(Instant, ClientKey), Arc<Client>>,
    /// Who sleeps until the first of these times.
    waker: Option<Waker>,
}

impl Schedule {
    /// Moves a client. Gives the waker to call if it is the first now.
    fn set(&mut self, client: &Arc<Client>, before: Option<Instant>, now: Option<Instant>) -> Option<Waker> {
        if let Some(at) = before {
            self.clients.remove(&(at, client.key));
        }
        let at = now?;
        self.clients.insert((at, client.key), Arc::clone(client));
        if self.first() == Some(at) { self.waker.take() } else { None }
    }

    fn first(&self) -> Option<Instant> {
        self.clients.first_key_value().map(|((at, _), _)| *at)
    }

    fn take_due(&mut self, now: Instant) -> Option<Arc<Client>> {
        self.clients.first_entry().filter(|first| first.key().0 <= now).map(|first| first.remove())
    }
}

impl Hub {
    /// Does what is due at `now`. Gives when to call again; if that becomes earlier, the waker is called.
    pub fn attend(&self, now: Instant, waker: &Waker, batch: &mut Batch) -> Option<Instant> {
        batch.at(now);
        for _ in 0..AT_A_TIME {
            let due = self.schedule.lock().take_due(now);
            let Some(client) = due else { break };
            let turn = self.turn();
            batch.in_turn(turn.as_ref());
            self.attend_to(&client, now, batch);
            batch.end_turn();
        }
        self.absorb(batch);
        let mut schedule = self.schedule.lock();
        schedule.waker = Some(waker.clone());
        schedule.first()
    }

    /// The client may have returned meanwhile, or have left again.
    fn attend_to(&self, client: &Arc<Client>, now: Instant, batch: &mut Batch) {
        // A client that returns is found by way of `sessions`, and must not find what is over.
        let mut sessions = self.sessions.lock();
        let mut session = client.session.lock();
        if session.link.is_some() {
            return;
        }
        if !session.is_over(now) {
            let before = session.absence.due();
            let will = session.absence.take_due_will(now);
            self.schedule(client, before, &session, batch);
            if will.is_some() {
                self.record_session(client, &session);
            }
            drop(session);
            drop(sessions);
            return self.publish_will(will, client, batch);
        }
        if !self.forget(&mut sessions, client) {
            // Whoever took it out of there sees to the rest.
            return;
        }
        drop(sessions);
        let will = self.end_absence(client, &mut session, batch);
        batch.tally.expired += i64::from(session.expiry != Expiry::AT_ONCE);
        drop(session);
        self.end_session(client, batch);
        self.publish_will(will, client, batch);
    }

    /// The client's absence was due at `before`: puts it where it is due now.
    pub(super) fn schedule(
        &self,
        client: &Arc<Client>,
        before: Option<Instant>,
        session: &Session,
        batch: &mut Batch,
    ) {
        let now = session.absence.due();
        if before.or(now).is_some() {
            batch.touched(self.schedule.lock().set(client, before, now));
        }
    }

    /// The client returned, or its session ends: there is nothing to be done any more. Gives the will that waited.
    pub(super) fn end_absence(
        &self,
        client: &Arc<Client>,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Option<Will> {
        let before = session.absence.due();
        let will = session.end_absence();
        self.schedule(client, before, session, batch);
        will
    }
}

#[cfg(test)]
mod tests;
