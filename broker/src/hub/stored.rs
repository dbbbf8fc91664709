//! What is in the store alone: asked for when its client can take it, and given to it when it comes.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::peer::Connected;
use super::share::Reach;
use super::subscriptions::SubscriptionIndex;
use super::{Batch, Client, Hub};
use crate::codec::QoS;
use crate::session::{
    Barrier, Content, Handed, Loaded, Manner, Message, Note, Outcome, Session, Share, Wanted, release,
};
use crate::store::{Fetch, Fetched, Journal, Position, Record, StoredDelivery};
use crate::topic::Filter;

/// Who asked, and what for.
struct Asker {
    client: Arc<Client>,
    purpose: Purpose,
}

#[derive(Clone, Copy)]
enum Purpose {
    /// The client can take more.
    Load { question: u64 },
    /// The client is away: what waits for it by shared subscriptions goes to members that are here.
    PassOn { question: u64 },
    /// The session is over: what it leaves goes to other members.
    HandOn,
}

/// So much of what a session leaves is handed on at a time.
const PIECE: (usize, usize) = (512, 256 << 10);

impl Hub {
    /// The last group that is safe.
    pub(super) fn persisted(&self) -> u64 {
        self.journal.as_ref().map_or(u64::MAX, |journal| journal.persisted())
    }

    /// Whether so much waits for the store that whoever sends more should wait.
    pub(super) fn store_is_behind(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_behind())
    }

    /// Wakes when what is behind the barrier may leave.
    pub(super) fn wake_after(&self, barrier: &Barrier, waker: &Waker) {
        if let Some(journal) = &self.journal {
            journal.wake_after(barrier.group, barrier.receipt.as_ref(), waker);
        }
    }

    /// Asks for messages of the client's own session.
    pub(super) fn fetch(&self, connected: &Connected, wanted: Wanted) {
        let Wanted { from, question, max_messages, max_bytes } = wanted;
        self.ask(&connected.client, Purpose::Load { question }, from, (max_messages, max_bytes));
    }

    /// Asks for all that waits for an absent client, to give others what came by shared subscriptions. Who leaves again
    /// asks again, and only the last answer counts: each of them has all.
    pub(super) fn fetch_to_pass_on(&self, client: &Arc<Client>, session: &mut Session) {
        let question = session.outbound.ask_for_all();
        self.ask(client, Purpose::PassOn { question }, 0, PIECE);
    }

    /// Asks for all that a session leaves, which is over when that is handed on.
    pub(super) fn fetch_to_hand_on(&self, client: &Arc<Client>) {
        self.ask(client, Purpose::HandOn, 0, PIECE);
    }

    fn ask(&self, client: &Arc<Client>, purpose: Purpose, from: Position, most: (usize, usize)) {
        let Some(journal) = &self.journal else { return };
        let (max_messages, max_bytes) = most;
        let asker = Arc::new(Asker { client: Arc::clone(client), purpose });
        journal.fetch(Fetch { session: client.key, from, max_messages, max_bytes, asker });
    }

    /// Messages came from the store.
    pub fn fetched(&self, asker: &(dyn Any + Send + Sync), fetched: Fetched, batch: &mut Batch) {
        let (Some(journal), Some(Asker { client, purpose })) = (&self.journal, asker.downcast_ref()) else {
            return;
        };
        let turn = journal.turn();
        batch.in_turn(Some(&turn));
        let index = self.index.read();
        let next = fetched.next;
        let deliveries = fetched.deliveries.into_iter();
        let loaded: Vec<_> = deliveries.filter_map(|stored| load(stored, &index, journal)).collect();
        match *purpose {
            Purpose::Load { question } => {
                let mut session = client.session.lock();
                session.outbound.load(question, loaded, next, batch.now, &mut batch.tally);
                self.forget_unreadable(client, &mut session, batch);
                batch.touched(session.link.as_mut().and_then(|link| link.wake_for_output()));
                session.settle(&mut batch.tally);
            }
            Purpose::PassOn { question } => {
                if self.pass_on_loaded(client, question, loaded, &index, batch)
                    && let Some(next) = next
                {
                    self.ask(client, *purpose, next, PIECE);
                }
            }
            Purpose::HandOn => {
                self.hand_on_loaded(client, loaded, &index, batch);
                match next {
                    Some(next) => self.ask(client, *purpose, next, PIECE),
                    None => _ = journal.record(&Record::SessionEnd { session: client.key }),
                }
            }
        }
        drop(index);
        drop(turn);
        self.absorb(batch);
    }

    /// Says whether all were taken.
    fn pass_on_loaded(
        &self,
        client: &Arc<Client>,
        question: u64,
        loaded: Vec<Loaded>,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) -> bool {
        let mut session = client.session.lock();
        if !session.outbound.is_asked(question) || session.subscriptions.is_empty() {
            return false;
        }
        let waiting = loaded.into_iter().filter(|loaded| loaded.packet_id.is_none());
        let waiting = claim(&mut session, waiting, batch);
        drop(session);
        let kept = self.offer(waiting, Reach::Connected, index, batch);
        if kept.is_empty() {
            return true;
        }
        let limits = self.delivery_limits().away;
        let mut session = client.session.lock();
        for Handed { message, manner, .. } in kept {
            // Behind what it has: only shared subscriptions let others overtake them.
            if session.deliver(&Content::shared(&message), &manner, &limits, batch.now) == Outcome::Dropped {
                batch.tally.dropped_queue_full += 1;
            }
            release(message, &mut batch.tally);
        }
        // It may have come back in the meantime.
        batch.touched(session.link.as_mut().and_then(|link| link.wake_for_output()));
        session.settle(&mut batch.tally);
        false
    }

    fn hand_on_loaded(
        &self,
        client: &Arc<Client>,
        loaded: Vec<Loaded>,
        index: &SubscriptionIndex,
        batch: &mut Batch,
    ) {
        // What was sent at QoS 2 goes to nobody else [5.0 MQTT-4.8.2-5].
        let left = loaded
            .into_iter()
            .filter(|loaded| loaded.packet_id.is_none() || loaded.manner.qos == QoS::AtLeastOnce);
        let mut session = client.session.lock();
        let left = claim(&mut session, left, batch);
        // It is out of all tables.
        session.end(&mut batch.tally);
        drop(session);
        let over = match self.stopping.load(Ordering::Acquire) {
            true => left,
            false => self.offer(left, Reach::All, index, batch),
        };
        over.into_iter().for_each(|handed| release(handed.message, &mut batch.tally));
    }
}

