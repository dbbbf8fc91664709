//! Takes what was recorded, writes it down, and tells whoever waits.

use std::any::Any;
use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::cleaning::{Cleaner, Step};
use super::fetching::{Frames, Unapplied};
use super::group::Group;
use super::image::{Changes, Image};
use super::journal::Journal;
use super::log::{Log, Place, WriteError};
use super::record::SessionNumber;
use super::status::Status;
use super::stored::{Fetch, Fetched};

/// When what was written is synced, and so what an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before anything is acknowledged: nothing is lost, whatever happens.
    Always,
    /// At least so often: what was acknowledged in that time is lost if the system stops, but not if only the broker does.
    Interval(Duration),
    /// When the system does: what it had not written is lost if it stops, but not if only the broker does.
    Os,
}

/// How a store is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// When to sync.
    pub sync: SyncPolicy,
    /// The size of a file, in bytes: about so much more than needed is there, several times.
    pub segment_bytes: u32,
    /// From so many bytes that wait to be written on, publishers wait.
    pub max_backlog_bytes: usize,
    /// How long clients have at a time to acknowledge what many of them were just sent, so that it need not be written.
    pub linger: Duration,
    /// After an error, the time until the next attempt.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::Always,
            segment_bytes: 32 << 20,
            max_backlog_bytes: 16 << 20,
            linger: Duration::from_millis(1),
            retry: Duration::from_secs(1),
        }
    }
}

/// Who gets the messages that were fetched.
pub trait Sink {
    /// The answer to a [`Fetch`]: its asker, its session, and what was found.
    fn fetched(&mut self, asker: Arc<dyn Any + Send + Sync>, session: SessionNumber, fetched: Fetched);
}

/// Frames are kept in memory until they are synced; when they are so many bytes, they are.
const MAX_UNSYNCED_BYTES: usize = 32 << 20;

/// What waits while nothing can be written goes together into frames of at least so many bytes.
const MERGED_BYTES: usize = 1 << 20;

/// So many bytes are looked through in one turn for what is needed of them, and [`CLEANED_SHARE`] as many as were written.
const CLEANED_BYTES: usize = 256 << 10;

/// In the worst case all of what is looked through is needed, up to half of all there is; so twice would do.
const CLEANED_SHARE: usize = 4;

/// A group of so many bytes is let grow: for one pause after the other, as long as each makes it larger by a quarter.
const GATHERED_BYTES: usize = 8 << 10;
const PAUSE: Duration = Duration::from_micros(100);
const MOST_PAUSES: usize = 10;

/// A closed group with so many messages that went out to clients waits to be acknowledged by them, as long as each time
/// an eighth of them is.
const LINGERING_MESSAGES: usize = 8;
const MOST_LINGERS: usize = 4;

/// The room of a group that had no more bytes is used again.
const MAX_SPARE_BYTES: usize = 1 << 20;

/// At the end, it is tried so often to write what is left.
const LAST_ATTEMPTS: usize = 3;

/// The store's other end.
pub struct Writer {
    journal: Arc<Journal>,
    log: Log,
    image: Image,
    options: Options,
    status: Arc<Status>,
    /// Frames that are not synced, or not written, by number.
    frames: VecDeque<Frame>,
    /// The number of the first of them.
    first: u64,
    /// The number of the first that was never applied.
    unapplied: u64,
    /// From this number on frames were applied that then were lost: they are to be applied once more, at the places where
    /// they are written again.
    lost: Option<u64>,
    /// The last group taken, and the last that was told to be persisted.
    taken: u64,
    told: u64,
    /// When the last sync was.
    synced_at: Instant,
    /// Writing failed: when to try again.
    retry_at: Option<Instant>,
    fetches: Fetches,
    cleaner: Cleaner,
    /// Cleaning failed: when to try again. The log is told once.
    clean_at: Option<Instant>,
    clean_fails: bool,
    changes: Changes,
    /// Bytes that were recorded, of which nothing needed to be written.
    unwritten: usize,
    /// An empty one with room, for the next.
    spare: Group,
}

