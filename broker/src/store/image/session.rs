//! What is known of a session.

use std::collections::BTreeMap;

use super::ledger::Ledger;
use super::queue::Queue;
use crate::codec::PacketId;
use crate::store::record::{Position, Record, SessionNumber, SubscriptionRecord};

/// All but the messages stands here as well as in the log, so that it can be told anew at any time.
pub(in crate::store) struct Session {
    number: SessionNumber,
    /// Its [`Record::Session`], encoded. Empty if what was read of the log begins in the middle of its life: then it
    /// comes later.
    pub(super) head: Box<[u8]>,
    pub(super) subscriptions: BTreeMap<Box<str>, SubscriptionRecord>,
    /// In the order of the PUBRECs.
    pub(super) released: Vec<PacketId>,
    /// Sorted.
    pub(super) received: Vec<PacketId>,
    pub(in crate::store) queue: Queue,
    pub(super) next_position: Position,
    /// Its state is told from this segment on.
    base: u32,
    /// What telling it takes.
    bytes: u32,
}

/// About what a subscription takes beside its filter.
const SUBSCRIPTION_BYTES: usize = 12;

impl Session {
    pub(super) fn new(number: SessionNumber, segment: u32, ledger: &mut Ledger) -> Self {
        ledger.add_state(segment, 0);
        ledger.add_session(segment, number);
        Self {
            number,
            head: Box::default(),
            subscriptions: BTreeMap::new(),
            released: Vec::new(),
            received: Vec::new(),
            queue: Queue::default(),
            next_position: 0,
            base: segment,
            bytes: 0,
        }
    }

    /// It is over.
    pub(super) fn end(mut self, ledger: &mut Ledger) {
        self.queue.clear(ledger);
        ledger.subtract_state(self.base, self.bytes);
    }

    /// The segment from which on its state is told.
    pub(in crate::store) fn base(&self) -> u32 {
        self.base
    }

    pub(super) fn set_head(&mut self, head: &[u8], ledger: &mut Ledger) {
        self.resize(self.head.len(), head.len(), ledger);
        self.head = head.into();
    }

    pub(super) fn subscribe(&mut self, filter: &str, subscription: SubscriptionRecord, ledger: &mut Ledger) {
        match self.subscriptions.get_mut(filter) {
            Some(known) => *known = subscription,
            None => {
                self.subscriptions.insert(filter.into(), subscription);
                self.resize(0, filter.len() + SUBSCRIPTION_BYTES, ledger);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, filter: &str, ledger: &mut Ledger) {
        if self.subscriptions.remove(filter).is_some() {
            self.resize(filter.len() + SUBSCRIPTION_BYTES, 0, ledger);
        }
    }

    pub(super) fn release(&mut self, packet_id: PacketId) {
        if !self.released.contains(&packet_id) {
            self.released.push(packet_id);
        }
    }

    pub(super) fn complete(&mut self, packet_id: PacketId) {
        if let Some(index) = self.released.iter().position(|released| *released == packet_id) {
            self.released.remove(index);
        }
    }

    pub(super) fn receive(&mut self, packet_id: PacketId) {
        if let Err(index) = self.received.binary_search(&packet_id) {
            self.received.insert(index, packet_id);
        }
    }

    pub(super) fn end_received(&mut self, packet_id: PacketId) {
        if let Ok(index) = self.received.binary_search(&packet_id) {
            self.received.remove(index);
        }
    }

    /// All but its head and its messages is told anew, from `segment` on.
    pub(super) fn reset(&mut self, next_position: Position, segment: u32, ledger: &mut Ledger) {
        let head_bytes = u32::try_from(self.head.len()).unwrap_or(u32::MAX);
        ledger.subtract_state(self.base, self.bytes);
        ledger.add_state(segment, head_bytes);
        if self.base != segment {
            ledger.add_session(segment, self.number);
        }
        self.base = segment;
        self.bytes = head_bytes;
        self.subscriptions.clear();
        self.released.clear();
        self.received.clear();
        self.next_position = self.next_position.max(next_position);
    }

    /// Tells all but its messages.
    pub(in crate::store) fn encode(&self, out: &mut Vec<u8>) {
        let Self { number: session, next_position, .. } = *self;
        out.extend_from_slice(&self.head);
        Record::Reset { session, next_position }.encode(out);
        for (filter, subscription) in &self.subscriptions {
            Record::Subscribe { session, filter, subscription: *subscription }.encode(out);
        }
        for packet_id in self.released.iter().copied() {
            // No message is there.
            Record::Released { session, position: next_position, packet_id }.encode(out);
        }
        for packet_id in self.received.iter().copied() {
            Record::Received { session, packet_id }.encode(out);
        }
    }

    fn resize(&mut self, less: usize, more: usize, ledger: &mut Ledger) {
        let bytes = (self.bytes as usize + more).saturating_sub(less);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        ledger.subtract_state(self.base, self.bytes);
        ledger.add_state(self.base, bytes);
        self.bytes = bytes;
    }
}
