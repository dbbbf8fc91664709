//! What happened on all connections of a run, in order.

use std::fmt::{self, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::frame::Packet;

/// How many entries a trace keeps; what comes later is only counted.
const MAX_ENTRIES: usize = 2_000;
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
    entries: Mutex<Vec<Entry>>,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { start: Instant::now(), entries: Mutex::default() }
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
        let what = || match packet {
            Ok(packet) => packet.to_string(),
            Err(reason) => format!("malformed: {reason}"),
        };
        self.add(actor, direction, what, bytes)
    }

    /// Adds bytes which are no packet.
    pub fn bytes(&self, actor: &str, direction: Direction, bytes: &[u8]) -> usize {
        self.add(actor, direction, || format!("{} bytes", bytes.len()), bytes)
    }

    /// Adds a remark.
    pub fn note(&self, actor: &str, what: impl Into<String>) -> usize {
        self.add(actor, Direction::Note, || what.into(), &[])
    }

    /// What is not kept is not worded either.
    fn add(&self, actor: &str, direction: Direction, what: impl FnOnce() -> String, bytes: &[u8]) -> usize {
        let at = self.start.elapsed();
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if entries.len() < MAX_ENTRIES {
            let shown = bytes.get(..SHOWN_BYTES).unwrap_or(bytes).to_vec();
            let (what, actor, length) = (what(), actor.to_owned(), bytes.len());
            entries.push(Entry { at, actor, direction, what, bytes: shown, length });
        }
        entries.len() - 1
    }

    /// Adds a remark to an entry.
    pub fn remark(&self, place: usize, remark: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(place) {
            let _ = write!(entry.what, "  ({remark})");
        }
    }

    /// The trace so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
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
            let hex: Vec<_> = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let more = if self.length > self.bytes.len() { " …" } else { "" };
            let _ = write!(
                line,
                "{:pad$}  {}{more}",
                "",
                hex.join(" "),
                pad = COLUMN.saturating_sub(line.chars().count())
            );
        }
        f.write_str(&line)
    }
}