/// What is asked for.
#[derive(Default)]
struct Fetches {
    /// Those that cannot be answered before something works again, and when to try.
    held: Vec<Fetch>,
    retry_at: Option<Instant>,
    is_failing: bool,
    frames: Frames,
}

/// A frame that may be needed again.
struct Frame {
    payload: Vec<u8>,
    /// What it says, if that need not be read.
    changes: Option<Changes>,
    place: Option<Place>,
    /// The group in it, and its bytes as they were recorded. A copy has none.
    group: Option<(u64, usize)>,
}

impl Writer {
    pub(super) fn new(journal: Arc<Journal>, mut log: Log, image: Image, options: Options) -> Self {
        let first = log.first_unsynced();
        // The image has them where they stand.
        let frames = log.take_unwritten().into_iter();
        let frames =
            frames.map(|(place, payload)| Frame { payload, changes: None, place: Some(place), group: None });
        let frames = frames.collect::<VecDeque<_>>();
        let now = Instant::now();
        let writer = Self {
            journal,
            log,
            image,
            options,
            status: Arc::default(),
            unapplied: first + frames.len() as u64,
            retry_at: if frames.is_empty() { None } else { Some(now) },
            frames,
            first,
            lost: None,
            taken: 0,
            told: 0,
            synced_at: now,
            fetches: Fetches::default(),
            cleaner: Cleaner::default(),
            clean_at: None,
            clean_fails: false,
            changes: Changes::default(),
            unwritten: 0,
            spare: Group::default(),
        };
        writer.measure();
        writer
    }

    /// How it is.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Writes what was recorded, or waits for so long that something is, and gives what was asked for to `sink`. Gives
    /// whether to go on: after [`Journal::finish`] it writes and syncs everything, and that was all.
    pub fn turn(&mut self, longest: Duration, sink: &mut dyn Sink) -> bool {
        self.journal.wait(self.wait(longest));
        self.gather();
        let work = self.journal.close(mem::take(&mut self.spare));
        if work.fetches.is_empty() && !work.is_over {
            self.linger();
        }
        let now = Instant::now();
        let written = self.push(work.number, self.journal.take());
        self.taken = work.number;
        if work.is_over {
            self.write_all(now);
        } else if self.retry_at.is_none_or(|at| at <= now) {
            self.write(now);
        }
        self.answer(work.fetches, now, sink);
        if !work.is_over {
            self.clean(CLEANED_BYTES.saturating_add(CLEANED_SHARE.saturating_mul(written)), now);
            if self.options.sync == SyncPolicy::Always && self.frames.is_empty() {
                self.log.make_room();
            }
        }
        self.measure();
        !work.is_over
    }

    /// Lets a group grow as long as it grows fast: each sync costs the same, however much it is for, and waking those who
    /// wait costs more often than seldom. Where little is recorded, nobody waits for this.
    fn gather(&self) {
        let mut bytes = self.journal.backlog_bytes();
        for _ in 0..MOST_PAUSES {
            if bytes < GATHERED_BYTES {
                return;
            }
            thread::sleep(PAUSE);
            let before = mem::replace(&mut bytes, self.journal.backlog_bytes());
            if bytes < before.saturating_add(before / 4) {
                return;
            }
        }
    }

    /// Lets clients acknowledge what stands in the closed group, as long as they do so fast: what nobody needs any more is
    /// not written.
    fn linger(&self) {
        let mut sent = self.journal.sent();
        for _ in 0..MOST_LINGERS {
            if sent < LINGERING_MESSAGES || self.options.linger.is_zero() {
                return;
            }
            thread::sleep(self.options.linger);
            let before = mem::replace(&mut sent, self.journal.sent());
            if sent > before - before / 8 {
                return;
            }
        }
    }

