//! What the broker counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Hub;
use crate::codec::QoS;

/// Messages that a limit kept from a client, by the limit.
#[derive(Debug, Default)]
pub struct Drops {
    queue_full: AtomicU64,
    outbox_full: AtomicU64,
    retained_full: AtomicU64,
}

impl Drops {
    /// A session did not take a delivery. At QoS 0 an absent client is not owed it, so that is no loss.
    pub(super) fn count_delivery(&self, connected: bool, qos: QoS) {
        match (qos, connected) {
            (QoS::AtMostOnce, false) => {}
            (QoS::AtMostOnce, true) => _ = self.outbox_full.fetch_add(1, Ordering::Relaxed),
            _ => _ = self.queue_full.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn count_retained(&self) {
        self.retained_full.fetch_add(1, Ordering::Relaxed);
    }
}

/// A reading of the broker's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open network connections.
    pub connections: usize,
    /// Connections that went from one thread to another, so that no thread had to wait while others slept.
    pub connections_moved: u64,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// QoS 1 and 2 messages dropped because the client's queue was full.
    pub dropped_queue_full: u64,
    /// QoS 0 messages dropped because the client does not read fast enough.
    pub dropped_outbox_full: u64,
    /// Messages not retained because the store of retained messages was full.
    pub dropped_retained_full: u64,
}

impl Hub {
    /// The counters as they stand.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.load(Ordering::Relaxed),
            // Only who has threads knows.
            connections_moved: 0,
            sessions: self.sessions.lock().len(),
            subscriptions: self.index.read().len(),
            retained: self.retained.read().messages.len(),
            dropped_queue_full: self.drops.queue_full.load(Ordering::Relaxed),
            dropped_outbox_full: self.drops.outbox_full.load(Ordering::Relaxed),
            dropped_retained_full: self.drops.retained_full.load(Ordering::Relaxed),
        }
    }
}