/// Takes what came by shared subscriptions from the session.
fn claim(session: &mut Session, loaded: impl Iterator<Item = Loaded>, batch: &mut Batch) -> Vec<Handed> {
    let claimed = loaded.filter_map(|Loaded { position, message, manner, .. }| {
        let share = manner.note.as_ref()?.share.as_ref()?.key;
        session.outbound.give_away(position, &message);
        batch.tally.keep(message.bytes());
        Some(Handed { message, manner, share })
    });
    let claimed = claimed.collect();
    session.settle(&mut batch.tally);
    claimed
}

/// None if it is no message.
fn load(stored: StoredDelivery, index: &SubscriptionIndex, journal: &Journal) -> Option<Loaded> {
    let StoredDelivery { position, packet_id, qos, retain, replayed, subscription_ids, share, message } =
        stored;
    let share = share.and_then(|filter| {
        let key = index.share_key(&filter)?;
        Some(Share { key, filter: Filter::new(&filter).ok()?.into() })
    });
    let note =
        (share.is_some() || !subscription_ids.is_empty()).then(|| Arc::new(Note { subscription_ids, share }));
    let message = Message::restored(message, journal)?;
    Some(Loaded { position, packet_id, message, manner: Manner { qos, retain, replayed, note } })
}

#[cfg(test)]
mod tests;