    /// How long to wait for something to do.
    fn wait(&self, longest: Duration) -> Duration {
        let now = Instant::now();
        if self.may_clean(now) && self.cleaner.is_due(&self.image, &self.log, self.options.segment_bytes) {
            return Duration::ZERO;
        }
        let sync_at = match self.options.sync {
            SyncPolicy::Interval(interval) if !self.frames.is_empty() && self.retry_at.is_none() => {
                self.synced_at.checked_add(interval)
            }
            _ => None,
        };
        let clean_at = self.clean_at.filter(|at| *at > now);
        [self.retry_at, clean_at, self.fetches.retry_at, sync_at]
            .into_iter()
            .flatten()
            .map(|at| at.saturating_duration_since(now))
            .fold(longest, Duration::min)
    }

    /// Takes a group. Gives the bytes of it that are to be written.
    fn push(&mut self, number: u64, mut group: Group) -> usize {
        let recorded = group.bytes();
        group.strip();
        let written = group.payload.len();
        if written == 0 {
            self.unwritten += recorded;
            self.keep_spare(group);
            return 0;
        }
        // While nothing can be written there may be many small ones. What may have been written is left as it is.
        let is_first = self.first + self.frames.len() as u64 <= self.log.next_frame() + 1;
        if let Some(Frame { payload, changes, place: None, group: Some(before) }) = self.frames.back_mut()
            && !is_first
            && payload.len() < MERGED_BYTES
        {
            payload.extend_from_slice(&group.payload);
            *changes = None;
            *before = (number, before.1 + recorded);
        } else {
            let Group { payload, changes } = group;
            let group = Some((number, recorded));
            self.frames.push_back(Frame { payload, changes: Some(changes), place: None, group });
        }
        written
    }

    /// Writes what is to be written, syncs if it is time to, and applies what can be.
    fn write(&mut self, now: Instant) {
        let result = self.append().and_then(|()| if self.must_sync(now) { self.sync(now) } else { Ok(()) });
        self.settle();
        match result {
            Ok(()) => self.works(now),
            Err(error) => self.failed(now, &error),
        }
    }

    /// At the end.
    fn write_all(&mut self, now: Instant) {
        for _ in 0..LAST_ATTEMPTS {
            let result = self.append().and_then(|()| self.sync(now));
            self.settle();
            match result {
                Ok(()) => {
                    self.log.give_room_back();
                    return self.works(now);
                }
                Err(error) => self.failed(now, &error),
            }
        }
        let bytes = self.frames.iter().map(|frame| frame.payload.len()).sum::<usize>();
        log::error!("the store ends without {bytes} bytes that were to be written");
    }

    /// Writes the frames that are not.
    fn append(&mut self) -> Result<(), WriteError> {
        loop {
            let number = self.log.next_frame();
            let Some(frame) = index(self.first, number).and_then(|index| self.frames.get_mut(index)) else {
                return Ok(());
            };
            frame.place = Some(self.log.append(&frame.payload)?);
            self.status.wrote(frame.payload.len(), frame.group.is_none());
        }
    }

    fn must_sync(&self, now: Instant) -> bool {
        let unsynced = self.frames.iter().map(|frame| frame.payload.len());
        match self.options.sync {
            SyncPolicy::Always => self.frames.iter().any(|frame| frame.group.is_some()),
            SyncPolicy::Interval(interval) if now.saturating_duration_since(self.synced_at) >= interval => {
                true
            }
            SyncPolicy::Interval(_) | SyncPolicy::Os => unsynced.sum::<usize>() >= MAX_UNSYNCED_BYTES,
        }
    }

    fn sync(&mut self, now: Instant) -> Result<(), WriteError> {
        self.synced_at = now;
        if self.log.first_unsynced() == self.log.next_frame() {
            return Ok(());
        }
        let began = Instant::now();
        self.log.sync()?;
        self.status.synced(began.elapsed());
        Ok(())
    }

