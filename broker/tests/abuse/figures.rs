//! Tables of what came out.

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

/// Of some turns.
pub(crate) struct Figures {
    what: &'static str,
    turns: Vec<Latency>,
}

impl Figures {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, turns: Vec::new() }
    }

    /// Notes a turn, and tells of it.
    pub(crate) fn add(&mut self, latency: Latency, done: &str) {
        let [p50, p99, longest] = [latency.p50, latency.p99, latency.longest].map(|time| time.as_micros());
        println!("{:<18} p50 {p50:>5} us  p99 {p99:>6} us  max {longest:>6} us  {done}", self.what);
        self.turns.push(latency);
    }

    pub(crate) fn tell(&self, quiet: &Self) {
        let [p99, quiet] = [self, quiet].map(Self::p99);
        let times = p99.as_secs_f64() / quiet.as_secs_f64();
        println!(
            "{:<18} p99 {:>6} us  quiet {:>6} us  x {times:.2}",
            self.what,
            p99.as_micros(),
            quiet.as_micros()
        );
    }

    /// The median of the turns' p99.
    pub(crate) fn p99(&self) -> Duration {
        let mut all: Vec<_> = self.turns.iter().map(|latency| latency.p99).collect();
        all.sort_unstable();
        all[all.len() / 2]
    }
}
