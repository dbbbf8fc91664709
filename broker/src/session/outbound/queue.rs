//! Messages that wait to be sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::OutboundLimits;
use crate::codec::QoS;
use crate::session::{Content, Manner, Message};
use crate::store::Position;

/// What an entry takes beside its message: the table grows by doubling.
const ENTRY_BYTES: usize = 2 * size_of::<Kept>();
/// The queue is looked through for messages that have expired, at most so often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A message that is kept for the client, and how it is to go to it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) message: Message,
    pub(super) manner: Manner,
    /// Where it stands in the store, if it is there.
    pub(super) position: Position,
}

impl Kept {
    pub(super) fn of(content: &Content<'_>, manner: &Manner, position: Position) -> Self {
        Self { message: content.to_message(), manner: manner.clone(), position }
    }
}

/// Messages in the order in which they came, and what they take.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Kept>,
    bytes: usize,
    note_bytes: usize,
    /// Retained messages wait here at QoS 0 when a new subscription brings more than the outbox holds.
    at_most_once: usize,
    /// No message expires before.
    next_expiry: Option<Instant>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of the messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory it takes beside the messages it shares.
    pub(super) fn own_bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES + self.note_bytes
    }

    pub(super) fn has_at_most_once(&self) -> bool {
        self.at_most_once > 0
    }

    /// Whether a message of so many bytes, and what goes with it, may wait, too.
    pub(super) fn has_room(&self, bytes: usize, limits: &OutboundLimits) -> bool {
        self.entries.len() < limits.queued_messages
            && (self.bytes + self.note_bytes).saturating_add(bytes) <= limits.queued_bytes
    }

    pub(super) fn front(&self) -> Option<&Kept> {
        self.entries.front()
    }

    pub(super) fn push_back(&mut self, kept: Kept) {
        self.count_in(&kept);
        self.entries.push_back(kept);
    }

    pub(super) fn push_front(&mut self, kept: Kept) {
        self.count_in(&kept);
        self.entries.push_front(kept);
    }

    pub(super) fn pop_front(&mut self) -> Option<Kept> {
        let kept = self.entries.pop_front()?;
        self.count_out(&kept);
        Some(kept)
    }

    pub(super) fn pop_back(&mut self) -> Option<Kept> {
        let kept = self.entries.pop_back()?;
        self.count_out(&kept);
        Some(kept)
    }

    /// Takes those out for which it holds, oldest first.
    pub(super) fn take_if(&mut self, is_taken: impl Fn(&Kept) -> bool) -> VecDeque<Kept> {
        if !self.entries.iter().any(&is_taken) {
            return VecDeque::new();
        }
        let (taken, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(is_taken);
        self.entries = left;
        taken.iter().for_each(|kept| self.count_out(kept));
        taken
    }

    /// Takes out what has expired.
    pub(super) fn take_expired(&mut self, now: Instant) -> VecDeque<Kept> {
        if self.next_expiry.is_none_or(|at| at > now) {
            return VecDeque::new();
        }
        let expired = self.take_if(|kept| kept.message.is_expired(now));
        let next = self.entries.iter().filter_map(|kept| kept.message.expires_at()).min();
        self.next_expiry = next.map(|at| at.max(now + LOOK_INTERVAL));
        expired
    }

    /// An idle client keeps no table.
    pub(super) fn let_go_of_room(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 0 {
            self.entries = VecDeque::new();
        }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.entries.shrink_to_fit();
    }

    fn count_in(&mut self, kept: &Kept) {
        self.next_expiry = self.next_expiry.into_iter().chain(kept.message.expires_at()).min();
        self.bytes += kept.message.bytes();
        self.note_bytes += kept.manner.note_bytes();
        self.at_most_once += usize::from(kept.manner.qos == QoS::AtMostOnce);
    }

    fn count_out(&mut self, kept: &Kept) {
        self.bytes = self.bytes.saturating_sub(kept.message.bytes());
        self.note_bytes = self.note_bytes.saturating_sub(kept.manner.note_bytes());
        self.at_most_once -= usize::from(kept.manner.qos == QoS::AtMostOnce);
    }
}