    /// Tells of what is written well enough, and applies it. Forgets what is synced.
    fn settle(&mut self) {
        let (next, unsynced) = (self.log.next_frame(), self.log.first_unsynced());
        if next < self.unapplied {
            self.lost = Some(self.lost.map_or(next, |lost| lost.min(next)));
            // What the image knows of them is of no use until all of them are there again.
            return;
        }
        let mut bytes = 0;
        let mut told = None;
        let from = self.lost.take().unwrap_or(self.unapplied);
        let mut end = self.unapplied;
        while let Some(frame) = index(self.first, end).and_then(|index| self.frames.get(index)) {
            let is_written = match (self.options.sync, frame.group) {
                (SyncPolicy::Always, Some(_)) => end < unsynced,
                _ => end < next,
            };
            if !is_written {
                break;
            }
            if let Some((group, recorded)) = frame.group {
                told = Some(group);
                bytes += recorded;
            }
            end += 1;
        }
        let is_all = end == self.first + self.frames.len() as u64;
        // First, for whoever waits need not wait for the rest.
        if let Some(group) = if is_all { Some(self.taken) } else { told }
            && group > self.told
        {
            self.told = group;
            if is_all {
                bytes += mem::take(&mut self.unwritten);
            }
            self.journal.tell_persisted(group, bytes);
        }
        for number in from..end {
            self.apply(number);
        }
        self.unapplied = end;
        while self.first < unsynced.min(self.unapplied)
            && let Some(frame) = self.frames.pop_front()
        {
            self.first += 1;
            if let Frame { payload, changes: Some(changes), .. } = frame {
                self.keep_spare(Group { payload, changes });
            }
        }
    }

    /// Takes over into the image what the frame with this number says.
    fn apply(&mut self, number: u64) {
        let Some(frame) = index(self.first, number).and_then(|index| self.frames.get(index)) else { return };
        let Some(place) = frame.place else { return };
        if let Some(changes) = &frame.changes {
            debug_assert!(
                self.changes.read(&frame.payload).is_ok() && self.changes.is_same(changes),
                "what was recorded reads otherwise"
            );
            return self.image.apply(place, &frame.payload, changes);
        }
        match self.changes.read(&frame.payload) {
            Ok(()) => self.image.apply(place, &frame.payload, &self.changes),
            // It was recorded just so, or copied.
            Err(error) => log::error!("the store wrote what it does not understand: {error}"),
        }
    }

    /// So that the next group need not ask for its room piece by piece.
    fn keep_spare(&mut self, mut spare: Group) {
        if spare.bytes() <= MAX_SPARE_BYTES {
            spare.clear();
            self.spare = spare;
        }
    }

    /// Whether the image is that of all frames.
    fn is_all_applied(&self) -> bool {
        self.lost.is_none() && self.unapplied == self.first + self.frames.len() as u64
    }

    fn works(&mut self, now: Instant) {
        self.retry_at = None;
        if let Some(since) = self.status.recover() {
            self.journal.tell_failing(false);
            log::warn!("the store can be written again, after {} s", since.elapsed().as_secs());
            if !self.fetches.held.is_empty() {
                self.fetches.retry_at = Some(now);
            }
        }
    }

    fn failed(&mut self, now: Instant, error: &WriteError) {
        self.retry_at = now.checked_add(self.options.retry);
        self.journal.tell_failing(true);
        if self.status.fail(now, error.to_string()) {
            log::error!(
                "the store cannot be written: {error}; what needs it waits, and it is tried again every {} ms",
                self.options.retry.as_millis()
            );
        }
    }

