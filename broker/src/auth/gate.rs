//! How many clients a listener has, and how fast each of them may publish.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How fast one client may publish; none is as fast as it can. Who is faster loses nothing: it is not read from for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishRate {
    /// PUBLISH packets a second.
    pub messages_per_second: Option<NonZeroU32>,
    /// Bytes of PUBLISH packets a second, all of each packet counted.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What one listener lets through, within the limits of the broker.
#[derive(Debug, Default)]
pub struct Gate {
    max_connections: Option<NonZeroUsize>,
    publish_rate: PublishRate,
    open: AtomicUsize,
}

impl Gate {
    /// With so many connections at a time, none being as many as the broker has, and so fast a client.
    pub fn new(max_connections: Option<NonZeroUsize>, publish_rate: PublishRate) -> Self {
        Self { max_connections, publish_rate, open: AtomicUsize::new(0) }
    }

    /// How fast a client may publish.
    pub fn publish_rate(&self) -> PublishRate {
        self.publish_rate
    }

    /// Whether one more connection may come; if so, [`Self::leave`] is due when it is over.
    pub fn enter(&self) -> bool {
        let is_in = self.open.fetch_add(1, Ordering::Relaxed)
            < self.max_connections.map_or(usize::MAX, NonZeroUsize::get);
        if !is_in {
            self.leave();
        }
        is_in
    }

    /// A connection that entered is over.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
