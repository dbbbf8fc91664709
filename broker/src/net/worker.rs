//! A thread, and the connections it serves from their first byte to their last.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::error;
use smol::future::{Future, yield_now};
use smol::{LocalExecutor, channel};

use super::balance::{Balance, Board};
use super::connection::{self, Connection, Serving};
use super::logins::Logins;
use super::poller::Poller;
use super::reactor::{Reactor, Registered};
use super::socket::{Plain, Socket};
use super::tls::{self, Secure};
use super::websocket::Framed;
use crate::config::WebSocket;
use crate::hub::{Ending, Hub, Peer};

/// So many connections come to a thread before it looks at the sockets of the others again.
const ARRIVALS: usize = 4;

/// A connection that was let in.
pub(super) struct Accepted {
    pub(super) socket: socket2::Socket,
    pub(super) peer: Peer,
    /// None without TLS.
    pub(super) tls: Option<tls::Acceptor>,
    /// None without WebSocket.
    pub(super) websocket: Option<Arc<WebSocket>>,
}

/// A connection on its way to a thread.
pub(super) enum Arrival {
    New(Box<Accepted>),
    Plain(Box<Connection<Plain>>),
    Secure(Box<Connection<Secure>>),
    WebSocket(Box<Connection<Framed<Plain>>>),
    SecureWebSocket(Box<Connection<Framed<Secure>>>),
}

impl From<Connection<Plain>> for Arrival {
    fn from(connection: Connection<Plain>) -> Self {
        Self::Plain(connection.into())
    }
}

impl From<Connection<Secure>> for Arrival {
    fn from(connection: Connection<Secure>) -> Self {
        Self::Secure(connection.into())
    }
}

impl From<Connection<Framed<Plain>>> for Arrival {
    fn from(connection: Connection<Framed<Plain>>) -> Self {
        Self::WebSocket(connection.into())
    }
}

impl From<Connection<Framed<Secure>>> for Arrival {
    fn from(connection: Connection<Framed<Secure>>) -> Self {
        Self::SecureWebSocket(connection.into())
    }
}

impl Arrival {
    fn into_peer(self) -> Peer {
        match self {
            Self::New(accepted) => accepted.peer,
            Self::Plain(connection) => connection.into_peer(),
            Self::Secure(connection) => connection.into_peer(),
            Self::WebSocket(connection) => connection.into_peer(),
            Self::SecureWebSocket(connection) => connection.into_peer(),
        }
    }
}

/// What all connections of a thread share.
pub(super) struct Post {
    pub(super) hub: Arc<Hub>,
    pub(super) team: Arc<Team>,
    pub(super) reactor: Rc<Reactor>,
}

impl Post {
    /// Has another thread serve a connection that has left this one.
    pub(super) fn move_to(&self, thread: usize, arrival: Arrival) {
        self.team.moved.fetch_add(1, Ordering::Relaxed);
        self.team.send(thread, arrival);
    }
}

/// All threads that serve connections, and the ways to them.
pub(super) struct Team {
    hub: Arc<Hub>,
    pub(super) logins: Logins,
    board: Board,
    /// Never longer than the number of connections that the hub lets in.
    intakes: Box<[channel::Sender<Arrival>]>,
    moved: AtomicU64,
}

impl Team {
    /// A team, and where each of its threads takes connections from.
    pub(super) fn new(
        threads: usize,
        spread: bool,
        hub: Arc<Hub>,
    ) -> (Arc<Self>, Vec<channel::Receiver<Arrival>>) {
        let (intakes, arrivals): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel::unbounded()).unzip();
        let logins = Logins::new(&hub.limits());
        let (board, moved) = (Board::new(threads, spread), AtomicU64::new(0));
        (Arc::new(Self { hub, logins, board, intakes: intakes.into(), moved }), arrivals)
    }

    /// Has a connection served that was let in.
    pub(super) fn serve(&self, accepted: Accepted) {
        self.send(self.board.place(Instant::now()), Arrival::New(accepted.into()));
    }

    /// Connections that went from one thread to another so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn send(&self, thread: usize, arrival: Arrival) {
        let Some(intake) = self.intakes.get(thread) else { return };
        if let Err(refused) = intake.try_send(arrival) {
            connection::close(refused.into_inner().into_peer(), &Ending::Stopping, &self.hub);
        }
    }
}

