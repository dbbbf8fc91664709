//! What is known of a client's connection, for whoever asks about the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use compact_str::CompactString;

use super::moment::Moment;
use super::origin::Origin;
use crate::codec::Version;

/// A client's connection; that of a client that is away is its last one.
#[derive(Debug)]
pub struct Visit {
    /// Where it comes from.
    pub origin: Origin,
    /// The listener it came by; none if it did not come by one.
    pub listener: Option<Arc<String>>,
    /// The user name that it gave. Most give none.
    pub user: Option<Box<CompactString>>,
    /// What it speaks.
    pub version: Version,
    /// The keep alive that is enforced, in seconds; 0 is off.
    pub keep_alive: u16,
    /// Whether it asked for a new session.
    pub is_clean: bool,
    /// Since when it is connected.
    pub since: Moment,
    /// What went over it.
    pub traffic: Traffic,
}

impl Visit {
    /// A connection that came, and said nothing yet.
    pub fn new(origin: Origin, listener: Option<Arc<String>>, since: Instant) -> Self {
        let traffic = Traffic::default();
        Self {
            origin,
            listener,
            user: None,
            version: Version::V311,
            keep_alive: 0,
            is_clean: true,
            since: since.into(),
            traffic,
        }
    }

    /// The user name that it gave.
    pub fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.as_str())
    }

    /// Memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.user.as_ref().map_or(0, |user| size_of::<CompactString>() + user.len())
    }
}

/// What went over a connection. One thread at a time writes it: the one that serves the connection.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    publish_received: AtomicU64,
}

impl Traffic {
    /// Bytes read from it.
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received.load(Ordering::Relaxed)
    }

    /// Bytes written to it.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }

    /// PUBLISH packets that came over it.
    pub fn publish_received(&self) -> u64 {
        self.publish_received.load(Ordering::Relaxed)
    }

    /// So many bytes were read.
    pub fn read(&self, bytes: usize) {
        grow(&self.bytes_received, bytes as u64);
    }

    /// So many bytes were written.
    pub fn written(&self, bytes: usize) {
        grow(&self.bytes_sent, bytes as u64);
    }

    /// So many PUBLISH packets came.
    pub fn published(&self, packets: i64) {
        grow(&self.publish_received, u64::try_from(packets).unwrap_or(0));
    }
}

/// No other thread writes: that costs less than an addition that others may take part in.
fn grow(figure: &AtomicU64, by: u64) {
    figure.store(figure.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}
