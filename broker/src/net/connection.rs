//! One network connection: bytes from the socket to the hub, packets from the outbox to the socket.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::balance::Seat;
use super::reactor::Until;
use super::received::Received;
use super::socket::Socket;
use super::websocket;
use super::worker::{Arrival, Post};
use crate::auth::Verdict;
use crate::hub::{Batch, Ending, Handled, Hub, Next, Peer, Sleep, Stage as MemoryStage};
use crate::session::Outbox;

/// Bytes read at a time, into a buffer that all connections of a thread share.
const READ_BYTES: usize = 64 * 1024;
/// Of a client that may publish only so fast: what it must wait with lies here, and is moved each time it may go on.
const PACED_READ_BYTES: usize = 8 * 1024;
/// With more than this of a packet still incomplete, reads go behind it instead of into the shared buffer.
const CARRY_BYTES: usize = READ_BYTES / 2;
/// Memory that a thread keeps for putting large packets together.
const MAX_SCRATCH_BYTES: usize = 1 << 20;
/// What a client may send behind a CONNECT that is not answered yet, before it is not read from any more.
const AHEAD_BYTES: usize = 4 * 1024;
/// So many receivers get their messages before the publisher gets its acknowledgements, unless these take more bytes, for with
/// much to do it had better go on. The acknowledgement costs a system call, and on a processor that it shares the publisher
/// would have its turn before the receivers.
const FEW_RECEIVERS: usize = 4;
const FEW_REPLY_BYTES: usize = 16;
/// Turns before other connections get theirs.
const TURNS: usize = 4;
/// At most this many pieces go into one vectored write.
const SLICES: usize = 32;
/// Places for what connections have in hand that a thread keeps.
const SPARE_PLACES: usize = 64;
/// How long a client may take to read why it must go.
const LINGER: Duration = Duration::from_secs(2);

/// Working memory that a thread lends to whichever connection it runs.
struct Scratch {
    buffer: Box<[u8]>,
    /// Where a packet larger than that is put together.
    whole: Vec<u8>,
    batch: Batch,
    /// A connection has one while it has its turn, and on as long as it has something in hand.
    #[expect(clippy::vec_box, reason = "they go to connections as they are")]
    spare: Vec<Box<Work>>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch {
            buffer: vec![0; READ_BYTES].into(),
            whole: Vec::new(),
            batch: Batch::new(Instant::now()),
            spare: Vec::new(),
        });
}

/// What a connection has in hand: an idle one has nothing.
#[derive(Default)]
struct Work {
    /// Bytes received and not handled: part of a packet, or what had to wait for others.
    received: Received,
    /// Packets handed over for writing.
    unsent: Outbox,
    /// Since when the client has read nothing of them.
    stuck_since: Option<Instant>,
}

impl Work {
    fn is_done(&self) -> bool {
        self.received.len() == 0 && self.unsent.is_blank()
    }
}

/// A network connection, whatever thread serves it.
pub(super) struct Connection<S> {
    socket: S,
    peer: Peer,
    /// Lent by the thread.
    work: Option<Box<Work>>,
    /// How many bytes must be received before they are worth looking at.
    wanted: u32,
    /// Memory it takes that the hub's account knows of; never near as much as there are numbers.
    accounted: u32,
}

impl<S: Socket> Connection<S> {
    /// A connection that came just now.
    pub(super) fn new(socket: S, peer: Peer) -> Self {
        Self { socket, peer, work: None, wanted: 1, accounted: 0 }
    }

    /// Joins this thread, after it left another.
    pub(super) fn join(&mut self) -> io::Result<()> {
        self.socket.join()
    }

    /// Who is at the other end of a connection that is over.
    pub(super) fn into_peer(self) -> Peer {
        self.let_go(false).1
    }

