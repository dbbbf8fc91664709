//! CPU time of another process, and what a message took of it.

use std::fs;
use std::time::Duration;

/// The CPU time that the threads of a process have used so far, user and system. `None` where the system does not tell:
/// anywhere but on Linux.
pub fn time_of(process: u32) -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()? {
        // In nanoseconds, where `stat` has ticks of 10 ms.
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += schedstat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanoseconds))
}

/// CPU time per message, over many runs.
#[derive(Debug, Default)]
pub struct Costs {
    /// Microseconds per message, and the messages of the run.
    runs: Vec<(f64, u64)>,
}

impl Costs {
    /// Adds a run.
    pub fn add(&mut self, cpu: Duration, messages: u64) {
        self.runs.push((cpu.as_secs_f64() * 1e6 / messages as f64, messages));
    }

    /// The median over all messages, in microseconds: half of them were moved in runs that cost at most so much. Long
    /// runs count more, which is right, as short ones are mostly their beginning and their end. `None` without a run.
    pub fn median(&self) -> Option<f64> {
        let mut runs = self.runs.clone();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = runs.iter().map(|(_, messages)| messages).sum::<u64>().div_ceil(2);
        let mut passed = 0;
        let mut reaches_half = |messages| {
            passed += messages;
            passed >= half
        };
        runs.into_iter().find(|(_, messages)| reaches_half(*messages)).map(|(cost, _)| cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_weighs_runs_by_their_messages() {
        let mut costs = Costs::default();
        assert_eq!(costs.median(), None);
        for (microseconds, messages) in [(900, 1), (20, 10), (300, 100), (4, 1)] {
            costs.add(Duration::from_micros(microseconds), messages);
        }
        assert_eq!(costs.median(), Some(3.0));
    }
}
