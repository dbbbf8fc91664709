//! A listener as its clients meet it: who is let in, how many, and how fast each of them may publish.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::Access;

/// How fast one client may publish; none is as fast as it can. Who is faster loses nothing: it is not read from for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishRate {
    /// PUBLISH packets a second.
    pub messages_per_second: Option<NonZeroU32>,
    /// Bytes of PUBLISH packets a second, all of each packet counted.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// A listener, and the connections that came by it. It outlives changes of what it asks of them.
#[derive(Debug)]
pub struct Entrance {
    /// Where the listener is, as it is told; none for who comes from within. Each connection has it, as one word.
    pub name: Option<Arc<String>>,
    connections: AtomicUsize,
    access: RwLock<Arc<Access>>,
    /// How often that has changed: connections compare it with what they know.
    version: AtomicU64,
    is_closed: AtomicBool,
}

impl Entrance {
    /// A listener there, that nobody has come by.
    pub fn new(name: impl Into<String>, access: Access) -> Arc<Self> {
        Self::of(Some(Arc::new(name.into())), access)
    }

    fn of(name: Option<Arc<String>>, access: Access) -> Arc<Self> {
        Arc::new(Self {
            name,
            connections: AtomicUsize::new(0),
            access: RwLock::new(Arc::new(access)),
            version: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        })
    }

    /// No listener: who comes from within may do anything.
    pub fn open() -> Arc<Self> {
        Self::of(None, Access::open())
    }

    /// What it asks of its clients now.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read())
    }

    /// From now on it asks that. Who is connected stays, with the rights and the rate that are given there.
    pub fn change(&self, access: Access) {
        *self.access.write() = Arc::new(access);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// It is gone: its connections end.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Differs from before when it has changed.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Connections that came by it, and are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether one more connection may come; if so, [`Self::leave`] is due when it is over.
    pub fn enter(&self) -> bool {
        let most = self.access.read().max_connections.map_or(usize::MAX, NonZeroUsize::get);
        let is_in = self.connections.fetch_add(1, Ordering::Relaxed) < most;
        if !is_in {
            self.leave();
        }
        is_in
    }

    /// A connection that entered is over.
    pub fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_within_count_when_the_limit_changes() {
        let few = |most| Access { max_connections: NonZeroUsize::new(most), ..Access::open() };
        let entrance = Entrance::new("here", few(2));
        assert_eq!([entrance.enter(), entrance.enter(), entrance.enter()], [true, true, false]);
        entrance.change(few(3));
        assert_eq!([entrance.enter(), entrance.enter()], [true, false]);
        entrance.change(few(1));
        entrance.leave();
        assert!(!entrance.enter(), "two are still within");
        assert_eq!((entrance.connections(), entrance.version()), (2, 2));
    }
}
