//! Which size a test runs at, whose turn it is, and a table of what came out.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::broker::Broker;

pub(crate) const MIB: usize = 1 << 20;

/// Tests of the same process would share the processors and the disk, and spoil each other's figures. Whether the table
/// has its head.
static TURN: Mutex<bool> = Mutex::new(false);

/// A test's turn.
pub(crate) struct Run {
    name: &'static str,
    is_full: bool,
    _turn: MutexGuard<'static, bool>,
}

/// Waits for the test's turn.
pub(crate) fn begin(name: &'static str) -> Run {
    let mut turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut turn, true) {
        println!("{:46}   messages  seconds  messages/s  memory MiB  disk MiB", "");
    }
    let is_full = std::env::var("SOL_FLOODS").is_ok_and(|size| size == "full");
    Run { name, is_full, _turn: turn }
}

/// A step of a test.
#[derive(Debug)]
pub(crate) struct Row {
    step: &'static str,
    messages: usize,
    time: Duration,
    peak_bytes: usize,
    pub(crate) disk_bytes: usize,
}

impl Row {
    /// What the broker takes now, after so much.
    pub(crate) fn new(step: &'static str, messages: usize, time: Duration, broker: &Broker) -> Self {
        Self { step, messages, time, peak_bytes: broker.peak_bytes(), disk_bytes: broker.disk_bytes() }
    }
}

impl Run {
    /// One value for each size.
    pub(crate) fn sized<T>(&self, small: T, full: T) -> T {
        if self.is_full { full } else { small }
    }

    /// Adds a row, whose memory must stay below the bound.
    pub(crate) fn add(&self, row: &Row, bound_bytes: usize) {
        println!("{:<14}  {row}", self.name);
        assert!(row.peak_bytes < bound_bytes, "more than {} MiB: {}: {row}", bound_bytes / MIB, self.name);
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, messages, time, peak_bytes, disk_bytes } = self;
        let [peak, disk] = [peak_bytes, disk_bytes].map(|bytes| *bytes as f64 / MIB as f64);
        let seconds = time.as_secs_f64();
        let rate = if seconds > 0.0 { *messages as f64 / seconds } else { 0.0 };
        write!(f, "{step:<30}  {messages:>9}  {seconds:>7.2}  {rate:>10.0}  {peak:>10.1}  {disk:>8.1}")
    }
}
