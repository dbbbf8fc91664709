//! How the store is, for whoever counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What waiting for stable storage is sorted by: microseconds, the upper bound of each place but the last, which has none.
pub const SYNC_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// Kept by the writer, read by anybody. Numbers only grow unless said otherwise.
#[derive(Debug, Default)]
pub struct Status {
    frames: AtomicU64,
    bytes: AtomicU64,
    cleaned_bytes: AtomicU64,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    longest_sync_us: AtomicU64,
    /// How often it took so long: by [`SYNC_BOUNDS_US`].
    sync_places: [AtomicU64; SYNC_BOUNDS_US.len() + 1],
    write_errors: AtomicU64,
    read_errors: AtomicU64,
    needed_bytes: AtomicU64,
    total_bytes: AtomicU64,
    segments: AtomicU64,
    failing: Mutex<Option<Failing>>,
}

/// Why nothing is written.
#[derive(Clone, Debug)]
pub struct Failing {
    /// Since when.
    pub since: Instant,
    /// The last error.
    pub error: String,
}

impl Status {
    /// Frames that were written, copies included.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Bytes in them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Those of them that were copied, to get rid of others.
    pub fn cleaned_bytes(&self) -> u64 {
        self.cleaned_bytes.load(Ordering::Relaxed)
    }

    /// How often it waited for stable storage.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// How long, in all.
    pub fn sync_time(&self) -> Duration {
        Duration::from_micros(self.sync_us.load(Ordering::Relaxed))
    }

    /// How long at most.
    pub fn longest_sync(&self) -> Duration {
        Duration::from_micros(self.longest_sync_us.load(Ordering::Relaxed))
    }

    /// How often it took so long: by [`SYNC_BOUNDS_US`], and longer.
    pub fn sync_places(&self) -> [u64; SYNC_BOUNDS_US.len() + 1] {
        std::array::from_fn(|place| {
            self.sync_places.get(place).map_or(0, |times| times.load(Ordering::Relaxed))
        })
    }

    /// Attempts to write that failed.
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }

    /// Attempts to read that failed.
    pub fn read_errors(&self) -> u64 {
        self.read_errors.load(Ordering::Relaxed)
    }

    /// Bytes that are still needed, now: an estimate.
    pub fn needed_bytes(&self) -> u64 {
        self.needed_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all files, now.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    /// Files, now.
    pub fn segments(&self) -> u64 {
        self.segments.load(Ordering::Relaxed)
    }

    /// Why nothing is written, if so.
    pub fn failing(&self) -> Option<Failing> {
        self.failing.lock().clone()
    }

    pub(super) fn wrote(&self, bytes: usize, is_copy: bool) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if is_copy {
            self.cleaned_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn synced(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if let Some(place) = self.sync_places.get(SYNC_BOUNDS_US.partition_point(|bound| *bound < us)) {
            place.fetch_add(1, Ordering::Relaxed);
        }
        self.sync_us.fetch_add(us, Ordering::Relaxed);
        self.longest_sync_us.fetch_max(us, Ordering::Relaxed);
    }

    /// Writing failed. Gives whether it did not before.
    pub(super) fn fail(&self, now: Instant, error: String) -> bool {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
        let mut failing = self.failing.lock();
        let since = failing.as_ref().map(|failing| failing.since);
        *failing = Some(Failing { since: since.unwrap_or(now), error });
        since.is_none()
    }

    /// Writing works. Gives since when it did not, if so.
    pub(super) fn recover(&self) -> Option<Instant> {
        self.failing.lock().take().map(|failing| failing.since)
    }

    pub(super) fn failed_to_read(&self) {
        self.read_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn measure(&self, needed_bytes: u64, total_bytes: u64, segments: u64) {
        self.needed_bytes.store(needed_bytes, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.segments.store(segments, Ordering::Relaxed);
    }
}
