//! What is still needed of each segment.

use std::collections::BTreeMap;
use std::mem;

use crate::store::record::SessionNumber;

/// By segment.
#[derive(Default)]
pub(in crate::store) struct Ledger {
    segments: BTreeMap<u32, Needed>,
    bytes: u64,
}

#[derive(Default)]
struct Needed {
    /// How many messages, and how many states of sessions.
    messages: u64,
    states: u64,
    /// Of both.
    bytes: u64,
    /// Sessions whose state is told from here on, as far as they are still there and were not told anew since.
    sessions: Vec<SessionNumber>,
}

impl Ledger {
    /// One message more is needed.
    pub(super) fn add(&mut self, segment: u32, bytes: u32) {
        self.grow(segment, bytes).messages += 1;
    }

    /// One is not needed any more.
    pub(super) fn subtract(&mut self, segment: u32, bytes: u32) {
        self.subtract_many(segment, 1, bytes);
    }

    /// Several are not.
    pub(super) fn subtract_many(&mut self, segment: u32, messages: u32, bytes: u32) {
        if let Some(needed) = self.shrink(segment, bytes) {
            needed.messages = needed.messages.saturating_sub(messages.into());
        }
    }

    /// The state of one session more is needed.
    pub(super) fn add_state(&mut self, segment: u32, bytes: u32) {
        self.grow(segment, bytes).states += 1;
    }

    /// One is not needed any more.
    pub(super) fn subtract_state(&mut self, segment: u32, bytes: u32) {
        if let Some(needed) = self.shrink(segment, bytes) {
            needed.states = needed.states.saturating_sub(1);
        }
    }

    fn grow(&mut self, segment: u32, bytes: u32) -> &mut Needed {
        self.bytes += u64::from(bytes);
        let needed = self.segments.entry(segment).or_default();
        needed.bytes += u64::from(bytes);
        needed
    }

    fn shrink(&mut self, segment: u32, bytes: u32) -> Option<&mut Needed> {
        let needed = self.segments.get_mut(&segment)?;
        needed.bytes = needed.bytes.saturating_sub(bytes.into());
        self.bytes = self.bytes.saturating_sub(bytes.into());
        Some(needed)
    }

    /// What is told of a session begins here.
    pub(super) fn add_session(&mut self, segment: u32, session: SessionNumber) {
        self.segments.entry(segment).or_default().sessions.push(session);
    }

    /// The sessions that were told of from here on at some time.
    pub(in crate::store) fn take_sessions(&mut self, segment: u32) -> Vec<SessionNumber> {
        self.segments.get_mut(&segment).map(|needed| mem::take(&mut needed.sessions)).unwrap_or_default()
    }

    /// How many things, and how many bytes, are needed of a segment.
    pub(in crate::store) fn needed(&self, segment: u32) -> (u64, u64) {
        self.segments.get(&segment).map_or((0, 0), |needed| (needed.messages + needed.states, needed.bytes))
    }

    /// Whether messages are needed of a segment.
    pub(in crate::store) fn needs_messages(&self, segment: u32) -> bool {
        self.segments.get(&segment).is_some_and(|needed| needed.messages > 0)
    }

    /// Bytes that are needed.
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The segment is gone.
    pub(in crate::store) fn forget(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }
}
