//! How much happens in a minute, averaged over the last 1, 5 and 15, as mosquitto does it.

use std::time::{Duration, Instant};

/// What the averages are over: the topic's last level, and how long it is.
pub(super) const SPANS: [(&str, Duration); 3] = [
    ("1min", Duration::from_secs(60)),
    ("5min", Duration::from_secs(5 * 60)),
    ("15min", Duration::from_secs(15 * 60)),
];

/// Exponential averages of how fast a counter grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    count: u64,
    averages: [f64; SPANS.len()],
}

impl Load {
    /// The counter stands at `count`, `elapsed` after the last call. Gives the averages, for a minute each.
    pub(super) fn update(&mut self, count: u64, elapsed: Duration) -> [f64; SPANS.len()] {
        let elapsed = elapsed.as_secs_f64();
        if elapsed > 0.0 {
            let rate = count.saturating_sub(self.count) as f64 * 60.0 / elapsed;
            for (average, (_, span)) in self.averages.iter_mut().zip(SPANS) {
                let kept = (-elapsed / span.as_secs_f64()).exp();
                *average = rate + kept * (*average - rate);
            }
            self.count = count;
        }
        self.averages
    }
}

/// Says how long it is since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Lap(Option<Instant>);

impl Lap {
    pub(super) fn next(&mut self, start: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.replace(now).unwrap_or(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 0.01 * expected.max(1.0)
    }

    #[test]
    fn a_steady_rate_is_approached_and_left_by_its_time_constant() {
        let mut load = Load::default();
        let ten_seconds = Duration::from_secs(10);
        // 20 each ten seconds are 120 a minute.
        let mut averages = [0.0; 3];
        for minute in 1..=15 {
            for step in 1..=6 {
                averages = load.update((minute * 6 - 6 + step) * 20, ten_seconds);
            }
            if minute == 1 {
                assert!(near(averages[0], 120.0 * (1.0 - (-1f64).exp())), "{averages:?}");
            }
        }
        assert!(near(averages[0], 120.0), "{averages:?}");
        assert!(near(averages[1], 120.0 * (1.0 - (-3f64).exp())), "{averages:?}");
        assert!(near(averages[2], 120.0 * (1.0 - (-1f64).exp())), "{averages:?}");
        let after = load.update(15 * 6 * 20, Duration::from_secs(60));
        assert!(near(after[0], averages[0] * (-1f64).exp()), "{after:?}");
    }

    #[test]
    fn steps_of_any_length_come_to_the_same() {
        let (mut fine, mut coarse) = (Load::default(), Load::default());
        for second in 1..=60 {
            fine.update(second * 2, Duration::from_secs(1));
        }
        let [fine, coarse] = [fine.averages, coarse.update(120, Duration::from_secs(60))];
        assert!(fine.iter().zip(coarse).all(|(fine, coarse)| near(*fine, coarse)), "{fine:?} {coarse:?}");
    }

    #[test]
    fn no_time_is_no_rate() {
        let mut load = Load::default();
        assert_eq!(load.update(5, Duration::ZERO), [0.0; 3]);
        assert!(load.update(5, Duration::from_secs(60))[0] > 3.0);
    }
}