/// A thread that serves connections until it is stopped.
pub(super) struct Worker {
    intake: channel::Sender<Arrival>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(
        number: usize,
        arrivals: channel::Receiver<Arrival>,
        team: Arc<Team>,
    ) -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        let intake = team.intakes.get(number).cloned().ok_or(io::ErrorKind::NotFound)?;
        let thread = thread::Builder::new().name(format!("sol-{number}")).spawn(move || {
            let balance = Balance::new(number, team.board.clone());
            let reactor = Reactor::start(Arc::clone(&poller), balance);
            let executor = LocalExecutor::new();
            let serve_all = executor.run(serve_all(arrivals, &executor, &reactor, team));
            if let Err(error) = drive(serve_all, &reactor, poller) {
                error!("cannot wait for sockets any more: {error}");
            }
        })?;
        Ok(Self { intake, thread })
    }

    /// Ends it, and the connections it still has.
    pub(super) fn stop(self) -> thread::Result<()> {
        self.intake.close();
        self.thread.join()
    }
}

async fn serve_all(
    arrivals: channel::Receiver<Arrival>,
    executor: &LocalExecutor<'_>,
    reactor: &Rc<Reactor>,
    team: Arc<Team>,
) {
    let post = Rc::new(Post { hub: Arc::clone(&team.hub), team, reactor: Rc::clone(reactor) });
    let mut turns = (1..=ARRIVALS).cycle();
    while let Ok(arrival) = arrivals.recv().await {
        let post = Rc::clone(&post);
        // A kind of task for each, so that what TLS and WebSocket keep takes no room in the others.
        match arrival {
            Arrival::New(accepted) => {
                let Accepted { socket, peer, tls, websocket } = *accepted;
                let plain = match Registered::new(socket) {
                    Ok(registered) => Plain::new(registered),
                    Err(error) => {
                        connection::close(peer, &Ending::Network(error.kind()), &post.hub);
                        continue;
                    }
                };
                match (tls, websocket) {
                    (None, None) => {
                        executor.spawn(Serving::new(Connection::new(plain, peer), post)).detach();
                    }
                    (Some(acceptor), None) => {
                        let secure = Secure::new(&acceptor, plain);
                        executor.spawn(Serving::new(Connection::new(secure, peer), post)).detach();
                    }
                    (None, Some(terms)) => {
                        let framed = Framed::new(terms, plain);
                        executor.spawn(Serving::new(Connection::new(framed, peer), post)).detach();
                    }
                    (Some(acceptor), Some(terms)) => {
                        let framed = Framed::new(terms, Secure::new(&acceptor, plain));
                        executor.spawn(Serving::new(Connection::new(framed, peer), post)).detach();
                    }
                }
            }
            Arrival::Plain(connection) => go_on(*connection, executor, post),
            Arrival::Secure(connection) => go_on(*connection, executor, post),
            Arrival::WebSocket(connection) => go_on(*connection, executor, post),
            Arrival::SecureWebSocket(connection) => go_on(*connection, executor, post),
        }
        if turns.next() == Some(ARRIVALS) {
            yield_now().await;
        }
    }
}

/// Serves a connection that was served elsewhere before.
fn go_on<S>(mut connection: Connection<S>, executor: &LocalExecutor<'_>, post: Rc<Post>)
where
    S: Socket,
    Arrival: From<Connection<S>>,
{
    match connection.join() {
        Ok(()) => executor.spawn(Serving::new(connection, post)).detach(),
        Err(error) => connection::close(connection.into_peer(), &Ending::Network(error.kind()), &post.hub),
    }
}

/// Runs a future to its end, the thread's sockets and timers beside it.
fn drive(future: impl Future<Output = ()>, reactor: &Reactor, poller: Arc<Poller>) -> io::Result<()> {
    let alarm = Arc::new(Alarm { poller, rung: AtomicBool::new(false), asleep: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&alarm));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        alarm.rung.store(false, Ordering::SeqCst);
        if let Poll::Ready(()) = future.as_mut().poll(&mut cx) {
            return Ok(());
        }
        // First `asleep`, then a look at `rung`: whoever rings later sees that it must notify.
        alarm.asleep.store(true, Ordering::SeqCst);
        let limit = alarm.rung.load(Ordering::SeqCst).then_some(Duration::ZERO);
        let waited = reactor.wait(limit);
        alarm.asleep.store(false, Ordering::SeqCst);
        waited?;
        reactor.dispatch();
    }
}

/// Wakes the thread, with a system call only if it sleeps.
struct Alarm {
    poller: Arc<Poller>,
    rung: AtomicBool,
    asleep: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            self.poller.notify();
        }
    }
}
