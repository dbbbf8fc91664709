//! What one read from a network connection brings about, gathered and handed over at once.

use std::task::Waker;

use super::routes::Routes;

/// Bytes put into outboxes before a batch is cut, so that the receivers get to write them.
const FULL_BYTES: usize = 1 << 20;

/// Working memory of a thread, lent to the hub for one batch of packets.
#[derive(Default)]
pub struct Batch {
    /// Packets for the sender of the batch itself.
    pub(super) replies: Vec<u8>,
    /// Tasks of the connections that have something to write or must end.
    pub(super) wakers: Vec<Waker>,
    pub(super) routes: Routes,
    pub(super) bytes: usize,
}

impl Batch {
    /// Working memory with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes each connection that was given something. Call it when a batch is handled.
    pub fn wake(&mut self) {
        self.bytes = 0;
        self.wakers.drain(..).for_each(Waker::wake);
    }

    pub(super) fn touched(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Counts bytes put into outboxes.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether it is time to let the receivers write.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES
    }
}
