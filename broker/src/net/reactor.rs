//! The sockets and timers of one thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use socket2::Socket;

use super::poller::{Poller, Ready};

/// Wakes the tasks of a thread when their socket is ready or their time has come.
pub(super) struct Reactor {
    poller: Arc<Poller>,
    sockets: RefCell<Slab<Readiness>>,
    /// By time; the number tells apart those of the same time.
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    timers_made: Cell<u64>,
    now: Cell<Instant>,
    ready: RefCell<Vec<Ready>>,
}

/// What is known of a socket: not ready only after it said so.
struct Readiness {
    readable: bool,
    writable: bool,
    /// The end was reported, or may have been: only an empty read tells.
    ended: bool,
    waker: Option<Waker>,
}

impl Reactor {
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        Self {
            poller,
            sockets: RefCell::default(),
            timers: RefCell::default(),
            timers_made: Cell::new(0),
            now: Cell::new(Instant::now()),
            ready: RefCell::default(),
        }
    }

    /// The time at the thread's latest look at its sockets: exact enough for deadlines of seconds.
    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Waits for the next event, at most for `limit`.
    pub(super) fn wait(&self, limit: Option<Duration>) -> io::Result<()> {
        let first = self.timers.borrow().first_key_value().map(|((at, _), _)| *at);
        let timeout = match (limit, first) {
            (Some(Duration::ZERO), _) | (_, None) => limit,
            (_, Some(at)) => Some(at.saturating_duration_since(Instant::now())),
        };
        self.poller.wait(&mut self.ready.borrow_mut(), timeout)?;
        self.now.set(Instant::now());
        Ok(())
    }

    /// Wakes whom the events concern.
    pub(super) fn dispatch(&self) {
        let mut sockets = self.sockets.borrow_mut();
        for Ready { key, readable, writable, ended } in self.ready.borrow_mut().drain(..) {
            // One that was closed meanwhile is not there; one that took its number looks once in vain.
            if let Some(socket) = sockets.get_mut(key) {
                socket.readable |= readable;
                socket.writable |= writable;
                socket.ended |= ended;
                if let Some(waker) = socket.waker.take() {
                    waker.wake();
                }
            }
        }
        let mut timers = self.timers.borrow_mut();
        while let Some(first) = timers.first_entry()
            && first.key().0 <= self.now()
        {
            first.remove().wake();
        }
    }
}

/// A socket that the reactor watches for as long as this lives.
pub(super) struct Registered {
    reactor: Rc<Reactor>,
    socket: Socket,
    key: usize,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write,
}

impl Registered {
    /// Watches a nonblocking stream socket, of whatever family.
    pub(super) fn new(reactor: Rc<Reactor>, socket: Socket) -> io::Result<Self> {
        let readiness = Readiness { readable: true, writable: true, ended: false, waker: None };
        let key = reactor.sockets.borrow_mut().insert(readiness);
        let registered = Self { reactor, socket, key };
        registered.reactor.poller.add(&registered.socket, key)?;
        Ok(registered)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether a call in that direction may do something; if not, the task is woken when it may.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>, way: Way) -> Poll<io::Result<()>> {
        let mut sockets = self.reactor.sockets.borrow_mut();
        let Some(known) = sockets.get_mut(self.key) else { return Poll::Ready(Ok(())) };
        let is_ready = if way == Way::Read { known.readable } else { known.writable };
        if is_ready {
            return Poll::Ready(Ok(()));
        }
        match &mut known.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => known.waker = Some(cx.waker().clone()),
        }
        match self.reactor.poller.rearm(&self.socket, self.key, !known.readable, !known.writable) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// The socket said that it is not ready that way: the next event will say when it is.
    pub(super) fn exhausted(&self, way: Way) {
        if let Some(known) = self.reactor.sockets.borrow_mut().get_mut(self.key) {
            match way {
                Way::Read => known.readable = false,
                Way::Write => known.writable = false,
            }
        }
    }

    /// A read took all there was, so that another would only say so.
    pub(super) fn drained(&self) {
        if let Some(known) = self.reactor.sockets.borrow_mut().get_mut(self.key) {
            known.readable = known.ended;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Fails for a socket that was never added; closing it takes it out too.
        _ = self.reactor.poller.delete(&self.socket);
        self.reactor.sockets.borrow_mut().try_remove(self.key);
    }
}

/// Wakes its task at a time that may change.
pub(super) struct Timer {
    reactor: Rc<Reactor>,
    set: Option<(Instant, u64)>,
}

impl Timer {
    pub(super) fn new(reactor: Rc<Reactor>) -> Self {
        Self { reactor, set: None }
    }

    /// Ready at `at`. A wake-up that is set for an earlier time is kept, since moving it for each packet would cost
    /// more than waking once in vain.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let now = self.reactor.now();
        if now >= at {
            return Poll::Ready(());
        }
        if self.set.is_none_or(|(set, _)| set <= now || set > at) {
            self.clear();
            let number = self.reactor.timers_made.get();
            self.reactor.timers_made.set(number + 1);
            self.reactor.timers.borrow_mut().insert((at, number), cx.waker().clone());
            self.set = Some((at, number));
        }
        Poll::Pending
    }

    fn clear(&mut self) {
        if let Some(set) = self.set.take() {
            self.reactor.timers.borrow_mut().remove(&set);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.clear();
    }
}
