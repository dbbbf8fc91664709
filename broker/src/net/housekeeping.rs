//! What is to be done from time to time: the statistics, a look at memory, and what is due for clients that are away.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use smol::Timer;

use crate::hub::{Batch, Hub};

/// How often to look at memory.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Does it for ever. The statistics are published each so many milliseconds; 0 is never.
pub(super) async fn keep(hub: &Hub, stats_millis: &AtomicU64) {
    let mut next_watch = Instant::now();
    let mut batch = Batch::new(next_watch);
    let mut last_stats = None;
    loop {
        let now = Instant::now();
        // It may change: that is seen at the next look at memory.
        let interval = match stats_millis.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis)),
        };
        let is_due = |last: Instant| {
            interval.and_then(|interval| last.checked_add(interval)).is_some_and(|at| at <= now)
        };
        if interval.is_some() && last_stats.is_none_or(is_due) {
            hub.publish_statistics(now, resident_bytes(), &mut batch);
            last_stats = Some(now);
        }
        if next_watch <= now {
            hub.watch_memory(batch.at(now));
            next_watch = now + WATCH_INTERVAL;
        }
        let next_due = poll_fn(|cx| Poll::Ready(hub.attend(now, cx.waker(), &mut batch))).await;
        batch.wake();
        let next_stats = interval.and_then(|interval| last_stats?.checked_add(interval));
        let next = next_stats.into_iter().chain(next_due).fold(next_watch, Instant::min);
        sleep(Timer::at(next)).await;
    }
}

/// Sleeps until then, or until the task is woken for something earlier.
async fn sleep(mut timer: Timer) {
    let mut is_set = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_set, true) {
            return Poll::Ready(());
        }
        Pin::new(&mut timer).poll(cx).map(|_| ())
    })
    .await;
}

/// Resident memory of this process, where the system tells.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
