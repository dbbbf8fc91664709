//! How long messages take through the broker: from the read that brought a PUBLISH until the socket of a receiver has
//! taken all that was to be written to it by then.
//!
//! That is measured of one message in a while, not of each: a look at the clock would cost more than the rest. What a
//! receiver does not read is in it, the network behind the sockets is not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Hub;

/// At most so often.
const INTERVAL_US: u64 = 1000;
/// Places for each doubling.
const STEPS: usize = 4;
/// Up to half an hour: further ones count as that.
const DOUBLINGS: usize = 31;
const PLACES: usize = STEPS * DOUBLINGS;

pub(super) struct Latency {
    origin: Instant,
    /// When the next message is measured, in microseconds.
    next_us: AtomicU64,
    sum_us: AtomicU64,
    places: [AtomicU64; PLACES],
}

/// How many messages took how long, so far.
#[derive(Clone, Debug)]
pub struct Latencies {
    sum_us: u64,
    places: [u64; PLACES],
}

impl Latency {
    pub(super) fn new() -> Self {
        Self {
            origin: Instant::now(),
            next_us: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
            places: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// If a message that came at `now` is to be measured: that time.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let us = micros(now.saturating_duration_since(self.origin));
        let next = self.next_us.load(Ordering::Relaxed);
        let is_mine = us >= next
            && self
                .next_us
                .compare_exchange(next, us + INTERVAL_US, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        is_mine.then_some(now)
    }

    fn took(&self, us: u64) {
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        if let Some(place) = self.places.get(place(us)) {
            place.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Where so many microseconds count.
fn place(us: u64) -> usize {
    // So that there are two bits below the first one.
    let scaled = us.saturating_mul(4).max(4);
    let doubling = scaled.ilog2() - 2;
    let step = (scaled >> doubling) & 3;
    (doubling as usize * STEPS + step as usize).min(PLACES - 1)
}

/// The first number of microseconds that counts in a later place.
fn bound(place: usize) -> u64 {
    let (doubling, step) = (place / STEPS, (place % STEPS) as u64);
    ((STEPS as u64 + step + 1) << doubling).div_ceil(STEPS as u64)
}

impl Latencies {
    /// Those that came since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut places = self.places;
        places.iter_mut().zip(earlier.places).for_each(|(now, then)| *now = now.saturating_sub(then));
        Self { sum_us: self.sum_us.saturating_sub(earlier.sum_us), places }
    }

    /// How many were measured.
    pub fn count(&self) -> u64 {
        self.places.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// Of so many percent it is less than that many microseconds, a quarter too high at most; none if none was measured.
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let rank = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let mut places = self.places.iter().enumerate().filter(|(_, count)| **count > 0);
        places
            .find(|(_, count)| {
                seen += **count;
                seen >= rank
            })
            .map(|(place, _)| bound(place))
    }

    /// How many took less than each power of two in microseconds and not less than the one before.
    pub fn doublings(&self) -> impl Iterator<Item = (u64, u64)> {
        self.places.chunks(STEPS).zip(1..).map(|(steps, power)| (1 << power, steps.iter().sum()))
    }
}

impl Hub {
    /// The socket of a receiver has taken all at `now`, with a message that came at `since`.
    pub fn delivered(&self, since: Instant, now: Instant) {
        self.latency.took(micros(now.saturating_duration_since(since)));
    }

    /// How long messages took so far.
    pub fn latencies(&self) -> Latencies {
        Latencies {
            sum_us: self.latency.sum_us.load(Ordering::Relaxed),
            places: std::array::from_fn(|place| {
                self.latency.places.get(place).map_or(0, |count| count.load(Ordering::Relaxed))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_holds_what_is_less_than_its_bound_and_little_else(us in 0_u64..1 << 31) {
            let place = place(us);
            prop_assert!(us < bound(place));
            prop_assert!(place == 0 || us >= bound(place - 1));
            prop_assert!(bound(place) <= us + us / 4 + 1);
        }
    }

    #[test]
    fn percentiles_are_of_what_was_measured_since() {
        let hub = Hub::new(super::super::Limits::default());
        let start = Instant::now();
        let after = |us| hub.delivered(start, start + Duration::from_micros(us));
        after(1_000_000);
        let earlier = hub.latencies();
        assert_eq!(earlier.since(&earlier).percentile_us(50), None);
        (0..98).for_each(|_| after(100));
        (0..2).for_each(|_| after(5000));
        let since = hub.latencies().since(&earlier);
        assert_eq!((since.count(), since.sum()), (100, Duration::from_micros(19_800)));
        let within = |percent, us: u64| {
            let found = since.percentile_us(percent).unwrap();
            assert!((us..=us + us / 4 + 1).contains(&found), "{percent}: {found}");
        };
        within(50, 100);
        within(99, 5000);
        assert_eq!(since.doublings().map(|(_, count)| count).sum::<u64>(), 100);
        assert_eq!(since.doublings().find(|(_, count)| *count > 0), Some((128, 98)));
    }

    #[test]
    fn one_is_measured_in_a_while() {
        let latency = Latency::new();
        let start = latency.origin;
        let due = |us| latency.due(start + Duration::from_micros(us)).is_some();
        let all: Vec<_> = (0..3000).step_by(100).filter(|us| due(*us)).collect();
        assert_eq!(all, [0, 1000, 2000]);
    }
}
