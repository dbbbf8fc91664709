//! One network connection: bytes from the socket to the hub, packets from the outbox to the socket.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use smol::future::FutureExt;

use super::logins::Logins;
use super::reactor::{Reactor, Timer};
use super::received::Received;
use super::socket::Socket;
use crate::auth::Verdict;
use crate::hub::{Batch, Ending, Handled, Hub, Next, Peer, Sleep};
use crate::session::Outbox;

/// Bytes read at a time, into a buffer that all connections of a thread share.
const READ_BYTES: usize = 64 * 1024;
/// With more than this of a packet still incomplete, reads go behind it instead of into the shared buffer.
const CARRY_BYTES: usize = READ_BYTES / 2;
/// Memory that a thread keeps for putting large packets together.
const MAX_SCRATCH_BYTES: usize = 1 << 20;
/// Turns before other connections get theirs.
const TURNS: usize = 4;
/// At most this many pieces go into one vectored write.
const SLICES: usize = 32;
/// How long a refused client may take to read why.
const LINGER: Duration = Duration::from_secs(2);

/// Working memory that a thread lends to whichever connection it runs.
struct Scratch {
    buffer: Box<[u8]>,
    /// Where a packet larger than that is put together.
    whole: Vec<u8>,
    batch: Batch,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { buffer: vec![0; READ_BYTES].into(), whole: Vec::new(), batch: Batch::new() });
}

/// Serves a connection to its end.
pub(super) async fn serve(
    mut socket: impl Socket,
    peer: Peer,
    hub: &Hub,
    logins: &Logins,
    reactor: Rc<Reactor>,
) {
    let mut connection = Connection::new(&mut socket, peer, hub, logins, Rc::clone(&reactor));
    let ending = poll_fn(|cx| connection.poll(cx)).await;
    connection.let_go();
    close(connection.peer, &ending, hub);
    match ending {
        Ending::Refused { .. } | Ending::Tls(_) => linger(socket, reactor).await,
        // Whatever state it is in.
        Ending::Panicked => {}
        _ => socket.say_goodbye(),
    }
}

/// Tells the hub that a connection is over.
pub(super) fn close(peer: Peer, ending: &Ending, hub: &Hub) {
    SCRATCH.with_borrow_mut(|scratch| {
        hub.close(peer, ending, &mut scratch.batch);
        scratch.batch.wake();
    });
}

/// Closes so that the client can read its CONNACK, or its alert: closing over unread bytes would reset the connection.
async fn linger(mut socket: impl Socket, reactor: Rc<Reactor>) {
    if socket.shut_down().is_err() {
        return;
    }
    let until = reactor.now() + LINGER;
    let mut timer = Timer::new(reactor);
    let discard = async {
        let mut buffer = [0; 1024];
        while let Ok(1..) = poll_fn(|cx| socket.poll_recv(cx, &mut buffer)).await {}
    };
    discard.or(poll_fn(|cx| timer.poll(cx, until))).await;
}

struct Connection<'c, S> {
    socket: &'c mut S,
    hub: &'c Hub,
    logins: &'c Logins,
    peer: Peer,
    /// What must come before anything else is read.
    pause: Pause,
    /// Bytes received and not handled: part of a packet, or what had to wait for others.
    received: Received,
    /// How many bytes `received` must have before it is worth looking at.
    wanted: usize,
    /// Packets handed over for writing.
    unsent: Outbox,
    /// Bytes that wait behind them.
    waiting: usize,
    /// Memory it takes that the hub's account knows of.
    accounted: usize,
    /// Since when the client has read nothing of `unsent`.
    stuck_since: Option<Instant>,
    reactor: Rc<Reactor>,
    timer: Timer,
}

/// Why nothing is read at the moment.
enum Pause {
    No,
    /// The client's password is being verified.
    Login(Pin<Box<dyn Future<Output = Verdict>>>),
    /// Its refusal is held back.
    Until(Instant),
}

impl<'c, S: Socket> Connection<'c, S> {
    fn new(socket: &'c mut S, peer: Peer, hub: &'c Hub, logins: &'c Logins, reactor: Rc<Reactor>) -> Self {
        Self {
            socket,
            hub,
            logins,
            peer,
            pause: Pause::No,
            received: Received::default(),
            wanted: 1,
            unsent: Outbox::default(),
            waiting: 0,
            accounted: 0,
            stuck_since: None,
            timer: Timer::new(Rc::clone(&reactor)),
            reactor,
        }
    }

