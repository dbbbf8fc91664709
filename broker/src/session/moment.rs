//! Times to keep where there are many of them.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The first time that was kept.
static FIRST: OnceLock<Instant> = OnceLock::new();

/// An [`Instant`] in half of its bytes: in ns from the first one that was kept, 292 years either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl From<Instant> for Moment {
    #[inline]
    fn from(at: Instant) -> Self {
        let first = *FIRST.get_or_init(|| at);
        let ns = |time: Duration| {
            time.as_secs().cast_signed().wrapping_mul(1_000_000_000).wrapping_add(time.subsec_nanos().into())
        };
        Self(match at.checked_duration_since(first) {
            Some(since) => ns(since),
            None => -ns(first.saturating_duration_since(at)),
        })
    }
}

impl From<Moment> for Instant {
    fn from(Moment(ns): Moment) -> Self {
        let first = *FIRST.get_or_init(Instant::now);
        let time = Duration::from_nanos(ns.unsigned_abs());
        let at = if ns < 0 { first.checked_sub(time) } else { first.checked_add(time) };
        at.unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_as_it_was_before_the_first_one_too() {
        let now = Instant::now();
        for at in
            [now, now + Duration::new(9, 1), now - Duration::from_nanos(1), now - Duration::from_secs(1)]
        {
            assert_eq!(Instant::from(Moment::from(at)), at);
        }
        assert!(Moment::from(now) < Moment::from(now + Duration::from_nanos(1)));
    }
}