    /// The connection is over: nothing it received will be handled, and what is unsent only be written if it is kept.
    fn let_go(mut self, keeps_unsent: bool) -> (Rest<S>, Peer) {
        if let Some(work) = &mut self.work {
            work.received = Received::default();
        }
        SCRATCH.with_borrow_mut(|scratch| self.account(&mut scratch.batch));
        let unsent = self.work.take().map(|work| work.unsent).unwrap_or_default();
        let mut rest = Rest { socket: self.socket, unsent, accounted: wide(self.accounted) };
        if !keeps_unsent {
            rest.clear();
        }
        (rest, self.peer)
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    fn has_unsent(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.unsent.is_empty())
    }

    fn wanted(&self) -> usize {
        wide(self.wanted)
    }

    /// Sets [`Connection::wanted`]: no more than what is there and a packet, which has less than 2^28 bytes.
    fn want(&mut self, bytes: usize) {
        self.wanted = narrow(bytes);
    }

    /// Tells the hub how much memory the connection takes.
    fn account(&mut self, batch: &mut Batch) {
        let work = self.work.as_mut();
        let in_hand = work.map_or(0, |work| work.received.bytes() + work.unsent.settle(batch.tally()));
        let now = narrow(self.socket.extra_bytes() + in_hand);
        batch.tally().charge(wide(self.accounted), wide(now));
        self.accounted = now;
    }
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn wide(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What is left of a connection that is over: its last words may take a while to be read.
struct Rest<S> {
    socket: S,
    unsent: Outbox,
    /// Memory it takes that the hub's account knows of.
    accounted: usize,
}

impl<S: Socket> Rest<S> {
    /// Nothing more will be written.
    fn clear(&mut self) {
        SCRATCH.with_borrow_mut(|scratch| {
            self.unsent.clear();
            self.unsent.settle(scratch.batch.tally());
            self.accounted = scratch.batch.tally().charge(self.accounted, 0);
        });
    }

    /// Writes what is left, says that it was all, and waits until the client has taken it: closing over unread bytes
    /// would reset the connection, and the client would not get to read.
    async fn linger(&mut self, post: &Post) {
        let until = post.reactor.now() + LINGER;
        let mut is_shut = false;
        poll_fn(|cx| {
            if self.socket.poll_time(cx, Until::Patience(until)).is_ready() {
                return Poll::Ready(());
            }
            SCRATCH.with_borrow_mut(|scratch| self.poll_end(cx, &mut is_shut, scratch))
        })
        .await;
        self.clear();
        SCRATCH.with_borrow_mut(|scratch| post.hub.absorb(&mut scratch.batch));
    }

    /// Ready when there is nothing more to wait for.
    fn poll_end(&mut self, cx: &mut Context<'_>, is_shut: &mut bool, scratch: &mut Scratch) -> Poll<()> {
        let Scratch { buffer, batch, .. } = scratch;
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            match self.socket.poll_send(cx, self.unsent.slices(&mut slices)) {
                Poll::Ready(Ok(n @ 1..)) => {
                    self.unsent.advance(n);
                    batch.tally().bytes_sent += i64::try_from(n).unwrap_or(0);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if self.unsent.is_empty() && !mem::replace(is_shut, true) && self.socket.shut_down().is_err() {
            return Poll::Ready(());
        }
        // Read on even while something is unsent: a client that waits for its own bytes to go would never read.
        for _ in 0..TURNS {
            match ready!(self.socket.poll_recv(cx, buffer)) {
                Ok(1..) => {}
                _ => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A connection being served to its end, or until it goes to another thread.
///
/// A future by hand: one that the compiler makes keeps each variable that it moves on in a place of its own, and would have
/// four of a connection. What its end needs is made at its end.
pub(super) struct Serving<S>(Stage<S>);

enum Stage<S> {
    Serves(Served<S>),
    /// The connection is over, and its last words may take a while to be read.
    Lingers(Pin<Box<dyn Future<Output = ()>>>),
    Over,
}

impl<S: Socket> Serving<S> {
    /// On this thread from now on.
    pub(super) fn new(connection: Connection<S>, post: Rc<Post>) -> Self {
        let seat = post.reactor.balance().sit();
        Self(Stage::Serves(Served {
            connection,
            post,
            pause: None,
            is_behind: false,
            is_told: false,
            gathers: false,
            seat,
        }))
    }
}

impl<S: Socket> Future for Serving<S>
where
    Arrival: From<Connection<S>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self(stage) = &mut *self;
        if let Stage::Serves(served) = stage {
            let end = ready!(served.poll(cx));
            let Stage::Serves(served) = mem::replace(stage, Stage::Over) else { return Poll::Ready(()) };
            let Served { mut connection, post, is_told, seat, .. } = served;
            post.reactor.balance().leave(seat);
            match end {
                End::Moves(thread) => {
                    connection.socket.leave();
                    post.move_to(thread, connection.into());
                }
                End::Over(ending) => {
                    if let Some(last) = connection.end(ending, is_told, &post) {
                        *stage = Stage::Lingers(last);
                    }
                }
            }
        }
        match stage {
            Stage::Lingers(last) => last.as_mut().poll(cx),
            Stage::Serves(_) | Stage::Over => Poll::Ready(()),
        }
    }
}

impl<S: Socket> Connection<S> {
    /// Closes it, and gives what is left to do, if anything is.
    fn end(
        self,
        ending: Ending,
        is_told: bool,
        post: &Rc<Post>,
    ) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        // Who does not read will not read this either.
        let is_stuck = matches!(ending, Ending::WriteTimeout | Ending::MemoryShort) && self.has_unsent();
        let is_told = is_told && !is_stuck;
        let (mut rest, peer) = self.let_go(is_told);
        let post = Rc::clone(post);
        if is_told && ending == Ending::Stopping {
            // A stop waits for those that are not closed. Their wills are out already.
            return Some(Box::pin(async move {
                rest.linger(&post).await;
                close(peer, &ending, &post.hub);
            }));
        }
        close(peer, &ending, &post.hub);
        let lingers = match ending {
            // Whatever state it is in.
            Ending::Panicked => return None,
            Ending::Refused { .. } | Ending::Tls(_) | Ending::WebSocket(_) => true,
            _ => is_told || (rest.socket.is_answered() && !is_stuck),
        };
        if !lingers {
            rest.socket.say_goodbye();
            return None;
        }
        Some(Box::pin(async move { rest.linger(&post).await }))
    }
}

/// Tells the hub that a connection is over.
pub(super) fn close(peer: Peer, ending: &Ending, hub: &Hub) {
    SCRATCH.with_borrow_mut(|scratch| {
        hub.close(peer, ending, Instant::now(), &mut scratch.batch);
        scratch.batch.wake();
    });
}

/// A connection on its thread.
struct Served<S> {
    connection: Connection<S>,
    post: Rc<Post>,
    /// What must come before anything else is read.
    pause: Option<Box<Pause>>,
    /// So much waits behind what is unsent that nothing is read.
    is_behind: bool,
    /// The client was told why the connection ends.
    is_told: bool,
    /// Those that it gave something wait for its next turn.
    gathers: bool,
    seat: Seat,
}

/// Why a thread serves a connection no longer.
enum End {
    Over(Ending),
    /// To the thread with this number.
    Moves(usize),
}

/// Why nothing is read at the moment.
enum Pause {
    /// The client's password is being verified.
    Login(Pin<Box<dyn Future<Output = Verdict>>>),
    /// Its refusal is held back; or it publishes too fast.
    Until(Instant),
}

impl<S: Socket> Served<S> {
    /// A panic is the end of this connection, not of the thread and the others on it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let thread = self.post.reactor.balance().moves_to(&self.seat);
        if let Some(thread) = thread.filter(|_| self.connection.peer.is_connected()) {
            if self.gathers {
                SCRATCH.with_borrow_mut(|scratch| self.release(&mut scratch.batch));
            }
            return Poll::Ready(End::Moves(thread));
        }
        catch_unwind(AssertUnwindSafe(|| self.poll_guarded(cx)))
            .unwrap_or_else(|_| {
                // What was meant for this client must not reach the next; what others were given must reach them.
                SCRATCH.with_borrow_mut(|scratch| scratch.batch.recover());
                Poll::Ready(Ending::Panicked)
            })
            .map(End::Over)
    }

    fn poll_guarded(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.batch.at(self.post.reactor.now());
            let work = &mut self.connection.work;
            if work.is_none() {
                *work = scratch.spare.pop();
            }
            let turned = self.poll_turns(cx, scratch);
            if !matches!(turned, Poll::Ready(Ok(()))) {
                self.release(&mut scratch.batch);
            }
            // Those that must end because memory is short.
            scratch.batch.wake();
            let polled = match turned {
                Poll::Ready(Err(ending)) => {
                    // What was answered before the end still goes out, as far as it goes at once.
                    let Connection { peer, work, .. } = &mut self.connection;
                    let unsent = &mut work.get_or_insert_default().unsent;
                    self.is_told = self.post.hub.farewell(peer, &ending, unsent, &mut scratch.batch);
                    _ = self.flush(cx, &mut scratch.batch);
                    Poll::Ready(ending)
                }
                Poll::Ready(Ok(())) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            };
            if let Some(done) = self.connection.work.take_if(|work| work.is_done())
                && scratch.spare.len() < SPARE_PLACES
            {
                scratch.spare.push(done);
            }
            polled
        })
    }

    /// Nobody waits for what else this client sends.
    fn release(&mut self, batch: &mut Batch) {
        if std::mem::take(&mut self.gathers) {
            batch.release();
            batch.wake();
        }
    }

    /// Ready without an error: it is the others' turn.
    fn poll_turns(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<(), Ending>> {
        for _ in 0..TURNS {
            self.flush(cx, &mut scratch.batch)?;
            let is_paused = self.poll_pause(cx).is_pending();
            if is_paused && !self.connection.peer.is_connected() {
                if let Poll::Ready(ending) = self.poll_gone(cx, scratch) {
                    return Poll::Ready(Err(ending));
                }
                self.connection.account(&mut scratch.batch);
                return self.poll_deadline(cx, &mut scratch.batch).map(Err);
            }
            if !is_paused
                && !self.is_behind
                && let Poll::Ready(next) = self.read(cx, scratch)
            {
                if next? { continue } else { break }
            }
            self.connection.account(&mut scratch.batch);
            let Connection { peer, work, .. } = &mut self.connection;
            let Work { received, unsent, .. } = &mut **work.get_or_insert_default();
            match self.post.hub.sleep(peer, unsent, received.bytes(), cx.waker(), &mut scratch.batch)? {
                Sleep::Output => self.is_behind = false,
                Sleep::Asleep => return self.poll_deadline(cx, &mut scratch.batch).map(Err),
            }
        }
        self.connection.account(&mut scratch.batch);
        Poll::Ready(Ok(()))
    }

    /// Ready when what was read may be looked at.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.pause.as_deref_mut() {
            None => return Poll::Ready(()),
            Some(Pause::Login(login)) => {
                let verdict = ready!(login.as_mut().poll(cx));
                self.connection.peer.verified(verdict);
            }
            Some(Pause::Until(until)) => ready!(self.connection.socket.poll_time(cx, Until::Exactly(*until))),
        }
        self.pause = None;
        Poll::Ready(())
    }

    /// Ready when the client went away while its password waits to be verified: who guesses and leaves must not fill the
    /// places of those who wait. A refusal that is held back goes to the log whether it can be told or not.
    fn poll_gone(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Ending> {
        let Scratch { buffer, batch, .. } = scratch;
        if !matches!(self.pause.as_deref(), Some(Pause::Login(_))) {
            return Poll::Pending;
        }
        while let free @ 1.. =
            (self.connection.wanted() + AHEAD_BYTES).saturating_sub(self.connection.work().received.len())
        {
            let free = buffer.get_mut(..free).unwrap_or_default();
            let n = match ready!(self.connection.socket.poll_recv(cx, free)) {
                Ok(0) => return Poll::Ready(Ending::Closed),
                Ok(n) => n,
                Err(error) => return Poll::Ready(ending(&error)),
            };
            self.count_read(n, batch);
            self.connection.work().received.append(free.get(..n).unwrap_or_default());
        }
        Poll::Pending
    }

    fn count_read(&self, n: usize, batch: &mut Batch) {
        self.post.reactor.balance().served(&self.seat, n);
        batch.tally().bytes_received += i64::try_from(n).unwrap_or(0);
        self.connection.peer.traffic().read(n);
    }

    /// Reads and handles once. True to go on, false to let others write first.
    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<bool, Ending>> {
        let Scratch { buffer, whole, batch, .. } = scratch;
        let (waiting, wanted) = (self.connection.work().received.len(), self.connection.wanted());
        if waiting >= wanted {
            // Whole packets that had to wait.
            return Poll::Ready(self.handle_received(whole, batch));
        }
        let carried = if waiting <= CARRY_BYTES { waiting } else { 0 };
        let (front, free) = buffer.split_at_mut(carried);
        let room =
            if self.connection.peer.is_paced() { PACED_READ_BYTES.min(free.len()) } else { free.len() };
        let free = free.get_mut(..room).unwrap_or_default();
        let n = match self.connection.socket.poll_recv(cx, free) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(Ending::Closed)),
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(ending(&error))),
        };
        self.count_read(n, batch);
        let fresh = free.get(..n).unwrap_or_default();
        let received = &mut self.connection.work().received;
        if waiting + n < wanted {
            received.append(fresh);
            return Poll::Ready(if self.post.hub.may_hold(received.len()) {
                Ok(true)
            } else {
                batch.tally().cut_connections += 1;
                Err(Ending::MemoryShort)
            });
        }
        Poll::Ready(if carried == waiting {
            received.copy_into(front);
            let whole = buffer.get(..carried + n).unwrap_or_default();
            self.handle(whole, batch)
        } else {
            received.append(fresh);
            self.handle_received(whole, batch)
        })
    }

    /// Handles what was received before.
    fn handle_received(&mut self, whole: &mut Vec<u8>, batch: &mut Batch) -> Result<bool, Ending> {
        self.connection.work().received.move_into(whole);
        let handled = self.handle(whole, batch);
        if whole.capacity() > MAX_SCRATCH_BYTES {
            *whole = Vec::new();
        }
        whole.clear();
        handled
    }

    /// Hands bytes to the hub and keeps those that it left.
    fn handle(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<bool, Ending> {
        if !self.connection.peer.is_connected()
            && let Some(user) = self.connection.socket.take_user()
        {
            self.connection.peer.is_user(user);
        }
        let Handled { consumed, next } =
            self.post.hub.handle(&mut self.connection.peer, bytes, Instant::now(), batch);
        if matches!(next, Next::Yield) && self.post.hub.memory_stage() == MemoryStage::Ample {
            self.gathers = batch.gather();
        } else {
            self.release(batch);
        }
        let woken = batch.wake();
        let Connection { peer, work, .. } = &mut self.connection;
        let Work { received, unsent, .. } = &mut **work.get_or_insert_default();
        let waiting = self.post.hub.collect(peer, unsent, batch);
        let others_first =
            (1..=FEW_RECEIVERS).contains(&woken) && (1..=FEW_REPLY_BYTES).contains(&unsent.bytes());
        // A client that said DISCONNECT is not told that it must go.
        if !matches!(next, Next::End(_)) {
            self.is_behind = waiting? >= self.post.hub.max_outbox_bytes().saturating_mul(2);
        }
        let rest = bytes.get(consumed..).unwrap_or_default();
        received.append(rest);
        match next {
            Next::Read(needed) => {
                self.connection.want(rest.len() + needed);
                Ok(!others_first)
            }
            Next::Yield => {
                self.connection.want(rest.len());
                Ok(false)
            }
            Next::Verify(verification) => {
                self.pause = Some(Pause::Login(self.post.team.logins.verify(verification)).into());
                self.connection.want(rest.len());
                Ok(true)
            }
            Next::Hold(until) => {
                self.pause = Some(Pause::Until(until).into());
                self.connection.want(rest.len());
                Ok(true)
            }
            Next::End(ending) => Err(ending),
        }
    }

    /// Writes until all is written or the client must read first.
    fn flush(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Result<(), Ending> {
        let Connection { socket, peer, work, .. } = &mut self.connection;
        let Some(Work { unsent, stuck_since, .. }) = work.as_deref_mut() else { return Ok(()) };
        while !unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            match socket.poll_send(cx, unsent.slices(&mut slices)) {
                Poll::Ready(Ok(0)) => return Err(Ending::Closed),
                Poll::Ready(Ok(n)) => {
                    self.post.reactor.balance().served(&self.seat, n);
                    unsent.advance(n);
                    batch.tally().bytes_sent += i64::try_from(n).unwrap_or(0);
                    peer.traffic().written(n);
                    *stuck_since = None;
                    if unsent.is_empty()
                        && let Some(since) = unsent.take_measured()
                    {
                        self.post.hub.delivered(since, Instant::now());
                    }
                }
                Poll::Ready(Err(error)) => return Err(ending(&error)),
                Poll::Pending => {
                    stuck_since.get_or_insert_with(|| self.post.reactor.now());
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Ready when the client has been silent, or has not read, for too long.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Ending> {
        let write = self
            .connection
            .work
            .as_ref()
            .and_then(|work| work.stuck_since)
            .and_then(|since| since.checked_add(self.post.hub.limits().write_timeout));
        // Whoever waits to be read from again is not silent.
        let is_held =
            self.connection.peer.is_connected() && matches!(self.pause.as_deref(), Some(Pause::Until(_)));
        let read = self.connection.peer.deadline().filter(|_| !is_held);
        let rest = self.connection.peer.rests_at();
        let rest = rest.filter(|at| {
            let waits = *at > self.post.reactor.now();
            if !waits {
                self.post.hub.rest(&self.connection.peer, batch);
            }
            waits
        });
        let Some(end) = read.into_iter().chain(write).min() else {
            if let Some(rest) = rest {
                _ = self.connection.socket.poll_time(cx, Until::Exactly(rest));
            }
            return Poll::Pending;
        };
        if let Some(rest) = rest.filter(|rest| *rest < end) {
            _ = self.connection.socket.poll_time(cx, Until::Exactly(rest));
            return Poll::Pending;
        }
        self.connection
            .socket
            .poll_time(cx, Until::Patience(end))
            .map(|()| if write == Some(end) { Ending::WriteTimeout } else { self.connection.peer.timeout() })
    }
}

fn ending(error: &io::Error) -> Ending {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        // Closed without the word that TLS has for it: usual, and MQTT has its own.
        | io::ErrorKind::UnexpectedEof => Ending::Closed,
        io::ErrorKind::InvalidData if websocket::is_failure(error) => Ending::WebSocket(error.to_string()),
        // A plain socket takes any data.
        io::ErrorKind::InvalidData => Ending::Tls(error.to_string()),
        kind => Ending::Network(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::socket::Plain;

    /// What the executor puts around a future.
    const TASK_BYTES: usize = 64;

    #[test]
    fn a_connection_is_a_small_task() {
        // A size of the allocator's; the next are 224 and 256.
        assert!(size_of::<Serving<Plain>>() + TASK_BYTES <= 192, "{}", size_of::<Serving<Plain>>());
    }
}
