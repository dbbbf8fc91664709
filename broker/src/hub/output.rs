//! What a connection writes: the outbox of its session, handed over when its task looks.

use std::sync::atomic::Ordering;
use std::task::Waker;

use super::peer::Connected;
use super::{Batch, Ending, Hub, Peer};
use crate::session::{Link, Outbox, Session};

/// What [`Hub::sleep`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// Nothing to write; the waker is called when there is.
    Asleep,
    /// Something to write has come in the meantime, or what held up the client's own packets is over.
    Output,
}

impl Hub {
    /// Ends a batch for its sender: puts the replies into its outbox and, if nothing is `unsent`, hands the outbox
    /// over for writing. Gives the bytes that still wait in the outbox.
    ///
    /// # Errors
    ///
    /// The connection must end: another one has the session, or memory is short.
    pub fn collect(&self, peer: &Peer, unsent: &mut Outbox, batch: &mut Batch) -> Result<usize, Ending> {
        let turn = self.turn();
        batch.in_turn(turn.as_ref());
        let (awaited, receipt) = batch.take_awaited();
        let Some(connected) = peer.connected() else {
            drop(turn);
            unsent.append(&batch.replies);
            batch.replies.clear();
            self.absorb(batch);
            return Ok(0);
        };
        let is_traced = unsent.is_empty() && connected.client.is_traced();
        let mut session = connected.client.session.lock();
        if let Some(link) = session.link_of(connected.connection) {
            if !batch.free_replies.is_empty() {
                // Nothing goes before CONNACK, which may wait [MQTT-3.2.0-1].
                if connected.is_greeted.get() {
                    link.outbox.append_unheld(&batch.free_replies);
                } else {
                    link.outbox.append(&batch.free_replies);
                }
            }
            // Even without an answer, so that this client does not write down more than the store takes.
            if awaited > self.persisted() && (!batch.replies.is_empty() || self.store_is_behind()) {
                link.outbox.hold_for(awaited, receipt.clone());
            }
            link.outbox.append(&batch.replies);
        }
        batch.replies.clear();
        batch.free_replies.clear();
        if let Some(receipt) = receipt {
            // All is in it that the replies say.
            receipt.settle();
        }
        let waiting = self.fill(&mut session, (peer, connected), unsent, batch).map(|link| {
            // Whoever waits for the store while that is behind is not read from.
            let waits = link.outbox.is_held() && self.store_is_behind();
            if waits { usize::MAX } else { link.outbox.bytes() }
        });
        drop((session, turn));
        if is_traced {
            batch.trace_output(connected, unsent);
        }
        self.absorb(batch);
        waiting
    }

    /// Registers the waker for packets to come, unless there is something to write. While some is still `unsent`, the
    /// connection waits for its client to read, and the waker is called only if it must end. So many bytes are `received` of
    /// what is not whole.
    ///
    /// # Errors
    ///
    /// The connection must end: another one has the session, memory is short, or the broker stops and all is written.
    pub fn sleep(
        &self,
        peer: &Peer,
        unsent: &mut Outbox,
        received: usize,
        waker: &Waker,
        batch: &mut Batch,
    ) -> Result<Sleep, Ending> {
        self.absorb(batch);
        let Some(connected) = peer.connected() else {
            let stopping = self.stopping.load(Ordering::Acquire);
            return if stopping { Err(Ending::Stopping) } else { Ok(Sleep::Asleep) };
        };
        // Others would be glad of them.
        let held_bytes = received + peer.aliases_bytes();
        let turn = self.turn();
        batch.in_turn(turn.as_ref());
        let mut session = connected.client.session.lock();
        if !unsent.is_empty() {
            let link = session.link_of(connected.connection).ok_or(Ending::TakenOver)?;
            may_go_on(link, peer)?;
            link.held_bytes = unsent.bytes() + held_bytes;
            link.sleep(waker, false);
            return Ok(Sleep::Asleep);
        }
        let was_held = session.link.as_ref().is_some_and(|link| link.outbox.is_held());
        self.fill(&mut session, (peer, connected), unsent, batch)?;
        // What is queued is in flight first.
        let awaits = session.outbound.in_flight() > 0;
        connected.has_spare.set(session.has_spare());
        let link = session.link.as_mut().ok_or(Ending::TakenOver)?;
        if !unsent.is_empty() || was_held && !link.outbox.is_held() {
            if connected.client.is_traced() {
                drop((session, turn));
                // Told of when this task sleeps.
                batch.trace_output(connected, unsent);
            }
            return Ok(Sleep::Output);
        }
        match link.outbox.held_by() {
            Some(barrier) => self.wake_after(barrier, waker),
            None if link.ending && (!awaits || self.hurries.load(Ordering::Acquire)) => {
                return Err(Ending::Stopping);
            }
            None => {}
        }
        link.held_bytes = held_bytes;
        link.sleep(waker, true);
        Ok(Sleep::Asleep)
    }

    /// The client has rested for a while: its session gives back memory that was kept for messages to come.
    pub fn rest(&self, peer: &Peer, batch: &mut Batch) {
        let Some(connected) = peer.connected() else { return };
        connected.has_spare.set(false);
        let mut session = connected.client.session.lock();
        if session.link_of(connected.connection).is_some() {
            session.rest();
            session.settle(&mut batch.tally);
        }
    }

    /// Moves what the window allows from the queue to the outbox, and the outbox to `unsent` if that is empty.
    fn fill<'s>(
        &self,
        session: &'s mut Session,
        (peer, connected): (&Peer, &Connected),
        unsent: &mut Outbox,
        batch: &mut Batch,
    ) -> Result<&'s mut Link, Ending> {
        let Session { outbound, link, .. } = session;
        let link =
            link.as_mut().filter(|link| link.connection == connected.connection).ok_or(Ending::TakenOver)?;
        may_go_on(link, peer)?;
        outbound.poll_queue(&mut link.outbox, &self.delivery_limits().here, batch.now);
        if let Some(wanted) = outbound.wanted() {
            self.fetch(connected, wanted);
        }
        if unsent.is_empty() {
            link.outbox.move_into(unsent, self.persisted());
            link.stale_looks = 0;
            // CONNACK comes first.
            if !unsent.is_empty() {
                connected.is_greeted.set(true);
            }
        }
        session.settle(&mut batch.tally);
        session.link.as_mut().ok_or(Ending::TakenOver)
    }
}

/// Unless the broker, or an operator, asks the connection to end at once.
fn may_go_on(link: &Link, peer: &Peer) -> Result<(), Ending> {
    if link.cut {
        return Err(Ending::MemoryShort);
    }
    if link.dismissed { Err(peer.dismissal()) } else { Ok(()) }
}
