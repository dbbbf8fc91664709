//! What is to be written next, and who waits for it.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use super::group::{Draft, Group};
use super::receipt::Receipt;
use super::record::{BodyNumber, MessageRecord, Record};
use super::stored::Fetch;
use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, RwLock, RwLockReadGuard};

/// The broker's end of the store: takes records, and tells when they are safe.
pub struct Journal {
    /// Held shared for each turn, and exclusively when a group is taken.
    gate: RwLock<()>,
    forming: Mutex<Forming>,
    /// Something is to be done.
    work: Condvar,
    /// The group that forms.
    group: AtomicU64,
    persisted: AtomicU64,
    /// Bytes that were recorded so far. Written under the lock of `forming` alone.
    recorded_bytes: AtomicUsize,
    /// Bytes of these that are persisted.
    persisted_bytes: AtomicUsize,
    max_backlog_bytes: usize,
    waiting: Mutex<Vec<Waiting>>,
    /// Numbers given so far, of sessions and bodies.
    numbers: AtomicU64,
    is_failing: AtomicBool,
    clock: Clock,
}

/// A moment by the clock of the process and by that of the world: what one says can be said by the other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The moment, in this process.
    pub instant: Instant,
    /// The same one, in ms since 1970.
    pub unix_ms: u64,
}

impl Clock {
    /// This moment.
    pub fn now() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }
}

#[derive(Default)]
struct Forming {
    group: Group,
    /// The group before, until it is taken.
    closed: Group,
    fetches: Vec<Fetch>,
    /// Somebody waits for the group, though nothing may be in it.
    is_awaited: bool,
    is_over: bool,
}

/// What the writer is to do at a time.
pub(super) struct Work {
    /// Of the group that is closed.
    pub(super) number: u64,
    pub(super) fetches: Vec<Fetch>,
    /// Nothing comes after it.
    pub(super) is_over: bool,
}

/// The time during which what is recorded belongs together.
pub struct Turn<'j> {
    journal: &'j Journal,
    gate: Option<RwLockReadGuard<'j, ()>>,
    group: u64,
}

impl Turn<'_> {
    /// The group of what is recorded in it.
    pub fn group(&self) -> u64 {
        self.group
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.gate = None;
        // The writer sleeps only when there was nothing.
        if self.journal.backlog_bytes() > 0 {
            self.journal.work.notify_one();
        }
    }
}

/// Who waits for a group, or for the receipt.
struct Waiting {
    group: u64,
    waker: Waker,
    receipt: Option<Arc<Receipt>>,
}

impl Waiting {
    /// Whoever waited was woken.
    fn is_over(&self) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| receipt.is_settled())
    }

    fn key(&self) -> (u64, usize, usize) {
        let receipt = self.receipt.as_ref().map_or(0, |receipt| Arc::as_ptr(receipt).addr());
        (self.group, self.waker.data().addr(), receipt)
    }
}

/// Whoever is woken by something else waits once more for the same group, which may be long in coming: that takes no more
/// room.
fn make_room(waiting: &mut Vec<Waiting>) {
    if waiting.len() == waiting.capacity() {
        waiting.retain(|waiting| !waiting.is_over());
        waiting.sort_unstable_by_key(Waiting::key);
        waiting.dedup_by(|one, before| one.key() == before.key() && one.waker.will_wake(&before.waker));
        // So that this is seldom.
        waiting.reserve(waiting.len());
    }
}

impl Journal {
    /// One with nothing to be written. Numbers begin behind `numbers`, which were given in earlier lives; at
    /// `max_backlog_bytes` it is [behind](Journal::is_behind).
    pub fn new(numbers: u64, max_backlog_bytes: usize) -> Self {
        Self::at(Clock::now(), numbers, max_backlog_bytes)
    }

    /// One whose clock is that.
    pub(super) fn at(clock: Clock, numbers: u64, max_backlog_bytes: usize) -> Self {
        Self {
            gate: RwLock::default(),
            forming: Mutex::default(),
            work: Condvar::new(),
            group: AtomicU64::new(1),
            persisted: AtomicU64::new(0),
            recorded_bytes: AtomicUsize::new(0),
            persisted_bytes: AtomicUsize::new(0),
            max_backlog_bytes,
            waiting: Mutex::default(),
            numbers: AtomicU64::new(numbers),
            is_failing: AtomicBool::new(false),
            clock,
        }
    }

