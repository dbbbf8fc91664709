//! What is measured: latencies, and the memory and processor time of a process.

use std::fmt;
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long messages took.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// Adds those of another.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The latency that `percent` of the messages do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// `p50 0.12 ms, p99 0.45 ms of 1000`
impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [50, 99].map(|percent| millis(self.percentile(percent)));
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms of {}", self.0.len())
    }
}

/// For printing.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The middle one; of an even number, the upper.
pub(crate) fn median<T: Ord + Copy>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// A process's resident memory over time, in bytes. Empty where the system does not tell.
pub(crate) struct Memory(Vec<(Duration, u64)>);

impl Memory {
    /// What was read between two times.
    fn during(&self, from: Duration, to: Duration) -> impl Iterator<Item = u64> {
        self.0.iter().filter(move |(at, _)| (from..to).contains(at)).map(|(_, bytes)| *bytes)
    }

    /// The largest reading.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.0.iter().map(|(_, bytes)| *bytes).max()
    }

    /// By how many bytes memory grew: median of the last `edge` against that of the first `edge` after `warm_up`.
    pub(crate) fn growth(&self, warm_up: Duration, edge: Duration) -> Option<i64> {
        let end = self.0.last()?.0;
        let first = median(self.during(warm_up, warm_up + edge))?;
        let last = median(self.during(end.saturating_sub(edge), Duration::MAX))?;
        Some(last as i64 - first as i64)
    }
}

/// One reading for each ten seconds.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "resident memory cannot be read on this system");
        }
        write!(f, "resident MiB every 10 s:")?;
        let mut next = Duration::ZERO;
        for (at, bytes) in &self.0 {
            if *at >= next {
                write!(f, " {:.1}", mebibytes(*bytes as f64))?;
                next += Duration::from_secs(10);
            }
        }
        Ok(())
    }
}

/// For printing.
pub(crate) fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

/// Reads a process's memory now and then.
pub(crate) struct MemoryWatch {
    end: Sender<()>,
    thread: JoinHandle<Memory>,
}

impl MemoryWatch {
    /// Begins to read, once each `period`.
    pub(crate) fn start(process: u32, period: Duration) -> Self {
        let (end, ended) = channel();
        let start = Instant::now();
        let thread = thread::spawn(move || {
            let mut memory = Memory(Vec::new());
            loop {
                memory.0.extend(resident(process).map(|bytes| (start.elapsed(), bytes)));
                if ended.recv_timeout(period) != Err(RecvTimeoutError::Timeout) {
                    return memory;
                }
            }
        });
        Self { end, thread }
    }

    /// What was read.
    pub(crate) fn stop(self) -> Memory {
        drop(self.end);
        self.thread.join().unwrap()
    }
}

/// Resident memory in bytes, on Linux.
pub(crate) fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Processor time used so far, on Linux.
pub(crate) fn processor_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which is in parentheses: user and system time are the 12th and 13th field.
    let mut times = stat.rsplit(')').next()?.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}
