//! Retained messages: one a topic, within limits, until they expire.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::RwLockWriteGuard;

use super::publish::is_the_brokers;
use super::{Batch, ClientKey, Hub, Limits, Stage};
use crate::session::{Content, Message, Tally, release};
use crate::store::{BodyNumber, Record};
use crate::topic::{Name, Retained};

/// A full store is looked through for messages that have expired, at most so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// One that is not full, so long after a message may have expired: looking holds up everybody who publishes with RETAIN.
const SWEEP_DELAY: Duration = Duration::from_secs(60);

/// Retained messages and the memory they take.
#[derive(Default)]
pub(super) struct RetainedStore {
    pub(super) messages: Retained<RetainedMessage>,
    /// Messages and bytes of the clients: the broker's own are not counted, and always find room.
    pub(super) count: usize,
    pub(super) bytes: usize,
    max_count: usize,
    max_bytes: usize,
    /// No message expires before.
    next_expiry: Option<Instant>,
}

impl RetainedStore {
    /// An empty one.
    pub(super) fn within(limits: &Limits) -> Self {
        let mut store = Self::default();
        store.keep_within(limits);
        store
    }

    /// Nothing more is retained than the limits allow; what is retained already stays.
    pub(super) fn keep_within(&mut self, limits: &Limits) {
        self.max_count = limits.max_retained_messages;
        self.max_bytes = limits.max_retained_bytes;
    }
}

/// A message that is retained for its topic.
pub(super) struct RetainedMessage {
    pub(super) message: Message,
    /// The client that published it in this life of the broker; 0 is none that is known.
    pub(super) from: ClientKey,
    /// Its name in the store; none if it ends with the broker.
    body: Option<BodyNumber>,
}

