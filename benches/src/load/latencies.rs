//! How long messages took from when they were due, whether they could be sent then or not.

use std::time::{Duration, Instant};

/// Message k of all is due k intervals behind the start; publishers send in turn.
#[derive(Debug)]
pub(super) struct Schedule {
    start: Instant,
    interval: Duration,
    /// The messages that each publisher sent before.
    before: Vec<u32>,
    /// Messages at the beginning that do not count.
    skipped: u64,
    taken: Vec<Duration>,
}

impl Schedule {
    pub(super) fn new(start: Instant, interval: Duration, before: Vec<u32>, skipped: u64) -> Self {
        Self { start, interval, before, skipped, taken: Vec::new() }
    }

    pub(super) fn due(&self, message: u64) -> Instant {
        self.start + Duration::from_nanos(self.interval.as_nanos() as u64 * message)
    }

    /// A publisher's message arrived now.
    pub(super) fn arrived(&mut self, publisher: u32, message: u32) {
        let before = self.before.get(publisher as usize).copied().unwrap_or_default();
        let turn = u64::from(message.saturating_sub(before));
        let number = turn * self.before.len() as u64 + u64::from(publisher);
        if number >= self.skipped {
            self.taken.push(self.due(number).elapsed());
        }
    }

    pub(super) fn finish(mut self) -> Latencies {
        self.taken.sort_unstable();
        Latencies { sorted: self.taken }
    }
}

/// Latencies of many messages.
#[derive(Debug)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    /// The latency that such a share of the messages did not exceed; none without a message.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.sorted.len() as f64 * share).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_those_that_were() {
        let sorted = (1..=200).map(Duration::from_micros).collect();
        let latencies = Latencies { sorted };
        assert_eq!(latencies.quantile(0.5), Some(Duration::from_micros(100)));
        assert_eq!(latencies.quantile(0.99), Some(Duration::from_micros(198)));
        assert_eq!(latencies.quantile(1.0), Some(Duration::from_micros(200)));
        assert_eq!(Latencies { sorted: vec![] }.quantile(0.5), None);
    }

    #[test]
    fn a_message_is_late_from_when_it_was_due() {
        let start = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let mut schedule = Schedule::new(start, Duration::from_secs(1), vec![100, 101], 3);
        // Number 2, skipped; and number 5, due 5 s after the start.
        schedule.arrived(0, 101);
        schedule.arrived(1, 103);
        assert_eq!(schedule.due(5), start + Duration::from_secs(5));
        let latencies = schedule.finish();
        assert_eq!(latencies.sorted.len(), 1);
        assert!(latencies.quantile(1.0) >= Some(Duration::from_secs(5)));
    }
}
