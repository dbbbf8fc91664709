//! What happened on all connections of a run, in order.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::frame::Packet;

/// How many entries a trace keeps of its beginning and of its end. What lies between is only counted.
const FIRST_ENTRIES: usize = 200;
const LAST_ENTRIES: usize = 200;
/// How many bytes of a frame are shown.
const SHOWN_BYTES: usize = 16;

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the broker.
    Sent,
    /// From the broker.
    Came,
    /// Nobody sent it: a connection opened or ended.
    Note,
}

/// One line of the trace.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How many were before it.
    pub place: usize,
    /// Since the run began.
    pub at: Duration,
    /// On whose connection.
    pub actor: String,
    /// Which way.
    pub direction: Direction,
    /// The packet, decoded, or what else happened.
    pub what: String,
    /// The first bytes of the frame.
    pub bytes: Vec<u8>,
    /// Length of the frame in bytes.
    pub length: usize,
}

/// The trace of one run, written to by all its connections.
#[derive(Debug)]
pub struct Trace {
    start: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    first: Vec<Entry>,
    last: VecDeque<Entry>,
    /// All that there were.
    count: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { start: Instant::now(), kept: Mutex::default() }
    }
}

impl Trace {
    /// Adds what went over the wire, and returns its place in the trace.
    pub fn frame(
        &self,
        actor: &str,
        direction: Direction,
        packet: Result<&Packet, &String>,
        bytes: &[u8],
    ) -> usize {
        let what = match packet {
            Ok(packet) => packet.to_string(),
            Err(reason) => format!("malformed: {reason}"),
        };
        self.add(actor, direction, what, bytes)
    }

    /// Adds bytes which are no packet.
    pub fn bytes(&self, actor: &str, direction: Direction, bytes: &[u8]) -> usize {
        self.add(actor, direction, format!("{} bytes", bytes.len()), bytes)
    }

    /// Adds a remark.
    pub fn note(&self, actor: &str, what: impl Into<String>) -> usize {
        self.add(actor, Direction::Note, what.into(), &[])
    }

    fn add(&self, actor: &str, direction: Direction, what: String, bytes: &[u8]) -> usize {
        let at = self.start.elapsed();
        let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes).to_vec();
        let mut kept = self.kept();
        let (place, actor, length) = (kept.count, actor.to_owned(), bytes.len());
        let entry = Entry { place, at, actor, direction, what, bytes: shown, length };
        kept.count += 1;
        if place < FIRST_ENTRIES {
            kept.first.push(entry);
        } else {
            if kept.last.len() == LAST_ENTRIES {
                kept.last.pop_front();
            }
            kept.last.push_back(entry);
        }
        place
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a remark to an entry, if it is still there.
    pub fn remark(&self, place: usize, remark: &str) {
        let Kept { first, last, .. } = &mut *self.kept();
        if let Some(entry) = first.iter_mut().chain(last).find(|entry| entry.place == place) {
            let _ = write!(entry.what, "  ({remark})");
        }
    }

    /// The trace so far: its beginning and its end.
    pub fn entries(&self) -> Vec<Entry> {
        let kept = self.kept();
        kept.first.iter().chain(&kept.last).cloned().collect()
    }
}

impl Entry {
    /// The first bytes in hexadecimal: `30 06 …`.
    pub fn hex(&self) -> String {
        self.bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }
}

/// The widest description that still has its bytes beside it.
const COLUMN: usize = 76;

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.direction {
            Direction::Sent => '>',
            Direction::Came => '<',
            Direction::Note => '-',
        };
        let ms = self.at.as_secs_f64() * 1000.0;
        let mut line = format!("{ms:8.1}  {:<8} {arrow}  {}", self.actor, self.what);
        if !self.bytes.is_empty() {
            let more = if self.length > self.bytes.len() { " …" } else { "" };
            let _ = write!(
                line,
                "{:pad$}  {}{more}",
                "",
                self.hex(),
                pad = COLUMN.saturating_sub(line.chars().count())
            );
        }
        f.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_beginning_and_the_end() {
        let trace = Trace::default();
        for number in 0..1000 {
            assert_eq!(trace.note("a", number.to_string()), number);
        }
        trace.remark(999, "the last");
        trace.remark(500, "long gone");
        let places: Vec<_> = trace.entries().iter().map(|entry| entry.place).collect();
        assert_eq!(places, (0..200).chain(800..1000).collect::<Vec<_>>());
        assert_eq!(
            trace.entries().last().map(|entry| entry.what.clone()),
            Some("999  (the last)".to_owned())
        );
    }
}