impl Hub {
    /// Retains the message, or what is retained for its topic goes.
    pub(super) fn retain(
        &self,
        content: &Content<'_>,
        from: Option<ClientKey>,
        now: Instant,
        tally: &mut Tally,
    ) -> RwLockWriteGuard<'_, RetainedStore> {
        let is_clients = !is_the_brokers(content.topic());
        let mut store = self.retained.write();
        // Gone in any case: replaced, deleted by an empty payload [MQTT-3.3.1-10] [MQTT-3.3.1-11], or no longer the last.
        self.unretain(&mut store, content.topic(), tally);
        if content.payload().is_empty() {
            return store;
        }
        if is_clients {
            if !has_room(&store, content.bytes()) || self.memory.stage() > Stage::Ample {
                self.forget_expired(&mut store, now, tally);
            }
            if !has_room(&store, content.bytes()) {
                tally.dropped_retained_full += 1;
                return store;
            }
            if self.memory.stage() > Stage::Ample {
                tally.dropped_retained_memory_full += 1;
                return store;
            }
            store.bytes += content.bytes();
            store.count += 1;
            self.retained_count.store(store.count, Ordering::Relaxed);
        }
        store.next_expiry = store.next_expiry.into_iter().chain(content.expires_at()).min();
        // The broker's own are made anew in each of its lives.
        let journal = self.journal.as_ref().filter(|_| is_clients);
        let body = journal.map(|journal| content.record_use(journal, |body| Record::Retain { body }).0);
        let from = from.unwrap_or_default();
        store.messages.set(content.topic(), RetainedMessage { message: content.to_message(), from, body });
        tally.charge(0, key_bytes(content.topic()));
        store
    }

    /// A message was retained in an earlier life of the broker. It is retained again, within the limits; if not, it is
    /// removed from the store.
    pub(super) fn restore_retained(
        &self,
        store: &mut RetainedStore,
        body: BodyNumber,
        message: Message,
        now: Instant,
        tally: &mut Tally,
    ) {
        let (is_expired, has_room) = (message.is_expired(now), has_room(store, message.bytes()));
        if is_expired || !has_room {
            tally.expired_messages += i64::from(is_expired);
            tally.dropped_retained_full += i64::from(!is_expired);
            return self.forget_body(body);
        }
        store.bytes += message.bytes();
        store.count += 1;
        self.retained_count.store(store.count, Ordering::Relaxed);
        store.next_expiry = store.next_expiry.into_iter().chain(message.expires_at()).min();
        tally.keep(message.bytes());
        tally.charge(0, key_bytes(message.topic()));
        let retained = RetainedMessage { message: message.clone(), from: 0, body: Some(body) };
        // There is no other, unless the store has two for the topic.
        if let Some(other) = store.messages.set(message.topic(), retained) {
            self.let_go(store, other, tally);
        }
    }

    /// The message of that name is not retained any more.
    pub(super) fn forget_body(&self, body: BodyNumber) {
        if let Some(journal) = &self.journal {
            journal.record(&Record::Unretain { body });
        }
    }

    /// Removes the message retained for a topic.
    fn unretain(&self, store: &mut RetainedStore, topic: Name<'_>, tally: &mut Tally) {
        if let Some(old) = store.messages.remove(topic) {
            self.let_go(store, old, tally);
        }
    }

    /// A message is out of the table.
    fn let_go(&self, store: &mut RetainedStore, old: RetainedMessage, tally: &mut Tally) {
        let RetainedMessage { message: old, body, .. } = old;
        if let Some(body) = body {
            self.forget_body(body);
        }
        if !is_the_brokers(old.topic()) {
            store.bytes = store.bytes.saturating_sub(old.bytes());
            store.count = store.count.saturating_sub(1);
            self.retained_count.store(store.count, Ordering::Relaxed);
        }
        tally.charge(key_bytes(old.topic()), 0);
        release(old, tally);
    }

    /// Removes retained messages that were found expired [5.0 MQTT-3.3.2-5], unless a newer one stands in their place.
    pub(super) fn forget_retained(&self, expired: Vec<Message>, tally: &mut Tally) {
        if expired.is_empty() {
            return;
        }
        let mut store = self.retained.write();
        for message in expired {
            let topic = message.topic();
            if store.messages.get(topic).is_some_and(|retained| retained.message.is(&message)) {
                self.unretain(&mut store, topic, tally);
                tally.expired_messages += 1;
            }
            release(message, tally);
        }
    }

    /// Removes retained messages that have expired and that nobody has found.
    pub(super) fn sweep_retained(&self, batch: &mut Batch) {
        let Batch { now, tally, .. } = batch;
        let is_due = |store: &RetainedStore| store.next_expiry.is_some_and(|at| at + SWEEP_DELAY <= *now);
        if is_due(&self.retained.read()) {
            let turn = self.turn();
            self.forget_expired(&mut self.retained.write(), *now, tally);
            drop(turn);
            self.absorb(batch);
        }
    }

    /// Removes all retained messages that have expired. It looks at each message, if any may have.
    fn forget_expired(&self, store: &mut RetainedStore, now: Instant, tally: &mut Tally) {
        if store.next_expiry.is_none_or(|at| at > now) {
            return;
        }
        let all = || store.messages.iter().map(|retained| &retained.message);
        let expired: Vec<_> = all().filter(|message| message.is_expired(now)).cloned().collect();
        for message in expired {
            self.unretain(store, message.topic(), tally);
            tally.expired_messages += 1;
            release(message, tally);
        }
        let next = store.messages.iter().filter_map(|retained| retained.message.expires_at()).min();
        store.next_expiry = next.map(|at| at.max(now + LOOK_INTERVAL));
    }
}

fn has_room(store: &RetainedStore, bytes: usize) -> bool {
    store.bytes.saturating_add(bytes) <= store.max_bytes && store.count < store.max_count
}

/// What the store takes to find a message by its topic, beside its place: the name once more.
fn key_bytes(topic: Name<'_>) -> usize {
    topic.as_str().len()
}
