//! What one read from a network connection brings about, gathered and handed over at once.

use std::mem;
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
/// Bytes of messages that are gathered before their receivers write, if the sender has so many at hand: a system call for
/// every message and receiver would cost many times what the delivery does.
const GATHERED_BYTES: usize = 2 << 10;
/// But of all copies of them no more than this.
const MOST_GATHERED_BYTES: usize = 32 << 20;
/// And while others send so many meanwhile, which may be for the same receivers, nobody waits either.
const MOST_PASSING_BYTES: usize = 128 << 10;

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
    /// How many of them, the first ones, wait for more.
    gathering: usize,
    /// What they were given since they do.
    gathered: Gathered,
    /// Bytes of messages in this batch, each counted once however many get it: no outbox got more.
    pub(super) message_bytes: usize,
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

/// What receivers were given that wait for more, in bytes.
#[derive(Default)]
struct Gathered {
    /// Messages of the senders that make them wait.
    messages: usize,
    /// Their copies in outboxes.
    copies: usize,
    /// Messages of others.
    passing: usize,
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
            gathering: 0,
            gathered: Gathered::default(),
            message_bytes: 0,
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

    /// Wakes each connection that was given something, but for those that wait for more, and says how many. Call it when a
    /// batch is handled.
    pub fn wake(&mut self) -> usize {
        self.bytes = 0;
        self.gathered.passing += mem::take(&mut self.message_bytes);
        let woken = self.wakers.drain(self.gathering.min(self.wakers.len())..);
        let number = woken.len();
        woken.for_each(Waker::wake);
        number
    }

    /// The batch was cut, and its sender goes on at its next turn: all that were given something wait for that, unless it is
    /// enough. Says whether they wait; then the sender must call this again, or [`Batch::release`], whatever becomes of it.
    ///
    /// What waits is at most 2 KiB for each receiver, 32 MiB for all, and what one turn puts on top; and 128 KiB of others'.
    pub fn gather(&mut self) -> bool {
        if self.gathering == 0 {
            self.gathered = Gathered::default();
        }
        self.gathered.messages += mem::take(&mut self.message_bytes);
        self.gathered.copies += self.bytes;
        let Gathered { messages, copies, passing } = self.gathered;
        if messages >= GATHERED_BYTES || copies >= MOST_GATHERED_BYTES || passing >= MOST_PASSING_BYTES {
            self.release();
            return false;
        }
        self.gathering = self.wakers.len();
        self.gathering > 0
    }

    /// Nobody waits for more: the next call of [`Batch::wake`] wakes all.
    pub fn release(&mut self) {
        self.gathering = 0;
    }

    /// After a panic: forgets what was meant for the sender, and keeps what was counted and for whom there is something.
    pub fn recover(&mut self) {
        self.replies.clear();
        self.free_replies.clear();
        self.await_nothing();
        self.measured = None;
        self.routes = Routes::default();
        self.release();
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

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A turn of a sender gives something to some, and to so many that nobody else has given anything yet.
    fn give(batch: &mut Batch, woken: &Arc<Woken>, receivers: usize, message_bytes: usize, copies: usize) {
        batch.wakers.extend((0..receivers).map(|_| Waker::from(Arc::clone(woken))));
        batch.message_bytes += message_bytes;
        batch.count(message_bytes * copies);
    }

    #[test]
    fn receivers_wait_until_there_is_enough_for_each() {
        let (mut batch, woken) = (Batch::new(Instant::now()), Arc::<Woken>::default());
        let count = || woken.0.load(Ordering::Relaxed);
        give(&mut batch, &woken, 1000, 1050, 1000);
        assert!(batch.gather());
        batch.wake();
        assert_eq!(count(), 0);
        // Others are served meanwhile.
        give(&mut batch, &woken, 1, 100, 1);
        batch.wake();
        assert_eq!(count(), 1);
        give(&mut batch, &woken, 0, 1050, 1000);
        assert!(!batch.gather());
        batch.wake();
        assert_eq!(count(), 1001);

        // Unless they send much.
        give(&mut batch, &woken, 1000, 1050, 1000);
        assert!(batch.gather());
        batch.wake();
        give(&mut batch, &woken, 0, MOST_PASSING_BYTES, 1);
        batch.wake();
        assert_eq!(count(), 1001);
        assert!(!batch.gather());
        batch.wake();
        assert_eq!(count(), 2001);

        // Few have enough after one turn, even if many others have not; and many do not take all memory.
        for (receivers, message_bytes, copies) in
            [(100, 10_500, 100), (10_000, 100_000, 11), (40_000, 1000, 40_000)]
        {
            give(&mut batch, &woken, receivers, message_bytes, copies);
            assert!(!batch.gather(), "{receivers}");
            batch.wake();
        }
        assert_eq!(count(), 52_101);
    }

    #[test]
    fn who_waits_is_woken_when_the_sender_is_done() {
        let (mut batch, woken) = (Batch::new(Instant::now()), Arc::<Woken>::default());
        for end in [Batch::release, Batch::recover] {
            give(&mut batch, &woken, 1000, 1050, 1000);
            assert!(batch.gather());
            batch.wake();
            end(&mut batch);
            batch.wake();
            assert_eq!(woken.0.swap(0, Ordering::Relaxed), 1000);
        }
    }
}
