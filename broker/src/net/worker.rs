//! A thread, and the connections it serves from their first byte to their last.

use std::io;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use log::error;
use smol::future::{Future, yield_now};
use smol::{LocalExecutor, channel};

use super::acceptor::{Proxied, accept};
use super::balance::{Balance, Board};
use super::connection::{self, Connection, Serving};
use super::listener::Listening;
use super::logins::Logins;
use super::poller::Poller;
use super::reactor::{Reactor, Registered};
use super::socket::{Plain, Socket};
use super::tls::{self, Secure};
use super::websocket::Framed;
use crate::config::WebSocket;
use crate::hub::{Ending, Hub, Peer};

/// So many connections come to a thread before it looks at the sockets of the others again.
pub(super) const ARRIVALS: usize = 4;

/// A connection that was let in.
pub(super) struct Accepted {
    pub(super) socket: socket2::Socket,
    pub(super) peer: Peer,
    /// None without TLS.
    pub(super) tls: Option<tls::Acceptor>,
    /// None without WebSocket.
    pub(super) websocket: Option<Arc<WebSocket>>,
}

/// A connection, or a listener, on its way to a thread.
pub(super) enum Arrival {
    Listening(Box<Listening>),
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
    /// Who it is that comes. A listener is closed.
    fn into_peer(self) -> Option<Peer> {
        Some(match self {
            Self::Listening(_) => return None,
            Self::New(accepted) => accepted.peer,
            Self::Plain(connection) => connection.into_peer(),
            Self::Secure(connection) => connection.into_peer(),
            Self::WebSocket(connection) => connection.into_peer(),
            Self::SecureWebSocket(connection) => connection.into_peer(),
        })
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
    pub(super) hub: Arc<Hub>,
    /// Where connections from proxies go first.
    pub(super) proxied: channel::Sender<Proxied>,
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
        proxied: channel::Sender<Proxied>,
    ) -> (Arc<Self>, Vec<channel::Receiver<Arrival>>) {
        let (intakes, arrivals): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel::unbounded()).unzip();
        let logins = Logins::new(&hub.limits());
        let (board, moved) = (Board::new(threads, spread), AtomicU64::new(0));
        (Arc::new(Self { hub, proxied, logins, board, intakes: intakes.into(), moved }), arrivals)
    }

    /// Has a connection served that was let in.
    pub(super) fn serve(&self, accepted: Accepted) {
        self.send(self.board.place(Instant::now()), Arrival::New(accepted.into()));
    }

    /// Has connections accepted there.
    pub(super) fn listen(&self, listening: Listening) {
        self.send(0, Arrival::Listening(listening.into()));
    }

    /// Connections that went from one thread to another so far.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn send(&self, thread: usize, arrival: Arrival) {
        let Some(intake) = self.intakes.get(thread) else { return };
        if let Err(refused) = intake.try_send(arrival)
            && let Some(peer) = refused.into_inner().into_peer()
        {
            connection::close(peer, &Ending::Stopping, &self.hub);
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
            let executor = Rc::new(LocalExecutor::new());
            let post = Post { hub: Arc::clone(&team.hub), team, reactor: Rc::clone(&reactor) };
            let place = Place { executor: Rc::downgrade(&executor), post: Rc::new(post) };
            let serve_all = executor.run(serve_all(arrivals.clone(), place));
            if let Err(error) = drive(serve_all, &reactor, poller) {
                error!("cannot wait for sockets any more: {error}");
                // Whoever closes a listener waits for it.
                arrivals.close();
                while arrivals.try_recv().is_ok() {}
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

/// A worker's thread, for what runs on it.
#[derive(Clone)]
pub(super) struct Place {
    /// It ends with its thread, whatever still runs on it.
    executor: Weak<LocalExecutor<'static>>,
    pub(super) post: Rc<Post>,
}

impl Place {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(task).detach();
        }
    }

    /// Serves a connection that was let in.
    pub(super) fn serve(&self, Accepted { socket, peer, tls, websocket }: Accepted) {
        let plain = match Registered::new(socket) {
            Ok(registered) => Plain::new(registered),
            Err(error) => {
                return connection::close(peer, &Ending::Network(error.kind()), &self.post.hub);
            }
        };
        // A kind of task for each, so that what TLS and WebSocket keep takes no room in the others.
        match (tls, websocket) {
            (None, None) => self.serve_over(plain, peer),
            (Some(acceptor), None) => self.serve_over(Secure::new(&acceptor, plain), peer),
            (None, Some(terms)) => self.serve_over(Framed::new(terms, plain), peer),
            (Some(acceptor), Some(terms)) => {
                self.serve_over(Framed::new(terms, Secure::new(&acceptor, plain)), peer);
            }
        }
    }

    fn serve_over<S>(&self, socket: S, peer: Peer)
    where
        S: Socket + 'static,
        Arrival: From<Connection<S>>,
    {
        self.spawn(Serving::new(Connection::new(socket, peer), Rc::clone(&self.post)));
    }

    /// Serves a connection that was served elsewhere before.
    fn go_on<S>(&self, mut connection: Connection<S>)
    where
        S: Socket + 'static,
        Arrival: From<Connection<S>>,
    {
        match connection.join() {
            Ok(()) => self.spawn(Serving::new(connection, Rc::clone(&self.post))),
            Err(error) => {
                connection::close(connection.into_peer(), &Ending::Network(error.kind()), &self.post.hub);
            }
        }
    }
}

async fn serve_all(arrivals: channel::Receiver<Arrival>, place: Place) {
    let mut turns = (1..=ARRIVALS).cycle();
    while let Ok(arrival) = arrivals.recv().await {
        match arrival {
            Arrival::Listening(listening) => place.spawn(accept(*listening, place.clone())),
            Arrival::New(accepted) => place.serve(*accepted),
            Arrival::Plain(connection) => place.go_on(*connection),
            Arrival::Secure(connection) => place.go_on(*connection),
            Arrival::WebSocket(connection) => place.go_on(*connection),
            Arrival::SecureWebSocket(connection) => place.go_on(*connection),
        }
        if turns.next() == Some(ARRIVALS) {
            yield_now().await;
        }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use crate::auth::Access;
    use crate::config::{Config, Endpoint};
    use crate::hub::Limits;
    use crate::net::listener::{Manner, Source};

    fn connect(at: SocketAddr) {
        let mut client = TcpStream::connect(at).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03you").unwrap();
        let mut connack = [0xff; 4];
        client.read_exact(&mut connack).unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
    }

    #[test]
    fn a_listener_goes_to_the_first_thread_with_room_with_who_waits_there() {
        let (team, arrivals) =
            Team::new(2, false, Arc::new(Hub::new(Limits::default())), channel::bounded(1).0);
        let start = |(number, arrivals)| Worker::start(number, arrivals, Arc::clone(&team)).unwrap();
        let mut workers: Vec<_> = arrivals.into_iter().enumerate().map(start).collect();
        let config = Config::on("127.0.0.1:0".parse().unwrap());
        let manner = Manner { tls: None, websocket: None, proxy: None };
        let opened = Listening::open(&config.listeners[0], Source::New, Access::open(), manner);
        let (listening, handle, Endpoint::Tcp(at)) = opened.unwrap() else { panic!("not TCP") };
        team.send(1, Arrival::Listening(listening.into()));
        connect(at);
        workers.pop().unwrap().stop().unwrap();
        connect(at);
        handle.close();
        workers.pop().unwrap().stop().unwrap();
    }
}
