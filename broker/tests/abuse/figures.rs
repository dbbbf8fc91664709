//! A table of what came out.

use std::time::Duration;

/// From a publisher's write to its subscriber's read.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
}

impl From<Vec<Duration>> for Latency {
    fn from(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |share: usize| all[(all.len() - 1) * share / 100];
        Self { p50: at(50), p99: at(99), longest: at(100) }
    }
}

pub(crate) struct Table;

impl Table {
    pub(crate) fn new() -> Self {
        println!("{:<20} p50 us   p99 us   max us  p99 / quiet  done", "");
        Self
    }

    pub(crate) fn add(&mut self, what: &str, done: &str, latency: &Latency, quiet: &Latency) {
        let Latency { p50, p99, longest } = latency;
        let [p50, p99_us, longest] = [p50, p99, longest].map(Duration::as_micros);
        let times = p99.as_secs_f64() / quiet.p99.as_secs_f64();
        println!("{what:<18} {p50:>8} {p99_us:>8} {longest:>8} {times:>12.2}  {done}");
    }
}
