//! The sockets and timers of one thread.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::num::NonZeroU64;
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

/// So many are woken because their time has come before those whose sockets are ready have their turn.
const ALARMS: usize = 4;
/// Any number of clients may have come, and gone silent, at the same time. They go one after another: Linux frees the sockets
/// that were closed between two ticks in one go, and whoever else is served waits for it.
const APART: Duration = Duration::from_micros(200);
/// Nobody who is to go waits for longer than this until the others are gone.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Wakes the tasks of a thread when their socket is ready or their time has come.
pub(super) struct Reactor {
    balance: Balance,
    poller: Arc<Poller>,
    sockets: RefCell<Slab<Watched>>,
    /// When somebody is to be woken whose socket says nothing, by time.
    alarms: RefCell<BTreeSet<Alarm>>,
    start: Instant,
    /// When the next may go whose patience is at its end.
    next_end: Cell<Instant>,
    /// Those that wait for the next look at the sockets.
    turned: RefCell<Vec<Waker>>,
    now: Cell<Instant>,
    ready: RefCell<Vec<Ready>>,
}

/// What is known of a socket: not ready only after it said so.
struct Watched {
    readable: bool,
    writable: bool,
    /// The end was reported, or may have been: only an empty read tells.
    ended: bool,
    /// Of the task that it belongs to, which is one.
    waker: Option<Waker>,
    alarm: Option<Alarm>,
    /// Its patience is at its end, and it waits for its turn to go.
    has_turn: bool,
}

impl Watched {
    fn wakes(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }
}

/// A time, in whole ms since the reactor's start, and the socket whose task is to be woken then: the time in the upper bits,
/// so that they sort by it. There is one for nearly every connection, so it had better be small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Alarm(NonZeroU64);

impl Alarm {
    /// Bits of a socket's key.
    const KEY_BITS: u32 = 24;
    /// More sockets than that are not watched by a thread.
    const MAX_KEY: u32 = (1 << Self::KEY_BITS) - 1;

    /// The first ms that is not before the time.
    fn new(start: Instant, at: Instant, key: u32) -> Self {
        let ns = at.saturating_duration_since(start).as_nanos();
        // That is 34 years, and none is 0.
        let most = u128::from(u64::MAX >> Self::KEY_BITS);
        let ms = u64::try_from(ns.div_ceil(1_000_000).clamp(1, most)).unwrap_or(u64::MAX);
        Self(NonZeroU64::new(ms << Self::KEY_BITS | u64::from(key)).unwrap_or(NonZeroU64::MIN))
    }

    fn time(self, start: Instant) -> Instant {
        start + Duration::from_millis(self.0.get() >> Self::KEY_BITS)
    }

    fn key(self) -> usize {
        usize::try_from(self.0.get() & u64::from(Self::MAX_KEY)).unwrap_or(usize::MAX)
    }
}

impl Reactor {
    /// The reactor of the calling thread, which has no other.
    pub(super) fn start(poller: Arc<Poller>, balance: Balance) -> Rc<Self> {
        let new = || {
            Rc::new(Self {
                balance,
                poller,
                sockets: RefCell::default(),
                alarms: RefCell::default(),
                start: Instant::now(),
                next_end: Cell::new(Instant::now()),
                turned: RefCell::default(),
                now: Cell::new(Instant::now()),
                ready: RefCell::default(),
            })
        };
        CURRENT.with(|current| Rc::clone(current.get_or_init(new)))
    }

