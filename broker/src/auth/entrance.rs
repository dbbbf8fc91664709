//! A listener as its clients meet it: who is let in, how many, and how fast each of them may publish.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    /// Where in memory that is, and 0 when it is gone: connections compare it with where their own is.
    current: AtomicUsize,
    is_closed: AtomicBool,
}

impl Entrance {
    /// A listener there, that nobody has come by.
    pub fn new(name: impl Into<String>, access: Access) -> Arc<Self> {
        Self::of(Some(Arc::new(name.into())), access)
    }

    fn of(name: Option<Arc<String>>, access: Access) -> Arc<Self> {
        let access = Arc::new(access);
        Arc::new(Self {
            name,
            connections: AtomicUsize::new(0),
            current: AtomicUsize::new(place(&access)),
            access: RwLock::new(access),
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
        let access = Arc::new(access);
        let mut held = self.access.write();
        if !self.is_closed() {
            self.current.store(place(&access), Ordering::SeqCst);
        }
        *held = access;
    }

    /// It is gone: its connections end.
    pub fn close(&self) {
        let _held = self.access.write();
        self.is_closed.store(true, Ordering::SeqCst);
        self.current.store(0, Ordering::SeqCst);
    }

    /// Whether it is gone.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Whether it still asks that of its clients. As long as somebody has it, there is no other in its place.
    #[inline]
    pub fn asks(&self, access: &Arc<Access>) -> bool {
        self.current.load(Ordering::Relaxed) == place(access)
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

fn place(access: &Arc<Access>) -> usize {
    Arc::as_ptr(access).addr()
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
        assert_eq!(entrance.connections(), 2);
    }

    #[test]
    fn who_has_what_is_asked_no_more_is_told() {
        let entrance = Entrance::new("here", Access::open());
        let first = entrance.access();
        assert!(entrance.asks(&first));
        entrance.change(Access::open());
        let second = entrance.access();
        assert!(!entrance.asks(&first) && entrance.asks(&second));
        entrance.close();
        entrance.change(Access::open());
        assert!(!entrance.asks(&second) && !entrance.asks(&entrance.access()));
    }
}