    /// A panic is the end of this connection, not of the thread and the others on it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        catch_unwind(AssertUnwindSafe(|| self.poll_guarded(cx))).unwrap_or_else(|_| {
            // What was meant for this client must not reach the next; what others were given must reach them.
            SCRATCH.with_borrow_mut(|scratch| scratch.batch.recover());
            Poll::Ready(Ending::Panicked)
        })
    }

    fn poll_guarded(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        SCRATCH.with_borrow_mut(|scratch| {
            let turned = self.poll_turns(cx, scratch);
            // Those that must end because memory is short.
            scratch.batch.wake();
            match turned {
                Poll::Ready(Err(ending)) => {
                    // What was answered before the end still goes out, as far as it goes at once.
                    _ = self.flush(cx, &mut scratch.batch);
                    Poll::Ready(ending)
                }
                Poll::Ready(Ok(())) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        })
    }

    /// Ready without an error: it is the others' turn.
    fn poll_turns(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<(), Ending>> {
        for _ in 0..TURNS {
            self.flush(cx, &mut scratch.batch)?;
            if self.poll_pause(cx).is_pending() {
                self.account(&mut scratch.batch);
                return self.poll_deadline(cx).map(Err);
            }
            let may_read = self.waiting < self.hub.limits().max_outbox_bytes.saturating_mul(2);
            if may_read && let Poll::Ready(next) = self.read(cx, scratch) {
                if next? { continue } else { break }
            }
            self.account(&mut scratch.batch);
            match self.hub.sleep(&self.peer, &mut self.unsent, cx.waker(), &mut scratch.batch)? {
                Sleep::Output => self.waiting = 0,
                Sleep::Asleep => return self.poll_deadline(cx).map(Err),
            }
        }
        self.account(&mut scratch.batch);
        Poll::Ready(Ok(()))
    }

    /// Tells the hub how much memory the connection takes.
    fn account(&mut self, batch: &mut Batch) {
        let received = self.received.bytes();
        self.peer.holds(self.unsent.bytes() + received);
        let now = self.socket.extra_bytes() + received + self.unsent.settle(batch.tally());
        self.accounted = batch.tally().charge(self.accounted, now);
    }

    /// The connection is over: nothing it held will be written or handled.
    fn let_go(&mut self) {
        SCRATCH.with_borrow_mut(|scratch| {
            self.unsent.clear();
            self.received = Received::default();
            self.account(&mut scratch.batch);
            self.accounted = scratch.batch.tally().charge(self.accounted, 0);
        });
    }

    /// Ready when what was read may be looked at.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.pause {
            Pause::No => return Poll::Ready(()),
            Pause::Login(login) => {
                let verdict = ready!(login.as_mut().poll(cx));
                self.peer.verified(verdict);
            }
            Pause::Until(until) => ready!(self.timer.poll(cx, *until)),
        }
        self.pause = Pause::No;
        Poll::Ready(())
    }

    /// Reads and handles once. True to go on, false to let others write first.
    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<bool, Ending>> {
        let Scratch { buffer, whole, batch } = scratch;
        if self.received.len() >= self.wanted {
            // Whole packets that had to wait.
            return Poll::Ready(self.handle_received(whole, batch));
        }
        let carried = if self.received.len() <= CARRY_BYTES { self.received.len() } else { 0 };
        let (front, free) = buffer.split_at_mut(carried);
        let n = match self.socket.poll_recv(cx, free) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(Ending::Closed)),
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(ending(&error))),
        };
        batch.tally().bytes_received += i64::try_from(n).unwrap_or(0);
        let fresh = free.get(..n).unwrap_or_default();
        if self.received.len() + n < self.wanted {
            self.received.append(fresh);
            return Poll::Ready(if self.hub.may_hold(self.received.len()) {
                Ok(true)
            } else {
                batch.tally().cut_connections += 1;
                Err(Ending::MemoryShort)
            });
        }
        Poll::Ready(if carried == self.received.len() {
            self.received.copy_into(front);
            let whole = buffer.get(..carried + n).unwrap_or_default();
            self.handle(whole, batch)
        } else {
            self.received.append(fresh);
            self.handle_received(whole, batch)
        })
    }

    /// Handles what was received before.
    fn handle_received(&mut self, whole: &mut Vec<u8>, batch: &mut Batch) -> Result<bool, Ending> {
        self.received.move_into(whole);
        let handled = self.handle(whole, batch);
        if whole.capacity() > MAX_SCRATCH_BYTES {
            *whole = Vec::new();
        }
        whole.clear();
        handled
    }

    /// Hands bytes to the hub and keeps those that it left.
    fn handle(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<bool, Ending> {
        let Handled { consumed, next } = self.hub.handle(&mut self.peer, bytes, Instant::now(), batch);
        batch.wake();
        self.waiting = self.hub.collect(&self.peer, &mut self.unsent, batch)?;
        let rest = bytes.get(consumed..).unwrap_or_default();
        self.received.append(rest);
        match next {
            Next::Read(needed) => {
                self.wanted = rest.len() + needed;
                Ok(true)
            }
            Next::Yield => {
                self.wanted = rest.len();
                Ok(false)
            }
            Next::Verify(verification) => {
                self.pause = Pause::Login(self.logins.verify(verification));
                self.wanted = rest.len();
                Ok(true)
            }
            Next::Hold(until) => {
                self.pause = Pause::Until(until);
                self.wanted = rest.len();
                Ok(true)
            }
            Next::End(ending) => Err(ending),
        }
    }

    /// Writes until all is written or the client must read first.
    fn flush(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Result<(), Ending> {
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            match self.socket.poll_send(cx, self.unsent.slices(&mut slices)) {
                Poll::Ready(Ok(0)) => return Err(Ending::Closed),
                Poll::Ready(Ok(n)) => {
                    self.unsent.advance(n);
                    batch.tally().bytes_sent += i64::try_from(n).unwrap_or(0);
                    self.stuck_since = None;
                }
                Poll::Ready(Err(error)) => return Err(ending(&error)),
                Poll::Pending => {
                    self.stuck_since.get_or_insert_with(|| self.reactor.now());
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Ready when the client has been silent, or has not read, for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let write = self.stuck_since.and_then(|since| since.checked_add(self.hub.limits().write_timeout));
        let deadline = match (self.peer.deadline(), write) {
            (Some(read), Some(write)) => read.min(write),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Poll::Pending,
        };
        self.timer
            .poll(cx, deadline)
            .map(|()| if write == Some(deadline) { Ending::WriteTimeout } else { self.peer.timeout() })
    }
}

fn ending(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        // Closed without the word that TLS has for it: usual, and MQTT has its own.
        | io::ErrorKind::UnexpectedEof => Ending::Closed,
        // A plain socket takes any data.
        io::ErrorKind::InvalidData => Ending::Tls(error.to_string()),
        kind => Ending::Network(kind),
    }
}