    /// Who is served on the thread.
    pub(super) fn balance(&self) -> &Balance {
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

    /// When the next may go whose patience is at its end.
    fn turn_to_end(&self) -> Instant {
        let now = self.now();
        let turn = self.next_end.get().clamp(now, now + LONGEST_WAIT);
        self.next_end.set(turn + APART);
        turn
    }

    /// Waits for the next event, at most for `limit`.
    pub(super) fn wait(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = if self.turned.borrow().is_empty() { limit } else { Some(Duration::ZERO) };
        let first = self.alarms.borrow().first().map(|alarm| alarm.time(self.start));
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
        let mut alarms = self.alarms.borrow_mut();
        for _ in 0..ALARMS {
            let Some(first) = alarms.first().copied().filter(|first| first.time(self.start) <= self.now())
            else {
                break;
            };
            alarms.pop_first();
            if let Some(socket) = sockets.get_mut(first.key()) {
                socket.alarm = None;
                if let Some(waker) = socket.waker.take() {
                    waker.wake();
                }
            }
        }
        self.turned.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

/// A socket that the reactor of its thread watches. It may go to another thread in between.
pub(super) struct Registered {
    socket: Socket,
    /// Where the reactor has it; [`AWAY`] if it has not.
    key: u32,
}

/// No socket has that key.
const AWAY: u32 = u32::MAX;

/// What a task waits for.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Exactly(Instant),
    /// A little later where many wait for the same: one after another is told.
    Patience(Instant),
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
        Self { socket, key: AWAY }
    }

    /// Has this thread's reactor watch it.
    pub(super) fn join(&mut self) -> io::Result<()> {
        CURRENT.with(|current| {
            let reactor = current.get().ok_or_else(|| io::Error::other("the thread has no reactor"))?;
            let mut sockets = reactor.sockets.borrow_mut();
            let place = sockets.vacant_entry();
            let key = place.key();
            self.key = u32::try_from(key)
                .ok()
                .filter(|key| *key <= Alarm::MAX_KEY)
                .ok_or_else(|| io::Error::other("the thread has as many sockets as it can watch"))?;
            place.insert(Watched {
                readable: true,
                writable: true,
                ended: false,
                waker: None,
                alarm: None,
                has_turn: false,
            });
            reactor.poller.add(&self.socket, key)
        })
    }

    /// Has this thread's reactor watch it no more.
    pub(super) fn leave(&mut self) {
        // Fails for a socket that was never added; closing it takes it out too.
        self.go(|poller, socket| _ = poller.delete(socket));
    }

    fn go(&mut self, leave: impl FnOnce(&Poller, &Socket)) {
        if let Some(key) = self.key() {
            self.key = AWAY;
            // Without one the thread has ended, and its reactor with it.
            _ = CURRENT.try_with(|current| {
                let Some(reactor) = current.get() else { return };
                leave(&reactor.poller, &self.socket);
                let watched = reactor.sockets.borrow_mut().try_remove(key);
                if let Some(alarm) = watched.and_then(|watched| watched.alarm) {
                    reactor.alarms.borrow_mut().remove(&alarm);
                }
            });
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether a call in that direction may do something; if not, the task is woken when it may.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>, way: Way) -> Poll<io::Result<()>> {
        let wait = |reactor: &Reactor, key: usize, known: &mut Watched| {
            let is_ready = if way == Way::Read { known.readable } else { known.writable };
            if is_ready {
                return Poll::Ready(Ok(()));
            }
            known.wakes(cx);
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

    /// Ready at that time: there is one for a socket. A wake-up that is set for an earlier time is kept, since moving it for
    /// each packet would cost more than waking once in vain.
    pub(super) fn poll_time(&self, cx: &mut Context<'_>, until: Until) -> Poll<()> {
        let wait = |reactor: &Reactor, key: usize, known: &mut Watched| {
            let at = match until {
                Until::Exactly(at) => at,
                Until::Patience(at) => {
                    let is_over = reactor.now() >= at;
                    let had_turn = mem::replace(&mut known.has_turn, is_over);
                    if is_over && !had_turn { reactor.turn_to_end() } else { at }
                }
            };
            if reactor.now() >= at {
                return Poll::Ready(());
            }
            known.wakes(cx);
            let alarm = Alarm::new(reactor.start, at, u32::try_from(key).unwrap_or(AWAY));
            if known.alarm.is_none_or(|set| set > alarm) {
                let mut alarms = reactor.alarms.borrow_mut();
                if let Some(set) = known.alarm.replace(alarm) {
                    alarms.remove(&set);
                }
                alarms.insert(alarm);
            }
            Poll::Pending
        };
        // Without a reactor the thread ends, and this with it.
        self.known(wait).unwrap_or(Poll::Ready(()))
    }

    fn key(&self) -> Option<usize> {
        usize::try_from(self.key).ok().filter(|_| self.key != AWAY)
    }

    fn known<T>(&self, then: impl FnOnce(&Reactor, usize, &mut Watched) -> T) -> Option<T> {
        let key = self.key()?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::net::balance::Board;

    struct Client {
        socket: Registered,
        _other_end: UnixStream,
        call: Arc<Call>,
    }

    /// Whether its task is to look at it.
    struct Call(AtomicBool);

    impl Wake for Call {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Client {
        fn new() -> Self {
            let (socket, _other_end) = UnixStream::pair().unwrap();
            let socket = Registered::new(socket.into()).unwrap();
            Self { socket, _other_end, call: Arc::new(Call(AtomicBool::new(true))) }
        }

        /// Whether it has been called and need not wait any longer.
        fn is_called(&self, until: Until) -> bool {
            let waker = Waker::from(Arc::clone(&self.call));
            self.call.0.swap(false, Ordering::Relaxed)
                && self.socket.poll_time(&mut Context::from_waker(&waker), until).is_ready()
        }
    }

    #[test]
    fn those_whose_patience_ends_together_go_one_after_another() {
        const CLIENTS: usize = 50;
        let reactor = Reactor::start(Arc::new(Poller::new().unwrap()), Balance::new(0, Board::new(1, false)));
        let clients: Vec<_> = (0..CLIENTS).map(|_| Client::new()).collect();
        let end = reactor.now();
        let mut gone = 0;
        loop {
            gone += clients.iter().filter(|client| client.is_called(Until::Patience(end))).count();
            let waited = reactor.now() - end;
            assert!(gone as u128 <= waited.as_nanos() / APART.as_nanos() + 1, "{gone} after {waited:?}");
            if gone == CLIENTS {
                break;
            }
            assert!(waited < Duration::from_secs(10), "only {gone} have gone");
            reactor.wait(Some(Duration::from_secs(1))).unwrap();
            reactor.dispatch();
        }
    }

    #[test]
    fn who_waits_for_a_time_does_not_wait_for_others() {
        let reactor = Reactor::start(Arc::new(Poller::new().unwrap()), Balance::new(0, Board::new(1, false)));
        let clients: Vec<_> = (0..50).map(|_| Client::new()).collect();
        let now = reactor.now();
        assert!(clients.iter().all(|client| client.is_called(Until::Exactly(now))));
    }

    #[test]
    fn nobody_s_patience_is_strained_for_long() {
        let reactor = Reactor::start(Arc::new(Poller::new().unwrap()), Balance::new(0, Board::new(1, false)));
        let latest = (0..100_000).map(|_| reactor.turn_to_end()).max();
        assert_eq!(latest, Some(reactor.now() + LONGEST_WAIT));
    }
}