    /// What is recorded until the turn is dropped is one group, with that of other turns. To be taken before every
    /// lock, once at a time on a thread, and never held while waiting for anything slow.
    pub fn turn(&self) -> Turn<'_> {
        let gate = Some(self.gate.read());
        // It changes under the exclusive gate only.
        Turn { journal: self, gate, group: self.group.load(Ordering::Relaxed) }
    }

    /// The group of the turn that is taken.
    pub fn group(&self) -> u64 {
        self.group.load(Ordering::Relaxed)
    }

    /// Writes a change down, in a turn, under the lock that guards what changed.
    pub fn record(&self, record: &Record<'_>) -> Draft {
        self.record_all([record])
    }

    /// Writes a message down with the first record that means it, and gives the name by which others of this turn do, and
    /// the draft of that record.
    pub fn record_message<'r>(
        &self,
        message: MessageRecord<'_>,
        record: impl FnOnce(BodyNumber) -> Record<'r>,
    ) -> (BodyNumber, Draft) {
        let body = self.next_number();
        (body, self.record_all([&Record::Body { body, message }, &record(body)]))
    }

    /// Gives the draft of the last one.
    fn record_all<const N: usize>(&self, records: [&Record<'_>; N]) -> Draft {
        let mut forming = self.forming.lock();
        let before = forming.group.bytes();
        let index = records.into_iter().map(|record| forming.group.add(record)).last().unwrap_or_default();
        let bytes = forming.group.bytes() - before;
        let recorded = self.recorded_bytes.load(Ordering::Relaxed);
        self.recorded_bytes.store(recorded.wrapping_add(bytes), Ordering::Relaxed);
        Draft { group: self.group(), index }
    }

    /// Takes back that a session has a message, in a turn, under the session's lock: the client acknowledged it before it
    /// was written. Gives false if it is being written, or is.
    pub fn take_back(&self, draft: Draft) -> bool {
        let number = self.group();
        if draft.group + 1 < number {
            return false;
        }
        let mut forming = self.forming.lock();
        let group = if draft.group == number { &mut forming.group } else { &mut forming.closed };
        group.changes.take_back(draft.index)
    }

    /// A number that was never given before.
    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The last group that survives whatever comes, as far as the configuration asks for it; and all before it.
    pub fn persisted(&self) -> u64 {
        self.persisted.load(Ordering::Acquire)
    }

    /// Wakes when that group is persisted, or the receipt settled: at once if it is.
    pub fn wake_after(&self, group: u64, receipt: Option<&Arc<Receipt>>, waker: &Waker) {
        if let Some(receipt) = receipt {
            receipt.wake_after(waker);
        }
        {
            let mut waiting = self.waiting.lock();
            if group <= self.persisted() {
                return waker.wake_by_ref();
            }
            make_room(&mut waiting);
            waiting.push(Waiting { group, waker: waker.clone(), receipt: receipt.cloned() });
        }
        // An answer may say what was written down before: then nothing else makes the writer take its group.
        if group >= self.group() {
            let mut forming = self.forming.lock();
            if forming.group.payload.is_empty() {
                forming.is_awaited = true;
                self.work.notify_one();
            }
        }
    }

    /// Bytes that are recorded and not persisted, which are in memory.
    pub fn backlog_bytes(&self) -> usize {
        let recorded = self.recorded_bytes.load(Ordering::Relaxed);
        // Read later, it may be ahead.
        usize::try_from(recorded.wrapping_sub(self.persisted_bytes.load(Ordering::Relaxed)).cast_signed())
            .unwrap_or(0)
    }

    /// Whether so much waits to be written that whoever sends more should wait.
    pub fn is_behind(&self) -> bool {
        self.backlog_bytes() > self.max_backlog_bytes
    }

    /// Whether the last attempt to write failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Asks for messages; the answer comes when all is persisted that was recorded before.
    pub fn fetch(&self, fetch: Fetch) {
        self.forming.lock().fetches.push(fetch);
        self.work.notify_one();
    }

    /// When the store was opened: no time before it is needed of a clock that does not reach back further.
    pub fn began(&self) -> Instant {
        self.clock.instant
    }

    /// A time of this process in ms since 1970.
    pub fn unix_ms(&self, at: Instant) -> u64 {
        let Clock { instant: began, unix_ms } = self.clock;
        let later = u64::try_from(at.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX);
        let earlier = u64::try_from(began.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        unix_ms.saturating_add(later).saturating_sub(earlier)
    }

    /// A time in ms since 1970 as one of this process; none if the system's clock does not reach back so far.
    pub fn instant(&self, unix_ms: u64) -> Option<Instant> {
        let Clock { instant: began, unix_ms: then } = self.clock;
        if unix_ms >= then {
            began.checked_add(Duration::from_millis(unix_ms - then))
        } else {
            began.checked_sub(Duration::from_millis(then - unix_ms))
        }
    }

    /// Nothing more will be recorded: the writer ends when all is written.
    pub fn finish(&self) {
        self.forming.lock().is_over = true;
        self.work.notify_one();
    }

    /// Waits until there is something to do, or for so long.
    pub(super) fn wait(&self, longest: Duration) {
        let mut forming = self.forming.lock();
        let has_work = !forming.group.payload.is_empty() || !forming.fetches.is_empty();
        if !has_work && !forming.is_awaited && !forming.is_over {
            self.work.wait_for(&mut forming, longest);
        }
    }

    /// Closes the group, and tells what is to be done. The next one forms in `spare`, which is empty.
    pub(super) fn close(&self, spare: Group) -> Work {
        let _gate = self.gate.write();
        let mut forming = self.forming.lock();
        forming.is_awaited = false;
        forming.closed = mem::replace(&mut forming.group, spare);
        Work {
            number: self.group.fetch_add(1, Ordering::Relaxed),
            fetches: mem::take(&mut forming.fetches),
            is_over: forming.is_over,
        }
    }

    /// Messages in the closed group that went out to clients and may be taken back yet.
    pub(super) fn sent(&self) -> usize {
        self.forming.lock().closed.changes.sent()
    }

    /// Takes the closed group, to write it.
    pub(super) fn take(&self) -> Group {
        mem::take(&mut self.forming.lock().closed)
    }

    /// All up to that group is persisted, which were so many bytes since the last call.
    pub(super) fn tell_persisted(&self, group: u64, bytes: usize) {
        self.persisted_bytes.fetch_add(bytes, Ordering::Relaxed);
        let due = {
            let mut waiting = self.waiting.lock();
            self.persisted.store(group, Ordering::Release);
            waiting.extract_if(.., |waiting| waiting.group <= group).collect::<Vec<_>>()
        };
        due.into_iter().filter(|due| !due.is_over()).for_each(|due| due.waker.wake());
    }

    /// Writing failed, or works again.
    pub(super) fn tell_failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::Relaxed);
    }
}
