//! What one read from a network connection brings about, gathered and handed over at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use super::reached::Noted;
use super::routes::Routes;
use super::trace::Line;
use crate::session::Tally;
use crate::store::{Receipt, Turn};

/// Bytes put into outboxes before a batch is cut, so that the receivers get to write them.
pub(super) const FULL_BYTES: usize = 1 << 20;

/// Working memory of a thread, lent to the hub for one batch of packets.
pub struct Batch {
    /// What time it is, for messages that expire.
    pub(super) now: Instant,
    /// Packets for the sender of the batch itself.
    pub(super) replies: Vec<u8>,
    /// Those of them that depend on nothing that was recorded.
    pub(super) free_replies: Vec<u8>,
    /// The group of what is recorded in the batch; 0 if nothing is.
    pub(super) group: u64,
    /// Replies wait until that group is persisted; 0 is none.
    pub(super) awaited: u64,
    /// Or, unless it is [pinned](Batch::await_group), until this is settled.
    pub(super) receipt: Option<Arc<Receipt>>,
    is_pinned: bool,
    /// Tasks of the connections that have something to write or must end.
    pub(super) wakers: Vec<Waker>,
    /// When the batch came, if its next message is to be measured.
    pub(super) measured: Option<Instant>,
    pub(super) routes: Routes,
    pub(super) bytes: usize,
    /// What was counted since the hub's counters were last told.
    pub(super) tally: Tally,
    /// Limits that were reached, to be told to the log when the batch is over.
    pub(super) noted: Noted,
    /// Packets of traced clients, to be told of then, too.
    pub(super) traced: Vec<Line>,
    /// By how much the account of memory changed since the thread last looked at all of it.
    pub(super) memory_changes: u64,
    /// Tells threads apart, for the counters.
    pub(super) number: usize,
}

impl Batch {
    /// Working memory with nothing in it.
    pub fn new(now: Instant) -> Self {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        Self {
            now,
            replies: Vec::new(),
            free_replies: Vec::new(),
            group: 0,
            awaited: 0,
            receipt: None,
            is_pinned: false,
            wakers: Vec::new(),
            measured: None,
            routes: Routes::default(),
            bytes: 0,
            tally: Tally::default(),
            noted: Noted::default(),
            traced: Vec::new(),
            memory_changes: 0,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// It is `now`, in whatever the batch is lent for next.
    pub fn at(&mut self, now: Instant) -> &mut Self {
        self.now = now;
        self
    }

    /// What is recorded from now on belongs to that turn.
    pub(super) fn in_turn(&mut self, turn: Option<&Turn<'_>>) {
        self.group = turn.map_or(0, Turn::group);
    }

    /// The replies say that something is safe: they wait until it is.
    pub(super) fn await_group(&mut self) {
        self.awaited = self.group;
        self.is_pinned = true;
    }

    /// The replies say that something is safe: they wait until it is, or nobody needs it any more.
    pub(super) fn await_receipt(&mut self) {
        self.awaited = self.group;
    }

    /// What the replies wait for.
    pub(super) fn take_awaited(&mut self) -> (u64, Option<Arc<Receipt>>) {
        let (awaited, receipt, is_pinned) = (self.awaited, self.receipt.take(), self.is_pinned);
        self.await_nothing();
        (awaited, receipt.filter(|_| !is_pinned))
    }

    /// A batch begins, or nobody waits for its replies.
    pub(super) fn await_nothing(&mut self) {
        self.awaited = 0;
        self.receipt = None;
        self.is_pinned = false;
    }

    /// Nobody waits for a reply to what was done in that turn.
    pub(super) fn end_turn(&mut self) {
        self.group = 0;
        self.await_nothing();
    }

    /// Wakes each connection that was given something. Call it when a batch is handled.
    pub fn wake(&mut self) {
        self.bytes = 0;
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// After a panic: forgets what was meant for the sender, and keeps what was counted and for whom there is something.
    pub fn recover(&mut self) {
        self.replies.clear();
        self.free_replies.clear();
        self.await_nothing();
        self.measured = None;
        self.routes = Routes::default();
        self.wake();
    }

    /// Where to count what the network floor alone knows.
    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    pub(super) fn touched(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Counts bytes put into outboxes or queues.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Counts deliveries given up because memory is short.
    pub(super) fn count_dropped(&mut self, messages: usize) {
        self.tally.dropped_memory_full += i64::try_from(messages).unwrap_or(i64::MAX);
    }

    /// Whether a limit was reached that the log is to hear of.
    pub(super) fn has_something_to_tell(&self) -> bool {
        !self.noted.is_empty() || !self.traced.is_empty() || self.tally.dropped_retained_full > 0
    }

    /// Whether it is time to let the receivers write.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES
    }
}
