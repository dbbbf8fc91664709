//! How fast a client publishes, where its listener says how fast it may: a bucket of messages and one of bytes.
//!
//! Who is too fast loses nothing: the rest of what came waits, and nothing more is read until it may go on.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::auth::PublishRate;

/// After a rest, so much time's worth may come at once.
const BURST: Duration = Duration::from_secs(1);
/// Who had to wait may then send so much time's worth, so that it is not woken for each message.
const SLICE: Duration = Duration::from_millis(20);

/// One connection's buckets.
pub(super) struct Pace {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

/// Kept as the time at which it is full again. It may be in debt by one packet, which can be larger than it.
struct Bucket {
    per_second: NonZeroU64,
    full_at: Instant,
}

impl Pace {
    /// None where there is no rate. A new connection has had no rest, so that nobody gains by connecting again.
    pub(super) fn new(rate: PublishRate, now: Instant) -> Option<Box<Self>> {
        let bucket = |per_second| Bucket { per_second, full_at: now + BURST };
        let PublishRate { messages_per_second, bytes_per_second } = rate;
        let (messages, bytes) = (messages_per_second.map(NonZeroU64::from), bytes_per_second);
        (messages.is_some() || bytes.is_some())
            .then(|| Box::new(Self { messages: messages.map(bucket), bytes: bytes.map(bucket) }))
    }

    /// A PUBLISH of so many bytes came: takes it, or says when to come again.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> Result<(), Instant> {
        let buckets = || self.messages.iter().chain(&self.bytes);
        if let Some(until) = buckets().filter_map(|bucket| bucket.empty_until(now)).max() {
            return Err(until + SLICE);
        }
        if let Some(bucket) = &mut self.messages {
            bucket.take(1, now);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.take(u64::try_from(bytes).unwrap_or(u64::MAX), now);
        }
        Ok(())
    }
}

impl Bucket {
    fn empty_until(&self, now: Instant) -> Option<Instant> {
        self.full_at.checked_sub(BURST).filter(|until| *until > now)
    }

    fn take(&mut self, amount: u64, now: Instant) {
        // A packet has less than 2^28 bytes.
        let cost = Duration::from_nanos(amount.saturating_mul(1_000_000_000) / self.per_second);
        self.full_at = self.full_at.max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn pace(messages: u32, bytes: u64, now: Instant) -> Box<Pace> {
        let rate = PublishRate {
            messages_per_second: NonZeroU32::new(messages),
            bytes_per_second: NonZeroU64::new(bytes),
        };
        Pace::new(rate, now).unwrap()
    }

    /// How many packets of that size are taken in so long by a client that never rests, and how often it is held.
    fn taken(pace: &mut Pace, bytes: usize, start: Instant, time: Duration) -> (u32, u32) {
        let (mut taken, mut held, mut now) = (0, 0, start);
        while now < start + time {
            match pace.take(bytes, now) {
                Ok(()) => taken += 1,
                Err(until) => {
                    assert!(until > now);
                    (held, now) = (held + 1, until);
                }
            }
        }
        (taken, held)
    }

    #[test]
    fn no_rate_is_no_bucket() {
        assert!(Pace::new(PublishRate::default(), Instant::now()).is_none());
    }

    #[test]
    fn a_new_connection_has_no_burst_and_a_rested_one_a_second_s_worth() {
        let start = Instant::now();
        let mut pace = pace(100, 0, start);
        let at_once = |pace: &mut Pace, now| (0..1000).take_while(|_| pace.take(10, now).is_ok()).count();
        assert_eq!(at_once(&mut pace, start), 1);
        let rested = start + Duration::from_secs(10);
        assert_eq!(at_once(&mut pace, rested), 101);
        assert_eq!(at_once(&mut pace, rested), 0);
    }

    #[test]
    fn who_is_held_is_held_no_more_than_fifty_times_a_second() {
        let start = Instant::now();
        let (taken, held) = taken(&mut pace(100_000, 0, start), 10, start, Duration::from_secs(10));
        assert!((995_000..1_003_000).contains(&taken), "{taken}");
        assert!(held <= 500, "{held}");
    }

    #[test]
    fn a_packet_larger_than_the_bucket_comes_through_and_is_paid_for() {
        let start = Instant::now();
        let mut pace = pace(0, 1000, start);
        assert_eq!(pace.take(60_000, start), Ok(()));
        assert_eq!(pace.take(1, start), Err(start + Duration::from_secs(60) + SLICE));
        assert_eq!(pace.take(1, start + Duration::from_secs(60)), Ok(()));
    }

    proptest! {
        #[test]
        fn it_is_the_slower_of_both_rates(messages in 1..10_000_u32, bytes in 1..100_000_u64, size in 2..2000_usize) {
            let (start, seconds) = (Instant::now(), 1000);
            let (taken, _) = taken(&mut pace(messages, bytes, start), size, start, Duration::from_secs(seconds));
            let by_bytes = bytes as f64 / size as f64;
            let expected = by_bytes.min(f64::from(messages)) * seconds as f64;
            let allowed = expected * 0.01 + 2.0;
            prop_assert!((f64::from(taken) - expected).abs() <= allowed, "{} for {}", taken, expected);
        }
    }
}
