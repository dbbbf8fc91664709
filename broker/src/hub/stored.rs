//! What is in the store alone: asked for when its client can take it, and given to it when it comes.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;

use super::peer::Connected;
use super::subscriptions::SubscriptionIndex;
use super::{Batch, Client, Hub};
use crate::session::{Loaded, Manner, Message, Note, Outbound, Share, Wanted};
use crate::store::{Fetch, Fetched, Journal, StoredDelivery};
use crate::topic::Filter;

/// Who asked, and what for.
struct Asker {
    client: Arc<Client>,
    question: u64,
}

impl Hub {
    /// The last group that is safe.
    pub(super) fn persisted(&self) -> u64 {
        self.journal.as_ref().map_or(u64::MAX, |journal| journal.persisted())
    }

    /// Whether so much waits for the store that whoever sends more should wait.
    pub(super) fn store_is_behind(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.is_behind())
    }

    /// Wakes when the group is safe.
    pub(super) fn wake_after(&self, group: u64, waker: &Waker) {
        if let Some(journal) = &self.journal {
            journal.wake_after(group, waker);
        }
    }

    /// Asks for messages of the client's own session.
    pub(super) fn fetch(&self, connected: &Connected, outbound: &Outbound, wanted: Wanted) {
        let (Some(journal), Some(log)) = (&self.journal, outbound.log()) else { return };
        journal.fetch(Fetch {
            session: log.number(),
            from: wanted.from,
            max_messages: wanted.max_messages,
            max_bytes: wanted.max_bytes,
            asker: Arc::new(Asker { client: Arc::clone(&connected.client), question: wanted.question }),
        });
    }

    /// Messages came from the store.
    pub fn fetched(&self, asker: &(dyn Any + Send + Sync), fetched: Fetched, batch: &mut Batch) {
        let (Some(journal), Some(asker)) = (&self.journal, asker.downcast_ref::<Asker>()) else { return };
        let turn = journal.turn();
        batch.in_turn(Some(&turn));
        let loaded = {
            let index = self.index.read();
            let loaded = fetched.deliveries.into_iter().filter_map(|stored| load(stored, &index, journal));
            loaded.collect()
        };
        let mut session = asker.client.session.lock();
        session.outbound.load(asker.question, loaded, fetched.next, batch.now, &mut batch.tally);
        batch.touched(session.link.as_mut().and_then(|link| link.wake_for_output()));
        session.settle(&mut batch.tally);
        drop(session);
        drop(turn);
        self.absorb(batch);
    }
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
    let message = Arc::new(Message::restored(message, journal)?);
    Some(Loaded { position, packet_id, message, manner: Manner { qos, retain, replayed, note } })
}