    /// Gives what was asked for, now or earlier.
    fn answer(&mut self, fetches: Vec<Fetch>, now: Instant, sink: &mut dyn Sink) {
        let is_time = self.fetches.retry_at.is_some_and(|at| at <= now);
        let held = if is_time { mem::take(&mut self.fetches.held) } else { Vec::new() };
        if fetches.is_empty() && held.is_empty() {
            return;
        }
        let asked = held.into_iter().chain(fetches).collect::<Vec<_>>();
        let unapplied = self.unapplied_of(&asked);
        let mut is_failing = false;
        for fetch in asked {
            let frames = &mut self.fetches.frames;
            let (fetched, error) = frames.fetch(&fetch, &self.image, &self.log, &unapplied);
            if let Some(error) = error {
                is_failing = true;
                self.status.failed_to_read();
                if !mem::replace(&mut self.fetches.is_failing, true) {
                    log::error!("messages cannot be read from the store: {error}");
                }
            }
            if fetched.deliveries.is_empty() && fetched.next.is_some() {
                self.fetches.held.push(fetch);
            } else {
                sink.fetched(fetch.asker, fetch.session, fetched);
            }
        }
        self.fetches.is_failing = is_failing;
        self.fetches.retry_at =
            if self.fetches.held.is_empty() { None } else { now.checked_add(self.options.retry) };
    }

    /// What the image does not know yet of the sessions that ask.
    fn unapplied_of(&mut self, fetches: &[Fetch]) -> Unapplied {
        if self.is_all_applied() {
            return Unapplied::default();
        }
        let sessions = fetches.iter().map(|fetch| fetch.session).collect::<HashSet<_>>();
        let applied = index(self.first, self.unapplied).unwrap_or(0);
        let frames = self.frames.iter().skip(applied).map(|frame| frame.payload.as_slice());
        Unapplied::new(frames, &sessions, &mut self.changes)
    }

    fn may_clean(&self, now: Instant) -> bool {
        self.clean_at.is_none_or(|at| at <= now) && self.retry_at.is_none() && self.is_all_applied()
    }

    /// Gets rid of what is not needed, as long as it has not looked through so many bytes.
    fn clean(&mut self, most: usize, now: Instant) {
        let mut looked_through = 0;
        while looked_through < most && self.may_clean(now) {
            match self.cleaner.step(&mut self.image, &self.log, self.options.segment_bytes) {
                Ok(Step::Rest) => {
                    self.clean_at = None;
                    self.clean_fails = false;
                    return;
                }
                Ok(Step::Copy { payload, looked_through: bytes }) => {
                    looked_through += bytes.max(1);
                    if !payload.is_empty() {
                        self.frames.push_back(Frame { payload, changes: None, place: None, group: None });
                        let result = self.append();
                        self.settle();
                        if let Err(error) = result {
                            self.failed(now, &error);
                        }
                    }
                }
                Ok(Step::Remove) => {
                    looked_through += 1;
                    self.remove_oldest(now);
                }
                Err(error) => {
                    self.status.failed_to_read();
                    self.cannot_clean(now, &error);
                }
            }
        }
    }

    fn remove_oldest(&mut self, now: Instant) {
        let Some(oldest) = self.log.oldest() else { return };
        // That of which it is not needed any more may itself not be synced.
        let result = self.sync(now);
        self.settle();
        if let Err(error) = result {
            return self.failed(now, &error);
        }
        let result = self.log.remove_oldest();
        if self.log.segments().all(|(segment, _)| segment != oldest) {
            self.cleaner.removed(oldest, &mut self.image);
        }
        match result {
            Ok(()) => self.clean_fails = false,
            Err(error) => self.cannot_clean(now, &error),
        }
    }

    fn cannot_clean(&mut self, now: Instant, error: &dyn std::error::Error) {
        self.clean_at = now.checked_add(self.options.retry);
        if !mem::replace(&mut self.clean_fails, true) {
            log::error!("the store cannot be made smaller: {error}");
        }
    }

    fn measure(&self) {
        let segments = self.log.segments().count() as u64;
        self.status.measure(self.image.ledger().bytes(), self.log.total_bytes(), segments);
    }
}

/// Where in frames of which the first has the number `first`, `number` is.
fn index(first: u64, number: u64) -> Option<usize> {
    usize::try_from(number.checked_sub(first)?).ok()
}
