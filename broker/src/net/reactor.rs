//! The sockets and timers of one thread.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use socket2::Socket;

use super::balance::Balance;
use super::poller::{Poller, Ready};

thread_local! {
    static CURRENT: OnceCell<Rc<Reactor>> = const { OnceCell::new() };
}

/// Wakes the tasks of a thread when their socket is ready or their time has come.
pub(super) struct Reactor {
    balance: Rc<Balance>,
    poller: Arc<Poller>,
    sockets: RefCell<Slab<Readiness>>,
    /// By time; the number tells apart those of the same time.
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    timers_made: Cell<u64>,
    /// Those that wait for the next look at the sockets.
    turned: RefCell<Vec<Waker>>,
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
    /// The reactor of the calling thread, which has no other.
    pub(super) fn start(poller: Arc<Poller>, balance: Balance) -> Rc<Self> {
        let new = || {
            Rc::new(Self {
                balance: Rc::new(balance),
                poller,
                sockets: RefCell::default(),
                timers: RefCell::default(),
                timers_made: Cell::new(0),
                turned: RefCell::default(),
                now: Cell::new(Instant::now()),
                ready: RefCell::default(),
            })
        };
        CURRENT.with(|current| Rc::clone(current.get_or_init(new)))
    }

    /// Who is served on the thread.
    pub(super) fn balance(&self) -> &Rc<Balance> {
        &self.balance
    }

    /// The time at the thread's latest look at its sockets: exact enough for deadlines of seconds.
    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Lets the sockets that are ready have their turn.
    pub(super) async fn turn(&self) {
        let mut is_over = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_over, true) {
                return Poll::Ready(());
            }
            self.turned.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits for the next event, at most for `limit`.
    pub(super) fn wait(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = if self.turned.borrow().is_empty() { limit } else { Some(Duration::ZERO) };
        let first = self.timers.borrow().first_key_value().map(|((at, _), _)| *at);
        let timeout = match (limit, first) {
            (Some(Duration::ZERO), _) | (_, None) => limit,
            (_, Some(at)) => Some(at.saturating_duration_since(Instant::now())),
        };
        let asleep = Instant::now();
        self.poller.wait(&mut self.ready.borrow_mut(), timeout)?;
        self.now.set(Instant::now());
        self.balance.woke(asleep, self.now());
        Ok(())
    }

    /// Wakes whom the events concern.
    pub(super) fn dispatch(&self) {
        let mut sockets = self.sockets.borrow_mut();
        for Ready { key, readable, writable, ended } in self.ready.borrow_mut().drain(..) {
            // One that was closed meanwhile is not there; one that took its number looks once in vain.
            if let Some(socket) = sockets.get_mut(key) {
                // That a new socket can be written to is told, and is nothing new.
                let is_news = readable && !socket.readable || writable && !socket.writable || ended;
                socket.readable |= readable;
                socket.writable |= writable;
                socket.ended |= ended;
                if is_news && let Some(waker) = socket.waker.take() {
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
        self.turned.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

/// A socket that the reactor of its thread watches. It may go to another thread in between.
pub(super) struct Registered {
    socket: Socket,
    /// Where the reactor has it.
    key: Option<usize>,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write,
}

impl Registered {
    /// A nonblocking stream socket, of whatever family, watched from now on. No other descriptor may be of that socket when
    /// it is closed, or [`Self::leave`] must come before.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        let mut registered = Self::apart(socket);
        registered.join()?;
        Ok(registered)
    }

    /// The same, watched by nobody yet.
    pub(super) fn apart(socket: Socket) -> Self {
        Self { socket, key: None }
    }

    /// Has this thread's reactor watch it.
    pub(super) fn join(&mut self) -> io::Result<()> {
        CURRENT.with(|current| {
            let reactor = current.get().ok_or_else(|| io::Error::other("the thread has no reactor"))?;
            let readiness = Readiness { readable: true, writable: true, ended: false, waker: None };
            let key = reactor.sockets.borrow_mut().insert(readiness);
            self.key = Some(key);
            reactor.poller.add(&self.socket, key)
        })
    }

    /// Has this thread's reactor watch it no more.
    pub(super) fn leave(&mut self) {
        // Fails for a socket that was never added; closing it takes it out too.
        self.go(|poller, socket| _ = poller.delete(socket));
    }

    fn go(&mut self, leave: impl FnOnce(&Poller, &Socket)) {
        if let Some(key) = self.key.take() {
            // Without one the thread has ended, and its reactor with it.
            _ = CURRENT.try_with(|current| {
                let Some(reactor) = current.get() else { return };
                leave(&reactor.poller, &self.socket);
                reactor.sockets.borrow_mut().try_remove(key);
            });
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether a call in that direction may do something; if not, the task is woken when it may.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>, way: Way) -> Poll<io::Result<()>> {
        let wait = |reactor: &Reactor, key: usize, known: &mut Readiness| {
            let is_ready = if way == Way::Read { known.readable } else { known.writable };
            if is_ready {
                return Poll::Ready(Ok(()));
            }
            match &mut known.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => known.waker = Some(cx.waker().clone()),
            }
            match reactor.poller.rearm(&self.socket, key, !known.readable, !known.writable) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            }
        };
        self.known(wait).unwrap_or(Poll::Ready(Ok(())))
    }

    /// The socket said that it is not ready that way: the next event will say when it is.
    pub(super) fn exhausted(&self, way: Way) {
        self.known(|_, _, known| match way {
            Way::Read => known.readable = false,
            Way::Write => known.writable = false,
        });
    }

    /// A read took all there was, so that another would only say so.
    pub(super) fn drained(&self) {
        self.known(|_, _, known| known.readable = known.ended);
    }

    fn known<T>(&self, then: impl FnOnce(&Reactor, usize, &mut Readiness) -> T) -> Option<T> {
        let key = self.key?;
        CURRENT.with(|current| {
            let reactor = current.get()?;
            let mut sockets = reactor.sockets.borrow_mut();
            sockets.get_mut(key).map(|known| then(reactor, key, known))
        })
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.go(Poller::close);
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
