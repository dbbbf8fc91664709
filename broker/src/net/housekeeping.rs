//! What is to be done from time to time: the statistics, and a look at memory.

use std::time::{Duration, Instant};

use smol::Timer;

use crate::hub::{Batch, Hub};

/// How often to look at memory.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Does it for ever.
pub(super) async fn keep(hub: &Hub, stats_interval: Option<Duration>) {
    let mut batch = Batch::new();
    let mut next_watch = Instant::now();
    let mut next_stats = stats_interval.map(|_| next_watch);
    loop {
        let now = Instant::now();
        if let (Some(at), Some(interval)) = (next_stats, stats_interval)
            && at <= now
        {
            hub.publish_statistics(now, resident_bytes(), &mut batch);
            next_stats = now.checked_add(interval);
        }
        if next_watch <= now {
            hub.watch_memory(&mut batch);
            next_watch = now + WATCH_INTERVAL;
        }
        batch.wake();
        Timer::at(next_stats.map_or(next_watch, |at| at.min(next_watch))).await;
    }
}

/// Resident memory of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
